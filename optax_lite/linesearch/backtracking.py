"""Line searches by backtracking, and what all line searches share: trial points, and values kept in
the state.

A line search is last in a chain, behind a descent direction u with ⟨u, ∇f⟩ < 0, and scales it. It
needs values of the objective at points w + ηu, so the update needs the objective itself, and the
same one at every point: all data, or one batch for the whole step.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optax_lite.core.leafwise import compute_dtype, copy_params, leafwise, varying_like, zeros_like
from optax_lite.core.norms import dot
from optax_lite.core.numerics import weak_typed
from optax_lite.core.transform import Array, PyTree, transform
from optax_lite.core.trees import is_inexact, is_missing
from optax_lite.core.types import ScalarOrSchedule
from optax_lite.core.validate import (
    ArgumentError,
    check_count,
    check_function,
    check_nonnegative,
    check_positive,
)
from optax_lite.core.vectors import as_tree
from optax_lite.errors.calls import errors_named, usage
from optax_lite.errors.states import states_with


def value_dtype(params: PyTree) -> Any:
    """Return the real dtype in which values, slopes and steps of a search over these parameters are
    kept.
    """
    return jnp.finfo(
        compute_dtype(*(jnp.asarray(p) for p in jax.tree.leaves(params) if is_inexact(p)))
    ).dtype


def moved(params: PyTree, updates: PyTree, step: Array) -> PyTree:
    """Return params + step·updates in the params' dtypes; a parameter without update stays."""

    def one(u, p):
        if is_missing(u):
            return p
        dtype = compute_dtype(p, u)
        return (p.astype(dtype) + weak_typed(step) * u.astype(dtype)).astype(p.dtype)

    return jax.tree.map(one, updates, params, is_leaf=is_missing)


def of_params(value_fn: Callable, extra: dict[str, Any], dtype: Any) -> Callable:
    """Turn `value_fn` into a function of the parameters alone, given those of the extra arguments
    that it takes.
    """
    parameters = inspect.signature(value_fn).parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    kept = {k: v for k, v in extra.items() if takes_all or k in parameters}
    return lambda params: jnp.asarray(value_fn(params, **kept)).astype(dtype)


def value_and_descent(f: Callable, params: PyTree, slot: PyTree) -> tuple[Array, PyTree]:
    """Return f and its gradient as an update takes it, conjugated where complex: JAX's own leads
    uphill there.
    """
    value, gradient = jax.value_and_grad(f, allow_int=True)(params)
    return value, jax.tree.map(jnp.conj, gradient_like(slot, gradient))


def gradient_like(slot: PyTree, gradient: PyTree) -> PyTree:
    """Return a gradient in the dtypes of the state's slot for it, 0 where it has none, None where
    there is no slot.
    """

    def one(z, g):
        return z if is_missing(z) else jnp.zeros_like(z) if is_missing(g) else g.astype(z.dtype)

    return jax.tree.map(one, slot, gradient, is_leaf=is_missing)


def last_step(state: Any) -> Array:
    """Return the step size to start from after the last one: 1 if that had to be 0."""
    return jnp.where(state.learning_rate > 0, state.learning_rate, 1)


def value_and_grad_from_state(value_fn: Callable[..., Any]) -> Callable[..., tuple[Array, PyTree]]:
    """Wrap `jax.value_and_grad(value_fn)` to take both from the state of a line search when they
    are there.

        value_and_grad = value_and_grad_from_state(value_fn)
        value, grad = value_and_grad(params, *args, state=state, **kwargs)

    It computes them only on the first step and whenever the stored value is not finite, so a search
    costs no further evaluations. It is right only for a function that is the same on every
    step: with a new batch, use `jax.value_and_grad`. The search must keep gradients (zoom does,
    backtracking with `store_grad=True`).

    Args:
        value_fn: The objective: a function of the params, and of further arguments, that returns
            one number.

    Returns:
        A function of the arguments of `value_fn` and of `state=`, the state of the optimizer. Its
        gradient of a complex parameter is conjugated, as updates need it.
    """
    with errors_named("value_and_grad_from_state"):
        check_function(value_fn=value_fn)

    @usage("value, grad = value_and_grad_from_state(value_fn)(params, state=state)")
    def value_and_grad(params, *args, state, **kwargs):
        kept = searches(state)
        if len(kept) != 1:
            raise ArgumentError(
                f"the state must hold exactly one line search, got {len(kept)}",
                "value_and_grad_from_state",
            )
        value, grad = kept[0].value, kept[0].grad
        if grad is None:
            raise ArgumentError(
                (
                    "the line search keeps no gradient; write "
                    "scale_by_backtracking_linesearch(..., store_grad=True)"
                ),
                "value_and_grad_from_state",
            )
        slots = copy_params(params)
        if hasattr(grad, "dtype") and getattr(slots, "shape", None) != grad.shape:
            grad = as_tree(grad, slots)  # that of a search inside `flatten` is a vector

        def compute():
            new, gradient = value_and_descent(lambda p: value_fn(p, *args, **kwargs), params, grad)
            return jnp.asarray(new).astype(value.dtype), gradient

        return jax.lax.cond(jnp.isfinite(value), lambda: (value, grad), compute)

    return value_and_grad


