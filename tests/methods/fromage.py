"""Fromage (Bernstein et al. 2020)."""

import numpy as np

import optax_lite as ol
from tests.methods.row import Quirks, Row, over, rate, rate_bad, with_rate
from tests.methods.trust_ratio import trust_bad, with_zero_leaves


def fromage(g, s, w, *, learning_rate, min_norm):
    """Fromage (Bernstein et al. 2020, Algorithm 1), W <- (W - eta * ||W|| / ||g|| * g) / sqrt(1 +
    eta^2).
    """
    eta = learning_rate
    # The lower bound on both norms is optax's; the paper has none.
    w_norm = max(np.sqrt(np.sum(np.abs(w) ** 2)), min_norm)
    g_norm = max(np.sqrt(np.sum(np.abs(g) ** 2)), min_norm)
    ratio = w_norm / g_norm if w_norm > 0 and g_norm > 0 else 1.0
    w_new = (w - eta * ratio * g) / np.sqrt(1 + eta**2)
    return w_new - w, {}


ROWS: tuple[Row, ...] = (
    Row(
        ol.fromage,
        fromage,
        (
            *over(learning_rate=(0.1, 0.5, 1, 3.0), min_norm=(1e-6, 0.5)),
            {"learning_rate": rate},
            {"learning_rate": 0.1, "min_norm": rate},
        ),
        (*rate_bad, *with_rate(trust_bad[:1])),
        quirks=Quirks(
            data=with_zero_leaves,
            moves_without_gradient="the parameters shrink with every step",
            same_program=1e-6,
        ),
    ),
)
