"""Schedule-Free: take gradients between the iterate and its average, instead of decaying the
learning rate.
"""

from typing import NamedTuple

import jax.numpy as jnp

from optax_lite._schedules import warmup_constant_schedule
from optax_lite._transforms.decay import add_decayed_weights
from optax_lite._transforms.scale import scale_by_learning_rate
from optax_lite.core.compose import chain, check_members
from optax_lite.core.leafwise import (
    cast_like,
    copy_params,
    increment,
    leafwise,
    scalar_like,
    zero_count,
    zeros_like,
)
from optax_lite.core.numerics import weak_typed
from optax_lite.core.targets import incremental_update
from optax_lite.core.transform import Array, OptState, Params, PyTree, transform
from optax_lite.core.types import DTypeLike, ScalarOrSchedule, TransformationLike
from optax_lite.core.validate import ArgumentError, check_number, check_positive
from optax_lite.errors.composition import EVERY_POINT, INSTEAD, ONE_AVERAGE, SCALED
from optax_lite.errors.direction import check_makes_steps
from optax_lite.optimizers.rmsprop import scale_by_rms
from optax_lite.optimizers.sgd import sgd


class ScheduleFreeState(NamedTuple):
    b1: Array  # the one that made the present parameters
    weight_sum: Array  # sum of the weights in the average
    step_count: Array  # updates so far + 1, int32
    max_lr: Array  # the largest learning rate so far
    base_optimizer_state: OptState  # state of the optimizer that moves z
    z: PyTree  # the iterate

    @property
    def count(self) -> Array:
        return self.step_count - 1

    def eval_params(self, params: Params) -> Params:
        """Return the average x, where z is kept.

            x = y + (1 - 1/b1)·(z - y)

        Args:
            params: Parameters y, a pytree of arrays.
        """
        return leafwise(
            lambda z, y: y + (1 - 1 / weak_typed(self.b1)) * (z - y), self.z, read=(params,)
        )


_NOT_AROUND = {
    **SCALED,
    **ONE_AVERAGE,
    **EVERY_POINT,
    "rounding": "so the steps of its own iterate would be rounded like those of the params"
    + INSTEAD,
}


@transform(
    static=("state_dtype",), scheduled=ScheduleFreeState, is_a=("average",), not_around=_NOT_AROUND
)
def schedule_free(
    base_optimizer: TransformationLike,
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    weight_lr_power: ScalarOrSchedule = 2.0,
    state_dtype: DTypeLike | None = None,
):
    """Average the iterates instead of decaying the rate. Defazio et al. 2024.

        z ← z + u,  x ← (1 - c)·x + c·z,  y ← b1·x + (1 - b1)·z

    The parameters are y: gradients are taken there, and so is the decay of a base optimizer.
    Evaluate at the average x, which `schedule_free_eval_params` returns; it is not stored but
    computed as (y - (1 - b1)·z) / b1. u is the update of `base_optimizer`. c is the share of
    lr^weight_lr_power in the sum of all so far, where lr is the largest `learning_rate` up to this
    update; optax uses that of the next one. Extra arguments of `update` are passed to the base
    optimizer.

    Args:
        base_optimizer: Optimizer that moves z; it should have no momentum (b1=0.0, or RMSProp).
        learning_rate: Rate of the base optimizer, warm-up included and without a decay; a number or
            a schedule.
        b1: Share of the average x in y, in (0, 1).
        weight_lr_power: Power of the learning rate that weights iterates in the average.
        state_dtype: Dtype in which z is stored; None for the parameters' own. Steps below its ulp
            are lost.
    """
    check_members({"base_optimizer": base_optimizer})
    check_makes_steps(base_optimizer, "params would go uphill")
    check_number(learning_rate=learning_rate)
    check_positive(b1=b1)

    def init(params):
        zero, base, one = (
            scalar_like(params, 0, measured=False),
            base_optimizer.init(params),
            increment(zero_count()),
        )
        z = cast_like(copy_params(params), zeros_like(params, state_dtype))
        return ScheduleFreeState(scalar_like(params, b1, measured=False), zero, one, zero, base, z)

    def update(updates, state, params, **extra):
        updates, base = base_optimizer.update(updates, state.base_optimizer_state, params, **extra)
        max_lr = jnp.maximum(weak_typed(state.max_lr), learning_rate)
        weight = max_lr**weight_lr_power
        weight_sum = weak_typed(state.weight_sum) + weight
        c = weak_typed(weight / jnp.where(weight_sum == 0, 1, weight_sum))
        last_b1 = weak_typed(state.b1)

        def rule(u, z, y):
            x_minus_z = (y - z) / last_b1
            # The step of y by what changes; the difference of two y would lose the digits of small
            # steps.
            return (1 - b1 + b1 * c) * u + (b1 - last_b1 - b1 * c) * x_minus_z, z + u

        updates, z = leafwise(rule, updates, state.z, read=(params,))
        return updates, ScheduleFreeState(
            b1, weight_sum, increment(state.step_count), max_lr, base, z
        )

    return init, update


