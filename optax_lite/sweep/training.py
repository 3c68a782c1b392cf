"""Define what a run computes: a loop of updates, which can be interrupted, or a function, which
cannot.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from optax_lite.core.compose import as_optimizer
from optax_lite.core.config import is_key
from optax_lite.core.trees import path_string, show_leaf
from optax_lite.core.types import Array, PyTree
from optax_lite.core.validate import ArgumentError, check_count, check_function
from optax_lite.errors.calls import call_problem, parameters_of, usage
from optax_lite.errors.states import named_parts
from optax_lite.errors.step import explain_failure
from optax_lite.inspect.metrics import count_skipped
from optax_lite.sweep.population import weakened
from optax_lite.train.step import advance
from optax_lite.wrappers.average import eval_params

# what the mean loss of the batches is called where eval_fn has a "loss" of its own
BATCH_LOSS = "batch_loss"
_CALL = "training(init, loss, data, steps=..., batch_size=...)"
_OF_MEMBERS = "the population brings the optimizer: write sweep.grid(adamw, learning_rate=[...])"


class RunState(NamedTuple):
    """Where one run stands between two updates."""

    carry: PyTree  # what an update takes and returns; of a loss, (params, state)
    key: Array  # of the run, as raw data
    count: Array  # updates made, int32
    diverged: Array  # whether a number was not finite; nothing has moved since


class Stretch(NamedTuple):
    """The numbers of the updates since the last evaluation."""

    sums: dict[str, Array]  # of each number, float32
    seen: Array  # how many updates these are of, float32


@dataclass(frozen=True)
class LossUpdate:
    """Update params and state by the gradient of a loss: what `training(init, loss)` runs."""

    loss: Callable[..., Any]
    kind = "loss"

    def carry(self, member: PyTree, params: PyTree) -> PyTree:
        """Return the first carry of a run, given the params that `init` made."""
        return params, split(member)[0].init(params)

    def __call__(self, member: PyTree, carry: PyTree, key: Array, *batch: Any) -> Any:
        tx, rest = split(member)
        rest = rest | ({"key": key} if _takes_key(self.loss) else {})
        loss = partial(self.loss, **rest) if rest else self.loss
        params, state = carry
        params, state, metrics = advance(loss, False, tx, params, state, batch, None)
        return (params, state), {"loss": metrics["loss"]}

    def output(self, member: PyTree, carry: PyTree) -> PyTree:
        """Return the params, averaged where the optimizer averages."""
        params, state = carry
        return eval_params(split(member)[0], state, params)


@dataclass(frozen=True)
class OwnUpdate:
    """A user's update of a carry that may be anything."""

    update: Callable[..., Any]
    kind = "update"

    def carry(self, member: PyTree, made: PyTree) -> PyTree:
        del member
        return made

    def __call__(self, member: PyTree, carry: PyTree, key: Array, *batch: Any) -> Any:
        made = self.update(weakened(member), carry, key, *batch)
        if not (isinstance(made, tuple) and len(made) == 2 and isinstance(made[1], Mapping)):
            got = f"a tuple of {len(made)}" if isinstance(made, tuple) else f"{show_leaf(made):.60}"
            raise ArgumentError(
                f"update must return (carry, numbers), where numbers is a dict, got {got}",
                "training",
            )
        _check_same(carry, made[0])
        return made[0], dict(made[1])

    def output(self, member: PyTree, carry: PyTree) -> PyTree:
        del member
        return carry


