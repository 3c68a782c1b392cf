"""What came of a sweep: every run's numbers, the ranking, the best member."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from optax_lite.core.types import PyTree
from optax_lite.core.validate import ArgumentError
from optax_lite.sweep import report
from optax_lite.sweep._engine.perturb import resolve
from optax_lite.sweep._plots.figure import plot
from optax_lite.sweep.population import Population, show_settings
from optax_lite.sweep.spaces import edges

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes


class Rung(NamedTuple):
    """What successive halving decided at a step."""

    step: int
    kept: tuple[int, ...]  # members, best first
    dropped: tuple[int, ...]


class Copy(NamedTuple):
    """That a member took over from another one, in population-based training."""

    step: int
    seed: int
    loser: int
    winner: int


class Best(NamedTuple):
    """The best member of a sweep, ready for use."""

    index: int  # in the population
    settings: dict[str, Any]
    score: float  # the mean over its seeds
    spread: float  # the standard deviation over its seeds, NaN of one
    optimizer: Any  # the member, or its "tx" where it is a dict
    # of its best seed, or what a function of your own returned; None where it was left out on the
    # way
    params: PyTree
    notes: tuple[str, ...]  # that a setting lies at the edge of the space

    def __repr__(self) -> str:
        told = (
            f"Best(member {self.index}, {show_settings(self.settings)}: {report.show_score(self)})"
        )
        return "\n  ".join([told, *(f"! {note}" for note in self.notes)])


class Place(NamedTuple):
    """A place in the ranking."""

    member: int
    seeds: tuple[int, ...]  # which ones count, by their position in `Result.seeds`
    score: float  # the mean over them, infinite where one diverged, NaN where there is none
    spread: float


@dataclass(repr=False, eq=False)
class Result:
    """What `run` returns: print it, ask for `best()`, `table()`, `plot()`, or take the arrays.

    Members are ranked by the mean of their scores over the seeds. A diverged seed counts as the
    worst; a member that was pruned comes behind all that went on longer; where the sweep was
    interrupted, runs are compared at the last evaluation that all of them reached. In
    population-based training each run stands for itself.
    """

    population: Population
    seeds: tuple[int, ...]
    mode: str  # "min" or "max"
    score_name: str
    # (members, seeds): the last of each run; infinitely bad where it diverged, NaN without any
    scores: np.ndarray
    status: np.ndarray  # (members, seeds): "done", "pruned", "diverged", "stopped"
    steps: np.ndarray  # (members, seeds): updates made
    # "step" (points,); "loss" and others (members, seeds, points), NaN where not there
    history: dict[str, np.ndarray]
    # those that changed on the way (members, seeds, points): what led to a point
    hyperparams: dict[str, np.ndarray]
    rungs: tuple[Rung, ...]
    lineage: tuple[Copy, ...]
    # (member, position of a seed) -> what that run ended with
    outputs: Callable[[int, int], PyTree]
    seconds: float  # in all
    compile_seconds: float  # of them
    compiles: int  # without those of the probes
    probes: int
    chunk: int | tuple[int, ...]  # runs side by side, by structure
    interrupted: bool
    notes: tuple[str, ...]

    def best(self) -> Best:
        """The first of the ranking, with its optimizer and its parameters; the first of several
        that are equal.
        """
        place = self.ranking()[0]
        m, values = place.member, self.compared()[place.member, list(place.seeds)]
        if not np.isfinite(values).any():
            problem = (
                f"{self.score_name}, the score, is NaN or infinite in every run that did not "
                "diverge"
            )
            problem += "; look at what computes it"
            if (self.status == "diverged").all():
                problem = (
                    f"all {self.scores.size} runs diverged, the longest after {self.steps.max()} "
                    "updates"
                )
                problem += "; sweep over smaller learning rates"
            elif self.interrupted:
                problem = "no run has a score yet: the sweep ended before the first evaluation"
            raise ArgumentError(problem, "best")
        seed = place.seeds[int(np.nanargmin(self._losses(values)))]
        member = self._as_ended(m, seed)
        optimizer = member["tx"] if isinstance(member, dict) and "tx" in member else member
        try:
            params = self.outputs(m, seed)
        except ArgumentError:  # pruned, and better than all that were not
            params = None
        settings = self.settings(m, seed)
        return Best(m, settings, place.score, place.spread, optimizer, params, self.edges())

    def ranking(self) -> list[Place]:
        """All members, or all runs of population-based training, the best first."""
        dropped = {m: i for i, rung in enumerate(self.rungs) for m in rung.dropped}
        compared, seeds = self.compared(), range(len(self.seeds))
        each = [(s,) for s in seeds] if self.hyperparams else [tuple(seeds)]

        def key(place):
            values = self._losses(compared[place.member, list(place.seeds)])
            bad, finite = np.isinf(values), values[np.isfinite(values)]
            rung = dropped.get(place.member, len(self.rungs))
            return (
                np.isnan(values).any(),
                bad.all(),
                -rung,
                bad.sum(),
                finite.mean() if finite.size else np.inf,
            )

        return sorted(
            (
                _place(m, some, compared[m, list(some)])
                for m in range(len(self.population))
                for some in each
            ),
            key=key,
        )

    def compared(self) -> np.ndarray:
        """The scores by which runs are ranked: the last ones, or those at the last point that all
        of them reached.
        """
        alive = np.isin(self.status, ("done", "stopped")) & ~np.isnan(self.scores)
        if not self.interrupted or not alive.any():
            return self.scores
        values = self.history[self.score_name]
        there = ~np.isnan(values[alive])
        common = int((there.shape[1] - 1 - there[:, ::-1].argmax(1)).min())
        return np.where(alive, values[..., common], self.scores)

    def edges(self) -> tuple[str, ...]:
        """What says that the best setting lies at the edge of the space, so that a better one may
        lie beyond it.
        """
        place, every = self.ranking()[0], self.population
        if self.hyperparams or not np.isfinite(place.score):
            return ()
        m = place.member  # by itself, as others may have its settings from another space
        return edges(
            Population((every.settings[m],), (every[m],), (every.spaces[m],)), every.settings[m]
        )

    def _losses(self, values: np.ndarray) -> np.ndarray:
        return values if self.mode == "min" else -values

    def settings(self, member: int, seed: int) -> dict[str, Any]:
        """The settings of a run, with those that changed on the way as they ended; `seed` is a
        position.
        """
        return {**self.population.settings[self._origin(member, seed)], **self.ended(member, seed)}

    def ended(self, member: int, seed: int) -> dict[str, float]:
        """The hyperparameters that a run ended with, of those that changed on the way."""
        found = {name: values[member, seed] for name, values in self.hyperparams.items()}
        return {
            name: float(x[~np.isnan(x)][-1]) for name, x in found.items() if not np.isnan(x).all()
        }

    def ancestry(self, member: int, seed: int) -> list[tuple[int, int]]:
        """Whom a run descends from: (step, member), each up to that step, the earliest first; the
        run itself last.
        """
        line = [(int(self.history["step"][-1]), member)]
        for copy in reversed(self.lineage):
            if copy.seed == self.seeds[seed] and copy.loser == line[0][1]:
                line.insert(0, (copy.step, copy.winner))
        return line

    def _origin(self, member: int, seed: int) -> int:
        return self.ancestry(member, seed)[0][1]

    def _as_ended(self, m: int, seed: int) -> PyTree:
        member, ended = self.population[self._origin(m, seed)], self.ended(m, seed)
        leaves, treedef = jax.tree.flatten(member)
        for name, i in resolve(member, ended).items():
            leaves[i] = ended[name]
        return treedef.unflatten(leaves)

    def __repr__(self) -> str:
        return report.summary(self)

    def table(self, n: int | None = 10) -> report.Table:
        """The first n of the ranking, all with None: prints in a terminal and in a notebook."""
        return report.table(self, n)

    def plot(
        self,
        kind: str | None = None,
        *,
        names: str | Sequence[str] | None = None,
        metric: str | None = None,
        top: int = 5,
        ax: "Axes | None" = None,
    ) -> Any:
        """Draw what there is to see: a figure of all pictures, or the Axes of one kind.

        "curves": a line for each member, the `top` best in colour, or the best of each method; of
        `metric`, the score unless told otherwise. "axes": the score against each hyperparameter, or
        those of `names`. "heatmap": over two axes of a grid. "brackets": what successive halving
        let live. "lineage": what population-based training did with its hyperparameters, and how
        the best run came to its own. `ax` takes a picture that is one.
        """
        return plot(self, kind, names, metric, top, ax)

    def rows(self) -> list[dict[str, Any]]:
        """All runs, one dict each: member, seed, settings, score, status, steps."""
        return report.rows(self)

    def to_csv(self, path: str | Path) -> None:
        """Write `rows()` to a file."""
        report.write_csv(self, path)

    def to_pandas(self) -> "pandas.DataFrame":
        """`rows()` as a DataFrame."""
        return report.frame(self)


def _place(member: int, seeds: tuple[int, ...], values: np.ndarray) -> Place:
    spread = float(values.std(ddof=1)) if len(seeds) > 1 and np.isfinite(values).all() else np.nan
    return Place(member, seeds, float(values.mean()), spread)
