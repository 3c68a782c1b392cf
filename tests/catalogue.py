"""The table: one row per factory, with settings, an independent reference and bad settings with their message.

A row is tested by the references, the laws, the errors and the mutants without another line.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp

import optax_lite as ol
from tests.reference import adagrad, adam, clip, decay, momentum, nadam, rmsprop, scale, sgd, sign, sign_sgd

Settings = dict[str, Any]


@dataclass(frozen=True)
class Row:
    factory: Callable[..., ol.GradientTransformation]
    reference: Callable | None  # (g, s, w, **hyperparameters) -> (u, s), see tests/reference
    settings: tuple[Settings, ...]
    bad: tuple[tuple[Settings, str], ...] = ()  # settings, and what their error must say
    whole_tree: bool = False  # the reference takes lists of arrays
    complex_: bool = True  # whether the rule means something for complex gradients
    unlike: tuple[str, ...] = ()  # arguments of the factory that the reference does not take
    float32: float = 2e-6  # bound of the relative error in float32; a reason stands beside another number
    variant: str = ""  # told apart from another row of the same factory

    @property
    def name(self) -> str:
        return self.factory.__name__ + self.variant


def over(**axes: tuple) -> Iterator[Settings]:
    """All combinations of some arguments."""
    return (dict(zip(axes, values, strict=True)) for values in product(*axes.values()))


# Schedules for every kind of hyperparameter: rates decay, averages warm up.
rate = ol.cosine_decay_schedule(0.1, 20)
fast = ol.linear_schedule(0.5, 0.9, 10)
slow = ol.linear_schedule(0.9, 0.99, 10)

beta_bad = (({"b1": 1.5}, "b1 must be in [0, 1), got 1.5"), ({"b2": -0.1}, "b2 must be in [0, 1), got -0.1"))
eps_bad = (({"eps": -1}, "eps must be at least 0, got -1.0"), ({"eps_root": -1}, "eps_root must be at least 0"))
rate_bad = (
    ({"learning_rate": "fast"}, "learning_rate must be a number or a schedule, got 'fast'"),
    ({"learning_rate": jnp.ones(3)}, "learning_rate has shape (3,): for a population of 3, use jax.vmap"),
    ({"lr": 0.1}, "no argument 'lr'; write learning_rate"),
)
wrong_names = (
    ({"learning_rate": 0.1, "beta1": 0.5}, "no argument 'beta1'; write b1"),
    ({"learning_rate": 0.1, "betas": (0.5, 0.9)}, "no argument 'betas'; write b1 and b2"),
    ({"learning_rate": 0.1, "epsilon": 1e-3}, "no argument 'epsilon'; write eps"),
    ({"learning_rate": 0.1, "clipnorm": 1.0}, "no argument 'clipnorm'; write chain(clip_by_global_norm"),
)


def with_rate(bad):
    return tuple(({"learning_rate": 0.1, **settings}, message) for settings, message in bad)


# Large eps and eps_root make their places visible; gradients near 1e-6 are among the data of the tests.
adam_settings = (
    {},
    {"b1": 0.0, "b2": 0.0},
    {"b1": 0.5, "b2": 0.9, "eps": 0.1},
    {"b1": 0.99, "b2": 0.9999},
    {"eps_root": 0.05},
    {"eps": 0.3, "eps_root": 0.2},
    {"nesterov": True},
    {"b1": 0.6, "b2": 0.8, "eps": 1e-3, "eps_root": 1e-3, "nesterov": True},
    {"b1": fast, "b2": slow, "eps": 1e-2},
    {"b1": 0, "b2": fast, "nesterov": True},
)
nadam_settings = tuple({k: v for k, v in s.items() if k != "nesterov"} for s in adam_settings)
rms_settings = (
    {},
    {"decay": 0.0, "eps": 0.1},
    {"decay": 0.99, "eps": 1e-2, "eps_in_sqrt": False},
    {"decay": 0.5, "initial_scale": 1.0},
    {"decay": 0.9, "initial_scale": 0.5, "eps_in_sqrt": False, "eps": 0.2},
    {"bias_correction": True},
    {"decay": 0.8, "bias_correction": True, "eps_in_sqrt": False, "eps": 0.3},
    {"decay": fast, "eps": 0.05},
    {"decay": slow, "bias_correction": True, "initial_scale": 0.2},
)
trace_settings = (
    *over(decay=(0.0, 0.5, 0.9, 0.99), nesterov=(False, True)),
    {"decay": fast},
    {"decay": slow, "nesterov": True},
)
decay_bad = (({"decay": 1.0}, "decay must be in [0, 1), got 1.0"), ({"decay": "x"}, "decay must be a number"))
rms_bad = (
    *decay_bad,
    ({"eps": -1}, "eps must be at least 0, got -1.0"),
    ({"initial_scale": -1}, "initial_scale must be at least 0"),
    ({"rho": 0.9}, "no argument 'rho'; write decay"),
)

# The variance v - |m|² is exactly 0 on a corrected first step and with decay 0, and then all rounding: there an initial
# scale keeps it away from 0. Elsewhere it is a fraction of v, of which an ulp is lost: hence the bound in float32.
centered_settings = (
    {},
    {"decay": 0.99, "eps": 1e-2, "eps_in_sqrt": False},
    {"decay": 0.5, "initial_scale": 1.0},
    {"decay": 0.9, "initial_scale": 0.5, "eps_in_sqrt": False, "eps": 0.2},
    {"bias_correction": True, "initial_scale": 1e3},
    {"decay": 0.8, "bias_correction": True, "initial_scale": 1e3, "eps_in_sqrt": False, "eps": 3.0},
    {"decay": fast, "eps": 0.05},
    {"decay": slow, "bias_correction": True, "initial_scale": 1e3, "eps": 20.0},
)
centered_float32 = 1e-5

ROWS = (
    # --- transforms
    Row(
        ol.scale,
        scale.scale,
        tuple({"step_size": s} for s in (0.1, -3, 0.0, 1e-6, 2.5, 1e3, rate, fast)),
        ({"step_size": "x"}, "step_size must be a number or a schedule, got 'x'"),
    ),
    Row(
        ol.scale_by_learning_rate,
        scale.scale_by_learning_rate,
        ({"learning_rate": 0.1}, *over(learning_rate=(0.1, 3, 1e-6, rate), flip_sign=(True, False))),
        rate_bad,
    ),
    Row(
        ol.scale_by_schedule,
        scale.scale_by_schedule,
        tuple({"step_size_fn": s} for s in (rate, fast, slow, -rate, 0.1 * fast, rate + fast, rate / 2, 1 - slow)),
        ({"step_size_fn": "x"}, "step_size_fn must be a number or a schedule"),
    ),
    Row(
        ol.trace,
        momentum.trace,
        trace_settings,
        (*decay_bad, ({"decay": 0.9, "accumulator_dtype": "int8"}, "accumulator_dtype must be a floating dtype")),
        unlike=("accumulator_dtype",),
    ),
    Row(
        ol.ema,
        momentum.ema,
        (*over(decay=(0.0, 0.5, 0.9, 0.999), debias=(False, True)), {"decay": fast}, {"decay": slow, "debias": False}),
        decay_bad,
        unlike=("accumulator_dtype",),
    ),
    Row(ol.scale_by_sign, sign.scale_by_sign, ({},)),
    Row(ol.identity, lambda g, s, w: (g, {}), ({},)),
    Row(ol.set_to_zero, lambda g, s, w: (0 * g, {}), ({},)),
    Row(
        ol.clip,
        clip.clip,
        tuple({"max_delta": d} for d in (0.0, 1e-6, 0.1, 0.5, 1, 2.0, 1e6, rate)),
        ({"max_delta": -1}, "max_delta must be at least 0, got -1.0"),
        complex_=False,
    ),
    Row(
        ol.clip_by_global_norm,
        clip.clip_by_global_norm,
        tuple({"max_norm": d} for d in (0.0, 1e-6, 0.1, 1, 3.0, 10.0, 1e6, rate)),
        ({"max_norm": -1}, "max_norm must be at least 0, got -1.0"),
        whole_tree=True,
    ),
    Row(
        ol.add_decayed_weights,
        decay.add_decayed_weights,
        ({}, *({"weight_decay": d} for d in (0.0, 1e-4, 0.1, 1, -0.1, 3.0, rate, fast))),
        ({"weight_decay": "x"}, "weight_decay must be a number or a schedule"),
        unlike=("mask",),
    ),
    Row(ol.scale_by_rms, rmsprop.scale_by_rms, rms_settings, rms_bad),
    Row(ol.scale_by_stddev, rmsprop.scale_by_stddev, centered_settings, rms_bad, float32=centered_float32),
    Row(
        ol.scale_by_rss,
        adagrad.scale_by_rss,
        (
            {},
            *over(initial_accumulator_value=(0.0, 0.1, 1), eps=(1e-7, 0.1)),
            {"initial_accumulator_value": 0, "eps": 0},
            {"eps": rate},
        ),
        (
            ({"eps": -1}, "eps must be at least 0"),
            ({"initial_accumulator_value": -1}, "initial_accumulator_value must be at least 0"),
        ),
    ),
    Row(ol.scale_by_adam, adam.scale_by_adam, adam_settings, (*beta_bad, *eps_bad), unlike=("mu_dtype",)),
    # --- optimizers
    Row(
        ol.sgd,
        sgd.sgd,
        (
            {"learning_rate": 0.1},
            {"learning_rate": rate},
            {"learning_rate": 0.1, "momentum": 0.9},
            *over(learning_rate=(0.1, rate), momentum=(0.0, 0.9), nesterov=(False, True)),
            {"learning_rate": 1, "momentum": fast, "nesterov": True},
        ),
        (*rate_bad, ({"learning_rate": 0.1, "momentum": 1.5}, "decay must be in [0, 1)")),
        unlike=("accumulator_dtype",),
    ),
    Row(
        ol.rmsprop,
        rmsprop.rmsprop,
        (
            *({"learning_rate": 0.1, **s} for s in rms_settings),
            *({"learning_rate": rate, "momentum": 0.9, **s} for s in rms_settings[2:4]),
            {"learning_rate": 0.1, "momentum": 0.8, "nesterov": True},
        ),
        (*rate_bad, *with_rate(rms_bad)),
    ),
    Row(
        ol.rmsprop,
        rmsprop.rmsprop,
        (
            *({"learning_rate": 0.1, "centered": True, **s} for s in centered_settings[:6]),
            {"learning_rate": 0.1, "centered": True, "momentum": 0.9, "eps": 0.01},
            {"learning_rate": rate, "centered": True, "momentum": 0.5, "nesterov": True, "eps": 0.1},
        ),
        float32=centered_float32,
        variant=", centered",
    ),
    Row(
        ol.adagrad,
        adagrad.adagrad,
        (
            {"learning_rate": 0.1},
            *over(learning_rate=(0.1, rate), initial_accumulator_value=(0.0, 0.5), eps=(1e-7, 0.2)),
        ),
        rate_bad,
    ),
    Row(
        ol.adam,
        adam.adam,
        (*({"learning_rate": 0.1, **s} for s in adam_settings), {"learning_rate": rate}),
        (*rate_bad, *wrong_names, *with_rate(beta_bad + eps_bad)),
        unlike=("mu_dtype",),
    ),
    Row(
        ol.adamw,
        adam.adamw,
        (
            {"learning_rate": 0.1},
            *({"learning_rate": 0.1, "weight_decay": 0.3, **s} for s in adam_settings),
            {"learning_rate": rate, "weight_decay": fast},
        ),
        (*rate_bad, *wrong_names, *with_rate(beta_bad + eps_bad)),
        unlike=("mu_dtype", "mask"),
    ),
    Row(
        ol.nadam,
        nadam.nadam,
        tuple({"learning_rate": 0.1, **s} for s in nadam_settings),
        (*rate_bad, *with_rate(beta_bad + eps_bad)),
        unlike=("mu_dtype",),
    ),
    Row(
        ol.nadamw,
        nadam.nadamw,
        ({"learning_rate": 0.1}, *({"learning_rate": rate, "weight_decay": 0.3, **s} for s in nadam_settings)),
        (*rate_bad, *with_rate(beta_bad + eps_bad)),
        unlike=("mu_dtype", "mask"),
    ),
    Row(
        ol.sign_sgd,
        sign_sgd.sign_sgd,
        tuple({"learning_rate": r} for r in (0.0, 1e-6, 0.1, 1, -1, 30, rate, fast)),
        rate_bad,
    ),
    Row(
        ol.signum,
        sign_sgd.signum,
        ({"learning_rate": 0.1}, *over(learning_rate=(0.1, rate), beta=(0.0, 0.5, 0.9, fast))),
        (*rate_bad, ({"learning_rate": 0.1, "beta": 1}, "beta must be in [0, 1), got 1.0")),
        unlike=("accumulator_dtype",),
    ),
)

# Compositions that the laws hold for too; their parts are proven above.
COMPOSED = {
    "chain": lambda: ol.chain(ol.clip_by_global_norm(1.0), ol.adam(rate)),
    "named_chain": lambda: ol.named_chain(("zebra", ol.trace(0.9)), ("ant", ol.scale(-0.1))),
    "masked": lambda: ol.masked(ol.adam(0.1), "w*"),
    "adamw, masked decay": lambda: ol.adamw(0.1, weight_decay=0.1, mask="w*"),
    "partition": lambda: ol.partition(
        {"slow": ol.sgd(0.01, 0.9), "fast": ol.adam(rate)},
        {"w": "fast", "b": "slow", "scalar": "fast"},
    ),
    "pair": lambda: ol.GradientTransformation(*optimizer_of_functions()),
    "stateless": lambda: ol.stateless(scaled_by_tenth),
}


def scaled_by_tenth(updates, params):
    return ol.leafwise(lambda g: -0.1 * g, updates)


def optimizer_of_functions():
    return _init_count, _update_count


def _init_count(params):
    return jnp.zeros((), jnp.int32)


def _update_count(updates, state, params=None):
    return scaled_by_tenth(updates, params), state + 1


def all_settings() -> list[tuple[str, Row, Settings]]:
    """Every row with each of its settings, and a name for it."""
    return [(f"{row.name}-{i}", row, settings) for row in ROWS for i, settings in enumerate(row.settings)]


def one_of_each() -> dict[str, ol.GradientTransformation]:
    """The first setting of every row, the scheduled ones too, and the compositions: what the laws are tested on."""
    chosen = {}
    for row in ROWS:
        chosen[row.name] = row.factory(**row.settings[0])
        scheduled = [s for s in row.settings if any(isinstance(v, ol.Schedule) for v in s.values())]
        if scheduled:
            chosen[f"{row.name}, scheduled"] = row.factory(**scheduled[-1])
    return chosen | {name: make() for name, make in COMPOSED.items()}


def bad_settings() -> list[tuple[Row, Settings, str]]:
    """Every bad setting, with a pattern for its message."""
    pairs = ((row, row.bad if isinstance(row.bad[0], tuple) else (row.bad,)) for row in ROWS if row.bad)
    return [(row, settings, re.escape(message)) for row, bad in pairs for settings, message in bad]


# --- wrong calls: what the error must say ----------------------------------------------------------------------------

PARAMS = {"w": jnp.ones(3), "layer": {"b": jnp.ones((2, 2))}}
GRADS = jax.tree.map(jnp.ones_like, PARAMS)


def updated(tx, grads, params=PARAMS, state=None):
    return tx.update(grads, tx.init(PARAMS) if state is None else state, params)


def of(**leaves):
    return {**GRADS, **leaves}


BAD_CALLS: dict[str, tuple[Callable[[], Any], str]] = {
    "gradient shape": (
        lambda: updated(ol.adam(0.1), of(w=jnp.ones((3, 1)))),
        "leaf 'w': the gradient has shape (3, 1), its parameter (3,); nothing is broadcast",
    ),
    "gradient shape, no params": (
        lambda: updated(ol.adam(0.1), of(w=jnp.ones((3, 1))), params=None),
        "leaf 'w': the gradient has shape (3, 1), its state (3,); nothing is broadcast",
    ),
    "gradient shape, no state": (
        lambda: ol.sgd(0.1).step(of(w=jnp.ones((3, 1))), ol.sgd(0.1).init(PARAMS), PARAMS),
        "leaf 'w': the gradient has shape (3, 1), its parameter (3,)",
    ),
    "missing key": (
        lambda: updated(ol.adam(0.1), {"w": jnp.ones(3)}),
        "different structures: 'layer/b' only in the params",
    ),
    "missing key, no params": (
        lambda: updated(ol.adam(0.1), {"w": jnp.ones(3)}, params=None),
        "different structures: 'layer/b' only in the state",
    ),
    "surplus key": (
        lambda: updated(ol.adam(0.1), of(extra=jnp.ones(1))),
        "different structures: 'extra' only in the updates",
    ),
    "missing params": (
        lambda: updated(ol.adamw(0.1), GRADS, params=None),
        "update needs the parameters; write tx.update(grads, state, params)",
    ),
    "integer parameter": (
        lambda: ol.adam(0.1).update({"n": jnp.ones(())}, ol.adam(0.1).init({"n": jnp.array(3)}), {"n": jnp.array(3)}),
        "leaf 'n': the gradient is float32[], its parameter int32[], which is not moved: pass None for it",
    ),
    "integer parameter, no params": (
        lambda: ol.adam(0.1).update({"n": jnp.ones(())}, ol.adam(0.1).init({"n": jnp.array(3)})),
        "leaf 'n': a gradient float32[] for a parameter that had none at init",
    ),
    "integer gradient": (
        lambda: updated(ol.adam(0.1), of(w=jnp.ones(3, int))),
        "leaf 'w': the gradient is int32[3], its parameter float32[3]: pass None where there is no gradient",
    ),
    "integer gradient, no params": (
        lambda: updated(ol.sgd(0.1), of(w=jnp.ones(3, int)), params=None),
        "leaf 'w': the gradient is int32[3]; only floating and complex leaves are moved",
    ),
    "state of another optimizer": (
        lambda: updated(ol.adam(0.1), GRADS, state=ol.sgd(0.1, 0.9).init(PARAMS)),
        "adam: this state was not made by it: expected (ScaleByAdamState(count, mu, nu), EmptyState()), "
        "got (TraceState(trace), EmptyState()). Write state = tx.init(params)",
    ),
    "state from before a schedule": (
        lambda: updated(ol.adam(rate), GRADS, state=ol.adam(0.1).init(PARAMS)),
        "this state was not made by it: expected (ScaleByAdamState(count, mu, nu), ScaleByScheduleState(count))",
    ),
    "state from before a number": (
        lambda: updated(ol.adam(0.1), GRADS, state=ol.adam(rate).init(PARAMS)),
        "this state was not made by it: expected (ScaleByAdamState(count, mu, nu), EmptyState())",
    ),
    "more moments than the rule has": (
        lambda: updated(ol.scale_by_rms(), GRADS, state=ol.scale_by_adam().init(PARAMS)),
        "scale_by_rms: this state was not made by it: expected ScaleByRmsState(nu), got ScaleByAdamState(count",
    ),
    "schedule of the wrong shape": (
        lambda: updated(ol.adam(lambda count: jnp.ones(2)), GRADS),
        "the schedule step_size must return a real number, got shape (2,)",
    ),
    "factory instead of its call": (
        lambda: ol.chain(ol.clip(1.0), ol.adam),
        "argument 1 is the factory adam itself; call",
    ),
    "number in a chain": (lambda: ol.chain(ol.clip(1.0), 0.1), "member 1 must be a GradientTransformation, got 0.1"),
    "number in masked": (lambda: ol.masked(0.1, "w"), "masked: member inner must be a GradientTransformation, got 0.1"),
    "complex gradient of a real parameter": (
        lambda: updated(ol.adam(0.1), of(w=jnp.ones(3, complex))),
        "leaf 'w': the gradient is complex64[3], its parameter float32[3]: both must be real, or both complex",
    ),
    "no state": (
        lambda: ol.adam(0.1).update(GRADS, None, PARAMS),
        "got None. Write state = tx.init(params) first",
    ),
    "state and gradients swapped": (
        lambda: ol.adam(0.1).update(ol.adam(0.1).init(PARAMS), GRADS, PARAMS),
        "adam: the first argument is a state; the order is tx.update(grads, state, params)",
    ),
    "state and params swapped": (
        lambda: ol.adam(0.1).step(GRADS, PARAMS, ol.adam(0.1).init(PARAMS)),
        "adam: the third argument is a state; the order is tx.update(grads, state, params)",
    ),
    "optimizer for a state": (
        lambda: ol.adam(0.1).update(GRADS, ol.adam(0.1), PARAMS),
        "adam: the second argument is an optimizer; it must be its state, tx.init(params)",
    ),
    "no learning rate": (lambda: ol.adam(None), "adam: learning_rate must be a number or a schedule, got None"),
    "string for a flag": (lambda: ol.sgd(0.1, 0.9, nesterov="no"), "sgd: nesterov must be True or False, got 'no'"),
    "habit inside a chain": (lambda: ol.chain(ol.clip(1.0), ol.adam(0.1)).replace(lr=1.0), "write learning_rate"),
    "list for a learning rate": (lambda: ol.adam([0.1]), "learning_rate must be a number or a schedule, got (0.1,)"),
    "optimizer for a learning rate": (
        lambda: ol.adam(ol.sgd(0.1)),
        "learning_rate must be a number or a schedule, got sgd",
    ),
    "None for a number": (
        lambda: ol.adamw(0.1, weight_decay=None),
        "adamw: weight_decay must be a number or a schedule",
    ),
    "list for a partition": (
        lambda: ol.partition([ol.sgd(0.1)], "a"),
        "transforms must be a dict from labels of one type",
    ),
    "transformation for named_chain": (
        lambda: ol.named_chain(ol.sgd(0.1)),
        "write pairs of a name and a transformation",
    ),
    "names twice": (
        lambda: ol.named_chain(("a", ol.clip(1.0)), ("a", ol.clip(1.0))),
        "named_chain: the names ['a'] stand more than once",
    ),
    "replace what is not there": (
        lambda: ol.chain(ol.clip(1.0), ol.adam(0.1)).replace(learning_rat=1.0),
        "chain.replace: no argument 'learning_rat'; the nearest is 1/learning_rate",
    ),
    "replace what is there twice": (
        lambda: ol.chain(ol.sgd(1.0), ol.adam(0.1)).replace(learning_rate=1.0),
        "several arguments are called 'learning_rate': 0/learning_rate, 1/learning_rate; write the path",
    ),
    "replace by a bad value": (lambda: ol.adam(0.1).replace(b1=1.5), "b1 must be in [0, 1), got 1.5"),
    "replace by an array": (
        lambda: ol.adam(0.1).replace(b1=jnp.ones(3)),
        "adam.replace: b1: shape (3,) cannot replace shape ()",
    ),
    "mask of numbers": (
        lambda: ol.masked(ol.adam(0.1), {"w": 1, "layer": False}).init(PARAMS),
        "mask leaf 'w' must be True",
    ),
    "pattern without a match": (
        lambda: ol.masked(ol.adam(0.1), "kernel").init(PARAMS),
        "the pattern 'kernel' matches no leaf",
    ),
    "unknown label": (
        lambda: ol.partition({"a": ol.sgd(0.1)}, {"w": "a", "layer": "c"}).init(PARAMS),
        "leaf 'layer' has the label 'c'; the transforms are ['a']",
    ),
    "static names no argument": (
        lambda: ol.transform(static=("axis",))(lambda rate: (None, None)),
        "static= names axis, which are no arguments of it",
    ),
    "update of the wrong shape": (
        lambda: ol.apply_updates(PARAMS, of(w=jnp.ones(1))),
        "leaf 'w': the update has shape (1,), its parameter (3,); nothing is broadcast",
    ),
    "update of an integer": (
        lambda: ol.apply_updates({"n": jnp.array(3)}, {"n": jnp.array(0.5)}),
        "leaf 'n': the update is float32[], its parameter int32[], which is not moved",
    ),
}
