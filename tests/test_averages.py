"""Weights kept beside the parameters, and which to evaluate at: averages, lookahead, periodic
copies.
"""

import pickle
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lite as ol
from tests.closeness import A_STEP, assert_close

PROVES = ("wrappers.average", "wrappers.lookahead", "wrappers.flatten")

START = {
    "w": np.array([[1.0, -2.0], [0.5, 3.0]], np.float32),
    "b": np.array([0.3, -0.1], np.float32),
}


def gradient(params):
    return jax.tree.map(lambda p: 2 * p + 0.1, params)


def path_of(tx, steps, params=START, *, whole=True):
    """Params and state after each of some updates, by `step` or by `update`."""
    state, seen = tx.init(params), []
    for _ in range(steps):
        if whole:
            params, state = tx.step(gradient(params), state, params)
        else:
            updates, state = tx.update(gradient(params), state, params)
            params = ol.apply_updates(params, updates)
        seen.append((params, state))
    return seen


def mean_of(trees, weights=None):
    return jax.tree.map(
        lambda *xs: np.average([np.asarray(x, np.float64) for x in xs], axis=0, weights=weights),
        *trees,
    )


# --- averages -------------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [True, False], ids=["step", "update"])
@pytest.mark.parametrize(
    ("settings", "weights"),
    [
        ({}, [1, 1, 1, 1, 1, 1]),
        ({"start": 2}, [0, 0, 1, 1, 1, 1]),
        ({"start": 1, "every": 2}, [0, 0, 1, 0, 1, 0]),
        ({"decay": 0.5}, [1, 2, 4, 8, 16, 32]),
        ({"decay": 0.5, "every": 3}, [0, 0, 1, 0, 0, 2]),
        ({"decay": lambda t: (1 + t) / (10 + t)}, None),
    ],
)
def test_average_is_that_of_the_params_along_the_way(settings, weights, whole):
    tx = ol.average_params(ol.adam(0.1), **settings)
    seen = path_of(tx, 6, whole=whole)
    if weights is None:
        weights = [0.0] * 6
        for t in range(6):
            d = (1 + t) / (10 + t)
            weights = [d * x for x in weights]
            weights[t] = 1 - d
    params, state = seen[-1]
    expected = mean_of([p for p, _ in seen], weights)
    # six terms, four operations each
    assert_close(ol.eval_params(tx, state, params), expected, ulps=6 * 4)
    for averaged, bare in zip(seen, path_of(ol.adam(0.1), 6, whole=whole), strict=True):
        assert_close((averaged[0], averaged[1].inner_state), bare, ulps=6 * A_STEP)


def test_average_of_one_is_that_one_and_of_none_the_params():
    tx = ol.average_params(ol.sgd(0.1), decay=0.999, start=1)
    (first, state), (second, after) = path_of(tx, 2)
    chex.assert_trees_all_equal(ol.eval_params(tx, tx.init(START), START), START)
    chex.assert_trees_all_equal(ol.eval_params(tx, state, first), first)
    chex.assert_trees_all_equal(ol.eval_params(tx, after, second), second)
    random = np.random.default_rng(0).normal(size=(2, 100)).astype(np.float32)
    once = ol.average_params(ol.sgd(1.0), decay=0.999, start=1)
    moved, taken = once.step(random[0], once.init(random[1]), random[1])
    moved, taken = once.step(jnp.sin(random[0]), taken, moved)
    assert not np.array_equal(random[1] + (moved - random[1]), moved)
    chex.assert_trees_all_equal(ol.eval_params(once, taken, moved), moved)
    # the first counts nothing
    late = ol.average_params(ol.sgd(1.0), decay=lambda t: jnp.where(t == 0, 1.0, 0.5))
    chex.assert_trees_all_equal(
        late.step(random[0], late.init(random[1]), random[1])[1].average, random[1]
    )
    elsewhere = jax.tree.map(lambda p: p + 1, second)
    assert_close(ol.eval_params(tx, after, elsewhere), second, ulps=4)
    chex.assert_trees_all_equal(ol.eval_params(tx, state, elsewhere), elsewhere)


