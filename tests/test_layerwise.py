"""Layerwise and constrained methods: their defining properties, and edge cases."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optax_lite as ol
from tests.closeness import A_STEP, assert_close
from tests.nightly import first

PROVES = ("_transforms.clip",)


def first_update(tx, g, w=None, **extra):
    w = g if w is None else w
    return tx.update(g, tx.init(w), w, **extra)[0]


def test_adafactor_keeps_rows_and_columns_only():
    state = ol.adafactor(0.1).init(jnp.ones((200, 300)))[0]
    assert (state.v_row.shape, state.v_col.shape, state.v.shape) == ((200,), (300,), (1,))
    state = ol.scale_by_factored_rms(min_dim_size_to_factor=2).init(jnp.ones((4, 2, 3)))
    # a stack of two, over the axes of 4 and 3
    assert (state.v_row.shape, state.v_col.shape) == ((2, 3), (4, 2))


def test_adafactor_survives_a_row_and_a_column_without_gradient():
    """As in embeddings: a product of the two averages would underflow in float32."""
    g = jnp.ones((4, 5)).at[2].set(0.0).at[:, 3].set(0.0)
    tx = ol.adafactor(0.1, min_dim_size_to_factor=2)
    updates, state = tx.update(g, tx.init(g), g)
    chex.assert_tree_all_finite((updates, state))
    assert np.all((updates == 0) == (g == 0))


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (2, 0, 4)])
def test_adafactor_of_leaves_without_entries(shape):
    g = jnp.zeros(shape)
    tx = ol.adafactor(0.1, min_dim_size_to_factor=0)
    chex.assert_tree_all_finite(tx.update(g, tx.init(g), g))


def test_adafactor_is_finite_before_its_offset_is_reached():
    g = jnp.array([1.0, -2.0])
    assert_close(
        first_update(ol.scale_by_factored_rms(step_offset=1000), g),
        jnp.array([1.0, -1.0]),
        ulps=A_STEP,
    )


def test_a_clipping_threshold_of_none_does_not_clip():
    g = jnp.array([1.0, 2.0])
    plain = first_update(
        ol.adafactor(0.1, clipping_threshold=None, multiply_by_parameter_scale=False), g
    )
    assert_close(plain, jnp.array([-0.1, -0.1]), ulps=A_STEP)
    with pytest.raises(
        ValueError, match="adafactor: decay_rate must be a number or a schedule, got None"
    ):
        ol.adafactor(0.1, decay_rate=None)


def test_a_unit_is_an_output_of_the_layer():
    """The norms of a dense kernel (in, out) are those of its columns."""
    w, g = jnp.array([[3.0, 0.3], [4.0, 0.4]]), jnp.ones((2, 2))
    clipped = first_update(ol.adaptive_grad_clip(0.1), g, w)
    assert_close(jnp.linalg.norm(clipped, axis=0), jnp.array([0.5, 0.05]), ulps=A_STEP)


def test_a_norm_at_the_limit_is_not_clipped_however_small():
    """Below div_eps the factor at the limit, limit / div_eps, would not be 1."""
    norm = jnp.full(2, 2.0**-21)
    chex.assert_trees_all_equal(ol.transforms.unitwise_clip(norm, norm, jnp.ones(2)), jnp.ones(2))


def test_adaptive_clipping_asks_for_axes_where_it_knows_none():
    with pytest.raises(
        ValueError, match=r"adaptive_grad_clip: leaf .* of shape \(1, 2, 1, 2, 1, 2\) .* axis="
    ):
        first_update(ol.adaptive_grad_clip(0.1), jnp.ones((1, 2, 1, 2, 1, 2)))
    assert first_update(ol.adaptive_grad_clip(0.1, axis=1), jnp.ones((1, 2, 1, 2, 1, 2))).shape == (
        1,
        2,
        1,
        2,
        1,
        2,
    )


@pytest.mark.parametrize("axis", [2, -3, (0, 1, 2), (0, -2), "rows"])
def test_adaptive_clipping_names_the_leaf_that_has_not_its_axes(axis):
    tree = {"w": jnp.ones((2, 3)), "x": jnp.ones((2, 3, 2, 2)), "none": None}
    with pytest.raises(
        ValueError, match=r"axis .* must name axes of leaf 'w' of shape \(2, 3\).*masked"
    ):
        first_update(ol.adaptive_grad_clip(0.1, axis=axis), tree)
    kept = ol.masked(ol.adaptive_grad_clip(0.1, axis=(0, 1)), "w")
    assert_close(first_update(kept, tree)["x"], tree["x"], ulps=0)


def test_fromage_keeps_the_norm_where_the_gradient_is_at_a_right_angle():
    w, g = jnp.array([3.0, 4.0]), jnp.array([4.0, -3.0])
    stepped, _ = ol.fromage(0.5).step(g, ol.fromage(0.5).init(w), w)
    assert_close(jnp.linalg.norm(stepped), 5.0, ulps=A_STEP, dtype=w.dtype)
    # where 1/√(1 + lr²) - 1 has no digits left in float32
    tiny = first_update(ol.fromage(1e-4), g, w)
    # Two products of 1.2e-3 cancel, each of them and of their factors rounded.
    assert tiny @ w == pytest.approx(-0.5 * 1e-8 * 25, abs=6 * 2.0**-24 * 1.2e-3)


def test_steps_of_lamb_are_a_share_of_the_leaf():
    w, g = (
        {"a": jnp.full(4, 10.0), "b": jnp.full(9, 0.1)},
        {"a": jnp.full(4, 1e-3), "b": jnp.full(9, 1e3)},
    )
    for leaf, u in first_update(ol.lamb(0.01), g, w).items():
        assert float(jnp.linalg.norm(u)) == pytest.approx(
            float(0.01 * jnp.linalg.norm(w[leaf])), rel=1e-4
        )


def test_polyak_halves_a_quadratic():
    tx, w = ol.polyak_sgd(), jnp.array([1.0, 2.0, 3.0])
    state = tx.init(w)
    for value in (14.0, 3.5, 0.875):
        assert_close(jnp.sum(w**2), value, ulps=2 * 3 * A_STEP, dtype=w.dtype)
        w, state = tx.step(2 * w, state, w, value=jnp.sum(w**2))


def test_polyak_needs_the_loss():
    with pytest.raises(TypeError, match="scale_by_polyak: update needs value="):
        first_update(ol.polyak_sgd(), jnp.ones(2))


def test_rprop_moves_at_once_and_rests_after_a_turn():
    tx, w = ol.rprop(0.1), jnp.zeros(1)
    state, steps = tx.init(w), []
    for g in (2.0, 0.1, -3.0, -1.0, -1.0):
        u, state = tx.update(jnp.array([g]), state, w)
        steps.append(float(u[0]))
    assert steps == pytest.approx([-0.1, -0.12, 0.0, 0.06, 0.072])


def test_optimism_ends_a_bilinear_game_that_descent_runs_away_from():
    def distance(tx):
        p = {"x": jnp.array(1.0), "y": jnp.array(1.0)}
        state = tx.init(p)
        for _ in range(200):
            p, state = tx.step({"x": p["y"], "y": -p["x"]}, state, p)
        return ol.global_norm(p)

    assert distance(ol.optimistic_gradient_descent(0.3)) < 1e-3
    assert distance(ol.sgd(0.3)) > 1e3


def test_parameters_stay_nonnegative():
    tx = ol.chain(ol.sgd(1.0), ol.keep_params_nonnegative())
    w, g = jnp.array([0.1, 1.0, 0.0]), jnp.array([0.3, 0.3, -1.0])
    stepped, _ = tx.step(g, tx.init(w), w)
    assert stepped == pytest.approx([0.0, 0.7, 1.0])
    stepped, _ = tx.step(g.astype(jnp.bfloat16), tx.init(w), w)  # -0.1 is no bfloat16
    assert stepped[0] == 0


def test_nans_are_found_by_leaf_and_infinities_stay():
    g = {"a": jnp.array([1.0, jnp.nan]), "b": jnp.array([jnp.inf])}
    updates, state = ol.zero_nans().update(g, ol.zero_nans().init(g))
    chex.assert_trees_all_equal(updates, {"a": jnp.array([1.0, 0.0]), "b": g["b"]})
    chex.assert_trees_all_equal(state.found_nan, {"a": jnp.array(True), "b": jnp.array(False)})


@pytest.mark.parametrize(
    "kwargs",
    first(
        1, [{}, {"axis": 0}, {"axis": 1, "keepdims": True}, {"ord": 1}, {"ord": np.inf, "axis": 1}]
    ),
)
def test_safe_norm_is_the_norm_and_flat_at_zero(kwargs):
    x = jnp.array([[3.0, 0.0, 1.0], [4.0, 0.0, 2.0]])
    norm = jnp.linalg.norm(x, **kwargs)
    assert_close(ol.safe_norm(x, 0.5, **kwargs), jnp.maximum(norm, 0.5), ulps=A_STEP)
    for y in (x, 0 * x):
        chex.assert_tree_all_finite(jax.jacrev(lambda x: ol.safe_norm(x, 0.5, **kwargs))(y))
    assert not np.any(jax.jacrev(lambda x: ol.safe_norm(x, 0.5, **kwargs))(0 * x))


def test_masks_of_lars_take_patterns():
    w = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    g = jax.tree.map(lambda x: 0.5 * x, w)
    tx = ol.lars(1.0, 0.3, "kernel", trust_ratio_mask="kernel", momentum=0.0)
    updates = first_update(tx, g, w)
    assert updates["bias"] == pytest.approx([-0.5, -0.5])
    assert jnp.linalg.norm(updates["kernel"]) == pytest.approx(0.001 * 2, rel=1e-5)
