"""Rounding of parameters and state: means, neighbours, non-finite entries, runs resumed and
sharded.
"""

import pickle

import chex
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import optax_lite as ol
from optax_lite.core import half
from optax_lite.inspect._slots import slots_of as fields_of
from tests.closeness import A_STEP, assert_close
from tests.methods import ROWS, extra_of, low as reference, one_of_each
from tests.methods.compare import slots
from tests.nightly import first

PROVES = (
    "wrappers.kahan",
    "wrappers.master_weights",
    "wrappers.stochastic_rounding",
    "core.half",
    "wrappers.loss_scaling",
    "wrappers.state_dtype",
    "inspect._slots",
)

LOW = ("bfloat16", "float16")
low_dtypes = pytest.mark.parametrize("dtype", first(1, LOW))
WRAPPERS = {
    "stochastic_rounding": ol.stochastic_rounding,
    "kahan": ol.kahan,
    "master_weights": ol.master_weights,
}
wrappers = pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
EDGES = [0.0, -0.0, np.inf, -np.inf, np.nan]


def numbers(dtype, n=2000, seed=0):
    """Float32 numbers of every size a dtype has, its denormals and its largest among them."""
    rng = np.random.default_rng(seed)
    info = ml_dtypes.finfo(dtype)
    # smaller ones are 0 in XLA's float32 on CPU
    least = max(float(info.smallest_subnormal), 2.0**-120)
    x = np.exp2(rng.uniform(np.log2(least) - 1, np.log2(float(info.max)), n)) * rng.choice(
        [-1, 1], n
    )
    exact = reference.table(dtype)[0][:: 2**7]
    return np.concatenate([x, exact[(np.abs(exact) >= least) | (exact == 0)]]).astype(np.float32)


def drawn(x, dtype, seed=0):
    words = half.leaf_keys(seed, jnp.int32(0), ["x"])[0]
    return half.stochastic(jnp.asarray(x), half.random_bits(words, jnp.shape(x)), jnp.dtype(dtype))


# --- the grid -------------------------------------------------------------------------------------


@low_dtypes
def test_nearest_is_that_of_the_table(dtype):
    x = numbers(dtype)
    x = x[np.abs(x) <= float(ml_dtypes.finfo(dtype).max)]
    np.testing.assert_array_equal(
        half.nearest(jnp.asarray(x), jnp.dtype(dtype)), reference.nearest(x, dtype)
    )
    # and where two are as near
    down, up = (y[np.abs(x) < 1e30] for y in reference.neighbours(x, dtype))
    between = jnp.asarray(((down + up) / 2).astype(np.float32))
    np.testing.assert_array_equal(
        half.nearest(between, jnp.dtype(dtype)), reference.nearest(between, dtype)
    )


@low_dtypes
def test_stochastic_rounding_never_crosses_to_a_third_neighbour(dtype):
    x = numbers(dtype)
    down, up = reference.neighbours(x.astype(np.float64), dtype)
    for seed in range(20):
        q = np.asarray(drawn(x, dtype, seed), np.float64)
        assert np.all((q == down) | (q == up))
        # it is stored as it is
        np.testing.assert_array_equal(q.astype(dtype).astype(np.float64), q)


@low_dtypes
def test_the_mean_of_stochastic_rounding_is_the_exact_value(dtype):
    """|z| < 5 for each of 300 numbers, and their mean square near 1: a bias of 2 % of a step would
    be seen.
    """
    x, n = numbers(dtype, 300), 4096
    x = x[(np.abs(x) < 6e4) & (reference.chance_of_upper(x.astype(np.float64), dtype) > 1e-3)]
    x = x[reference.chance_of_upper(x.astype(np.float64), dtype) < 1 - 1e-3]
    words = half.leaf_keys(1, jnp.int32(0), ["x"])[0]
    many = jnp.broadcast_to(jnp.asarray(x), (n, x.size))
    q = np.asarray(
        half.stochastic(many, half.random_bits(words, many.shape), jnp.dtype(dtype)), np.float64
    )
    down, up = reference.neighbours(x.astype(np.float64), dtype)
    chance = reference.chance_of_upper(x.astype(np.float64), dtype)
    z = (np.mean(q == up, 0) - chance) / np.sqrt(chance * (1 - chance) / n)
    assert np.max(np.abs(z)) < 5 and 0.7 < np.mean(z**2) < 1.3
    assert np.all((q == up) | (q == down))


