"""Numpy references: AdaGrad."""

import numpy as np


def scale_by_rss(g, s, w, *, initial_accumulator_value, eps):
    """Diagonal AdaGrad (Duchi, Hazan & Singer 2011, Figure 1), with eps under the square root."""
    G = np.full(g.shape, initial_accumulator_value, dtype=np.float64) if s is None else s["sum_of_squares"]
    G = G + np.abs(g) ** 2
    # G == 0 means that no gradient was seen yet: the pseudo-inverse gives 0 there instead of 0 / 0.
    u = np.where(G > 0, g / np.sqrt(np.where(G > 0, G + eps, 1.0)), 0.0)
    return u, {"sum_of_squares": G}


def adagrad(g, s, w, *, learning_rate, initial_accumulator_value, eps):
    """Diagonal AdaGrad update (Duchi, Hazan & Singer 2011, Figure 1)."""
    u, s_new = scale_by_rss(g, s, w, initial_accumulator_value=initial_accumulator_value, eps=eps)
    return -learning_rate * u, s_new
