"""Draw a sweep over its space: the score against each hyperparameter, and over two of them."""

from typing import Any

import numpy as np

from optax_lite._numbers import show_numbers
from optax_lite._plotting import COLORS, DARK, legend_below, log_scale, tidy
from optax_lite.sweep._plots.scales import (
    Scale,
    by_hue,
    limits,
    limits_of_rows,
    scale_of,
    set_limits,
    show_values,
    shown_settings,
    turned,
)
from optax_lite.sweep.population import show

_MOST_CELLS, _TOLD = 40, 11  # along a side: cells, and those that have room for a number


def against(ax: Any, result: Any, name: str) -> None:
    """Draw the score of each member over one axis: mean and range over its seeds; diverged runs at
    the bad end.
    """
    settings, (hue, colors, hues) = shown_settings(result), by_hue(result)
    members = [m for m, s in enumerate(settings) if name in s]
    scale = scale_of(name, (settings[m][name] for m in members))
    scores = result.compared()
    finite = np.where(np.isfinite(scores), scores, np.nan)
    mean = np.array(
        [row[~np.isnan(row)].mean() if not np.isnan(row).all() else np.nan for row in finite]
    )
    low, high, _ = shown = limits_of_rows(finite[members], mean[members], result.mode)
    set_limits(ax, shown, result.mode, strip=True)
    scale.apply(ax.xaxis)
    x = _spread(scale, [settings[m][name] for m in members])
    size = 7 if len(members) <= 30 else 5 if len(members) <= 150 else 3
    at, worse = (0.05, "v") if result.mode == "max" else (0.95, "^")
    edge = {"transform": ax.get_xaxis_transform(), "ls": "", "ms": size, "clip_on": False}
    marks: dict[str, dict[str, Any]] = {}  # by label, those that the legend explains
    for m, here in zip(members, x, strict=True):
        color = colors[hues[m]]
        if (result.status[m] == "diverged").any() or np.isinf(scores[m]).any():
            ax.plot(here, at, "x", color=color, **edge)
            marks["diverged"] = {"marker": "x"}
        if not low <= mean[m] <= high:
            if not np.isnan(mean[m]):
                ax.plot(here, at, worse, color=color, alpha=0.5, **edge)
                marks["worse"] = {"marker": worse, "alpha": 0.5}
            continue
        is_whole = bool((result.status[m] == "done").all())
        ax.plot(
            here,
            mean[m],
            "o",
            color=color,
            ms=size,
            mfc=color if is_whole else "white",
            alpha=0.9,
            mew=1,
            zorder=3,
        )
        row = finite[m][~np.isnan(finite[m])]
        ax.plot([here, here], [row.min(), row.max()], color=color, lw=1.2, alpha=0.5, zorder=2)
        if not is_whole:
            marks["ended earlier"] = {"marker": "o", "mfc": "white"}
    whole = np.where(
        (result.status == "done").all(1) & (mean >= low) & (mean <= high), mean, np.nan
    )[members]
    has_line = _trend(
        ax,
        scale,
        [settings[m][name] for m in members],
        whole,
        [hues[m] for m in members],
        colors,
        result,
    )
    best, title = result.ranking()[0], f"{result.score_name} over {name}"
    if best.member in members and np.isfinite(mean[best.member]):
        here = x[members.index(best.member)]
        title = f"best at {name} {show_values([settings[best.member][name]])[0]}"
        ring = {"ls": "", "ms": size + 6, "mfc": "none", "mec": DARK, "mew": 1.5}
        ax.plot(here, mean[best.member], "o", zorder=5, label="best", **ring)
    if has_line:
        color = DARK if hue else COLORS[0]
        ax.plot([], [], color=color, lw=1.5, alpha=0.7, label="best at each value")
    for value, color in colors.items() if hue else ():
        ax.plot([], [], "o-", color=color, label=show(value))
    for label, style in marks.items():
        ax.plot([], [], color=DARK if hue else COLORS[0], ls="", ms=size, label=label, **style)
    seeds = f", mean and range of {len(result.seeds)} seeds" if len(result.seeds) > 1 else ""
    ax.set_ylabel(result.score_name)
    tidy(ax, f"{title}{seeds}")
    legend_below(ax, ncols=3)


def _spread(scale: Scale, values: list[Any]) -> np.ndarray:
    """Return positions; put the members of a category side by side."""
    x = np.array([scale.at(v) for v in values])
    if scale.kind == "categories":
        for value in np.unique(x):
            here = np.flatnonzero(x == value)
            x[here] += np.linspace(-0.25, 0.25, len(here)) if len(here) > 1 else 0
    return x


def _trend(ax, scale, values, mean, hues, colors, result) -> bool:
    """Draw a line through the best at each value, if a value has several members or the axis is the
    only one.
    """
    if any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in scale.values):
        return False
    several, drawn = len(result.population.axes) > 1, False
    best = np.nanmin if result.mode == "min" else np.nanmax
    for hue, color in colors.items():
        found: dict[Any, list[float]] = {}
        for value, y, h in zip(values, mean, hues, strict=True):
            if h == hue:
                found.setdefault(value, []).append(y)
        if several and 2 * len(found) > sum(map(len, found.values())):
            continue
        line = sorted(
            (scale.at(value), best(ys)) for value, ys in found.items() if not np.isnan(ys).all()
        )
        if len(line) > 1:
            ax.plot(*zip(*line, strict=True), color=color, lw=1.5, alpha=0.7, zorder=1)
            drawn = several
    return drawn


