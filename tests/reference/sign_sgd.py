"""Numpy references: signSGD and Signum."""

import numpy as np


def sign_sgd(g, s, w, *, learning_rate):
    """signSGD (Bernstein et al. 2018, Algorithm 1)."""
    size = np.abs(g)
    return -learning_rate * np.where(size > 0, g / np.where(size > 0, size, 1.0), 0.0), {}


def signum(g, s, w, *, learning_rate, beta):
    """Signum (Bernstein et al. 2018, Algorithm 2): sign of the averaged gradient."""
    count = (0 if s is None else s["count"]) + 1
    m = np.zeros_like(g) if s is None else s["ema"]
    m = beta * m + (1 - beta) * g
    # No bias correction: a positive factor would not change the sign.
    size = np.abs(m)
    u = -learning_rate * np.where(size > 0, m / np.where(size > 0, size, 1.0), 0.0)
    return u, {"count": count, "ema": m}
