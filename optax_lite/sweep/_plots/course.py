"""Draw a sweep over its steps: learning curves, the rungs of successive halving, the lineage of a
winner.
"""

from itertools import pairwise
from typing import Any

import numpy as np

from optax_lite._numbers import show_numbers
from optax_lite._plotting import COLORS, DARK, GREY, legend_below, log_scale, tidy
from optax_lite.sweep._plots.scales import (
    View,
    limits,
    over_rows,
    set_limits,
    show_values,
    spans_decade,
    widened,
)
from optax_lite.sweep.population import names_in
from optax_lite.sweep.report import show_spread


def _finish(ax: Any, metric: str, of: str, **legend: Any) -> None:
    ax.set(xlabel="updates", ylabel=metric)
    tidy(ax, f"{metric} of {of}")
    legend_below(ax, **legend)


def curves(ax: Any, view: View, metric: str, top: int) -> None:
    """Draw a line for each member, the median over its seeds; the best in colour, with the range
    over theirs.
    """
    result = view.result
    steps, values = result.history["step"], result.history[metric]
    middle, low, high = _over_seeds(values, result.mode)
    mode = view.mode_of(metric, "min" if metric == "loss" else "linear")
    best, title = _highlighted(view, top)
    shown = [m for m, _, _ in best]
    # The later half of what is named is shown whole: where curves end is what is compared.
    late = np.stack([middle[shown], low[shown], high[shown]])[..., len(steps) // 2 :]
    least, most, _ = shown = widened(limits(middle, mode), late)
    set_limits(ax, shown, mode)
    _faint(ax, steps, middle)
    for m, color, label in best:
        ax.fill_between(steps, low[m], high[m], color=color, alpha=0.2, lw=0)
        ax.plot(steps, middle[m], color=color, lw=2, label=label)
    diverged = middle[(result.status == "diverged").any(1)]
    ends = [
        (steps[i], line[i])
        for line in diverged[np.isnan(diverged[:, -1])]
        for i in _last(line)
        if least <= line[i] <= most
    ]
    if ends:
        ax.plot(*zip(*ends, strict=True), "x", color=DARK, ms=4, label="diverged")
    _finish(ax, metric, f"{len(middle)} members{view.over_seeds('median and range')}", title=title)


def _over_seeds(values: np.ndarray, mode: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return median, minimum and maximum over the seeds. A diverged seed counts as the worst, so
    that the median does not improve when it ends.
    """
    columns = np.moveaxis(values, 1, -1)
    worst = -np.inf if mode == "max" else np.inf
    middle = np.median(np.where(np.isnan(columns), worst, columns), -1)
    low, high = over_rows(np.nanmin, columns), over_rows(np.nanmax, columns)
    return np.where(np.isfinite(middle), middle, np.nan), low, high


def _last(line: np.ndarray) -> np.ndarray:
    """Return the index of a curve's last value, or nothing if it has none."""
    return np.flatnonzero(~np.isnan(line))[-1:]


def _faint(ax: Any, steps: np.ndarray, lines: np.ndarray) -> None:
    alpha = max(0.25, min(1.0, 20 / len(lines)))
    for line in lines:
        ax.plot(steps, line, color=GREY, lw=0.8, alpha=alpha, zorder=1)


def _highlighted(view: View, top: int) -> tuple[list[tuple[int, str, str]], str]:
    """Return (member, colour, label) of the best members, or of the best of each method, and the
    title for the labels.
    """
    places = {p.member: p for p in reversed(view.places) if np.isfinite(p.score)}
    order = list(places)[::-1]
    if view.hue is None:
        best = dict(zip(order[:top], COLORS, strict=False))
    else:
        first = {view.hues[m]: m for m in reversed(order)}
        best = {first[v]: view.colors[v] for v in dict.fromkeys(view.hues[m] for m in order)}
    own = [view.settings[m] for m in best]
    names = sorted(names_in(own), key=lambda name: name != view.hue)
    scores = show_numbers([places[m].score for m in best])
    columns = [show_values([s.get(name, "–") for s in own]) for name in names]
    labels = [
        ", ".join(column[i] for column in columns) + f":  {scores[i]}{show_spread(places[m])}"
        for i, m in enumerate(best)
    ]
    which = "the best of each" if view.hue else f"the best {len(best)}"
    title = f"{which}; {', '.join(names)}:  {view.result.score_name}"
    return list(zip(best, best.values(), labels, strict=True)), title


def brackets(ax: Any, view: View, metric: str) -> None:
    """Draw the curves that each rung ended, and above them the number of members left."""
    result = view.result
    steps, (middle, _, _) = result.history["step"], _over_seeds(result.history[metric], result.mode)
    set_limits(ax, limits(middle, result.mode), result.mode)
    dropped = {m: i for i, rung in enumerate(result.rungs) for m in rung.dropped}
    shades = list(map(str, np.linspace(0.85, 0.5, len(result.rungs))))
    for m, line in enumerate(middle):
        if m not in dropped:
            ax.plot(steps, line, color=COLORS[0], lw=1.2, zorder=3)
            continue
        color = shades[dropped[m]]
        ax.plot(steps, line, color=color, lw=0.9)
        ax.plot(steps[_last(line)], line[_last(line)], ".", color=color, ms=5)
    best = view.places[0].member
    told = ", ".join(f"{name} {show_values([x])[0]}" for name, x in view.settings[best].items())
    ax.plot(steps, middle[best], color=COLORS[5], lw=2.2, zorder=4, label=f"best: {told}")
    ax.plot([], [], color=COLORS[0], lw=1.2, label="trained to the end")
    ax.plot([], [], ".-", color="0.65", label="dropped at a rung")
    for rung in result.rungs:
        ax.axvline(rung.step, color=DARK, lw=0.8, ls=":", zorder=0)
    ax.set_xlim(0, steps[-1])
    if steps[-1] > 8 * result.rungs[0].step:
        log_scale(ax.xaxis, steps[0], steps[-1])
        ax.set_xlim(min(steps[0], result.rungs[0].step / 2), steps[-1])
    _finish(ax, metric, f"{len(middle)} members, fewer after each rung")
    _survivors(ax.inset_axes((0, 1.03, 1, 0.16), sharex=ax), result)


def _survivors(strip: Any, result: Any) -> None:
    edges = [strip.get_xlim()[0], *(rung.step for rung in result.rungs), result.history["step"][-1]]
    counts = [len(result.population), *(len(rung.kept) for rung in result.rungs)]
    strip.stairs(np.log2(np.asarray(counts)) + 1, edges, fill=True, color=COLORS[4], alpha=0.5)
    for (left, right), n in zip(pairwise(edges), counts, strict=True):
        middle = (left * right) ** 0.5 if strip.get_xscale() == "log" else (left + right) / 2
        strip.text(middle, 0.15, str(n), ha="center", va="bottom", fontsize="small")
    strip.set(ylim=(0, np.log2(counts[0]) + 1.3), yticks=[])
    strip.set_ylabel("members", rotation=0, ha="right", va="center", fontsize="small")
    strip.tick_params(which="both", labelbottom=False, bottom=False)
    strip.spines[["top", "left", "right"]].set_visible(False)


def _winner(view: View, values: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """Return the seed of the best run of population-based training, the member that each point of
    it comes from, and its value there.
    """
    best, steps = view.places[0], view.result.history["step"]
    seed, line = best.seeds[0], np.full(len(steps), best.member)
    for until, ancestor in reversed(view.result.ancestry(best.member, seed)):
        line[steps <= until] = ancestor
    return seed, line, values[line, seed, np.arange(len(steps))]


_BEST = {"color": COLORS[0], "lw": 2.4, "label": "the best and its ancestors"}


def lineage(ax: Any, view: View, name: str) -> None:
    """Draw a hyperparameter of every member over the steps, the copies, and the schedule of the
    winner.
    """
    result = view.result
    steps, values = result.history["step"], result.hyperparams[name]
    seed, line, way = _winner(view, values)
    values = values[:, seed]
    edges, index = np.concatenate([[0], steps]), {int(step): i for i, step in enumerate(steps)}
    copies = {
        (c.loser, index[c.step] + 1): c.winner
        for c in result.lineage
        if c.seed == result.seeds[seed]
    }
    for m, own in enumerate(values):
        x, y = [], []
        for i, (begin, end) in enumerate(pairwise(edges)):
            if (m, i) in copies:  # its line ends, and goes on as a branch of the winner's
                x, y = [*x, np.nan, begin], [*y, np.nan, values[copies[m, i], i - 1]]
                ax.plot(begin, own[i], ".", color=GREY, ms=5, zorder=1)
            x, y = [*x, begin, end], [*y, own[i], own[i]]
        ax.plot(x, y, color=GREY, lw=0.9, zorder=1)
    ax.step(edges, np.concatenate([way[:1], way]), zorder=3, **_BEST)
    moved, told = np.diff(line) != 0, "taken over and moved"
    ax.plot(steps[:-1][moved], way[1:][moved], "o", color=COLORS[0], ms=5, zorder=4, label=told)
    if spans_decade(np.nanmin(values), np.nanmax(values)):
        log_scale(ax.yaxis, np.nanmin(values), np.nanmax(values))
    _finish(ax, name, _which(result, seed), ncols=2)


def _which(result: Any, seed: int) -> str:
    which = f", seed {result.seeds[seed]}" if len(result.seeds) > 1 else ""
    return f"{len(result.population)} members{which}"


def evolution(ax: Any, view: View, metric: str) -> None:
    """Draw scores of population-based training, the best run and its ancestors in colour."""
    steps, values = view.result.history["step"], view.result.history[metric]
    seed, _, way = _winner(view, values)
    mode = view.mode_of(metric)
    set_limits(ax, limits(values[:, seed], mode), mode)
    _faint(ax, steps, values[:, seed])
    ax.plot(steps, way, **_BEST)
    _finish(ax, metric, _which(view.result, seed))
