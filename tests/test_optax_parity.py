"""What optax_lite shares with optax: names, signatures, states and, in float64, numbers."""

import enum
import functools
import inspect
import re
import types
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

import optax_lite
import optax_lite.contrib
from optax_lite.core.factory import is_factory
from tests.methods.losses import CASES as LOSSES
from tests.nightly import first

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
STATES = [
    name
    for name in SHARED
    if hasattr(getattr(optax, name), "_fields") and name.endswith(("State", "Node"))
]
FUNCTIONS = [
    name
    for name in SHARED
    if inspect.isroutine(getattr(optax_lite, name))
    or isinstance(getattr(optax_lite, name), type(jax.jit(len)))
]

# Arguments of optax's next release, at their place there.
NEWER_ARGUMENTS = {
    ("adabelief", "weight_decay"),
    ("adabelief", "weight_decay_mask"),
    ("prodigy", "weight_decay_mask"),
    ("dpsgd", "key"),
    ("dpsgd", "seed"),
}


def both_signatures(name, ours, theirs):
    """The arguments of two functions, without those that are listed for the name."""
    own = {argument for where, argument in OUR_ARGUMENTS | NEWER_ARGUMENTS if where == name}
    missing = {argument for where, argument in MISSING_ARGUMENTS if where == name}
    return arguments(ours, own), arguments(theirs, missing)


# Arguments that optax does not have; they come by keyword, so that a call written for optax means
# the same here.
OUR_ARGUMENTS = {
    ("adagrad", "eps_in_sqrt"),
    ("scale_by_rss", "eps_in_sqrt"),
    ("amsgrad", "max_of"),
    ("scale_by_amsgrad", "max_of"),
    ("muon", "ns_dtype"),
    ("scale_by_muon", "ns_dtype"),
}
# What optax has and we do not: its printing, and what its next release calls otherwise.
MISSING_ARGUMENTS = {
    ("sophia", "verbose"),
    ("sophia", "print_win_rate_every_n_steps"),
    ("dpsgd", "seed"),  # by place; it is a keyword here, as it is there then
}


# --- names and signatures -------------------------------------------------------------------------


def arguments(function, skip=()):
    """Name, kind and default of every argument (of a function its name); a starred one's name means
    nothing.
    """

    def default(p):
        if hasattr(p.default, "init") and hasattr(p.default, "update"):
            return "a transformation"
        if isinstance(p.default, enum.Enum):  # of ours and of optax's class
            return p.default.name
        return "a function" if isinstance(p.default, types.FunctionType) else p.default

    starred = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return [
        (p.kind not in starred and p.name, p.kind.name, default(p))
        for p in parameters
        if p.name not in skip
    ]


def test_every_listed_name_is_shared():
    assert not set(LISTED) - set(SHARED)


def test_signatures_are_those_of_optax():
    different = {}
    for name in FUNCTIONS:
        ours, theirs = both_signatures(name, getattr(optax_lite, name), getattr(optax, name))
        if ours != theirs:
            different[name] = ours, theirs
    assert different == {}
    parameters = {
        where: inspect.signature(getattr(optax_lite, where[0])).parameters[where[1]]
        for where in OUR_ARGUMENTS
    }
    assert {
        where for where, p in parameters.items() if p.kind is not inspect.Parameter.KEYWORD_ONLY
    } == set()


def test_state_classes_have_the_fields_of_optax():
    fields = {
        name: (getattr(optax_lite, name)._fields, getattr(optax, name)._fields) for name in STATES
    }
    assert {name: pair for name, pair in fields.items() if pair[0] != pair[1]} == {}


# --- states and trajectories ----------------------------------------------------------------------

