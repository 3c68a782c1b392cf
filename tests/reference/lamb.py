"""Numpy reference: LAMB."""

import numpy as np


def lamb(g, s, w, *, learning_rate, b1, b2, eps, eps_root, weight_decay, decayed=True):
    """LAMB (You et al. 2020, Algorithm 2) with phi(z) = z; decayed=False: a masked leaf."""
    t = (0 if s is None else s["count"]) + 1
    m = np.zeros_like(g) if s is None else s["mu"]
    v = np.zeros(g.shape) if s is None else s["nu"]
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * np.abs(g) ** 2
    m_hat = m / (1 - b1**t)
    v_hat = v / (1 - b2**t)
    r = m_hat / (np.sqrt(v_hat + eps_root) + eps)
    if decayed:
        r = r + weight_decay * w
    w_norm = np.sqrt(np.sum(np.abs(w) ** 2))
    r_norm = np.sqrt(np.sum(np.abs(r) ** 2))
    # The ratio is 1 where it is not defined, as in the authors' code.
    ratio = w_norm / r_norm if w_norm > 0 and r_norm > 0 else 1.0
    return -learning_rate * ratio * r, {"count": t, "mu": m, "nu": v}
