"""Call a function of a batch on one microbatch after another, as in `optax.microbatching`.

Microbatch i of n has the rows i, n + i, 2n + i, ..., so that a batch sharded over devices stays in
place. The batch is never copied as a whole, and results are accumulated as they arrive: beyond its
arguments and its result, a call needs memory for one microbatch.
"""

import dataclasses
import enum
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from optax_lite._microbatches import in_microbatches, pick_microbatch
from optax_lite.core.axes import varying_like
from optax_lite.core.leafwise import as_array, cast_like, compute_dtype
from optax_lite.core.numerics import weak_typed
from optax_lite.core.trees import flatten_up_to, is_inexact, is_missing, path_string, show_leaf
from optax_lite.core.types import Array, PyTree
from optax_lite.core.validate import ArgumentError, check_count, check_function
from optax_lite.errors.calls import errors_named, parameters_of, usage

_Key: TypeAlias = int | str  # of an argument of a call: its position, or its keyword


class AccumulationType(enum.Enum):
    """Choose how the results of the microbatches are combined.

    Sums and means are computed in float32 at least, and returned in the dtype of the result.
    """

    MEAN = 1  # their sum, divided by the number of microbatches
    SUM = 2
    RUNNING_MEAN = 3  # the mean so far, updated with each: no sum can overflow
    CONCAT = 4  # all, with rows in the order of the batch; scalars become a vector


@dataclasses.dataclass(frozen=True)
class Accumulator:
    """Describe an accumulation that `AccumulationType` lacks.

        largest = Accumulator(
            init=lambda like: jax.tree.map(lambda x: jnp.full(x.shape, -jnp.inf, x.dtype), like),
            update=lambda carry, value, index: jax.tree.map(jnp.maximum, carry, value),
            finalize=lambda carry: carry,
            aggregate=lambda values: jax.tree.map(lambda x: x.max(axis=0), values),
        )

    Args:
        init: Function `init(like)` that returns the first carry; `like` has a
            `jax.ShapeDtypeStruct` per array.
        update: Function `update(carry, value, index)` that adds the value of microbatch number
            `index`.
        finalize: Function `finalize(carry)` that returns the result.
        aggregate: Function `aggregate(values)` that reduces the examples of one microbatch, the
            first axis of each array, to one value. Only `micro_vmap` and `micro_grad` call it.
    """

    init: Callable[[PyTree], PyTree]
    update: Callable[[PyTree, PyTree, Any], PyTree]
    finalize: Callable[[PyTree], PyTree]
    aggregate: Callable[[PyTree], PyTree]


class Aux(NamedTuple):
    """Hold what `micro_grad` returns beside the gradient, with an entry for each example."""

    values: Array  # what the function returned
    metrics: PyTree  # what metrics_fn returned
    aux: PyTree  # the second part of what the function returned; None without has_aux


# --- the public functions -------------------------------------------------------------------------


@usage("microbatch(fun, argnums, microbatch_size)(*args)")
def microbatch(
    fun: Callable[..., Any],
    argnums: int | Sequence[int],
    microbatch_size: int | None,
    accumulator: PyTree = AccumulationType.SUM,
    *,
    argnames: str | Sequence[str] = (),
    in_axes: int | Sequence[int] = 0,
    num_real_microbatches: int | Array | None = None,
) -> Callable[..., Any]:
    """Call a function on one microbatch after another, and accumulate what it returns.

        def loss_fn(params, x, y):
            predictions = x @ params
            return jnp.sum((predictions - y) ** 2), predictions

        kinds = (AccumulationType.SUM, AccumulationType.CONCAT)
        loss, predictions = jax.jit(microbatch(loss_fn, (1, 2), 32, kinds))(params, x, y)

    Arguments that are not split reach every call unchanged. Write `microbatch(jax.grad(f), ...)`
    rather than `jax.grad(microbatch(f, ...))`, whose backward pass needs the intermediate results
    of all microbatches at once.

    `num_real_microbatches` may be traced, so that padded batches of several sizes share a program.
    Microbatch i of n has the rows i, n + i, ..., not consecutive ones. Microbatches that are left
    out count as zeros in SUM, MEAN and CONCAT, but do not count in RUNNING_MEAN.

    Args:
        fun: Function to call, which returns a tree of arrays.
        argnums: Positions of the arguments to split; negative ones count from the end.
        microbatch_size: Rows per microbatch; must divide the rows of the batch. None returns `fun`
            unchanged.
        accumulator: An `AccumulationType` or `Accumulator`, or a tree of them, each for one leaf or
            subtree of the result.
        argnames: Names of further arguments to split. Both kinds may be passed by position or by
            keyword.
        in_axes: Axis to split: one for all arguments, or one for each of `argnums` and then of
            `argnames`.
        num_real_microbatches: Run only the first so many microbatches, from 0 to all. None for all.

    Returns:
        A function with the arguments of `fun`.
    """
    check_function(fun=fun)
    wanted = (*_integers(argnums=argnums), *_names(argnames=argnames))
    axes = _one_each(_integers(in_axes=in_axes), in_axes, len(wanted), "argument to split")
    loop = _Loop("microbatch", microbatch_size, accumulator, num_real_microbatches)

    @functools.wraps(fun)
    def microbatched(*args, **kwargs):
        with errors_named("microbatch"):
            keys = _find(wanted, fun, args, kwargs)
        return loop.run(fun, args, kwargs, dict(zip(keys, axes, strict=True)))

    return fun if microbatch_size is None else microbatched


