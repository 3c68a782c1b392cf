"""Arithmetic on whole trees, and lookup by name anywhere in them, as in `optax.tree`.

Leaf by leaf these are the operations of `jax.numpy`, with its rules for dtypes. Sums over a tree
are computed and returned in float32 at least.
"""

import dataclasses
import functools
import operator
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optax_lite.core.leafwise import (
    as_array,
    cast_like as cast_like,
    cast_up,
    compute_dtype,
    leafwise,
    promote_types,
)
from optax_lite.core.masks import Placeholder
from optax_lite.core.norms import global_norm, sum_sq
from optax_lite.core.numerics import abs_sq, bias_correction_factor, moving_average, weak_typed
from optax_lite.core.trees import (
    flatten_up_to,
    is_inexact,
    is_missing,
    leaf_paths,
    path_string,
    show_leaf,
)
from optax_lite.core.types import Array, DTypeLike, Number, PyTree, TransformationLike
from optax_lite.core.validate import ArgumentError, closest

# --- found by name --------------------------------------------------------------------------------

Filter = Callable[[tuple, Any], bool]  # of the path to a value and the value


@dataclasses.dataclass(frozen=True)
class NamedTupleKey:
    """Entry of a path for a field of a named tuple.

    Args:
        tuple_name: Name of the named tuple's class.
        name: Name of the field.
    """

    tuple_name: str
    name: str

    def __str__(self) -> str:
        return f"{self.tuple_name}.{self.name}"


def _children(node):
    """Return the keys and values one level below a node, and the treedef that rebuilds it.

    A leaf has no keys.
    """
    pairs, treedef = jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda x: x is not node)
    keys = [path[0] for path, _ in pairs if path]
    if hasattr(node, "_fields"):
        keys = [NamedTupleKey(type(node).__name__, key.name) for key in keys]
    return keys, [child for _, child in pairs], treedef


def _walk(path, node) -> Iterator[tuple[tuple, Any]]:
    yield path, node
    keys, children, _ = _children(node)
    for key, child in zip(keys, children, strict=False):
        yield from _walk((*path, key), child)


def _names(path, value) -> list:
    """List the names of a value: its key or field, and its class if it is a named tuple."""
    own = [type(value).__name__] if hasattr(value, "_fields") else []
    return own + [
        getattr(path[-1], part) for part in ("key", "name") if path and hasattr(path[-1], part)
    ]


def get_all_with_path(
    tree: PyTree, key: Any, filtering: Filter | None = None
) -> list[tuple[tuple, Any]]:
    """Find every value with a given name, and its path.

    The keys of a path are JAX's, with `NamedTupleKey` for the field of a named tuple. States and
    optimizers can be searched: `get_all_with_path(tx, "learning_rate")`.

    Args:
        tree: A pytree, a state or an optimizer.
        key: Name to look for: a dict key, a field, or the class of a named tuple.
        filtering: Function of a path and a value that is False for values to pass over.

    Returns:
        A list of pairs (path, value).
    """
    found = [(path, value) for path, value in _walk((), tree) if key in _names(path, value)]
    return [pair for pair in found if filtering is None or filtering(*pair)]


def get(tree: PyTree, key: Any, default: Any = None, filtering: Filter | None = None) -> Any:
    """Find the one value with a given name, as in `get_all_with_path`; several are an error.

    Args:
        tree: A pytree, a state or an optimizer.
        key: Name to look for: a dict key, a field, or the class of a named tuple.
        default: Value to return if nothing has that name.
        filtering: Function of a path and a value that is False for values to pass over.
    """
    found = get_all_with_path(tree, key, filtering)
    if len(found) > 1:
        paths = ", ".join(path_string(path) for path, _ in found)
        raise KeyError(
            f"several values are called {key!r}: {paths}; choose one with filtering=lambda path, "
            "value: ..."
        )
    return found[0][1] if found else default


def set(tree: PyTree, filtering: Filter | None = None, /, **kwargs: Any) -> PyTree:
    """Replace every value that a keyword names, found as in `get_all_with_path`.

    A name that is not found is an error. In an optimizer, `tx.replace` edits one place and checks
    the value.

    Args:
        tree: A pytree, a state or an optimizer.
        filtering: Function of a path and a value that is False for values to pass over.
        **kwargs: The new values by name.
    """
    for key in kwargs:
        if not get_all_with_path(tree, key, filtering):
            known = {
                str(name): None for path, value in _walk((), tree) for name in _names(path, value)
            }
            passing = " that passes the filter" if filtering else ""
            raise KeyError(
                f"no value{passing} is called {key!r}; the nearest names: {closest(key, known)}"
            )

    def edited(path, node):
        for key in _names(path, node):
            if key in kwargs and (filtering is None or filtering(path, node)):
                return kwargs[key]
        keys, children, treedef = _children(node)
        new = [edited((*path, key), child) for key, child in zip(keys, children, strict=False)]
        return treedef.unflatten(new) if keys else node

    return edited((), tree)


