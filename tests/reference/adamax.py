"""Numpy references: AdaMax and AdamaxW."""

import numpy as np


def scale_by_adamax(g, s, w, *, b1, b2, eps):
    """AdaMax direction (Kingma & Ba 2015, Algorithm 2)."""
    t = (0 if s is None else s["count"]) + 1
    m = np.zeros_like(g) if s is None else s["mu"]
    v = np.zeros(g.shape) if s is None else s["nu"]
    m = b1 * m + (1 - b1) * g
    # The paper has no epsilon; optax (and torch) add it to |g| inside the maximum, against 0 / 0.
    v = np.maximum(b2 * v, np.abs(g) + eps)
    # A maximum has no bias towards zero: only m is corrected.
    u = m / (1 - b1**t) / v
    return u, {"count": t, "mu": m, "nu": v}


def adamax(g, s, w, *, learning_rate, b1, b2, eps):
    """AdaMax update (Kingma & Ba 2015, Algorithm 2)."""
    u, s_new = scale_by_adamax(g, s, w, b1=b1, b2=b2, eps=eps)
    return -learning_rate * u, s_new


def adamaxw(g, s, w, *, learning_rate, b1, b2, eps, weight_decay, decayed=True):
    """AdaMax (Kingma & Ba 2015, Algorithm 2) with the decoupled decay of Loshchilov & Hutter 2019."""
    u, s_new = scale_by_adamax(g, s, w, b1=b1, b2=b2, eps=eps)
    if decayed:
        u = u + weight_decay * w
    return -learning_rate * u, s_new
