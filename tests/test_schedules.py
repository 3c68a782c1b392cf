"""Schedules against their references at 0, at every boundary, one before and one after; and their
laws.
"""

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

PROVES = ("_schedules",)


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


@cases(1)
def test_closed_over_or_passed_and_for_one_count_or_many_it_is_the_same_bits(
    name, factory, settings, reference
):
    assert_one_program(factory(**settings), counts(name, settings))


@pytest.mark.parametrize(
    ("schedule", "at"),
    [
        (ol.exponential_decay(0.3, 41, 0.7, staircase=True), [40, 41, 82, 123]),
        (ol.cosine_onecycle_schedule(100, 0.3, 0.53, 7.0, 11.0), [1, 52, 53, 54, 99, 100]),
        (1 / ol.linear_schedule(0.3, 0.1, 41), [*range(42)]),
    ],
    ids=["staircase", "peak", "quotient"],
)
def test_quotients_that_are_not_exact_are_the_same_bits(schedule, at):
    assert_one_program(schedule, at)


def assert_one_program(schedule, counts):
    at = jnp.array(counts, jnp.int32)
    passed, closed = (
        jax.jit(lambda schedule, count: schedule(count)),
        jax.jit(lambda count: schedule(count)),
    )
    expected = passed(schedule, at)
    np.testing.assert_array_equal(closed(at), expected)
    np.testing.assert_array_equal([passed(schedule, k) for k in at], expected)
    np.testing.assert_array_equal([closed(k) for k in at], expected)


def test_a_staircase_goes_down_at_every_multiple_of_its_period():
    periods = np.arange(1, 101)
    stairs = jax.vmap(lambda p: ol.exponential_decay(1.0, p, 0.5, staircase=True))(
        jnp.asarray(periods, jnp.float32)
    )
    for k in (1, 3, 11):
        at = jnp.asarray(k * periods)
        before, now = (jax.vmap(lambda s, count: s(count))(stairs, count) for count in (at - 1, at))
        np.testing.assert_array_equal(before, 0.5 ** (k - 1) * np.ones(100))
        np.testing.assert_array_equal(now, 0.5**k * np.ones(100))


@pytest.mark.parametrize("boundary", [2**24 + 4, 2**30, 20_000_000_000], ids=str)
def test_no_boundary_comes_early_or_late_where_float32_has_no_odd_numbers(boundary):
    step = ol.piecewise_constant_schedule(1.0, {boundary: 0.5})
    join = ol.join_schedules([ol.constant_schedule(1.0), ol.constant_schedule(0.5)], [boundary])
    ramp = ol.linear_schedule(1.0, 0.5, boundary)  # 2⁻²⁴ short of its end it is not there yet
    for schedule in (step, join):
        for kind in (int, np.int64) if boundary < 2**31 else (int, np.int64, np.uint64):
            assert [float(schedule(kind(k))) for k in (boundary - 1, boundary, boundary + 1)] == [
                1.0,
                0.5,
                0.5,
            ]
        np.testing.assert_array_equal(
            schedule(np.array([0, boundary - 1, boundary])), [1.0, 1.0, 0.5]
        )
    assert float(ramp(boundary)) == 0.5


def test_counts_beyond_int32_are_not_wrapped():
    by_tokens = ol.warmup_cosine_decay_schedule(0.0, 3e-4, 20_000_000_000, 2_000_000_000_000, 3e-5)
    for count in (np.int64(10_000_000_000), 10_000_000_000, 1e10, np.uint64(10_000_000_000)):
        np.testing.assert_allclose(by_tokens(count), 1.5e-4, rtol=1e-6)
    assert by_tokens(2**31 - 1) == by_tokens(np.int64(2**31 - 1)) == by_tokens(jnp.int32(2**31 - 1))
    np.testing.assert_allclose(ol.bias_correction_factor(1 - 2.0**-24, np.int64(2**33)), 1.0)


