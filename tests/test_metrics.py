"""Telemetry: current hyperparameters, and what with_metrics records."""

import math
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optax_lite as ol
from optax_lite.inspect._nodes import trace_state, without_nodes
from tests.closeness import A_STEP, assert_close
from tests.methods import ROWS
from tests.nightly import first

PROVES = ("inspect.metrics",)

P = {"w": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "b": jnp.array([0.3, -0.1])}
G = jax.tree.map(lambda p: 0.1 * p, P)
rate = ol.linear_schedule(1.0, 0.0, 10)


def after(tx, steps, g=G, p=P):
    """The params and the state after some updates with one gradient."""
    state = tx.init(p)
    for _ in range(steps):
        p, state = tx.step(g, state, p)
    return p, state


# --- current_hyperparams --------------------------------------------------------------------------


def halved(count):
    return 0.5 ** count.astype(jnp.float32)


PARTS = {"x": ol.sgd(rate), "y": ol.adam(0.5 * rate)}
NAMED = (("a", ol.trace(0.9)), ("z", ol.scale_by_schedule(rate)))
RULES = {"b": {"learning_rate": 2 * rate, "weight_decay": 0.0}}
NOW = {
    "numbers": (ol.adamw(0.1), {"learning_rate": 0.1, "weight_decay": 1e-4}),
    "masked decay": (
        ol.adamw(rate, weight_decay=0.1 * rate, mask="w"),
        {"learning_rate": 0.7, "weight_decay": 0.07, "b1": 0.9},
    ),
    "function": (ol.sgd(halved, momentum=rate), {"learning_rate": 0.125, "momentum": 0.7}),
    "chain": (
        ol.chain(ol.clip_by_global_norm(rate), ol.adam(2 * rate)),
        {"0/max_norm": 0.7, "1/learning_rate": 1.4},
    ),
    "named_chain": (ol.named_chain(*NAMED), {"a/decay": 0.9, "z/step_size_fn": 0.7}),
    "masked": (ol.masked(ol.sgd(rate), "w"), {"inner/learning_rate": 0.7}),
    "partition": (
        ol.partition(PARTS, {"w": "x", "b": "y"}),
        {"transforms/x/learning_rate": 0.7, "transforms/y/learning_rate": 0.35},
    ),
    "groups": (
        ol.groups(ol.adamw(rate), RULES),
        {
            "base/learning_rate": 0.7,
            "b/learning_rate": 1.4,
            "b/weight_decay": 0.0,
            "base/weight_decay": 1e-4,
        },
    ),
    "mechanize": (
        ol.mechanize(ol.sgd(rate), weight_decay=rate),
        {"base_optimizer/learning_rate": 0.7, "weight_decay": 0.7},
    ),
    "schedule_free": (
        ol.schedule_free_sgd(rate, warmup_steps=4),
        {"learning_rate": 0.7, "warmup_steps": 4.0},
    ),
    "cautious": (ol.cautious(ol.scale_by_adam(b1=0.5 * rate)), {"inner/b1": 0.35}),
    "with_metrics": (ol.with_metrics(ol.sgd(rate)), {"tx/learning_rate": 0.7}),
    "injected": (
        ol.inject_hyperparams(ol.sgd)(rate, 0.9),
        {"inner/learning_rate": 0.7, "inner/momentum": 0.9},
    ),
    "muon": (ol.muon(rate), {"learning_rate": 0.7, "ns_coeffs/0": 3.4445}),
}


@pytest.mark.parametrize(("tx", "expected"), first(6, NOW.values()), ids=NOW.keys())
def test_schedules_are_listed_at_their_own_path_with_the_value_of_the_next_update(tx, expected):
    _, state = after(tx, 3)
    now = ol.current_hyperparams(tx, state)
    np.testing.assert_allclose([now[path] for path in expected], list(expected.values()), rtol=1e-6)
    assert not any(path.startswith(f"{other}/") for path in now for other in now)


