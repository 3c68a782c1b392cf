"""A whole minimization as one compiled loop, with any transformation."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from optax_lite.core.compose import as_optimizer
from optax_lite.core.leafwise import cast_like
from optax_lite.core.norms import global_norm
from optax_lite.core.trees import is_inexact, leaf_paths, show_leaf
from optax_lite.core.types import Array, Number, PyTree, TransformationLike
from optax_lite.core.validate import ArgumentError
from optax_lite.errors.calls import is_no_tree, usage
from optax_lite.linesearch.backtracking import (
    searches,
    value_and_descent,
    value_and_grad_from_state,
)
from optax_lite.optimizers.lbfgs import lbfgs
from optax_lite.train._programs import Programs


class MinimizeResult(NamedTuple):
    """The result of `minimize`."""

    x: PyTree  # the last point
    value: Array  # value of the function there
    grad_norm: Array  # 2-norm of its gradient there, over all leaves
    steps: Array  # updates made, int32
    converged: Array  # whether grad_norm ≤ tol and the value is finite
    state: PyTree  # state of the transformation


@usage("result = minimize(fn, x0, tx)")
def minimize(
    fn: Callable[..., Array],
    x0: PyTree,
    tx: TransformationLike = lbfgs(),
    *,
    args: Sequence[PyTree] = (),
    tol: Number = 1e-6,
    max_steps: int = 1000,
) -> MinimizeResult:
    """Minimize fn(x, *args) from x0 until ‖∇f‖ ≤ tol, in one `lax.while_loop`.

    The update gets `value`, `grad` and `value_fn`, so that line searches and Polyak steps work. The
    loop also ends, with `converged` False, after `max_steps`, when the gradient is not finite, and
    after three updates in a row that moved nothing, as happens when a line search is down to
    rounding errors (in float32 a `tol` of 1e-6 is often out of reach). Vmap over `x0` or `args` for
    many starting points or problems. Each new `fn` object compiles again, so define it once and
    pass data through `args`.

    Args:
        fn: Function `(x, *args)` that returns one real number.
        x0: Where to start, a pytree of floating or complex arrays.
        tx: The optimizer, or any other transformation. By default L-BFGS.
        args: Further arguments of `fn`, a tuple of pytrees.
        tol: Largest 2-norm of the gradient at which to stop.
        max_steps: Largest number of updates.

    Returns:
        The last point `x`, its `value` and `grad_norm`, the number of `steps`, whether it has
        `converged`, and the `state`.

    Examples:
        >>> result = minimize(loss_fn, params, args=(x, y), max_steps=20)
        >>> starts = jax.tree.map(lambda p: jnp.stack([p, 2 * p]), params)
        >>> results = jax.vmap(lambda x0: minimize(loss_fn, x0, args=(x, y), max_steps=20))(starts)
        >>> results.value.shape
        (2,)
    """
    if not isinstance(args, (tuple, list)):
        raise ArgumentError(
            f"args must be a tuple, got {type(args).__name__}: write args=(data,)", "minimize"
        )
    if not callable(fn) or is_no_tree(x0):
        found = f"{show_leaf(fn)} and {show_leaf(x0)}"
        raise ArgumentError(
            f"the order is minimize(fn, x0, tx), a function and a tree, got {found}", "minimize"
        )
    tx = as_optimizer(tx, "minimize", "minimize(fn, x0, tx)")
    for path, x in zip(leaf_paths(x0, nothing_too=False), jax.tree.leaves(x0), strict=True):
        if is_no_tree(x):
            raise ArgumentError(
                f"x0 leaf {path!r} is {show_leaf(x)}; it must be floating or complex", "minimize"
            )
    x0 = jax.tree.map(jnp.asarray, x0)
    for path, x in zip(leaf_paths(x0, nothing_too=False), jax.tree.leaves(x0), strict=True):
        if not is_inexact(x):
            raise ArgumentError(
                f"x0 leaf {path!r} is {show_leaf(x)}; it must be floating or complex", "minimize"
            )
    return _programs.of(fn)(x0, tx, tuple(args), tol, max_steps)


class _Loop(NamedTuple):
    x: PyTree
    value: Array
    grad: PyTree
    state: PyTree
    steps: Array
    unmoved: Array  # updates in a row that changed nothing


def _minimize(fn, x0, tx, args, tol, max_steps):
    def value_fn(x):
        value = fn(x, *args)
        if (
            is_no_tree(value)
            or not jax.tree_util.all_leaves([value])
            or jnp.shape(value) != ()
            or not is_inexact(value)
            or jnp.iscomplexobj(value)
        ):
            raise TypeError(f"minimize: fn must return one real number, got {show_leaf(value)}")
        return value

    def goes_on(loop):
        norm = global_norm(loop.grad)
        # A line search that is down to rounding would repeat itself to the last step (decision 47).
        return (norm > tol) & jnp.isfinite(norm) & (loop.steps < max_steps) & (loop.unmoved < 3)

    def advance(loop):
        x, state = tx.step(
            loop.grad, loop.state, loop.x, value=loop.value, grad=loop.grad, value_fn=value_fn
        )
        kept = searches(state)
        is_kept = len(kept) == 1 and kept[0].grad is not None
        new = (
            value_and_grad_from_state(value_fn)(x, state=state)
            if is_kept
            else value_and_descent(value_fn, x, x)
        )
        value, grad = cast_like(new, (loop.value, loop.grad))
        same = [
            jnp.all(a == b)
            for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(loop.x), strict=True)
        ]
        unmoved = jnp.where(jnp.all(jnp.array(same)), loop.unmoved + 1, 0)
        return _Loop(x, value, grad, state, loop.steps + 1, unmoved)

    value, grad = value_and_descent(value_fn, x0, x0)
    none = jnp.zeros((), jnp.int32)
    end = jax.lax.while_loop(goes_on, advance, _Loop(x0, value, grad, tx.init(x0), none, none))
    norm = global_norm(end.grad)
    # a value that is no number may have slope 0
    converged = (norm <= tol) & jnp.isfinite(end.value)
    return MinimizeResult(end.x, end.value, norm, end.steps, converged, end.state)


_programs = Programs(_minimize)
