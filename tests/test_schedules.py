"""Schedules against their references at 0, at every boundary, one before and one after; and their laws."""

import pickle

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optax_lite as ol
from tests.closeness import A_STEP, assert_close
from tests.methods.schedules import CASES, counts
from tests.nightly import first


def cases(most):
    """Every case; those after the first `most` of a schedule are slow."""
    marked = first(most, CASES, of=lambda case: case[0])
    ids = [f"{case[0]}-{i}" for i, case in enumerate(CASES)]
    return pytest.mark.parametrize(("name", "factory", "settings", "reference"), marked, ids=ids)


@cases(2)
def test_float64_equals_the_reference(name, factory, settings, reference, x64):
    schedule = factory(**settings)
    at = counts(name, settings)
    expected = [reference(count) for count in at]
    np.testing.assert_allclose([schedule(count) for count in at], expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(schedule(jnp.array(at)), expected, rtol=1e-12, atol=1e-13)


@cases(1)
def test_float32_equals_the_reference(name, factory, settings, reference):
    schedule = factory(**settings)
    at = counts(name, settings)
    expected = np.array([reference(count) for count in at])
    values = schedule(jnp.array(at, jnp.int32))
    assert values.dtype == jnp.float32
    assert np.max(np.abs(values - expected)) <= 2e-6 * np.max(np.abs(expected))


@pytest.mark.nightly
@cases(1)
def test_every_number_is_data(name, factory, settings, reference):
    schedule = factory(**settings)
    at = jnp.array(counts(name, settings))
    eager = schedule(at)
    assert_close(jax.jit(lambda s, t: s(t))(schedule, at), eager, ulps=A_STEP)
    gradient = jax.jit(jax.grad(lambda s: jnp.sum(s(at))))(schedule)
    chex.assert_tree_all_finite(gradient)
    assert jax.tree.structure(gradient) == jax.tree.structure(schedule)
    pair = jax.tree.map(lambda x: jnp.array([x, x * 1.1]), schedule)
    both = jax.jit(jax.vmap(lambda s: s(at)))(pair)
    other = schedule.replace({path: x * 1.1 for path, x in schedule.hyperparams.items()})
    assert_close(both, jnp.stack([eager, other(at)]), ulps=10 * A_STEP)  # a power multiplies what its base is off by


@cases(len(CASES))
def test_laws_of_the_type(name, factory, settings, reference):
    schedule = factory(**settings)
    assert schedule == factory(**settings)
    assert hash(schedule) == hash(factory(**settings))
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    assert schedule.replace(schedule.hyperparams) == schedule
    assert repr(schedule).startswith(name)


def test_boundaries_given_as_pairs_are_data():
    by_pairs = ol.piecewise_constant_schedule(1.0, ((4, 0.5), (9, 0.1)))
    by_dict = ol.piecewise_constant_schedule(1.0, {4: 0.5, 9: 0.1})
    at = jnp.arange(12)
    assert_close(by_pairs(at), by_dict(at), ulps=4)
    assert by_pairs.replace({"boundaries_and_scales/0/0": 5})(4) == 1.0


def test_a_sweep_over_warmup_lengths_is_one_program():
    steps = jnp.array([1.0, 10.0, 50.0])
    population = jax.vmap(lambda n: ol.warmup_cosine_decay_schedule(0.0, 1.0, n, 100))(steps)
    values = jax.vmap(lambda s: s(10))(population)
    expected = [ol.warmup_cosine_decay_schedule(0.0, 1.0, n, 100)(10) for n in (1, 10, 50)]
    np.testing.assert_allclose(values, expected, rtol=1e-6)


BAD = [
    (lambda: ol.linear_schedule(1.0, 0.0, 0), "transition_steps must be above 0, got 0.0"),
    (lambda: ol.cosine_decay_schedule(1.0, -5), "decay_steps must be above 0, got -5.0"),
    (lambda: ol.warmup_cosine_decay_schedule(0.0, 1.0, 10, 10), "must exceed warmup_steps=10.0, got 10.0"),
    (lambda: ol.exponential_decay(1.0, 10, 0.0), "decay_rate must be above 0"),
    (lambda: ol.join_schedules([ol.constant_schedule(1.0)], [5]), "1 schedules need 0 boundaries, got 1"),
    (lambda: ol.join_schedules([1.0, 2.0], [5]), "schedules/0 must be a schedule, got 1.0"),
    (lambda: ol.piecewise_constant_schedule(1.0, ((5, 0.1), (2, 0.1))), "the boundaries must increase"),
    (
        lambda: ol.piecewise_constant_schedule(1.0, 5),
        "must be a dict {boundary: factor} or pairs ((boundary, factor), ",
    ),
    (lambda: ol.piecewise_constant_schedule(1.0, (5, 0.1)), "((boundary, factor), ...), got (5.0, 0.1)"),
    (lambda: ol.piecewise_constant_schedule(1.0, ((5, 0.1), (7, 0.1, 0.2))), "got ((5.0, 0.1), (7.0, 0.1, 0.2))"),
    (lambda: ol.piecewise_constant_schedule(1.0, ((5,), (7,))), "got ((5.0,), (7.0,))"),
    (lambda: ol.piecewise_interpolate_schedule("cubic", 1.0), "must be 'linear' or 'cosine', got 'cubic'"),
    (lambda: ol.sgdr_schedule(3.0), "cosine_kwargs must be a list of dicts"),
    (lambda: ol.cosine_decay_schedule(1.0, steps=5), "no argument 'steps'; the nearest is decay_steps"),
    (lambda: ol.cyclic_schedule(0.1, 0.5, 0), "half_cycle_steps must be above 0"),
]


@pytest.mark.parametrize(("make", "message"), BAD, ids=[m for _, m in BAD])
def test_bad_settings_are_named(make, message):
    with pytest.raises(ValueError) as caught:
        make()
    assert message in str(caught.value)
