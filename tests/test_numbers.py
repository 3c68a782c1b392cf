"""Low precision, norms, counters and NaN: the cases in which optimizers are silently wrong."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optax_lite as ol
from optax_lite.core.numerics import over
from optax_lite.core.validate import ArgumentError
from tests.closeness import assert_close
from tests.compilations import count_lowerings
from tests.methods.compare import slots

OPTIMIZERS = {
    "sgd": ol.sgd(0.1, 0.9),
    "rmsprop": ol.rmsprop(0.1, momentum=0.9, centered=True, bias_correction=True),
    "adagrad": ol.adagrad(0.1),
    "adamw": ol.adamw(0.1),
    "nadam": ol.nadam(0.1),
    "signum": ol.signum(0.1),
    "clipped": ol.chain(ol.clip_by_global_norm(1.0), ol.adam(0.1)),
}
optimizers = pytest.mark.parametrize("tx", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())


@pytest.mark.parametrize("b2", [0.999, 0.9999])
@pytest.mark.parametrize(
    "make",
    [lambda b2: ol.scale_by_adam(b2=b2), lambda b2: ol.scale_by_rms(b2)],
    ids=["adam", "rms"],
)
def test_the_second_moment_of_bfloat16_parameters_decays_as_in_float32(make, b2):
    def final(dtype):
        p = jnp.ones(4, dtype)
        tx = make(b2)
        state = tx.init(p)
        _, state = tx.update(p, state)
        for _ in range(20):
            _, state = tx.update(0 * p, state)
        return slots(state)["nu"][0]

    assert final(jnp.bfloat16).dtype == jnp.float32
    # a product and a sum in each of 21 updates
    assert_close(final(jnp.bfloat16), final(jnp.float32), ulps=21 * 4)


@optimizers
def test_bfloat16_parameters_follow_float32_on_small_steps_within_their_rounding(tx):
    p16, p32 = jnp.full(3, 1.0, jnp.bfloat16), jnp.full(3, 1.0)
    s16, s32 = tx.init(p16), tx.init(p32)
    for _ in range(3):
        p16, s16 = tx.step(p16, s16, p16)
        p32, s32 = tx.step(p32, s32, p32)
    np.testing.assert_allclose(p16.astype(jnp.float32), p32, rtol=0.03)


@optimizers
def test_a_nan_stays_in_its_leaf_unless_a_norm_sees_it(tx):
    p = {"bad": jnp.ones(2), "good": jnp.ones(2)}
    g = {"bad": jnp.array([jnp.nan, 1.0]), "good": jnp.ones(2)}
    updates, _ = tx.update(g, tx.init(p), p)
    assert jnp.isnan(updates["bad"][0])
    if "clip" not in repr(tx):
        assert jnp.all(jnp.isfinite(updates["good"])) and jnp.isfinite(updates["bad"][1])


def test_a_schedule_is_read_at_zero_first_in_every_composition():
    line = ol.linear_schedule(1.0, 11.0, 10)
    scaled = ol.scale(line)
    for tx in (
        scaled,
        ol.chain(scaled),
        ol.named_chain(("a", scaled)),
        ol.masked(scaled, {"w": True}),
    ):
        state = tx.init({"w": jnp.ones(())})
        seen = []
        for _ in range(3):
            updates, state = tx.update({"w": jnp.ones(())}, state)
            seen.append(float(updates["w"]))
        assert seen == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("b1", [0, 0.0, 0.9, 0.999999], ids=str)
@pytest.mark.parametrize(
    "count", [0, 1, 999_999, np.iinfo(np.int32).max - 1, np.iinfo(np.int32).max]
)
def test_bias_correction_holds_at_every_beta_and_count(b1, count):
    tx = ol.scale_by_adam(b1=b1)
    state = tx.init(jnp.ones(2))._replace(count=jnp.int32(count))
    updates, new = tx.update(jnp.ones(2), state)
    chex.assert_tree_all_finite((updates, new))
    assert int(new.count) == min(count + 1, np.iinfo(np.int32).max)
    t = min(count + 1, np.iinfo(np.int32).max)
    b = np.float64(np.float32(b1))
    b2 = np.float64(np.float32(0.999))
    expected = (
        (1 - b)
        / (-np.expm1(t * np.log(b)) if b else 1.0)
        / np.sqrt((1 - b2) / -np.expm1(t * np.log(b2)))
    )
    np.testing.assert_allclose(updates, expected, rtol=2e-6)


def test_clipping_exactly_at_the_threshold_changes_nothing():
    g = {"w": jnp.array([3.0, 4.0])}
    chex.assert_trees_all_equal(ol.clip_by_global_norm(5.0).update(g, ol.EmptyState())[0], g)
    chex.assert_trees_all_equal(ol.clip(4.0).update(g, ol.EmptyState())[0], g)


@pytest.mark.parametrize("max_norm", [0.0, 1.0])
def test_clipping_a_zero_gradient_is_zero(max_norm):
    g = {"w": jnp.zeros(2, jnp.float16)}
    chex.assert_trees_all_equal(ol.clip_by_global_norm(max_norm).update(g, ol.EmptyState())[0], g)


def test_clipping_float16_gradients_whose_norm_overflows_float16():
    g = {"w": jnp.full(4, 6e4, jnp.float16)}
    updates, _ = ol.clip_by_global_norm(1.0).update(g, ol.EmptyState())
    np.testing.assert_allclose(updates["w"].astype(jnp.float32), 0.5, rtol=1e-3)


def test_resuming_a_run_equals_going_on_bit_for_bit():
    tx = ol.adamw(ol.cosine_decay_schedule(0.1, 20))
    p = {"w": jnp.ones(3)}
    state = tx.init(p)
    trail = []
    for i in range(6):
        p, state = tx.step({"w": jnp.full(3, 0.1 * i)}, state, p)
        trail.append(jax.device_get((p, state)))
    p, state = jax.tree.map(jnp.asarray, trail[2])
    for i in range(3, 6):
        p, state = tx.step({"w": jnp.full(3, 0.1 * i)}, state, p)
    chex.assert_trees_all_equal(jax.device_get((p, state)), trail[-1])


def test_changing_any_number_of_a_chain_compiles_nothing():
    tx = ol.chain(
        ol.clip_by_global_norm(1.0), ol.adamw(ol.cosine_decay_schedule(0.1, 20), mask="w")
    )
    p = {"w": jnp.ones(3), "b": jnp.ones(2)}
    state = tx.init(p)
    step = jax.jit(lambda tx, g, s, p: tx.step(g, s, p))
    step(tx, p, state, p)
    with count_lowerings() as count:
        for path, x in tx.hyperparams.items():
            step(tx.replace({path: 0.5 * x}), p, state, p)
    assert count() == 0


NOT_HELD = {
    "eps": (
        lambda: ol.adam(1e-3, eps=1e-50),
        "adam: eps must fit in JAX's default float, got 1e-50, which is 0 in float32",
    ),
    "subnormal": (
        lambda: ol.adam(1e-3, eps=1e-40),
        "got 1e-40, which is 0 in float32; the smallest number above 0 is 1.2e-38",
    ),
    "negative": (
        lambda: ol.scale(-1e-50),
        "scale: step_size must fit in JAX's default float, got -1e-50, which is 0",
    ),
    "rate": (
        lambda: ol.sgd(1e100),
        "got 1e+100, which is infinite in float32; the largest number is 3.4e+38",
    ),
    "integer": (
        lambda: ol.sgd(10**400),
        "learning_rate must fit in JAX's default float, got 10000000000000000000..., which is infi",
    ),
    "of numpy": (lambda: ol.sgd(np.float64(1e100)), "got 1e+100, which is infinite"),
    "array of numpy": (lambda: ol.sgd(np.array(1e100)), "got 1e+100, which is infinite"),
    "replaced": (lambda: ol.adam(1e-3).replace(eps=1e-50), "adam.replace: eps must fit"),
    "in a dict": (
        lambda: ol.piecewise_constant_schedule(1.0, {10: 1e100}),
        "boundaries_and_scales/10 must fit in",
    ),
    "boundary": (
        lambda: ol.piecewise_constant_schedule(1.0, {1e100: 0.1}),
        "boundary 0 must fit in",
    ),
    "decay": (
        lambda: ol.adam(1e-3, b2=1 - 1e-9),
        "b2 must be below 1, got 0.999999999, which is 1 in float32; the largest number ",
    ),
    "average": (
        lambda: ol.ema(1 - 1e-9),
        "ema: decay must be below 1, got 0.999999999, which is 1 in float32",
    ),
    "sum": (lambda: ol.scale_by_sm3(b2=1 - 1e-9), "b2 must be below 1, got 0.999999999"),
    "schedule": (
        lambda: ol.exponential_decay(1.0, 1, 1 - 1e-9),
        "decay_rate must be below 1, got 0.999999999",
    ),
}


@pytest.mark.parametrize(("make", "message"), NOT_HELD.values(), ids=NOT_HELD.keys())
def test_a_number_that_float32_turns_into_another_is_named_when_it_is_given(make, message):
    with pytest.raises(ArgumentError) as caught:
        make()
    assert message in str(caught.value)


def test_numbers_that_only_lose_digits_are_accepted_and_so_is_infinity():
    assert ol.clip_by_global_norm(math.inf).hyperparams["max_norm"] == math.inf
    for tx in (
        ol.sgd(3.4028235e38),
        ol.adam(0.1 + 1e-17, eps=1.2e-38, b2=1 - 6e-8),
        ol.scale_by_sm3(b2=1.0),
        ol.sgd(0.0),
    ):
        assert tx == tx.replace(tx.hyperparams)
    assert math.isnan(ol.sgd(math.nan).hyperparams["learning_rate"])
    assert ol.sgd(1 - 1e-9).hyperparams["learning_rate"] == 1 - 1e-9, "no decay"


LIMITS = {
    "clip": lambda limit: ol.clip(limit),
    "clip_by_global_norm": lambda limit: ol.clip_by_global_norm(limit),
    "replaced": lambda limit: ol.chain(ol.clip_by_global_norm(1.0), ol.sgd(1.0)).replace(
        max_norm=limit
    ),
    "clip_by_block_rms": lambda limit: ol.clip_by_block_rms(limit),
    "adaptive_grad_clip": lambda limit: ol.adaptive_grad_clip(limit),
    "adafactor": lambda limit: ol.adafactor(0.1, clipping_threshold=limit),
    "mars": lambda limit: ol.mars(max_norm=limit),
    "rprop": lambda limit: ol.rprop(0.1, max_step_size=limit),
    "skip_bad_steps": lambda limit: ol.skip_bad_steps(ol.sgd(0.1), outlier=limit),
    "polyak_sgd": lambda limit: ol.polyak_sgd(limit),
}


@pytest.mark.parametrize("make", LIMITS.values(), ids=LIMITS.keys())
def test_a_limit_beyond_float32_counts_as_no_limit(make):
    assert make(1e300) == make(math.inf)
    g = {"w": jnp.array([3.0, -4.0])}

    def moved(tx):
        return tx.update(g, tx.init(g), g, value=1.0)[0]["w"]

    np.testing.assert_array_equal(moved(make(1e300)), moved(make(1e30)))


def test_in_float64_they_are_numbers_like_others(x64):
    tx = ol.adam(1e100, eps=1e-50, b2=1 - 1e-9)
    assert tx.hyperparams["eps"] == 1e-50
    with pytest.raises(ArgumentError, match="infinite in float64; the largest number is"):
        ol.sgd(10**400)


def test_without_eps_entries_without_gradient_stay_and_others_are_the_quotient():
    x, y = jnp.array([0.0, 1.0, -3.0, jnp.nan, 1.0]), jnp.array([0.0, 0.0, 7.0, 1.0, jnp.nan])
    np.testing.assert_array_equal(
        over(x, y), [0.0, 0.0, np.float32(-3) / np.float32(7), np.nan, np.nan]
    )
    slopes = jax.grad(lambda x, y: jnp.sum(over(x, y)), argnums=(0, 1))(x[:3], y[:3])
    np.testing.assert_allclose(slopes, [[0.0, 0.0, 1 / 7], [0.0, 0.0, 3 / 49]], rtol=1e-6)


def test_what_is_no_number_over_0_is_not_lost():
    assert np.isnan(over(jnp.array([jnp.inf, -jnp.inf, jnp.nan]), jnp.zeros(3))).all()


@pytest.mark.parametrize("eps_in_sqrt", [True, False])
@pytest.mark.parametrize(
    "make", [ol.scale_by_rms, ol.scale_by_stddev, ol.scale_by_rss], ids=lambda f: f.__name__
)
def test_both_places_of_eps_may_be_0(make, eps_in_sqrt):
    tx, g = make(eps=0.0, eps_in_sqrt=eps_in_sqrt), jnp.array([0.0, 2.0])
    updates, state = tx.update(g, tx.init(g))
    updates, _ = tx.update(g, state)
    assert updates[0] == 0 and 0 < updates[1] < 10


def test_sophia_and_adopt_clip_entries_without_curvature():
    """There m/0 is infinite and meant so: the bound is the step."""
    g = jnp.array([0.0, 2.0, -2.0])
    adopt = ol.scale_by_adopt(b1=0.0, eps=0.0)
    _, state = adopt.update(0 * g, adopt.init(g))
    np.testing.assert_array_equal(adopt.update(g, state)[0], [0.0, 1.0, -1.0])
    flat = ol.GradientTransformation(lambda p: (), lambda u, s, p=None: (0 * u, s))
    sophia = ol.sophia(1.0, eps=0.0, weight_decay=0.0, hessian_diagonal_fn=flat)
    np.testing.assert_array_equal(sophia.update(g, sophia.init(g), g)[0], [0.0, -1.0, 1.0])
