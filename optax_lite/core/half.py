"""Handle 16-bit numbers as float32 numbers on the 16-bit grid, and walk over the leaves that are
stored in 16 bits.

A rule gets the parameter and the update in float32, and returns the new parameter, q, as float32 on
the grid of the stored dtype. Numbers are put on the grid by arithmetic on bits. XLA may leave out a
conversion there and back, and with it everything that depends on the difference.
"""

import zlib
from collections.abc import Callable, Iterable, Sequence
from itertools import compress
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from optax_lite.core.leafwise import as_array, cast_up, compute_dtype
from optax_lite.core.trees import flatten_up_to, is_inexact, is_missing, leaf_paths, show_leaf
from optax_lite.core.types import Array, PyTree

HALF_DTYPES = (jnp.dtype(jnp.bfloat16), jnp.dtype(jnp.float16))
_TINY = 2.0**-14  # the least normal float16: below it neighbours are 2^-24 apart


def is_half(x: Any) -> bool:
    """Tell whether a leaf is stored in bfloat16 or float16."""
    return getattr(x, "dtype", None) in HALF_DTYPES


def nearest(x: Array, dtype: Any) -> Array:
    """Return the number of the low dtype nearest to a float32 one, ties to even; in float32."""
    # Not a conversion to bfloat16 and back, which XLA may leave out (decision 28).
    if dtype == jnp.bfloat16:
        return jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7)
    small = jnp.round(x * 2.0**24) * 2.0**-24  # reduce_precision has no denormals
    return jnp.where(
        jnp.abs(x) < _TINY, small, jax.lax.reduce_precision(x, exponent_bits=5, mantissa_bits=10)
    )


def stochastic(x: Array, bits: Array, dtype: Any) -> Array:
    """Return one of the two numbers of the low dtype around a float32 one, so that the mean is
    exact; in float32.

    `bits` are 32 random ones for every entry. A number that is stored exactly stays, NaN and
    infinities too. Beyond the largest finite number, where the upper neighbour would be infinite,
    it is the nearest.
    """
    lost = 16 if dtype == jnp.bfloat16 else 13  # bits of the mantissa that are not stored
    word = jax.lax.bitcast_convert_type(x, jnp.uint32)
    # Cleared bits instead of a conversion, which XLA may leave out (decision 28).
    word = (word + (bits >> jnp.uint32(32 - lost))) & jnp.uint32(2**32 - 2**lost)
    drawn = jax.lax.bitcast_convert_type(word, jnp.float32)
    if dtype == jnp.float16:
        steps = jnp.abs(x) * 2.0**24
        down = jnp.floor(steps)
        up = (bits >> jnp.uint32(8)).astype(jnp.float32) * 2.0**-24 < steps - down
        drawn = jnp.where(
            jnp.abs(x) < _TINY, jnp.copysign((down + up.astype(jnp.float32)) * 2.0**-24, x), drawn
        )
    is_between = jnp.abs(x) <= float(jnp.finfo(dtype).max)
    return _with_slope_of(x, jnp.where(is_between, drawn, nearest(x, dtype)))


@jax.custom_jvp
def _with_slope_of(x, rounded):
    """Return the rounded number, with the derivative of the exact one."""
    return rounded


@_with_slope_of.defjvp
def _with_slope_of_jvp(primals, tangents):
    return _with_slope_of(*primals), tangents[0]


# --- random bits ----------------------------------------------------------------------------------


def leaf_keys(seed: Any, count: Array, paths: Sequence[str]) -> list[Array]:
    """Return two random words for each path, from a seed (an int or a typed key) and a count."""
    if not paths:
        return []
    key = jax.random.fold_in(jax.random.key(seed) if isinstance(seed, int) else seed, count)
    names = jnp.array([zlib.crc32(path.encode()) for path in paths], jnp.uint32)
    # Only these words come from JAX's generator: for every entry it would take longer on a CPU than
    # the whole step of an optimizer (decision 29).
    words = jax.vmap(lambda name: jax.random.bits(jax.random.fold_in(key, name), (2,), jnp.uint32))(
        names
    )
    if not isinstance(words, Tracer):
        return list(np.asarray(words))
    # one line, where taking it apart would be two for each
    return list(jax.lax.split(words.reshape(-1), (2,) * len(paths)))


