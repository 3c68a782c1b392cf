"""Read every hyperparameter's current value, with schedules at the count of the state."""

from typing import Any

import jax
import numpy as np

from optax_lite.core.compose import as_optimizer
from optax_lite.core.numerics import weak_typed
from optax_lite.core.schedule import Schedule
from optax_lite.core.transform import Array, GradientTransformation, OptState, StateError
from optax_lite.core.types import TransformationLike
from optax_lite.errors.calls import usage
from optax_lite.errors.states import outline
from optax_lite.inspect._nodes import find_paths, walk


@usage("current_hyperparams(tx, state)")
def current_hyperparams(tx: TransformationLike, state: OptState) -> dict[str, Any]:
    """Return the hyperparameters of the next update by path, with schedules evaluated at the
    state's count.

        current_hyperparams(adamw(schedule), state)["learning_rate"]  # in a chain "1/learning_rate"

    The paths are those of `tx.hyperparams` and `tx.replace`, but a schedule has one entry, under
    the name of the argument. If several members with counts of their own use one schedule, its
    value is at the count of the outermost, or else of the first. A schedule that no member uses is
    left out. Traced states give traced values, a population gives arrays.

    Args:
        tx: The optimizer, or any other transformation. It made the state.
        state: State of the optimizer, as `init`, `update` or `step` returned it.
    """
    tx = as_optimizer(tx, "current_hyperparams", "current_hyperparams(tx, state)")
    given = settings(tx)
    try:
        held, counts = _found(tx, state, given)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StateError(
            f"current_hyperparams: this state was not made by {tx.definition.name}: got "
            f"{outline(state, 2):.200}. The order is current_hyperparams(tx, state)"
        ) from error
    given |= held
    now = {
        path: value
        for path, value in given.items()
        if not isinstance(value, Schedule) or path in counts
    }
    return now | values_of({path: now[path] for path in counts}, counts)


def settings(tx: GradientTransformation) -> dict[str, Any]:
    """Return every number and schedule by path, in the order of `tx.hyperparams`; nothing from
    inside a schedule.
    """
    given: dict[str, Any] = {}
    numbers = tx.hyperparams
    for parts, value in tx.walk():
        path, above = "/".join(parts), ("/".join(parts[:i]) for i in range(1, len(parts)))
        inside = any(isinstance(given.get(p), Schedule) for p in above)
        if not inside and (isinstance(value, Schedule) or path in numbers):
            given[path] = value
    return given


def _found(tx, state, given) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the settings that a state holds itself, and the count in it at which each schedule is
    evaluated.
    """
    held: dict[str, Any] = {}
    counts: dict[str, Array] = {}
    rows = list(walk(tx, state))
    find_paths(tx, [row[0] for row in rows], lambda tx: [row[0] for row in walk(tx, state)])
    for place, part, _ in rows:
        injected = "injecting" in place.definition.words
        for path, name in place.paths.items():
            if injected and name in part.hyperparams_states:
                if hasattr(kept := part.hyperparams_states[name], "count"):  # not of a stateful one
                    counts.setdefault(path, kept.count)
            elif not injected and path not in counts and isinstance(given[path], Schedule):
                counts[path] = part.count
            if injected:
                held[path] = _held(given[path], name, part.hyperparams)
    return held, counts


def _held(value: Any, name: str, hyperparams: dict[str, Array]) -> Any:
    """Return a number as a state holds it, or a schedule with the numbers that it holds."""
    if not isinstance(value, Schedule):
        return hyperparams.get(name, value)
    for key, number in hyperparams.items():
        if key.startswith(f"{name}/"):
            value = value.edit(tuple(key.removeprefix(f"{name}/").split("/")), weak_typed(number))
    return value


def values_of(schedules: dict[str, Schedule], counts: dict[str, Array]) -> dict[str, Array]:
    """Return schedules, of one optimizer or of a population, at their counts."""
    leaves, treedef = jax.tree.flatten((schedules, counts))
    axes = [0 if np.ndim(x) else None for x in leaves]

    def at(leaves):
        schedules, counts = treedef.unflatten(leaves)
        return values_of(schedules, counts)

    if any(axis == 0 for axis in axes):  # one axis of a population, from the outside in
        return jax.vmap(at, in_axes=(axes,))(leaves)
    return {path: schedules[path](count) for path, count in counts.items()}
