"""Settings by parameter: rules, their merging, their numbers as data, groups and their state,
freezing.
"""

import dataclasses
import functools
import re
from typing import NamedTuple

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

import optax_lite as ol
from optax_lite.core.masks import of_variables
from optax_lite.core.trees import path_string
from optax_lite.wrappers._rules import name_of
from optax_lite.wrappers.groups import group_of_leaves, idle_rules
from tests.closeness import A_STEP, assert_close
from tests.compilations import count_lowerings

PROVES = ("wrappers.groups", "wrappers._rules", "wrappers.freeze")

PARAMS = {
    "encoder": {"kernel": np.array([[1.0, -2.0], [0.5, 3.0]]), "bias": np.array([0.3, -0.1])},
    "norm1": {"scale": np.ones(2)},
    "head": {"kernel": np.array([2.0, -1.0]), "bias": np.array([-0.0])},
}
PARAMS = jax.tree.map(np.float32, PARAMS)
GRADS = jax.tree.map(lambda p: 0.5 * p + 1.0, PARAMS)
NO_DECAY = {("bias", "norm*"): {"weight_decay": 0.0}}
HEAVY_BIAS = {"bias": {"momentum": 0.5}}


def by_path(tree, is_leaf=None):
    paths = jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_leaf)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in paths}


def train(tx, steps=3, params=PARAMS, jit=lambda f: f, **extra):
    advance = jit(lambda tx, g, s, p: tx.update(g, s, p, **extra))
    state = tx.init(params)
    for i in range(steps):
        updates, state = advance(
            tx, jax.tree.map(lambda p, i=i: (i + 1) * 0.5 * p + 1.0, params), state, params
        )
        params = ol.apply_updates(params, updates)
    return params, state


def rates(rules, base=None, params=PARAMS, **options):
    """How far every leaf goes for a gradient of 1, with a base that goes 1 far."""
    tx = ol.groups(ol.sgd(1.0) if base is None else base, rules, **options)
    updates, _ = tx.update(jax.tree.map(jnp.ones_like, params), tx.init(params), params)
    return {path: round(-float(jnp.mean(u)), 4) for path, u in by_path(updates).items()}


def rate(value):
    return {"learning_rate": value}


# --- what a rule means ----------------------------------------------------------------------------

ALL = dict.fromkeys(by_path(PARAMS), 1.0)
RULES = {
    "nothing": ({}, {}),
    "glob": ({"bias": rate(2)}, {"encoder/bias": 2, "head/bias": 2}),
    "glob from the root": ({"*/bias": rate(2)}, {"encoder/bias": 2, "head/bias": 2}),
    "subtree": ({"head": rate(2)}, {"head/bias": 2, "head/kernel": 2}),
    "regex": ({re.compile("^enc.*s$"): rate(2)}, {"encoder/bias": 2}),
    "tuple": ({("bias", "norm*"): rate(2)}, {"encoder/bias": 2, "head/bias": 2, "norm1/scale": 2}),
    "exclusion": ({("head", "!bias"): rate(2)}, {"head/kernel": 2}),
    "all but": ({"!kernel": rate(2)}, {"encoder/bias": 2, "head/bias": 2, "norm1/scale": 2}),
    "predicate on the path": (
        {(lambda path, leaf: path == "head/bias"): rate(2)},
        {"head/bias": 2},
    ),
    "predicate on the leaf": (
        {(lambda path, leaf: leaf.ndim == 2): rate(2)},
        {"encoder/kernel": 2},
    ),
    "pairs": (
        [("bias", rate(2)), (["head", "!bias"], rate(3))],
        {"encoder/bias": 2, "head/bias": 2, "head/kernel": 3},
    ),
    "later wins": (
        {"head": rate(2), "bias": rate(3)},
        {"encoder/bias": 3, "head/bias": 3, "head/kernel": 2},
    ),
    "later wins, whatever the alphabet says": (
        {"bias": rate(3), "head": rate(2)},
        {"encoder/bias": 3, "head/bias": 2, "head/kernel": 2},
    ),
    "one pattern twice": (
        [("bias", rate(3)), ("bias", rate(2))],
        {"encoder/bias": 2, "head/bias": 2},
    ),
    "freeze": ({"head": "freeze"}, {"head/bias": 0, "head/kernel": 0}),
    "freeze ends it": (
        {"bias": rate(2), "head": "freeze", "norm1": rate(3)},
        {"encoder/bias": 2, "norm1/scale": 3, "head/bias": 0, "head/kernel": 0},
    ),
    "freeze all but": ({("!head", "!bias"): "freeze"}, {"encoder/kernel": 0, "norm1/scale": 0}),
    "transformation": (
        {"head": ol.sgd(5.0), "bias": rate(2)},
        {"encoder/bias": 2, "head/bias": 5, "head/kernel": 5},
    ),
    "the first transformation counts": (
        {"head/bias": ol.sgd(5.0), "head": "freeze"},
        {"head/bias": 5, "head/kernel": 0},
    ),
    "transformation of optax": ({"head": optax.sgd(5.0)}, {"head/bias": 5, "head/kernel": 5}),
    "names that groups have": (
        {"/norm1": rate(2), "head": rate(3)},
        {"norm1/scale": 2, "head/bias": 3, "head/kernel": 3},
    ),
}