@usage("micro_vmap(fun, microbatch_size=...)(*args)")
def micro_vmap(
    fun: Callable[..., Any],
    in_axes: int | Sequence[int | None] = 0,
    out_axes: PyTree = 0,
    *,
    microbatch_size: int | None = None,
    vmap_fn: Callable[..., Callable[..., Any]] = jax.vmap,
    accumulator: PyTree = AccumulationType.CONCAT,
    num_real_microbatches: int | Array | None = None,
) -> Callable[..., Any]:
    """Map a function of one example over a batch as `jax.vmap` does, one microbatch at a time.

        covariance = micro_vmap(
            lambda x: jnp.outer(x, x), microbatch_size=32, accumulator=AccumulationType.MEAN
        )
        jax.jit(covariance)(batch)

    Args:
        fun: Function of one example, which returns a tree of arrays.
        in_axes: Axis of the examples: one for all positional arguments, or one for each, None for
            those that all examples share. Keyword arguments have it first.
        out_axes: Must be 0: results that keep the axis of examples have it first.
        microbatch_size: Number of examples mapped at once; must divide the total. None for all.
        vmap_fn: Function that maps over a microbatch, called as `vmap_fn(fun, in_axes, out_axes)`.
        accumulator: As in `microbatch`, over examples; integers are summed and averaged as
            `jnp.sum` and `jnp.mean` do. An `Accumulator` needs its `aggregate`.
        num_real_microbatches: Run only the first so many microbatches, from 0 to all. See
            `microbatch`; None for all.

    Returns:
        A function with the arguments of `fun`, each with an axis of examples.
    """
    check_function(fun=fun, vmap_fn=vmap_fn)
    entries = _integers(or_none=True, in_axes=in_axes)
    if type(out_axes) is not int or out_axes != 0:
        raise ArgumentError(f"out_axes must be 0, got {out_axes!r}")
    loop = _Loop("micro_vmap", microbatch_size, accumulator, num_real_microbatches, True)

    @functools.wraps(fun)
    def mapped(*args, **kwargs):
        with errors_named("micro_vmap"):
            axes = _one_each(entries, in_axes, len(args), "positional argument")
        batch = {i: axis for i, axis in enumerate(axes) if axis is not None}
        return loop.run(vmap_fn(fun, axes, 0), args, kwargs, batch | dict.fromkeys(kwargs, 0))

    return mapped


