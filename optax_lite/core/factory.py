"""A factory: the function that `@transform` and `@schedule` make of a builder; called, it returns
the call as data.

A call is checked once, when it is made: its arguments are bound, converted and checked, and the
builder runs for the checks in it. Whenever functions are needed, the builder runs again, on numbers
that may now be traced. Other calls that it makes during this belong to the same use, so they keep
what their builders return for as long as the use lasts.
"""

import contextlib
import functools
import inspect
import threading
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeGuard

import jax
import numpy as np
from jax.core import Tracer

from optax_lite.core.binding import Binding
from optax_lite.core.config import Config, Static, Word, is_key, is_number
from optax_lite.core.numerics import weak_typed
from optax_lite.core.scalars import lost
from optax_lite.core.show import show
from optax_lite.core.validate import ArgumentError, check_held, check_shared, shared_names
from optax_lite.errors.calls import check_untraced
from optax_lite.errors.composition import check_inside
from optax_lite.errors.suggestions import own_name


class _Running(threading.local):
    """Keep the use for which the builders of this thread run; None where they only check."""

    use: object = None


_running = _Running()


@contextlib.contextmanager
def _running_for(use: object) -> Iterator[None]:
    before, _running.use = _running.use, use
    try:
        yield
    finally:
        _running.use = before


def building_for_use() -> contextlib.AbstractContextManager[None]:
    """Run builders to use what they return. What they make for each other is good within this use:
    it may be traced.
    """
    return _running_for(_running.use or object())


def is_factory(value: Any) -> TypeGuard[types.FunctionType]:
    """Tell whether a value is a factory, or a function that `functools.wraps` says stands
    for one.
    """
    return _has_definition(inspect.unwrap(value, stop=_has_definition))


def _has_definition(value):
    is_function = isinstance(value, types.FunctionType)
    return is_function and isinstance(getattr(value, "definition", None), Definition)


def as_data(name: str, value: Any) -> Any:
    """Return an argument as data: a float where it is concrete, a weakly typed scalar where it is
    traced, or a composite.

    Ints, numpy scalars and arrays of shape () become Python floats, so that `adam(1)` and
    `adam(1.0)` are equal and compile once; a plain function becomes a schedule, a pair of functions
    a transformation.
    """
    if value is None or isinstance(value, Config):
        return value if value is None else value._outside()
    may_stay = isinstance(value, Tracer) or (_running.use and isinstance(value, jax.Array))
    if may_stay and getattr(value, "weak_type", False) and value.shape == ():
        return value
    if lost(value):
        check_held(**{name: value})
    if type(value) is float:
        return value
    if is_factory(value):
        raise ArgumentError(
            f"{name} is the factory {value.__name__} itself; call it: {value.__name__}(...)"
        )
    for kind in Config.__subclasses__():
        if (adopted := kind.adopt(value)) is not None:
            return adopted
    if isinstance(value, (tuple, list)):
        return tuple(
            Word(v) if isinstance(v, str) else as_data(f"{name}/{i}", v)
            for i, v in enumerate(value)
        )
    if isinstance(value, Mapping):
        return {k: as_data(f"{name}/{k}", v) for k, v in value.items()}
    return _as_number(name, value)


def _as_number(name: str, value: Any) -> Any:
    if not isinstance(value, (int, float, np.number, np.ndarray, jax.Array)) or isinstance(
        value, bool
    ):
        raise ArgumentError(f"{name} must be a number or a schedule, got {value!r}")
    if np.ndim(value) != 0:
        raise ArgumentError(
            f"{name} has shape {np.shape(value)}: for a population of {np.shape(value)[0]}, use "
            "jax.vmap; parameters go to tx.init(params)"
        )
    if is_key(value):
        return value
    if isinstance(value, Tracer):
        return weak_typed(value)
    if isinstance(value, complex) or np.iscomplexobj(value):
        raise ArgumentError(f"{name} must be real, got {value!r}")
    return as_data(name, float(value))


def is_scalar(value: Any) -> bool:
    """Tell whether data is a number or a schedule: no transformation, tuple, dict or None."""
    return is_number(value) or (isinstance(value, Config) and callable(value))