def test_a_schedule_of_a_member_has_the_count_of_the_member():
    tx = ol.sam(ol.sgd(rate), ol.sgd(rate), sync_period=3)
    _, state = after(tx, 5)
    now = ol.current_hyperparams(tx, state)
    np.testing.assert_allclose(list(now.values()), [0.9, 0.8], rtol=1e-6)
    assert list(now) == ["optimizer/learning_rate", "adv_optimizer/learning_rate"]


def test_order_is_that_of_hyperparams_and_numbers_are_unchanged():
    tx = ol.adamw(rate)
    now = ol.current_hyperparams(tx, tx.init(P))
    assert list(now) == ["learning_rate", "b1", "b2", "eps", "eps_root", "weight_decay"]
    assert all(now[path] is tx.hyperparams[path] for path in list(now)[1:])


def test_numbers_in_the_state_are_those_of_the_state():
    built = ol.inject_hyperparams(ol.chain(ol.clip(1.0), ol.sgd(rate)))
    state = after(built, 3)[1]
    state = ol.set_hyperparams(state, {"0/max_delta": 0.25, "1/learning_rate/init_value": 2.0})
    now = ol.current_hyperparams(built, state)
    np.testing.assert_allclose(
        [now["inner/0/max_delta"], now["inner/1/learning_rate"]], [0.25, 1.4], rtol=1e-6
    )


def test_traced_states_and_populations():
    tx = ol.chain(ol.clip(1.0), ol.adamw(rate))
    _, state = after(tx, 3)
    np.testing.assert_allclose(
        jax.jit(ol.current_hyperparams)(tx, state)["1/learning_rate"], 0.7, rtol=1e-6
    )

    def make(peak):
        return ol.chain(ol.clip(1.0), ol.adamw(ol.linear_schedule(peak, 0.0, 10)))

    population = jax.vmap(make)(jnp.array([1.0, 2.0]))
    states = jax.vmap(lambda tx: after(tx, 3)[1])(population)
    for now in (
        ol.current_hyperparams(population, states),
        jax.jit(ol.current_hyperparams)(population, states),
    ):
        np.testing.assert_allclose(now["1/learning_rate"], [0.7, 1.4], rtol=1e-6)
        np.testing.assert_allclose(now["1/b1"], [0.9, 0.9], rtol=1e-6)
    seeds = jax.tree.map(lambda x: jnp.stack([x, x]), state)  # runs of one optimizer
    np.testing.assert_allclose(
        ol.current_hyperparams(tx, seeds)["1/learning_rate"], [0.7, 0.7], rtol=1e-6
    )


def test_numbers_in_a_dict_are_followed_into_the_members_made_of_them():
    @ol.transform
    def two(**settings):
        members = {name: ol.sgd(**given) for name, given in settings.items()}
        return ol.partition(members, {"w": "x", "b": "y"})

    tx = two(x={"learning_rate": rate}, y={"learning_rate": 0.5, "momentum": rate})
    now = ol.current_hyperparams(tx, after(tx, 3)[1])
    found = [now[path] for path in ("x/learning_rate", "y/learning_rate", "y/momentum")]
    np.testing.assert_allclose(found, [0.7, 0.5, 0.7], rtol=1e-6)


def test_a_state_of_another_optimizer_is_named():
    with pytest.raises(
        ValueError, match=r"current_hyperparams: this state was not made by adamw: got .*TraceState"
    ):
        ol.current_hyperparams(ol.adamw(rate), ol.sgd(0.1, 0.9).init(P))
    with pytest.raises(ValueError, match=r"The order is current_hyperparams\(tx, state\)"):
        ol.current_hyperparams(ol.adamw(rate), P)


def params_of(row):
    own = row.quirks.shapes
    return {name: jnp.ones(shape) for name, shape in own.items()} if own else P


