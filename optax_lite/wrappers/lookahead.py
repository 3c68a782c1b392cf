"""Lookahead: slow weights that follow an optimizer every few updates, and to which it is sent
back.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optax_lite.core.compose import check_members
from optax_lite.core.frozen import freeze_nothing, frozen_mask
from optax_lite.core.leafwise import (
    cast_like,
    copy_params,
    increment,
    leafwise,
    restarted,
    zero_count,
    zeros_like,
)
from optax_lite.core.transform import Array, OptState, Params, PyTree, Updates, transform
from optax_lite.core.types import ScalarOrSchedule, TransformationLike
from optax_lite.core.validate import check_count, check_nonnegative
from optax_lite.errors.composition import INSTEAD, INSTEAD_OF_MORE, ONE_AVERAGE, SCALED


class LookaheadParams(NamedTuple):
    """Both weights of `lookahead` in optax's form.

    Where an optimizer is given them as params, gradients of the fast ones alone are enough.
    """

    fast: Params  # which are trained, and where gradients are taken
    slow: Params  # which follow them, to evaluate at

    @classmethod
    def init_synced(cls, params: Params) -> "LookaheadParams":
        """Put both weights at the same point.

        Args:
            params: Parameters, a pytree of arrays.
        """
        return cls(params, params)

    def as_gradient(self, gradient: Updates) -> Updates:
        """Return a gradient of the fast weights as one of the pair, zero for the slow ones.

        Args:
            gradient: Gradient of the fast weights; a pair is returned unchanged.
        """
        if isinstance(gradient, LookaheadParams):
            return gradient
        # So that a training loop need not know about the pair, as it has to in optax (decision 41).
        return LookaheadParams(gradient, jax.tree.map(jnp.zeros_like, gradient))


class LookaheadState(NamedTuple):
    fast_state: OptState  # state of the optimizer that moves the fast weights
    steps_since_sync: Array  # updates since the slow weights moved, int32

    def eval_params(self, params: LookaheadParams) -> LookaheadParams:
        """Return the slow weights, in both places."""
        return LookaheadParams(params.slow, params.slow)


class LookaheadWithSlowState(NamedTuple):
    fast_state: OptState  # state of the optimizer that moves the fast weights
    steps_since_sync: Array  # updates since the slow weights moved, int32
    slow: PyTree  # the slow weights, float32 at least

    def eval_params(self, params: Params) -> Params:
        """Return the slow weights."""
        return self.slow


def _frozen(tx, updates, params):
    """Mark the frozen fast weights; where the params are a pair, the slow ones have zero gradients
    anyway.
    """
    if not isinstance(updates, LookaheadParams):
        return frozen_mask(next(tx.members()), updates, params)
    fast = frozen_mask(next(tx.members()), updates.fast, None if params is None else params.fast)
    return fast + freeze_nothing(tx, updates.slow, None)


_NOT_AROUND = {
    **SCALED,
    **ONE_AVERAGE,
    "resting": "so the slow weights would move after sync_period gradients, not steps"
    + INSTEAD_OF_MORE,
    "compensation": "so the rounding remainder of the fast weights would be added to the slow ones"
    + INSTEAD,
}


@transform(
    static=("sync_period",),
    freezes=_frozen,
    is_a=("average", "exact weights", "passing"),
    not_around=_NOT_AROUND,
)
def lookahead(
    fast_optimizer: TransformationLike,
    sync_period: int,
    slow_step_size: ScalarOrSchedule,
    reset_state: bool = False,
):
    """Let slow weights φ follow an optimizer every few updates, and restart it from them. Zhang et
    al. 2019, Algorithm 1.

        after each `sync_period` updates: φ ← φ + α·(θ - φ), θ ← φ

        tx = lookahead(adam(1e-3), sync_period=5, slow_step_size=0.5)

    θ are the fast weights, which `fast_optimizer` moves; φ are the slow weights, at which you
    evaluate. The params are θ, and φ is in the state, where `eval_params` reads it. Alternatively,
    as in optax, the params are the pair `LookaheadParams.init_synced(params)`: take gradients at
    `params.fast` and evaluate at `params.slow`; the state then holds no weights.

    Args:
        fast_optimizer: The optimizer that moves the fast weights.
        sync_period: Updates between two moves of the slow weights, an integer of at least 1.
        slow_step_size: Share of the way to θ that φ moves, the α above; at least 0.
        reset_state: Start the fast optimizer afresh, at φ, whenever the slow weights move.
    """
    check_members({"fast_optimizer": fast_optimizer})
    check_count(sync_period=sync_period)
    check_nonnegative(slow_step_size=slow_step_size)

    def init(params):
        if isinstance(params, LookaheadParams):
            return LookaheadState(fast_optimizer.init(params.fast), zero_count())
        slow = cast_like(copy_params(params), zeros_like(params))
        return LookaheadWithSlowState(fast_optimizer.init(params), zero_count(), slow)

    def synced(state, moved, slow, rule, *read):
        """Move the slow weights if it is time: return the fast weights' move, the slow weights and
        the state.

        `rule(moved, slow, *read)` says what both do when the slow weights move.
        """

        def sync():
            new, new_slow = leafwise(rule, moved, slow, read=read)
            new_slow = cast_like(new_slow, slow)
            fast_state = state.fast_state
            if reset_state:
                fast_state = restarted(fast_optimizer.init(new_slow), fast_state)
            return cast_like(new, moved), new_slow, fast_state

        steps = increment(state.steps_since_sync) % sync_period
        moved, slow, fast_state = jax.lax.cond(
            steps == 0, sync, lambda: (moved, slow, state.fast_state)
        )
        return moved, slow, state._replace(fast_state=fast_state, steps_since_sync=steps)

    def update(updates, state, params, **extra):
        g, fast, slow = _parts(updates, state, params)
        u, fast_state = fast_optimizer.update(g, state.fast_state, fast, **extra)

        def rule(u, phi, theta):
            apart = phi - theta
            # the difference of two θ would lose the digits of small steps
            change = slow_step_size * (u - apart)
            return apart + change, phi + change

        u, new_slow, state = synced(state._replace(fast_state=fast_state), u, slow, rule, fast)
        if isinstance(state, LookaheadState):
            still = leafwise(
                lambda u, a, b: jnp.where(a == b, -0.0, b - a), u, read=(slow, new_slow)
            )
            return LookaheadParams(u, still), state
        return u, state._replace(slow=new_slow)

    def step(updates, state, params, **extra):
        g, fast, slow = _parts(updates, state, params)
        fast, fast_state = fast_optimizer.step(g, state.fast_state, fast, **extra)

        def rule(theta, phi):
            phi = phi + slow_step_size * (theta - phi)
            return phi, phi

        fast, slow, state = synced(state._replace(fast_state=fast_state), fast, slow, rule)
        if isinstance(state, LookaheadState):
            return LookaheadParams(fast, slow), state
        return fast, state._replace(slow=slow)

    return init, update, step


def _parts(updates, state, params):
    """Return the gradient and both weights, in either form."""
    is_pair = isinstance(params, LookaheadParams)
    if is_pair != isinstance(state, LookaheadState):
        raise ValueError(
            "lookahead: pass LookaheadParams to both init and update, or plain params to both"
        )
    return (updates.fast, *params) if is_pair else (updates, params, state.slow)
