"""Numpy references: AdaGrad."""

import numpy as np


def scale_by_rss(g, s, w, *, initial_accumulator_value, eps, eps_in_sqrt=True):
    """Diagonal AdaGrad (Duchi, Hazan & Singer 2011, Figure 1); eps under the root (optax) or beside it (paper)."""
    G = np.full(g.shape, initial_accumulator_value, dtype=np.float64) if s is None else s["sum_of_squares"]
    G = G + np.abs(g) ** 2
    # G == 0 means that no gradient was seen yet: the pseudo-inverse gives 0 there instead of 0 / 0.
    seen = np.where(G > 0, G, 1.0)
    scaled_g = g / np.sqrt(seen + eps) if eps_in_sqrt else g / (np.sqrt(seen) + eps)
    u = np.where(G > 0, scaled_g, 0.0)
    return u, {"sum_of_squares": G}


def adagrad(g, s, w, *, learning_rate, initial_accumulator_value, eps, eps_in_sqrt=True):
    """Diagonal AdaGrad update (Duchi, Hazan & Singer 2011, Figure 1)."""
    u, s_new = scale_by_rss(
        g, s, w, initial_accumulator_value=initial_accumulator_value, eps=eps, eps_in_sqrt=eps_in_sqrt
    )
    return -learning_rate * u, s_new
