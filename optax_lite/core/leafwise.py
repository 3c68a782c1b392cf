"""Turn rules about arrays into rules about trees; no other module does this.

Two things are decided here for all methods: the dtype in which a leaf is computed, which is at
least float32, whatever its storage dtype and the dtypes of hyperparameters; and what an error says,
which is the path of the leaf and both shapes or dtypes.
"""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from optax_lite.core.axes import is_manual, varying_like as varying_like
from optax_lite.core.fills import Fill
from optax_lite.core.numerics import squarable
from optax_lite.core.trees import flatten_up_to, is_inexact, is_missing, leaf_paths, show_leaf
from optax_lite.core.types import Array, DTypeLike, Number, PyTree
from optax_lite.core.validate import check_dtype


def filled(new: PyTree, old: PyTree) -> PyTree:
    """Return the new tree, completed by the leaves of the old one where the new one has none."""
    return jax.tree.map(lambda n, o: o if is_missing(n) else n, new, old, is_leaf=is_missing)


def restarted(fresh: PyTree, state: PyTree) -> PyTree:
    """Return a fresh state in the form of the one it replaces while an update runs.

    There, integers and leaves without a gradient are missing from the parameters, and a state from
    8 bits is narrower.
    """
    return cast_like(filled(fresh, state), state)


def as_array(x: Any) -> Any:
    """Return `x`, as an array if it is a Python scalar."""
    return x if hasattr(x, "dtype") else jnp.asarray(x)


# --- precision ------------------------------------------------------------------------------------


@functools.cache
def promote_types(*dtypes: Any) -> np.dtype:
    """Return the common dtype, also under strict promotion, where JAX's own function raises."""
    with jax.numpy_dtype_promotion("standard"):
        return functools.reduce(jnp.promote_types, map(jnp.dtype, dtypes))


def compute_dtype(*arrays: Any) -> np.dtype:
    """Return the dtype a leaf is computed in: that of all its arrays together, float32 at least."""
    return promote_types(
        jnp.float32, *(x.dtype for x in arrays if jnp.issubdtype(x.dtype, jnp.inexact))
    )


def cast_up(x: Any, dtype: Any) -> Array:
    """Cast `x` to the precision of `dtype`; real numbers stay real, and integers and bools are left
    alone.
    """
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        return x
    complex_, real = promote_types(dtype, jnp.complex64), jnp.finfo(dtype).dtype
    return jax.lax.convert_element_type(
        x, complex_ if jnp.issubdtype(x.dtype, jnp.complexfloating) else real
    )


def cast_like(tree: PyTree, other_tree: PyTree) -> PyTree:
    """Cast every leaf of `tree` to the (strong) dtype of its counterpart in a tree of the same
    structure.
    """

    def cast(x, model):
        x, model = as_array(x), as_array(model)
        same = x.dtype == model.dtype and not getattr(x, "weak_type", False)
        return x if same else jax.lax.convert_element_type(x, model.dtype)

    new = jax.tree.map(cast, tree, other_tree)
    return jax.tree.map(varying_like, new, other_tree) if is_manual() else new


# --- the one place where a rule about arrays becomes a rule about trees ---------------------------