@low_dtypes
def test_zeros_infinities_and_nan_are_kept(dtype):
    for rounded in (
        drawn(np.float32(EDGES), dtype),
        half.nearest(jnp.float32(EDGES), jnp.dtype(dtype)),
    ):
        np.testing.assert_array_equal(rounded, np.float32(EDGES))
        np.testing.assert_array_equal(np.signbit(rounded[:4]), [False, True, False, True])
    nans = np.array([0x7F800001, 0x7FFFFFFF, 0xFF800001, 0xFFFFFFFF], np.uint32).view(np.float32)
    for seed in range(5):
        assert np.all(np.isnan(drawn(nans, dtype, seed)))


def test_beyond_the_largest_number_it_is_the_nearest():
    for seed in range(20):
        np.testing.assert_array_equal(
            drawn(np.float32([65519, -65519, 65521, 1e30]), "float16", seed),
            [65504, -65504, np.inf, np.inf],
        )
        top, largest = 3.4e38, float(ml_dtypes.finfo("bfloat16").max)
        np.testing.assert_array_equal(
            drawn(np.float32([3.392e38, top]), "bfloat16", seed), [largest, np.inf]
        )


def test_the_derivative_of_rounding_is_that_of_the_exact_number():
    words = half.leaf_keys(0, jnp.int32(0), ["x"])[0]
    slope = jax.grad(
        lambda x: half.stochastic(3 * x, half.random_bits(words, ()), jnp.dtype("bfloat16"))
    )(1.234)
    assert slope == 3.0


def test_random_bits_are_even_and_differ_by_leaf_count_seed_and_place():
    words = [
        half.leaf_keys(seed, jnp.int32(count), ["a", "b"])[i]
        for seed in (0, 1)
        for count in (0, 1)
        for i in (0, 1)
    ]
    draws = np.stack([np.asarray(half.random_bits(w, (64, 256))) for w in words])
    # of each of the 32 bits
    ones = np.unpackbits(draws.view(np.uint8).reshape(8, -1, 4), axis=-1).mean(1)
    assert np.max(np.abs(ones - 0.5)) < 5 * 0.5 / np.sqrt(64 * 256)
    high = draws.reshape(8, -1) / 2.0**32 - 0.5
    close = np.corrcoef(np.concatenate([high, np.roll(high, 1, 1), np.roll(high, 256, 1)]))
    assert np.max(np.abs(close - np.eye(24))) < 5 / np.sqrt(64 * 256)
    typed = half.leaf_keys(jax.random.key(1), jnp.int32(1), ["a"])[0]
    np.testing.assert_array_equal(typed, words[6])


@pytest.mark.parametrize("traced", [(0,), (1,), (0, 1)], ids=["updates", "params", "both"])
def test_leaves_that_look_alike_are_traced_once(traced):
    calls = []

    def rule(w, u, dtype):
        calls.append(dtype)
        return (w + u,)

    trees = [
        {"a": jnp.ones(2), "b": jnp.ones(2)},
        {name: jnp.ones(2, jnp.bfloat16) for name in "ab"},
    ]

    def move(*some):
        return half.rounded_step(
            "step", rule, *(some[traced.index(i)] if i in traced else trees[i] for i in (0, 1))
        )

    jax.eval_shape(move, *(trees[i] for i in traced))
    assert len(calls) == 1
    half.rounded_step("step", rule, *trees)
    assert len(calls) == 3  # a program of its own would be compiled anew in every call


# --- the wrappers against their definitions -------------------------------------------------------


@ol.transform
def given():
    """The updates are the gradients."""
    return lambda params: ol.EmptyState(), lambda updates, state: (updates, state)


def walk_of(dtype, steps=40):
    """A parameter on the grid, and updates some of which are far below the distance to its
    neighbours.
    """
    rng = np.random.default_rng(3)
    p = reference.nearest(rng.normal(size=50), dtype)
    sizes = np.exp2(rng.integers(-16, 1, (steps, 50)))
    return p, np.round(rng.normal(size=(steps, 50)) * 8) / 8 * sizes


def as_float64(tree):
    return jax.tree.map(lambda x: np.asarray(x, np.float64), tree)


