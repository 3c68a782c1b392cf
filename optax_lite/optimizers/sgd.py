"""Stochastic gradient descent, plain and with momentum."""

from optax_lite.aliases import Number
from optax_lite.compose import chain, identity
from optax_lite.core import transform
from optax_lite.transforms.momentum import trace
from optax_lite.transforms.scale import scale_by_learning_rate


@transform(static=("accumulator_dtype",))
def sgd(learning_rate: Number, momentum: Number | None = None, nesterov=False, accumulator_dtype=None):
    """w ← w - lr·t with t = g + momentum·t, or t = g without momentum. Robbins & Monro 1951; Polyak 1964.

    With `nesterov` the step is g + momentum·t of the new t, Sutskever et al. 2013. The sum t grows to 1/(1 - momentum)
    times a constant gradient, so a rate tuned without momentum is that much too large with it. No momentum keeps no
    state, while momentum=0.0 keeps t, as optax does.
    """
    return chain(
        identity() if momentum is None else trace(momentum, nesterov, accumulator_dtype),
        scale_by_learning_rate(learning_rate),
    )
