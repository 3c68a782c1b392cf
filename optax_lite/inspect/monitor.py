"""Measurements of the updates at one place of a chain, kept in the state: optax's `monitor` and
`snapshot`.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optax_lite._transforms.momentum import ema
from optax_lite.core.compose import check_members
from optax_lite.core.frozen import freeze_nothing
from optax_lite.core.leafwise import as_array, copy_params, filled, leafwise, varying_like
from optax_lite.core.masks import OF_NO_PARAMETER, Placeholder
from optax_lite.core.transform import EmptyState, GradientTransformation, PyTree, Updates, transform
from optax_lite.core.trees import is_inexact
from optax_lite.core.types import DTypeLike, ScalarOrSchedule, TransformationLike
from optax_lite.core.validate import ArgumentError
from optax_lite.errors.calls import errors_named

Measure = Callable[[Updates], Any]


class SnapshotState(NamedTuple):
    measurement: dict  # {name: what was measured}


class MonitorState(NamedTuple):
    measurements: dict  # {name: what was measured}, zeros before the first update
    measure_states: tuple  # states of the measures, in the order given


def _measurable(tree: PyTree) -> PyTree:
    """Return updates as a measure sees them: in float32 at least."""
    return leafwise(lambda g: g, tree)


@transform(static=("measure_name", "measure"), is_a=("watching",))
def snapshot(measure_name: str, measure: Measure):
    """Keep `measure(updates)` in the state and pass the updates on; `tree.get(state, measure_name)`
    reads it.

        tx = chain(clip_by_global_norm(1.0), snapshot("clipped_norm", global_norm), adam(1e-3))

    Before the first update the state holds the measure of the parameters, as in optax.

    Args:
        measure_name: Name under which the state holds the measurement.
        measure: Function of the whole tree of updates that returns an array or a tree of arrays.
    """
    _check_measure("measure", measure)
    if not isinstance(measure_name, str):
        raise ArgumentError(f"measure_name must be a string, got {measure_name!r}")

    def init(params):
        if isinstance(params, Placeholder):
            return SnapshotState({measure_name: OF_NO_PARAMETER})
        return SnapshotState({measure_name: _arrays(measure(_measurable(copy_params(params))))})

    def update(updates, state):
        return updates, SnapshotState({measure_name: _arrays(measure(_measurable(updates)))})

    return init, update


def monitor(measures: Mapping[str, Measure | TransformationLike]) -> GradientTransformation:
    """Keep several measures of the updates, by name, in the state and pass the updates on.

        measures = {"norm": global_norm, "slow": measure_with_ema(global_norm, 0.9)}
        tx = chain(monitor(measures), adam(1e-3))
        tree.get(state, "measurements")["norm"]

    The state has its final structure from the start (optax adds the measurements in the first
    update, which compiles a step twice).

    Args:
        measures: By name, functions of the updates, or transformations whose update is the
            measurement; these see params and extra arguments, but must do without them.
    """
    if not isinstance(measures, Mapping) or not all(isinstance(name, str) for name in measures):
        raise ArgumentError(
            f"measures must be a dict of names to functions of the updates, got {measures!r}",
            "monitor",
        )
    return _monitor(**{name: _as_measure(name, m) for name, m in measures.items()})


@transform(freezes=freeze_nothing, descends=False, is_a=("watching",))
def _monitor(**measures):
    check_members(measures)

    def measured(updates, states, params, extra):
        pairs = [
            m.update(updates, s, params, **extra)
            for m, s in zip(measures.values(), states, strict=True)
        ]
        return {name: _arrays(x) for name, (x, _) in zip(measures, pairs, strict=True)}, tuple(
            s for _, s in pairs
        )

    def init(params):
        if isinstance(params, Placeholder):
            return MonitorState(OF_NO_PARAMETER, tuple(m.init(params) for m in measures.values()))
        params = _measurable(copy_params(params))
        states = tuple(m.init(params) for m in measures.values())
        return MonitorState(
            _zeros_of(lambda p, s: measured(p, s, p, {})[0], params, states), states
        )

    def update(updates, state, params=None, **extra):
        found, states = measured(_measurable(updates), state.measure_states, params, extra)
        return updates, MonitorState(filled(found, state.measurements), states)

    return init, update


@transform(static=("measure",))
def _measured(measure):
    return lambda params: EmptyState(), lambda updates, state: (measure(updates), state)


@transform(static=("measure", "accumulator_dtype"))
def measure_with_ema(
    measure: Measure,
    decay: ScalarOrSchedule,
    debias: bool = True,
    accumulator_dtype: DTypeLike | None = None,
):
    """Return a measure for `monitor`: the moving average of `measure(updates)`.

    As a transformation, its updates are the measurements, so it cannot be a member of a chain
    itself.

    Args:
        measure: Function of the whole tree of updates that returns an array or a tree of arrays.
        decay: Decay of the moving average, in [0, 1).
        debias: Divide by 1 - decayᵗ after t updates, since the average starts at 0.
        accumulator_dtype: Dtype in which the average is stored; None for the measurement's own,
            float32 at least.
    """
    _check_measure("measure", measure)
    init_ema, update_ema = ema.definition.builder(decay, debias, accumulator_dtype)

    def init(params):
        if isinstance(params, Placeholder):
            return EmptyState(), init_ema(OF_NO_PARAMETER)
        return EmptyState(), init_ema(
            _zeros_of(lambda p: _numbers(measure(p)), copy_params(params))
        )

    def update(updates, state):
        measured, average = update_ema(_numbers(measure(updates)), state[1])
        return measured, (state[0], average)

    return init, update


def _as_measure(name: str, measure: Any) -> GradientTransformation:
    if hasattr(measure, "init") and hasattr(measure, "update"):
        return measure
    with errors_named("monitor"):
        _check_measure(name, measure)
    return _measured(measure)


def _check_measure(name: str, measure: Any) -> None:
    if not callable(measure):
        raise ArgumentError(f"{name} must be a function of the updates, got {measure!r}")


def _zeros_of(measure: Callable, *trees: Any) -> PyTree:
    """Return zeros of the shapes and dtypes of a function's results."""
    return varying_like(
        jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(measure, *trees)), trees
    )


def _arrays(tree: PyTree) -> PyTree:
    return jax.tree.map(as_array, tree)


def _numbers(tree: PyTree) -> PyTree:
    """Return a measurement so that it can be averaged: integers and bools in float32."""
    return jax.tree.map(lambda x: x if is_inexact(x) else x.astype(jnp.float32), _arrays(tree))