@low_dtypes
@pytest.mark.parametrize("name", ["kahan", "master_weights"])
def test_the_deterministic_wrappers_are_their_definition(name, dtype):
    p, updates = walk_of(dtype)
    tx, rule = WRAPPERS[name](given()), vars(reference)[name]
    w = jnp.asarray(p, dtype)
    state, slot = tx.init(w), np.zeros_like(p) if name == "kahan" else p
    for u in updates:
        w, state = tx.step(jnp.float32(u), state, w)
        p, slot = (np.float32(x).astype(np.float64) for x in rule(p, u, slot, dtype))
        np.testing.assert_array_equal(as_float64(w), p)
        np.testing.assert_array_equal(as_float64(state[0]), slot)


@low_dtypes
def test_stochastic_rounding_moves_in_the_mean_by_the_sum_of_the_updates(dtype):
    tx, n = ol.stochastic_rounding(given()), 4096
    p = jnp.ones((n,), dtype)
    state = tx.init(p)
    step = jax.jit(tx.step)
    for _ in range(64):
        p, state = step(jnp.full(n, 2.0**-14), state, p)
    moved, distance = 64 * 2.0**-14, float(jnp.finfo(dtype).eps)
    # Each of the 64 roundings has a variance of at most distance²·chance.
    z = (float(jnp.mean(p.astype(jnp.float32))) - 1 - moved) / (
        distance * np.sqrt(moved / distance / n)
    )
    assert abs(z) < 5
    assert state.count == 64


@low_dtypes
@wrappers
def test_a_step_of_a_thousandth_is_not_lost(wrap, dtype):
    """Near 1, where the next bfloat16 is 2^-8 below: plain steps of 0.0005 move nothing."""
    p = jnp.ones(256, dtype)

    def end(tx):
        def body(_, carry):
            return tx.step(jnp.ones(256), carry[1], carry[0])

        return jax.jit(lambda p: jax.lax.fori_loop(0, 400, body, (p, tx.init(p))))(p)[0]

    assert dtype == "float16" or jnp.all(end(ol.sgd(5e-4)) == 1)
    np.testing.assert_allclose(
        jnp.mean(end(wrap(ol.sgd(5e-4))).astype(jnp.float32)), 0.8, atol=0.002
    )


@low_dtypes
@wrappers
def test_update_leads_where_step_does_but_where_an_entry_halves_or_changes_its_sign(wrap, dtype):
    """The bound of the docstrings: elsewhere exact, there off by at most half a digit of q - p."""
    rng = np.random.default_rng(0)
    p = jnp.asarray(rng.normal(size=4000), dtype)
    g = jnp.asarray(rng.normal(size=4000) * np.exp2(rng.integers(-12, 2, 4000)), dtype)
    tx = wrap(given())
    state = tx.init(p)
    q, after = tx.step(g, state, p)
    u, also = tx.update(g, state, p)
    chex.assert_trees_all_equal(after, also)
    assert u.dtype == p.dtype
    for landed in (ol.apply_updates(p, u), p + u):
        a, b, c = (np.asarray(x, np.float64) for x in (p, q, landed))
        keeps = (
            (np.abs(b) >= np.abs(a) / 2)
            & (np.sign(a) * np.sign(b) >= 0)
            & (np.abs(b) <= 2 * np.abs(a))
        )
        assert np.mean(keeps) > 0.5
        np.testing.assert_array_equal(c[keeps], b[keeps])
        assert np.all(np.abs(c - b) <= float(jnp.finfo(dtype).eps) * np.abs(b - a))
    wide, _ = tx.update(g.astype(jnp.float32), state, p)  # a gradient in float32 holds all of q - p
    np.testing.assert_array_equal(ol.apply_updates(p, wide), q)


@low_dtypes
@wrappers
def test_zero_updates_keep_every_bit_and_non_finite_parameters_stay(wrap, dtype):
    p = jnp.asarray([*EDGES, 1.5, float(jnp.finfo(dtype).smallest_subnormal)], dtype)
    tx = wrap(given())
    state = tx.init(p)
    for zero in (0.0, -0.0):
        g = jnp.full(p.shape, zero)
        new, _ = tx.step(g, state, p)
        updates, _ = tx.update(g, state, p)
        np.testing.assert_array_equal(*(np.asarray(x).astype(np.float32) for x in (new, p)))
        # in XLA's float32 on CPU the denormal of bfloat16 is 0
        added = ol.apply_updates(p, updates)[:-1]
        np.testing.assert_array_equal(*(np.asarray(x).astype(np.float32) for x in (added, p[:-1])))
    step, new_state = tx.step(jnp.full(p.shape, -0.0), state, p)
    assert np.array_equal(np.signbit(step), np.signbit(p))
    bad, bad_state = tx.step(jnp.full(p.shape, jnp.nan), new_state, p)
    assert np.all(np.isnan(np.asarray(bad, np.float32)))
    # the parameters were put right from outside
    again, _ = tx.step(jnp.zeros(p.shape), bad_state, p)
    np.testing.assert_array_equal(*(np.asarray(x).astype(np.float32) for x in (again, p)))


