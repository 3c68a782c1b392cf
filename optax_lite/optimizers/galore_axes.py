"""Which leaves GaLore projects, and how they are matrices."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from optax_lite.aliases import PyTree
from optax_lite.check import ArgumentError
from optax_lite.leaves import align, is_nothing, leaf_paths
from optax_lite.matrices import axes_once
from optax_lite.placement import placed, spec_like


class GaLoreDimensionNumbers(NamedTuple):
    """Which axes of an array are the rows, and which the columns, of the matrix that is projected."""

    reduction_axis: int | tuple[int, ...] = 0
    output_axis: int | tuple[int, ...] = 1


def matrix_axes(numbers: Any, tree: PyTree) -> list[tuple[list[int], list[int]] | None]:
    """The axes of rows and columns of every leaf, None where nothing is projected.

    A leaf with a number of axes other than two is projected only if it is told how.
    """
    numbers = numbers(tree) if callable(numbers) else numbers
    leaves = jax.tree.leaves(tree, is_leaf=is_nothing)
    if numbers is None:
        each = [GaLoreDimensionNumbers() if np.ndim(x) == 2 else None for x in leaves]
    elif isinstance(numbers, GaLoreDimensionNumbers):
        each = [numbers if np.ndim(x) > 1 else None for x in leaves]
    else:
        each = align(tree, numbers, "weight_dimension_numbers")

    def one(x, n, path):
        if n is None or is_nothing(x) or x.size == 0:
            return None
        found = axes_once(n, x.ndim)
        if found is None or len(found) != 2 or sum(map(len, found)) != x.ndim:
            raise ArgumentError(f"leaf {path!r}: {n} must name each axis of shape {x.shape} once", "galore")
        return found[0], found[1]

    return [one(*triple) for triple in zip(leaves, each, leaf_paths(tree), strict=True)]


def fold(x, axes):
    """An array as the matrix to project."""
    rows, columns = axes
    return jnp.transpose(x, rows + columns).reshape(math.prod(x.shape[a] for a in rows), -1)


def unfold(matrix, axes, shape):
    """The array of a matrix."""
    order = axes[0] + axes[1]
    return jnp.transpose(matrix.reshape([shape[a] for a in order]), [order.index(a) for a in range(len(order))])


def project(g, p):
    """A matrix in the directions of a projector, as it is without any."""
    return g if p.size == 0 else p.conj().T @ g if g.shape[0] >= g.shape[1] else g @ p


def start(w, axes, rank):
    """The projector of a leaf, and what the base optimizer has in its place."""
    if axes is None:
        return jnp.zeros((0, 0), w.dtype), w
    m, n = (math.prod(w.shape[a] for a in group) for group in axes)
    p = jnp.zeros((max(m, n), min(rank, m, n)), w.dtype)
    low = (p.shape[1], n) if m >= n else (m, p.shape[1])
    # Computed, though it is 0, so that it is cut on a mesh as the projected gradients will be.
    return p, placed(lambda w, p: project(fold(w, axes), p), (w, p), lambda: spec_like(w, low))
