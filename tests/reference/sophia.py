"""Numpy references: Sophia."""

import numpy as np


def hutchinson(z, Hz):
    """Hutchinson's estimate of the diagonal of H from z and the product H z (Liu et al. 2023, Algorithm 1)."""
    # E[z z^T] = I makes it unbiased: the paper draws z normal, optax (as documented) from {-1, 1}.
    return z * Hz


def sophia(
    g, s, w, *, learning_rate, b1, b2, eps, weight_decay, gamma, clip_threshold, update_interval, hessian, decayed=True
):
    """Sophia (Liu et al. 2023, Algorithm 3); hessian is the estimate of the Hessian diagonal at this step."""
    t = (0 if s is None else s["count"]) + 1
    m = np.zeros_like(g) if s is None else s["mu"]
    h = np.zeros(g.shape) if s is None else s["nu"]
    m = b1 * m + (1 - b1) * g
    # The bias correction is not in the paper but in the authors' code (SophiaH) and in optax.
    m_hat = m / (1 - b1**t)
    # h is the average BEFORE this step's estimate (authors' code, optax); Algorithm 3 uses the one after it.
    u = m_hat / np.maximum(gamma * h, eps)
    if clip_threshold is not None:
        u = np.clip(u, -clip_threshold, clip_threshold)
    # "t mod k = 1" of the paper, which k = 1 also needs.
    if (t - 1) % update_interval == 0:
        h = b2 * h + (1 - b2) * hessian
    if decayed:
        u = u + weight_decay * w
    return -learning_rate * u, {"count": t, "mu": m, "nu": h}