@wrappers
def test_wider_leaves_stay_untouched_and_have_no_slot(wrap, x64):
    p = {
        "single": jnp.ones(3, jnp.float32),
        "double": jnp.ones(2, jnp.float64),
        "n": jnp.array(3),
        "none": None,
    }
    g = {
        "single": jnp.full(3, 0.1, jnp.float32),
        "double": jnp.full(2, 0.1, jnp.float64),
        "n": None,
        "none": None,
    }
    plain, tx = ol.adam(0.1), wrap(ol.adam(0.1))
    expected, _ = plain.step(g, plain.init(p), p)
    state = tx.init(p)
    new, state = tx.step(g, state, p)
    assert_close(new, expected, ulps=A_STEP)
    chex.assert_trees_all_equal_shapes_and_dtypes(new, p)
    extra = {"kahan": "compensation", "master_weights": "master"}.get(tx.definition.name)
    assert extra is None or jax.tree.leaves(getattr(state, extra)) == []


@wrappers
def test_float8_parameters_are_named(wrap):
    p = {"w": jnp.ones(3, jnp.float8_e4m3fn)}
    with pytest.raises(
        ValueError, match=r"leaf 'w' is float8_e4m3fn\[3\], but only bfloat16, float16"
    ):
        wrap(ol.sgd(0.1)).init(p)


def test_master_weights_follow_parameters_that_were_changed_outside():
    tx = ol.master_weights(ol.sgd(1.0))
    p = jnp.array([1.0, 2.0], jnp.bfloat16)
    p, state = tx.step(jnp.full(2, 1e-3), tx.init(p), p)
    np.testing.assert_allclose(state.master, [0.999, 1.999], rtol=1e-6)
    _, state = tx.step(jnp.full(2, 1e-3), state, jnp.array([5.0, 2.0], jnp.bfloat16))
    np.testing.assert_allclose(state.master, [4.999, 1.998], rtol=1e-6)


def test_the_optimizer_inside_master_weights_sees_the_master():
    seen = ol.stateless(
        lambda updates, params: jax.tree.map(lambda u, p: 0 * u - 2.0**-12 * p, updates, params)
    )
    tx = ol.master_weights(seen)
    p = jnp.ones(1, jnp.bfloat16)
    state = tx.init(p)
    for _ in range(10):
        p, state = tx.step(jnp.ones(1), state, p)
    np.testing.assert_allclose(state.master, (1 - 2.0**-12) ** 10, rtol=1e-6)


def test_a_leaf_without_a_gradient_keeps_its_slots():
    p = {"a": jnp.ones(2, jnp.bfloat16), "b": jnp.ones(2, jnp.bfloat16)}
    g = {"a": jnp.full(2, 1e-3), "b": None}
    for wrap in WRAPPERS.values():
        tx = wrap(ol.adam(1e-3))
        state = tx.init(p)
        for _ in range(3):
            new, after = tx.step(g, state, p)
            chex.assert_trees_all_equal(new["b"], p["b"])
            chex.assert_trees_all_equal_structs(after, state)
            for old, now in zip(*(slots(s).values() for s in (state, after)), strict=True):
                for x, y in zip(old, now, strict=True):
                    if isinstance(x, dict):
                        chex.assert_trees_all_equal(x["b"], y["b"])


# --- runs -----------------------------------------------------------------------------------------

