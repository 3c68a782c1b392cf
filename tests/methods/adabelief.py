"""AdaBelief (Zhuang et al. 2020)."""

import numpy as np

import optax_lite as ol
from tests.methods.row import (
    Quirks,
    Row,
    beta_bad,
    eps_bad,
    fast,
    optimizer_settings,
    rate,
    rate_bad,
    slow,
    with_rate,
)


def scale_by_belief(g, s, w, *, b1, b2, eps, eps_root, nesterov):
    """AdaBelief direction (Zhuang et al. 2020, Algorithm 2); nesterov: Dozat 2016, Algorithm 2 with
    constant b1.
    """
    t = (0 if s is None else s["count"]) + 1
    m = np.zeros_like(g) if s is None else s["mu"]
    v = np.zeros(g.shape) if s is None else s["nu"]
    m = b1 * m + (1 - b1) * g
    # The paper's one epsilon is two here (optax): eps_root stays in the accumulator, eps joins the
    # denominator.
    v = b2 * v + (1 - b2) * np.abs(g - m) ** 2 + eps_root
    if nesterov:
        # m is used one step ahead of time, hence corrected with t + 1.
        m_hat = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
    else:
        m_hat = m / (1 - b1**t)
    v_hat = v / (1 - b2**t)
    u = m_hat / (np.sqrt(v_hat) + eps)
    return u, {"count": t, "mu": m, "nu": v}


def adabelief(g, s, w, *, learning_rate, b1, b2, eps, eps_root, weight_decay, nesterov):
    """AdaBelief update (Zhuang et al. 2020, Algorithm 2), with decoupled decay as in AdamW."""
    u, s_new = scale_by_belief(g, s, w, b1=b1, b2=b2, eps=eps, eps_root=eps_root, nesterov=nesterov)
    return -learning_rate * (u + (weight_decay or 0.0) * w), s_new


# eps_root is added to the state, where only a large one shows beside gradients of size 30.
belief_settings = (
    {},
    {"b1": 0.0, "b2": 0.0, "eps": 0.1},
    {"b1": 0.5, "b2": 0.9, "eps": 0.1},
    {"eps_root": 0.05},
    {"b1": 0.7, "b2": 0.8, "eps": 0.3, "eps_root": 0.2},
    {"nesterov": True},
    {"b1": 0.6, "b2": 0.8, "eps": 1e-3, "eps_root": 1e-3, "nesterov": True},
    {"b1": fast, "b2": slow, "eps": 1e-2},
    {"b1": 0, "b2": fast, "eps": 0.1, "nesterov": True},
)


def adabelief_parts(
    lib,
    learning_rate,
    b1=0.9,
    b2=0.999,
    eps=1e-16,
    eps_root=1e-16,
    weight_decay=None,
    weight_decay_mask=None,
    nesterov=False,
):
    has_decay = weight_decay is not None
    decay = [lib.add_decayed_weights(weight_decay, weight_decay_mask)] if has_decay else []
    return lib.chain(
        lib.scale_by_belief(b1=b1, b2=b2, eps=eps, eps_root=eps_root, nesterov=nesterov),
        *decay,
        lib.scale_by_learning_rate(learning_rate),
    )


ROWS: tuple[Row, ...] = (
    Row(ol.scale_by_belief, scale_by_belief, belief_settings, (*beta_bad, *eps_bad)),
    Row(
        ol.adabelief,
        adabelief,
        (
            *optimizer_settings(belief_settings),
            {"learning_rate": 0.1, "weight_decay": 0.3},
            {"learning_rate": rate, "weight_decay": fast, "nesterov": True},
        ),
        (*rate_bad, *with_rate(beta_bad + eps_bad)),
        stands_for=adabelief_parts,
        quirks=Quirks(unlike=("weight_decay_mask",)),
    ),
)