def test_average_of_low_precision_params_is_of_the_rounded_ones_in_float32():
    start = jax.tree.map(lambda p: p.astype(jnp.bfloat16), START)
    tx = ol.average_params(ol.sgd(0.01))
    seen = path_of(tx, 50, start)
    params, state = seen[-1]
    expected = mean_of([jax.tree.map(lambda x: x.astype(jnp.float32), p) for p, _ in seen])
    assert {x.dtype for x in jax.tree.leaves(state.average)} == {jnp.dtype(jnp.float32)}
    # 1.5 units a step, of which the k-th counts for k/50
    assert_close(state.average, expected, ulps=50)
    evaluated = ol.eval_params(tx, state, params)
    chex.assert_trees_all_equal_shapes_and_dtypes(evaluated, params)


@pytest.mark.nightly
def test_a_long_average_keeps_its_digits():
    """(1 - c)·a + c·w, with 1 - c rounded, is 1e-4 away here."""
    noisy = np.random.default_rng(0).normal([1.7, 0.3], 0.01, size=(60_000, 2)).astype(np.float32)
    tx = ol.average_params(ol.identity(), decay=0.9999)

    def body(state, w):
        return tx.step({"w": jnp.zeros(2)}, state, {"w": w})[1], None

    start = {"w": jnp.asarray(noisy[0])}
    state, _ = jax.jit(lambda ws: jax.lax.scan(body, tx.init(start), ws))(noisy)
    d = float(np.float32(0.9999))
    weights = d ** np.arange(len(noisy) - 1.0, -1.0, -1.0)
    np.testing.assert_allclose(
        state.average["w"], np.average(noisy, axis=0, weights=weights), rtol=2e-5
    )


def test_average_of_a_population_is_each_members():
    txs = jax.vmap(lambda d: ol.average_params(ol.sgd(0.1), decay=d))(jnp.array([0.5, 0.9]))

    def run(tx):
        params, state = path_of(tx, 3)[-1]
        return ol.eval_params(tx, state, params)

    together = jax.vmap(run)(txs)
    for i, d in enumerate((0.5, 0.9)):
        alone = run(ol.average_params(ol.sgd(0.1), decay=d))
        assert_close(jax.tree.map(lambda x, i=i: x[i], together), alone, ulps=3 * A_STEP)


def test_leaves_without_gradient_keep_their_value():
    p = {"w": jnp.ones(2), "frozen": jnp.full(3, 7.0), "count": jnp.array(3), "none": None}
    tx = ol.average_params(ol.sgd(0.1), start=1)
    state = tx.init(p)
    for extra in ({}, {"value_fn": lambda params: 0.0}):  # compiled, and not
        g = {"w": jnp.ones(2), "frozen": None, "count": None, "none": None}
        new, after = tx.step(g, tx.update(g, state, p, **extra)[1], p, **extra)
        evaluated = ol.eval_params(tx, after, new)
        chex.assert_trees_all_equal(
            {k: evaluated[k] for k in ("frozen", "count", "none")},
            {k: p[k] for k in ("frozen", "count", "none")},
        )
        chex.assert_trees_all_close(evaluated["w"], new["w"])


def test_slow_weights_without_gradient_stay_too():
    pair = ol.LookaheadParams.init_synced(
        {"w": jnp.ones(2), "frozen": jnp.full(3, 7.0), "count": jnp.array(3)}
    )
    tx, g = ol.lookahead(ol.sgd(0.1), 1, 0.5), {"w": jnp.ones(2), "frozen": None, "count": None}
    # not compiled: all params are there
    updates, _ = tx.update(g, tx.init(pair), pair, value_fn=lambda params: 0.0)
    assert all(u["frozen"] is u["count"] is None for u in updates)
    chex.assert_trees_all_close(updates.slow["w"], jnp.full(2, -0.05))


# --- the one reader -------------------------------------------------------------------------------

NESTED = {
    "bare": lambda tx: tx,
    "chain": lambda tx: ol.chain(ol.clip(1.0), ol.chain(tx, ol.identity())),
    "named_chain": lambda tx: ol.named_chain(("clip", ol.clip(1.0)), ("main", tx)),
    "masked": lambda tx: ol.masked(tx, {"w": True, "b": True}),
    "flatten, not": lambda tx: ol.partition({"all": tx}, {"w": "all", "b": "all"}),
    "scheduled": lambda tx: ol.chain(tx, ol.scale_by_schedule(ol.constant_schedule(1.0))),
}
AVERAGING = {
    "average": (lambda: ol.average_params(ol.sgd(0.1), decay=0.5), lambda s, p: s.average),
    "lookahead": (lambda: ol.lookahead(ol.sgd(0.1), 2, 0.5), lambda s, p: s.slow),
    "schedule_free": (
        lambda: ol.schedule_free_sgd(0.1),
        lambda s, p: ol.schedule_free_eval_params(s, p),
    ),
}


