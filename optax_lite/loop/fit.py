"""A whole training run in one call, for a notebook: batches, a compiled step, evaluations, a progress bar."""

import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optax_lite.aliases import PyTree
from optax_lite.check import ArgumentError, check_count
from optax_lite.compose import as_optimizer
from optax_lite.core import GradientTransformation
from optax_lite.loop.batches import batches
from optax_lite.loop.errors import explain_failure
from optax_lite.loop.history import History
from optax_lite.loop.interrupt import until_interrupted
from optax_lite.loop.progress import bar
from optax_lite.loop.step import make_step
from optax_lite.mistakes import check_params, told_by, written
from optax_lite.wrappers.average import eval_params

_CHUNK = 16  # losses are fetched that many at a time, as many steps behind, so that the device is never waited for


@written("params, history = fit(loss_fn, params, data, tx, steps=...)")
def fit(
    loss_fn: Callable[..., Any], params: PyTree, data: Any, tx: GradientTransformation, *, steps: int,
    batch_size: int | None = None, seed: int = 0, eval_fn: Callable[[PyTree], Any] | None = None,
    every: int | None = None, state: PyTree | None = None, progress: bool | str = "auto",
) -> tuple[PyTree, History]:  # fmt: skip
    """Train for a number of steps: `(params, history)`.

        params, history = fit(loss_fn, params, (x, y), adamw(1e-3), steps=1000, batch_size=32)
        history.plot()

    `loss_fn(params, *batch)` where batches are tuples, `loss_fn(params, batch)` where they are anything else. `data` is
    a pytree of arrays, of which every step takes `batch_size` rows, or all with None; each epoch is shuffled anew from
    `seed`, and rows that fill no batch are left out of it. Arrays of numpy stay on the host, those of JAX on their
    device. Or `data` is an iterable of batches (a list is one), begun again when it ends.

    `eval_fn(params)` returns a number or a dict of numbers; it is called after every `every` updates (a tenth of the
    steps unless told otherwise) and after the last. Where the optimizer averages (`average_params`, `lookahead`,
    `schedule_free`) it gets the averages; afterwards they are `eval_params(tx, history.state, params)`. Ctrl-C ends the
    run after the step it is in; what there is by then is returned. `state` goes on from `history.state` of another run.
    `progress` is "auto" (a bar in terminals and notebooks, where rich is installed), True or False. The params given
    are copied and stay valid.
    """
    tx = as_optimizer(tx, "fit", "fit(loss_fn, params, data, tx, steps=...)")
    if not callable(loss_fn):
        raise ArgumentError(f"loss_fn must be a function of the params, got {loss_fn!r}", "fit")
    check_params("fit", params)
    counts = {"steps": steps, "every": every, "batch_size": batch_size}
    with told_by("fit"):
        check_count(**{name: n for name, n in counts.items() if n is not None})
    every = max(1, steps // 10) if every is None else every
    step, feed = make_step(loss_fn), batches(data, batch_size, seed)
    try:
        params, state = jax.tree.map(_copy, (params, state))
    except (RuntimeError, ValueError) as error:
        explain_failure(error, params, state, ())
        raise
    state = tx.init(params) if state is None else state
    log, stopped, done = _Log(), None, 0
    with bar(progress, steps) as show, until_interrupted() as interrupted:
        try:
            for batch in feed:
                params, state, metrics = step(tx, params, state, *batch)
                done += 1
                log.add(metrics, batch)
                if eval_fn is not None and (done % every == 0 or done == steps):
                    log.evaluate(done, eval_fn, eval_params(tx, state, params))
                show(done, log.latest)
                if done == steps:
                    break
                if log.given_up:
                    stopped = (
                        f"skip_bad_steps gave up within {done} of {steps} steps: params are those of the last good one"
                    )
                    break
                if interrupted:
                    stopped = "interrupted"
                    break
            else:
                stopped = f"the data, an iterator, ended after {done} of {steps} steps"
        except KeyboardInterrupt:  # a second one, or one raised by eval_fn or the data
            if any(isinstance(x, jax.Array) and x.is_deleted() for x in jax.tree.leaves((params, state))):
                raise  # between the step and its result
            stopped = "interrupted"
        history = log.history(state, stopped)
        show(done, log.latest)
    if not done and stopped != "interrupted":
        raise ArgumentError("data is an iterable without a batch in it", "fit")
    if stopped and stopped != "interrupted":
        warnings.warn(f"fit: {stopped}", stacklevel=2)
    return params, history


def _copy(x):
    return jnp.copy(x) if isinstance(x, (jax.Array, np.ndarray, np.number)) else x


class _Log:
    """Numbers of every step, fetched in chunks long after the device has made them."""

    def __init__(self):
        self.columns, self.recent = {}, []
        self.evals, self.eval_steps = {}, []
        self.latest, self.rows, self.given_up = {}, None, False
        self.start = time.perf_counter()
        self.compiled, self.paused = self.start, 0.0

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

    def evaluate(self, done, eval_fn, params):
        jax.block_until_ready(params)  # so that the time that follows is the evaluation's
        start = time.perf_counter()
        result = eval_fn(params)
        numbers = result if isinstance(result, Mapping) else {"eval": result}
        if self.evals and numbers.keys() != self.evals.keys():
            raise ValueError(f"fit: eval_fn returned {list(numbers)}, and {list(self.evals)} before")
        for name, value in numbers.items():
            if np.size(value) != 1 or not isinstance(value, (int, float, np.number, np.ndarray, jax.Array)):
                raise TypeError(f"fit: eval_fn must return a number or a dict of numbers, got {name}={value!r:.60}")
            self.latest[name] = float(np.asarray(value).reshape(()))
            self.evals.setdefault(name, []).append(self.latest[name])
        self.eval_steps.append(done)
        self.paused += time.perf_counter() - start

    def history(self, state, stopped):
        self.fetch(len(self.recent))
        seconds = time.perf_counter() - self.compiled - self.paused
        columns = {name: np.asarray(values) for name, values in self.columns.items()}
        loss = columns.pop("loss", np.zeros(0, np.float32))
        evals = {name: np.asarray(values) for name, values in self.evals.items()}
        counts, eval_steps = np.arange(len(loss)), np.asarray(self.eval_steps, int)
        compiling = self.compiled - self.start
        return History(loss, counts, columns, evals, eval_steps, state, seconds, compiling, self.rows, stopped)
