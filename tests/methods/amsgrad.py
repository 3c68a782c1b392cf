"""AMSGrad (Reddi, Kale & Kumar 2018)."""

import numpy as np

import optax_lite as ol
from tests.methods.row import (
    Quirks,
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


def scale_by_amsgrad(
    g, s, w, *, b1, b2, eps, eps_root, bias_correction_mu, bias_correction_nu, max_of="corrected"
):
    """AMSGrad direction (Reddi, Kale & Kumar 2018, Algorithm 2), with Adam's bias corrections, each
    optional.
    """
    t = (0 if s is None else s["count"]) + 1
    m = np.zeros_like(g) if s is None else s["mu"]
    v = np.zeros(g.shape) if s is None else s["nu"]
    v_max = np.zeros(g.shape) if s is None else s["nu_max"]
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * np.abs(g) ** 2
    m_hat = m / (1 - b1**t) if bias_correction_mu else m
    # The paper corrects nothing. With a correction there are two orders: the maximum of the
    # corrected v (optax), or the corrected maximum of the raw v (torch, Keras).
    if not bias_correction_nu:
        v_max = np.maximum(v_max, v)
        v_hat = v_max
    elif max_of == "corrected":
        v_max = np.maximum(v_max, v / (1 - b2**t))
        v_hat = v_max
    elif max_of == "raw":
        v_max = np.maximum(v_max, v)
        v_hat = v_max / (1 - b2**t)
    else:
        raise ValueError(max_of)
    u = m_hat / (np.sqrt(v_hat + eps_root) + eps)
    return u, {"count": t, "mu": m, "nu": v, "nu_max": v_max}


def amsgrad(
    g,
    s,
    w,
    *,
    learning_rate,
    b1,
    b2,
    eps,
    eps_root,
    bias_correction_mu,
    bias_correction_nu,
    max_of="corrected",
):
    """AMSGrad update (Reddi, Kale & Kumar 2018, Algorithm 2)."""
    u, s_new = scale_by_amsgrad(
        g,
        s,
        w,
        b1=b1,
        b2=b2,
        eps=eps,
        eps_root=eps_root,
        bias_correction_mu=bias_correction_mu,
        bias_correction_nu=bias_correction_nu,
        max_of=max_of,
    )
    return -learning_rate * u, s_new


amsgrad_settings = (
    {},
    {"b1": 0.5, "b2": 0.9, "eps": 0.1},
    {"eps": 0.3, "eps_root": 0.2},
    *over(
        b1=(0.8,),
        b2=(0.6,),
        bias_correction_mu=(False, True),
        bias_correction_nu=(False, True),
        eps=(0.1,),
    ),
    {"max_of": "raw"},
    {"max_of": "raw", "b1": 0.5, "b2": 0.7, "eps": 0.1, "eps_root": 0.05},
    {"max_of": "raw", "b2": 0.8, "bias_correction_nu": False},
    {"b1": fast, "b2": slow, "max_of": "raw"},
    {"b1": slow, "b2": fast},
)
max_of_bad = ({"max_of": "v"}, "max_of must be 'corrected' or 'raw', got 'v'")


def amsgrad_parts(
    lib,
    learning_rate,
    b1=0.9,
    b2=0.999,
    eps=1e-8,
    eps_root=0.0,
    mu_dtype=None,
    bias_correction_mu=True,
    bias_correction_nu=True,
    max_of="corrected",
):
    direction = lib.scale_by_amsgrad(
        b1=b1,
        b2=b2,
        eps=eps,
        eps_root=eps_root,
        mu_dtype=mu_dtype,
        bias_correction_mu=bias_correction_mu,
        bias_correction_nu=bias_correction_nu,
        max_of=max_of,
    )
    return lib.chain(direction, lib.scale_by_learning_rate(learning_rate))


ROWS: tuple[Row, ...] = (
    Row(
        ol.scale_by_amsgrad,
        scale_by_amsgrad,
        amsgrad_settings,
        (*beta_bad, *eps_bad, max_of_bad),
        quirks=Quirks(unlike=("mu_dtype",)),
    ),
    Row(
        ol.amsgrad,
        amsgrad,
        optimizer_settings(amsgrad_settings),
        (*rate_bad, *with_rate((*beta_bad, max_of_bad))),
        stands_for=amsgrad_parts,
        quirks=Quirks(unlike=("mu_dtype",)),
    ),
)