BY_LEARNING_RATE = {
    "sgd": lambda lib, lr: lib.sgd(lr),
    "sgd momentum": lambda lib, lr: lib.sgd(lr, momentum=0.9),
    "sgd nesterov": lambda lib, lr: lib.sgd(lr, 0.9, True),
    "rmsprop": lambda lib, lr: lib.rmsprop(lr),
    "rmsprop eps outside, scale 1": lambda lib, lr: lib.rmsprop(
        lr, eps=1e-3, initial_scale=1.0, eps_in_sqrt=False
    ),
    "rmsprop centered": lambda lib, lr: lib.rmsprop(lr, 0.8, eps=1e-2, centered=True, momentum=0.5),
    "rmsprop nesterov, corrected": lambda lib, lr: lib.rmsprop(
        lr, momentum=0.5, nesterov=True, bias_correction=True
    ),
    "rmsprop centered, corrected": lambda lib, lr: lib.rmsprop(
        lr, eps=1e-2, centered=True, bias_correction=True
    ),
    "adafactor": lambda lib, lr: lib.adafactor(lr),
    "adafactor factored, decay, momentum": lambda lib, lr: lib.adafactor(
        lr,
        2,
        0.7,
        clipping_threshold=0.5,
        momentum=0.9,
        dtype_momentum=None,
        weight_decay_rate=0.1,
        eps=1e-3,
    ),
    "adafactor masked decay": lambda lib, lr: lib.adafactor(
        lr,
        2,
        factored=False,
        weight_decay_rate=0.1,
        weight_decay_mask={"w": True, "b": [False, True]},
    ),
    "adadelta": lambda lib, lr: lib.adadelta(
        lr, weight_decay=0.1, weight_decay_mask={"w": True, "b": False}
    ),
    "fromage": lambda lib, lr: lib.fromage(lr),
    "lamb": lambda lib, lr: lib.lamb(lr, weight_decay=0.1, mask={"w": True, "b": False}),
    "lars": lambda lib, lr: lib.lars(
        lr,
        0.1,
        {"w": True, "b": [True, False]},
        eps=0.1,
        trust_ratio_mask={"w": True, "b": False},
        nesterov=True,
    ),
    "noisy_sgd": lambda lib, lr: lib.noisy_sgd(lr, key=3),
    "optimistic_gradient_descent": lambda lib, lr: lib.optimistic_gradient_descent(lr, 0.5, 0.7),
    "optimistic_adam_v2": lambda lib, lr: lib.optimistic_adam_v2(lr, alpha=0.5, beta=0.7),
    "adagrad": lambda lib, lr: lib.adagrad(lr),
    "adagrad from 0": lambda lib, lr: lib.adagrad(lr, initial_accumulator_value=0.0, eps=1e-3),
    "adam": lambda lib, lr: lib.adam(lr),
    "adam eps, eps_root": lambda lib, lr: lib.adam(lr, 0.8, 0.9, 0.1, 0.01),
    "adam nesterov": lambda lib, lr: lib.adam(lr, nesterov=True),
    "adamw": lambda lib, lr: lib.adamw(lr, weight_decay=0.1),
    "adamw mask": lambda lib, lr: lib.adamw(
        lr, weight_decay=0.1, mask={"w": True, "b": [False, True]}
    ),
    "adamw scheduled decay": lambda lib, lr: lib.adamw(
        lr, weight_decay=lib.cosine_decay_schedule(0.1, 5)
    ),
    "nadam": lambda lib, lr: lib.nadam(lr),
    "nadamw": lambda lib, lr: lib.nadamw(
        lr, weight_decay=0.1, mask=lambda tree: {"w": True, "b": [False, False]}
    ),
    "sign_sgd": lambda lib, lr: lib.sign_sgd(lr),
    "signum": lambda lib, lr: lib.signum(lr, beta=0.5),
    "scale_by_learning_rate up": lambda lib, lr: lib.scale_by_learning_rate(lr, flip_sign=False),
    "clipped": lambda lib, lr: lib.chain(lib.clip_by_global_norm(1.0), lib.clip(0.4), lib.adam(lr)),
    "named_chain": lambda lib, lr: lib.named_chain(
        ("clip", lib.clip(0.5)), ("opt", lib.sgd(lr, 0.9))
    ),
    "masked": lambda lib, lr: lib.masked(lib.adam(lr), {"w": False, "b": True}),
    "masked norm": lambda lib, lr: lib.chain(
        lib.masked(lib.clip_by_global_norm(0.1), {"w": True, "b": False})
    ),
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
    "scale_by_schedule": lambda lib: lib.scale_by_schedule(
        lib.warmup_constant_schedule(0.1, 0.3, 8)
    ),
    "scale_by_schedule, plain function": lambda lib: lib.scale_by_schedule(
        lambda count: jnp.exp(-count.astype(float))
    ),
    "scale_by_learning_rate of nothing": lambda lib: lib.scale_by_learning_rate(None),
    "trace": lambda lib: lib.trace(0.9),
    "trace nesterov": lambda lib: lib.trace(0.9, nesterov=True),
    "ema": lambda lib: lib.ema(0.9),
    "ema, not corrected": lambda lib: lib.ema(0.9, debias=False),
    "scale_by_rms": lambda lib: lib.scale_by_rms(),
    "scale_by_stddev": lambda lib: lib.scale_by_stddev(eps=1e-3),
    "scale_by_rss": lambda lib: lib.scale_by_rss(),
    "adafactor without rate": lambda lib: lib.adafactor(),
    "adafactor, least": lambda lib: lib.adafactor(
        clipping_threshold=None, multiply_by_parameter_scale=False
    ),
    "scale_by_factored_rms": lambda lib: lib.scale_by_factored_rms(min_dim_size_to_factor=2),
    "scale_by_factored_rms, own decay": lambda lib: lib.scale_by_factored_rms(
        decay_rate_fn=lambda i, e: i / (i + 2.0)
    ),
    "sm3 (optax refuses scalars)": lambda lib: lib.masked(
        lib.sm3(0.1), {"w": True, "b": [True, False]}
    ),
    "scale_by_sm3": lambda lib: lib.masked(
        lib.scale_by_sm3(0.5, 0.9, 0.1), {"w": True, "b": [True, False]}
    ),
    "scale_by_trust_ratio": lambda lib: lib.scale_by_trust_ratio(0.5, 0.3, 0.1),
    "scale_by_param_block_norm": lambda lib: lib.scale_by_param_block_norm(),
    "scale_by_param_block_rms": lambda lib: lib.scale_by_param_block_rms(),
    "scale_by_adadelta": lambda lib: lib.scale_by_adadelta(0.5, 0.1),
    "scale_by_optimistic_gradient": lambda lib: lib.scale_by_optimistic_gradient(),
    "scale_by_polyak": lambda lib: lib.scale_by_polyak(5.0, 0.05, 0.2, "sps+"),
    "polyak_sgd": lambda lib: lib.polyak_sgd(f_min=0.1),
    "add_noise": lambda lib: lib.add_noise(0.1, 0.55, 3),
    "clip_by_block_rms": lambda lib: lib.clip_by_block_rms(0.5),
    "adaptive_grad_clip": lambda lib: lib.adaptive_grad_clip(0.05),
    "zero_nans": lambda lib: lib.zero_nans(),
    "keep_params_nonnegative": lambda lib: lib.keep_params_nonnegative(),
    "centralize": lambda lib: lib.centralize(),
    "normalize_by_update_norm": lambda lib: lib.normalize_by_update_norm(2.0, 0.5),
    "normalize": lambda lib: lib.contrib.normalize(),
    "scale_by_adam": lambda lib: lib.scale_by_adam(),
    "scale_by_sign": lambda lib: lib.scale_by_sign(),
    "add_decayed_weights": lambda lib: lib.add_decayed_weights(0.1),
    "add_decayed_weights mask": lambda lib: lib.add_decayed_weights(
        0.1, mask={"w": True, "b": False}
    ),
    "add_decayed_weights scheduled": lambda lib: lib.add_decayed_weights(
        lib.linear_schedule(0.1, 0.0, 5)
    ),
    "clip": lambda lib: lib.clip(0.5),
    "clip_by_global_norm": lambda lib: lib.clip_by_global_norm(0.5),
    "identity": lambda lib: lib.identity(),
    "set_to_zero": lambda lib: lib.set_to_zero(),
    "stateless": lambda lib: lib.stateless(
        lambda updates, params: jax.tree.map(lambda u, p: u - p, updates, params)
    ),
    "stateless_with_tree_map": lambda lib: lib.stateless_with_tree_map(lambda u, p: u * p),
}
CONFIGURATIONS = {
    **WITHOUT,
    **{
        f"{name}, number": functools.partial(make, lr=0.1)
        for name, make in BY_LEARNING_RATE.items()
    },
    **{
        f"{name}, schedule": lambda lib, make=make: make(lib, lib.cosine_decay_schedule(0.1, 8))
        for name, make in BY_LEARNING_RATE.items()
    },
}
# States of another dtype than the parameters': the structure only, for optax also computes in that
# dtype.
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


