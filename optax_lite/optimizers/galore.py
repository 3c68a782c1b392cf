"""GaLore: another optimizer at work, with its state, on low-rank projections of matrix gradients."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from optax_lite.check import check_count
from optax_lite.compose import check_members
from optax_lite.core import Array, Number, OptState, PyTree, transform
from optax_lite.frozen import nothing
from optax_lite.leaves import cast_up, compute_dtype, copies, increment, is_nothing, leafwise, varying_like, zero_count
from optax_lite.optimizers.adam import scale_by_adam
from optax_lite.optimizers.galore_axes import fold, matrix_axes, project, start, unfold
from optax_lite.placement import whole
from optax_lite.transforms.decay import descend


class GaLoreState(NamedTuple):
    count: Array  # updates so far, int32
    base_optimizer_state: OptState  # of the low-rank updates
    projector: PyTree  # P, with orthonormal columns; of shape (0, 0) where nothing is projected


def _directions(g, rank):
    """The leading singular vectors of the longer side; no derivative, for it is infinite where two values agree.

    Their signs are arbitrary: with new ones an odd base optimizer makes the same update, but from moments of the old.
    """
    left, _, right = jnp.linalg.svd(jax.lax.stop_gradient(g), full_matrices=False)
    return left[:, :rank] if g.shape[0] >= g.shape[1] else right[:rank].conj().T


@transform(
    static=("rank", "update_proj_gap", "numbers"),
    freezes=nothing,
    is_a=("direction",),
    exact_state="has bases among its slots; give it quantize_state(...) as base_optimizer",
)
def _scale_by_galore(base_optimizer, scale, rank, update_proj_gap, numbers):
    check_members({"base_optimizer": base_optimizer})
    check_count(rank=rank, update_proj_gap=update_proj_gap)

    def folded(tree):
        leaves, treedef = jax.tree.flatten(tree, is_leaf=is_nothing)
        axes = matrix_axes(numbers, tree)
        return treedef.unflatten([x if a is None else fold(x, a) for x, a in zip(leaves, axes, strict=True)]), axes

    def init(params):
        leaves, treedef = jax.tree.flatten(copies(params), is_leaf=is_nothing)
        axes = matrix_axes(numbers, treedef.unflatten(leaves))
        pairs = [
            (w, w) if is_nothing(w) else start(cast_up(w, compute_dtype(w)), a, rank)
            for w, a in zip(leaves, axes, strict=True)
        ]
        projector, low = (treedef.unflatten([pair[i] for pair in pairs]) for i in range(2))
        low, projector = varying_like((low, projector), params)
        return GaLoreState(zero_count(), base_optimizer.init(low), projector)

    def update(updates, state, params=None, **extra):
        matrices, axes = folded(updates)
        due = state.count % update_proj_gap == 0

        def down(g, p):
            p = jax.lax.cond(due, lambda: _directions(g, p.shape[1]), lambda: p) if p.size else p
            return project(g, p), whole(p)

        low, projector = leafwise(down, matrices, state.projector, same_shape=False)
        low, base = base_optimizer.update(low, state.base_optimizer_state, **extra)

        def up(u, p, g):
            return u if p.size == 0 else scale * (p @ u if g.shape[0] >= g.shape[1] else u @ p.conj().T)

        full = leafwise(up, low, read=(projector, matrices), same_shape=False)
        leaves, treedef = jax.tree.flatten(full, is_leaf=is_nothing)
        shapes = [np.shape(g) for g in jax.tree.leaves(updates, is_leaf=is_nothing)]
        parts = [u if a is None else unfold(u, a, s) for u, a, s in zip(leaves, axes, shapes, strict=True)]
        return treedef.unflatten(parts), GaLoreState(increment(state.count), base, projector)

    return init, update


@transform(static=("rank", "update_proj_gap", "weight_dimension_numbers"), freezes=nothing, is_a=("direction",))
def scale_by_galore(
    rank: int = 128, update_proj_gap: int = 200, scale: Number = 1.0, base_optimizer=None, weight_dimension_numbers=None
):
    """scale·P·base(Pᵀg) for a tall matrix, scale·base(g·P)·Pᵀ for a wide one. Zhao et al. 2024, Algorithm 2.

    P holds the `rank` leading singular vectors of g, from a new decomposition at the first of every `update_proj_gap`
    updates. The longer side is projected, so that the base optimizer's state has rank·min(rows, columns) entries a
    slot; the paper projects the shorter one. `base_optimizer`, `scale_by_adam()` by default, sees no parameters, for
    they have other shapes: decay belongs behind. Leaves not projected go through it as they are, without `scale`.

    Arrays of two axes are projected. `weight_dimension_numbers` says how others are: a `GaLoreDimensionNumbers` for all
    of two axes or more, a tree of them with None where nothing is projected, or a function from the params to it.
    """
    base = scale_by_adam() if base_optimizer is None else base_optimizer
    return _scale_by_galore(base, scale, rank, update_proj_gap, weight_dimension_numbers)


@transform(static=("rank", "update_proj_gap", "mask", "weight_dimension_numbers"), freezes=nothing)
def galore(
    learning_rate: Number, rank: int = 128, update_proj_gap: int = 200, scale: Number = 1.0, base_optimizer=None,
    weight_decay: Number = 0.0, mask=None, weight_dimension_numbers=None,
):  # fmt: skip
    """`scale_by_galore`, the decoupled weight decay of AdamW, and the learning rate. Zhao et al. 2024.

    w ← w - lr·(scale·P·base(Pᵀg) + weight_decay·w). The rate is that of the base optimizer, or larger: a fraction
    `scale` of 0.25 is usual. `mask` says what decays; the other arguments are those of `scale_by_galore`.
    """
    return descend(
        learning_rate,
        scale_by_galore(rank, update_proj_gap, scale, base_optimizer, weight_dimension_numbers),
        decay=(weight_decay, mask),
    )
