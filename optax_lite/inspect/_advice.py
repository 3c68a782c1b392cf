"""Likely mistakes in an optimizer's settings, leaf by leaf."""

import re
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

from optax_lite.core.compose import PartitionState
from optax_lite.core.trees import is_inexact
from optax_lite.inspect._nodes import StateNode, nodes
from optax_lite.inspect._table import LeafRow, abbreviate, value_range

# biases and norms by their names
_UNDECAYED = re.compile(r"(^|[_/])(bias|scale)$|norm(?!al)|(^|/)ln(_|\d|/)")
_RATES = ("learning_rate", "step_size", "step_size_fn")
# the slots that a decay is for, where the state has these
_AVERAGE_OF = {"b1": ("mu",), "b2": ("nu",)}
_DECAYS = {"b1", "b2", "b3", "decay", "beta"}


def lint(
    rows: list[LeafRow],
    given: dict[str, Any],
    places: list[tuple[StateNode, list[str], list[tuple[str, Any]]]],
) -> list[str]:
    """Report all likely mistakes: `given` are the settings by path; `places` has each node, its
    leaves and its trees.
    """
    moved = [row for row in rows if row.is_moved]
    found = ["no parameter is trained"] if rows and not moved else []
    found += [f"the group {label!r} has no leaves" for label in _empty_groups(places)]
    found += _without_matrices(rows, places)
    rates = _ending(given, *_RATES)
    lost = [row.path for row in moved if rates.isdisjoint(row.hyperparams)]
    if 0 < len(lost) < len(moved):
        found.append(f"no learning rate reaches {abbreviate(lost)}: the updates are added unscaled")
    decays = {
        path
        for path in _ending(given, "weight_decay", "weight_decay_rate")
        if _largest(given[path])
    }
    decayed = [
        row.path for row in moved if not decays.isdisjoint(row.hyperparams) and _undecayed(row)
    ]
    if decayed:
        found.append(
            f"weight decay on {abbreviate(decayed)}: biases and norms usually have none "
            "(a mask, or a group with weight_decay 0)"
        )
    return [*found, *_rounded_averages(given, places), *_rounded_updates(moved, given, places)]


def _ending(given: dict[str, Any], *endings: str) -> set[str]:
    return {path for path in given if path.endswith(endings)}


def _largest(value: Any) -> float:
    return max(map(abs, value_range(value)))


def _undecayed(row: LeafRow) -> bool:
    return len(row.shape) <= 1 or _UNDECAYED.search(row.path.lower()) is not None


def _empty_groups(places) -> Iterable[str]:
    for place, _, _ in places:
        if isinstance(place.state, PartitionState):
            for label, masked in place.state.inner_states.items():
                if not masked.inner_state.leaves:
                    yield label


def _without_matrices(rows: list[LeafRow], places) -> Iterable[str]:
    """Report methods for matrices that have none."""
    axes = {row.path.removesuffix("/value"): len(row.shape) for row in rows}
    for place, own, _ in places:
        is_method = "of matrices" in place.definition.words and len(own) > 0
        if is_method and all(axes[leaf.removesuffix("/value")] < 2 for leaf in own):
            name = place.definition.name
            yield f"no leaf of {name} is a matrix: all get its base alone, Adam by default"


def _rounded_averages(given, places) -> Iterable[str]:
    """Report decays that are 1 in the dtype of their slot, which then never forgets."""
    drawn = {
        id(x) for place, _, _ in places if "drawn" in place.definition.words for x in nodes(place)
    }
    for place, _, trees in places:
        if id(place) in drawn:  # rounded stochastically, so that nothing is lost in the mean
            continue
        fields = {path.rsplit("/", 1)[-1]: jax.tree.leaves(tree) for path, tree in trees}
        for path, name in place.paths.items() if fields else ():
            if name not in _DECAYS:
                continue
            value = value_range(given[path])[1]
            own = [field for field in _AVERAGE_OF.get(name, ()) if field in fields] or list(fields)
            for field in own:
                dtypes = {str(x.dtype) for x in fields[field] if is_inexact(x)}
                for dtype in sorted(d for d in dtypes if 0 < 1 - value < jnp.finfo(d).eps / 4):
                    shown = f"{value:g}" if float(f"{value:g}") < 1 else repr(value)
                    yield f"{path}={shown} rounds to 1 in {dtype}, so {field} never forgets"


def _rounded_updates(moved: list[LeafRow], given: dict[str, Any], places) -> Iterable[str]:
    """Report rates so small beside a parameter of size 1 that steps of their size change
    nothing.
    """
    lost: dict[tuple[str, float], list[str]] = {}
    known = {path: _largest(given[path]) for path in _ending(given, "learning_rate")}
    kept = {
        leaf.removesuffix("/value")
        for place, own, _ in places
        if "rounding" in place.definition.words
        for leaf in own
    }
    for row in moved:
        if row.path.removesuffix("/value") in kept:
            continue
        rates = [rate for path, rate in known.items() if path in row.hyperparams]
        if len(rates) == 1 and 0 < rates[0] < float(jnp.finfo(row.dtype).eps) / 4:
            lost.setdefault((str(row.dtype), rates[0]), []).append(row.path)
    for (dtype, rate), paths in lost.items():
        ulp = float(jnp.finfo(dtype).eps)
        remedy = (
            "; write stochastic_rounding(tx), kahan(tx) or master_weights(tx)" if ulp > 1e-6 else ""
        )
        yield (
            f"steps of {rate:.2g} (the learning rate) are lost in {dtype} parameters near 1, "
            f"where the next number is {ulp / 2:.2g} away: {abbreviate(paths)}{remedy}"
        )
