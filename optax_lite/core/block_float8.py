"""Store arrays in 8 bits per entry: small floats, with an exponent shared by each block.

The shared exponents are those of the microscaling formats (Rouhani et al. 2023, arXiv 2310.10537);
they are powers of 2, so that the representable numbers do not move when the block's largest entry
changes, and decoding and encoding again changes nothing. Everything is arithmetic on the bits of
float32: w below is a float32 without its last 20 bits, which leaves 8 bits of exponent and 3 of
mantissa.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

from optax_lite.core.half import random_bits
from optax_lite.core.types import Array

_NAN, _NAN_SIGNED = 255, 127  # codes of what is not finite
_LEAST = 32  # biased exponent of a block, at least: the numbers of its codes are normal ones
_LARGEST = 254 * 8 + 7  # w of the largest float32


class Quantized(NamedTuple):
    """An array in 8 bits an entry."""

    codes: Array  # uint8, one for each entry
    # int16, one for each block: the biased exponent of its largest entry, -1 times if any is
    # negative
    scales: Array


def layout(shape: tuple[int, ...], block: int) -> tuple[tuple[int, ...], int, int]:
    """Return the axes in front of the blocks, the number of blocks and their size, at most `block`.

    A block runs along the last axis, or along as many of the last ones as are needed to fill one.
    """
    axis, tail = len(shape), 1
    while axis > 0 and tail < block:
        axis -= 1
        tail *= shape[axis]
    count = max(1, -(-tail // block))
    return shape[:axis], count, -(-tail // count)


def _in_blocks(x: Array, block: int) -> Array:
    front, count, size = layout(x.shape, block)
    flat = x.reshape(*front, -1)
    short = count * size - flat.shape[-1]
    return (jnp.pad(flat, [(0, 0)] * len(front) + [(0, short)]) if short else flat).reshape(
        *front, count, size
    )


def _from_blocks(x: Array, shape: tuple[int, ...]) -> Array:
    front = x.shape[:-2]
    tail = math.prod(shape[len(front) :])
    return x.reshape(*front, -1)[..., :tail].reshape(shape)


@partial(jax.jit, static_argnames="block")
def encode(x: Array, words: Array, *, block: int) -> Quantized:
    """Encode `x`: each code is of one of the two numbers around its entry, and the mean of the
    draws is `x`.

    The random bits come from two `words` and the place of an entry. For the meaning of the codes
    see `quantize_state`.
    """
    front, _, _ = layout(x.shape, block)
    return _placed(_encode, x, lambda spec: Quantized._make((spec, P(*spec[: len(front)]))), block)(
        x, words
    )


@partial(jax.jit, static_argnames="block")
def decode(q: Quantized, *, block: int) -> Array:
    """Return the numbers behind the codes, in float32."""
    return _placed(_decode, q.codes, lambda spec: spec, block)(q)


def _placed(
    rule: Callable[..., Any], x: Array, specs: Callable[[P], Any], block: int
) -> Callable[..., Any]:
    """On a mesh of explicit axes, blocks are cut as the compiler likes, and the results placed by
    the spec of `x`.
    """
    rule, sharding = partial(rule, block=block), jax.typeof(x).sharding
    if AxisType.Explicit not in sharding.mesh.axis_types:
        return rule
    placed = jax.tree.map(lambda spec: NamedSharding(sharding.mesh, spec), specs(sharding.spec))
    return jax.sharding.auto_axes(rule, out_sharding=placed)


def _encode(x, words, block):
    shape = x.shape
    noise = _in_blocks(random_bits(words, shape) >> jnp.uint32(12), block)
    x = _in_blocks(x.astype(jnp.float32), block)
    finite, negative = jnp.isfinite(x), x < 0
    size = jnp.where(finite, jnp.abs(x), 0.0)
    top = jnp.maximum(_word(jnp.max(size, axis=-1, keepdims=True)) >> 3, _LEAST)
    # A block without negative entries uses the sign bit for numbers, so that nobody has to name
    # second moments (decision 31).
    signed = jnp.any(negative, axis=-1, keepdims=True)
    least = _number((top - 13) * 8)  # below it the signed numbers are evenly spaced
    small = signed & (size < least)
    # The table of Dettmers et al. has an error of 15 % instead of 20 %, but ends at 1e-7 of the
    # largest entry, and below that a second moment is 0 (decision 31).
    w = jnp.minimum(_word(jnp.where(small, size + least, size), noise), _LARGEST)
    unsigned_code = jnp.where(size > 0, jnp.clip(w - _base(top), 1, 254), 0)
    signed_code = w - (top - 13) * 8 + jnp.where(small, 0, 8) + jnp.where(negative, 128, 0)
    bad = jnp.where(signed, _NAN_SIGNED, _NAN)
    codes = jnp.where(finite, jnp.where(signed, signed_code, unsigned_code), bad)
    scales = jnp.where(signed, -top, top)[..., 0].astype(jnp.int16)
    return Quantized(_from_blocks(codes.astype(jnp.uint8), shape), scales)


def _decode(q, block):
    codes = _in_blocks(q.codes, block).astype(jnp.int32)
    scales = q.scales[..., None].astype(jnp.int32)
    signed, top = scales < 0, jnp.abs(scales)
    unsigned = jnp.where(codes > 0, _number(codes + _base(top)), 0.0)
    places, least = codes & 127, (top - 13) * 8
    size = jnp.where(
        places < 8, _number(places + least) - _number(least), _number(places + least - 8)
    )
    x = jnp.where(signed, jnp.where(codes > 127, -size, size), unsigned)
    bad = jnp.where(signed, places == _NAN_SIGNED, codes == _NAN)
    return _from_blocks(jnp.where(bad, jnp.nan, x), q.codes.shape)


def _base(top: Array) -> Array:
    """Return w of the number below that of code 1, without a sign: code 254 is the power of 2 above
    the largest entry.
    """
    return (top + 1) * 8 - 254


def _word(x: Array, noise: Array | None = None) -> Array:
    """Return w of numbers that are not negative, cut off or rounded up by 20 random bits."""
    bits = jax.lax.bitcast_convert_type(x, jnp.int32)
    return (bits if noise is None else bits + noise.astype(jnp.int32)) >> 20


def _number(w: Array) -> Array:
    return jax.lax.bitcast_convert_type(w << 20, jnp.float32)
