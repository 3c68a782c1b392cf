"""Take microbatches out of a batch one at a time, without a copy of the whole.

Microbatch i of n has the rows i, n + i, 2n + i, ..., so that a batch that is spread over devices
stays where it is.
"""

from typing import Any

import jax
import jax.numpy as jnp

from optax_lite.core.leafwise import as_array
from optax_lite.core.types import PyTree


def in_microbatches(batch: PyTree, n: int, axis: int = 0) -> PyTree:
    """Reshape arrays (..., rows, ...) to (..., rows / n, n, ...)."""

    def split(x):
        x, first = as_array(x), axis % jnp.ndim(x)
        return x.reshape(*x.shape[:first], x.shape[first] // n, n, *x.shape[first + 1 :])

    return jax.tree.map(split, batch)


def pick_microbatch(split: PyTree, i: Any, axis: int = 0) -> PyTree:
    """Return microbatch i of what `in_microbatches` returned.

    A scan over the microbatches needs their axis in front, for which XLA copies the whole batch (3
    MiB of temporaries instead of 0.3, for a batch of 2 MiB).
    """
    # an axis counted from the end is now the place of its second half, the microbatches
    at = axis if axis < 0 else axis + 1
    return jax.tree.map(
        lambda x: jax.lax.dynamic_index_in_dim(jnp.asarray(x), i, at, keepdims=False), split
    )
