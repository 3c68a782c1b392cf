"""The result of a sweep: every run's numbers, the ranking, the best member."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from optax_lite.core.config import is_key
from optax_lite.core.types import PyTree
from optax_lite.core.validate import ArgumentError, closest
from optax_lite.errors.calls import usage
from optax_lite.sweep import report
from optax_lite.sweep._engine.perturb import resolve
from optax_lite.sweep._plots.figure import plot
from optax_lite.sweep.population import Population, show_settings
from optax_lite.sweep.spaces import edges

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes


class Rung(NamedTuple):
    """The decision of successive halving at a step."""

    step: int
    kept: tuple[int, ...]  # members, best first
    dropped: tuple[int, ...]


class Copy(NamedTuple):
    """A member that took over from another one, in population-based training."""

    step: int
    seed: int
    loser: int
    winner: int


class Best(NamedTuple):
    """The best member of a sweep, ready for use."""

    index: int  # in the population
    settings: dict[str, Any]  # by axis, those that changed on the way as they ended
    score: float  # the mean over its seeds
    spread: float  # the standard deviation over its seeds, NaN of one
    optimizer: Any  # the member, or its "tx" where it is a dict
    # of its best seed, averaged where the optimizer of a loss averages; None where there are none
    params: PyTree
    # what its best seed ended with: these params, the carry of an update, or what a function
    # returned; None where it was left out on the way
    output: PyTree
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
    """The result of `run`: print it, ask for `best()`, `table()`, `plot()`, or take the arrays.

    Members are ranked by the mean of their scores over the seeds. A diverged seed counts as the
    worst. A pruned member ranks behind all that ran longer. If the sweep was interrupted, runs are
    compared at the last evaluation that all of them reached. In population-based training each run
    is ranked on its own.
    """

    population: Population  # the members
    seeds: tuple[int, ...]  # each trains every member
    trained: str  # a "loss", an "update", or a "function", which has no updates to count
    mode: str  # "min" or "max"
    score_name: str  # name of the number that is compared
    # (members, seeds): the last of each run; infinitely bad where it diverged, NaN without any
    scores: np.ndarray
    status: np.ndarray  # (members, seeds): "done", "pruned", "diverged", "stopped"
    steps: np.ndarray  # (members, seeds): updates made
    # "step" (points,); "loss" and others (members, seeds, points), NaN where not there
    history: dict[str, np.ndarray]
    # those that changed on the way (members, seeds, points): what led to a point
    hyperparams: dict[str, np.ndarray]
    rungs: tuple[Rung, ...]  # what successive halving decided
    lineage: tuple[Copy, ...]  # who took over from whom in population-based training
    # (member, position of a seed) -> what that run ended with
    outputs: Callable[[int, int], PyTree]
    seconds: float  # in all
    compile_seconds: float  # of them
    compiles: int  # without those of the probes
    probes: int  # programs compiled to try chunk sizes
    chunk: int | tuple[int, ...]  # runs side by side, by structure
    interrupted: bool  # by Ctrl-C
    notes: tuple[str, ...]  # what a reader should know

    @usage("result.best()")
    def best(self) -> Best:
        """Return the first of the ranking, with its optimizer and its parameters; ties go to the
        earlier one.
        """
        place = self.ranking()[0]
        m, values = place.member, self.compared()[place.member, list(place.seeds)]
        if not np.isfinite(values).any():
            is_loop, why = self.trained != "function", ""
            if self.trained == "update":
                why = ": a number that update returned was not finite"
            if is_loop and (self.status == "diverged").all():
                raise ArgumentError(
                    f"all {self.scores.size} runs diverged, the longest after {self.steps.max()} "
                    f"updates{why}; sweep over smaller learning rates"
                )
            raise ArgumentError(
                "no run has a score yet: the sweep ended before the first evaluation"
                if self.interrupted
                else f"{self.score_name}, the score, is NaN or infinite in every run"
                f"{' that did not diverge' * is_loop}; check what computes it"
            )
        seed = place.seeds[int(np.nanargmin(self._losses(values)))]
        member = self._as_ended(m, seed)
        optimizer = member["tx"] if isinstance(member, dict) and "tx" in member else member
        try:
            output = self.outputs(m, seed)
        except ArgumentError:  # pruned, and better than all that were not
            output = None
        params, settings = self._params(output), self.settings(m, seed)
        return Best(m, settings, place.score, place.spread, optimizer, params, output, self.edges())

    def _params(self, output: PyTree) -> PyTree:
        """Return the params of a run: its output, or the entry or field "params" of that."""
        if self.trained == "loss":
            return output
        if isinstance(output, Mapping):
            return output.get("params")
        return getattr(output, "params", None)

    def ranking(self) -> list[Place]:
        """Return all members, or all runs of population-based training, the best first."""
        dropped = {m: i for i, rung in enumerate(self.rungs) for m in rung.dropped}
        compared, seeds = self.compared(), range(len(self.seeds))
        each = [(s,) for s in seeds] if self.hyperparams else [tuple(seeds)]

        def key(place):
            values = self._losses(compared[place.member, list(place.seeds)])
            bad, finite = np.isinf(values), values[np.isfinite(values)]
            rung = dropped.get(place.member, len(self.rungs))
            mean = finite.mean() if finite.size else np.inf
            return np.isnan(values).any(), bad.all(), -rung, bad.sum(), mean

        members = range(len(self.population))
        places = [_place(m, some, compared[m, list(some)]) for m in members for some in each]
        return sorted(places, key=key)

    def compared(self) -> np.ndarray:
        """Return the scores by which runs are ranked: the last ones, or those at the last point
        that all of them reached.
        """
        alive = np.isin(self.status, ("done", "stopped")) & ~np.isnan(self.scores)
        if not self.interrupted or not alive.any():
            return self.scores
        values = self.history[self.score_name]
        there = ~np.isnan(values[alive])
        common = int((there.shape[1] - 1 - there[:, ::-1].argmax(1)).min())
        return np.where(alive, values[..., common], self.scores)

    def edges(self) -> tuple[str, ...]:
        """Report settings of the best member at the edge of the space, beyond which a better one
        may be.
        """
        place, every = self.ranking()[0], self.population
        if self.hyperparams or not np.isfinite(place.score):
            return ()
        return edges(every.spaces[place.member], every.settings[place.member])

    def _losses(self, values: np.ndarray) -> np.ndarray:
        return values if self.mode == "min" else -values

    def settings(self, member: int, seed: int) -> dict[str, Any]:
        """Return the settings of a run, with the final values of those that changed on the way.

        Args:
            member: Number of the member in the population.
            seed: Position of the seed in `Result.seeds`.
        """
        return {**self.population.settings[self._origin(member, seed)], **self.ended(member, seed)}

    def ended(self, member: int, seed: int) -> dict[str, float]:
        """Return the final hyperparameters of a run, of those that changed on the way.

        Args:
            member: Number of the member in the population.
            seed: Position of the seed in `Result.seeds`.
        """
        check_run(member, seed, self.population, self.seeds)
        found = {name: values[member, seed] for name, values in self.hyperparams.items()}
        found = {name: x[~np.isnan(x)] for name, x in found.items()}
        return {name: float(x[-1]) for name, x in found.items() if x.size}

    def ancestry(self, member: int, seed: int) -> list[tuple[int, int]]:
        """Return the line of members that a run descends from: (step, member), each up to that
        step, the run itself last.

        Args:
            member: Number of the member in the population.
            seed: Position of the seed in `Result.seeds`.
        """
        check_run(member, seed, self.population, self.seeds)
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
        """Return the first of the ranking as a table that prints in a terminal and in a notebook.

        Args:
            n: Number of rows; None for all.
        """
        return report.table(self, n)

    @usage("result.plot('curves')")
    def plot(
        self,
        kind: str | None = None,
        *,
        names: str | Sequence[str] | None = None,
        metric: str | None = None,
        top: int = 5,
        ax: "Axes | None" = None,
    ) -> Any:
        """Draw the sweep: a figure of all pictures, or the Axes of one kind.

        "curves": a line for each member, the `top` best in colour, or the best of each method.
        "axes": the score against each hyperparameter. "heatmap": the score over two axes of a grid.
        "brackets": the runs that successive halving kept. "lineage": what population-based training
        did with its hyperparameters, and how the best run came to its own.

        Args:
            kind: Name of one picture; None for a figure of all that apply.
            names: Hyperparameters to show, one or several; None for all.
            metric: Number to show in "curves"; None for the score. Where a function of your own
                was run, an array of one dimension in the dict that it returned.
            top: Number of members in colour in "curves".
            ax: Matplotlib Axes to draw into, for a kind that is a single picture; None for a new
                figure.

        Returns:
            The Figure, or the Axes.
        """
        if kind != "curves" or self.trained != "function":
            return plot(self, kind, names, metric, top, ax)
        metric, series = self._series(metric)
        history = {"step": np.arange(1, series.shape[-1] + 1), metric: series}
        drawn = plot(replace(self, history=self.history | history), kind, names, metric, top, ax)
        drawn.set_xlabel("step")
        return drawn

    def _series(self, metric: str | None) -> tuple[str, np.ndarray]:
        """Return a series that a function returned: its name, which may be left out where there is
        one, and its values (members, seeds, steps), NaN where a run has none.
        """
        found: dict[str, dict[tuple[int, ...], np.ndarray]] = {}
        for run in np.argwhere(self.status != "stopped"):
            output = self.outputs(*map(int, run))
            for name, x in output.items() if isinstance(output, Mapping) else ():
                if np.ndim(x) == 1 and not is_key(x) and np.isrealobj(x):
                    found.setdefault(name, {})[tuple(run)] = np.asarray(x)
        name = next(iter(found), None) if metric is None and len(found) < 2 else metric
        if name not in found:
            known = f"train returned {closest(metric or '', found) if found else 'none'}"
            problem = (
                "metric must name a series, a one-dimensional array in a dict"
                if metric is None
                else f"{metric!r} is not a series, a one-dimensional array"
            )
            raise ArgumentError(f"{problem}; {known}")
        longest = max(map(len, found[name].values()))
        values = np.full((*self.scores.shape, longest), np.nan)
        for run, x in found[name].items():
            values[run][: len(x)] = x
        return name, values

    def rows(self) -> list[dict[str, Any]]:
        """Return all runs, one dict each: member, seed, settings, score, status, steps."""
        return report.rows(self)

    def to_csv(self, path: str | Path) -> None:
        """Write `rows()` to a file.

        Args:
            path: The file, which is overwritten.
        """
        report.write_csv(self, path)

    def to_pandas(self) -> "pandas.DataFrame":
        """Return `rows()` as a DataFrame."""
        return report.frame(self)


def check_run(member: int, seed: int, population: Population, seeds: Sequence[int]) -> None:
    """Raise unless a sweep has a run of this member and, by its position, of this seed."""
    places = ("member", member, population), ("seed, a position in result.seeds,", seed, seeds)
    for name, i, those in places:
        if not 0 <= i < len(those):
            raise ArgumentError(f"{name} must be in 0..{len(those) - 1}, got {i}", "result")


def _place(member: int, seeds: tuple[int, ...], values: np.ndarray) -> Place:
    spread = float(values.std(ddof=1)) if len(seeds) > 1 and np.isfinite(values).all() else np.nan
    return Place(member, seeds, float(values.mean()), spread)