@dataclass(frozen=True)
class Training:
    """A loop of updates in the form that `run` can stop, resume and perturb; `training`
    makes it.
    """

    init: Callable[..., PyTree]
    update: LossUpdate | OwnUpdate
    data: Any
    steps: int
    batch_size: int | None
    eval_fn: Callable[..., Any] | None
    every: int
    paired: bool
    seed: int

    @property
    def kind(self) -> str:
        """Return what is trained, a "loss" or an "update"; of a `FunctionTask`, a "function"."""
        return self.update.kind

    def begin(self, key: Array) -> PyTree:
        """Make what all runs of a seed begin with: once, because random numbers take long to
        compile. Make nothing where `init` asks for the member.
        """
        return () if _takes_member(self.init) else self._made(key)

    def _made(self, *args: Any) -> PyTree:
        *member, key = args
        made = self.init(*member, jax.random.wrap_key_data(key))
        try:
            # Not weakly typed, as no later carry would be.
            return jax.tree.map(
                lambda x: x if is_key(x) else jnp.asarray(x, jnp.result_type(x)), made
            )
        except TypeError as error:  # a module with functions in it
            explain_failure(error, made, (), (), "training")
            raise

    def start(self, member: PyTree, key: Array, begun: PyTree) -> RunState:
        """Return a run before its first update."""
        made = self._made(weakened(member), key) if _takes_member(self.init) else begun
        count = jnp.zeros((), jnp.int32)
        return RunState(self.update.carry(member, made), key, count, jnp.zeros((), bool))

    def advance(
        self, member: PyTree, lane: RunState, stretch: Stretch, batch: tuple, active: Array
    ) -> tuple[RunState, Stretch]:
        """Make one update, or none where the run is not active, has diverged, or diverges now."""
        carry, found = self.updated(member, lane, batch)
        numbers = {name: jnp.asarray(x, jnp.float32) for name, x in found.items()}
        finite = jnp.asarray(True)
        for x in numbers.values():
            finite &= jnp.isfinite(x)
        # An optimizer that leaves bad steps out goes on until it gives up by itself.
        failed = ~finite if count_skipped(lane.carry) is None else _gave_up(carry)
        active = active & ~lane.diverged
        moves = active & ~failed
        seen = active & finite
        carry = jax.tree.map(partial(jnp.where, moves), carry, lane.carry)
        count = lane.count + moves.astype(jnp.int32)
        sums = {
            name: total + jnp.where(seen, numbers[name], jnp.zeros_like(total))
            for name, total in stretch.sums.items()
        }
        return (
            RunState(carry, lane.key, count, lane.diverged | (active & failed)),
            Stretch(sums, stretch.seen + seen.astype(jnp.float32)),
        )

    def updated(self, member: PyTree, lane: RunState, batch: tuple) -> tuple[PyTree, dict]:
        """Return the next carry, and the numbers of the update by name."""
        # `split(key)[i]` is `fold_in(key, i)`. Counted from 0, the first updates would get the very
        # keys that `init` split off; counted from 2^31, they do not.
        step = lane.count.astype(jnp.uint32) | np.uint32(2**31)
        key = jax.random.fold_in(jax.random.wrap_key_data(lane.key), step)
        return self.update(member, lane.carry, key, *batch)

    def measure(self, member: PyTree, lane: RunState, stretch: Stretch) -> dict[str, Array]:
        """Return the numbers of an evaluation: the means over the stretch, and those of eval_fn."""
        means = {name: total / stretch.seen for name, total in stretch.sums.items()}
        if self.eval_fn is None:
            return means
        found = self.eval_fn(self.output(member, lane))
        found = dict(found) if isinstance(found, Mapping) else {"eval": found}
        means = {f"batch_{name}" if name in found else name: x for name, x in means.items()}
        if taken := [name for name in found if name in (*means, BATCH_LOSS)]:
            raise ArgumentError(
                f"eval_fn returns {taken[0]!r}, a name that is taken; rename it", "training"
            )
        return means | found

    def output(self, member: PyTree, lane: RunState) -> PyTree:
        """Return what a finished run leaves."""
        return self.update.output(member, lane.carry)


@dataclass(frozen=True)
class FunctionTask:
    """A user's function of a member and a key, which runs as a whole."""

    function: Callable[[PyTree, Array], Any]
    score: Callable[[Any], Any] | str | None
    steps: int = 1
    kind = "function"

    def begin(self, key: Array) -> PyTree:
        del key
        return ()

    def start(self, member: PyTree, key: Array, begun: PyTree) -> PyTree:
        del begun
        return self.function(weakened(member), jax.random.wrap_key_data(key))

    def measure(self, member: PyTree, out: PyTree, stretch: PyTree) -> dict[str, Array]:
        del member, stretch
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
                "return a number or a dict with one, or pass score=, a function of what it returns"
            )
            raise ArgumentError(f"train returned {show_leaf(out):.60}; {advice}", "run")
        return numbers

    def output(self, member: PyTree, out: PyTree) -> PyTree:
        del member
        return out