def schedule_free_eval_params(state: ScheduleFreeState, params: Params) -> Params:
    """Return the average x of `schedule_free`, at which to evaluate, in the parameters' dtype.

        x = schedule_free_eval_params(state, params)

    Training goes on from the params y, never from x.

    Args:
        state: State of `schedule_free` itself, which in a chain is one of several: `state[1]`.
        params: Parameters y, a pytree of arrays.
    """
    if not isinstance(state, ScheduleFreeState):
        raise ArgumentError(
            f"state must be a ScheduleFreeState, got {type(state).__name__}",
            "schedule_free_eval_params",
        )
    return incremental_update(state.z, params, 1 - 1 / state.b1)


def _warmed_up(learning_rate, warmup_steps):
    """Return the rate after a linear warm-up, which is 0 on the first update."""
    return (
        learning_rate
        if warmup_steps is None
        else warmup_constant_schedule(0.0, 1.0, warmup_steps) * learning_rate
    )


@transform(static=("state_dtype",), is_a=("average",))
def schedule_free_sgd(
    learning_rate: ScalarOrSchedule = 1.0,
    warmup_steps: ScalarOrSchedule | None = None,
    b1: ScalarOrSchedule = 0.9,
    weight_decay: ScalarOrSchedule | None = None,
    weight_lr_power: ScalarOrSchedule = 2.0,
    state_dtype: DTypeLike | None = None,
):
    """Update w by `schedule_free` around SGD, with a linear warm-up to a constant rate. Defazio et
    al. 2024.

    According to the authors, rates of 10 to 50 times the usual ones are a good start.

    Args:
        learning_rate: Rate after the warm-up; a number or a schedule.
        warmup_steps: Updates of the linear warm-up, the first of which has rate 0; None for none.
        b1: Share of the average x in y, in (0, 1).
        weight_decay: L2 penalty at y, multiplied by the rate as always; None for none.
        weight_lr_power: Power of the learning rate that weights iterates in the average.
        state_dtype: Dtype in which z is stored; None for the parameters' own. Steps below its ulp
            are lost.
    """
    rate = _warmed_up(learning_rate, warmup_steps)
    base = (
        sgd(rate) if weight_decay is None else chain(add_decayed_weights(weight_decay), sgd(rate))
    )
    return schedule_free(base, rate, b1, weight_lr_power, state_dtype)


@transform(static=("state_dtype",), is_a=("average",))
def schedule_free_adamw(
    learning_rate: ScalarOrSchedule = 0.0025,
    warmup_steps: ScalarOrSchedule | None = None,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    weight_decay: ScalarOrSchedule = 0.0,
    weight_lr_power: ScalarOrSchedule = 2.0,
    state_dtype: DTypeLike | None = None,
):
    """Update w by `schedule_free` around AdamW without its momentum, with a linear warm-up. Defazio
    et al. 2024.

    The scaling is `scale_by_rms` with bias correction, which is Adam's with b1 = 0, but keeps no
    first moment; the paper corrects the rate instead. According to the authors, rates of 1 to 10
    times those of AdamW work; a larger `b1`, 0.95 or 0.98, suits long runs.

    Args:
        learning_rate: Rate after the warm-up; a number or a schedule.
        warmup_steps: Updates of the linear warm-up, the first of which has rate 0; None for none.
        b1: Share of the average x in y, in (0, 1).
        b2: Decay of the moving average of squared gradients, in [0, 1).
        eps: Added to the denominator; at least 0.
        weight_decay: Decoupled weight decay; the learning rate multiplies it. It is taken at y.
        weight_lr_power: Power of the learning rate that weights iterates in the average.
        state_dtype: Dtype in which z is stored; None for the parameters' own. Steps below its ulp
            are lost.
    """
    rate = _warmed_up(learning_rate, warmup_steps)
    base = chain(
        scale_by_rms(b2, eps, eps_in_sqrt=False, bias_correction=True),
        add_decayed_weights(weight_decay),
        scale_by_learning_rate(rate),
    )
    return schedule_free(base, rate, b1, weight_lr_power, state_dtype)