OWN = {name: case for name, case in RULES.items() if "optax" not in name}


@pytest.mark.parametrize(("rules", "moved"), RULES.values(), ids=RULES)
def test_rules(rules, moved):
    assert rates(rules) == ALL | moved


@pytest.mark.parametrize(("rules", "moved"), OWN.values(), ids=OWN)
def test_the_group_of_each_leaf_has_its_settings(rules, moved):
    labels, made = group_of_leaves(ol.groups(ol.sgd(1.0), rules), PARAMS)
    found = {
        path: made[label].hyperparams.get("learning_rate", 0)
        for path, label in by_path(labels).items()
    }
    assert found == ALL | moved


@pytest.mark.parametrize(
    "rules",
    [
        {"bias": rate(3), "head": rate(2)},
        {"head": {"momentum": 0.5}, "bias": rate(3), "encoder": rate(2)},
    ],
)
def test_order_of_rules_survives_the_functions_of_jax(rules):
    tx = ol.groups(ol.sgd(1.0, 0.9), rules)
    assert_close(train(tx), train(tx, jit=jax.jit), ulps=3 * A_STEP)
    again = jax.tree.map(lambda x: x, tx)
    assert again == tx and hash(again) == hash(tx)


def test_overrides_of_different_hyperparameters_merge():
    base = ol.adamw(0.1, weight_decay=0.5)
    tx = ol.groups(base, {"bias": {"weight_decay": 0.0}, "head": {"learning_rate": 0.2, "b1": 0.5}})
    alone = {
        "encoder/kernel": base,
        "norm1/scale": base,
        "encoder/bias": base.replace(weight_decay=0.0),
        "head/kernel": base.replace(learning_rate=0.2, b1=0.5),
        "head/bias": base.replace(learning_rate=0.2, b1=0.5, weight_decay=0.0),
    }
    params, state = train(tx)
    assert state.inner_states.keys() == {"base", "bias", "head", "bias & head"}
    for path, made in alone.items():
        assert_close(by_path(params)[path], by_path(train(made)[0])[path], ulps=3 * A_STEP)


def test_overrides_by_path_of_a_schedule_and_of_a_flag():
    schedule = ol.linear_schedule(1.0, 0.0, 4)
    base = ol.chain(ol.clip(10.0), ol.sgd(schedule, momentum=0.5))
    tx = ol.groups(
        base,
        {
            ("encoder", "!norm1"): {"1/learning_rate": 0.1 * schedule, "nesterov": True},
            "norm1": {"init_value": 3.0, "accumulator_dtype": "float16"},
            "head": {"learning_rate": 0.5, "momentum": None},
        },
    )
    changes = {
        "encoder": ol.chain(ol.clip(10.0), ol.sgd(0.1 * schedule, momentum=0.5, nesterov=True)),
        "norm1": base.replace({"init_value": 3.0, "accumulator_dtype": "float16"}),
        "head": ol.chain(ol.clip(10.0), ol.sgd(0.5)),
    }
    params, state = train(tx)
    for part, made in changes.items():
        # Of norm1 the momentum is in float16, where a rounding that falls the other way is a unit
        # of float16.
        how = {"largest": 4.0, "dtype": "float16"} if part == "norm1" else {}
        assert_close(params[part], train(made)[0][part], ulps=3 * A_STEP, **how)
    assert (
        state.inner_states["norm1"].inner_state[1][0].trace["norm1"]["scale"].dtype == jnp.float16
    )


def test_a_later_rule_may_edit_inside_what_it_finds_and_replace_it():
    base = ol.sgd(ol.linear_schedule(1.0, 1.0, 4))
    inside = {"learning_rate/init_value": 3.0, "learning_rate/end_value": 3.0}
    assert rates({"head": inside, "head/bias": rate(2)}, base) == ALL | {
        "head/kernel": 3,
        "head/bias": 2,
    }
    tx = ol.groups(base, {"head": inside, "bias": rate(2)})
    # at head/bias nothing of head is left
    assert tx.init(PARAMS).inner_states.keys() == {"base", "head", "bias"}
    with pytest.raises(
        ValueError, match="the rule 'head/bias': no argument 'learning_rate/init_value'"
    ):
        ol.groups(
            base, [("head", rate(2.0)), ("head/bias", {"learning_rate/init_value": 3.0})]
        ).init(PARAMS)


def test_lenient_rules_do_what_they_can():
    base = ol.chain(ol.scale_by_learning_rate(2.0, flip_sign=False), ol.sgd(0.5))
    rules = {"nowhere": rate(5), "bias": {"nothing": 1.0}, "head": rate(3.0)}
    assert rates(rules, base, strict=False) == ALL | {"head/bias": 9, "head/kernel": 9}
    assert rates({lambda path, leaf: False: rate(5)}, strict=False) == ALL
    said = idle_rules(
        ol.groups(base, rules | {lambda path, leaf: False: rate(5)}, strict=False), PARAMS
    )
    assert said == [
        "the rule 'nowhere' matches no leaf",
        "the rule 'bias' names no hyperparameter of chain",
        "the rule '<lambda>' is True for no leaf that trains",
    ]
    assert len(idle_rules(ol.chain(ol.groups(base, rules, strict=False)), PARAMS)) == 2


