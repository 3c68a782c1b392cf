"""Draw a sweep over its space: the score against each hyperparameter, and over two of them."""

from typing import Any

import numpy as np

from optax_lite._numbers import is_real, show_numbers
from optax_lite._plotting import COLORS, DARK, legend_below, log_scale, tidy
from optax_lite.sweep._plots.scales import (
    Scale,
    View,
    limits,
    limits_of_rows,
    over_rows,
    scale_of,
    set_limits,
    show_values,
    turned,
)
from optax_lite.sweep.population import names_in, show

_MOST_CELLS, _TOLD = 40, 11  # along a side: cells, and those that have room for a number


def against(ax: Any, view: View, name: str) -> None:
    """Draw the score of each member over one axis: mean and range over its seeds; diverged runs at
    the bad end.
    """
    result = view.result
    members = [m for m, s in enumerate(view.settings) if name in s]
    values = [view.settings[m][name] for m in members]
    scale, status = scale_of(name, values), result.status
    scores = result.compared()
    finite = np.where(np.isfinite(scores), scores, np.nan)
    mean = over_rows(np.nanmean, finite)
    low, high, _ = shown = limits_of_rows(finite[members], mean[members], result.mode)
    set_limits(ax, shown, result.mode, strip=True)
    scale.apply(ax.xaxis)
    x = _spread(scale, values)
    size = 7 if len(members) <= 30 else 5 if len(members) <= 150 else 3
    at, worse = (0.05, "v") if result.mode == "max" else (0.95, "^")
    edge = {"transform": ax.get_xaxis_transform(), "ls": "", "ms": size, "clip_on": False}
    marks: dict[str, dict[str, Any]] = {}  # by label, those that the legend explains
    for m, here in zip(members, x, strict=True):
        color = view.colors[view.hues[m]]
        if (status[m] == "diverged").any() or np.isinf(scores[m]).any():
            ax.plot(here, at, "x", color=color, **edge)
            marks["diverged"] = {"marker": "x"}
        if np.isnan(mean[m]):
            continue
        if not low <= mean[m] <= high:
            ax.plot(here, at, worse, color=color, alpha=0.5, **edge)
            marks["worse"] = {"marker": worse, "alpha": 0.5}
            continue
        fill = {} if (status[m] == "done").all() else {"mfc": "white"}
        ax.plot(here, mean[m], "o", color=color, ms=size, alpha=0.9, mew=1, zorder=3, **fill)
        row = [np.nanmin(finite[m]), np.nanmax(finite[m])]
        ax.plot([here, here], row, color=color, lw=1.2, alpha=0.5, zorder=2)
        if fill:
            marks["ended earlier"] = {"marker": "o", **fill}
    is_whole = (status == "done").all(1) & (mean >= low) & (mean <= high)
    has_line = _trend(ax, view, scale, members, np.where(is_whole, mean, np.nan))
    best, title = view.places[0].member, f"{result.score_name} over {name}"
    if best in members and np.isfinite(mean[best]):
        title = f"best at {name} {show_values([view.settings[best][name]])[0]}"
        ring = {"ls": "", "ms": size + 6, "mfc": "none", "mec": DARK, "mew": 1.5}
        ax.plot(x[members.index(best)], mean[best], "o", zorder=5, label="best", **ring)
    color = DARK if view.hue else COLORS[0]
    if has_line:
        ax.plot([], [], color=color, lw=1.5, alpha=0.7, label="best at each value")
    for value, own in view.colors.items() if view.hue else ():
        ax.plot([], [], "o-", color=own, label=show(value))
    for label, style in marks.items():
        ax.plot([], [], color=color, ls="", ms=size, label=label, **style)
    ax.set_ylabel(result.score_name)
    tidy(ax, f"{title}{view.over_seeds('mean and range')}")
    legend_below(ax, ncols=3)


def _spread(scale: Scale, values: list[Any]) -> np.ndarray:
    """Return positions; put the members of a category side by side."""
    x = np.array([scale.at(v) for v in values])
    if scale.kind == "categories":
        for value in np.unique(x):
            here = np.flatnonzero(x == value)
            x[here] += np.linspace(-0.25, 0.25, len(here)) if len(here) > 1 else 0
    return x


def _trend(ax: Any, view: View, scale: Scale, members: list[int], mean: np.ndarray) -> bool:
    """Draw a line through the best at each value, if a value has several members or the axis is the
    only one.
    """
    if not all(map(is_real, scale.values)):
        return False
    several, drawn = len(view.result.population.axes) > 1, False
    best = np.nanmin if view.result.mode == "min" else np.nanmax
    for hue, color in view.colors.items():
        found: dict[Any, list[float]] = {}
        for m in members:
            if view.hues[m] == hue:
                found.setdefault(view.settings[m][scale.name], []).append(mean[m])
        if several and 2 * len(found) > sum(map(len, found.values())):
            continue
        line = [
            (scale.at(value), best(ys))
            for value, ys in sorted(found.items())
            if not np.isnan(ys).all()
        ]
        if len(line) > 1:
            ax.plot(*zip(*line, strict=True), color=color, lw=1.5, alpha=0.7, zorder=1)
            drawn = several
    return drawn


