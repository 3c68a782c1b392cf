"""Wrappers that run their optimizer only in some calls: promises beyond their references."""

import functools
import pickle

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lite as ol
from tests.closeness import A_STEP, assert_close
from tests.compilations import count_lowerings
from tests.nightly import first
from tests.test_optax_parity import arguments, outline, trajectory, tree

PROVES = ("wrappers.accumulate", "wrappers.skip", "core.functions")

PARAMS = {
    "w": np.array([[1.0, -0.0], [0.5, 3.0]], np.float32),
    "z": np.array([1 - 0j, -0.0 - 0j], np.complex64),
    "b": np.array([0.3, -0.1], np.float32),
}


def gradient(seed):
    keys = jax.random.split(jax.random.key(seed), 3)
    return {
        k: jax.random.normal(key, p.shape, p.dtype)
        for key, (k, p) in zip(keys, PARAMS.items(), strict=True)
    }


def bits(tree):
    """A tree as numpy arrays that tell 0.0 from -0.0."""
    return [np.asarray(x).tobytes() for x in jax.tree.leaves(tree)]


def bad(value=jnp.nan):
    return gradient(0) | {"b": jnp.array([1.0, value])}


def applied(tx, grads, state, params, **extra):
    updates, state = tx.update(grads, state, params, **extra)
    return ol.apply_updates(params, updates), state


def stepped(tx, grads, state, params, **extra):
    return tx.step(grads, state, params, **extra)


both = pytest.mark.parametrize("call", first(1, [stepped, applied]))


def never(step):
    return step < 0


# Each with gradients that it has no use for.
IDLE = {
    "accumulate": (lambda tx: ol.accumulate(tx, 9), gradient(1)),
    "MultiSteps": (lambda tx: ol.MultiSteps(tx, 9), gradient(1)),
    "MultiSteps, skipping": (
        lambda tx: ol.MultiSteps(tx, 1, should_skip_update_fn=ol.skip_not_finite),
        bad(),
    ),
    "skip_bad_steps": (ol.skip_bad_steps, bad()),
    "skip_bad_steps, too large": (ol.skip_bad_steps, bad(1e30)),
    "apply_if_finite": (lambda tx: ol.apply_if_finite(tx, 0), bad(-jnp.inf)),
    "conditionally_mask": (lambda tx: ol.conditionally_mask(tx, never), bad()),
}


# --- what all of them do --------------------------------------------------------------------------


@both
@pytest.mark.parametrize("name", IDLE)
def test_an_idle_call_changes_no_bit_of_params_and_inner_state(name, call):
    wrap, grads = IDLE[name]
    tx = wrap(ol.adamw(0.1, weight_decay=0.1))
    params, state = PARAMS, tx.init(PARAMS)
    for _ in range(2):
        params, state = call(tx, grads, state, params)
    assert bits(params) == bits(PARAMS)
    inner = state.inner_opt_state if "MultiSteps" in name else state.inner_state
    assert bits(inner) == bits(ol.adamw(0.1, weight_decay=0.1).init(PARAMS))


@pytest.mark.parametrize("name", IDLE)
def test_an_idle_update_is_minus_zero(name):
    wrap, grads = IDLE[name]
    tx = wrap(ol.sgd(0.1))
    updates, _ = tx.update(grads, tx.init(PARAMS), PARAMS)
    parts = [
        x
        for u in jax.tree.leaves(updates)
        for x in ([u.real, u.imag] if jnp.iscomplexobj(u) else [u])
    ]
    assert all(bool(jnp.all((x == 0) & jnp.signbit(x))) for x in parts)


WRAPPED = {
    "accumulate": lambda tx: ol.accumulate(tx, 2),
    "MultiSteps": lambda tx: ol.MultiSteps(tx, 2),
    "skip_bad_steps": lambda tx: ol.skip_bad_steps(tx, outlier=3.0),
    "apply_if_finite": lambda tx: ol.apply_if_finite(tx, 3),
    "conditionally_transform": lambda tx: ol.conditionally_transform(tx, lambda step: step != 1),
    "conditionally_mask": lambda tx: ol.conditionally_mask(tx, lambda step: step != 1),
}
each = pytest.mark.parametrize("name", WRAPPED)


