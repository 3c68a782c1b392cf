"""Train a population: advance its chunks from evaluation to evaluation with compiled programs."""

import contextlib
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from optax_lite._numbers import is_list, is_whole
from optax_lite.core.types import PyTree
from optax_lite.core.validate import ArgumentError
from optax_lite.errors.calls import usage
from optax_lite.inspect._table import show_bytes
from optax_lite.sweep._engine.checkpoint import Checkpoint, digest
from optax_lite.sweep._engine.devices import Devices, shapes_of, take_rows
from optax_lite.sweep._engine.feed import BatchSource
from optax_lite.sweep._engine.initial import InitialParams
from optax_lite.sweep._engine.log import Log
from optax_lite.sweep._engine.perturb import as_floats, resolve
from optax_lite.sweep._engine.programs import (
    Programs,
    Shapes,
    SweepProgram,
    block_length,
    traced_by,
)
from optax_lite.sweep._engine.sizes import ChunkSize, ChunkSizer, room_for
from optax_lite.sweep.population import Population, needless_structures, strip_addresses
from optax_lite.sweep.result import Result, check_run
from optax_lite.sweep.search import PBT, Score, Search, SuccessiveHalving
from optax_lite.sweep.training import FunctionTask, RunState, Training, check_takes
from optax_lite.train._interrupt import until_interrupted
from optax_lite.train._progress import bar

_SEEDS = "write seeds=, a number of seeds or the seeds themselves; a run's key is made of its seed"
_OF_TRAINING = "it belongs to the training: write sweep.training(init, loss, data, steps=...)"
_RESIDENT = 0.25  # of a device's memory that data may take


class Reused(NamedTuple):
    """Carry what is trained, with the programs that earlier sweeps over it have compiled."""

    train: Training | Callable[[PyTree, Any], Any]
    programs: dict[Any, Programs]


@usage(
    "result = sweep.run(population, train)",
    **dict.fromkeys(("key", "rng", "seed", "n_seeds", "num_seeds"), _SEEDS),
    **dict.fromkeys(("maximize", "minimize", "direction"), "write mode='max' or mode='min'"),
    metric="write score=, the name of a number of an evaluation, or a function of its numbers",
    **dict.fromkeys(("steps", "batch_size", "data", "eval_fn", "every"), _OF_TRAINING),
    epochs=_OF_TRAINING + ". It takes steps, not epochs",
    scheduler="write search=successive_halving(...) or search=pbt(...)",
    verbose="write progress=True or False",
    n_jobs="write chunk=, the runs side by side, or devices=",
)
def run(
    population: Population,
    train: Training | Callable[[PyTree, Any], Any],
    *,
    seeds: int | Sequence[int] = 1,
    score: Score = None,
    mode: str = "min",
    search: Search | None = None,
    chunk: int | str = "auto",
    devices: int | Sequence[Any] | None = None,
    checkpoint: str | Path | None = None,
    progress: bool | str = "auto",
) -> Result:
    """Train every member of a population, once for each seed, many at a time in one compiled
    program.

    A run's key is `jax.random.key(seed)`, so that members start alike for one seed. By default,
    runs are compared by the only number of an evaluation, or by the mean loss since the last one. A
    run that diverges stops moving, and is dropped as soon as that saves time. A training function
    of your own runs as a whole: it can be neither pruned nor perturbed, and is resumed only between
    chunks.

    Runs are vmapped in chunks on each device, one chunk after another. Each structure and size
    compiles once. A sweep that was killed resumes from its checkpoint and ends with the same
    results; saves are made between chunks and take at most a twentieth of the time. Ctrl-C saves,
    and returns the results so far.

    Args:
        population: The members, as `grid` or `sample` returns them.
        train: What `training` returns, or a function `(member, key)` of your own that JAX can
            trace.
        seeds: Number of seeds, counted from zero, or the seeds themselves.
        score: Name of the number to compare, or a function of the numbers of an evaluation (or of
            what your function returned); None for the default.
        mode: "min" for a score that should be small, "max" for one that should be large.
        search: Stop or perturb runs during the sweep: `successive_halving` or `pbt`; None for
            neither.
        chunk: Runs in a chunk on each device. "auto" tries a few sizes at the beginning of long
            sweeps; with a number, results are the same bit for bit.
        devices: Number of devices, or a list of them; None for all.
        checkpoint: Folder to save to and resume from; None for no saves.
        progress: Show a progress bar: True, False, or "auto" in terminals and notebooks where rich
            is installed.

    Returns:
        A `Result`.

    Examples:
        >>> population = sweep.grid(adamw, learning_rate=[1e-4, 1e-3, 1e-2])
        >>> train = sweep.training(init, loss_fn, (x, y), steps=10, batch_size=32)
        >>> result = sweep.run(population, train, seeds=2)
        >>> tx = result.best().optimizer
    """
    if isinstance(train, Population):
        raise ArgumentError("the order is run(population, train)")
    train, programs = train if isinstance(train, Reused) else (train, {})
    if not isinstance(population, Population):
        raise ArgumentError(
            f"population must be what grid or sample returns, got {type(population).__name__}; "
            "write sweep.grid(adamw, learning_rate=[1e-3, 1e-2])"
        )
    is_loop = isinstance(train, Training)
    if not callable(train) and not is_loop:
        raise ArgumentError(
            f"train must be training(...) or a function (member, key), got {train!r}"
        )
    if mode not in ("min", "max"):
        raise ArgumentError(f"mode must be 'min' or 'max', got {mode!r}")
    if chunk != "auto" and (not is_whole(chunk) or chunk < 1):
        raise ArgumentError(f"chunk must be 'auto' or an integer of at least 1, got {chunk!r}")
    if search is not None and not isinstance(search, Search):
        raise ArgumentError(f"search must be successive_halving(...) or pbt(...), got {search!r}")
    if search is not None and not is_loop:
        raise ArgumentError(
            "search needs training(init, loss) or training(init, update=...): your own function "
            "cannot be cut into pieces"
        )
    if not is_loop:
        check_takes("train", train, "member", "key")
    task = train if isinstance(train, Training) else FunctionTask(train, score)
    if advice := needless_structures(population):
        warnings.warn(f"run: {advice}", stacklevel=3)
    sweep = _Sweep(
        population,
        task,
        _seeds(seeds),
        score,
        mode,
        search,
        chunk,
        Devices(devices),
        checkpoint,
        programs,
    )
    if search is not None:  # which would drop the best runs for good
        for remark in sweep.log.remarks():
            warnings.warn(f"run: {remark}", stacklevel=3)
    unit = "updates" if is_loop else "runs"
    with (
        sweep.opened(),
        bar(progress, sweep.log.planned, unit, "run") as show,
        until_interrupted() as interrupted,
    ):
        sweep.go(show, interrupted)
    return sweep.result()


