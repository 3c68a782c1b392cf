"""Numpy reference: StableAdamW."""

import numpy as np


def stable_adamw(g, s, w, *, learning_rate, b1, b2, eps, weight_decay, decayed=True):
    """StableAdamW (Wortsman et al. 2023, Algorithm 2): AdamW with the update clipping of Adafactor, for each tensor."""
    t = (0 if s is None else s["count"]) + 1
    m = np.zeros_like(g) if s is None else s["mu"]
    v = np.zeros(g.shape) if s is None else s["nu"]
    # The paper's betas corrected at every step give the same averages as plain betas and corrected moments.
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * np.abs(g) ** 2
    m_hat = m / (1 - b1**t)
    v_hat = v / (1 - b2**t)
    # eps^2 keeps the quotient defined where v_hat is 0 (the paper, on the implementation of RMS_t).
    rms = np.sqrt(np.mean(np.abs(g) ** 2 / np.maximum(v_hat, eps**2)))
    # The clipped rate multiplies the decay too.
    eta = learning_rate / max(1.0, rms)
    u = -eta * m_hat / (np.sqrt(v_hat) + eps)
    if decayed:
        u = u - eta * weight_decay * w
    return u, {"count": t, "mu": m, "nu": v}
