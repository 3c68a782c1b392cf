"""Trees, precision and shared arithmetic: leafwise, slots, norms, counters, bias correction,
applying updates.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optax_lite
from optax_lite import (
    MaskedNode,
    apply_updates,
    bias_correction_factor,
    global_norm,
    increment,
    incremental_update,
    leafwise,
    periodic_update,
)
from optax_lite.core.leafwise import compute_dtype, full_like, zeros_like
from optax_lite.core.numerics import abs_sq, sqrt
from optax_lite.core.trees import leaf_paths
from tests.compilations import count_lowerings

MODES = {"eager": lambda f: f, "jit": jax.jit}


def double(g):
    return 2 * g


def momentum(g, m):
    m = 0.5 * m + g
    return -m, m


# --- leafwise -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_leafwise_without_slots_returns_the_updates_alone(mode):
    tree = {"a": jnp.arange(3.0), "b": [jnp.ones((2, 1)), jnp.float32(4)]}
    chex.assert_trees_all_equal(
        mode(lambda t: leafwise(double, t))(tree), jax.tree.map(double, tree)
    )


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_leafwise_returns_updates_and_slots(mode):
    g, m = {"a": jnp.ones(2), "b": jnp.zeros(())}, {"a": jnp.full(2, 4.0), "b": jnp.ones(())}
    updates, new = mode(lambda g, m: leafwise(momentum, g, m))(g, m)
    chex.assert_trees_all_equal(new, {"a": jnp.full(2, 3.0), "b": jnp.float32(0.5)})
    chex.assert_trees_all_equal(updates, jax.tree.map(jnp.negative, new))


def test_leafwise_reads_without_returning():
    g, p = {"a": jnp.ones(2)}, {"a": jnp.full(2, 3.0)}
    chex.assert_trees_all_equal(leafwise(lambda g, p: g + p, g, read=(p,)), {"a": jnp.full(2, 4.0)})


@pytest.mark.parametrize("nothing", [None, MaskedNode()], ids=str)
def test_leafwise_passes_over_nothing_and_leaves_its_slot(nothing):
    g, m = {"a": nothing, "b": jnp.ones(2)}, {"a": jnp.ones(3), "b": jnp.zeros(2)}
    updates, new = leafwise(momentum, g, m)
    assert updates["a"] is nothing and new["a"] is m["a"]
    chex.assert_trees_all_equal(new["b"], jnp.ones(2))


@pytest.mark.parametrize("tree", [{}, (), None, [None]], ids=str)
def test_leafwise_of_no_leaves(tree):
    assert leafwise(double, tree) == tree
    assert leafwise(momentum, tree, tree) == (tree, tree)


def test_leafwise_gives_a_rule_the_subtree_of_a_slot():
    def rule(g, slot):
        return g * slot["scale"], {"scale": slot["scale"] + 1, "seen": g}

    g, slots = (
        [jnp.ones(2), jnp.ones(3)],
        [{"scale": jnp.full(n, 2.0), "seen": jnp.zeros(n)} for n in (2, 3)],
    )
    updates, new = leafwise(rule, g, slots)
    chex.assert_trees_all_equal(updates, [jnp.full(2, 2.0), jnp.full(3, 2.0)])
    chex.assert_trees_all_equal(
        new, [{"scale": jnp.full(n, 3.0), "seen": jnp.ones(n)} for n in (2, 3)]
    )


def test_leafwise_lets_shapes_differ_only_where_a_method_says_so():
    g, row = {"a": jnp.ones((2, 3))}, {"a": jnp.zeros(2)}

    def rule(g, r):
        return g, r + g.sum(1)

    with pytest.raises(ValueError, match=r"'a'.*shape \(2, 3\), its state \(2,\)"):
        leafwise(rule, g, row)
    _, new = leafwise(rule, g, row, same_shape=False)
    chex.assert_trees_all_equal(new, {"a": jnp.full(2, 3.0)})


def test_leafwise_traces_leaves_that_look_alike_once():
    calls = []

    def rule(g):
        calls.append(g.shape)
        return g

    jax.jit(lambda tree: leafwise(rule, tree))([jnp.ones(2)] * 5 + [jnp.ones(3)] * 4)
    assert calls == [(2,), (3,)]


@pytest.mark.parametrize(
    ("updates", "other", "message"),
    [
        (
            {"a": jnp.ones((3, 1))},
            {"a": jnp.ones(3)},
            r"leaf 'a'.*\(3, 1\).*\(3,\).*nothing is broadcast",
        ),
        ({"a": jnp.ones(1)}, {"a": jnp.ones(3)}, r"leaf 'a'.*\(1,\).*\(3,\)"),
        ({"a": {"b": jnp.ones(())}}, {"a": {"b": jnp.ones(3)}}, r"leaf 'a/b'.*\(\).*\(3,\)"),
        (
            {"a": jnp.ones(3)},
            {"b": jnp.ones(3)},
            r"different structures.*'a' only in the updates.*'b' only in the",
        ),
        ({"a": jnp.ones(3)}, {"a": jnp.ones(3), "c": jnp.ones(3)}, r"'c' only in the"),
        ([jnp.ones(3)], (jnp.ones(3),), r"are in a list, the .* in a tuple"),
        ({"a": jnp.ones(3)}, {"a": None}, r"leaf 'a'.*was not trained at init"),
        ({"a": jnp.ones(3, int)}, {"a": jnp.ones(3)}, r"leaf 'a'.*int32\[3\].*pass None"),
        ({"a": jnp.ones(3, bool)}, {"a": jnp.ones(3)}, r"leaf 'a'.*bool\[3\].*pass None"),
    ],
    ids=[
        "(3,1) on (3,)",
        "(1,) on (3,)",
        "nested",
        "other key",
        "missing key",
        "container",
        "no slot",
        "int",
        "bool",
    ],
)
@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_leafwise_names_the_leaf_that_does_not_fit(mode, updates, other, message):
    with pytest.raises(ValueError, match=message):
        mode(lambda g, m: leafwise(momentum, g, m))(updates, other)
    with pytest.raises(ValueError, match=message.replace("state", "parameter")):
        mode(lambda g, p: leafwise(lambda g, p: g, g, read=(p,)))(updates, other)


# --- precision ------------------------------------------------------------------------------------

COMPUTED = {  # gradient, slot: the rule sees both in, the update leaves in
    ("bfloat16", "float32"): ("float32", "float32", "float32"),
    ("float16", "float16"): ("float32", "float32", "float32"),
    ("float32", "bfloat16"): ("float32", "float32", "float32"),
    ("float32", "float32"): ("float32", "float32", "float32"),
    ("float64", "float32"): ("float64", "float64", "float64"),
    ("bfloat16", "float64"): ("float64", "float64", "float64"),
    ("complex64", "float32"): ("complex64", "float32", "complex64"),
    ("complex64", "float64"): ("complex128", "float64", "complex128"),
    ("complex128", "bfloat16"): ("complex128", "float64", "complex128"),
    ("float32", "complex64"): ("float32", "complex64", "float32"),
}


@pytest.mark.parametrize(
    ("stored", "computed"), COMPUTED.items(), ids=lambda names: "-".join(names)
)
@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_rule_computes_in_float32_at_least(mode, stored, computed, x64):
    seen = []

    def rule(g, m):
        seen[:] = g.dtype.name, m.dtype.name
        return g, m

    g, m = (jnp.ones(2, dtype) for dtype in stored)
    updates, _ = mode(lambda g, m: leafwise(rule, g, m))(g, m)
    assert (*seen, updates.dtype.name) == computed


def test_strongly_typed_hyperparameters_do_not_decide_the_dtype_of_an_update(x64):
    rates = jnp.asarray([0.1, 0.2], jnp.float64)
    params = {"w": jnp.ones(3, jnp.bfloat16), "v": jnp.ones(3, jnp.float32)}

    def one(rate):
        tx = optax_lite.adam(rate)
        return tx.update(params, tx.init(params))[0]

    assert jax.tree.map(lambda x: x.dtype, jax.vmap(one)(rates)) == jax.tree.map(
        lambda x: x.dtype, params
    )


def test_compute_dtype_ignores_leaves_that_are_not_floating():
    assert compute_dtype(jnp.ones(2, int), jnp.ones(2, bool)) == jnp.float32


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_float0_gradient_means_nothing_here(mode):
    params = {"n": jnp.arange(3), "w": jnp.ones(2)}
    tx = optax_lite.adamw(0.1)

    @mode
    def step(params, state):
        grads = jax.grad(lambda p: jnp.sum(p["w"]) * 2.0, allow_int=True)(params)
        assert grads["n"].dtype == jax.dtypes.float0
        updates, state = tx.update(grads, state, params)
        return apply_updates(params, updates), updates, tx.step(grads, state, params)[0]

    new, updates, newer = step(params, tx.init(params))
    assert updates["n"] is None
    chex.assert_trees_all_equal(new["n"], newer["n"], params["n"])
    for moved in (new["w"], newer["w"]):  # a first step of 0.1, and 1e-5 of decay
        np.testing.assert_allclose(moved, params["w"] - 0.1, rtol=0, atol=2e-5)


# --- slots ----------------------------------------------------------------------------------------

SLOTS = {  # parameter dtype, asked dtype: slot, real slot
    ("bfloat16", None): ("float32", "float32"),
    ("float16", None): ("float32", "float32"),
    ("float32", None): ("float32", "float32"),
    ("float64", None): ("float64", "float64"),
    ("complex64", None): ("complex64", "float32"),
    ("complex128", None): ("complex128", "float64"),
    ("float32", "bfloat16"): ("bfloat16", "bfloat16"),
    ("bfloat16", "float16"): ("float16", "float16"),
    ("complex64", "bfloat16"): ("complex64", "float32"),
    ("complex64", "float64"): ("complex128", "float64"),
    ("float32", "complex64"): ("complex64", "float32"),
}


@pytest.mark.parametrize(
    ("asked", "got"), SLOTS.items(), ids=lambda names: "-".join(map(str, names))
)
def test_slot_dtype(asked, got, x64):
    p = {"w": jnp.ones((2, 3), asked[0])}
    assert zeros_like(p, asked[1])["w"].dtype == got[0]
    assert full_like(p, 0.5, asked[1], real=True)["w"].dtype == got[1]


def test_slots_exist_only_for_leaves_that_train():
    params = {
        "w": jnp.ones((2, 0)),
        "n": jnp.arange(3),
        "b": jnp.bool_(True),
        "none": None,
        "masked": MaskedNode(),
    }
    chex.assert_trees_all_equal(
        full_like(params, 7.0),
        {"w": jnp.full((2, 0), 7.0), "n": None, "b": None, "none": None, "masked": MaskedNode()},
    )


def test_slots_are_new_arrays_of_the_value():
    params = {"w": jnp.zeros(3)}
    slot = zeros_like(params)
    chex.assert_trees_all_equal(slot, params)
    assert slot["w"].unsafe_buffer_pointer() != params["w"].unsafe_buffer_pointer()
    chex.assert_trees_all_equal(full_like(params, 0.25), {"w": jnp.full(3, 0.25)})


def test_slots_that_look_alike_share_a_program_and_no_memory():
    params = [jnp.ones(5), jnp.ones(5), jnp.ones((3, 7)), jnp.ones(5)]
    with count_lowerings() as count:
        slots = [zeros_like(params), full_like(params, 0.5), zeros_like(params, real=True)]
    assert count() <= 3  # one a shape, and one where the value is no integer
    arrays = jax.tree.leaves([slots, jax.jit(zeros_like)(params)])
    assert len({x.unsafe_buffer_pointer() for x in arrays}) == len(arrays)
    assert len(jax.make_jaxpr(zeros_like)(params).eqns) == 2  # in a trace one line a shape


def test_slots_are_committed_where_their_parameter_is():
    device = jax.devices()[-1]
    params = {"held": jax.device_put(jnp.ones(3), device), "free": jnp.ones(3)}
    slots = full_like(params, 0.5)
    assert slots["held"].committed
    assert slots["held"].devices() == {device}
    assert not slots["free"].committed
    chex.assert_trees_all_equal(
        slots, {"held": np.full(3, 0.5, np.float32), "free": np.full(3, 0.5, np.float32)}
    )


def test_leaf_paths_count_none_and_masked():
    assert leaf_paths({"a": [None, jnp.ones(2)], "b": MaskedNode()}) == ["a/0", "a/1", "b"]
    assert leaf_paths(jnp.ones(2)) == ["(the only leaf)"]


# --- the norm over all leaves ---------------------------------------------------------------------

NORMS = {
    "empty": ({}, 0.0),
    "None leaves": ([None, jnp.full(4, 2.0)], 4.0),
    "zero-size leaf": ([jnp.ones((0, 3)), jnp.ones(())], 1.0),
    "zeros": ({"a": jnp.zeros(3)}, 0.0),
    "several leaves": ({"a": jnp.asarray([3.0, 0.0]), "b": jnp.float32(4.0)}, 5.0),
    "mixed dtypes": ([jnp.full(3, 2, jnp.bfloat16), jnp.full(1, 2, jnp.float16)], 4.0),
    "float16 would overflow": ([jnp.full(10_000, 300, jnp.float16)], 30_000.0),
    "float16 would underflow": ([jnp.full(10_000, 2.0**-14, jnp.float16)], 100 * 2.0**-14),
    "300 bfloat16 leaves": (
        [jnp.asarray(0.316, jnp.bfloat16)] * 300,
        float(jnp.bfloat16(0.316)) * 300**0.5,
    ),
    "complex": ([jnp.asarray([3 + 4j]), jnp.asarray([12.0])], 13.0),
    "inf": ([jnp.asarray([1.0, jnp.inf])], np.inf),
    "nan": ([jnp.asarray([1.0, jnp.nan])], np.nan),
}


@pytest.mark.parametrize(("tree", "norm"), NORMS.values(), ids=NORMS)
def test_global_norm(tree, norm):
    got = global_norm(tree)
    assert got.dtype == jnp.float32 and got.shape == ()
    np.testing.assert_allclose(got, norm, rtol=1e-6)


def test_global_norm_of_float64_is_float64(x64):
    got = global_norm([jnp.asarray([1e-200, 1.0]), jnp.float32(0)])
    assert got.dtype == jnp.float64 and got == 1.0


@pytest.mark.parametrize("order", [jax.grad, jax.jacfwd], ids=["reverse", "forward"])
def test_derivative_of_the_norm_is_finite_at_zero(order):
    chex.assert_trees_all_equal(order(global_norm)({"a": jnp.zeros(3)}), {"a": jnp.zeros(3)})
    chex.assert_trees_all_close(
        order(global_norm)({"a": jnp.asarray([3.0, 4.0])}), {"a": jnp.asarray([0.6, 0.8])}
    )


# --- counters and arithmetic ----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [jnp.int32, jnp.int8, jnp.uint8])
def test_increment_stays_at_the_top(dtype):
    top = jnp.iinfo(dtype).max
    for count, after in [(0, 1), (top - 1, top), (top, top)]:
        got = increment(jnp.asarray(count, dtype))
        assert got.dtype == dtype and got == after


def test_increment_of_a_float_counts_on():
    chex.assert_trees_all_equal(increment(jnp.float32(1.5)), jnp.float32(2.5))


def test_sqrt_has_slope_zero_at_zero():
    chex.assert_trees_all_equal(
        jax.vmap(jax.grad(sqrt))(jnp.asarray([0.0, 4.0])), jnp.asarray([0.0, 0.25])
    )
    assert jax.grad(jax.grad(sqrt))(4.0) == -1 / 32


def test_abs_sq_is_real():
    chex.assert_trees_all_equal(abs_sq(jnp.asarray([3 + 4j])), jnp.asarray([25.0]))
    chex.assert_trees_all_equal(abs_sq(jnp.asarray([-3.0])), jnp.asarray([9.0]))


DECAYS = [0.0, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.999999, 1 - 2.0**-24]
COUNTS = [1, 2, 3, 10, 100, 1000, 10_000, 100_000, 1_000_000]


def one_minus_power(b, t):
    """1 - bᵗ in float64 of b rounded to float32, as the rule sees it."""
    with np.errstate(divide="ignore"):
        return -np.expm1(t * np.log(np.float64(np.float32(b))))


@pytest.mark.parametrize("decay", DECAYS)
def test_bias_correction_against_float64(decay):
    got = jax.vmap(lambda t: bias_correction_factor(decay, t))(jnp.asarray(COUNTS, jnp.int32))
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, one_minus_power(decay, np.asarray(COUNTS)), rtol=2e-6)


def test_bias_correction_never_decides_a_dtype():
    correction = bias_correction_factor(0.9, jnp.int32(3))
    assert correction.weak_type and correction.shape == ()


@pytest.mark.parametrize("t", [1, 2, 3, 1000])
@pytest.mark.parametrize("b", [0.0, 0.5, 0.999])
@pytest.mark.parametrize("order", [jax.grad, jax.jacfwd], ids=["reverse", "forward"])
def test_derivative_of_the_bias_correction(order, b, t):
    slope = order(lambda b: bias_correction_factor(b, jnp.int32(t)))(b)
    np.testing.assert_allclose(
        slope, -t * np.float64(np.float32(b)) ** (t - 1), rtol=1e-4, atol=1e-30
    )  # t·2^-24 of a power


# --- applying updates -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
@pytest.mark.parametrize(
    "dtypes", [("bfloat16", "float32"), ("float16", "float16"), ("float32", "bfloat16")], ids=str
)
def test_apply_updates_rounds_once_to_the_dtype_of_the_parameter(mode, dtypes):
    p, u = jnp.asarray([1.0, 256.0], dtypes[0]), jnp.asarray([2.0**-9, 1.0], dtypes[1])
    expected = (p.astype(jnp.float32) + u.astype(jnp.float32)).astype(dtypes[0])
    chex.assert_trees_all_equal(mode(apply_updates)({"w": p}, {"w": u}), {"w": expected})


def test_apply_updates_keeps_leaves_without_an_update():
    def activation(x):
        return x

    params = {"w": jnp.ones(2), "n": jnp.arange(2), "f": activation, "s": "name", "b": jnp.ones(1)}
    new = apply_updates(params, {"w": jnp.ones(2), "n": None, "f": None, "s": None, "b": None})
    assert all(new[k] is params[k] for k in ("n", "f", "s", "b"))
    chex.assert_trees_all_equal(new["w"], jnp.full(2, 2.0))


def test_apply_updates_of_complex_parameters():
    chex.assert_trees_all_equal(
        apply_updates([jnp.asarray([1 + 1j])], [jnp.asarray([2.0 - 3j])]), [jnp.asarray([3 - 2j])]
    )


MISFITS = {
    "(3, 1) on (3,)": (
        {"a": {"w": jnp.ones(3)}},
        {"a": {"w": jnp.ones((3, 1))}},
        r"'a/w'.*\(3, 1\).*\(3,\)",
    ),
    "scalar on (3,)": ({"w": jnp.ones(3)}, {"w": jnp.ones(())}, r"'w'.*\(\).*\(3,\)"),
    "other key": (
        {"w": jnp.ones(3)},
        {"v": jnp.ones(3)},
        r"'v' only in the updates.*'w' only in the params",
    ),
    "missing key": (
        {"w": jnp.ones(3), "v": jnp.ones(3)},
        {"w": jnp.ones(3)},
        r"'v' only in the params",
    ),
    "update of an integer": (
        {"w": jnp.arange(3), "v": jnp.ones(3)},
        {"w": jnp.ones(3), "v": jnp.ones(3)},
        r"'w'.*int32\[3\].*pass None",
    ),
    "integer update": ({"w": jnp.ones(3)}, {"w": jnp.arange(3)}, r"'w'.*int32\[3\].*pass None"),
    "no parameter": ({"w": None}, {"w": jnp.ones(3)}, r"'w'"),
}


@pytest.mark.parametrize(("params", "updates", "message"), MISFITS.values(), ids=MISFITS)
def test_apply_updates_names_the_leaf_that_does_not_fit(params, updates, message):
    with pytest.raises(ValueError, match=message):
        apply_updates(params, updates)


@pytest.mark.parametrize(("params", "updates", "message"), MISFITS.values(), ids=MISFITS)
def test_update_names_the_leaf_that_does_not_fit(params, updates, message):
    tx = optax_lite.adamw(0.1)
    with pytest.raises(ValueError, match=message):
        tx.update(updates, tx.init(params), params)
    with pytest.raises(ValueError, match=message):
        tx.step(updates, tx.init(params), params)


@pytest.mark.parametrize(
    ("old", "new", "step", "mixed"),
    [
        (jnp.zeros(2), jnp.ones(2), 0.25, jnp.full(2, 0.25)),
        (jnp.full(2, 0.3), jnp.ones(2), 0.0, jnp.full(2, 0.3)),
        (jnp.full(2, 0.3), jnp.ones(2), 1, jnp.ones(2)),
        (jnp.zeros(2, jnp.bfloat16), jnp.ones(2), 0.5, jnp.full(2, 0.5, jnp.bfloat16)),
        (jnp.zeros(2), jnp.ones(2, jnp.bfloat16), jnp.float32(0.5), jnp.full(2, 0.5)),
        (jnp.asarray([2j]), jnp.asarray([2 + 0j]), 0.5, jnp.asarray([1 + 1j])),
    ],
    ids=["mix", "step 0", "step 1", "old decides the dtype", "array step", "complex"],
)
def test_incremental_update(old, new, step, mixed):
    chex.assert_trees_all_equal(incremental_update({"w": new}, {"w": old}, step), {"w": mixed})


def test_incremental_update_keeps_none_and_scheduled_steps_do_not_compile_again():
    new, old = {"w": jnp.ones(2), "x": None}, {"w": jnp.zeros(2), "x": None}
    assert incremental_update(new, old, 0.1)["x"] is None
    with count_lowerings() as lowered:
        incremental_update(new, old, 0.7)
    assert lowered() == 0


@pytest.mark.parametrize(
    ("new", "old", "message"),
    [
        ({"w": jnp.ones((3, 1))}, {"w": jnp.ones(3)}, r"'w'.*float32\[3, 1\].*float32\[3\]"),
        ({"v": jnp.ones(3)}, {"w": jnp.ones(3)}, r"'v'.*'w'"),
        ({"n": jnp.arange(3)}, {"n": jnp.arange(3)}, r"'n'.*int32\[3\]"),
    ],
    ids=["shape", "structure", "integer"],
)
def test_incremental_update_names_the_leaf_that_does_not_fit(new, old, message):
    with pytest.raises(ValueError, match=message) as error:
        incremental_update(new, old, 0.1)
    assert "gradient" not in str(error.value), "there is none here"


def test_slow_copies_follow_the_arrays_of_a_module_and_keep_its_functions():
    old = {"w": jnp.zeros(2), "act": jax.nn.relu, "n": jnp.array(3)}
    new = {"w": jnp.ones(2), "act": None, "n": None}
    for follow, w in (
        (lambda: incremental_update(new, old, 0.25), 0.25),
        (lambda: periodic_update(new, old, 4, 2), 1.0),
    ):
        followed = follow()
        np.testing.assert_array_equal(followed["w"], [w, w])
        assert followed["act"] is jax.nn.relu and followed["n"] == 3


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda tree: incremental_update(tree, tree, 0.25), "incremental_update: new leaf"),
        (lambda tree: periodic_update(tree, tree, 4, 2), "periodic_update: new leaf"),
        (lambda tree: apply_updates(tree, tree), "apply_updates: update leaf"),
        (
            lambda tree: optax_lite.sgd(0.1).update(tree, optax_lite.sgd(0.1).init(tree)),
            "sgd: gradient leaf",
        ),
    ],
    ids=["incremental_update", "periodic_update", "apply_updates", "update"],
)
def test_a_leaf_that_is_a_function_is_named_with_the_remedy(call, name):
    with pytest.raises(
        TypeError,
        match=rf"{name} 'act' is .*relu, not an array; pass None for it, as eqx.filter\(model",
    ):
        call({"w": jnp.zeros(2), "act": jax.nn.relu})


def test_read_is_a_tuple_of_trees():
    with pytest.raises(TypeError, match=r"leafwise: read= is a tuple of trees; write read=\(para"):
        leafwise(lambda g, p: g + p, {"w": jnp.ones(2)}, read={"w": jnp.ones(2)})
    with pytest.raises(TypeError, match=r"must return 2 arrays, .* goes into read=, as in read"):
        leafwise(lambda g, p: g + p, {"w": jnp.ones(2)}, {"w": jnp.ones(2)})
