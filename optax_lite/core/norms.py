"""Sums over the entries of an array or of a whole tree, in float32 at least whatever the leaves'
dtype.

`norm` and `rms` are for one array, inside a rule; `global_norm`, `sum_sq`, `sum_abs` and `dot` are
for whole trees, before a rule. They skip None, so that the norm of a group covers only the group,
and are 0 for an empty tree.
"""

from typing import Any

import jax
import jax.numpy as jnp

from optax_lite.core.leafwise import as_array, cast_up, compute_dtype, leafwise
from optax_lite.core.numerics import largest_square, plain_sq, smallest_square, sqrt, weak_typed
from optax_lite.core.trees import flatten_up_to, is_inexact, is_missing, leaf_paths, show_leaf
from optax_lite.core.types import Array, PyTree


def _unit(total: Array, low: float, high: float = float("inf")) -> Array:
    """Return the power of two by which to multiply entries so that their squares can be added up: 1
    unless the total is out of range.

    In float32 it is 2^80 below `low` and 2^-80 from `high` on. A power of two changes no digit, and
    so no norm that was right without it.
    """
    far = int(jnp.finfo(total.dtype).maxexp) * 5 // 8
    unit = jnp.where(total < low, 2.0**far, jnp.where(total < high, 1.0, 2.0**-far))
    return unit.astype(total.dtype)


