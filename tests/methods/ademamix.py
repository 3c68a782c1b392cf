"""AdEMAMix (Pagliardini, Ablin & Grangier 2024)."""

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


def scale_by_ademamix(g, s, w, *, b1, b2, b3, alpha, eps, eps_root):
    """AdEMAMix direction (Pagliardini, Ablin & Grangier 2024, Algorithm 1); b3, alpha: the numbers
    at this step.
    """
    t = (0 if s is None else s["count"]) + 1
    m1 = np.zeros_like(g) if s is None else s["m1"]
    m2 = np.zeros_like(g) if s is None else s["m2"]
    v = np.zeros(g.shape) if s is None else s["nu"]
    m1 = b1 * m1 + (1 - b1) * g
    m2 = b3 * m2 + (1 - b3) * g
    v = b2 * v + (1 - b2) * np.abs(g) ** 2
    # The slow average is not corrected, so that it comes in gradually.
    m1_hat = m1 / (1 - b1**t)
    v_hat = v / (1 - b2**t)
    u = (m1_hat + alpha * m2) / (np.sqrt(v_hat + eps_root) + eps)
    return u, {"count": t, "count_m2": t, "m1": m1, "m2": m2, "nu": v}


def ademamix(
    g, s, w, *, learning_rate, b1, b2, b3, alpha, eps, eps_root, weight_decay, decayed=True
):
    """AdEMAMix with decoupled weight decay (Pagliardini, Ablin & Grangier 2024, Algorithm 1)."""
    u, s_new = scale_by_ademamix(
        g, s, w, b1=b1, b2=b2, b3=b3, alpha=alpha, eps=eps, eps_root=eps_root
    )
    if decayed:
        u = u + weight_decay * w
    return -learning_rate * u, s_new


ademamix_settings = (
    {},
    {"b1": 0.0, "b2": 0.0, "b3": 0.0, "eps": 0.1},
    {"b1": 0.5, "b2": 0.9, "b3": 0.8, "alpha": 2, "eps": 0.1},
    {"alpha": 0.0, "eps_root": 0.05},
    {"b3": 0.9, "alpha": 8.0, "eps": 0.3, "eps_root": 0.2},
    {"b2": 0.99, "b3": 0.5},
    {"b3": slow, "alpha": fast},
    {"b1": fast, "b2": slow, "alpha": 10 * rate},
)


def ademamix_parts(
    lib,
    learning_rate,
    b1=0.9,
    b2=0.999,
    b3=0.9999,
    alpha=5.0,
    eps=1e-8,
    eps_root=0.0,
    mu_dtype=None,
    weight_decay=0.0,
    mask=None,
):
    return lib.chain(
        lib.scale_by_ademamix(
            b1=b1, b2=b2, b3=b3, alpha=alpha, eps=eps, eps_root=eps_root, mu_dtype=mu_dtype
        ),
        lib.add_decayed_weights(weight_decay=weight_decay, mask=mask),
        lib.scale_by_learning_rate(learning_rate),
    )


ROWS: tuple[Row, ...] = (
    Row(
        ol.scale_by_ademamix,
        scale_by_ademamix,
        ademamix_settings,
        (
            *beta_bad,
            *eps_bad,
            ({"b3": 1}, "b3 must be in [0, 1), got 1.0"),
            ({"alpha": -1}, "alpha must be at least 0"),
        ),
        quirks=Quirks(unlike=("mu_dtype",)),
    ),
    Row(
        ol.ademamix,
        ademamix,
        decayed_optimizer_settings(ademamix_settings),
        (*rate_bad, *with_rate(beta_bad + eps_bad), weight_decay_bad),
        stands_for=ademamix_parts,
        quirks=Quirks(unlike=("mu_dtype", "mask")),
    ),
)
