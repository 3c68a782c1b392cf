"""Tell numbers apart from other values, and write them as text for pictures, tables and progress
bars.
"""

from collections.abc import Sequence
from typing import Any, TypeGuard

import numpy as np

_MOST_DIGITS = 6


def is_whole(x: Any) -> TypeGuard[int]:
    """Tell whether x is an integer of Python or NumPy, and no bool."""
    return isinstance(x, (int, np.integer)) and not isinstance(x, bool)


def is_real(x: Any) -> TypeGuard[float]:
    """Tell whether x is an integer or a float of Python or NumPy, and no bool."""
    return is_whole(x) or isinstance(x, (float, np.floating))


def is_list(x: Any) -> TypeGuard[Sequence[Any]]:
    """Tell whether x is a sequence or an array, and no string."""
    return isinstance(x, (Sequence, np.ndarray)) and not isinstance(x, (str, bytes))


def show_number(x: float, digits: int = 3) -> str:
    """Return x with some significant digits, and without an exponent from 1e-4 to 1e4: 108 and
    1234, not 1.1e+02 and 1.23e+03.
    """
    is_whole = 10 ** (digits - 1) <= abs(x) < 1e4
    return f"{x:.0f}" if is_whole else f"{x:.{digits}g}"


def show_numbers(values: Sequence[float], digits: int = 3) -> list[str]:
    """Return several numbers as text; those that differ but look alike get more digits."""
    shown = [show_number(x, digits) for x in values]
    for more in range(digits + 1, _MOST_DIGITS + 1):
        meant: dict[str, set[float]] = {}
        for x, text in zip(values, shown, strict=True):
            meant.setdefault(text, set()).add(x)
        shown = [
            show_number(x, more) if len(meant[text]) > 1 else text
            for x, text in zip(values, shown, strict=True)
        ]
    return shown
