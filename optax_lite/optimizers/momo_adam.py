"""MoMo-Adam: the step size of MoMo in the metric of Adam."""

from typing import NamedTuple

from optax_lite.core.leafwise import increment, leafwise, scalar_like, zero_count, zeros_like
from optax_lite.core.numerics import abs_sq, bias_correction_factor, moving_average, over, sqrt
from optax_lite.core.transform import Array, PyTree, transform
from optax_lite.core.types import ScalarOrSchedule
from optax_lite.core.validate import check_nonnegative
from optax_lite.optimizers.momo import model_step


class MomoAdamState(NamedTuple):
    exp_avg: PyTree  # d, moving average of g
    exp_avg_sq: PyTree  # v, moving average of |g|²
    barf: Array  # f̄, moving average of the loss
    gamma: Array  # γ, moving average of ⟨g, x⟩
    lb: Array  # the lower bound of the loss
    count: Array  # updates so far, int32


@transform(scheduled=MomoAdamState, descends=True)
def momo_adam(
    learning_rate: ScalarOrSchedule = 1e-2,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    lower_bound: ScalarOrSchedule = 0.0,
    weight_decay: ScalarOrSchedule = 0.0,
    adapt_lower_bound: bool = False,
):
    """Update x by MoMo in the metric of Adam. Schaipp et al. 2023, Algorithm 2.

    This is `momo` in the metric D = √v̂ + eps of Adam: d / D replaces d, and ⟨d, d / D⟩ replaces
    ‖d‖². The averages start at 0 and are corrected with ρ = 1 - b1ᵗ: α / ρ replaces α, and ρ·lb
    replaces lb. The default learning rate is ten times Adam's.

    Args:
        learning_rate: Largest step α, at least 0; best chosen too large, as it only matters where τ
            would exceed it. A number or a schedule.
        b1: Decay of the averages of gradients, losses and ⟨g, x⟩, in [0, 1).
        b2: Decay of the moving average of squared gradients, in [0, 1).
        eps: Added to the denominator; at least 0.
        lower_bound: Smallest loss to be expected, usually 0.
        weight_decay: Weight decay, at least 0; the learning rate multiplies it.
        adapt_lower_bound: Use a running estimate of the lower bound, never less than `lower_bound`.
    """
    check_nonnegative(learning_rate=learning_rate, weight_decay=weight_decay)

    def init(params):
        d, v, zero = zeros_like(params), zeros_like(params, real=True), scalar_like(params, 0)
        return MomoAdamState(d, v, zero, zero, scalar_like(params, lower_bound), zero_count())

    def update(updates, state, params, *, value):
        t = increment(state.count)
        c1, c2 = bias_correction_factor(b1, t), bias_correction_factor(b2, t)

        def moments(g, d, v):
            d = moving_average(b1, d, g)
            return d, d, moving_average(b2, v, abs_sq(g))

        d, exp_avg, exp_avg_sq = leafwise(
            moments, updates, state.exp_avg, state.exp_avg_sq, squares=True
        )
        scaled = leafwise(lambda d, v: over(d, sqrt(v / c2) + eps), d, read=(exp_avg_sq,))
        settings = (learning_rate, lower_bound, weight_decay, adapt_lower_bound)
        updates, model = model_step(updates, d, scaled, params, value, state, b1, c1, *settings)
        return updates, MomoAdamState(exp_avg, exp_avg_sq, *model, t)

    return init, update