def map_params(
    initable: TransformationLike | Callable[[PyTree], PyTree],
    f: Callable[..., Any],
    state: PyTree,
    /,
    *rest: PyTree,
    transform_non_params: Callable[[Any], Any] | None = None,
    is_leaf: Callable[[Any], bool] | None = None,
) -> PyTree:
    """Apply `f` to every leaf of a state that belongs to a parameter, as moments do.

    `map_params(tx, lambda slot, spec: spec, state, specs)` makes the sharding of a state from that
    of the parameters.

    Args:
        initable: The transformation or its `init`, run once to find which leaves of the state
            belong to parameters.
        f: Function of such a leaf, and of the leaves of `rest` for its parameter.
        state: State of the optimizer, as `init`, `update` or `step` returned it.
        *rest: Trees like the parameters.
        transform_non_params: Function of what belongs to no parameter, such as a count; None leaves
            it unchanged.
        is_leaf: Predicate of leaves, as in `jax.tree.map`; None leaves None and masked leaves
            unchanged.
    """
    init: Any = getattr(initable, "init", initable)
    try:
        marked = init(Placeholder())
    except Exception as error:
        error.add_note(
            "map_params calls init with a placeholder for the parameters, but this one needs the "
            "actual leaves"
        )
        raise

    def one(x, *others):
        return x if is_leaf is None and is_missing(x) else f(x, *others)

    def part(mark, value):
        if isinstance(mark, Placeholder) and mark.expand is not None:
            return jax.tree.map(
                part, mark.expand(value), value, is_leaf=lambda x: isinstance(x, Placeholder)
            )
        if isinstance(mark, Placeholder) and not mark.joined:
            return jax.tree.map(one, value, *rest, is_leaf=is_leaf or is_missing)
        return value if transform_non_params is None else transform_non_params(value)

    return jax.tree.map(part, marked, state, is_leaf=lambda x: isinstance(x, Placeholder))


# --- leaf by leaf ---------------------------------------------------------------------------------


def _zipped(f: Callable[..., Any], tree: PyTree, *others: PyTree) -> PyTree:
    """Map as `jax.tree.map` does; an error names the paths or shapes that differ."""
    try:
        return jax.tree.map(f, tree, *others)
    except (TypeError, ValueError) as error:
        paths, leaves = leaf_paths(tree, nothing_too=False), jax.tree.leaves(tree)
        for other in others:
            for path, x, y in zip(
                paths, leaves, flatten_up_to(tree, other, "other tree", "first tree"), strict=True
            ):
                if is_missing(y) or not jax.tree_util.all_leaves([y]):
                    problem = (
                        f"{show_leaf(x):.60} in the first tree and {show_leaf(y):.60} in the other"
                    )
                    raise ValueError(f"leaf {path!r}: {problem}") from error
                if jnp.shape(x) != jnp.shape(y):
                    problem = (
                        f"shape {jnp.shape(x)} in the first tree and {jnp.shape(y)} in the other"
                    )
                    raise ValueError(f"leaf {path!r}: {problem}; shapes must agree") from error
        raise


def _check_scalar(name: str, scalar: Any) -> None:
    if not isinstance(scalar, (int, float, complex)) and not hasattr(scalar, "dtype"):
        raise TypeError(f"{name}: the scalar must be a number, got {show_leaf(scalar):.60}")


def add(tree_x: PyTree, tree_y: PyTree, *other_trees: PyTree) -> PyTree:
    """Return x + y + ...

    Args:
        tree_x: A pytree x of arrays.
        tree_y: A pytree y of the same structure.
        *other_trees: More such trees.
    """
    return _zipped(
        lambda *leaves: functools.reduce(operator.add, leaves), tree_x, tree_y, *other_trees
    )


def sub(tree_x: PyTree, tree_y: PyTree) -> PyTree:
    """Return x - y.

    Args:
        tree_x: A pytree x of arrays.
        tree_y: A pytree y of the same structure.
    """
    return _zipped(operator.sub, tree_x, tree_y)


def mul(tree_x: PyTree, tree_y: PyTree) -> PyTree:
    """Return x·y, entry by entry.

    Args:
        tree_x: A pytree x of arrays.
        tree_y: A pytree y of the same structure.
    """
    return _zipped(operator.mul, tree_x, tree_y)


