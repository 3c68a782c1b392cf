"""Every rule against its numpy reference: updates and states, five steps, from zero and from a used state."""

import jax.numpy as jnp
import pytest

from tests.agreement import worst_error
from tests.catalogue import ROWS, all_settings, is_composed


def is_repeated(row, settings):
    """Whether a setting of a composition says again what those of its parts say; two of each are not counted so."""
    return settings not in (row.settings[0], row.settings[-1]) and is_composed(row.factory(**settings))


CASES = [
    pytest.param(row, settings, id=name, marks=[pytest.mark.slow] * is_repeated(row, settings))
    for name, row, settings in all_settings()
]


@pytest.mark.parametrize("start", [False, True], ids=["fresh", "used"])
@pytest.mark.parametrize(("row", "settings"), CASES)
def test_float64_equals_the_reference(row, settings, start, x64):
    if start and row.fresh_only:
        return
    assert worst_error(row, settings, jnp.float64, start=start) <= row.float64


@pytest.mark.parametrize("start", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["fresh", "used"])
@pytest.mark.parametrize(("row", "settings"), CASES)
def test_float32_equals_the_reference(row, settings, start):
    if start and row.fresh_only:
        return
    assert worst_error(row, settings, jnp.float32, start=start) <= row.float32


def test_every_rule_has_eight_settings():
    rows = [row for row in ROWS if row.reference and row.factory.signature.parameters]
    few = {row.name: len(row.settings) for row in rows if len(row.settings) < 8}
    assert few == {}
