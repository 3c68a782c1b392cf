"""Optuna suggests, a population is trained, and Optuna gets the results."""

import warnings
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from optax_lite._optional import optional_import
from optax_lite.core.types import PyTree
from optax_lite.core.validate import ArgumentError, check_count
from optax_lite.errors.calls import usage
from optax_lite.sweep._engine.engine import Reused, run
from optax_lite.sweep.population import Population, check_member
from optax_lite.sweep.result import Result
from optax_lite.sweep.search import PBT
from optax_lite.sweep.training import Training

if TYPE_CHECKING:
    import optuna


@usage("sweep.run_study(study, suggest, train, n_trials=64, batch=16)")
def run_study(
    study: "optuna.Study",
    suggest: Callable[[Any], PyTree],
    train: Training | Callable[[PyTree, Any], Any],
    *,
    n_trials: int,
    batch: int = 16,
    catch: type[Exception] | Iterable[type[Exception]] = (),
    **options: Any,
) -> tuple[Result, ...]:
    """Let an Optuna study suggest members, and train them a batch at a time as populations.

        study = optuna.create_study(direction="minimize")
        make = lambda trial: adam(trial.suggest_float("lr", 1e-5, 1, log=True))
        sweep.run_study(study, make, train, n_trials=64)
        study.best_params

    A batch is suggested, trained and reported as a whole, so that the sampler knows its results
    before the next one. The value of a trial is the mean over its seeds. A trial that diverged
    fails, and one that did not reach the end is pruned, with its value so far. Each structure and
    chunk size compiles once for all batches. Several machines can work on one study through its
    storage.

    If `suggest` raises `optuna.TrialPruned`, its trial is pruned. If an exception in `catch` is
    raised, the trial of that `suggest`, or the batch being trained, fails with a warning, and the
    study continues; any other exception ends it. The trials of a batch that ends before it was
    trained fail.

    Args:
        study: The study, as `optuna.create_study` returns it; its direction is the mode.
        suggest: Function of a trial that returns a member, in Optuna's define-by-run style; it may
            choose between methods.
        train: What `training` returns, or a function `(member, key)`, as for `run`.
        n_trials: Number of trials.
        batch: Number of trials to train at a time.
        catch: An exception class or several that do not end the study, as in `study.optimize`.
        **options: Options of `run`, except `mode`, `checkpoint` (the study has its storage) and
            `search=pbt(...)` (which leaves the suggestions).

    Returns:
        The result of each batch.
    """
    optuna = optional_import("optuna", "sweep.run_study")
    if not isinstance(study, optuna.study.Study):
        raise ArgumentError(
            f"study must be what optuna.create_study returns, got {type(study).__name__}; the "
            "order is run_study(study, suggest, train)"
        )
    if len(study.directions) > 1:
        raise ArgumentError(f"study has {len(study.directions)} directions; a run has one score")
    if not callable(suggest):
        raise ArgumentError(f"suggest must be a function (trial) -> member, got {suggest!r}")
    if "mode" in options:
        raise ArgumentError("mode is the direction of the study; leave it out")
    if options.get("checkpoint") is not None:
        raise ArgumentError("checkpoint is for one sweep; give the study a storage instead")
    if isinstance(options.get("search"), PBT):
        raise ArgumentError(
            "search=pbt(...) changes numbers during training, so a trial's value would not "
            "belong to its params; write search=successive_halving(...)"
        )
    check_count(n_trials=n_trials, batch=batch)
    catch = (catch,) if isinstance(catch, type) else tuple(catch)
    if not all(isinstance(kind, type) and issubclass(kind, Exception) for kind in catch):
        raise ArgumentError(f"catch must be an exception class or a tuple of them, got {catch!r}")
    mode = "max" if study.direction == optuna.study.StudyDirection.MAXIMIZE else "min"
    results: list[Result] = []
    reused: Any = Reused(train, {})
    failed, pruned = optuna.trial.TrialState.FAIL, optuna.trial.TrialState.PRUNED
    for first in range(0, n_trials, batch):
        waiting, made = [], []  # trials without a result so far, and their members
        try:
            for _ in range(min(batch, n_trials - first)):
                waiting.append(trial := study.ask())
                try:
                    member, settings = suggest(trial), dict(trial.params)
                    check_member(trial.number, settings, member)
                    made.append((settings, member))
                except optuna.TrialPruned:
                    study.tell(waiting.pop(), state=pruned)
                except catch as error:
                    study.tell(waiting.pop(), state=failed)
                    _warn(f"trial {trial.number} failed in suggest", error)
            if not made:
                continue
            result = run(Population.of(made), reused, mode=mode, **options)
            results.append(result)
            values = result.scores.mean(1).tolist()
            for value, status, done in zip(values, result.status, result.steps, strict=True):
                trial = waiting.pop(0)
                if not np.isfinite(value):
                    study.tell(trial, state=failed)
                elif (status == "done").all():
                    study.tell(trial, value)
                else:
                    trial.report(value, int(done.min()))
                    study.tell(trial, state=pruned)
        except catch as error:
            _warn(f"the batch of trials {', '.join(str(t.number) for t in waiting)} failed", error)
            continue
        finally:
            for trial in waiting:  # none is left as running when something else failed
                study.tell(trial, state=failed)
        if result.interrupted:
            break
    return tuple(results)


def _warn(what: str, error: Exception) -> None:
    warnings.warn(
        f"run_study: {what}, and the study continues: {type(error).__name__}: {error}", stacklevel=3
    )
