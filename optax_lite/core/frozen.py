"""Find leaves that an optimizer never moves, whatever their gradient: no norm counts them, and a
NaN there does no harm.

A transformation that discards gradients declares it, `@transform(freezes=...)`, with a function of
the transformation, updates and params that returns a bool for each leaf. A wrapper of this package
that declares nothing freezes what its members freeze, because it turns an update of 0 into an
update of 0. A wrapper from elsewhere may use the gradient in other ways.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from optax_lite.core.trees import MaskedNode, is_missing
from optax_lite.core.types import PyTree


def freeze_nothing(tx: Any, updates: PyTree, params: PyTree) -> list[bool]:
    """Freeze no leaf: for wrappers that let gradients past their members, or show them another
    tree.
    """
    return [False] * len(jax.tree.leaves(updates, is_leaf=is_missing))


def frozen_mask(tx: Any, updates: PyTree, params: PyTree) -> list[bool]:
    """Tell of every leaf, missing ones too, whether its gradient is thrown away."""
    members = list(tx.members())
    if not may_freeze(tx):
        return freeze_nothing(tx, updates, params)
    if (how := tx.definition.traits.get("freezes")) is not None:
        return how(tx, updates, params)
    if not members or not tx.factory.__module__.startswith("optax_lite."):
        return freeze_nothing(tx, updates, params)
    return [
        all(each) for each in zip(*(frozen_mask(m, updates, params) for m in members), strict=True)
    ]


def by_any(members: Iterable[Any], updates: PyTree, params: PyTree) -> list[bool]:
    """Tell the same of members one after another."""
    each = [frozen_mask(m, updates, params) for m in members]
    return (
        [any(found) for found in zip(*each, strict=True)]
        if each
        else freeze_nothing(None, updates, params)
    )


def by_part(
    parts: Mapping[Any, Any], labels: PyTree, updates: PyTree, params: PyTree
) -> list[bool]:
    """Tell the same of parts of the leaves, each given to the transformation of its label; labels
    may be a prefix.
    """
    of_leaf = spread(labels, updates)
    found = freeze_nothing(None, updates, params)
    for name, tx in parts.items():
        if may_freeze(tx):
            own = [label == name for label in of_leaf]
            inside = frozen_mask(
                tx, _where(own, updates), None if params is None else _where(own, params)
            )
            found = [
                was or (here and now) for was, here, now in zip(found, own, inside, strict=True)
            ]
    return found


def may_freeze(tx: Any) -> bool:
    """Tell whether anything inside freezes leaves; if not, their names need not be looked at."""
    return any(call.definition.traits.get("freezes_by_itself") for call in tx.calls())


def zero_frozen(members: Iterable[Any], updates: PyTree, params: PyTree) -> PyTree:
    """Zero the updates of leaves that a member freezes, so that norms before it ignore them."""
    members = [m for m in members if may_freeze(m)]
    if not members:
        return updates
    leaves, treedef = jax.tree.flatten(updates, is_leaf=is_missing)
    pairs = zip(leaves, by_any(members, updates, params), strict=True)
    # Not None, as a state made with a slot for the leaf has to keep it (decision 24).
    return treedef.unflatten(
        [jnp.zeros_like(u) if held and not is_missing(u) else u for u, held in pairs]
    )


def spread(prefix: PyTree, tree: PyTree) -> list[Any]:
    """Give every leaf of a tree, missing ones too, its entry in a prefix, such as one of bools or
    labels.
    """

    def below(m, x):
        return jax.tree.map(lambda _: m, x, is_leaf=is_missing)

    return jax.tree.leaves(
        jax.tree.map(below, prefix, tree, is_leaf=is_missing), is_leaf=is_missing
    )


def _where(chosen: list[bool], tree: PyTree) -> PyTree:
    leaves, treedef = jax.tree.flatten(tree, is_leaf=is_missing)
    return treedef.unflatten(
        [x if yes else MaskedNode() for x, yes in zip(leaves, chosen, strict=True)]
    )
