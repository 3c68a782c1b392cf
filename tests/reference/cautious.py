"""Numpy reference: cautious optimizers."""

import numpy as np


def cautious(g, s, w, *, base, **hyper):
    """Cautious direction (Liang et al. 2024): entries of the base direction that oppose g are left out."""
    u, base_state = base(g, None if s is None else s["base"], w, **hyper)
    # u has the sign of a gradient (it is not negated yet); of complex numbers the inner product counts.
    phi = np.real(u * np.conj(g)) > 0
    d = g.size
    # What is left is scaled up by d over the number of entries left; the 1 is the paper's, against 0 / 0.
    return u * phi * d / (np.sum(phi) + 1), {"base": base_state}
