"""A whole training run in one call, for a notebook: batches, a compiled step, evaluations, a
progress bar.
"""

import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from optax_lite.core.compose import as_optimizer
from optax_lite.core.types import PyTree, TransformationLike
from optax_lite.core.validate import ArgumentError, check_count, check_function
from optax_lite.errors.calls import check_call, check_params, usage
from optax_lite.errors.states import states_with
from optax_lite.errors.step import explain_failure
from optax_lite.train._batches import batches, batches_in_an_epoch, begins_anew
from optax_lite.train._interrupt import until_interrupted
from optax_lite.train._progress import bar
from optax_lite.train.history import History, throughput
from optax_lite.train.step import training_step
from optax_lite.wrappers.average import eval_params

# losses are fetched that many at a time, as many steps behind, so that the device is never waited
# for
_CHUNK = 16


_ORDER = "fit(loss_fn, params, data, tx, steps=...)"
_EVAL = "write eval_fn=, a function of the params that returns a number or a dict of numbers"


@usage(
    f"params, history = {_ORDER}",
    has_aux=(
        "return the loss alone and compute other numbers in eval_fn; for running statistics pass "
        "their first value as aux="
    ),
    callbacks=f"{_EVAL}. It is called every `every` updates and may print, save, or raise "
    "StopIteration to end the run; for anything else write a loop with make_step",
    checkpoint=(
        "save params and history.state after the run, or in a loop with make_step; to go on, pass "
        "state=history.state, start=history.end"
    ),
    validation_data=_EVAL,
    eval_data=_EVAL,
    metrics=_EVAL,
    verbose="write progress=True or False",
    optimizer="the optimizer is tx",
    opt="the optimizer is tx",
    lr="pass it to the optimizer: adam(lr)",
    learning_rate="pass it to the optimizer: adam(learning_rate)",
    key="write seed=, an int, for the order of the batches",
    rng="write seed=, an int, for the order of the batches",
    shuffle="each epoch is shuffled; for another order pass an iterable of batches",
)
def fit(
    loss_fn: Callable[..., Any],
    params: PyTree,
    data: PyTree,
    tx: TransformationLike,
    *,
    steps: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    eval_fn: Callable[..., Any] | None = None,
    every: int | None = None,
    patience: int | None = None,
    mode: Literal["min", "max"] = "min",
    state: PyTree | None = None,
    start: int | None = None,
    aux: PyTree | None = None,
    progress: bool | Literal["auto"] = "auto",
) -> tuple[PyTree, History]:
    """Train for a number of steps or epochs.

    `data` is a pytree of arrays. Each step uses `batch_size` rows of it, or all rows if that is
    None; each epoch is shuffled anew from `seed`, and rows that do not fill a batch are left out of
    it. NumPy arrays stay on the host, JAX arrays on their device. `data` can also be an iterable of
    batches, such as a list, which is restarted when it ends. The loss is `loss_fn(params, *batch)`
    if batches are tuples or lists, and `loss_fn(params, batch)` otherwise.

    If the optimizer averages (`average_params`, `lookahead`, `schedule_free`), `eval_fn` gets the
    averages; after the run they are `eval_params(tx, history.state, params)`. With `patience`,
    `history.best_params` is what the best evaluation saw.

    `aux` is state that changes without a gradient, such as running statistics. With it,
    `loss_fn(params, aux, *batch)` returns (loss, new aux), `eval_fn(params, aux)` gets it too, and
    the last one is `history.aux`.

    To continue a run, pass `state=history.state` and `start=history.end`: the data continues where
    it stopped, so that two halves equal the whole run. An iterator is read from its beginning
    again, and its first `start` batches are skipped.

    Ctrl-C ends the run after the current step, and `fit` returns what it has so far. The params
    that you pass are copied and stay valid.

    Args:
        loss_fn: Function of the params and a batch that returns the loss, one real number.
        params: Parameters, a pytree of arrays.
        data: Pytree of arrays with the same number of rows, or an iterable of batches.
        tx: The optimizer, or any other transformation.
        steps: Number of updates, an integer of at least 1; give either this or `epochs`.
        epochs: How often all data is seen, an integer of at least 1.
        batch_size: Rows of a batch, an integer of at least 1; None for all rows, or if `data` is an
            iterable of batches.
        seed: Seed of the order of the data, an integer.
        eval_fn: Function of the params that returns a number or a dict of numbers; it may raise
            `StopIteration` to end the run.
        every: Updates between evaluations, an integer of at least 1; None for a tenth of the steps.
            The last update is always followed by one.
        patience: End the run after this many evaluations in a row whose first number is no better
            than the best so far, an integer of at least 1.
        mode: "min" if the smallest first number is best, "max" if the largest is, as for accuracy.
        state: State of the optimizer, as `init`, `update` or `step` returned it. None begins with a
            fresh one.
        start: Updates made before, an integer of at least 0; None for 0.
        aux: Pytree that `loss_fn` takes after the params, and returns; None for none.
        progress: Show a progress bar: True, False, or "auto" in terminals and notebooks where rich
            is installed.

    Returns:
        The params after the last update, and the `History`.

    Examples:
        >>> data, tx = (x, y), adamw(1e-3)
        >>> params, history = fit(loss_fn, params, data, tx, steps=100, batch_size=32)
        >>> history.end, history.loss.shape
        (100, (100,))
    """
    tx = as_optimizer(tx, "fit", _ORDER)
    order = _ORDER
    if isinstance(data, list):
        order += "; a list is one of batches, so write a tuple of arrays, (x, y)"
    step = training_step(loss_fn, aux is not None, donate=True, by="fit", order=order)
    check_params("fit", params)
    counts = {
        "steps": steps,
        "epochs": epochs,
        "every": every,
        "batch_size": batch_size,
        "patience": patience,
    }
    if eval_fn is not None:
        check_function(eval_fn=eval_fn)
        given = ["params"] if aux is None else ["params", "aux"]
        check_call("eval_fn", eval_fn, given, f"fit calls eval_fn({', '.join(given)})")
    check_count(**{name: n for name, n in counts.items() if n is not None})
    check_count(0, start=0 if start is None else start)
    if mode not in ("min", "max"):
        raise ArgumentError(f"mode must be 'min' or 'max', got {mode!r}")
    if patience is not None and eval_fn is None:
        raise ArgumentError("patience counts evaluations; write eval_fn=...")
    if start is None and state is not None and begins_anew(data, batch_size):
        warnings.warn(
            "fit: the data starts again from its beginning; write start=history.end to continue "
            "where it stopped, or start=0 if that is intended",
            stacklevel=3,
        )
    done, total = start or 0, _steps(steps, epochs, data, batch_size)
    every, last = max(1, total // 10) if every is None else every, done + total
    feed = batches(data, batch_size, seed, done)
    try:
        params, state, aux = jax.tree.map(_copy, (params, state, aux))
    except (RuntimeError, ValueError) as error:
        explain_failure(error, params, state, (), "fit")
        raise
    state = tx.init(params) if state is None else state
    log, stopped = _Log(done, patience, mode), None
    with bar(progress, total) as show, until_interrupted() as interrupted:
        try:
            for batch in feed:
                params, state, metrics = step(
                    tx, params, state, *(batch if aux is None else (aux, *batch))
                )
                aux = metrics.pop("aux", None)
                done += 1
                log.add(metrics, batch)
                if eval_fn is not None and (done % every == 0 or done == last):
                    now = eval_params(tx, state, params)
                    stopped = log.evaluate(done, eval_fn, (now,) if aux is None else (now, aux))
                show(done - log.start, log.latest, throughput(done - log.start, log.seconds()))
                if done == last or stopped:
                    break
                if log.given_up:
                    stopped = (
                        f"skip_bad_steps gave up within {done} of {last} steps: params are those "
                        "of the last good step"
                    )
                    break
                if interrupted:
                    stopped = "interrupted"
                    break
            else:
                stopped = f"the data, an iterator, ended after {done} of {last} steps"
        except KeyboardInterrupt:  # a second one, or one raised by eval_fn or the data
            if any(
                isinstance(x, jax.Array) and x.is_deleted()
                for x in jax.tree.leaves((params, state))
            ):
                raise  # between the step and its result
            stopped = "interrupted"
        history = log.history(state, stopped, done, aux)
        show(done - log.start, log.latest, history.steps_per_second)
    if done == log.start and stopped != "interrupted":
        problem = (
            f"an iterable that ends before batch {start}"
            if start
            else "an iterable without batches"
        )
        raise ArgumentError(f"data is {problem}", "fit")
    waiting = max((int(part.mini_step) for part in states_with(state, "mini_step")), default=0)
    if waiting:
        problem = (
            f"{waiting} accumulated gradients do not make up a step yet and have changed nothing"
        )
        warnings.warn(
            f"fit: {problem}; continue from history.state, or make steps a multiple of the "
            "accumulation",
            stacklevel=3,
        )
    if stopped and stopped not in ("interrupted", *log.wanted):
        warnings.warn(f"fit: {stopped}", stacklevel=3)
    return params, history


def _steps(steps: int | None, epochs: int | None, data: Any, batch_size: int | None) -> int:
    """Return the number of updates to make, which one of the two arguments gives."""
    if (steps is None) == (epochs is None):
        both = "" if steps is None else ", not both"
        raise ArgumentError(
            f"write steps= (the number of updates) or epochs= (passes over the data){both}", "fit"
        )
    if steps is not None or epochs is None:
        return steps or 0
    each = batches_in_an_epoch(data, batch_size)
    if not each:
        problem = (
            f"epochs={epochs} needs data with a length, got {type(data).__name__}; write steps= "
            "instead"
        )
        raise ArgumentError(problem, "fit")
    return epochs * each


def _copy(x):
    return jnp.copy(x) if isinstance(x, (jax.Array, np.ndarray, np.number)) else x


class _Log:
    """The numbers of every step, fetched in chunks well after the device has made them."""

    wanted = ("eval_fn ended the run", "no better evaluation within `patience`")

    def __init__(self, start, patience, mode):
        # updates before this run; evaluations without a better one
        self.start, self.patience = (start, patience)
        self.sign = 1 if mode == "min" else -1
        self.columns, self.recent = {}, []
        self.evals, self.eval_steps = {}, []
        self.latest, self.rows, self.given_up = {}, None, False
        self.best, self.best_step, self.best_params, self.since = np.inf, None, None, 0
        self.begun = time.perf_counter()
        self.compiled, self.paused = self.begun, 0.0

    def add(self, metrics, batch):
        if not self.eval_steps and not self.columns and not self.recent:
            jax.block_until_ready(metrics)
            self.compiled = time.perf_counter()
            shape = np.shape(next(iter(jax.tree.leaves(batch)), 0.0))
            self.rows = shape[0] if shape else None
        self.recent.append(metrics)
        if len(self.recent) == 2 * _CHUNK:
            self.fetch(_CHUNK)

    def fetch(self, n):
        chunk, self.recent = list(map(dict, jax.device_get(self.recent[:n]))), self.recent[n:]
        for metrics in chunk:
            for name, value in metrics.items():
                self.columns.setdefault(name, []).append(value)
        if chunk:
            self.latest["loss"] = float(chunk[-1]["loss"])
            self.given_up = bool(np.any(chunk[-1].get("exceeded", False)))

    def evaluate(self, done, eval_fn, arguments):
        """Call eval_fn; if the run ends, return why."""
        jax.block_until_ready(arguments)  # so that the time that follows is the evaluation's
        began = time.perf_counter()
        try:
            result = eval_fn(*arguments)
        except StopIteration:
            return self.wanted[0]
        numbers = result if isinstance(result, Mapping) else {"eval": result}
        if self.evals and numbers.keys() != self.evals.keys():
            raise ValueError(
                f"fit: eval_fn returned {list(numbers)}, but {list(self.evals)} before"
            )
        for name, value in numbers.items():
            if np.size(value) != 1 or not isinstance(
                value, (int, float, np.number, np.ndarray, jax.Array)
            ):
                raise TypeError(
                    "fit: eval_fn must return a number or a dict of numbers, got "
                    f"{name}={value!r:.60}"
                )
            self.latest[name] = float(np.asarray(value).reshape(()))
            self.evals.setdefault(name, []).append(self.latest[name])
        self.eval_steps.append(done)
        self.since += 1
        first = self.sign * self.evals[next(iter(numbers))][-1]
        if self.patience is not None and first < self.best:
            self.best, self.best_step, self.since = first, done, 0
            # the next step takes the memory of the params
            self.best_params = jax.tree.map(_copy, arguments[0])
        self.paused += time.perf_counter() - began
        return self.wanted[1] if self.patience is not None and self.since >= self.patience else None

    def seconds(self):
        """Return the time of training so far, without the first step and the evaluations."""
        return time.perf_counter() - self.compiled - self.paused

    def history(self, state, stopped, end, aux):
        self.fetch(len(self.recent))
        seconds = self.seconds()
        columns = {name: np.asarray(values) for name, values in self.columns.items()}
        loss = columns.pop("loss", np.zeros(0, np.float32))
        evals = {name: np.asarray(values) for name, values in self.evals.items()}
        counts, eval_steps = self.start + np.arange(len(loss)), np.asarray(self.eval_steps, int)
        found = end, aux, self.best_params, self.best_step
        compiling = self.compiled - self.begun
        return History(
            loss,
            counts,
            columns,
            evals,
            eval_steps,
            state,
            seconds,
            compiling,
            self.rows,
            stopped,
            *found,
        )