@each
@both
def test_extra_arguments_reach_the_transformation_inside(name, call):
    tx = WRAPPED[name](ol.momo(1.0))
    with pytest.raises(TypeError, match="momo: update needs value="):
        call(tx, gradient(0), tx.init(PARAMS), PARAMS)
    call(tx, gradient(0), tx.init(PARAMS), PARAMS, value=1.0)


@each
def test_a_function_as_extra_argument_gives_the_same_run(name):
    """Such a call is not compiled as a whole, and its params are the full tree."""
    seen = []

    @ol.transform
    def with_value():
        def update(updates, state, params, *, value_fn):
            seen.append(value_fn(0.0))
            return ol.leafwise(lambda g: -g, updates), state

        return lambda params: ol.EmptyState(), update

    tx, plain = WRAPPED[name](with_value()), WRAPPED[name](ol.sgd(1.0))
    params = {"b": PARAMS["b"], "none": None, "count": jnp.array(3)}
    state, other = tx.init(params), plain.init(params)
    for seed in range(2):
        grads = {"b": gradient(seed)["b"], "none": None, "count": None}
        new, state = tx.step(grads, state, params, value_fn=lambda x: x + 7)
        expected, other = plain.step(grads, other, params)
        assert_close(new, expected, ulps=2 * A_STEP)
        assert new["count"] is params["count"]
    assert set(seen) == {7.0}


@each
def test_the_step_of_a_member_is_used_inside(name):
    """A transformation that rounds lands where it means to."""

    @ol.transform
    def to_whole_numbers():
        def update(updates, state, params):
            return ol.leafwise(lambda g, w: 0 * g, updates, read=(params,)), state

        def step(updates, state, params):
            return jax.tree.map(jnp.round, params), state

        return lambda params: ol.EmptyState(), update, step

    params = {"w": jnp.array([0.6, 2.2])}
    tx = ol.chain(ol.identity(), WRAPPED[name](to_whole_numbers()))
    state, new = tx.init(params), params
    for _ in range(2):
        new, state = tx.step({"w": jnp.zeros(2)}, state, new)
    chex.assert_trees_all_equal(new, {"w": jnp.array([1.0, 2.0])})


@each
def test_groups_leave_no_trace_in_each_other(name):
    tx = ol.partition(
        {"a": WRAPPED[name](ol.adam(0.1)), "b": ol.sgd(0.1)}, {"w": "a", "z": "b", "b": "a"}
    )
    alone = WRAPPED[name](ol.adam(0.1))
    part = {k: v for k, v in PARAMS.items() if k != "z"}
    params, state, state_of_part = PARAMS, tx.init(PARAMS), alone.init(part)
    for seed in range(3):
        g = gradient(seed)
        part, state_of_part = alone.step({k: g[k] for k in part}, state_of_part, part)
        params, state = tx.step(g, state, params)
        assert_close({k: params[k] for k in part}, part, ulps=3 * A_STEP)


def test_a_sum_that_waits_is_minus_zero():
    tx = ol.apply_every(2)
    updates, state = tx.update(PARAMS, tx.init(PARAMS), PARAMS)
    parts = [part for u in updates.values() for part in (np.real(u), np.imag(u))]
    assert not np.any(np.concatenate([part.ravel() for part in parts]))
    assert all(np.all(np.signbit(np.real(u))) for u in updates.values())
    assert np.all(np.signbit(np.imag(updates["z"])))
    updates, _ = tx.update(PARAMS, state, PARAMS)
    chex.assert_trees_all_close(updates, jax.tree.map(lambda p: 2 * p, PARAMS))


@each
@both
def test_a_leaf_that_has_no_gradient_is_left_alone(name, call):
    tx, grads = WRAPPED[name](ol.adam(0.1)), gradient(0) | {"z": None}
    params, state = PARAMS, tx.init(PARAMS)
    for _ in range(2):
        params, state = call(tx, grads, state, params)
    assert bits(params["z"]) == bits(PARAMS["z"])
    assert bits(params["w"]) != bits(PARAMS["w"])


