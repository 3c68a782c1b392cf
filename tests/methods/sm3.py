"""SM3-II (Anil et al. 2019)."""

import numpy as np

import optax_lite as ol
from tests.methods.row import Quirks, Row, fast, over, rate, rate_bad, slow


def scale_by_sm3(g, s, w, *, b1, b2, eps):
    """SM3-II (Anil et al. 2019, Algorithm SM3-II) with the slices of each axis as cover, and
    momentum b1.
    """
    m = np.zeros_like(g) if s is None else s["nu"]
    # A scalar is covered by itself alone: one accumulator of one entry.
    g_nd = np.atleast_1d(g)
    mu = [np.zeros(n) for n in g_nd.shape] if s is None else s["mu"]
    spread = []
    for axis, mu_axis in enumerate(mu):
        shape = [1] * g_nd.ndim
        shape[axis] = -1
        spread.append(np.broadcast_to(mu_axis.reshape(shape), g_nd.shape))
    least = np.min(np.stack(spread), axis=0)
    # b2 = 1 is the paper's sum; the moving average of b2 < 1 is optax's.
    g2 = np.abs(g_nd) ** 2
    nu = least + g2 if b2 == 1 else b2 * least + (1 - b2) * g2
    mu_new = [
        np.max(nu, axis=tuple(a for a in range(g_nd.ndim) if a != axis))
        for axis in range(g_nd.ndim)
    ]
    # 0 / 0 = 0, the paper's convention.
    u = np.where(nu > 0, g_nd / np.sqrt(np.where(nu > 0, nu + eps, 1.0)), 0.0).reshape(g.shape)
    m = b1 * m + (1 - b1) * u
    return m, {"mu": mu_new, "nu": m}


def sm3(g, s, w, *, learning_rate, momentum):
    """SM3-II update (Anil et al. 2019, Algorithm SM3-II) with momentum."""
    u, s_new = scale_by_sm3(g, s, w, b1=momentum, b2=1.0, eps=1e-8)
    return -learning_rate * u, s_new


sm3_settings = (
    {},
    {"eps": 0.0},
    *over(b1=(0.0, 0.5), b2=(1.0, 0.9), eps=(1e-8, 0.1)),
    {"b1": fast, "b2": slow, "eps": rate},
    {"b2": 0.0},
)


def sm3_parts(lib, learning_rate, momentum=0.9):
    return lib.chain(
        lib.scale_by_sm3(b1=momentum, b2=1.0, eps=1e-8), lib.scale_by_learning_rate(learning_rate)
    )


ROWS: tuple[Row, ...] = (
    Row(
        ol.scale_by_sm3,
        scale_by_sm3,
        sm3_settings,
        (
            ({"b1": 1.0}, "b1 must be in [0, 1), got 1.0"),
            ({"b2": 1.5}, "b2 must be in [0, 1], got 1.5"),
            ({"eps": -1}, "eps must be at least 0"),
        ),
        quirks=Quirks(same_program=1e-6),
    ),
    Row(
        ol.sm3,
        sm3,
        (
            {"learning_rate": 0.1},
            *over(learning_rate=(0.01, 1, rate), momentum=(0.0, 0.5)),
            {"learning_rate": 0.1, "momentum": fast},
        ),
        (*rate_bad, ({"learning_rate": 0.1, "momentum": 1}, "momentum must be in [0, 1), got 1.0")),
        stands_for=sm3_parts,
    ),
)
