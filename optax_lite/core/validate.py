"""Checks of arguments: concrete values are checked when the optimizer is built; traced ones cannot
be.

A name that many methods share has one range, and is checked automatically. Each check takes its
arguments by keyword, so that the message has their names, and skips schedules, None and traced
values. The message begins with the factory that the user called: "adam: b1 must be in [0, 1), got
1.5".
"""

from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp

from optax_lite.core.scalars import lost, rounded_to_one
from optax_lite.errors.suggestions import argument_hint, nearest

# What arguments of these names may be in every method; others have a check in their builder.
_DECAYS = {"b1", "b2", "b3"}  # in [0, 1)
_NONNEGATIVE = {"eps", "eps_root"}


class ArgumentError(ValueError, TypeError):
    """A bad argument of a factory; the outermost factory the user called puts its name in front.

    Both a ValueError, as optimizer libraries raise for a bad number, and a TypeError, as Python
    raises for a keyword that a function does not have.
    """

    def __init__(self, problem: str, factory: str = "", about: tuple[str, Any] = ("", None)):
        super().__init__(f"{factory}: {problem}" if factory else problem)
        self.problem, self.about = problem, about  # the name and the value of the argument

    def named(self, function: str) -> "ArgumentError":
        """Return the error with this name in front, unless it has one already."""
        return ArgumentError(self.problem, function) if str(self) == self.problem else self


def closest(name: str, known: Iterable[str]) -> str:
    """Return the known names or paths nearest to `name` by their last part, or all of them if none
    is near.
    """
    known = list(known)
    return ", ".join(nearest(name, known) or known) or "nothing"


def unknown_argument(name: str, known: Iterable[str]) -> str:
    """Explain a keyword that a factory does not have: what it is called here, or the names nearest
    to it.
    """
    return f"no argument {name!r}; {argument_hint(name, list(known))}"


def check_each(values: dict[str, Any], allowed: str, test) -> None:
    """Raise unless every concrete value passes the test; `allowed` says which do."""
    for name, value in values.items():
        if isinstance(value, (int, float)) and not test(value):
            raise ArgumentError(f"{name} must be {allowed}, got {value!r}", about=(name, value))


def check_held(**values: Any) -> None:
    """Raise if JAX's default float makes a concrete number infinite or 0; infinity itself may be
    meant.
    """
    for name, value in values.items():
        if found := lost(value):
            raise ArgumentError(f"{name} must fit in JAX's default float, got {found}")


def check_below_one(**values: Any) -> None:
    """Raise if JAX's default float rounds a concrete decay below 1 up to 1."""
    for name, value in values.items():
        # A decay of 1 is an average that never forgets (decision 26).
        if found := rounded_to_one(value):
            raise ArgumentError(f"{name} must be below 1, got {found}")


def check_shared(values: dict[str, Any]) -> None:
    """Check every argument whose name implies a range, wherever it is: decays of averages, eps,
    dtypes.
    """
    # These names occur in most methods, each of which would need its own check (decision 25).
    check_unit_interval(**{name: x for name, x in values.items() if name in _DECAYS})
    check_nonnegative(**{name: x for name, x in values.items() if name in _NONNEGATIVE})
    check_dtype(**{name: x for name, x in values.items() if name.endswith("_dtype")})


def shared_names(names: Iterable[str]) -> frozenset[str]:
    """Return those of the names that `check_shared` checks."""
    return frozenset(
        name for name in names if name in _DECAYS | _NONNEGATIVE or name.endswith("_dtype")
    )


def check_number(**values: Any) -> None:
    """Raise unless every value can be multiplied: a number, traced or not, or a schedule."""
    for name, value in values.items():
        if not hasattr(value, "__mul__") or isinstance(value, (tuple, list, str)):
            raise ArgumentError(
                f"{name} must be a number or a schedule, got {value!r}", about=(name, value)
            )


def check_unit_interval(**values: Any) -> None:
    """Raise unless every concrete value lies in [0, 1), also after rounding."""
    check_each(values, "in [0, 1)", lambda x: 0 <= x < 1)
    check_below_one(**values)


def check_closed_unit_interval(**values: Any) -> None:
    """Raise unless every concrete value lies in [0, 1]."""
    check_each(values, "in [0, 1]", lambda x: 0 <= x <= 1)


def check_nonnegative(**values: Any) -> None:
    """Raise unless every concrete value is at least 0."""
    check_each(values, "at least 0", lambda x: x >= 0)


def check_positive(**values: Any) -> None:
    """Raise unless every concrete value is above 0."""
    check_each(values, "above 0", lambda x: x > 0)


def check_count(least: int = 1, /, **values: Any) -> None:
    """Raise unless every argument is an int of at least 1, or another least one: a number of steps,
    a size.
    """
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ArgumentError(
                f"{name} must be an integer of at least {least}, got {value!r}", about=(name, value)
            )


def check_function(**values: Any) -> None:
    """Raise unless every value can be called."""
    for name, value in values.items():
        if not callable(value):
            raise ArgumentError(f"{name} must be a function, got {value!r}", about=(name, value))


def check_dtype(**values: Any) -> None:
    """Raise unless every value is None or names a floating or complex dtype."""
    for name, value in values.items():
        try:
            valid = value is None or jnp.issubdtype(jnp.dtype(value), jnp.inexact)
        except TypeError:
            valid = False
        if not valid:
            raise ArgumentError(
                f"{name} must be a floating dtype or None, got {value!r}", about=(name, value)
            )