def test_without_the_transformation_the_updates_are_as_they_came():
    tx, params = (
        ol.conditionally_transform(ol.adam(0.1), never),
        PARAMS | {"half": jnp.ones(2, jnp.bfloat16)},
    )
    grads = gradient(0) | {"half": jnp.full(2, 0.3, jnp.bfloat16), "b": None}
    state = tx.init(params)
    chex.assert_trees_all_equal(tx.step(grads, state, params)[0], ol.apply_updates(params, grads))
    chex.assert_trees_all_equal(tx.update(grads, state, params)[0], grads)


# --- accumulate -----------------------------------------------------------------------------------


@pytest.mark.parametrize("reduce", ["mean", "sum"])
@both
def test_accumulation_is_the_optimizer_on_the_mean(reduce, call):
    inner = ol.chain(ol.clip_by_global_norm(1.0), ol.adamw(ol.cosine_decay_schedule(0.1, 4)))
    tx = ol.accumulate(inner, 3, reduce=reduce)
    params, state = PARAMS, tx.init(PARAMS)
    expected, inner_state = PARAMS, inner.init(PARAMS)
    for i in range(4):
        grads = [gradient(3 * i + j) for j in range(3)]
        for g in grads:
            before = bits(params)
            params, state = call(tx, g, state, params)
            assert (bits(params) == before) == (g is not grads[-1])
        total = jax.tree.map(lambda *gs: sum(gs) / (3 if reduce == "mean" else 1), *grads)
        expected, inner_state = inner.step(total, inner_state, expected)
        assert_close((params, state.inner_state), (expected, inner_state), ulps=4 * A_STEP)
        assert (int(state.mini_step), int(state.gradient_step)) == (0, i + 1)


def test_a_schedule_of_the_batch_size_counts_real_steps():
    def doubling(step):
        return 2**step

    for every in (doubling, ol.piecewise_constant_schedule(1.0, {1: 2.0, 2: 2.0, 3: 2.0})):
        tx = ol.accumulate(ol.sgd(0.1), every)
        state, real = tx.init(PARAMS), []
        for i in range(15):
            _, state = tx.update(gradient(0), state, PARAMS)
            real += [i] if state.mini_step == 0 else []
        assert real == [0, 2, 6, 14]


def test_a_bad_micro_gradient_is_left_out_of_the_mean_and_counted():
    tx = ol.accumulate(ol.sgd(1.0), 3)
    state, params = tx.init(PARAMS), PARAMS
    for g in (gradient(1), bad(), gradient(2)):
        params, state = tx.step(g, state, params)
    mean = jax.tree.map(lambda a, b: (a + b) / 2, gradient(1), gradient(2))
    # of what is summed
    assert_close(params, jax.tree.map(jnp.subtract, PARAMS, mean), ulps=A_STEP, largest=3.0)
    assert (int(state.num_finite), int(state.total_notfinite), int(state.gradient_step)) == (
        2,
        1,
        1,
    )


def test_a_step_of_bad_micro_gradients_alone_is_not_made():
    tx = ol.accumulate(ol.adam(0.1), 2)
    params, state = tx.step(gradient(0), tx.init(PARAMS), PARAMS)
    before = params, state.inner_state
    for g in (gradient(1), bad(), bad(jnp.inf)):
        params, state = tx.step(g, state, params)
        before = (
            before if g is not None and state.gradient_step == 2 else (params, state.inner_state)
        )
    assert bits((params, state.inner_state)) == bits(before)
    assert (
        int(state.gradient_step),
        int(state.total_notfinite),
        int(state.inner_state[0].count),
    ) == (2, 2, 1)


