"""Project a tree onto a set: find the set's nearest point, in Euclidean distance.

The entries of all leaves form one vector x. Computation is in the widest precision among the
leaves, at least float32, and every leaf is returned in its own dtype; missing leaves (None, masked)
stay missing. Derivatives are exact where they exist, and finite elsewhere. If a set turns out to be
empty only inside a compiled function, as for a radius below 0, the result is NaN.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, ParamSpec

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from optax_lite._numbers import is_real
from optax_lite.core.binding import Binding
from optax_lite.core.leafwise import cast_like, cast_up, compute_dtype
from optax_lite.core.norms import dot, global_norm, sum_abs
from optax_lite.core.numerics import weak_typed
from optax_lite.core.scalars import power_of_two
from optax_lite.core.trees import flatten_up_to, is_inexact, is_missing, leaf_paths, show_leaf
from optax_lite.core.types import Array, Number, PyTree
from optax_lite.core.validate import ArgumentError, check_held
from optax_lite.core.vectors import as_vector
from optax_lite.errors.calls import errors_named

P = ParamSpec("P")
Reader = Callable[[str, dict[str, Any], PyTree], Any]  # (name, arguments, x) -> what the rule gets

# --- arguments ------------------------------------------------------------------------------------


def _projection(
    *, complex_too: bool = False, **readers: Reader
) -> Callable[[Callable[P, PyTree]], Callable[P, PyTree]]:
    """Turn a rule for arrays of one precision into a projection of any tree of floats.

    The first argument is the tree; a reader checks and converts each of the others.
    """

    def decorate(rule):
        binding = Binding(rule, ())
        first = binding.places[0]

        @functools.wraps(rule)
        def wrapped(*args, **kwargs):
            given = binding.bound(args, kwargs)
            with errors_named(binding.name):
                tree = _arrays(first, given[first], complex_too)
                dtype = compute_dtype(*jax.tree.leaves(tree))
                x = jax.tree.map(lambda leaf: cast_up(leaf, dtype), tree)
                read = {name: reader(name, given, x) for name, reader in readers.items()}
            return cast_like(rule(x, **read), tree)

        return wrapped

    return decorate


def _arrays(name: str, tree: PyTree, complex_too: bool) -> PyTree:
    """Return the tree with arrays for numbers; raise unless every leaf is floating."""
    leaves, treedef = jax.tree.flatten(tree, is_leaf=is_missing)
    for i, x in enumerate(leaves):
        if is_missing(x) or (is_inexact(x) and (complex_too or not np.iscomplexobj(x))):
            continue
        kind = "floating or complex" if complex_too else "real and floating"
        remedy = "project real and imaginary parts" if is_inexact(x) else "cast it, or pass None"
        raise ArgumentError(
            f"{_leaf_names(name, tree)[i]} must be {kind}, got {show_leaf(x):.60}; {remedy}"
        )
    return treedef.unflatten([x if is_missing(x) else jnp.asarray(x) for x in leaves])


def _leaf_names(name: str, tree: PyTree) -> list[str]:
    """Say what to call each leaf of an argument in an error."""
    if jax.tree_util.all_leaves([tree]):
        return [name]
    return [f"leaf {path!r} of {name}" for path in leaf_paths(tree)]


def _is_real(x: Any) -> bool:
    dtype = getattr(x, "dtype", None)
    if dtype is None:
        return is_real(x)
    return jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)


def _known(x: Any) -> float:
    """Return x as a float, or NaN, for which no comparison holds, if it is traced or no number."""
    # Array entries are not checked: each call would wait for a copy from the device.
    is_known = _is_real(x) and np.shape(x) == () and not isinstance(x, Tracer)
    return float(x) if is_known else math.nan


def _number(name: str, given: dict[str, Any], x: PyTree) -> Array:
    """Read a real number."""
    value = given[name]
    if not _is_real(value) or np.shape(value) != ():
        raise ArgumentError(f"{name} must be a real number, got {show_leaf(value):.60}")
    check_held(**{name: value})
    dtype = jnp.finfo(compute_dtype(*jax.tree.leaves(x))).dtype
    return weak_typed(jnp.asarray(value, dtype))


def _radius(name: str, given: dict[str, Any], x: PyTree) -> Array:
    """Read a number that is at least 0."""
    number, value = _number(name, given, x), given[name]
    if not isinstance(value, Tracer):
        if not float(value) >= 0:
            raise ArgumentError(f"{name} must be at least 0, got {float(value)}")
        return number
    return jnp.where(number >= 0, number, jnp.nan)


def _finite_radius(name: str, given: dict[str, Any], x: PyTree) -> Array:
    """Read a number that is at least 0 and finite."""
    radius = _radius(name, given, x)
    if _known(given[name]) == math.inf:
        raise ArgumentError(f"{name} must be finite, got inf")
    return radius


def _column(name: str, value: Any, x: PyTree, *, shared: bool) -> list[tuple[str, Any]]:
    """Pair the value that an argument has for each leaf of x with its name in an error.

    With `shared`, a number or None applies to the whole tree.
    """
    if shared and (value is None or (_is_real(value) and np.shape(value) == ())):
        return [(name, value)] * len(jax.tree.leaves(x, is_leaf=is_missing))
    try:
        values = flatten_up_to(x, value, f"argument {name}", "tree to project")
    except ValueError as error:
        raise ArgumentError(str(error)) from None
    return list(zip(_leaf_names(name, x), values, strict=True))


def _like(x: PyTree, column: list[tuple[str, Any]], *, numbers_too: bool) -> PyTree:
    """Return the values of a column as arrays, in a tree like x; raise unless shapes agree."""
    leaves, treedef = jax.tree.flatten(x, is_leaf=is_missing)
    new = []
    for leaf, (what, value) in zip(leaves, column, strict=True):
        if is_missing(leaf):
            new.append(leaf)
            continue
        shape = np.shape(value) if _is_real(value) else None
        if shape != leaf.shape and not (numbers_too and shape == ()):
            kinds = f"{'a number or ' if numbers_too else ''}a real array of shape {leaf.shape}"
            raise ArgumentError(f"{what} must be {kinds}, got {show_leaf(value):.60}")
        new.append(jnp.asarray(value, jnp.finfo(leaf.dtype).dtype))
    return treedef.unflatten(new)


def _tree_like(name: str, given: dict[str, Any], x: PyTree) -> PyTree:
    """Read a tree of real arrays like x."""
    return _like(x, _column(name, given[name], x, shared=False), numbers_too=False)


def _bound(*, none: float, least: float = -math.inf) -> Reader:
    """Read a bound: a number, or a tree like x of numbers and arrays; None is `none`, no bound."""

    def read(name, given, x):
        column = _column(name, given[name], x, shared=True)
        for what, value in column:
            if _known(value) < least:
                raise ArgumentError(f"{what} must be at least {least:g}, got {_known(value)}")
        filled = [(what, none if value is None else value) for what, value in column]
        return _like(x, filled, numbers_too=True)

    return read


def _upper_bound(name: str, given: dict[str, Any], x: PyTree) -> PyTree:
    """Read the upper bound of a box; where both are known, the lower one must not be above it."""
    lower, upper = (_column(k, given[k], x, shared=True) for k in ("lower", name))
    for (below, low), (above, high) in zip(lower, upper, strict=True):
        if _known(low) > _known(high):
            raise ArgumentError(
                f"{below} must be at most {above}, got {_known(low)} and {_known(high)}"
            )
    return _bound(none=math.inf)(name, given, x)


# --- boxes ----------------------------------------------------------------------------------------


def _clip(x: Array, low: Any, high: Any) -> Array:
    return jnp.clip(x, low, jnp.where(low <= high, high, jnp.nan))


@_projection(lower=_bound(none=-math.inf), upper=_upper_bound)
def projection_box(tree: PyTree, lower: PyTree, upper: PyTree) -> PyTree:
    """Project onto the box of all y with lower ≤ y ≤ upper.

        y = min(max(x, lower), upper)   (Boyd & Vandenberghe 2004, section 8.1.1)

    Args:
        tree: Tree to project. Its leaves must be real.
        lower: A number, or a tree like `tree` of numbers and arrays; None for no bound.
        upper: Likewise; where it is below `lower` the box is empty.
    """
    return jax.tree.map(_clip, tree, lower, upper)


@_projection(scale=_bound(none=math.inf, least=0.0))
def projection_hypercube(tree: PyTree, scale: PyTree = 1) -> PyTree:
    """Project onto the hypercube of all y with 0 ≤ y ≤ scale.

        y = min(max(x, 0), scale)   (a box)

    Args:
        tree: Tree to project. Its leaves must be real.
        scale: Length of the edges, at least 0: a number, or a tree like `tree`.
    """
    return jax.tree.map(lambda x, s: _clip(x, 0, s), tree, scale)


@_projection()
def projection_non_negative(tree: PyTree) -> PyTree:
    """Project onto the orthant of all y ≥ 0.

        y = max(x, 0)   (Boyd & Vandenberghe 2004, section 8.1.1)

    Args:
        tree: Tree to project. Its leaves must be real.
    """
    return jax.tree.map(lambda x: jnp.maximum(x, 0), tree)


@_projection(complex_too=True, scale=_radius)
def projection_linf_ball(tree: PyTree, scale: Number = 1) -> PyTree:
    """Project onto the ball of all y whose entries have |yᵢ| ≤ scale.

        yᵢ = sign(xᵢ)·min(|xᵢ|, scale)   (a box; for complex entries, disks)

    Args:
        tree: Tree to project.
        scale: Radius, at least 0.
    """

    def nearest(x):
        size = jnp.abs(x)
        return jnp.where(size <= scale, x, _resized(x, jnp.minimum(size, scale)))

    return jax.tree.map(nearest, tree)


def _resized(x: Array, size: Array) -> Array:
    """Return sign(x)·size; where x is 0, every sign is equally near and 1 is taken."""
    if not jnp.iscomplexobj(x):
        return jnp.where(x < 0, -size, size)
    old = jnp.abs(x)
    old, is_zero = jnp.where(old == 0, 1, old), old == 0
    real = jnp.where(is_zero, 1, x.real / old)
    return jax.lax.complex(real * size, x.imag / old * size)


# --- the simplex, and what is made of it ----------------------------------------------------------


def _onto_simplex(tree: PyTree, scale: Number) -> PyTree:
    """Subtract τ from every entry and clip at 0, with the τ that makes the sum `scale`."""
    x = as_vector(tree)
    if not x.size:
        return tree
    # Shifting all entries shifts τ equally. Relative to the largest, they keep their digits however
    # far from 0 they are.
    top = jax.lax.stop_gradient(jnp.max(x))
    x = x - top
    # Cancellation in the running sums makes this τ approximate. One step of Newton's method on Σ
    # max(x - τ, 0) = scale corrects it and carries its derivatives: none goes through the sort.
    u = jnp.sort(jax.lax.stop_gradient(x), descending=True)
    fixed = jax.lax.stop_gradient(scale)
    tau = jnp.max((jnp.cumsum(u) - fixed) / jnp.arange(1, x.size + 1, dtype=x.dtype))
    above = x > tau
    count = jnp.maximum(jnp.sum(above, dtype=x.dtype), 1)  # 0 for a scale of 0
    tau = tau + (jnp.sum(jnp.where(above, x - tau, 0)) - scale) / count
    return jax.tree.map(lambda x: jnp.where(x - top <= tau, 0, x - top - tau), tree)


@_projection(scale=_finite_radius)
def projection_simplex(tree: PyTree, scale: Number = 1) -> PyTree:
    """Project onto the simplex of all y ≥ 0 with a sum of `scale`.

        y = max(x - τ, 0),  τ = max over k of (u₁ + ... + uₖ - scale) / k

    Held, Wolfe & Crowder 1974; Duchi et al. 2008, section 3. u holds the entries of x in descending
    order. The quotient grows with k as long as the next entry exceeds it; exactly these entries
    stay above 0.

    Args:
        tree: Tree to project. Its leaves must be real.
        scale: Sum over all leaves, at least 0.
    """
    return _onto_simplex(tree, scale)


@_projection(complex_too=True, scale=_radius)
def projection_l1_ball(tree: PyTree, scale: Number = 1) -> PyTree:
    """Project onto the ball of all y with Σ|y| ≤ scale.

        y = x inside, and outside sign(x)·p, p the projection of |x| onto the simplex

    Duchi et al. 2008, section 4.

    Args:
        tree: Tree to project.
        scale: Radius, at least 0.
    """
    total = weak_typed(sum_abs(tree))
    # inside the ball, take the sum: the radius may be infinite
    p = _onto_simplex(jax.tree.map(jnp.abs, tree), jnp.minimum(total, scale))
    return jax.tree.map(lambda x, p: jnp.where(total <= scale, x, _resized(x, p)), tree, p)


@_projection(complex_too=True, scale=_finite_radius)
def projection_l1_sphere(tree: PyTree, scale: Number = 1) -> PyTree:
    """Project onto the sphere of all y with Σ|y| = scale.

        y = sign(x)·p, p the projection of |x| onto the simplex

    No other signs come nearer, and with these the distance is that of p from |x|. An entry of 0 has
    two nearest points, and goes to the positive one.

    Args:
        tree: Tree to project.
        scale: Radius, at least 0.
    """
    return jax.tree.map(_resized, tree, _onto_simplex(jax.tree.map(jnp.abs, tree), scale))


# --- the Euclidean norm ---------------------------------------------------------------------------


def _divided(tree: PyTree, norm: Array) -> PyTree:
    """Divide by a norm, or by 1 where it is 0."""
    # The derivative of a quotient squares the denominator; a power of two brings it near 1.
    unit = weak_typed(power_of_two(jax.lax.stop_gradient(norm)))
    length = weak_typed(norm) * unit
    length = jnp.where(length == 0, 1.0, length)
    return jax.tree.map(lambda x: unit * x / length, tree)


@_projection(complex_too=True, scale=_radius)
def projection_l2_ball(tree: PyTree, scale: Number = 1) -> PyTree:
    """Project onto the ball of all y with ‖y‖ ≤ scale, with the norm over all leaves.

        y = x inside, and outside scale·x / ‖x‖

    By the triangle inequality no point of the ball is nearer than ‖x‖ - scale, the distance of y.

    Args:
        tree: Tree to project.
        scale: Radius, at least 0.
    """
    norm = global_norm(tree)
    inside = norm <= scale
    radius = jnp.where(inside, 1.0, scale)  # it may be infinite
    return jax.tree.map(lambda x, u: jnp.where(inside, x, radius * u), tree, _divided(tree, norm))


@_projection(complex_too=True, scale=_finite_radius)
def projection_l2_sphere(tree: PyTree, scale: Number = 1) -> PyTree:
    """Project onto the sphere of all y with ‖y‖ = scale, with the norm over all leaves.

        y = scale·x / ‖x‖

    From x = 0 every point is equally near; the one whose n entries are scale / √n is taken.

    Args:
        tree: Tree to project.
        scale: Radius, at least 0.
    """
    norm = global_norm(tree)
    n = max(sum(x.size for x in jax.tree.leaves(tree)), 1)
    return jax.tree.map(lambda u: scale * jnp.where(norm == 0, n**-0.5, u), _divided(tree, norm))


# --- lines and planes -----------------------------------------------------------------------------


@_projection(a=_tree_like)
def projection_vector(x: PyTree, a: PyTree) -> PyTree:
    """Project onto the line through 0 and a.

        y = ⟨a, x⟩ / ⟨a, a⟩·a, and 0 for a = 0

    Args:
        x: Tree to project, with real leaves.
        a: Point on the line, a tree like `x`.
    """
    u = _divided(a, global_norm(a))
    along = dot(u, x)
    return jax.tree.map(lambda u: along * u, u)


def _onto_plane(x: PyTree, a: PyTree, b: Number, counted: Callable[[Array], Array]) -> PyTree:
    """Move x along -a by `counted` of its excess (⟨a, x⟩ - b) / ‖a‖."""
    norm = global_norm(a)
    u = _divided(a, norm)
    excess = counted(dot(u, x) - _divided(b, norm))
    # for a = 0 no move removes an excess: the set is empty
    excess = jnp.where((norm == 0) & (excess != 0), jnp.nan, excess)
    return jax.tree.map(lambda x, u: x - excess * u, x, u)


@_projection(a=_tree_like, b=_number)
def projection_hyperplane(x: PyTree, a: PyTree, b: Number) -> PyTree:
    """Project onto the hyperplane of all y with ⟨a, y⟩ = b.

        y = x - (⟨a, x⟩ - b) / ⟨a, a⟩·a   (Boyd & Vandenberghe 2004, section 8.1.1)

    For a = 0 the result is x if b = 0, and NaN otherwise: no y has ⟨0, y⟩ = b.

    Args:
        x: Tree to project, with real leaves.
        a: Normal of the hyperplane, a tree like `x`.
        b: Number, for all leaves together.
    """
    return _onto_plane(x, a, b, lambda excess: excess)


@_projection(a=_tree_like, b=_number)
def projection_halfspace(x: PyTree, a: PyTree, b: Number) -> PyTree:
    """Project onto the halfspace of all y with ⟨a, y⟩ ≤ b.

        y = x - max(⟨a, x⟩ - b, 0) / ⟨a, a⟩·a   (Boyd & Vandenberghe 2004, section 8.1.1)

    For a = 0 the result is x if b ≥ 0, and NaN otherwise.

    Args:
        x: Tree to project, with real leaves.
        a: Normal that points out of the halfspace, a tree like `x`.
        b: Number, for all leaves together.
    """
    return _onto_plane(x, a, b, lambda excess: jnp.maximum(excess, 0))
