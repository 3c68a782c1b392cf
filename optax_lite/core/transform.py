"""The pair `(init, update)` as data, the decorators that make it, and the one compiled boundary
around it.

A call of `tx.update` passes three layers. The outermost is the boundary: it drops leaves without a
gradient, enters one module-level jit, checks shapes, and casts the updates to the gradients' dtype
at the end. Inside it are the `functions`, which the builder makes from traced numbers, with
schedules evaluated at their count. Innermost are the rule and the members of a chain, which a
builder gets as `Member`s: functions that neither compile nor cast.
"""

import contextlib
import functools
import inspect
import operator
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, NoReturn, ParamSpec, TypeAlias, TypedDict, Unpack, overload

import jax
import jax.numpy as jnp
from jax.core import Tracer

from optax_lite.core.config import Config
from optax_lite.core.factory import building_for_use, make_factory
from optax_lite.core.frozen import zero_frozen
from optax_lite.core.functions import (
    STEP,
    UPDATE,
    EmptyState as EmptyState,
    Functions,
    added,
    guarded,
    wrapping,
)
from optax_lite.core.leafwise import as_array, cast_like, check_like, increment, zero_count
from optax_lite.core.missing import fill, in_dtype_of, objectives_of, present_of
from optax_lite.core.optax_class import class_for_isinstance
from optax_lite.core.placement import is_arrays, placed_update
from optax_lite.core.schedule import Schedule, value_at, weak_scalars
from optax_lite.core.trees import is_inexact, is_missing
from optax_lite.core.types import Array as Array, Number as Number, PyTree as PyTree
from optax_lite.core.unstable import register_exclusion
from optax_lite.core.validate import ArgumentError
from optax_lite.errors.calls import (
    CALL_ERRORS,
    StateError as StateError,
    check_argument_order,
    check_params,
    explain_apply,
    explain_update,
    usage,
)
from optax_lite.errors.composition import check_words

# An error is in a rule, or in the arguments of a call; 16 frames lay between (decision 8).
register_exclusion(os.path.dirname(__file__))

P = ParamSpec("P")
Params: TypeAlias = PyTree
Updates: TypeAlias = PyTree
OptState: TypeAlias = PyTree


class ScheduledState(NamedTuple):
    count: Array  # updates so far, int32: the argument of the schedules
    inner_state: PyTree  # the state without schedules


# --- the pair -------------------------------------------------------------------------------------