@usage(
    f"train = {_CALL}; result = sweep.run(population, train)",
    epochs="write steps = epochs * (rows // batch_size)",
    eval_every="write every=",
    **dict.fromkeys(("lr", "learning_rate", "tx", "optimizer"), _OF_MEMBERS),
    **dict.fromkeys(("key", "rng", "seeds"), "it belongs to sweep.run: write run(..., seeds=...)"),
    **dict.fromkeys(
        ("mode", "score", "search", "checkpoint", "chunk", "progress"), "it belongs to sweep.run"
    ),
    has_aux="return the loss alone; for other numbers write eval_fn=, or update=",
    callbacks="write eval_fn=, which is traced, or update=",
    metrics="write eval_fn=, a function of the params that returns a dict of numbers",
)
def training(
    init: Callable[..., PyTree],
    loss: Callable[..., Any] | None = None,
    data: PyTree = None,
    *,
    update: Callable[..., Any] | None = None,
    steps: int,
    batch_size: int | None = None,
    eval_fn: Callable[..., Any] | None = None,
    every: int | None = None,
    paired: bool = True,
    seed: int = 0,
) -> Training:
    """Describe a training run for `sweep.run`, which can prune, perturb, save and resume it.

    Args:
        init: `init(key)` returns the params, the same for all members of a seed, or with `update`
            the carry. As `init(member, key)` it is traced for every member.
        loss: `loss(params, *batch)` as in `make_step`. Other entries of a member are passed by
            name; a loss with an argument `key` gets a random key for each step.
        data: As in `fit`: a pytree of arrays, or an iterable of batches; None where there is none.
        update: In place of a loss, `update(member, carry, key, *batch) -> (carry, numbers)`. The
            carry is any pytree of arrays; numbers is a dict of scalars.
        steps: Updates of a run, an integer of at least 1.
        batch_size: Rows of the data in each update, an integer of at least 1; None for all.
        eval_fn: `eval_fn(params)`, or `eval_fn(carry)` with `update`; returns a number or a dict of
            numbers. It is traced. If the optimizer of a loss averages, it gets the averages.
        every: Updates between evaluations, an integer of at least 1; None for a tenth of `steps`.
            The last update is always followed by one.
        paired: Show all runs the same batches, those of `fit(..., seed=seed)`, so that only members
            differ. Without it, runs of different seeds see different batches.
        seed: Seed of the order of the data, an integer.

    Entries of a member other than its optimizer are passed to the loss by name, as in
    `loss(params, x, y, entropy=...)` for `{"tx": ..., "entropy": ...}`. Each evaluation has the
    means of an update's numbers since the last one; if `eval_fn` returns a number of the same name,
    the mean is called "batch_...", as in "batch_loss".

    A run has diverged when its loss, or a number that its update returns, is not finite: it stops
    moving. With `skip_bad_steps` it has diverged once that has given up.

    Examples:
        >>> train = sweep.training(
        ...     init, loss_fn, (x, y), steps=1000, batch_size=32, eval_fn=lambda p: loss_fn(p, x, y)
        ... )
    """
    given = {"loss": loss, "update": update, "eval_fn": eval_fn}
    given = {name: function for name, function in given.items() if function is not None}
    if (loss is None) == (update is None):
        which = "both loss and update are" if update else "neither loss nor update is"
        raise ArgumentError(
            f"{which} given; write training(init, loss, ...) or training(init, update=...)"
        )
    if loss is not None and {"member", "carry"} & parameters_of(loss).keys():
        raise ArgumentError(
            f"loss is called as loss(params, *batch), but is {_shown(loss)}; an update is "
            "passed by name: write training(init, update=...)"
        )
    check_function(init=init, **given)
    check_count(steps=steps, batch_size=1 if batch_size is None else batch_size)
    every = max(1, steps // 10) if every is None else every
    check_count(every=every)
    if _takes_member(init):
        check_takes("init", init, "member", "key")
    if update is not None:
        check_takes("update", update, "member", "carry", "key", more=data is not None)
    rule = OwnUpdate(update) if update is not None else LossUpdate(given["loss"])
    return Training(init, rule, data, steps, batch_size, eval_fn, min(every, steps), paired, seed)


_KEYS = ("key", "rng", "rng_key", "prng_key")


def check_takes(name: str, function: Callable, *arguments: str, more: bool = False) -> None:
    """Raise unless a function can be called with these arguments, and with more behind them where
    there is `more`. A key as the first parameter is an error too: the call passes it last.
    """
    problem = call_problem(function, arguments, more=more)
    if next(iter(parameters_of(function)), None) in _KEYS:
        problem = "the key comes last"
    if problem:
        call = f"{name}({', '.join((*arguments, *['*batch'] * more))})"
        raise ArgumentError(f"{name} is called as {call}, but is {_shown(function)}: {problem}")


def _shown(function: Callable) -> str:
    name = getattr(function, "__name__", type(function).__name__)
    return f"{name}{inspect.signature(function)}"


def _check_same(old: PyTree, new: PyTree) -> None:
    """Raise, naming the first leaf that differs, unless two carries have the same shapes."""
    (before, own), (after, other) = map(jax.tree_util.tree_flatten_with_path, (old, new))
    before, after = dict(before), dict(after)
    problems = ["the containers differ"] if own != other else []
    for path in [*after, *before]:
        name, was, x = f"leaf {path_string(path)!r}", before.get(path), after.get(path)
        if was is None or x is None:
            problems.insert(0, f"{name} is {'new' if was is None else 'missing'}")
            break
        if not is_key(x) and (jnp.shape(x), jnp.result_type(x)) != (was.shape, was.dtype):
            shown = show_leaf(x if hasattr(x, "dtype") else jnp.asarray(x))
            problems.insert(0, f"{name} was {show_leaf(was)}, and is now {shown}")
            break
    if problems:
        raise ArgumentError(
            f"update must return a carry like the one it was given: {problems[0]}", "training"
        )


def _gave_up(carry: PyTree) -> Array:
    """Tell whether an optimizer in the carry that skips bad steps has given up."""
    limits = [part.exceeded for _, part in named_parts(carry) if "exceeded" in part._fields]
    return sum(limits, start=jnp.asarray(False))


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
    return "key" in parameters_of(loss)


def _takes_member(init: Callable) -> bool:
    """Tell whether `init` takes (member, key): whether the key alone is too few arguments."""
    return bool(call_problem(init, ("key",)))
