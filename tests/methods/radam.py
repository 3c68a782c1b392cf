"""Rectified Adam (Liu et al. 2020)."""

import numpy as np

import optax_lite as ol
from tests.methods.row import (
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


def scale_by_radam(g, s, w, *, b1, b2, eps, eps_root, threshold, nesterov):
    """RAdam direction (Liu et al. 2020, Algorithm 2); nesterov: Dozat 2016, Algorithm 2 with
    constant b1.
    """
    t = (0 if s is None else s["count"]) + 1
    m = np.zeros_like(g) if s is None else s["mu"]
    v = np.zeros(g.shape) if s is None else s["nu"]
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * np.abs(g) ** 2
    if nesterov:
        m_hat = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
    else:
        m_hat = m / (1 - b1**t)
    rho_inf = 2 / (1 - b2) - 1
    # The length of the simple average whose centre of mass is that of the exponential one (section
    # 4.1), which the paper sums up to rho_inf - 2 t b2^t / (1 - b2^t): that difference loses up to
    # 8 of 16 digits.
    age = np.arange(t)
    weights = (1 - b2) * b2**age  # their sum is 1 - b2^t
    rho = 1 + 2 * np.sum(age * weights) / np.sum(weights)
    # The paper rectifies for rho > 4, below which r is the root of a negative number; the authors'
    # code, and optax after it, for rho >= 5, being "more conservative".
    if rho >= threshold and rho > 4:
        v_hat = v / np.sum(weights)
        r = np.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
        u = r * m_hat / (np.sqrt(v_hat + eps_root) + eps)
    else:
        # The variance of the adaptive rate cannot be estimated yet: momentum alone.
        u = m_hat
    return u, {"count": t, "mu": m, "nu": v}


def radam(g, s, w, *, learning_rate, b1, b2, eps, eps_root, threshold, nesterov):
    """RAdam update (Liu et al. 2020, Algorithm 2)."""
    u, s_new = scale_by_radam(
        g, s, w, b1=b1, b2=b2, eps=eps, eps_root=eps_root, threshold=threshold, nesterov=nesterov
    )
    return -learning_rate * u, s_new


# At the eighth update, the first after a used state, ρ is 4.7 for b2 = 0.7, and it is computed as
# for few updates with b2 above 0.88. With 0.999999 the plain formula loses digits in float64 too.
radam_settings = (
    {},
    {"b2": 0.9999, "eps": 0.1},
    {"b1": 0.5, "b2": 0.9, "eps_root": 0.05},
    {"b1": 0.0, "b2": 0.5},
    {"b1": 0.8, "b2": 0.8, "eps": 0.1, "eps_root": 0.1},
    {"b2": 0.7},
    {"b2": 0.7, "threshold": 4.2},
    {"b2": 0.75, "threshold": 4.2},
    {"b2": 0.99, "threshold": 8.5},
    {"b2": 0.999999, "eps": 0.1},
    {"b2": 0.999, "threshold": 1.0},
    {"nesterov": True, "b2": 0.97},
    {"b1": 0.6, "b2": 0.8, "nesterov": True, "threshold": 4.0},
    {"b1": fast, "b2": slow, "eps": 0.01},
    {"b2": 0.95, "threshold": 100 * rate},
)


def radam_parts(
    lib, learning_rate, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, threshold=5.0, nesterov=False
):
    return lib.chain(
        lib.scale_by_radam(
            b1=b1, b2=b2, eps=eps, eps_root=eps_root, threshold=threshold, nesterov=nesterov
        ),
        lib.scale_by_learning_rate(learning_rate),
    )


ROWS: tuple[Row, ...] = (
    Row(
        ol.scale_by_radam,
        scale_by_radam,
        radam_settings,
        (*beta_bad, *eps_bad, ({"threshold": -1}, "threshold must be at least 0, got -1.0")),
    ),
    Row(
        ol.radam,
        radam,
        optimizer_settings(radam_settings),
        (*rate_bad, *with_rate(beta_bad + eps_bad)),
        stands_for=radam_parts,
    ),
)
