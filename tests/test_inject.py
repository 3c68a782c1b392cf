"""Hyperparameters that live in the state: optax's form, built optimizers, frameworks, and setting
them.
"""

import chex
import equinox as eqx
import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training.train_state import TrainState
from jax.sharding import NamedSharding, PartitionSpec

import optax_lite as ol
from tests.closeness import A_STEP, assert_close
from tests.compilations import count_lowerings

PROVES = ("wrappers.inject", "wrappers.set_hyperparams")

PARAMS = {"w": jnp.array([1.0, -2.0, 0.5]), "b": jnp.array([0.3, -0.1])}
GRADS = jax.tree.map(lambda p: 0.5 * p + 0.1, PARAMS)
ADAM = {"b1": 0.875, "b2": 0.984375}  # exact in float32, where optax rounds 1 - b2 apart
line = ol.linear_schedule(0.125, 0.25, 4)


def run(tx, steps=3, params=PARAMS, grads=GRADS):
    state = tx.init(params)
    for _ in range(steps):
        updates, state = tx.update(grads, state, params)
        params = ol.apply_updates(params, updates)
    return params, state


def as_optax_does(call, *args):
    with jax.numpy_dtype_promotion("standard"):
        return call(*args)


FORMS = {
    "numbers": lambda lib: lib.inject_hyperparams(lib.adamw)(learning_rate=0.125, **ADAM),
    "a schedule": lambda lib: lib.inject_hyperparams(lib.adamw)(
        lib.linear_schedule(0.125, 0.25, 4), **ADAM
    ),
    "two schedules": lambda lib: lib.inject_hyperparams(lib.sgd)(
        lib.linear_schedule(0.125, 0.25, 4), momentum=lib.linear_schedule(0.5, 0.75, 4)
    ),
    "static numbers": lambda lib: lib.inject_hyperparams(
        lib.adamw, static_args=("b1", "b2", "weight_decay")
    )(0.125, **ADAM),
    "static_args as a word": lambda lib: lib.inject_hyperparams(lib.sgd, "nesterov")(
        0.125, 0.5, nesterov=True
    ),
}


@pytest.mark.parametrize("make", FORMS.values(), ids=FORMS)
def test_state_and_steps_of_the_factory_form_are_those_of_optax(make):
    (params, state), (theirs, their_state) = run(make(ol)), as_optax_does(run, make(optax))
    assert (type(state).__name__, state._fields) == (
        type(their_state).__name__,
        their_state._fields,
    )
    paths = [
        [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(s)[0]]
        for s in (state, their_state)
    ]
    assert paths[0] == paths[1]
    for ours, other in zip(
        jax.tree.leaves((params, state)), jax.tree.leaves((theirs, their_state)), strict=True
    ):
        assert ours.dtype == other.dtype
        assert_close(ours, other, ulps=3 * A_STEP)


@pytest.mark.parametrize(
    "tx", [ol.adamw(0.1), ol.adamw(line), ol.chain(ol.clip(0.1), ol.sgd(line, 0.9))]
)
def test_an_injected_optimizer_makes_the_same_steps(tx):
    params, state = run(ol.inject_hyperparams(tx))
    expected, _ = run(tx)
    assert_close(params, expected, ulps=3 * A_STEP)
    chex.assert_trees_all_equal(state.count, jnp.int32(3))


def test_both_forms_hold_the_same_numbers():
    built = ol.inject_hyperparams(ol.adamw(0.1, b1=0.8)).init(PARAMS)
    called = ol.inject_hyperparams(ol.adamw)(0.1, b1=0.8).init(PARAMS)
    chex.assert_trees_all_equal(built, called)
    assert set(built.hyperparams) == set(ol.adamw(0.1).hyperparams)


