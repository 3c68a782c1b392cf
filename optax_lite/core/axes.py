"""Find mesh axes: those in the types of arrays, and those along which `shard_map` values differ."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, AxisType

from optax_lite.core.types import PyTree


def axes_of(arrays: PyTree, kind: AxisType) -> tuple[AbstractMesh | None, tuple[str, ...]]:
    """Return the mesh in the types of some arrays, and its axes of a kind; None without any, or
    with a single device.
    """
    for x in (
        x for x in jax.tree.leaves(arrays) if isinstance(x, (jax.Array, jax.ShapeDtypeStruct))
    ):
        mesh = jax.typeof(x).sharding.mesh
        names = [
            name
            for name, each in zip(mesh.axis_names, mesh.axis_types, strict=True)
            if each is kind
        ]
        if names and mesh.size > 1:
            return mesh, tuple(names)
    return None, ()


def is_manual() -> bool:
    """Tell whether this is inside of a `shard_map`, where one array may differ from device to
    device.
    """
    return AxisType.Manual in jax.sharding.get_abstract_mesh().axis_types


def varying_like(tree: PyTree, models: PyTree) -> PyTree:
    """Mark a state whose numbers depend on gradients as one per device under `shard_map`.

    A constant is the same on all devices, but what an update makes of it and of the device's own
    gradients is not: a scan would refuse that as another type. So it varies, from the start, over
    the axes that the params vary over.
    """
    if not is_manual():
        return tree
    return jax.tree.map(functools.partial(_varying, _mark(models)), tree)


def _mark(models):
    """Return False, of a type that varies over the axes that any of the arrays does."""
    marks = (
        jax.lax.full_like(x, False, bool, shape=())
        for x in jax.tree.leaves(models)
        if hasattr(x, "dtype")
    )
    return functools.reduce(jnp.logical_or, marks)


def _varying(mark: Any, x: Any) -> Any:
    return jnp.where(mark, x, x)  # no name for it is the same in JAX 0.8 and 0.12; XLA makes it x