def raw(state):
    """A state with its keys as we keep them."""

    def is_key(x):
        return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)

    return jax.tree.map(lambda x: jax.random.key_data(x) if is_key(x) else x, state)


def outline(state):
    """Class names, field names, keys, shapes and dtypes: all that a checkpoint depends on."""
    if hasattr(state, "_fields"):
        return type(state).__name__, {
            field: outline(getattr(state, field)) for field in state._fields
        }
    if isinstance(state, tuple | list):
        return type(state).__name__, [outline(part) for part in state]
    if isinstance(state, dict):
        return {key: outline(part) for key, part in state.items()}
    return state if state is None else (jnp.shape(state), jnp.result_type(state).name)


def test_states_are_those_of_optax():
    different = {}
    low = {f"{name}, low precision": make for name, make in LOW_PRECISION.items()}
    for name, make in (CONFIGURATIONS | low).items():
        ours = outline(jax.eval_shape(make(optax_lite).init, tree(0)))
        with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
            theirs = outline(
                jax.eval_shape(lambda params, make=make: raw(make(optax).init(params)), tree(0))
            )
        if ours != theirs:
            different[name] = ours, theirs
    assert different == {}


# Looser than 1e-10, with the reason.
FACTORED = {name for name in CONFIGURATIONS if "adafactor" in name} | {"scale_by_factored_rms"}
DEVIATIONS = {
    **dict.fromkeys(
        FACTORED, (1e-5, "optax computes the decay of the averages in float32, also with x64")
    ),
    "scale_by_schedule": (
        1e-6,
        "optax divides the int32 count in float32 in its linear schedules, also with x64",
    ),
    "add_decayed_weights scheduled": (1e-6, "as above"),
}