# --- its numbers are data -------------------------------------------------------------------------


def test_hyperparams_and_replace_by_path():
    tx = ol.groups(
        ol.sgd(1.0), {"bias": rate(2), "head/*": {"momentum": None}, "norm*": ol.adam(0.5)}
    )
    assert list(tx.hyperparams) == [
        "base/learning_rate",
        "bias/learning_rate",
        "norm*/learning_rate",
        "norm*/b1",
        "norm*/b2",
        "norm*/eps",
        "norm*/eps_root",
    ]
    changed = tx.replace(
        {"bias/learning_rate": 3, "base/learning_rate": 4, "norm*/learning_rate": 0.25}
    )
    assert changed == ol.groups(
        ol.sgd(4), {"bias": rate(3), "head/*": {"momentum": None}, "norm*": ol.adam(0.25)}
    )
    flagged = ol.groups(ol.sgd(1.0, 0.9), {"bias": {"nesterov": True}})
    assert list(flagged.hyperparams) == ["base/learning_rate", "base/momentum"]  # a flag is none
    with pytest.raises(
        ValueError, match="several arguments are called 'learning_rate': base/learning_rate, bias/"
    ):
        tx.replace(learning_rate=1.0)
    with pytest.raises(ValueError, match=r"groups: the rule 'bias': weight_decay must be"):
        ol.groups(ol.adamw(0.1), NO_DECAY | {"bias": {"weight_decay": 0.0}}).replace(
            {"bias/weight_decay": None}
        )


def test_names_of_rules():
    def thin(path, leaf):
        return leaf.ndim < 2

    names = [
        "bias",
        ("bias", re.compile("norm[0-9]")),
        re.compile("^a & b"),
        thin,
        "bias",
        "base",
        "freeze",
        "strict",
    ]
    names.append(functools.partial(thin))
    given = []
    for where in names:
        given.append(name_of(where, given))
    assert given == [
        "bias",
        "bias,norm[0-9]",
        "^a&b",
        "thin",
        "bias#2",
        "base#2",
        "freeze#2",
        "strict#2",
        "partial",
    ]
    params = {"base": jnp.ones(2), "freeze": jnp.ones(2), "w": jnp.ones(2)}
    assert rates({"base": rate(2), "freeze": rate(3)}, params=params) == {
        "base": 2,
        "freeze": 3,
        "w": 1,
    }
    shown = repr(ol.groups(ol.sgd(1.0), {"bias": rate(2), "head": "freeze"}))
    assert (
        shown
        == "groups(base=sgd(learning_rate=1.0), bias={'learning_rate': 2.0}, head=set_to_zero())"
    )


def test_no_change_of_a_number_compiles_again():
    @jax.jit
    def step(tx, grads, state, params):
        return tx.step(grads, state, params)

    tx = ol.groups(ol.adamw(ol.cosine_decay_schedule(0.1, 10)), NO_DECAY | {"head": rate(0.2)})
    state = tx.init(PARAMS)
    step(tx, GRADS, state, PARAMS)
    seen = []
    with count_lowerings() as lowerings:
        for i in range(1, 4):
            tx = tx.replace(
                {
                    "head/learning_rate": 0.1 * i,
                    "bias,norm*/weight_decay": 0.1 * i,
                    "base/b1": 0.1 * i,
                }
            )
            tx = tx.replace({"base/learning_rate/init_value": 0.3 * i})
            seen.append(step(tx, GRADS, state, PARAMS)[0])
    assert lowerings() == 0
    assert len({float(p["head"]["kernel"][0]) for p in seen}) == 3


def test_vmap_and_grad_over_the_settings_of_a_group():
    def make(base, head):
        return ol.groups(ol.adamw(base), {"head": rate(head)})

    values = jnp.array([0.1, 0.2]), jnp.array([0.3, 0.4])
    many, _ = jax.jit(jax.vmap(train))(jax.vmap(make)(*values))
    for i in range(2):
        one, _ = train(make(*(float(v[i]) for v in values)))
        assert_close(jax.tree.map(lambda x, i=i: x[i], many), one, ulps=3 * A_STEP)
    slope = jax.jit(jax.grad(lambda tx: jnp.sum(train(tx, 1)[0]["head"]["kernel"])))(make(0.1, 0.2))
    assert (
        slope.hyperparams["head/learning_rate"] != 0
        and slope.hyperparams["base/learning_rate"] == 0
    )


# --- groups and their state -----------------------------------------------------------------------


def test_leaves_with_the_same_rules_in_effect_are_one_group():
    rules = {"bias": rate(2), ("kernel", "bias"): rate(3), "norm1": {"momentum": 0.9}}
    state = ol.groups(ol.sgd(1.0, 0.5), rules).init(PARAMS)
    # of the first rule nothing is left
    assert state.inner_states.keys() == {"kernel,bias", "norm1"}
    sizes = {path: x.size for path, x in by_path(state).items()}
    assert sum(sizes.values()) == sum(p.size for p in jax.tree.leaves(PARAMS))


