"""Tell what is a leaf of a tree of parameters, and name its path as messages do.

None and `MaskedNode` say "nothing here"; integers and bools are no parameters.
"""

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optax_lite.core.types import PyTree


class MaskedNode(NamedTuple):
    """Mark a leaf of a masked tree that another transformation looks after.

    It is a named tuple without fields, so that `jax.tree` sees no leaf, and it takes no memory.
    """


def is_missing(leaf: Any) -> bool:
    """Tell whether a leaf of an update tree says "nothing here": None, or masked out."""
    return leaf is None or isinstance(leaf, MaskedNode)


def is_inexact(leaf: Any) -> bool:
    """Tell whether a leaf is a floating or complex array (or scalar, or shape of one): all that an
    optimizer moves.
    """
    dtype = getattr(leaf, "dtype", None)
    return isinstance(leaf, (float, complex)) if dtype is None else _is_inexact_dtype(dtype)


@functools.cache
def _is_inexact_dtype(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.inexact)


def path_string(path: Sequence[Any]) -> str:
    """Join a key path as it is printed and matched: 'encoder/0/kernel'."""
    return "/".join(map(step_string, path)) or "(the only leaf)"


def step_string(key: Any) -> str:
    """Return `jax.tree_util.keystr` of one key, which itself costs ten times as much, for every
    leaf of every tree.
    """
    kind = type(key)
    if kind is jax.tree_util.DictKey:
        return str(key.key)
    if kind is jax.tree_util.GetAttrKey:
        return key.name
    if kind is jax.tree_util.SequenceKey:
        return str(key.idx)
    return jax.tree_util.keystr((key,), simple=True)


def path_strings(paths: Sequence[Sequence[Any]]) -> list[str]:
    """Return the key paths of a tree as strings; equal ones, "a/b" and {"a": {"b"}}, in Python's
    notation.
    """
    shown = [path_string(path) for path in paths]
    times = Counter(shown)
    if len(times) == len(shown):
        return shown
    # Paths are printed, hashed and used as keys, so no two may read alike (decision 10).
    return [
        s if times[s] == 1 else jax.tree_util.keystr(tuple(path))
        for s, path in zip(shown, paths, strict=True)
    ]


def leaf_paths(tree: PyTree, *, nothing_too: bool = True) -> list[str]:
    """Return the path of every leaf, no two alike, by default with those that are None or
    masked.
    """
    is_leaf = is_missing if nothing_too else None
    return path_strings(
        [path for path, _ in jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_leaf)[0]]
    )


def flatten_up_to(
    updates: PyTree, tree: PyTree, what: str, updates_are: str = "updates"
) -> list[Any]:
    """Return the subtrees of `tree` at the leaves of `updates`; an error names the paths where the
    two differ.

    A subtree may be a leaf, or a few arrays that belong to one (the row and column sums of a
    matrix).
    """
    try:
        return jax.tree.structure(updates, is_leaf=is_missing).flatten_up_to(tree)
    except (ValueError, TypeError, KeyError) as error:
        raise _misfit(updates, tree, updates_are, what, error) from None


def check_prefix(
    prefix: PyTree, tree: PyTree, what: str, is_leaf: Callable[[Any], bool] | None = None
) -> None:
    """Raise, naming paths, unless `prefix` covers `tree`, each of its leaves a leaf or subtree
    there.
    """
    try:
        jax.tree.structure(prefix, is_leaf=is_leaf).flatten_up_to(tree)
    except (ValueError, TypeError, KeyError) as error:
        raise _misfit(prefix, tree, what, "params", error, is_leaf) from None


def _misfit(
    ours: PyTree,
    theirs: PyTree,
    our_name: str,
    their_name: str,
    error: Exception,
    is_leaf: Callable[[Any], bool] | None = is_missing,
) -> ValueError:
    """Describe how two trees of these leaf paths differ."""
    leaves = jax.tree_util.tree_leaves_with_path(ours, is_leaf=is_leaf)
    a, b = path_strings([path for path, _ in leaves]), leaf_paths(theirs)

    def only(some, others, name):  # what lies above or below one of the others is no difference
        known = set(others).union(*map(_above, others))
        return [
            f"{p!r} only in the {name}"
            for p in some
            if p not in known and not set(_above(p)) & set(others)
        ]

    deeper = [
        f"{path!r} in the {our_name} is not a leaf of the {their_name}"
        for path in a
        if set(_above(path)) & set(b)
    ]
    shown = ", ".join((only(a, b, our_name) + only(b, a, their_name) + deeper)[:6]) or _containers(
        ours, theirs, our_name, their_name, error
    )
    return ValueError(f"the {our_name} and the {their_name} have different structures: {shown}")


def _containers(
    ours: PyTree, theirs: PyTree, our_name: str, their_name: str, error: Exception
) -> str:
    """Say what holds the leaves of two trees that have the same paths."""
    if type(ours) is type(theirs):
        return f"the containers differ: {str(error).splitlines()[0]:.200}"
    a, b = type(ours).__name__, type(theirs).__name__
    return f"the {our_name} are in a {a}, the {their_name} in a {b}; use the same for both"


def _above(path: str) -> list[str]:
    """Return the paths of the subtrees that contain a leaf."""
    parts = path.split("/")
    return ["/".join(parts[:i]) for i in range(1, len(parts))]


def show_leaf(x: Any) -> str:
    """Show an array as its dtype and shape, a container as its number of leaves, anything else as
    itself.
    """
    if hasattr(x, "dtype"):
        return f"{x.dtype}{list(x.shape)}"
    if x is None or not jax.tree_util.all_leaves([x]):
        return "None" if x is None else f"a {type(x).__name__} of {len(jax.tree.leaves(x))} leaves"
    name = getattr(x, "__name__", None)
    return f"{type(x).__name__} {name or repr(x)}"
