"""A schedule: a hyperparameter as a function of the number of updates so far, kept as data."""

import functools
import operator
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, overload

import jax
import jax.numpy as jnp
import numpy as np

from optax_lite.core.config import Config, is_key
from optax_lite.core.factory import make_factory
from optax_lite.core.numerics import weak_typed
from optax_lite.core.scalars import divide, fitting
from optax_lite.core.types import Array, ScalarOrSchedule
from optax_lite.core.validate import ArgumentError
from optax_lite.errors.calls import schedule_value

P = ParamSpec("P")
C = TypeVar("C", bound=Config)


def _operator(
    op: Callable, *, swapped: bool = False
) -> Callable[["Schedule", ScalarOrSchedule], "Schedule"]:
    return lambda schedule, other: (
        _combined(op, other, schedule) if swapped else _combined(op, schedule, other)
    )


class Schedule(Config):
    """A hyperparameter as a function of the count of updates: a pytree of its numbers, combined by
    `+ - * /`.

        schedule = 0.5 * cosine_decay_schedule(1e-3, 1000)
        schedule(0)  # the value for the first update
    """

    def __call__(self, count: Any) -> Array:
        """Return the value at a count, or at an array of counts; 0 is the first update."""
        return _evaluate(self, fitting(count))

    def _at(self, count):
        built = self.definition.build(self)
        try:
            return (
                built._at(count)
                if isinstance(built, Schedule)
                else schedule_value(repr(self), built, count)
            )
        except jax.errors.ConcretizationTypeError as error:
            error.add_note(
                f"{self!r}: the count is traced: use jnp.where or piecewise_constant_schedule"
            )
            raise

    __slots__ = ()
    _builds, _decorator = "a function of the count", "schedule"

    @classmethod
    def _is_built(cls, built):
        return callable(built)

    @classmethod
    def adopt(cls, value: Any) -> "Schedule | None":
        return function_schedule(value) if callable(value) and not isinstance(value, type) else None

    __add__, __radd__ = _operator(operator.add), _operator(operator.add, swapped=True)
    __sub__, __rsub__ = _operator(operator.sub), _operator(operator.sub, swapped=True)
    __mul__, __rmul__ = _operator(operator.mul), _operator(operator.mul, swapped=True)
    __truediv__, __rtruediv__ = _operator(divide), _operator(divide, swapped=True)

    def __neg__(self) -> "Schedule":
        return _combined(operator.mul, -1.0, self)


@jax.jit
def _evaluate(schedule, count):
    return weak_scalars(schedule)._at(count)


@overload
def schedule(builder: Callable[P, Any], /) -> Callable[P, Schedule]: ...
@overload
def schedule(
    *, static: tuple[str, ...] = ()
) -> Callable[[Callable[P, Any]], Callable[P, Schedule]]: ...
def schedule(
    builder: Callable[..., Any] | None = None, /, *, static: tuple[str, ...] = ()
) -> Callable[..., Any]:
    """Make a factory of schedules from a function of hyperparameters that returns `value(count)`.

        @schedule
        def halving(init_value, every):
            return lambda count: init_value * 0.5 ** (count // every)

    `value` must also work for an array of counts.

    Args:
        builder: Function of the hyperparameters that returns a function of the count.
        static: Names of the arguments that are not numbers.
    """
    if builder is None:
        return functools.partial(schedule, static=static)
    return make_factory(Schedule, builder, static)


@schedule(static=("fn",))
def function_schedule(fn):
    """Make a schedule from a plain function of the count.

    It is static: two are equal only when they are the same function. A function given for a number
    becomes one by itself.

    Args:
        fn: Function of the number of updates so far that returns a real number.
    """
    return fn


_SYMBOLS = {operator.add: "+", operator.sub: "-", operator.mul: "*", divide: "/"}


def _infix(call: Schedule, show: Callable[[Any], str]) -> str:
    def one(part):
        return f"({show(part)})" if getattr(part, "factory", None) is _combined else show(part)

    a = call.arguments
    return f"{one(a['left'])} {_SYMBOLS[a['op']]} {one(a['right'])}"


@functools.partial(make_factory, Schedule, static=("op",), traits={"infix": _infix})
def _combined(op, left, right):
    def at(part, count):
        return part(count) if callable(part) else part

    return lambda count: op(at(left, count), at(right, count))


def value_at(schedule: Schedule, count: Array, where: str) -> Array:
    """Evaluate a schedule, as a weakly typed scalar."""
    return real_number(schedule(count), where)


def real_number(now: Any, where: str) -> Array:
    """Return a real number as a weakly typed scalar; the error for anything else begins with
    `where`.
    """
    if now is None or jnp.ndim(now) != 0 or jnp.iscomplexobj(now):
        got = "None" if now is None else f"shape {jnp.shape(now)} and dtype {jnp.result_type(now)}"
        raise ValueError(f"{where} must return a real number, got {got}")
    return weak_typed(now)


def weak_scalars(tx: C) -> C:
    """Return the same call with every number weakly typed and of shape ().

    That makes an eager call, a jitted one and one that takes the optimizer as an argument the same
    program, to the bit. A number of another shape is a population that somebody forgot to `vmap`
    over.
    """
    leaves, treedef = jax.tree.flatten(tx)
    if any(map(np.ndim, leaves)):
        path, x = next(
            found for found in jax.tree_util.tree_leaves_with_path(tx) if np.ndim(found[1])
        )
        where = jax.tree_util.keystr(path, simple=True, separator="/")
        vmapped = "jax.vmap(lambda tx, state: tx.update(grads, state, params))(population, states)"
        problem = (
            f"{where} has shape {np.shape(x)}: this is a population of {len(x)}; apply jax.vmap "
            "to it"
        )
        raise ArgumentError(f"{problem}, as in {vmapped}", tx.definition.name)
    if all(getattr(x, "weak_type", False) or is_key(x) for x in leaves):
        return tx
    return treedef.unflatten(_weak_leaves(leaves))


@jax.jit  # one call for all, where each would cost as much
def _weak_leaves(leaves):
    return [x if is_key(x) else weak_typed(x) for x in leaves]