def _low(dtype: Any) -> float:
    """Return the sum below which, in float32 2^-64, squares may be missing that are too small for
    the dtype.
    """
    return 2.0 ** -(int(jnp.finfo(dtype).maxexp) // 2)


def _times(unit: Array, x: Array) -> Array:
    return jax.lax.complex(unit * x.real, unit * x.imag) if jnp.iscomplexobj(x) else unit * x


def _in_range(x: Array, axis: Any) -> tuple[Array, Array]:
    """Scale x so that its largest entry along `axis` has a square; return it and the power of two
    that did so.
    """
    largest = jnp.max(jnp.abs(jax.lax.stop_gradient(x)), axis, keepdims=True, initial=0)
    unit = _unit(largest, 2.0**-32, 2.0**32)
    return _times(unit, x), unit


def norm(x: Array, axis: Any = None) -> Array:
    """Return the 2-norm of an array, or along `axis`, with the axes kept at length 1. Its
    derivative at 0 is 0.

    In float32 it is 0 for entries below 1e-19, and infinite from 2e19 on; `long_norm` is right
    there too.
    """
    # A second pass over every leaf took a step of LAMB from 4.0 to 5.9 ms (decision 20).
    return sqrt(jnp.sum(plain_sq(x), axis=axis, keepdims=axis is not None))


def long_norm(x: Array, axis: Any = None) -> Array:
    """Return the norm of entries of any size, with axes kept, in two passes over the array."""
    scaled, unit = _in_range(x, axis)
    return sqrt(jnp.sum(plain_sq(scaled), axis=axis, keepdims=True)) / unit


def safe_norm(
    x: Array,
    min_norm: float,
    ord: int | float | str | None = None,
    axis: int | tuple[int, ...] | None = None,
    keepdims: bool = False,
) -> Array:
    """Return `jnp.linalg.norm`, or `min_norm` if that is larger, with derivative 0 there.

    It is computed in float32 at least and returned in the precision of `x`.

    Args:
        x: An array of any shape.
        min_norm: The least value returned.
        ord: Order of the norm, as in `jnp.linalg.norm`; None for the 2-norm of all entries.
        axis: Axis, or pair of axes, to take the norm over; with an `ord` and None, a matrix has a
            matrix norm.
        keepdims: Keep these axes with length 1.
    """
    if not hasattr(x, "dtype"):
        raise TypeError(
            f"safe_norm: x must be an array, got {show_leaf(x):.60}; global_norm takes a tree"
        )
    wide = cast_up(x, compute_dtype(x))  # squares of float16 are soon infinite, or 0
    wide, unit = (wide, 1) if ord == 0 else _in_range(wide, axis)  # order 0 is a count
    small = jnp.linalg.norm(wide, ord, axis, keepdims=True) / unit <= min_norm
    above = jnp.linalg.norm(jnp.where(small, 1, wide), ord, axis, keepdims=True) / unit
    length = jnp.where(small, min_norm, above)
    length = length.astype(jnp.finfo(x.dtype).dtype) if is_inexact(x) else length
    return length if keepdims else jnp.squeeze(length, axis)


def safe_root_mean_squares(x: Array, min_rms: float) -> Array:
    """Return √(mean of |x|²), but `min_rms` at least, with derivative 0 where it is not above that.

    Args:
        x: An array of any shape.
        min_rms: The least value returned.
    """
    if not hasattr(x, "dtype"):
        raise TypeError(f"safe_root_mean_squares: x must be an array, got {show_leaf(x):.60}")
    root_of_size = max(float(x.size), 1.0) ** 0.5
    return safe_norm(x.reshape(-1), min_rms * root_of_size) / root_of_size


def rms(x: Array) -> Array:
    """Return √(mean of |x|²) of an array; 0 where there are no entries."""
    # as an int it may not fit in 32 bits
    return sqrt(jnp.sum(plain_sq(x)) / max(float(x.size), 1.0))


@jax.jit
def _sum_sq(x):
    return jnp.sum(plain_sq(_wide(x, compute_dtype(x))))


@jax.jit
def _scaled_sum_sq(x, unit):
    return jnp.sum(plain_sq(_times(unit, _wide(x, unit.dtype))))


def _wide(x, dtype):
    return cast_up(x, dtype) if is_inexact(x) else x.astype(dtype)


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
    """Return the leaves as arrays; an error names a leaf that is not one."""
    leaves = jax.tree.leaves(tree)
    try:
        return [jnp.asarray(x) for x in leaves]
    except (TypeError, ValueError) as error:
        for path, x in zip(leaf_paths(tree, nothing_too=False), leaves, strict=True):
            if not hasattr(x, "dtype") and not isinstance(x, (bool, int, float, complex)):
                raise TypeError(f"leaf {path!r} is {show_leaf(x):.60}, not an array") from error
        raise


def _total(parts: list[Array]) -> Array:
    dtype = compute_dtype(*parts)
    return sum((part.astype(dtype) for part in parts), start=jnp.zeros((), dtype))


def global_norm(updates: PyTree) -> Array:
    """Return the 2-norm over all entries of all leaves, summed in float32 at least.

    It is right for all sizes that the dtype can hold, in float32 also where squares underflow
    (below 1e-19) or overflow (above 2e19). It is infinite or NaN if an entry is, or if the norm
    itself overflows. Its derivative at 0 is 0.

    Args:
        updates: Gradients or updates, a pytree with the structure of the parameters. None is
            skipped.
    """
    return _global_norm(
        [x if is_inexact(x) else x.astype(compute_dtype(x)) for x in _arrays(updates)]
    )


@jax.custom_jvp
def _global_norm(arrays):
    parts, unit = _sums(arrays)
    return sqrt(_total(parts)) / unit


@_global_norm.defjvp
def _global_norm_jvp(primals, tangents):
    ((arrays,), (along,)) = primals, tangents
    length = _global_norm(arrays)
    # x / ‖x‖ first: neither is squared again, and the branch that is not taken keeps nothing for a
    # reverse pass.
    by = weak_typed(jnp.where(length == 0, 1, length))
    slopes = [
        _dot(cast_up(x, compute_dtype(x)) / by, t) for x, t in zip(arrays, along, strict=True)
    ]
    return length, _total(slopes).astype(length.dtype)


@jax.jit
def _sums(arrays):
    """Return Σ|unit·x|² of each array, in the widest dtype of all, and the unit.

    A second sum is made only where the first is out of range: it would be another pass over all
    gradients.
    """
    plain = [_sum_sq(x) for x in arrays]
    total = _total(plain)
    unit = _unit(total, _low(total.dtype))
    plain = [part.astype(total.dtype) for part in plain]
    # One condition for the whole tree: with one per leaf, a GPU waits for each (decision 20).
    return jax.lax.cond(
        unit == 1, lambda: plain, lambda: [_scaled_sum_sq(x, unit) for x in arrays]
    ), unit


def sum_sq(updates: PyTree) -> Array:
    """Return the square of `global_norm`; in float32 it is 0 or infinite where the norm is below
    1e-19 or above 2e19.
    """
    return _total([_sum_sq(x) for x in _arrays(updates)])


def with_sum_sq(updates: PyTree) -> tuple[PyTree, Array]:
    """Return the gradients and Σ|g|²; if the square leaves its dtype, those of the nearest norm
    that fits.
    """
    size = global_norm(updates)
    low, high = smallest_square(size.dtype), largest_square(size.dtype)
    beyond = (size > high**0.5) & (size < jnp.inf)
    factor = weak_typed(jnp.where(beyond, high**0.5 / jnp.where(beyond, size, 1), 1))
    updates = leafwise(lambda g: factor * g, updates)
    square = sum_sq(updates)
    return updates, weak_typed(jnp.where(size > 0, jnp.maximum(square, low), square))


def sum_abs(updates: PyTree) -> Array:
    """Sum |x| over all entries of all leaves."""
    return _total([_sum_abs(x) for x in _arrays(updates)])


def all_finite(updates: PyTree) -> Array:
    """Tell whether no entry of any leaf is infinite or NaN."""
    return jnp.all(
        jnp.array([_finite(x) for x in map(jnp.asarray, jax.tree.leaves(updates))], bool)
    )


def dot(updates: PyTree, other: PyTree) -> Array:
    """Return ⟨x, y⟩ over all entries of all leaves that `updates` has, as real vectors: the real
    part if complex.
    """
    leaves = jax.tree.leaves(updates, is_leaf=is_missing)
    pairs = zip(leaves, flatten_up_to(updates, other, "other tree"), strict=True)
    return _total([_dot(as_array(x), as_array(y)) for x, y in pairs if not is_missing(x)])
