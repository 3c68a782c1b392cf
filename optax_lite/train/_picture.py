"""The picture of one or several histories."""

from itertools import chain
from typing import Any

import numpy as np

from optax_lite._plotting import COLORS, legend_below, tidy

# Marks on what a history drew, by which the next one in the same axes finds it.
_LOSS, _EVALS = "loss of a history", "evaluations of histories"


def draw(history: Any, ax: Any, label: str | None) -> None:
    """Draw the loss of a run on the left axis and its evaluations on the right one, beside those of
    other runs.
    """
    right = _right_axis(ax) if history.evals else None
    runs = sum(line.get_gid() == _LOSS for line in ax.lines)
    if label is None and runs:
        label = f"run {runs + 1}"
    which = "" if label is None else f"{label}: "
    color, *others = _free_colors(ax, right)
    steps, loss, name = history.steps, history.loss, "loss"
    window = len(loss) // 50
    if window > 3:
        ax.plot(steps, loss, color=color, lw=1, alpha=0.25)
        loss = np.convolve(loss, np.full(window, 1 / window), "valid")
        steps, name = steps[window - 1 :], f"loss, mean of {window}"
    ax.plot(steps, loss, color=color, lw=1.6, label=f"{which}{name}", gid=_LOSS)
    if right is not None:
        for i, (name, values) in enumerate(history.evals.items()):
            # A run alone has a colour for each quantity, several runs have one each.
            style = {"color": color, "ls": "--"} if which else {"color": others[i % len(others)]}
            style |= {"marker": "os^Dv"[i % 5], "ms": 4, "label": f"{which}{name}"}
            right.plot(history.eval_steps, values, **style)
        names = dict.fromkeys([*filter(None, right.get_ylabel().split(", ")), *history.evals])
        right.set_ylabel(", ".join(names))
        right.spines["top"].set_visible(False)
    _scale(ax)
    ax.set(xlabel="updates", ylabel="loss")
    tidy(ax)
    handles = [line for axes in (ax, right) if axes for line in _labelled(axes)]
    legend_below(ax, handles, ncols=min(1 + len(history.evals), 3))


def _right_axis(ax: Any) -> Any:
    """Return the axis on the right that an earlier history made, or a new one."""
    place = ax.get_position(original=True).bounds
    for other in ax.get_shared_x_axes().get_siblings(ax):
        if other.get_gid() == _EVALS and other.get_position(original=True).bounds == place:
            return other
    right = ax.twinx()
    right.set_gid(_EVALS)
    return right


def _labelled(axes: Any) -> list[Any]:
    return axes.get_legend_handles_labels()[0]


def _free_colors(ax: Any, right: Any) -> list[str]:
    """Return the colours that no line has yet; all of them where every one is taken."""
    taken = {line.get_color() for line in chain(ax.lines, right.lines if right else ())}
    every = [*COLORS, *(f"C{i}" for i in range(10))]
    return [color for color in every if color not in taken] or every


def _scale(ax: Any) -> None:
    """Make the left axis logarithmic where all losses on it are positive and span a decade."""
    values = np.concatenate([np.asarray(line.get_ydata(), float) for line in ax.lines])
    values = values[np.isfinite(values)]
    if not values.size:
        return
    if values.min() <= 0:
        if ax.get_yscale() == "log":
            ax.set_yscale("linear")
    elif values.max() > 10 * values.min():
        ax.set_yscale("log")
