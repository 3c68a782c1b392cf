"""Loss scaling: float16 gradients that would be 0 are computed from a larger loss."""

from typing import NamedTuple

import jax.numpy as jnp

from optax_lite.core.compose import check_members
from optax_lite.core.functions import wrapping
from optax_lite.core.leafwise import compute_dtype, increment, leafwise, varying_like, zero_count
from optax_lite.core.norms import all_finite
from optax_lite.core.numerics import weak_typed
from optax_lite.core.transform import Array, OptState, PyTree, transform
from optax_lite.core.trees import is_inexact, show_leaf
from optax_lite.core.types import Number, ScalarOrSchedule, TransformationLike
from optax_lite.core.validate import ArgumentError, check_count, check_positive
from optax_lite.errors.calls import usage
from optax_lite.errors.composition import SCALED
from optax_lite.errors.states import states_with

_LEAST, _MOST = 2.0**-24, 2.0**24  # beyond these float16 has nothing left to win


class LossScalingState(NamedTuple):
    loss_scale: Array  # what the next loss is to be multiplied by, float32
    good_steps: Array  # finite gradients since the scale last changed, int32
    total_skipped: Array  # steps left out so far, int32
    inner_state: PyTree  # state of the transformation, which sees gradients of the loss itself


# "scaled" makes anything around this an error: it would see scaled gradients (decision 33).
@transform(static=("growth_interval",), is_a=("scaled", "gate"), not_around=SCALED)
def loss_scaling(
    tx: TransformationLike,
    init_scale: ScalarOrSchedule = 2.0**15,
    growth_factor: ScalarOrSchedule = 2.0,
    backoff_factor: ScalarOrSchedule = 0.5,
    growth_interval: int = 2000,
):
    """Divide gradients by the scale of their loss, and adapt the scale: dynamic loss scaling.
    Micikevicius 2018.

    If a gradient is infinite or NaN, the step is skipped, with params and the state of `tx`
    unchanged bit for bit, and the scale shrinks; after enough finite gradients in a row it grows.
    Names and rules are those of torch's GradScaler, except that the scale stays between 2⁻²⁴ and
    2²⁴. The extra argument `grad` is divided too. Put this wrapper outermost, because anything
    around it would see scaled gradients. `make_step` and `fit` scale the loss by themselves; a loop
    of your own calls `scale_loss`.

    Args:
        tx: The optimizer, or any other transformation.
        init_scale: The scale of the first loss, above 0.
        growth_factor: Multiplies the scale after `growth_interval` finite gradients in a row; at
            least 1.
        backoff_factor: Multiplies the scale after a gradient that is not finite; above 0 and below
            1.
        growth_interval: Finite gradients in a row before the scale grows, an integer of at least 1.

    Examples:
        >>> tx = loss_scaling(adamw(1e-3))
        >>> state = tx.init(params)
        >>> grads = jax.grad(lambda p: scale_loss(state, loss_fn(p, x, y)))(params)
        >>> params, state = tx.step(grads, state, params)
    """
    check_members({"tx": tx})
    check_positive(
        init_scale=init_scale, growth_factor=growth_factor, backoff_factor=backoff_factor
    )
    if isinstance(growth_factor, float) and growth_factor < 1:
        raise ArgumentError(f"growth_factor must be at least 1, got {growth_factor!r}")
    if isinstance(backoff_factor, float) and backoff_factor >= 1:
        raise ArgumentError(f"backoff_factor must be below 1, got {backoff_factor!r}")
    check_count(growth_interval=growth_interval)

    def init(params):
        state = LossScalingState(
            jnp.full((), init_scale, jnp.float32), zero_count(), zero_count(), tx.init(params)
        )
        return varying_like(state, params)

    def run(inner, updates, state, params=None, **extra):
        good = all_finite(updates)

        def rule(
            g,
        ):  # a product is made again by all that need it, where a quotient would be kept for them
            return g * (1 / state.loss_scale.astype(g.real.dtype))

        def unscaled(tree):
            return leafwise(rule, tree)

        def after_unscaling(
            updates, state, params=None, **extra
        ):  # where it runs, so that nobody waits for all of it
            if extra.get("grad") is not None:
                extra["grad"] = unscaled(extra["grad"])
            return inner(unscaled(updates), state, params, **extra)

        new, inner_state = inner._replace(run=after_unscaling).where(
            good, updates, state.inner_state, params, **extra
        )
        counted = increment(state.good_steps)
        due = counted >= growth_interval
        factor = jnp.where(good, jnp.where(due, growth_factor, 1.0), backoff_factor)
        new_scale = jnp.clip(state.loss_scale * factor.astype(jnp.float32), _LEAST, _MOST)
        good_steps = jnp.where(good & ~due, counted, 0)
        total = jnp.where(good, state.total_skipped, increment(state.total_skipped))
        return new, LossScalingState(new_scale, good_steps, total, inner_state)

    return wrapping(tx, init, run)


def loss_scale_of(state: OptState) -> Array | None:
    """Return the scale for the next loss that a state asks for; None where nothing scales it."""
    # Read from the state, so a loss function does not change when scaling is added (decision 33).
    found = [part.loss_scale for part in states_with(state, *LossScalingState._fields)]
    if len(found) > 1:
        raise ValueError(
            f"the state has {len(found)} loss scales, but a loss can have only one; keep one "
            "loss_scaling, outermost"
        )
    return found[0] if found else None


@usage("grads = jax.grad(lambda p: scale_loss(state, loss_fn(p)))(params)")
def scale_loss(state: OptState, loss: Number) -> Array:
    """Multiply the loss by the scale that `loss_scaling` keeps in `state`.

    The product is float32 at least, so that it does not overflow where the loss is float16.
    `make_step` does this by itself.

    Args:
        state: State of the optimizer, as `init`, `update` or `step` returned it. Or any tree around
            it.
        loss: The loss, a floating number of shape ().
    """
    if not is_inexact(loss) or jnp.shape(loss) != ():
        raise TypeError(
            "scale_loss: the order is scale_loss(state, loss) with a number as loss, got "
            f"{show_leaf(loss)}"
        )
    if (scale := loss_scale_of(state)) is None:
        raise ValueError(
            "scale_loss: the state has no loss scale; wrap the optimizer in loss_scaling(tx)"
        )
    loss = jnp.asarray(loss)
    return loss.astype(compute_dtype(loss)) * weak_typed(scale)