def searches(state):
    """Return the states nested in a state that keep a value and a gradient of the objective."""
    return states_with(state, "learning_rate", "value", "grad", "info")


class BacktrackingLinesearchInfo(NamedTuple):
    """The outcome of a backtracking line search."""

    num_linesearch_steps: Array  # values tried, int32
    # by how much the accepted step misses the criterion without atol, 0 if it holds
    decrease_error: Array


class ScaleByBacktrackingLinesearchState(NamedTuple):
    learning_rate: Array  # the accepted step size
    value: Array  # objective there, infinite before the first update
    grad: PyTree  # gradient of the objective there, None unless store_grad
    info: BacktrackingLinesearchInfo  # how the search ended


@transform(static=("max_backtracking_steps",), is_a=("line search",))
def scale_by_backtracking_linesearch(
    max_backtracking_steps: int,
    slope_rtol: ScalarOrSchedule = 1e-4,
    decrease_factor: ScalarOrSchedule = 0.8,
    increase_factor: ScalarOrSchedule = 1.5,
    max_learning_rate: ScalarOrSchedule = 1.0,
    atol: ScalarOrSchedule = 0.0,
    rtol: ScalarOrSchedule = 0.0,
    store_grad: bool = False,
    verbose: bool = False,
):
    """Scale u by an η that is shrunk until f decreases enough. Armijo 1966; Nocedal & Wright 2006,
    Algorithm 3.1.

        f(w + ηu) ≤ (1 + rtol)·f(w) + slope_rtol·η·⟨u, ∇f⟩ + atol

        tx = chain(sgd(1.0), scale_by_backtracking_linesearch(20))
        updates, state = tx.update(grad, state, params, value=value, grad=grad, value_fn=value_fn)

    Put it after a descent direction. The update needs `value=`, `grad=` and `value_fn=`, a function
    of the parameters and of any other keywords of the call; conjugate the gradient of a complex
    parameter. A search starts from the last η times `increase_factor`. If even the last trial
    fails, it is used anyway, and `info.decrease_error` says by how much it fails; if f is not
    finite there, η is 0, and the next search starts from 1 (in optax it stays at 0).

    Args:
        max_backtracking_steps: Most times that η is shrunk in an update, an integer of at least 1.
        slope_rtol: Share of the decrease that the slope promises, at least 0.
        decrease_factor: Multiplies η after a failed trial, above 0; it should be below one.
        increase_factor: Multiplies the last η to start the next search, above 0.
        max_learning_rate: Largest η, above 0.
        atol: Absolute increase that is tolerated, at least 0.
        rtol: Increase relative to f(w) that is tolerated, at least 0.
        store_grad: Keep the gradient at the new point for `value_and_grad_from_state`.
        verbose: Print the outcome of every search.
    """
    check_count(max_backtracking_steps=max_backtracking_steps)
    check_positive(
        decrease_factor=decrease_factor,
        increase_factor=increase_factor,
        max_learning_rate=max_learning_rate,
    )
    check_nonnegative(slope_rtol=slope_rtol, atol=atol, rtol=rtol)

    def init(params):
        infinite = jnp.asarray(jnp.inf, value_dtype(params))
        info = BacktrackingLinesearchInfo(jnp.zeros((), jnp.int32), infinite)
        grad = zeros_like(params) if store_grad else None
        state = ScaleByBacktrackingLinesearchState(jnp.ones_like(infinite), infinite, grad, info)
        return varying_like(state, params)

    def update(updates, state, params, *, value, grad, value_fn, **extra):
        dtype = state.value.dtype
        f, start = of_params(value_fn, extra, dtype), jnp.asarray(value).astype(dtype)
        slope = dot(updates, grad).astype(dtype)

        def attempt(step):
            new = f(moved(params, updates, step))
            error = jnp.maximum(new - (1 + rtol) * start - slope_rtol * step * slope, 0)
            return new, jnp.where(jnp.isfinite(error), error, jnp.inf)

        def goes_on(search):
            tried, _, _, error = search
            return (error > atol) & (tried <= max_backtracking_steps)

        def shrink(search):
            tried, step, _, _ = search
            step = decrease_factor * step
            return tried + 1, step, *attempt(step)

        longer = increase_factor * last_step(state)
        # minimum(inf·η, 1) has slope NaN
        first = jnp.where(longer < max_learning_rate, longer, max_learning_rate)
        search = varying_like(
            (jnp.ones((), jnp.int32), first, *attempt(first)), (updates, params, start)
        )
        tried, step, value, error = jax.lax.while_loop(goes_on, shrink, search)
        # A finite last trial is taken, and `info.decrease_error` says by how much it misses the
        # criterion (decision 45).
        failed = jnp.isinf(error)
        step, value = jnp.where(failed, 0, step), jnp.where(failed, start, value)
        if verbose:
            jax.debug.print("backtracking: step {}, decrease error {}", step, error)
        new_grad = None
        if store_grad:
            _, new_grad = value_and_descent(f, moved(params, updates, step), state.grad)
        updates = leafwise(lambda u: weak_typed(step) * u, updates)
        info = BacktrackingLinesearchInfo(tried, error)
        return updates, ScaleByBacktrackingLinesearchState(step, value, new_grad, info)

    return init, update
