"""Random keys in a state: kept as raw uint32, one for each leaf and step.

They are raw because a checkpoint, a donation and a `jnp.asarray` can handle numbers but not typed
keys. From one seed a run is reproducible, and a resumed run draws what an uninterrupted one would
have drawn.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optax_lite.core.trees import is_missing
from optax_lite.core.types import Array, PyTree
from optax_lite.core.validate import ArgumentError


def key_data(seed: Any) -> Array:
    """Return the raw form of a key, made of an int seed or of a key (typed or raw); it shares no
    memory with it.
    """
    if isinstance(seed, (int, np.integer)):
        return jax.random.key_data(jax.random.key(seed))
    return jnp.copy(
        jax.random.key_data(seed) if jnp.issubdtype(seed.dtype, jax.dtypes.prng_key) else seed
    )


def chosen_key(key: Any, seed: Any) -> Any:
    """Return the int or key given as `key=`, or as optax's older `seed=`; 0 where neither is
    given.
    """
    if key is not None and seed is not None:
        raise ArgumentError(f"pass key= or seed=, not both; got {key!r} and {seed!r}")
    chosen = next((x for x in (key, seed) if x is not None), 0)
    dtype = getattr(chosen, "dtype", None)
    is_key = dtype is not None and (
        dtype == jnp.uint32 or jnp.issubdtype(dtype, jax.dtypes.prng_key)
    )
    if isinstance(chosen, bool) or not (is_key or isinstance(chosen, (int, np.integer))):
        raise ArgumentError(
            f"key must be an int seed or a random key, got {chosen!r}", about=("key", chosen)
        )
    return chosen


def next_key(data: Array) -> tuple[Array, Array]:
    """Return the key to keep in the state, and a typed key to use up now."""
    kept, used = jax.random.split(jax.random.wrap_key_data(data))
    return jax.random.key_data(kept), used


def key_tree(key: Array, updates: PyTree) -> PyTree:
    """Return a raw key for every leaf of the updates, which a rule reads through
    `jax.random.wrap_key_data`.
    """
    leaves, treedef = jax.tree.flatten(updates, is_leaf=is_missing)
    return treedef.unflatten(
        list(jax.random.key_data(jax.random.split(key, max(len(leaves), 1))))[: len(leaves)]
    )
