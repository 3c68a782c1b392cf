"""Keep hyperparameters in the state, to read and set there, for frameworks that hold the optimizer
fixed.
"""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol, overload, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from optax_lite.core.config import is_key
from optax_lite.core.factory import is_factory
from optax_lite.core.functions import wrapping
from optax_lite.core.leafwise import increment, zero_count
from optax_lite.core.numerics import weak_typed
from optax_lite.core.schedule import Schedule, function_schedule, real_number
from optax_lite.core.transform import (
    Array,
    GradientTransformation,
    OptState,
    StateError,
    counts_itself,
    transform,
)
from optax_lite.core.types import ArrayLike, DTypeLike, InitAndUpdate, PyTree, TransformationLike
from optax_lite.core.validate import ArgumentError, unknown_argument


class InjectStatefulHyperparamsState(NamedTuple):
    count: Array  # updates so far, int32
    # path: the value the next update takes, or for a schedule the one the last took; float32
    hyperparams: dict
    hyperparams_states: dict  # path of a schedule: WrappedScheduleState, or a stateful one's own
    inner_state: OptState  # state of the optimizer, as if every one of these were a number


class WrappedScheduleState(NamedTuple):
    count: Array  # the schedule's next argument, int32


@runtime_checkable
class StatefulSchedule(Protocol):
    """A hyperparameter with a state of its own, which extra arguments of `update` may change."""

    def init(self) -> PyTree:
        """Return the state before the first update."""

    def update(self, state: PyTree, **extra_args: Any) -> PyTree:
        """Return the state after an update.

        Args:
            state: State of the schedule, as its `init` or `update` returned it.
            **extra_args: Extra arguments of the optimizer's `update`.
        """

    def __call__(self, state: PyTree, **extra_args: Any) -> ArrayLike:
        """Return the value at a state."""
        ...


class WrappedSchedule:
    """Make a stateful schedule from a function of the count.

    Args:
        schedule_fn: A schedule, or any function of the number of updates so far.
    """

    def __init__(self, schedule_fn: Callable[[Any], Any]):
        self.schedule_fn = schedule_fn

    def init(self) -> WrappedScheduleState:
        """Return a count of 0."""
        return WrappedScheduleState(zero_count())

    def update(self, state: WrappedScheduleState, **extra_args: Any) -> WrappedScheduleState:
        """Increment the count.

        Args:
            state: State of the schedule, as its `init` or `update` returned it.
            **extra_args: Extra arguments of the optimizer's `update`; ignored.
        """
        return WrappedScheduleState(increment(state.count))

    def __call__(self, state: WrappedScheduleState, **extra_args: Any) -> ArrayLike:
        """Return the value at the count."""
        return self.schedule_fn(state.count)


def _as_schedule(value: Any) -> Any:
    return function_schedule(value) if isinstance(value, StatefulSchedule) else value


def _stateful(schedule: Schedule) -> StatefulSchedule:
    """Return the stateful schedule behind an argument; any other one counts updates."""
    found = schedule.arguments.get("fn")
    return found if isinstance(found, StatefulSchedule) else WrappedSchedule(schedule)


