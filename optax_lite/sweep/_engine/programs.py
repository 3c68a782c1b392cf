"""Compile the programs of a chunk of runs, once for each structure and size."""

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.stages import Lowered

from optax_lite.core.trees import show_leaf
from optax_lite.core.types import PyTree
from optax_lite.core.validate import ArgumentError
from optax_lite.sweep._engine.devices import Devices, shapes_of, take_rows
from optax_lite.sweep._engine.feed import BatchSource
from optax_lite.sweep._engine.initial import InitialParams
from optax_lite.sweep.search import Score
from optax_lite.sweep.training import FunctionTask, Stretch, Training

_CALL = 5  # steps that a call costs besides its own, for the choice of a block's length


class Shapes(NamedTuple):
    """The shapes of one run of a structure."""

    member: PyTree
    lane: PyTree  # what it carries: a `RunState`, or what a function returned
    stretch: PyTree  # a `Stretch`, or nothing
    names: tuple[str, ...]  # of the numbers of an evaluation

    @property
    def kind(self) -> Any:
        """Return what decides which programs a chunk needs, besides its size."""
        leaves, treedef = jax.tree.flatten(self.member)
        return treedef, tuple((x.shape, x.dtype) for x in leaves)


class Programs(NamedTuple):
    """The compiled programs of a chunk. `start` and `block` return its runs, `measure` the numbers
    of an evaluation.
    """

    start: Callable
    block: Callable | None
    measure: Callable
    seconds: float  # to compile
    bytes: int  # of one device while it runs
    run_bytes: int  # as those of what was traced
    moved: float


class Traced(NamedTuple):
    """Programs that are still to be compiled."""

    programs: list[Lowered]
    seconds: float  # to trace
    run_bytes: int  # of what one run carries
    # bytes that a step of one run reads and writes, before fusion; counted on a CPU only
    moved: float


