"""Draw a sweep over its steps: learning curves, the rungs of successive halving, the lineage of a
winner.
"""

from itertools import pairwise
from typing import Any

import numpy as np

from optax_lite._numbers import show_numbers
from optax_lite._plotting import COLORS, DARK, GREY, legend_below, log_scale, tidy
from optax_lite.sweep._plots.scales import by_hue, limits, set_limits, show_values, shown_settings
from optax_lite.sweep.report import show_spread


def curves(ax: Any, result: Any, metric: str, top: int) -> None:
    """Draw a line for each member, the median over its seeds; the best in colour, with the range
    over theirs.
    """
    steps, values = result.history["step"], result.history[metric]
    middle, low, high = _over_seeds(values, result.mode)
    mode = result.mode if metric == result.score_name else "min" if metric == "loss" else "linear"
    best, title = _highlighted(result, top)
    shown = [m for m, _, _ in best]
    rows = np.stack([middle[shown], low[shown], high[shown]])
    least, most, is_log = limits(middle, mode)
    # The later half of what is named is shown whole: where curves end is what is compared.
    late = rows[..., rows.shape[-1] // 2 :]
    late = late[np.isfinite(late) & ((late > 0) | (not is_log))]
    least, most = min([least, *late.tolist()]), max([most, *late.tolist()])
    set_limits(ax, (least, most, is_log), mode)
    _faint(ax, steps, middle)
    for m, color, label in best:
        ax.fill_between(steps, low[m], high[m], color=color, alpha=0.2, lw=0)
        ax.plot(steps, middle[m], color=color, lw=2, label=label)
    diverged = middle[(result.status == "diverged").any(1)]
    ends = [
        (steps[i], line[i]) for line in diverged for i in _last(line[:-1]) if np.isnan(line[-1])
    ]
    ends = [end for end in ends if least <= end[1] <= most]
    if ends:
        ax.plot(*zip(*ends, strict=True), "x", color=DARK, ms=4, label="diverged")
    seeds = f", median and range of {len(result.seeds)} seeds" if len(result.seeds) > 1 else ""
    ax.set(xlabel="updates", ylabel=metric)
    tidy(ax, f"{metric} of {len(middle)} members{seeds}")
    legend_below(ax, title=title)


def _over_seeds(values: np.ndarray, mode: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return median, minimum and maximum over the seeds. A diverged seed counts as the worst, so
    that the median does not improve when it ends.
    """
    there = ~np.isnan(values).all(1)
    middle, low, high = (np.full(there.shape, np.nan) for _ in range(3))
    columns = np.moveaxis(values, 1, -1)[there]
    middle[there] = np.median(
        np.where(np.isnan(columns), -np.inf if mode == "max" else np.inf, columns), -1
    )
    low[there], high[there] = np.nanmin(columns, -1), np.nanmax(columns, -1)
    return np.where(np.isfinite(middle), middle, np.nan), low, high


def _last(line: np.ndarray) -> np.ndarray:
    """Return the index of a curve's last value, or nothing if it has none."""
    return np.flatnonzero(~np.isnan(line))[-1:]


def _faint(ax: Any, steps: np.ndarray, lines: np.ndarray) -> None:
    for line in lines:
        ax.plot(
            steps, line, color=GREY, lw=0.8, alpha=max(0.25, min(1.0, 20 / len(lines))), zorder=1
        )


def _highlighted(result: Any, top: int) -> tuple[list[tuple[int, str, str]], str]:
    """Return (member, colour, label) of the best members, or of the best of each method, and the
    title for the labels.
    """
    settings, (hue, colors, values) = shown_settings(result), by_hue(result)
    order = list(dict.fromkeys(p.member for p in result.ranking() if np.isfinite(p.score)))
    if hue is None:
        best = dict(zip(order[:top], COLORS, strict=False))
    else:
        best = {
            next(m for m in order if values[m] == v): colors[v]
            for v in dict.fromkeys(values[m] for m in order)
        }
    names = list(dict.fromkeys(name for m in best for name in settings[m]))
    names = sorted(names, key=lambda name: name != hue)
    places = {place.member: place for place in result.ranking()}
    scores = show_numbers([places[m].score for m in best])
    columns = [show_values([settings[m].get(name, "–") for m in best]) for name in names]
    labels = [
        ", ".join(column[i] for column in columns) + f":  {scores[i]}{show_spread(places[m])}"
        for i, m in enumerate(best)
    ]
    title = (
        f"{'the best of each' if hue else f'the best {len(best)}'}; {', '.join(names)}:  "
        f"{result.score_name}"
    )
    return [
        (m, color, label) for (m, color), label in zip(best.items(), labels, strict=True)
    ], title


def brackets(ax: Any, result: Any, metric: str) -> None:
    """Draw the curves that each rung ended, and above them the number of members left."""
    steps, (middle, _, _) = result.history["step"], _over_seeds(result.history[metric], result.mode)
    set_limits(ax, limits(middle, result.mode), result.mode)
    dropped = {m: i for i, rung in enumerate(result.rungs) for m in rung.dropped}
    shades = np.linspace(0.85, 0.5, len(result.rungs))
    for m, line in enumerate(middle):
        rung = dropped.get(m)
        ends = (
            {"color": COLORS[0], "lw": 1.2, "zorder": 3}
            if rung is None
            else {"color": str(shades[rung]), "lw": 0.9}
        )
        ax.plot(steps, line, **ends)
        if rung is not None:
            ax.plot(steps[_last(line)], line[_last(line)], ".", color=str(shades[rung]), ms=5)
    place = result.ranking()[0]
    ax.plot(
        steps,
        middle[place.member],
        color=COLORS[5],
        lw=2.2,
        zorder=4,
        label=f"best: {_told(result, place.member)}",
    )
    ax.plot([], [], color=COLORS[0], lw=1.2, label="trained to the end")
    ax.plot([], [], ".-", color="0.65", label="dropped at a rung")
    for rung in result.rungs:
        ax.axvline(rung.step, color=DARK, lw=0.8, ls=":", zorder=0)
    ax.set(xlabel="updates", ylabel=metric, xlim=(0, steps[-1]))
    if steps[-1] > 8 * result.rungs[0].step:
        log_scale(ax.xaxis, steps[0], steps[-1])
        ax.set_xlim(min(steps[0], result.rungs[0].step / 2), steps[-1])
    tidy(ax, f"{metric} of {len(middle)} members, fewer after each rung")
    legend_below(ax)
    _survivors(ax.inset_axes((0, 1.03, 1, 0.16), sharex=ax), result)


def _told(result: Any, m: int) -> str:
    settings = shown_settings(result)[m]
    return ", ".join(f"{name} {show_values([x])[0]}" for name, x in settings.items())


def _survivors(strip: Any, result: Any) -> None:
    edges = [strip.get_xlim()[0], *(rung.step for rung in result.rungs), result.history["step"][-1]]
    counts = [len(result.population), *(len(rung.kept) for rung in result.rungs)]
    strip.stairs(np.log2(np.asarray(counts)) + 1, edges, fill=True, color=COLORS[4], alpha=0.5)
    for left, right, n in zip(edges[:-1], edges[1:], counts, strict=True):
        middle = (left * right) ** 0.5 if strip.get_xscale() == "log" else (left + right) / 2
        strip.text(middle, 0.15, str(n), ha="center", va="bottom", fontsize="small")
    strip.set(ylim=(0, np.log2(counts[0]) + 1.3), yticks=[])
    strip.set_ylabel("members", rotation=0, ha="right", va="center", fontsize="small")
    strip.tick_params(which="both", labelbottom=False, bottom=False)
    strip.spines[["top", "left", "right"]].set_visible(False)


def _line_of(result: Any, member: int, seed: int) -> np.ndarray:
    """Return the member that each point of a run comes from."""
    steps = result.history["step"]
    line = np.full(len(steps), member)
    for until, ancestor in reversed(result.ancestry(member, seed)):
        line[steps <= until] = ancestor
    return line


def lineage(ax: Any, result: Any, name: str) -> None:
    """Draw a hyperparameter of every member over the steps, the copies, and the schedule of the
    winner.
    """
    place = result.ranking()[0]
    seed, steps = place.seeds[0], result.history["step"]
    values = result.hyperparams[name][:, seed]
    edges, index = np.concatenate([[0], steps]), {int(step): i for i, step in enumerate(steps)}
    copies = {
        (c.loser, index[c.step] + 1): c.winner
        for c in result.lineage
        if c.seed == result.seeds[seed]
    }
    for m, line in enumerate(values):
        x, y = [], []
        for i, (begin, end) in enumerate(pairwise(edges)):
            if (m, i) in copies:  # its line ends, and goes on as a branch of the winner's
                x, y = [*x, np.nan, begin], [*y, np.nan, values[copies[m, i], i - 1]]
                ax.plot(begin, line[i], ".", color=GREY, ms=5, zorder=1)
            x, y = [*x, begin, end], [*y, line[i], line[i]]
        ax.plot(x, y, color=GREY, lw=0.9, zorder=1)
    line = _line_of(result, place.member, seed)
    way = values[line, np.arange(len(steps))]
    ax.step(
        edges,
        np.concatenate([way[:1], way]),
        color=COLORS[0],
        lw=2.4,
        zorder=3,
        label="the best and its ancestors",
    )
    moved = steps[:-1][(np.diff(line) != 0)]
    ax.plot(
        moved,
        way[1:][np.diff(line) != 0],
        "o",
        color=COLORS[0],
        ms=5,
        zorder=4,
        label="taken over and moved",
    )
    finite = values[np.isfinite(values)]
    if finite.min() > 0 and finite.max() > 10 * finite.min():
        log_scale(ax.yaxis, finite.min(), finite.max())
    ax.set(xlabel="updates", ylabel=name)
    tidy(ax, _which(result, name, seed))
    legend_below(ax, ncols=2)


def _which(result: Any, name: str, seed: int) -> str:
    which = f", seed {result.seeds[seed]}" if len(result.seeds) > 1 else ""
    return f"{name} of {len(result.population)} members{which}"


def evolution(ax: Any, result: Any, metric: str) -> None:
    """Draw scores of population-based training, the best run and its ancestors in colour."""
    place = result.ranking()[0]
    seed, steps = place.seeds[0], result.history["step"]
    values = result.history[metric][:, seed]
    mode = result.mode if metric == result.score_name else "linear"
    set_limits(ax, limits(values, mode), mode)
    _faint(ax, steps, values)
    way = values[_line_of(result, place.member, seed), np.arange(len(steps))]
    ax.plot(steps, way, color=COLORS[0], lw=2.4, label="the best and its ancestors")
    ax.set(xlabel="updates", ylabel=metric)
    tidy(ax, _which(result, metric, seed))
    legend_below(ax)
