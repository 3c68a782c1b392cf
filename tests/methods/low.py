"""Numbers of 16 bits: neighbours read off the table of all of them, rounding by its definition."""

import ml_dtypes
import numpy as np

_TYPES = {"bfloat16": ml_dtypes.bfloat16, "float16": np.float16}


def table(dtype):
    """All finite numbers of a dtype in order, and for each whether its last bit is 0."""
    bits = np.arange(2**16, dtype=np.uint16)
    with np.errstate(invalid="ignore"):
        values = bits.view(_TYPES[dtype]).astype(np.float64)
    finite = np.isfinite(values) & (bits != 2**15)  # one zero
    order = np.argsort(values[finite])
    return values[finite][order], (bits[finite] % 2 == 0)[order]


def neighbours(x, dtype):
    """The largest number not above x and the smallest not below; the same twice where x is one of
    them.
    """
    values, _ = table(dtype)
    return values[np.searchsorted(values, x, side="right") - 1], values[
        np.searchsorted(values, x, side="left")
    ]


def chance_of_upper(x, dtype):
    """With this probability stochastic rounding goes up: then its mean is x."""
    down, up = neighbours(x, dtype)
    return np.where(up > down, (x - down) / np.where(up > down, up - down, 1.0), 0.0)


def nearest(x, dtype):
    """The nearer neighbour, of two that are as near the one whose last bit is 0."""
    values, even = table(dtype)
    down, up = neighbours(x, dtype)
    up_is_even = even[np.searchsorted(values, up)]
    return np.where((up - x < x - down) | ((up - x == x - down) & up_is_even), up, down)


def kahan(p, u, c, dtype):
    """One addition of a compensated sum (Kahan 1965): the next p, and what is still to be added to
    it.
    """
    y = u + c
    q = nearest(p + y, dtype)
    return q, nearest(y - (q - p), dtype)


def master_weights(p, u, m, dtype):
    """The copy moves, the parameter is the copy rounded; a parameter that is not was changed, and
    is copied anew.
    """
    m = np.where(nearest(m, dtype) == p, m, p) + u
    return nearest(m, dtype), m
