"""Picking leaves: path patterns, masks and labels in all their forms, and what a group of leaves
sees.
"""

import re

import chex
import jax
import jax.numpy as jnp
import pytest
from flax import nnx

import optax_lite
from optax_lite import MaskedNode, masked, partition
from optax_lite.core.masks import matches, pattern_mask
from optax_lite.core.trees import leaf_paths

PARAMS = {
    "enc": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2), "norm1": {"scale": jnp.ones(2)}},
    "head": [{"kernel": jnp.ones(3), "bias": jnp.ones(1)}, {"kernel": jnp.ones(4)}],
    "bias": jnp.ones(3),
}
PATHS = leaf_paths(PARAMS)


def picked(mask):
    """The paths of the leaves that are True."""
    return {
        path for path, chosen in zip(leaf_paths(mask), jax.tree.leaves(mask), strict=True) if chosen
    }


# --- patterns -------------------------------------------------------------------------------------

GLOBS = {
    "bias": {"bias", "enc/bias", "head/0/bias"},  # without a slash: at any depth
    "/bias": {"bias"},  # from the root
    "*/bias": {"enc/bias"},  # one level down
    "head/*/bias": {"head/0/bias"},
    "**/bias": {"bias", "enc/bias", "head/0/bias"},
    "head/**/kernel": {"head/0/kernel", "head/1/kernel"},
    "enc/**/kernel": {"enc/kernel"},  # ** may stand for nothing
    "enc": {"enc/bias", "enc/kernel", "enc/norm1/scale"},  # everything below
    "enc/": {"enc/bias", "enc/kernel", "enc/norm1/scale"},
    "enc/*": {"enc/bias", "enc/kernel", "enc/norm1/scale"},
    "enc/**": {"enc/bias", "enc/kernel", "enc/norm1/scale"},
    "norm1/": {"enc/norm1/scale"},  # only a slash within it ties a pattern to the root
    "norm*": {"enc/norm1/scale"},
    "norm?": {"enc/norm1/scale"},
    "norm[12]": {"enc/norm1/scale"},
    "norm[!2]": {"enc/norm1/scale"},
    "0": {"head/0/bias", "head/0/kernel"},
    "head/1": {"head/1/kernel"},
    "norm1/scale": set(),  # a slash: from the root
    "norm": set(),  # whole components only
    "ernel": set(),
    "Bias": set(),
    "*enc/bias*x": set(),
    "enc?bias": set(),  # no wildcard but ** crosses a slash
    "enc[!x]bias": set(),
}


@pytest.mark.parametrize(("pattern", "paths"), GLOBS.items(), ids=GLOBS)
def test_glob_matches_at_component_boundaries(pattern, paths):
    assert {path for path in PATHS if matches(pattern, path)} == paths


@pytest.mark.parametrize(
    ("pattern", "path", "hit"),
    [
        ("w.b", "w.b", True),
        ("w.b", "wxb", False),
        ("w+", "w+", True),
        ("w+", "ww", False),
        ("(a)", "(a)", True),
    ],
)
def test_glob_treats_other_characters_literally(pattern, path, hit):
    assert matches(pattern, path) is hit


@pytest.mark.parametrize(
    ("regex", "paths"),
    [
        (r"^enc/.*s$", {"enc/bias"}),
        (r"norm\d", {"enc/norm1/scale"}),
        (r"(?i)BIAS", {"bias", "enc/bias", "head/0/bias"}),
        (r"head/\d/kernel$", {"head/0/kernel", "head/1/kernel"}),
    ],
)
def test_regex_is_searched_for(regex, paths):
    assert picked(pattern_mask(re.compile(regex), PARAMS)) == paths


LISTS = {
    "one": ("kernel", {"enc/kernel", "head/0/kernel", "head/1/kernel"}),
    "union": (["enc/bias", "head/1"], {"enc/bias", "head/1/kernel"}),
    "exclusion first: all but": (
        ["!bias", "!norm*"],
        {"enc/kernel", "head/0/kernel", "head/1/kernel"},
    ),
    "exclusion alone": ("!enc", {"bias", "head/0/bias", "head/0/kernel", "head/1/kernel"}),
    "exclusion last": (["kernel", "!head"], {"enc/kernel"}),
    "the last that matches decides": (
        ["kernel", "!head", "head/1"],
        {"enc/kernel", "head/1/kernel"},
    ),
    "order matters": (["head/1", "!head"], set()),
    "globs and regexes": ([re.compile("^head"), "!bias"], {"head/0/kernel", "head/1/kernel"}),
    "a tuple": (("enc", "!kernel"), {"enc/bias", "enc/norm1/scale"}),
}