class GradientTransformation(Config):
    """A pure pair `(init, update)` as a pytree of its hyperparameters; it unpacks into the pair.

        tx = adamw(1e-3)
        state = tx.init(params)
        updates, state = tx.update(grads, state, params)
        params = apply_updates(params, updates)

    Its leaves are its numbers, so pass it to a jitted step as an argument (a step that closes over
    it never sees a later `replace`); `jax.vmap(adamw)(learning_rates)` is a population of
    optimizers. Two optimizers with the same factory, static choices and numbers are equal, have the
    same hash and compile once. Calling this class turns two plain functions into a transformation;
    the functions are static, and it equals only itself.

    Args:
        init: Function `init(params)` that returns the state.
        update: Function `update(updates, state, params=None, **extra)` that returns the pair
            (updates, state).
    """

    def __new__(cls, init: Callable, update: Callable):
        if not (callable(init) and callable(update)):
            raise TypeError(
                f"GradientTransformation: init and update must be functions, got {init!r} and "
                f"{update!r}"
            )
        made = _pair(init, update)
        # A user's subclass, which may go on to set fields of its own.
        return made if issubclass(Pair, cls) else cls.copy_of(made)

    __slots__ = ()
    _builds, _decorator = "(init, update), (init, update, step) or a transformation", "transform"

    @classmethod
    def _is_built(cls, built):
        is_pair = isinstance(built, tuple) and len(built) in (2, 3) and all(map(callable, built))
        return is_pair or isinstance(built, GradientTransformation)

    @classmethod
    def adopt(cls, value: Any) -> "GradientTransformation | None":
        """Make a transformation from a foreign object with `init` and `update`, such as optax's.

        Args:
            value: Anything.

        Returns:
            The transformation, or None where `value` means none.
        """
        is_pair = (
            hasattr(value, "init") and hasattr(value, "update") and not isinstance(value, type)
        )
        return _pair(value.init, value.update) if is_pair else None

    @property
    def __class__(self):
        return class_for_isinstance(type(self))

    def __dir__(self):  # of `object`, it lists what `__class__` has
        return [*dir(type(self)), *vars(self)]

    def __iter__(self) -> Iterator[Callable[..., Any]]:
        return iter((self.init, self.update))

    def __getitem__(self, index: int) -> Callable[..., Any]:
        return (self.init, self.update)[index]  # as of optax's, which is a tuple

    def members(self) -> Iterator["GradientTransformation"]:
        """Yield the transformations among its arguments, without those within them."""

        def among(value):
            if isinstance(value, GradientTransformation):
                yield value
            elif isinstance(value, (tuple, dict)):
                for part in value.values() if isinstance(value, dict) else value:
                    yield from among(part)

        return among(self._values)

    def _inside(self, *, in_use):
        return Member._make(
            self._static, self._values, self._built_in_use, functions(self) if in_use else None
        )

    @usage("state = tx.init(params)")
    def init(self, params: Params) -> OptState:
        """Return the state before the first update.

        Arrays keep their parameter's sharding, and nothing in the state shares memory with the
        params, so that both can be donated. Slots of float16 and bfloat16 parameters are float32
        unless the method is asked for another dtype; integers, bools and None have no slot.

        Args:
            params: Parameters, a pytree of arrays. Of `jax.ShapeDtypeStruct`s the state has shapes
                only.
        """
        init = functions(weak_scalars(self)).init
        if params is None:
            with contextlib.suppress(ArgumentError):  # no pattern matches a path of None
                if not jax.tree.leaves(state := init(None)):
                    return state  # of a transformation that keeps nothing
        check_params(self.definition.name, params)
        params = _arrays(params)
        leaves = jax.tree.leaves(params)
        if any(isinstance(p, jax.ShapeDtypeStruct) for p in leaves):
            return jax.eval_shape(lambda p: _strong(init(p)), params)
        seen = {id(p) for p in leaves}  # no array in two places, params included
        state = jax.tree.map(
            lambda x: jnp.copy(x) if id(x) in seen else seen.add(id(x)) or x, init(params)
        )
        return _replicate(_strong(state), leaves)

    @usage("updates, state = tx.update(grads, state, params)")
    def update(
        self, updates: Updates, state: OptState, params: Params | None = None, **extra: Any
    ) -> tuple[Updates, OptState]:
        """Return the updates to add to the params, in the dtype of the gradients, and the next
        state.

        A None gradient leaves its parameter and its state alone. Called eagerly this is one
        compiled program; an extra argument that is not an array, for example a function, makes the
        call run operation by operation unless the caller is jitted.

        Args:
            updates: Gradients or updates, a pytree with the structure of the parameters.
            state: State of the optimizer, as `init`, `update` or `step` returned it.
            params: Parameters, a pytree of arrays. They may be left out where the method does not
                look at them; an error says so where it does.
            **extra: What some methods need besides, such as `value=`, `grad=` and `value_fn=`;
                unknown ones are ignored.
        """
        _present, new, state = _enter(_update, self, updates, state, params, extra)
        return new, state

    @usage("params, state = tx.step(grads, state, params)")
    def step(
        self, updates: Updates, state: OptState, params: Params, **extra: Any
    ) -> tuple[Params, OptState]:
        """Return the next params and state: `update` and `apply_updates` in one, rounded once.

        In low precision this differs from the two calls, which round the update to the gradient's
        dtype before adding. A wrapper that does nothing in some steps is cheaper here: its idle
        branch returns the params unchanged.

        Args:
            updates: Gradients or updates, a pytree with the structure of the parameters.
            state: State of the optimizer, as `init`, `update` or `step` returned it.
            params: Parameters, a pytree of arrays.
            **extra: What some methods need besides, as in `update`.
        """
        present, new, state = _enter(_step, self, updates, state, params, extra)
        return fill(present, new, params), state


