"""A factory: `@transform` and `@schedule` make it from a builder, and calling it returns the call
as data.

A call is checked once, when it is made: its arguments are bound, converted and checked, and the
builder runs for the checks in it. Whenever functions are needed, the builder runs again, on numbers
that may now be traced. Other calls that it makes during this belong to the same use, so they keep
what their builders return for as long as the use lasts.
"""

import contextlib
import functools
import inspect
import sys
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
from optax_lite.core.validate import (
    ArgumentError,
    check_held,
    check_shared,
    shared_names,
    unknown_argument,
)
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
    return isinstance(inspect.unwrap(value, stop=lambda f: isinstance(f, Factory)), Factory)


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


class Factory:
    """A builder whose calls are data of one kind, with what is declared of them (`traits`).

    In place of the builder, `inspect.signature`, `help` and a class that holds it see the function.
    """

    __name__: str
    __qualname__: str

    def __init__(
        self,
        kind: type[Config],
        builder: Callable[..., Any],
        static: tuple[str, ...] = (),
        own_range: tuple[str, ...] | None = None,
        traits: Mapping[str, Any] = types.MappingProxyType({}),
    ):
        if not callable(builder):
            raise TypeError(f"{kind._decorator}: the builder must be a function, got {builder!r}")
        functools.update_wrapper(self, builder)
        self.kind, self.builder, self.traits = kind, _builder_copy(self, builder), dict(traits)
        self.name = builder.__name__.lstrip("_")
        self.binding = Binding(builder, static)
        given = self.binding.signature  # tools that list optimizers look at what is returned
        returned = kind if given.return_annotation is given.empty else given.return_annotation
        self.signature = self.__signature__ = given.replace(return_annotation=returned)
        self._options = static, own_range
        self.forms: dict[Any, Any] = {}  # what its functions take, by their code
        self.checked = shared_names(
            [] if own_range is None else self.binding.names.keys() - set(own_range)
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            for name in kwargs:
                if name not in self.binding.names and not self.binding.takes_any_name:
                    raise ArgumentError(unknown_argument(name, self.binding.names))
            given, arguments, choices = self.binding.bound(args, kwargs), {}, {}
            for p in self.binding.parameters:
                value = given[p.name]
                if p.many == "*":
                    arguments |= {str(i): as_data(f"argument {i}", v) for i, v in enumerate(value)}
                elif p.many == "**":
                    arguments |= {k: as_data(k, v) for k, v in value.items()}
                elif (p.is_static and not is_key(value)) or (
                    p.takes_words and isinstance(value, str)
                ):
                    if p.is_flag and not isinstance(value, (bool, np.bool_)):
                        raise ArgumentError(f"{p.name} must be True or False, got {value!r}")
                    arguments[p.name] = choices[p.name] = value
                else:
                    data = arguments[p.name] = as_data(p.name, p.adapt(value))
                    if value is None and p.may_be_none:
                        continue
                    if value is None or (p.is_number and not is_scalar(data)):
                        raise ArgumentError(
                            f"{p.name} must be a number or a schedule, got {value!r}"
                        )
        except ArgumentError as error:
            raise ArgumentError(error.problem, self.name) from None
        static = Static(self, tuple(arguments), choices)
        made = self.kind._make(static, tuple([arguments[name] for name in static.names]))
        built = self.build(made) if _running.use else self.check(made)
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

    # --- what a function does

    # Without it `help` and a class that holds a factory would see an object (decision 3).
    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __repr__(self) -> str:
        return f"<function {self.__qualname__}>"

    def __deepcopy__(self, memo: Any = None) -> "Factory":
        return self

    __copy__ = __deepcopy__

    def __reduce__(self):
        """Pickle by name where another process finds it; a factory of a notebook by its builder,
        which Cloudpickle takes along.
        """
        if self.__module__ != "__main__" and _named(self.__module__, self.__qualname__) is self:
            return self.__qualname__
        return _remade, (type(self), self.kind, self.builder, *self._options, self.traits)


def _builder_copy(factory: Factory, builder: Any) -> Any:
    """Return the builder under the name by which pickle finds it now; its own name has become the
    factory's.
    """
    if not isinstance(builder, types.FunctionType):
        return builder
    parts = (
        builder.__code__,
        builder.__globals__,
        builder.__name__,
        builder.__defaults__,
        builder.__closure__,
    )
    same: Any = types.FunctionType(*parts)
    functools.update_wrapper(same, builder)
    same.__kwdefaults__, same.__qualname__ = (
        builder.__kwdefaults__,
        f"{factory.__qualname__}.builder",
    )
    return same


def _named(module: str, name: str) -> Any:
    """Return the object of a name in a module that is imported, if any."""
    return functools.reduce(
        lambda x, part: getattr(x, part, None), name.split("."), sys.modules.get(module)
    )


def _remade(
    cls: type[Factory], kind: type[Config], builder: Callable[..., Any], *options: Any
) -> Factory:
    """Return the factory of a builder: the one in this process, or a new one."""
    known = _named(builder.__module__, builder.__qualname__.removesuffix(".builder"))
    return (
        known
        if isinstance(known, cls) and known.builder is builder
        else cls(kind, builder, *options)
    )
