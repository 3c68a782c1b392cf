"""MADGRAD (Defazio & Jelassi 2021)."""

import numpy as np

import optax_lite as ol
from tests.methods.row import Row, eps_bad, fast, over, rate, rate_bad, with_rate


def scale_by_madgrad(g, s, w, *, learning_rate, momentum, eps):
    """MADGRAD (Defazio & Jelassi 2021, Algorithm 1) with c_k = 1 - momentum; the update has its
    sign and rate.
    """
    k = 0 if s is None else s["count"]
    x_0 = w if s is None else s["x0"]
    s_k = np.zeros_like(g) if s is None else s["s"]
    nu = np.zeros(g.shape) if s is None else s["grad_sum_sq"]
    c = 1 - momentum
    # The authors' code, and optax after it, add eps to the rate; the paper does not.
    lam = (learning_rate + eps) * np.sqrt(k + 1)
    s_k = s_k + lam * g
    nu = nu + lam * np.abs(g) ** 2
    root = np.cbrt(nu) + eps
    # eps = 0 and no gradient yet: s_k is 0 too, and z stays at x_0 (authors' code).
    step = np.where(root > 0, s_k / np.where(root > 0, root, 1.0), 0.0)
    # z = x_0 - step and x = (1 - c) * w + c * z; x - w in the order that keeps the digits of a
    # small step.
    return c * ((x_0 - w) - step), {"count": k + 1, "grad_sum_sq": nu, "s": s_k, "x0": x_0}


def madgrad(g, s, w, *, learning_rate, momentum, weight_decay, eps):
    """MADGRAD (Defazio & Jelassi 2021, Algorithm 1) with an L2 penalty, as in the authors' code."""
    return scale_by_madgrad(
        g + weight_decay * w, s, w, learning_rate=learning_rate, momentum=momentum, eps=eps
    )


def madgrad_parts(lib, learning_rate, momentum=0.9, weight_decay=0.0, eps=1e-6):
    return lib.chain(
        lib.add_decayed_weights(weight_decay=weight_decay),
        lib.scale_by_madgrad(learning_rate=learning_rate, momentum=momentum, eps=eps),
    )


ROWS: tuple[Row, ...] = (
    Row(
        ol.scale_by_madgrad,
        scale_by_madgrad,
        (
            {"learning_rate": 0.1},
            *over(learning_rate=(0.5, 3), momentum=(0.0, 0.6), eps=(1e-6, 0.3)),
            {"learning_rate": 0.1, "eps": 0.0},
            {"learning_rate": rate, "momentum": fast, "eps": 0.1},
        ),
        (
            *rate_bad,
            *with_rate(eps_bad[:1]),
            ({"learning_rate": 0.1, "momentum": 1}, "momentum must be in [0, 1), got 1.0"),
        ),
    ),
    Row(
        ol.madgrad,
        madgrad,
        (
            {"learning_rate": 0.1},
            *over(
                learning_rate=(0.1, rate), momentum=(0.0, 0.9), weight_decay=(0.3,), eps=(1e-6, 0.1)
            ),
            {"learning_rate": 1, "weight_decay": fast},
        ),
        (*rate_bad, *with_rate(eps_bad[:1])),
        stands_for=madgrad_parts,
    ),
)
