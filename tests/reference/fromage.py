"""Numpy reference: Fromage."""

import numpy as np


def fromage(g, s, w, *, learning_rate, min_norm):
    """Fromage (Bernstein et al. 2020, Algorithm 1), W <- (W - eta * ||W|| / ||g|| * g) / sqrt(1 + eta^2)."""
    eta = learning_rate
    # The lower bound on both norms is optax's; the paper has none.
    w_norm = max(np.sqrt(np.sum(np.abs(w) ** 2)), min_norm)
    g_norm = max(np.sqrt(np.sum(np.abs(g) ** 2)), min_norm)
    ratio = w_norm / g_norm if w_norm > 0 and g_norm > 0 else 1.0
    w_new = (w - eta * ratio * g) / np.sqrt(1 + eta**2)
    return w_new - w, {}