def test_frozen_leaves_have_no_state_and_stay_to_the_bit():
    params = jax.tree.map(lambda p: p.astype(jnp.bfloat16), PARAMS)
    grads = jax.tree.map(lambda p: jnp.full_like(p, jnp.nan), params)
    tx = ol.groups(ol.adamw(0.1), {"head": "freeze", "norm1": "freeze", "encoder/bias": "freeze"})
    state = tx.init(params)
    assert state.inner_states.keys() == {"base", "freeze"}
    assert sum(x.size for x in jax.tree.leaves(state)) == 1 + 2 * 4
    updates, new = tx.update(grads, state, params)
    frozen = {path: u for path, u in by_path(updates).items() if path != "encoder/kernel"}
    assert all(
        u.dtype == jnp.bfloat16 and jnp.all(u == 0) and jnp.all(jnp.signbit(u))
        for u in frozen.values()
    )
    for stepped in (ol.apply_updates(params, updates), tx.step(grads, state, params)[0]):
        for path, before in by_path(params).items():
            same = np.asarray(before).tobytes() == np.asarray(by_path(stepped)[path]).tobytes()
            assert same == (path != "encoder/kernel")
    chex.assert_trees_all_equal_shapes_and_dtypes(new, state)


def test_a_step_passes_frozen_leaves_through():
    tx = ol.groups(ol.sgd(1.0), {"encoder": "freeze"})
    jaxpr = jax.make_jaxpr(tx.step)(GRADS, tx.init(PARAMS), PARAMS).jaxpr
    inner = jaxpr.eqns[0].params["jaxpr"].jaxpr
    kernel = sorted(by_path(PARAMS)).index("encoder/kernel")
    assert inner.outvars[kernel] in inner.invars


def test_members_take_their_own_step():
    def marked(value):
        def step(updates, state, params):
            return jax.tree.map(
                lambda p: None if p is None else jnp.full_like(p, value), params
            ), state

        return ol.transform(lambda: (lambda params: ol.EmptyState(), lambda u, s: (u, s), step))()

    tx = ol.groups(marked(1.0), {"head": marked(2.0), "norm1": "freeze"})
    stepped, _ = tx.step(GRADS, tx.init(PARAMS), PARAMS)
    assert {
        path: float(jnp.mean(p)) for path, p in by_path(stepped).items() if path != "norm1/scale"
    } == {"encoder/bias": 1.0, "encoder/kernel": 1.0, "head/bias": 2.0, "head/kernel": 2.0}
    chex.assert_trees_all_equal(stepped["norm1"], PARAMS["norm1"])


def test_extra_arguments_reach_every_group():
    tx = ol.groups(ol.polyak_sgd(1.0), {"head": ol.polyak_sgd(0.5), "norm1": "freeze"})
    updates, _ = tx.update(GRADS, tx.init(PARAMS), PARAMS, value=3.0)
    assert float(updates["head"]["kernel"][0]) != 0
    with pytest.raises(TypeError, match="update needs value="):
        tx.update(GRADS, tx.init(PARAMS), PARAMS)
    uncompiled = tx.update(GRADS, tx.init(PARAMS), PARAMS, value=3.0, value_fn=lambda p: 0.0)
    assert_close(uncompiled, tx.update(GRADS, tx.init(PARAMS), PARAMS, value=3.0), ulps=A_STEP)


def test_leaves_without_gradient_keep_their_group_and_state():
    tx = ol.groups(
        ol.adam(0.1), {"bias": rate(0.5), (lambda path, leaf: leaf.shape == (2, 2)): rate(0.2)}
    )
    params = PARAMS | {"steps": jnp.array(3), "none": None, "bias": None}
    state = tx.init(params)
    assert state.inner_states.keys() == {"base", "bias", "<lambda>"}
    grads = GRADS | {
        "encoder": {"kernel": None, "bias": None},
        "steps": None,
        "none": None,
        "bias": None,
    }
    updates, new = tx.update(grads, state, params)
    assert updates["encoder"] == {"kernel": None, "bias": None}
    chex.assert_trees_all_equal_shapes_and_dtypes(new, state)
    stepped, _ = tx.step(grads, state, params)
    chex.assert_trees_all_equal(stepped["encoder"], params["encoder"])
    assert jax.tree.structure(stepped) == jax.tree.structure(params)
    assert ol.groups(ol.sgd(0.1), {"w": rate(2)}).init(
        {"n": jnp.array(3), "w": jnp.ones(2)}
    ).inner_states.keys() == {"w"}


def test_a_predicate_sees_the_parameter_and_not_its_gradient():
    seen = set()

    def wide(path, leaf):
        seen.add((path, type(leaf).__name__, leaf.shape, str(leaf.dtype)))
        return leaf.dtype == jnp.bfloat16

    params = {"a": jnp.ones(2, jnp.bfloat16), "b": jnp.ones(3), "n": jnp.array(1)}
    tx = ol.chain(ol.scale(1.0), ol.groups(ol.sgd(1.0), {wide: rate(2.0)}))
    grads = {"a": jnp.ones(2), "b": jnp.ones(3), "n": None}
    updates, _ = tx.update(grads, tx.init(params), params)
    chex.assert_trees_all_equal(
        updates, {"a": jnp.full(2, -2.0), "b": jnp.full(3, -1.0), "n": None}
    )
    assert seen == {
        ("a", "ShapeDtypeStruct", (2,), "bfloat16"),
        ("b", "ShapeDtypeStruct", (3,), "float32"),
    }


