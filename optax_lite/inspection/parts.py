"""A state as its named parts: which leaf belongs to which state class, field and parameter."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from optax_lite.aliases import PyTree
from optax_lite.leaves import is_inexact, path_string

ONLY_LEAF = path_string(())


class Leaf(NamedTuple):
    index: int  # among the leaves of the state
    path: str  # in the state: '0/mu/w'
    value: Any


@dataclasses.dataclass(eq=False)
class Part:
    """One named tuple of a state, and the leaves that lie in no other one below it."""

    kind: str  # its class name; '' for what lies in no named tuple
    fields: tuple[str, ...]
    place: tuple[str, ...]  # the components of its path
    context: tuple[str, ...]  # what it stands under: 'MaskedState.inner_state', a label; a place in a chain is no name
    shared: dict[str, Leaf] = dataclasses.field(default_factory=dict)  # 'count': leaf, of no parameter
    of: dict[str, dict[str, Leaf]] = dataclasses.field(default_factory=dict)  # parameter: {'mu/w': leaf}

    @property
    def only_counts(self) -> bool:
        """Whether it is there for the count of a schedule."""
        return set(self.fields) - {"inner_state", "hyperparams", "hyperparams_states"} == {"count"}


def parts(state: PyTree, params: PyTree, renamed: Mapping[str, str] | None = None) -> list[Part]:
    """The parts of a state made of such params, in order; `renamed` are paths of parameters as they are now, by old."""
    of_params = [_unwrapped(params, path) for path, _ in jax.tree_util.tree_flatten_with_path(params)[0]]
    known = set(map(path_string, of_params))
    not_states = {type(node) for path in of_params for node in _along(params, path)}
    found: dict[tuple, Part] = {}
    for index, (path, value) in enumerate(jax.tree_util.tree_flatten_with_path(state)[0]):
        path = _unwrapped(state, path)
        nodes, place = _along(state, path), [path_string([key]) for key in path]
        is_part = [hasattr(node, "_fields") and type(node) not in not_states for node in nodes]
        depth = max((i for i, yes in enumerate(is_part) if yes), default=0)
        kind, fields = (type(nodes[depth]).__name__, nodes[depth]._fields) if any(is_part) else ("", ())
        context = tuple(name for node, step in zip(nodes[:depth], place, strict=False) for name in _names(node, step))
        made = Part(kind, fields, tuple(place[:depth]), context)
        part = found.setdefault((made.place, kind), made)
        below = _now_called("/".join(place[depth + 1 :]), renamed or {})
        owner = _owner(below.split("/"), value, params, known)
        leaves = part.shared if owner is None else part.of.setdefault(owner, {})
        leaves["/".join(filter(None, [*place[depth : depth + 1], below]))] = Leaf(index, path_string(path), value)
    return list(found.values())


def _along(tree: Any, path: Sequence[Any]) -> list[Any]:
    """The nodes that a path goes through, from the root, as far as Python's own containers go."""
    nodes = []
    for key in path:
        nodes.append(tree)
        if hasattr(tree, "_fields") and hasattr(key, "name"):
            tree = getattr(tree, key.name)
        elif isinstance(tree, (tuple, list)) and hasattr(key, "idx"):
            tree = tree[key.idx]
        elif isinstance(tree, dict) and hasattr(key, "key"):
            tree = tree[key.key]
        else:
            break
    return nodes


def _unwrapped(tree: Any, path: Sequence[Any]) -> Sequence[Any]:
    """A path without the `.value` of a Flax NNX variable at its end, which is there or not as the tree was split."""
    if not path or getattr(path[-1], "name", "") != "value" or hasattr(_along(tree, path)[-1], "_fields"):
        return path
    return path[:-1]


def _names(node: Any, step: str) -> list[str]:
    if hasattr(node, "_fields"):
        return [f"{type(node).__name__}.{step}"]
    return [step] if isinstance(node, dict) else []


def _now_called(path: str, renamed: Mapping[str, str]) -> str:
    """A path as it is now, itself or what it lies in renamed."""
    for old, new in renamed.items():
        if path == old or path.startswith(f"{old}/"):
            return new + path.removeprefix(old)
    return path


def _owner(below: list[str], value: Any, params: Any, known: set[str]) -> str | None:
    """The parameter that a leaf belongs to, by what follows its field in its path."""
    above = ("/".join(below[: i + 1]) for i in range(len(below)))
    if known == {ONLY_LEAF}:
        return ONLY_LEAF if below == [""] and np.shape(value) == np.shape(params) and is_inexact(value) else None
    return next((path for path in above if path in known), None)


def distance(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    """How many names two contexts do not share, in order: what wrappers around one of them add."""
    row = [0] * (len(b) + 1)  # lengths of the longest common subsequences
    for x in a:
        last = 0
        for j, y in enumerate(b):
            last, row[j + 1] = row[j + 1], last + 1 if x == y else max(row[j + 1], row[j])
    return len(a) + len(b) - 2 * row[-1]
