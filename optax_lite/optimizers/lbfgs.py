"""L-BFGS: an inverse Hessian estimated from the last few steps, followed by a line search."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optax_lite._transforms.scale import scale, scale_by_learning_rate
from optax_lite.core.compose import chain, identity
from optax_lite.core.leafwise import increment, leafwise, varying_like, zero_count, zeros_like
from optax_lite.core.norms import dot, global_norm
from optax_lite.core.numerics import weak_typed
from optax_lite.core.transform import Array, GradientTransformation, PyTree, transform
from optax_lite.core.trees import flatten_up_to, is_missing
from optax_lite.core.types import ScalarOrSchedule
from optax_lite.core.validate import check_count
from optax_lite.linesearch.backtracking import value_dtype
from optax_lite.linesearch.zoom import scale_by_zoom_linesearch


class ScaleByLBFGSState(NamedTuple):
    count: Array  # updates so far, int32
    params: PyTree  # w at the last update
    updates: PyTree  # g at the last update
    # s = w - w₋₁ of the last updates, each leaf with an axis of memory_size in front
    diff_params_memory: PyTree
    diff_updates_memory: PyTree  # y = g - g₋₁, likewise
    weights_memory: Array  # 1/⟨s, y⟩, or 0 for a pair that is not used


@transform(
    static=("memory_size",),
    exact_state="takes differences of stored points, which rounding would spoil",
)
def scale_by_lbfgs(memory_size: int = 10, scale_init_precond: bool = True):
    """Multiply g by the inverse Hessian that BFGS estimates from the last steps. Nocedal & Wright
    2006, Algorithm 7.4.

    Each step gives a pair, the change s of the parameters and y of the gradient. H starts from γ·I,
    with γ = ⟨s, y⟩/‖y‖² of the newest pair, or min(1, 1/‖g‖) on the first update. A first step
    shorter than eps·max(1, ‖w‖), with the eps of the dtype, is lengthened to that: a shorter one
    moves nothing. A pair with ⟨s, y⟩ ≤ 0 is left out, which keeps H positive definite if the
    function is not convex or the step did not come from a line search (optax keeps such a pair).
    The memory takes 2·memory_size times that of the parameters.

    Args:
        memory_size: Number of pairs (s, y) kept, an integer of at least 1.
        scale_init_precond: Start H from γ·I; False starts it from I.
    """
    check_count(memory_size=memory_size)

    def init(params):
        zeros = zeros_like(params)
        stacked = jax.tree.map(lambda z: jnp.broadcast_to(z, (memory_size, *z.shape)), zeros)
        weights = varying_like(jnp.zeros(memory_size, value_dtype(params)), params)
        return ScaleByLBFGSState(zero_count(), zeros, zeros, stacked, stacked, weights)

    def update(updates, state, params):
        newest, seen = (state.count - 1) % memory_size, state.count > 0

        def remember(g, g_old, w_old, s_memory, y_memory, w):
            s, y = jnp.where(seen, w - w_old, 0), jnp.where(seen, g - g_old, 0)
            return g, g, w, s_memory.at[newest].set(s), y_memory.at[newest].set(y)

        slots = (state.updates, state.params, state.diff_params_memory, state.diff_updates_memory)
        updates, gs, ws, s_memory, y_memory = leafwise(
            remember, updates, *slots, read=(params,), same_shape=False
        )
        g, S, Y = (_present(updates, tree) for tree in (updates, s_memory, y_memory))
        curvature = dot(_pair(S, newest), _pair(Y, newest))
        usable = curvature >= jnp.finfo(curvature.dtype).tiny  # so that 1/curvature is finite
        weight = 1 / jnp.where(usable, curvature, jnp.inf)
        weights = state.weights_memory.at[newest].set(weight.astype(state.weights_memory.dtype))
        # places below 0 count from the end
        backwards = newest - jnp.arange(memory_size, dtype=jnp.int32)
        gamma = (
            _gamma(g, _present(updates, ws), Y, weights, backwards) if scale_init_precond else 1.0
        )
        h = iter(_two_loops(g, S, Y, weights, backwards, gamma))
        leaves, treedef = jax.tree.flatten(updates, is_leaf=is_missing)
        updates = treedef.unflatten([u if is_missing(u) else next(h) for u in leaves])
        return updates, ScaleByLBFGSState(
            increment(state.count), ws, gs, s_memory, y_memory, weights
        )

    return init, update


def _present(updates, tree):
    """List the leaves of a tree for which there is an update."""
    leaves = jax.tree.leaves(updates, is_leaf=is_missing)
    return [
        x
        for u, x in zip(leaves, flatten_up_to(updates, tree, "state"), strict=True)
        if not is_missing(u)
    ]


def _pair(memory, i):
    return [x[i] for x in memory]


def _gamma(g, w, Y, weights, backwards):
    """Return ⟨s, y⟩/‖y‖² of the newest pair in use.

    Before there is one it is min(1, 1/‖g‖), or more if that would move nothing.
    """
    i = backwards[jnp.argmax(weights[backwards] > 0)]
    y_norm, size = global_norm(_pair(Y, i)), global_norm(g)
    yy = weights[i] * y_norm * y_norm  # 0 without such a pair; the square alone may leave the dtype
    # below it a search ends at once
    visible = jnp.finfo(size.dtype).eps * jnp.maximum(global_norm(w), 1)
    first = jnp.where(size > 0, jnp.minimum(jnp.maximum(size, 1), size / visible), 1)
    return weak_typed(1 / jnp.where(yy > 0, yy, first))


def _two_loops(g, S, Y, weights, backwards, gamma):
    """Algorithm 7.4: the pairs from the newest to the oldest, γ, and the way back."""

    def down(q, i):
        alpha = weak_typed(weights[i] * dot(_pair(S, i), q))
        return [q - alpha * y for q, y in zip(q, _pair(Y, i), strict=True)], alpha

    def up(r, pair):
        i, alpha = pair
        beta = weak_typed(weights[i] * dot(_pair(Y, i), r))
        return [r + (alpha - beta) * s for r, s in zip(r, _pair(S, i), strict=True)], None

    q, alphas = jax.lax.scan(down, g, backwards)
    return jax.lax.scan(up, [gamma * q for q in q], (backwards, alphas), reverse=True)[0]


_ZOOM = scale_by_zoom_linesearch(max_linesearch_steps=20, initial_guess_strategy="one")


@transform(static=("memory_size",))
def lbfgs(
    learning_rate: ScalarOrSchedule | None = None,
    memory_size: int = 10,
    scale_init_precond: bool = True,
    linesearch: GradientTransformation | None = _ZOOM,
):
    """Update w by L-BFGS with a line search, for whole-batch functions. Liu & Nocedal 1989.

        w ← w - η·H·g, H the inverse Hessian of L-BFGS and η found by the line search

    The line search needs `tx.update(grad, state, params, value=value, grad=grad, value_fn=fn)`;
    `minimize` passes all of these.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far. None for
            1. The line search scales what it gives.
        memory_size: Number of pairs (s, y) kept, an integer of at least 1.
        scale_init_precond: Start H from γ·I; False starts it from I.
        linesearch: Transformation that scales the step; None leaves it at `learning_rate`.
    """
    descend = scale(-1.0) if learning_rate is None else scale_by_learning_rate(learning_rate)
    return chain(scale_by_lbfgs(memory_size, scale_init_precond), descend, linesearch or identity())