def div(tree_x: PyTree, tree_y: PyTree) -> PyTree:
    """Return x / y, entry by entry.

    Args:
        tree_x: A pytree x of arrays.
        tree_y: A pytree y of the same structure.
    """
    return _zipped(operator.truediv, tree_x, tree_y)


def scale(scalar: Number, tree: PyTree) -> PyTree:
    """Return scalar·x.

    Args:
        scalar: Factor of every entry.
        tree: A pytree of arrays.
    """
    _check_scalar("scale(scalar, tree)", scalar)
    return jax.tree.map(lambda x: scalar * x, tree)


def add_scale(tree_x: PyTree, scalar: Number, tree_y: PyTree) -> PyTree:
    """Return x + scalar·y.

    Args:
        tree_x: A pytree x of arrays.
        scalar: Factor of y.
        tree_y: A pytree y of the same structure.
    """
    _check_scalar("add_scale(tree_x, scalar, tree_y)", scalar)
    return _zipped(lambda x, y: x + scalar * y, tree_x, tree_y)


def where(condition: PyTree, tree_x: PyTree, tree_y: PyTree) -> PyTree:
    """Return x where the condition is True, y elsewhere.

    Args:
        condition: One bool or array of bools, for all leaves.
        tree_x: A pytree x of arrays.
        tree_y: A pytree y of the same structure.
    """
    return _zipped(lambda x, y: jnp.where(condition, x, y), tree_x, tree_y)


def clip(tree: PyTree, min_value: Number | None = None, max_value: Number | None = None) -> PyTree:
    """Clip every entry to [min_value, max_value].

    Args:
        tree: A pytree of arrays.
        min_value: Least value; None for no limit.
        max_value: Largest value; None for no limit.
    """
    return jax.tree.map(lambda x: jnp.clip(x, min_value, max_value), tree)


def conj(tree: PyTree) -> PyTree:
    """Return the complex conjugate.

    Args:
        tree: A pytree of arrays.
    """
    return jax.tree.map(jnp.conj, tree)


def real(tree: PyTree) -> PyTree:
    """Return the real part.

    Args:
        tree: A pytree of arrays.
    """
    return jax.tree.map(jnp.real, tree)


def cast(tree: PyTree, dtype: DTypeLike) -> PyTree:
    """Cast every leaf, integers too, to one dtype.

    Args:
        tree: A pytree of arrays.
        dtype: Dtype of the result; None for that of each leaf.
    """
    return tree if dtype is None else jax.tree.map(lambda x: jnp.asarray(x).astype(dtype), tree)


def full_like(tree: PyTree, fill_value: Number, dtype: DTypeLike | None = None) -> PyTree:
    """Return `fill_value` everywhere, in the shapes of a tree.

    Args:
        tree: A pytree of arrays.
        fill_value: Value of every entry.
        dtype: Dtype of the result; None for that of each leaf.
    """
    return jax.tree.map(lambda x: jnp.full_like(x, fill_value, dtype=dtype), tree)


def zeros_like(tree: PyTree, dtype: DTypeLike | None = None) -> PyTree:
    """Return zeros, for integers too, unlike in the slots that `optax_lite.zeros_like` makes.

    Args:
        tree: A pytree of arrays.
        dtype: Dtype of the result; None for that of each leaf.
    """
    return full_like(tree, 0, dtype)


def ones_like(tree: PyTree, dtype: DTypeLike | None = None) -> PyTree:
    """Return 1 everywhere, in the shapes of a tree.

    Args:
        tree: A pytree of arrays.
        dtype: Dtype of the result; None for that of each leaf.
    """
    return full_like(tree, 1, dtype)


def batch_shape(tree: PyTree, shape: tuple[int, ...] = ()) -> PyTree:
    """Repeat every leaf along new leading dimensions.

    Args:
        tree: A pytree of arrays.
        shape: Sizes of the new dimensions.
    """
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (*shape, *jnp.shape(x))), tree)


def split_key_like(rng_key: Array, target_tree: PyTree) -> PyTree:
    """Make a separate key for every leaf.

    Args:
        rng_key: A JAX random key.
        target_tree: A pytree of the structure of the result.
    """
    if not hasattr(rng_key, "dtype"):
        raise TypeError(
            f"split_key_like: rng_key must be a key, got {show_leaf(rng_key):.60}; write "
            "jax.random.key(0)"
        )
    treedef = jax.tree.structure(target_tree)
    return treedef.unflatten(list(jax.random.split(rng_key, treedef.num_leaves)))


