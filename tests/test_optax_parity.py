"""What optax_lite shares with optax: names, signatures, states and, in float64, numbers."""

import functools
import inspect
import types

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lite

LISTED = [
    "scale",
    "scale_by_learning_rate",
    "scale_by_schedule",
    "trace",
    "ema",
    "scale_by_rms",
    "scale_by_stddev",
    "scale_by_rss",
    "scale_by_adam",
    "scale_by_sign",
    "add_decayed_weights",
    "clip",
    "clip_by_global_norm",
    "global_norm",
    "masked",
    "partition",
    "multi_transform",
    "chain",
    "named_chain",
    "identity",
    "set_to_zero",
    "stateless",
    "apply_updates",
    "incremental_update",
    "sgd",
    "rmsprop",
    "adagrad",
    "adam",
    "adamw",
    "nadam",
    "nadamw",
    "sign_sgd",
    "signum",
    "constant_schedule",
    "linear_schedule",
    "polynomial_schedule",
    "cosine_decay_schedule",
    "exponential_decay",
    "join_schedules",
    "piecewise_constant_schedule",
    "piecewise_interpolate_schedule",
    "warmup_constant_schedule",
    "warmup_cosine_decay_schedule",
    "warmup_exponential_decay_schedule",
    "linear_onecycle_schedule",
    "cosine_onecycle_schedule",
    "sgdr_schedule",
]

SHARED = sorted(
    name
    for name in set(dir(optax_lite)) & set(dir(optax))
    if not name.startswith("_") and not isinstance(getattr(optax_lite, name), types.ModuleType)
)
STATES = [name for name in SHARED if hasattr(getattr(optax, name), "_fields") and name.endswith(("State", "Node"))]
FUNCTIONS = [name for name in SHARED if isinstance(getattr(optax_lite, name), types.FunctionType | type(jax.jit(len)))]

# Deviations of a signature from optax's: (name, argument that optax has and we do not): why.
MISSING_ARGUMENTS = {
    ("nadam", "nesterov"): "optax has it only as a remnant of functools.partial(adam, nesterov=True); False is adam",
    ("nadamw", "nesterov"): "as for nadam",
}


# --- names and signatures --------------------------------------------------------------------------------------------


def arguments(function, skip=()):
    """Name, kind and default of every argument; a starred argument's name means nothing to a caller."""
    starred = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return [(p.kind not in starred and p.name, p.kind.name, p.default) for p in parameters if p.name not in skip]


def test_every_listed_name_is_shared():
    assert not set(LISTED) - set(SHARED)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signature_is_that_of_optax(name):
    skip = [argument for where, argument in MISSING_ARGUMENTS if where == name]
    assert arguments(getattr(optax_lite, name)) == arguments(getattr(optax, name), skip)


@pytest.mark.parametrize("name", STATES)
def test_state_class_has_the_fields_of_optax(name):
    assert getattr(optax_lite, name)._fields == getattr(optax, name)._fields


# --- states and trajectories -----------------------------------------------------------------------------------------

