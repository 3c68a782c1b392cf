"""ADADELTA: steps in the unit of the parameters."""

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
    """Replace g by u = √(e_x + eps) / √(e_g + eps)·g. Zeiler 2012, Algorithm 1.

    e_g averages |g|², this one included, and e_x the |u|² of the past, both with decay `rho`. So u
    has the unit of the parameters, whatever that of the loss is. e_x starts at 0: `eps` alone makes
    the first step, of √(eps / (1 - rho)).
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
    """w ← w - lr·√(e_x + eps) / √(e_g + eps)·g, after g ← g + weight_decay·w. Zeiler 2012,
    Algorithm 1.

    The paper has no learning rate, that is lr = 1, and so it is here with None (in optax None
    ascends). `rho` and `eps` are those of `scale_by_adadelta`. The decay is an L2 penalty: its
    gradient is scaled with the loss's, and goes into the averages. `weight_decay_mask` picks the
    leaves that have it.
    """
    return chain(
        add_decayed_weights(weight_decay, weight_decay_mask),
        scale_by_adadelta(rho, eps),
        scale_by_learning_rate(1.0 if learning_rate is None else learning_rate),
    )
