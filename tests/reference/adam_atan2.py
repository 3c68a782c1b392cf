"""Numpy references: Adam-atan2."""

import numpy as np


def scale_by_adam_atan2(g, s, w, *, b1, b2, a, b):
    """Adam-atan2 direction (Everett et al. 2024): a bounded quotient that needs no epsilon."""
    t = (0 if s is None else s["count"]) + 1
    m = np.zeros_like(g) if s is None else s["mu"]
    v = np.zeros(g.shape) if s is None else s["nu"]
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * np.abs(g) ** 2
    m_hat = m / (1 - b1**t)
    v_hat = v / (1 - b2**t)
    # atan2(0, 0) = 0: an entry that never had a gradient stays where it is.
    if np.iscomplexobj(g):
        # The paper has real parameters only: here the modulus takes the angle, and the phase is kept.
        phase = m_hat / np.where(m_hat == 0, 1.0, np.abs(m_hat))
        u = a * phase * np.arctan2(np.abs(m_hat), b * np.sqrt(v_hat))
    else:
        u = a * np.arctan2(m_hat, b * np.sqrt(v_hat))
    return u, {"count": t, "mu": m, "nu": v}


def adam_atan2(g, s, w, *, learning_rate, b1, b2, a, b, weight_decay, decayed=True):
    """Adam-atan2 (Everett et al. 2024) with the decoupled decay of Loshchilov & Hutter 2019."""
    u, s_new = scale_by_adam_atan2(g, s, w, b1=b1, b2=b2, a=a, b=b)
    if decayed:
        u = u + weight_decay * w
    return -learning_rate * u, s_new
