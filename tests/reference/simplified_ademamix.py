"""Numpy references: Simplified AdEMAMix."""

import numpy as np


def scale_by_simplified_ademamix(g, s, w, *, b1, b2, alpha, eps, eps_root):
    """Simplified AdEMAMix direction (Morwani et al. 2025)."""
    t = (0 if s is None else s["t"]) + 1
    m = np.zeros_like(g) if s is None else s["m"]
    n = np.zeros(g.shape) if s is None else s["n"]
    # An accumulator, not an average: no factor 1 - b1, and hence no bias correction of m.
    m = b1 * m + g
    n = b2 * n + (1 - b2) * np.abs(g) ** 2
    n_hat = n / (1 - b2**t)
    u = (m + alpha * g) / (np.sqrt(n_hat + eps_root) + eps)
    return u, {"t": t, "m": m, "n": n}


def simplified_ademamix(g, s, w, *, learning_rate, b1, b2, alpha, eps, eps_root, weight_decay, decayed=True):
    """Simplified AdEMAMix with decoupled weight decay (Morwani et al. 2025)."""
    u, s_new = scale_by_simplified_ademamix(g, s, w, b1=b1, b2=b2, alpha=alpha, eps=eps, eps_root=eps_root)
    if decayed:
        u = u + weight_decay * w
    return -learning_rate * u, s_new
