"""Sums over the entries of an array or of a whole tree, in float32 at least whatever the leaves' dtype.

`norm` and `rms` are for one array, inside a rule; `global_norm`, `sum_sq`, `sum_abs` and `dot` for whole trees, before
one. They pass over None, so that a group's norm is over the group, and are 0 for an empty tree.
"""

from typing import Any

import jax
import jax.numpy as jnp

from optax_lite.aliases import Array, PyTree
from optax_lite.leaves import (
    abs_sq,
    align,
    as_array,
    cast_up,
    compute_dtype,
    is_inexact,
    is_nothing,
    leaf_paths,
    show_leaf,
    sqrt,
)


def norm(x: Array, axis: Any = None) -> Array:
    """The 2-norm of an array; with `axis`, of each part, the axes kept with length 1. Its derivative at 0 is 0."""
    return sqrt(jnp.sum(abs_sq(x), axis=axis, keepdims=axis is not None))


def safe_norm(x: Array, min_norm: float, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Array:
    """`jnp.linalg.norm`, but `min_norm` at least, with derivative 0 where it is not above that.

    `ord`, `axis` and `keepdims` are those of `jnp.linalg.norm`; without an axis a matrix has a matrix norm. It is
    computed in float32 at least and returned in the precision of `x`.
    """
    if not hasattr(x, "dtype"):
        raise TypeError(f"safe_norm: x must be an array, got {show_leaf(x):.60}; global_norm takes a tree")
    wide = cast_up(x, compute_dtype(x))  # squares of float16 are soon infinite, or 0
    small = jnp.linalg.norm(wide, ord, axis, keepdims=True) <= min_norm
    above = jnp.linalg.norm(jnp.where(small, 1, wide), ord, axis, keepdims=True)
    length = jnp.where(small, min_norm, above)
    length = length.astype(jnp.finfo(x.dtype).dtype) if is_inexact(x) else length
    return length if keepdims else jnp.squeeze(length, axis)


def rms(x: Array) -> Array:
    """√(mean of |x|²) of an array; 0 where there are no entries."""
    return sqrt(jnp.sum(abs_sq(x)) / max(float(x.size), 1.0))  # as an int it may not fit in 32 bits


@jax.jit
def _sum_sq(x):
    dtype = compute_dtype(x)
    return jnp.sum(abs_sq(cast_up(x, dtype) if is_inexact(x) else x.astype(dtype)))


@jax.jit
def _sum_abs(x):
    return jnp.sum(jnp.abs(cast_up(x, compute_dtype(x))))


@jax.jit
def _dot(x, y):
    dtype = compute_dtype(x, y)
    return jnp.sum((jnp.conj(cast_up(x, dtype)) * cast_up(y, dtype)).real)


@jax.jit
def _finite(x):
    return jnp.all(jnp.isfinite(x))


def _arrays(tree: PyTree) -> list[Array]:
    """The leaves as arrays; an error names the one that is none."""
    leaves = jax.tree.leaves(tree)
    try:
        return [jnp.asarray(x) for x in leaves]
    except (TypeError, ValueError) as error:
        for path, x in zip(leaf_paths(tree, nothing_too=False), leaves, strict=True):
            if not hasattr(x, "dtype") and not isinstance(x, (bool, int, float, complex)):
                raise TypeError(f"a norm of arrays: leaf {path!r} is {show_leaf(x):.60}") from error
        raise


def _total(parts: list[Array]) -> Array:
    dtype = compute_dtype(*parts)
    return sum((part.astype(dtype) for part in parts), start=jnp.zeros((), dtype))


def global_norm(updates: PyTree) -> Array:
    """The 2-norm over all entries of all leaves, summed in float32 at least whatever the leaves' dtype."""
    return sqrt(sum_sq(updates))


def sum_sq(updates: PyTree) -> Array:
    """The square of `global_norm`."""
    return _total([_sum_sq(x) for x in _arrays(updates)])


def sum_abs(updates: PyTree) -> Array:
    """The sum of |x| over all entries of all leaves."""
    return _total([_sum_abs(x) for x in _arrays(updates)])


def all_finite(updates: PyTree) -> Array:
    """Whether no entry of any leaf is infinite or NaN."""
    return jnp.all(jnp.array([_finite(x) for x in map(jnp.asarray, jax.tree.leaves(updates))], bool))


def dot(updates: PyTree, other: PyTree) -> Array:
    """⟨x, y⟩ over all entries of all leaves where `updates` has one, as real vectors: the real part if complex."""
    leaves = jax.tree.leaves(updates, is_leaf=is_nothing)
    pairs = zip(leaves, align(updates, other, "other tree"), strict=True)
    return _total([_dot(as_array(x), as_array(y)) for x, y in pairs if not is_nothing(x)])
