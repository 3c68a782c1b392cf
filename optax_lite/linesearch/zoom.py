"""The line search for the strong Wolfe conditions: bracketing and zooming in one loop over an
interval.

The textbook has two algorithms, one that steps out until an interval holds a solution and one that
narrows it. Here both are one loop: `low` is the best step so far, `high` the other end of the
interval, meaningless until there is one, and both are updated alike after every trial. `low` starts
at step 0, which is always allowed.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optax_lite.core.leafwise import leafwise, varying_like, zeros_like
from optax_lite.core.norms import dot
from optax_lite.core.numerics import sqrt, weak_typed
from optax_lite.core.transform import Array, PyTree, transform
from optax_lite.core.types import Limit, ScalarOrSchedule
from optax_lite.core.validate import ArgumentError, check_count, check_nonnegative, check_positive
from optax_lite.linesearch.backtracking import (
    gradient_like,
    last_step,
    moved,
    of_params,
    value_and_descent,
    value_dtype,
)


class ZoomLinesearchInfo(NamedTuple):
    """The outcome of a zoom line search."""

    num_linesearch_steps: Array  # values and gradients computed, int32
    # by how much the accepted step misses the decrease condition, 0 if it holds
    decrease_error: Array
    curvature_error: Array  # by how much it misses the curvature condition, 0 if it holds


class ScaleByZoomLinesearchState(NamedTuple):
    learning_rate: Array  # the accepted step size
    value: Array  # objective there, infinite before the first update
    grad: PyTree  # gradient of the objective there
    info: ZoomLinesearchInfo  # how the search ended


class _Point(NamedTuple):
    step: Array
    value: Array
    slope: Array  # derivative of the value with respect to the step


class _Search(NamedTuple):
    tried: Array  # points evaluated so far
    trial: Array  # the step to try next
    low: _Point  # the best step so far: the decrease condition holds there
    grad: PyTree  # of the objective at low
    # the other end, on the side where the slope at low goes down; without meaning until bracketed,
    # as stepping out and narrowing are one loop (decision 46)
    high: _Point
    bracketed: Array
    errors: tuple[Array, Array]  # of low: decrease, curvature
    done: Array


@transform(
    static=("max_linesearch_steps",),
    is_a=("line search",),
    exact_state="reuses its stored gradient, which must not be rounded",
)
def scale_by_zoom_linesearch(
    max_linesearch_steps: int,
    max_learning_rate: Limit | None = None,
    tol: ScalarOrSchedule = 0.0,
    increase_factor: ScalarOrSchedule = 2.0,
    slope_rtol: ScalarOrSchedule = 1e-4,
    curv_rtol: ScalarOrSchedule = 0.9,
    approx_dec_rtol: ScalarOrSchedule | None = 1e-6,
    stepsize_precision: ScalarOrSchedule = 1e-5,
    initial_guess_strategy: str = "keep",
    verbose: bool = False,
):
    """Scale u by an η that decreases f enough and flattens its slope. Nocedal & Wright 2006,
    Algorithms 3.5 and 3.6.

        φ(η) ≤ φ(0) + slope_rtol·η·φ'(0)  and  |φ'(η)| ≤ curv_rtol·|φ'(0)|, with φ(η) = f(w + ηu)

    If φ(η) is at most approx_dec_rtol·|φ(0)| above φ(0), so that rounding may hide a decrease,
    φ'(η) ≤ (2·slope_rtol - 1)·φ'(0) replaces the first condition (Hager & Zhang 2006), and of two
    points with the same value the one with φ' < 0 counts as lower.

    A search grows η by `increase_factor` until an interval holds a solution, which is then narrowed
    by cubic interpolation; a point where f or its slope is not finite is too far. If it ends
    without meeting both conditions, at `max_learning_rate`, after `max_linesearch_steps`, or in an
    interval below `stepsize_precision`, the best decrease found is taken, and if there was none the
    update is 0 (optax then takes the last trial, uphill or not).

    Put it after a descent direction. The update needs `value=`, `grad=` and `value_fn=`, a function
    of the parameters and of any other keywords of the call; conjugate the gradient of a complex
    parameter.

    Args:
        max_linesearch_steps: Most trials in an update, an integer of at least 1.
        max_learning_rate: Largest η, above 0; None for no limit.
        tol: How far both conditions may be missed, at least 0.
        increase_factor: Multiplies η until an interval holds a solution; above 0, and it should be
            above one.
        slope_rtol: Share of the decrease that the slope promises, at least 0.
        curv_rtol: Share of the slope that may remain, at least 0.
        approx_dec_rtol: Increase relative to |f| that may be rounding, at least 0; None to rule
            that out.
        stepsize_precision: Width of an interval below which it is not narrowed, above 0.
        initial_guess_strategy: Start a search from the last η, "keep", or from 1, "one".
        verbose: Print the outcome of every search.

    Examples:
        >>> tx = chain(sgd(1.0), scale_by_zoom_linesearch(20))
        >>> value_fn = lambda p: loss_fn(p, x, y)
        >>> needed = {"value": value_fn(params), "grad": grads, "value_fn": value_fn}
        >>> params, state = tx.step(grads, tx.init(params), params, **needed)
    """
    check_count(max_linesearch_steps=max_linesearch_steps)
    check_positive(max_learning_rate=max_learning_rate)
    check_positive(increase_factor=increase_factor, stepsize_precision=stepsize_precision)
    check_nonnegative(
        tol=tol, slope_rtol=slope_rtol, curv_rtol=curv_rtol, approx_dec_rtol=approx_dec_rtol
    )
    if initial_guess_strategy not in ("one", "keep"):
        raise ArgumentError(
            f"initial_guess_strategy must be 'one' or 'keep', got {initial_guess_strategy!r}"
        )
    longest = jnp.inf if max_learning_rate is None else max_learning_rate

    def init(params):
        infinite = jnp.asarray(jnp.inf, value_dtype(params))
        info = ZoomLinesearchInfo(jnp.zeros((), jnp.int32), infinite, infinite)
        state = ScaleByZoomLinesearchState(
            jnp.ones_like(infinite), infinite, zeros_like(params), info
        )
        return varying_like(state, params)

    def update(updates, state, params, *, value, grad, value_fn, **extra):
        dtype = state.value.dtype
        f = of_params(value_fn, extra, dtype)
        zero = jnp.zeros((), dtype)
        start = _Point(zero, jnp.asarray(value).astype(dtype), dot(updates, grad).astype(dtype))

        def misses(point):
            """Return by how much a point misses the two conditions."""
            decrease = (
                point.value - start.value - slope_rtol * point.step * jnp.minimum(start.slope, 0)
            )
            if approx_dec_rtol is not None:
                near = point.value <= start.value + approx_dec_rtol * jnp.abs(start.value)
                approximate = point.slope - (2 * slope_rtol - 1) * start.slope
                decrease = jnp.where(near, jnp.minimum(decrease, approximate), decrease)
            curvature = jnp.abs(point.slope) - curv_rtol * jnp.abs(start.slope)
            return _at_least_zero(decrease), _at_least_zero(curvature)

        def advance(s):
            value, grad = value_and_descent(f, moved(params, updates, s.trial), state.grad)
            slope = dot(updates, grad).astype(dtype)
            point = _Point(s.trial, jnp.where(jnp.isfinite(slope), value, jnp.inf), slope)
            decrease, curvature = misses(point)
            found = (decrease <= tol) & (curvature <= tol)
            lower = (point.value < s.low.value) | ((point.value == s.low.value) & (slope < 0))
            better = found | ((decrease <= tol) & lower)
            ahead = jnp.where(s.bracketed, jnp.sign(s.high.step - s.low.step), 1)
            # the minimum lies between the old low and here
            turned = better & (point.slope * ahead >= 0)
            low = _choose(better, point, s.low)
            high = _choose(~better, point, _choose(turned, s.low, s.high))
            bracketed = s.bracketed | ~better | turned
            narrow = (
                bracketed & (jnp.abs(high.step - low.step) < stepsize_precision) & (low.step > 0)
            )
            at_end = ~bracketed & (s.trial >= longest)
            trial = jnp.where(
                bracketed, _between(low, high), jnp.minimum(increase_factor * s.trial, longest)
            )
            errors = _choose(better, (decrease, curvature), s.errors)
            grad = _choose(better, grad, s.grad)
            return _Search(
                s.tried + 1, trial, low, grad, high, bracketed, errors, found | narrow | at_end
            )

        first = jnp.ones_like(zero) if initial_guess_strategy == "one" else last_step(state)
        no = jnp.zeros((), bool)
        none_tried, gradient = jnp.zeros((), jnp.int32), gradient_like(state.grad, grad)
        # The best point is step 0 until a trial is better, so a search that finds no decrease makes
        # no step; optax takes its last trial, uphill or not (decision 45).
        search = _Search(
            none_tried, jnp.minimum(first, longest), start, gradient, start, no, misses(start), no
        )
        search = varying_like(search, (updates, params, start))
        s = jax.lax.while_loop(
            lambda s: ~s.done & (s.tried < max_linesearch_steps), advance, search
        )
        if verbose:
            jax.debug.print(
                "zoom: step {} after {} trials, conditions missed by {} and {}",
                s.low.step,
                s.tried,
                *s.errors,
            )
        info = ZoomLinesearchInfo(s.tried, *s.errors)
        scaled = leafwise(lambda u: weak_typed(s.low.step) * u, updates)
        return scaled, ScaleByZoomLinesearchState(s.low.step, s.low.value, s.grad, info)

    return init, update


def _at_least_zero(error):
    return jnp.where(jnp.isnan(error), jnp.inf, jnp.maximum(error, 0))


def _choose(condition, a, b):
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), a, b)


def _between(low, high):
    """Choose a step inside an interval: the minimum of the cubic through both ends, else of the
    parabola, else the middle.
    """
    width, rise = high.step - low.step, high.value - low.value
    mean = rise / width  # what is divided by 0, here or below, is never inside
    d1 = low.slope + high.slope - 3 * mean
    # NaN where the cubic has no minimum
    d2 = jnp.sign(width) * sqrt(d1 * d1 - low.slope * high.slope)
    cubic = high.step - width * ((high.slope + d2 - d1) / (high.slope - low.slope + 2 * d2))
    parabola = low.step - width * (low.slope / (2 * (mean - low.slope)))

    def inside(step):  # a tenth of the width away from both ends; false for NaN
        return jnp.abs(step - low.step - width / 2) <= 0.4 * jnp.abs(width)

    return jnp.where(
        inside(cubic), cubic, jnp.where(inside(parabola), parabola, low.step + width / 2)
    )
