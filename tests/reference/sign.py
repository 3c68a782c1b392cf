"""Numpy reference: sign of the gradient."""

import numpy as np


def scale_by_sign(g, s, w):
    """Elementwise sign (Bernstein et al. 2018, Algorithm 1); for complex entries the unit phase g / |g|."""
    size = np.abs(g)
    # A zero entry has no direction: its sign is 0.
    return np.where(size > 0, g / np.where(size > 0, size, 1.0), 0.0), {}