def trajectory(lib, make):
    """Params, updates and state after each of ten steps; without jit, which would compile every
    configuration.
    """
    tx, params, seen = lib.with_extra_args_support(make(lib)), tree(99), []
    with jax.disable_jit():
        state = tx.init(params)
        for seed in range(10):
            updates, state = tx.update(tree(seed), state, params, value=0.5 + seed)
            params = lib.apply_updates(params, updates)
            seen.append((params, updates, jax.tree.leaves(raw(state))))
    return seen


@pytest.mark.nightly
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
    "exponential_decay": lambda lib: lib.exponential_decay(
        1.0, 4, 0.5, transition_begin=2, end_value=0.1
    ),
    "exponential_decay staircase": lambda lib: lib.exponential_decay(1.0, 4, 0.5, staircase=True),
    "exponential growth": lambda lib: lib.exponential_decay(0.1, 4, 2.0, end_value=1.0),
    "join": lambda lib: lib.join_schedules(
        [lib.linear_schedule(0, 1, 5), lib.cosine_decay_schedule(1.0, 9)], [5]
    ),
    "piecewise_constant": lambda lib: lib.piecewise_constant_schedule(1.0, {4: 0.1, 9: 3.0}),
    "piecewise_linear": lambda lib: lib.piecewise_interpolate_schedule(
        "linear", 1.0, {4: 0.1, 9: 3.0}
    ),
    "piecewise_cosine": lambda lib: lib.piecewise_interpolate_schedule(
        "cosine", 1.0, {4: 0.1, 9: 3.0}
    ),
    "warmup_constant": lambda lib: lib.warmup_constant_schedule(0.1, 1.0, 6),
    "warmup_cosine": lambda lib: lib.warmup_cosine_decay_schedule(
        0.1, 1.0, 4, 15, end_value=0.01, exponent=1.5
    ),
    "warmup_exponential": lambda lib: lib.warmup_exponential_decay_schedule(
        0.0, 1.0, 4, 5, 0.5, end_value=0.2
    ),
    "warmup_exponential staircase": lambda lib: lib.warmup_exponential_decay_schedule(
        0.0, 1.0, 4, 5, 0.5, transition_begin=2, staircase=True
    ),
    "linear_onecycle": lambda lib: lib.linear_onecycle_schedule(17, 1.0),
    "cosine_onecycle": lambda lib: lib.cosine_onecycle_schedule(17, 1.0),
    "sgdr": lambda lib: lib.sgdr_schedule(
        [
            {"init_value": 0.0, "peak_value": 1.0, "decay_steps": 7, "warmup_steps": 2},
            {
                "init_value": 0.1,
                "peak_value": 0.5,
                "decay_steps": 9,
                "warmup_steps": 3,
                "end_value": 0.05,
            },
        ]
    ),
}


