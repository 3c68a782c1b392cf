"""Choose the pictures of a sweep and lay them out in a figure."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import zip_longest
from typing import Any

from optax_lite._optional import optional_import
from optax_lite._plotting import check_axes
from optax_lite.core.validate import ArgumentError, check_count, closest
from optax_lite.sweep._plots.course import brackets, curves, evolution, lineage
from optax_lite.sweep._plots.scales import View
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
        raise ArgumentError(f"kind must be one of {', '.join(_WHY)} or None, got {kind!r}")
    check_count(top=top)
    metric, axes = _metric(result, metric), _axes(result, names)
    every = _pictures(View.of(result), axes, metric, top)
    if kind is not None and not every[kind]:
        raise ArgumentError(f"nothing to draw for kind {kind!r}: {_WHY[kind]}")
    shown = _default(result, every) if kind is None else every[kind]
    if not shown:
        raise ArgumentError("nothing to draw: there is one evaluation, and no axis has two values")
    if ax is not None:
        check_axes("plot", ax, f"result.plot({kind!r})")
        if len(shown) > 1:
            raise ArgumentError(
                f"ax takes one picture, but there are {len(shown)}; choose a kind or an axis"
            )
        shown[0](ax)
        return ax
    columns = min(len(shown), 2 if len(shown) < 5 else 3)
    rows = -(-len(shown) // columns)
    figure, grid = plt.subplots(
        rows, columns, figsize=(6.4 * columns, 4.8 * rows), layout="constrained", squeeze=False
    )
    for place, draw in zip_longest(grid.flat, shown):
        if draw is None:
            place.remove()
        else:
            draw(place)
    drawn = grid.flat[: len(shown)]
    return figure if kind is None else drawn[0] if len(drawn) == 1 else drawn


def _metric(result: Any, metric: str | None) -> str:
    known = [name for name in result.history if name != "step"]
    if metric is not None and metric not in known:
        raise ArgumentError(
            f"metric {metric!r} was not measured; there are {closest(metric, known)}"
        )
    return metric or result.score_name


def _axes(result: Any, names: str | Sequence[str] | None) -> list[str]:
    known = result.population.axes
    asked = list(known if names is None else [names] if isinstance(names, str) else names)
    for name in asked:
        if name not in known:
            raise ArgumentError(
                f"names has {name!r}, which is not an axis; there are {', '.join(known)}"
            )
    return asked


def _pictures(view: View, axes: list[str], metric: str, top: int) -> dict[str, list[Draw]]:
    """Return all available pictures by kind."""
    result, draw = view.result, partial(partial, view=view)
    is_course = len(result.history["step"]) > 1
    course = draw(evolution) if result.lineage else draw(curves, top=top)
    several = [name for name in axes if len({s[name] for s in view.settings if name in s}) > 1]
    pairs = {
        category: pair_of(view, [m for m, h in enumerate(view.hues) if h == category], axes)
        for category in view.colors
    }
    return {
        "curves": [partial(course, metric=metric)] * is_course,
        "brackets": [draw(brackets, metric=metric)] * (is_course and bool(result.rungs)),
        "lineage": [draw(lineage, name=name) for name in result.hyperparams if result.lineage],
        "axes": [draw(against, name=name) for name in several],
        "heatmap": [
            draw(heatmap, names=pair, category=category) for category, pair in pairs.items() if pair
        ],
    }


def _default(result: Any, every: dict[str, list[Draw]]) -> list[Draw]:
    """Return the informative pictures: brackets include the curves, and initial settings say little
    if they changed during training.
    """
    left_out = (
        ["curves"] if every["brackets"] else ["axes", "heatmap"] if result.hyperparams else []
    )
    return [draw for kind, pictures in every.items() if kind not in left_out for draw in pictures]
