"""Draw the batches of a sweep: once on the host for a stretch of steps, shared by all chunks."""

from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optax_lite.core.types import Array, PyTree
from optax_lite.core.validate import ArgumentError
from optax_lite.sweep.training import Training
from optax_lite.train._batches import again_and_again, as_args, check_data, is_stream, shuffled


class BatchSource:
    """The data of a sweep. `resident` stays on the device; `stretch` returns what some steps draw.

    These are row numbers if the data are arrays that fit, batches if they do not fit or are an
    iterable, and nothing if each step takes all rows. If seeds have their own batches, they have a
    leading axis of seeds.
    """

    def __init__(self, train: Training, seeds: tuple[int, ...], room: float):
        self.rows = (
            None if train.data is None else check_data(train.data, train.batch_size, "training")
        )
        self.train, self.per_seed = train, not train.paired
        self.is_stream = train.data is not None and is_stream(train.data)
        if self.per_seed and self.rows is None and train.data is not None:
            problem = (
                "paired=False shuffles arrays anew for each seed; data must be arrays, with a "
                "batch_size"
            )
            raise ArgumentError(problem, "training")
        self.per_seed = self.per_seed and self.rows is not None
        size = 0 if self.is_stream else sum(x.nbytes for x in jax.tree.leaves(train.data))
        self.by_row = self.rows is not None and size <= room
        self.resident = train.data if self.by_row or not (self.is_stream or self.rows) else ()
        starts = seeds if self.per_seed else (train.seed,)
        self.sources, self.drawn = [self._source(seed) for seed in starts], 0
        self.span = self.kept = self.sample = self.shapes = None

    def _source(self, seed: int) -> Iterator[Any]:
        if self.rows is None:
            return again_and_again(self.train.data) if self.is_stream else iter(())
        order = shuffled(self.rows, self.train.batch_size or self.rows, seed)
        return order if self.by_row else (as_args(self._taken(index)) for index in order)

    def _taken(self, index):
        return jax.tree.map(lambda x: np.asarray(x[index]), self.train.data)

    def stretch(self, first: int, stop: int, length: int) -> PyTree:
        """Draw for steps first to stop - 1, padded to whole blocks; None if there is nothing to
        draw.
        """
        if self.rows is None and not self.is_stream:
            return None
        if (first, stop) != self.span:
            self._skip_to(first)
            drawn = [self._draw(source, stop - first, stop) for source in self.sources]
            self.span, self.drawn = (first, stop), stop
            kept = [jax.tree.map(lambda *xs: np.stack(xs), *batches) for batches in drawn]
            self.kept = jax.tree.map(lambda *xs: np.stack(xs), *kept) if self.per_seed else kept[0]
        axis, missing = int(self.per_seed), -(stop - first) % length
        return jax.tree.map(
            lambda x: np.concatenate([x, np.repeat(x.take([-1], axis), missing, axis)], axis),
            self.kept,
        )

    def example(self, length: int) -> PyTree:
        """Return the first batch of one run, repeated for the steps of a block."""
        if self.rows is None and not self.is_stream:
            return None
        if self.sample is None:
            (self.sample,) = self._draw(self.sources[0], 1, 1)
            self.sources[0] = chain([self.sample], self.sources[0])
        return jax.tree.map(lambda x: np.repeat(x[None], length, 0), self.sample)

    def known(self) -> PyTree:
        """Return what identifies the data without consuming it: the arrays, or for an iterable,
        zeros like one batch.
        """
        data = self.train.data
        return (
            data
            if isinstance(data, list) or not self.is_stream
            else jax.tree.map(np.zeros_like, self.example(1))
        )

    def _skip_to(self, first):
        for source in self.sources:
            for _ in islice(source, first - self.drawn):
                pass

    def _draw(self, source, n, stop):
        found = list(islice(source, n))
        if len(found) < n:
            raise ArgumentError(
                f"data, an iterator, ended after {stop - n + len(found)} of {stop} steps",
                "training",
            )
        found = [jax.tree.map(np.asarray, batch) for batch in found]
        for i, batch in enumerate(found if self.is_stream else (), stop - n):
            shapes = jax.tree.map(np.shape, batch)
            if self.shapes not in (None, shapes):
                problem = (
                    f"batch {i} of data has the shapes {shapes}, but the first has {self.shapes}"
                )
                raise ArgumentError(
                    f"{problem}; drop the last batch of an epoch, or pad it", "training"
                )
            self.shapes = shapes
        return found

    def pick(self, resident: PyTree, drawn: PyTree, i: Array) -> tuple:
        """Return the loss arguments that follow the params at step i of a stretch; called while
        tracing.
        """
        if self.train.data is None:
            return ()
        if drawn is None:
            return as_args(resident)
        here = jax.tree.map(lambda x: jnp.asarray(x)[i], drawn)
        return as_args(jax.tree.map(lambda x: x[here], resident)) if self.by_row else here
