"""LARS (You, Gitman & Ginsburg 2017)."""

import numpy as np

import optax_lite as ol
from tests.methods.row import Quirks, Row, fast, over, rate, rate_bad, with_rate
from tests.methods.trust_ratio import trust_bad


def lars(
    g,
    s,
    w,
    *,
    learning_rate,
    weight_decay,
    trust_coefficient,
    eps,
    momentum,
    nesterov,
    decayed=True,
    trusted=True,
):
    """LARS (You, Gitman & Ginsburg 2017, Algorithm 1); decayed=False, trusted=False: leaves outside
    the two masks.
    """
    d = g + weight_decay * w if decayed else g
    local_lr = 1.0
    if trusted:
        w_norm = np.sqrt(np.sum(np.abs(w) ** 2))
        # The paper divides by ||g|| + beta * ||w||. optax divides by the norm of the sum, ||g +
        # beta * w||, which is how the first authors write LARS later (You et al. 2020, Algorithm
        # 1). lars_2017 is the paper's.
        d_norm = np.sqrt(np.sum(np.abs(d) ** 2))
        if w_norm > 0 and d_norm > 0:
            local_lr = trust_coefficient * w_norm / (d_norm + eps)
    # The learning rate goes into the velocity, as in the paper.
    step = learning_rate * local_lr * d
    v = np.zeros_like(g) if s is None else s["trace"]
    v = momentum * v - step
    u = momentum * v - step if nesterov else v
    return u, {"trace": v}


def with_masks(s):
    return {k: v for k, v in s.items() if "mask" not in k} | {
        "decayed": s["weight_decay_mask"],
        "trusted": s["trust_ratio_mask"],
    }


def lars_parts(
    lib,
    learning_rate,
    weight_decay=0.0,
    weight_decay_mask=True,
    trust_coefficient=0.001,
    eps=0.0,
    trust_ratio_mask=True,
    momentum=0.9,
    nesterov=False,
):
    ratio = lib.scale_by_trust_ratio(min_norm=0.0, trust_coefficient=trust_coefficient, eps=eps)
    return lib.chain(
        lib.add_decayed_weights(weight_decay=weight_decay, mask=weight_decay_mask),
        lib.masked(ratio, mask=trust_ratio_mask),
        lib.scale_by_learning_rate(learning_rate),
        lib.trace(decay=momentum, nesterov=nesterov),
    )


ROWS: tuple[Row, ...] = (
    Row(
        ol.lars,
        lars,
        (
            {"learning_rate": 0.1},
            {"learning_rate": 1, "weight_decay": 0.3, "trust_coefficient": 0.1},
            {"learning_rate": 0.1, "eps": 0.5, "momentum": 0.5},
            *over(
                learning_rate=(0.1,),
                weight_decay=(0.1,),
                momentum=(0.0, 0.9),
                nesterov=(False, True),
            ),
            {"learning_rate": 0.1, "weight_decay": 0.3, "weight_decay_mask": False},
            {"learning_rate": 0.1, "weight_decay": 0.3, "trust_ratio_mask": False},
            {"learning_rate": rate, "trust_coefficient": fast, "weight_decay": rate},
        ),
        (*rate_bad, *with_rate((({"momentum": -2}, "momentum must be in [-1, 1]"), trust_bad[1]))),
        stands_for=lars_parts,
        quirks=Quirks(translate=with_masks),
    ),
)
