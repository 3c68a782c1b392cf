"""Keep the numbers of a fit by step, and show them as a line of text or a picture."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn, cast

import numpy as np

from optax_lite._numbers import show_number
from optax_lite._optional import optional_import
from optax_lite._plotting import check_axes
from optax_lite.core.types import PyTree
from optax_lite.core.validate import ArgumentError
from optax_lite.errors.suggestions import nearest
from optax_lite.train._picture import draw


def throughput(steps: int, seconds: float) -> float:
    """Steps per second after the first, which compiles; NaN if there was no other."""
    return (steps - 1) / seconds if seconds > 0 and steps > 1 else float("nan")


if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(repr=False)
class History:
    """The losses and evaluations of a `fit`; its repr is one line, and `plot()` draws it.

    Counts are numbers of updates made so far, so that losses and evaluations share an axis:
    `loss[k]` was taken at the params after `steps[k]` = k updates, `evals["accuracy"][i]` at those
    after `eval_steps[i]`.
    """

    loss: np.ndarray  # loss of every step, before its update
    steps: np.ndarray  # 0, 1, ...: updates made before each loss, those before `start` included
    metrics: dict[str, np.ndarray]  # the other numbers of every step: those of with_metrics
    evals: dict[str, np.ndarray]  # what eval_fn returned, by name; "eval" where that was one number
    eval_steps: np.ndarray  # updates made before each evaluation
    state: PyTree = field(compare=False)  # state of the optimizer at the end
    seconds: float  # time of training, without the first step and the evaluations
    compile_seconds: float  # time of the first step, nearly all of it compilation
    examples_per_step: int | None  # rows of the first array of a batch
    stopped: str | None  # why it ended before its last step, None if it did not
    end: int = 0  # updates made at the end: the `start` of a run that goes on
    aux: PyTree = field(default=None, compare=False)  # the last one, if loss_fn returns it
    # at the best evaluation, with `patience`
    best_params: PyTree = field(default=None, compare=False)
    best_step: int | None = None  # updates made before that evaluation

    @property
    def steps_per_second(self) -> float:
        """Return the throughput after the first step; NaN if there was no other."""
        return throughput(len(self.loss), self.seconds)

    @property
    def examples_per_second(self) -> float:
        """Return `steps_per_second` times the rows of a batch; NaN if these are unknown."""
        return self.steps_per_second * (self.examples_per_step or float("nan"))

    if not TYPE_CHECKING:  # a checker would take any name for an attribute

        def __getattr__(self, name: str):
            hint = "" if name.startswith("_") else f"; {self._place_of(name)}"
            raise AttributeError(f"History has no attribute {name!r}{hint}", name=name, obj=self)

    def __getitem__(self, name: object) -> NoReturn:
        raise TypeError(f"History is not a dict, got [{name!r}]; {self._place_of(str(name))}")

    def _place_of(self, name: str) -> str:
        """Say where to find a number that was looked up by name."""
        own = vars(self)
        places = {name: f"history.{name}" for name in own}
        for kind in ("evals", "metrics"):
            places |= {key: f"history.{kind}[{key!r}]" for key in own.get(kind, ())}
        near = [name] if name in places else nearest(name, places)[:1]
        numbers = ", ".join(places[key] for key in places if key in ("loss", "metrics", "evals"))
        return f"write {places[near[0]]}" if near else f"its numbers are in {numbers}"

    def __repr__(self) -> str:
        if not len(self.loss):
            return f"History(no steps, {self.stopped})"
        first, last, lowest = (
            show_number(x, 4) for x in (self.loss[0], self.loss[-1], self.loss.min())
        )
        parts = [f"{len(self.loss)} steps", f"loss {first} → {last}"]
        finite = np.isfinite(self.loss)
        if not finite.all():
            parts.append(f"not finite from step {self.steps[np.argmin(finite)]} on")
        elif self.loss.min() < self.loss[-1]:
            parts.append(f"lowest {lowest} at step {self.steps[np.argmin(self.loss)]}")
        parts += [f"{name} {show_number(values[-1], 4)}" for name, values in self.evals.items()]
        if len(self.loss) > 1:
            parts.append(f"{show_number(self.steps_per_second)} steps/s")
        if len(self.loss) > 1 and self.examples_per_step is not None:
            parts.append(f"{show_number(self.examples_per_second)} examples/s")
        parts.append(f"{self.compile_seconds:.2g} s to compile")
        return f"History({', '.join(parts + ([self.stopped] if self.stopped else []))})"

    def plot(self, ax: "Axes | None" = None, *, label: str | None = None) -> "Axes":
        """Draw the loss, with a running mean over noise, and evaluations on a second axis.

        Args:
            ax: Matplotlib Axes to draw into, where another history may be already; None for a new
                figure. One without a layout gets matplotlib's constrained one.
            label: Name of the run, for a picture of several.

        Returns:
            The Axes.
        """
        plt = optional_import("matplotlib.pyplot", "history.plot()")
        check_axes("plot", ax, "history.plot()")
        ax = plt.subplots(figsize=(7, 4.5), layout="constrained")[1] if ax is None else ax
        draw(self, ax, label)
        return cast("Axes", ax)


def plot_histories(histories: Mapping[str, History], ax: "Axes | None" = None) -> "Axes":
    """Draw several runs in one picture, a colour for each.

        plot_histories({"SGD": sgd_history, "Adam": adam_history})

    Args:
        histories: The runs by name.
        ax: Matplotlib Axes to draw into; None for a new figure.

    Returns:
        The Axes.
    """
    is_dict = isinstance(histories, Mapping)
    if not is_dict or not histories or any(not isinstance(h, History) for h in histories.values()):
        found = {name: type(h).__name__ for name, h in histories.items()} if is_dict else histories
        raise ArgumentError(
            'histories must be a dict of histories by name, {"SGD": history, ...}, got '
            f"{found!r:.60}",
            "plot_histories",
        )
    check_axes("plot_histories", ax, "plot_histories(histories)")
    for name, history in histories.items():
        ax = history.plot(ax, label=name)
    return cast("Axes", ax)
