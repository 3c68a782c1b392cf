"""Squares that stay inside the range of their dtype, as second moments need them."""

from typing import Any

import jax
import jax.numpy as jnp

from optax_lite.aliases import Array


def plain_sq(x: Array) -> Array:
    """|x|², real also for complex x; in float32 0 below 1e-19, and infinite above 2e19."""
    return (x * jnp.conj(x)).real if jnp.iscomplexobj(x) else x * x


def abs_sq(x: Array) -> Array:
    """|x|² for a moving average: neither lost nor infinite. 0 and NaN stay what they are.

    A square below `smallest_square` counts as that, one above `largest_square` as that; in float32 they are those of
    9e-16 and 1e18. Without the floor g / √v would be g / eps for a tiny g: thousands of times its bound.
    """
    square = plain_sq(x)
    low, high = (jnp.asarray(y, square.dtype) for y in (smallest_square(square.dtype), largest_square(square.dtype)))
    # A denormal is 0 where the processor flushes it, and then its square must be 0 as well: hence no test of the bits.
    return jax.lax.select(x != 0, jax.lax.clamp(low, square, high), square)


def smallest_square(dtype: Any) -> float:
    """The smallest square that an average keeps: 2^-100 in float32.

    The smallest weight it can have, 1 - b for the largest b below 1, is 2^-24. The product, and a quarter of it, are
    normal numbers.
    """
    info = jnp.finfo(dtype)
    return 2.0 ** (int(info.minexp) + int(info.nmant) + 3)


def largest_square(dtype: Any) -> float:
    """The largest square that is added to an average or sum: 2^120 in float32, so that a sum has room for 255."""
    return 2.0 ** (int(jnp.finfo(dtype).maxexp) - 8)


def squarable(g: Array) -> Array:
    """g, with finite entries brought to where the squares of n of them sum to `largest_square` at most.

    In float32 that is 1e18 / √n, of the real and of the imaginary part. A rule that divides by a root of squares would
    otherwise divide by less than it should, for one spike of 2e19, or keep an infinity for ever. Infinities stay.
    """
    if jnp.iscomplexobj(g):
        return jax.lax.complex(squarable(g.real), squarable(g.imag))
    bits = int(jnp.finfo(g.dtype).maxexp) - 8 - max(g.size - 1, 0).bit_length()
    most = jnp.asarray(2.0 ** (bits // 2), g.dtype)
    return jax.lax.select(jax.lax.is_finite(g), jax.lax.clamp(-most, g, most), g)