SHAPES = {"w": (8, 4), "b": (6,), "rows": (4, 3), "s": ()}
SPECS = {
    "w": PartitionSpec("x", "y"),
    "b": PartitionSpec("y"),
    "rows": PartitionSpec("x"),
    "s": PartitionSpec(),
}
RUNS = {
    **{name: lambda wrap=wrap: wrap(ol.adamw(0.01)) for name, wrap in WRAPPERS.items()},
    "with_state_dtype": lambda: ol.with_state_dtype(ol.adamw(0.01), "bfloat16"),
    "quantize_state": lambda: ol.quantize_state(ol.adamw(0.01), block=4, min_size=1),
    "both": lambda: ol.stochastic_rounding(ol.with_state_dtype(ol.adamw(0.01), "bfloat16"), seed=3),
    "in large": lambda: ol.loss_scaling(
        ol.accumulate(
            ol.average_params(ol.kahan(ol.groups(ol.adamw(0.01), {"b": {"b1": 0.5}})), decay=0.9), 2
        )
    ),
}
runs = pytest.mark.parametrize("make", first(4, RUNS.values()), ids=RUNS)


def values(seed, dtype="bfloat16"):
    keys = dict(zip(SHAPES, jax.random.split(jax.random.key(seed), len(SHAPES)), strict=True))
    return {
        name: jax.random.normal(keys[name], shape).astype(dtype) for name, shape in SHAPES.items()
    }


@runs
def test_a_run_resumed_equals_one_that_went_on_bit_for_bit(make):
    tx = make()
    p, state = values(0), tx.init(values(0))
    for i in range(6):
        if i == 3:
            saved = pickle.dumps(jax.device_get((p, state)))
        p, state = tx.step(values(i + 1), state, p)
    again, resumed = jax.tree.map(jnp.asarray, pickle.loads(saved))
    for i in range(3, 6):
        again, resumed = make().step(values(i + 1), resumed, again)
    chex.assert_trees_all_equal((p, state), (again, resumed))


@pytest.mark.nightly
@pytest.mark.usefixtures("eight_devices")
@pytest.mark.parametrize(
    "kind", first(1, [AxisType.Auto, AxisType.Explicit]), ids=lambda kind: kind.name
)
@runs
def test_a_sharded_run_draws_and_rounds_as_one_on_a_single_device(make, kind):
    """Bits drawn by shard would change half of the entries.

    The programs are not the same, so that float32 numbers may be off by A_STEP units a step, and
    then one that is rounded or drawn to bfloat16 falls on the other side with a chance of at most
    A_STEP·2^-16: in three steps of a hundred entries hardly ever twice.
    """
    mesh, tx = jax.make_mesh((4, 2), ("x", "y"), axis_types=(kind, kind)), make()

    def placed(tree):
        return {
            name: jax.device_put(x, NamedSharding(mesh, SPECS[name])) for name, x in tree.items()
        }

    ends = []
    for place in (placed, lambda tree: tree):
        p = place(values(0))
        state, step = tx.init(p), jax.jit(tx.step)
        for i in range(3):
            p, state = step(place(values(i + 1)), state, p)
        ends.append((p, state))
    pairs = list(zip(*map(jax.tree.leaves, jax.device_get(ends)), strict=True))
    apart = [np.abs(np.asarray(x, np.float64) - np.asarray(y, np.float64)) for x, y in pairs]
    bounds = [
        3 * A_STEP * np.finfo(np.float32).eps * np.max(np.abs(np.asarray(y, np.float64)))
        for _, y in pairs
    ]
    assert sum(int(np.sum(x > bound)) for x, bound in zip(apart, bounds, strict=True)) <= 2
    for name, x in ends[0][0].items():
        assert x.sharding.is_equivalent_to(NamedSharding(mesh, SPECS[name]), x.ndim)


def test_leaves_and_seeds_draw_apart_and_the_place_in_the_tree_does_not_matter():
    p, g = jnp.ones(512, jnp.bfloat16), jnp.full(512, 2.0**-8)

    def end(tree, seed=0):
        tx = ol.stochastic_rounding(given(), seed=seed)
        grads = jax.tree.map(lambda _: g, tree)
        return tx.step(grads, tx.init(tree), tree)[0]

    two = end({"a": p, "b": p})
    assert 0.4 < jnp.mean(two["a"] == two["b"]) < 0.6
    chex.assert_trees_all_equal(end({"b": p, "z": p})["b"], two["b"])
    assert 0.4 < jnp.mean(end({"a": p}, seed=1)["a"] == two["a"]) < 0.6
    assert ol.stochastic_rounding(given()) == ol.stochastic_rounding(given(), seed=0)
    population = jax.vmap(lambda key: ol.stochastic_rounding(given(), seed=key))(
        jax.random.split(jax.random.key(0), 2)
    )
    states = jax.vmap(lambda tx: tx.init(p))(population)
    members, _ = jax.vmap(lambda tx, state: tx.step(g, state, p))(population, states)
    assert 0.4 < jnp.mean(members[0] == members[1]) < 0.6


