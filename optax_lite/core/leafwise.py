"""Trees, precision and the small arithmetic that every rule shares: a rule itself speaks about
arrays only.

Three things are decided here once and for all methods. What a leaf is: None and `MaskedNode` say
"nothing here", integers and bools are no parameters. In which dtype a leaf is computed: float32 at
least, whatever it is stored in, and never in that of a hyperparameter. And what an error says: the
path of the leaf, and both shapes or dtypes.
"""

import contextlib
import functools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from optax_lite.core.axes import is_manual, varying_like as varying_like
from optax_lite.core.fills import Fill
from optax_lite.core.numerics import squarable
from optax_lite.core.types import Array, DTypeLike, PyTree
from optax_lite.core.validate import check_dtype


class MaskedNode(NamedTuple):
    """Stands where a masked tree has a leaf that somebody else looks after.

    A named tuple without fields, so that it is no leaf to `jax.tree`, and takes no memory.
    """


def is_missing(leaf: Any) -> bool:
    """Whether a leaf of an update tree says "nothing here": None, or masked out."""
    return leaf is None or isinstance(leaf, MaskedNode)


def filled(new: PyTree, old: PyTree) -> PyTree:
    """The new tree with what the old one has where the new one has nothing."""
    return jax.tree.map(lambda n, o: o if is_missing(n) else n, new, old, is_leaf=is_missing)


def restarted(fresh: PyTree, state: PyTree) -> PyTree:
    """A fresh state in the form of the one it replaces while an update runs.

    There integers and what has no gradient are gone from the parameters, and a state from 8 bits is
    narrower.
    """
    return cast_like(filled(fresh, state), state)


def is_inexact(leaf: Any) -> bool:
    """Whether a leaf is a floating or complex array (or scalar, or shape of one): all that an
    optimizer moves.
    """
    dtype = getattr(leaf, "dtype", None)
    return isinstance(leaf, (float, complex)) if dtype is None else _is_inexact_dtype(dtype)


@functools.cache
def _is_inexact_dtype(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.inexact)


def as_array(x: Any) -> Any:
    """`x`, as an array if it is a Python scalar."""
    return x if hasattr(x, "dtype") else jnp.asarray(x)


def path_string(path: Sequence[Any]) -> str:
    """A key path as it is printed and matched: 'encoder/0/kernel'."""
    return "/".join(map(step_string, path)) or "(the only leaf)"


def step_string(key: Any) -> str:
    """`jax.tree_util.keystr` of one key, which costs ten times as much, at every leaf of every
    tree.
    """
    kind = type(key)
    if kind is jax.tree_util.DictKey:
        return str(key.key)
    if kind is jax.tree_util.GetAttrKey:
        return key.name
    if kind is jax.tree_util.SequenceKey:
        return str(key.idx)
    return jax.tree_util.keystr((key,), simple=True)


def path_strings(paths: Sequence[Sequence[Any]]) -> list[str]:
    """The key paths of a tree as strings; those that would be alike, "a/b" and {"a": {"b"}}, in
    Python's notation.
    """
    shown = [path_string(path) for path in paths]
    times = Counter(shown)
    if len(times) == len(shown):
        return shown
    # Paths are printed, hashed and used as keys, so no two may read alike (decision 10).
    return [
        s if times[s] == 1 else jax.tree_util.keystr(tuple(path))
        for s, path in zip(shown, paths, strict=True)
    ]


def leaf_paths(tree: PyTree, *, nothing_too: bool = True) -> list[str]:
    """The path of every leaf, no two alike, by default those that are None or masked included."""
    is_leaf = is_missing if nothing_too else None
    return path_strings(
        [path for path, _ in jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_leaf)[0]]
    )


def flatten_up_to(
    updates: PyTree, tree: PyTree, what: str, updates_are: str = "updates"
) -> list[Any]:
    """The subtrees of `tree` at the leaves of `updates`; an error names the paths where the two
    differ.

    A subtree may be a leaf, or a few arrays that belong to one (the row and column sums of a
    matrix).
    """
    try:
        return jax.tree.structure(updates, is_leaf=is_missing).flatten_up_to(tree)
    except (ValueError, TypeError, KeyError) as error:
        raise _misfit(updates, tree, updates_are, what, error) from None


