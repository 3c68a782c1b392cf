"""Stochastic gradient descent, plain and with momentum."""

from optax_lite.compose import chain, identity
from optax_lite.core import transform
from optax_lite.leaves import Number
from optax_lite.transforms.momentum import trace
from optax_lite.transforms.scale import scale_by_learning_rate


@transform(static=("accumulator_dtype",))
def sgd(learning_rate: Number, momentum: Number | None = None, nesterov=False, accumulator_dtype=None):
    """w ← w - lr·t with t = g + momentum·t, or t = g without momentum. Robbins & Monro 1951; Polyak 1964."""
    return chain(
        identity() if momentum is None else trace(momentum, nesterov, accumulator_dtype),
        scale_by_learning_rate(learning_rate),
    )
