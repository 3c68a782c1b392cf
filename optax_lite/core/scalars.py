"""Counts, quotients and products in JAX's default floats and integers, and numbers that do not fit
there.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optax_lite.core.types import Array, Number

# --- counts ---------------------------------------------------------------------------------------


def fitting(count: Any) -> Any:
    """Return a count that JAX can hold: one of Python or NumPy that its integers would wrap becomes
    a float, rounded down.
    """
    if isinstance(count, bool) or not isinstance(count, (int, np.integer, np.ndarray)):
        return count
    exact, largest = np.asarray(count), jnp.iinfo(jnp.result_type(int)).max
    if exact.dtype.kind not in "iuO" or not np.any(exact > largest):
        return count
    rounded = exact.astype(jnp.result_type(float))
    return np.where(rounded > exact, np.nextafter(rounded, np.zeros_like(rounded)), rounded)


def since(count: Any, begin: Number) -> Array:
    """Return count - begin in the default float dtype, rounded down for an integer count, so that
    no step comes early.

    Float32 has 24 bits: integers are subtracted as integers, and only then lose what does not fit.
    """
    count, dtype = jnp.asarray(count), jnp.result_type(float)
    whole = jnp.result_type(int)
    if not jnp.can_cast(count.dtype, whole):
        return count.astype(dtype) - begin
    bits, top = (
        jnp.iinfo(whole).bits,
        float(np.nextafter(np.asarray(2.0 ** (jnp.iinfo(whole).bits - 1), dtype), 0)),
    )
    start = jnp.clip(jnp.floor(begin), 0.0, top)
    elapsed = count.astype(whole) - start.astype(whole)
    # Cut off instead of rounded to the nearest, or a boundary could come early (decision 22).
    lost = jnp.maximum(bits - 1 - jnp.finfo(dtype).nmant - jax.lax.clz(jnp.abs(elapsed)), 0)
    return ((elapsed >> lost) << lost).astype(dtype) - (begin - start)


def divide(x: Number, y: Number) -> Array:
    """Return x / y, rounded once in every program.

    Without the barrier XLA divides where there is one number, and multiplies an array by 1 / y.
    """
    x, y = jnp.broadcast_arrays(x, y)
    # Multiplying by 1 / y made staircases come one update late for some periods (decision 22).
    return x / jax.lax.optimization_barrier(y)


def multiply(x: Number, y: Number) -> Array:
    """Return x·y, rounded before it is added to something.

    Some programs fuse a product and the sum around it, and round once; no compiler does so across a
    bound.
    """
    largest = float(jnp.finfo(jnp.result_type(float)).max)
    # Unbounded, LLVM rounds product and sum once in some programs, twice in others (decision 22).
    return jnp.clip(x * y, -largest, largest)


# --- numbers that are lost ------------------------------------------------------------------------


def lost(value: Any) -> str:
    """Say what the default float makes of a concrete number that it turns into infinity or 0; empty
    if it holds it.

    Digits may be lost, and infinity itself may be meant. Below the smallest normal number
    everything counts as 0, for XLA flushes the subnormal ones.
    """
    if not isinstance(value, (int, float)) or value == 0 or 2e-38 < abs(value) < 3e38:
        return ""
    kind = jnp.finfo(jnp.result_type(float))
    if float(kind.max) * (1 + float(kind.eps) / 4) < abs(value) < math.inf:
        return (
            f"{_short(value)}, which is infinite in {kind.dtype}; the largest number is "
            f"{float(kind.max):.2g}"
        )
    if 0 < abs(value) < float(kind.tiny):
        return (
            f"{_short(value)}, which is 0 in {kind.dtype}; the smallest number above 0 is "
            f"{float(kind.tiny):.2g}"
        )
    return ""  # a number that only loses digits is taken (decision 26)


def as_limit(value: Any) -> Any:
    """Return a concrete limit, or infinity where it is larger than the default float can hold: both
    limit nothing.
    """
    if not isinstance(value, (int, float)) or not 3e38 < value < math.inf:
        return value
    # Other numbers that are infinite in the default float are refused (decision 26).
    return math.inf if lost(value) else value


def as_rows(value: Any) -> Any:
    """An array of coefficients as the tuple, perhaps of tuples, whose members are numbers."""
    is_array = isinstance(value, (np.ndarray, jax.Array)) and np.ndim(value) > 0
    return tuple(map(as_rows, value)) if is_array else value


def rounded_to_one(value: Any) -> str:
    """Say the same of a number below 1 that is rounded up to 1, and would be no decay at all."""
    if not isinstance(value, (int, float)) or not 1 - 1e-7 < value < 1:
        return ""
    kind = jnp.finfo(jnp.result_type(float))
    below = f"the largest number below 1 is {1 - float(kind.eps) / 2:.8f}"
    return (
        f"{_short(value)}, which is 1 in {kind.dtype}; {below}"
        if value >= 1 - float(kind.eps) / 4
        else ""
    )


def _short(value):
    return f"{value!r:.20}..." if isinstance(value, int) else repr(float(value))


def power_of_two(x: Array) -> Array:
    """Return about 1 / x for x ≥ 0: the power of two, if it is a normal number, that brings x into
    [1/2, 1); 1 for 0.
    """
    exponent = jnp.frexp(x)[1]
    least = int(jnp.finfo(x.dtype).minexp)  # below it they are denormal, and 0 on some processors
    return jnp.ldexp(jnp.ones_like(x), jnp.maximum(-exponent, least))
