"""Momentum: the accumulator of heavy ball and Nesterov, and the exponential moving average."""

from typing import Any, NamedTuple

from optax_lite.core.compose import identity
from optax_lite.core.leafwise import increment, leafwise, zero_count, zeros_like
from optax_lite.core.numerics import bias_correction_factor, moving_average
from optax_lite.core.transform import Array, GradientTransformation, Number, PyTree, transform
from optax_lite.core.types import DTypeLike, ScalarOrSchedule
from optax_lite.core.validate import ArgumentError, check_below_one, check_each, check_unit_interval


def _check_momentum(**values: Any) -> None:
    # 1 sums all gradients, and games are played with less than 0 (Gidel et al. 2019); beyond these
    # the sum grows without end.
    check_each(values, "in [-1, 1]", lambda x: -1 <= x <= 1)
    check_below_one(**values)


class TraceState(NamedTuple):
    trace: PyTree  # decaying sum of g


@transform(static=("accumulator_dtype",))
def trace(
    decay: ScalarOrSchedule, nesterov: bool = False, accumulator_dtype: DTypeLike | None = None
):
    """Replace g by a decaying sum of gradients. Polyak 1964; Sutskever et al. 2013.

        t = g + decay·t
        g ← t, or g + decay·t with Nesterov

    After `scale_by_learning_rate` it is the velocity form v = decay·v - lr·g, before it the
    accumulator form; the two differ where the rate changes.

    Args:
        decay: Decay of the sum, in [-1, 1]. 1 forgets nothing; a negative one works against the
            last steps (Gidel et al. 2019, for games).
        nesterov: Use Nesterov momentum, which looks one step ahead.
        accumulator_dtype: Dtype in which the momentum is stored; None for the parameters' own.
    """
    _check_momentum(decay=decay)

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
    """Return `trace`, or the identity, which has no state, if there is no momentum."""
    if momentum is None and nesterov:
        raise ArgumentError("nesterov=True does nothing without momentum; write momentum=0.9")
    _check_momentum(momentum=momentum)
    return identity() if momentum is None else trace(momentum, nesterov, accumulator_dtype)


class EmaState(NamedTuple):
    count: Array  # updates so far, int32
    ema: PyTree  # moving average of g, not corrected


@transform(static=("accumulator_dtype",))
def ema(decay: ScalarOrSchedule, debias: bool = True, accumulator_dtype: DTypeLike | None = None):
    """Replace g by its moving average.

        m = decay·m + (1 - decay)·g
        g ← m, or m / (1 - decayᵗ) with `debias`

    It averages updates; to average the parameters, see `average_params`.

    Args:
        decay: Decay of the moving average, in [0, 1).
        debias: Divide by 1 - decayᵗ, since the average starts at 0.
        accumulator_dtype: Dtype in which the average is stored; None for the parameters' own.
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