class Definition:
    """Keep a factory's builder, the kind of its calls, and what is declared of them (`traits`)."""

    factory: Callable[..., Any]  # the function that people call; its `definition` is this

    def __init__(
        self,
        kind: type[Config],
        builder: Callable[..., Any],
        static: tuple[str, ...],
        own_range: tuple[str, ...] | None,
        traits: Mapping[str, Any],
    ):
        self.kind, self.builder, self.traits = kind, builder, dict(traits)
        self.name = builder.__name__.lstrip("_")
        self._options = static, own_range
        self.forms: dict[Any, Any] = {}  # what its functions take, by their code
        code = getattr(builder, "__code__", None)
        named = code and code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        if named is None or not {*static} <= {*named}:
            self.binding = Binding(builder, static)  # raises now if there is no such argument

    # At the first use, not when the factory is made: `import optax_lite` makes 180 factories.
    binding = functools.cached_property(lambda self: Binding(self.builder, self._options[0]))

    @functools.cached_property
    def checked(self) -> frozenset[str]:
        """Return the names of the arguments whose ranges all methods share."""
        own_range = self._options[1]
        return shared_names([] if own_range is None else self.binding.names.keys() - set(own_range))

    def as_arguments(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the arguments of a call as data, and the static ones among them."""
        arguments, choices = {}, {}
        for p in self.binding.parameters:
            value = given[p.name]
            if p.many == "*":
                arguments |= {str(i): as_data(f"argument {i}", v) for i, v in enumerate(value)}
            elif p.many == "**":
                arguments |= {k: as_data(k, v) for k, v in value.items()}
            elif (p.is_static and not is_key(value)) or (p.takes_words and isinstance(value, str)):
                check_untraced(p.name, value)
                if p.is_flag and not isinstance(value, (bool, np.bool_)):
                    raise ArgumentError(f"{p.name} must be True or False, got {value!r}")
                arguments[p.name] = choices[p.name] = value
            else:
                data = arguments[p.name] = as_data(p.name, p.adapt(value))
                if value is None and p.may_be_none:
                    continue
                if value is None or (p.is_number and not is_scalar(data)):
                    raise ArgumentError(f"{p.name} must be a number or a schedule, got {value!r}")
        return arguments, choices

    def make(self, arguments: dict[str, Any], choices: dict[str, Any]) -> Config:
        """Return the call of these arguments, checked by its builder."""
        static = Static(self.factory, tuple(arguments), choices)
        made = self.kind._make(static, tuple([arguments[name] for name in static.names]))
        built = self._run(made, used=_running.use is not None)
        if not self.kind._is_built(built):
            raise TypeError(
                f"{self.name}: the builder must return {self.kind._builds}, got {built!r}"
            )
        return (
            self.kind._make(static, made._values, (_running.use, built)) if _running.use else made
        )

    @property
    def words(self) -> tuple[str, ...]:
        """Describe its calls in the words of `optax_lite.errors.composition.WORDS`."""
        return self.traits.get("is_a", ())

    def check(self, made: Config) -> Any:
        """Run the builder for the checks in it, after those of names and of orders, and return what
        it returns.
        """
        with _running_for(None):
            return self._run(made, used=False)

    def build(self, made: Config) -> Any:
        """Run the builder for functions that will be used: its numbers are weak scalars now."""
        # Kept within one use only: later it may hold tracers of a trace that is over (decision 1).
        use, built = made._built_in_use or (None, None)
        if use is not None and use is _running.use:
            return built
        with building_for_use():
            return self._run(made, used=True)

    def _run(self, made: Config, *, used: bool) -> Any:
        arguments = made._as_seen(in_use=used)
        args, kwargs = self.binding.split(arguments)
        try:
            # Also in use: a builder may choose by what another refuses.
            if self.checked:
                given = made.arguments
                check_shared({name: given[name] for name in self.checked})
            check_inside(made)
            built = self.builder(*args, **kwargs)
            if not used:
                self.traits.get("check", lambda _: None)(made)
            return built
        except ArgumentError as error:
            (name, value), own = error.about, own_name(*error.about, arguments)
            raise ArgumentError(
                error.problem.replace(name, own, 1), self.name, (own, value)
            ) from None
        except jax.errors.ConcretizationTypeError as error:
            error.add_note(
                f"{self.name}: a hyperparameter may be traced here: use jnp.where, or list the "
                "argument in static="
            )
            raise
        except (AttributeError, TypeError) as error:
            error.add_note(
                f"{self.name} was called with "
                f"{', '.join(f'{k}={show(v)}' for k, v in arguments.items())}"
            )
            raise

    as_data = staticmethod(as_data)  # for a call that is edited


def make_factory(
    kind: type[Config],
    builder: Callable[..., Any],
    static: tuple[str, ...] = (),
    own_range: tuple[str, ...] | None = None,
    traits: Mapping[str, Any] = types.MappingProxyType({}),
) -> Any:
    """Make a factory: a function like its builder, which returns the call as data."""
    if not callable(builder):
        raise TypeError(f"{kind._decorator}: the builder must be a function, got {builder!r}")
    definition = Definition(kind, builder, static, own_range, traits)
    factory = definition.factory = _function_of(definition)
    given = inspect.signature(builder)  # tools that list optimizers look at what is returned
    returned = kind if given.return_annotation is given.empty else given.return_annotation
    factory.__signature__ = given.replace(return_annotation=returned)
    factory.definition, factory.traits = definition, definition.traits
    return factory


# Cloudpickle takes the code of this function along, so all else is in the definition (decision 3).
def _function_of(definition: Definition) -> Any:
    @functools.wraps(definition.builder)
    def factory(*args, **kwargs):
        try:
            if problem := definition.binding.unknown(kwargs):
                raise ArgumentError(problem)
            arguments, choices = definition.as_arguments(definition.binding.bound(args, kwargs))
        except ArgumentError as error:
            raise ArgumentError(error.problem, definition.name) from None
        return definition.make(arguments, choices)

    return factory
