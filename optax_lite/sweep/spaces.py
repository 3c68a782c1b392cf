"""Spaces of hyperparameters, and populations taken from them: all of a grid, or points that cover
it evenly.
"""

import inspect
import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from optax_lite._numbers import is_list, is_real, is_whole
from optax_lite._optional import optional_import
from optax_lite.core.config import Config
from optax_lite.core.factory import is_factory
from optax_lite.core.types import PyTree
from optax_lite.core.validate import (
    ArgumentError,
    check_count,
    check_positive,
    closest,
    unknown_argument,
)
from optax_lite.errors.calls import call_problem, parameters_of, usage
from optax_lite.errors.suggestions import plain
from optax_lite.sweep.population import Population, show, show_settings

_EDGE = 0.05  # of a range, on each side, counts as its edge
_MOST = 1_000_000  # members of a grid
_METHODS = ("sobol", "halton", "lhs", "random")


@dataclass(frozen=True)
class Range:
    """An axis without gaps, linear or logarithmic, or of whole numbers below `high`."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def at(self, u: float) -> float | int:
        """Return the value at a share u in [0, 1) of the range."""
        if self.log:
            return float(min(self.low * (self.high / self.low) ** u, self.high))
        value = self.low + (self.high - self.low) * u
        return math.floor(min(value, self.high - 1)) if self.whole else float(value)

    def share(self, value: float) -> float:
        """Return the share of the range at which a value lies."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (
            self.high - 1 - self.low if self.whole else self.high - self.low
        )


@dataclass(frozen=True)
class Choice:
    """An axis of options."""

    options: tuple[Any, ...]

    def at(self, u: float) -> Any:
        """Return the option at a share u in [0, 1) of the list."""
        return self.options[int(u * len(self.options))]


@usage("uniform(0.8, 0.99)")
def uniform(low: float, high: float) -> Range:
    """Return an axis of real numbers from low to high, uniformly distributed.

    Args:
        low: The least number.
        high: The largest number, larger than `low`.
    """
    return Range(*_limits(low, high))


@usage("loguniform(1e-5, 1e-1)")
def loguniform(low: float, high: float) -> Range:
    """Return an axis of real numbers from low to high, uniform in their logarithm.

    Args:
        low: The least number, above 0.
        high: The largest number, larger than `low`.
    """
    low, high = _limits(low, high)
    check_positive(low=low)
    return Range(low, high, log=True)


@usage("randint(1, 9)")
def randint(low: int, high: int) -> Range:
    """Return an axis of integers from low to high - 1: as in NumPy, randint(1, 9) is one of 1 to 8.

    Args:
        low: The least integer.
        high: The integer after the largest, larger than `low`.
    """
    return Range(*_limits(low, high, "an integer", is_whole), whole=True)


@usage("choice(['adam', 'lion'])")
def choice(options: Iterable[Any]) -> Choice:
    """Return an axis of options.

    Args:
        options: A list or array of numbers, words, True and False, whatever the factory takes.
    """
    return Choice(_values("options", options))


def _limits(
    low: Any, high: Any, kind: str = "a finite number", is_kind: Callable[[Any], bool] = is_real
) -> tuple[float, float]:
    for name, value in (("low", low), ("high", high)):
        if not is_kind(value) or not np.isfinite(value):
            raise ArgumentError(f"{name} must be {kind}, got {value!r}")
    if not low < high:
        raise ArgumentError(f"low must be below high, got {low!r} and {high!r}")
    return float(low), float(high)


@usage("population = sweep.grid(adamw, learning_rate=[1e-4, 1e-3], weight_decay=[0, 0.1])")
def grid(factory: Callable[..., PyTree], /, **axes: Iterable[Any]) -> Population:
    """Make a member for every combination of the values of some axes, the last axis fastest.

        sweep.grid(adamw, learning_rate=np.geomspace(1e-5, 1e-1, 24), weight_decay=[0, 0.1])
        sweep.grid(lambda lr, h: {"tx": adam(lr), "entropy": h}, lr=[1e-3, 1e-2], h=[0, 0.01])

    Members that differ in more than numbers, such as a flag or the method, have different
    structures, which are compiled separately but reported together.

    Args:
        factory: Function of the axes that returns an optimizer, or any pytree whose numbers may
            differ.
        **axes: The values of each axis by name, a list or an array.

    Returns:
        A `Population` for `run`.
    """
    _check_factory(factory, axes, "grid")
    values = {name: _values(name, axis) for name, axis in axes.items()}
    if (n := math.prod(map(len, values.values()))) > _MOST:
        problem = (
            f"{n:,} members, {' x '.join(str(len(x)) for x in values.values())}; write "
            "sample(factory, n, ...)"
        )
        raise ArgumentError(f"{problem} for n points of this space")
    settings = [
        dict(zip(values, point, strict=True)) for point in itertools.product(*values.values())
    ]
    return _made(factory, settings, values, "grid")


