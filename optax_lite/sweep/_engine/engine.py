"""Train a population: advance its chunks from evaluation to evaluation with compiled programs."""

import contextlib
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from optax_lite.core.types import PyTree
from optax_lite.core.validate import ArgumentError
from optax_lite.errors.calls import errors_named, usage
from optax_lite.sweep._engine.checkpoint import Checkpoint, digest
from optax_lite.sweep._engine.devices import Devices
from optax_lite.sweep._engine.feed import BatchSource
from optax_lite.sweep._engine.initial import InitialParams
from optax_lite.sweep._engine.log import Log
from optax_lite.sweep._engine.perturb import as_floats, edited, numbers_of, resolve
from optax_lite.sweep._engine.programs import Programs, SweepProgram, block_length, traced_by
from optax_lite.sweep._engine.sizes import ChunkSize, ChunkSizer, room_for
from optax_lite.sweep.population import Population, needless_structures, strip_addresses
from optax_lite.sweep.result import Result
from optax_lite.sweep.search import PBT, Score, Search, SuccessiveHalving
from optax_lite.sweep.training import FunctionTask, RunState, Training, check_takes
from optax_lite.train._interrupt import until_interrupted
from optax_lite.train._progress import bar

_RESIDENT = 0.25  # of a device's memory that data may take


@usage("result = sweep.run(population, train)")
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
    return train_population(
        population,
        train,
        seeds=seeds,
        score=score,
        mode=mode,
        search=search,
        chunk=chunk,
        devices=devices,
        checkpoint=checkpoint,
        progress=progress,
        programs={},
    )


def train_population(
    population: Population,
    train: Training | Callable[[PyTree, Any], Any],
    *,
    programs: dict[Any, Programs],
    seeds: int | Sequence[int] = 1,
    score: Score = None,
    mode: str = "min",
    search: Search | None = None,
    chunk: int | str = "auto",
    devices: int | Sequence[Any] | None = None,
    checkpoint: str | Path | None = None,
    progress: bool | str = "auto",
) -> Result:
    """Run a sweep with the programs that earlier sweeps over the same training have compiled."""
    if not isinstance(population, Population):
        problem = f"population must be what grid or sample returns, got {type(population).__name__}"
        raise ArgumentError(
            f"{problem}; write sweep.grid(adamw, learning_rate=[1e-3, 1e-2])", "run"
        )
    if not callable(train) and not isinstance(train, Training):
        raise ArgumentError(
            f"train must be training(...) or a function (member, key), got {train!r}", "run"
        )
    if mode not in ("min", "max"):
        raise ArgumentError(f"mode must be 'min' or 'max', got {mode!r}", "run")
    if chunk != "auto" and (isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1):
        raise ArgumentError(
            f"chunk must be 'auto' or an integer of at least 1, got {chunk!r}", "run"
        )
    if search is not None and not isinstance(search, Search):
        raise ArgumentError(
            f"search must be successive_halving(...) or pbt(...), got {search!r}", "run"
        )
    if search is not None and not isinstance(train, Training):
        raise ArgumentError(
            "search needs training(init, loss) or training(init, update=...): your own function "
            "cannot be cut into pieces",
            "run",
        )
    if isinstance(train, Training):
        task = train
    else:
        with errors_named("run"):
            check_takes("train", train, "member", "key")
        task = FunctionTask(train, score)
    if advice := needless_structures(population):
        warnings.warn(f"run: {advice}", stacklevel=4)
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
            warnings.warn(f"run: {remark}", stacklevel=4)
    unit = "updates" if isinstance(task, Training) else "runs"
    with (
        sweep.opened(),
        bar(progress, sweep.log.planned, unit, "run") as show,
        until_interrupted() as interrupted,
    ):
        sweep.go(show, interrupted)
    return sweep.result()


def _seeds(seeds: Any) -> tuple[int, ...]:
    if isinstance(seeds, int) and not isinstance(seeds, bool) and seeds > 0:
        return tuple(range(seeds))
    found = (
        tuple(seeds)
        if isinstance(seeds, (Sequence, np.ndarray)) and not isinstance(seeds, str)
        else ()
    )
    if (
        not found
        or len(set(found)) < len(found)
        or not all(isinstance(s, (int, np.integer)) for s in found)
    ):
        raise ArgumentError(
            f"seeds must be an integer of at least 1, or distinct integers, got {seeds!r}", "run"
        )
    return tuple(map(int, found))


@dataclass
class _Chunk:
    structure: int
    runs: np.ndarray  # which runs, without those that only fill it up
    size: int  # on each device
    done: int = 0  # updates made, or 1 for a function that returned
    carry: PyTree = None  # None before the start
    members: PyTree = None  # on the devices; None when they changed

    def filled(self, rows: np.ndarray, count: int) -> np.ndarray:
        """Pad rows to the size of the chunk on all devices, by repeating the last one."""
        return np.concatenate([rows, np.repeat(rows[-1:], self.size * count - len(rows))])