def test_what_each_group_is_given_to():
    tx = ol.groups(ol.sgd(1.0), HEAVY_BIAS | {"head": rate(2), "encoder": "freeze"})
    labels, made = group_of_leaves(tx, jax.eval_shape(lambda: PARAMS))
    assert by_path(labels) == {
        "encoder/kernel": "freeze",
        "encoder/bias": "freeze",
        "norm1/scale": "base",
        "head/kernel": "head",
        "head/bias": "bias & head",
    }
    expected = ol.sgd(1.0), ol.sgd(2.0, 0.5), ol.sgd(2.0), ol.set_to_zero()
    assert made == dict(zip(("base", "bias & head", "head", "freeze"), expected, strict=True))


def test_map_params_finds_the_slots():
    specs = jax.tree.map(lambda p: p.ndim, PARAMS)
    tx = ol.chain(
        ol.clip(1.0), ol.groups(ol.groups(ol.adam(0.1), {"bias": rate(1)}), {"head": ol.trace(0.5)})
    )
    state = tx.init(PARAMS)
    found = ol.tree.map_params(
        tx, lambda slot, spec: spec, state, specs, transform_non_params=lambda _: "count"
    )
    for path, x in by_path(found).items():
        assert x == ("count" if "count" in path else 2 if path.endswith("encoder/kernel") else 1)
    assert jax.tree.structure(found) == jax.tree.structure(state)


def test_is_partition_in_optax(x64):
    rules = {"bias": {"weight_decay": 0.0}, "head": "freeze"}
    params = jax.tree.map(lambda p: p.astype(jnp.float64), PARAMS)
    labels = {"encoder": {"kernel": "base", "bias": "bias"}, "norm1": "base", "head": "freeze"}
    theirs = optax.partition(
        {
            "base": optax.adamw(0.1),
            "bias": optax.adamw(0.1, weight_decay=0.0),
            "freeze": optax.set_to_zero(),
        },
        labels,
    )
    ours, state = train(ol.groups(ol.adamw(0.1), rules), params=params)
    their_params, their_state = params, theirs.init(params)
    with jax.numpy_dtype_promotion("standard"):
        for i in range(3):
            grads = jax.tree.map(lambda p, i=i: (i + 1) * 0.5 * p + 1.0, their_params)
            updates, their_state = theirs.update(grads, their_state, their_params)
            their_params = optax.apply_updates(their_params, updates)
    assert_close(ours, their_params, ulps=3 * A_STEP)
    assert list(by_path(state)) == list(by_path(their_state))
    assert_close(jax.tree.leaves(state), jax.tree.leaves(their_state), ulps=3 * A_STEP)


# --- a clip, inside and outside -------------------------------------------------------------------


def lengths(tx):
    grads = {"a": jnp.full(1, 3.0), "b": jnp.full(1, 4.0), "frozen": jnp.full(1, 12.0)}
    updates, _ = tx.update(grads, tx.init(grads), grads)
    return {key: round(float(-u[0]), 4) for key, u in updates.items()}


def test_a_clip_is_over_a_group_inside_and_over_all_that_train_outside():
    clip, rules, frozen = ol.clip_by_global_norm(1.0), {"b": rate(2)}, {"frozen": "freeze"}
    assert lengths(ol.groups(ol.chain(clip, ol.sgd(1.0)), rules | frozen)) == {
        "a": 1,
        "b": 2,
        "frozen": 0,
    }
    around = ol.chain(clip, ol.groups(ol.sgd(1.0), rules))
    expected = {"a": 0.6, "b": 1.6, "frozen": 0}
    assert lengths(ol.groups(around, frozen)) == expected
    assert lengths(ol.selective_transform(around, freeze_mask="frozen")) == expected
    assert (
        lengths(ol.chain(ol.freeze("frozen"), clip, ol.groups(ol.sgd(1.0), rules | frozen)))
        == expected
    )
    # In a chain members in front see a gradient of 0 for what is frozen behind them.
    assert lengths(ol.chain(clip, ol.groups(ol.sgd(1.0), rules | frozen))) == expected


# --- recipes --------------------------------------------------------------------------------------

LAYERS = {"layers": [{"w": jnp.ones(2)} for _ in range(4)], "head": jnp.ones(2)}


def test_layerwise_decay_of_the_learning_rate_in_one_line():
    lr = ol.cosine_decay_schedule(0.1, 100)
    tx = ol.groups(
        ol.sgd(lr), {f"layers/{i}": {"learning_rate": 0.5 ** (4 - i) * lr} for i in range(4)}
    )
    updates, _ = tx.update(LAYERS, tx.init(LAYERS), LAYERS)
    for i, layer in enumerate(updates["layers"]):
        np.testing.assert_allclose(layer["w"], -0.1 * 0.5 ** (4 - i), rtol=1e-6)