@pytest.mark.nightly
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


# --- losses and helpers for trees -----------------------------------------------------------------

INNER = [
    (place, name)
    for place in (
        "contrib",
        "losses",
        "projections",
        "schedules",
        "transforms",
        "tree",
        "tree_utils",
    )
    for name in sorted(set(dir(getattr(optax_lite, place))) & set(dir(getattr(optax, place))))
    if isinstance(getattr(getattr(optax, place), name), types.FunctionType)
]


def test_signatures_inside_modules_are_those_of_optax():
    different = {}
    for place, name in INNER:
        found = (getattr(getattr(lib, place), name) for lib in (optax_lite, optax))
        ours, theirs = both_signatures(name, *found)
        if ours != theirs:
            different[place, name] = ours, theirs
    assert different == {}


def test_every_helper_for_trees_is_here():
    for place in ("tree", "tree_utils"):
        theirs = {
            n
            for n, f in vars(getattr(optax, place)).items()
            if isinstance(f, types.FunctionType) and n[0] != "_"
        }
        assert theirs <= set(dir(getattr(optax_lite, place)))


# Losses that compute something else, by the setting that shows it; docs/differences.md says why.
OTHER_LOSSES = {("smooth_labels", "where"), ("triplet_margin_loss", "norm_degree")}
# an error there: inside jit, or always
OTHER_LOSSES |= {("dice_loss", "apply_softmax"), ("binary_dice_loss", "apply_sigmoid")}


def is_of_optax(case):
    """Whether optax computes this case, and the same."""
    match case.name:
        case "squared_error" | "l2_loss":  # an error there
            return np.ndim(case.args[-1]) > 0
        case "multiclass_sparsemax_loss":  # an error there, but for one axis of examples
            return np.ndim(case.args[0]) == 2
        case "sparsemax_loss":
            return np.isin(case.args[1], (0, 1)).all()
        case "multiclass_generalized_dice_loss":
            return np.shape(case.args[0])[-1] == 1
    return not {(case.name, setting) for setting in case.settings} & OTHER_LOSSES


SAME_LOSSES = [case for case in LOSSES if is_of_optax(case)]


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore:The function convex_kl_divergence is deprecated")
@pytest.mark.parametrize(
    "case",
    first(1, SAME_LOSSES, of=lambda case: case.name),
    ids=[f"{case.name}-{i}" for i, case in enumerate(SAME_LOSSES)],
)
def test_loss_is_that_of_optax(case, x64):
    args = case.given(jnp.float64)

    def run(lib):
        return jax.jit(lambda *a: getattr(lib.losses, case.name)(*a, **case.settings))(*args)

    found = run(optax_lite)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        expected = run(optax)
    chex.assert_trees_all_equal_shapes_and_dtypes(found, expected)
    chex.assert_trees_all_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.nightly
def test_a_fenchel_young_loss_is_that_of_optax(x64):
    scores, targets = np.random.default_rng(0).normal(size=(2, 3, 4))

    def run(lib):
        made = lib.losses.make_fenchel_young_loss(jax.scipy.special.logsumexp)
        return jax.value_and_grad(lambda s, y: jnp.sum(made(s, y)), (0, 1))(scores, targets)

    chex.assert_trees_all_close(run(optax_lite), run(optax), rtol=1e-12)