def test_one_cycle_peaks_at_its_share_and_phases_end_exactly():
    at = jnp.arange(101)
    assert int(jnp.argmax(ol.cosine_onecycle_schedule(100, 1.0, pct_start=0.53)(at))) == 53
    assert (
        int(jnp.argmax(ol.linear_onecycle_schedule(100, 1.0, pct_start=0.29, pct_final=0.57)(at)))
        == 29
    )
    assert (
        int(jnp.argmax(ol.linear_onecycle_schedule(99, 1.0, pct_start=0.5, pct_final=0.6)(at)))
        == 49
    ), "down"
    ends = {
        ol.warmup_stable_decay_schedule(0.0, 1.0, 41, 10, 61): {0: 0.0, 41: 1.0, 51: 1.0, 112: 0.0},
        ol.polynomial_schedule(0.3, 0.1, 2.0, 41): {0: 0.3, 41: 0.1, 42: 0.1},
        ol.cosine_decay_schedule(0.3, 41, 0.0, 1.3): {0: 0.3, 41: 0.0},
        ol.warmup_cosine_decay_schedule(0.1, 0.7, 41, 102, 0.3): {
            0: 0.1,
            41: 0.7,
            102: 0.3,
            200: 0.3,
        },
        ol.inverse_sqrt_schedule(0.3, 41): {41: 0.3, 164: 0.15},
        ol.cyclic_schedule(0.1, 0.7, 41): {0: 0.1, 41: 0.7, 82: 0.1, 123: 0.7},
        ol.cosine_onecycle_schedule(100, 0.3, 0.41, 4.0, 8.0): {0: 0.075, 41: 0.3, 100: 0.075 / 8},
    }
    found = jax.jit(
        lambda schedules, counts: [
            schedule(at) for schedule, at in zip(schedules, counts, strict=True)
        ]
    )([*ends], [jnp.array([*values]) for values in ends.values()])
    for now, (schedule, values) in zip(found, ends.items(), strict=True):
        np.testing.assert_array_equal(
            now, np.array([*values.values()], np.float32), err_msg=repr(schedule)
        )


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
    # a power multiplies what its base is off by
    assert_close(both, jnp.stack([eager, other(at)]), ulps=10 * A_STEP)


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
    (
        lambda: ol.warmup_cosine_decay_schedule(0.0, 1.0, 10, 10),
        "must exceed warmup_steps=10.0, got 10.0",
    ),
    (lambda: ol.exponential_decay(1.0, 10, 0.0), "decay_rate must be above 0"),
    (
        lambda: ol.join_schedules([ol.constant_schedule(1.0)], [5]),
        "1 schedules need 0 boundaries, got 1",
    ),
    (lambda: ol.join_schedules([1.0, 2.0], [5]), "schedules/0 must be a schedule, got 1.0"),
    (
        lambda: ol.piecewise_constant_schedule(1.0, ((5, 0.1), (2, 0.1))),
        "the boundaries must increase",
    ),
    (
        lambda: ol.piecewise_constant_schedule(1.0, 5),
        "must be a dict {boundary: factor} or pairs ((boundary, factor), ",
    ),
    (
        lambda: ol.piecewise_constant_schedule(1.0, (5, 0.1)),
        "((boundary, factor), ...), got (5.0, 0.1)",
    ),
    (
        lambda: ol.piecewise_constant_schedule(1.0, ((5, 0.1), (7, 0.1, 0.2))),
        "got ((5.0, 0.1), (7.0, 0.1, 0.2))",
    ),
    (lambda: ol.piecewise_constant_schedule(1.0, ((5,), (7,))), "got ((5.0,), (7.0,))"),
    (
        lambda: ol.piecewise_interpolate_schedule("cubic", 1.0),
        "must be 'linear' or 'cosine', got 'cubic'",
    ),
    (lambda: ol.sgdr_schedule(3.0), "cosine_kwargs must be a list of dicts"),
    (
        lambda: ol.cosine_decay_schedule(1.0, steps=5),
        "no argument 'steps'; the nearest is decay_steps",
    ),
    (lambda: ol.cyclic_schedule(0.1, 0.5, 0), "half_cycle_steps must be above 0"),
]


@pytest.mark.parametrize(("make", "message"), BAD, ids=[m for _, m in BAD])
def test_bad_settings_are_named(make, message):
    with pytest.raises(ValueError) as caught:
        make()
    assert message in str(caught.value)