@usage("population = sweep.sample(adamw, 64, learning_rate=sweep.loguniform(1e-5, 1e-1))")
def sample(
    factory: Callable[..., PyTree], n: int, /, *, method: str = "sobol", seed: int = 0, **axes: Any
) -> Population:
    """Make members at n points that cover a space evenly.

        rates, decays = sweep.loguniform(1e-5, 1e-1), sweep.uniform(0.8, 0.99)
        sweep.sample(adamw, 64, learning_rate=rates, b1=decays)

    The methods are those of `scipy.stats.qmc`: "sobol" and "halton" (scrambled), "lhs" (a Latin
    hypercube), and "random" for independent points. Where n is a power of 2, Sobol's points and
    "lhs" have one value in each nth of every axis; other n cover it less evenly with "sobol". For
    one seed, a larger n begins with the points of a smaller n, except with "lhs".

    Args:
        factory: Function of the axes that returns an optimizer, or any pytree whose numbers may
            differ.
        n: Number of members, an integer of at least 1.
        method: "sobol", "halton", "lhs" or "random".
        seed: Seed of the points, an integer of at least 0.
        **axes: The axes by name: `uniform`, `loguniform`, `randint`, `choice`, or a list to choose
            from.

    Returns:
        A `Population` for `run`.
    """
    check_count(n=n)
    advice = "; if it is an axis, rename that argument of the factory"
    if not isinstance(method, str) or method not in _METHODS:
        problem = f"method must be one of {', '.join(_METHODS)}, got {method!r:.60}"
        raise ArgumentError(problem + advice * (not isinstance(method, str)))
    if not is_whole(seed) or seed < 0:
        raise ArgumentError(f"seed must be an integer of at least 0, got {seed!r:.60}{advice}")
    _check_factory(factory, axes, "sample")
    for name, axis in axes.items():
        if isinstance(axis, tuple) and len(axis) == 2 and all(map(is_real, axis)):
            problem = (
                f"{name} may be a range or two values, got {axis!r}; write uniform{axis!r}, "
                f"loguniform{axis!r} or"
            )
            raise ArgumentError(f"{problem} {list(axis)!r}")
    space = {
        name: axis if isinstance(axis, (Range, Choice)) else Choice(_values(name, axis))
        for name, axis in axes.items()
    }
    points = _points(len(space), n, method, seed)
    settings = [
        {name: axis.at(u) for (name, axis), u in zip(space.items(), point, strict=True)}
        for point in points
    ]
    return _made(factory, settings, space, "sample")


def _points(dimensions: int, n: int, method: str, seed: int) -> np.ndarray:
    if method == "random":
        return np.random.default_rng(seed).random((n, dimensions))
    qmc = optional_import("scipy.stats", f"sweep.sample(..., method={method!r})").qmc
    rng = np.random.default_rng(seed)
    if method == "sobol":  # always a power of 2, whose first n are taken: it warns of other numbers
        points = qmc.Sobol(dimensions, rng=rng).random_base2(max(0, math.ceil(math.log2(n))))[:n]
    else:
        points = {"halton": qmc.Halton, "lhs": qmc.LatinHypercube}[method](
            dimensions, rng=rng
        ).random(n)
    return np.minimum(points, np.nextafter(1.0, 0.0))


