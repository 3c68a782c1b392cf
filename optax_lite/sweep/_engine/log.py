"""Record the numbers and the status of every run of a sweep, point by point, on the host."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from optax_lite.core.validate import ArgumentError, closest
from optax_lite.sweep._engine.programs import COUNT, DIVERGED
from optax_lite.sweep.result import Copy, Rung
from optax_lite.sweep.search import Score
from optax_lite.sweep.training import BATCH_LOSS

# parts of names of what should be large
_GROWS = ("acc", "reward", "return", "auc", "f1", "precision", "recall")
_ARRAYS = ("diverged_at", "pruned", "seen", "steps")  # of a log, that a checkpoint keeps
_NEVER = np.iinfo(np.int32).max


class Log:
    """The numbers of runs by name and point, and which runs diverged, were pruned, or copied
    others.
    """

    def __init__(
        self,
        members: int,
        seeds: tuple[int, ...],
        points: list[int],
        names: Iterable[Iterable[str]],
        score: Score,
        mode: str,
        is_loop: bool,
    ):
        self.names = list(dict.fromkeys(name for some in names for name in some))
        self.seeds, self.points, self.mode, self.is_loop = seeds, points, mode, is_loop
        self.score = self._score_name(score)
        shape = (members, len(seeds))
        self.values = {
            name: np.full((*shape, len(points)), np.nan, np.float32) for name in self.names
        }
        self.numbers: dict[str, np.ndarray] = {}  # hyperparameters that change on the way
        self.diverged_at = np.full(shape, _NEVER, np.int32)  # the point at which that was seen
        self.pruned = np.zeros(shape, bool)
        self.seen = np.zeros(shape, np.int32)  # points that were measured
        self.steps = np.zeros(shape, int)
        self.rungs: list[Rung] = []
        self.lineage: list[Copy] = []
        self.planned = members * len(seeds) * points[-1]

    def _score_name(self, score):
        if callable(score):
            return "score"
        batch_loss = next(
            (name for name in (BATCH_LOSS, "loss") if name in self.names and self.is_loop), None
        )
        own = [name for name in self.names if name != batch_loss]
        if isinstance(score, str):
            if score not in self.names:
                raise ArgumentError(
                    f"score={score!r} is not a number of a run; there are "
                    f"{closest(score, self.names)}"
                )
            return score
        if score is not None:
            raise ArgumentError(f"score must be a name, a function or None, got {score!r}")
        if len(own) > 1:
            raise ArgumentError(
                f"a run has the numbers {', '.join(own)}; write score={own[0]!r} or another"
            )
        return own[0] if own else "loss"

    def _at(self, runs):
        return np.divmod(np.asarray(runs, int), len(self.seeds))

    # --- what comes in

    def take_in(self, runs: np.ndarray, point: int, measured: Mapping[str, np.ndarray]) -> None:
        """Record the numbers of some runs at a point; ignore pruned ones still in a chunk."""
        here = ~self.pruned[self._at(runs)]
        runs, measured = runs[here], {name: x[here] for name, x in measured.items()}
        at = self._at(runs)
        score = measured[self.score]
        gone = measured[DIVERGED] if self.is_loop else ~np.isfinite(score)
        for name, values in self.values.items():
            if name in measured:
                values[(*at, point)] = np.where(gone, np.nan, measured[name])
        self.steps[at] = measured[COUNT] if self.is_loop else 1
        self.seen[at] = point + 1
        before = self.diverged_at[at]
        self.diverged_at[at] = np.where(gone, np.minimum(before, point), _NEVER)

    def note_numbers(self, runs: np.ndarray, point: int, numbers: Mapping[str, np.ndarray]) -> None:
        """Record the hyperparameters that some runs used up to a point."""
        for name, values in numbers.items():
            empty = np.full((*self.pruned.shape, len(self.points)), np.nan)
            self.numbers.setdefault(name, empty)[(*self._at(runs), point)] = values

    def prune(self, point: int, kept: np.ndarray) -> None:
        """Keep only these members."""
        present = np.flatnonzero(~self.pruned.all(1))
        dropped = np.setdiff1d(present, kept)
        self.pruned[dropped] = True
        self.rungs.append(Rung(self.points[point], tuple(map(int, kept)), tuple(map(int, dropped))))

    def copied(self, step: int, loser: int, winner: int) -> None:
        """Record that a run copied another's state, and so no longer counts as diverged."""
        (m, s), (w, _) = divmod(loser, len(self.seeds)), divmod(winner, len(self.seeds))
        self.diverged_at[m, s] = _NEVER
        self.lineage.append(Copy(step, self.seeds[s], m, w))

    # --- what is asked

    def loss_of(self, runs: np.ndarray, point: int) -> np.ndarray:
        """Return the scores of runs at a point, the lower the better; infinite where a run has
        diverged.
        """
        at = self._at(runs)
        score = self.values[self.score][(*at, point)].astype(float)
        score = score if self.mode == "min" else -score
        return np.where((self.diverged_at[at] <= point) | np.isnan(score), np.inf, score)

    def losses(self, point: int) -> np.ndarray:
        """Return the mean of `loss_of` over the seeds of each member; NaN where it has ended."""
        n, k = self.pruned.shape
        losses = self.loss_of(np.arange(n * k), point).reshape(n, k).mean(1)
        return np.where(self.pruned.all(1), np.nan, losses)

    def goes_on(self, run: int, point: int) -> bool:
        """Tell whether a run continues after a point; a divergence at that point is known only at
        the next.
        """
        m, s = divmod(run, len(self.seeds))
        return not self.pruned[m, s] and not self.diverged_at[m, s] < point

    def progress(self) -> tuple[int, dict[str, float]]:
        """Return the number of updates that are done or no longer needed, and numbers to show."""
        ended = self.pruned | (self.diverged_at < _NEVER)
        made = np.asarray([0, *self.points])[self.seen]
        scores = self.final()[~ended & (self.seen > 0)]
        shown: dict[str, float] = {"alive": int((~ended).sum())}
        if scores.size:
            shown["best"] = float(scores.min() if self.mode == "min" else scores.max())
        return int(np.where(ended, self.points[-1], made).sum()), shown

    def final(self) -> np.ndarray:
        """Return the last score of each run; the worst possible where it diverged."""
        at = np.maximum(self.seen - 1, 0)[..., None]
        last = np.take_along_axis(self.values[self.score], at, -1)[..., 0].astype(float)
        return np.where(self.diverged_at < _NEVER, np.inf if self.mode == "min" else -np.inf, last)

    def status(self, interrupted: bool) -> np.ndarray:
        """Return done, pruned, diverged or stopped, for each run."""
        is_cut = interrupted & (self.seen < len(self.points))
        cases = {"diverged": self.diverged_at < _NEVER, "pruned": self.pruned, "stopped": is_cut}
        return np.select(list(cases.values()), list(cases), "done")

    def history(self) -> dict[str, np.ndarray]:
        """Return every number by name, and the steps at which it was measured."""
        return {"step": np.asarray(self.points), **self.values}

    def remarks(self) -> tuple[str, ...]:
        """Return what a reader should know."""
        grows = any(part in self.score.lower().replace("_", " ") for part in _GROWS)
        if grows and self.mode == "min":
            told = f"the lowest {self.score} counts as the best; write mode='max' if the highest"
            return (f"{told} should",)
        return ()

    # --- for a checkpoint

    def arrays(self) -> dict[str, Any]:
        """Return all arrays of fixed shape."""
        return {"values": dict(self.values)} | {name: getattr(self, name) for name in _ARRAYS}

    def notes(self) -> dict[str, Any]:
        """Return everything else, ready for JSON."""
        numbers = {name: x.tolist() for name, x in self.numbers.items()}
        return {
            "rungs": [list(r) for r in self.rungs],
            "lineage": [list(c) for c in self.lineage],
            "numbers": numbers,
        }

    def restore(self, arrays: Mapping[str, Any], notes: Mapping[str, Any]) -> None:
        """Restore the log from `arrays` and `notes`."""
        self.values = {name: np.array(x) for name, x in arrays["values"].items()}
        for name in _ARRAYS:
            setattr(self, name, np.array(arrays[name]))
        self.rungs = [
            Rung(step, tuple(kept), tuple(dropped)) for step, kept, dropped in notes["rungs"]
        ]
        self.lineage = [Copy(*c) for c in notes["lineage"]]
        self.numbers = {name: np.asarray(x, float) for name, x in notes["numbers"].items()}
