"""Numpy reference: LARS."""

import numpy as np


def lars(
    g, s, w, *, learning_rate, weight_decay, trust_coefficient, eps, momentum, nesterov, decayed=True, trusted=True
):
    """LARS (You, Gitman & Ginsburg 2017, Algorithm 1); decayed=False, trusted=False: leaves outside the two masks."""
    d = g + weight_decay * w if decayed else g
    local_lr = 1.0
    if trusted:
        w_norm = np.sqrt(np.sum(np.abs(w) ** 2))
        # The paper divides by ||g|| + beta * ||w||. optax divides by the norm of the sum, ||g + beta * w||, which is
        # how the first authors write LARS later (You et al. 2020, Algorithm 1). lars_2017 is the paper's.
        d_norm = np.sqrt(np.sum(np.abs(d) ** 2))
        if w_norm > 0 and d_norm > 0:
            local_lr = trust_coefficient * w_norm / (d_norm + eps)
    # The learning rate goes into the velocity, as in the paper.
    step = learning_rate * local_lr * d
    v = np.zeros_like(g) if s is None else s["trace"]
    v = momentum * v - step
    u = momentum * v - step if nesterov else v
    return u, {"trace": v}


def lars_2017(g, s, w, *, learning_rate, weight_decay, trust_coefficient, eps, momentum):
    """LARS with the denominator of the paper, ||g|| + beta * ||w|| (You, Gitman & Ginsburg 2017, Algorithm 1)."""
    w_norm = np.sqrt(np.sum(np.abs(w) ** 2))
    g_norm = np.sqrt(np.sum(np.abs(g) ** 2))
    local_lr = 1.0
    if w_norm > 0 and g_norm > 0:
        local_lr = trust_coefficient * w_norm / (g_norm + weight_decay * w_norm + eps)
    v = np.zeros_like(g) if s is None else s["trace"]
    v = momentum * v - learning_rate * local_lr * (g + weight_decay * w)
    return v, {"trace": v}
