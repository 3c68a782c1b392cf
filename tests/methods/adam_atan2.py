"""Adam-atan2 (Everett et al. 2024)."""

import numpy as np

import optax_lite as ol
from tests.methods.row import (
    Quirks,
    Row,
    beta_bad,
    decayed_optimizer_settings,
    fast,
    rate_bad,
    slow,
    weight_decay_bad,
    with_rate,
)


def scale_by_adam_atan2(g, s, w, *, b1, b2, a, b):
    """Adam-atan2 direction (Everett et al. 2024): a bounded quotient that needs no epsilon."""
    t = (0 if s is None else s["count"]) + 1
    m = np.zeros_like(g) if s is None else s["mu"]
    v = np.zeros(g.shape) if s is None else s["nu"]
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * np.abs(g) ** 2
    m_hat = m / (1 - b1**t)
    v_hat = v / (1 - b2**t)
    # atan2(0, 0) = 0: an entry that never had a gradient stays where it is.
    if np.iscomplexobj(g):
        # The paper has real parameters only: here the modulus takes the angle, and the phase is
        # kept.
        phase = m_hat / np.where(m_hat == 0, 1.0, np.abs(m_hat))
        u = a * phase * np.arctan2(np.abs(m_hat), b * np.sqrt(v_hat))
    else:
        u = a * np.arctan2(m_hat, b * np.sqrt(v_hat))
    return u, {"count": t, "mu": m, "nu": v}


def adam_atan2(g, s, w, *, learning_rate, b1, b2, a, b, weight_decay, decayed=True):
    """Adam-atan2 (Everett et al. 2024) with the decoupled decay of Loshchilov & Hutter 2019."""
    u, s_new = scale_by_adam_atan2(g, s, w, b1=b1, b2=b2, a=a, b=b)
    if decayed:
        u = u + weight_decay * w
    return -learning_rate * u, s_new


atan2_settings = (
    {},
    {"b1": 0.0, "b2": 0.0},
    {"b1": 0.5, "b2": 0.9, "a": 0.3},
    {"b": 0.2},
    {"a": 2, "b": 3},
    {"b1": 0.99, "b2": 0.5, "b": 0.0},
    {"b1": fast, "b2": slow},
    {"a": fast, "b": slow},
)


def adam_atan2_parts(
    lib, learning_rate, b1=0.9, b2=0.999, a=1.27, b=1.0, mu_dtype=None, weight_decay=0.0, mask=None
):
    return lib.chain(
        lib.scale_by_adam_atan2(b1=b1, b2=b2, a=a, b=b, mu_dtype=mu_dtype),
        lib.add_decayed_weights(weight_decay=weight_decay, mask=mask),
        lib.scale_by_learning_rate(learning_rate),
    )


ROWS: tuple[Row, ...] = (
    Row(
        ol.scale_by_adam_atan2,
        scale_by_adam_atan2,
        atan2_settings,
        (
            *beta_bad,
            ({"a": -1}, "a must be at least 0, got -1.0"),
            ({"eps": 1e-8}, "no argument 'eps'"),
        ),
        quirks=Quirks(unlike=("mu_dtype",)),
    ),
    Row(
        ol.adam_atan2,
        adam_atan2,
        decayed_optimizer_settings(atan2_settings),
        (*rate_bad, *with_rate(beta_bad), weight_decay_bad),
        stands_for=adam_atan2_parts,
        quirks=Quirks(unlike=("mu_dtype", "mask")),
    ),
)
