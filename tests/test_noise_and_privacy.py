"""Noise and per-example clipping: properties that a step-by-step comparison with a reference does
not show.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optax_lite as ol
from tests.closeness import A_STEP, assert_close
from tests.methods import dpsgd, noise
from tests.methods.clip import OF_EXAMPLES

MANY = 100_000
ROOMY = {"a": np.zeros(MANY, np.float32), "b": np.ones((MANY // 100, 100), np.float32)}


def steps(tx, grads, n, params=None):
    state, seen = tx.init(grads if params is None else params), []
    for _ in range(n):
        updates, state = tx.update(grads, state, params)
        seen.append(updates)
    return seen


# --- noise ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [0.0, 0.55, 1.0])
def test_noise_has_the_mean_and_variance_of_the_formula(gamma):
    for t, updates in enumerate(steps(ol.add_noise(0.3, gamma, 1), ROOMY, 3)):
        variance = noise.variance(eta=0.3, gamma=gamma, t=t)
        for g, u in zip(jax.tree.leaves(ROOMY), jax.tree.leaves(updates), strict=True):
            assert abs(np.mean(u - g)) < 5 * np.sqrt(variance / MANY)
            assert np.var(u - g) == pytest.approx(variance, rel=5 * np.sqrt(2 / MANY))


def test_noise_on_complex_numbers_has_the_same_variance_in_both_parts_together():
    (updates,) = steps(ol.add_noise(0.3, 0.0), jnp.zeros(MANY, complex), 1)
    assert np.mean(np.abs(updates) ** 2) == pytest.approx(0.3, rel=0.02)
    assert np.var(updates.real) == pytest.approx(0.15, rel=0.03)


def test_noise_differs_by_leaf_step_entry_and_seed():
    zeros = {"a": jnp.zeros(50), "b": jnp.zeros(50)}
    tx = ol.add_noise(1.0, 0.0, 5)
    drawn = [x for updates in steps(tx, zeros, 3) for x in jax.tree.leaves(updates)]
    drawn += jax.tree.leaves(steps(ol.add_noise(1.0, 0.0, 6), zeros, 1))
    assert len(np.unique(np.concatenate(drawn))) == 50 * len(drawn)


@pytest.mark.parametrize(
    "same",
    [
        {"key": 5},
        {"seed": 5},
        {"key": np.int64(5)},
        {"key": jax.random.key(5)},
        {"key": jax.random.PRNGKey(5)},
        {"seed": jax.random.key(5)},
    ],
    ids=["int", "seed", "numpy", "key", "raw key", "key as seed"],
)
def test_the_same_seed_in_any_form_is_the_same_noise(same):
    expected = steps(ol.add_noise(1.0, 0.5, 5), ROOMY, 2)
    chex.assert_trees_all_equal(expected, steps(ol.add_noise(1.0, 0.5, **same), ROOMY, 2))


def test_without_a_seed_it_is_zero():
    chex.assert_trees_all_equal(
        steps(ol.add_noise(1.0, 0.5), ROOMY, 1), steps(ol.add_noise(1.0, 0.5, 0), ROOMY, 1)
    )


def test_a_population_has_a_key_for_each_member():
    keys, g = jax.random.split(jax.random.key(0), 3), jnp.ones(4)

    def first(key):
        tx = ol.noisy_sgd(0.1, key=key)
        return tx.update(g, tx.init(g))[0]

    assert_close(jax.vmap(first)(keys), jnp.stack([first(k) for k in keys]), ulps=A_STEP)
    population = jax.vmap(lambda key: ol.noisy_sgd(0.1, key=key))(keys)
    states = jax.vmap(lambda tx: tx.init(g))(population)
    together, _ = jax.vmap(lambda tx, s: tx.update(g, s))(population, states)
    assert_close(together, jax.vmap(first)(keys), ulps=A_STEP)


def test_a_donated_state_leaves_the_key_of_the_optimizer_alone():
    tx, g = ol.add_noise(1.0, 0.5, jax.random.key(3)), jnp.ones(4)
    update = jax.jit(tx.update, donate_argnums=1)
    update(g, tx.init(g))
    chex.assert_tree_all_finite(update(g, tx.init(g))[0])


def test_a_key_is_data_and_equal_by_value():
    a, b = (ol.noisy_sgd(0.1, key=jax.random.key(3)) for _ in range(2))
    assert (a == b, hash(a) == hash(b), a == ol.noisy_sgd(0.1, key=jax.random.key(4))) == (
        True,
        True,
        False,
    )
    assert jax.tree.structure(a) == jax.tree.structure(ol.noisy_sgd(0.2, key=jax.random.key(4)))


# --- gradients of examples ------------------------------------------------------------------------

PARAMS = {"w": jnp.ones((3, 2)), "scale": jnp.ones(())}
X = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)


def loss(params, x):
    return jnp.sum(params["scale"] * (x @ params["w"]) ** 2)


GRADS = jax.vmap(jax.grad(loss), (None, 0))(PARAMS, X)
PRIVATE = [
    ol.dpsgd(0.1, 1.0, 0.5, 0),
    ol.chain(ol.differentially_private_aggregate(1.0, 0.5), ol.adam(0.1)),
    ol.masked(ol.differentially_private_aggregate(1.0, 0.5), True),
    ol.named_chain(("sum", ol.chain(ol.differentially_private_aggregate(1.0, 0.5)))),
]


@pytest.mark.parametrize("case", OF_EXAMPLES, ids=lambda case: case.name)
def test_clipping_of_examples_equals_the_reference(case, x64):
    for settings in case.settings:
        assert case.error(settings) <= 1e-12


def test_clipped_layers_together_have_at_most_the_global_norm():
    one = jax.tree.map(lambda g: 100 * g[:1], GRADS)
    for uniform in (True, False):
        clipped, _ = ol.per_example_layer_norm_clip(one, 2.0, uniform=uniform)
        assert ol.global_norm(clipped) == pytest.approx(2.0, rel=1e-5)


def test_clipping_of_examples_sums_in_float32():
    half = jnp.full((4096, 3), 0.1, jnp.bfloat16)
    summed, clipped = ol.per_example_global_norm_clip(half, 1e3)
    assert (summed.dtype, int(clipped)) == (jnp.float32, 0)
    # exact: 8 digits of a term and 12 of the count
    np.testing.assert_array_equal(summed, 4096 * float(half[0, 0]))


def test_the_noise_of_the_mean_is_the_multiplier_times_the_clip_over_the_examples():
    zeros = jnp.zeros((8, MANY))
    tx = ol.differentially_private_aggregate(2.0, 0.5, 1)
    first, second = (updates for updates in steps(tx, zeros, 2))
    expected = dpsgd.dpsgd_std(l2_norm_clip=2.0, noise_multiplier=0.5, examples=8)
    assert np.std(first) == pytest.approx(expected, rel=0.02)
    assert abs(np.mean(first)) < 5 * expected / np.sqrt(MANY)
    assert not np.any(first == second)


@pytest.mark.nightly
def test_no_example_moves_the_mean_by_more_than_the_clip():
    """What the noise is measured against: the sum changes by the clip at most when an example
    leaves.
    """
    tx = ol.differentially_private_aggregate(0.7, 0.0)
    mean, _ = tx.update(GRADS, tx.init(PARAMS))
    for i in range(8):
        without, _ = tx.update(
            jax.tree.map(lambda g, i=i: jnp.delete(g, i, axis=0), GRADS), tx.init(PARAMS)
        )
        change = ol.global_norm(jax.tree.map(lambda a, b: 8 * a - 7 * b, mean, without))
        assert change <= 0.7 * (1 + 1e-5)


@pytest.mark.parametrize("tx", PRIVATE, ids=["dpsgd", "chain", "masked", "named_chain"])
@pytest.mark.nightly
def test_gradients_of_examples_go_through_update_step_and_jit(tx):
    state = tx.init(PARAMS)
    updates, new = tx.update(GRADS, state, PARAMS)
    chex.assert_trees_all_equal_shapes_and_dtypes(updates, PARAMS)
    assert_close(tx.update(GRADS, state)[0], updates, ulps=A_STEP)
    assert_close(
        jax.jit(lambda tx, *args: tx.update(*args))(tx, GRADS, state, PARAMS),
        (updates, new),
        ulps=A_STEP,
    )
    stepped, _ = tx.step(GRADS, state, PARAMS)
    assert_close(stepped, ol.apply_updates(PARAMS, updates), ulps=A_STEP)


@pytest.mark.parametrize("tx", PRIVATE, ids=["dpsgd", "chain", "masked", "named_chain"])
def test_gradients_without_an_axis_of_examples_are_refused_by_name(tx):
    with pytest.raises(
        ValueError, match=r"leaf 'w': the gradient of one example has shape \(2,\), its parameter"
    ):
        tx.update(PARAMS, tx.init(PARAMS), PARAMS)


def test_different_numbers_of_examples_are_refused():
    tx = ol.dpsgd(0.1, 1.0, 0.5, 0)
    with pytest.raises(
        ValueError, match=r"must have the same number of examples along the first axis, got 'scale'"
    ):
        tx.update({**GRADS, "scale": GRADS["scale"][:3]}, tx.init(PARAMS), PARAMS)


def test_gradients_of_examples_are_refused_by_all_others():
    with pytest.raises(
        ValueError, match=r"leaf 'scale': the gradient has shape \(8,\), its parameter \(\)"
    ):
        ol.sgd(0.1).update(GRADS, ol.sgd(0.1).init(PARAMS), PARAMS)


def test_dpsgd_keeps_dtypes_and_skips_leaves_without_a_gradient():
    params = {"w": PARAMS["w"].astype(jnp.bfloat16), "steps": jnp.array(3), "none": None}
    grads = {"w": GRADS["w"].astype(jnp.bfloat16), "steps": None, "none": None}
    tx = ol.dpsgd(0.1, 1.0, 0.5, 0, momentum=0.9)
    updates, state = tx.update(grads, tx.init(params), params)
    assert (updates["w"].dtype, updates["steps"], updates["none"]) == (jnp.bfloat16, None, None)
    chex.assert_trees_all_equal_shapes_and_dtypes(state, tx.init(params))


def test_dpsgd_learns():
    y = X @ np.array([[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]], np.float32)

    def squared(params, x, y):
        return jnp.mean((x @ params - y) ** 2)

    tx, params = ol.dpsgd(0.3, 1.0, 0.1, 0), jnp.zeros((3, 2))
    state, before = tx.init(params), squared(params, X, y)
    for _ in range(100):
        params, state = tx.step(
            jax.vmap(jax.grad(squared), (None, 0, 0))(params, X, y), state, params
        )
    assert squared(params, X, y) < 0.05 * before
