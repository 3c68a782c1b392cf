"""Share scales, colours by method, and limits robust to outliers among the pictures of a sweep."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optax_lite._numbers import show_numbers
from optax_lite._plotting import COLORS, log_scale
from optax_lite.sweep.population import show
from optax_lite.sweep.report import methods_of

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
    found = list(dict.fromkeys(values))
    if not all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in found):
        return Scale(name, "categories", tuple(found))
    found = tuple(sorted(found))
    positive = [x for x in found if x > 0]
    wide = len(positive) > 1 and positive[-1] > 10 * positive[0]
    if wide and found[0] <= 0 and len(found) <= _MOST:  # 0 beside powers of ten
        return Scale(name, "categories", found)
    return Scale(name, "log" if wide and found[0] > 0 else "linear", found)


def show_values(values: Sequence[Any]) -> list[str]:
    """Return the values of one setting as text: numbers to three digits, or as many as tell them
    apart.
    """
    floats = [float(x) for x in values if isinstance(x, (float, np.floating))]
    texts = iter(show_numbers(floats))
    return [next(texts) if isinstance(x, (float, np.floating)) else show(x) for x in values]


def shown_settings(result: Any) -> list[dict[str, Any]]:
    """Return the initial settings of each member, with the method first if there are several."""
    methods = methods_of(result.population)
    settings = [{name: _hashable(x) for name, x in s.items()} for s in result.population.settings]
    if not methods or any("optimizer" in s for s in settings):
        return settings
    return [{"optimizer": method, **s} for method, s in zip(methods, settings, strict=True)]


def _hashable(value: Any) -> Any:
    """Return a value, or its text if it is not hashable, such as a list."""
    try:
        hash(value)
    except TypeError:
        return show(value)
    return value


def hue_of(settings: Sequence[dict[str, Any]]) -> str | None:
    """Return the axis to colour by: the first one of names or flags without too many values."""
    for name in dict.fromkeys(name for s in settings for name in s):
        values = dict.fromkeys(s.get(name) for s in settings)
        if (
            1 < len(values) <= len(COLORS)
            and scale_of(name, values).kind == "categories"
            and not _numeric(values)
        ):
            return name
    return None


def _numeric(values: Iterable[Any]) -> bool:
    return all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in values)


def by_hue(result: Any) -> tuple[str | None, dict[Any, str], list[Any]]:
    """Return the axis to colour by, the colour of each value, and the value of each member."""
    settings = shown_settings(result)
    hue = hue_of(settings)
    values = [None if hue is None else s.get(hue) for s in settings]
    return hue, dict(zip(dict.fromkeys(values), COLORS, strict=False)), values


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
    is_log = bool(mode == "min" and values.min() > 0 and values.max() > 10 * values.min())
    values = np.log10(values) if is_log else values
    low, most, high = values.min(), np.quantile(values, 0.75), values.max()
    high = most if high - most > max(most - low, 1e-12) else high
    margin = 0.06 * (high - low) or 0.05 * abs(low) or 1.0
    low, high = low - margin, high + margin
    return (float(10**low), float(10**high), True) if is_log else (float(low), float(high), False)


def limits_of_rows(rows: np.ndarray, middle: np.ndarray, mode: str) -> tuple[float, float, bool]:
    """Return limits as above for rows of numbers, wide enough that each row whose middle they show
    is shown whole.
    """
    low, high, is_log = limits(rows, mode)
    before = None
    while before != (low, high):  # what makes room for a row may bring in another
        before = low, high
        shown = rows[(middle >= low) & (middle <= high)]
        shown = shown[np.isfinite(shown)]
        low, high = min([low, *shown.tolist()]), max([high, *shown.tolist()])
    return low, high, is_log


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