def test_a_schedule_shows_its_value_and_in_a_built_optimizer_has_its_numbers_there():
    tx = ol.inject_hyperparams(ol.chain(ol.clip(1.0), ol.sgd(line)))
    _, state = run(tx, 3)
    assert state.hyperparams["1/learning_rate"] == line(2)  # the one the last update took
    assert state.hyperparams["1/learning_rate/end_value"] == 0.25
    state = ol.set_hyperparams(state, init_value=1.0, end_value=1.0)
    _, state = tx.update(GRADS, state, PARAMS)
    assert state.hyperparams["1/learning_rate"] == 1.0
    assert (
        "learning_rate/end_value"
        not in ol.inject_hyperparams(ol.sgd)(line).init(PARAMS).hyperparams
    )


def test_a_mask_is_not_a_schedule():
    """optax evaluates the function at the count, and decays by nothing or everything."""

    def no_bias(params):
        return {"w": True, "b": False}

    kept, decayed = (jax.tree.map(lambda p, s=s: s * p, PARAMS) for s in (1.0, 0.5))
    for factory in (ol.adamw, optax.adamw):
        tx = ol.inject_hyperparams(factory)(1.0, weight_decay=0.5, mask=no_bias)
        params, state = as_optax_does(run, tx, 1, PARAMS, jax.tree.map(jnp.zeros_like, PARAMS))
        chex.assert_trees_all_close(params, {"w": decayed["w"], "b": kept["b"]})
        assert "mask" not in state.hyperparams


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_hyperparameters_never_take_the_dtype_of_params(dtype):
    """In bfloat16 b2 = 0.999 is 1, and the first step NaN."""
    p, g = (jax.tree.map(lambda x: x.astype(dtype), tree) for tree in (PARAMS, GRADS))
    params, state = run(ol.inject_hyperparams(ol.adamw(0.1)), 2, p, g)
    assert {x.dtype for x in state.hyperparams.values()} == {jnp.dtype("float32")}
    assert state.hyperparams["b2"] == jnp.float32(0.999)
    assert_close(params, run(ol.adamw(0.1), 2, p, g)[0], ulps=2 * A_STEP)


def test_hyperparam_dtype_is_that_of_the_scalars(x64):
    p = jax.tree.map(lambda x: x.astype("float64"), PARAMS)
    state = ol.inject_hyperparams(ol.adamw(0.1), hyperparam_dtype=jnp.float64).init(p)
    assert state.hyperparams["b2"] == 0.999
    assert ol.inject_hyperparams(ol.adamw(0.1)).init(p).hyperparams["b2"].dtype == jnp.float32


def test_functions_from_elsewhere():
    def clipped(learning_rate, max_norm=1.0, kind="adam", **more):
        return ol.chain(ol.clip_by_global_norm(max_norm), getattr(ol, kind)(learning_rate, **more))

    tx = ol.inject_hyperparams(clipped)(line, max_norm=0.5, kind="sgd", momentum=0.9)
    params, state = run(tx)
    assert set(state.hyperparams) == {"learning_rate", "max_norm", "momentum"}
    expected, _ = run(ol.chain(ol.clip_by_global_norm(0.5), ol.sgd(line, 0.9)))
    assert_close(params, expected, ulps=3 * A_STEP)
    assert ol.inject_hyperparams(optax.nadam)(0.1).init(PARAMS).hyperparams[
        "learning_rate"
    ] == jnp.float32(0.1)
    assert tx == ol.inject_hyperparams(clipped)(line, max_norm=0.5, kind="sgd", momentum=0.9)


@ol.transform
def every_other(inner):
    """Runs `inner` at every second call."""

    def update(updates, state, params=None, **extra):
        count, inner_state = state
        new, after = inner.update(updates, inner_state, params, **extra)
        runs = count % 2 == 1
        return jax.tree.map(lambda u: jnp.where(runs, u, 0 * u), new), (
            ol.increment(count),
            jax.tree.map(lambda a, b: jnp.where(runs, a, b), after, inner_state),
        )

    return lambda params: (jnp.zeros((), jnp.int32), inner.init(params)), update