@pytest.mark.nightly
@pytest.mark.parametrize("row", [r for r in ROWS if r.parameters], ids=lambda r: r.name)
def test_every_schedule_of_the_catalogue_is_found(row):
    for settings in row.settings:
        given = {name: value for name, value in settings.items() if isinstance(value, ol.Schedule)}
        if given or settings is row.settings[0]:
            tx = row.factory(**settings)
            # as `every` is
            given = {name: value for name, value in given.items() if name not in tx.choices}
            now = ol.current_hyperparams(tx, tx.init(params_of(row)))
            for name, value in given.items():
                if name not in tx.choices:  # the size of an accumulation is no number
                    np.testing.assert_allclose(now[name], value(0), rtol=1e-6)


@pytest.mark.nightly
@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name)
def test_a_survey_has_the_structure_of_the_state(row):
    tx = row.factory(**row.settings[0])
    shapes = jax.eval_shape(lambda: params_of(row))
    made = without_nodes(jax.eval_shape(lambda p: trace_state(tx, p), shapes))
    chex.assert_trees_all_equal_shapes_and_dtypes(made, tx.init(shapes))


# --- with_metrics ---------------------------------------------------------------------------------


def watched():
    return ol.with_metrics(ol.chain(ol.clip_by_global_norm(0.1), ol.adamw(rate)))


def test_metrics_of_a_run():
    tx = watched()
    before, _ = after(tx, 2)
    params, state = after(tx, 3)
    metrics = ol.read_metrics(state, params)
    moved = ol.global_norm(jax.tree.map(jnp.subtract, params, before))
    expected = {
        "step": 3,
        "grad_norm": ol.global_norm(G),
        "update_norm": moved,
        "learning_rate": 0.8,
        "clipped": 3,
        "nonfinite": 0,
        "param_norm": ol.global_norm(params),
        "update_ratio": moved / ol.global_norm(params),
    }
    assert metrics.pop("first_nonfinite") is None
    assert metrics.keys() == expected.keys()
    for name, value in expected.items():  # what moved is a difference of params
        assert_close(
            {name: metrics[name]}, {name: value}, ulps=A_STEP, largest=5.0, dtype=jnp.float32
        )


def test_unknown_metrics_are_left_out():
    no_rate = ol.partition({"x": ol.scale(0.1), "y": ol.scale(0.2)}, {"w": "x", "b": "y"})
    clipped_later = ol.chain(ol.scale(2.0), ol.clip_by_global_norm(1.0))
    always = {"step", "grad_norm", "update_norm", "nonfinite", "first_nonfinite"}
    for tx in (no_rate, clipped_later, ol.chain(ol.clip(1.0)), ol.identity(), ol.chain()):
        assert ol.read_metrics(after(ol.with_metrics(tx), 1)[1]).keys() == always
    assert ol.with_metrics(no_rate).init(P).learning_rate is None


def test_several_learning_rates_have_the_names_of_their_groups():
    grouped = ol.groups(ol.adamw(rate), {"b": {"learning_rate": 2 * rate}})
    for tx, names in (
        (grouped, ["base", "b"]),
        (ol.chain(ol.clip(1.0), ol.average_params(grouped, decay=0.9)), ["base", "b"]),
        (ol.partition({"x": ol.sgd(0.1), "y": ol.sgd(0.2)}, {"w": "x", "b": "y"}), ["x", "y"]),
    ):
        _, state = after(ol.with_metrics(tx), 3)
        metrics, now = ol.read_metrics(state), ol.current_hyperparams(tx, tx.init(P))
        rates = [v for name, v in metrics.items() if name.startswith("learning_rate/")]
        assert {f"learning_rate/{name}" for name in names} <= metrics.keys()
        assert len(rates) == len([path for path in now if path.endswith("learning_rate")])
    assert (float(rates[0]), float(rates[1])) == (np.float32(0.1), np.float32(0.2))
    _, state = after(ol.with_metrics(grouped), 3)
    found = ol.read_metrics(state)
    # the rate at the count of two: 1, 0.9, 0.8
    np.testing.assert_allclose(
        [found["learning_rate/base"], found["learning_rate/b"]], [0.8, 1.6], rtol=1e-6
    )