def test_a_gradient_without_a_finite_weight_is_left_out():
    tx = ol.accumulate(ol.sgd(1.0), 3, reduce="weighted")
    state = tx.init(PARAMS)
    for weight, g in ((jnp.inf, gradient(0)), (jnp.nan, gradient(1)), (2.0, gradient(2))):
        updates, state = tx.update(g, state, PARAMS, weight=weight)
    chex.assert_trees_all_close(updates, jax.tree.map(lambda g: -g, gradient(2)))
    assert int(state.total_notfinite) == 2


@pytest.mark.parametrize("wrap", [ol.accumulate, ol.MultiSteps])
def test_what_has_no_gradient_has_no_update_while_others_wait(wrap):
    tx = wrap(ol.sgd(1.0), 2)
    updates, _ = tx.update(gradient(0) | {"b": None}, tx.init(PARAMS), PARAMS)
    assert updates["b"] is None and not np.any(updates["w"])


def test_low_precision_is_summed_in_float32():
    p = {"w": jnp.zeros(3, jnp.bfloat16)}
    tx = ol.accumulate(ol.sgd(1.0), 256, reduce="sum")
    state, g = tx.init(p), {"w": jnp.ones(3, jnp.bfloat16)}
    for _ in range(256):
        updates, state = tx.update(g, state, p)
    assert state.acc_grads["w"].dtype == jnp.float32
    np.testing.assert_array_equal(state.acc_grads["w"], 256)
    assert updates["w"].dtype == jnp.bfloat16 and bool(jnp.all(updates["w"] == -256))


def test_private_descent_clips_each_example_and_then_accumulates():
    private = ol.differentially_private_aggregate(1.0, 0.0, seed=0)
    tx = ol.chain(private, ol.accumulate(ol.sgd(1.0), 2))
    params = {"w": jnp.zeros(2)}
    state = tx.init(params)
    for g in ([[3.0, 4.0], [0.0, 0.5]], [[0.0, -8.0], [0.2, 0.0]]):
        params, state = tx.step({"w": jnp.array(g)}, state, params)
    np.testing.assert_allclose(params["w"], [-0.2, -0.075], rtol=1e-6)


def conds(f, *args):
    return str(jax.make_jaxpr(f)(*args)).count(" cond[")


@pytest.mark.nightly
def test_in_a_population_the_optimizer_still_runs_only_when_it_is_due():
    def train(tx):
        def body(carry, g):
            params, state = carry
            return tx.step(jax.tree.map(jnp.add, g, params), state, params), None

        grads = jax.tree.map(lambda *gs: jnp.stack(gs), *map(gradient, range(4)))
        return jax.lax.scan(body, (PARAMS, tx.init(PARAMS)), grads)[0]

    def population(wrap):
        return jax.vmap(lambda rate: wrap(ol.adam(rate)))(jnp.array([0.1, 0.2]))

    for every in (2, lambda step: step + 1):
        accumulated = population(lambda tx, every=every: ol.accumulate(tx, every))
        assert conds(jax.vmap(train), accumulated) == 1
        # the other one: is there a finite gradient?
        assert conds(train, ol.accumulate(ol.adam(0.1), every)) == 2
        together = jax.vmap(train)(accumulated)
        for i, rate in enumerate((0.1, 0.2)):
            alone = train(ol.accumulate(ol.adam(rate), every))
            assert_close(jax.tree.map(lambda x, i=i: x[i], together), alone, ulps=4 * A_STEP)
    assert conds(jax.vmap(train), population(lambda tx: ol.MultiSteps(tx, 2))) == 1
    # each member has gradients of its own
    assert conds(jax.vmap(train), population(ol.skip_bad_steps)) == 0


def test_a_traced_batch_size_is_refused():
    with pytest.raises(
        ValueError, match=r"accumulate: every must have concrete numbers, got .*traced.*outside jit"
    ):
        jax.jit(lambda n: ol.accumulate(ol.sgd(0.1), ol.constant_schedule(n)).init(PARAMS))(2.0)