# optax's name; every transformation takes extra arguments
GradientTransformationExtraArgs = GradientTransformation


# Beside each factory, so that a wrapper from elsewhere is checked like ours (decision 36).
class Traits(TypedDict, total=False):
    """Facts, declared beside a factory, that wrappers, chains and reports need about its
    transformations.
    """

    per_example: bool  # gradients have an axis of examples in front, which `update` takes away
    # whether updates lead downhill; of one, None where it is unknown
    descends: bool | Callable[[Any], bool | None]
    # why one may not stand behind the change of sign in a chain
    before_descent: Callable[[Any], str | None]
    # of one, updates and params: the leaves that it keeps still
    freezes: Callable[[Any, PyTree, PyTree], list[bool]]
    freezes_by_itself: bool  # it may freeze a leaf that no member of it does
    exact_state: str  # why its state cannot be kept in 8 bits
    # what those around it must know, in the words of `optax_lite.errors.composition.WORDS`
    is_a: tuple[str, ...]
    # such words of what makes no sense inside: why not, and what to write
    not_around: Mapping[str, Any]
    check: Callable[[Any], None]  # run on each one when it is made, after its builder


@overload
def transform(builder: Callable[P, Any], /) -> Callable[P, GradientTransformation]: ...
@overload
def transform(
    *,
    static: tuple[str, ...] = (),
    own_range: tuple[str, ...] = (),
    scheduled: type = ...,
    **traits: Unpack[Traits],
) -> Callable[[Callable[P, Any]], Callable[P, GradientTransformation]]: ...
def transform(
    builder: Callable[..., Any] | None = None,
    /,
    *,
    static: tuple[str, ...] = (),
    own_range: tuple[str, ...] = (),
    scheduled: type = ScheduledState,
    **traits: Unpack[Traits],
) -> Callable[..., Any]:
    """Make a factory of transformations from a function of hyperparameters.

    The function, called the builder, returns `(init, update)`, `(init, update, step)` or a
    composition. Outside of these functions it only checks its arguments and composes. b1, b2 and b3
    must be in [0, 1), eps and eps_root at least 0, and *_dtype a floating dtype or None.

    Any number can be given as a schedule: the builder then sees its value at the count before the
    update. The count is kept in a `ScheduledState` around the method's own state. A method whose
    state already has a `count` passes the class of that state as `scheduled`, and that count is
    used.

    Args:
        builder: Function of the hyperparameters.
        static: Names of the arguments that are not numbers; those with a bool or str default are
            static by themselves.
        own_range: Names of arguments to which the ranges above do not apply.
        scheduled: Class of the state under a schedule; it has a field `count`.
        **traits: What wrappers, chains and reports have to know of the transformations, by the
            names in `Traits`.

    Examples:
        >>> @transform
        ... def scale_by_momentum_sign(b1=0.9):
        ...     def update(updates, m):
        ...         def rule(g, m):
        ...             m = b1 * m + (1 - b1) * g
        ...             return jnp.sign(m), m
        ...
        ...         return leafwise(rule, updates, m)
        ...
        ...     return zeros_like, update
        >>> tx = chain(scale_by_momentum_sign(0.95), scale_by_learning_rate(1e-3))
    """
    if unknown := sorted(traits.keys() - Traits.__annotations__):
        raise TypeError(
            f"transform: no trait {unknown[0]!r}; the traits: {', '.join(Traits.__annotations__)}"
        )
    check_words(traits.get("is_a", ()), traits.get("not_around"))
    if builder is None:
        return functools.partial(
            transform, static=static, own_range=own_range, scheduled=scheduled, **traits
        )
    return _optimizer_factory(
        GradientTransformation, builder, static, own_range, {"scheduled": scheduled, **traits}
    )


def _optimizer_factory(kind, builder, static, own_range, traits):
    """Make a factory that says so where it is taken for what it returns."""
    factory = make_factory(kind, builder, static, own_range, traits)
    factory.init = factory.update = factory.step = functools.partial(_uncalled, factory.__name__)
    return factory


