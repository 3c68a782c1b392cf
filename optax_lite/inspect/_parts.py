"""Split a state into named parts: which leaf belongs to which state class, field and parameter."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from optax_lite.core.masks import of_variables, steps
from optax_lite.core.trees import is_inexact, is_missing, path_strings
from optax_lite.core.types import PyTree


class Leaf(NamedTuple):
    index: int  # among the leaves of the state
    path: str  # in the state: '0/mu/w'
    value: Any


@dataclasses.dataclass(eq=False)
class StateSection:
    """One named tuple of a state, with the leaves that are in no other one below it."""

    kind: str  # its class name; '' for what lies in no named tuple
    fields: tuple[str, ...]
    place: tuple[str, ...]  # the components of its path
    # what it stands under: 'MaskedState.inner_state', a label; a place in a chain is no name
    context: tuple[str, ...]
    # 'count': leaf, of no parameter
    shared: dict[str, Leaf] = dataclasses.field(default_factory=dict)
    # parameter: {'mu/w': leaf}
    of: dict[str, dict[str, Leaf]] = dataclasses.field(default_factory=dict)

    @property
    def only_counts(self) -> bool:
        """Tell whether the part holds only the count of a schedule."""
        return set(self.fields) - {"inner_state", "hyperparams", "hyperparams_states"} == {"count"}


def parts(
    state: PyTree, params: PyTree, renamed: Mapping[str, str] | None = None
) -> list[StateSection]:
    """Return the parts of a state made of such params, in order; `renamed` gives present paths of
    parameters by old ones.
    """
    of_params = _paths_of(params)
    known = _named(of_params)
    called = {"/".join(at): name for at, name in reversed(known.items())}
    order = {old: i for i, old in enumerate(renamed or {})}
    not_states = {type(node) for path in of_params for node in _along(params, path)}
    found: dict[tuple, StateSection] = {}
    keyed = jax.tree_util.tree_flatten_with_path(state)[0]
    paths = of_variables([path for path, _ in keyed], anywhere=True)
    in_words = path_strings(paths)
    for index, (path, (_, value)) in enumerate(zip(paths, keyed, strict=True)):
        nodes, place = _along(state, path), steps(path)
        named = [
            i for i, x in enumerate(nodes) if hasattr(x, "_fields") and type(x) not in not_states
        ]
        depth, kind = (named[-1], type(nodes[named[-1]]).__name__) if named else (0, "")
        at = place[:depth], kind
        if at not in found:
            context = tuple(
                name
                for x, step in zip(nodes[:depth], place, strict=False)
                for name in _names(x, step)
            )
            found[at] = StateSection(
                kind, nodes[depth]._fields if named else (), place[:depth], context
            )
        part, below = found[at], "/".join(place[depth + 1 :])
        now = _now_called(below, renamed, order) if renamed else below
        owner = (
            _owner(place[depth + 1 :], value, params, known)
            if now == below
            else _owner_called(now, called)
        )
        leaves = part.shared if owner is None else part.of.setdefault(owner, {})
        name = "/".join(filter(None, [*place[depth : depth + 1], now]))
        leaves[in_words[index] if name in leaves else name] = Leaf(index, in_words[index], value)
    return list(found.values())


def owners(params: PyTree) -> dict[tuple[str, ...], str]:
    """Name the parameters, missing ones too, as the parts of a state do, in order, by their paths
    in components.
    """
    return _named(_paths_of(params))


def _named(paths: Sequence[Sequence[Any]]) -> dict[tuple[str, ...], str]:
    return dict(zip(map(steps, paths), path_strings(paths), strict=True))


def at_or_above(path: tuple[str, ...], known: Mapping[tuple[str, ...], Any]) -> Any:
    """Return what is known of a path, or of one above it; None without any."""
    return next((known[path[:i]] for i in range(len(path), -1, -1) if path[:i] in known), None)


def _paths_of(params: PyTree) -> list[Sequence[Any]]:
    keyed = jax.tree_util.tree_flatten_with_path(params, is_leaf=is_missing)[0]
    return of_variables([path for path, _ in keyed], anywhere=True)


def _along(tree: Any, path: Sequence[Any]) -> list[Any]:
    """Yield the nodes that a path goes through, from the root, as far as Python's own containers
    go.
    """
    nodes = []
    for key in path:
        nodes.append(tree)
        if isinstance(tree, dict) and hasattr(key, "key"):
            tree = tree[key.key]
        elif hasattr(tree, "_fields") and hasattr(key, "name"):
            tree = getattr(tree, key.name)
        elif isinstance(tree, (tuple, list)) and hasattr(key, "idx"):
            tree = tree[key.idx]
        else:
            break
    return nodes


def _names(node: Any, step: str) -> list[str]:
    if hasattr(node, "_fields"):
        return [f"{type(node).__name__}.{step}"]
    return [step] if isinstance(node, dict) else []


def _upwards(path: str) -> list[str]:
    """Return a path and those above it, from the root."""
    return list(itertools.accumulate(path.split("/"), "{}/{}".format))


def _now_called(path: str, renamed: Mapping[str, str], order: Mapping[str, int]) -> str:
    """Return the new name of a path, by the first entry of `renamed` for it or a path above it."""
    old = min((at for at in _upwards(path) if at in renamed), key=order.__getitem__, default=None)
    return path if old is None else renamed[old] + path.removeprefix(old)


def _owner(
    below: tuple[str, ...], value: Any, params: Any, known: Mapping[tuple[str, ...], str]
) -> str | None:
    """Return the parameter that a leaf belongs to, by what follows its field in its path."""
    if () in known:  # the only leaf
        is_its = below == () and np.shape(value) == np.shape(params) and is_inexact(value)
        return known[()] if is_its else None
    return at_or_above(below, known)


def _owner_called(path: str, known: Mapping[str, str]) -> str | None:
    """Return the parameter at or above a path in words."""
    return next((known[at] for at in _upwards(path) if at in known), None)


def distance(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    """Count the names that two contexts do not share, in order: what wrappers around one of them
    add.
    """
    row = [0] * (len(b) + 1)  # lengths of the longest common subsequences
    for x in a:
        last = 0
        for j, y in enumerate(b):
            last, row[j + 1] = row[j + 1], last + 1 if x == y else max(row[j + 1], row[j])
    return len(a) + len(b) - 2 * row[-1]
