"""Spread the chunks of a population over one device or a mesh of devices."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from optax_lite.core.types import PyTree
from optax_lite.core.validate import ArgumentError

_LANES = PartitionSpec("runs")
_ALL = PartitionSpec()


class Devices:
    """Devices that each hold a part of the leading axis; they may span several processes."""

    def __init__(self, devices: int | Sequence[Any] | None):
        present = jax.devices()
        chosen: Any = present if devices is None else devices
        if isinstance(devices, int):
            if isinstance(devices, bool) or not 1 <= devices <= len(present):
                raise ArgumentError(f"devices must be from 1 to {len(present)}, got {devices}")
            chosen = present[:devices]
        self.devices = list(chosen) if isinstance(chosen, Sequence) else []
        if not self.devices or not all(isinstance(d, jax.Device) for d in self.devices):
            raise ArgumentError(
                f"devices must be a number, a list of jax devices or None, got {devices!r}"
            )
        self.count = len(self.devices)
        self.is_cpu = self.devices[0].platform == "cpu"
        self.processes = len({d.process_index for d in self.devices})
        mesh = jax.sharding.Mesh(np.asarray(self.devices), ("runs",))
        self.mesh = mesh if self.count > 1 else None
        one = jax.sharding.SingleDeviceSharding(self.devices[0])
        self.by_run = NamedSharding(mesh, _LANES) if self.mesh else one
        self.everywhere = NamedSharding(mesh, _ALL) if self.mesh else one
        self._row = jax.jit(take_rows, out_shardings=self.everywhere)
        room = _room([d for d in self.devices if d.process_index == jax.process_index()])
        self.room = room if room is None else -self.agree(-room)

    def agree(self, x: float) -> float:
        """Return the maximum over processes, so that all decide alike. Collective: every process
        must call it.
        """
        if self.processes == 1:
            return x
        own = jax.make_array_from_callback(
            (self.count,), self.by_run, lambda _: np.full(1, x, np.float32)
        )
        return float(jax.jit(jnp.max, out_shardings=self.everywhere)(own))

    def split(self, tree: PyTree) -> PyTree:
        """Put host arrays on the devices, split along the leading axis."""
        return jax.device_put(tree, self.by_run)

    def share(self, tree: PyTree) -> PyTree:
        """Replicate host arrays on every device."""
        return jax.device_put(tree, self.everywhere)

    def over_runs(self, function: Callable, in_axes: tuple) -> Callable:
        """Turn a function of one run into a function of many: vmapped, and sharded over the
        devices.
        """
        many = jax.vmap(function, in_axes=in_axes)
        if self.mesh is None:
            return many
        specs = tuple(_ALL if axis is None else _LANES for axis in in_axes)
        return jax.shard_map(
            many, mesh=self.mesh, in_specs=specs, out_specs=_LANES, check_vma=False
        )

    def abstract(self, tree: PyTree, size: int | None = None) -> PyTree:
        """Return shapes with shardings; if a size is given, with a leading axis of runs."""
        sharding = self.everywhere if size is None else self.by_run
        front = () if size is None else (size,)
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct((*front, *x.shape), x.dtype, sharding=sharding), tree
        )

    def regroup(self, carries: list[PyTree], rows: list[np.ndarray]) -> list[PyTree]:
        """Gather new chunks from the runs of old ones; `rows` indexes the old chunks laid end to
        end, one array for each new chunk.
        """
        if isinstance(jax.tree.leaves(carries[0])[0], np.ndarray):  # parked on the host
            return _take(carries, rows)
        return jax.jit(_take, out_shardings=self.by_run)(carries, rows)

    def row(self, carry: PyTree, row: int) -> PyTree:
        """Take one run out of a chunk. Collective: every process must call it."""
        return jax.tree.map(jnp.asarray, jax.device_get(self._row(carry, np.int32(row))))

    def memory(self) -> float | None:
        """Return the bytes of one device, the minimum over processes; None if unknown."""
        return self.room


def _room(devices: list[Any]) -> float | None:
    """Return the bytes of one local device; for CPU devices, a share of the machine's memory."""
    is_cpu = devices[0].platform == "cpu"
    stats = devices[0].memory_stats() if not is_cpu else None
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"]
    if not is_cpu or not hasattr(os, "sysconf"):
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // len(devices)


def take_rows(tree: PyTree, rows: Any) -> PyTree:
    """Index the leading axis of every array."""
    return jax.tree.map(lambda x: x[rows], tree)


def shapes_of(tree: PyTree, skip: int = 0) -> PyTree:
    """Return the shapes of arrays as JAX takes them, without their first axes."""

    def shape(x):
        return jax.ShapeDtypeStruct(x.shape[skip:], jax.dtypes.canonicalize_dtype(x.dtype))

    return jax.tree.map(shape, tree)


def _take(carries, rows):
    def leaf(*xs):
        joined = (np if isinstance(xs[0], np.ndarray) else jnp).concatenate(xs)
        return [joined[r] for r in rows]

    taken = jax.tree.map(leaf, *carries)
    outer, inner = jax.tree.structure(carries[0]), jax.tree.structure([0] * len(rows))
    return jax.tree.transpose(outer, inner, taken)