@pytest.mark.parametrize("wrap", NESTED.values(), ids=NESTED)
@pytest.mark.parametrize(("make", "read"), AVERAGING.values(), ids=AVERAGING)
def test_reader_finds_the_average_wherever_it_is(make, read, wrap):
    tx = wrap(make())
    params, state = path_of(tx, 3)[-1]
    found = [s for s in jax.tree.leaves(state, is_leaf=has_average) if has_average(s)]
    assert len(found) == 1
    assert_close(ol.eval_params(tx, state, params), read(found[0], params), ulps=A_STEP)
    jitted = jax.jit(ol.eval_params)(tx, state, params)
    assert_close(jitted, read(found[0], params), ulps=A_STEP)


def has_average(x):
    return hasattr(x, "eval_params")


def test_reader_returns_the_params_where_nothing_averages():
    for tx in (ol.adamw(0.1), ol.chain(ol.clip(1.0), ol.sgd(0.1)), ol.identity()):
        assert ol.eval_params(tx, tx.init(START), START) is START


def test_reader_takes_each_groups_own_average():
    tx = ol.partition(
        {
            "free": ol.schedule_free_sgd(0.1),
            "mean": ol.average_params(ol.sgd(0.1)),
            "plain": ol.sgd(0.1),
        },
        {"w": "free", "b": "mean", "c": "plain"},
    )
    start = START | {"c": jnp.ones(2)}
    seen = path_of(tx, 4, start)
    params, state = seen[-1]
    evaluated = ol.eval_params(tx, state, params)
    free = state.inner_states["free"].inner_state
    expected = ol.schedule_free_eval_params(
        free._replace(z={"w": free.z["w"]}), {"w": params["w"]}
    )["w"]
    assert_close(evaluated["w"], expected, ulps=A_STEP)
    assert_close(evaluated["b"], mean_of([p["b"] for p, _ in seen]), ulps=4 * 4)
    assert evaluated["c"] is params["c"]


def test_reader_takes_a_masked_subtree():
    p = {"a": {"x": jnp.ones(2), "y": jnp.ones(3)}, "b": {"x": jnp.ones(1)}}
    tx = ol.masked(ol.average_params(ol.sgd(0.1)), {"a": False, "b": True})
    params, state = path_of(tx, 2, p)[-1]
    evaluated = ol.eval_params(tx, state, params)
    chex.assert_trees_all_equal(evaluated["a"], params["a"])
    chex.assert_trees_all_equal(evaluated["b"]["x"], state.inner_state.average["b"]["x"])


def test_reader_asks_a_users_state_too():
    class Halved(ol.EmptyState):
        def eval_params(self, params):
            return jax.tree.map(lambda p: p / 2, params)

    tx = ol.chain(
        ol.sgd(0.1), ol.GradientTransformation(lambda p: Halved(), lambda u, s, p=None: (u, s))
    )
    chex.assert_trees_all_equal(
        ol.eval_params(tx, tx.init(START), START), jax.tree.map(lambda p: p / 2, START)
    )


class Around(NamedTuple):
    inner_state: ol.OptState

    def eval_params(self, params):
        return params


def around(tx):
    return ol.GradientTransformation(lambda p: Around(tx.init(p)), lambda u, s, p=None: (u, s))


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (
            lambda: ol.chain(ol.average_params(ol.identity()), ol.lookahead(ol.sgd(0.1), 2, 0.5)),
            "AverageParamsState at '0' and LookaheadWithSlowState at '1'",
        ),
        (
            lambda: ol.chain(ol.average_params(ol.identity()), ol.average_params(ol.sgd(0.1))),
            "AverageParamsState at '0' and AverageParamsState at '1'",
        ),
        (
            lambda: ol.chain(around(ol.average_params(ol.sgd(0.1)))),
            "Around at '0' and AverageParamsState at '0/inner_state'",
        ),
    ],
)
def test_two_averages_of_one_parameter_are_an_error_that_names_both(make, names):
    tx = make()
    with pytest.raises(ValueError, match=f"leaf 'b' has two averages, {names}"):
        ol.eval_params(tx, tx.init(START), START)


