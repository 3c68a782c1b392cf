"""The pair `(init, update)` as data, the decorators that make it, and the one compiled boundary around it.

A call of `tx.update` passes three layers. Outermost the boundary: what has no gradient is dropped, one module-level jit
is entered, shapes are checked, and the updates get the gradients' dtype at the end. Then its functions, made
by the builder from traced numbers, its schedules evaluated at their count. Innermost the members of a chain, which
neither compile nor cast (they are inner views), and the rule.
"""

import functools
import inspect
import operator
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeAlias, overload

import jax
import jax.numpy as jnp
from jax.core import Tracer

from optax_lite.aliases import Array as Array, Number as Number, PyTree as PyTree
from optax_lite.data import Configured, as_factory, weak_scalars
from optax_lite.floats import divide, fitting
from optax_lite.frozen import moving
from optax_lite.leaves import (
    as_array,
    cast_like,
    check_like,
    check_state_leaves,
    compute_dtype,
    increment,
    is_inexact,
    is_nothing,
    weak,
    zero_count,
)
from optax_lite.mistakes import (
    FAILURES,
    StateError as StateError,
    check_order,
    check_params,
    explain_apply,
    explain_update,
    schedule_value,
    uncalled,
    written,
)
from optax_lite.outline import outline
from optax_lite.placement import is_arrays, placed_update
from optax_lite.present import fill, in_dtype_of, objectives_of, present_of

P = ParamSpec("P")
Params: TypeAlias = PyTree
Updates: TypeAlias = PyTree
OptState: TypeAlias = PyTree


class EmptyState(NamedTuple):
    """The state of a transformation that remembers nothing."""


class ScheduledState(NamedTuple):
    count: Array  # updates so far, int32: the argument of the schedules
    inner_state: PyTree  # the state without schedules


# --- schedules -------------------------------------------------------------------------------------------------------


def _operator(op: Callable, *, swapped: bool = False) -> Callable:
    return lambda schedule, other: _combined(op, other, schedule) if swapped else _combined(op, schedule, other)


class Schedule(Configured):
    """A hyperparameter as a function of the count of updates: a pytree of its numbers, combined by `+ - * /`."""

    def __call__(self, count: Any) -> Array:
        """The value at a count, or at an array of counts; 0 is the first update."""
        count = fitting(count)
        return self._at(count) if self._inner else _evaluate(self, count)

    def _at(self, count):
        built = self._call.build(tuple(map(_inner_view, weak_scalars(self))))
        try:
            return built._at(count) if isinstance(built, Schedule) else schedule_value(repr(self), built, count)
        except jax.errors.ConcretizationTypeError as error:
            error.add_note(f"{self!r}: the count is traced: use jnp.where or piecewise_constant_schedule")
            raise

    _built, _decorator = "a function of the count", "schedule"

    @classmethod
    def _is_built(cls, built):
        return callable(built)

    @classmethod
    def _adopt(cls, value):
        return function_schedule(value) if callable(value) and not isinstance(value, type) else None

    __add__, __radd__ = _operator(operator.add), _operator(operator.add, swapped=True)
    __sub__, __rsub__ = _operator(operator.sub), _operator(operator.sub, swapped=True)
    __mul__, __rmul__ = _operator(operator.mul), _operator(operator.mul, swapped=True)
    __truediv__, __rtruediv__ = _operator(divide), _operator(divide, swapped=True)

    def __neg__(self):
        return _combined(operator.mul, -1.0, self)


ScalarOrSchedule: TypeAlias = float | Array | Schedule


@jax.jit
def _evaluate(schedule, count):
    return schedule._at(count)