def check_prefix(prefix: PyTree, tree: PyTree, what: str) -> None:
    """Raise, naming paths, unless every leaf of `prefix` stands at a leaf or subtree of `tree`, and
    all are covered.
    """
    try:
        jax.tree.structure(prefix).flatten_up_to(tree)
    except (ValueError, TypeError, KeyError) as error:
        raise _misfit(prefix, tree, what, "params", error, nothing_too=False) from None


def _misfit(
    ours: PyTree,
    theirs: PyTree,
    our_name: str,
    their_name: str,
    error: Exception,
    *,
    nothing_too: bool = True,
) -> ValueError:
    """Say where two trees differ."""
    a, b = leaf_paths(ours, nothing_too=nothing_too), leaf_paths(theirs)

    def only(some, others, name):  # what lies above or below one of the others is no difference
        known = set(others).union(*map(_above, others))
        return [
            f"{p!r} only in the {name}"
            for p in some
            if p not in known and not set(_above(p)) & set(others)
        ]

    deeper = [
        f"{path!r} in the {our_name} is not a leaf of the {their_name}"
        for path in a
        if set(_above(path)) & set(b)
    ]
    shown = ", ".join((only(a, b, our_name) + only(b, a, their_name) + deeper)[:6]) or _containers(
        ours, theirs, our_name, their_name, error
    )
    return ValueError(f"the {our_name} and the {their_name} have different structures: {shown}")


def _containers(
    ours: PyTree, theirs: PyTree, our_name: str, their_name: str, error: Exception
) -> str:
    """Say what holds the leaves of two trees that have the same paths."""
    if type(ours) is type(theirs):
        return f"the containers differ: {str(error).splitlines()[0]:.200}"
    a, b = type(ours).__name__, type(theirs).__name__
    return f"the {our_name} are in a {a}, the {their_name} in a {b}; use the same for both"


def _above(path: str) -> list[str]:
    """The paths of the subtrees a leaf lies in."""
    parts = path.split("/")
    return ["/".join(parts[:i]) for i in range(1, len(parts))]


def show_leaf(x: Any) -> str:
    """An array as its dtype and shape, a container as its number of leaves, anything else as
    itself.
    """
    if hasattr(x, "dtype"):
        return f"{x.dtype}{list(x.shape)}"
    if x is None or not jax.tree_util.all_leaves([x]):
        return "None" if x is None else f"a {type(x).__name__} of {len(jax.tree.leaves(x))} leaves"
    name = getattr(x, "__name__", None)
    return f"{type(x).__name__} {name or repr(x)}"


# --- precision ------------------------------------------------------------------------------------


@functools.cache
def promote_types(*dtypes: Any) -> np.dtype:
    """The common dtype, also under strict promotion, where JAX's own function raises."""
    with jax.numpy_dtype_promotion("standard"):
        return functools.reduce(jnp.promote_types, map(jnp.dtype, dtypes))


def compute_dtype(*arrays: Any) -> np.dtype:
    """The dtype a leaf is computed in: that of all its arrays together, float32 at least."""
    return promote_types(
        jnp.float32, *(x.dtype for x in arrays if jnp.issubdtype(x.dtype, jnp.inexact))
    )


def cast_up(x: Any, dtype: Any) -> Array:
    """`x` in the precision of `dtype`; what is real stays real, and what is neither real nor
    complex as it is.
    """
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        return x
    complex_, real = promote_types(dtype, jnp.complex64), jnp.finfo(dtype).dtype
    return jax.lax.convert_element_type(
        x, complex_ if jnp.issubdtype(x.dtype, jnp.complexfloating) else real
    )