@runs
def test_make_step_and_fit_train_with_each(make):
    x = jax.random.normal(jax.random.key(0), (64, 4), jnp.bfloat16)
    y = x @ jnp.array([1.0, -2.0, 0.5, 0.25], jnp.bfloat16)

    def loss(params, x, y):
        return jnp.mean((x @ params["w"] - y + params["b"] * 0).astype(jnp.float32) ** 2)

    p = {"w": jnp.zeros(4, jnp.bfloat16), "b": jnp.zeros((), jnp.bfloat16)}
    tx = make()
    tx = tx.replace({path: 0.1 for path in tx.hyperparams if path.endswith("learning_rate")})
    trained, history = ol.fit(loss, p, (x, y), tx, steps=60, batch_size=None, progress=False)
    assert history.loss[-1] < 0.5 * history.loss[0]
    chex.assert_trees_all_equal_shapes_and_dtypes(trained, p)


# --- dtypes of the state --------------------------------------------------------------------------


def shrinking(tx, steps, size=256):
    """The state after a first gradient of 1 and then many of 0.01, in one compiled loop."""
    p = jnp.ones(size)

    def body(i, state):
        return tx.update(jnp.where(i == 0, 1.0, 0.01) * jnp.ones(size), state, p)[1]

    return jax.jit(lambda: jax.lax.fori_loop(0, steps, body, tx.init(p)))()


@pytest.mark.nightly
@pytest.mark.parametrize("b2", [0.999, 0.9999])
def test_a_second_moment_in_bfloat16_follows_float32_over_ten_thousand_steps(b2):
    """Its mean within 1 %, an entry within 20 %; rounded to the nearest it would stay at its first
    value.
    """
    adam = ol.scale_by_adam(b2=b2)
    exact = shrinking(adam, 10_000, 1).nu
    stored = shrinking(ol.with_state_dtype(adam, {"nu": "bfloat16"}), 10_000).inner_state.nu
    assert stored.dtype == jnp.bfloat16
    ratio = stored.astype(jnp.float32) / exact
    np.testing.assert_allclose(jnp.mean(ratio), 1.0, atol=0.01)
    assert jnp.max(jnp.abs(ratio - 1)) < 0.2

    nu = jnp.ones((), jnp.bfloat16) * (1 - b2)
    nearest = jax.lax.fori_loop(
        0, 10_000, lambda i, v: (b2 * v.astype(jnp.float32)).astype(jnp.bfloat16), nu
    )
    assert nearest == nu


def test_a_slow_first_moment_in_bfloat16_follows_float32():
    tx = ol.scale_by_adam(b1=0.999)
    exact = shrinking(tx, 3000, 1).mu
    stored = shrinking(ol.with_state_dtype(tx, {"mu": "bfloat16"}), 3000).inner_state.mu
    np.testing.assert_allclose(jnp.mean(stored.astype(jnp.float32)) / exact, 1.0, atol=0.01)


def test_other_slots_stay_unchanged_and_random_bits_do_not_depend_on_the_tree():
    p, g = {"n": jnp.array(3), "w": jnp.ones(64)}, {"n": None, "w": jnp.linspace(0.1, 1, 64)}
    bare = ol.scale_by_adam(mu_dtype="bfloat16")
    tx = ol.with_state_dtype(bare, {"nu": "bfloat16"})
    assert tx == ol.with_state_dtype(bare, {"nu": "bfloat16"}, seed=0)
    (_, plain), (_, state) = (each.update(g, each.init(p), p) for each in (bare, tx))
    chex.assert_trees_all_equal(state.inner_state.mu, plain.mu)
    alone, of_alone = {"w": p["w"]}, {"w": g["w"]}
    chex.assert_trees_all_equal(
        tx.update(of_alone, tx.init(alone), alone)[1].inner_state.nu["w"], state.inner_state.nu["w"]
    )


