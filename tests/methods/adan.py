"""Adan (Xie et al. 2022)."""

import numpy as np

import optax_lite as ol
from tests.methods.row import (
    Quirks,
    Row,
    beta_bad,
    decayed_optimizer_settings,
    eps_bad,
    fast,
    rate_bad,
    slow,
    weight_decay_bad,
    with_rate,
)


def scale_by_adan(g, s, w, *, b1, b2, b3, eps, eps_root):
    """Adan direction (Xie et al. 2022, Algorithm 1, with the bias corrections of the authors'
    code).
    """
    # b1, b2, b3 are the shares that are kept (0.98, 0.92, 0.99), as in the authors' code: one minus
    # the paper's betas (0.02, 0.08, 0.01). The paper's factor 1 - beta_2 of the gradient difference
    # is therefore b2.
    t = (0 if s is None else s["t"]) + 1
    m = np.zeros_like(g) if s is None else s["m"]
    v = np.zeros_like(g) if s is None else s["v"]
    n = np.zeros(g.shape) if s is None else s["n"]
    # The first step has no gradient before it: the difference is zero (paper: v_0 = 0).
    difference = np.zeros_like(g) if s is None else g - s["g"]
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * difference
    n = b3 * n + (1 - b3) * np.abs(g + b2 * difference) ** 2
    m_hat = m / (1 - b1**t)
    v_hat = v / (1 - b2**t)
    n_hat = n / (1 - b3**t)
    u = (m_hat + b2 * v_hat) / (np.sqrt(n_hat + eps_root) + eps)
    return u, {"m": m, "v": v, "n": n, "g": g, "t": t}


def adan(
    g, s, w, *, learning_rate, b1, b2, b3, eps, eps_root, weight_decay, decayed=True, proximal=True
):
    """Adan update (Xie et al. 2022, Algorithm 1); proximal=False: the authors' option no_prox,
    decay as in AdamW.
    """
    u, s_new = scale_by_adan(g, s, w, b1=b1, b2=b2, b3=b3, eps=eps, eps_root=eps_root)
    if not decayed:
        return -learning_rate * u, s_new
    if proximal:
        # The paper's (w - eta u) / (1 + lambda eta) minus w, without the cancellation.
        return -learning_rate * (u + weight_decay * w) / (1 + weight_decay * learning_rate), s_new
    return -learning_rate * (u + weight_decay * w), s_new


adan_settings = (
    {},
    {"b1": 0.0, "b2": 0.0, "b3": 0.0},
    {"b1": 0.5, "b2": 0.7, "b3": 0.9, "eps": 0.1},
    {"eps_root": 0.05},
    {"b1": 0.9, "b2": 0.3, "b3": 0.8, "eps": 0.2, "eps_root": 0.1},
    {"b2": 0.99, "b3": 0.999},
    {"b1": slow, "b2": fast, "b3": slow, "eps": 1e-2},
    {"b1": fast, "b2": 0.5, "b3": 0.5},
)


def adan_parts(
    lib,
    learning_rate,
    b1=0.98,
    b2=0.92,
    b3=0.99,
    eps=1e-8,
    eps_root=1e-8,
    weight_decay=0.0,
    mask=None,
):
    return lib.chain(
        lib.scale_by_adan(b1=b1, b2=b2, b3=b3, eps=eps, eps_root=eps_root),
        lib.add_decayed_weights(weight_decay=weight_decay, mask=mask),
        lib.scale_by_learning_rate(learning_rate),
    )


ROWS: tuple[Row, ...] = (
    Row(
        ol.scale_by_adan,
        scale_by_adan,
        adan_settings,
        (*beta_bad, *eps_bad, ({"b3": 1}, "b3 must be in [0, 1), got 1.0")),
    ),
    Row(
        ol.adan,
        adan,
        decayed_optimizer_settings(adan_settings),
        (*rate_bad, *with_rate(beta_bad + eps_bad), weight_decay_bad),
        stands_for=adan_parts,
        # decay as in AdamW, a choice of the authors' too
        quirks=Quirks(unlike=("mask",), translate=lambda settings: {**settings, "proximal": False}),
    ),
)
