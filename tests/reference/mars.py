"""Numpy reference: MARS-AdamW."""

import numpy as np


def mars(g, s, w, *, learning_rate, b1, b2, eps, gamma, max_norm, weight_decay, decayed=True):
    """MARS-AdamW in its approximate form, with the gradient of the step before (Yuan et al. 2024)."""
    t = (0 if s is None else s["count"]) + 1
    m = np.zeros_like(g) if s is None else s["mu"]
    v = np.zeros(g.shape) if s is None else s["nu"]
    # The authors' code starts with a zero gradient, so the first correction is gamma b1 / (1 - b1) g
    # (in the paper x_1 = x_0, and the first correction is 0).
    g_before = np.zeros_like(g) if s is None else s["previous_gradient"]
    c = g + gamma * b1 / (1 - b1) * (g - g_before)
    # The norm is that of this tensor alone; the paper and the authors' code have max_norm = 1.
    norm = np.sqrt(np.sum(np.abs(c) ** 2))
    if norm > max_norm:
        c = c * (max_norm / norm)
    m = b1 * m + (1 - b1) * c
    v = b2 * v + (1 - b2) * np.abs(c) ** 2
    m_hat = m / (1 - b1**t)
    v_hat = v / (1 - b2**t)
    u = m_hat / (np.sqrt(v_hat) + eps)
    if decayed:
        u = u + weight_decay * w
    return -learning_rate * u, {"count": t, "previous_gradient": g, "mu": m, "nu": v}
