"""Every wrapper passes every extra keyword on to its member, whatever the keyword is called."""

import inspect

import jax
import jax.numpy as jnp
import pytest

import optax_lite as ol
from tests.nightly import first

PROVES = ("wrappers.flatten",)
PARAMS = {"w": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "b": jnp.array([0.3, -0.1])}
SEEN: list[dict] = []


@ol.transform(static=("name",))
def probe(name):
    """Writes down what extra arguments reach it; `name` keeps a program compiled for another test
    from being reused.
    """

    def update(updates, state, params=None, **extra):
        SEEN.append(extra)
        return updates, state

    return lambda params: ol.EmptyState(), update


def loss(params):
    return sum(jnp.sum(p**2) for p in jax.tree.leaves(params))


def gradient(params, i=0):
    return jax.grad(loss)(params)


EXTRAS = {
    "value": jnp.float32(0.5),
    "grad": PARAMS,
    "value_fn": loss,
    "grad_fn": gradient,
    "of_nobody": jnp.float32(7.0),
}
ARRAYS = ["value", "grad", "of_nobody"]

# How each wrapper is put around a transformation. A wrapper that is missing here fails the test
# below.
WRAPPERS = {
    "accumulate": lambda t: ol.accumulate(t, 1),
    "apply_if_finite": lambda t: ol.apply_if_finite(t, 2),
    "average_params": lambda t: ol.average_params(t),
    "cautious": lambda t: ol.cautious(t),
    "chain": lambda t: ol.chain(ol.identity(), t, ol.scale(-0.1)),
    "conditionally_mask": lambda t: ol.conditionally_mask(t, lambda count: count >= 0),
    "conditionally_transform": lambda t: ol.conditionally_transform(t, lambda count: count >= 0),
    "flatten": lambda t: ol.flatten(t),
    "galore": lambda t: ol.galore(0.1, 2, base_optimizer=t),
    "groups, rules": lambda t: ol.groups(ol.sgd(0.1), {"w": t}),
    "groups": lambda t: ol.groups(
        ol.chain(t, ol.sgd(0.1)), {"w": {"learning_rate": 0.2}, "b": "freeze"}
    ),
    "inject_hyperparams": lambda t: ol.inject_hyperparams(ol.chain(t, ol.sgd(0.1))),
    "kahan": lambda t: ol.kahan(t),
    "lookahead": lambda t: ol.lookahead(t, 2, 0.5),
    "lookahead, at a sync": lambda t: ol.lookahead(t, 1, 0.5),
    "loss_scaling": lambda t: ol.loss_scaling(t),
    "masked": lambda t: ol.masked(t, "w"),
    "master_weights": lambda t: ol.master_weights(t),
    "mechanize": lambda t: ol.mechanize(t),
    "monitor": lambda t: ol.monitor({"measured": t}),
    "multi_transform": lambda t: ol.multi_transform(
        {"a": t, "b": ol.sgd(0.1)}, {"w": "a", "b": "b"}
    ),
    "MultiSteps": lambda t: ol.MultiSteps(t, 1),
    "named_chain": lambda t: ol.named_chain(("first", ol.identity()), ("second", t)),
    "partition": lambda t: ol.partition({"a": t, "b": ol.sgd(0.1)}, {"w": "a", "b": "b"}),
    "sam, both": lambda t: ol.sam(t, t),
    "sam, opaque": lambda t: ol.sam(t, ol.sgd(0.1), opaque_mode=True),
    "schedule_free": lambda t: ol.schedule_free(t, 0.1),
    "scale_by_galore": lambda t: ol.scale_by_galore(2, base_optimizer=t),
    "selective_transform": lambda t: ol.selective_transform(t, freeze_mask={"w": False, "b": True}),
    "skip_bad_steps": lambda t: ol.skip_bad_steps(t),
    "sophia": lambda t: ol.sophia(0.1, hessian_diagonal_fn=t),
    "split_real_and_imaginary": lambda t: ol.split_real_and_imaginary(t),
    "stochastic_rounding": lambda t: ol.stochastic_rounding(t),
    "two deep": lambda t: ol.chain(ol.average_params(ol.masked(ol.chain(t, ol.cautious(t)), "w"))),
    "with_metrics": lambda t: ol.with_metrics(t),
    "quantize_state": lambda t: ol.quantize_state(t, min_size=1),
    "with_state_dtype": lambda t: ol.with_state_dtype(t, "bfloat16"),
}
# What some say of what is inside them, where they are built: tests/test_order.py has the sentences.
REFUSALS = (
    " is inside( adv_optimizer)?,| inside (does not|already) change| before loss_scaling "
    "| after .* would |the rule 'w': "
)
VECTOR, OF_VECTOR = (
    jnp.array([0.3, -0.1, 1.0, -2.0, 0.5, 3.0]),
    jnp.array([0.6, -0.2, 2.0, -4.0, 1.0, 6.0]),
)
AS_VECTORS = {  # what is told of the objective, about the vector that `flatten` makes of the params
    "grad": lambda x: jnp.array_equal(x, VECTOR),
    "value_fn": lambda f: f(VECTOR) == loss(PARAMS),
    "grad_fn": lambda f: jnp.array_equal(f(VECTOR, 0), OF_VECTOR),
}
# What a wrapper itself needs of the extra arguments.
NEEDED = {"sam, opaque": {"grad_fn"}}


@pytest.mark.parametrize("kind", ["update", "step"])
@pytest.mark.parametrize(
    "names", first(1, [list(EXTRAS), ARRAYS]), ids=["with functions", "compiled"]
)
@pytest.mark.parametrize("name", WRAPPERS)
def test_every_extra_argument_reaches_the_wrapped_member(name, names, kind):
    if not NEEDED.get(name, set()) <= set(names):
        return
    tx = WRAPPERS[name](probe(f"{name} {names} {kind}"))
    given = {k: EXTRAS[k] for k in names}
    state = tx.init(PARAMS)
    SEEN.clear()
    getattr(tx, kind)(PARAMS, state, PARAMS, **given)
    assert SEEN, "the probe was not called"
    for seen in SEEN:
        assert set(seen) == set(given)
        for k, value in seen.items():
            if name == "flatten" and k in AS_VECTORS:
                assert same_structure(value, VECTOR) if names == ARRAYS else AS_VECTORS[k](value)
            else:
                assert (
                    inspect.unwrap(value) is given[k]
                    if callable(value)
                    else same_structure(value, given[k])
                )


def same_structure(a, b):
    return jax.tree.structure(a) == jax.tree.structure(b) and jax.tree.map(
        jnp.shape, a
    ) == jax.tree.map(jnp.shape, b)


def test_every_wrapper_is_in_the_table():
    """A factory whose argument must be a transformation, by the error it gives to another."""
    offered = {
        name: getattr(ol, name)
        for name in (*ol.__all__, *ol.compat.__all__)
        if hasattr(getattr(ol, name), "signature")
    }
    arguments = {
        "tx",
        "inner",
        "optimizer",
        "fast_optimizer",
        "base_optimizer",
        "transforms",
        "hessian_diagonal_fn",
    }
    arguments |= {"opt", "base"}
    wrappers = {
        name
        for name, factory in offered.items()
        if arguments & set(inspect.signature(factory).parameters)
    }
    assert wrappers <= {name.split(",")[0] for name in WRAPPERS}
