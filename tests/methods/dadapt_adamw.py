"""D-Adapted AdamW (Defazio & Mishchenko 2023)."""

import numpy as np

import optax_lite as ol
from tests.methods.row import Quirks, Row, eps_bad, fast, rate, rate_bad, slow


def dadapt_adamw(g, s, w, *, learning_rate, betas, eps, estim_lr0, weight_decay):
    """D-Adapt Adam (Defazio & Mishchenko 2023, Algorithm 5) with the authors' code's decoupled
    decay.
    """
    beta1, beta2 = betas
    k = 0 if s is None else s["count"]
    m = [np.zeros_like(x) for x in g] if s is None else s["exp_avg"]
    v = [np.zeros(x.shape) for x in g] if s is None else s["exp_avg_sq"]
    s_k = [np.zeros_like(x) for x in g] if s is None else s["grad_sum"]
    d = estim_lr0 if s is None else s["estim_lr"]
    r = 0.0 if s is None else s["numerator_weighted"]
    # Adam's bias corrections are in the rate: an option of the authors' code, always on in optax.
    dlr = d * learning_rate * np.sqrt(1 - beta2 ** (k + 1)) / (1 - beta1 ** (k + 1))
    root = np.sqrt(beta2)

    # <g_k, s_k> in the norm of the OLD A_k^-1, as in the authors' code.
    product = sum(
        np.vdot(x, y / (np.sqrt(z) + eps)).real for x, y, z in zip(g, s_k, v, strict=True)
    )
    m = [beta1 * y + (1 - beta1) * dlr * x for x, y in zip(g, m, strict=True)]
    v = [beta2 * y + (1 - beta2) * np.abs(x) ** 2 for x, y in zip(g, v, strict=True)]
    s_k = [root * y + (1 - root) * dlr * x for x, y in zip(g, s_k, strict=True)]
    r = root * r + (1 - root) * dlr * product
    norm = sum(np.sum(np.abs(x)) for x in s_k)
    # Before the first gradient (or with a rate of 0 so far) nothing is learned about d (authors'
    # code).
    d_hat = r / ((1 - root) * norm) if norm > 0 else d
    u = [-y / (np.sqrt(z) + eps) - weight_decay * dlr * x for x, y, z in zip(w, m, v, strict=True)]
    d = max(d, d_hat)
    s_new = {
        "exp_avg": m,
        "exp_avg_sq": v,
        "grad_sum": s_k,
        "estim_lr": d,
        "numerator_weighted": r,
        "count": k + 1,
    }
    return u, s_new


dadapt_settings = (
    {},
    {"learning_rate": 0.0, "estim_lr0": 0.5},
    {"estim_lr0": 0.1, "weight_decay": 0.3, "eps": 0.1},
    {"learning_rate": 0.5, "betas": (0.0, 0.5), "estim_lr0": 0.01},
    {"betas": (0.6, 0.8), "eps": 0.2, "estim_lr0": 1},
    {"learning_rate": rate, "estim_lr0": 0.1, "eps": 1e-2},
    {"learning_rate": 2, "betas": (0.5, 0.99), "weight_decay": 0.1, "estim_lr0": 1e-3},
    {"learning_rate": fast, "eps": 3.0, "estim_lr0": 1e-8},
    {"weight_decay": slow, "betas": (0.9, 0.95), "estim_lr0": 0.3},
)
betas_bad = (
    ({"betas": 0.9}, "betas must be (b1, b2), got 0.9"),
    ({"betas": (0.9,)}, "betas must be (b1, b2), got (0.9,)"),
    ({"betas": (1.5, 0.9)}, "b1 must be in [0, 1), got 1.5"),
    ({"betas": (0.5, "x")}, "b2 must be a number or a schedule, got 'x'"),
    ({"estim_lr0": 0}, "estim_lr0 must be above 0, got 0.0"),
)
# r is a sum over the tree whose terms have both signs, which leaves fewer digits than float32 has:
# the largest error seen is half of this.
dadapt_float32 = 5e-6


ROWS: tuple[Row, ...] = (
    Row(
        ol.dadapt_adamw,
        dadapt_adamw,
        dadapt_settings,
        (*rate_bad, *betas_bad, *eps_bad[:1]),
        quirks=Quirks(
            whole_tree=True, float32=dadapt_float32, positive=("estim_lr0",), same_program=1e-5
        ),
    ),
)
