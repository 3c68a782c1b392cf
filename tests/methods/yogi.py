"""Yogi (Zaheer et al. 2018)."""

import numpy as np

import optax_lite as ol
from tests.methods.row import (
    Row,
    beta_bad,
    eps_bad,
    fast,
    optimizer_settings,
    over,
    rate_bad,
    slow,
    with_rate,
)


def scale_by_yogi(g, s, w, *, b1, b2, eps, eps_root, initial_accumulator_value):
    """Yogi direction (Zaheer et al. 2018, Algorithm 2), with Adam's bias corrections."""
    t = (0 if s is None else s["count"]) + 1
    # m_0 = 0 as in the paper and in TensorFlow Addons; optax starts m at this value too, and moves
    # without a gradient.
    m = np.zeros_like(g) if s is None else s["mu"]
    v = np.full(g.shape, initial_accumulator_value) if s is None else s["nu"]
    m = b1 * m + (1 - b1) * g
    v = v - (1 - b2) * np.sign(v - np.abs(g) ** 2) * np.abs(g) ** 2
    # Algorithm 2 corrects neither moment; the authors' code and optax correct both as Adam does.
    m_hat = m / (1 - b1**t)
    v_hat = v / (1 - b2**t)
    u = m_hat / (np.sqrt(v_hat + eps_root) + eps)
    return u, {"count": t, "mu": m, "nu": v}


def yogi(g, s, w, *, learning_rate, b1, b2, eps):
    """Yogi update (Zaheer et al. 2018, Algorithm 2)."""
    # 1e-6 is the authors' default (their code, February 2020); optax's factory has no argument for
    # it.
    u, s_new = scale_by_yogi(
        g, s, w, b1=b1, b2=b2, eps=eps, eps_root=0.0, initial_accumulator_value=1e-6
    )
    return -learning_rate * u, s_new


yogi_settings = (
    {},
    {"b1": 0.0, "b2": 0.0},
    {"b1": 0.5, "b2": 0.9, "eps": 0.1},
    {"eps": 1e-8},
    {"eps": 0.3, "b2": 0.5},
    {"b1": fast, "b2": slow},
    {"b1": 0.8, "b2": fast, "eps": 0.01},
)


def yogi_parts(lib, learning_rate, b1=0.9, b2=0.999, eps=1e-3):
    return lib.chain(
        lib.scale_by_yogi(b1=b1, b2=b2, eps=eps, eps_root=0.0, initial_accumulator_value=1e-6),
        lib.scale_by_learning_rate(learning_rate),
    )


ROWS: tuple[Row, ...] = (
    Row(
        ol.scale_by_yogi,
        scale_by_yogi,
        (
            *yogi_settings,
            *over(initial_accumulator_value=(0.0, 0.5, 2), eps_root=(0.0, 0.1)),
            {"initial_accumulator_value": 1.0, "b2": fast, "eps_root": 0.2},
        ),
        (
            *beta_bad,
            *eps_bad,
            ({"initial_accumulator_value": -1}, "initial_accumulator_value must be at least 0"),
        ),
    ),
    Row(
        ol.yogi,
        yogi,
        optimizer_settings(yogi_settings),
        (*rate_bad, *with_rate(beta_bad)),
        stands_for=yogi_parts,
    ),
)