def keys_where(
    chosen: Iterable[bool], seed: Any, count: Array, paths: Sequence[str]
) -> list[Array | None]:
    """Return `leaf_keys` of the paths that are chosen, None for the others."""
    chosen = list(chosen)
    words = iter(leaf_keys(seed, count, list(compress(paths, chosen))))
    return [next(words) if yes else None for yes in chosen]


def random_bits(words: Array, shape: tuple[int, ...]) -> Array:
    """Return 32 random bits for every entry, by its place in the array: the same on every shard.

    The place is hashed with two words of a key, each time by the finalizer of MurmurHash3 (Appleby
    2011): on CPU 30 times as fast as JAX's generator, which would take longer than the whole step
    of an optimizer.
    """
    place, size = jnp.zeros(shape, jnp.uint32), 1
    for axis in reversed(range(len(shape))):
        place += jax.lax.broadcasted_iota(jnp.uint32, shape, axis) * jnp.uint32(size % 2**32)
        size *= shape[axis]
    return _scrambled(_scrambled(place ^ words[0]) ^ words[1])


def _scrambled(x: Array) -> Array:
    x = (x ^ (x >> jnp.uint32(16))) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> jnp.uint32(13))) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> jnp.uint32(16))


# --- parameters -----------------------------------------------------------------------------------


def slots_of_half(name: str, params: PyTree, slot: Callable[[Array], Array]) -> PyTree:
    """Return `slot(p)` for every parameter in bfloat16 or float16, None for the others, which need
    none.
    """
    paths = leaf_paths(params)
    for path, p in zip(paths, jax.tree.leaves(params, is_leaf=is_missing), strict=True):
        if (
            not is_missing(p)
            and is_inexact(p)
            and not is_half(p)
            and jnp.finfo(as_array(p).dtype).bits < 16
        ):
            raise ValueError(
                f"{name}: leaf {path!r} is {show_leaf(p)}, but only bfloat16, float16 and wider "
                "dtypes are supported"
            )
    return jax.tree.map(
        lambda p: p if is_missing(p) else slot(p) if is_half(p) else None,
        params,
        is_leaf=is_missing,
    )


def rounded_step(
    is_step: bool, rule: Callable, updates: PyTree, params: PyTree, *columns: PyTree
) -> tuple[PyTree, ...]:
    """Return the next params of a step, or the updates that lead to them, and the columns after the
    update.

    `rule(p, u, dtype, *column)` returns (q, *column) for a leaf in a low dtype. Other leaves move
    by u as usual, and their columns stay.
    """

    def low(p, u, *column):
        w = p.astype(jnp.float32)
        q, *new = rule(w, u.astype(jnp.float32), p.dtype, *column)
        if is_step:
            return jnp.where(q == w, w, q).astype(p.dtype), *new  # a parameter of -0.0 stays -0.0
        # Both numbers are exact, so p + u in the params' dtype lands on q too, unless an entry more
        # than halves or changes its sign (decision 28).
        away = jnp.where(q == w, -0.0, q - w)  # a -0.0 stays here too
        return jnp.where(jnp.isfinite(q) & jnp.isfinite(w), away, u.astype(jnp.float32)), *new

    def high(p, u):
        dtype = compute_dtype(p, u)
        return (cast_up(p, dtype) + cast_up(u, dtype)).astype(p.dtype) if is_step else u

    leaves, treedef = jax.tree.flatten(updates, is_leaf=is_missing)
    aligned = [
        flatten_up_to(updates, params, "params"),
        *(flatten_up_to(updates, column, "state") for column in columns),
    ]
    if any(isinstance(x, Tracer) for x in jax.tree.leaves([leaves, aligned])):
        low, high = jax.jit(low), jax.jit(high)  # leaves that look alike are traced once
    rows = []
    for u, p, *column in zip(leaves, *aligned, strict=True):
        if is_missing(u):
            rows.append((u, *column))
        else:
            p, u = as_array(p), as_array(u)
            rows.append(low(p, u, *column) if is_half(p) else (high(p, u), *column))
    return (
        tuple(treedef.unflatten(column) for column in zip(*rows, strict=True))
        if rows
        else (updates, *columns)
    )
