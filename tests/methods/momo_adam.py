"""MoMo-Adam (Schaipp et al. 2023)."""

import numpy as np

import optax_lite as ol
from tests.methods.momo import dot, losses, momo_probes, momo_settings
from tests.methods.row import Quirks, Row, beta_bad, eps_bad, rate_bad


def momo_adam(
    g, s, w, *, value, learning_rate, b1, b2, eps, lower_bound, weight_decay, adapt_lower_bound
):
    """MoMo-Adam (Schaipp et al. 2023, Algorithm 2) with the authors' code's estimate of the lower
    bound.
    """
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
    gamma = b1 * gamma + (1 - b1) * dot(g, w)
    norm = dot(d, [y / z for y, z in zip(d, D, strict=True)])
    if adapt_lower_bound:
        cap = a * f_bar + dot(d, w) - a * gamma
        if cap < a * rho * lb:
            lb = max(cap / (2 * a * rho), lower_bound)
    polyak = max(a * (f_bar - rho * lb - gamma) + dot(d, w), 0)
    tau = min(learning_rate / rho, polyak / norm) if norm > 0 else learning_rate / rho
    if adapt_lower_bound:
        h = f_bar + dot(d, w) - gamma
        lb = max((h - tau * norm / 2) / rho, lower_bound)
    u = [
        -(tau * y / z + learning_rate * weight_decay * x) / a
        for x, y, z in zip(w, d, D, strict=True)
    ]
    return u, {"exp_avg": d, "exp_avg_sq": v, "barf": f_bar, "gamma": gamma, "lb": lb, "count": k}


# The gap of the model to the lower bound has both signs, and few digits: the largest error seen is
# half of this.
momo_adam_float32 = 4e-5


ROWS: tuple[Row, ...] = (
    Row(
        ol.momo_adam,
        momo_adam,
        (
            {},
            *(
                {"b2": 0.9, "eps": 0.3} | {("b1" if k == "beta" else k): v for k, v in s.items()}
                for s in momo_settings[1:]
            ),
        ),
        (
            *rate_bad,
            *beta_bad,
            *eps_bad[:1],
            ({"weight_decay": -1}, "weight_decay must be at least 0, got -1.0"),
        ),
        quirks=Quirks(whole_tree=True, float32=momo_adam_float32, extra=losses),
    ),
)


PROBES = {"optax_lite.optimizers.momo_adam": momo_probes(momo_adam)}