def test_clipped_counts_gradients_above_a_clip_before_it():
    for max_norm, expected in ((0.5, 2), (0.5 * rate, 3)):
        front = ol.chain(ol.clip_by_global_norm(max_norm), ol.scale(1.0))
        tx = ol.with_metrics(ol.named_chain(("front", front), ("rest", ol.sgd(0.1))))
        state = tx.init(P)
        for size in (
            0.4,
            0.6,
            1.0,
            0.4,
            0.25,
        ):  # where the bounds are 0.5, or 0.5, 0.45, 0.4, 0.35, 0.3
            _, state = tx.update(
                {"w": jnp.zeros((2, 2)).at[0, 0].set(size), "b": jnp.zeros(2)}, state, P
            )
        assert ol.read_metrics(state)["clipped"] == expected


def test_clipped_counts_after_wrappers_that_pass_the_gradient_on():
    clip = ol.chain(
        ol.clip_by_global_norm(ol.piecewise_constant_schedule(1e-3, {2: 1e3})), ol.sgd(0.1)
    )
    skip = ol.skip_bad_steps(clip, outlier=ol.linear_schedule(1e6, 1e5, 10))
    for tx in (
        ol.skip_bad_steps(clip),
        skip,
        ol.average_params(ol.skip_bad_steps(clip), decay=0.9),
    ):
        p, state = after(ol.with_metrics(tx), 5)
        assert ol.read_metrics(state, p)["clipped"] == 2
    # its clip sees another gradient
    assert ol.with_metrics(ol.accumulate(clip, 2)).init(P).clipped is None


def test_the_norm_is_computed_once_with_the_clip():
    clipping = ol.chain(ol.clip_by_global_norm(1.0), ol.sgd(0.1))

    def reductions(tx, kind):
        run = jax.jit(lambda tx, g, s, p: getattr(tx, kind)(g, s, p))
        text = run.lower(tx, G, tx.init(P), P).compile().as_text()
        sums = [line for line in text.splitlines() if "= f32[] reduce(" in line]
        # which is behind a condition, and seldom runs
        return sum("_scaled_sum_sq" not in line for line in sums)

    for kind in ("update", "step"):
        assert reductions(clipping, kind) == 2  # two leaves
        bare, with_clip = (reductions(ol.with_metrics(tx), kind) for tx in (ol.sgd(0.1), clipping))
        assert bare == with_clip == 4  # the gradient's and the update's


def test_the_first_leaf_that_is_not_finite_is_named():
    p = {"a": jnp.ones(2), "b": None, "c": {"d": jnp.ones(3), "e": jnp.ones(())}, "n": jnp.array(3)}
    good = p | {"n": None}
    tx = ol.with_metrics(ol.adam(0.1))
    state = tx.init(p)
    for value, name in ((jnp.nan, "e"), (jnp.inf, "d"), (1e30, "d")):
        bad = good | {"c": good["c"] | {name: value * good["c"][name]}}
        _, state = tx.update(bad, state, p)
        _, state = tx.update(good, state, p)
        # Without params the paths are those of Adam's slots.
        assert (
            ol.read_metrics(state, p)["first_nonfinite"]
            == ol.read_metrics(state)["first_nonfinite"]
            == f"c/{name}"
        )
    assert ol.read_metrics(state)["nonfinite"] == 3
    stateless = ol.with_metrics(ol.sgd(0.1))
    _, state = stateless.update(bad, stateless.init(p), p)
    assert (
        ol.read_metrics(state)["first_nonfinite"],
        ol.read_metrics(state, p)["first_nonfinite"],
    ) == (None, "c/d")
    assert jax.jit(ol.read_metrics)(state)["first_nonfinite"] == 2
    assert jax.jit(ol.read_metrics)(stateless.init(p))["first_nonfinite"] == -1


