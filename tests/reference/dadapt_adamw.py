"""Numpy reference: D-Adapted AdamW."""

import numpy as np


def dadapt_adamw(g, s, w, *, learning_rate, betas, eps, estim_lr0, weight_decay):
    """D-Adapt Adam (Defazio & Mishchenko 2023, Algorithm 5) with the authors' code's decoupled decay."""
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
    product = sum(np.vdot(x, y / (np.sqrt(z) + eps)).real for x, y, z in zip(g, s_k, v, strict=True))
    m = [beta1 * y + (1 - beta1) * dlr * x for x, y in zip(g, m, strict=True)]
    v = [beta2 * y + (1 - beta2) * np.abs(x) ** 2 for x, y in zip(g, v, strict=True)]
    s_k = [root * y + (1 - root) * dlr * x for x, y in zip(g, s_k, strict=True)]
    r = root * r + (1 - root) * dlr * product
    norm = sum(np.sum(np.abs(x)) for x in s_k)
    # Before the first gradient (or with a rate of 0 so far) nothing is learned about d (authors' code).
    d_hat = r / ((1 - root) * norm) if norm > 0 else d
    u = [-y / (np.sqrt(z) + eps) - weight_decay * dlr * x for x, y, z in zip(w, m, v, strict=True)]
    d = max(d, d_hat)
    s_new = {"exp_avg": m, "exp_avg_sq": v, "grad_sum": s_k, "estim_lr": d, "numerator_weighted": r, "count": k + 1}
    return u, s_new