@overload
def schedule(builder: Callable[P, Any], /) -> Callable[P, Schedule]: ...
@overload
def schedule(*, static: tuple[str, ...] = ()) -> Callable[[Callable[P, Any]], Callable[P, Schedule]]: ...
def schedule(builder=None, /, *, static=()):
    """Make a function of hyperparameters that returns `value(count)` into a factory of schedules.

        @schedule
        def halving(init_value, every):
            return lambda count: init_value * 0.5 ** (count // every)

    `static` names arguments that are no numbers. The value may be asked for an array of counts.
    """
    if builder is None:
        return functools.partial(schedule, static=static)
    return as_factory(Schedule, builder, static)


@schedule(static=("fn",))
def function_schedule(fn):
    """A plain function of the count; static, so that two are equal only when they are the same function.

    What a function given for a number becomes by itself.
    """
    return fn


@schedule(static=("op",))
def _combined(op, left, right):
    def at(part, count):
        return part(count) if callable(part) else part

    return lambda count: op(at(left, count), at(right, count))


# --- the pair --------------------------------------------------------------------------------------------------------


class GradientTransformation(Configured):
    """A pure pair `(init, update)` as a pytree of its hyperparameters; unpacks into the pair.

        tx = adamw(1e-3)
        state = tx.init(params)
        updates, state = tx.update(grads, state, params)
        params = apply_updates(params, updates)

    Its leaves are its numbers, so it is passed to a jitted step as an argument (a step that closes over it never sees a
    later `replace`), and `jax.vmap(adamw)(learning_rates)` is a population of optimizers. Two with the same factory,
    static choices and numbers are equal, hash alike and compile once. `GradientTransformation(init_fn, update_fn)`
    makes one of two plain functions, which are then static: equal only to itself.
    """

    def __new__(cls, init: Callable, update: Callable):
        if not (callable(init) and callable(update)):
            raise TypeError(f"GradientTransformation: init and update must be functions, got {init!r} and {update!r}")
        return _from_pair(init, update)

    _built, _decorator = "(init, update), (init, update, step) or a transformation", "transform"

    @classmethod
    def _is_built(cls, built):
        is_pair = isinstance(built, tuple) and len(built) in (2, 3) and all(map(callable, built))
        return is_pair or isinstance(built, GradientTransformation)

    @classmethod
    def _adopt(cls, value):
        is_pair = hasattr(value, "init") and hasattr(value, "update") and not isinstance(value, type)
        return _from_pair(value.init, value.update) if is_pair else None

    def __iter__(self):
        return iter((self.init, self.update))

    @written("state = tx.init(params)")
    def init(self, params: Params) -> OptState:
        """The state before the first update; of shapes only when `params` holds `jax.ShapeDtypeStruct`s.

        Arrays keep their parameter's sharding, and nothing of the state shares memory with the params, so that both can
        be donated. Slots of float16 and bfloat16 parameters are float32 unless the method is told otherwise; integers,
        bools and None have no slot.
        """
        init = _functions(self).init
        if self._inner:
            return init(params)
        check_params(self._call.name, params)
        params = _arrays(params)
        leaves = jax.tree.leaves(params)
        if any(isinstance(p, jax.ShapeDtypeStruct) for p in leaves):
            return jax.eval_shape(lambda p: _strong(init(p)), params)
        seen = {id(p) for p in leaves}  # no array stands in two places, params included
        state = jax.tree.map(lambda x: jnp.copy(x) if id(x) in seen else seen.add(id(x)) or x, init(params))
        return _replicate(_strong(state), leaves)

    @written("updates, state = tx.update(grads, state, params)")
    def update(self, updates: Updates, state: OptState, params: Params | None = None, **extra: Any):
        """The updates to add to the params, in the dtype of the gradients, and the next state.

        `params` may be left out where the method does not look at them; an error says so where it does. `extra` are
        what some methods need besides (`value=`, `grad=`, `value_fn=`): unknown ones are ignored. A None gradient
        leaves its parameter and its state alone. Called eagerly it is one compiled program; an extra argument that is
        no array, a function for example, makes that call run operation by operation unless the caller is jitted.
        """
        if self._inner:
            return _functions(self).update(updates, state, params, **extra)
        _, new, state = _enter(_update, self, updates, state, params, extra)
        return new, state

    @written("params, state = tx.step(grads, state, params)")
    def step(self, updates: Updates, state: OptState, params: Params, **extra: Any):
        """The next params and state: `update` and `apply_updates` in one, rounded once.

        In low precision this differs from the two calls, which round the update to the gradient's dtype before adding.
        A wrapper that does nothing in some steps is cheaper here: the params pass through its idle branch as they are.
        """
        if self._inner:
            return _functions(self).step(updates, state, params, **extra)
        updates, new, state = _enter(_step, self, updates, state, params, extra)
        return fill(updates, new, params), state