def _seeds(seeds: Any) -> tuple[int, ...]:
    if is_whole(seeds) and seeds > 0:
        return tuple(range(seeds))
    found = list(seeds) if is_list(seeds) else []
    if not found or len(set(found)) < len(found) or not all(map(is_whole, found)):
        raise ArgumentError(
            f"seeds must be an integer of at least 1, or distinct integers, got {seeds!r}"
        )
    return tuple(map(int, found))


@dataclass(eq=False)
class _Structure:
    """The runs whose members have one structure."""

    runs: np.ndarray  # in rising order
    paths: dict[str, int]  # of the numbers that a search changes, among the leaves of `values`
    values: PyTree  # their members' numbers, run by run, on the host
    shapes: Shapes
    chosen: ChunkSize | None = None

    def rows(self, runs: Any) -> Any:
        """Return where runs are in `values`."""
        return np.searchsorted(self.runs, runs)

    def numbers(self) -> dict[str, np.ndarray]:
        """Return the numbers that a search changes, by name."""
        leaves = jax.tree.leaves(self.values)
        return {name: leaves[i] for name, i in self.paths.items()}


@dataclass
class _Chunk:
    structure: int
    runs: np.ndarray  # which runs, without those that only fill it up
    size: int  # on each device
    done: int = 0  # updates made, or 1 for a function that returned
    carry: PyTree = None  # None before the start
    members: PyTree = None  # on the devices; None when they changed

    def filled(self, count: int) -> np.ndarray:
        """Return the runs, the last one repeated to the size of the chunk on all devices."""
        return np.pad(self.runs, (0, self.size * count - len(self.runs)), "edge")