STATE = optax.chain(optax.trace(0.9), optax.adam(0.1)).init({"w": np.ones(2)})
HELPERS = {
    "add": lambda t: t.add(tree(1), tree(2), tree(3)),
    "sub": lambda t: t.sub(tree(1), tree(2)),
    "mul": lambda t: t.mul(tree(1), tree(2)),
    "div": lambda t: t.div(tree(1), tree(2)),
    "scale": lambda t: t.scale(0.5, tree(1)),
    "add_scale": lambda t: t.add_scale(tree(1), 0.5, tree(2)),
    "where": lambda t: t.where(jnp.array(True), tree(1), tree(2)),
    "clip": lambda t: t.clip(tree(1), -0.5, 0.5),
    "cast": lambda t: t.cast({"i": jnp.arange(2), "x": jnp.ones(2)}, jnp.float32),
    "cast_like": lambda t: t.cast_like(tree(1), t.cast(tree(1), jnp.float32)),
    "full_like": lambda t: t.full_like(tree(1), 2.0, jnp.float32),
    "batch_shape": lambda t: t.batch_shape(tree(1), (2,)),
    "random_like": lambda t: t.random_like(jax.random.key(0), tree(1)),
    "split_key_like": lambda t: t.unwrap_random_key_data(
        t.split_key_like(jax.random.key(0), tree(1))
    ),
    "sum": lambda t: t.sum(tree(1)),
    "vdot": lambda t: t.vdot({"z": jnp.array([1 + 2j])}, {"z": jnp.array([3 - 4j])}),
    "max": lambda t: [t.max(tree(1)), t.min(tree(1))],
    "norm": lambda t: [
        t.norm(tree(1), ord, squared) for ord in (None, 1, 2, jnp.inf) for squared in (False, True)
    ],
    "size": lambda t: t.size(tree(1)),
    "allclose": lambda t: [t.allclose(tree(1), tree(1)), t.allclose(tree(1), tree(2))],
    "update_moment": lambda t: [
        t.update_moment(tree(1), tree(2), 0.9, order) for order in (1, 2, 3)
    ],
    "update_moment_per_elem_norm": lambda t: t.update_moment_per_elem_norm(
        tree(1), tree(2), 0.9, 2
    ),
    "update_infinity_moment": lambda t: t.update_infinity_moment(tree(1), tree(2), 0.9, 1e-3),
    "bias_correction": lambda t: t.bias_correction(tree(1), 0.9, jnp.int32(3)),
    "get": lambda t: [t.get(STATE, "count"), t.get(STATE, "TraceState"), t.get(STATE, "zz", 3)],
    "set": lambda t: t.set(STATE, mu={"w": 1}, trace=2),
    "paths": lambda t: [
        (jax.tree_util.keystr(p), v) for p, v in t.get_all_with_path((STATE, {"mu": 1}), "mu")
    ],
}


@pytest.mark.nightly
@pytest.mark.parametrize("call", HELPERS.values(), ids=HELPERS)
def test_helper_for_trees_is_that_of_optax(call, x64):
    ours = call(optax_lite.tree)
    with jax.numpy_dtype_promotion("standard"):
        theirs = call(optax.tree)
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        if isinstance(a, str):
            assert a == b
        else:
            assert jnp.result_type(a) == jnp.result_type(b)
            np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize(
    "mask", [{"w": True, "b": False}, lambda params: jax.tree.map(lambda x: True, params)]
)
def test_what_belongs_to_parameters_in_a_state_is_what_optax_finds(mask):
    def specs(lib):
        tx = lib.chain(lib.masked(lib.adam(0.1), mask), lib.trace(0.9))
        return lib.tree.map_params(
            tx,
            lambda slot, spec: spec,
            tx.init(tree(0)),
            {"w": "row", "b": ["x", "y"]},
            transform_non_params=lambda _: "other",
            is_leaf=lambda x: isinstance(x, lib.MaskedNode),
        )

    assert jax.tree.leaves(specs(optax_lite)) == jax.tree.leaves(specs(optax))


# --- numbers that are refused ---------------------------------------------------------------------