def leafwise(
    rule: Callable[..., Any],
    updates: PyTree,
    *slots: PyTree,
    read: tuple[PyTree, ...] = (),
    same_shape: bool = True,
    real_only: bool = False,
    squares: bool = False,
) -> PyTree:
    """Apply a rule about arrays to every leaf: `rule(g, *slots, *read)` returns `(update, *slots)`.

    The rule gets all arrays of a leaf in one dtype, at least float32, and its results keep that
    dtype; the transformation around it casts each slot back to the dtype in which it is stored. A
    leaf whose update is None or masked is skipped, with its slots. Nothing is broadcast. In a trace
    the rule is compiled on its own, so that a thousand leaves of one shape and dtype are traced
    once.

    Args:
        rule: Function of the arrays of one leaf. Without slots it returns the update alone.
        updates: Gradients or updates, a pytree with the structure of the parameters.
        *slots: Trees that the rule replaces, with the structure of `updates`.
        read: Trees that the rule only reads, such as the params.
        same_shape: Require one shape of all arrays of a leaf. With False a slot may differ, and be
            several arrays.
        real_only: Raise for complex leaves, where the rule means nothing.
        squares: Bound gradients so that their squares can be added up (see `squarable`); for rules
            that keep squares.

    Returns:
        The trees `(updates, *slots)`, or the updates alone when there are no slots.

    Examples:
        >>> def rule(g, m):
        ...     m = 0.9 * m + 0.1 * g
        ...     return jnp.sign(m), m
        >>> updates, mu = leafwise(rule, grads, zeros_like(params))
    """
    if not isinstance(read, (tuple, list)):
        raise TypeError("leafwise: read= is a tuple of trees; write read=(params,)")
    leaves, treedef = jax.tree.flatten(updates, is_leaf=is_missing)
    trees = [(tree, "state") for tree in slots] + [(tree, "params") for tree in read]
    columns = [flatten_up_to(updates, tree, what) for tree, what in trees]

    def on_leaf(*arrays: Any) -> Any:
        dtype = compute_dtype(*jax.tree.leaves(arrays))
        arrays = jax.tree.map(lambda x: cast_up(x, dtype), arrays)
        # One infinite square would make g / √v 0 forever (decision 19).
        arrays = (squarable(arrays[0]), *arrays[1:]) if squares else arrays
        # then real and complex arrays meet by intent
        is_complex = jnp.issubdtype(dtype, jnp.complexfloating)
        with jax.numpy_dtype_promotion("standard") if is_complex else contextlib.nullcontext():
            new: Any = rule(*arrays)
        if slots and (not isinstance(new, (tuple, list)) or len(new) != 1 + len(slots)):
            raise TypeError(
                f"the rule must return {1 + len(slots)} arrays, (update, *slots), got "
                f"{type(new).__name__}; what is only read goes into read=, as in read=(params,)"
            )
        new_slots: list[Any]
        update: Any
        update, *new_slots = new if slots else (new,)
        if same_shape and np.shape(update) != arrays[0].shape:
            raise ValueError(
                f"the rule returned an update of shape {jnp.shape(update)} for a gradient of "
                f"shape {arrays[0].shape}"
            )
        # real stays real, complex stays complex
        kind = promote_types(arrays[0].dtype, jnp.finfo(dtype).dtype)
        return jax.lax.convert_element_type(update, kind), *new_slots

    if any(isinstance(x, Tracer) for x in jax.tree.leaves([leaves, columns])):
        on_leaf = jax.jit(on_leaf)  # leaves that look alike are traced once

    rows = []
    for index, arrays in enumerate(zip(leaves, *columns, strict=True)):
        if is_missing(arrays[0]):
            rows.append(arrays[: 1 + len(slots)])
        else:
            _check_leaf(updates, index, arrays, len(slots), same_shape, real_only)
            try:
                rows.append(on_leaf(*arrays))
            except Exception as error:
                path = leaf_paths(updates)[index]
                error.add_note(f"in the rule for leaf {path!r}, {show_leaf(arrays[0])}")
                raise
    results = (
        [treedef.unflatten(column) for column in zip(*rows, strict=True)]
        if rows
        else [updates, *slots]
    )
    return tuple(results) if slots else results[0]


def _check_leaf(updates, index, arrays, slots, same_shape, real_only):
    update, *others = arrays
    if not is_inexact(update):
        problem = (
            f"the gradient is {show_leaf(update)}; only floating and complex leaves are trained: "
            "pass None for the others"
        )
    elif any(is_missing(x) for x in others):
        problem = (
            f"got a gradient {show_leaf(update)} for a parameter that was not trained at init "
            "(an integer, None or masked leaf)"
        )
    elif real_only and any(map(jnp.iscomplexobj, jax.tree.leaves(arrays))):
        problem = (
            f"the gradient is {show_leaf(update)}, but this method takes real ones: write "
            "split_real_and_imaginary(...)"
        )
    else:
        wrong = [
            i
            for i, x in enumerate(others)
            if same_shape and getattr(x, "shape", update.shape) != update.shape
        ]
        if not wrong:
            return
        what = "its state" if wrong[0] < slots else "its parameter"
        problem = (
            f"the gradient has shape {update.shape}, {what} {others[wrong[0]].shape}; nothing is "
            "broadcast"
        )
    raise ValueError(f"leaf {leaf_paths(updates)[index]!r}: {problem}")


def check_like(updates: PyTree, params: PyTree, what: str) -> None:
    """Raise, naming the leaf, unless every update has its parameter's shape, both real or both
    complex.
    """
    leaves = jax.tree.leaves(updates, is_leaf=is_missing)
    for index, (u, p) in enumerate(
        zip(leaves, flatten_up_to(updates, params, "params"), strict=True)
    ):
        if is_missing(u):
            continue
        if is_missing(p) or not is_inexact(p):
            problem = (
                f"is {show_leaf(u)}, its parameter {show_leaf(p)}, which is not trained: pass "
                "None for it"
            )
        elif not is_inexact(u):
            problem = (
                f"is {show_leaf(u)}, its parameter {show_leaf(p)}: pass None where there is no "
                "gradient"
            )
        elif np.shape(u) != np.shape(p):
            problem = f"has shape {np.shape(u)}, its parameter {np.shape(p)}; nothing is broadcast"
        elif np.iscomplexobj(u) != np.iscomplexobj(p):
            problem = (
                f"is {show_leaf(u)}, its parameter {show_leaf(p)}: both must be real, or both "
                "complex"
            )
        else:
            continue
        raise ValueError(f"leaf {leaf_paths(updates)[index]!r}: the {what} {problem}")