def pair_of(settings: list[dict[str, Any]], hue: str | None) -> tuple[str, str] | None:
    """Return the two axes with the most values among those whose pairs are all present."""
    names = [
        n
        for n in dict.fromkeys(n for s in settings for n in s)
        if n != hue and all(n in s for s in settings)
    ]
    counts = {name: len(dict.fromkeys(s[name] for s in settings)) for name in names}
    several = sorted((n for n in names if 1 < counts[n] <= _MOST_CELLS), key=lambda n: -counts[n])[
        :2
    ]
    if len(several) < 2:
        return None
    x, y = several
    pairs = len({(s[x], s[y]) for s in settings})
    return (x, y) if pairs >= 0.75 * counts[x] * counts[y] else None


def heatmap(ax: Any, result: Any, names: tuple[str, str], category: Any) -> None:
    """Draw the score in colour over two axes, for the members that share a colour in the other
    pictures; each cell is the best over the remaining axes.
    """
    settings, (hue, _, hues) = shown_settings(result), by_hue(result)
    own = [m for m in range(len(settings)) if hues[m] == category]
    x, y = (scale_of(name, (settings[m][name] for m in own)) for name in names)
    places = {p.member: p for p in reversed(result.ranking())}
    cells = np.full((len(y.values), len(x.values)), np.nan)
    rank = {p.member: i for i, p in enumerate(result.ranking())}
    first: dict[tuple[int, int], int] = {}
    for m in own:
        at = y.values.index(settings[m][names[1]]), x.values.index(settings[m][names[0]])
        first[at] = min(first.get(at, m), m, key=lambda m: rank[m])
    for at, m in first.items():
        cells[at] = places[m].score
    low, high, is_log = limits([p.score for p in places.values()], result.mode)
    colors = {"cmap": "viridis_r" if result.mode == "min" else "viridis", "vmin": low, "vmax": high}
    shown = np.ma.masked_invalid(cells)
    image = ax.pcolormesh(
        shown,
        **colors,
        **({"norm": "log"} if is_log else {}),
        edgecolors="white",
        lw=0.5 if max(cells.shape) <= _TOLD else 0,
    )
    ax.set_facecolor("0.92")
    _cells(ax, result, cells, first, image)
    for axis, scale, name in ((ax.xaxis, x, names[0]), (ax.yaxis, y, names[1])):
        every = -(-len(scale.values) // 9)
        labels = show_values(scale.values)
        axis.set_ticks(
            np.arange(len(labels))[::every] + 0.5, labels[::every], **turned(axis, labels[::every])
        )
        axis.set_label_text(name)
    finite = cells[np.isfinite(cells)]
    beyond = (finite > high).any() or (finite < low).any()
    extend = "neither" if not beyond else "max" if result.mode == "min" else "min"
    bar = ax.figure.colorbar(image, ax=ax, label=result.score_name, extend=extend)
    if is_log:
        log_scale(bar.ax.yaxis, low, high)
    for marker, label, there in (
        ("x", "diverged", np.isinf(cells).any()),
        (".", "ended earlier", bool(result.rungs)),
    ):
        if there:
            ax.plot([], [], marker, color=DARK, ls="", label=label)
    legend_below(ax, ncols=2)
    rest = [n for n in dict.fromkeys(n for m in own for n in settings[m]) if n not in (*names, hue)]
    n = len(result.seeds)
    parts = [show(category) if hue else result.score_name, f"mean of {n} seeds" if n > 1 else ""]
    parts.append(f"best over {', '.join(rest)}" if rest else "")
    ax.set_title(", ".join(filter(None, parts)), fontsize="medium")


def _cells(ax, result, cells, first, image):
    """Mark cells: numbers if they fit, × if diverged, a dot if ended early, a frame around the
    best.
    """
    best = result.ranking()[0].member
    ended = np.isin(result.status, ("pruned", "stopped")).sum(1) > 0
    told = cells[np.isfinite(cells)].tolist() if max(cells.shape) <= _TOLD else []
    texts = dict(zip(told, show_numbers(told), strict=True))
    # The colour bar takes a seventh of the width; a digit is 0.64 of the font size wide.
    room = 0.85 * ax.bbox.width * 72 / ax.figure.dpi / cells.shape[1]
    for (row, column), m in first.items():
        value, x, y = cells[row, column], column + 0.5, row + 0.5
        if np.isinf(value):
            ax.plot(x, y, "x", color=DARK, ms=6)
        elif value in texts:
            size = min(7.0, room / (0.64 * len(texts[value])))
            red, green, blue, _ = image.cmap(image.norm(value))
            ink = "black" if 0.3 * red + 0.6 * green + 0.1 * blue > 0.5 else "white"
            ax.text(x, y, texts[value], ha="center", va="center", fontsize=size, color=ink)
        if ended[m] and np.isfinite(value):
            ax.plot(column + 0.5, row + 0.14, ".", color="white", ms=4, mec=DARK, mew=0.4)
        if m == best:
            frame = np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)]) + np.array([column, row])
            ax.plot(*frame.T, color=COLORS[5], lw=2.5, clip_on=False, zorder=5)
