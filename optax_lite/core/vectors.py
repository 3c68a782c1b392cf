"""Turn a tree into one vector of its entries, and back."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from optax_lite.core.leafwise import as_array, compute_dtype
from optax_lite.core.placement import placed, whole
from optax_lite.core.trees import is_inexact
from optax_lite.core.types import Array, PyTree


def as_vector(tree: PyTree) -> Array:
    """Join the entries of all floating and complex leaves, in the widest precision among them,
    float32 at least.
    """
    leaves = tuple(as_array(x) for x in jax.tree.leaves(tree) if is_inexact(x))
    dtype = compute_dtype(*leaves)

    def joined(*leaves):
        return jnp.concatenate([jnp.ravel(jax.lax.convert_element_type(x, dtype)) for x in leaves])

    return whole(placed(joined, leaves, P)) if leaves else jnp.zeros(0, dtype)


def as_tree(vector: Array, like: PyTree, dtype_of: Callable[..., Any] = compute_dtype) -> PyTree:
    """Put the entries of a vector in place of those of a tree, each leaf by default in its own
    compute dtype.

    Other leaves of the tree stay. A real leaf gets the real part.
    """
    leaves, treedef = jax.tree.flatten(like)
    start, found = 0, []
    for x in leaves:
        if is_inexact(x):
            x = as_array(x)
            part, start, dtype = (
                vector[start : start + x.size].reshape(x.shape),
                start + x.size,
                dtype_of(x),
            )
            is_complex = jnp.issubdtype(dtype, jnp.complexfloating)
            x = (part if is_complex or not jnp.iscomplexobj(part) else part.real).astype(dtype)
        found.append(x)
    return treedef.unflatten(found)


def on_vectors(function: Callable[..., Any], like: PyTree) -> Callable[..., Any]:
    """Turn a function of such a tree, and of more, into one of the vector."""

    @wraps(function)
    def of_vector(vector, *args, **kwargs):
        return function(as_tree(vector, like, lambda x: x.dtype), *args, **kwargs)

    return of_vector
