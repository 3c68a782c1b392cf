"""MARS-AdamW (Yuan et al. 2024)."""

import numpy as np

import optax_lite as ol
from tests.methods.row import (
    Quirks,
    Row,
    beta_bad,
    decayed_optimizer_settings,
    eps_bad,
    fast,
    rate,
    rate_bad,
    slow,
    weight_decay_bad,
    with_rate,
)


def mars(g, s, w, *, learning_rate, b1, b2, eps, gamma, max_norm, weight_decay, decayed=True):
    """MARS-AdamW in its approximate form, with the gradient of the step before (Yuan et al.
    2024).
    """
    t = (0 if s is None else s["count"]) + 1
    m = np.zeros_like(g) if s is None else s["mu"]
    v = np.zeros(g.shape) if s is None else s["nu"]
    # The authors' code starts with a zero gradient, so the first correction is gamma b1 / (1 - b1)
    # g (in the paper x_1 = x_0, and the first correction is 0).
    g_before = np.zeros_like(g) if s is None else s["previous_gradient"]
    c = g + gamma * b1 / (1 - b1) * (g - g_before)
    # The norm is that of this tensor alone; the paper and the authors' code have max_norm = 1.
    norm = np.sqrt(np.sum(np.abs(c) ** 2))
    if norm > max_norm:
        c = c * (max_norm / norm)
    m = b1 * m + (1 - b1) * c
    v = b2 * v + (1 - b2) * np.abs(c) ** 2
    m_hat = m / (1 - b1**t)
    v_hat = v / (1 - b2**t)
    u = m_hat / (np.sqrt(v_hat) + eps)
    if decayed:
        u = u + weight_decay * w
    return -learning_rate * u, {"count": t, "previous_gradient": g, "mu": m, "nu": v}


mars_settings = (
    {},
    {"b1": 0.5, "b2": 0.9, "eps": 0.1, "gamma": 0.5},
    {"b1": 0.9, "gamma": 0.0, "eps": 0.01},
    {"max_norm": 30, "gamma": 0.1, "eps": 1.0},
    {"max_norm": 0.01, "eps": 0.1},
    {"b1": 0.0, "b2": 0.0, "eps": 0.2},
    {"b1": fast, "b2": slow, "gamma": rate},
    {"max_norm": fast, "gamma": fast, "eps": 0.1},
)


ROWS: tuple[Row, ...] = (
    Row(
        ol.mars,
        mars,
        (*decayed_optimizer_settings(mars_settings), {"weight_decay": 0.1}),
        (
            *rate_bad,
            *with_rate((*beta_bad, eps_bad[0], ({"gamma": -1}, "gamma must be at least 0"))),
            ({"max_norm": 0}, "max_norm must be above 0, got 0.0"),
            weight_decay_bad,
        ),
        quirks=Quirks(unlike=("mask",)),
    ),
)