def test_other_numbers_are_the_same_program():
    tx = ol.accumulate(ol.adamw(0.1), 2)
    state = tx.init(PARAMS)
    tx.step(gradient(0), state, PARAMS)
    with count_lowerings() as count:
        tx.replace(learning_rate=0.3, weight_decay=0.5).step(gradient(0), state, PARAMS)
    assert count() == 0
    assert tx.hyperparams["tx/learning_rate"] == 0.1


# --- optax's forms of it --------------------------------------------------------------------------

LIKE_OPTAX = {
    "MultiSteps": lambda lib: multi_steps(lib, 3),
    "MultiSteps, sum": lambda lib: multi_steps(lib, 3, use_grad_mean=False),
    "MultiSteps, schedule": lambda lib: multi_steps(lib, lambda step: step + 1),
    "MultiSteps, skipping": lambda lib: multi_steps(
        lib,
        2,
        should_skip_update_fn=functools.partial(lib.skip_large_updates, max_squared_norm=8.0),
    ),
    "MultiSteps, skipping NaN": lambda lib: multi_steps(
        lib, 2, should_skip_update_fn=lib.skip_not_finite
    ),
    "apply_every": lambda lib: lib.chain(lib.apply_every(3), lib.sgd(0.1)),
    "apply_if_finite": lambda lib: lib.apply_if_finite(lib.adamw(0.1), 3),
    "conditionally_transform": lambda lib: lib.conditionally_transform(
        lib.adam(0.1), lambda step: step % 3 == 1
    ),
    "conditionally_mask": lambda lib: lib.conditionally_mask(
        lib.adam(0.1), lambda step: step % 3 == 1
    ),
    "conditionally_mask, value": lambda lib: lib.conditionally_mask(
        lib.adam(0.1), lambda step, value: value > 3, forward_extra_args=True
    ),
}


def multi_steps(lib, *args, **kwargs):
    accumulator_dtype = jnp.zeros(()).astype(float).dtype
    return lib.MultiSteps(
        lib.adam(0.1), *args, accumulator_dtype=accumulator_dtype, **kwargs
    ).gradient_transformation()


@pytest.mark.nightly
@pytest.mark.parametrize("name", first(1, LIKE_OPTAX, of=lambda name: name.split(",")[0]))
def test_ten_steps_in_float64_are_those_of_optax(name, x64):
    ours = trajectory(ol, LIKE_OPTAX[name])
    with (
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
    ):  # optax mixes both
        theirs = trajectory(optax, LIKE_OPTAX[name])
    chex.assert_trees_all_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", LIKE_OPTAX)
def test_states_are_those_of_optax(name):
    def names_and_shapes(lib):
        return jax.tree.map(jnp.shape, LIKE_OPTAX[name](lib).init(tree(0)))

    with jax.numpy_dtype_promotion("standard"):
        theirs = outline(names_and_shapes(optax))
    assert str(outline(names_and_shapes(ol))) == str(theirs)


def test_multi_steps_has_the_arguments_of_optax():
    ours, theirs = arguments(ol.MultiSteps), arguments(optax.MultiSteps)
    assert ours[:-1] == theirs[:-1] and ours[-1][:2] == theirs[-1][:2]


def test_multi_steps_is_optaxs_class_and_a_transformation():
    tx = ol.MultiSteps(ol.adam(0.1), 2, should_skip_update_fn=ol.skip_not_finite)
    assert tx.gradient_transformation() is tx and tx.inner_opt == ol.adam(0.1)
    assert repr(tx).startswith("MultiSteps(opt=adam(")
    for other in (
        tx.replace(tx.hyperparams),
        pickle.loads(pickle.dumps(tx)),
        jax.tree.map(lambda x: x, tx),
    ):
        assert type(other) is ol.MultiSteps and other == tx
    assert tx.replace(learning_rate=0.2).hyperparams["opt/learning_rate"] == 0.2
    chained = ol.chain(ol.clip_by_global_norm(1.0), tx)
    chained.step(gradient(0), chained.init(PARAMS), PARAMS)