@overload
def inject_hyperparams(
    inner_factory: InitAndUpdate,
    static_args: str | Iterable[str] = (),
    hyperparam_dtype: DTypeLike | None = None,
) -> GradientTransformation: ...
@overload
def inject_hyperparams(
    inner_factory: Callable[..., Any],
    static_args: str | Iterable[str] = (),
    hyperparam_dtype: DTypeLike | None = None,
) -> Callable[..., GradientTransformation]: ...
def inject_hyperparams(
    inner_factory: TransformationLike | Callable[..., Any],
    static_args: str | Iterable[str] = (),
    hyperparam_dtype: DTypeLike | None = None,
) -> GradientTransformation | Callable[..., GradientTransformation]:
    """Keep hyperparameters in the state, where a framework that holds the optimizer fixed can
    change them.

    A later `tx.replace` affects only fresh states. A schedule of the optimizer itself, or of a
    member of a chain, is evaluated here, and its value is kept under its name; for an optimizer
    that is already built, the numbers of the schedule are kept too, and can be set
    ("learning_rate/peak_value"). A schedule inside another wrapper follows the count of that
    wrapper.

    A function in place of a number is a schedule. Masks, dtypes and flags stay out of the state;
    for a factory from another library, so do arguments called mask, *_mask, *_fn or *_labels.

    Args:
        inner_factory: The factory of an optimizer, or an optimizer that is already built.
        static_args: Names of arguments that stay out of the state; one, or several.
        hyperparam_dtype: Dtype of the numbers in the state, whatever the params' dtype; None for
            float32.

    Returns:
        For a factory, a function of the same arguments that builds the optimizer; otherwise the
        optimizer.

    Examples:
        >>> tx = inject_hyperparams(adamw)(learning_rate=1e-3, b1=0.8)  # as in optax
        >>> tx = inject_hyperparams(chain(clip_by_global_norm(1.0), adamw(1e-3)))  # already built
        >>> state = set_hyperparams(tx.init(params), learning_rate=3e-4)
        >>> print(state.hyperparams["1/learning_rate"])  # named as in tx.hyperparams
        0.0003
    """
    static = (static_args,) if isinstance(static_args, str) else tuple(static_args)
    if isinstance(inner_factory, Schedule) or not (
        callable(inner_factory) or hasattr(inner_factory, "update")
    ):
        problem = (
            "write inject_hyperparams(adamw)(1e-3) or inject_hyperparams(adamw(1e-3)), got "
            f"{inner_factory!r}"
        )
        raise ArgumentError(problem, "inject_hyperparams")
    if hasattr(inner_factory, "update") and not is_factory(inner_factory):
        return _inject_hyperparams(inner_factory, static, hyperparam_dtype)

    @functools.wraps(inner_factory, updated=())
    def injected(*args, **kwargs):
        ours = is_factory(inner_factory)
        args = tuple(map(_as_schedule, args))
        kwargs = {name: _as_schedule(x) for name, x in kwargs.items()}
        tx = (
            inner_factory(*args, **kwargs)
            if ours
            else _call_of(inner_factory, static, args, kwargs)
        )
        return _inject_hyperparams(
            tx, static if ours else (), hyperparam_dtype, numbers_of_schedules=False
        )

    return injected


@transform(static=("static_args", "hyperparam_dtype"), is_a=("injecting",))
def _inject_hyperparams(inner, static_args=(), hyperparam_dtype=None, numbers_of_schedules=True):
    if not isinstance(inner, GradientTransformation):
        raise ArgumentError(f"must be given a factory or an optimizer, got {inner!r}")
    if isinstance(inner.arguments.get("update"), Callable):
        problem = (
            "a pair of functions does not show its hyperparameters; write "
            "inject_hyperparams(optax.adam)(...)"
        )
        raise ArgumentError(problem)
    schedules, numbers = _parts(inner, static_args, numbers_of_schedules)
    dtype = hyperparam_dtype or jnp.float32
    if hyperparam_dtype is not None:
        _check_rounded(inner, numbers, dtype)

    given = dict(inner.walk())
    stateful = {"/".join(path): _stateful(given[path]) for path in schedules}

    def at(now, counts, extra):
        """Return the current values, with schedules evaluated at their states, and the optimizer
        made of them.
        """
        tx, now = inner, dict(now)
        for path in numbers:
            tx = tx.edit(path, weak_typed(now["/".join(path)]))
        by_path = dict(tx.walk())
        for path in schedules:
            name = "/".join(path)
            value = _stateful(by_path[path])(counts[name], **extra)
            value = real_number(value, f"inject_hyperparams: the schedule {name}")
            now[name] = jnp.asarray(value, dtype)
            tx = tx.edit(path, weak_typed(now[name]))
        return now, tx

    def init(params):
        now = {"/".join(path): jnp.asarray(x, dtype) for path, x in numbers.items()}
        counts = {name: schedule.init() for name, schedule in stateful.items()}
        now, tx = at(now, counts, {})
        return InjectStatefulHyperparamsState(zero_count(), now, counts, tx.init(params))

    def run(inner, updates, state, params=None, **extra):
        expected = sorted("/".join(path) for path in (*numbers, *schedules))
        if sorted(state.hyperparams) != expected:
            got = ", ".join(sorted(state.hyperparams))
            raise StateError(
                f"inject_hyperparams: the state has the hyperparameters {got}, but the optimizer "
                f"has {expected}"
            )
        now, tx = at(state.hyperparams, state.hyperparams_states, extra)
        new, inner_state = inner.of(tx)(updates, state.inner_state, params, **extra)
        counts = {
            name: stateful[name].update(s, **extra) for name, s in state.hyperparams_states.items()
        }
        return new, InjectStatefulHyperparamsState(increment(state.count), now, counts, inner_state)

    return wrapping(inner, init, run)


