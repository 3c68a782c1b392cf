"""Every rule against its numpy reference: updates and states, five steps, from zero and from a used state."""

import jax.numpy as jnp
import pytest

from tests.agreement import worst_error
from tests.catalogue import ROWS, all_settings, is_composed


def is_repeated(row, settings):
    """Whether a setting of a composition says again what those of its parts say; two of each are not counted so."""
    return settings not in (row.settings[0], row.settings[-1]) and is_composed(row.factory(**settings))


# Seconds to compile, and again for each static choice: four settings of these are compared, the others are slow.
HEAVY = {
    "_MultiSteps", "accumulate", "add_noise", "differentially_private_aggregate", "dpsgd", "galore", "lbfgs",
    "hutchinson_estimator_diag_hessian", "mechanize", "noisy_sgd", "sam", "scale_by_factored_rms", "scale_by_lbfgs",
    "scale_by_muon", "scale_by_shampoo", "scale_by_soap", "soap",
}  # fmt: skip


def cases(most=None):
    """Every setting of every row; those after the first `most` of a row, and what says the same again, are slow."""
    found = []
    for name, row, settings in all_settings():
        limit = 4 if row.name.split(",")[0] in HEAVY else most
        is_late = limit is not None and row.settings.index(settings) >= limit
        slow = [pytest.mark.slow] * (is_late or is_repeated(row, settings))
        found.append(pytest.param(row, settings, id=name, marks=slow))
    return pytest.mark.parametrize(("row", "settings"), found)


@cases()
def test_float64_equals_the_reference(row, settings, x64):
    assert worst_error(row, settings, jnp.float64, start=False) <= row.float64


@cases(3)
def test_float64_equals_the_reference_from_a_used_state(row, settings, x64):
    if row.fresh_only:
        return
    assert worst_error(row, settings, jnp.float64, start=True) <= row.float64


# What is wrong with a rule shows in float64; here it is only about rounding, so two settings of a row are not slow.
@pytest.mark.parametrize("start", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["fresh", "used"])
@cases(2)
def test_float32_equals_the_reference(row, settings, start):
    if start and row.fresh_only:
        return
    assert worst_error(row, settings, jnp.float32, start=start) <= row.float32


def test_every_rule_has_eight_settings():
    rows = [row for row in ROWS if row.reference and row.factory.signature.parameters]
    few = {row.name: len(row.settings) for row in rows if len(row.settings) < 8}
    assert few == {}
