"""Momentum: the accumulator of heavy ball and Nesterov, and the exponential moving average."""

from typing import Any, NamedTuple

from optax_lite.core.compose import identity
from optax_lite.core.leafwise import increment, leafwise, zero_count, zeros_like
from optax_lite.core.numerics import bias_correction_factor, moving_average
from optax_lite.core.transform import Array, GradientTransformation, Number, PyTree, transform
from optax_lite.core.validate import ArgumentError, check_unit_interval


class TraceState(NamedTuple):
    trace: PyTree  # decaying sum of g


@transform(static=("accumulator_dtype",))
def trace(decay: Number, nesterov=False, accumulator_dtype=None):
    """Replace g by t = g + decay·t, or with Nesterov by g + decay·t. Polyak 1964; Sutskever et al.
    2013.

    After `scale_by_learning_rate` it is the velocity form v = decay·v - lr·g, before it the
    accumulator form; the two differ where the rate changes.
    """
    check_unit_interval(decay=decay)

    def rule(g, t):
        t = g + decay * t
        return (g + decay * t if nesterov else t), t

    def update(updates, state):
        updates, trace = leafwise(rule, updates, state.trace)
        return updates, TraceState(trace)

    return lambda params: TraceState(zeros_like(params, accumulator_dtype)), update


def trace_if(
    momentum: Number | None, nesterov: bool, accumulator_dtype: Any = None
) -> GradientTransformation:
    """`trace`, or nothing and no state without a momentum, which Nesterov's look ahead needs."""
    if momentum is None and nesterov:
        raise ArgumentError("nesterov=True does nothing without momentum; write momentum=0.9")
    return identity() if momentum is None else trace(momentum, nesterov, accumulator_dtype)


class EmaState(NamedTuple):
    count: Array  # updates so far, int32
    ema: PyTree  # moving average of g, not corrected


@transform(static=("accumulator_dtype",))
def ema(decay: Number, debias=True, accumulator_dtype=None):
    """Replace g by its moving average m = decay·m + (1 - decay)·g, over 1 - decayᵗ with `debias`.

    It averages updates; it is no average of parameters.
    """
    check_unit_interval(decay=decay)

    def update(updates, state):
        t = increment(state.count)
        c = bias_correction_factor(decay, t) if debias else 1.0

        def rule(g, m):
            m = moving_average(decay, m, g)
            return m / c, m

        updates, ema = leafwise(rule, updates, state.ema)
        return updates, EmaState(t, ema)

    return lambda params: EmaState(zero_count(), zeros_like(params, accumulator_dtype)), update
