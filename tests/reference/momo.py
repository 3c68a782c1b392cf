"""Numpy references: MoMo and MoMo-Adam."""

import numpy as np


def _dot(x, y):
    return sum(np.vdot(a, b).real for a, b in zip(x, y, strict=True))


def momo(g, s, w, *, value, learning_rate, beta, lower_bound, weight_decay, adapt_lower_bound):
    """MoMo (Schaipp et al. 2023, Algorithm 1) with the authors' code's decay and estimate of the lower bound."""
    k = 0 if s is None else s["count"]
    # The averages start at the first values, so that no bias needs correcting.
    d = g if s is None else s["exp_avg"]
    f_bar = value if s is None else s["barf"]
    gamma = _dot(g, w) if s is None else s["gamma"]
    # Only an estimate is remembered; a known bound may be a schedule.
    lb = s["lb"] if s and adapt_lower_bound else lower_bound
    a = 1 + learning_rate * weight_decay

    d = [beta * y + (1 - beta) * x for x, y in zip(g, d, strict=True)]
    f_bar = beta * f_bar + (1 - beta) * value
    gamma = beta * gamma + (1 - beta) * _dot(g, w)
    norm = _dot(d, d)
    if adapt_lower_bound:
        cap = a * f_bar + _dot(d, w) - a * gamma
        if cap < a * lb:
            lb = max(cap / (2 * a), lower_bound)
    polyak = max(a * (f_bar - lb - gamma) + _dot(d, w), 0)
    # With d = 0 any tau gives the same point.
    tau = min(learning_rate, polyak / norm) if norm > 0 else learning_rate
    if adapt_lower_bound:
        h = f_bar + _dot(d, w) - gamma
        lb = max(h - tau * norm / 2, lower_bound)
    # The decay is proximal: first the step, then the division of all (optax divides the parameter only).
    # (x - tau * d) / a - x with a = 1 + learning_rate * weight_decay, without the difference of two points.
    u = [-(tau * y + learning_rate * weight_decay * x) / a for x, y in zip(w, d, strict=True)]
    return u, {"exp_avg": d, "barf": f_bar, "gamma": gamma, "lb": lb, "count": k + 1}


def momo_adam(g, s, w, *, value, learning_rate, b1, b2, eps, lower_bound, weight_decay, adapt_lower_bound):
    """MoMo-Adam (Schaipp et al. 2023, Algorithm 2) with the authors' code's estimate of the lower bound."""
    k = (0 if s is None else s["count"]) + 1
    d = [np.zeros_like(x) for x in g] if s is None else s["exp_avg"]
    v = [np.zeros(x.shape) for x in g] if s is None else s["exp_avg_sq"]
    f_bar = 0.0 if s is None else s["barf"]
    gamma = 0.0 if s is None else s["gamma"]
    # Only an estimate is remembered; a known bound may be a schedule.
    lb = s["lb"] if s and adapt_lower_bound else lower_bound
    a = 1 + learning_rate * weight_decay
    rho = 1 - b1**k

    d = [b1 * y + (1 - b1) * x for x, y in zip(g, d, strict=True)]
    v = [b2 * y + (1 - b2) * np.abs(x) ** 2 for x, y in zip(g, v, strict=True)]
    D = [np.sqrt(y / (1 - b2**k)) + eps for y in v]
    f_bar = b1 * f_bar + (1 - b1) * value
    gamma = b1 * gamma + (1 - b1) * _dot(g, w)
    norm = _dot(d, [y / z for y, z in zip(d, D, strict=True)])
    if adapt_lower_bound:
        cap = a * f_bar + _dot(d, w) - a * gamma
        if cap < a * rho * lb:
            lb = max(cap / (2 * a * rho), lower_bound)
    polyak = max(a * (f_bar - rho * lb - gamma) + _dot(d, w), 0)
    tau = min(learning_rate / rho, polyak / norm) if norm > 0 else learning_rate / rho
    if adapt_lower_bound:
        h = f_bar + _dot(d, w) - gamma
        lb = max((h - tau * norm / 2) / rho, lower_bound)
    u = [-(tau * y / z + learning_rate * weight_decay * x) / a for x, y, z in zip(w, d, D, strict=True)]
    return u, {"exp_avg": d, "exp_avg_sq": v, "barf": f_bar, "gamma": gamma, "lb": lb, "count": k}
