"""Numpy references: AMSGrad."""

import numpy as np


def scale_by_amsgrad(g, s, w, *, b1, b2, eps, eps_root, bias_correction_mu, bias_correction_nu, max_of="corrected"):
    """AMSGrad direction (Reddi, Kale & Kumar 2018, Algorithm 2), with Adam's bias corrections, each optional."""
    t = (0 if s is None else s["count"]) + 1
    m = np.zeros_like(g) if s is None else s["mu"]
    v = np.zeros(g.shape) if s is None else s["nu"]
    v_max = np.zeros(g.shape) if s is None else s["nu_max"]
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * np.abs(g) ** 2
    m_hat = m / (1 - b1**t) if bias_correction_mu else m
    # The paper corrects nothing. With a correction there are two orders: the maximum of the corrected v
    # (optax), or the corrected maximum of the raw v (torch, Keras).
    if not bias_correction_nu:
        v_max = np.maximum(v_max, v)
        v_hat = v_max
    elif max_of == "corrected":
        v_max = np.maximum(v_max, v / (1 - b2**t))
        v_hat = v_max
    elif max_of == "raw":
        v_max = np.maximum(v_max, v)
        v_hat = v_max / (1 - b2**t)
    else:
        raise ValueError(max_of)
    u = m_hat / (np.sqrt(v_hat + eps_root) + eps)
    return u, {"count": t, "mu": m, "nu": v, "nu_max": v_max}


def amsgrad(
    g, s, w, *, learning_rate, b1, b2, eps, eps_root, bias_correction_mu, bias_correction_nu, max_of="corrected"
):
    """AMSGrad update (Reddi, Kale & Kumar 2018, Algorithm 2)."""
    u, s_new = scale_by_amsgrad(
        g,
        s,
        w,
        b1=b1,
        b2=b2,
        eps=eps,
        eps_root=eps_root,
        bias_correction_mu=bias_correction_mu,
        bias_correction_nu=bias_correction_nu,
        max_of=max_of,
    )
    return -learning_rate * u, s_new
