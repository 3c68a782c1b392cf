"""Clipping: every entry by itself, or the whole tree by its norm."""

import jax.numpy as jnp

from optax_lite.check import check_nonnegative
from optax_lite.core import EmptyState, transform
from optax_lite.leaves import Number, leafwise, weak
from optax_lite.norms import global_norm


@transform
def clip(max_delta: Number):
    """Bring every entry into [-max_delta, max_delta]; for real updates only."""
    check_nonnegative(max_delta=max_delta)

    def update(updates, state):
        return leafwise(lambda g: jnp.clip(g, -max_delta, max_delta), updates, real_only=True), state

    return lambda params: EmptyState(), update


@transform
def clip_by_global_norm(max_norm: Number):
    """Scale all updates by max_norm / ‖g‖ if the norm ‖g‖ over all leaves is above it. Pascanu et al. 2013.

    A NaN or infinite entry makes every update NaN or 0; skip such a step instead of clipping it.
    """
    check_nonnegative(max_norm=max_norm)

    def update(updates, state):
        norm = weak(global_norm(updates))
        fits = norm <= max_norm
        factor = jnp.where(fits, 1.0, max_norm / jnp.where(fits, 1.0, norm))
        return leafwise(lambda g: factor * g, updates), state

    return lambda params: EmptyState(), update
