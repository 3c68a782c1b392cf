"""Stochastic gradient descent, plain and with momentum."""

from optax_lite._transforms.decay import with_decay_and_rate
from optax_lite._transforms.momentum import trace_if
from optax_lite.core.transform import transform
from optax_lite.core.types import DTypeLike, ScalarOrSchedule


@transform(static=("accumulator_dtype",))
def sgd(
    learning_rate: ScalarOrSchedule,
    momentum: ScalarOrSchedule | None = None,
    nesterov: bool = False,
    accumulator_dtype: DTypeLike | None = None,
):
    """Update w along the gradient, optionally with momentum. Robbins & Monro 1951; Polyak 1964.

        w ← w - lr·t with t = g + momentum·t, or t = g without momentum

    With `nesterov` the step is g + momentum·t, with the new t (Sutskever et al. 2013). For a
    constant gradient, t grows to 1/(1 - momentum) times the gradient, so divide a rate that was
    tuned without momentum by that factor.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        momentum: Decay of the momentum, in [-1, 1]. None keeps no state, while 0.0 keeps t, as
            optax does.
        nesterov: Use Nesterov momentum, which looks one step ahead.
        accumulator_dtype: Dtype in which the momentum is stored; None for the parameters' own.
    """
    return with_decay_and_rate(learning_rate, trace_if(momentum, nesterov, accumulator_dtype))