def test_a_schedule_inside_another_wrapper_keeps_its_count():
    tx = ol.inject_hyperparams(every_other(ol.sgd(line)))
    params, state = run(tx, 4)
    assert_close(params, run(every_other(ol.sgd(line)), 4)[0], ulps=4 * A_STEP)
    assert state.hyperparams_states == {}
    assert "inner/learning_rate/end_value" in state.hyperparams


# --- frameworks -----------------------------------------------------------------------------------

X = jnp.asarray(np.random.default_rng(0).normal(size=(8, 3)), jnp.float32)
Y = jnp.sin(X.sum(1, keepdims=True))


@jax.jit
def linen_step(state):
    grads = jax.grad(lambda p: jnp.mean((state.apply_fn({"params": p}, X) - Y) ** 2))(state.params)
    return state.apply_gradients(grads=grads)


def test_flax_train_state():
    model = flax.linen.Dense(1)
    tx = ol.inject_hyperparams(ol.adamw(0.1))
    state = TrainState.create(
        apply_fn=model.apply, params=model.init(jax.random.key(0), X)["params"], tx=tx
    )
    state = linen_step(state)
    edited = ol.set_hyperparams(state, tx=state.tx, learning_rate=0.0, weight_decay=0.0)
    with count_lowerings() as lowered:
        halted = linen_step(edited)
    assert lowered() == 0
    chex.assert_trees_all_equal(halted.params, state.params)
    assert halted.opt_state.hyperparams["learning_rate"] == 0


@nnx.jit
def nnx_step(model, optimizer):
    grads = nnx.grad(lambda m: jnp.mean((m(X) - Y) ** 2))(model)
    optimizer.update(model, grads)


def test_flax_nnx_optimizer():
    model = nnx.Linear(3, 1, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, ol.inject_hyperparams(ol.adamw(0.1)), wrt=nnx.Param)
    nnx_step(model, optimizer)
    assert optimizer.opt_state.hyperparams["learning_rate"][...] == jnp.float32(0.1)
    before = jax.tree.map(jnp.copy, nnx.to_pure_dict(nnx.state(model)))
    optimizer.opt_state = ol.set_hyperparams(optimizer.opt_state, learning_rate=0.0)
    with count_lowerings() as lowered:
        nnx_step(model, optimizer)
    assert lowered() == 0
    chex.assert_trees_all_equal(nnx.to_pure_dict(nnx.state(model)), before)


def test_equinox_filter_jit():
    tx = ol.inject_hyperparams(ol.adamw(0.1))
    model = eqx.nn.Linear(3, 1, key=jax.random.key(0))

    @eqx.filter_jit
    def step(model, state):
        grads = eqx.filter_grad(lambda m: jnp.mean((jax.vmap(m)(X) - Y) ** 2))(model)
        updates, state = tx.update(grads, state, eqx.filter(model, eqx.is_inexact_array))
        return eqx.apply_updates(model, updates), state

    model, state = step(model, tx.init(eqx.filter(model, eqx.is_inexact_array)))
    state = ol.set_hyperparams(state, learning_rate=0.0)
    with count_lowerings() as lowered:
        after, _ = step(model, state)
    assert lowered() == 0
    chex.assert_trees_all_equal(after.weight, model.weight)


def test_a_vmapped_state_gives_each_member_its_own():
    rates = jnp.array([0.1, 0.2, 0.4])
    tx = ol.inject_hyperparams(ol.adamw(0.1))
    states = jax.vmap(lambda r: ol.inject_hyperparams(ol.adamw(r)).init(PARAMS))(rates)
    step = jax.jit(jax.vmap(tx.update, in_axes=(None, 0, None)))
    updates, _ = step(GRADS, states, PARAMS)
    for i, r in enumerate(rates):
        expected, _ = ol.adamw(r).update(GRADS, ol.adamw(r).init(PARAMS), PARAMS)
        assert_close(jax.tree.map(lambda x, i=i: x[i], updates), expected, ulps=A_STEP)
    edited = ol.set_hyperparams(states, learning_rate=2 * rates, b1=0.5)
    chex.assert_trees_all_equal_shapes_and_dtypes(edited, states)
    chex.assert_trees_all_equal(edited.hyperparams["learning_rate"], 2 * rates)
    chex.assert_trees_all_equal(edited.hyperparams["b1"], jnp.full(3, 0.5))
    with count_lowerings() as lowered:
        step(GRADS, edited, PARAMS)
    assert lowered() == 0