def test_multi_steps_knows_when_it_has_updated():
    tx = ol.MultiSteps(ol.sgd(0.1), 2, should_skip_update_fn=ol.skip_not_finite)
    state, seen = tx.init(PARAMS), []
    assert not tx.has_updated(state)
    for g in (gradient(0), bad(), gradient(1), bad(), gradient(2)):
        _, state = tx.update(g, state, PARAMS)
        seen.append(
            (
                bool(tx.has_updated(state)),
                int(state.mini_step),
                int(state.skip_state["num_not_finite"]),
            )
        )
    assert seen == [(False, 1, 0), (False, 1, 1), (True, 0, 0), (False, 0, 1), (False, 1, 0)]


def test_multi_steps_that_refuse_nothing_know_it_too():
    tx = ol.MultiSteps(ol.sgd(0.1), 2)
    state, seen = tx.init(PARAMS), []
    for i in range(4):
        _, state = tx.update(gradient(i), state, PARAMS)
        seen.append(bool(tx.has_updated(state)))
    assert seen == [False, True, False, True]


def test_a_refused_gradient_makes_no_step_also_where_fewer_are_needed_now():
    of_four, of_two = (
        ol.MultiSteps(ol.sgd(0.1), k, should_skip_update_fn=ol.skip_not_finite) for k in (4, 2)
    )
    state = of_four.init(PARAMS)
    for i in range(2):
        _, state = of_four.update(gradient(i), state, PARAMS)
    updates, state = of_two.update(bad(), state, PARAMS)
    assert not any(np.any(u) for u in updates.values())
    assert (int(state.mini_step), int(state.gradient_step)) == (2, 0)


def test_what_a_refusal_tells_begins_with_zeros():
    def refuse(updates, gradient_step, params):
        return gradient_step > 5, {"step": gradient_step + 7, "norm": jnp.ones(2)}

    state = ol.MultiSteps(ol.sgd(0.1), 2, should_skip_update_fn=refuse).init(PARAMS)
    assert state.skip_state["step"] == 0 and not np.any(state.skip_state["norm"])
    skip = functools.partial(ol.skip_large_updates, max_squared_norm=1.0)
    refused, told = skip({"w": jnp.full(2, 3.0)}, 0, None)
    assert refused and told["should_skip"].dtype == bool and told["norm_squared"] == 18.0


def test_multi_steps_recovers_after_a_nan_that_it_does_not_look_for():
    tx = ol.MultiSteps(ol.sgd(0.1), 2)
    state = tx.init(PARAMS)
    for g in (bad(), gradient(0)):
        _, state = tx.update(g, state, PARAMS)
    for g in (gradient(1), gradient(1)):
        updates, state = tx.update(g, state, PARAMS)
    assert_close(updates, jax.tree.map(lambda g: -0.1 * g, gradient(1)), ulps=A_STEP)


def test_multi_steps_keeps_its_mean_in_the_dtype_asked_for():
    p = {"w": jnp.ones(2, jnp.bfloat16), "z": jnp.ones(2, jnp.complex64)}
    dtypes = {
        name: jax.tree.map(
            lambda x: x.dtype, ol.MultiSteps(ol.sgd(0.1), 2, accumulator_dtype=name).init(p)
        )
        for name in (None, "bfloat16")
    }
    assert dtypes[None].acc_grads == {"w": jnp.float32, "z": jnp.complex64}
    assert dtypes["bfloat16"].acc_grads == {"w": jnp.bfloat16, "z": jnp.complex64}


