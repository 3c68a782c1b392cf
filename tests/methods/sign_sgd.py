"""signSGD and Signum (Bernstein et al. 2018)."""

import numpy as np

import optax_lite as ol
from tests.methods.row import Quirks, Row, fast, over, rate, rate_bad


def sign_sgd(g, s, w, *, learning_rate):
    """signSGD (Bernstein et al. 2018, Algorithm 1)."""
    size = np.abs(g)
    return -learning_rate * np.where(size > 0, g / np.where(size > 0, size, 1.0), 0.0), {}


def signum(g, s, w, *, learning_rate, beta):
    """Signum (Bernstein et al. 2018, Algorithm 2): sign of the averaged gradient."""
    count = (0 if s is None else s["count"]) + 1
    m = np.zeros_like(g) if s is None else s["ema"]
    m = beta * m + (1 - beta) * g
    # No bias correction: a positive factor would not change the sign.
    size = np.abs(m)
    u = -learning_rate * np.where(size > 0, m / np.where(size > 0, size, 1.0), 0.0)
    return u, {"count": count, "ema": m}


def sign_sgd_parts(lib, learning_rate):
    return lib.chain(lib.scale_by_sign(), lib.scale_by_learning_rate(learning_rate))


def signum_parts(lib, learning_rate, beta=0.9, accumulator_dtype=None):
    return lib.chain(
        lib.ema(decay=beta, debias=False, accumulator_dtype=accumulator_dtype),
        lib.scale_by_sign(),
        lib.scale_by_learning_rate(learning_rate),
    )


ROWS: tuple[Row, ...] = (
    Row(
        ol.sign_sgd,
        sign_sgd,
        tuple({"learning_rate": r} for r in (0.0, 1e-6, 0.1, 1, -1, 30, rate, fast)),
        rate_bad,
        stands_for=sign_sgd_parts,
    ),
    Row(
        ol.signum,
        signum,
        ({"learning_rate": 0.1}, *over(learning_rate=(0.1, rate), beta=(0.0, 0.5, 0.9, fast))),
        (*rate_bad, ({"learning_rate": 0.1, "beta": 1}, "beta must be in [0, 1), got 1.0")),
        stands_for=signum_parts,
        quirks=Quirks(unlike=("accumulator_dtype",)),
    ),
)