def random_like(
    rng_key: Array,
    target_tree: PyTree,
    sampler: Callable[..., Any] = jax.random.normal,
    dtype: DTypeLike | None = None,
) -> PyTree:
    """Draw a random array for every leaf.

    Args:
        rng_key: A JAX random key.
        target_tree: A pytree of the structure and shapes of the result.
        sampler: Function of a key, a shape and a dtype that draws an array.
        dtype: Dtype of the result; None for that of each leaf.
    """

    def draw(key, x):
        x = as_array(x)
        return sampler(key, x.shape, x.dtype if dtype is None else dtype)

    return jax.tree.map(draw, split_key_like(rng_key, target_tree), target_tree)


def unwrap_random_key_data(input_tree: PyTree) -> PyTree:
    """Convert typed keys to their raw numbers, to compare or save them; keep other leaves.

    Args:
        input_tree: A pytree of arrays, some of them keys.
    """
    return jax.tree.map(lambda x: jax.random.key_data(x) if _is_key(x) else x, input_tree)


def _is_key(x):
    return isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


# --- one number of a tree -------------------------------------------------------------------------


def _wide(x):
    """Return a leaf in float32 at least.

    Integers and bools become JAX's default integer: int8 cannot hold products of its values.
    """
    x = jnp.asarray(x)
    return (
        cast_up(x, compute_dtype(x))
        if is_inexact(x)
        else x.astype(jax.eval_shape(jnp.sum, x).dtype)
    )


def sum(tree: PyTree, associative_reduction: bool = False) -> Array:
    """Return the sum of all entries.

    Integers are added in JAX's default integer dtype: if 32 bits may not hold the sum, cast the
    tree to a float first.

    Args:
        tree: A pytree of arrays.
        associative_reduction: Add the leaves up in pairs, which compiles faster if there are many.
    """
    parts = jax.tree.map(lambda x: jnp.sum(_wide(x)), tree)
    with jax.numpy_dtype_promotion("standard"):
        if associative_reduction:
            return jnp.asarray(jax.tree.reduce_associative(jnp.add, parts, identity=0))
        return jnp.asarray(jax.tree.reduce(jnp.add, parts, 0))


def vdot(tree_x: PyTree, tree_y: PyTree) -> Array:
    """Return ⟨x, y⟩ = Σ x̄·y over all entries of all leaves, with integers as in `sum`.

    Args:
        tree_x: A pytree x of arrays.
        tree_y: A pytree y of the same structure.
    """
    with jax.numpy_dtype_promotion("standard"):
        return sum(
            _zipped(lambda x, y: jnp.vdot(_wide(x), _wide(y), precision="highest"), tree_x, tree_y)
        )


def _reduced(reduce, start, tree):
    arrays = map(jnp.asarray, jax.tree.leaves(tree))
    parts = [reduce.reduce(x, axis=None) for x in arrays if x.size]
    with jax.numpy_dtype_promotion("standard"):
        return functools.reduce(reduce, parts) if parts else jnp.asarray(start)


def max(tree: PyTree) -> Array:
    """Return the largest of all entries, -inf if there are none.

    Args:
        tree: A pytree of arrays.
    """
    return _reduced(jnp.maximum, -jnp.inf, tree)


def min(tree: PyTree) -> Array:
    """Return the smallest of all entries, inf if there are none.

    Args:
        tree: A pytree of arrays.
    """
    return _reduced(jnp.minimum, jnp.inf, tree)


def norm(tree: PyTree, ord: int | str | float | None = None, squared: bool = False) -> Array:
    """Return the norm of all entries as one vector.

    Args:
        tree: A pytree of arrays.
        ord: None or 2 for the 2-norm, 1 for the sum and inf for the largest of |x|.
        squared: Return the square of the norm.
    """
    if ord in (None, 2):
        return sum_sq(tree) if squared else global_norm(tree)
    if ord not in (1, jnp.inf, "inf"):
        raise ArgumentError(f"ord must be None, 1, 2 or inf, got {ord!r}", "norm")
    sizes = jax.tree.map(lambda x: jnp.abs(_wide(x)), tree)  # int8 cannot hold |-128|
    found = sum(sizes) if ord == 1 else _reduced(jnp.maximum, 0.0, sizes)
    return found * found if squared else found


def size(tree: PyTree) -> int:
    """Return the number of all entries.

    Args:
        tree: A pytree of arrays.
    """
    return functools.reduce(operator.add, (as_array(x).size for x in jax.tree.leaves(tree)), 0)


