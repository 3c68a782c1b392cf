"""Which cases of a test are slow: those that say again, with other settings, what the ones before them say."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest


def slow_where(is_slow: Callable[[Any], bool], cases: Iterable) -> list:
    """The cases for `parametrize`; those of which `is_slow` is true are marked so."""
    return [
        pytest.param(*(case if type(case) is tuple else (case,)), marks=[pytest.mark.slow] * bool(is_slow(case)))
        for case in cases
    ]


def slow_after(most: int, cases: Iterable, of: Callable[[Any], Any] = lambda case: None) -> list:
    """The cases for `parametrize`; those after the first `most` of a kind, as `of` tells it, are marked slow."""
    seen: dict[Any, int] = {}

    def is_late(case):
        seen[of(case)] = seen.get(of(case), 0) + 1
        return seen[of(case)] > most

    return slow_where(is_late, cases)
