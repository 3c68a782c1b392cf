"""State in 8 bits: each code's number listed, encoding by search among them, from the definition.

A block is stored as one exponent E, the E of its largest finite magnitude 2^E ≤ m < 2^(E+1) but at
least -95, and a code of 8 bits for each entry, 255 for what is not finite.

Without negative entries: code 0 is 0, codes 1..254 are the 254 largest numbers with 3 bits behind
the binary point of their mantissa, up to 2^(E+1). Nothing positive becomes 0: what is below the
least of them becomes the least.

With negative entries: the first bit is the sign, the others are 0..120 for 0 and the 120 least of
the multiples of 2^(E-16) that have 3 such bits, up to 2^(E+1); 127 stands for what is not finite.
"""

import numpy as np

import optax_lite as ol
from tests.methods.bases import adaptive, bad_tx, plain
from tests.methods.row import Quirks, Row

LEAST = -95


def exponent(block):
    """E of a block."""
    finite = np.abs(block[np.isfinite(block)]).max(initial=0.0)
    return max(LEAST, int(np.floor(np.log2(finite)))) if finite > 0 else LEAST


def grid(e, signed):
    """The magnitudes that codes 0, 1, 2, ... stand for, in order."""
    if signed:
        small = [k * 2.0 ** (e - 16) for k in range(8)]
        numbers = [
            *small,
            *((1 + j / 8) * 2.0**x for x in range(e - 13, e + 1) for j in range(8)),
            2.0 ** (e + 1),
        ]
    else:
        descending = [
            2.0 ** (e + 1),
            *((1 + j / 8) * 2.0**x for x in range(e, e - 33, -1) for j in range(7, -1, -1)),
        ]
        numbers = [0.0, *descending[:254][::-1]]
    return np.array(numbers if e < 127 else numbers[:-1])  # 2^128 is no float32


def neighbours(block):
    """For each entry the number of the grid below or at its magnitude, and the one above or at it,
    with its sign.
    """
    signed = bool(np.any(block < 0))
    numbers = grid(exponent(block), signed)
    magnitude = np.minimum(np.where(np.isfinite(block), np.abs(block), 0.0), numbers[-1])
    if not signed:
        magnitude = np.where(magnitude > 0, np.maximum(magnitude, numbers[1]), 0.0)
    down = numbers[np.searchsorted(numbers, magnitude, side="right") - 1]
    up = numbers[np.searchsorted(numbers, magnitude, side="left")]
    sign = np.where(block < 0, -1.0, 1.0)
    return np.where(np.isfinite(block), sign * down, np.nan), np.where(
        np.isfinite(block), sign * up, np.nan
    )


def chance_of_farther(block):
    """With this probability an entry is stored as the neighbour farther from 0: then the mean is
    the entry.
    """
    down, up = neighbours(block)
    # what is below the least positive number is that number
    held = np.clip(np.abs(block), np.abs(down), np.abs(up))
    return np.where(
        np.abs(up) > np.abs(down),
        (held - np.abs(down)) / np.where(up != down, np.abs(up - down), 1),
        0.0,
    )


ROWS: tuple[Row, ...] = (
    Row(
        ol.quantize_state,
        # what it stores is random; tests/test_quantize.py compares the codes with their reference
        None,
        ({"tx": adaptive, "block": 4, "min_size": 1},),
        (
            bad_tx,
            ({"tx": plain, "bits": 4}, "bits must be 8, got 4"),
            ({"tx": plain, "block": 0}, "block must be an integer of at least 1, got 0"),
            ({"tx": plain, "min_size": 0.5}, "min_size must be an integer of at least 1, got 0.5"),
            ({"tx": plain, "seed": "x"}, "seed must be an int or a key"),
            ({"tx": plain, "keep": 3}, "keep must be a pattern of paths or a list of them, got 3"),
            (
                {"tx": ol.accumulate(plain, 2)},
                "accumulate is inside, so calls that move nothing would still round",
            ),
            (
                {"tx": ol.apply_every(2)},
                "apply_every is inside, so calls that move nothing would still round",
            ),
            (
                {"tx": ol.lbfgs()},
                "scale_by_lbfgs is inside, which takes differences of stored points, which "
                "rounding would spoil",
            ),
            (
                {"tx": ol.rmsprop(0.1, centered=True)},
                "scale_by_stddev is inside, which takes the difference of two",
            ),
            (
                {"tx": ol.cocob()},
                "scale_by_cocob is inside, which computes the parameters from its sums; keep its "
                "state",
            ),
            (
                {"tx": ol.galore(0.1)},
                "scale_by_galore is inside, which keeps bases in its slots; pass quantize_",
            ),
        ),
        quirks=Quirks(random=True),
    ),
)