GradientTransformationExtraArgs = GradientTransformation  # optax's name; every transformation takes extra arguments


@overload
def transform(builder: Callable[P, Any], /) -> Callable[P, GradientTransformation]: ...
@overload
def transform(
    *, static: tuple[str, ...] = (), own_range: tuple[str, ...] = (), scheduled: type = ..., per_example: bool = False
) -> Callable[[Callable[P, Any]], Callable[P, GradientTransformation]]: ...
def transform(builder=None, /, *, static=(), own_range=(), scheduled=ScheduledState, per_example=False):
    """Make a function of hyperparameters that returns `(init, update)`, or a composition, into a factory.

    `static` names the arguments that are no numbers; bool and str defaults are static by themselves. b1, b2, b3 must
    be in [0, 1), eps and eps_root at least 0 and *_dtype a floating dtype or None, unless `own_range` names them. A
    number may be given as a schedule: the builder sees its value at the count before the update, kept in a state of
    type `scheduled`, which is the method's own if that has a `count`. The builder's body outside `init` and `update`
    only checks and composes. `per_example` says that the gradients have an axis of examples in front, which `update`
    takes away.
    """
    if builder is None:
        given = {"static": static, "own_range": own_range, "scheduled": scheduled, "per_example": per_example}
        return functools.partial(transform, **given)
    factory: Any = as_factory(GradientTransformation, builder, static, own_range)
    factory.scheduled, factory.per_example = scheduled, per_example
    factory.init = factory.update = factory.step = uncalled(factory.__name__)
    return factory


@transform(static=("init", "update"))
def _from_pair(init, update):
    return init, update


def _inner_view(value: Any) -> Any:
    """What a builder gets for an argument: members neither cast nor compile, the outermost one does both.

    Whether a call is the outermost one cannot be asked of JAX, so it is told by what the builder was handed.
    """
    if isinstance(value, Configured):
        return value._make(value._call, value._values, inner=True)
    if isinstance(value, tuple):
        return tuple(map(_inner_view, value))
    return {k: _inner_view(v) for k, v in value.items()} if isinstance(value, dict) else value


class _Functions(NamedTuple):
    init: Callable
    update: Callable
    step: Callable  # the next params in place of updates


def _functions(tx: GradientTransformation) -> _Functions:
    """The functions behind a transformation: schedules evaluated, arguments and dtypes of the state looked after.

    Without schedules the state is the method's own; with them it is `scheduled`, which holds the count they are
    evaluated at.
    """
    call = tx._call
    values = tuple(map(_inner_view, weak_scalars(tx)))
    built = call.build(values)
    if isinstance(built, GradientTransformation):
        return _functions(built)
    if not any(isinstance(v, Schedule) for v in values):
        return _guarded(built, call.name)
    scheduled: Any = call.factory.scheduled
    keeps_inner, is_own = "inner_state" in scheduled._fields, len(scheduled._fields) > 2

    def wrap(count, inner_state):
        return inner_state if is_own else scheduled(count, inner_state) if keeps_inner else scheduled(count)

    def init(params):
        whole = (v._make(v._call, v._values) if isinstance(v, Schedule) else v for v in values)  # one program each
        init, *_ = call.build(_at(tuple(whole), zero_count(), call))
        return wrap(zero_count(), init(params))

    def run(kind, updates, state, params=None, **extra):
        functions = _guarded(call.build(_at(values, state.count, call)), call.name)
        inner_state = state if is_own else state.inner_state if keeps_inner else EmptyState()
        new, inner_state = getattr(functions, kind)(updates, inner_state, params, **extra)
        return new, wrap(increment(state.count), inner_state)

    return _Functions(init, functools.partial(run, "update"), functools.partial(run, "step"))


