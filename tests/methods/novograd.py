"""NovoGrad (Ginsburg et al. 2019)."""

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


def scale_by_novograd(g, s, w, *, b1, b2, eps, eps_root, weight_decay):
    """NovoGrad direction (Ginsburg et al. 2019, Algorithm 1): one second moment for the
    whole leaf.
    """
    t = (0 if s is None else s["count"]) + 1
    norm_squared = float(np.sum(np.abs(g) ** 2))
    v = norm_squared if s is None else b2 * s["nu"] + (1 - b2) * norm_squared
    # Unlike in Adam the new term is not multiplied by 1 - b1, and the decay is part of the
    # momentum.
    new = g / (np.sqrt(v + eps_root) + eps) + weight_decay * w
    m = new if s is None else b1 * s["mu"] + new
    return m, {"count": t, "mu": m, "nu": v}


def novograd(g, s, w, *, learning_rate, b1, b2, eps, eps_root, weight_decay):
    """NovoGrad update (Ginsburg et al. 2019, Algorithm 1)."""
    u, s_new = scale_by_novograd(
        g, s, w, b1=b1, b2=b2, eps=eps, eps_root=eps_root, weight_decay=weight_decay
    )
    return -learning_rate * u, s_new


novograd_settings = (
    {},
    {"b1": 0.0, "b2": 0.0, "eps": 0.1},
    {"b1": 0.5, "b2": 0.9, "eps": 0.5, "weight_decay": 0.2},
    {"eps_root": 0.3, "weight_decay": 0.1},
    {"b2": 0.99, "eps": 0.1, "eps_root": 0.1},
    {"b1": 0.99, "weight_decay": 1},
    {"b1": fast, "b2": slow, "weight_decay": 0.1},
    {"b1": 0.5, "b2": fast, "weight_decay": 0.0},
)


def novograd_parts(lib, learning_rate, b1=0.9, b2=0.25, eps=1e-6, eps_root=0.0, weight_decay=0.0):
    return lib.chain(
        lib.scale_by_novograd(b1=b1, b2=b2, eps=eps, eps_root=eps_root, weight_decay=weight_decay),
        lib.scale_by_learning_rate(learning_rate),
    )


ROWS: tuple[Row, ...] = (
    Row(
        ol.scale_by_novograd,
        scale_by_novograd,
        novograd_settings,
        (*beta_bad, *eps_bad),
        quirks=Quirks(unlike=("mu_dtype",), same_program=1e-6),
    ),
    Row(
        ol.novograd,
        novograd,
        optimizer_settings(novograd_settings),
        (*rate_bad, *with_rate(beta_bad + eps_bad)),
        stands_for=novograd_parts,
        quirks=Quirks(same_program=1e-6),
    ),
)
