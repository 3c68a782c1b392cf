"""Trees that follow another tree: slow copies of parameters, such as target networks."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optax_lite.core.leafwise import as_array, leafwise
from optax_lite.core.missing import fill, in_dtype_of
from optax_lite.core.numerics import weak_typed
from optax_lite.core.trees import flatten_up_to, is_inexact, is_missing, leaf_paths, show_leaf
from optax_lite.core.types import Number, PyTree
from optax_lite.errors.calls import CALL_ERRORS, check_arrays


def _followed(
    name: str, compiled: Callable[..., PyTree], new: PyTree, old: PyTree, *numbers: Any
) -> PyTree:
    """Return the old tensors with those that have a new one replaced by what the compiled function
    makes of both.
    """
    leaves, treedef = jax.tree.flatten(new, is_leaf=is_missing)
    pairs = zip(leaves, flatten_up_to(new, old, "old tensors", "new tensors"), strict=True)
    has_new = treedef.unflatten([n if is_missing(n) else o for n, o in pairs])
    try:
        return fill(new, compiled(new, has_new, *numbers), old)
    except CALL_ERRORS as error:
        check_arrays(name, {"new": new, "old": has_new}, error)
        raise


def incremental_update(new_tensors: PyTree, old_tensors: PyTree, step_size: Number) -> PyTree:
    """Mix new tensors into old ones, leaf by leaf, as a slow copy of parameters does.

        step_size·new + (1 - step_size)·old, in the dtype of the old one

    If the new one is None, the old one stays, whatever it is. For a module that holds functions,
    pass only its arrays: `incremental_update(eqx.filter(new, eqx.is_inexact_array), old, 0.01)`.

    Args:
        new_tensors: Tree of floating or complex arrays, such as the parameters that are trained.
        old_tensors: Tree of the same structure and shapes, such as their slow copy.
        step_size: Share of the new tensors in the result; 1 copies them.

    Examples:
        >>> target = incremental_update(params, target, 0.01)
    """
    return _followed("incremental_update", _mixed, new_tensors, old_tensors, step_size)


def periodic_update(
    new_tensors: PyTree, old_tensors: PyTree, steps: Number, update_period: Number
) -> PyTree:
    """Copy the new tensors if `steps` is a multiple of `update_period`, as for a target network.

    The result has the dtypes of the old tensors; if a new one is None, the old one stays, as in
    `incremental_update`.

    Args:
        new_tensors: Tree of arrays, such as the parameters that are trained.
        old_tensors: Tree of the same structure and shapes, such as their copy.
        steps: Number of updates so far, an integer.
        update_period: Updates between two copies, an integer.

    Examples:
        >>> target = periodic_update(params, target, count, 100)
    """
    return _followed("periodic_update", _chosen, new_tensors, old_tensors, steps, update_period)


@jax.jit
def _mixed(new_tensors, old_tensors, step_size):
    def mix(new, old):
        return weak_typed(step_size) * new + (1 - weak_typed(step_size)) * old

    for path, new, old in _pairs(new_tensors, old_tensors):
        if jnp.shape(new) != jnp.shape(old) or not is_inexact(old):
            raise ValueError(
                f"leaf {path!r}: cannot mix {show_leaf(new)} into {show_leaf(old)}; pass None to "
                "leave it out"
            )
    return in_dtype_of(old_tensors, leafwise(mix, new_tensors, read=(old_tensors,)))


@jax.jit
def _chosen(new_tensors, old_tensors, steps, update_period):
    for path, new, old in _pairs(new_tensors, old_tensors):
        if jnp.shape(new) != jnp.shape(old):
            raise ValueError(
                f"leaf {path!r}: {show_leaf(new)} cannot replace {show_leaf(old)}; nothing is "
                "broadcast"
            )
    is_due = steps % update_period == 0

    def choose(new, old):
        return (
            new
            if is_missing(new)
            else jnp.where(is_due, as_array(new).astype(as_array(old).dtype), old)
        )

    return jax.tree.map(choose, new_tensors, old_tensors, is_leaf=is_missing)


def _pairs(new_tensors, old_tensors):
    news = jax.tree.leaves(new_tensors, is_leaf=is_missing)
    rows = zip(
        leaf_paths(new_tensors),
        news,
        flatten_up_to(new_tensors, old_tensors, "old", "new"),
        strict=True,
    )
    return [row for row in rows if not is_missing(row[1])]