def check_state_leaves(name: str, new: PyTree, old: PyTree) -> None:
    """Raise, naming the leaf, if an update changed a shape in its state, or made a number that its
    dtype cannot hold.
    """
    for index, (x, model) in enumerate(
        zip(jax.tree.leaves(new), jax.tree.leaves(old), strict=True)
    ):
        x, model = as_array(x), as_array(model)
        if x.shape == model.shape and (x.dtype == model.dtype or _holds(model.dtype, x.dtype)):
            continue
        path, found = leaf_paths(old, nothing_too=False)[index], show_leaf(x)
        raise ValueError(
            f"{name}: state leaf {path!r} is {show_leaf(model)}, but the update makes it {found}"
        )


def _holds(dtype: Any, other: Any) -> bool:
    """Tell whether this dtype can hold numbers of the other one, up to digits."""
    kinds = (jnp.inexact, jnp.complexfloating)
    return all(jnp.issubdtype(dtype, kind) or not jnp.issubdtype(other, kind) for kind in kinds)


# --- state ----------------------------------------------------------------------------------------


def full_like(
    params: PyTree, value: Any, dtype: DTypeLike | None = None, *, real: bool = False
) -> PyTree:
    """Return a slot filled with `value` for every parameter that moves; None for integers and
    others that do not.

    The dtype is the parameter's, float32 at least, or the real or complex one that `dtype` asks
    for; `real=True` gives a complex parameter a real slot, as second moments need.
    """

    check_dtype(dtype=dtype)
    fill = Fill(value)

    def slot(p):
        if is_missing(p) or not is_inexact(p):
            return p if is_missing(p) else None
        p = p if isinstance(p, jax.Array) else jnp.asarray(p)
        full = promote_types(p.dtype, jnp.float32)
        if dtype is not None:
            full = promote_types(dtype, jnp.complex64) if jnp.iscomplexobj(p) else jnp.dtype(dtype)
        return fill.like(p, jnp.finfo(full).dtype if real else full)

    return jax.tree.map(slot, params, is_leaf=is_missing)


def zeros_like(params: PyTree, dtype: DTypeLike | None = None, *, real: bool = False) -> PyTree:
    """Return a slot of zeros for every parameter that moves; None for integers and others that do
    not.

    Args:
        params: Parameters, a pytree of arrays.
        dtype: Dtype of the slots, complex for complex parameters; None for the parameters' own,
            float32 at least.
        real: Give complex parameters real slots, as second moments need.
    """
    return full_like(params, 0, dtype, real=real)


def scalar_like(params: PyTree, value: Any, *, measured: bool = True) -> Array:
    """Return a real number that all leaves share, in the widest precision among them, float32 at
    least.

    With `measured` it depends on gradients or params, so that under `shard_map` each device has its
    own.
    """
    number = jnp.full(
        (), value, jnp.finfo(compute_dtype(*map(as_array, jax.tree.leaves(params)))).dtype
    )
    return varying_like(number, params) if measured else number


def copy_params(params: PyTree) -> PyTree:
    """Copy the parameters that move, to remember where they were; None for integers and others that
    do not.
    """
    return jax.tree.map(
        lambda p: jnp.asarray(p) if is_inexact(p) else p if is_missing(p) else None,
        params,
        is_leaf=is_missing,
    )


def zero_count() -> Array:
    """Return a count of 0 updates: an int32 of shape ()."""
    return jnp.zeros((), jnp.int32)


def increment(count: Number) -> Array:
    """Return `count + 1`, or `count` where it is the largest value of its dtype, so that it never
    turns negative.

    It is `safe_increment` for code written for optax.

    Args:
        count: A number of any dtype, such as the number of updates so far.
    """
    if not hasattr(count, "dtype") and not isinstance(count, (int, float)):
        raise TypeError(f"increment: count must be a number, got {show_leaf(count):.60}")
    count = jnp.asarray(count)
    dtype = count.dtype
    if not jnp.issubdtype(dtype, jnp.integer):
        return count + jnp.ones((), dtype)
    top = jnp.asarray(jnp.iinfo(dtype).max, dtype)
    return jnp.where(count < top, count + jnp.ones((), dtype), top)
