"""Momentum (Polyak 1964; Nesterov: Sutskever et al. 2013) and exponential moving averages."""

import numpy as np

import optax_lite as ol
from tests.methods.row import Quirks, Row, decay_bad, fast, over, slow


def trace(g, s, w, *, decay, nesterov):
    """Momentum accumulator (Polyak 1964; Nesterov form as rewritten from Sutskever et al. 2013)."""
    t = np.zeros_like(g) if s is None else s["trace"]
    t = g + decay * t
    # The look-ahead adds the decayed NEW accumulator to the gradient once more.
    u = g + decay * t if nesterov else t
    return u, {"trace": t}


def ema(g, s, w, *, decay, debias):
    """Exponential moving average with optional bias correction (Kingma & Ba 2015, section 3)."""
    count = (0 if s is None else s["count"]) + 1
    e = np.zeros_like(g) if s is None else s["ema"]
    e = decay * e + (1 - decay) * g
    u = e / (1 - decay**count) if debias else e
    return u, {"count": count, "ema": e}


trace_settings = (
    *over(decay=(0.0, 0.5, 0.9, 0.99), nesterov=(False, True)),
    {"decay": 1.0},
    {"decay": -0.5, "nesterov": True},
    {"decay": fast},
    {"decay": slow, "nesterov": True},
)


ROWS: tuple[Row, ...] = (
    Row(
        ol.trace,
        trace,
        trace_settings,
        (
            ({"decay": 1.5}, "decay must be in [-1, 1], got 1.5"),
            ({"decay": 1 - 1e-9}, "decay must be below 1, got 0.999999999"),
            decay_bad[1],
            (
                {"decay": 0.9, "accumulator_dtype": "int8"},
                "accumulator_dtype must be a floating dtype",
            ),
        ),
        quirks=Quirks(unlike=("accumulator_dtype",)),
    ),
    Row(
        ol.ema,
        ema,
        (
            *over(decay=(0.0, 0.5, 0.9, 0.999), debias=(False, True)),
            {"decay": fast},
            {"decay": slow, "debias": False},
        ),
        decay_bad,
        quirks=Quirks(unlike=("accumulator_dtype",)),
    ),
)