def test_refusals_for_multi_steps_say_why():
    skip, state = ol.skip_not_finite(
        bad() | {"more": jnp.array([jnp.inf, 1.0])}, jnp.array(0), None
    )
    assert bool(skip) and {k: v.item() for k, v in state.items()} == {
        "should_skip": True,
        "num_not_finite": 2,
    }
    for g, expected in ((jnp.array([1.0, 2.0]), 5.0), (jnp.array([1e30]), jnp.inf)):
        for limit in (4.0, 5.0, 5.1):
            skip, state = ol.skip_large_updates({"g": g}, jnp.array(0), None, limit)
            assert bool(skip) == (not expected < limit) and state["norm_squared"] == expected
    assert bool(ol.skip_large_updates({"g": jnp.array([jnp.nan])}, jnp.array(0), None, 1.0)[0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: ol.MultiSteps(0.1, 2),
            "MultiSteps: member opt must be a GradientTransformation, got 0.1",
        ),
        (
            lambda: ol.MultiSteps(ol.sgd(0.1), 0),
            "MultiSteps: every_k_schedule must be an integer of at least 1, got 0",
        ),
        (
            lambda: ol.MultiSteps(ol.sgd(0.1), 2, accumulator_dtype=int),
            "MultiSteps: accumulator_dtype must be a floating dtype or None",
        ),
        (
            lambda: ol.accumulate(
                ol.chain(ol.differentially_private_aggregate(1.0, 0.1, seed=0), ol.sgd(0.1)), 2
            ),
            (
                r"accumulate: tx needs per-example gradients.*write "
                r"chain\(differentially_private_aggregate"
            ),
        ),
    ],
)
def test_compositions_that_cannot_be_built_say_what_to_write(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# --- skip_bad_steps -------------------------------------------------------------------------------


def run(tx, sizes, params=None):
    """The states after gradients of these sizes in one direction."""
    params, states = params or {"w": jnp.zeros(3)}, []
    state = tx.init(params)
    for size in sizes:
        params, state = tx.step({"w": size * jnp.array([0.6, 0.0, 0.8])}, state, params)
        states.append(state)
    return params, states


def test_an_outlier_is_judged_by_the_good_norms_only():
    tx = ol.skip_bad_steps(ol.sgd(1.0), outlier=5.0, window=4)
    sizes = [1.0, 1.2, 0.9, 1.1, 2.0, 1e6, jnp.nan, 1.3]
    params, states = run(tx, sizes)
    assert [int(s.last_reason) for s in states] == [0, 0, 0, 0, 2, 2, 1, 0]
    assert [int(s.consecutive_skipped) for s in states] == [0, 0, 0, 0, 1, 2, 3, 0]
    np.testing.assert_allclose(params["w"], -5.5 * np.array([0.6, 0.0, 0.8]), rtol=1e-5)
    np.testing.assert_allclose(states[3].log_norm_mean, np.mean(np.log(sizes[:4])), atol=1e-6)
    np.testing.assert_allclose(states[3].log_norm_var, np.var(np.log(sizes[:4])), rtol=1e-5)
    assert bits(states[6][4:7]) == bits(states[3][4:7])
    assert (int(states[-1].total_skipped), int(states[-1].good_steps)) == (3, 5)


def test_before_the_window_is_full_nothing_is_an_outlier():
    _, states = run(
        ol.skip_bad_steps(ol.sgd(1.0), outlier=1.0, window=5), [1.0, 100.0, 1.0, 1.0, 50.0]
    )
    assert int(states[-1].total_skipped) == 0


def test_one_large_first_norm_hides_no_outlier_for_long():
    """In a mean of the norms themselves it hid those of 50 for more than 500 steps."""
    tx = ol.skip_bad_steps(ol.sgd(0.1), outlier=6.0)
    rng = np.random.default_rng(0)

    def train(state, sizes):
        def one(state, size):
            state = tx.step({"w": size * jnp.array([0.6, 0.0, 0.8])}, state, {"w": jnp.zeros(3)})[1]
            return state, state.last_reason

        return jax.lax.scan(one, state, jnp.asarray(sizes, jnp.float32))[1]

    usual = rng.uniform(0.8, 1.2, 500)
    reasons = train(
        tx.init({"w": jnp.zeros(3)}), [1000.0, *usual[:300], 50.0, *usual[300:], 50.0, 1.2]
    )
    assert np.flatnonzero(reasons).tolist() == [301, 502]


def test_a_step_may_be_left_out_for_its_loss():
    tx = ol.skip_bad_steps(ol.sgd(1.0), loss_outlier=5.0, window=4)
    params, reasons = {"w": jnp.ones(3)}, []
    state = tx.init(params)
    for loss in (2.0, 2.1, -1.0, 1.9, 2.0, 2.2, 4.0, jnp.nan, 2.0):
        params, state = tx.step({"w": jnp.ones(3)}, state, params, value=jnp.asarray(loss))
        reasons.append(int(state.last_reason))
    assert reasons == [0] * 6 + [4, 3, 0]
    assert (int(state.total_skipped), int(state.good_losses)) == (2, 6)
    np.testing.assert_array_equal(params["w"], -6.0)
    with pytest.raises(TypeError, match="loss_outlier needs the loss"):
        tx.step({"w": jnp.ones(3)}, state, params)


def test_equal_norms_are_no_outliers():
    _, states = run(ol.skip_bad_steps(ol.sgd(1.0), outlier=2.0, window=3), [1.0] * 5 + [1.01, 1.03])
    assert [int(s.last_reason) for s in states] == [0] * 6 + [2]


def test_too_many_bad_steps_in_a_row_are_reported_and_still_skipped():
    tx = ol.skip_bad_steps(ol.sgd(1.0), max_consecutive=2)
    params, states = run(tx, [1.0, jnp.nan, jnp.inf, 1.0, jnp.nan, jnp.nan, jnp.nan, jnp.nan, 1.0])
    assert [bool(s.exceeded) for s in states] == [False] * 6 + [True] * 3
    assert (int(states[-1].total_skipped), int(states[-1].consecutive_skipped)) == (6, 0)
    np.testing.assert_allclose(params["w"], [-1.8, 0.0, -2.4], rtol=1e-6)
    _, states = run(ol.skip_bad_steps(ol.sgd(1.0)), [jnp.nan] * 9)
    assert not states[-1].exceeded


def test_non_finite_gradients_can_be_left_to_another_wrapper():
    tx = ol.skip_bad_steps(
        ol.chain(ol.zero_nans(), ol.sgd(1.0)), nonfinite=False, outlier=3.0, window=2
    )
    params, states = run(tx, [1.0, 1.1, jnp.nan, 9.0, 1.0])
    assert [int(s.last_reason) for s in states] == [0, 0, 0, 2, 0]
    assert (int(states[2].good_steps), int(states[4].good_steps)) == (2, 3)
    assert np.isfinite(states[-1].log_norm_mean) and np.isfinite(params["w"]).all()


def test_thresholds_can_be_changed_without_compiling():
    tx = ol.skip_bad_steps(ol.sgd(1.0), outlier=3.0, window=10, max_consecutive=4)
    state, params = tx.init(PARAMS), PARAMS
    tx.step(gradient(0), state, params)
    with count_lowerings() as count:
        tx.replace(outlier=4.0, window=20, max_consecutive=7).step(gradient(0), state, params)
    assert count() == 0


def test_apply_if_finite_never_applies_non_finite_updates():
    """optax does after the limit, and its moments are NaN from then on."""
    grads = [gradient(0), *[bad()] * 4, gradient(1)]

    def end(lib):
        tx = lib.apply_if_finite(lib.adam(0.1), 2)
        params, state = PARAMS, tx.init(PARAMS)
        for g in grads:
            updates, state = tx.update(g, state, params)
            params = lib.apply_updates(params, updates)
        return params, state

    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        theirs, _ = end(optax)
    ours, state = end(ol)
    assert not np.isfinite(theirs["b"]).all()
    chex.assert_tree_all_finite(ours)
    assert (int(state.total_notfinite), int(state.notfinite_count), bool(state.last_finite)) == (
        4,
        0,
        True,
    )


def test_a_condition_may_look_at_the_extra_arguments():
    for wrap in (ol.conditionally_transform, ol.conditionally_mask):
        tx = wrap(ol.scale(0.0), lambda step, value, **others: value > 1.0, forward_extra_args=True)
        for value in (0.5, 2.0):
            updates, _ = tx.update({"w": jnp.ones(2)}, tx.init({"w": jnp.ones(2)}), value=value)
            np.testing.assert_array_equal(
                updates["w"], value < 1 and wrap is ol.conditionally_transform
            )
