"""NAdam and NAdamW (Dozat 2016) with a constant momentum, written out without adam.py."""

import numpy as np

import optax_lite as ol
from tests.methods.row import (
    Quirks,
    Row,
    adam_settings,
    beta_bad,
    eps_bad,
    rate,
    rate_bad,
    with_rate,
)


def nadam(g, s, w, *, learning_rate, b1, b2, eps, eps_root, nesterov=True):
    """NAdam (Dozat 2016, Algorithm 2) with mu_t = b1 for all t and n_hat = n / (1 - b2^t)."""
    if s is None:
        t, m, n = 1, (1 - b1) * g, (1 - b2) * np.abs(g) ** 2
    else:
        t = s["count"] + 1
        m = b1 * s["mu"] + (1 - b1) * g
        n = b2 * s["nu"] + (1 - b2) * np.abs(g) ** 2
    # With constant mu the products of mu_1 ... mu_t in the paper are powers of b1.
    g_hat = g / (1 - b1**t)
    m_hat = m / (1 - b1 ** (t + 1))
    n_hat = n / (1 - b2**t)
    m_bar = (1 - b1) * g_hat + b1 * m_hat
    u = -learning_rate * m_bar / (np.sqrt(n_hat + eps_root) + eps)
    return u, {"count": t, "mu": m, "nu": n}


def nadamw(
    g, s, w, *, learning_rate, b1, b2, eps, eps_root, weight_decay, nesterov=True, decayed=True
):
    """NAdam (Dozat 2016, Algorithm 2) with the decoupled decay of Loshchilov & Hutter 2019."""
    u, s_new = nadam(g, s, w, learning_rate=learning_rate, b1=b1, b2=b2, eps=eps, eps_root=eps_root)
    if decayed:
        u = u - learning_rate * weight_decay * w
    return u, s_new


nadam_settings = tuple({k: v for k, v in s.items() if k != "nesterov"} for s in adam_settings)


def nadam_parts(
    lib, learning_rate, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, mu_dtype=None, nesterov=True
):
    return lib.chain(
        lib.scale_by_adam(
            b1=b1, b2=b2, eps=eps, eps_root=eps_root, mu_dtype=mu_dtype, nesterov=nesterov
        ),
        lib.scale_by_learning_rate(learning_rate),
    )


def nadamw_parts(
    lib,
    learning_rate,
    b1=0.9,
    b2=0.999,
    eps=1e-8,
    eps_root=0.0,
    mu_dtype=None,
    weight_decay=1e-4,
    mask=None,
    nesterov=True,
):
    return lib.chain(
        lib.scale_by_adam(
            b1=b1, b2=b2, eps=eps, eps_root=eps_root, mu_dtype=mu_dtype, nesterov=nesterov
        ),
        lib.add_decayed_weights(weight_decay=weight_decay, mask=mask),
        lib.scale_by_learning_rate(learning_rate),
    )


ROWS: tuple[Row, ...] = (
    Row(
        ol.nadam,
        nadam,
        tuple({"learning_rate": 0.1, **s} for s in nadam_settings),
        (*rate_bad, *with_rate(beta_bad + eps_bad)),
        stands_for=nadam_parts,
        quirks=Quirks(unlike=("mu_dtype",)),
    ),
    Row(
        ol.nadamw,
        nadamw,
        (
            {"learning_rate": 0.1},
            *({"learning_rate": rate, "weight_decay": 0.3, **s} for s in nadam_settings),
        ),
        (*rate_bad, *with_rate(beta_bad + eps_bad)),
        stands_for=nadamw_parts,
        quirks=Quirks(unlike=("mu_dtype", "mask")),
    ),
)
