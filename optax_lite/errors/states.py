"""A state in words: the names of its parts, without the arrays in them.

`(ScaleByAdamState(count, mu, nu), EmptyState())`: what an error says about a state that belongs to
another optimizer.
"""

from collections.abc import Iterable
from typing import Any

import jax
import numpy as np


def outline(state: Any) -> str:
    """The named parts of a state, without the trees of arrays in them."""
    if hasattr(state, "_fields"):
        inner = [
            f"{f}={outline(v)}" if _has_parts(v) else f
            for f, v in zip(state._fields, state, strict=True)
        ]
        return f"{_owned(type(state))}({', '.join(inner)})"
    if isinstance(state, tuple):
        return f"({', '.join(map(outline, state))})"
    if isinstance(state, dict) and _has_parts(state):
        return f"{{{', '.join(f'{k}: {outline(v)}' for k, v in state.items())}}}"
    return "None" if state is None else "arrays"


def _owned(kind: type) -> str:
    """The name of a class, with the package in front if it is optax's, whose states have
    our names.
    """
    package = kind.__module__.partition(".")[0]
    return f"{package}.{kind.__name__}" if package == "optax" else kind.__name__


def _has_parts(value: Any) -> bool:
    children = (
        value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else ()
    )
    return hasattr(value, "_fields") or any(map(_has_parts, children))


def states_with(state: Any, *fields: str) -> list:
    """The states nested in a state that have these fields; what is nested in one of them is not
    looked at.
    """
    if set(fields) <= set(getattr(state, "_fields", ())):
        return [state]
    return [found for part in _parts_of(state) for found in states_with(part, *fields)]


def _parts_of(node: Any) -> Iterable[Any]:
    """The children of a node of any kind of tree, those of a dict in its own order."""
    if isinstance(node, (dict, tuple, list)):
        return node.values() if isinstance(node, dict) else node
    if isinstance(node, (jax.Array, np.ndarray)):
        return ()
    return [x for x in jax.tree.leaves(node, is_leaf=lambda x: x is not node) if x is not node]


def is_state(tree: Any) -> bool:
    """Whether a tree holds one of our states, as far as tuples go."""
    ours = hasattr(tree, "_fields") and type(tree).__module__.startswith("optax_lite.")
    ours = ours and not hasattr(tree, "as_gradient")  # LookaheadParams are parameters
    return ours or (type(tree) is tuple and any(map(is_state, tree)))
