"""Wrong calls, and what their errors must say."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import optax_lite as ol
from optax_lite import sweep
from tests.methods.row import rate

PARAMS = {"w": jnp.ones(3), "layer": {"b": jnp.ones((2, 2))}}
COUNTED, FLOATS = {"n": jnp.array(3), "w": jnp.ones(())}, {"n": jnp.ones(()), "w": jnp.ones(())}
GRADS = jax.tree.map(jnp.ones_like, PARAMS)


def updated(tx, grads, params=PARAMS, state=None):
    return tx.update(grads, tx.init(PARAMS) if state is None else state, params)


def loss(params):
    return jnp.sum(params["w"] ** 2) + jnp.sum(params["layer"]["b"] ** 2)


POPULATION = jax.vmap(ol.adam)(jnp.array([0.1, 0.2]))


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
    "function for gradients": (
        lambda: updated(ol.adam(0.1), jax.grad(loss)),
        (
            "adam: the gradients are the function loss, not called; write grads = "
            "jax.grad(loss)(params)"
        ),
    ),
    "value and gradients, no params": (
        lambda: updated(ol.adam(0.1), jax.value_and_grad(loss)(PARAMS), params=None),
        "adam: the gradients are a pair (value, gradients), as jax.value_and_grad returns",
    ),
    "value, auxiliary output and gradients": (
        lambda: updated(ol.adam(0.1), ((jnp.ones(()), {"accuracy": 1.0}), GRADS)),
        "adam: the gradients are a pair (value, gradients), as jax.value_and_grad returns",
    ),
    "gradients and auxiliary output": (
        lambda: updated(ol.adam(0.1), (GRADS, {"accuracy": jnp.ones(())})),
        (
            "adam: the gradients are a pair whose first part matches the params; write grads, "
            "aux = jax.grad(loss_fn, has"
        ),
    ),
    "loss for gradients": (
        lambda: updated(ol.adam(0.1), loss(PARAMS)),
        "adam: the gradients are one number (the loss?), but the params are a dict of 2 leaves",
    ),
    "gradients of data": (
        lambda: updated(ol.adam(0.1), jnp.ones((8, 3))),
        (
            "adam: the gradients are float32[8, 3]; they match no part of the params, a dict of "
            "2 leaves. jax.grad differentiates"
        ),
    ),
    "gradients of another tree": (
        lambda: updated(ol.adam(0.1), {"x": jnp.ones(3)}),
        "only in the params; they match no part of the params, a dict of 2 leaves",
    ),
    "None for all gradients": (
        lambda: updated(ol.adam(0.1), None),
        "adam: the gradients are None, but the params are a",
    ),
    "optimizer for gradients": (
        lambda: updated(ol.adam(0.1), ol.adam(0.1)),
        (
            "adam: the gradients are an optimizer; the call is updates, state = tx.update(grads, "
            "state, params)"
        ),
    ),
    "optimizer for params": (
        lambda: ol.adam(0.1).init(ol.adam(0.1)),
        "adam: params must be a pytree of arrays, got an",
    ),
    "state for params": (
        lambda: ol.adam(0.1).init(ol.adam(0.1).init(PARAMS)),
        "adam: params must be a pytree of arrays, got a state",
    ),
    "None for params": (
        lambda: ol.adam(0.1).init(None),
        "adam: params must be a pytree of arrays, got None",
    ),
    "module for params": (
        lambda: ol.adam(0.1).init(object()),
        "for a Flax module pass variables['params'], for an Equinox module equinox.filter(model, ",
    ),
    "population without vmap": (
        lambda: updated(POPULATION, GRADS, state=ol.adam(0.1).init(PARAMS)),
        (
            "adam: learning_rate has shape (2,): this is a population of 2; apply jax.vmap to "
            "it, as in jax.vmap(lambda"
        ),
    ),
    "population's state without vmap": (
        lambda: updated(
            ol.adam(0.1), GRADS, state=jax.vmap(lambda tx: tx.init(PARAMS))(POPULATION)
        ),
        (
            "adam: the state belongs to a population of 2, but this is one optimizer; write "
            "jax.vmap(lambda tx, state:"
        ),
    ),
    "state from before the params grew": (
        lambda: ol.adam(0.1).update(
            of(v=jnp.ones(2)), ol.adam(0.1).init(PARAMS), {**PARAMS, "v": jnp.ones(2)}
        ),
        (
            "adam: the state was made for other parameters: its leaf '0/mu/v' is missing, but "
            "these params need"
        ),
    ),
    "state from before the params changed shape": (
        lambda: ol.adam(0.1).update(
            of(w=jnp.ones(5)), ol.adam(0.1).init(PARAMS), of(w=jnp.ones(5))
        ),
        (
            "its leaf '0/mu/w' is float32[3], but these params need float32[5]. Write state = "
            "tx.init(params), or"
        ),
    ),
    "params for a learning rate": (
        lambda: ol.adam(PARAMS, 0.1),
        (
            "adam: learning_rate/w has shape (3,): for a population of 3, use jax.vmap; parameters "
            "go to tx.init(params)"
        ),
    ),
    "word of a schedule": (
        lambda: updated(ol.adam(lambda count: "high"), GRADS),
        "must return a real number, got str 'high'",
    ),
    "tuple of a schedule": (
        lambda: updated(ol.adam(lambda count: (0.1, 0.2)), GRADS),
        "must return a real number, got a tuple of 2 leaves",
    ),
    "apply a state": (
        lambda: ol.apply_updates(PARAMS, ol.scale_by_adam().init(PARAMS)),
        "apply_updates: the updates are a state; the order is apply_updates(params, updates)",
    ),
    "apply to an optimizer": (
        lambda: ol.apply_updates(ol.adam(0.1), GRADS),
        "apply_updates: the params are an optimizer; the order is apply_updates(params, updates)",
    ),
    "apply None": (
        lambda: ol.apply_updates(PARAMS, None),
        "apply_updates: the updates are None, but the params are a dict",
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
        lambda: ol.adam(0.1).update(FLOATS, ol.adam(0.1).init(COUNTED), COUNTED),
        (
            "leaf 'n': the gradient is float32[], its parameter int32[], which is not trained: "
            "pass None for it"
        ),
    ),
    "integer parameter, no params": (
        lambda: ol.adam(0.1).update(FLOATS, ol.adam(0.1).init(COUNTED)),
        "leaf 'n': got a gradient float32[] for a parameter that was not trained at init",
    ),
    "integer gradient": (
        lambda: updated(ol.adam(0.1), of(w=jnp.ones(3, int))),
        (
            "leaf 'w': the gradient is int32[3], its parameter float32[3]: pass None where there "
            "is no gradient"
        ),
    ),
    "integer gradient, no params": (
        lambda: updated(ol.sgd(0.1), of(w=jnp.ones(3, int)), params=None),
        "leaf 'w': the gradient is int32[3]; only floating and complex leaves are trained",
    ),
    "state of another optimizer": (
        lambda: updated(ol.adam(0.1), GRADS, state=ol.sgd(0.1, 0.9).init(PARAMS)),
        (
            "adam: this state was not made by this optimizer: expected (ScaleByAdamState(count, "
            "mu, nu), EmptyState()), got (TraceState(trace), EmptyState()). Write state = "
            "tx.init(params)"
        ),
    ),
    "state from before a schedule": (
        lambda: updated(ol.adam(rate), GRADS, state=ol.adam(0.1).init(PARAMS)),
        (
            "this state was not made by this optimizer: expected (ScaleByAdamState(count, mu, "
            "nu), ScaleByScheduleState(count))"
        ),
    ),
    "state from before a number": (
        lambda: updated(ol.adam(0.1), GRADS, state=ol.adam(rate).init(PARAMS)),
        "this state was not made by this optimizer: expected (ScaleByAdamState(count, mu, nu), "
        "EmptyState())",
    ),
    "more moments than the rule has": (
        lambda: updated(ol.scale_by_rms(), GRADS, state=ol.scale_by_adam().init(PARAMS)),
        (
            "scale_by_rms: this state was not made by this optimizer: expected "
            "ScaleByRmsState(nu), got ScaleByAdamState(count"
        ),
    ),
    "schedule of the wrong shape": (
        lambda: updated(ol.adam(lambda count: jnp.ones(2)), GRADS),
        "the schedule step_size must return a real number, got shape (2,)",
    ),
    "factory instead of its call": (
        lambda: ol.chain(ol.clip(1.0), ol.adam),
        "argument 1 is the factory adam itself; call",
    ),
    "number in a chain": (
        lambda: ol.chain(ol.clip(1.0), 0.1),
        "member 1 must be a GradientTransformation, got 0.1",
    ),
    "number in masked": (
        lambda: ol.masked(0.1, "w"),
        "masked: member inner must be a GradientTransformation, got 0.1",
    ),
    "complex gradient of a real parameter": (
        lambda: updated(ol.adam(0.1), of(w=jnp.ones(3, complex))),
        (
            "leaf 'w': the gradient is complex64[3], its parameter float32[3]: both must be "
            "real, or both complex"
        ),
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
    "vector for a matrix": (
        lambda: ol.scale_by_muon().init(PARAMS),
        (
            "leaf 'w': its shape (3,) is not a matrix; name the axes that form one with "
            "weight_dimension_numbers=, or write muon(...), which gives other leaves to AdamW"
        ),
    ),
    "forgotten state": (
        lambda: ol.adamw(0.1).update(GRADS, PARAMS),
        (
            "adamw: the second argument is a tree like the gradients, not a state; the call is "
            "updates, state = tx.update(grads, state, params), where the first state is tx.init("
        ),
    ),
    "params for a state": (
        lambda: ol.sgd(0.1).step(GRADS, PARAMS, PARAMS),
        "sgd: the second argument is a tree like the gradients, not a state; the call is ",
    ),
    "optimizer for a state": (
        lambda: ol.adam(0.1).update(GRADS, ol.adam(0.1), PARAMS),
        "adam: the second argument must be the state, tx.init(params), got an optimizer",
    ),
    "no learning rate": (
        lambda: ol.adam(None),
        "adam: learning_rate must be a number or a schedule, got None",
    ),
    "string for a flag": (
        lambda: ol.sgd(0.1, 0.9, nesterov="no"),
        "sgd: nesterov must be True or False, got 'no'",
    ),
    "habit inside a chain": (
        lambda: ol.chain(ol.clip(1.0), ol.adam(0.1)).replace(lr=1.0),
        "write learning_rate",
    ),
    "list for a learning rate": (
        lambda: ol.adam([0.1]),
        "learning_rate must be a number or a schedule, got [0.1]",
    ),
    "list for a number without a default": (
        lambda: ol.clip_by_global_norm([1.0]),
        "clip_by_global_norm: max_norm must be a number or a schedule, got [1.0]",
    ),
    "list for a number or None": (
        lambda: ol.skip_bad_steps(ol.adam(0.1), outlier=[5.0]),
        "skip_bad_steps: outlier must be a number or a schedule, got [5.0]",
    ),
    "array for a number": (
        lambda: ol.clip(jnp.ones(1)),
        "clip: max_delta has shape (1,): for a population of 1, use jax.vmap",
    ),
    "a flag mapped": (
        lambda: jax.vmap(lambda flag: ol.sgd(0.1, 0.9, nesterov=flag))(jnp.array([True, False])),
        (
            "sgd: nesterov is compiled in, so it cannot be traced or mapped, got a traced bool[]; "
            "make an optimizer for each value outside jit and vmap, as sweep.grid(..., "
            "nesterov=[...]) does"
        ),
    ),
    "a choice mapped": (
        lambda: jax.vmap(lambda size: ol.scale_by_factored_rms(min_dim_size_to_factor=size))(
            jnp.array([1, 128])
        ),
        "scale_by_factored_rms: min_dim_size_to_factor is compiled in, so it cannot be traced",
    ),
    "optimizer for a learning rate": (
        lambda: ol.adam(ol.sgd(0.1)),
        "learning_rate must be a number or a schedule, got sgd",
    ),
    "None for a number": (
        lambda: ol.adamw(0.1, weight_decay=None),
        "adamw: weight_decay must be a number or a schedule",
    ),
    "number for rules": (
        lambda: ol.groups(ol.adam(0.1), 0.01),
        (
            'groups: rules must be a dict of settings by pattern, {"bias": {"weight_decay": 0.0}}, '
            "or pairs; got 0.01"
        ),
    ),
    "number for schedules": (
        lambda: ol.join_schedules(0.1, [5]),
        "join_schedules: schedules must be a list, got 0.1",
    ),
    "number for bounds": (
        lambda: sweep.pbt(10, {"b1": (0.9,)}, bounds=0.5),
        "pbt: bounds must be a dict such as {'learning_rate': (1e-5, 1.0)}, got 0.5",
    ),
    "list for a partition": (
        lambda: ol.partition([ol.sgd(0.1)], "a"),
        "transforms must be a dict whose keys (the labels) have one type",
    ),
    "transformation for named_chain": (
        lambda: ol.named_chain(ol.sgd(0.1)),
        "pass pairs of a name and a transformation",
    ),
    "names twice": (
        lambda: ol.named_chain(("a", ol.clip(1.0)), ("a", ol.clip(1.0))),
        "named_chain: the names ['a'] are used more than once",
    ),
    "replace what is not there": (
        lambda: ol.chain(ol.clip(1.0), ol.adam(0.1)).replace(learning_rat=1.0),
        "chain.replace: no argument 'learning_rat'; the nearest is 1/learning_rate",
    ),
    "replace what is there twice": (
        lambda: ol.partition({"0": ol.sgd(1.0), "1": ol.adam(0.1)}, "0").replace(learning_rate=1.0),
        "several arguments are called 'learning_rate': ",
    ),
    "integers for params": (
        lambda: ol.adam(0.1).init({"n": jnp.arange(3), "none": None}),
        (
            "adam: params must be a pytree of arrays, got int32[3] and no floating leaf, so "
            "nothing can be trained; write jnp.asarray(..., jnp.float32)"
        ),
    ),
    "two numbers for an axis": (
        lambda: sweep.sample(ol.adam, 4, learning_rate=(1e-4, 1e-1)),
        (
            "learning_rate may be a range or two values, got (0.0001, 0.1); write uniform(0.0001, "
            "0.1), loguniform("
        ),
    ),
    "replace by a bad value": (
        lambda: ol.adam(0.1).replace(b1=1.5),
        "b1 must be in [0, 1), got 1.5",
    ),
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
        "leaf 'layer' has the label 'c', but transforms has only ['a']",
    ),
    "static names no argument": (
        lambda: ol.transform(static=("axis",))(lambda rate: (None, None)),
        "static= names axis, which the function does not take",
    ),
    "update of the wrong shape": (
        lambda: ol.apply_updates(PARAMS, of(w=jnp.ones(1))),
        "leaf 'w': the update has shape (1,), its parameter (3,); nothing is broadcast",
    ),
    "update of an integer": (
        lambda: ol.apply_updates({"n": jnp.array(3)}, {"n": jnp.array(0.5)}),
        "leaf 'n': the update is float32[], its parameter int32[], which is not trained",
    ),
}