@usage("grads, aux = micro_grad(loss_fn)(params, batch)")
def micro_grad(
    fun: Callable[..., Any],
    has_aux: bool = False,
    argnums: int | Sequence[int] = 0,
    *,
    batch_argnums: int | Sequence[int] = 1,
    keep_batch_dim: bool = True,
    microbatch_size: int | None = None,
    accumulator: PyTree = AccumulationType.SUM,
    transform_fn: Callable[[PyTree], PyTree] = lambda grads: grads,
    metrics_fn: Callable[[PyTree], PyTree] = lambda grads: None,
    num_real_microbatches: int | Array | None = None,
) -> Callable[..., tuple[PyTree, Aux]]:
    """Compute the gradient of each example, transform it, and accumulate the results.

        grad_fn = micro_grad(
            loss_fn,
            microbatch_size=8,
            accumulator=AccumulationType.MEAN,
            transform_fn=lambda g: (g, jax.tree.map(jnp.square, g)),
            metrics_fn=global_norm,
        )
        (mean, mean_square), aux = jax.jit(grad_fn)(params, batch)
        aux.values, aux.metrics  # of each example: the loss, and the norm of its gradient

    Args:
        fun: Function to differentiate, by default `fun(params, batch)`, which returns a scalar.
        has_aux: Let `fun` return a pair, the second part of which is not differentiated.
        argnums: Positions of the arguments to differentiate.
        batch_argnums: Positions of the arguments with examples along their first axis. Keyword
            arguments have them too; all others reach every example unchanged.
        keep_batch_dim: Pass each example as a batch of one, for a `fun` that takes batches; keyword
            arguments that are not in `batch_argnums` are passed without that axis.
        microbatch_size: Number of gradients held at once; must divide the number of examples. None
            for all.
        accumulator: As in `micro_vmap`, for what `transform_fn` returns.
        transform_fn: Function of the gradient of one example, such as clipping.
        metrics_fn: Function of the gradient of one example; all its results are returned.
        num_real_microbatches: Run only the first so many microbatches, from 0 to all. See
            `microbatch`; None for all.

    Returns:
        A function with the arguments of `fun` that returns the accumulated gradients and an `Aux`:
        the values of `fun`, the metrics, and the second parts of what `fun` returned.
    """
    check_function(fun=fun, transform_fn=transform_fn, metrics_fn=metrics_fn)
    wanted, of = _integers(batch_argnums=batch_argnums), _integers(argnums=argnums)
    _check_accumulator(accumulator)
    kinds = {"gradients": accumulator, "aux": AccumulationType.CONCAT}
    loop = _Loop("micro_grad", microbatch_size, kinds, num_real_microbatches, True)
    in_one = jax.value_and_grad(fun, of if isinstance(argnums, Sequence) else of[0], has_aux)

    @functools.wraps(fun)
    def gradient(*args, **kwargs):
        with errors_named("micro_grad"):
            keys = _find(wanted, fun, args, kwargs)

        def of_example(*args, **kwargs):
            batch_of_one = {
                key: jax.tree.map(lambda x: jnp.expand_dims(x, 0), _argument(args, kwargs, key))
                for key in (keys if keep_batch_dim else ())
            }
            value, grads = _call(in_one, args, kwargs, batch_of_one)
            value, aux = value if has_aux else (value, None)
            return {"gradients": transform_fn(grads), "aux": Aux(value, metrics_fn(grads), aux)}

        axes = dict.fromkeys([*keys, *kwargs], 0)
        of_examples = jax.vmap(of_example, tuple(axes.get(i) for i in range(len(args))))
        result = loop.run(of_examples, args, kwargs, axes)
        return result["gradients"], result["aux"]

    return gradient


@usage("reshape_batch_axis(tree, microbatch_size)")
def reshape_batch_axis(tree: PyTree, microbatch_size: int, axis: int = 0) -> PyTree:
    """Split an axis of every array into two: the microbatches, and the rows of each.

        reshape_batch_axis(jnp.arange(6), 2)  # [[0, 3], [1, 4], [2, 5]]

    Args:
        tree: A tree of arrays.
        microbatch_size: Rows of a microbatch, an integer of at least 1; must divide the rows of
            every array.
        axis: Axis to split; a negative one counts from the end.

    Returns:
        A tree of arrays of shape (..., microbatches, microbatch_size, ...).
    """

    def split(path, x):
        _count_rows(x, axis, f"leaf {path_string(path)!r}" if path else "it", microbatch_size)
        first = axis % np.ndim(x)
        n = np.shape(x)[first] // microbatch_size
        return in_microbatches(x, n, first).swapaxes(first, first + 1)

    check_count(microbatch_size=microbatch_size)
    if len(_integers(axis=axis)) != 1:
        raise ArgumentError(f"axis must be an integer, got {axis!r}")
    return jax.tree_util.tree_map_with_path(split, tree)


