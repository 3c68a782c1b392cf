"""NAdam with Dozat's momentum schedule (Dozat 2016)."""

import numpy as np

import optax_lite as ol
from tests.methods.row import (
    Quirks,
    Row,
    beta_bad,
    eps_bad,
    fast,
    optimizer_settings,
    rate_bad,
    slow,
    with_rate,
)


def scale_by_nadam(g, s, w, *, b1, b2, eps, momentum_decay):
    """NAdam direction with a growing momentum mu_t (Dozat 2016, Algorithm 2; as
    torch.optim.NAdam).
    """
    t = (0 if s is None else s["count"]) + 1
    m = np.zeros_like(g) if s is None else s["mu"]
    v = np.zeros(g.shape) if s is None else s["nu"]
    mu = b1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))
    mu_next = b1 * (1 - 0.5 * 0.96 ** ((t + 1) * momentum_decay))
    mu_product = (1.0 if s is None else s["mu_product"]) * mu
    # Dozat averages with mu_t here as well; torch and Keras keep the constant b1, and so do we.
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * np.abs(g) ** 2
    m_hat = mu_next * m / (1 - mu_product * mu_next) + (1 - mu) * g / (1 - mu_product)
    v_hat = v / (1 - b2**t)
    u = m_hat / (np.sqrt(v_hat) + eps)
    return u, {"count": t, "mu_product": mu_product, "mu": m, "nu": v}


def nadam_dozat(g, s, w, *, learning_rate, b1, b2, eps, momentum_decay):
    """NAdam update with Dozat's momentum schedule (Dozat 2016, Algorithm 2; as
    torch.optim.NAdam).
    """
    u, s_new = scale_by_nadam(g, s, w, b1=b1, b2=b2, eps=eps, momentum_decay=momentum_decay)
    return -learning_rate * u, s_new


nadam_settings = (
    {},
    {"b1": 0.0, "b2": 0.0},
    {"b1": 0.5, "b2": 0.9, "eps": 0.1},
    {"momentum_decay": 0.0},
    {"momentum_decay": 1, "eps": 0.2},
    {"b1": 0.99, "b2": 0.9999, "momentum_decay": 0.3},
    {"b1": fast, "b2": slow},
    {"b2": fast, "momentum_decay": fast},
)


def nadam_dozat_parts(
    lib, learning_rate, b1=0.9, b2=0.999, eps=1e-8, momentum_decay=4e-3, mu_dtype=None
):
    return lib.chain(
        lib.scale_by_nadam(b1=b1, b2=b2, eps=eps, momentum_decay=momentum_decay, mu_dtype=mu_dtype),
        lib.scale_by_learning_rate(learning_rate),
    )


ROWS: tuple[Row, ...] = (
    Row(
        ol.scale_by_nadam,
        scale_by_nadam,
        nadam_settings,
        (
            *beta_bad,
            eps_bad[0],
            ({"momentum_decay": -1}, "momentum_decay must be at least 0, got -1.0"),
        ),
        quirks=Quirks(unlike=("mu_dtype",)),
    ),
    Row(
        ol.nadam_dozat,
        nadam_dozat,
        optimizer_settings(nadam_settings),
        (*rate_bad, *with_rate(beta_bad)),
        stands_for=nadam_dozat_parts,
        quirks=Quirks(unlike=("mu_dtype",)),
    ),
)