def cast_like(tree: PyTree, other_tree: PyTree) -> PyTree:
    """Every leaf of `tree` in the (strong) dtype of its counterpart in a tree of the same
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
) -> Any:
    """Apply a rule about arrays to every leaf: `rule(g, *slots, *read)` returns `(update, *slots)`.

    Returns `(updates, *slots)` as trees, or the updates alone when there are no slots. The arrays
    reach the rule in the compute dtype of their leaf (float32 at least) and its update leaves in
    it. A None or masked update is passed over together with its slots. Nothing is broadcast: every
    array of a leaf has one shape, unless `same_shape=False`. A rule that means nothing for complex
    numbers says `real_only=True`, which makes them an error. One that keeps squares says
    `squares=True`, and is given gradients whose squares can be added up (see `squarable`).

        def rule(g, m):
            m = 0.9 * m + 0.1 * g
            return jnp.sign(m), m

        updates, mu = leafwise(rule, updates, state.mu)

    A slot of another shape than its parameter asks for `same_shape=False`. Here it is a second
    moment for each row, which begins as `jax.tree.map(lambda p: jnp.zeros(p.shape[:1]), params)`:

        def rule(g, v):
            v = 0.99 * v + 0.01 * jnp.mean(g**2, axis=1)
            return g / (jnp.sqrt(v)[:, None] + 1e-8), v

        updates, nu = leafwise(rule, updates, state.nu, same_shape=False)

    Leaves for which a rule makes no sense, vectors for one about matrices, go to another optimizer
    by `partition` or `groups`.

    Slots come back in the compute dtype; the transformation around it gives each its stored dtype
    back. In a trace the rule is compiled by itself, so that the thousand leaves of one shape and
    dtype are traced once.
    """
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
                f"{type(new).__name__}"
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
    """Raise, naming the leaf, if an update changed a shape of its state, or makes a kind of number
    it cannot hold.
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
    """Whether numbers of the other dtype lose no more than digits in this one."""
    kinds = (jnp.inexact, jnp.complexfloating)
    return all(jnp.issubdtype(dtype, kind) or not jnp.issubdtype(other, kind) for kind in kinds)


# --- state ----------------------------------------------------------------------------------------


def full_like(params: PyTree, value: Any, dtype: DTypeLike = None, *, real: bool = False) -> PyTree:
    """A slot for every parameter that moves, filled with `value`; None for integers and whatever
    else does not move.

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


def zeros_like(params: PyTree, dtype: DTypeLike = None, *, real: bool = False) -> PyTree:
    """`full_like` with zeros: the slot of a first moment, or with `real=True` of a second one."""
    return full_like(params, 0, dtype, real=real)


def scalar_like(params: PyTree, value: Any, *, measured: bool = True) -> Array:
    """A real number that all leaves share, in the widest precision among them, float32 at least.

    `measured` says that gradients or params go into it, so that each device under `shard_map` has
    its own.
    """
    number = jnp.full(
        (), value, jnp.finfo(compute_dtype(*map(as_array, jax.tree.leaves(params)))).dtype
    )
    return varying_like(number, params) if measured else number


def copy_params(params: PyTree) -> PyTree:
    """The parameters that move, to remember where they were; None for integers and whatever else
    does not move.
    """
    return jax.tree.map(
        lambda p: jnp.asarray(p) if is_inexact(p) else p if is_missing(p) else None,
        params,
        is_leaf=is_missing,
    )


def zero_count() -> Array:
    """The number of updates so far: an int32 of shape (), 0 at the start."""
    return jnp.zeros((), jnp.int32)


def increment(count: Any) -> Array:
    """`count + 1`; at the largest value of its dtype it stays there instead of turning negative.

    Under the name `safe_increment` for code written for optax.
    """
    if not hasattr(count, "dtype") and not isinstance(count, (int, float)):
        raise TypeError(f"increment: count must be a number, got {show_leaf(count):.60}")
    count = jnp.asarray(count)
    dtype = count.dtype
    if not jnp.issubdtype(dtype, jnp.integer):
        return count + jnp.ones((), dtype)
    top = jnp.asarray(jnp.iinfo(dtype).max, dtype)
    return jnp.where(count < top, count + jnp.ones((), dtype), top)