# --- the loop -------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Loop:
    """Calls a function on one microbatch after another, and accumulates what it returns."""

    name: str  # of the public function
    microbatch_size: int | None
    accumulator: PyTree
    num_real_microbatches: Any
    examples: bool = False  # whether results have an axis of examples, which is accumulated too

    def __post_init__(self):
        _check_accumulator(self.accumulator)
        real = self.num_real_microbatches
        if self.microbatch_size is not None:
            check_count(microbatch_size=self.microbatch_size)
        elif real is not None:
            raise ArgumentError("num_real_microbatches needs a microbatch_size, got None")
        is_integer = jnp.issubdtype(getattr(real, "dtype", type(real)), jnp.integer)
        if real is not None and (np.ndim(real) or not is_integer):
            raise ArgumentError(f"num_real_microbatches must be an integer, got {show_leaf(real)}")

    def run(self, fun: Callable, args: tuple, kwargs: dict, axes: dict[_Key, int]) -> PyTree:
        """Call `fun` with the arguments in `axes` split, each along its axis."""
        batch = {key: _argument(args, kwargs, key) for key in axes}
        with errors_named(self.name):
            rows = _count_all_rows(batch, axes, self.microbatch_size)
        if self.microbatch_size is None:
            return self._in_one(fun(*args, **kwargs))
        n = rows // self.microbatch_size
        with errors_named(self.name):
            steps, real = self._steps(n)
        parts = {key: in_microbatches(arg, n, axes[key]) for key, arg in batch.items()}

        def value(i):
            part = {key: pick_microbatch(arg, i, axes[key]) for key, arg in parts.items()}
            return jax.tree.map(as_array, _call(fun, args, kwargs, part))

        folds, treedef, like = self._folds(jax.eval_shape(value, 0), n)

        def step(i, carries):
            values = treedef.flatten_up_to(value(i))
            new = [
                fold.update(carry, x, i)
                for fold, carry, x in zip(folds, carries, values, strict=True)
            ]
            return [self._as_before(c, old) for c, old in zip(new, carries, strict=True)]

        def step_if_real(i, carries):
            # A loop with a traced bound would have no reverse-mode derivative.
            return jax.lax.cond(i < real, step, lambda i, carries: carries, i, carries)

        carries = [fold.init(x) for fold, x in zip(folds, like, strict=True)]
        carries = jax.lax.fori_loop(0, steps, step if real is None else step_if_real, carries)
        return treedef.unflatten(
            [fold.finalize(carry) for fold, carry in zip(folds, carries, strict=True)]
        )

    def _in_one(self, values: PyTree) -> PyTree:
        """Return the result of an unsplit batch from the values of all its examples."""
        folds, treedef, values = self._folds(values, 1)
        return treedef.unflatten([fold.aggregate(x) for fold, x in zip(folds, values, strict=True)])

    def _steps(self, n: int) -> tuple[int, Any]:
        """Return the number of steps of the loop and, if it is traced, the number of real ones."""
        real = self.num_real_microbatches
        if real is None or isinstance(real, Tracer):
            return n, real
        if not 0 <= int(real) <= n:
            problem = f"must be at least 0 and at most {n}, the number of microbatches"
            raise ArgumentError(f"num_real_microbatches {problem}, got {int(real)}")
        return int(real), None

    def _folds(self, out: PyTree, n: int) -> tuple[list[Accumulator], Any, list[PyTree]]:
        """Return an accumulator for each array of the result, or for each subtree that the caller
        gave one for; also their tree structure, and the outputs at its leaves.
        """
        paths, treedef = jax.tree_util.tree_flatten_with_path(self.accumulator, is_leaf=is_missing)
        try:
            outputs = flatten_up_to(self.accumulator, out, "result", "accumulator")
        except ValueError as error:
            raise ArgumentError(str(error), self.name) from None
        each = []
        for (path, kind), below in zip(paths, outputs, strict=True):
            if not isinstance(kind, Accumulator):
                arrays, inside = jax.tree_util.tree_flatten_with_path(below)
                for deeper, x in arrays:
                    self._check_kind(kind, x, path_string((*path, *deeper)))
                kind = inside.unflatten([kind] * len(arrays))
            each.append(kind)
        kinds, treedef = jax.tree.flatten(treedef.unflatten(each))
        outputs = treedef.flatten_up_to(out)
        return [self._fold(*pair, n) for pair in zip(kinds, outputs, strict=True)], treedef, outputs

    def _fold(self, kind: AccumulationType | Accumulator, like: Any, n: int) -> Accumulator:
        if isinstance(kind, Accumulator):
            return _custom(kind, self.examples)
        if kind is AccumulationType.CONCAT:
            return _concatenation(like, n)
        return _reduction(like, kind, n, self.examples)

    def _check_kind(self, kind: AccumulationType | None, x: Any, path: str) -> None:
        problem = None
        if kind is None:
            problem = f"is {show_leaf(x)}, but the accumulator there is None"
        elif not self.examples and "MEAN" in kind.name and not is_inexact(x):
            problem = f"is {show_leaf(x)}, but {kind.name} needs floating values"
        if problem:
            raise ArgumentError(f"leaf {path!r} of the result {problem}", self.name)

    def _as_before(self, new: PyTree, old: PyTree) -> PyTree:
        """Return the new carry, which must have the structure, shapes and dtypes of the old one."""
        new = jax.tree.map(as_array, new)
        found, expected = jax.tree.map(show_leaf, new), jax.tree.map(show_leaf, old)
        if jax.tree.flatten(found) != jax.tree.flatten(expected):
            problem = f"update of the accumulator turns a carry of {expected} into {found}"
            raise ArgumentError(f"{problem}; the two must match", self.name)
        return cast_like(new, old)


