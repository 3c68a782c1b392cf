"""One vector in place of a tree."""

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from optax_lite.aliases import Array, PyTree
from optax_lite.compose import check_members
from optax_lite.core import transform
from optax_lite.leaves import align, as_array, compute_dtype, is_inexact, is_nothing
from optax_lite.placement import placed, whole


@transform
def flatten(inner):
    """Give `inner` one vector of all entries in place of the tree, so that its state is a vector too.

    For rules that look at all entries together, and for very many tiny leaves; large ones are copied twice in an
    update. The vector has the widest precision among the leaves, and is complex if one is; updates of real leaves are
    the real part. On a mesh it lies, with the state, whole on every device. Every parameter
    must have its gradient in every update; others are left out by `masked` around this.
    """
    check_members({"inner": inner})

    def update(updates, state, params=None, **extra):
        vector = _vector(updates)
        w = None if params is None else _vector(_alike(updates, params))
        new, state = inner.update(vector, state, w, **extra)
        return _split(whole(new), updates), whole(state)

    return lambda params: inner.init(_vector(params)), update


def _alike(updates: PyTree, params: PyTree) -> PyTree:
    """The params that have a gradient."""
    treedef = jax.tree.structure(updates, is_leaf=is_nothing)
    leaves = jax.tree.leaves(updates, is_leaf=is_nothing)
    pairs = zip(leaves, align(updates, params, "params"), strict=True)
    return treedef.unflatten([None if is_nothing(u) else p for u, p in pairs])


def _vector(tree: PyTree) -> Array:
    leaves = tuple(as_array(x) for x in jax.tree.leaves(tree) if is_inexact(x))
    dtype = compute_dtype(*leaves)

    def joined(*leaves):
        return jnp.concatenate([jnp.ravel(jax.lax.convert_element_type(x, dtype)) for x in leaves])

    return whole(placed(joined, leaves, P)) if leaves else jnp.zeros(0, dtype)


def _split(vector: Array, updates: PyTree) -> PyTree:
    """The entries of a vector where those of the updates stand, each leaf in its own compute dtype."""
    leaves, treedef = jax.tree.flatten(updates)
    start, parts = 0, []
    for u in leaves:
        part = vector[start : start + u.size].reshape(u.shape)
        start += u.size
        dtype = compute_dtype(u)
        is_complex = jnp.issubdtype(dtype, jnp.complexfloating)
        parts.append((part if is_complex or not jnp.iscomplexobj(part) else part.real).astype(dtype))
    return treedef.unflatten(parts)