def test_scales_of_the_learning_rate_after_one_optimizer():
    base = ol.chain(ol.clip_by_global_norm(1.0), ol.adamw(ol.cosine_decay_schedule(0.1, 100)))
    tx = ol.chain(
        base,
        ol.groups(ol.scale(1.0), {f"layers/{i}": {"step_size": 0.5 ** (4 - i)} for i in range(4)}),
    )
    updates, state = tx.update(LAYERS, tx.init(LAYERS), LAYERS)
    plain, plain_state = base.update(LAYERS, base.init(LAYERS), LAYERS)
    assert_close(jax.tree.leaves(state), jax.tree.leaves(plain_state), ulps=A_STEP)
    for i, (scaled, layer) in enumerate(zip(updates["layers"], plain["layers"], strict=True)):
        assert_close(scaled["w"], layer["w"] * 0.5 ** (4 - i), ulps=A_STEP)
    assert tx.replace({"layers/3/step_size": 0.1}).hyperparams["1/layers/3/step_size"] == 0.1


def test_a_tree_of_scales():
    scales = {"encoder": 0.1, "norm1": {"scale": 1.0}, "head": {"kernel": 1.0, "bias": 2.0}}
    rules = {f"/{path}": {"step_size": factor} for path, factor in by_path(scales).items()}
    assert rates(rules, ol.chain(ol.sgd(1.0), ol.scale(1.0))) == {
        "encoder/kernel": 0.1,
        "encoder/bias": 0.1,
        "norm1/scale": 1.0,
        "head/kernel": 1.0,
        "head/bias": 2.0,
    }


# --- containers -----------------------------------------------------------------------------------


class Pair(NamedTuple):
    kernel: jax.Array
    bias: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Layer:
    kernel: jax.Array
    bias: jax.Array


class Attention(eqx.Module):
    query: eqx.nn.Linear
    value: jax.Array
    activation: object = jnp.tanh


class Valued(NamedTuple):
    value: jax.Array
    scale: jax.Array


TREES = {
    "dict": {"a": {"kernel": jnp.ones(2), "bias": jnp.ones(1)}},
    "named tuple": {"a": Pair(jnp.ones(2), jnp.ones(1))},
    "list": {"a": [Pair(jnp.ones(2), jnp.ones(1))]},
    "dataclass": {"a": Layer(jnp.ones(2), jnp.ones(1))},
    "Flax Linen": linen.Dense(2).init(jax.random.key(0), jnp.ones(3)),
}


@pytest.mark.parametrize("params", TREES.values(), ids=TREES)
def test_containers(params):
    expected = {
        path: {"bias": 2.0, "kernel": 0.0}[path.rsplit("/", 1)[-1]] for path in by_path(params)
    }
    assert rates({"bias": rate(2.0), "kernel": "freeze"}, params=params) == expected
    predicates = [
        (lambda path, leaf: path.endswith("bias"), rate(2.0)),
        (lambda path, _: "kernel" in path, "freeze"),
    ]
    assert rates(predicates, params=params) == expected


def test_a_function_sees_the_name_of_a_variable_at_the_top_too():
    keys = jax.tree_util.DictKey("w"), jax.tree_util.GetAttrKey("value")
    found = of_variables([keys, keys[1:], (keys[1], *keys)])
    assert list(map(path_string, found)) == ["w", "value", "value/w"]
    for other in ((), (keys[0],)):  # a class of the user's, with arrays or trees in its other field
        beside = of_variables([keys, (keys[0], jax.tree_util.GetAttrKey("scale"), *other)])
        assert path_string(beside[0]) == "w/value"


def test_a_glob_may_name_a_field_that_is_called_value():
    params = {"block": Valued(jnp.ones(2), jnp.ones(1))}
    assert rates({"block/value": rate(2.0)}, params=params) == {"block/value": 2, "block/scale": 1}


def test_equinox_module():
    model = Attention(eqx.nn.Linear(2, 2, key=jax.random.key(0)), jnp.ones(2))
    grads = eqx.filter_grad(lambda m: jnp.sum(m.activation(m.query(jnp.ones(2))) * m.value))(model)
    tx = ol.groups(ol.sgd(1.0), {"query": "freeze", lambda path, leaf: path == "value": rate(2.0)})
    state = tx.init(model)
    stepped, _ = tx.step(grads, state, model)
    chex.assert_trees_all_equal(stepped.query, model.query)
    chex.assert_trees_all_close(stepped.value, model.value - 2 * grads.value)
    updates, _ = tx.update(grads, state, eqx.filter(model, eqx.is_inexact_array))
    chex.assert_trees_all_close(eqx.apply_updates(model, updates).value, stepped.value)


class Net(nnx.Module):
    def __init__(self, rngs):
        self.first, self.second = nnx.Linear(2, 2, rngs=rngs), nnx.Linear(2, 1, rngs=rngs)

    def __call__(self, x):
        return self.second(self.first(x))


def is_first_bias(path, leaf):
    return path == "first/bias"


@pytest.mark.parametrize(
    "where",
    [re.compile("^first/bias$"), "first/bias", is_first_bias],
    ids=["regex", "glob", "predicate"],
)
def test_flax_nnx(where):
    model = Net(nnx.Rngs(0))
    tx = ol.groups(ol.sgd(1.0, 0.9), {where: rate(2.0), "second": "freeze"})
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    before = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    before = jax.tree.map(jnp.copy, before)

    @nnx.jit
    def advance(model, optimizer):
        optimizer.update(model, jax.tree.map(jnp.ones_like, nnx.state(model, nnx.Param)))

    advance(model, optimizer)
    after = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    moves = by_path(jax.tree.map(lambda b, a: round(float(jnp.mean(b - a)), 4), before, after))
    assert moves == {
        "first/bias": 2.0,
        "first/kernel": 1.0,
        "second/bias": 0.0,
        "second/kernel": 0.0,
    }


