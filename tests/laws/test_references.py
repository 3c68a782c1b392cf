"""Every rule against its numpy reference: updates and states, step by step, from the start and from
a used state.
"""

import importlib

import jax.numpy as jnp
import pytest

from tests.methods import OWN as RULES, PROBES, ROWS
from tests.methods.compare import assert_agrees, steps_of

REFERENCED = [row for row in ROWS if row.reference]
OWN = [row for row in RULES if row.reference]


def each(rows):
    return pytest.mark.parametrize("row", rows, ids=lambda row: row.name)


@each(OWN)
def test_rule_is_its_reference(row, x64):
    """In double precision, with every value of every argument."""
    for settings in row.economical:
        assert_agrees(row, settings, jnp.float64, steps=steps_of(row))


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module in PROBES for name in PROBES[module]]
)
def test_what_no_row_can_state(module, name, x64):
    assert PROBES[module][name](vars(importlib.import_module(module)))


# A composition is compared by == with its chain, from which its numbers follow (decision 54).
@pytest.mark.nightly
@each(REFERENCED)
def test_rule_follows_its_reference(row, x64):
    """All settings of all methods, compositions too, for five steps."""
    for settings in row.settings:
        assert_agrees(row, settings, jnp.float64, steps=5)


@pytest.mark.nightly
@each(REFERENCED)
def test_rule_follows_its_reference_in_single_precision(row):
    """What is wrong with a rule shows in double precision; this is about rounding."""
    assert_agrees(row, row.settings[0], jnp.float32, steps=5)


def test_every_method_has_eight_settings():
    few = {row.name: len(row.settings) for row in REFERENCED if row.parameters}
    assert {name: count for name, count in few.items() if count < 8} == {}
