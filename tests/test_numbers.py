"""Low precision, norms, counters and NaN: the cases in which optimizers are silently wrong."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optax_lite as ol
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
    "make", [lambda b2: ol.scale_by_adam(b2=b2), lambda b2: ol.scale_by_rms(b2)], ids=["adam", "rms"]
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
    assert_close(final(jnp.bfloat16), final(jnp.float32), ulps=21 * 4)  # a product and a sum in each of 21 updates


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
    for tx in (scaled, ol.chain(scaled), ol.named_chain(("a", scaled)), ol.masked(scaled, {"w": True})):
        state = tx.init({"w": jnp.ones(())})
        seen = []
        for _ in range(3):
            updates, state = tx.update({"w": jnp.ones(())}, state)
            seen.append(float(updates["w"]))
        assert seen == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("b1", [0, 0.0, 0.9, 0.999999], ids=str)
@pytest.mark.parametrize("count", [0, 1, 999_999, np.iinfo(np.int32).max - 1, np.iinfo(np.int32).max])
def test_bias_correction_holds_at_every_beta_and_count(b1, count):
    tx = ol.scale_by_adam(b1=b1)
    state = tx.init(jnp.ones(2))._replace(count=jnp.int32(count))
    updates, new = tx.update(jnp.ones(2), state)
    chex.assert_tree_all_finite((updates, new))
    assert int(new.count) == min(count + 1, np.iinfo(np.int32).max)
    t = min(count + 1, np.iinfo(np.int32).max)
    b = np.float64(np.float32(b1))
    b2 = np.float64(np.float32(0.999))
    expected = (1 - b) / (-np.expm1(t * np.log(b)) if b else 1.0) / np.sqrt((1 - b2) / -np.expm1(t * np.log(b2)))
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
    tx = ol.chain(ol.clip_by_global_norm(1.0), ol.adamw(ol.cosine_decay_schedule(0.1, 20), mask="w"))
    p = {"w": jnp.ones(3), "b": jnp.ones(2)}
    state = tx.init(p)
    step = jax.jit(lambda tx, g, s, p: tx.step(g, s, p))
    step(tx, p, state, p)
    with count_lowerings() as count:
        for path, x in tx.hyperparams.items():
            step(tx.replace({path: 0.5 * x}), p, state, p)
    assert count() == 0