def _concatenation(like: Any, n: int) -> Accumulator:
    """Concatenate n arrays, with the rows of each where its microbatch's rows were."""
    rows, *rest = like.shape or (1,)

    def init(like):
        # Broadcast, so that it is sharded over devices as one result is.
        return jnp.broadcast_to(jnp.zeros_like(like).reshape(rows, 1, *rest), (rows, n, *rest))

    return Accumulator(
        init=init,
        update=lambda carry, x, i: jax.lax.dynamic_update_index_in_dim(
            carry, x.reshape(rows, *rest), i, 1
        ),
        finalize=lambda carry: carry.reshape(rows * n, *rest),
        aggregate=lambda x: x,
    )


def _reduction(like: Any, kind: AccumulationType, n: int, examples: bool) -> Accumulator:
    """Sum or average n arrays, and with `examples` the first axis of each."""
    reduce = jnp.sum if kind is AccumulationType.SUM else jnp.mean
    like = jax.eval_shape(functools.partial(reduce, axis=0), like) if examples else like
    wide = compute_dtype(like) if is_inexact(like) else like.dtype

    def take(x):
        return reduce(x, axis=0, dtype=wide) if examples else x.astype(wide)

    def update(carry, x, i):
        if kind is not AccumulationType.RUNNING_MEAN:
            return carry + take(x)
        # Two weights, not a difference: carry + (x - carry) / (i + 1) turns infinity into NaN.
        return carry * weak_typed(i / (i + 1)) + take(x) * weak_typed(1 / (i + 1))

    def finalize(carry):
        return (carry / n if kind is AccumulationType.MEAN else carry).astype(like.dtype)

    return Accumulator(
        init=lambda _: jnp.zeros_like(like, dtype=wide),
        update=update,
        finalize=finalize,
        aggregate=lambda x: take(x).astype(like.dtype),
    )


def _custom(given: Accumulator, examples: bool) -> Accumulator:
    """Adapt the caller's accumulator to values, which with `examples` have an axis of examples."""

    def init(like):
        carry = given.init(jax.eval_shape(given.aggregate, like) if examples else like)
        carry = jax.tree.map(as_array, carry)
        return varying_like(cast_like(carry, carry), like)

    def update(carry, value, i):
        return given.update(carry, given.aggregate(value) if examples else value, i)

    return dataclasses.replace(given, init=init, update=update)


# --- arguments ------------------------------------------------------------------------------------


def _argument(args: tuple, kwargs: dict, key: _Key) -> Any:
    return args[key] if isinstance(key, int) else kwargs[key]


def _call(fun: Callable, args: tuple, kwargs: dict, new: dict[_Key, Any]) -> Any:
    """Call a function with new values for some of the arguments."""
    positional = [new.get(i, arg) for i, arg in enumerate(args)]
    return fun(*positional, **{name: new.get(name, arg) for name, arg in kwargs.items()})


