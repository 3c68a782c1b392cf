"""The arguments of a factory: bound to its signature by name, and handed on to its builder."""

import inspect
from collections.abc import Callable
from typing import Any, get_args

from optax_lite.aliases import Limit
from optax_lite.habits import plain


class Binding:
    """Bind arguments as `inspect.Signature.bind` does, in a tenth of its time without `*args` and `**kwargs`."""

    def __init__(self, builder: Callable[..., Any]):
        self.name, self.signature = builder.__name__, inspect.signature(builder)
        self.parameters = list(self.signature.parameters.values())
        kinds = {p.kind for p in self.parameters}
        self.by_name = kinds <= {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
        self.takes_any_name = inspect.Parameter.VAR_KEYWORD in kinds
        self.limits = {p.name for p in self.parameters if Limit in (p.annotation, *get_args(p.annotation))}
        self.places = [p.name for p in self.parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        self.defaults = {p.name: p.default for p in self.parameters if p.default is not p.empty}

    def bound(self, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments by name, defaults too; what is missing or too much is `bind`'s error, with the signature."""
        if self.by_name and len(args) <= len(self.places) and kwargs.keys().isdisjoint(self.places[: len(args)]):
            given = self.defaults | dict(zip(self.places, args, strict=False)) | kwargs
            if len(given) == len(self.parameters):
                return given
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}: {error}; its signature is {plain(self.signature)}") from None
        bound.apply_defaults()
        return bound.arguments

    def split(self, given: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Arguments by name as those that the builder takes by place, of `*args` called "0", "1", ..., and by name."""
        if self.by_name:
            return [], given
        args, kwargs = [], dict(given)
        for p in self.parameters:
            if p.kind is p.VAR_POSITIONAL:
                args += [kwargs.pop(name) for name in given if name.isdigit()]
            elif p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD):
                args.append(kwargs.pop(p.name))
        return args, kwargs