# --- freeze and selective_transform, as in optax --------------------------------------------------

MASK = {"encoder": True, "norm1": False, "head": {"kernel": False, "bias": True}}
MASKS = {"tree": MASK, "patterns": ["encoder", "head/bias"], "function": lambda params: MASK}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("wrapper", ["freeze", "selective_transform"])
def test_freezing_is_that_of_optax(wrapper, mask, x64):
    params = jax.tree.map(lambda p: p.astype(jnp.float64), PARAMS)

    def make(lib, mask):
        if wrapper == "freeze":
            return lib.chain(lib.freeze(mask), lib.scale_by_learning_rate(0.1))
        return lib.selective_transform(lib.adamw(0.1), freeze_mask=mask)

    ours, theirs = make(ol, mask), make(optax, MASK)
    state, their_state = ours.init(params), theirs.init(params)
    for i in range(3):
        grads = jax.tree.map(lambda p, i=i: (i + 1) * 0.5 * p + 1.0, params)
        updates, state = ours.update(grads, state, params)
        with jax.numpy_dtype_promotion("standard"):
            their_updates, their_state = theirs.update(grads, their_state, params)
        assert_close(updates, their_updates, ulps=3 * A_STEP)
        params = ol.apply_updates(params, updates)
    assert list(by_path(state)) == list(by_path(their_state))
    assert_close(jax.tree.leaves(state), jax.tree.leaves(their_state), ulps=3 * A_STEP)


def test_frozen_leaves_stay_bit_identical():
    tx = ol.selective_transform(ol.adamw(0.1), freeze_mask=MASK)
    updates, state = tx.update(GRADS, tx.init(PARAMS), PARAMS)
    for stepped in (ol.apply_updates(PARAMS, updates), tx.step(GRADS, state, PARAMS)[0]):
        assert jnp.signbit(stepped["head"]["bias"]).all()
        chex.assert_trees_all_equal(stepped["encoder"], PARAMS["encoder"])
    for tx in (ol.freeze("head"), ol.set_to_zero()):
        assert jnp.signbit(tx.update(GRADS, tx.init(PARAMS))[0]["head"]["kernel"]).all()


# --- wrong calls ----------------------------------------------------------------------------------

adamw = ol.adamw(0.1)
two = ol.chain(ol.scale_by_learning_rate(1.0, flip_sign=False), ol.sgd(0.1))
WRONG = {
    "no transformation": (
        lambda: ol.groups(0.1, {}),
        "groups: base must be a GradientTransformation, got 0.1",
    ),
    "no rules": (
        lambda: ol.groups(adamw, ["bias"]),
        "groups: rules must be pairs (pattern, setting), or a mapping; got 'bias'",
    ),
    "no pattern": (
        lambda: ol.groups(adamw, {3: "freeze"}),
        "a pattern must be a string, a compiled regular expression",
    ),
    "factory for a pattern": (
        lambda: ol.groups(adamw, {ol.Schedule: "freeze"}),
        "or a function of path and leaf, got <class",
    ),
    "no setting": (
        lambda: ol.groups(adamw, {"bias": 0.0}),
        (
            "groups: the rule 'bias' must be a GradientTransformation (or \"freeze\", or a dict of "
            'overrides such as {"learning_rate": 1e-4}), got 0.0'
        ),
    ),
    "misspelt freeze": (
        lambda: ol.groups(adamw, {"bias": "frozen"}),
        "overrides such as {\"learning_rate\": 1e-4}), got 'frozen'",
    ),
    "misspelt hyperparameter": (
        lambda: ol.groups(adamw, {"bias": {"weight_decy": 0.0}}),
        "groups: the rule 'bias': no argument 'weight_decy'; the nearest is weight_decay",
    ),
    "misspelt hyperparameter of a tuple": (
        lambda: ol.groups(adamw, {("bias", "norm*"): {"weight_decy": 0.0}}),
        "groups: the rule 'bias,norm*': no argument 'weight_decy'; the nearest is weight_decay",
    ),
    "habit": (
        lambda: ol.groups(adamw, {"bias": {"lr": 0.0}}),
        "the rule 'bias': no argument 'lr'; write learning_rate",
    ),
    "several": (
        lambda: ol.groups(two, {"bias": rate(1.0)}),
        (
            "several arguments are called 'learning_rate': 0/learning_rate, 1/learning_rate; "
            "write the full path"
        ),
    ),
    "out of range": (
        lambda: ol.groups(adamw, {"bias": {"b1": 1.5}}),
        "groups: the rule 'bias': b1 must be in [0, 1), got 1.5",
    ),
    "no number": (
        lambda: ol.groups(adamw, {"bias": {"weight_decay": "x"}}),
        "groups: bias/weight_decay must be a number or a schedule, got 'x'",
    ),
    "no dtype": (
        lambda: ol.groups(adamw, {"bias": {"mu_dtype": 3}}),
        "the rule 'bias': mu_dtype must be a floating dtype",
    ),
    "pattern without a match": (
        lambda: ol.groups(adamw, {"kernal": "freeze"}).init(PARAMS),
        (
            "groups: the pattern 'kernal' matches no leaf; the nearest paths: encoder/kernel, "
            "head/kernel"
        ),
    ),
    "part without a match": (
        lambda: ol.groups(adamw, {("head", "!bais"): "freeze"}).init(PARAMS),
        "groups: the pattern 'bais' matches no leaf; the nearest paths: encoder/bias, head/bias",
    ),
    "regex without a match": (
        lambda: ol.groups(adamw, {re.compile("kernal$"): "freeze"}).init(PARAMS),
        "matches no leaf; the nearest paths: encoder/kernel, head/kernel",
    ),
    "predicate without a match": (
        lambda: ol.groups(adamw, {(lambda path, leaf: leaf.ndim == 7): "freeze"}).init(PARAMS),
        "groups: the rule '<lambda>' is True for no leaf that trains",
    ),
    "rule behind the end": (
        lambda: ol.groups(adamw, {"encoder": "freeze", "encoder/bias": rate(1.0)}).init(PARAMS),
        (
            "groups: the rule 'encoder/bias' has no effect: 'encoder' comes before it and takes "
            "all its leaves; exclude them there, as in ('encoder', '!encoder/bias')"
        ),
    ),
    "rule behind the end and another one": (
        lambda: ol.groups(
            adamw, {"kernel": rate(1.0), "head": "freeze", "head/kernel": rate(2.0)}
        ).init(PARAMS),
        (
            "groups: the rule 'head/kernel' has no effect: 'head' comes before it and takes all "
            "its leaves"
        ),
    ),
    "state of another grouping": (
        lambda: ol.groups(adamw, {"bias": rate(1.0)}).update(
            GRADS, ol.groups(adamw, {}).init(PARAMS), PARAMS
        ),
        "groups: this state was not made by this optimizer",
    ),
    "freeze of what is not there": (
        lambda: ol.freeze("heads").init(PARAMS),
        "the pattern 'heads' matches no leaf",
    ),
    "nothing to train with": (
        lambda: ol.selective_transform(0.1, freeze_mask="head"),
        "selective_transform: member optimizer must be a GradientTransformation, got 0.1",
    ),
    "mask by position": (
        lambda: ol.selective_transform(adamw, "head"),
        "selective_transform: too many positional",
    ),
}


