"""Numpy references: Yogi."""

import numpy as np


def scale_by_yogi(g, s, w, *, b1, b2, eps, eps_root, initial_accumulator_value):
    """Yogi direction (Zaheer et al. 2018, Algorithm 2), with Adam's bias corrections."""
    t = (0 if s is None else s["count"]) + 1
    # m_0 = 0 as in the paper and in TensorFlow Addons; optax starts m at this value too, and moves without a gradient.
    m = np.zeros_like(g) if s is None else s["mu"]
    v = np.full(g.shape, initial_accumulator_value) if s is None else s["nu"]
    m = b1 * m + (1 - b1) * g
    v = v - (1 - b2) * np.sign(v - np.abs(g) ** 2) * np.abs(g) ** 2
    # Algorithm 2 corrects neither moment; the authors' code and optax correct both as Adam does.
    m_hat = m / (1 - b1**t)
    v_hat = v / (1 - b2**t)
    u = m_hat / (np.sqrt(v_hat + eps_root) + eps)
    return u, {"count": t, "mu": m, "nu": v}


def yogi(g, s, w, *, learning_rate, b1, b2, eps):
    """Yogi update (Zaheer et al. 2018, Algorithm 2)."""
    # 1e-6 is the authors' default (their code, February 2020); optax's factory has no argument for it.
    u, s_new = scale_by_yogi(g, s, w, b1=b1, b2=b2, eps=eps, eps_root=0.0, initial_accumulator_value=1e-6)
    return -learning_rate * u, s_new