class _Sweep:
    """A sweep in progress. Runs are numbered member by member, each with all its seeds."""

    def __init__(
        self, population, task, seeds, score, mode, search, chunk, devices, checkpoint, programs
    ):
        self.population, self.task, self.seeds, self.search = population, task, seeds, search
        self.devices, self.began, self.asked = devices, time.perf_counter(), chunk
        groups, n = population.groups(), len(seeds)
        perturbed = search.perturb if isinstance(search, PBT) else ()
        paths = [resolve(group.stacked, perturbed) for group in groups]
        is_loop = isinstance(task, Training)
        decisions = search.points(task.steps) if search else set()
        ends = set(range(task.every, task.steps, task.every)) if is_loop else set()
        self.points = sorted(ends | decisions | {task.steps})
        memory = devices.memory()
        room = np.inf if memory is None else _RESIDENT * memory
        self.feed = BatchSource(task, seeds, room) if is_loop else None
        length = block_length(self.points) if is_loop else 1
        with traced_by("training"):
            beginning = InitialParams(task.begin, seeds)
        resident = None if self.feed is None else devices.share(self.feed.resident)
        self.work = SweepProgram(task, self.feed, score, length, devices, beginning, resident)
        self.structures = []
        for group, own in zip(groups, paths, strict=True):
            values = jax.tree.map(lambda x: np.repeat(np.asarray(x), n, 0), group.stacked)
            values = as_floats(values, own)
            runs = np.add.outer(group.index * n, np.arange(n)).ravel()
            self.structures.append(
                _Structure(runs, own, values, self.work.shapes(shapes_of(values, 1)))
            )
        self.sizes = ChunkSizer(self.work, programs)
        names = [structure.shapes.names for structure in self.structures]
        self.log = Log(len(population), seeds, self.points, names, score, mode, is_loop)
        for group in groups if isinstance(search, PBT) else ():
            if len(group.index) < 4:
                raise ArgumentError(
                    "pbt needs at least 4 members of each structure to copy from, got "
                    f"{len(group.index)}"
                )
        self.chunks, self.point, self.parked = [], 0, False
        self.saved = None if checkpoint is None else Checkpoint(checkpoint, self._fingerprint())
        self.pending, self.interrupted = [], False

    def _fingerprint(self):
        names = ("steps", "every", "batch_size", "paired", "seed") if self.feed else ()
        training = {name: getattr(self.task, name) for name in names}
        firsts = [self.population[s.runs[0] // len(self.seeds)] for s in self.structures]
        carried = f"{[jax.tree.leaves(s.shapes.lane) for s in self.structures]}"
        return training | {
            "members": [strip_addresses(member) for member in firsts],
            "settings": [strip_addresses(dict(s)) for s in self.population.settings],
            "numbers": digest([s.values for s in self.structures]),
            "data": digest(self.feed and self.feed.known()),
            "params": digest(self.work.beginning.params),
            "carry": digest(np.frombuffer(carried.encode(), np.uint8)),
            "seeds": list(self.seeds),
            "chunk": self.asked,
            "search": repr(self.search),
            "devices": self.devices.count,
            "names": list(self.log.names),
            "score": self.log.score,
            "mode": self.log.mode,
        }

    # --- the course

    def opened(self):
        """Hold the lock on the checkpoint folder, if there is one, until the end."""
        return contextlib.nullcontext() if self.saved is None else contextlib.closing(self.saved)

    def go(self, show, interrupted):
        """Run from point to point until the last one or an interrupt."""
        if not self._resume():
            self._plan()
        for point in range(self.point, len(self.points)):
            self.point = point
            for chunk in self.chunks:
                if chunk.done < self.points[self.point]:
                    self._advance(chunk)
                    show(*self.log.progress())
                    if self.saved and self.devices.agree(self.saved.is_due()):
                        self._save()
                if self.devices.agree(bool(interrupted)):
                    self.interrupted = True
                    return self._end()
            self._settle()
            show(*self.log.progress())
        self.point = len(self.points)
        self._end()

    def _end(self):
        self._flush()
        if self.saved:
            self._save()

    def _plan(self):
        steps = self.points[-1]
        for s in self.structures:
            s.chosen = (
                self.sizes.given(s.shapes, self.asked, len(s.runs))
                if self.asked != "auto"
                else self.sizes.choose(s.shapes, s.values, len(s.runs), steps)
            )
        self._check_memory()
        for g, s in enumerate(self.structures):
            size = s.chosen.layout(len(s.runs), steps, self.devices.count)
            self.chunks += self._cut(g, s.runs, size)

    def _check_memory(self):
        """Decide whether all runs stay on the devices or wait for their turn on the host."""
        memory, count = self.devices.memory(), self.devices.count
        needed = 0.0
        for s in self.structures:
            programs, n = self.sizes.get(s.shapes, s.chosen.runs), len(s.runs)
            self.parked |= not room_for(programs, n, memory, count)
            needed += programs.bytes + n * programs.run_bytes / count
        if self.parked and (self.devices.is_cpu or self.devices.processes > 1):
            raise ArgumentError(
                f"the runs need {show_bytes(needed)} on each device, which has "
                f"{show_bytes(memory or 0)}; sweep over fewer members at a time"
            )

    def _cut(self, g, runs, size):
        many = size * self.devices.count
        return [_Chunk(g, runs[i : i + many], size) for i in range(0, len(runs), many)]

    def _advance(self, chunk):
        """Advance one chunk to the next point; read its measurements later."""
        stop, first = self.points[self.point], self.points[self.point - 1] if self.point else 0
        structure, devices = self.structures[chunk.structure], self.devices
        programs, runs = self.sizes.get(structure.shapes, chunk.size), chunk.filled(devices.count)
        if chunk.members is None:
            chunk.members = devices.split(take_rows(structure.values, structure.rows(runs)))
        seeds, carry = runs % len(self.seeds), chunk.carry
        if carry is None:
            carry = programs.start(chunk.members, *self.work.first(seeds))
        elif self.parked:
            carry = devices.split(carry)
        stretch = self.work.nothing(structure.shapes, chunk.size)
        if programs.block is not None:
            carry, stretch = self._blocks(programs.block, chunk, seeds, carry, stretch, first, stop)
        measured = programs.measure(chunk.members, carry, stretch)
        self.pending.append((chunk.runs, self.point, measured))
        chunk.carry, chunk.done = jax.device_get(carry) if self.parked else carry, stop

    def _blocks(self, block, chunk, seeds, carry, stretch, first, stop):
        feed, length, devices = self.feed, self.work.length, self.devices
        assert feed is not None
        drawn = feed.stretch(first, stop, length)
        if feed.per_seed:
            drawn = take_rows(drawn, seeds)
        for at in range(0, stop - first, length):
            part = slice(at, at + length)
            here = take_rows(drawn, (slice(None), part) if feed.per_seed else part)
            here = devices.split(here) if feed.per_seed else devices.share(here)
            n = devices.share(np.int32(min(length, stop - first - at)))
            carry, stretch = block(chunk.members, carry, stretch, self.work.resident, here, n)
        return carry, stretch

    def _flush(self, before=np.inf):
        """Read pending measurements while the device works on what is already queued."""
        while self.pending and self.pending[0][1] < before:
            runs, point, measured = self.pending.pop(0)
            self.log.take_in(runs, point, take_rows(jax.device_get(measured), slice(len(runs))))

    def _settle(self):
        """Decide at a point which runs continue, which copy others, and which can be dropped."""
        point, step = self.point, self.points[self.point]
        for structure in self.structures:
            self.log.note_numbers(structure.runs, point, structure.numbers())
        is_last = step == self.points[-1]
        decides = self.search is not None and step in self.search.points(self.points[-1])
        # of earlier points only, where nothing is decided, so that the device need not wait
        self._flush(np.inf if decides or is_last else point)
        if decides and isinstance(self.search, SuccessiveHalving):
            self.log.prune(point, self.search.survivors(self.log.losses(point)))
        if decides and isinstance(self.search, PBT):
            for g in range(len(self.structures)):
                self._copy(g)
        elif not is_last:
            for g in range(len(self.structures)):
                self._compact(g)

    def _chunks_of(self, g):
        return [c for c in self.chunks if c.structure == g]

    def _compact(self, g):
        """Use fewer or smaller chunks once enough runs had ended at the previous point."""
        old, steps = self._chunks_of(g), self.points[-1] - self.points[self.point]
        before = [r for c in old for r in c.runs]
        left = [r for r in before if self.log.goes_on(r, self.point)]
        if len(left) == len(before):
            return
        chosen, now = self.structures[g].chosen, old[0].size
        size = chosen.layout(len(left), steps, self.devices.count, now)
        new = self._cut(g, np.asarray(left, int), size)
        if (size, len(new)) == (now, len(old)):
            return
        if new:
            self._regroup(old, new)
        self.chunks = [c for c in self.chunks if c.structure != g] + new
        self.chunks.sort(key=lambda c: c.structure)

    def _regroup(self, old, new, sources=None):
        """Move the state of every run, or of the run it copies, from old chunks to new ones."""
        count, sources = self.devices.count, sources or {}
        laid_out = np.concatenate([c.filled(count) for c in old])
        row = dict(zip(*np.unique(laid_out, return_index=True), strict=True))
        rows = [np.asarray([row[sources.get(r, r)] for r in c.filled(count)]) for c in new]
        carries = self.devices.regroup([c.carry for c in old], rows)
        for chunk, carry in zip(new, carries, strict=True):
            chunk.carry, chunk.done = carry, old[0].done

    def _copy(self, g):
        """Let losers copy the state and the numbers of winners and perturb the numbers
        (population-based training).
        """
        search, step, sources = self.search, self.points[self.point], {}
        structure, n = self.structures[g], len(self.seeds)
        structure.values = jax.tree.map(np.array, structure.values)  # to be written in
        leaves, numbers = jax.tree.leaves(structure.values), structure.numbers()
        for s, seed in enumerate(self.seeds):
            rng = np.random.default_rng([search.seed, seed % 2**32, g, step])
            runs = structure.runs[s::n].tolist()
            for loser, winner in search.copies(self.log.loss_of(runs, self.point), rng):
                a, b = loser * n + s, winner * n + s
                for x in leaves:
                    x[a] = x[b]
                for name, x in numbers.items():
                    x[a] = search.explore(name, float(x[b]), rng)
                sources[runs[loser]] = runs[winner]
                self.log.copied(step, runs[loser], runs[winner])
        if not sources:
            return
        chunks = self._chunks_of(g)
        keys = [c.carry.key for c in chunks]
        self._regroup(chunks, chunks, sources)
        for chunk, key in zip(chunks, keys, strict=True):
            assert isinstance(chunk.carry, RunState)
            chunk.carry, chunk.members = chunk.carry._replace(key=key), None

    # --- checkpoints and the end

    def _save(self):
        assert self.saved is not None
        self._flush()
        chunks = [
            {"structure": c.structure, "runs": c.runs.tolist(), "size": c.size, "done": c.done}
            for c in self.chunks
        ]
        meta = {
            "point": self.point,
            "parked": self.parked,
            "chunks": chunks,
            "sizes": [vars(s.chosen) for s in self.structures],
            "log": self.log.notes(),
        }
        self.saved.save(self._arrays(self.chunks, lambda chunk: chunk.carry), meta)

    def _arrays(self, chunks, carry):
        return {
            "carries": {str(i): carry(c) for i, c in enumerate(chunks) if c.done},
            "values": [s.values for s in self.structures],
            "log": self.log.arrays(),
        }

    def _resume(self):
        """Restore the last save; return False if there is none."""
        if not (found := self.saved and self.saved.last(self._arrays_saved)):
            return False
        meta, arrays = found
        self.chunks, self.point, self.parked = _chunks(meta), meta["point"], meta["parked"]
        for i, carry in arrays["carries"].items():
            self.chunks[int(i)].carry = carry
        for s, size, values in zip(self.structures, meta["sizes"], arrays["values"], strict=True):
            s.chosen, s.values = ChunkSize(**size), jax.tree.map(np.asarray, values)
        self.log.restore(arrays["log"], meta["log"])
        return True

    def _arrays_saved(self, meta):
        """Return the shapes of what a save holds."""

        def carry(chunk):
            lane = self.structures[chunk.structure].shapes.lane
            return self.devices.abstract(lane, chunk.size * self.devices.count)

        return self._arrays(_chunks(meta), carry)

    def result(self) -> Result:
        """Return the result of the sweep."""
        log = self.log
        return Result(
            population=self.population,
            seeds=self.seeds,
            trained=self.task.kind,
            mode=log.mode,
            score_name=log.score,
            scores=log.final(),
            status=log.status(self.interrupted),
            steps=log.steps,
            history=log.history(),
            hyperparams=log.numbers,
            rungs=tuple(log.rungs),
            lineage=tuple(log.lineage),
            outputs=self._output,
            seconds=time.perf_counter() - self.began,
            compile_seconds=self.work.beginning.seconds + self.sizes.seconds,
            compiles=self.sizes.compiled - self.sizes.probes,
            probes=self.sizes.probes,
            chunk=tuple(s.chosen.runs for s in self.structures),
            interrupted=self.interrupted,
            notes=log.remarks(),
        )

    def _output(self, member: int, seed: int) -> PyTree:
        check_run(member, seed, self.population, self.seeds)
        run = member * len(self.seeds) + seed
        found = [c for c in self.chunks if run in c.runs and c.carry is not None]
        if not found:
            raise ArgumentError(
                f"member {member}, seed {self.seeds[seed]} was dropped before the end; its "
                "parameters are gone",
                "result",
            )
        (chunk, *_), structure = found, self.structures[found[0].structure]
        lane = self.devices.row(chunk.carry, int(np.flatnonzero(chunk.runs == run)[0]))
        return self.task.output(take_rows(structure.values, structure.rows(run)), lane)


def _chunks(meta: dict[str, Any]) -> list[_Chunk]:
    return [_Chunk(**{**c, "runs": np.asarray(c["runs"], int)}) for c in meta["chunks"]]
