"""What every run of a sweep does: a training loop that can be cut in pieces, or a user's function
as it is.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optax_lite.core.compose import as_optimizer
from optax_lite.core.config import is_key
from optax_lite.core.leafwise import show_leaf
from optax_lite.core.types import Array, PyTree
from optax_lite.core.validate import ArgumentError, check_count, check_function
from optax_lite.errors.calls import errors_named, usage
from optax_lite.errors.step import explain_failure
from optax_lite.inspect.metrics import count_skipped
from optax_lite.sweep.population import weakened
from optax_lite.train.step import advance
from optax_lite.wrappers.average import eval_params

# what the mean loss of the batches is called where eval_fn has a "loss" of its own
BATCH_LOSS = "batch_loss"
_CALL = "training(init, loss, data, steps=..., batch_size=...)"


class RunState(NamedTuple):
    """Where one run stands: what is carried from step to step, and over the stretch since the last
    evaluation.
    """

    params: PyTree
    state: PyTree
    key: Array  # of the run, as raw data
    count: Array  # updates made, int32
    diverged: Array  # whether a loss was not finite; nothing has moved since
    loss_sum: Array  # of the losses of the stretch
    losses: Array  # how many these are, float32


@dataclass(frozen=True)
class Training:
    """A loop of updates in the form that `run` can stop, resume and perturb; `training`
    makes it.
    """

    init: Callable[..., PyTree]
    loss: Callable[..., Any]
    data: Any
    steps: int
    batch_size: int | None
    eval_fn: Callable[..., Any] | None
    every: int
    paired: bool
    seed: int

    def begin(self, key: Array) -> PyTree:
        """The params that all runs of a seed begin with, which are made once: random numbers are
        long to compile.
        """
        params = self.init(jax.random.wrap_key_data(key))
        try:
            return jax.tree.map(jnp.asarray, params)
        except TypeError as error:  # a module with functions in it
            explain_failure(error, params, (), (), "training")
            raise

    def start(self, member: PyTree, key: Array, params: PyTree) -> RunState:
        """The run before its first update."""
        tx, _ = split(member)
        count, nothing = jnp.zeros((), jnp.int32), jnp.zeros((), jnp.float32)
        return RunState(params, tx.init(params), key, count, jnp.zeros((), bool), nothing, nothing)

    def advance(self, member: PyTree, lane: RunState, batch: tuple, active: Array) -> RunState:
        """One update, or none where the run is not active, has diverged, or diverges now."""
        tx, rest = split(member)
        rest = rest | ({"key": self._key(lane)} if _takes_key(self.loss) else {})
        loss = partial(self.loss, **rest) if rest else self.loss
        params, state, metrics = advance(loss, False, tx, lane.params, lane.state, batch, None)
        value = jnp.asarray(metrics["loss"], jnp.float32)
        finite = jnp.isfinite(value)
        # An optimizer that leaves bad steps out goes on until it gives up by itself.
        failed = (
            ~finite
            if count_skipped(lane.state) is None
            else jnp.asarray(metrics.get("exceeded", False))
        )
        active = active & ~lane.diverged
        moves = active & ~failed
        params, state = jax.tree.map(
            partial(jnp.where, moves), (params, state), (lane.params, lane.state)
        )
        seen = active & finite
        return RunState(
            params,
            state,
            lane.key,
            lane.count + moves.astype(jnp.int32),
            lane.diverged | (active & failed),
            lane.loss_sum + jnp.where(seen, value, jnp.zeros_like(value)),
            lane.losses + seen.astype(jnp.float32),
        )

    def _key(self, lane: RunState) -> Array:
        return jax.random.fold_in(jax.random.wrap_key_data(lane.key), lane.count)

    def measure(self, member: PyTree, lane: RunState) -> dict[str, Array]:
        """The numbers of an evaluation: the mean loss of the stretch, and what eval_fn says."""
        tx, _ = split(member)
        mean = lane.loss_sum / lane.losses
        if self.eval_fn is None:
            return {"loss": mean}
        found = self.eval_fn(eval_params(tx, lane.state, lane.params))
        found = dict(found) if isinstance(found, Mapping) else {"eval": found}
        if BATCH_LOSS in found:
            raise ArgumentError(
                f"eval_fn returns {BATCH_LOSS!r}, a name that is taken; call it otherwise",
                "training",
            )
        return {BATCH_LOSS if "loss" in found else "loss": mean} | found

    def output(self, member: PyTree, lane: RunState) -> PyTree:
        """What a finished run leaves: its parameters, averaged where the optimizer averages."""
        return eval_params(split(member)[0], lane.state, lane.params)


@dataclass(frozen=True)
class FunctionTask:
    """A user's function of a member and a key: one piece, which only ends."""

    function: Callable[[PyTree, Array], Any]
    score: Callable[[Any], Any] | str | None
    steps: int = 1

    def begin(self, key: Array) -> PyTree:
        del key
        return ()

    def start(self, member: PyTree, key: Array, params: PyTree) -> PyTree:
        del params
        return self.function(weakened(member), jax.random.wrap_key_data(key))

    def measure(self, member: PyTree, out: PyTree) -> dict[str, Array]:
        del member
        if callable(self.score):
            return {"score": self.score(out)}
        if isinstance(out, jax.Array):
            return {"score": out}
        found = out if isinstance(out, Mapping) else {}
        numbers = {
            name: x
            for name, x in found.items()
            if isinstance(x, jax.Array) and not (x.shape or is_key(x))
        }
        if not numbers:
            advice = (
                "return a number, or a dict with one, or give score=, a function of what it returns"
            )
            raise ArgumentError(f"train returned {show_leaf(out):.60}; {advice}", "run")
        return numbers

    def output(self, member: PyTree, out: PyTree) -> PyTree:
        del member
        return out


