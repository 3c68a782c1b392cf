"""Optimistic gradient descent (Mokhtari, Ozdaglar & Pattathil 2020) and Optimistic Adam (Daskalakis
et al. 2018).
"""

import numpy as np

import optax_lite as ol
from tests.methods.row import (
    Quirks,
    Row,
    beta_bad,
    eps_bad,
    fast,
    over,
    rate,
    rate_bad,
    slow,
    with_rate,
)


def scale_by_optimistic_gradient(g, s, w, *, alpha, beta):
    """Generalized optimistic gradient (Mokhtari, Ozdaglar & Pattathil 2020, generalized OGDA),
    without the sign.
    """
    # Before the first step there is no previous gradient; with g_(-1) = g_0 the correction is zero.
    g_old = g if s is None else s["previous_gradient"]
    u = (alpha + beta) * g - beta * g_old
    return u, {"is_initial_step": False, "previous_gradient": g}


def optimistic_gradient_descent(g, s, w, *, learning_rate, alpha, beta):
    """Generalized optimistic gradient descent (Mokhtari, Ozdaglar & Pattathil 2020, generalized
    OGDA).
    """
    u, s_new = scale_by_optimistic_gradient(g, s, w, alpha=alpha, beta=beta)
    return -learning_rate * u, s_new


def optimistic_adam_v2(g, s, w, *, learning_rate, alpha, beta, b1, b2, eps, eps_root, nesterov):
    """Optimistic Adam (Daskalakis et al. 2018, Algorithm 1) with weights alpha and beta; nesterov:
    Dozat 2016.
    """
    t = (0 if s is None else s["count"]) + 1
    m = np.zeros_like(g) if s is None else s["mu"]
    v = np.zeros(g.shape) if s is None else s["nu"]
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * np.abs(g) ** 2
    m_hat = m / (1 - b1**t)
    if nesterov:
        m_hat = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
    v_hat = v / (1 - b2**t)
    r = m_hat / (np.sqrt(v_hat + eps_root) + eps)
    # alpha = beta = 1 is the paper's 2 r_t - r_(t-1); the paper begins with r_0 = 0, optax with r_0
    # = r_1.
    r_old = r if s is None else s["previous_gradient"]
    u = (alpha + beta) * r - beta * r_old
    s_new = {"count": t, "mu": m, "nu": v, "is_initial_step": False, "previous_gradient": r}
    return -learning_rate * u, s_new


# Where beta is much larger than alpha the two gradients nearly cancel, and so do their digits.
optimism = (
    {},
    *over(alpha=(1.0, 0.6), beta=(0.0, 0.5, 0.7)),
    {"alpha": fast, "beta": 0.3},
    {"beta": fast, "alpha": slow},
)


def optimistic_gradient_descent_parts(lib, learning_rate, alpha=1.0, beta=1.0):
    return lib.chain(
        lib.scale_by_optimistic_gradient(alpha=alpha, beta=beta),
        lib.scale_by_learning_rate(learning_rate),
    )


def optimistic_adam_v2_parts(
    lib,
    learning_rate,
    alpha=1.0,
    beta=1.0,
    b1=0.9,
    b2=0.999,
    eps=1e-8,
    eps_root=0.0,
    mu_dtype=None,
    nesterov=True,
):
    return lib.chain(
        lib.scale_by_adam(
            b1=b1, b2=b2, eps=eps, eps_root=eps_root, mu_dtype=mu_dtype, nesterov=nesterov
        ),
        lib.scale_by_optimistic_gradient(alpha=alpha, beta=beta),
        lib.scale_by_learning_rate(learning_rate),
    )


def optimistic_adam(g, s, w, *, learning_rate, optimism=None, **of_adam):
    """The absolute rates alpha and beta, at a rate of 1 (optax's older form)."""
    optimism = learning_rate if optimism is None else optimism
    return optimistic_adam_v2(
        g, s, w, learning_rate=1.0, alpha=learning_rate, beta=optimism, **of_adam
    )


def optimistic_adam_parts(
    lib,
    learning_rate,
    optimism=None,
    b1=0.9,
    b2=0.999,
    eps=1e-8,
    eps_root=0.0,
    mu_dtype=None,
    nesterov=True,
):
    return lib.chain(
        lib.scale_by_adam(
            b1=b1, b2=b2, eps=eps, eps_root=eps_root, mu_dtype=mu_dtype, nesterov=nesterov
        ),
        lib.scale_by_optimistic_gradient(
            alpha=learning_rate, beta=learning_rate if optimism is None else optimism
        ),
        lib.scale(-1.0),
    )


ROWS: tuple[Row, ...] = (
    Row(ol.scale_by_optimistic_gradient, scale_by_optimistic_gradient, optimism),
    Row(
        ol.optimistic_gradient_descent,
        optimistic_gradient_descent,
        (*({"learning_rate": 0.1, **s} for s in optimism), {"learning_rate": rate, "alpha": 0.5}),
        rate_bad,
        stands_for=optimistic_gradient_descent_parts,
    ),
    Row(
        ol.optimistic_adam_v2,
        optimistic_adam_v2,
        (
            *({"learning_rate": 0.1, "b1": 0.6, "b2": 0.9, "eps": 1e-2, **s} for s in optimism),
            {"learning_rate": 0.1},
            {"learning_rate": rate, "nesterov": False, "eps_root": 0.1},
            {"learning_rate": 0.1, "b1": fast, "b2": slow, "eps": rate, "eps_root": 1e-3},
        ),
        (*rate_bad, *with_rate(beta_bad + eps_bad)),
        stands_for=optimistic_adam_v2_parts,
        quirks=Quirks(unlike=("mu_dtype",)),
    ),
    Row(
        ol.optimistic_adam,
        optimistic_adam,
        (
            {"learning_rate": 0.1},
            {"learning_rate": 0.1, "optimism": 0.0},
            {"learning_rate": 0.1, "optimism": 0.3, "nesterov": False},
            *({"learning_rate": 0.1, "b1": 0.6, "eps": e, "eps_root": 0.1} for e in (1e-2, 1e-3)),
            {"learning_rate": rate, "optimism": fast},
            {"learning_rate": rate, "b2": 0.5, "optimism": 0.2},
            {"learning_rate": 0.1, "optimism": slow, "b1": fast, "b2": slow, "eps": rate},
        ),
        (*rate_bad, *with_rate(beta_bad + eps_bad)),
        stands_for=optimistic_adam_parts,
        quirks=Quirks(unlike=("mu_dtype",)),
    ),
)