def pair_of(view: View, members: list[int], axes: list[str]) -> tuple[str, str] | None:
    """Return the two axes with the most values among those whose pairs are all present."""
    settings = [view.settings[m] for m in members]
    counts = {
        name: len({s[name] for s in settings})
        for name in names_in(settings)
        if name in axes and name != view.hue and all(name in s for s in settings)
    }
    several = sorted((n for n in counts if 1 < counts[n] <= _MOST_CELLS), key=lambda n: -counts[n])
    if len(several) < 2:
        return None
    x, y, *_ = several
    return (x, y) if len({(s[x], s[y]) for s in settings}) >= 0.75 * counts[x] * counts[y] else None


def heatmap(ax: Any, view: View, names: tuple[str, str], category: Any) -> None:
    """Draw the score in colour over two axes, for the members that share a colour in the other
    pictures; each cell is the best over the remaining axes.
    """
    result, settings = view.result, view.settings
    own = [m for m, hue in enumerate(view.hues) if hue == category]
    x, y = (scale_of(name, (settings[m][name] for m in own)) for name in names)
    best: dict[tuple[int, int], Any] = {}
    for place in reversed(view.places):
        if place.member in own:
            at = [s.values.index(settings[place.member][s.name]) for s in (y, x)]
            best[at[0], at[1]] = place
    cells = np.full((len(y.values), len(x.values)), np.nan)
    for at, place in best.items():
        cells[at] = place.score
    low, high, is_log = limits([place.score for place in view.places], result.mode)
    image = ax.pcolormesh(
        np.ma.masked_invalid(cells),
        cmap="viridis_r" if result.mode == "min" else "viridis",
        vmin=low,
        vmax=high,
        norm="log" if is_log else None,
        edgecolors="white",
        lw=0.5 if max(cells.shape) <= _TOLD else 0,
    )
    ax.set_facecolor("0.92")
    _cells(ax, view, cells, best, image)
    for axis, scale in ((ax.xaxis, x), (ax.yaxis, y)):
        every = -(-len(scale.values) // 9)
        labels = show_values(scale.values)[::every]
        places = np.arange(len(scale.values))[::every] + 0.5
        axis.set_ticks(places, labels, **turned(axis, labels))
        axis.set_label_text(scale.name)
    finite = cells[np.isfinite(cells)]
    beyond = (finite > high).any() or (finite < low).any()
    extend = "neither" if not beyond else "max" if result.mode == "min" else "min"
    bar = ax.figure.colorbar(image, ax=ax, label=result.score_name, extend=extend)
    if is_log:
        log_scale(bar.ax.yaxis, low, high)
    if np.isinf(cells).any():
        ax.plot([], [], "x", color=DARK, ls="", label="diverged")
    if result.rungs:
        ax.plot([], [], ".", color=DARK, ls="", label="ended earlier")
    legend_below(ax, ncols=2)
    rest = [n for n in names_in(settings[m] for m in own) if n not in (*names, view.hue)]
    parts = [
        show(category) if view.hue else result.score_name,
        view.over_seeds("mean").removeprefix(", "),
        f"best over {', '.join(rest)}" if rest else "",
    ]
    ax.set_title(", ".join(filter(None, parts)), fontsize="medium")


def _cells(
    ax: Any, view: View, cells: np.ndarray, best: dict[tuple[int, int], Any], image: Any
) -> None:
    """Mark cells: numbers if they fit, × if diverged, a dot if ended early, a frame around the
    best.
    """
    ended: Any = np.isin(view.result.status, ("pruned", "stopped")).any(1)
    told = cells[np.isfinite(cells)].tolist() if max(cells.shape) <= _TOLD else []
    texts = dict(zip(told, show_numbers(told), strict=True))
    # The colour bar takes a seventh of the width; a digit is 0.64 of the font size wide.
    room = 0.85 * ax.bbox.width * 72 / ax.figure.dpi / cells.shape[1]
    for (row, column), place in best.items():
        value, x, y = place.score, column + 0.5, row + 0.5
        if np.isinf(value):
            ax.plot(x, y, "x", color=DARK, ms=6)
        elif value in texts:
            size = min(7.0, room / (0.64 * len(texts[value])))
            red, green, blue, _ = image.cmap(image.norm(value))
            ink = "black" if 0.3 * red + 0.6 * green + 0.1 * blue > 0.5 else "white"
            ax.text(x, y, texts[value], ha="center", va="center", fontsize=size, color=ink)
        if ended[place.member] and np.isfinite(value):
            ax.plot(x, row + 0.14, ".", color="white", ms=4, mec=DARK, mew=0.4)
        if place.member == view.places[0].member:
            frame = np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)]) + np.array([column, row])
            ax.plot(*frame.T, color=COLORS[5], lw=2.5, clip_on=False, zorder=5)
