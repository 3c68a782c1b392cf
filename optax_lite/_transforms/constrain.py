"""Constrain updates: no NaN, no negative parameter, a mean of 0, a norm of 1."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optax_lite.core.leafwise import copy_params, leafwise, varying_like
from optax_lite.core.norms import global_norm
from optax_lite.core.numerics import weak_typed
from optax_lite.core.transform import EmptyState, PyTree, transform
from optax_lite.core.types import ScalarOrSchedule


class ZeroNansState(NamedTuple):
    found_nan: PyTree  # by leaf: whether the last update had a NaN


@transform
def zero_nans():
    """Replace NaN by 0, entry by entry; infinite entries stay.

    The state says which leaves had a NaN in the last update. The other entries move as usual;
    skipping the whole step is often better.
    """

    def init(params):
        return ZeroNansState(
            jax.tree.map(lambda p: varying_like(jnp.zeros((), bool), p), copy_params(params))
        )

    def rule(g, found):
        nan = jnp.isnan(g)
        return jnp.where(nan, 0, g), jnp.any(nan)

    def update(updates, state):
        updates, found_nan = leafwise(rule, updates, state.found_nan, same_shape=False)
        return updates, ZeroNansState(found_nan)

    return init, update


@transform
def keep_params_nonnegative():
    """Replace u by -w where w + u would be negative, so that w + u is 0; the last of a chain.

    A negative parameter goes to 0. With gradients of a lower precision than the parameters -w is
    rounded to it: there `tx.step` lands on 0, `update` near it.
    """

    def update(updates, state, params):
        return leafwise(
            lambda u, w: jnp.where(w + u < 0, -w, u), updates, read=(params,), real_only=True
        ), state

    return lambda params: EmptyState(), update


@transform
def centralize():
    """Subtract from g its mean over all axes but the first; vectors and scalars stay. Yong et al.
    2020.

    The paper subtracts the mean per output, which needs the outputs on the first axis, as in torch;
    Flax has them on the last.
    """

    def rule(g):
        return g - jnp.mean(g, axis=tuple(range(1, g.ndim)), keepdims=True) if g.ndim > 1 else g

    return lambda params: EmptyState(), lambda updates, state: (leafwise(rule, updates), state)


@transform
def normalize_by_update_norm(scale_factor: ScalarOrSchedule = 1.0, eps: ScalarOrSchedule = 1e-6):
    """Scale all updates to one norm. 0 stays 0.

        g ← scale_factor·g / (‖g‖ + eps), with the norm ‖g‖ over all leaves

    Every step then has the same length, however flat the loss is, so shorten it by a schedule to
    converge.

    Args:
        scale_factor: Norm of the result.
        eps: Added to the denominator; at least 0.
    """

    def update(updates, state):
        total = weak_typed(global_norm(updates)) + eps
        factor = scale_factor / jnp.where(total == 0, 1.0, total)
        return leafwise(lambda g: factor * g, updates), state

    return lambda params: EmptyState(), update


@transform
def normalize():
    """Replace g by g / ‖g‖, with the norm over all leaves; 0 stays 0."""
    return normalize_by_update_norm(eps=0.0)
