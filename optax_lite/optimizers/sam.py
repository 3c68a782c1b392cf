"""Sharpness-aware minimization: one optimizer climbs, and another descends by the gradient found
there.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optax_lite.core.compose import check_members
from optax_lite.core.leafwise import (
    cast_like,
    copy_params,
    increment,
    leafwise,
    restarted,
    zero_count,
)
from optax_lite.core.transform import Array, OptState, PyTree, apply_updates, transform
from optax_lite.core.types import TransformationLike
from optax_lite.core.validate import check_count
from optax_lite.errors.composition import INSTEAD, SCALED
from optax_lite.errors.direction import check_makes_steps


class SAMState(NamedTuple):
    steps_since_sync: Array  # updates since the last one of the outer optimizer, int32
    opt_state: OptState  # state of the outer optimizer
    adv_state: OptState  # state of the adversarial optimizer
    cache: PyTree  # the parameters before the climb; None in opaque mode


_NOT_AROUND = {
    **SCALED,
    "rounding": "so the step up and the step back would each be rounded" + INSTEAD,
    "adv_optimizer/average": "whose averages are never evaluated; leave it out there",
}


@transform(static=("sync_period", "batch_axis_name"), not_around=_NOT_AROUND)
def sam(
    optimizer: TransformationLike,
    adv_optimizer: TransformationLike,
    sync_period: int = 2,
    reset_state: bool = True,
    opaque_mode: bool = False,
    batch_axis_name: str | None = None,
):
    """Climb with one optimizer, then go back and descend with another. Foret et al. 2021, Algorithm
    1.

        sam(sgd(0.1), chain(normalize(), sgd(rho)))

    is the paper's w ← w - 0.1·∇f(w + rho·∇f(w) / ‖∇f(w)‖). Every `sync_period`-th update is a step
    from the parameters kept in `cache`; after the other updates the parameters are the adversarial
    point, so do not evaluate there. A schedule in `optimizer` counts steps, one in `adv_optimizer`
    those since its start.

    In `opaque_mode` every update is a whole period, and the parameters are never at the adversarial
    point. It needs `grad_fn=`, which returns the gradient, `jax.grad` of the loss on the batch, for
    the params and i = 0, 1 ..., the number of the point.

    Args:
        optimizer: Optimizer that descends.
        adv_optimizer: Optimizer that climbs: its updates are applied with the opposite sign.
        sync_period: Updates of one step, of which all but the last climb; an integer of at least 1.
        reset_state: Start `adv_optimizer` afresh after each step.
        opaque_mode: Make every update a whole period, with gradients from `grad_fn=`.
        batch_axis_name: Mapped axis over which the gradients of `grad_fn` are averaged; None for no
            average.
    """
    check_members({"optimizer": optimizer, "adv_optimizer": adv_optimizer})
    check_makes_steps(optimizer, "params would go uphill")
    check_makes_steps(adv_optimizer, "the adversary, which reverses it, would go downhill")
    check_count(sync_period=sync_period)

    def init(params):
        cache = None if opaque_mode else copy_params(params)
        return SAMState(zero_count(), optimizer.init(params), adv_optimizer.init(params), cache)

    def in_phases(updates, state, params, **extra):
        fresh = state.steps_since_sync == 0
        _, cache = leafwise(
            lambda g, c, w: (g, jnp.where(fresh, w, c)), updates, state.cache, read=(params,)
        )
        # or what starts at it would be as wide as a wide gradient
        cache = cast_like(cache, state.cache)

        def climb():
            u, adv_state = adv_optimizer.update(updates, state.adv_state, params, **extra)
            return leafwise(lambda u, w, c: -u, u, read=(params, cache)), state.opt_state, adv_state

        def descend():
            u, opt_state = optimizer.update(updates, state.opt_state, cache, **extra)
            adv_state = (
                restarted(adv_optimizer.init(cache), state.adv_state)
                if reset_state
                else state.adv_state
            )
            return (
                leafwise(lambda u, w, c: (c - w) + u, u, read=(params, cache)),
                opt_state,
                adv_state,
            )

        steps = increment(state.steps_since_sync) % sync_period
        updates, opt_state, adv_state = jax.lax.cond(steps == 0, descend, climb)
        return updates, SAMState(steps, opt_state, adv_state, cache)

    def opaque(updates, state, params, *, grad_fn, **extra):
        extra = extra | {"grad_fn": grad_fn}  # another one may be inside
        w, adv_state = params, state.adv_state
        for i in range(sync_period - 1):
            u, adv_state = adv_optimizer.update(updates, adv_state, w, **extra)
            w = apply_updates(w, leafwise(lambda u: -u, u))
            updates = grad_fn(w, i)
            if batch_axis_name is not None:
                updates = jax.lax.pmean(updates, batch_axis_name)
        updates, opt_state = optimizer.update(updates, state.opt_state, params, **extra)
        if reset_state:  # what has no gradient has no parameter here either
            adv_state = restarted(adv_optimizer.init(params), adv_state)
        return updates, SAMState(state.steps_since_sync, opt_state, adv_state, None)

    return init, opaque if opaque_mode else in_phases