def test_reader_traces_an_init_once_and_accepts_params_that_are_not_arrays():
    calls = []

    @ol.transform
    def counted(rate):
        return lambda params: calls.append(rate) or ol.EmptyState(), lambda updates, state: (
            updates,
            state,
        )

    for params in (START, START | {"activation": jnp.tanh}):
        tx = ol.average_params(counted(0.1))
        state, seen = tx.init(params), []
        for _ in range(3):
            chex.assert_trees_all_equal(ol.eval_params(tx, state, params)["w"], params["w"])
            seen.append(len(calls))
        assert params is not START or seen[0] == seen[2]


def test_reader_says_what_is_wrong_with_a_call():
    tx = ol.average_params(ol.sgd(0.1))
    state = tx.init(START)
    for wrong in ((tx, START, state), (state, tx, START), (START, state, START), (tx, state, tx)):
        with pytest.raises(
            ValueError, match=r"the order is eval_params\(tx, state, params\), got "
        ):
            ol.eval_params(*wrong)
    with pytest.raises(
        ValueError, match=r"not made by this optimizer: expected .*AverageParamsState.*, got "
    ):
        ol.eval_params(tx, ol.sgd(0.1).init(START), START)
    with pytest.raises(ValueError, match="'b' only in the"):
        ol.eval_params(tx, state, {"w": START["w"]})


# --- lookahead ------------------------------------------------------------------------------------


def in_pairs(lib, tx, steps):
    """A loop as it is written for optax."""
    params = lib.LookaheadParams.init_synced(
        {k: np.asarray(x, np.float64) for k, x in START.items()}
    )
    state, seen = tx.init(params), []
    for _ in range(steps):
        grads = gradient(params.fast)
        updates, state = tx.update(grads, state, params)
        params = lib.apply_updates(params, updates)
        seen.append((params.fast, params.slow, jax.tree.leaves(state)))
    return seen


