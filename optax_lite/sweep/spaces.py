"""Spaces of hyperparameters, and populations taken from them: all of a grid, or points that cover a space evenly."""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from optax_lite.aliases import PyTree
from optax_lite.check import ArgumentError, check_count
from optax_lite.loop.extras import extra
from optax_lite.mistakes import told_by, written
from optax_lite.sweep.population import Population, show_settings

_EDGE = 0.05  # of a range, on each side, counts as its edge
_METHODS = ("sobol", "halton", "lhs", "random")


@dataclass(frozen=True)
class Range:
    """An axis without gaps, on a logarithmic scale or not, or of whole numbers below `high`."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def at(self, u: float) -> float | int:
        """The value at a share u in [0, 1) of the way."""
        if self.log:
            return float(self.low * (self.high / self.low) ** u)
        value = self.low + (self.high - self.low) * u
        return math.floor(value) if self.whole else float(value)

    def share(self, value: float) -> float:
        """How much of the way a value lies at."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - 1 - self.low if self.whole else self.high - self.low)


@dataclass(frozen=True)
class Choice:
    """An axis of options."""

    options: tuple[Any, ...]

    def at(self, u: float) -> Any:
        """The option at a share u in [0, 1) of the way."""
        return self.options[int(u * len(self.options))]


@written("uniform(0.8, 0.99)")
def uniform(low: float, high: float) -> Range:
    """Real numbers from low to high, all equally likely."""
    return Range(*_limits("uniform", low, high))


@written("loguniform(1e-5, 1e-1)")
def loguniform(low: float, high: float) -> Range:
    """Real numbers from low to high, their logarithms equally likely."""
    low, high = _limits("loguniform", low, high)
    if low <= 0:
        raise ArgumentError(f"low must be above 0, got {low!r}", "loguniform")
    return Range(low, high, log=True)