def value_at(schedule: Schedule, count: Array, where: str) -> Array:
    """A schedule's value as a weakly typed scalar; what is no real number is told with `where` in front."""
    now = schedule(count)
    if now is None or jnp.ndim(now) != 0 or jnp.iscomplexobj(now):
        got = "None" if now is None else f"shape {jnp.shape(now)} and dtype {jnp.result_type(now)}"
        raise ValueError(f"{where} must return a real number, got {got}")
    return weak(now)


def _at(values, count, call):
    """The values of a builder with its schedules evaluated at a count."""

    def one(name, value):
        return value_at(value, count, f"{call.name}: the schedule {name}") if isinstance(value, Schedule) else value

    return tuple(one(name, value) for name, value in zip(call.names, values, strict=True))


def _guarded(built: tuple[Callable, ...], name: str) -> _Functions:
    """The functions of a builder with the extra arguments they take, needs checked, and a state that keeps its form."""
    init, update, *own_step = built
    checked = _checked(init, update, name)

    def step(updates, state, params, **extra):
        new, state = checked(updates, state, params, **extra)
        return _added(params, new), state

    return _Functions(init, checked, _checked(init, own_step[0], name) if own_step else step)


def _checked(init: Callable, update: Callable, name: str) -> Callable:
    """`update` with the extra arguments it takes, needs checked, and a state whose structure and dtypes stay."""
    parameters = list(inspect.signature(update).parameters.values())
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    takes_params = len(positional) > 2 or any(p.kind is p.VAR_POSITIONAL for p in parameters)
    needs_params = len(positional) > 2 and positional[2].default is inspect.Parameter.empty
    named = [*positional[3:], *(p for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "params")]
    by_keyword = [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.name == "params"]
    needs_params = needs_params or any(p.default is p.empty for p in by_keyword)

    def guarded(updates, state, params=None, **extra):
        if needs_params and params is None:
            raise ValueError(f"{name}: update needs the parameters; write tx.update(grads, state, params)")
        missing = [p.name for p in named if p.default is p.empty and p.name not in extra]
        if missing:
            raise TypeError(
                f"{name}: update needs {missing[0]}=; write tx.update(grads, state, params, {missing[0]}=...). "
                f"Extra arguments given: {', '.join(extra) or 'none'}"
            )
        kept = extra if takes_all else {p.name: extra[p.name] for p in named if p.name in extra}
        kept = {**kept, "params": params} if by_keyword else kept
        args = (updates, state, params) if takes_params else (updates, state)
        new_updates, new_state = update(*args, **kept)
        old, new = jax.tree.structure(state), jax.tree.structure(new_state)
        if new_state is state and not isinstance(state, EmptyState):  # it was not looked at, so it may be anybody's
            old, new = outline(state), outline(jax.eval_shape(init, updates))
        if old != new:
            raise StateError(f"{name}: update was given a state of structure {old}, its own is {new}")
        check_state_leaves(name, new_state, state)
        return new_updates, cast_like(new_state, state)

    return guarded


# --- the outermost boundary: one compiled call, whatever is inside ---------------------------------------------------


def _run(kind, tx, updates, state, params, extra):
    updates, params = jax.tree.map(as_array, (updates, params))  # Python scalars, where this is not compiled
    examples = takes_examples(tx)
    if params is not None and not examples:
        check_like(updates, params, "gradient")

    updates = moving([tx], updates, params)

    def call(tx, updates, state, params, extra):
        return getattr(_functions(tx), kind)(updates, state, params, **extra)

    return placed_update(call, (tx, updates, state, params), extra, examples or kind == "step")


