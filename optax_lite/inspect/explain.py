"""Report what an optimizer will do to each parameter and keep for it, before anything is
allocated.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optax_lite._transforms.scale import set_to_zero
from optax_lite.core.compose import PartitionState, as_optimizer
from optax_lite.core.masks import steps, without_value
from optax_lite.core.transform import Params
from optax_lite.core.trees import is_inexact, leaf_paths
from optax_lite.core.types import TransformationLike
from optax_lite.core.validate import ArgumentError
from optax_lite.errors.calls import check_params, usage
from optax_lite.inspect._advice import lint
from optax_lite.inspect._doubts import doubts
from optax_lite.inspect._nodes import (
    StateNode,
    find_paths,
    member,
    nodes,
    trace_state,
    walk,
    without_nodes,
)
from optax_lite.inspect._parts import at_or_above
from optax_lite.inspect._table import Explanation, LeafRow
from optax_lite.inspect.current import settings
from optax_lite.wrappers.groups import idle_rules
from optax_lite.wrappers.lookahead import LookaheadParams


@usage("explain(tx, params)")
def explain(tx: TransformationLike, params: Params) -> Explanation:
    """Tabulate what applies to each parameter: group, settings, slots of the state, bytes; with
    totals and warnings.

    No state is allocated. A setting has a column if leaves differ in it; a schedule is shown by its
    smallest and largest value. For a population, the state of one member is counted.

    The warnings are guesses at mistakes: decay of biases and norms, an average whose decay is 1 in
    the dtype in which it is kept, steps that are rounded away, leaves that no learning rate
    reaches, groups without leaves, and rules without effect; in a chain, a direction uphill, a clip
    or a decay on the unusual side of a scaling, and a rate given twice.

    Args:
        tx: The optimizer, or any other transformation.
        params: Parameters, a pytree of arrays. Shapes are enough (`jax.ShapeDtypeStruct`).

    Returns:
        An `Explanation`: print it, or take its `rows` (one per leaf), `totals` and `warnings`.

    Examples:
        >>> report = explain(adamw(1e-3, weight_decay=0.1), jax.eval_shape(init, key))
        >>> print(report.warnings[0])  # print(report) shows the table too
        weight decay on encoder/bias, head/bias: biases and norms usually have none (...)
    """
    tx = as_optimizer(tx, "explain", "explain(tx, params)")
    check_params("explain", params)
    if isinstance(params, LookaheadParams):
        raise ArgumentError("pass the fast part of LookaheadParams: explain(tx, params.fast)")
    shapes = jax.tree.map(_abstract, params)
    keyed = jax.tree_util.tree_flatten_with_path(shapes)[0]
    names = dict(
        zip((steps(path) for path, _ in keyed), leaf_paths(shapes, nothing_too=False), strict=True)
    )
    leaves = dict(zip(names.values(), jax.tree.leaves(shapes), strict=True))
    one, given = member(tx), settings(tx)
    surveyed = jax.eval_shape(lambda p: trace_state(one, p), shapes)
    state = without_nodes(surveyed)
    seen, kept = list(nodes(surveyed)), [trees for _, _, trees in walk(one, state)]
    find_paths(one, seen, lambda tx, p: nodes(trace_state(tx, p)), shapes)
    still = {path for path, x in leaves.items() if not is_inexact(x)}
    groups = dict.fromkeys(leaves, "")
    effects, slots = {path: set() for path in leaves}, {path: {} for path in leaves}
    owned = [_owners(place.leaves, names) for place in seen]
    for place, own, trees in zip(seen, owned, kept, strict=True):
        for leaf in own:
            effects[leaf] |= set() if _hands_on(place) else set(place.paths)
            still |= {leaf} if place.factory is set_to_zero else set()
        labels = place.state.inner_states if isinstance(place.state, PartitionState) else {}
        for label, masked in labels.items():
            for leaf in _owners(masked.inner_state.leaves, names):
                groups[leaf] = f"{groups[leaf]}/{label}".strip("/")
        for name, tree in trees:
            parts = (
                _cut(tree, {leaf: leaves[leaf] for leaf in own})
                if place.joined
                else _by_leaf(tree, names)
            )
            for leaf, arrays in parts.items():
                field = name.rsplit("/", 1)[-1]
                field = "values" if field.isdigit() or not field else field
                slots[leaf][name if field in slots[leaf] else field] = arrays
    rows = []
    for (path, x), name in zip(leaves.items(), without_value([*leaves]), strict=True):
        in_effect = {name: value for name, value in given.items() if name in effects[path]}
        nbytes = _nbytes((x, slots[path]))
        rows.append(
            LeafRow(
                name,
                x.shape,
                x.dtype,
                groups[path],
                in_effect,
                slots[path],
                path not in still,
                nbytes,
            )
        )
    totals = _totals(rows, state) | {
        "members": max((np.size(x) for x in jax.tree.leaves(tx)), default=1)
    }
    found = lint(rows, given, list(zip(seen, owned, kept, strict=True)))
    return Explanation(rows, totals, [*idle_rules(one, shapes), *doubts(one), *found])


def _hands_on(place: StateNode) -> bool:
    """Tell whether the settings are those of a member, which has them in its own place."""
    return "injecting" in place.definition.words and any(
        below.paths for below in nodes(place.state.inner_state)
    )


def _abstract(x: Any) -> jax.ShapeDtypeStruct | None:
    if hasattr(x, "dtype"):
        is_numpy = isinstance(x, (np.ndarray, np.generic))  # its float64 is what JAX makes of it
        dtype = jax.dtypes.canonicalize_dtype(x.dtype) if is_numpy else x.dtype
        return jax.ShapeDtypeStruct(x.shape, dtype)
    return jax.ShapeDtypeStruct((), jnp.result_type(float)) if is_inexact(x) else None


def _owners(paths: Iterable[tuple[str, ...]], names: Mapping[tuple[str, ...], str]) -> list[str]:
    """Return the parameters to which leaves of a tree like theirs belong."""
    found = dict.fromkeys(at_or_above(path, names) for path in paths)
    return [owner for owner in found if owner is not None]


def _by_leaf(
    tree: Any, names: Mapping[tuple[str, ...], str]
) -> dict[str, tuple[jax.ShapeDtypeStruct, ...]]:
    found: dict[str, tuple[jax.ShapeDtypeStruct, ...]] = {}
    for path, x in jax.tree_util.tree_flatten_with_path(tree)[0]:
        if (leaf := at_or_above(steps(path), names)) is not None:
            found[leaf] = (*found.get(leaf, ()), x)
    return found


def _cut(tree: Any, own: Mapping[str, Any]) -> dict[str, tuple[jax.ShapeDtypeStruct, ...]]:
    """Cut slots that are one vector of some parameters into the parts of each."""
    size = sum(math.prod(p.shape) for p in own.values())
    vectors = [x for x in jax.tree.leaves(tree) if x.ndim and x.shape[-1] == size]
    return {
        leaf: tuple(jax.ShapeDtypeStruct((*x.shape[:-1], *p.shape), x.dtype) for x in vectors)
        for leaf, p in own.items()
        if vectors
    }


def _nbytes(tree: Any) -> int:
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree))


def _totals(rows: list[LeafRow], state: Any) -> dict[str, Any]:
    parameters, size = sum(math.prod(row.shape) for row in rows), sum(row.nbytes for row in rows)
    state_bytes = {slot: 0 for row in rows for slot in row.slots}
    for row in rows:
        for slot, arrays in row.slots.items():
            state_bytes[slot] += _nbytes(arrays)
    shared = _nbytes(state) - sum(state_bytes.values())
    return {
        "parameters": parameters,
        "moved": sum(math.prod(row.shape) for row in rows if row.is_moved),
        "parameter_bytes": size - sum(state_bytes.values()),
        "state_bytes": state_bytes | ({"shared": shared} if shared else {}),
        "bytes": size + shared,
        "bytes_per_parameter": (size + shared) / parameters if parameters else 0.0,
    }