@pytest.mark.nightly
@pytest.mark.parametrize(
    "make",
    [
        lambda lib: lib.lookahead(lib.sgd(0.1, 0.9), 3, 0.5),
        lambda lib: lib.lookahead(
            lib.adam(0.1), sync_period=2, slow_step_size=0.8, reset_state=True
        ),
        lambda lib: lib.lookahead(lib.sgd(0.1), 1, 0.25),
        lambda lib: lib.chain(lib.clip(1.0), lib.lookahead(lib.adam(0.1), 2, 0.5)),
    ],
)
def test_a_loop_written_for_optax_runs_unchanged(make, x64):
    with jax.numpy_dtype_promotion("standard"):
        theirs = in_pairs(optax, make(optax), 7)
    chex.assert_trees_all_close(in_pairs(ol, make(ol), 7), theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("reset", [True, False])
def test_lookahead_keeps_the_slow_weights_itself_or_in_the_params(reset, x64):
    tx = ol.lookahead(ol.sgd(0.1, 0.9), 3, 0.5, reset_state=reset)
    params = jax.tree.map(lambda p: p.astype(jnp.float64), START)
    pair = ol.LookaheadParams.init_synced(params)
    state, of_pair = tx.init(params), tx.init(pair)
    assert (
        isinstance(of_pair, ol.LookaheadState) and of_pair._fields == optax.LookaheadState._fields
    )
    stepped, of_stepped = pair, of_pair
    alone, of_alone = params, state
    for _ in range(7):
        updates, state = tx.update(gradient(params), state, params)
        params = ol.apply_updates(params, updates)
        updates, of_pair = tx.update(gradient(pair.fast), of_pair, pair)
        pair = ol.apply_updates(pair, updates)
        stepped, of_stepped = tx.step(gradient(stepped.fast), of_stepped, stepped)
        alone, of_alone = tx.step(gradient(alone), of_alone, alone)
        assert_close((pair.fast, pair.slow), (params, state.slow), ulps=7 * A_STEP)
        assert_close((stepped, of_stepped), (pair, of_pair), ulps=7 * A_STEP)
        assert_close((alone, of_alone), (params, state), ulps=7 * A_STEP)
        assert_close(ol.eval_params(tx, state, params), pair.slow, ulps=7 * A_STEP)
        chex.assert_trees_all_equal(ol.eval_params(tx, of_pair, pair), pair.slow)
    pickle.loads(pickle.dumps(jax.device_get(of_pair)))


def test_lookahead_resets_the_fast_optimizer_at_the_slow_weights():
    anchored = ol.transform(lambda: (lambda params: params, lambda g, start, p: (g, start)))()
    tx = ol.lookahead(anchored, 1, 0.5, reset_state=True)
    _, state = tx.update({"w": jnp.ones(2)}, tx.init({"w": jnp.ones(2)}), {"w": jnp.ones(2)})
    chex.assert_trees_all_equal(state.fast_state, {"w": jnp.full(2, 1.5)})


def test_lookahead_takes_a_gradient_of_the_pair_too():
    # slow weights count nothing
    tx = ol.chain(ol.clip_by_global_norm(0.5), ol.lookahead(ol.sgd(0.1), 2, 0.5))
    pair = ol.LookaheadParams.init_synced(START)
    of_pair = jax.grad(lambda p: sum(jnp.sum(x**2) for x in jax.tree.leaves(p.fast)))(pair)
    of_fast = tx.update(of_pair.fast, tx.init(pair), pair)
    assert_close(tx.update(of_pair, tx.init(pair), pair), of_fast, ulps=A_STEP)


FREEZERS = {
    "pattern": lambda t: ol.groups(t, {"b": "freeze"}),
    "of params": lambda t: ol.partition(
        {"still": ol.set_to_zero(), "moves": t},
        lambda params: {k: "still" if jnp.ndim(p) == 1 else "moves" for k, p in params.items()},
    ),
}


@pytest.mark.parametrize("freeze", FREEZERS.values(), ids=FREEZERS)
def test_a_norm_around_lookahead_of_a_pair_counts_the_fast_weights_that_train(freeze):
    tx = ol.chain(ol.clip_by_global_norm(1.0), ol.lookahead(freeze(ol.sgd(1.0)), 2, 0.5))
    pair = ol.LookaheadParams.init_synced(START)
    fast = {"w": np.float32([[3.0, 0.0], [0.0, 4.0]]), "b": np.full(2, np.nan, np.float32)}
    slow = jax.tree.map(np.zeros_like, START)
    updates, _ = tx.update(ol.LookaheadParams(fast, slow), tx.init(pair), pair)
    np.testing.assert_allclose(updates.fast["w"], -fast["w"] / 5, rtol=1e-6)
    assert not np.any(updates.fast["b"])
    alone = ol.chain(ol.clip_by_global_norm(1.0), ol.lookahead(ol.sgd(1.0), 2, 0.5))
    updates, _ = alone.update(ol.LookaheadParams(START, fast), alone.init(pair), pair)
    assert np.all(np.isnan(updates.fast["w"])), "the gradient of slow weights is part of the norm"


def test_lookahead_between_syncs_keeps_the_slow_weights():
    tx = ol.lookahead(ol.sgd(0.1), 3, 0.5)
    pair = ol.LookaheadParams.init_synced({"w": jnp.array([-0.0, 0.0, 1.0])})
    updates, _ = tx.update({"w": jnp.ones(3)}, tx.init(pair), pair)
    slow = ol.apply_updates(pair, updates).slow["w"]
    assert np.array_equal(np.signbit(slow), [True, False, False]) and np.array_equal(
        slow, [0.0, 0.0, 1.0]
    )


def test_lookahead_goes_back_exactly_to_the_slow_weights_in_low_precision():
    start = jax.tree.map(lambda p: p.astype(jnp.bfloat16), START)
    tx = ol.lookahead(ol.sgd(0.01), 2, 0.5)
    for i, (params, state) in enumerate(path_of(tx, 6, start)):
        assert {x.dtype for x in jax.tree.leaves(state.slow)} == {jnp.dtype(jnp.float32)}
        if i % 2:
            chex.assert_trees_all_equal(params, ol.eval_params(tx, state, params))


def test_lookahead_wants_one_form_throughout():
    tx, pair = ol.lookahead(ol.sgd(0.1), 2, 0.5), ol.LookaheadParams.init_synced(START)
    with pytest.raises(
        ValueError, match=r"lookahead: .* expected LookaheadState\(.*, got LookaheadWithSlowState\("
    ):
        tx.update(START, tx.init(START), pair)
    with pytest.raises(
        ValueError, match=r"lookahead: .* expected LookaheadWithSlowState\(.*, got LookaheadState\("
    ):
        tx.update(START, tx.init(pair), START)
    with pytest.raises(ValueError, match="update needs the parameters"):
        tx.update(START, tx.init(START))


# --- copies every now and then, and one vector ----------------------------------------------------


def test_periodic_update_is_that_of_optax():
    new, old = {"w": jnp.ones(2), "n": jnp.int32(3)}, {"w": jnp.zeros(2), "n": jnp.int32(1)}
    for steps in range(5):
        chex.assert_trees_all_equal(
            ol.periodic_update(new, old, jnp.int32(steps), 3),
            optax.periodic_update(new, old, jnp.int32(steps), 3),
        )


def test_periodic_update_keeps_dtypes_and_leaves_without_a_new_value():
    new, old = (
        {"w": jnp.ones(2), "b": None},
        {"w": jnp.zeros(2, jnp.bfloat16), "b": [jnp.full(3, 2.0), jnp.ones(1)]},
    )
    copied = ol.periodic_update(new, old, 4, 2)
    chex.assert_trees_all_equal(copied, {"w": jnp.ones(2, jnp.bfloat16), "b": old["b"]})
    with pytest.raises(
        ValueError,
        match=r"leaf 'w': float32\[3\] cannot replace bfloat16\[2\]; nothing is broadcast",
    ):
        ol.periodic_update({"w": jnp.ones(3), "b": None}, old, 0, 2)


def test_flatten_keeps_vectors_and_changes_nothing_else():
    mixed = START | {"half": jnp.ones(3, jnp.bfloat16), "empty": jnp.zeros((0, 2))}
    tx, bare = ol.flatten(ol.adam(0.1)), ol.adam(0.1)
    state, of_bare = tx.init(mixed), bare.init(mixed)
    assert [x.shape for x in jax.tree.leaves(state)] == [(), (9,), (9,)]
    for _ in range(2):
        updates, state = tx.update(mixed, state, mixed)
        expected, of_bare = bare.update(mixed, of_bare, mixed)
        chex.assert_trees_all_equal_shapes_and_dtypes(updates, mixed)
        assert_close(updates, expected, ulps=2 * A_STEP)
    with pytest.raises(ValueError, match=r"gradient has shape \(5,\), its state \(9,\)") as raised:
        tx.update(mixed | {"w": None}, state, mixed)
    assert (
        "these parameters have no gradient: w; inside flatten every parameter needs one"
        in raised.value.__notes__
    )


def test_flatten_of_nothing_is_an_empty_vector():
    state = ol.flatten(ol.trace(0.9)).init({})
    assert state.trace.shape == (0,) and state.trace.dtype == jnp.float32


def test_flatten_gives_params_that_have_a_gradient():
    params, g = {"w": jnp.ones(2), "frozen": jnp.ones(3)}, {"w": jnp.zeros(2), "frozen": None}
    tx = ol.flatten(ol.add_decayed_weights(0.5))
    for extra in ({}, {"value_fn": lambda params: 0.0}):  # compiled, and not
        updates, _ = tx.update(g, tx.init(params), params, **extra)
        chex.assert_trees_all_equal(updates, {"w": jnp.full(2, 0.5), "frozen": None})


def test_flatten_is_that_of_optax(x64):
    params = {k: jnp.asarray(x, jnp.float64) for k, x in START.items()}

    def run(lib):
        tx = lib.flatten(lib.chain(lib.scale_by_adam(), lib.scale_by_trust_ratio()))
        return tx.update(params, tx.init(params), params)

    with jax.numpy_dtype_promotion("standard"):
        theirs = run(optax)
    chex.assert_trees_all_close(jax.tree.leaves(run(ol)), jax.tree.leaves(theirs), rtol=1e-12)


IN_A_VECTOR = {
    "average": lambda: ol.flatten(ol.average_params(ol.sgd(0.1))),
    "lookahead": lambda: ol.flatten(ol.lookahead(ol.sgd(0.1), 2, 0.5)),
    "schedule-free": lambda: ol.flatten(ol.schedule_free(ol.sgd(0.1), 0.1)),
    "a part": lambda: ol.masked(ol.flatten(ol.average_params(ol.sgd(0.1))), "w"),
}


@pytest.mark.parametrize("tx", IN_A_VECTOR.values(), ids=IN_A_VECTOR)
def test_an_average_of_a_vector_is_read_for_each_parameter(tx):
    params = START | {"n": jnp.arange(2), "none": None}
    grads = {name: x if name in START else None for name, x in params.items()}
    at_once, apart = {"made": tx()}, {"made": next(iter(tx().arguments.values()))}
    if tx is IN_A_VECTOR["a part"]:
        apart = {"made": ol.masked(ol.average_params(ol.sgd(0.1)), "w")}
    for found in (at_once, apart):
        p, state = params, found["made"].init(params)
        for _ in range(3):
            p, state = found["made"].step(grads, state, p)
        found["read"] = ol.eval_params(found["made"], state, p)
    chex.assert_trees_all_equal_shapes_and_dtypes(at_once["read"], params)
    for name in START:
        assert_close(at_once["read"][name], apart["read"][name], ulps=3 * A_STEP)
    chex.assert_trees_all_equal(at_once["read"]["n"], params["n"])


def test_the_reader_asks_no_more_of_a_builder_than_init_does():
    @ol.transform
    def picky(rate, n):
        # a number, not something that stands for one
        assert isinstance(rate, float) or jnp.shape(rate) == ()
        return ol.flatten(ol.average_params(ol.sgd(rate * jnp.sqrt(n))))

    tx = picky(0.1, 4.0)
    params, state = tx.step(START, tx.init(START), START)
    chex.assert_trees_all_equal(ol.eval_params(tx, state, params), params)


def bowl(p):
    return jnp.sum((p["w"] - 1) ** 2) + 3 * jnp.sum(p["b"] ** 2) + p["n"][0].astype(jnp.float32)


def test_a_line_search_in_a_vector_is_given_functions_of_the_vector():
    params, tx = START | {"n": jnp.arange(2)}, ol.flatten(ol.lbfgs())

    def once(p, state):
        value, grad = ol.value_and_grad_from_state(bowl)(p, state=state)
        return tx.step(grad, state, p, value=value, grad=grad, value_fn=bowl)

    state = jax.eval_shape(tx.init, params)
    chex.assert_trees_all_equal_shapes_and_dtypes(
        jax.eval_shape(once, params, state), (params, state)
    )


@pytest.mark.nightly
def test_a_line_search_in_a_vector_is_that_of_the_tree():
    params = START | {"n": jnp.arange(2)}
    step, found = ol.make_step(bowl, donate=False), []
    for tx in (ol.flatten(ol.lbfgs()), ol.lbfgs()):
        p, state = params, tx.init(params)
        for _ in range(2):
            p, state, _ = step(tx, p, state)
        found.append((p, state))
    (of_vector, vectors), (of_tree, _) = found
    assert [x.ndim for x in jax.tree.leaves(vectors[0].updates)] == [1]
    for name in START:
        assert_close(of_vector[name], of_tree[name], ulps=20 * A_STEP)


def test_in_dtypes_and_reset_a_vector_is_the_slot_of_its_parameters():
    tx = ol.with_state_dtype(ol.flatten(ol.adam(0.1)), jnp.bfloat16)
    assert {x.dtype for x in jax.tree.leaves(tx.init(START)) if x.ndim} == {jnp.dtype(jnp.bfloat16)}
    tx = ol.flatten(ol.adam(0.1))
    _, state = tx.update(START, tx.init(START), START)
    again = ol.reset(state, tx, START, where="b")
    size, adam = START["b"].size, again[0]  # 'b' comes first
    assert not jnp.any(adam.mu[:size]) and jnp.array_equal(adam.mu[size:], state[0].mu[size:])
    assert adam.count == 1 and ol.reset(state, tx, START, where=["b", "w"])[0].count == 0
    rows = ol.explain(tx, START).rows
    assert {row.path: row.slots["mu"][0].shape for row in rows} == {
        k: x.shape for k, x in START.items()
    }
    assert all("learning_rate" in "".join(row.hyperparams) for row in rows)