@dataclass(frozen=True)
class SweepProgram:
    """Everything that all runs of a sweep share."""

    task: Training | FunctionTask
    feed: BatchSource | None
    score: Score
    length: int  # steps of a block
    devices: Devices
    beginning: InitialParams
    resident: PyTree  # the data that lie on the devices

    def trace(self, shapes: Shapes, size: int) -> Traced:
        """Trace the programs for `size` runs on each device, with members of one structure."""
        began = time.perf_counter()
        devices, many = self.devices, size * self.devices.count
        members, keys, begun, lanes, stretches = (
            devices.abstract(x, many)
            for x in (shapes.member, *self.beginning.shapes, shapes.lane, shapes.stretch)
        )
        start = jax.jit(devices.over_runs(self.task.start, (0, 0, 0)), out_shardings=devices.by_run)
        measure = jax.jit(
            devices.over_runs(self.measure, (0, 0, 0)), out_shardings=devices.everywhere
        )
        with traced_by(self.where):
            lowered = [start.lower(members, keys, begun), measure.lower(members, lanes, stretches)]
            if (feed := self.feed) is not None:
                resident, drawn, n = self._fed()
                rows = devices.abstract(drawn, many if feed.per_seed else None)
                rest = devices.abstract(resident), rows, devices.abstract(n)
                function = devices.over_runs(
                    self._advance, (0, 0, 0, None, 0 if feed.per_seed else None, None)
                )
                block = jax.jit(function, out_shardings=devices.by_run, donate_argnums=(1, 2))
                lowered.append(block.lower(members, lanes, stretches, *rest))
        run_bytes = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(shapes.lane))
        cost = lowered[-1 if feed else 0].cost_analysis() if devices.is_cpu else None
        # On 2 cores, a step that moves 1.6 MB is fastest in chunks of 64 to 256, and one that moves
        # 56 MB in chunks of 16 (decision 53).
        moved = (cost or {}).get("bytes accessed", 0.0) / many
        return Traced(lowered, time.perf_counter() - began, run_bytes, moved)

    def compile(self, traced: Traced) -> Programs:
        """Compile traced programs."""
        began = time.perf_counter()
        with ThreadPoolExecutor(len(traced.programs)) as pool:
            made = list(pool.map(lambda program: program.compile(), traced.programs))
        used = [analysis for program in made if (analysis := program.memory_analysis()) is not None]
        most = max(map(_bytes, used), default=0)
        seconds = traced.seconds + time.perf_counter() - began
        start, measure, *block = made
        return Programs(
            start,
            block[0] if block else None,
            measure,
            seconds,
            most,
            traced.run_bytes,
            traced.moved,
        )

    def shapes(self, member: PyTree) -> Shapes:
        """Trace what a run of such a member carries and measures, and check its numbers before
        anything compiles.
        """
        with traced_by(self.where):
            lane = jax.eval_shape(self.task.start, member, *self.beginning.shapes)
            stretch = ()
            if isinstance(self.task, Training):
                found = jax.eval_shape(self._numbers_of_update, member, lane, *self._fed())
                self._check_numbers(found)
                number: Any = jax.ShapeDtypeStruct((), jnp.float32)
                sums: Any = dict.fromkeys(found, number)
                stretch = Stretch(sums, number)
            numbers = jax.eval_shape(self._numbers, member, lane, stretch)
        self._check_numbers(numbers)
        if not numbers:
            raise ArgumentError(
                "update returns no number; return one to rank by, as {'loss': ...}", self.where
            )
        return Shapes(member, lane, stretch, tuple(numbers))

    def _check_numbers(self, numbers: dict[str, Any]) -> None:
        if "step" in numbers:
            raise ArgumentError(
                "a number of a run is called 'step', a name taken by the updates; rename it",
                self.where,
            )
        for name, x in numbers.items():
            is_real = (
                x.dtype == bool
                or jnp.issubdtype(x.dtype, jnp.integer)
                or jnp.issubdtype(x.dtype, jnp.floating)
            )
            if x.shape or not is_real:
                advice = "write jnp.mean of it" if x.shape else "it must be real"
                raise ArgumentError(
                    f"{name!r} of a run must be one number, got {show_leaf(x)}; {advice}",
                    self.where,
                )

    @property
    def where(self) -> str:
        """Return the public function that errors should name."""
        return "run" if self.feed is None else "training"

    def first(self, seeds: np.ndarray) -> tuple[PyTree, PyTree]:
        """Put keys and initial params on the devices, for runs with these positions of seeds."""
        begun = self.beginning.keys, self.beginning.params
        return self.devices.split(take_rows(begun, seeds))

    def _fed(self):
        """Return the shapes of a block's inputs other than its runs, with batches of one run."""
        assert self.feed is not None
        shapes = shapes_of((self.feed.resident, self.feed.example(self.length)))
        return *shapes, jax.ShapeDtypeStruct((), jnp.int32)

    def nothing(self, shapes: Shapes, size: int) -> PyTree:
        """Return zero sums for a chunk, on the devices."""
        many = size * self.devices.count
        return self.devices.split(jax.tree.map(lambda x: np.zeros(many, x.dtype), shapes.stretch))

    def _advance(self, member, lane, stretch, resident, drawn, n):
        """Make n steps of one run."""
        task, feed = self.task, self.feed
        assert isinstance(task, Training) and feed is not None

        def step(i, now):
            lane, stretch = now
            return task.advance(member, lane, stretch, feed.pick(resident, drawn, i), i < n)

        # On a GPU the number of trips must be known, or the host is asked before each of them; the
        # last are idle.
        trips = n if self.devices.is_cpu else np.int32(self.length)
        return jax.lax.fori_loop(np.int32(0), trips, step, (lane, stretch))

    def _numbers_of_update(self, member, lane, resident, drawn, i):
        task, feed = self.task, self.feed
        assert isinstance(task, Training) and feed is not None
        _, numbers = task.updated(member, lane, feed.pick(resident, drawn, i))
        return {name: jnp.asarray(x) for name, x in numbers.items()}

    def _numbers(self, member: PyTree, lane: PyTree, stretch: PyTree) -> dict[str, Any]:
        found = self.task.measure(member, lane, stretch)
        numbers = {name: jnp.asarray(x) for name, x in found.items()}
        if isinstance(self.task, Training) and callable(self.score):
            numbers["score"] = jnp.asarray(self.score(numbers))
        return numbers

    def measure(self, member: PyTree, lane: PyTree, stretch: PyTree) -> dict[str, Any]:
        """Return the float32 numbers of an evaluation, with the user's score, if any, and the
        status of the run.
        """
        found = self._numbers(member, lane, stretch)
        numbers = {name: x.astype(jnp.float32) for name, x in found.items()}
        return numbers | (
            {DIVERGED: lane.diverged, COUNT: lane.count} if self.feed is not None else {}
        )


DIVERGED, COUNT = " diverged", " count"  # no names of numbers, which may be anything


# what JAX says where Python asks a traced number for its value
_TRACED = ("concrete value", "traced array", "static integers", "static start", "not hashable: (")


@contextlib.contextmanager
def traced_by(where):
    """Add advice to errors from code that cannot be traced."""
    try:
        yield
    except (TypeError, IndexError) as error:
        if any(said in str(error) for said in _TRACED):
            error.add_note(
                f"{where}: this is traced, and vmapped over runs: write it with jax.numpy and "
                "jax.lax"
            )
            error.add_note(
                f"{where}: the numbers of a member are traced too. If one is a shape, a length or "
                "the condition of an `if`, give the axis strings, such as n=['64', '128'], and "
                "write int(member['n']): each string compiles separately, as do True and False"
            )
        raise


def _bytes(a: Any) -> int:
    return (
        a.argument_size_in_bytes
        + a.output_size_in_bytes
        + a.temp_size_in_bytes
        - a.alias_size_in_bytes
    )


def block_length(points: list[int]) -> int:
    """Return the block length that wastes the fewest steps between decision points."""
    stretches = np.diff([0, *points])

    def cost(length):
        return np.sum(-(-stretches // length)) * (length + _CALL)

    longest = int(stretches.max())
    return min(range(max(1, longest // 64), longest + 1), key=lambda n: (cost(n), -n))
