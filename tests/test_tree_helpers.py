"""Arithmetic on trees against numpy, lookups by name in states and optimizers, and slots by
parameter.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optax_lite as ol
from optax_lite import tree, tree_utils
from tests.closeness import A_STEP, assert_close

PROVES = ("wrappers.accumulate",)  # the places of its slots

A = {"w": jnp.array([[3.0, -4.0]]), "b": [jnp.array(12.0), None], "n": jnp.array([1, 2])}
B = {"w": jnp.array([[0.5, 2.0]]), "b": [jnp.array(-1.0), None], "n": jnp.array([3, 4])}
AB = {k: A[k] for k in "wb"}  # its norm is 13
LOW = {"w": jnp.full(1000, 1.01, jnp.bfloat16), "b": jnp.array([300.0, -400.0], jnp.float16)}
Z = {"z": jnp.array([3 + 4j, 1j]), "x": jnp.array([2.0])}
PARAMS = {"w": jnp.ones((2, 3)), "b": jnp.zeros(3)}


class Pair(NamedTuple):
    a: object
    b: object


# --- found by name --------------------------------------------------------------------------------

NESTED = Pair(1, {"a": Pair(2, None), "c": [Pair({"a": 3}, 4)]})


def test_every_value_of_a_name_is_found_with_its_path():
    found = tree.get_all_with_path(NESTED, "a")
    paths = [jax.tree_util.keystr(path) for path, _ in found]
    assert paths == [
        "Pair.a",
        "Pair.b['a']",
        "Pair.b['a']Pair.a",
        "Pair.b['c'][0]Pair.a",
        "Pair.b['c'][0]Pair.a['a']",
    ]
    assert [value for _, value in found] == [1, Pair(2, None), 2, {"a": 3}, 3]
    assert found[0][0] == (tree.NamedTupleKey("Pair", "a"),)


def test_a_class_of_named_tuples_is_a_name_and_none_a_value():
    assert [value for _, value in tree.get_all_with_path(NESTED, "Pair")] == [
        NESTED,
        Pair(2, None),
        Pair({"a": 3}, 4),
    ]
    assert tree.get(NESTED, "c") == [Pair({"a": 3}, 4)]
    assert tree.get(Pair(None, 1), "a", default=5) is None
    assert tree.get({1: "x"}, 1) == "x"
    assert tree.get([7, 8], 1) is None and tree.get([7, 8], "zz", default=9) == 9


def test_a_filter_chooses_by_path_or_value():
    assert tree.get(NESTED, "a", filtering=lambda path, value: value == 3) == 3
    assert tree.get(NESTED, "b", filtering=lambda path, value: len(path) > 3) == 4
    with pytest.raises(
        KeyError,
        match=r"several values are called 'b': Pair\.b, Pair\.b/a/Pair\.b, .*filtering=lambda",
    ):
        tree.get(NESTED, "b")


def test_set_replaces_every_place_and_keeps_the_types():
    assert tree.set(NESTED, lambda path, value: not isinstance(value, (Pair, dict)), a=0) == Pair(
        0, {"a": Pair(0, None), "c": [Pair({"a": 0}, 4)]}
    )
    assert tree.set({"x": {"x": 1}, "y": Pair(1, 2)}, x=0, b=3) == {"x": 0, "y": Pair(1, 3)}
    assert tree.set([Pair(1, 2), 3], Pair="gone") == ["gone", 3]
    # what is set is not searched
    assert tree.set(Pair(1, {"c": 2}), b={"c": 3}, c=4) == Pair(1, {"c": 3})
    assert tree.set(NESTED) == NESTED


def test_set_says_which_names_exist():
    with pytest.raises(KeyError, match="no value is called 'count1'; the nearest names: count"):
        tree.set(ol.adam(0.1).init(PARAMS), count1=2)
    with pytest.raises(KeyError, match="no value that passes the filter is called 'count'"):
        tree.set(ol.adam(0.1).init(PARAMS), lambda path, value: False, count=2)


def test_states_of_chains_are_read_and_edited():
    tx = ol.chain(ol.clip_by_global_norm(1.0), ol.adamw(ol.linear_schedule(0.1, 0.0, 5)))
    state = tx.init(PARAMS)
    _, state = tx.update(PARAMS, state, PARAMS)
    in_adam = lambda path, value: path[-1] == tree.NamedTupleKey("ScaleByAdamState", "count")  # noqa: E731
    assert tree.get(state, "count", filtering=in_adam) == 1
    chex.assert_trees_all_equal(tree.get(state, "mu"), tree.get(state, "ScaleByAdamState").mu)
    later = tree.set(state, count=jnp.int32(7))
    assert [int(count) for _, count in tree.get_all_with_path(later, "count")] == [7, 7]
    assert jax.tree.structure(later) == jax.tree.structure(state)
    tx.update(PARAMS, later, PARAMS)


def test_hyperparameters_are_found_in_an_optimizer():
    tx = ol.chain(ol.clip_by_global_norm(1.0), ol.adamw(ol.linear_schedule(0.1, 0.0, 5), b1=0.8))
    assert tree.get(tx, "b1") == 0.8 and tree.get(tx, "max_norm") == 1.0
    assert tree.get(tx, "learning_rate") == ol.linear_schedule(0.1, 0.0, 5)
    assert tree.get(ol.adam(1e-3), "learning_rate") == 1e-3
    assert tree.set(tx, b1=0.7) == tx.replace(b1=0.7)


# --- slots of the parameters ----------------------------------------------------------------------

SPECS = {"w": "rows", "b": "whole"}
WEIGHTS = {"w": True, "b": False}
HALF = {"w": "rows", "b": ol.MaskedNode()}
OPTIMIZERS = {
    "adam": (ol.adam(0.1), [SPECS, SPECS]),
    "scheduled": (ol.rmsprop(ol.linear_schedule(1.0, 0.0, 3), momentum=0.9), [SPECS, SPECS]),
    "masked by a tree": (ol.masked(ol.adam(0.1), WEIGHTS), [HALF, HALF]),
    "masked by a pattern": (ol.masked(ol.trace(0.9), "w"), [HALF]),
    "masked by a function": (
        ol.masked(ol.trace(0.9), lambda params: WEIGHTS if "w" in params else params),
        [HALF],
    ),
    "decay with a mask": (ol.adamw(0.1, mask=["!b"]), [SPECS, SPECS]),
    "MultiSteps": (ol.MultiSteps(ol.adam(0.1), 2), [SPECS, SPECS, SPECS]),
    "partition": (
        ol.partition(
            {"m": ol.trace(0.9), "n": ol.set_to_zero(), "a": ol.sgd(0.1)}, {"w": "m", "b": "n"}
        ),
        [HALF],
    ),
}


@pytest.mark.parametrize(("tx", "slots"), OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
def test_map_params_gives_every_slot_the_values_of_its_parameter(tx, slots):
    if "lambda" in repr(tx):
        tx = ol.masked(
            ol.trace(0.9),
            lambda params: jax.tree_util.tree_map_with_path(lambda p, _: "w" in str(p), params),
        )
    state = tx.init(PARAMS)
    specs = tree.map_params(
        tx, lambda slot, spec: spec, state, SPECS, transform_non_params=lambda _: "count"
    )
    found = jax.tree.leaves(specs, is_leaf=lambda x: isinstance(x, dict) and set(x) == {"w", "b"})
    assert [x for x in found if x != "count"] == slots
    same = tree.map_params(tx, lambda slot: slot, state)
    chex.assert_trees_all_equal(same, state)
    assert jax.tree.structure(same) == jax.tree.structure(state)


def test_map_params_of_a_function_of_an_array_and_of_what_is_masked():
    doubled = tree.map_params(lambda p: {"m": p, "t": 0}, lambda x: 2 * x, {"m": PARAMS, "t": 1})
    chex.assert_trees_all_equal(doubled, {"m": tree.scale(2, PARAMS), "t": 1})
    tx = ol.adam(0.1)
    moved = tree.map_params(tx, lambda x: x + 1, tx.init(jnp.zeros(2)))
    assert np.all(moved[0].mu == 1) and moved[0].count == 0
    masked = ol.masked(ol.trace(0.9), WEIGHTS)
    seen = tree.map_params(
        masked,
        lambda x, spec: spec,
        masked.init(PARAMS),
        SPECS,
        is_leaf=lambda x: isinstance(x, ol.MaskedNode),
    )
    assert tree.get(seen, "trace") == SPECS


def test_an_init_that_needs_the_parameters_says_so():
    with pytest.raises(TypeError) as caught:
        tree.map_params(lambda params: params["w"], lambda x: x, PARAMS)
    assert "map_params calls init with a placeholder" in caught.value.__notes__[0]


# --- arithmetic -----------------------------------------------------------------------------------


def as_numpy(values):
    return jax.tree.map(np.asarray, values)


LEAFWISE = {
    "add": (lambda: tree.add(A, B), lambda a, b: a + b),
    "add three": (lambda: tree.add(A, B, B), lambda a, b: a + b + b),
    "sub": (lambda: tree.sub(A, B), lambda a, b: a - b),
    "mul": (lambda: tree.mul(A, B), lambda a, b: a * b),
    "div": (lambda: tree.div(A, B), lambda a, b: a / b),
    "scale": (lambda: tree.scale(3, A), lambda a, b: 3 * a),
    "add_scale": (lambda: tree.add_scale(A, 3, B), lambda a, b: a + 3 * b),
    "where": (lambda: tree.where(jnp.array(False), A, B), lambda a, b: b),
    "clip": (lambda: tree.clip(A, 2), lambda a, b: np.maximum(a, 2)),
    "clip above": (lambda: tree.clip(A, max_value=2), lambda a, b: np.minimum(a, 2)),
    "cast": (lambda: tree.cast(A, jnp.float16), lambda a, b: a.astype(np.float16)),
    "cast to nothing": (lambda: tree.cast(A, None), lambda a, b: a),
    "cast_like": (
        lambda: tree.cast_like(A, tree.cast(B, jnp.float16)),
        lambda a, b: a.astype(np.float16),
    ),
    "full_like": (lambda: tree.full_like(A, 2), lambda a, b: 2 + 0 * a),
    "zeros_like": (lambda: tree.zeros_like(A), lambda a, b: 0 * a),
    "ones_like": (lambda: tree.ones_like(A, jnp.float16), lambda a, b: np.ones_like(a, np.float16)),
    "batch_shape": (
        lambda: tree.batch_shape(A, (3, 1)),
        lambda a, b: np.broadcast_to(a, (3, 1, *a.shape)),
    ),
    "batch_shape of nothing": (lambda: tree.batch_shape(A), lambda a, b: a),
}


@pytest.mark.parametrize(("call", "expected"), LEAFWISE.values(), ids=LEAFWISE.keys())
def test_leaf_by_leaf_it_is_numpy(call, expected):
    reference = jax.tree.map(lambda a, b: jnp.asarray(expected(a, b)), as_numpy(A), as_numpy(B))
    chex.assert_trees_all_equal(call(), reference)
    chex.assert_trees_all_equal_shapes_and_dtypes(call(), reference)


def test_real_and_imaginary_parts():
    chex.assert_trees_all_equal(tree.real(Z), {"z": jnp.array([3.0, 0.0]), "x": jnp.array([2.0])})
    chex.assert_trees_all_equal(
        tree.conj(Z), {"z": jnp.array([3 - 4j, -1j]), "x": jnp.array([2.0])}
    )


ONE_NUMBER = {
    "sum": (lambda: tree.sum(A), 14.0),
    "sum by pairs": (lambda: tree.sum(A, associative_reduction=True), 14.0),
    "sum of nothing": (lambda: tree.sum({}), 0),
    "sum of integers": (lambda: tree.sum({"i": jnp.full(3, 2**24 + 1)}), 3 * 2**24 + 3),
    "sum in bfloat16": (lambda: tree.sum(LOW), 1000 * float(jnp.bfloat16(1.01)) - 100),
    "vdot": (lambda: tree.vdot(A, B), 1.5 - 8 - 12 + 11),
    "vdot in float16": (lambda: tree.vdot({"b": LOW["b"]}, {"b": LOW["b"]}), 250_000.0),
    "vdot of integers": (lambda: tree.vdot({"n": A["n"]}, {"n": B["n"]}), 11),
    "vdot of int8": (
        lambda: tree.vdot([jnp.full(10, 100, jnp.int8)], [jnp.full(10, 100, jnp.int8)]),
        100_000,
    ),
    "vdot of bools": (lambda: tree.vdot([jnp.ones(300, bool)], [jnp.ones(300, bool)]), 300),
    "sum of int8": (lambda: tree.sum({"a": jnp.full(10, 100, jnp.int8), "b": jnp.int8(100)}), 1100),
    "norm 1 of int8": (lambda: tree.norm([jnp.full(3, -128, jnp.int8)], 1), 384),
    "norm inf of int8": (
        lambda: tree.norm([jnp.full(3, -128, jnp.int8)], "inf", squared=True),
        16384,
    ),
    "vdot complex": (lambda: tree.vdot(Z, tree.conj(Z)), (3 - 4j) ** 2 + (-1j) ** 2 + 4),
    "max": (lambda: tree.max(A), 12.0),
    "max of nothing": (lambda: tree.max({"e": jnp.ones(0)}), -np.inf),
    "max of integers": (lambda: tree.max({"n": A["n"], "e": jnp.ones(0)}), 2),
    "min": (lambda: tree.min(A), -4.0),
    "min of nothing": (lambda: tree.min({}), np.inf),
    "norm": (lambda: tree.norm(AB), 13.0),
    "norm squared": (lambda: tree.norm(AB, squared=True), 169.0),
    "norm 2": (lambda: tree.norm(AB, 2), 13.0),
    "norm 1": (lambda: tree.norm(A, 1), 22.0),
    "norm 1 squared": (lambda: tree.norm(A, 1, squared=True), 484.0),
    "norm inf": (lambda: tree.norm(A, jnp.inf), 12.0),
    "norm inf squared, float16": (lambda: tree.norm(LOW, "inf", squared=True), 160_000.0),
    "norm inf of nothing": (lambda: tree.norm({}, "inf"), 0.0),
    "norm of complex": (lambda: tree.norm(Z, 1), 8.0),
    "norm in float16": (lambda: tree.norm({"b": 100 * LOW["b"]}), 50_000.0),
    "size": (lambda: tree.size(A), 5),
    "size of numbers": (lambda: tree.size([1.0, None, 2]), 2),
    "allclose": (lambda: tree.allclose(A, A), True),
    "allclose apart": (lambda: tree.allclose(AB, tree.scale(1.001, AB)), False),
    "allclose within rtol": (lambda: tree.allclose(AB, tree.scale(1.001, AB), rtol=0.01), True),
    "allclose within atol": (lambda: tree.allclose(AB, tree.scale(1.001, AB), atol=0.1), True),
    "allclose of other shapes": (lambda: tree.allclose([jnp.ones(2)], [jnp.ones(())]), False),
    "allclose of other dtypes": (
        lambda: tree.allclose([jnp.ones(2)], [jnp.ones(2, jnp.bfloat16)]),
        True,
    ),
    "allclose of NaN": (lambda: tree.allclose([jnp.nan], [jnp.nan]), False),
    "allclose of equal NaN": (lambda: tree.allclose([jnp.nan], [jnp.nan], equal_nan=True), True),
    "allclose of nothing": (lambda: tree.allclose({}, {}), True),
}


@pytest.mark.parametrize(("call", "expected"), ONE_NUMBER.values(), ids=ONE_NUMBER.keys())
def test_one_number_of_a_tree(call, expected):
    value = call()
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    dtype = np.asarray(value).dtype
    assert (dtype.kind in "bi") == isinstance(expected, int)
    assert dtype.kind == "b" or dtype.itemsize >= 4, "float32 at least"


DTYPES = {
    "same": ([jnp.ones(1), 1.0], None, "float32"),
    "nothing": ([], None, "float32"),
    "promote": ([jnp.ones(1, jnp.bfloat16), jnp.ones(1, jnp.float16)], "promote", "float32"),
    "highest": ([jnp.ones(1, jnp.bfloat16), 1], "highest", "bfloat16"),
    "lowest": ([jnp.ones(1, jnp.bfloat16), 1], "lowest", "int32"),
    "highest of three": (
        [jnp.ones(1, jnp.float16), jnp.ones(1), jnp.ones(1, jnp.bfloat16)],
        "highest",
        "float32",
    ),
}


@pytest.mark.parametrize(("values", "handler", "expected"), DTYPES.values(), ids=DTYPES.keys())
def test_dtype(values, handler, expected):
    assert tree.dtype(values, handler) == expected


def test_dtype_names_the_leaves_that_differ():
    mixed = {"a": jnp.ones(1, jnp.bfloat16), "b": jnp.ones(1, jnp.float16)}
    with pytest.raises(
        ValueError, match="dtype: the leaves have no common dtype: a bfloat16, b float16"
    ):
        tree.dtype(mixed)
    with pytest.raises(ValueError, match="no lowest dtype"):
        tree.dtype(mixed, "lowest")
    with pytest.raises(ValueError, match=r"mixed_dtype_handler must be one of .*, got 'high'"):
        tree.dtype(mixed, "high")
    with pytest.raises(ValueError, match="norm: ord must be None, 1, 2 or inf, got 3"):
        tree.norm(mixed, 3)


@pytest.mark.nightly
def test_every_leaf_has_its_own_random_numbers():
    key, like = (
        jax.random.key(0),
        {"a": jnp.ones((2, 3)), "b": [jnp.ones((2, 3), jnp.bfloat16), None], "c": 1.0},
    )
    draws = tree.random_like(key, like)
    chex.assert_trees_all_equal_shapes_and_dtypes(draws, jax.tree.map(jnp.asarray, like))
    keys = jax.random.split(key, 3)
    assert_close(draws["b"][0], jax.random.normal(keys[1], (2, 3), jnp.bfloat16), ulps=1)
    chex.assert_trees_all_equal(tree.split_key_like(key, like)["c"], keys[2])
    signs = tree.random_like(key, like, jax.random.rademacher, jnp.int32)
    assert set(np.unique(signs["a"])) <= {-1, 1} and signs["a"].dtype == jnp.int32
    raw = tree.unwrap_random_key_data({"key": key, "x": 1, "n": None})
    chex.assert_trees_all_equal(raw, {"key": jax.random.key_data(key), "x": 1, "n": None})


# --- moments --------------------------------------------------------------------------------------

G, M = {"a": jnp.array([2.0, -3.0]), "n": None}, {"a": jnp.array([1.0, 0.5]), "n": None}
MOMENTS = {
    "order 1": (lambda: tree.update_moment(G, M, 0.75, 1), [1.25, -0.375]),
    "order 2": (lambda: tree.update_moment(G, M, 0.75, 2), [1.75, 2.625]),
    "order 3": (lambda: tree.update_moment(G, M, 0.75, 3), [2.75, -6.375]),
    "norm of order 2": (lambda: tree.update_moment_per_elem_norm(G, M, 0.75, 2), [1.75, 2.625]),
    "norm of order 1": (lambda: tree.update_moment_per_elem_norm(G, M, 0.75, 1), [1.25, 1.125]),
    "norm of order 3": (lambda: tree.update_moment_per_elem_norm(G, M, 0.75, 3), [2.75, 7.125]),
    "infinity": (lambda: tree.update_infinity_moment(G, tree.scale(3, M), 0.75, 0.5), [2.5, 3.5]),
    "infinity decays": (
        lambda: tree.update_infinity_moment(G, tree.scale(40, M), 0.75, 0.5),
        [30.0, 15.0],
    ),
    "bias": (lambda: tree.bias_correction(M, 0.5, jnp.int32(2)), [4 / 3, 2 / 3]),
}


@pytest.mark.parametrize(("call", "expected"), MOMENTS.values(), ids=MOMENTS.keys())
def test_moments(call, expected):
    new = call()
    assert new["n"] is None
    assert_close(new["a"], np.array(expected), ulps=A_STEP)


def test_moments_keep_their_dtype_and_stay_where_there_is_no_update():
    low = tree.update_moment(G, tree.cast(M, jnp.bfloat16), 0.75, 2)
    assert low["a"].dtype == jnp.bfloat16
    kept = tree.update_moment({"a": None}, {"a": M["a"]}, 0.75, 2)
    chex.assert_trees_all_equal(kept, {"a": M["a"]})
    real = tree.update_moment_per_elem_norm(
        {"z": jnp.array([3 + 4j])}, {"z": jnp.array([1.0])}, 0.5, 2
    )
    assert real["z"].dtype == jnp.float32 and real["z"] == 13
    with pytest.raises(ValueError, match="leaf 'a': the gradient has shape"):
        tree.update_moment({"a": jnp.ones((2, 1))}, {"a": M["a"]}, 0.75, 2)


def test_moments_are_those_of_adam():
    tx = ol.scale_by_adam(0.9, 0.99)
    state = tx.init(PARAMS)
    _, state = tx.update(PARAMS, state)
    updates, new = tx.update(PARAMS, state)
    mu, nu = (
        tree.update_moment(PARAMS, state.mu, 0.9, 1),
        tree.update_moment_per_elem_norm(PARAMS, state.nu, 0.99, 2),
    )
    assert_close((mu, nu), (new.mu, new.nu), ulps=A_STEP)
    m, v = tree.bias_correction(mu, 0.9, new.count), tree.bias_correction(nu, 0.99, new.count)
    by_hand = jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + 1e-8), m, v)
    assert_close(updates, by_hand, ulps=A_STEP)


def test_everything_runs_compiled():
    chex.assert_trees_all_close(
        jax.jit(
            lambda t: (tree.norm(t), tree.sum(t), tree.max(t), tree.get(t, "w"), tree.set(t, w=0.0))
        )(A),
        (tree.norm(A), tree.sum(A), tree.max(A), A["w"], {**A, "w": jnp.array(0.0)}),
    )


def test_the_other_names_are_the_same_functions():
    helpers = {
        n: f
        for n, f in vars(tree).items()
        if getattr(f, "__module__", "").endswith("optax_lite.tree")
    }
    public = {
        n for n, f in helpers.items() if not n.startswith("_") and not isinstance(f, type)
    } | {"cast_like"}
    assert {n.removeprefix("tree_") for n in vars(tree_utils) if n.startswith("tree_")} == public
    assert all(getattr(tree_utils, f"tree_{n}") is getattr(tree, n) for n in public)
    assert (
        tree_utils.NamedTupleKey is tree.NamedTupleKey
        and ol.tree is tree
        and ol.tree_utils is tree_utils
    )