# For arguments without a default, and for a default of None where a number may be given.
GIVEN = {
    "learning_rate": 0.1,
    "momentum": 0.5,
    "decay": 0.5,
    "decay_rate": 0.5,
    "init_value": 0.1,
    "peak_value": 0.2,
    "end_value": 0.01,
    "decay_steps": 8,
    "transition_steps": 5,
    "warmup_steps": 2,
    "power": 1.0,
    "alpha": 0.1,
    "clipping": 0.1,
    "max_delta": 0.1,
    "max_norm": 0.1,
    "threshold": 0.1,
    "step_size": 0.1,
    "eta": 0.1,
    "gamma": 0.5,
    "k": 2,
    "every_k_schedule": 2,
    "max_consecutive_errors": 2,
    "l2_norm_clip": 1.0,
    "l2_norms_clip": [1.0],
    "noise_multiplier": 0.1,
    "weight_decay": 0.1,
    "value": 0.1,
    "slow_step_size": 0.5,
    "sync_period": 2,
    "max_backtracking_steps": 5,
    "max_linesearch_steps": 5,
    "seed": 0,
}


def factories():
    """The functions of both libraries that make a transformation or a schedule of numbers."""
    for lib, other in ((optax_lite, optax), (optax_lite.contrib, optax.contrib)):
        for name in sorted(set(dir(lib)) & set(dir(other))):
            ours, theirs = getattr(lib, name), getattr(other, name)
            if is_factory(ours):
                yield name, ours, theirs


def base_call(theirs, lib):
    """The arguments of a call of a factory of optax that are not left to their defaults."""
    call = {}
    for p in inspect.signature(theirs).parameters.values():
        if p.default is p.empty and p.name.endswith(("inner", "opt", "optimizer")):
            call[p.name] = lib.sgd(0.1)
        elif p.name in GIVEN and p.default in (p.empty, None):
            call[p.name] = GIVEN[p.name]
    return call


def refusal(make, call):
    """The argument and the range in the error of a call, or whatever else it says; "" for none."""
    try:
        make(**call)
    except Exception as error:
        found = re.search(r": (\w+) must be (.*?), got ", str(error))
        return found.groups() if found else repr(error)
    return ""


@pytest.mark.filterwarnings('ignore:"seed" is deprecated')
def test_numbers_that_only_we_refuse_are_listed():
    text = (Path(__file__).parents[1] / "docs/differences.md").read_text(encoding="utf-8")
    table = text.partition("## Numbers that are refused")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \| (.*?) \|", table, re.MULTILINE)
    cells = [(names.partition("(")[0], words) for names, words in rows]
    listed = {(name, words) for names, words in cells for name in re.findall(r"`(\w+)`", names)}
    seen, called = set(), set()
    for name, ours, theirs in factories():
        call, other = base_call(theirs, optax_lite), base_call(theirs, optax)
        if refusal(ours, call) or refusal(theirs, other):
            continue
        called.add(name)
        for p in inspect.signature(theirs).parameters.values():
            usual = call.get(p.name, p.default)
            is_shared = p.name in inspect.signature(ours).parameters
            if not is_shared or type(usual) not in (int, float):
                continue
            for value in (0, 1, -1) * isinstance(usual, int) + (0.0, 1.0, -1.0, float("inf")):
                found = refusal(ours, call | {p.name: value})
                if found and not refusal(theirs, other | {p.name: value}):
                    seen.add(found)
    assert len(called) > 100, "most can be called without more arguments"
    assert seen == listed


EDGES = {
    "sum of all steps": lambda lib: lib.sgd(0.1, momentum=1.0, nesterov=True),
    "negative momentum": lambda lib: lib.sgd(0.1, momentum=-0.5),
    "sum in lars": lambda lib: lib.lars(0.1, momentum=1.0),
    "largest of all steps": lambda lib: lib.adamax(0.1, b2=1.0),
}


@pytest.mark.parametrize("make", EDGES.values(), ids=EDGES)
def test_numbers_at_the_edge_of_a_range_mean_what_they_mean_in_optax(make, x64):
    ours = trajectory(optax_lite, make)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        theirs = trajectory(optax, make)
    chex.assert_trees_all_close(ours, theirs, rtol=1e-10, atol=1e-10)