def _uncalled(name: str, *_: Any, **__: Any) -> NoReturn:
    raise TypeError(
        f"{name} is a factory, not an optimizer; call it: tx = {name}(...); state = tx.init(params)"
    )


class Pair(GradientTransformation):
    """Two plain functions, called by the names that their own arguments have."""

    __slots__ = ()

    def init(self, *args, **kwargs):
        return super().init(*self._by_place("init", args, kwargs), **kwargs)

    def update(self, *args, **kwargs):
        return super().update(*self._by_place("update", args, kwargs), **kwargs)

    def _by_place(self, function, args, kwargs):
        """Return the arguments by place, with those given by the function's own names."""
        names = [] if not kwargs else inspect.signature(self.arguments[function]).parameters
        own = [name for name in [*names][len(args) : 3] if name in kwargs]
        return [*args, *map(kwargs.pop, own)]


@functools.partial(
    _optimizer_factory,
    Pair,
    static=("init", "update"),
    own_range=(),
    traits={"scheduled": ScheduledState, "descends": lambda tx: None},
)
def _pair(init, update):
    return init, update


_pair.definition.name = "GradientTransformation"  # what the user called


class Member(GradientTransformation):
    """A transformation as a builder gets it: functions that neither compile nor cast.

    JAX cannot be asked whether a call is the outermost one; the type that the builder was handed
    tells. A builder that is in use gets the functions ready made: made later they might hold what a
    loop or a branch computes.
    """

    __slots__ = ()
    _functions: Functions | None  # ready made, where the builder is in use

    @classmethod
    def _make(cls, static, values, built=None, ready=None):
        self = super()._make(static, values, built)
        object.__setattr__(self, "_functions", ready)
        return self

    @property
    def functions(self) -> Functions:
        """Return its functions."""
        return self._functions or functions(self)

    def init(self, params):
        return self.functions.init(params)

    def update(self, updates, state, params=None, **extra):
        return self.functions.update(updates, state, params, **extra)

    def step(self, updates, state, params, **extra):
        return self.functions.step(updates, state, params, **extra)

    def _inside(self, *, in_use):
        return self

    def _outside(self):
        return self.definition.kind._make(self._static, self._values, self._built_in_use)


def functions(tx: GradientTransformation) -> Functions:
    """Return the functions behind a transformation, which evaluate schedules and look after
    arguments and dtypes.

    Without schedules the state is the method's own; with them it is that of `scheduled`, which
    holds the count they are evaluated at.
    """
    definition = tx.definition
    with building_for_use():
        built = definition.build(tx)
        if isinstance(built, GradientTransformation):
            return functions(built)
    if not any(isinstance(v, Schedule) for v in tx._values):
        return guarded(built, definition)
    wrap, unwrap = _around(definition.traits["scheduled"])

    def at(count):
        def now(name, value):
            where = f"{definition.name}: the schedule {name}"
            return value_at(value, count, where) if isinstance(value, Schedule) else value

        return guarded(definition.build(tx.copy_of(tx, now)), definition)

    def init(params):
        return wrap(zero_count(), at(zero_count()).init(params))

    def run(inner, updates, state, params=None, **extra):
        new, inner_state = inner.of(at(state.count))(updates, unwrap(state), params, **extra)
        return new, wrap(increment(state.count), inner_state)

    return wrapping(tx, init, run)


def counts_itself(scheduled: type) -> bool:
    """Tell whether the state class under a schedule is the method's own, with a count among other
    slots.
    """
    return not {"count", "inner_state"}.issuperset(scheduled._fields)


def _around(scheduled):
    """Return two functions: one adds the schedules' count to a state, the other takes it away."""
    if counts_itself(scheduled):
        return lambda count, state: state, lambda state: state
    if "inner_state" in scheduled._fields:
        return scheduled, operator.attrgetter("inner_state")
    return lambda count, _: scheduled(count), lambda _: EmptyState()


# --- the outermost boundary: one compiled call, whatever is inside --------------------------------