BY_LEARNING_RATE = {
    "sgd": lambda lib, lr: lib.sgd(lr),
    "sgd momentum": lambda lib, lr: lib.sgd(lr, momentum=0.9),
    "sgd nesterov": lambda lib, lr: lib.sgd(lr, 0.9, True),
    "rmsprop": lambda lib, lr: lib.rmsprop(lr),
    "rmsprop eps outside, scale 1": lambda lib, lr: lib.rmsprop(lr, eps=1e-3, initial_scale=1.0, eps_in_sqrt=False),
    "rmsprop centered": lambda lib, lr: lib.rmsprop(lr, 0.8, eps=1e-2, centered=True, momentum=0.5),
    "rmsprop nesterov, corrected": lambda lib, lr: lib.rmsprop(lr, momentum=0.5, nesterov=True, bias_correction=True),
    "rmsprop centered, corrected": lambda lib, lr: lib.rmsprop(lr, eps=1e-2, centered=True, bias_correction=True),
    "adagrad": lambda lib, lr: lib.adagrad(lr),
    "adagrad from 0": lambda lib, lr: lib.adagrad(lr, initial_accumulator_value=0.0, eps=1e-3),
    "adam": lambda lib, lr: lib.adam(lr),
    "adam eps, eps_root": lambda lib, lr: lib.adam(lr, 0.8, 0.9, 0.1, 0.01),
    "adam nesterov": lambda lib, lr: lib.adam(lr, nesterov=True),
    "adamw": lambda lib, lr: lib.adamw(lr, weight_decay=0.1),
    "adamw mask": lambda lib, lr: lib.adamw(lr, weight_decay=0.1, mask={"w": True, "b": [False, True]}),
    "adamw scheduled decay": lambda lib, lr: lib.adamw(lr, weight_decay=lib.cosine_decay_schedule(0.1, 5)),
    "nadam": lambda lib, lr: lib.nadam(lr),
    "nadamw": lambda lib, lr: lib.nadamw(lr, weight_decay=0.1, mask=lambda tree: {"w": True, "b": [False, False]}),
    "sign_sgd": lambda lib, lr: lib.sign_sgd(lr),
    "signum": lambda lib, lr: lib.signum(lr, beta=0.5),
    "scale_by_learning_rate up": lambda lib, lr: lib.scale_by_learning_rate(lr, flip_sign=False),
    "clipped": lambda lib, lr: lib.chain(lib.clip_by_global_norm(1.0), lib.clip(0.4), lib.adam(lr)),
    "named_chain": lambda lib, lr: lib.named_chain(("clip", lib.clip(0.5)), ("opt", lib.sgd(lr, 0.9))),
    "masked": lambda lib, lr: lib.masked(lib.adam(lr), {"w": False, "b": True}),
    "masked norm": lambda lib, lr: lib.chain(lib.masked(lib.clip_by_global_norm(0.1), {"w": True, "b": False})),
    "partition": lambda lib, lr: lib.partition(
        {"fast": lib.chain(lib.clip_by_global_norm(0.1), lib.adamw(lr)), "slow": lib.sgd(lr, 0.5)},
        {"w": "fast", "b": ["slow", "fast"]},
    ),
    "multi_transform": lambda lib, lr: lib.multi_transform(
        {0: lib.set_to_zero(), 1: lib.rmsprop(lr)}, lambda tree: {"w": 1, "b": 0}
    ),
}
WITHOUT = {
    "scale": lambda lib: lib.scale(-0.1),
    "scale_by_schedule": lambda lib: lib.scale_by_schedule(lib.warmup_constant_schedule(0.1, 0.3, 8)),
    "scale_by_schedule, plain function": lambda lib: lib.scale_by_schedule(lambda count: jnp.exp(-count.astype(float))),
    "scale_by_learning_rate of nothing": lambda lib: lib.scale_by_learning_rate(None),
    "trace": lambda lib: lib.trace(0.9),
    "trace nesterov": lambda lib: lib.trace(0.9, nesterov=True),
    "ema": lambda lib: lib.ema(0.9),
    "ema, not corrected": lambda lib: lib.ema(0.9, debias=False),
    "scale_by_rms": lambda lib: lib.scale_by_rms(),
    "scale_by_stddev": lambda lib: lib.scale_by_stddev(eps=1e-3),
    "scale_by_rss": lambda lib: lib.scale_by_rss(),
    "scale_by_adam": lambda lib: lib.scale_by_adam(),
    "scale_by_sign": lambda lib: lib.scale_by_sign(),
    "add_decayed_weights": lambda lib: lib.add_decayed_weights(0.1),
    "add_decayed_weights mask": lambda lib: lib.add_decayed_weights(0.1, mask={"w": True, "b": False}),
    "add_decayed_weights scheduled": lambda lib: lib.add_decayed_weights(lib.linear_schedule(0.1, 0.0, 5)),
    "clip": lambda lib: lib.clip(0.5),
    "clip_by_global_norm": lambda lib: lib.clip_by_global_norm(0.5),
    "identity": lambda lib: lib.identity(),
    "set_to_zero": lambda lib: lib.set_to_zero(),
    "stateless": lambda lib: lib.stateless(lambda updates, params: jax.tree.map(lambda u, p: u - p, updates, params)),
    "stateless_with_tree_map": lambda lib: lib.stateless_with_tree_map(lambda u, p: u * p),
}
CONFIGURATIONS = {
    **WITHOUT,
    **{f"{name}, number": functools.partial(make, lr=0.1) for name, make in BY_LEARNING_RATE.items()},
    **{
        f"{name}, schedule": lambda lib, make=make: make(lib, lib.cosine_decay_schedule(0.1, 8))
        for name, make in BY_LEARNING_RATE.items()
    },
}
# States of another dtype than the parameters': the structure only, for optax also computes in that dtype.
LOW_PRECISION = {
    "sgd": lambda lib: lib.sgd(0.1, 0.9, accumulator_dtype=jnp.bfloat16),
    "ema": lambda lib: lib.ema(0.9, accumulator_dtype="bfloat16"),
    "signum": lambda lib: lib.signum(0.1, accumulator_dtype=jnp.float16),
    "adamw": lambda lib: lib.adamw(0.1, mu_dtype=jnp.bfloat16),
    "nadam": lambda lib: lib.nadam(0.1, mu_dtype="float16"),
}


