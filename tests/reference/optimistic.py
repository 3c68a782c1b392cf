"""Numpy references: optimistic gradients."""

import numpy as np


def scale_by_optimistic_gradient(g, s, w, *, alpha, beta):
    """Generalized optimistic gradient (Mokhtari, Ozdaglar & Pattathil 2020, generalized OGDA), without the sign."""
    # Before the first step there is no previous gradient; with g_(-1) = g_0 the correction is zero.
    g_old = g if s is None else s["previous_gradient"]
    u = (alpha + beta) * g - beta * g_old
    return u, {"is_initial_step": False, "previous_gradient": g}


def optimistic_gradient_descent(g, s, w, *, learning_rate, alpha, beta):
    """Generalized optimistic gradient descent (Mokhtari, Ozdaglar & Pattathil 2020, generalized OGDA)."""
    u, s_new = scale_by_optimistic_gradient(g, s, w, alpha=alpha, beta=beta)
    return -learning_rate * u, s_new


def optimistic_adam_v2(g, s, w, *, learning_rate, alpha, beta, b1, b2, eps, eps_root, nesterov):
    """Optimistic Adam (Daskalakis et al. 2018, Algorithm 1) with weights alpha and beta; nesterov: Dozat 2016."""
    t = (0 if s is None else s["count"]) + 1
    m = np.zeros_like(g) if s is None else s["mu"]
    v = np.zeros(g.shape) if s is None else s["nu"]
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * np.abs(g) ** 2
    m_hat = m / (1 - b1**t)
    if nesterov:
        m_hat = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
    v_hat = v / (1 - b2**t)
    r = m_hat / (np.sqrt(v_hat + eps_root) + eps)
    # alpha = beta = 1 is the paper's 2 r_t - r_(t-1); the paper begins with r_0 = 0, optax with r_0 = r_1.
    r_old = r if s is None else s["previous_gradient"]
    u = (alpha + beta) * r - beta * r_old
    s_new = {"count": t, "mu": m, "nu": v, "is_initial_step": False, "previous_gradient": r}
    return -learning_rate * u, s_new