class _Sweep:
    """A sweep in progress. Runs are numbered member by member, each with all its seeds."""

    def __init__(
        self, population, task, seeds, score, mode, search, chunk, devices, checkpoint, programs
    ):
        self.population, self.task, self.seeds, self.search, self.devices = (
            population,
            task,
            seeds,
            search,
            devices,
        )
        self.began, self.asked = time.perf_counter(), chunk
        self.groups = population.groups()
        perturbed = search.perturb if isinstance(search, PBT) else ()
        self.paths = [resolve(group.stacked, perturbed) for group in self.groups]
        n = len(seeds)
        self.place = {}  # of a run: its structure, and its row in the values of that
        self.values = []  # of each structure: its members' numbers, run by run, on the host
        for g, group in enumerate(self.groups):
            self.place |= {
                int(m) * n + s: (g, i * n + s) for i, m in enumerate(group.index) for s in range(n)
            }
            values = jax.tree.map(lambda x: np.repeat(np.asarray(x), n, 0), group.stacked)
            self.values.append(as_floats(values, self.paths[g]))
        is_loop = isinstance(task, Training)
        decisions = search.points(task.steps) if search else set()
        ends = set(range(task.every, task.steps, task.every)) if is_loop else set()
        self.points = sorted(ends | decisions | {task.steps})
        memory = devices.memory()
        self.feed = (
            BatchSource(task, seeds, np.inf if memory is None else _RESIDENT * memory)
            if is_loop
            else None
        )
        length = block_length(self.points) if is_loop else 1
        with traced_by("training"):
            beginning = InitialParams(task.begin, seeds)
        resident = None if self.feed is None else devices.share(self.feed.resident)
        self.work = SweepProgram(task, self.feed, score, length, devices, beginning, resident)
        shapes = [self.work.shapes(_example(v)) for v in self.values]
        self.sizes = ChunkSizer(self.work, shapes, programs)
        names = [x.names for x in shapes]
        self.log = Log(len(population), seeds, self.points, names, score, mode, is_loop)
        self._check_pbt()
        self.chunks, self.chosen, self.point, self.parked = [], [], 0, False
        self.saved = None if checkpoint is None else Checkpoint(checkpoint, self._fingerprint())
        self.pending, self.interrupted = [], False

    def _check_pbt(self):
        for group in self.groups if isinstance(self.search, PBT) else ():
            if len(group.index) < 4:
                problem = (
                    "pbt needs at least 4 members of each structure to copy from, got "
                    f"{len(group.index)}"
                )
                raise ArgumentError(problem, "run")

    def _fingerprint(self):
        names = ("steps", "every", "batch_size", "paired", "seed") if self.feed else ()
        training = {name: getattr(self.task, name) for name in names}
        carried = f"{[jax.tree.leaves(x.lane) for x in self.sizes.shapes]}"
        return training | {
            "members": [strip_addresses(self.population[group.index[0]]) for group in self.groups],
            "settings": [strip_addresses(dict(s)) for s in self.population.settings],
            "numbers": digest(self.values),
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
        for g, values in enumerate(self.values):
            n, steps = len(self._of_structure(g)), self.points[-1]
            chosen = (
                self.sizes.given(g, self.asked, n)
                if self.asked != "auto"
                else self.sizes.choose(g, values, n, steps)
            )
            self.chosen.append(chosen)
        self._check_memory()
        for g in range(len(self.groups)):
            runs = np.asarray(self._of_structure(g))
            self.chunks += self._cut(
                g, runs, self.chosen[g].layout(len(runs), self.points[-1], self.devices.count)
            )

    def _check_memory(self):
        """Decide whether all runs stay on the devices or wait for their turn on the host."""
        memory, count = self.devices.memory(), self.devices.count
        needed = 0.0
        for g in range(len(self.groups)):
            programs, n = self.sizes.get(g, self.chosen[g].runs), len(self._of_structure(g))
            self.parked |= not room_for(programs, n, memory, count)
            needed += programs.bytes + n * programs.run_bytes / count
        if self.parked and (self.devices.is_cpu or self.devices.processes > 1):
            problem = (
                f"the runs need {needed / 1e9:.3g} GB on each device, which has "
                f"{(memory or 0) / 1e9:.3g} GB"
            )
            raise ArgumentError(f"{problem}; sweep over fewer members at a time", "run")

    def _cut(self, g, runs, size):
        many = size * self.devices.count
        return [_Chunk(g, runs[i : i + many], size) for i in range(0, len(runs), many)]

    def _advance(self, chunk):
        """Advance one chunk to the next point; read its measurements later."""
        stop, first = self.points[self.point], self.points[self.point - 1] if self.point else 0
        programs, devices = self.sizes.get(chunk.structure, chunk.size), self.devices
        if chunk.members is None:
            rows = chunk.filled(np.asarray([self.place[r][1] for r in chunk.runs]), devices.count)
            chunk.members = devices.split(
                jax.tree.map(lambda x: x[rows], self.values[chunk.structure])
            )
        carry = (
            devices.split(chunk.carry) if self.parked and chunk.carry is not None else chunk.carry
        )
        if carry is None:
            carry = programs.start(chunk.members, *self.work.first(self._seeds_of(chunk)))
        stretch = self.work.nothing(self.sizes.shapes[chunk.structure], chunk.size)
        if programs.block is not None:
            carry, stretch = self._blocks(programs.block, chunk, carry, stretch, first, stop)
        measured = programs.measure(chunk.members, carry, stretch)
        self.pending.append((chunk.runs, self.point, measured))
        chunk.carry, chunk.done = jax.device_get(carry) if self.parked else carry, stop

    def _seeds_of(self, chunk):
        return chunk.filled(chunk.runs, self.devices.count) % len(self.seeds)

    def _blocks(self, block, chunk, carry, stretch, first, stop):
        feed, length, devices = self.feed, self.work.length, self.devices
        assert feed is not None
        drawn = feed.stretch(first, stop, length)
        if feed.per_seed:
            drawn = _row(drawn, self._seeds_of(chunk))
        for at in range(0, stop - first, length):
            part = slice(at, at + length)
            here = jax.tree.map(lambda x, p=part: x[:, p] if feed.per_seed else x[p], drawn)
            here = devices.split(here) if feed.per_seed else devices.share(here)
            n = devices.share(np.int32(min(length, stop - first - at)))
            carry, stretch = block(chunk.members, carry, stretch, self.work.resident, here, n)
        return carry, stretch

    def _flush(self, before=None):
        """Read pending measurements while the device works on what is already queued."""
        ready = [p for p in self.pending if before is None or p[1] < before]
        self.pending = [p for p in self.pending if not (before is None or p[1] < before)]
        for runs, point, measured in ready:
            self.log.take_in(
                runs,
                point,
                {k: np.asarray(x)[: len(runs)] for k, x in jax.device_get(measured).items()},
            )

    def _settle(self):
        """Decide at a point which runs continue, which copy others, and which can be dropped."""
        point, step = self.point, self.points[self.point]
        for g, paths in enumerate(self.paths):
            self.log.note_numbers(self._of_structure(g), point, numbers_of(self.values[g], paths))
        is_last = point == len(self.points) - 1
        decides = self.search is not None and step in self.search.points(self.points[-1])
        if not (decides or is_last):
            self._flush(before=point)  # of earlier points only, so that the device need not wait
        else:
            self._flush()
        if decides and isinstance(self.search, SuccessiveHalving):
            self.log.prune(point, self.search.survivors(self.log.losses(point)))
        if decides and isinstance(self.search, PBT):
            self._copy(point)
        elif not is_last:
            self._compact(point)

    def _of_structure(self, g):
        return [r for r, place in self.place.items() if place[0] == g]

    def _compact(self, point):
        """Use fewer or smaller chunks once enough runs had ended at the previous point."""
        for g in range(len(self.groups)):
            old = [c for c in self.chunks if c.structure == g]
            before = [r for c in old for r in c.runs]
            left = [r for r in before if self.log.goes_on(r, point)]
            if not old or len(left) == len(before):
                continue
            size = self.chosen[g].layout(
                len(left), self.points[-1] - self.points[point], self.devices.count, old[0].size
            )
            new = self._cut(g, np.asarray(left, int), size)
            if (size, len(new)) == (old[0].size, len(old)):
                continue
            if new:
                self._regroup(old, new)
            self.chunks = [c for c in self.chunks if c.structure != g] + new
            self.chunks.sort(key=lambda c: c.structure)

    def _regroup(self, old, new, source=lambda run: run):
        """Move the state of every run, or of the run it copies, from old chunks to new ones."""
        row, at = {}, 0
        for chunk in old:
            row |= {run: at + i for i, run in enumerate(chunk.runs)}
            at += chunk.size * self.devices.count
        rows = [
            c.filled(np.asarray([row[source(r)] for r in c.runs]), self.devices.count) for c in new
        ]
        carries = self.devices.regroup([c.carry for c in old], rows)
        for chunk, carry in zip(new, carries, strict=True):
            chunk.carry, chunk.done = carry, old[0].done

    def _copy(self, point):
        """Let losers copy the state and the numbers of winners and perturb the numbers
        (population-based training).
        """
        search, step = self.search, self.points[point]
        for g, paths in enumerate(self.paths):
            source, values = {}, self.values[g]
            for s, seed in enumerate(self.seeds):
                rng = np.random.default_rng([search.seed, seed % 2**32, g, step])
                runs = [r for r in self._of_structure(g) if r % len(self.seeds) == s]
                for loser, winner in search.copies(self.log.loss_of(runs, point), rng):
                    a, b = self.place[runs[loser]][1], self.place[runs[winner]][1]
                    source[runs[loser]] = runs[winner]
                    numbers = numbers_of(jax.tree.map(lambda x, b=b: x[b], values), paths)
                    new = {name: search.explore(name, float(x), rng) for name, x in numbers.items()}
                    values = jax.tree.map(lambda x, a=a, b=b: _with_row(x, a, x[b]), values)
                    values = edited(values, paths, a, new)
                    self.log.copied(step, runs[loser], runs[winner])
            if not source:
                continue
            self.values[g] = values
            chunks = [c for c in self.chunks if c.structure == g]
            keys = [c.carry.key for c in chunks]
            self._regroup(chunks, chunks, lambda run, source=source: source.get(run, run))
            for chunk, key in zip(chunks, keys, strict=True):
                assert isinstance(chunk.carry, RunState)
                chunk.carry, chunk.members = chunk.carry._replace(key=key), None

    # --- checkpoints and the end

    def _save(self):
        assert self.saved is not None
        self._flush()
        arrays = {
            "carries": {str(i): c.carry for i, c in enumerate(self.chunks) if c.done},
            "values": self.values,
            "log": self.log.arrays(),
        }
        chunks = [
            {"structure": c.structure, "runs": c.runs.tolist(), "size": c.size, "done": c.done}
            for c in self.chunks
        ]
        sizes = [vars(size) for size in self.chosen]
        self.saved.save(
            arrays,
            {
                "point": self.point,
                "parked": self.parked,
                "chunks": chunks,
                "sizes": sizes,
                "log": self.log.notes(),
            },
        )

    def _resume(self):
        """Restore the last save; return False if there is none."""
        found = self.saved and self.saved.last(
            lambda meta: {
                "carries": {
                    str(i): self._carry_shapes(c) for i, c in enumerate(_chunks(meta)) if c.done
                },
                "values": self.values,
                "log": self.log.arrays(),
            }
        )
        if not found:
            return False
        meta, arrays = found
        self.chosen = [ChunkSize(**size) for size in meta["sizes"]]
        self.chunks, self.point, self.parked = _chunks(meta), meta["point"], meta["parked"]
        for i, carry in arrays["carries"].items():
            self.chunks[int(i)].carry = carry
        self.values = jax.tree.map(np.asarray, arrays["values"])
        self.log.restore(arrays["log"], meta["log"])
        return True

    def _carry_shapes(self, chunk):
        lane = self.sizes.shapes[chunk.structure].lane
        return self.devices.abstract(lane, chunk.size * self.devices.count)

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
            hyperparams=log.hyperparams(),
            rungs=tuple(log.rungs),
            lineage=tuple(log.lineage),
            outputs=self._output,
            seconds=time.perf_counter() - self.began,
            compile_seconds=self.work.beginning.seconds + self.sizes.seconds,
            compiles=self.sizes.compiled - self.sizes.probes,
            probes=self.sizes.probes,
            chunk=tuple(size.runs for size in self.chosen),
            interrupted=self.interrupted,
            notes=log.remarks(),
        )

    def _output(self, member: int, seed: int) -> PyTree:
        run = member * len(self.seeds) + seed
        found = [c for c in self.chunks if run in c.runs and c.carry is not None]
        if not found:
            problem = (
                f"member {member}, seed {self.seeds[seed]} was dropped before the end; its "
                "parameters are gone"
            )
            raise ArgumentError(problem, "result")
        (g, place), row = self.place[run], int(np.flatnonzero(found[0].runs == run)[0])
        lane = self.devices.row(found[0].carry, row)
        return self.task.output(_row(self.values[g], place), lane)


def _chunks(meta: dict[str, Any]) -> list[_Chunk]:
    return [
        _Chunk(c["structure"], np.asarray(c["runs"], int), c["size"], c["done"])
        for c in meta["chunks"]
    ]


def _example(values: PyTree) -> PyTree:
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape[1:], jax.dtypes.canonicalize_dtype(x.dtype)), values
    )


def _row(tree: PyTree, row: Any) -> PyTree:
    return jax.tree.map(lambda x: x[row], tree)


def _with_row(x, row, value):
    new = x.copy()
    new[row] = value
    return new
