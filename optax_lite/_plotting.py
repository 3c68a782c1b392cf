"""Shared by all pictures: colours, axes, and legends that cover nothing."""

from collections.abc import Sequence
from typing import Any

from optax_lite._optional import optional_import
from optax_lite.core.validate import ArgumentError

# Okabe & Ito 2008: the colour-blind tell them apart
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
GREY, DARK = "0.7", "0.25"


def check_axes(name: str, ax: Any, call: str) -> None:
    """Raise unless `ax` can be drawn into: a file name is often given instead."""
    if ax is not None and not hasattr(ax, "get_legend_handles_labels"):
        saved = f"; to save the picture write {call}.figure.savefig({ax!r})" * isinstance(ax, str)
        raise ArgumentError(f"ax must be a Matplotlib Axes or None, got {ax!r:.60}{saved}", name)


def tidy(ax: Any, title: str | None = None) -> None:
    """Remove the box, add lines to read values by, and a title that fits half a page."""
    if title is not None:
        ax.set_title(title, fontsize="medium")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color="0.9", lw=0.8)
    ax.set_axisbelow(True)


def log_scale(axis: Any, low: float, high: float) -> None:
    """Make an axis logarithmic, with 1, 2, 5 in plain numbers where there is hardly a power of
    ten.
    """
    (axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale)("log")
    if high < 200 * low:
        ticker = optional_import("matplotlib.ticker", "a picture")
        axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(ticker.NullFormatter())


def legend_below(
    ax: Any, handles: Sequence[Any] | None = None, *, title: str | None = None, ncols: int = 1
) -> None:
    """Put a legend under the axes, below the tick labels and the label of the x-axis."""
    handles = ax.get_legend_handles_labels()[0] if handles is None else handles
    if not handles:
        return
    # Without a layout the figure's margin would cut the legend off. An Axes placed by hand has no
    # part in a layout, and one that the user chose stays.
    figure = ax.figure.figure  # that of a subfigure too
    if ax.get_subplotspec() is not None and figure.get_layout_engine() is None:
        figure.set_layout_engine("constrained")
    size = 0.85 * ax.xaxis.label.get_fontsize()
    # matplotlib measures the distance from the axes in units of the legend's font size
    bottom = getattr(ax.xaxis.get_tightbbox(), "y0", ax.bbox.y0)
    points = (ax.bbox.y0 - bottom) * 72 / figure.dpi
    ax.legend(
        handles=list(handles),
        title=title,
        ncols=ncols,
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        borderaxespad=points / size + 0.6,
        frameon=False,
        fontsize=size,
        title_fontsize=size,
    )