@written("randint(1, 9)")
def randint(low: int, high: int) -> Range:
    """Integers of at least low and below high, as in numpy."""
    for name, value in (("low", low), ("high", high)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise ArgumentError(f"{name} must be an integer, got {value!r}", "randint")
    return Range(*_limits("randint", low, high), whole=True)


@written("choice(['adam', 'lion'])")
def choice(options: Iterable[Any]) -> Choice:
    """One of some options: numbers, words, True and False, whatever the factory takes."""
    return Choice(_values("choice", "options", options))


def _limits(where: str, low: Any, high: Any) -> tuple[float, float]:
    for name, value in (("low", low), ("high", high)):
        if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not np.isfinite(value):
            raise ArgumentError(f"{name} must be a finite number, got {value!r}", where)
    if not low < high:
        raise ArgumentError(f"low must be below high, got {low!r} and {high!r}", where)
    return float(low), float(high)


@written("population = sweep.grid(adamw, learning_rate=[1e-4, 1e-3], weight_decay=[0, 0.1])")
def grid(factory: Callable[..., PyTree], /, **axes: Iterable[Any]) -> Population:
    """Every combination of the values of some axes, the last axis fastest: `factory(**setting)` for each.

        sweep.grid(adamw, learning_rate=np.geomspace(1e-5, 1e-1, 24), weight_decay=[0, 0.1])
        sweep.grid(lambda lr, entropy: {"tx": adam(lr), "entropy": entropy}, lr=[1e-3, 1e-2], entropy=[0, 0.01])

    The factory returns an optimizer, or any pytree whose numbers may differ. Members that differ in more, in a flag or
    in the method, are several structures, each compiled by itself, under one report.
    """
    _check_factory(factory, axes, "grid")
    for name, axis in axes.items():
        if isinstance(axis, (Range, Choice)):
            raise ArgumentError(f"{name} is a distribution; write sample(factory, n, {name}=...), or a list", "grid")
    values = {name: _values("grid", name, axis) for name, axis in axes.items()}
    settings = [dict(zip(values, point, strict=True)) for point in itertools.product(*values.values())]
    return _made(factory, settings, values, "grid")


@written("population = sweep.sample(adamw, 64, learning_rate=sweep.loguniform(1e-5, 1e-1))")
def sample(
    factory: Callable[..., PyTree], n: int, /, *, method: str = "sobol", seed: int = 0, **axes: Any
) -> Population:
    """n points of a space that cover it evenly: `factory(**setting)` for each.

        sweep.sample(adamw, 64, learning_rate=sweep.loguniform(1e-5, 1e-1), b1=sweep.uniform(0.8, 0.99))

    An axis is `uniform`, `loguniform`, `randint`, `choice`, or a list to choose from. The methods are those of
    `scipy.stats.qmc`: "sobol" and "halton" (scrambled), "lhs" (a Latin hypercube), and "random" for independent points.
    Of Sobol's points n is best a power of 2. Factories are as in `grid`.
    """
    with told_by("sample"):
        check_count(n=n)
    if method not in _METHODS:
        raise ArgumentError(f"method must be one of {', '.join(_METHODS)}, got {method!r}", "sample")
    _check_factory(factory, axes, "sample")
    space = {
        name: axis if isinstance(axis, (Range, Choice)) else Choice(_values("sample", name, axis))
        for name, axis in axes.items()
    }
    points = _points(len(space), n, method, seed)
    settings = [{name: axis.at(u) for (name, axis), u in zip(space.items(), point, strict=True)} for point in points]
    return _made(factory, settings, space, "sample")


def _points(dimensions: int, n: int, method: str, seed: int) -> np.ndarray:
    if method == "random":
        return np.random.default_rng(seed).random((n, dimensions))
    qmc = extra("scipy.stats", f"sweep.sample(..., method={method!r})", "sweep").qmc
    rng = np.random.default_rng(seed)
    if method == "sobol":  # always a power of 2, whose first n are taken: it warns of other numbers
        points = qmc.Sobol(dimensions, rng=rng).random_base2(max(0, math.ceil(math.log2(n))))[:n]
    else:
        points = {"halton": qmc.Halton, "lhs": qmc.LatinHypercube}[method](dimensions, rng=rng).random(n)
    return np.minimum(points, np.nextafter(1.0, 0.0))


def _check_factory(factory: Any, axes: Mapping[str, Any], where: str) -> None:
    if not callable(factory) or hasattr(factory, "hyperparams"):
        advice = "; give adamw, not adamw(1e-3)" if hasattr(factory, "hyperparams") else ""
        raise ArgumentError(f"the first argument must be a function of the axes, got {factory!r:.60}{advice}", where)
    if not axes:
        raise ArgumentError(f"there is no axis; write {where}(..., learning_rate=[1e-3, 1e-2])", where)


def _values(where: str, name: str, axis: Any) -> tuple[Any, ...]:
    is_list = isinstance(axis, (Sequence, range, np.ndarray, jax.Array)) and not isinstance(axis, (str, bytes))
    if not is_list or np.ndim(axis if hasattr(axis, "ndim") else 0) > 1 or (hasattr(axis, "ndim") and axis.ndim == 0):
        raise ArgumentError(
            f"{name} must be a list or an array of one axis, got {axis!r:.60}; write {name}=[...]", where
        )
    values = tuple(x.item() if isinstance(x, (np.generic, jax.Array)) and np.ndim(x) == 0 else x for x in axis)
    if not values:
        raise ArgumentError(f"{name} has no values", where)
    return values


def _made(factory, settings, space, where):
    made = []
    for i, setting in enumerate(settings):
        try:
            made.append((setting, factory(**setting)))
        except (ValueError, TypeError) as error:
            raise ArgumentError(f"member {i} ({show_settings(setting)}): {error}", where) from error
    return Population.of(made, space)


def edges(population: Population, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """What says that a setting lies at the edge of the space it was taken from, axis by axis."""
    here = next((i for i, s in enumerate(population.settings) if s is settings or s == settings), None)
    space = {} if here is None else population.spaces[here]
    found = []
    for name, value in settings.items():
        if (side := _side(space.get(name), value)) is not None and not (side == "lowest" and value == 0):
            shown = f"{value:.4g}" if isinstance(value, float) else value
            found.append(f"{name} = {shown} is at the {side} end of its axis; widen it")
    return tuple(found)


def _side(axis: Any, value: Any) -> str | None:
    if isinstance(axis, Range):
        share = axis.share(value)
        return "lowest" if share <= _EDGE else "highest" if share >= 1 - _EDGE else None
    options = axis.options if isinstance(axis, Choice) else axis
    numeric = options and all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in options)
    if not numeric or len(set(options)) < 3:
        return None
    return "lowest" if value == min(options) else "highest" if value == max(options) else None
