"""Choose which cases of a test `make test` runs: the first of each kind. The rest only repeat them
and are nightly.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest


def first(most: int, cases: Iterable, of: Callable[[Any], Any] = lambda case: None) -> list:
    """Mark the cases for `parametrize` that come after the first `most` of their kind, as `of`
    tells it.
    """
    seen: Counter = Counter()
    marked = []
    for case in cases:
        seen[of(case)] += 1
        marks = [pytest.mark.nightly] * (seen[of(case)] > most)
        marked.append(pytest.param(*(case if type(case) is tuple else (case,)), marks=marks))
    return marked
