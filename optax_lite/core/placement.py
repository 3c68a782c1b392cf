"""Place arrays on a mesh according to their JAX types.

On explicit axes (those of `jax.make_mesh` are) JAX refuses to guess the placement of a product, a
reshape or a decomposition. It is declared once, around a whole update: the compiler places
intermediate results, the updates are placed like the gradients, and the state as before. On
automatic axes a type names the mesh, but no placement.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.core import Tracer
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

from optax_lite.core.axes import axes_of
from optax_lite.core.trees import flatten_up_to, is_missing
from optax_lite.core.types import PyTree


def spec_like(model: Any, shape: tuple[int, ...] | None = None) -> P:
    """Return how to cut an array of a shape that is made of `model`: axes of one length alike,
    others not at all.
    """
    spec, lengths = jax.typeof(model).sharding.spec, np.shape(model)
    if shape is None or shape == lengths:
        return spec
    if len(shape) != len(lengths):
        return P()
    return P(*(part if n == m else None for part, n, m in zip(spec, lengths, shape, strict=True)))


def placed(function: Callable[..., PyTree], arrays: tuple, specs: Callable[[], PyTree]) -> PyTree:
    """Call `function(*arrays)`; on explicit axes the compiler places intermediate results, and
    `specs()` the final ones.

    That is a tree of `PartitionSpec`s like the results. The function closes over no array.
    """
    mesh, axes = axes_of(arrays, AxisType.Explicit)
    if mesh is None:
        return function(*arrays)
    shardings = jax.tree.map(
        lambda spec: NamedSharding(mesh, spec), specs(), is_leaf=lambda x: isinstance(x, P)
    )
    return jax.jit(jax.sharding.auto_axes(function, axes=axes, out_sharding=shardings))(*arrays)


def placed_update(
    call: Callable[..., PyTree], args: tuple, extra: dict[str, Any], *, like_params: bool
) -> PyTree:
    """Run `call(*args, extra)`; place its result like the updates, or with `like_params` like the
    params, and leave the state where it was.

    `args` are the transformation, updates, state and params.
    """
    _, updates, state, params = args
    models = params if like_params and params is not None else updates
    arrays = {name: x for name, x in extra.items() if is_arrays(x)}
    functions = {name: x for name, x in extra.items() if name not in arrays}
    functions = {
        name: called_outside(x, params, arrays) if callable(x) else x
        for name, x in functions.items()
    }

    def specs():
        leaves, treedef = jax.tree.flatten(updates, is_leaf=is_missing)
        pairs = list(zip(leaves, flatten_up_to(updates, models, "params"), strict=True))
        fewer = like_params and params is None  # updates with an axis of examples, which goes
        made = [u if is_missing(u) else P() if fewer else spec_like(m) for u, m in pairs]
        return treedef.unflatten(made), jax.tree.map(spec_like, state)

    # Done once here, so that no rule mentions meshes and foreign rules work too (decision 7).
    return placed(lambda *args: call(*args[:-1], {**args[-1], **functions}), (*args, arrays), specs)


def called_outside(
    function: Callable[..., Any], like: PyTree, named: dict[str, PyTree]
) -> Callable[..., Any]:
    """Wrap a caller's function for use inside `placed`: its axes are explicit again, as those of
    what it closes over.

    Arguments of the structure of `like` are placed like that, keyword arguments as they are in
    `named`.
    """
    _, axes = axes_of((like, named), AxisType.Explicit)
    if not axes:
        return function
    models = {name: jax.tree.map(spec_like, value) for name, value in named.items()}
    structure, own = jax.tree.structure(like), jax.tree.map(spec_like, like)

    @functools.wraps(function)
    def call(*args, **kwargs):
        where = [own if jax.tree.structure(x) == structure else P() for x in args]
        arrays = {name: x for name, x in kwargs.items() if name in models}
        others = {name: x for name, x in kwargs.items() if name not in models}
        specs = where, {name: models[name] for name in arrays}

        def rejoined(args, arrays):
            return function(*args, **arrays, **others)

        outside: Any = jax.sharding.explicit_axes(rejoined, axes=axes, in_sharding=specs)
        return outside(list(args), arrays)

    return call


def is_arrays(tree: PyTree) -> bool:
    """Tell whether all leaves are arrays, or numbers, that a compiled call takes."""
    # Bools, names and functions are choices; a compiled call cannot take them (decision 5).
    kinds = (jax.Array, np.ndarray, np.number, int, float, complex)

    def enters(x):
        return (
            isinstance(x, kinds)
            and not isinstance(x, bool)
            and getattr(x, "dtype", None) != np.dtype(object)
        )

    return all(map(enters, jax.tree.leaves(tree)))


def rows_like(model: Any, rows: int) -> P:
    """Return how to cut so many rows of an array: like all its rows where that divides them."""
    sharding = jax.typeof(model).sharding
    part = sharding.spec[0]
    names = part if isinstance(part, tuple) else (part,) if part else ()
    divides = rows % math.prod(sharding.mesh.shape[name] for name in names) == 0
    return P(part if divides else None, *sharding.spec[1:])


def whole(tree: PyTree) -> PyTree:
    """Replicate arrays that belong to no axis of a parameter (bases, statistics) on every device of
    their mesh.

    Otherwise the compiler would cut them in the first step as it likes, and compile the second step
    for that.
    """
    mesh, _ = axes_of(tree, AxisType.Auto)
    if mesh is None or not all(isinstance(x, Tracer) for x in jax.tree.leaves(tree)):
        return tree
    return jax.lax.with_sharding_constraint(tree, NamedSharding(mesh, P()))
