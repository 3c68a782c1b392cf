"""Lion (Chen et al. 2023)."""

import numpy as np

import optax_lite as ol
from tests.methods.row import (
    Quirks,
    Row,
    beta_bad,
    decayed_optimizer_settings,
    fast,
    over,
    rate_bad,
    slow,
    weight_decay_bad,
    with_rate,
)


def scale_by_lion(g, s, w, *, b1, b2, mode, smooth_beta):
    """Lion direction (Chen et al. 2023, Algorithm 2); mode: optax's soft variants of the sign."""
    count = (0 if s is None else s["count"]) + 1
    m = np.zeros_like(g) if s is None else s["mu"]
    c = b1 * m + (1 - b1) * g
    size = np.abs(c)
    # A zero entry has no direction: its sign is 0.
    sign = np.where(size > 0, c / np.where(size > 0, size, 1.0), 0.0)
    if mode == "hard":
        u = sign
    elif mode == "smooth":
        # Of the modulus: the tanh of a complex number has poles.
        u = sign * np.tanh(smooth_beta * size)
    elif mode == "refined":
        # Linear around 0, the sign beyond 1 (optax's docstring; not the arctan of the paper "A
        # refined Lion").
        u = np.where(size < 1, c, sign)
    else:
        raise ValueError(mode)
    # The step uses b1, the memory b2: two different averages of the same gradients.
    m = b2 * m + (1 - b2) * g
    return u, {"count": count, "mu": m}


def lion(g, s, w, *, learning_rate, b1, b2, weight_decay, decayed=True):
    """Lion update with decoupled weight decay (Chen et al. 2023, Algorithm 2)."""
    u, s_new = scale_by_lion(g, s, w, b1=b1, b2=b2, mode="hard", smooth_beta=1.0)
    if decayed:
        u = u + weight_decay * w
    return -learning_rate * u, s_new


lion_settings = (
    {},
    {"b1": 0.0, "b2": 0.5},
    {"b1": 0.95, "b2": 0.0},
    {"b1": 0.5, "b2": 0.9},
    {"b1": fast, "b2": slow},
    {"b1": 0.99, "b2": 0.999},
)
mode_bad = ({"mode": "soft"}, "mode must be 'hard', 'smooth' or 'refined', got 'soft'")


def lion_parts(lib, learning_rate, b1=0.9, b2=0.99, mu_dtype=None, weight_decay=1e-3, mask=None):
    return lib.chain(
        lib.scale_by_lion(b1=b1, b2=b2, mu_dtype=mu_dtype, mode="hard"),
        lib.add_decayed_weights(weight_decay=weight_decay, mask=mask),
        lib.scale_by_learning_rate(learning_rate),
    )


ROWS: tuple[Row, ...] = (
    Row(
        ol.scale_by_lion,
        scale_by_lion,
        (
            *lion_settings,
            {"mode": "smooth", "b1": fast},
            *over(mode=("smooth", "refined"), b1=(0.5, fast), smooth_beta=(0.3, slow)),
        ),
        (*beta_bad, mode_bad, ({"smooth_beta": -1}, "smooth_beta must be at least 0, got -1.0")),
        quirks=Quirks(unlike=("mu_dtype",)),
    ),
    Row(
        ol.lion,
        lion,
        decayed_optimizer_settings(lion_settings),
        (*rate_bad, *with_rate(beta_bad), weight_decay_bad),
        stands_for=lion_parts,
        quirks=Quirks(unlike=("mu_dtype", "mask")),
    ),
)
