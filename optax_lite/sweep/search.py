"""Stop bad runs early: which runs go on at a rung, and which take over the parameters of a better
one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from optax_lite._numbers import is_list, is_real, is_whole
from optax_lite.core.validate import ArgumentError, check_count
from optax_lite.errors.calls import usage


@dataclass(frozen=True)
class SuccessiveHalving:
    """Rungs at which only a part of the members goes on; `successive_halving` makes it."""

    rungs: tuple[int, ...]
    keep: float

    def points(self, steps: int) -> set[int]:
        """Return the steps at which decisions are made."""
        if self.rungs[-1] >= steps:
            raise ArgumentError(
                f"rungs must be below the {steps} steps of the training, got {self.rungs[-1]}"
            )
        return set(self.rungs)

    def survivors(self, losses: np.ndarray) -> np.ndarray:
        """Return the members that go on, best first; lower is better, and NaN marks those that have
        ended.
        """
        order = np.argsort(np.where(np.isnan(losses), np.inf, losses), kind="stable")
        present = np.count_nonzero(~np.isnan(losses))
        return order[: max(1, int(np.ceil(self.keep * present - 1e-9)))] if present else order[:0]


@usage("search=successive_halving(rungs, keep=1/3)")
def successive_halving(rungs: Sequence[int], keep: float = 1 / 3) -> SuccessiveHalving:
    """Let only the best share of the members continue at each rung. Jamieson & Talwalkar 2016.

        sweep.run(population, train, search=sweep.successive_halving([100, 300, 900], keep=1/3))

    Of n members, the best ⌈keep·n⌉ (at least one) by mean score over their seeds continue; all
    populations of a sweep compete.

    Args:
        rungs: Rising numbers of updates, less than the steps of the training.
        keep: Share of the members that continues, above 0 and below 1.

    Returns:
        A search for `run`.
    """
    given: Any = rungs if is_list(rungs) else (rungs,)
    steps = tuple(int(r) if is_whole(r) else r for r in given)
    for rung in steps:
        check_count(rung=rung)
    if not steps or any(b <= a for a, b in pairwise(steps)):
        raise ArgumentError(f"rungs must be increasing numbers of updates, got {list(steps)}")
    if not is_real(keep) or not 0 < keep < 1:
        raise ArgumentError(f"keep must be above 0 and below 1, got {keep!r}")
    return SuccessiveHalving(steps, float(keep))


@dataclass(frozen=True)
class PBT:
    """Population-based training; `pbt` makes it."""

    every: int
    perturb: Mapping[str, tuple[float, ...]]
    bounds: Mapping[str, tuple[float, ...]]  # low and high
    fraction: float
    seed: int

    def points(self, steps: int) -> set[int]:
        """Return the steps at which decisions are made; not the last one, after which nothing would
        follow.
        """
        return set(range(self.every, steps, self.every))

    def copies(self, losses: np.ndarray, rng: np.random.Generator) -> list[tuple[int, int]]:
        """Return (loser, winner) for each of the worst part; lower is better, and diverged runs are
        worst of all.
        """
        losses = np.where(np.isnan(losses), np.inf, losses)
        order, n = np.argsort(losses, kind="stable"), max(1, int(self.fraction * len(losses)))
        best = [i for i in order[:n] if np.isfinite(losses[i])]
        losers = [
            i for i in order[::-1] if i in order[len(order) - n :] or not np.isfinite(losses[i])
        ]
        return (
            [(int(loser), int(rng.choice(best))) for loser in losers if loser not in best]
            if best
            else []
        )

    def explore(self, path: str, value: float, rng: np.random.Generator) -> float:
        """Multiply the value by a random one of its factors, within its bounds."""
        low, high = self.bounds.get(path, (-np.inf, np.inf))
        return float(np.clip(value * rng.choice(self.perturb[path]), low, high))


@usage("search=pbt(every, perturb={'learning_rate': (0.8, 1.25)})")
def pbt(
    every: int,
    perturb: Mapping[str, Sequence[float]],
    *,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    fraction: float = 0.25,
    seed: int = 0,
) -> PBT:
    """Let the worst members copy the best from time to time, with perturbed hyperparameters.
    Jaderberg et al. 2017.

        perturb, bounds = {"learning_rate": (0.8, 1.25)}, {"learning_rate": (1e-5, 1.0)}
        search = sweep.pbt(200, perturb=perturb, bounds=bounds)

    This is population-based training with truncation selection: each of the worst `fraction` of the
    members copies parameters, state and hyperparameters of a random one of the best `fraction`, and
    multiplies each of `perturb` by a random one of its factors, within `bounds`. Names are paths as
    in `tx.hyperparams`, or their ends where only one path ends so. Perturbed numbers are floats,
    even where the members have ints. Each seed is a population of its own.

    Args:
        every: Updates between two exchanges, an integer of at least 1.
        perturb: Factors to choose from, by the name of a hyperparameter.
        bounds: Limits (low, high) by name, for some of those in `perturb`.
        fraction: Part of the members that is replaced, above 0 and at most 0.5.
        seed: Seed of the random choices, an integer.

    Returns:
        A search for `run`.
    """
    check_count(every=every)
    if not isinstance(perturb, Mapping) or not perturb:
        raise ArgumentError(
            f"perturb must be a dict such as {{'learning_rate': (0.8, 1.25)}}, got {perturb!r}"
        )
    if bounds is not None and not isinstance(bounds, Mapping):
        raise ArgumentError(
            f"bounds must be a dict such as {{'learning_rate': (1e-5, 1.0)}}, got {bounds!r}"
        )
    factors = {name: _numbers("perturb", name, values) for name, values in perturb.items()}
    limits = {name: _numbers("bounds", name, values) for name, values in (bounds or {}).items()}
    for name, limit in limits.items():
        if len(limit) != 2 or not limit[0] < limit[1]:
            raise ArgumentError(f"bounds[{name!r}] must be (low, high), got {limit}")
        if name not in factors:
            raise ArgumentError(
                f"bounds has {name!r}, which is not in perturb; perturb has {list(factors)}"
            )
    if not is_real(fraction) or not 0 < fraction <= 0.5:
        raise ArgumentError(f"fraction must be above 0 and at most 0.5, got {fraction!r}")
    return PBT(every, factors, limits, float(fraction), seed)


def _numbers(argument: str, name: str, values: Any) -> tuple[float, ...]:
    try:
        found = tuple(float(v) for v in values)
    except TypeError:
        found = ()
    if not found or not all(np.isfinite(found)):
        raise ArgumentError(
            f"{argument}[{name!r}] must be numbers such as (0.8, 1.25), got {values!r}"
        )
    return found


Search = SuccessiveHalving | PBT
Score = Callable[[Any], Any] | str | None
