"""GaLore: run another optimizer, with its state, on low-rank projections of matrix gradients."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from optax_lite._transforms.decay import with_decay_and_rate
from optax_lite.core.compose import check_members
from optax_lite.core.frozen import freeze_nothing
from optax_lite.core.leafwise import (
    cast_up,
    compute_dtype,
    copy_params,
    increment,
    leafwise,
    varying_like,
    zero_count,
)
from optax_lite.core.matrices import axes_once
from optax_lite.core.placement import placed, spec_like, whole
from optax_lite.core.transform import Array, OptState, PyTree, transform
from optax_lite.core.trees import flatten_up_to, is_missing, leaf_paths
from optax_lite.core.types import Mask, ScalarOrSchedule, TransformationLike
from optax_lite.core.validate import ArgumentError, check_count
from optax_lite.optimizers.adam import scale_by_adam


class GaLoreDimensionNumbers(NamedTuple):
    """Which axes of an array are the rows, and which the columns, of the matrix that is projected.

    Args:
        reduction_axis: Axis of the rows, or several that are joined.
        output_axis: Axis of the columns, or several that are joined.
    """

    reduction_axis: int | tuple[int, ...] = 0
    output_axis: int | tuple[int, ...] = 1


def matrix_axes(numbers: Any, tree: PyTree) -> list[tuple[list[int], list[int]] | None]:
    """Return the axes of rows and columns of every leaf, None where nothing is projected.

    A leaf with a number of axes other than two is projected only if `numbers` says how.
    """
    numbers = numbers(tree) if callable(numbers) else numbers
    leaves = jax.tree.leaves(tree, is_leaf=is_missing)
    if numbers is None:
        each = [GaLoreDimensionNumbers() if np.ndim(x) == 2 else None for x in leaves]
    elif isinstance(numbers, GaLoreDimensionNumbers):
        each = [numbers if np.ndim(x) > 1 else None for x in leaves]
    else:
        each = flatten_up_to(tree, numbers, "weight_dimension_numbers")

    def one(x, n, path):
        if n is None or is_missing(x) or x.size == 0:
            return None
        found = axes_once(n, x.ndim)
        if found is None or len(found) != 2 or sum(map(len, found)) != x.ndim:
            raise ArgumentError(
                f"leaf {path!r}: {n} must name each axis of shape {x.shape} once", "galore"
            )
        return found[0], found[1]

    return [one(*triple) for triple in zip(leaves, each, leaf_paths(tree), strict=True)]


def fold(x, axes):
    """Reshape an array to the matrix to project."""
    rows, columns = axes
    return jnp.transpose(x, rows + columns).reshape(math.prod(x.shape[a] for a in rows), -1)


def unfold(matrix, axes, shape):
    """Reshape a matrix to its array."""
    order = axes[0] + axes[1]
    return jnp.transpose(
        matrix.reshape([shape[a] for a in order]), [order.index(a) for a in range(len(order))]
    )


def project(g, p):
    """Return a matrix in the directions of a projector, unchanged without one."""
    return g if p.size == 0 else p.conj().T @ g if g.shape[0] >= g.shape[1] else g @ p


def start(w, axes, rank):
    """Return the first projector of a leaf, and what the base optimizer sees in its place."""
    if axes is None:
        return jnp.zeros((0, 0), w.dtype), w
    m, n = (math.prod(w.shape[a] for a in group) for group in axes)
    p = jnp.zeros((max(m, n), min(rank, m, n)), w.dtype)
    low = (p.shape[1], n) if m >= n else (m, p.shape[1])
    # Computed, though it is 0, so that it is cut on a mesh as the projected gradients will be.
    return p, placed(lambda w, p: project(fold(w, axes), p), (w, p), lambda: spec_like(w, low))


class GaLoreState(NamedTuple):
    count: Array  # updates so far, int32
    base_optimizer_state: OptState  # state of the low-rank updates
    projector: PyTree  # P, with orthonormal columns; of shape (0, 0) where nothing is projected


def _directions(g, rank):
    """Return the leading singular vectors of the longer side, without a derivative.

    It is infinite where two values agree. The signs are arbitrary: with new ones an odd base
    optimizer makes the same update, but from moments of the old.
    """
    left, _, right = jnp.linalg.svd(jax.lax.stop_gradient(g), full_matrices=False)
    return left[:, :rank] if g.shape[0] >= g.shape[1] else right[:rank].conj().T


@transform(
    static=("rank", "update_proj_gap", "numbers"),
    freezes=freeze_nothing,
    is_a=("direction", "of matrices"),
    exact_state="keeps bases in its slots; pass quantize_state(...) as its base_optimizer",
)
def _scale_by_galore(base_optimizer, scale, rank, update_proj_gap, numbers):
    check_members({"base_optimizer": base_optimizer})
    check_count(rank=rank, update_proj_gap=update_proj_gap)

    def folded(tree):
        leaves, treedef = jax.tree.flatten(tree, is_leaf=is_missing)
        axes = matrix_axes(numbers, tree)
        return treedef.unflatten(
            [x if a is None else fold(x, a) for x, a in zip(leaves, axes, strict=True)]
        ), axes

    def init(params):
        leaves, treedef = jax.tree.flatten(copy_params(params), is_leaf=is_missing)
        axes = matrix_axes(numbers, treedef.unflatten(leaves))
        pairs = [
            (w, w) if is_missing(w) else start(cast_up(w, compute_dtype(w)), a, rank)
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
            return (
                u
                if p.size == 0
                else scale * (p @ u if g.shape[0] >= g.shape[1] else u @ p.conj().T)
            )

        full = leafwise(up, low, read=(projector, matrices), same_shape=False)
        leaves, treedef = jax.tree.flatten(full, is_leaf=is_missing)
        shapes = [np.shape(g) for g in jax.tree.leaves(updates, is_leaf=is_missing)]
        parts = [
            u if a is None else unfold(u, a, s)
            for u, a, s in zip(leaves, axes, shapes, strict=True)
        ]
        return treedef.unflatten(parts), GaLoreState(increment(state.count), base, projector)

    return init, update


@transform(
    static=("rank", "update_proj_gap", "weight_dimension_numbers"),
    freezes=freeze_nothing,
    is_a=("direction",),
)
def scale_by_galore(
    rank: int = 128,
    update_proj_gap: int = 200,
    scale: ScalarOrSchedule = 1.0,
    base_optimizer: TransformationLike | None = None,
    weight_dimension_numbers: PyTree = None,
):
    """Run another optimizer on low-rank projections of matrix gradients. Zhao et al. 2024,
    Algorithm 2.

        g ← scale·P·base(Pᵀg) for a tall matrix, scale·base(g·P)·Pᵀ for a wide one

    P holds the `rank` leading singular vectors of g. The longer side is projected, so that the base
    optimizer's state has rank·min(rows, columns) entries per slot; the paper projects the shorter
    one. Leaves that are not projected go through the base optimizer as usual, without `scale`.

    By default, arrays with two axes are projected. `weight_dimension_numbers` says how to project
    others: one `GaLoreDimensionNumbers` for all arrays with two or more axes, a tree of them with
    None where nothing is projected, or a function that makes one from the params.

    Args:
        rank: Number of singular vectors, an integer of at least 1.
        update_proj_gap: Updates from one decomposition of g to the next, starting with the first;
            an integer of at least 1.
        scale: Factor of the projected updates.
        base_optimizer: Transformation of the projections, None for `scale_by_adam()`. It sees no
            parameters, whose shapes differ: decay belongs after this one.
        weight_dimension_numbers: Axes that make a leaf a matrix, or a tree or function of these.
    """
    base = scale_by_adam() if base_optimizer is None else base_optimizer
    return _scale_by_galore(base, scale, rank, update_proj_gap, weight_dimension_numbers)


@transform(
    static=("rank", "update_proj_gap", "mask", "weight_dimension_numbers"), freezes=freeze_nothing
)
def galore(
    learning_rate: ScalarOrSchedule,
    rank: int = 128,
    update_proj_gap: int = 200,
    scale: ScalarOrSchedule = 1.0,
    base_optimizer: TransformationLike | None = None,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: Mask | None = None,
    weight_dimension_numbers: PyTree = None,
):
    """Update w by another optimizer that runs on low-rank projections of gradients. Zhao et al.
    2024.

        w ← w - lr·(scale·P·base(Pᵀg) + weight_decay·w)

    Use the rate of the base optimizer or a larger one, because `scale` is usually 0.25. The decay
    is that of AdamW. For P and which leaves it projects see `scale_by_galore`.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        rank: Number of singular vectors, an integer of at least 1.
        update_proj_gap: Updates from one decomposition of g to the next, starting with the first;
            an integer of at least 1.
        scale: Factor of the projected updates.
        base_optimizer: Transformation of the projections, None for `scale_by_adam()`. It sees no
            parameters, whose shapes differ: decay belongs after this one.
        weight_decay: Decoupled weight decay; the learning rate multiplies it.
        mask: Leaves that decay: path patterns, a tree of bools or a function that makes one of the
            params (see `masked`); None for all.
        weight_dimension_numbers: Axes that make a leaf a matrix, or a tree or function of these.
    """
    return with_decay_and_rate(
        learning_rate,
        scale_by_galore(rank, update_proj_gap, scale, base_optimizer, weight_dimension_numbers),
        decay=(weight_decay, mask),
    )