def test_set_hyperparams_inside_jit():
    tx = ol.inject_hyperparams(ol.sgd(0.1))

    @jax.jit
    def step(rate, state):
        return tx.update(GRADS, ol.set_hyperparams(state, learning_rate=rate), PARAMS)[0]

    chex.assert_trees_all_close(step(0.5, tx.init(PARAMS)), jax.tree.map(lambda g: -0.5 * g, GRADS))


@pytest.mark.usefixtures("eight_devices")
def test_set_hyperparams_puts_a_number_where_the_old_one_lay():
    everywhere = NamedSharding(jax.make_mesh((8,), ("x",)), PartitionSpec())
    state = jax.device_put(ol.inject_hyperparams(ol.sgd(0.1)).init(PARAMS), everywhere)

    def rate(value, state=state):
        return ol.set_hyperparams(state, learning_rate=value).hyperparams["learning_rate"]

    for value in (0.5, jnp.float32(0.5), jax.device_put(jnp.float32(0.5), jax.devices()[1])):
        assert rate(value) == 0.5 and rate(value).sharding == everywhere
    assert jax.jit(lambda state: rate(0.5, state))(state) == 0.5
    assert jax.grad(rate)(0.5) == 1
    assert rate(0.5, jax.device_get(state)) == 0.5


def test_set_hyperparams_finds_several_injected_parts_by_path():
    tx = ol.chain(ol.inject_hyperparams(ol.trace(0.9)), ol.inject_hyperparams(ol.scale(-0.1)))
    state = ol.set_hyperparams(tx.init(PARAMS), {"0/decay": 0.5}, step_size=-0.2)
    assert (state[0].hyperparams["decay"], state[1].hyperparams["step_size"]) == (
        0.5,
        jnp.float32(-0.2),
    )


# --- what goes wrong ------------------------------------------------------------------------------

