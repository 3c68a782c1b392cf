"""Numpy references: NovoGrad."""

import numpy as np


def scale_by_novograd(g, s, w, *, b1, b2, eps, eps_root, weight_decay):
    """NovoGrad direction (Ginsburg et al. 2019, Algorithm 1): one second moment for the whole leaf."""
    t = (0 if s is None else s["count"]) + 1
    norm_squared = float(np.sum(np.abs(g) ** 2))
    v = norm_squared if s is None else b2 * s["nu"] + (1 - b2) * norm_squared
    # Unlike in Adam the new term is not multiplied by 1 - b1, and the decay is part of the momentum.
    new = g / (np.sqrt(v + eps_root) + eps) + weight_decay * w
    m = new if s is None else b1 * s["mu"] + new
    return m, {"count": t, "mu": m, "nu": v}


def novograd(g, s, w, *, learning_rate, b1, b2, eps, eps_root, weight_decay):
    """NovoGrad update (Ginsburg et al. 2019, Algorithm 1)."""
    u, s_new = scale_by_novograd(g, s, w, b1=b1, b2=b2, eps=eps, eps_root=eps_root, weight_decay=weight_decay)
    return -learning_rate * u, s_new
