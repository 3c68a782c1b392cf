"""Share scales, colours by method, and limits robust to outliers among the pictures of a sweep."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optax_lite._numbers import is_real, show_numbers
from optax_lite._plotting import COLORS, log_scale
from optax_lite.sweep.population import names_in, show
from optax_lite.sweep.report import with_method

_MOST = 12  # values that are shown as categories


@dataclass(frozen=True)
class Scale:
    """Place the values of an axis in a picture, on a scale or as categories side by side."""

    name: str
    kind: str  # "linear", "log", "categories"
    values: tuple[Any, ...]  # the different ones, in order

    def at(self, value: Any) -> float:
        """Return the position of a value."""
        return float(self.values.index(value)) if self.kind == "categories" else float(value)

    def apply(self, axis: Any) -> None:
        """Set up matplotlib's axis."""
        if self.kind == "categories":
            shown = show_values(self.values)
            axis.set_ticks(range(len(shown)), shown, **turned(axis, shown))
        elif self.kind == "log":
            log_scale(axis, self.values[0], self.values[-1])
        axis.set_label_text(self.name)


def scale_of(name: str, values: Iterable[Any]) -> Scale:
    """Choose a scale for some values: logarithmic if they span more than a decade."""
    found = tuple(dict.fromkeys(values))
    if not all(map(is_real, found)):
        return Scale(name, "categories", found)
    found = tuple(sorted(found))
    is_wide = spans_decade(next((x for x in found if x > 0), 0), found[-1])
    if is_wide and found[0] <= 0 and len(found) <= _MOST:  # 0 beside powers of ten
        return Scale(name, "categories", found)
    return Scale(name, "log" if is_wide and found[0] > 0 else "linear", found)


def show_values(values: Sequence[Any]) -> list[str]:
    """Return the values of one setting as text: numbers to three digits, or as many as tell them
    apart.
    """
    floats = [float(x) for x in values if isinstance(x, (float, np.floating))]
    texts = iter(show_numbers(floats))
    return [next(texts) if isinstance(x, (float, np.floating)) else show(x) for x in values]


@dataclass(frozen=True)
class View:
    """A result, and what all its pictures share."""

    result: Any
    settings: list[
        dict[str, Any]
    ]  # the first of each member; with its method, if there are several
    hue: str | None  # the axis to colour by: the first of words or flags without too many values
    colors: dict[Any, str]  # by the value of that axis
    hues: list[Any]  # the value of each member
    places: list[Any]  # the ranking

    @classmethod
    def of(cls, result: Any) -> "View":
        population, hue = result.population, None
        settings = [
            {name: _hashable(x) for name, x in with_method(population, m, s).items()}
            for m, s in enumerate(population.settings)
        ]
        for name in names_in(settings):
            values = dict.fromkeys(s.get(name) for s in settings)
            if 1 < len(values) <= len(COLORS) and not all(map(is_real, values)):
                hue = name
                break
        hues = [s.get(hue or "") for s in settings]
        colors: dict[Any, str] = dict(zip(dict.fromkeys(hues), COLORS, strict=False))
        return cls(result, settings, hue, colors, hues, result.ranking())

    def over_seeds(self, what: str) -> str:
        """Say in a title what is shown of several seeds."""
        n = len(self.result.seeds)
        return f", {what} of {n} seeds" if n > 1 else ""

    def mode_of(self, metric: str, other: str = "linear") -> str:
        """Return the direction in which a number is better; `other` if it is not the score."""
        return self.result.mode if metric == self.result.score_name else other


def _hashable(value: Any) -> Any:
    """Return a value, or its text if it is not hashable, such as a list."""
    try:
        hash(value)
    except TypeError:
        return show(value)
    return value


def over_rows(function: Callable[..., Any], values: np.ndarray) -> np.ndarray:
    """Reduce the last axis; NaN where it holds no number."""
    there, found = ~np.isnan(values).all(-1), np.full(values.shape[:-1], np.nan)
    found[there] = function(values[there], -1)
    return found


def spans_decade(low: float, high: float) -> bool:
    """Tell whether some numbers need a logarithmic scale, by the least and the largest of them."""
    return bool(low > 0 and high > 10 * low)


def limits(values: Any, mode: str) -> tuple[float, float, bool]:
    """Return (low, high, logarithmic) that show the better three quarters of some scores well, and
    the rest if near.
    """
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0, False
    if mode == "max":
        low, high, _ = limits(-values, "low")
        return -high, -low, False
    is_log = mode == "min" and spans_decade(values.min(), values.max())
    values = np.log10(values) if is_log else values
    low, most, high = values.min(), np.quantile(values, 0.75), values.max()
    high = most if high - most > max(most - low, 1e-12) else high
    margin = 0.06 * (high - low) or 0.05 * abs(low) or 1.0
    low, high = low - margin, high + margin
    return (float(10**low), float(10**high), True) if is_log else (float(low), float(high), False)


def widened(shown: tuple[float, float, bool], values: np.ndarray) -> tuple[float, float, bool]:
    """Return limits with room for some numbers too."""
    low, high, is_log = shown
    values = values[np.isfinite(values) & ((values > 0) | (not is_log))].tolist()
    return min([low, *values]), max([high, *values]), is_log


def limits_of_rows(rows: np.ndarray, middle: np.ndarray, mode: str) -> tuple[float, float, bool]:
    """Return limits as above for rows of numbers, wide enough that each row whose middle they show
    is shown whole.
    """
    shown, before = limits(rows, mode), None
    while before != shown:  # what makes room for a row may bring in another
        before, (low, high, _) = shown, shown
        shown = widened(shown, rows[(middle >= low) & (middle <= high)])
    return shown


def set_limits(
    ax: Any, shown: tuple[float, float, bool], mode: str, *, strip: bool = False
) -> None:
    """Set the y-axis, with a strip at the bad end for values beyond it."""
    low, high, is_log = shown
    if is_log:
        log_scale(ax.yaxis, low, high)
    wider = (high / low) ** 0.12 if is_log else 0.12 * (high - low)
    if strip and mode == "max":
        ax.set_ylim(low - wider, high)
    else:
        ax.set_ylim(low, (high * wider if is_log else high + wider) if strip else high)


def turned(axis: Any, labels: Sequence[str]) -> dict[str, Any]:
    """Return the options that slant tick labels where they would overlap."""
    return (
        {"rotation": 35, "ha": "right"}
        if axis.axis_name == "x" and sum(map(len, labels)) > 28
        else {}
    )