def _check_factory(factory: Any, axes: Mapping[str, Any], where: str) -> None:
    """Raise unless the factory can be called with these names."""
    if isinstance(factory, Config):  # a schedule can be called
        name = factory.definition.name
        raise ArgumentError(
            f"the first argument must be a factory, got {name}(...); write {where}({name}, ...)"
        )
    if not callable(factory):
        raise ArgumentError(
            "the first argument must be a function of the axes that returns a member, got "
            f"{factory!r:.60}"
        )
    if not axes:
        raise ArgumentError(f"no axis is given; write {where}(..., learning_rate=[1e-3, 1e-2])")
    name = getattr(getattr(factory, "func", factory), "__name__", "the factory")
    parameters = parameters_of(factory)
    kinds = [p.kind for p in parameters.values()]
    known = [
        n for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    unknown = [axis for axis in axes if axis not in known]
    if unknown and kinds and inspect.Parameter.VAR_KEYWORD not in kinds:
        # hints are about the names that arguments have here
        hint = (
            unknown_argument(unknown[0], known)
            if is_factory(factory)
            else f"no argument {unknown[0]!r}; it has {closest(unknown[0], known)}"
        )
        raise ArgumentError(f"{name}: {hint}")
    if problem := call_problem(factory, named=axes):
        raise ArgumentError(
            f"{name}: {problem}; its signature is {plain(inspect.signature(factory))}"
        )


def _values(name: str, axis: Any) -> tuple[Any, ...]:
    """Return the values of an axis, as Python's numbers where they are numbers."""
    is_array = hasattr(axis, "__array__")  # pandas has others than numpy and JAX
    if np.ndim(axis) != 1 if is_array else not is_list(axis):
        raise ArgumentError(_no_axis(name, axis, is_array))
    values = tuple(map(_plain, np.asarray(axis) if is_array else axis))
    if not values:
        raise ArgumentError(f"{name} has no values")
    if any(isinstance(x, float) and math.isnan(x) for x in values):
        raise ArgumentError(f"{name} has a value that is NaN, got {axis!r:.60}")
    return values


def _no_axis(name: str, axis: Any, is_array: bool) -> str:
    """Explain why a value is not an axis."""
    if any(axis is f for f in (uniform, loguniform, randint, choice)):
        return f"{name} is the function {axis.__name__} itself; call it: {axis.__name__}(...)"
    got = f"an array of shape {np.shape(axis)}" if is_array and np.ndim(axis) else f"{axis!r:.60}"
    problem = f"{name} must be a list or a one-dimensional array, got {got}"
    if isinstance(axis, (Range, Choice)):
        return f"{problem}; write sample(factory, n, {name}=...), or values of your own"
    several = (
        np.ndim(axis)
        if is_array
        else isinstance(axis, Iterable) and not isinstance(axis, (str, bytes))
    )
    return f"{problem}; write list(...)" if several else f"{problem}; write {name}=[{axis!r:.60}]"


def _plain(x: Any) -> Any:
    return x.item() if isinstance(x, (np.generic, np.ndarray, jax.Array)) and np.ndim(x) == 0 else x


def _made(
    factory: Callable[..., PyTree],
    settings: list[dict[str, Any]],
    space: Mapping[str, Any],
    where: str,
) -> Population:
    made = []
    for i, setting in enumerate(settings):
        try:
            made.append((setting, factory(**setting)))
        except (ValueError, TypeError) as error:
            raise ArgumentError(f"member {i} ({show_settings(setting)}): {error}") from error
        except Exception as error:
            error.add_note(f"{where}: member {i} ({show_settings(setting)})")
            raise
    return Population.of(made, space, where)


def edges(space: Mapping[str, Any], settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Report the values of some settings that are at the edge of the space they were taken from."""
    sides = {name: _side(space.get(name), value) for name, value in settings.items()}
    return tuple(
        f"{name} = {show(settings[name])} is at the {side} end of its axis; widen it"
        for name, side in sides.items()
        if side and not (side == "lowest" and settings[name] == 0)
    )


def _side(axis: Any, value: Any) -> str | None:
    """Return the end of its axis at which a value is: in the last twentieth of a range, or the last
    of at least three numbers.
    """
    if isinstance(axis, Range):
        if axis.whole and axis.high - axis.low < 3:
            return None
        share = axis.share(value)
        return "lowest" if share <= _EDGE else "highest" if share >= 1 - _EDGE else None
    options = axis.options if isinstance(axis, Choice) else axis or ()
    if not all(map(is_real, options)) or len(set(options)) < 3:
        return None
    return "lowest" if value == min(options) else "highest" if value == max(options) else None