def tree(seed):
    """A small float tree in the default precision; seed 0 gives an entry that is exactly 0."""
    rng = np.random.default_rng(seed)
    w, b, c = (jnp.asarray(rng.normal(size=shape), float) for shape in [(3, 2), (2,), ()])
    return {"w": w, "b": [b if seed else b.at[0].set(0.0), c]}


def outline(state):
    """Class names, field names, keys, shapes and dtypes: all that a checkpoint depends on."""
    if hasattr(state, "_fields"):
        return type(state).__name__, {field: outline(getattr(state, field)) for field in state._fields}
    if isinstance(state, tuple | list):
        return type(state).__name__, [outline(part) for part in state]
    if isinstance(state, dict):
        return {key: outline(part) for key, part in state.items()}
    return state if state is None else (jnp.shape(state), jnp.result_type(state).name)


@pytest.mark.parametrize(
    "make",
    [*CONFIGURATIONS.values(), *LOW_PRECISION.values()],
    ids=[*CONFIGURATIONS, *(f"{name}, low precision" for name in LOW_PRECISION)],
)
def test_state_is_that_of_optax(make):
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        theirs = jax.eval_shape(make(optax).init, tree(0))
    assert outline(jax.eval_shape(make(optax_lite).init, tree(0))) == outline(theirs)


# Looser than 1e-10, with the reason.
DEVIATIONS = {
    "scale_by_schedule": (1e-6, "optax divides the int32 count in float32 in its linear schedules, also with x64"),
    "add_decayed_weights scheduled": (1e-6, "as above"),
}


def trajectory(lib, make):
    """Params, updates and state after each of ten steps; without jit, which would compile every configuration."""
    tx, params, seen = make(lib), tree(99), []
    with jax.disable_jit():
        state = tx.init(params)
        for seed in range(10):
            updates, state = tx.update(tree(seed), state, params)
            params = lib.apply_updates(params, updates)
            seen.append((params, updates, jax.tree.leaves(state)))
    return seen


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_ten_steps_in_float64_are_those_of_optax(name, x64):
    rtol, _ = DEVIATIONS.get(name, (1e-10, ""))
    ours = trajectory(optax_lite, CONFIGURATIONS[name])
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        theirs = trajectory(optax, CONFIGURATIONS[name])
    chex.assert_trees_all_equal_shapes_and_dtypes(ours, theirs)
    chex.assert_trees_all_close(ours, theirs, rtol=rtol, atol=rtol)