@pytest.mark.parametrize(("patterns", "paths"), LISTS.values(), ids=LISTS)
def test_list_of_patterns(patterns, paths):
    mask = pattern_mask(patterns, PARAMS)
    chex.assert_trees_all_equal_structs(mask, PARAMS)
    assert picked(mask) == paths


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        ("kernal", r"'kernal' matches no leaf.*enc/kernel"),
        (["kernel", "!bais"], r"'bais' matches no leaf.*bias"),
        (re.compile("x+y"), r"matches no leaf"),
    ],
)
def test_pattern_that_matches_nothing_is_an_error(patterns, message):
    with pytest.raises(ValueError, match=message):
        pattern_mask(patterns, PARAMS)
    with pytest.raises(ValueError, match=message):
        optax_lite.adamw(0.1, mask=patterns).init(PARAMS)


def test_patterns_can_match_none_and_masked_leaves():
    tree = {"a": {"w": None, "b": jnp.ones(1)}, "w": MaskedNode()}
    assert pattern_mask("w", tree) == {"a": {"w": True, "b": False}, "w": True}


def test_component_called_value_is_one_like_any_other():
    params = {"attention": {"query": jnp.ones(1), "value": jnp.ones(1)}}
    assert picked(pattern_mask("value", params)) == {"attention/value"}
    assert picked(pattern_mask("attention/value", params)) == {"attention/value"}


