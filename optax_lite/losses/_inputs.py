"""Compute all losses in one precision, with one check of shapes, 0·∞ = 0, and bounds."""

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeAlias, TypeVar

import jax
import jax.numpy as jnp

from optax_lite.core.binding import Binding
from optax_lite.core.leafwise import promote_types
from optax_lite.core.trees import show_leaf
from optax_lite.core.types import Array
from optax_lite.core.validate import ArgumentError
from optax_lite.errors.calls import errors_named

P = ParamSpec("P")
R = TypeVar("R")

if TYPE_CHECKING:
    # Its base is Any because a loss is handed the array that was made of what its caller wrote.
    class ArrayLike(Protocol, Any):
        """An array or a number, of JAX, NumPy or Python."""

        def __abs__(self) -> Any: ...
else:
    ArrayLike = Any

Mask: TypeAlias = ArrayLike | None  # bools; None for everything
Axis: TypeAlias = int | tuple[int, ...] | None  # None: all of them


def loss(*names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Compute a function of the named arguments in float32 at least, and return it in their common
    dtype.

    The first of them must be floating, the others real; they reach the function as arrays of one
    dtype, and so does whatever else is a floating array. Cast float16 or bfloat16 predictions up
    first to have the loss in float32. Errors of checks inside begin with the function's name.
    """

    def decorate(function):
        binding = Binding(function, ())

        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            if problem := binding.unknown(kwargs):
                raise TypeError(f"{binding.name}: {problem}")
            given = binding.bound(args, kwargs)
            with errors_named(binding.name):
                arrays = {
                    k: as_array(k, given[k])
                    for k in names
                    if k not in binding.defaults or given[k] is not None
                }
                with jax.numpy_dtype_promotion("standard"):
                    dtype = jnp.result_type(*arrays.values())
                floating = {
                    k: x
                    for k, x in given.items()
                    if jnp.issubdtype(getattr(x, "dtype", bool), jnp.floating)
                }
                swapped = bool(floating) and not floating.keys() & names[:1]
                order = (*binding.places[: len(args)], *kwargs)
                _check_real(", ".join(order) if swapped else "", **arrays)
                for k, x in (floating | arrays).items():
                    given[k] = jnp.asarray(x).astype(promote_types(dtype, jnp.float32))
                if given.get("where") is not None:
                    given["where"] = jnp.asarray(given["where"]).astype(bool)
                call = inspect.BoundArguments(binding.signature, given)
                result = function(*call.args, **call.kwargs)
            return jax.tree.map(lambda x: x.astype(dtype), result)

        return wrapped

    return decorate


def as_array(name: str, x: ArrayLike) -> Array:
    """Return an argument as an array, or raise an error that names it."""
    if x is None or isinstance(x, (str, dict)) or callable(x):
        raise ArgumentError(f"{name} must be an array, got {show_leaf(x):.60}")
    return jnp.asarray(x)


def _check_real(order: str, **arrays: Array) -> None:
    """Raise, naming the `order` of the arguments if there is one, unless the first array is
    floating and the others are real.
    """
    for i, (name, x) in enumerate(arrays.items()):
        if jnp.iscomplexobj(x) or (i == 0 and not jnp.issubdtype(x.dtype, jnp.floating)):
            problem = f"{name} must be {'real' if i else 'floating'}, got {show_leaf(x)}"
            raise ArgumentError(f"{problem}; the order is ({order})" if order else problem)


def check_labels(labels: Array) -> None:
    """Raise unless the labels are class numbers."""
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ArgumentError(f"labels must be integers (class numbers), got {show_leaf(labels)}")


def axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    """Return the dimensions that `axis` means, counted from the front."""
    chosen = tuple(range(ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    if not all(-ndim <= a < ndim for a in chosen):
        raise ArgumentError(f"axis {axis} is out of range for an array of {ndim} dimensions")
    return tuple(a % ndim for a in chosen)


def check_same_shape(**arrays: ArrayLike | None) -> None:
    """Raise unless every array has the shape of the first, or is a number."""
    (first, shape), *others = ((name, jnp.shape(x)) for name, x in arrays.items() if x is not None)
    for name, other in others:
        if other not in ((), shape):
            raise ArgumentError(
                f"{first} have shape {shape}, {name} {other}: nothing is broadcast; reshape one "
                "of them"
            )


def check_fit(axis: Axis, **arrays: Any) -> None:
    """Raise unless the arrays have one size along `axis` and elsewhere one size or 1; no dimension
    is added.
    """
    shapes = {name: jnp.shape(x) for name, x in arrays.items() if x is not None}
    ranks = {len(shape) for shape in shapes.values()}
    if len(ranks) == 1:
        strict = axes(axis, ranks.pop())
        sizes = [set(column) for column in zip(*shapes.values(), strict=True)]
        if all(len(s if i in strict else s - {1}) <= 1 for i, s in enumerate(sizes)):
            return
    along = "" if axis == () else f" equal along axis {axis} and"
    found = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    raise ArgumentError(f"the shapes must be{along} equal or 1 in every dimension, got {found}")


def included(x: Array, where: Array | None) -> Array:
    """Put 0 where the mask leaves `x` out.

    What was there, NaN too, has no effect and no gradient.
    """
    return x if where is None else jnp.where(where, x, 0)


def times(p: ArrayLike, x: Array) -> Array:
    """Return p·x with 0·∞ = 0: what cannot happen weighs nothing, however unlikely it is."""
    return p * jnp.where((p == 0) & jnp.isinf(x), 0, x)


@jax.custom_jvp
def at_least_zero(x: Array) -> Array:
    """Return max(x, 0) with the slope of x, for what rounding made negative. NaN stays NaN."""
    return jnp.maximum(x, 0)


@at_least_zero.defjvp
def _at_least_zero_jvp(primals, tangents):
    # Not x - stop_gradient(x) below 0: a compiler that fuses x = a·b into the difference leaves
    # a·b's rounding error.
    return at_least_zero(*primals), tangents[0]
