"""What the pictures of a sweep share: colours that the colour-blind tell apart, scales, limits that
outliers leave.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optax_lite._optional import optional_import
from optax_lite.sweep.population import show
from optax_lite.sweep.report import methods_of

COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")  # Okabe & Ito 2008
GREY, DARK = "0.7", "0.25"
_MOST = 12  # values that are shown as categories


@dataclass(frozen=True)
class Scale:
    """Where the values of an axis stand in a picture: on a scale, or as categories one after
    another.
    """

    name: str
    kind: str  # "linear", "log", "categories"
    values: tuple[Any, ...]  # the different ones, in order

    def at(self, value: Any) -> float:
        """The position of a value."""
        return float(self.values.index(value)) if self.kind == "categories" else float(value)

    def apply(self, axis: Any) -> None:
        """Set up matplotlib's axis."""
        if self.kind == "categories":
            shown = [show(x) for x in self.values]
            axis.set_ticks(range(len(shown)), shown, **turned(axis, shown))
        elif self.kind == "log":
            log_scale(axis, self.values[0], self.values[-1])
        axis.set_label_text(self.name)


def scale_of(name: str, values: Iterable[Any]) -> Scale:
    """The scale that suits some values: logarithmic where they span more than a decade."""
    found = list(dict.fromkeys(values))
    if not all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in found):
        return Scale(name, "categories", tuple(found))
    found = tuple(sorted(found))
    positive = [x for x in found if x > 0]
    wide = len(positive) > 1 and positive[-1] > 10 * positive[0]
    if wide and found[0] <= 0 and len(found) <= _MOST:  # 0 beside powers of ten
        return Scale(name, "categories", found)
    return Scale(name, "log" if wide and found[0] > 0 else "linear", found)


def shown_settings(result: Any) -> list[dict[str, Any]]:
    """The settings of each member as it began; where members are of several methods, these in
    front.
    """
    methods = methods_of(result.population)
    settings = [{name: _hashable(x) for name, x in s.items()} for s in result.population.settings]
    if not methods or any("optimizer" in s for s in settings):
        return settings
    return [{"optimizer": method, **s} for method, s in zip(methods, settings, strict=True)]


def _hashable(value: Any) -> Any:
    """A value, or its text: options may be lists."""
    try:
        hash(value)
    except TypeError:
        return show(value)
    return value


def hue_of(settings: Sequence[dict[str, Any]]) -> str | None:
    """The axis whose values get a colour each: the first one of names or flags, if there are not
    too many.
    """
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
    """The axis that has the colours, the colour of each of its values, the value of each member."""
    settings = shown_settings(result)
    hue = hue_of(settings)
    values = [None if hue is None else s.get(hue) for s in settings]
    return hue, dict(zip(dict.fromkeys(values), COLORS, strict=False)), values


def limits(values: Any, mode: str) -> tuple[float, float, bool]:
    """(low, high, logarithmic) that show the better three quarters of some scores well, and the
    rest where near.
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


def log_scale(axis: Any, low: float, high: float) -> None:
    """A logarithmic axis; 1, 2, 5 in plain numbers where there is hardly a power of ten."""
    (axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale)("log")
    if high < 200 * low:
        ticker = optional_import("matplotlib.ticker", "result.plot()", "sweep")
        axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(ticker.NullFormatter())


def set_limits(ax: Any, values: Any, mode: str, *, strip: bool = False) -> tuple[float, float]:
    """Set the y-axis, with a strip at the bad end for what has no place on it; return what the
    scale itself shows.
    """
    low, high, is_log = limits(values, mode)
    if is_log:
        log_scale(ax.yaxis, low, high)
    wider = (high / low) ** 0.12 if is_log else 0.12 * (high - low)
    if strip and mode == "max":
        ax.set_ylim(low - wider, high)
    else:
        ax.set_ylim(low, (high * wider if is_log else high + wider) if strip else high)
    return low, high


def tidy(ax: Any) -> None:
    """No box, and lines to read values by."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color="0.9", lw=0.8)
    ax.set_axisbelow(True)


def turned(axis: Any, labels: Sequence[str]) -> dict[str, Any]:
    """How tick labels stand: upright on a slope where they would run into one another."""
    return (
        {"rotation": 35, "ha": "right"}
        if axis.axis_name == "x" and sum(map(len, labels)) > 28
        else {}
    )


def legend_below(ax: Any, **options: Any) -> None:
    """A legend that covers nothing: under the label of the x-axis."""
    labels = [label.get_text() for label in ax.get_xticklabels()]
    room = 4.5 + (
        0.35 * max(map(len, labels))
        if turned(ax.xaxis, labels) and ax.get_xscale() == "linear"
        else 0
    )
    if ax.get_legend_handles_labels()[0]:
        box = {
            "loc": "upper center",
            "bbox_to_anchor": (0.5, 0),
            "borderaxespad": room,
            "frameon": False,
        }
        ax.legend(**box | {"fontsize": "small", "title_fontsize": "small"} | options)