SCHEDULES = {
    "constant": lambda lib: lib.constant_schedule(0.3),
    "linear": lambda lib: lib.linear_schedule(0.1, 1.0, 10, 5),
    "polynomial": lambda lib: lib.polynomial_schedule(1.0, 0.1, 2, 10, transition_begin=3),
    "cosine_decay": lambda lib: lib.cosine_decay_schedule(1.0, 10, alpha=0.1, exponent=2.0),
    "exponential_decay": lambda lib: lib.exponential_decay(1.0, 4, 0.5, transition_begin=2, end_value=0.1),
    "exponential_decay staircase": lambda lib: lib.exponential_decay(1.0, 4, 0.5, staircase=True),
    "exponential growth": lambda lib: lib.exponential_decay(0.1, 4, 2.0, end_value=1.0),
    "join": lambda lib: lib.join_schedules([lib.linear_schedule(0, 1, 5), lib.cosine_decay_schedule(1.0, 9)], [5]),
    "piecewise_constant": lambda lib: lib.piecewise_constant_schedule(1.0, {4: 0.1, 9: 3.0}),
    "piecewise_linear": lambda lib: lib.piecewise_interpolate_schedule("linear", 1.0, {4: 0.1, 9: 3.0}),
    "piecewise_cosine": lambda lib: lib.piecewise_interpolate_schedule("cosine", 1.0, {4: 0.1, 9: 3.0}),
    "warmup_constant": lambda lib: lib.warmup_constant_schedule(0.1, 1.0, 6),
    "warmup_cosine": lambda lib: lib.warmup_cosine_decay_schedule(0.1, 1.0, 4, 15, end_value=0.01, exponent=1.5),
    "warmup_exponential": lambda lib: lib.warmup_exponential_decay_schedule(0.0, 1.0, 4, 5, 0.5, end_value=0.2),
    "warmup_exponential staircase": lambda lib: lib.warmup_exponential_decay_schedule(
        0.0, 1.0, 4, 5, 0.5, transition_begin=2, staircase=True
    ),
    "linear_onecycle": lambda lib: lib.linear_onecycle_schedule(17, 1.0),
    "cosine_onecycle": lambda lib: lib.cosine_onecycle_schedule(17, 1.0),
    "sgdr": lambda lib: lib.sgdr_schedule(
        [
            {"init_value": 0.0, "peak_value": 1.0, "decay_steps": 7, "warmup_steps": 2},
            {"init_value": 0.1, "peak_value": 0.5, "decay_steps": 9, "warmup_steps": 3, "end_value": 0.05},
        ]
    ),
}


@pytest.mark.parametrize("make", SCHEDULES.values(), ids=SCHEDULES)
def test_schedule_in_float64_is_that_of_optax(make, x64):
    counts = jnp.arange(25)  # int64: optax divides an int32 count in float32
    with jax.disable_jit():
        ours = make(optax_lite)(counts)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
            theirs = jax.vmap(make(optax))(counts) * jnp.ones(25)
    chex.assert_trees_all_close(ours, theirs, rtol=1e-10, atol=1e-12)


FUNCTIONS_OF_TREES = {
    "global_norm": lambda lib: lib.global_norm(tree(1)),
    "apply_updates": lambda lib: lib.apply_updates(tree(1), tree(2)),
    "incremental_update": lambda lib: lib.incremental_update(tree(1), tree(2), 0.1),
    "safe_increment": lambda lib: [lib.safe_increment(jnp.int32(n)) for n in (0, 7, 2**31 - 1)],
}


@pytest.mark.filterwarnings("ignore:optax.global_norm is deprecated")
@pytest.mark.parametrize("call", FUNCTIONS_OF_TREES.values(), ids=FUNCTIONS_OF_TREES)
def test_function_of_trees_is_that_of_optax(call, x64):
    ours = call(optax_lite)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        theirs = call(optax)
    chex.assert_trees_all_equal_shapes_and_dtypes(ours, theirs)
    chex.assert_trees_all_close(ours, theirs, rtol=1e-12)
