"""Carry a state over to a changed optimizer, or start some parameters afresh."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from optax_lite.core.config import Config, is_key
from optax_lite.core.leafwise import as_array
from optax_lite.core.masks import pattern_mask
from optax_lite.core.transform import GradientTransformation, OptState, Params, StateError
from optax_lite.core.trees import is_missing, leaf_paths
from optax_lite.core.types import Patterns, PyTree
from optax_lite.core.validate import ArgumentError
from optax_lite.errors.calls import usage
from optax_lite.errors.states import first_difference, outline
from optax_lite.inspect._matching import TransferPlan
from optax_lite.inspect._nodes import vectors_in, walk, with_vectors
from optax_lite.inspect._parts import at_or_above, owners, parts
from optax_lite.inspect._restored import with_classes
from optax_lite.inspect._slots import slots_of
from optax_lite.inspect._transfer_report import TransferReport, report_of


@usage("state, report = transfer(state, tx, params)")
def transfer(
    state: OptState,
    tx: GradientTransformation,
    params: Params,
    *,
    renamed: Mapping[str, str] | None = None,
) -> tuple[OptState, TransferReport]:
    """Carry a state over to a changed optimizer.

    Use it after unfreezing leaves, after changing a number to a schedule or back, after adding or
    removing wrappers, metrics or members of a chain, and after splitting or joining groups. A leaf
    is kept if the class and field of its state, the path of its parameter and its shape agree: of
    all slots that a parameter has in one state, either all are kept or none. Positions in a chain
    are not names: if nothing else tells two states of one class apart, neither is kept. A count is
    kept together with the moments beside it, and the count of a new schedule starts from there.
    Hyperparameters in the state are those of the new optimizer. Everything else is as
    `tx.init(params)` makes it.

    Args:
        state: State of the optimizer, as `init`, `update` or `step` returned it. One restored as
            dicts and lists is put back into the classes of `tx`.
        tx: The optimizer, or any other transformation. The state is carried over to this one.
        params: Parameters, a pytree of arrays. If they have changed, the new ones.
        renamed: Old paths of parameters or subtrees, each with its new path: {"encoder/w":
            "body/w"}.

    Returns:
        The new state, and a `TransferReport` of every leaf that was kept, new or dropped.

    Examples:
        >>> frozen = groups(adamw(1e-3), {"encoder": "freeze"})
        >>> state, report = transfer(frozen.init(params), adamw(1e-4), params)
        >>> print(report)
        kept     ScaleByAdamState.count  = 0
        kept     ScaleByAdamState.mu  2 leaves
        ...
    """
    _check_arguments("transfer", state, tx, params)
    fresh = tx.init(params)
    state = with_classes(_with_raw_keys(state, fresh), fresh)
    known = {below for path in leaf_paths(state) if renamed for below in _within(path.split("/"))}
    for old in renamed or {}:
        if old not in known:
            raise ArgumentError(f"renamed: nothing in the old state is called {old!r}")
    olds, news = parts(state, params, renamed), parts(fresh, params)
    plan = TransferPlan(olds, news)
    leaves, treedef = jax.tree.flatten(fresh)
    for leaf, value in plan.carried():
        leaves[leaf.index] = _in_place_of(leaf.value, value)
    return treedef.unflatten(leaves), report_of(plan)


@usage("state = reset(state, tx, params, where=...)")
def reset(
    state: OptState, tx: GradientTransformation, params: Params, *, where: Patterns | None = None
) -> OptState:
    """Start the state afresh for the parameters that `where` picks.

        state = reset(state, tx, params, where="head")

    What a state shares between its parameters, such as a count, starts afresh only if all of them
    do. If moments start at 0 while the count continues, bias correction does not apply to them, and
    Adam's first steps there are up to (1 - b1) / √(1 - b2) times as long.

    Args:
        state: State of the optimizer, as `init`, `update` or `step` returned it.
        tx: The optimizer, or any other transformation.
        params: Parameters, a pytree of arrays.
        where: Path patterns of parameters, as in `masked`; None for all of them.

    Returns:
        The state, its slots for these parameters as `tx.init(params)` makes them.
    """
    _check_arguments("reset", state, tx, params)
    fresh = tx.init(params)
    if outline(state) != outline(fresh) or jax.tree.structure(state) != jax.tree.structure(fresh):
        raise StateError(
            f"reset: this state was not made by {tx.definition.name}: "
            f"{first_difference(fresh, state)}; write state, report = transfer(state, tx, params) "
            "first"
        )
    if where is None:
        return fresh
    picked = jax.tree.leaves(pattern_mask(where, params))
    chosen = {owner for owner, yes in zip(owners(params).values(), picked, strict=True) if yes}
    leaves, treedef = jax.tree.flatten(state)
    for part in parts(fresh, params):
        afresh = [slots for owner, slots in part.of.items() if owner in chosen]
        if part.of and len(afresh) == len(part.of):
            afresh.append(part.shared)
        for leaf in (leaf for slots in afresh for leaf in slots.values()):
            leaves[leaf.index] = leaf.value
    for index, leaf in _vectors_afresh(leaves, fresh, tx, params, chosen):
        leaves[index] = leaf
    return treedef.unflatten(leaves)


def _vectors_afresh(leaves, fresh, tx, params, chosen: set[str]) -> Iterator[tuple[int, Any]]:
    """Yield leaves of a state that are one vector of several parameters, as inside `flatten`, some
    of them afresh.
    """
    if not any(node.joined for node, _, _ in walk(tx, fresh)):
        return
    news, treedef = jax.tree.flatten(fresh)
    found = vectors_in(
        jax.eval_shape(lambda p: with_vectors(tx, p), params), treedef.unflatten(range(len(news)))
    )
    slots, names = slots_of(tx, fresh)[0], owners(params)
    sizes = map(np.size, jax.tree.leaves(params, is_leaf=is_missing))
    size_of = dict(zip(names.values(), sizes, strict=True))
    for paths, part in found:
        own = [at_or_above(path, names) for path in paths]  # `z/real` is part of `z`
        picked = np.repeat([owner in chosen for owner in own], [size_of[owner] for owner in own])
        for index in jax.tree.leaves(part):
            if picked.all():
                yield index, news[index]
            elif slots[index][0] and news[index].shape[-1:] == picked.shape:
                yield index, jax.numpy.where(picked, news[index], leaves[index])


def _with_raw_keys(state: OptState, fresh: OptState) -> OptState:
    """Convert the typed random keys of a state, as optax has them, to raw ones, unless the new
    state has typed ones too.
    """
    if any(map(is_key, jax.tree.leaves(fresh))):
        return state
    return jax.tree.map(lambda x: jax.random.key_data(x) if is_key(x) else x, state)


def _within(steps: list[str]) -> Iterator[str]:
    """Yield the path of every run of consecutive steps."""
    for start in range(len(steps)):
        yield from itertools.accumulate(steps[start:], "{}/{}".format)


def _check_arguments(name: str, state: Any, tx: Any, params: Any) -> None:
    if isinstance(state, Config) or not isinstance(tx, GradientTransformation):
        raise ArgumentError(
            f"the order is {name}(state, tx, params), got {type(state).__name__}, "
            f"{type(tx).__name__}"
        )
    if params is None:
        raise ArgumentError(
            "needs the parameters, to know which leaf of the state belongs to which"
        )


def _in_place_of(fresh: Any, value: PyTree) -> Any:
    """Return a leaf of the old state with the dtype and the placement of the new one."""
    value = jax.numpy.asarray(value) if isinstance(value, np.ndarray) else as_array(value)
    if value.dtype != fresh.dtype:
        value = jax.lax.convert_element_type(value, fresh.dtype)
    if isinstance(value, Tracer) or isinstance(fresh, Tracer) or value.sharding == fresh.sharding:
        return value
    return jax.device_put(value, fresh.sharding) if fresh.committed else value
