"""Bind the arguments of a factory to its signature by name, and pass them to its builder."""

import inspect
from collections.abc import Callable, Iterable
from types import UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin

from optax_lite.core.scalars import as_limit, as_rows
from optax_lite.core.types import Limit, ScalarOrSchedule
from optax_lite.core.validate import unknown_argument
from optax_lite.errors.suggestions import plain


class Parameter(NamedTuple):
    """One argument, and the values that its name, default and annotation allow."""

    name: str
    many: str  # "*" or "**" where it takes any number of arguments
    by_place: bool
    is_static: bool  # no number: named as such, or by a default that is a bool or a word
    is_flag: bool
    takes_words: bool
    adapt: Callable[[Any], Any]  # to the one form that it has as data
    may_be_none: bool
    is_number: bool


class Binding:
    """Bind arguments as `inspect.Signature.bind` does, in a tenth of its time without `*args` and
    `**kwargs`.
    """

    def __init__(self, builder: Callable[..., Any], static: tuple[str, ...]):
        self.name, self.signature = builder.__name__, inspect.signature(builder)
        given = self.signature.parameters.values()
        self.parameters = [_parameter(p, static) for p in given]
        self.names = dict.fromkeys(p.name for p in self.parameters if not p.many)
        if unknown := sorted(set(static) - self.names.keys()):
            raise ValueError(
                f"{self.name}: static= names {', '.join(unknown)}, which the function does not take"
            )
        kinds = {p.kind for p in given}
        self.by_name = kinds <= {
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            inspect.Parameter.KEYWORD_ONLY,
        }
        self.takes_any_name = inspect.Parameter.VAR_KEYWORD in kinds
        self.places = [p.name for p in self.parameters if p.by_place]
        self.defaults = {p.name: p.default for p in given if p.default is not p.empty}

    def unknown(self, given: Iterable[str]) -> str:
        """Explain the first of these names that the builder does not take; nothing if it takes all
        of them.
        """
        for name in given:
            if name not in self.names and not self.takes_any_name:
                return unknown_argument(name, self.names)
        return ""

    def bound(self, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments by name, defaults included; missing ones and extra ones raise
        `bind`'s error, with the signature.
        """
        if (
            self.by_name
            and len(args) <= len(self.places)
            and kwargs.keys().isdisjoint(self.places[: len(args)])
        ):
            given = self.defaults | dict(zip(self.places, args, strict=False)) | kwargs
            if len(given) == len(self.parameters):
                return given
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(
                f"{self.name}: {error}; its signature is {plain(self.signature)}"
            ) from None
        bound.apply_defaults()
        return bound.arguments

    def adapted(self, name: str, value: Any) -> Any:
        """Another value for an argument, in the one form that it has as data."""
        return next((p.adapt(value) for p in self.parameters if p.name == name), value)

    def split(self, given: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Split arguments by name into those the builder takes by place, of `*args` called "0",
        "1", ..., and by name.
        """
        if self.by_name:
            return [], given
        args, kwargs = [], dict(given)
        for p in self.parameters:
            if p.many == "*":
                args += [kwargs.pop(name) for name in given if name.isdigit()]
            elif p.by_place:
                args.append(kwargs.pop(p.name))
        return args, kwargs


_NUMERIC = {*get_args(ScalarOrSchedule), int, type(None)}


def _parameter(p: inspect.Parameter, static: tuple[str, ...]) -> Parameter:
    kinds = p.annotation, *get_args(p.annotation)
    return Parameter(
        name=p.name,
        many={p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, ""),
        by_place=p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD),
        is_static=p.name in static or isinstance(p.default, (bool, str)),
        is_flag=p.name not in static and isinstance(p.default, bool),
        takes_words=str in kinds[1:],
        adapt=_adapter(kinds),
        may_be_none=p.default is None or type(None) in kinds[1:],
        is_number=isinstance(p.default, (int, float)) or _is_numeric(kinds),
    )


def _is_numeric(kinds: tuple[Any, ...]) -> bool:
    """Tell whether an annotation allows numbers, and besides only schedules and None."""
    is_either = kinds[0] is float or get_origin(kinds[0]) in (Union, UnionType)
    numbers = is_either and float in kinds and {*kinds[1:]} <= _NUMERIC
    return numbers or any(kind is Limit for kind in kinds)


def _adapter(kinds: tuple[Any, ...]) -> Callable[[Any], Any]:
    if any(kind is Limit for kind in kinds):  # `in` would compare unions
        return as_limit
    if any((get_origin(kind) or kind) is tuple for kind in kinds[1:]):
        return as_rows
    return lambda value: value
