"""StableAdamW (Wortsman et al. 2023)."""

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


def stable_adamw(g, s, w, *, learning_rate, b1, b2, eps, weight_decay, decayed=True):
    """StableAdamW (Wortsman et al. 2023, Algorithm 2): AdamW with the update clipping of Adafactor,
    for each tensor.
    """
    t = (0 if s is None else s["count"]) + 1
    m = np.zeros_like(g) if s is None else s["mu"]
    v = np.zeros(g.shape) if s is None else s["nu"]
    # The paper's betas corrected at every step give the same averages as plain betas and corrected
    # moments.
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


# RMS is 1 for b2 = 0 and at first; sizes change little from step to step, so only a used state or a
# small b2 clips.
stable_settings = (
    {},
    {"b1": 0.0, "b2": 0.0},
    {"b1": 0.5, "b2": 0.9, "eps": 0.1},
    {"b2": 0.3, "eps": 0.5},
    {"b1": 0.99, "b2": 0.999, "eps": 3.0},
    {"b1": fast, "b2": slow},
    {"b2": fast, "eps": rate},
)


ROWS: tuple[Row, ...] = (
    Row(
        ol.stable_adamw,
        stable_adamw,
        decayed_optimizer_settings(stable_settings),
        (*rate_bad, *with_rate((*beta_bad, eps_bad[0])), weight_decay_bad),
        quirks=Quirks(unlike=("mask",)),
    ),
)
