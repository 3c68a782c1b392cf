"""Describe a state by the names of its parts, without the arrays in them.

`(ScaleByAdamState(count, mu, nu), EmptyState())`: what an error says about a state that belongs to
another optimizer.
"""

import sys
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

_WIDTH = 90  # of a state in a message


def outline(state: Any, depth: int = sys.maxsize) -> str:
    """Name the parts of a state to a depth, without the trees of arrays in them."""
    if hasattr(state, "_fields"):
        inner = [
            f"{f}={outline(v, depth - 1)}" if _has_parts(v) and depth > 1 else f
            for f, v in zip(state._fields, state, strict=True)
        ]
        return f"{_owned(type(state))}({', '.join(inner)})" if depth > 0 else _owned(type(state))
    if isinstance(state, tuple):
        return f"({', '.join(outline(x, depth - 1) for x in state)})"
    if isinstance(state, dict) and _has_parts(state):
        return f"{{{', '.join(f'{k}: {outline(v, depth - 1)}' for k, v in state.items())}}}"
    return "None" if state is None else "arrays"


def first_difference(expected: Any, got: Any) -> str:
    """Say where two states begin to differ, and what is there, in a line or two."""
    path: list[str] = []
    while max(len(outline(expected)), len(outline(got))) > _WIDTH:
        a, b = children(expected), children(got)
        if type(expected) is not type(got) or a.keys() != b.keys():
            break
        inner = next((name for name in a if outline(a[name]) != outline(b[name])), None)
        if inner is None:  # they differ in the trees of arrays alone
            break
        path.append(inner)
        expected, got = a[inner], b[inner]
    if outline(expected) == outline(got):
        return "expected and got the same states, of parameters in other containers"
    where = f"at {'/'.join(path)} " if path else ""
    return f"{where}expected {_shortened(expected)}, got {_shortened(got)}"


def _shortened(state: Any) -> str:
    shown = outline(state, 2)
    return shown if len(shown) <= _WIDTH else f"{outline(state, 1):.{_WIDTH}}"


def _owned(kind: type) -> str:
    """Return the name of a class, with its package if that is optax, whose names are ours too."""
    package = kind.__module__.partition(".")[0]
    return f"{package}.{kind.__name__}" if package == "optax" else kind.__name__


def _has_parts(value: Any) -> bool:
    parts = value.values() if isinstance(value, dict) else value
    return hasattr(value, "_fields") or (
        isinstance(value, (dict, tuple)) and any(map(_has_parts, parts))
    )


def children(node: Any) -> dict[str, Any]:
    """Return the parts of a node of any kind of tree by name or place, of a dict in its order."""
    if isinstance(node, (jax.Array, np.ndarray)):
        return {}
    if hasattr(node, "_fields"):
        return node._asdict()
    if isinstance(node, dict):
        return {str(key): part for key, part in node.items()}
    if not isinstance(node, (tuple, list)):
        node = [x for x in jax.tree.leaves(node, is_leaf=lambda x: x is not node) if x is not node]
    return {str(i): part for i, part in enumerate(node)}


def named_parts(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the named tuples of a state with their paths, from the outside in."""
    if hasattr(node, "_fields"):
        yield path, node
    for name, part in children(node).items():
        yield from named_parts(part, (*path, name))


def states_with(state: Any, *fields: str) -> list:
    """Return the nested states that have these fields, and none that is nested in one of them."""
    if set(fields) <= set(getattr(state, "_fields", ())):
        return [state]
    return [found for part in children(state).values() for found in states_with(part, *fields)]


def is_state(tree: Any) -> bool:
    """Tell whether a tree holds one of our states, as far as tuples go."""
    ours = hasattr(tree, "_fields") and type(tree).__module__.startswith("optax_lite.")
    ours = ours and not hasattr(tree, "as_gradient")  # LookaheadParams are parameters
    return ours or (type(tree) is tuple and any(map(is_state, tree)))
