"""DoWG, distance over weighted gradients (Khaled, Mishchenko & Jin 2023)."""

import numpy as np

import optax_lite as ol
from tests.methods.dog import norm
from tests.methods.row import Quirks, Row, eps_bad, fast, rate, rate_bad


def dowg(g, s, w, *, learning_rate, init_estim_sq_dist, eps, weight_decay, decayed=None):
    """DoWG (Khaled, Mishchenko & Jin 2023, Algorithm 1); eps from the authors' code."""
    decayed = [True] * len(g) if decayed is None else decayed
    if weight_decay is not None:
        g = [x + weight_decay * y if keep else x for x, y, keep in zip(g, w, decayed, strict=True)]
    x_0 = list(w) if s is None else s["init_params"]
    v = 0.0 if s is None else s["weighted_sq_norm_grads"]
    if s is None:
        r2 = eps if init_estim_sq_dist is None else init_estim_sq_dist
    else:
        r2 = s["estim_sq_dist"]
    r2 = max(r2, norm([x - y for x, y in zip(w, x_0, strict=True)]) ** 2)
    v = v + r2 * norm(g) ** 2
    eta = r2 / (np.sqrt(v) + eps)
    s_new = {"init_params": x_0, "weighted_sq_norm_grads": v, "estim_sq_dist": r2}
    return [-learning_rate * eta * x for x in g], s_new


ROWS: tuple[Row, ...] = (
    Row(
        ol.dowg,
        dowg,
        (
            {},
            {"eps": 100.0, "weight_decay": 0.1},
            {"init_estim_sq_dist": 0.3, "weight_decay": 0.0},
            {"init_estim_sq_dist": 30, "eps": 50.0},
            {"init_estim_sq_dist": 1e-8, "weight_decay": fast},
            {"learning_rate": rate, "eps": 2.0},
            {"learning_rate": 0.5, "init_estim_sq_dist": 5.0, "weight_decay": 3.0},
            {"eps": fast},
        ),
        (
            *rate_bad,
            *eps_bad[:1],
            ({"init_estim_sq_dist": -1}, "init_estim_sq_dist must be at least 0, got -1.0"),
        ),
        quirks=Quirks(whole_tree=True, unlike=("mask",)),
    ),
)