def _find(wanted: tuple[_Key, ...], fun: Callable, args: tuple, kwargs: dict) -> list[_Key]:
    """Find the wanted arguments in this call, whether passed by position or by keyword."""
    names = _positional_names(fun)
    keys: list[_Key] = []
    for one in wanted:
        key = one
        if isinstance(key, int):
            key += len(args) if key < 0 else 0
            if len(args) <= key < len(names):
                key = names[key]
        elif key not in kwargs and key in names:
            key = names.index(key)
        if not (0 <= key < len(args) if isinstance(key, int) else key in kwargs):
            given = ", ".join([f"{len(args)} positional", *map(repr, kwargs)])
            raise ArgumentError(f"argument {one!r} should be split, but the call has only {given}")
        if key in keys:
            raise ArgumentError(f"argument {one!r} is named twice among those to split")
        keys.append(key)
    return keys


def _positional_names(fun: Callable) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in parameters_of(fun).values() if p.kind in kinds]


def _count_all_rows(batch: dict[_Key, Any], axes: dict[_Key, int], size: int | None) -> int:
    """Count the rows, which must be equally many in all arrays of the batch."""
    counts = {}
    for key, arg in batch.items():
        for path, x in jax.tree_util.tree_flatten_with_path(arg)[0]:
            where = f"argument {key!r}" + (f", leaf {path_string(path)!r}," if path else "")
            remedy = "; bind arguments that are not split with functools.partial"
            counts[where] = _count_rows(x, axes[key], where, size, remedy)
    if not counts:
        raise ArgumentError("there is no batch: none of the arguments to split holds an array")
    (first, rows), *others = counts.items()
    for where, count in others:
        if count != rows:
            raise ArgumentError(
                f"{first} has {rows} rows, but {where} has {count}; they must agree"
            )
    if size is not None and rows == 0:
        raise ArgumentError(f"{first} has no rows")
    return rows


def _count_rows(x: Any, axis: int, where: str, size: int | None, remedy: str = "") -> int:
    """Return the length of the axis to split, which must exist, and be divisible by a size if
    given.
    """
    if not hasattr(x, "dtype") and not isinstance(x, (bool, int, float, complex)):
        raise ArgumentError(f"{where} is {show_leaf(x):.60}, which is not an array{remedy}")
    shape = np.shape(x)
    if not -len(shape) <= axis < len(shape):
        raise ArgumentError(f"{where} has shape {shape} and no axis {axis} to split{remedy}")
    if size is not None and shape[axis] % size:
        raise ArgumentError(
            f"{where} has shape {shape}; its axis {axis} must be divisible by microbatch_size = "
            f"{size}"
        )
    return shape[axis]


# --- checks ---------------------------------------------------------------------------------------


def _members(
    kind: type, one_of: str, many: str, /, *, or_none: bool = False, **argument: Any
) -> tuple[Any, ...]:
    """List the members of an argument that is one value of a kind or a sequence of them."""
    ((name, value),) = argument.items()
    members = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    for one in members:
        if isinstance(one, bool) or not (isinstance(one, kind) or (or_none and one is None)):
            several = f"a sequence of {many}{' and None' if or_none else ''}"
            raise ArgumentError(f"{name} must be {one_of} or {several}, got {value!r}")
    return members


_integers = functools.partial(_members, int, "an integer", "integers")
_names = functools.partial(_members, str, "a name", "names")


def _one_each(members: tuple, value: Any, count: int, what: str) -> tuple:
    """Return an axis for each argument, from one number for all or a sequence of one for each."""
    if not isinstance(value, (tuple, list)):
        return members * count
    if len(members) != count:
        raise ArgumentError(f"in_axes must have one entry for each {what}, {count}, got {value!r}")
    return members


def _check_accumulator(accumulator: PyTree) -> None:
    """Raise unless every leaf is an accumulation."""
    leaves = jax.tree_util.tree_flatten_with_path(accumulator)[0] or [((), accumulator)]
    for path, leaf in leaves:
        if isinstance(leaf, (AccumulationType, Accumulator)):
            continue
        kinds = {kind.name: kind for kind in AccumulationType}
        meant = str(getattr(leaf, "name", leaf)).upper()
        remedy = f"; write {kinds[meant]}" if meant in kinds else f": {', '.join(kinds)}"
        where = f"accumulator leaf {path_string(path)!r}" if path else "accumulator"
        raise ArgumentError(
            f"{where} must be an Accumulator or AccumulationType, got {leaf!r:.60}{remedy}"
        )