def allclose(
    a: PyTree, b: PyTree, rtol: Number = 1e-5, atol: Number = 1e-8, equal_nan: bool = False
) -> Array:
    """Tell whether all leaves have equal shapes and entries within |a - b| ≤ atol + rtol·|b|.

    Args:
        a: A pytree of arrays.
        b: A pytree of the same structure.
        rtol: Relative difference allowed.
        atol: Absolute difference allowed.
        equal_nan: Treat NaN as equal to NaN.
    """

    def close(x, y):
        return jnp.shape(x) == jnp.shape(y) and jnp.allclose(x, y, rtol, atol, equal_nan)

    with jax.numpy_dtype_promotion("standard"):
        return jnp.all(jnp.asarray(jax.tree.leaves(_zipped(close, a, b)), bool))


def dtype(tree: PyTree, mixed_dtype_handler: str | None = None) -> np.dtype:
    """Return the dtype that all leaves share, JAX's default if there are none.

    For mixed dtypes, "promote" gives the dtype of their sum, "highest" the one among them that all
    the others promote to, and "lowest" the one that promotes to all the others; it is an error if
    there is none (bfloat16 with float16).

    Args:
        tree: A pytree of arrays.
        mixed_dtype_handler: "promote", "highest" or "lowest", for mixed dtypes; None makes them an
            error.
    """
    handlers = (None, "promote", "highest", "lowest")
    if mixed_dtype_handler not in handlers:
        raise ArgumentError(
            f"mixed_dtype_handler must be one of {handlers}, got {mixed_dtype_handler!r}", "dtype"
        )
    leaves = {
        path_string(p): as_array(x).dtype for p, x in jax.tree_util.tree_flatten_with_path(tree)[0]
    }
    found = list(dict.fromkeys(leaves.values())) or [jnp.zeros(()).dtype]
    if mixed_dtype_handler == "promote":
        return promote_types(*found)
    pick = {
        "highest": lambda d, e: promote_types(d, e) == d,
        "lowest": lambda d, e: promote_types(d, e) == e,
    }
    if mixed_dtype_handler is not None:
        found = [d for d in found if all(pick[mixed_dtype_handler](d, e) for e in found)]
    if len(found) != 1:
        shown = ", ".join(f"{path} {d}" for path, d in leaves.items())
        raise ArgumentError(
            f"the leaves have no {mixed_dtype_handler or 'common'} dtype: {shown}", "dtype"
        )
    return found[0]


# --- moments --------------------------------------------------------------------------------------


def _moved(rule, updates, moments):
    """Return the moments after a rule `m = rule(g, m)`, in their own dtype.

    Where there is no update they stay unchanged.
    """
    return cast_like(leafwise(lambda g, m: (g, rule(g, m)), updates, moments)[1], moments)


def update_moment(updates: PyTree, moments: PyTree, decay: Number, order: int) -> PyTree:
    """Return decay·m + (1 - decay)·g^order.

    Args:
        updates: Gradients g, a pytree of arrays.
        moments: Moving averages m, a pytree of the same structure.
        decay: Decay of the moving average.
        order: Power of the gradient that is averaged.
    """
    return _moved(lambda g, m: moving_average(weak_typed(decay), m, g**order), updates, moments)


def update_moment_per_elem_norm(
    updates: PyTree, moments: PyTree, decay: Number, order: int
) -> PyTree:
    """Return decay·m + (1 - decay)·|g|^order, real also for complex g.

    Args:
        updates: Gradients g, a pytree of arrays.
        moments: Moving averages m, a pytree of the same structure.
        decay: Decay of the moving average.
        order: Power of the gradient that is averaged.
    """

    def power(g):
        return abs_sq(g) if order == 2 else jnp.abs(g) ** order

    return _moved(lambda g, m: moving_average(weak_typed(decay), m, power(g)), updates, moments)


def update_infinity_moment(updates: PyTree, moments: PyTree, decay: Number, eps: Number) -> PyTree:
    """Return max(decay·m, |g| + eps), the infinity norm of AdaMax. Kingma & Ba 2015, section 7.1.

    Args:
        updates: Gradients g, a pytree of arrays.
        moments: Moving averages m, a pytree of the same structure.
        decay: Factor by which m fades.
        eps: Added to |g|.
    """
    return _moved(
        lambda g, m: jnp.maximum(weak_typed(decay) * m, jnp.abs(g) + weak_typed(eps)),
        updates,
        moments,
    )


def bias_correction(moment: PyTree, decay: Number, count: Number) -> PyTree:
    """Return m / (1 - decay^count), for a moving average that started at 0. Kingma & Ba 2015.

    Args:
        moment: Moving averages m, a pytree of arrays.
        decay: Decay of the moving average.
        count: Number of updates so far, an integer.
    """
    c = bias_correction_factor(decay, count)
    return cast_like(leafwise(lambda m: m / c, moment), moment)
