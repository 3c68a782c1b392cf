"""What happened in a fit: numbers by step, a line of text, a picture."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from optax_lite._optional import optional_import
from optax_lite.core.types import PyTree


@dataclass(repr=False)
class History:
    """The course of a `fit`; its repr says in a line what came of it, `plot()` draws it.

    Counts are of updates made by then, so that losses and evaluations share an axis: `loss[k]` was
    taken at the params after `steps[k]` = k updates, `evals["accuracy"][i]` at those after
    `eval_steps[i]`.
    """

    loss: np.ndarray  # of every step, before its update
    steps: np.ndarray  # 0, 1, ...: updates made before each loss, those before `start` included
    metrics: dict[str, np.ndarray]  # the other numbers of every step: those of with_metrics
    evals: dict[str, np.ndarray]  # what eval_fn returned, by name; "eval" where that was one number
    eval_steps: np.ndarray  # updates made before each evaluation
    state: PyTree = field(compare=False)  # of the optimizer at the end
    seconds: float  # of training, without the first step and the evaluations
    compile_seconds: float  # of the first step, nearly all of it compilation
    examples_per_step: int | None  # rows of the first array of a batch
    stopped: str | None  # why it ended before its last step, None if it did not
    end: int = 0  # updates made at the end: the `start` of a run that goes on
    aux: PyTree = field(default=None, compare=False)  # of the last step, where loss_fn returns it
    # at the best evaluation, with `patience`
    best_params: PyTree = field(default=None, compare=False)
    best_step: int | None = None  # updates made before that evaluation

    @property
    def steps_per_second(self) -> float:
        """Throughput after the first step; NaN where there was no other."""
        return (
            (len(self.loss) - 1) / self.seconds
            if self.seconds > 0 and len(self.loss) > 1
            else float("nan")
        )

    @property
    def examples_per_second(self) -> float:
        """`steps_per_second` times the rows of a batch; NaN where these are not known."""
        return self.steps_per_second * (self.examples_per_step or float("nan"))

    def __repr__(self) -> str:
        if not len(self.loss):
            return f"History(no steps, {self.stopped})"
        parts = [f"{len(self.loss)} steps", f"loss {self.loss[0]:.4g} → {self.loss[-1]:.4g}"]
        finite = np.isfinite(self.loss)
        if not finite.all():
            parts.append(f"not finite from step {self.steps[np.argmin(finite)]} on")
        elif self.loss.min() < self.loss[-1]:
            parts.append(f"lowest {self.loss.min():.4g} at step {self.steps[np.argmin(self.loss)]}")
        parts += [f"{name} {values[-1]:.4g}" for name, values in self.evals.items()]
        if len(self.loss) > 1:
            parts.append(f"{self.steps_per_second:.3g} steps/s")
        if len(self.loss) > 1 and self.examples_per_step is not None:
            parts.append(f"{self.examples_per_second:.3g} examples/s")
        parts.append(f"{self.compile_seconds:.2g} s to compile")
        return f"History({', '.join(parts + ([self.stopped] if self.stopped else []))})"

    def plot(self, ax: Any = None) -> Any:
        """Draw the loss, a running mean where it is long, and evaluations on a second axis; return
        the Axes.
        """
        plt = optional_import("matplotlib.pyplot", "history.plot()")
        ax = plt.subplots(figsize=(7, 4), layout="constrained")[1] if ax is None else ax
        window = len(self.loss) // 50
        smooth = window > 3
        ax.plot(
            self.steps,
            self.loss,
            color="C0",
            lw=1,
            alpha=0.3 if smooth else 1,
            label=None if smooth else "loss",
        )
        if smooth:
            mean = np.convolve(self.loss, np.full(window, 1 / window), "valid")
            ax.plot(self.steps[window - 1 :], mean, color="C0", label=f"loss, mean of {window}")
        positive = self.loss[np.isfinite(self.loss)]
        if positive.size and positive.min() > 0 and positive.max() > 10 * positive.min():
            ax.set_yscale("log")
        ax.set(xlabel="updates", ylabel="loss")
        lines = ax.get_legend_handles_labels()
        if self.evals:
            right = ax.twinx()
            for i, (name, values) in enumerate(self.evals.items()):
                right.plot(self.eval_steps, values, "o-", color=f"C{i + 1}", ms=4, label=name)
            right.set_ylabel(", ".join(self.evals))
            lines = tuple(
                a + b for a, b in zip(lines, right.get_legend_handles_labels(), strict=True)
            )
        ax.legend(*lines, frameon=False)
        return ax
