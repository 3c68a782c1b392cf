"""Adam (Kingma & Ba 2015) and AdamW (Loshchilov & Hutter 2019)."""

import numpy as np

import optax_lite as ol
from tests.methods.row import (
    Quirks,
    Row,
    adam_settings,
    beta_bad,
    eps_bad,
    fast,
    rate,
    rate_bad,
    with_rate,
    wrong_names,
)


def scale_by_adam(g, s, w, *, b1, b2, eps, eps_root, nesterov):
    """Adam direction (Kingma & Ba 2015, Algorithm 1); nesterov: Dozat 2016, Algorithm 2 with
    constant b1.
    """
    t = (0 if s is None else s["count"]) + 1
    m = np.zeros_like(g) if s is None else s["mu"]
    v = np.zeros(g.shape) if s is None else s["nu"]
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * np.abs(g) ** 2
    if nesterov:
        # m is used one step ahead of time, hence corrected with t + 1.
        m_hat = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
    else:
        m_hat = m / (1 - b1**t)
    v_hat = v / (1 - b2**t)
    u = m_hat / (np.sqrt(v_hat + eps_root) + eps)
    return u, {"count": t, "mu": m, "nu": v}


def adam(g, s, w, *, learning_rate, b1, b2, eps, eps_root, nesterov):
    """Adam update (Kingma & Ba 2015, Algorithm 1)."""
    u, s_new = scale_by_adam(g, s, w, b1=b1, b2=b2, eps=eps, eps_root=eps_root, nesterov=nesterov)
    return -learning_rate * u, s_new


def adamw(g, s, w, *, learning_rate, b1, b2, eps, eps_root, nesterov, weight_decay, decayed=True):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, Algorithm 2); decayed=False: a
    masked leaf.
    """
    u, s_new = scale_by_adam(g, s, w, b1=b1, b2=b2, eps=eps, eps_root=eps_root, nesterov=nesterov)
    if decayed:
        # Decoupled: the decay joins after the scaling, so the moments never see it.
        u = u + weight_decay * w
    return -learning_rate * u, s_new


def adam_parts(
    lib, learning_rate, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, mu_dtype=None, nesterov=False
):
    return lib.chain(
        lib.scale_by_adam(
            b1=b1, b2=b2, eps=eps, eps_root=eps_root, mu_dtype=mu_dtype, nesterov=nesterov
        ),
        lib.scale_by_learning_rate(learning_rate),
    )


def adamw_parts(
    lib,
    learning_rate,
    b1=0.9,
    b2=0.999,
    eps=1e-8,
    eps_root=0.0,
    mu_dtype=None,
    weight_decay=1e-4,
    mask=None,
    nesterov=False,
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
        ol.scale_by_adam,
        scale_by_adam,
        adam_settings,
        (*beta_bad, *eps_bad),
        quirks=Quirks(unlike=("mu_dtype",)),
    ),
    Row(
        ol.adam,
        adam,
        (*({"learning_rate": 0.1, **s} for s in adam_settings), {"learning_rate": rate}),
        (*rate_bad, *wrong_names, *with_rate(beta_bad + eps_bad)),
        stands_for=adam_parts,
        quirks=Quirks(unlike=("mu_dtype",)),
    ),
    Row(
        ol.adamw,
        adamw,
        (
            {"learning_rate": 0.1},
            *({"learning_rate": 0.1, "weight_decay": 0.3, **s} for s in adam_settings),
            {"learning_rate": rate, "weight_decay": fast},
        ),
        (*rate_bad, *wrong_names, *with_rate(beta_bad + eps_bad)),
        stands_for=adamw_parts,
        quirks=Quirks(unlike=("mu_dtype", "mask")),
    ),
)
