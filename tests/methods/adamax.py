"""AdaMax (Kingma & Ba 2015) and AdaMaxW."""

import numpy as np

import optax_lite as ol
from tests.methods.row import (
    Quirks,
    Row,
    beta_bad as any_beta_bad,
    decayed_optimizer_settings,
    eps_bad,
    fast,
    optimizer_settings,
    rate_bad,
    slow,
    weight_decay_bad,
    with_rate,
)


def scale_by_adamax(g, s, w, *, b1, b2, eps):
    """AdaMax direction (Kingma & Ba 2015, Algorithm 2)."""
    t = (0 if s is None else s["count"]) + 1
    m = np.zeros_like(g) if s is None else s["mu"]
    v = np.zeros(g.shape) if s is None else s["nu"]
    m = b1 * m + (1 - b1) * g
    # The paper has no epsilon; optax (and torch) add it to |g| inside the maximum, against 0 / 0.
    v = np.maximum(b2 * v, np.abs(g) + eps)
    # A maximum has no bias towards zero: only m is corrected.
    u = m / (1 - b1**t) / v
    return u, {"count": t, "mu": m, "nu": v}


def adamax(g, s, w, *, learning_rate, b1, b2, eps):
    """AdaMax update (Kingma & Ba 2015, Algorithm 2)."""
    u, s_new = scale_by_adamax(g, s, w, b1=b1, b2=b2, eps=eps)
    return -learning_rate * u, s_new


def adamaxw(g, s, w, *, learning_rate, b1, b2, eps, weight_decay, decayed=True):
    """AdaMax (Kingma & Ba 2015, Algorithm 2) with the decoupled decay of Loshchilov &
    Hutter 2019.
    """
    u, s_new = scale_by_adamax(g, s, w, b1=b1, b2=b2, eps=eps)
    if decayed:
        u = u + weight_decay * w
    return -learning_rate * u, s_new


beta_bad = (any_beta_bad[0], ({"b2": -0.1}, "b2 must be in [0, 1], got -0.1"))
adamax_settings = (
    {},
    {"b1": 0.0, "b2": 0.0},
    {"b1": 0.5, "b2": 0.9, "eps": 0.1},
    {"b1": 0.99, "b2": 0.9999},
    {"eps": 0.3},
    {"b1": 0.8, "b2": 0.3, "eps": 1e-3},
    {"b1": fast, "b2": slow, "eps": 1e-2},
    {"b1": 0.9, "b2": fast},
    {"b2": 1.0},
)


def adamax_parts(lib, learning_rate, b1=0.9, b2=0.999, eps=1e-8):
    return lib.chain(
        lib.scale_by_adamax(b1=b1, b2=b2, eps=eps), lib.scale_by_learning_rate(learning_rate)
    )


def adamaxw_parts(lib, learning_rate, b1=0.9, b2=0.999, eps=1e-8, weight_decay=1e-4, mask=None):
    return lib.chain(
        lib.scale_by_adamax(b1=b1, b2=b2, eps=eps),
        lib.add_decayed_weights(weight_decay=weight_decay, mask=mask),
        lib.scale_by_learning_rate(learning_rate),
    )


ROWS: tuple[Row, ...] = (
    Row(ol.scale_by_adamax, scale_by_adamax, adamax_settings, (*beta_bad, eps_bad[0])),
    Row(
        ol.adamax,
        adamax,
        optimizer_settings(adamax_settings),
        (*rate_bad, *with_rate(beta_bad)),
        stands_for=adamax_parts,
    ),
    Row(
        ol.adamaxw,
        adamaxw,
        decayed_optimizer_settings(adamax_settings),
        (*rate_bad, weight_decay_bad),
        stands_for=adamaxw_parts,
        quirks=Quirks(unlike=("mask",)),
    ),
)