def _run(tx, inner, updates, state, params, extra):
    # Python scalars and a restored state of NumPy's arrays, where this is not compiled
    updates, params = jax.tree.map(as_array, (updates, params))
    state = jax.tree.map(lambda x: x if isinstance(x, jax.Array) else jnp.asarray(x), state)
    examples = takes_examples(tx)
    if params is not None and not examples:
        check_like(updates, params, "gradient")

    # Sees what tx was given; a chain that a builder makes does the same for its own members.
    updates = zero_frozen([tx], updates, params)

    def call(tx, updates, state, params, extra):
        return inner.of(functions(weak_scalars(tx)))(updates, state, params, **extra)

    args = tx, updates, state, params
    return placed_update(call, args, extra, like_params=examples or inner.is_step)


def takes_examples(tx: GradientTransformation) -> bool:
    """Tell whether a transformation, or a member of it, wants gradients with an axis of examples in
    front.
    """
    return any(call.definition.traits.get("per_example") for call in tx.calls())


@jax.jit
def _update(tx, updates, state, params, extra):
    new, state = _run(tx, UPDATE, updates, state, params, extra)
    if params is not None or not takes_examples(tx):
        check_like(new, updates if params is None else params, "update")
    return in_dtype_of(updates, new), state


@jax.jit
def _step(tx, updates, state, params, extra):
    return _run(tx, STEP, updates, state, params, extra)


def _enter(compiled, tx, updates, state, params, extra):
    """Run the compiled call on what has a gradient; return those gradients and its two results.

    A failure that one of the arguments explains becomes an error that says so (decision 50).
    """
    check_argument_order(tx.definition.name, updates, state, params)
    kept = params
    try:
        present, kept = present_of(updates, params)
        extra = extra if kept is params else objectives_of(extra, present, kept, params)
        # Without jit where an extra argument is not an array (decision 5).
        run = compiled if is_arrays(extra) else inspect.unwrap(compiled)
        return present, *run(tx, present, state, kept, extra)
    except CALL_ERRORS as error:
        # with or without what has no gradient
        made_of = [updates] if params is None else [kept, _arrays(params)]
        fresh = (jax.eval_shape(functions(weak_scalars(tx)).init, p) for p in made_of)
        explain_update(tx, updates, state, params, fresh, error)
        raise


_apply = jax.jit(added)


@usage("params = apply_updates(params, updates)")
def apply_updates(params: Params, updates: Updates) -> Params:
    """Return params + updates, in the params' dtype; a parameter whose update is None stays
    unchanged.

    The sum is made in float32 at least and rounded once. Shapes must agree: nothing is broadcast.

    Args:
        params: Parameters, a pytree of arrays.
        updates: Gradients or updates, a pytree with the structure of the parameters. None where
            there is no update.
    """
    try:
        kept, present = present_of(updates, params)
        return fill(kept, _apply(present, kept), params)
    except CALL_ERRORS as error:
        explain_apply(params, updates, error)
        raise


def _arrays(params: Params) -> Params:
    """Replace functions, names and the like by None, as a module of Equinox holds them."""
    return jax.tree.map(
        lambda p: p if is_missing(p) or hasattr(p, "dtype") or is_inexact(p) else None, params
    )


def _strong(state: OptState) -> OptState:
    def strong(x):
        return (
            x
            if isinstance(x, jax.Array) and not getattr(x, "weak_type", False)
            else cast_like(x, jnp.asarray(x))
        )

    return jax.tree.map(strong, state)


def _replicate(state: OptState, params: list) -> OptState:
    """Put counts and other small arrays of a fresh state on the mesh of the params, where these are
    on several devices.
    """
    shardings = (
        p.sharding for p in params if isinstance(p, jax.Array) and not isinstance(p, Tracer)
    )
    meshes = [
        s.mesh for s in shardings if isinstance(s, jax.sharding.NamedSharding) and s.num_devices > 1
    ]
    if not meshes or any(isinstance(x, Tracer) for x in jax.tree.leaves(state)):
        return state
    everywhere = jax.sharding.NamedSharding(meshes[0], jax.sharding.PartitionSpec())
    return jax.tree.map(
        lambda x: x if x.sharding.num_devices > 1 else jax.device_put(x, everywhere), state
    )