def test_slots_of_other_shapes_give_no_wrong_path():
    tx = ol.with_metrics(ol.sm3(0.1))  # several arrays for a leaf
    g = {"w": G["w"].at[0, 0].set(jnp.nan), "b": G["b"]}
    _, state = tx.update(g, tx.init(P), P)
    assert ol.read_metrics(state)["first_nonfinite"] in (None, "w")
    assert ol.read_metrics(state, P)["first_nonfinite"] == "w"


class LeftOutState(NamedTuple):
    total_skipped: jax.Array
    inner_state: object


@ol.transform
def leave_out_large(inner):
    """A step whose gradient is above 1 does nothing, through its own step too."""

    def run(kind, idle):
        def gated(updates, state, params=None, **extra):
            good = ol.global_norm(updates) <= 1

            def go():
                return getattr(inner, kind)(updates, state.inner_state, params, **extra)

            new, inner_state = jax.lax.cond(
                good, go, lambda: (idle(updates, params), state.inner_state)
            )
            skipped = jnp.where(good, state.total_skipped, state.total_skipped + 1)
            return new, LeftOutState(skipped, inner_state)

        return gated

    def zeros(updates, params):
        return jax.tree.map(lambda u: -jnp.zeros_like(u), updates)

    return (
        lambda params: LeftOutState(jnp.zeros((), jnp.int32), inner.init(params)),
        run("update", zeros),
        run("step", lambda updates, params: params),
    )


def test_the_member_s_own_step_is_used_and_its_skips_are_counted():
    tx = ol.with_metrics(leave_out_large(ol.sgd(rate)))
    state = tx.init(P)
    large = jax.tree.map(lambda g: 100 * g, G)
    same, state = tx.step(large, state, P)
    chex.assert_trees_all_equal(same, P)
    metrics = ol.read_metrics(state)
    assert (metrics["step"], metrics["skipped"], metrics["update_norm"]) == (1, 1, 0)
    _, state = tx.step(G, state, P)
    metrics = ol.read_metrics(state)
    # the schedule did not move on
    assert (metrics["skipped"], metrics["learning_rate"]) == (1, 1.0)
    np.testing.assert_allclose(metrics["update_norm"], ol.global_norm(G), rtol=1e-6)
    outside = leave_out_large(ol.with_metrics(ol.sgd(0.1)))
    _, state = outside.update(large, outside.init(P), P)
    assert (ol.read_metrics(state)["step"], ol.read_metrics(state)["skipped"]) == (0, 1)


def test_through_step_the_update_norm_is_what_the_parameters_moved():
    p = {"w": jnp.ones(4, jnp.bfloat16)}
    tx = ol.with_metrics(ol.sgd(1e-3))
    _, state = tx.update(p, tx.init(p), p)
    np.testing.assert_allclose(state.update_norm, 2e-3, rtol=1e-6)
    _, state = tx.step(p, tx.init(p), p)
    assert state.update_norm == 0  # rounded away


def test_extra_arguments_are_passed_on_uncompiled_too():
    tx = ol.with_metrics(ol.momo(1.0))
    with pytest.raises(TypeError, match="momo: update needs value="):
        tx.update(G, tx.init(P), P)
    p = P | {"n": jnp.array(3)}
    _, state = tx.step(G | {"n": None}, tx.init(p), p, value=1.0, value_fn=lambda p: 0.0)
    assert ol.read_metrics(state)["step"] == 1


