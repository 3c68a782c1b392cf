"""Split the params by whether they have a gradient in a call, and join them again."""

import functools
from typing import Any

import jax

from optax_lite.core.leafwise import cast_like
from optax_lite.core.trees import flatten_up_to, is_missing
from optax_lite.core.types import PyTree


def present_of(updates: PyTree, params: PyTree | None) -> tuple[PyTree, PyTree | None]:
    """Return both trees without leaves that have no gradient: float0 becomes None, and so does a
    parameter with a None gradient.
    """
    leaves, treedef = jax.tree.flatten(updates)
    dtypes = [getattr(x, "dtype", None) for x in leaves]
    if jax.dtypes.float0 in dtypes:
        updates = treedef.unflatten(
            [None if d == jax.dtypes.float0 else x for x, d in zip(leaves, dtypes, strict=True)]
        )
        treedef = jax.tree.structure(updates)
    # LookaheadParams are more than what has a gradient (decision 41).
    if (lift := getattr(params, "as_gradient", None)) is not None:
        updates = lift(updates)
        treedef = jax.tree.structure(updates)
    if params is None or jax.tree.structure(params) == treedef:
        return updates, params
    if updates is None and not jax.tree_util.all_leaves([params]):
        raise ValueError("the updates are None; None is allowed for single leaves only")
    leaves, treedef = jax.tree.flatten(updates, is_leaf=is_missing)
    kept = [
        u if is_missing(u) else p
        for u, p in zip(leaves, flatten_up_to(updates, params, "params"), strict=True)
    ]
    return updates, treedef.unflatten(kept)


OBJECTIVES = ("value_fn", "obj_fn", "grad_fn")  # extra arguments that are functions of the params


def objectives_of(
    extra: dict[str, Any], updates: PyTree, kept: PyTree, params: PyTree
) -> dict[str, Any]:
    """Turn extra arguments that are functions of all params into functions of those that have an
    update.
    """

    def one(name, function):
        @functools.wraps(function)
        def of_present(at, *args, **kwargs):
            is_point = jax.tree.structure(at) == jax.tree.structure(kept)
            # The caller's functions are of all params, the dropped leaves included (decision 5).
            result = function(fill(updates, at, params) if is_point else at, *args, **kwargs)
            return present_of(updates, result)[1] if name == "grad_fn" else result

        return of_present

    return {
        name: one(name, x) if name in OBJECTIVES and callable(x) else x for name, x in extra.items()
    }


def fill(updates: PyTree, new: PyTree, params: PyTree) -> PyTree:
    """Return the new params, with the old ones where there was no update."""
    if jax.tree.structure(new) == jax.tree.structure(params):
        return new
    treedef = jax.tree.structure(updates, is_leaf=is_missing)
    pairs = zip(treedef.flatten_up_to(new), treedef.flatten_up_to(params), strict=True)
    kept = [old if is_missing(n) else n for n, old in pairs]
    return jax.tree.unflatten(jax.tree.structure(params), jax.tree.leaves(treedef.unflatten(kept)))


def in_dtype_of(gradients: PyTree, updates: PyTree) -> PyTree:
    """Cast the updates, each to the dtype of its gradient."""

    def cast(g, u):
        return u if is_missing(g) or is_missing(u) else cast_like(u, g)

    return jax.tree.map(cast, gradients, updates, is_leaf=is_missing)
