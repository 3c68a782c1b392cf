"""Yield the arguments of each step, from arrays or from an iterable of batches."""

from collections.abc import Iterator
from itertools import islice, repeat
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optax_lite.core.placement import placed, rows_like
from optax_lite.core.trees import leaf_paths, path_string, show_leaf
from optax_lite.core.types import PyTree
from optax_lite.core.validate import ArgumentError


def batches(data: Any, batch_size: int | None, seed: int, start: int) -> Iterator[tuple]:
    """Yield the positional arguments behind the params, from a step on: without end, unless data is
    an iterator.
    """
    rows = check_data(data, batch_size, "fit")
    if is_stream(data):
        return islice(again_and_again(data), start, None)
    if rows is None or batch_size is None:
        # on the device once, and the same arrays every time
        return repeat(as_args(jax.tree.map(jnp.asarray, data)))
    return (
        as_args(_take(data, index))
        for index in islice(shuffled(rows, batch_size, seed), start, None)
    )


def begins_anew(data: Any, batch_size: int | None) -> bool:
    """Tell whether another call begins with the same batches: an iterator goes on, and all rows are
    always the same.
    """
    return not hasattr(data, "__next__") if is_stream(data) else batch_size is not None


def batches_in_an_epoch(data: Any, batch_size: int | None) -> int | None:
    """Return how many steps see all data once; None where an iterable has no length."""
    if is_stream(data):
        return len(data) if hasattr(data, "__len__") else None
    rows = check_data(data, batch_size, "fit")
    return rows // batch_size if rows and batch_size else 1


def check_data(data: Any, batch_size: int | None, where: str) -> int | None:
    """Return the rows of which batches are made; None where batches come ready. Errors name paths
    of what is not an array.
    """
    if not is_stream(data):
        return _rows(data, batch_size, where)
    if batch_size is not None:
        raise ArgumentError(
            (
                f"batch_size={batch_size} is for arrays, but data ({type(data).__name__}) is an "
                "iterable of batches; to pass a pytree of arrays, use a tuple, a dict or "
                "another container, not a list"
            ),
            where,
        )
    return None


def is_stream(data: Any) -> bool:
    """Tell whether data is an iterable of batches: a list, or what is iterable and neither an array
    nor a pytree.
    """
    is_leaf = jax.tree_util.all_leaves([data]) and not hasattr(data, "shape")
    return isinstance(data, list) or (
        is_leaf and (hasattr(data, "__iter__") or hasattr(data, "__getitem__"))
    )


def as_args(batch: Any) -> tuple:
    """Return several arguments for a tuple or a list, and one for anything else."""
    return tuple(batch) if type(batch) in (tuple, list) else (batch,)


def again_and_again(data: Any) -> Iterator[tuple]:
    """Yield the batches of an iterable, begun again when it ends, if it can be."""
    while True:
        empty = True
        for batch in data:
            empty = False
            yield as_args(batch)
        if empty or iter(data) is data:  # an iterator does not begin again
            return


def shuffled(rows: int, batch_size: int, seed: int) -> Iterator[np.ndarray]:
    """Yield the rows of one batch after another, each epoch in a new order; rows that fill no batch
    are left out of it.
    """
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(rows).astype(np.int32)
        for start in range(0, rows - batch_size + 1, batch_size):
            yield order[start : start + batch_size]


def _take(data, index):
    """Take some rows: NumPy's arrays on the host, JAX's where they are."""
    return jax.tree.map(
        lambda x: x[index] if isinstance(x, np.ndarray) else _rows_at(x, index), data
    )


@jax.jit
def _rows_at(x, index):
    return placed(lambda x, index: x[index], (x, index), lambda: rows_like(x, len(index)))


def _rows(data: PyTree, batch_size: int | None, where: str) -> int | None:
    """Return the length that all arrays share, which only batches need; raise, naming paths, where
    data is not arrays.
    """
    leaves, paths = jax.tree.leaves(data), leaf_paths(data, nothing_too=False)
    for path, x in zip(paths, leaves, strict=True):
        if not isinstance(x, (np.ndarray, jax.Array)):
            raise ArgumentError(_no_array(data, path, x), where)
    if batch_size is None:
        return None
    lengths = {x.shape[0] if x.ndim else 0 for x in leaves}
    if len(lengths) != 1 or lengths == {0}:
        shown = (
            ", ".join(f"{path!r} {show_leaf(x)}" for path, x in zip(paths, leaves, strict=True))
            or "no array"
        )
        raise ArgumentError(
            f"all arrays must have the same length along the first axis, got {shown}", where
        )
    rows = lengths.pop()
    if rows < batch_size:
        raise ArgumentError(
            f"batch_size is {batch_size}, but data has {rows} rows; batch_size=None takes them all",
            where,
        )
    return rows


def _no_array(data: PyTree, path: str, x: Any) -> str:
    """Say which part of data is not an array, and what to write."""
    if callable(x):
        name = getattr(x, "__name__", type(x).__name__)
        return f"data is the function {name}; call it, {name}(), to get the batches"
    parts = jax.tree_util.tree_flatten_with_path(data, is_leaf=lambda x: isinstance(x, list))[0]
    lists = [path_string(path) for path, part in parts if isinstance(part, list)]
    if lists:
        return f"data[{lists[0]}] is a list; convert it with numpy.asarray"
    return f"data leaf {path!r} is {show_leaf(x):.60}, not an array; convert it with jnp.asarray"