def test_metrics_are_read_wherever_they_are():
    tx = ol.chain(
        ol.identity(),
        ol.masked(ol.with_metrics(ol.chain(ol.clip(1.0), ol.with_metrics(ol.adam(0.1)))), "w"),
    )
    _, state = after(tx, 1)
    np.testing.assert_allclose(
        ol.read_metrics(state)["grad_norm"], ol.global_norm(G["w"]), rtol=1e-6
    )
    with pytest.raises(
        ValueError, match=r"read_metrics: the state has no metrics; wrap .* in with_metrics\(tx\)"
    ):
        ol.read_metrics(ol.adam(0.1).init(P))
    apart = ol.partition(
        {"x": ol.with_metrics(ol.sgd(0.1)), "y": ol.with_metrics(ol.sgd(0.2))}, {"w": "x", "b": "y"}
    )
    _, state = after(apart, 1)
    with pytest.raises(
        ValueError,
        match=r"in several places, inner_states/x/inner_state, inner_states/y/inner_state;",
    ):
        ol.read_metrics(state)
    np.testing.assert_allclose(
        ol.read_metrics(state.inner_states["x"])["learning_rate"], 0.1, rtol=1e-6
    )


def test_metrics_of_a_population():
    def run(learning_rate):
        tx = ol.with_metrics(ol.sgd(learning_rate))
        params, state = tx.step(G, tx.init(P), P)
        bad = jax.tree.map(lambda g: jnp.where(learning_rate > 1, jnp.nan, g), G)
        return params, tx.update(bad, state, params)[1]

    params, state = jax.vmap(run)(jnp.array([0.5, 2.0]))
    metrics = ol.read_metrics(state, params)
    np.testing.assert_allclose(metrics["learning_rate"], [0.5, 2.0])
    norms = [ol.global_norm(jax.tree.map(lambda x, i=i: x[i], params)) for i in range(2)]
    np.testing.assert_allclose(metrics["param_norm"], norms, rtol=1e-6)
    assert metrics["first_nonfinite"] == [None, "b"]


def test_metrics_of_wide_and_narrow_leaves(x64):
    p = {"w": jnp.ones(2, jnp.float32), "z": jnp.array([3 + 4j], jnp.complex64)}
    tx = ol.with_metrics(ol.sgd(0.1))
    _, state = tx.step(p, tx.init(p), p)
    assert state.grad_norm.dtype == jnp.float32
    np.testing.assert_allclose(ol.read_metrics(state, p)["grad_norm"], math.sqrt(27), rtol=1e-6)
    wide = {"w": p["w"].astype(jnp.float64), "z": p["z"]}
    new, state = tx.step(wide, tx.init(wide), wide)
    assert state.update_norm.dtype == jnp.float64
    np.testing.assert_allclose(
        ol.read_metrics(state, new)["param_norm"], 0.9 * math.sqrt(27), rtol=1e-6
    )


def test_the_clip_is_found_after_wrappers_that_pass_the_gradient_on():
    inner = ol.chain(
        ol.clip_by_global_norm(1.0), ol.groups(ol.adamw(0.1), {"b": {"weight_decay": 0.0}})
    )
    for tx in (
        ol.with_metrics(ol.skip_bad_steps(ol.average_params(inner, decay=0.9), outlier=9.0)),
        ol.accumulate(ol.with_metrics(ol.lookahead(inner, 2, 0.5)), 1),
        ol.with_metrics(ol.apply_if_finite(inner, 3)),
    ):
        params = {"w": jnp.ones(3), "b": jnp.ones(2)}
        state = tx.init(params)
        for scale in (10.0, 0.01, 10.0):
            params, state = tx.step(
                jax.tree.map(lambda p, scale=scale: scale * jnp.ones_like(p), params), state, params
            )
        assert ol.read_metrics(state)["clipped"] == 2
        assert any(path.endswith("learning_rate") for path in ol.current_hyperparams(tx, state))


def test_the_first_of_a_named_chain_is_the_first_written():
    tx = ol.with_metrics(ol.named_chain(("z", ol.clip_by_global_norm(1.0)), ("a", ol.adam(0.1))))
    params = {"w": jnp.ones(3)}
    _, state = tx.step(params, tx.init(params), params)
    assert ol.read_metrics(state)["clipped"] == 1
