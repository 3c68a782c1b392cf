"""Cases that once went wrong, or nearly: edited masks, odd paths, wrong custom rules, keys,
saturation, populations.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optax_lite as ol
from tests.closeness import A_STEP, assert_close
from tests.compilations import count_lowerings

P = {"w": jnp.ones((3, 2)), "b": jnp.zeros(2)}
G = jax.tree.map(lambda p: p + 0.5, P)


def lowered(call):
    with count_lowerings() as count:
        call()
    return count()


def test_a_mask_edited_later_changes_new_optimizers_only():
    mask, zero, one = (
        {"w": True, "b": False},
        jax.tree.map(jnp.zeros_like, P),
        jax.tree.map(jnp.ones_like, P),
    )
    before = ol.adamw(0.1, weight_decay=1.0, mask=mask)
    before.update(zero, before.init(P), one)
    mask["b"] = True
    after = ol.adamw(0.1, weight_decay=1.0, mask=mask)
    assert before != after
    assert float(before.update(zero, before.init(P), one)[0]["b"][0]) == 0.0
    np.testing.assert_allclose(after.update(zero, after.init(P), one)[0]["b"], -0.1, rtol=1e-6)


def test_names_with_a_slash_are_found_by_replace():
    parts = ol.partition(
        {"enc/mlp": ol.sgd(0.1), "head": ol.set_to_zero()}, {"w": "enc/mlp", "b": "head"}
    )
    assert parts.replace(learning_rate=0.5).hyperparams == {"transforms/enc/mlp/learning_rate": 0.5}
    assert ol.named_chain(("a/b", ol.sgd(0.1))).replace(learning_rate=0.5).hyperparams == {
        "a/b/learning_rate": 0.5
    }


def test_replace_checks_when_all_is_replaced():
    schedule = ol.warmup_cosine_decay_schedule(0.0, 1.0, 10, 100)
    assert (
        ol.sgd(schedule)
        .replace(warmup_steps=200, decay_steps=1000)
        .hyperparams["learning_rate/warmup_steps"]
        == 200
    )
    with pytest.raises(ValueError, match="must exceed warmup_steps"):
        ol.sgd(schedule).replace(warmup_steps=200)
    joined = ol.join_schedules([ol.constant_schedule(1.0), ol.constant_schedule(2.0)], [3])
    assert joined.replace(boundaries=[5])(4) == 1.0


def custom(rule, slots=1):
    @ol.transform
    def made():
        def update(updates, state):
            new = ol.leafwise(rule, updates, *state)
            return (new[0], tuple(new[1:])) if slots else (new, state)

        return lambda params: tuple(ol.zeros_like(params) for _ in range(slots)), update

    return made()


@pytest.mark.parametrize(
    ("tx", "message"),
    [
        (custom(lambda g, m: 0.9 * m + g), r"the rule must return 2 arrays, \(update, \*slots\)"),
        (
            custom(lambda g: g.sum(), slots=0),
            r"an update of shape \(\) for a gradient of shape \(3, 2\)",
        ),
        (
            custom(lambda g, m: (g, (m + g)[None])),
            r"state leaf '0/w' is float32\[3, 2\], but the update makes it",
        ),
    ],
    ids=["slot forgotten", "wrong update", "growing slot"],
)
def test_a_custom_rule_that_returns_the_wrong_thing_is_reported(tx, message):
    with pytest.raises((TypeError, ValueError), match=message):
        tx.update({"w": G["w"]}, tx.init({"w": P["w"]}))


def test_a_state_that_would_be_truncated_is_reported():
    tx = ol.GradientTransformation(
        lambda p: jnp.zeros((), jnp.int32), lambda u, s: (u, s + jnp.float32(0.5))
    )
    with (
        pytest.raises(ValueError, match=r"is int32\[\], but the update makes it float32"),
        jax.numpy_dtype_promotion("standard"),
    ):
        tx.update(G, tx.init(P))


def test_a_builder_must_return_a_pair():
    with pytest.raises(
        TypeError,
        match=r"nothing: the builder must return \(init, update\), .* or a transformation, got 3",
    ):

        @ol.transform
        def nothing(rate):
            return 3

        nothing(0.1)


def test_nadam_at_the_last_count():
    tx = ol.scale_by_adam(nesterov=True)
    state = tx.init(jnp.ones(2))._replace(
        count=jnp.int32(np.iinfo(np.int32).max), mu=jnp.ones(2), nu=jnp.ones(2)
    )
    assert_close(tx.update(jnp.ones(2), state)[0], jnp.ones(2), ulps=A_STEP)


def test_incremental_update_keeps_leaves_without_a_new_value():
    old = {"w": jnp.ones(2), "n": jnp.array(3)}
    mixed = ol.incremental_update({"w": jnp.zeros(2), "n": None}, old, 0.5)
    chex.assert_trees_all_equal(mixed, {"w": jnp.full(2, 0.5), "n": jnp.array(3)})


def test_an_update_may_be_none_for_a_leaf():
    tx = ol.GradientTransformation(lambda p: (), lambda u, s: ({**u, "b": None}, s))
    updates, _ = tx.update(G, tx.init(P), P)
    assert updates["b"] is None
    chex.assert_trees_all_equal(tx.step(G, tx.init(P), P)[0]["b"], P["b"])


def test_the_norm_of_integers_does_not_overflow_in_their_dtype():
    assert float(ol.global_norm([jnp.full(1, 100, jnp.int8)])) == 100.0


def test_a_prng_key_serves_as_state_and_as_hyperparameter():
    @ol.transform
    def noisy(scale, key):
        def update(updates, state):
            key, now = jax.random.split(jax.random.wrap_key_data(state))
            noise = ol.leafwise(lambda g: g + scale * jax.random.normal(now, g.shape), updates)
            return noise, jax.random.key_data(key)

        return lambda params: jax.random.key_data(key), update

    tx = noisy(0.1, jax.random.key(3))
    assert tx == noisy(0.1, jax.random.key(3)) != noisy(0.1, jax.random.key(4))
    first, state = tx.update(G, tx.init(P))
    assert not jnp.array_equal(first["w"], tx.update(G, state)[0]["w"])
    typed = ol.GradientTransformation(
        lambda p: jax.random.key(0), lambda u, s: (u, jax.random.split(s)[0])
    )
    typed.update(G, typed.update(G, typed.init(P))[1])


def test_a_state_that_is_only_read_fits_partial_gradients():
    anchored = ol.GradientTransformation(
        lambda params: jax.tree.map(jnp.copy, params),
        lambda u, anchor, params: (
            ol.leafwise(lambda g, a, w: g + 0.1 * (w - a), u, read=(anchor, params)),
            anchor,
        ),
    )
    updates, _ = anchored.update({"w": G["w"], "b": None}, anchored.init(P), P)
    chex.assert_trees_all_equal(updates, {"w": G["w"], "b": None})


def test_init_copies_what_a_transformation_takes_from_the_params():
    tx = ol.GradientTransformation(lambda p: {"anchor": p}, lambda u, s: (u, s))
    state = tx.init(P)
    step = jax.jit(lambda p, s: (jax.tree.map(lambda x: 2 * x, p), s), donate_argnums=(0, 1))
    step(jax.tree.map(jnp.copy, P), state)
    assert state["anchor"]["w"] is not P["w"]


def test_a_callable_module_of_bools_is_a_mask():
    @jax.tree_util.register_pytree_node_class
    class Layer:
        def __init__(self, w):
            self.w = w

        def __call__(self, x):
            return self.w @ x

        def tree_flatten(self):
            return (self.w,), None

        @classmethod
        def tree_unflatten(cls, aux, children):
            return cls(*children)

    layer = Layer(jnp.ones((2, 2)))
    for tx in (
        ol.masked(ol.scale(2.0), Layer(True)),
        ol.partition({"a": ol.scale(2.0)}, Layer("a")),
    ):
        assert float(tx.update(layer, tx.init(layer))[0].w[0, 0]) == 2.0


def test_a_bool_given_to_update_stays_a_choice():
    tx = ol.GradientTransformation(
        lambda p: (), lambda u, s, params=None, *, train: (u if train else P, s)
    )
    chex.assert_trees_all_equal(tx.update(G, tx.init(P), train=False)[0], P)
    chex.assert_trees_all_equal(tx.update(G, tx.init(P), train=True)[0], G)


def test_python_scalars_pass_where_nothing_is_compiled():
    tx = ol.adam(0.1)
    with jax.disable_jit():
        assert float(tx.step({"w": 0.5}, tx.init({"w": 1.0}), {"w": 1.0})[0]["w"]) < 1.0


def test_parts_of_a_joined_schedule_may_index_by_their_count():
    table = jnp.array([1.0, 2.0, 3.0])
    joined = ol.join_schedules([lambda c: table[c], lambda c: table[c]], [2])
    assert [float(joined(i)) for i in range(4)] == [1.0, 2.0, 1.0, 2.0]


def test_editing_a_population_compiles_nothing():
    population = jax.vmap(ol.adam)(jnp.array([0.1, 0.2]))
    step = jax.jit(jax.vmap(lambda tx: tx.step(G, tx.init(P), P)[0]))
    step(population)
    assert lowered(lambda: step(population.replace(learning_rate=[0.3, 0.4], b1=0.4))) == 0
    with pytest.raises(ValueError, match="must be a number or an array of shape"):
        population.replace(b1="x")


@pytest.mark.usefixtures("eight_devices")
def test_sharded_params_closed_over_by_a_jitted_init():
    mesh = jax.make_mesh((2,), ("x",))
    sharded = jax.device_put(jnp.ones((4, 2)), jax.NamedSharding(mesh, jax.P("x")))
    state = jax.jit(lambda: ol.adamw(0.1).init(sharded))()
    assert int(state[0].count) == 0


def test_a_branch_on_the_count_names_the_ways_out():
    tx = ol.sgd(lambda count: 0.1 if count < 10 else 0.01)
    with pytest.raises(jax.errors.TracerBoolConversionError) as caught:
        tx.update(G, tx.init(P))
    assert any(
        "use jnp.where or piecewise_constant_schedule" in note for note in caught.value.__notes__
    )


def test_keyword_only_params_are_passed():
    tx = ol.GradientTransformation(lambda p: (), lambda u, s, *, params: (params, s))
    chex.assert_trees_all_equal(tx.update(G, tx.init(P), P)[0], P)
    with pytest.raises(ValueError, match="update needs the parameters"):
        tx.update(G, tx.init(P))
