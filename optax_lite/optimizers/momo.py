"""MoMo: the step size that minimizes a model of the loss, cut off at a lower bound."""

from typing import NamedTuple

import jax.numpy as jnp

from optax_lite.core.leafwise import increment, leafwise, scalar_like, zero_count, zeros_like
from optax_lite.core.norms import dot
from optax_lite.core.numerics import moving_average, weak_typed
from optax_lite.core.transform import Array, PyTree, transform
from optax_lite.core.types import ScalarOrSchedule
from optax_lite.core.validate import check_nonnegative, check_unit_interval


class MomoState(NamedTuple):
    exp_avg: PyTree  # d, moving average of g
    barf: Array  # f̄, moving average of the loss
    gamma: Array  # γ, moving average of ⟨g, x⟩
    lb: Array  # the lower bound of the loss
    count: Array  # updates so far, int32


@transform(scheduled=MomoState, descends=True)
def momo(
    learning_rate: ScalarOrSchedule = 1.0,
    beta: ScalarOrSchedule = 0.9,
    lower_bound: ScalarOrSchedule = 0.0,
    weight_decay: ScalarOrSchedule = 0.0,
    adapt_lower_bound: bool = False,
):
    """Update x up to the minimum of a model of the loss. Schaipp et al. 2023, Algorithm 1.

        x ← (x - τ·d) / (1 + α·weight_decay)
        τ = min(α, max(f̄ + ⟨d, x⟩ - γ - lb, 0) / ‖d‖²)

    f̄ + ⟨d, y⟩ - γ is the average of the linear models of the loss at past points; it is cut off at
    lb, a lower bound of the loss. `update` needs the loss of the same batch as `value=`. The
    averages d, f̄ and γ start at their first value, so they have no bias. With decay, f̄, γ and lb
    in τ are multiplied by 1 + α·weight_decay, as in the paper; optax only divides x by it.

    Args:
        learning_rate: Largest step α, at least 0; best chosen too large, as it only matters where τ
            would exceed it. A number or a schedule.
        beta: Decay of the averages of gradients, losses and ⟨g, x⟩, in [0, 1).
        lower_bound: Smallest loss to be expected, usually 0.
        weight_decay: Weight decay, at least 0; the learning rate multiplies it.
        adapt_lower_bound: Use a running estimate of the lower bound, never less than `lower_bound`.
    """
    check_unit_interval(beta=beta)
    check_nonnegative(learning_rate=learning_rate, weight_decay=weight_decay)

    def init(params):
        zero = scalar_like(params, 0)
        return MomoState(
            zeros_like(params), zero, zero, scalar_like(params, lower_bound), zero_count()
        )

    def update(updates, state, params, *, value):
        b = weak_typed(jnp.where(state.count == 0, 0.0, beta))
        d, exp_avg = leafwise(
            lambda g, d: (moving_average(b, d, g), moving_average(b, d, g)), updates, state.exp_avg
        )
        settings = (learning_rate, lower_bound, weight_decay, adapt_lower_bound)
        updates, model = model_step(updates, d, d, params, value, state, b, 1.0, *settings)
        return updates, MomoState(exp_avg, *model, increment(state.count))

    return init, update


def model_step(
    updates,
    d,
    scaled,
    params,
    value,
    state,
    b,
    rho,
    learning_rate,
    lower_bound,
    weight_decay,
    adapt,
):
    """Step to the minimum of the model max(f̄ + ⟨d, y⟩ - γ, ρ·lb) of the loss at y, near x.

    Returns the updates and the next f̄, γ, lb. `scaled` is d in the metric, d / D; without decay
    and metric it is the step of Polyak, cut off at α.
    """
    f = moving_average(b, weak_typed(state.barf), weak_typed(value))
    gamma = moving_average(b, weak_typed(state.gamma), weak_typed(dot(updates, params)))
    lb = weak_typed(state.lb if adapt else lower_bound)
    inner, norm_sq = weak_typed(dot(d, params)), weak_typed(dot(scaled, d))
    shrink = 1 + learning_rate * weight_decay
    model = shrink * (f - gamma) + inner
    if adapt:  # a bound above the model would stop all steps
        lb = jnp.where(
            model < shrink * rho * lb, jnp.maximum(model / (2 * shrink * rho), lower_bound), lb
        )
    gap = jnp.maximum(model - shrink * rho * lb, 0)
    tau = weak_typed(jnp.minimum(learning_rate / rho, gap / jnp.where(norm_sq == 0, 1, norm_sq)))
    if adapt:
        lb = jnp.maximum((f - gamma + inner - tau / 2 * norm_sq) / rho, lower_bound)
    updates = leafwise(
        lambda s, x: -(tau * s + learning_rate * weight_decay * x) / shrink, scaled, read=(params,)
    )
    return updates, (f, gamma, lb)