def test_slots_are_named_and_the_others_stay():
    p = {"w": jnp.ones(3, jnp.bfloat16), "z": jnp.ones(2, jnp.complex64), "n": jnp.array(3)}
    adam = ol.chain(ol.clip_by_global_norm(1.0), ol.adamw(ol.cosine_decay_schedule(0.1, 9)))

    def dtypes(dtype):
        state = slots(ol.with_state_dtype(adam, dtype).init(p).inner_state)
        return {f"{f}/{k}": str(state[f][0][k].dtype) for f in ("mu", "nu") for k in ("w", "z")}

    plain = {"mu/w": "float32", "mu/z": "complex64", "nu/w": "float32", "nu/z": "float32"}
    assert dtypes({"nu": "bfloat16"}) == plain | {"nu/w": "bfloat16", "nu/z": "bfloat16"}
    assert dtypes({"mu": "float16"}) == plain | {"mu/w": "float16"}
    assert dtypes("bfloat16") == plain | {
        "mu/w": "bfloat16",
        "nu/w": "bfloat16",
        "nu/z": "bfloat16",
    }
    assert dtypes("float32") == plain
    with pytest.raises(
        ValueError, match="with_state_dtype: dtype: no slot is named 'trace'; known slots: mu, nu"
    ):
        dtypes({"trace": "bfloat16"})
    with pytest.raises(ValueError, match="no slot is named 'mu'; known slots: none"):
        ol.with_state_dtype(ol.sgd(0.1), {"mu": "bfloat16"}).init(p)


def test_a_slot_is_known_by_its_field_and_its_path_there():
    p = {"w": jnp.ones(3), "b": jnp.ones(2)}
    bare = ol.transform(lambda: (ol.zeros_like, lambda g, state: (g, state)))()
    grouped = ol.groups(ol.chain(ol.trace(0.5), bare), {"b": {"decay": 0.25}})
    tx = ol.chain(bare, ol.scale_by_adam(), grouped)
    found, known = fields_of(tx, jax.eval_shape(tx.init, p))
    # each in a MaskedState
    of_each = [[(field, name) for field in ("trace", "inner_state")] for name in ("b", "w")]
    of_adam = [(field, name) for field in ("mu", "nu") for name in ("b", "w")]
    assert found == [("values", "b"), ("values", "w"), ("", ""), *of_adam, *of_each[0], *of_each[1]]
    assert known == {"values", "mu", "nu", "trace", "inner_state"}


@pytest.mark.nightly
@pytest.mark.parametrize("name", sorted(one_of_each()))
def test_every_optimizer_keeps_its_slots_in_bfloat16(name):
    """Two steps with one structure; floating slots of a parameter are bfloat16, and nothing else
    is.
    """
    tx = one_of_each()[name]
    try:
        lowered = ol.with_state_dtype(tx, "bfloat16")
    except ValueError as error:
        assert "is inside" in str(error)
        return
    p = {"w": jnp.ones((3, 2)), "b": jnp.ones(2), "scalar": jnp.array(2.0)}
    g = jax.tree.map(lambda x: 0.5 * x, p)
    state = lowered.init(p)
    assert not any(x.dtype == jnp.float32 and x.shape == (3, 2) for x in jax.tree.leaves(state))
    for _ in range(2):
        updates, after = lowered.update(g, state, p, **extra_of(tx))
        chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
        chex.assert_tree_all_finite(updates)
        state = after


DTYPE_ARGUMENTS = [
    (row, name)
    for row in ROWS
    for name in row.parameters
    if name in ("mu_dtype", "accumulator_dtype")
    and not row.quirks.no_laws  # their leaves would have to have other shapes
]


@pytest.mark.parametrize(
    ("row", "name"), DTYPE_ARGUMENTS, ids=[f"{r.name}-{n}" for r, n in DTYPE_ARGUMENTS]
)
def test_the_dtype_arguments_of_optax_decide_a_slot_for_good(row, name):
    p = {"w": jnp.ones((3, 2)), "b": jnp.ones(2, jnp.bfloat16)}
    made = (row.factory(**{**settings, name: "float16"}) for settings in row.settings)
    tx = next(tx for tx in made if slots_of(tx, p))
    state = tx.init(p)
    _, after = tx.update(jax.tree.map(lambda x: 0.5 * x, p), state, p, **row.quirks.extra(0))
    chex.assert_trees_all_equal_shapes_and_dtypes(after, state)


def slots_of(tx, p):
    return [x for x in jax.tree.leaves(tx.init(p)) if x.dtype == jnp.float16 and x.ndim]


# --- loss scaling ---------------------------------------------------------------------------------


def tiny(params, x):
    """Its gradient is 2e-8, which is 0 in float16."""
    return jnp.sum((params["w"] * x).astype(jnp.float32)) * 1e-4