class Net(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Linear(2, 3, rngs=rngs)
        self.layers = nnx.List([nnx.Linear(3, 3, rngs=rngs)])


def test_flax_nnx_paths_are_matched_without_their_value():
    state = nnx.state(Net(nnx.Rngs(0)), nnx.Param)
    assert picked(pattern_mask("kernel", state)) == {"first/kernel/value", "layers/0/kernel/value"}
    assert picked(pattern_mask("layers/*/bias", state)) == {"layers/0/bias/value"}
    assert picked(pattern_mask(re.compile("^first/kernel$"), state)) == {"first/kernel/value"}


def test_patterns_mean_the_same_leaves_in_init_and_update_of_flax_nnx():
    model = Net(nnx.Rngs(0))
    optimizer = nnx.Optimizer(
        model, masked(optax_lite.sgd(1.0, 0.9), ["kernel", "!first"]), wrt=nnx.Param
    )
    before = jax.tree.map(jnp.copy, nnx.to_pure_dict(nnx.state(model, nnx.Param)))
    optimizer.update(model, jax.tree.map(jnp.ones_like, nnx.state(model, nnx.Param)))
    after = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    moved = jax.tree.map(lambda b, a: jnp.mean(a - b).round(4), before, after)
    # the rest is passed on: +1
    assert picked(jax.tree.map(lambda d: bool(d < 0), moved)) == {"layers/0/kernel"}


# --- masks ----------------------------------------------------------------------------------------

TREE = {"a": {"w": jnp.full(2, 3.0), "b": jnp.full(2, 4.0)}, "c": jnp.full(1, 12.0)}
MASKS = {
    "tree": {"a": {"w": True, "b": True}, "c": False},
    "prefix": {"a": True, "c": False},
    "function to a tree": lambda tree: jax.tree.map(lambda x: x.size == 2, tree),
    "function to a prefix": lambda tree: {key: key == "a" for key in tree},
    "pattern": "a",
    "exclusion": "!c",
    "patterns": ["w", "b"],
    "regex": re.compile("^a/"),
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_mask_in_every_form_gives_the_same_updates_and_state(mask):
    tx = masked(optax_lite.trace(0.5), mask)
    state = tx.init(TREE)
    _, state = tx.update(TREE, state)
    updates, state = tx.update(TREE, state)
    chex.assert_trees_all_equal(
        updates, {"a": jax.tree.map(lambda x: 1.5 * x, TREE["a"]), "c": TREE["c"]}
    )
    assert state.inner_state.trace["c"] == MaskedNode()
    chex.assert_trees_all_equal(state.inner_state.trace["a"], updates["a"])


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_decay_takes_a_mask_in_every_form(mask):
    tx = optax_lite.add_decayed_weights(0.5, mask)
    updates, _ = tx.update(TREE, tx.init(TREE), TREE)
    chex.assert_trees_all_equal(
        updates, {"a": jax.tree.map(lambda x: 1.5 * x, TREE["a"]), "c": TREE["c"]}
    )


@pytest.mark.parametrize(("whole", "factor"), [(True, 2.0), (False, 1.0)])
def test_mask_of_one_bool_is_for_the_whole_tree(whole, factor):
    tx = masked(optax_lite.scale(2.0), whole)
    updates, _ = tx.update(TREE, tx.init(TREE))
    chex.assert_trees_all_equal(updates, jax.tree.map(lambda x: factor * x, TREE))


def test_mask_keeps_none_leaves_in_and_out():
    grads = {"a": {"w": None, "b": jnp.ones(2)}, "c": None}
    tx = masked(optax_lite.sgd(1.0, 0.9), "a")
    updates, state = tx.update(grads, tx.init(TREE), TREE)
    assert updates["a"]["w"] is None and updates["c"] is None
    chex.assert_trees_all_equal(updates["a"]["b"], -jnp.ones(2))
    chex.assert_trees_all_equal(state.inner_state[0].trace["a"]["w"], jnp.zeros(2))


def test_masks_nest():
    tx = masked(masked(optax_lite.trace(0.5), "w"), "a")
    updates, state = tx.update(TREE, tx.init(TREE))
    chex.assert_trees_all_equal(updates, TREE)
    kept = state.inner_state.inner_state.trace
    assert (kept["a"]["b"], kept["c"]) == (MaskedNode(), MaskedNode())


@pytest.mark.parametrize("masks", [("c", "a"), ("c", "c")], ids=str)
def test_masked_out_leaves_of_a_chain_reach_the_next_member(masks):
    tx = optax_lite.chain(*(masked(optax_lite.scale(2.0), mask) for mask in masks))
    updates, _ = tx.update(TREE, tx.init(TREE))
    assert updates["c"] == 12.0 * 2 ** masks.count("c")
    assert updates["a"]["w"][0] == 3.0 * 2 ** masks.count("a")


# --- labels ---------------------------------------------------------------------------------------

LABELS = {
    "tree": {"a": {"w": "up", "b": "up"}, "c": "stay"},
    "prefix": {"a": "up", "c": "stay"},
    "function to a tree": lambda tree: jax.tree.map(
        lambda x: "up" if x.size == 2 else "stay", tree
    ),
    "function to a prefix": lambda tree: {key: "up" if key == "a" else "stay" for key in tree},
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_labels_in_every_form_give_the_same_updates_and_state(labels):
    tx = partition(
        {
            "up": optax_lite.trace(0.5),
            "stay": optax_lite.set_to_zero(),
            "nobody": optax_lite.ema(0.5),
        },
        labels,
    )
    updates, state = tx.update(TREE, tx.init(TREE))
    chex.assert_trees_all_equal(updates, {"a": TREE["a"], "c": jnp.zeros(1)})
    assert state.inner_states.keys() == {"up", "stay", "nobody"}
    assert state.inner_states["up"].inner_state.trace["c"] == MaskedNode()
    assert not jax.tree.leaves(state.inner_states["nobody"].inner_state.ema)


def test_label_for_the_whole_tree():
    tx = partition({"all": optax_lite.scale(2.0)}, "all")
    chex.assert_trees_all_equal(
        tx.update(TREE, tx.init(TREE))[0], jax.tree.map(lambda x: 2 * x, TREE)
    )


def test_partition_keeps_none_leaves():
    grads = {"a": {"w": None, "b": jnp.ones(2)}, "c": jnp.ones(1)}
    tx = partition(
        {"fast": optax_lite.sgd(2.0), "slow": optax_lite.adam(0.1)}, {"a": "slow", "c": "fast"}
    )
    updates, _ = tx.update(grads, tx.init(TREE), TREE)
    assert updates["a"]["w"] is None
    chex.assert_trees_all_close(updates["c"], jnp.full(1, -2.0))


def test_unknown_label_names_the_leaf_the_label_and_the_choices():
    tx = partition(
        {"fast": optax_lite.sgd(1.0), "slow": optax_lite.sgd(0.1)},
        {"a": {"w": "fast", "b": "fats"}, "c": "slow"},
    )
    with pytest.raises(
        ValueError,
        match=r"leaf 'a/b' has the label 'fats', but transforms has only \['fast', 'slow'\]",
    ):
        tx.init(TREE)


# --- norms of a group -----------------------------------------------------------------------------


def norms(tree):
    return {key: round(float(optax_lite.global_norm(part)), 4) for key, part in tree.items()}


def test_norm_inside_a_mask_is_that_of_the_leaves_in_it():
    tx = masked(optax_lite.clip_by_global_norm(1.0), "a")
    assert norms(tx.update(TREE, tx.init(TREE))[0]) == {"a": 1.0, "c": 12.0}


def test_norm_inside_a_partition_is_that_of_the_group():
    clip = optax_lite.clip_by_global_norm
    tx = partition({"one": clip(1.0), "two": clip(2.0)}, {"a": "one", "c": "two"})
    assert norms(tx.update(TREE, tx.init(TREE))[0]) == {"a": 1.0, "c": 2.0}


def test_norm_outside_is_that_of_all_leaves():
    tx = optax_lite.chain(optax_lite.clip_by_global_norm(1.0), masked(optax_lite.scale(3.0), "c"))
    root = (9 * 2 + 16 * 2 + 144) ** 0.5
    assert norms(tx.update(TREE, tx.init(TREE))[0]) == {
        "a": round(50**0.5 / root, 4),
        "c": round(36 / root, 4),
    }


# --- what does not fit ----------------------------------------------------------------------------

MISFITS = {
    "missing key": ({"a": True}, "c"),
    "unknown key": ({"a": True, "c": False, "d": True}, "d"),
    "missing key below": ({"a": {"w": True}, "c": False}, "a/b"),
    "deeper than the params": ({"a": True, "c": {"x": True}}, "c"),
    "other container": ((True, False), None),
    "None": ({"a": None, "c": True}, "a"),
}


def groups(labels):
    return partition({"one": optax_lite.scale(1.0), "two": optax_lite.set_to_zero()}, labels)


@pytest.mark.parametrize(("mask", "path"), MISFITS.values(), ids=MISFITS)
@pytest.mark.parametrize(
    "form", [lambda tree: tree, lambda tree: lambda _: tree], ids=["tree", "function"]
)
@pytest.mark.parametrize("what", ["mask", "label"])
def test_mask_or_labels_that_do_not_fit_name_the_path(what, form, mask, path):
    labels = jax.tree.map(lambda chosen: "one" if chosen else "two", mask)
    tx = masked(optax_lite.trace(0.5), form(mask)) if what == "mask" else groups(form(labels))
    with pytest.raises(ValueError) as error:
        tx.init(TREE)
    said = str(error.value).replace("masked:", "")
    assert what in said
    assert path is None or f"'{path}" in said


@pytest.mark.parametrize("leaf", [1, 0.0, jnp.ones(2), "yes "], ids=str)
def test_mask_leaf_that_is_not_a_bool_is_named(leaf):
    with pytest.raises(ValueError, match=r"'a/w' must be True or False"):
        masked(optax_lite.trace(0.5), {"a": {"w": leaf, "b": True}, "c": False}).init(TREE)


def test_mask_compatible_extra_arguments_are_masked_too():
    seen = []

    def update(updates, state, params=None, *, value=None, tree=None):
        seen.append((value, tree))
        return updates, state

    inner = optax_lite.GradientTransformation(lambda params: optax_lite.EmptyState(), update)
    tx = masked(inner, {"a": True, "c": False}, mask_compatible_extra_args=True)
    tx.update(TREE, tx.init(TREE), value=jnp.float32(1), tree=TREE)
    value, tree = seen[-1]
    assert value.shape == () and tree["c"] == MaskedNode() and tree["a"].keys() == TREE["a"].keys()
