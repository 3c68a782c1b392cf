"""Simplified AdEMAMix (Morwani et al. 2025)."""

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


def scale_by_simplified_ademamix(g, s, w, *, b1, b2, alpha, eps, eps_root):
    """Simplified AdEMAMix direction (Morwani et al. 2025)."""
    t = (0 if s is None else s["t"]) + 1
    m = np.zeros_like(g) if s is None else s["m"]
    n = np.zeros(g.shape) if s is None else s["n"]
    # An accumulator, not an average: no factor 1 - b1, and hence no bias correction of m.
    m = b1 * m + g
    n = b2 * n + (1 - b2) * np.abs(g) ** 2
    n_hat = n / (1 - b2**t)
    u = (m + alpha * g) / (np.sqrt(n_hat + eps_root) + eps)
    return u, {"t": t, "m": m, "n": n}


def simplified_ademamix(
    g, s, w, *, learning_rate, b1, b2, alpha, eps, eps_root, weight_decay, decayed=True
):
    """Simplified AdEMAMix with decoupled weight decay (Morwani et al. 2025)."""
    u, s_new = scale_by_simplified_ademamix(
        g, s, w, b1=b1, b2=b2, alpha=alpha, eps=eps, eps_root=eps_root
    )
    if decayed:
        u = u + weight_decay * w
    return -learning_rate * u, s_new


simplified_settings = (
    {},
    {"b1": 0.0, "b2": 0.0, "alpha": 1.0, "eps": 0.1},
    {"b1": 0.5, "b2": 0.9, "alpha": 2, "eps": 0.1},
    {"alpha": 50.0, "eps_root": 0.05},
    {"b2": 0.5, "alpha": 0.5, "eps": 0.3, "eps_root": 0.2},
    {"b1": 0.999, "b2": 0.99},
    {"b1": slow, "alpha": fast},
    {"b1": fast, "b2": slow, "alpha": 10 * rate},
)


def simplified_ademamix_parts(
    lib,
    learning_rate,
    b1=0.99,
    b2=0.95,
    alpha=0.0,
    eps=1e-8,
    eps_root=0.0,
    weight_decay=0.0,
    mask=None,
):
    return lib.chain(
        lib.scale_by_simplified_ademamix(b1=b1, b2=b2, alpha=alpha, eps=eps, eps_root=eps_root),
        lib.add_decayed_weights(weight_decay=weight_decay, mask=mask),
        lib.scale_by_learning_rate(learning_rate),
    )


ROWS: tuple[Row, ...] = (
    Row(
        ol.scale_by_simplified_ademamix,
        scale_by_simplified_ademamix,
        simplified_settings,
        (*beta_bad, *eps_bad, ({"alpha": -1}, "alpha must be at least 0, got -1.0")),
    ),
    Row(
        ol.simplified_ademamix,
        simplified_ademamix,
        decayed_optimizer_settings(simplified_settings),
        (*rate_bad, *with_rate(beta_bad + eps_bad), weight_decay_bad),
        stands_for=simplified_ademamix_parts,
        quirks=Quirks(unlike=("mask",)),
    ),
)