TINY = ({"w": jnp.ones(4, jnp.float16)}, jnp.full(4, 2e-4, jnp.float16))


def test_loss_scaling_saves_gradients_that_are_zero_in_float16():
    p, x = TINY
    assert jnp.all(jax.grad(tiny)(p, x)["w"] == 0)
    tx = ol.loss_scaling(ol.scale_by_learning_rate(1e6))
    assert tx == ol.loss_scaling(ol.scale_by_learning_rate(1e6), 2.0**15, 2.0, 0.5, 2000), (
        "torch's numbers, but the 1st"
    )
    state, step = tx.init(p), ol.make_step(tiny, donate=False)
    by_step, _, metrics = step(tx, p, state, x)
    np.testing.assert_allclose(by_step["w"].astype(jnp.float32), 0.98, rtol=1e-3)
    assert_close(metrics["loss"], tiny(p, x), ulps=8)  # the loss itself
    grads = jax.grad(lambda p: ol.scale_loss(state, tiny(p, x)))(p)
    by_hand, _ = tx.step(grads, state, p)
    assert_close(by_hand, by_step, ulps=2)


def test_a_gradient_that_overflows_halves_the_scale_and_moves_nothing():
    tx, p = (
        ol.loss_scaling(ol.adam(0.1), init_scale=2.0**24, growth_interval=2),
        {"w": jnp.ones(2, jnp.float16)},
    )
    state, step = tx.init(p), ol.make_step(lambda p: jnp.sum(p["w"]), donate=False)
    moved, scales = p, []
    for _ in range(12):
        was, inner = moved, state.inner_state
        moved, state, _ = step(tx, moved, state)
        scales.append(float(state.loss_scale))
        if scales[-1] < 2.0**24 / 2 ** (len(scales) - 1):
            chex.assert_trees_all_equal((was, inner), (moved, state.inner_state))
    # 2^16 is infinite in float16, 2^15 is not
    assert scales[:9] == [2.0 ** (23 - i) for i in range(9)]
    assert scales[9:] == [2.0**15, 2.0**16, 2.0**15]
    assert (state.total_skipped, state.good_steps) == (10, 0)
    assert moved["w"][0] < 1


def test_metrics_inside_count_what_loss_scaling_left_out_and_see_true_gradients():
    tx = ol.loss_scaling(ol.with_metrics(ol.sgd(0.1)), init_scale=1024)
    p = {"w": jnp.array([3.0, 4.0])}
    _, state = tx.step(jax.tree.map(lambda x: 1024 * x, p), tx.init(p), p)
    np.testing.assert_allclose(ol.read_metrics(state)["grad_norm"], 5.0, rtol=1e-6)
    _, state = tx.step({"w": jnp.array([jnp.inf, 1.0])}, state, p)
    assert ol.read_metrics(state)["skipped"] == 1


def test_scale_loss_says_what_it_needs():
    state = ol.loss_scaling(ol.sgd(0.1)).init(TINY[0])
    with pytest.raises(TypeError, match=r"the order is scale_loss\(state, loss\)"):
        ol.scale_loss(jnp.float32(1.0), state)
    with pytest.raises(ValueError, match="the state has 2 loss scales"):
        ol.scale_loss((state, state), jnp.float32(1.0))
    assert ol.scale_loss(state, jnp.float16(3.0)) == 3 * 2.0**15  # infinite in float16


# --- what explain says ----------------------------------------------------------------------------


def test_explain_warns_of_lost_steps_unless_a_wrapper_keeps_them():
    p = {"w": jnp.ones((4, 3), jnp.bfloat16)}
    tx = ol.adamw(1e-3, b1=0.999, mu_dtype="bfloat16")
    forgotten, lost = ol.explain(tx, p).warnings
    assert "rounds to 1 in bfloat16, so mu never forgets" in forgotten
    assert "w; write stochastic_rounding(tx), kahan(tx) or master_weights(tx)" in lost
    assert ol.explain(ol.with_state_dtype(tx, "bfloat16"), p).warnings == [lost]
    for wrap in WRAPPERS.values():
        assert ol.explain(wrap(tx), p).warnings == [f"tx/{forgotten}"]
    half = ol.explain(ol.stochastic_rounding(ol.with_state_dtype(tx, "bfloat16")), p)
    assert half.warnings == [] and half.totals["state_bytes"] == {"mu": 24, "nu": 24, "shared": 12}
