"""Every composition equals the chain that its row `stands_for`, in every setting, and equals itself
built again.
"""

import importlib

import pytest

from tests.methods import ROWS, is_composed
from tests.methods.composition import composition_settings, expanded, sides

COMPOSED = [row for row in ROWS if row.stands_for]


@pytest.mark.parametrize("row", COMPOSED, ids=lambda row: row.name)
def test_a_composition_is_what_it_stands_for(row):
    module = importlib.import_module(row.factory.__module__)
    for settings in composition_settings(row):
        made, expected = sides(row, settings, vars(module))
        assert made == expected, f"{row.name} with {settings} is\n{made!r}\nand not\n{expected!r}"


@pytest.mark.parametrize(
    "row",
    [row for row in ROWS if is_composed(row.factory(**row.settings[0]))],
    ids=lambda r: r.name,
)
def test_equal_calls_build_equal_compositions(row):
    for settings in row.settings:
        assert expanded(row.factory(**settings)) == expanded(row.factory(**settings))
