"""Every rule against its numpy reference: updates and states, five steps, from zero and from a used state."""

import jax.numpy as jnp
import pytest

from tests.methods import FILES, ROWS, all_settings, is_composed
from tests.methods.compare import worst_error

# Seconds to compile, and again for each static choice: one setting of these is compared in float64, all else is slow.
HEAVY = {
    "_MultiSteps", "accumulate", "add_noise", "adafactor", "differentially_private_aggregate", "dpsgd", "flatten",
    "galore", "lbfgs", "hutchinson_estimator_diag_hessian", "mechanize", "momo_adam", "muon", "noisy_sgd", "sam",
    "scale_by_adopt", "scale_by_factored_rms", "scale_by_galore", "scale_by_lbfgs", "scale_by_muon", "scale_by_shampoo",
    "scale_by_sm3", "scale_by_soap", "schedule_free", "shampoo", "soap", "stable_adamw",
}  # fmt: skip


def cases(most, *, of_heavy=0, of_composed=0):
    """Every setting of every row; after the first `most` of a rule they are slow.

    So are they after fewer of a heavy one, and of a composition, which says again what its parts say.
    """
    found = []
    for name, row, settings in all_settings():
        limits = [most]
        limits += [of_heavy] * (row.name.split(",")[0] in HEAVY)
        limits += [of_composed] * is_composed(row.factory(**settings))
        slow = [pytest.mark.slow] * (row.settings.index(settings) >= min(limits))
        found.append(pytest.param(row, settings, id=name, marks=slow))
    return pytest.mark.parametrize(("row", "settings"), found)


@cases(3, of_heavy=1, of_composed=1)
def test_float64_equals_the_reference(row, settings, x64):
    assert worst_error(row, settings, jnp.float64, start=False) <= row.quirks.float64


# The rule is the same from there: one setting tells whether all of its memory is read.
@cases(1)
def test_float64_equals_the_reference_from_a_used_state(row, settings, x64):
    if row.quirks.fresh_only:
        return
    assert worst_error(row, settings, jnp.float64, start=True) <= row.quirks.float64


# What is wrong with a rule shows in float64; here it is only about rounding.
@pytest.mark.parametrize("start", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["fresh", "used"])
@cases(1)
def test_float32_equals_the_reference(row, settings, start):
    if start and row.quirks.fresh_only:
        return
    assert worst_error(row, settings, jnp.float32, start=start) <= row.quirks.float32


def test_every_rule_has_eight_settings():
    rows = [row for row in ROWS if row.reference and row.factory.signature.parameters]
    few = {row.name: len(row.settings) for row in rows if len(row.settings) < 8}
    assert few == {}


def test_no_two_rows_share_a_name():
    assert len({row.name for row in ROWS}) == len(ROWS)


# Modules whose methods are variants of those in another file.
SHARED = {"schedule_free_methods": "schedule_free"}


@pytest.mark.parametrize("name", [name for name, file in FILES.items() if hasattr(file, "ROWS")])
def test_a_file_is_named_for_the_module_of_its_rows(name):
    modules = {row.factory.__module__.split(".")[-1] for row in FILES[name].ROWS}
    assert {SHARED.get(module, module) for module in modules} == {name}