def _check_rounded(inner: GradientTransformation, numbers: dict, dtype: Any) -> None:
    """Raise if a number is out of its range in the dtype: in bfloat16 a decay of 0.999 is 1, and
    Adam divides by 0.
    """
    for path, x in numbers.items():
        if isinstance(x, float):
            inner = inner.edit(path, float(np.asarray(x).astype(dtype)))
    try:
        inner.replace()
    except ArgumentError as error:
        raise ArgumentError(
            f"in {jnp.dtype(dtype).name} {error.problem}; leave hyperparam_dtype out"
        ) from None


def _parts(
    inner: GradientTransformation, static_args: tuple[str, ...], numbers_of_schedules: bool
) -> Any:
    """Return the paths of the schedules to evaluate here, and the numbers that live in the state by
    path.
    """
    arguments = dict(inner.walk())
    known = ["/".join(path) for path in arguments]
    if unknown := [name for name in static_args if name not in known]:
        raise ArgumentError(f"static_args: {unknown_argument(unknown[0], known)}")
    members = {(): inner} | {
        path: x for path, x in arguments.items() if isinstance(x, GradientTransformation)
    }

    def inside(path, other):
        return path[: len(other)] == other

    def counts_updates(path):
        """Tell whether the schedule at a path is evaluated at the number of updates of the
        whole.
        """
        if path[:-1] not in members:
            return False  # a number of another schedule, or one of a tuple
        around = [other for other in members if inside(path, other) and other != path[:-1]]
        own = members[path[:-1]].definition.traits["scheduled"]
        wraps = any(inside(other, path[:-1]) and other != path[:-1] for other in members)
        of_real_steps = wraps and counts_itself(own)  # a wrapper with a count of its own
        return not of_real_steps and all(
            "always on" in members[other].definition.words for other in around
        )

    fixed = [tuple(name.split("/")) for name in static_args]
    every_schedule = [path for path, x in arguments.items() if isinstance(x, Schedule)]
    schedules = [
        p for p in every_schedule if counts_updates(p) and not any(inside(p, f) for f in fixed)
    ]
    hidden = fixed if numbers_of_schedules else [*fixed, *every_schedule]
    return schedules, {
        path: x
        for path, x in arguments.items()
        if isinstance(x, (float, jax.Array))
        and not is_key(x)
        and not any(inside(path, h) for h in hidden)
    }


# --- factories from elsewhere ---------------------------------------------------------------------


@transform(static=("factory", "choices"), is_a=("foreign",))
def _built_by(factory, choices, **numbers):
    return factory(**choices, **numbers)


def _call_of(
    factory: Callable, static: tuple[str, ...], args: tuple, kwargs: dict
) -> GradientTransformation:
    """Return a call of any factory as data: its numbers, and everything else static."""
    parameters = inspect.signature(factory).parameters
    bound = inspect.signature(factory).bind(*args, **kwargs)
    bound.apply_defaults()
    name = getattr(factory, "__name__", repr(factory))
    if unknown := [s for s in static if s not in parameters]:
        raise ArgumentError(
            f"static_args: {name} has no argument {unknown[0]!r}", "inject_hyperparams"
        )
    if any(p.kind in (p.VAR_POSITIONAL, p.POSITIONAL_ONLY) for p in parameters.values()):
        problem = (
            f"the arguments of {name} have no names; pass it built: inject_hyperparams({name}(...))"
        )
        raise ArgumentError(problem, "inject_hyperparams")
    given = {}
    for p in parameters.values():
        given |= (
            bound.arguments[p.name]
            if p.kind is p.VAR_KEYWORD
            else {p.name: bound.arguments[p.name]}
        )
    numbers = {k: x for k, x in given.items() if k not in static and _is_data(k, x)}
    return _built_by(factory, {k: x for k, x in given.items() if k not in numbers}, **numbers)


def _is_data(name: str, value: Any) -> bool:
    """Tell whether an argument of an unknown factory is a number, a schedule or a
    transformation.
    """
    if isinstance(value, (GradientTransformation, Schedule)) or (
        hasattr(value, "init") and hasattr(value, "update")
    ):
        return True
    if callable(value):
        says_what = name == "mask" or name.endswith(("_mask", "_fn", "_labels", "_dtype"))
        return (
            not says_what
            and not isinstance(value, type)
            and len(inspect.signature(value).parameters) == 1
        )
    is_number = isinstance(
        value, (int, float, np.number, np.ndarray, jax.Array)
    ) and not isinstance(value, bool)
    return is_number and np.ndim(value) == 0
