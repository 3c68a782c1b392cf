"""ADADELTA: steps in the units of the parameters."""

from typing import NamedTuple

from optax_lite._transforms.decay import add_decayed_weights
from optax_lite._transforms.scale import scale_by_learning_rate
from optax_lite.core.compose import chain
from optax_lite.core.leafwise import leafwise, zeros_like
from optax_lite.core.numerics import abs_sq, moving_average, over, sqrt
from optax_lite.core.transform import PyTree, transform
from optax_lite.core.types import Mask, ScalarOrSchedule
from optax_lite.core.validate import check_unit_interval


class ScaleByAdaDeltaState(NamedTuple):
    e_g: PyTree  # moving average of |g|²
    e_x: PyTree  # moving average of |u|², u the scaled g


@transform
def scale_by_adadelta(rho: ScalarOrSchedule = 0.9, eps: ScalarOrSchedule = 1e-6):
    """Scale g to the units of the parameters, whatever the units of the loss. Zeiler 2012,
    Algorithm 1.

        u = √(e_x + eps) / √(e_g + eps)·g

    e_g averages |g|², including the current one, and e_x the |u|² of past steps, both with decay
    `rho`. e_x starts at 0, so `eps` alone determines the first step, √(eps / (1 - rho)).

    Args:
        rho: Decay of both moving averages, in [0, 1).
        eps: Added under both roots; at least 0. It sets the size of the first steps.
    """
    check_unit_interval(rho=rho)

    def rule(g, e_g, e_x):
        e_g = moving_average(rho, e_g, abs_sq(g))
        u = over(sqrt(e_x + eps), sqrt(e_g + eps)) * g
        return u, e_g, moving_average(rho, e_x, abs_sq(u))

    def update(updates, state):
        updates, e_g, e_x = leafwise(rule, updates, state.e_g, state.e_x, squares=True)
        return updates, ScaleByAdaDeltaState(e_g, e_x)

    return lambda params: ScaleByAdaDeltaState(
        zeros_like(params, real=True), zeros_like(params, real=True)
    ), update


@transform(static=("weight_decay_mask",))
def adadelta(
    learning_rate: ScalarOrSchedule | None = None,
    rho: ScalarOrSchedule = 0.9,
    eps: ScalarOrSchedule = 1e-6,
    weight_decay: ScalarOrSchedule = 0.0,
    weight_decay_mask: Mask | None = None,
):
    """Update w by steps in the units of the parameters. Zeiler 2012, Algorithm 1.

        w ← w - lr·√(e_x + eps) / √(e_g + eps)·g, after g ← g + weight_decay·w

    The paper has no learning rate, which is lr = 1. For e_x and e_g see `scale_by_adadelta`.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far. None for
            1 (in optax None ascends).
        rho: Decay of both moving averages, in [0, 1).
        eps: Added under both roots; at least 0. It sets the size of the first steps.
        weight_decay: L2 penalty: its gradient is scaled with that of the loss, and enters the
            averages.
        weight_decay_mask: Leaves that decay: path patterns, a tree of bools or a function that
            makes one of the params (see `masked`); None for all.
    """
    return chain(
        add_decayed_weights(weight_decay, weight_decay_mask),
        scale_by_adadelta(rho, eps),
        scale_by_learning_rate(1.0 if learning_rate is None else learning_rate),
    )
