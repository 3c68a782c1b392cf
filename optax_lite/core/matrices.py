"""View leaves as matrices: by named axes, or along each of their axes."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from optax_lite.core.leafwise import leafwise
from optax_lite.core.masks import Placeholder, is_patterns, pattern_mask
from optax_lite.core.trees import check_prefix, is_inexact, is_missing, leaf_paths
from optax_lite.core.types import Array, PyTree


class MuonDimensionNumbers(NamedTuple):
    """Name the axes of a leaf that are the rows (inputs) and columns (outputs) of its matrix.

    Several axes are joined to one; over the axes not named every matrix is separate. A convolution
    kernel (h, w, in, out) is `((0, 1, 2), 3)`, stacked layers (layers, in, out) are `(1, 2)`.

    Args:
        reduction_axis: Axis of the rows, or several.
        output_axis: Axis of the columns, or several.
    """

    reduction_axis: int | Sequence[int] = 0
    output_axis: int | Sequence[int] = 1


def dimension_numbers(given: Any, tree: PyTree) -> list:
    """Return the dimension numbers of every leaf, None where it is not a matrix.

    `given` is None (every leaf of two axes is a matrix), path patterns that pick among these, one
    for all leaves, or a tree or a function that makes one, in which one may stand for a subtree.
    """
    leaves = jax.tree.leaves(tree, is_leaf=is_missing)
    if isinstance(given, MuonDimensionNumbers):
        return [given] * len(leaves)
    if given is not None and not is_patterns(given):
        made = given(tree) if callable(given) else given
        check_prefix(made, tree, "dimension numbers", _is_numbers)

        def all_over(numbers, part):
            return jax.tree.map(lambda _: numbers, part, is_leaf=is_missing)

        filled = jax.tree.map(all_over, made, tree, is_leaf=_is_numbers)
        return jax.tree.leaves(filled, is_leaf=_is_numbers)
    picked = [True] * len(leaves) if given is None else jax.tree.leaves(pattern_mask(given, tree))
    return [
        MuonDimensionNumbers() if p and np.ndim(x) == 2 else None
        for p, x in zip(picked, leaves, strict=True)
    ]


def _is_numbers(x: Any) -> bool:
    return is_missing(x) or isinstance(x, MuonDimensionNumbers)


def on_matrices(rule: Callable[[Array], Array], updates: PyTree, given: Any) -> PyTree:
    """Apply a rule about stacks of matrices (batch, m, n) to every leaf, by the dimension numbers
    `given`.
    """
    leaves, treedef = jax.tree.flatten(updates, is_leaf=is_missing)
    told = zip(leaf_paths(updates), leaves, dimension_numbers(given, updates), strict=True)
    groups = [None if is_missing(x) else _groups(path, x.shape, n) for path, x, n in told]

    def stacked(x, groups):
        return x.transpose([*groups[0], *groups[1], *groups[2]]).reshape(_sizes(x.shape, groups))

    def as_before(made, x, groups):
        order = [*groups[0], *groups[1], *groups[2]]
        return made.reshape([x.shape[i] for i in order]).transpose(np.argsort(order))

    stacks = treedef.unflatten(
        [x if g is None else stacked(x, g) for x, g in zip(leaves, groups, strict=True)]
    )
    made = jax.tree.leaves(leafwise(rule, stacks), is_leaf=is_missing)
    return treedef.unflatten(
        [
            m if g is None else as_before(m, x, g)
            for m, x, g in zip(made, leaves, groups, strict=True)
        ]
    )


def check_matrices(params: PyTree, given: Any) -> None:
    """Raise, naming the first, unless every leaf that moves is a matrix by the dimension numbers
    `given`.
    """
    if isinstance(params, Placeholder):
        return
    leaves = jax.tree.leaves(params, is_leaf=is_missing)
    told = zip(leaf_paths(params), leaves, dimension_numbers(given, params), strict=True)
    for path, x, numbers in told:
        if is_inexact(x):
            _groups(path, np.shape(x), numbers)


def _sizes(shape, groups):
    return [math.prod(shape[i] for i in group) for group in groups]


def _groups(path, shape, numbers):
    """Return the axes of a leaf in three lists: those that count matrices, the rows, the
    columns.
    """
    found = axes_once(numbers, len(shape))
    if found is None or len(found) != 2:
        under = "" if numbers is None else f" under {numbers}"
        raise ValueError(
            f"leaf {path!r}: its shape {shape} is not a matrix{under}; name the axes that form one "
            "with weight_dimension_numbers=, or write muon(...), which gives other leaves to AdamW"
        )
    rows, columns = found
    return [i for i in range(len(shape)) if i not in rows + columns], rows, columns


def axes_once(groups: Sequence[int | Sequence[int]], ndim: int) -> list[list[int]] | None:
    """Count groups of axes from the first; None unless the array has each axis, and each is named
    once.
    """
    axes = range(ndim)
    try:
        found = [[axes[i] for i in np.atleast_1d(group).tolist()] for group in groups]
    except (IndexError, TypeError, ValueError):
        return None
    named = [i for group in found for i in group]
    return found if len({*named}) == len(named) else None


def adjoint(x: Array) -> Array:
    """Return the conjugate transpose of matrices (..., m, n)."""
    return jnp.conj(jnp.swapaxes(x, -2, -1))


def along(matrix: Array, x: Array, axis: int) -> Array:
    """Multiply a matrix (m, n) by every line of x, of length n, along an axis."""
    return jnp.moveaxis(jnp.tensordot(matrix, x, axes=(1, axis)), 0, axis)


def gram(x: Array, axis: int) -> Array:
    """Sum v·vᴴ over all lines v of x along an axis: GGᵀ and GᵀG of a matrix."""
    others = [i for i in range(x.ndim) if i != axis]
    return jnp.tensordot(x, jnp.conj(x), axes=(others, others))


def to_blocks(x: Array, size: int) -> Array:
    """Cut an array along every axis into blocks of at most `size`, the last filled up with zeros:
    (blocks, n, n', ...).

    A scalar is one block of one axis.
    """
    x = x.reshape(x.shape or (1,))
    sizes = [max(min(size, length), 1) for length in x.shape]
    x = jnp.pad(x, [(0, -length % n) for length, n in zip(x.shape, sizes, strict=True)])
    grid = x.reshape(
        [part for length, n in zip(x.shape, sizes, strict=True) for part in (length // n, n)]
    )
    axes = range(2 * len(sizes))
    return grid.transpose([*axes[::2], *axes[1::2]]).reshape([math.prod(grid.shape[::2]), *sizes])


def from_blocks(blocks: Array, shape: tuple[int, ...]) -> Array:
    """Put the array of a shape that `to_blocks` cut together again."""
    sizes, lengths = blocks.shape[1:], shape or (1,)
    counts = [-(-length // n) for length, n in zip(lengths, sizes, strict=True)]
    axes = range(len(sizes))
    grid = blocks.reshape([*counts, *sizes]).transpose(
        [i + half for i in axes for half in (0, len(sizes))]
    )
    whole = grid.reshape([count * n for count, n in zip(counts, sizes, strict=True)])
    return whole[tuple(map(slice, lengths))].reshape(shape)
