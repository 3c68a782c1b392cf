"""Prodigy (Mishchenko & Defazio 2023)."""

import numpy as np

import optax_lite as ol
from tests.methods.dadapt_adamw import betas_bad, dadapt_settings
from tests.methods.row import Quirks, Row, eps_bad, fast, rate, rate_bad, slow


def prodigy(
    g,
    s,
    w,
    *,
    learning_rate,
    betas,
    beta3,
    eps,
    estim_lr0,
    estim_lr_coef,
    weight_decay,
    safeguard_warmup,
):
    """Prodigy (Mishchenko & Defazio 2023, Algorithm 4) with the authors' code's beta3, safeguard
    and decay.
    """
    beta1, beta2 = betas
    if beta3 is None:
        beta3 = np.sqrt(beta2)
    k = 0 if s is None else s["count"]
    m = [np.zeros_like(x) for x in g] if s is None else s["exp_avg"]
    v = [np.zeros(x.shape) for x in g] if s is None else s["exp_avg_sq"]
    s_k = [np.zeros_like(x) for x in g] if s is None else s["grad_sum"]
    x_0 = list(w) if s is None else s["params0"]
    d = estim_lr0 if s is None else s["estim_lr"]
    r = 0.0 if s is None else s["numerator_weighted"]
    # Adam's bias corrections are in the rate: an option of the authors' code, always on in optax.
    dlr = d * learning_rate * np.sqrt(1 - beta2 ** (k + 1)) / (1 - beta1 ** (k + 1))

    m = [beta1 * y + (1 - beta1) * d * x for x, y in zip(g, m, strict=True)]
    v = [beta2 * y + (1 - beta2) * d**2 * np.abs(x) ** 2 for x, y in zip(g, v, strict=True)]
    # r and s_k without the common factor 1 - beta3 and relative to d_0 (authors' code): the ratio
    # is the same.
    product = sum(np.vdot(x, y - z).real for x, y, z in zip(g, x_0, w, strict=True))
    r = beta3 * r + d / estim_lr0 * dlr * product
    weight = d if safeguard_warmup else dlr
    s_k = [beta3 * y + d / estim_lr0 * weight * x for x, y in zip(g, s_k, strict=True)]
    norm = sum(np.sum(np.abs(x)) for x in s_k)
    # Before the first gradient (or with a rate of 0 so far) nothing is learned about d (authors'
    # code).
    d_hat = estim_lr_coef * r / norm if norm > 0 else d
    d = max(d, d_hat)
    # d is d_{k+1} here, as in the authors' code for the paper and in optax; Algorithm 4 has d_k *
    # eps.
    u = [
        -dlr * (y / (np.sqrt(z) + d * eps) + weight_decay * x)
        for x, y, z in zip(w, m, v, strict=True)
    ]
    s_new = {
        "exp_avg": m,
        "exp_avg_sq": v,
        "grad_sum": s_k,
        "params0": x_0,
        "estim_lr": d,
        "numerator_weighted": r,
        "count": k + 1,
    }
    return u, s_new


# r is a sum over the tree whose terms have both signs, which leaves fewer digits than float32 has:
# the largest error seen is half of this.
prodigy_float32 = 1e-5


ROWS: tuple[Row, ...] = (
    Row(
        ol.prodigy,
        prodigy,
        (
            *dadapt_settings,
            {"beta3": 0.7, "estim_lr_coef": 2.0, "estim_lr0": 0.2},
            {"safeguard_warmup": True, "learning_rate": rate, "estim_lr0": 0.01, "eps": 0.5},
            {
                "beta3": slow,
                "estim_lr_coef": fast,
                "weight_decay": 0.2,
                "safeguard_warmup": True,
                "eps": 0.1,
            },
        ),
        (
            *rate_bad,
            *betas_bad,
            *eps_bad[:1],
            ({"beta3": 1}, "beta3 must be in [0, 1), got 1.0"),
            ({"estim_lr_coef": -1}, "estim_lr_coef must be at least 0, got -1.0"),
        ),
        quirks=Quirks(
            unlike=("weight_decay_mask",),
            whole_tree=True,
            float32=prodigy_float32,
            positive=("estim_lr0",),
        ),
    ),
)
