"""Choose the pictures of a sweep and lay them out in a figure."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from optax_lite._optional import optional_import
from optax_lite._plotting import check_axes
from optax_lite.core.validate import ArgumentError, check_count, closest
from optax_lite.errors.calls import errors_named
from optax_lite.sweep._plots.course import brackets, curves, evolution, lineage
from optax_lite.sweep._plots.scales import by_hue, shown_settings
from optax_lite.sweep._plots.space import against, heatmap, pair_of

_WHY = {  # there may be none of a kind
    "curves": "a run was evaluated only once",
    "brackets": "no member was dropped; write search=successive_halving(...)",
    "lineage": "no run took over from another; write search=pbt(...)",
    "axes": "no axis has two values",
    "heatmap": "it needs two axes of a grid with every pair of their values",
}

Draw = Callable[[Any], None]  # on an Axes


def plot(
    result: Any,
    kind: str | None,
    names: str | Sequence[str] | None,
    metric: str | None,
    top: int,
    ax: Any,
) -> Any:
    """Draw a figure of all pictures, or the Axes of one kind."""
    plt = optional_import("matplotlib.pyplot", "result.plot()")
    if kind is not None and kind not in _WHY:
        raise ArgumentError(f"kind must be one of {', '.join(_WHY)} or None, got {kind!r}", "plot")
    with errors_named("plot"):
        check_count(top=top)
    metric, axes = _metric(result, metric), _axes(result, names)
    every = _pictures(result, axes, metric, top)
    if kind is not None and not every[kind]:
        raise ArgumentError(f"nothing to draw for kind {kind!r}: {_WHY[kind]}", "plot")
    shown = _default(result, every) if kind is None else every[kind]
    if not shown:
        raise ArgumentError(
            "nothing to draw: there is one evaluation, and no axis has two values", "plot"
        )
    if ax is not None:
        check_axes("plot", ax, f"result.plot({kind!r})")
        if len(shown) > 1:
            raise ArgumentError(
                f"ax takes one picture, but there are {len(shown)}; choose a kind or an axis",
                "plot",
            )
        shown[0](ax)
        return ax
    columns = min(len(shown), 2 if len(shown) < 5 else 3)
    rows = -(-len(shown) // columns)
    figure, grid = plt.subplots(
        rows, columns, figsize=(6.4 * columns, 4.8 * rows), layout="constrained", squeeze=False
    )
    for place, draw in zip(grid.flat, shown, strict=False):
        draw(place)
    for place in grid.flat[len(shown) :]:
        place.remove()
    drawn = list(grid.flat[: len(shown)])
    return figure if kind is None else drawn[0] if len(drawn) == 1 else np.array(drawn)


def _metric(result: Any, metric: str | None) -> str:
    known = [name for name in result.history if name != "step"]
    if metric is not None and metric not in known:
        raise ArgumentError(
            f"metric {metric!r} was not measured; there are {closest(metric, known)}", "plot"
        )
    return metric or result.score_name


def _axes(result: Any, names: str | Sequence[str] | None) -> list[str]:
    known = result.population.axes
    asked = list(known if names is None else [names] if isinstance(names, str) else names)
    for name in asked:
        if name not in known:
            raise ArgumentError(
                f"names has {name!r}, which is not an axis; there are {', '.join(known)}", "plot"
            )
    return asked


def _pictures(result: Any, axes: list[str], metric: str, top: int) -> dict[str, list[Draw]]:
    """Return all available pictures by kind."""
    is_course, settings = len(result.history["step"]) > 1, shown_settings(result)
    hue, colors, hues = by_hue(result)
    several = [
        name for name in axes if len(dict.fromkeys(s[name] for s in settings if name in s)) > 1
    ]
    maps = []
    for category in colors:
        own = [
            {n: s[n] for n in axes if n in s}
            for s, h in zip(settings, hues, strict=True)
            if h == category
        ]
        if (pair := pair_of(own, hue)) is not None:
            maps.append(partial(heatmap, result=result, names=pair, category=category))
    course = partial(evolution, result=result, metric=metric) if result.lineage else None
    course = course or partial(curves, result=result, metric=metric, top=top)
    return {
        "curves": [course] if is_course else [],
        "brackets": [partial(brackets, result=result, metric=metric)]
        if result.rungs and is_course
        else [],
        "lineage": [
            partial(lineage, result=result, name=name)
            for name in result.hyperparams
            if result.lineage
        ],
        "axes": [partial(against, result=result, name=name) for name in several],
        "heatmap": maps,
    }


def _default(result: Any, every: dict[str, list[Draw]]) -> list[Draw]:
    """Return the informative pictures: brackets include the curves, and initial settings say little
    if they changed during training.
    """
    left_out = (
        ["curves"] if every["brackets"] else ["axes", "heatmap"] if result.hyperparams else []
    )
    return [draw for kind, pictures in every.items() if kind not in left_out for draw in pictures]
