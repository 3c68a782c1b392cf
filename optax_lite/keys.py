"""Random keys in a state: kept as raw uint32, one for each leaf and step."""

from typing import Any

import jax
import jax.numpy as jnp

from optax_lite.check import ArgumentError
from optax_lite.leaves import Array, PyTree, is_nothing


def key_data(seed: Any) -> Array:
    """The raw form of a key, made of an int seed or of a key (typed or raw)."""
    if isinstance(seed, int):
        return jax.random.key_data(jax.random.key(seed))
    if jnp.issubdtype(seed.dtype, jax.dtypes.prng_key):
        return jax.random.key_data(seed)
    if seed.dtype != jnp.uint32:
        raise ArgumentError(f"key must be an int seed or a random key, got {seed!r}")
    return seed


def next_key(data: Array) -> tuple[Array, Array]:
    """What to keep in the state, and a typed key to use up now."""
    kept, used = jax.random.split(jax.random.wrap_key_data(data))
    return jax.random.key_data(kept), used


def key_tree(key: Array, updates: PyTree) -> PyTree:
    """A raw key for every leaf of the updates; to be read by a rule through `jax.random.wrap_key_data`."""
    leaves, treedef = jax.tree.flatten(updates, is_leaf=is_nothing)
    return treedef.unflatten(list(jax.random.key_data(jax.random.split(key, max(len(leaves), 1))))[: len(leaves)])