@usage(f"train = {_CALL}; result = sweep.run(population, train)")
def training(
    init: Callable[..., PyTree],
    loss: Callable[..., Any],
    data: PyTree = None,
    *,
    steps: int,
    batch_size: int | None = None,
    eval_fn: Callable[..., Any] | None = None,
    every: int | None = None,
    paired: bool = True,
    seed: int = 0,
) -> Training:
    """A training run as data for `sweep.run`, which may cut it into pieces: to prune, perturb, save
    and resume.

        train = training(init, loss, (x, y), steps=1000, batch_size=64, eval_fn=accuracy)

    `init(key)` returns the params, the same for all members of a seed. `loss(params, *batch)` is as
    in `make_step`; entries of a member beside its optimizer are passed by name (`loss(params, x, y,
    entropy=...)` for {"tx": ..., "entropy": ...}), and a random key of the step to a loss that has
    an argument `key`. `eval_fn(params)` returns a number or a dict of numbers, after every `every`
    updates (a tenth of the steps unless told otherwise) and after the last; it is traced, so it is
    written with jax.numpy, and gets the averages where the optimizer averages. If it returns a
    "loss" of its own, the mean loss of the batches is called "batch_loss".

    `data` is as in `fit`: a pytree of arrays, of which each step takes `batch_size` rows, or all
    with None; or an iterable of batches; or None for a loss that needs none. With `paired` all runs
    see the same batches, those that `fit(..., seed=seed)` sees, so that differences are the
    members'; without, runs of different seeds see different ones. A run whose loss is not finite
    has diverged: it stays where it was.
    """
    with errors_named("training"):
        check_function(init=init, loss=loss, **({} if eval_fn is None else {"eval_fn": eval_fn}))
        check_count(steps=steps, **({} if batch_size is None else {"batch_size": batch_size}))
        every = max(1, steps // 10) if every is None else every
        check_count(every=every)
    return Training(init, loss, data, steps, batch_size, eval_fn, min(every, steps), paired, seed)


def split(member: PyTree) -> tuple[Any, dict[str, Any]]:
    """The optimizer of a member, and its other entries by name; numbers weakly typed, as a builder
    sees them.
    """
    if not isinstance(member, Mapping):
        return as_optimizer(member, "training", _CALL), {}
    if "tx" not in member:
        raise ArgumentError(
            f"a member is a dict without 'tx', the optimizer; it has {list(member)}", "training"
        )
    rest = {name: weakened(x) for name, x in member.items() if name != "tx"}
    return as_optimizer(member["tx"], "training", _CALL), rest


def _takes_key(loss: Callable) -> bool:
    try:
        parameters = inspect.signature(loss).parameters
    except (TypeError, ValueError):  # some builtins have none
        return False
    return "key" in parameters
