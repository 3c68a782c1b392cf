"""Every hyperparameter as it is now: schedules at the count that the state has."""

from typing import Any

import jax
import numpy as np

from optax_lite.core import Array, GradientTransformation, OptState, Schedule, StateError
from optax_lite.inspection.survey import survey, walk
from optax_lite.outline import outline


def current_hyperparams(tx: GradientTransformation, state: OptState) -> dict[str, Any]:
    """`tx.hyperparams`, but an argument that is a schedule stands there once, with its value at the state's count.

        current_hyperparams(adamw(schedule), state)["learning_rate"]  # of the next update

    In a chain '1/learning_rate', as in `tx.replace`. Where several members count for themselves, a schedule has its
    value at the outermost or first. A schedule that nothing follows is left out. Traced states give traced values, a
    population gives arrays.
    """
    given = settings(tx)
    schedules = {path: value for path, value in given.items() if isinstance(value, Schedule)}
    counts = _counts(tx, state, schedules)
    now = {path: value for path, value in given.items() if path not in schedules or path in counts}
    return now | _values({path: schedules[path] for path in counts}, counts)


def settings(tx: GradientTransformation) -> dict[str, Any]:
    """Every number and schedule by path, in the order of `tx.hyperparams`; nothing from inside a schedule."""
    given: dict[str, Any] = {}
    for parts, value in tx._arguments():
        path, above = "/".join(parts), ("/".join(parts[:i]) for i in range(1, len(parts)))
        inside = any(isinstance(given.get(p), Schedule) for p in above)
        if not inside and (isinstance(value, Schedule) or path in tx.hyperparams):
            given[path] = value
    return given


def _counts(tx, state, schedules) -> dict[str, Array]:
    """The count in a state that each schedule is evaluated at."""
    counts: dict[str, Array] = {}
    try:
        for place, part, _ in walk(survey(tx), state):
            for path in place.paths:
                if path in schedules:
                    counts.setdefault(path, part.count)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise StateError(
            f"current_hyperparams: this state was not made by {tx._call.name}: got {outline(state)}. "
            "The order is current_hyperparams(tx, state)"
        ) from None
    return counts


def _values(schedules: dict[str, Schedule], counts: dict[str, Array]) -> dict[str, Array]:
    leaves, treedef = jax.tree.flatten((schedules, counts))
    axes = [0 if np.ndim(x) else None for x in leaves]

    def at(leaves):
        schedules, counts = treedef.unflatten(leaves)
        return _values(schedules, counts)

    if any(axis == 0 for axis in axes):  # one axis of a population, from the outside in
        return jax.vmap(at, in_axes=(axes,))(leaves)
    return {path: schedules[path](count) for path, count in counts.items()}
