"""Choose how many runs a chunk has: by measurement at first, fewer once few runs are left."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from optax_lite.core.types import PyTree
from optax_lite.core.validate import ArgumentError
from optax_lite.inspect._table import show_bytes
from optax_lite.sweep._engine.devices import take_rows
from optax_lite.sweep._engine.programs import Programs, Shapes, SweepProgram

_FIRST = 32  # runs that are tried first on an accelerator
# bytes that a step of a chunk should move on a CPU, not to be outweighed by the calls in it
_MOVED = 2**30
_MOST = 128  # runs of such a chunk, at most
_SHARE = 0.01  # of the time a sweep is expected to take, for each further size that is tried
_GAIN = 1.03  # how much faster a size must be to be preferred
_MEASURE = 0.1  # seconds of work that a measurement should have
_ROOM = 0.9  # of a device's memory


@dataclass(frozen=True)
class ChunkSize:
    """The chunk size of a structure, and the measurements behind it. Saved in checkpoints, because
    results depend on it bit for bit.
    """

    runs: int  # on each device
    measured: bool  # or given
    seconds: float = 0.0  # of a step of one run
    compiling: float = 0.0  # seconds of a compilation

    def layout(self, n: int, steps: int, devices: int, now: int | None = None) -> int:
        """Return the size for n remaining runs and steps; `now` is the current size.

        A size that the user gave shrinks by halves, whatever the timings and the devices, so that
        a run can be repeated bit for bit. A measured size is spread over the devices, and shrinks
        if that saves more time than a compilation takes.
        """
        share = -(-n // devices) if self.measured else n
        size = self.runs
        while size > 1 and -(-size // 2) >= share:
            size = -(-size // 2)
        if now is not None and self.measured and size < now:
            saved = (now - size) * devices * self.seconds * steps
            return size if saved > self.compiling else now
        return size


class ChunkSizer:
    """Compile programs on demand, by structure and size, and choose a size."""

    def __init__(self, work: SweepProgram, programs: dict[Any, Programs]):
        self.work, self.programs = work, programs
        self.probes = self.compiled = 0
        self.seconds = 0.0

    def get(self, structure: Shapes, size: int) -> Programs:
        """Return the programs of a structure for a chunk size, compiled if needed."""
        key = structure.kind, size
        if key not in self.programs:
            self._compile(structure, size, self.work.trace(structure, size))
        return self.programs[key]

    def _compile(self, structure, size, traced):
        made = self.programs[structure.kind, size] = self.work.compile(traced)
        self.compiled += 1
        self.seconds += made.seconds

    def given(self, structure: Shapes, runs: int, n: int) -> ChunkSize:
        """Return the requested size, at most n; raise if a chunk of it does not fit in memory."""
        size = self._compiled_before(structure, min(runs, n))
        self._check_room(structure, size)
        return ChunkSize(size, measured=False)

    def _compiled_before(self, structure, size):
        """Return the size, or one up to twice as large that an earlier batch of a study has
        compiled.
        """
        return min((s for s in self._known(structure) if size <= s <= 2 * size), default=size)

    def _known(self, structure) -> dict[int, Programs]:
        return {
            size: made for (kind, size), made in self.programs.items() if kind == structure.kind
        }

    def _first(self, structure: Shapes, limit: int) -> int:
        """Return the size to try first, at most `limit`. On a CPU it depends on the bytes that a
        step of a run moves, as traced now or before.
        """
        if not self.work.devices.is_cpu:
            return min(_FIRST, limit)
        size, known = _even(_MOST, limit), self._known(structure)
        traced = None if known else self.work.trace(structure, size)
        made = traced or next(iter(known.values()))
        # Computed, because trying a size costs 2 s of compilation (decision 53).
        fit = int(_MOVED / max(made.moved, 1.0))
        wanted = _even(min(_MOST, 1 << max(1, fit).bit_length() - 1), limit)
        if traced and wanted == size:
            self._compile(structure, size, traced)
        return wanted

    def choose(self, structure: Shapes, values: PyTree, n: int, steps: int) -> ChunkSize:
        """Return the fastest size that fits; try others while a trial costs little against what it
        may save.
        """
        limit = -(-n // self.work.devices.count)
        size = self._compiled_before(structure, self._first(structure, limit))
        while size > 1 and not self._fits(structure, size):
            size //= 2
        self._check_room(structure, size)
        if self.work.feed is None:
            return ChunkSize(size, measured=True)
        timers, before, first = {size: self._timer(structure, size, values)}, self.compiled, size
        rate = min(timers[size](), timers[size]())
        for factor in (4, 1 / 4):  # larger ones while that is faster; smaller ones if none was
            while (tried := _even(max(1, int(size * factor)), limit)) not in timers:
                cost, expected = self._compiling(structure, size) + 5 * _MEASURE, rate * n * steps
                beside = size * self.get(structure, size).run_bytes
                if cost > _SHARE * expected or not self._fits(structure, tried, beside):
                    break
                timers[tried] = self._timer(structure, tried, values)
                rate, other = map(
                    min, zip(*((timers[size](), timers[tried]()) for _ in range(2)), strict=True)
                )
                if rate < _GAIN * other:
                    break
                size, rate = tried, other
            if size != first:
                break
        self.probes += self.compiled - before
        return ChunkSize(size, True, rate, self._compiling(structure, size))

    def _compiling(self, structure: Shapes, size: int) -> float:
        return self.work.devices.agree(self.get(structure, size).seconds)

    def _timer(self, structure: Shapes, size: int, values: PyTree) -> Callable[[], float]:
        """Return a function that measures seconds per step of one run in such a chunk."""
        work, programs = self.work, self.get(structure, size)
        many, feed, devices = size * work.devices.count, work.feed, work.devices
        block: Any = programs.block
        assert feed is not None and block is not None
        rows = np.arange(many) % len(jax.tree.leaves(values)[0])
        members = devices.split(take_rows(values, rows))
        carry = programs.start(members, *work.first(np.zeros(many, int)))
        drawn = feed.example(work.length)
        if feed.per_seed:
            drawn = devices.split(jax.tree.map(lambda x: np.repeat(x[None], many, 0), drawn))
        else:
            drawn = devices.share(drawn)

        def seconds(n):
            nonlocal carry
            steps, nothing = devices.share(np.int32(n)), work.nothing(structure, size)
            began = time.perf_counter()
            carry, _ = jax.block_until_ready(
                block(members, carry, nothing, work.resident, drawn, steps)
            )
            return devices.agree(time.perf_counter() - began)

        seconds(1)
        once = seconds(1)
        n = work.length if not devices.is_cpu else int(np.clip(_MEASURE / once, 1, work.length))
        return lambda: seconds(n) / (many * n)

    def _fits(self, structure: Shapes, size: int, beside: int = 0) -> bool:
        memory = self.work.devices.memory()
        return memory is None or self.get(structure, size).bytes + beside <= _ROOM * memory

    def _check_room(self, structure: Shapes, size: int) -> None:
        if not self._fits(structure, size):
            needed, memory = self.get(structure, size).bytes, self.work.devices.memory() or 0
            advice = (
                f"write chunk={size // 2} or less" if size > 1 else "one run alone does not fit"
            )
            raise ArgumentError(
                f"a chunk of {size} runs needs {show_bytes(needed)}, the device has "
                f"{show_bytes(memory)}; {advice}"
            )


def _even(size: int, n: int) -> int:
    """Return the smallest size that cuts n runs into as many chunks as `size` does, so that the
    last is nearly full.
    """
    return -(-n // -(-n // min(size, n)))


def room_for(programs: Programs, n: int, memory: float | None, devices: int) -> bool:
    """Tell whether n runs of a structure fit on the devices beside a chunk that is running."""
    return memory is None or programs.bytes + n * programs.run_bytes / devices <= _ROOM * memory
