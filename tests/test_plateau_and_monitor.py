"""Transformations that react to the loss or measure on the way: reduce_on_plateau, monitor,
snapshot.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

import optax_lite as ol
import optax_lite.contrib
from tests.closeness import A_STEP, assert_close
from tests.compilations import count_lowerings

TREE = {"w": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "b": jnp.array([0.3, -0.1])}

# --- plateau --------------------------------------------------------------------------------------

SETTINGS = [
    {},
    {"patience": 1, "factor": 0.5, "cooldown": 3},
    {"patience": 2, "accumulation_size": 4, "rtol": 0.05},
    {"patience": 3, "rtol": 0.0, "atol": 0.1, "min_scale": 0.2, "factor": 0.5, "cooldown": 1},
]


def scales(lib, settings, losses):
    tx, tree = (
        lib.contrib.reduce_on_plateau(**settings),
        jax.tree.map(lambda x: x.astype(float), TREE),
    )
    state = tx.init(tree)
    update = jax.jit(lambda state, value: tx.update(tree, state, tree, value=value))
    seen = []
    for value in losses:
        updates, state = update(state, value)
        seen.append((updates, tuple(state)))
    return seen


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_plateau_is_that_of_optax_for_losses_above_0(settings, x64):
    losses = 5 + np.cumsum(np.random.default_rng(0).normal(-0.02, 0.3, size=60))
    assert losses.min() > 0
    with jax.numpy_dtype_promotion("standard"):
        theirs = scales(optax, settings, losses)
    chex.assert_trees_all_close(scales(ol, settings, losses), theirs, rtol=1e-12)
    assert ol.ReduceLROnPlateauState._fields == optax.contrib.ReduceLROnPlateauState._fields


def test_plateau_of_negative_losses_is_one():
    tx = ol.reduce_on_plateau(factor=0.5, patience=2, rtol=0.1)
    assert [
        float(s[0]) for _, s in scales(ol, {"factor": 0.5, "patience": 2, "rtol": 0.1}, [-10.0] * 5)
    ] == [1, 1, 0.5, 0.5, 0.25]
    state = tx.init(TREE)
    for value in (-1.0, -1.05, -1.2):  # the second is no better by a tenth, the third is
        _, state = tx.update(TREE, state, value=value)
    np.testing.assert_allclose(
        (state.best_value, state.plateau_count, state.scale), (-1.2, 0, 1), rtol=1e-6
    )


def test_plateau_treats_a_nan_loss_as_no_improvement():
    seen = [s for _, s in scales(ol, {"patience": 2}, [1.0, np.nan, 0.5, np.inf, np.nan, 0.1])]
    np.testing.assert_allclose([s[0] for s in seen], [1, 1, 1, 1, 0.1, 0.1], rtol=1e-6)
    np.testing.assert_allclose(seen[-1][1], 0.1, rtol=1e-6)


def test_plateau_of_low_precision_params_remembers_the_loss_in_float32():
    half = jax.tree.map(lambda x: x.astype(jnp.bfloat16), TREE)
    tx = ol.reduce_on_plateau(patience=1)
    _, state = tx.update(half, tx.init(half), value=jnp.float32(1.001))
    assert state.best_value == jnp.float32(1.001)


def test_plateau_numbers_can_be_changed_and_swept():
    tx = ol.reduce_on_plateau(patience=3)
    state = tx.init(TREE)
    tx.update(TREE, state, value=1.0)
    with count_lowerings() as count:
        tx.replace(patience=5, cooldown=2, factor=0.3).update(TREE, state, value=1.0)
    assert count() == 0

    def last_scale(patience):
        tx = ol.reduce_on_plateau(patience=patience)
        state = tx.init(TREE)
        for _ in range(4):
            _, state = tx.update(TREE, state, value=1.0)
        return state.scale

    np.testing.assert_allclose(
        jax.vmap(last_scale)(jnp.array([1.0, 3.0, 4.0])), [1e-3, 0.1, 1], rtol=1e-5
    )


def test_plateau_says_what_it_needs():
    tx = ol.chain(ol.sgd(0.1), ol.reduce_on_plateau())
    with pytest.raises(TypeError, match="reduce_on_plateau: update needs value="):
        tx.update(TREE, tx.init(TREE))
    with pytest.raises(
        ValueError, match=r"reduce_on_plateau: value= must be one number, got shape \(3,\)"
    ):
        tx.update(TREE, tx.init(TREE), value=jnp.ones(3))


# --- measures -------------------------------------------------------------------------------------


def largest(updates):
    return {"largest": jnp.max(jnp.abs(updates["w"]))}


def measured(lib, steps=3):
    tx = lib.chain(
        lib.monitor(
            {
                "slow": lib.measure_with_ema(lib.tree.norm, 0.9),
                "raw": lib.measure_with_ema(largest, 0.5, debias=False),
                "norm": lib.tree.norm,
                "trace": lib.trace(0.9),
            }
        ),
        lib.snapshot("largest", largest),
        lib.scale(2.0),
    )
    state = tx.init(TREE)
    for i in range(steps):
        updates, state = tx.update(jax.tree.map(lambda x: (i + 1.0) * x, TREE), state, TREE)  # noqa: B023
    return updates, state


def test_measurements_are_those_of_optax():
    with jax.numpy_dtype_promotion("standard"):
        theirs = measured(optax)
    ours = measured(ol)
    assert_close(ours[0], theirs[0], ulps=3 * A_STEP)
    for a, b in zip(ours[1][:2], theirs[1][:2], strict=True):
        assert a._fields == b._fields
        assert_close(jax.tree.leaves(a), jax.tree.leaves(b), ulps=3 * A_STEP)


def test_state_of_a_monitor_has_its_structure_from_the_start():
    tx = ol.monitor(
        {
            "count": lambda u: jnp.sum(u["w"] > 0),
            "any": lambda u: jnp.any(u["w"] > 0),
            "norm": ol.global_norm,
        }
    )
    state = tx.init(TREE)
    updates, after = tx.update(TREE, state)
    chex.assert_trees_all_equal_shapes_and_dtypes(state, after)
    chex.assert_trees_all_equal(updates, TREE)
    assert (int(after.measurements["count"]), bool(after.measurements["any"])) == (3, True)
    assert not any(jax.tree.leaves(state.measurements))


def test_measures_see_float32_and_only_what_has_a_gradient():
    params = {"w": jnp.full(1000, 0.1, jnp.bfloat16), "count": jnp.array(3), "none": None}
    g = {"w": params["w"], "count": None, "none": None}
    for tx in (ol.snapshot("norm", ol.tree.norm), ol.monitor({"norm": ol.tree.norm})):
        _, state = tx.update(g, tx.init(params), params)
        # A sum of 1000 equal squares, half of it in the root.
        assert_close(jax.tree.leaves(state), [float(params["w"][0]) * 1000**0.5], ulps=500)


def test_measures_are_read_by_name():
    tx = ol.chain(
        ol.clip(1.0), ol.monitor({"clipped": ol.global_norm}), ol.snapshot("norm", ol.global_norm)
    )
    _, state = tx.update(TREE, tx.init(TREE))
    expected = ol.global_norm(jax.tree.map(lambda x: jnp.clip(x, -1, 1), TREE))
    for name in ("clipped", "norm"):
        np.testing.assert_allclose(ol.tree.get(state, name), expected, rtol=1e-6)


def test_a_measure_that_cannot_do_without_an_extra_argument_is_refused_at_once():
    tx = ol.monitor({"loss": ol.scale_by_polyak()})
    with pytest.raises(TypeError, match="scale_by_polyak: update needs value="):
        tx.init(TREE)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            lambda: ol.monitor([ol.global_norm]),
            "monitor: measures must be a dict of names to functions of the updates",
        ),
        (lambda: ol.monitor({1: ol.global_norm}), "monitor: measures must be a dict of names"),
        (lambda: ol.monitor({"norm": 3}), "monitor: norm must be a function of the updates, got 3"),
        (
            lambda: ol.snapshot("norm", 3),
            "snapshot: measure must be a function of the updates, got 3",
        ),
        (lambda: ol.snapshot(3, ol.global_norm), "snapshot: measure_name must be a string, got 3"),
        (
            lambda: ol.measure_with_ema(3, 0.9),
            "measure_with_ema: measure must be a function of the updates, got 3",
        ),
        (
            lambda: ol.measure_with_ema(ol.global_norm, 1.0),
            r"measure_with_ema: decay must be in \[0, 1\), got 1.0",
        ),
    ],
)
def test_wrong_measures_are_reported(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()