STATE = ol.inject_hyperparams(ol.adamw(0.1)).init(PARAMS)
WRONG = {
    "no such name": (
        lambda: ol.set_hyperparams(STATE, lr=0.1),
        (
            "set_hyperparams: no argument 'lr'; write learning_rate; the hyperparameters are b1, "
            "b2, eps, eps_root, learning_rate, w"
        ),
    ),
    "out of range": (
        lambda: ol.set_hyperparams(STATE, b1=1.5),
        "set_hyperparams: b1 must be in [0, 1), got 1.5",
    ),
    "out of the method's range": (
        lambda: ol.set_hyperparams(STATE, tx=ol.inject_hyperparams(ol.adamw(0.1)), b1=1.5),
        "adamw: b1 must be in [0, 1), got 1.5",
    ),
    "another tx": (
        lambda: ol.set_hyperparams(STATE, tx=ol.adamw(0.1), b1=0.5),
        "tx must be the optimizer made by inject_hyperparams, got adamw(",
    ),
    "a word": (
        lambda: ol.set_hyperparams(STATE, b1="x"),
        "set_hyperparams: b1 must be a real number, got 'x'",
    ),
    "a bool": (
        lambda: ol.set_hyperparams(STATE, b1=True),
        "set_hyperparams: b1 must be a real number, got True",
    ),
    "a word by path": (
        lambda: ol.set_hyperparams((STATE, STATE), {"1/b1": "x"}),
        "set_hyperparams: b1 must be a real",
    ),
    "a schedule": (
        lambda: ol.set_hyperparams(STATE, b1=line),
        "set_hyperparams: b1 must be a real number, got linear",
    ),
    "a shape": (
        lambda: ol.set_hyperparams(STATE, b1=jnp.ones(3)),
        "set_hyperparams: b1 has shape () in the state, got (3,)",
    ),
    "a state without": (
        lambda: ol.set_hyperparams(ol.adamw(0.1).init(PARAMS), b1=0.5),
        "set_hyperparams: this state has no hyperparameters; build the optimizer with "
        "inject_hyperparams(tx)",
    ),
    "what follows a schedule": (
        lambda: ol.set_hyperparams(
            ol.inject_hyperparams(ol.adamw(line)).init(PARAMS), learning_rate=0.1
        ),
        "learning_rate follows a schedule, so the next update would undo this; set its numbers: "
        "learning_rate/end_value, learning_rate/init_value, learning_rate/transition_begin",
    ),
    "what follows a schedule, by path": (
        lambda: ol.set_hyperparams(
            (STATE, ol.inject_hyperparams(ol.sgd)(line).init(PARAMS)), {"1/learning_rate": 0.1}
        ),
        "set_hyperparams: learning_rate follows a schedule, so the next update would undo this",
    ),
    "what follows a schedule, factory form": (
        lambda: ol.set_hyperparams(
            ol.inject_hyperparams(ol.adamw)(line).init(PARAMS), learning_rate=0.1
        ),
        "its numbers can be set if a built optimizer is injected, inject_hyperparams(tx)",
    ),
    "several": (
        lambda: ol.set_hyperparams(
            ol.inject_hyperparams(ol.chain(ol.trace(0.9), ol.trace(0.8))).init(PARAMS), decay=0.5
        ),
        "several are called 'decay': 0/decay, 1/decay; write the full path",
    ),
    "a number instead of names": (
        lambda: ol.set_hyperparams(STATE, 0.1),
        "name the hyperparameter, as in set_hyperparams(st",
    ),
    "a number to inject": (
        lambda: ol.inject_hyperparams(0.1),
        (
            "inject_hyperparams: write inject_hyperparams(adamw)(1e-3) or "
            "inject_hyperparams(adamw(1e-3)), got 0.1"
        ),
    ),
    "static_args": (
        lambda: ol.inject_hyperparams(ol.adamw, static_args="beta1")(0.1),
        "inject_hyperparams: static_args: no argument 'beta1'; write b1",
    ),
    "static_args of a function": (
        lambda: ol.inject_hyperparams(optax.adamw, static_args="beta1")(0.1),
        "inject_hyperparams: static_args: adamw has no argument 'beta1'",
    ),
    "arguments without names": (
        lambda: ol.inject_hyperparams(optax.chain)(optax.adam(0.1)),
        (
            "inject_hyperparams: the arguments of chain have no names; pass it built: "
            "inject_hyperparams(chain(...))"
        ),
    ),
    "an optimizer of optax": (
        lambda: ol.inject_hyperparams(optax.adam(0.1)),
        "a pair of functions does not show its hyperparameters; write "
        "inject_hyperparams(optax.adam)(...)",
    ),
    "dtype": (
        lambda: ol.inject_hyperparams(ol.adam(0.1), hyperparam_dtype=int),
        "inject_hyperparams: hyperparam_dtype must be a floating dtype",
    ),
    "other hyperparameters": (
        lambda: ol.inject_hyperparams(ol.adamw(0.1), "b1").update(GRADS, STATE, PARAMS),
        "inject_hyperparams: the state has the hyperparameters b1, b2",
    ),
    "a schedule's shape": (
        lambda: ol.inject_hyperparams(ol.adamw(lambda count: jnp.ones(2))).init(PARAMS),
        "inject_hyperparams: the schedule learning_rate must return a real number, got shape (2,)",
    ),
}


@pytest.mark.parametrize(("call", "message"), WRONG.values(), ids=WRONG)
def test_wrong_calls(call, message):
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    assert message in str(caught.value)
