"""A state restored without its classes: dicts by field name and lists by position, put back into
them.
"""

from collections.abc import Mapping
from typing import Any

import jax

from optax_lite.core.transform import StateError
from optax_lite.core.trees import leaf_paths, path_string
from optax_lite.core.types import PyTree
from optax_lite.errors.states import outline

_REMEDY = (
    "restore it with the optimizer that made it as the target, then transfer it. With Orbax: "
    "checkpointer.restore(folder, jax.eval_shape(tx.init, params)); with Flax: "
    "flax.serialization.from_state_dict(tx.init(params), restored)"
)


def with_classes(state: PyTree, fresh: PyTree) -> PyTree:
    """Put a state of plain containers into the classes of `fresh`, every part by its name or place;
    leave others alone.

    Orbax without a target gives dicts for classes, lists for tuples and None for what has no leaf;
    msgpack and the state dicts of Flax give dicts all over, with the places of tuples and lists as
    names.
    """
    # The state of a named_chain is a dict that has its classes inside.
    if not _is_plain(state) or _is_plain(fresh):
        return state
    expected, found = (leaf_paths(tree, nothing_too=False) for tree in (fresh, state))
    missing = [path for path in expected if path not in found]
    if missing and set(found) < set(expected):
        raise StateError(
            f"transfer: of the {len(expected)} leaves of tx.init(params) this state lacks "
            f"{len(missing)}, the first is {missing[0]!r}. If the checkpoint is whole, it is of "
            f"other parameters or of another optimizer: {_REMEDY}"
        )
    return _rebuilt(state, fresh, ())


def _is_plain(node: Any) -> bool:
    """Tell whether all containers of a tree are dicts and lists, or empty as Orbax keeps them."""
    if isinstance(node, (dict, list)):
        return all(map(_is_plain, node.values() if isinstance(node, dict) else node))
    return node is None or (type(node) is tuple and not node) or jax.tree_util.all_leaves([node])


def _rebuilt(found: Any, fresh: Any, path: tuple) -> Any:
    if not jax.tree.leaves(fresh):
        if jax.tree.leaves(found):
            raise _error(path, f"is {_kind(found)}, but {outline(fresh, 2)} has no arrays")
        return fresh
    if jax.tree_util.all_leaves([fresh]):
        if not hasattr(found, "dtype"):
            raise _error(path, f"is {_kind(found)}, but should be an array")
        return found
    children = jax.tree_util.tree_leaves_with_path(fresh, is_leaf=lambda x: x is not fresh)
    names = [path_string(key) for key, _ in children]
    given = _by_name(found, names)
    if given is None:
        raise _error(path, f"is {_kind(found)}, but should have the parts of {outline(fresh, 2)}")
    if strange := [name for name in given if name not in names and jax.tree.leaves(given[name])]:
        raise _error(path, f"has {strange[0]!r}, which is not a part of {outline(fresh, 2)}")
    rows = zip(names, children, strict=True)
    parts = [_rebuilt(given.get(name), child, (*path, *key)) for name, (key, child) in rows]
    return jax.tree.structure(fresh, is_leaf=lambda x: x is not fresh).unflatten(parts)


def _by_name(found: Any, names: list[str]) -> Mapping | None:
    if isinstance(found, (list, tuple)):
        return dict(zip(names, found, strict=True)) if len(found) == len(names) else None
    return (
        {str(name): value for name, value in found.items()} if isinstance(found, Mapping) else None
    )


def _kind(found: Any) -> str:
    names = (
        f" with {', '.join(map(str, found)) or 'nothing in it'}"
        if isinstance(found, Mapping)
        else ""
    )
    return f"{type(found).__name__}{names}"


def _error(path: tuple, problem: str) -> StateError:
    where = f"its part {path_string(path)!r}" if path else "it"
    return StateError(f"transfer: the state has lost its classes, and {where} {problem}; {_REMEDY}")