def takes_examples(tx: GradientTransformation) -> bool:
    """Whether a transformation, or a member of it, wants gradients with an axis of examples in front."""
    members = [tx, *(value for _, value in tx._arguments() if isinstance(value, GradientTransformation))]
    return any(member._call.factory.per_example for member in members)


@jax.jit
def _update(tx, updates, state, params, extra):
    new, state = _run("update", tx, updates, state, params, extra)
    if params is not None or not takes_examples(tx):
        check_like(new, updates if params is None else params, "update")
    return in_dtype_of(updates, new), state


@jax.jit
def _step(tx, updates, state, params, extra):
    return _run("step", tx, updates, state, params, extra)


def _enter(compiled, tx, updates, state, params, extra):
    """The updates that there are, and what the compiled call makes of them; an error is told as what it comes from."""
    check_order(tx._call.name, updates, state, params)
    kept = params
    try:
        present, kept = present_of(updates, params)
        extra = extra if kept is params else objectives_of(extra, present, kept, params)
        run = compiled if is_arrays(extra) else inspect.unwrap(compiled)  # plain where one is a function
        return present, *run(tx, present, state, kept, extra)
    except FAILURES as error:
        made_of = [updates] if params is None else [kept, _arrays(params)]  # with or without what has no gradient
        fresh = (jax.eval_shape(lambda p: _functions(tx).init(p), p) for p in made_of)
        explain_update(tx._call.name, updates, state, params, fresh, error)
        raise


def _added(params, updates):
    """params + updates, computed in float32 at least and rounded once to the parameters' dtype."""
    check_like(updates, params, "update")
    return jax.tree.map(
        lambda u, p: u if is_nothing(u) else _add(as_array(p), as_array(u)), updates, params, is_leaf=is_nothing
    )


@jax.jit
def _add(p, u):  # compiled apart, so that leaves that look alike are traced once
    dtype = compute_dtype(p, u)
    return (p.astype(dtype) + u.astype(dtype)).astype(p.dtype)


_apply = jax.jit(_added)


@written("params = apply_updates(params, updates)")
def apply_updates(params: Params, updates: Updates) -> Params:
    """params + updates, in the params' dtype; a parameter whose update is None stays as it is.

    The sum is made in float32 at least and rounded once. Shapes must agree: nothing is broadcast.
    """
    try:
        kept, present = present_of(updates, params)
        return fill(kept, _apply(present, kept), params)
    except FAILURES as error:
        explain_apply(params, updates, error)
        raise


def _arrays(params: Params) -> Params:
    """The parameters with None for functions, names and the like, as a module of Equinox holds them."""
    return jax.tree.map(lambda p: p if is_nothing(p) or hasattr(p, "dtype") or is_inexact(p) else None, params)


def _strong(state: OptState) -> OptState:
    def strong(x):
        return x if isinstance(x, jax.Array) and not getattr(x, "weak_type", False) else cast_like(x, jnp.asarray(x))

    return jax.tree.map(strong, state)


def _replicate(state: OptState, params: list) -> OptState:
    """Counts and other small arrays of a fresh state on the mesh of the params, where these lie on several devices."""
    shardings = (p.sharding for p in params if isinstance(p, jax.Array) and not isinstance(p, Tracer))
    meshes = [s.mesh for s in shardings if isinstance(s, jax.sharding.NamedSharding) and s.num_devices > 1]
    if not meshes or any(isinstance(x, Tracer) for x in jax.tree.leaves(state)):
        return state
    everywhere = jax.sharding.NamedSharding(meshes[0], jax.sharding.PartitionSpec())
    return jax.tree.map(lambda x: x if x.sharding.num_devices > 1 else jax.device_put(x, everywhere), state)
