"""SGD with heavy-ball (Polyak 1964) or Nesterov momentum (Sutskever et al. 2013)."""

import numpy as np

import optax_lite as ol
from tests.methods.row import Quirks, Row, fast, over, rate, rate_bad


def sgd(g, s, w, *, learning_rate, momentum, nesterov):
    """SGD with heavy-ball (Polyak 1964) or Nesterov momentum (Sutskever et al. 2013, rewritten at
    the look-ahead).
    """
    if momentum is None:
        return -learning_rate * g, {}
    t = np.zeros_like(g) if s is None else s["trace"]
    t = g + momentum * t
    direction = g + momentum * t if nesterov else t
    # The learning rate multiplies the whole accumulator, so a change of it also acts on past
    # gradients.
    return -learning_rate * direction, {"trace": t}


def sgd_parts(lib, learning_rate, momentum=None, nesterov=False, accumulator_dtype=None):
    trace = (
        lib.trace(decay=momentum, nesterov=nesterov, accumulator_dtype=accumulator_dtype)
        if momentum is not None
        else lib.identity()
    )
    return lib.chain(trace, lib.scale_by_learning_rate(learning_rate))


ROWS: tuple[Row, ...] = (
    Row(
        ol.sgd,
        sgd,
        (
            {"learning_rate": 0.1},
            {"learning_rate": rate},
            {"learning_rate": 0.1, "momentum": 0.9},
            *over(learning_rate=(0.1, rate), momentum=(0.0, 0.9), nesterov=(False, True)),
            {"learning_rate": 1, "momentum": fast, "nesterov": True},
        ),
        (
            *rate_bad,
            ({"learning_rate": 0.1, "momentum": 1.5}, "momentum must be in [-1, 1], got 1.5"),
            (
                {"learning_rate": 0.1, "nesterov": True},
                "nesterov=True does nothing without momentum; write momentum=0.9",
            ),
        ),
        stands_for=sgd_parts,
        quirks=Quirks(unlike=("accumulator_dtype",)),
    ),
)