@pytest.mark.parametrize(("call", "message"), WRONG.values(), ids=WRONG)
def test_wrong_calls_say_what_to_write(call, message):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        call()


def test_a_clip_before_groups_covers_the_leaves_that_train():
    params = {"encoder": jnp.ones(3), "head": {"w": jnp.ones(2), "b": jnp.zeros(1)}}
    grads = {"encoder": jnp.full(3, 1e6), "head": {"w": jnp.array([3.0, 4.0]), "b": jnp.zeros(1)}}
    rules = {"encoder": "freeze", "b": {"learning_rate": 0.5}}
    moved = {"encoder": params["encoder"], "head": {"w": jnp.array([0.4, 0.2]), "b": jnp.zeros(1)}}
    base = ol.groups(ol.sgd(1.0), rules)
    for tx in (
        ol.chain(ol.clip_by_global_norm(1.0), base),
        ol.chain(ol.chain(ol.clip_by_global_norm(1.0)), ol.named_chain(("groups", base))),
        ol.chain(ol.clip_by_global_norm(1.0), base, ol.identity()),
        ol.with_metrics(ol.skip_bad_steps(ol.chain(ol.clip_by_global_norm(1.0), base))),
    ):
        state = tx.init(params)
        assert_close(tx.step(grads, state, params)[0], moved, ulps=A_STEP)
        updates, state = tx.update(grads | {"encoder": None}, state, params)
        assert_close(ol.apply_updates(params, updates), moved, ulps=A_STEP)
    assert ol.read_metrics(state)["grad_norm"] == 5 and ol.read_metrics(state)["clipped"] == 1
    inside = ol.groups(ol.chain(ol.clip_by_global_norm(1.0), ol.sgd(1.0)), rules)
    assert_close(inside.step(grads, inside.init(params), params)[0], moved, ulps=A_STEP)


def test_a_frozen_leaf_may_have_any_gradient():
    params = {"encoder": jnp.ones(3), "head": jnp.ones(2)}
    tx = ol.chain(
        ol.clip_by_global_norm(1.0), ol.trace(0.9), ol.groups(ol.adamw(0.1), {"encoder": "freeze"})
    )
    new, _ = tx.step(
        {"encoder": jnp.full(3, jnp.nan), "head": jnp.ones(2)}, tx.init(params), params
    )
    assert bool(jnp.all(jnp.isfinite(new["head"]))) and bool(jnp.all(new["encoder"] == 1))


def test_a_function_as_pattern_takes_a_path_and_a_leaf():
    with pytest.raises(ValueError, match=r"takes a path and a leaf, \(path, leaf\)"):
        ol.groups(ol.adamw(1e-3), {lambda leaf: leaf.ndim < 2: {"weight_decay": 0.0}})
