"""Bad input: every message names the argument or the leaf, the value, and what to write instead."""

import jax
import jax.numpy as jnp
import pytest

import optax_lite as ol
from tests.catalogue import bad_settings, rate

PARAMS = {"w": jnp.ones(3), "layer": {"b": jnp.ones((2, 2))}}
GRADS = jax.tree.map(jnp.ones_like, PARAMS)

BAD = bad_settings()


@pytest.mark.parametrize(("row", "settings", "message"), BAD, ids=[f"{r.name}-{m}" for r, _, m in BAD])
def test_bad_settings_are_named_by_the_factory_called(row, settings, message):
    with pytest.raises(ValueError, match=f"^{row.factory.__name__}: .*{message}"):
        row.factory(**settings)


def updated(tx, grads, params=PARAMS, state=None):
    return tx.update(grads, tx.init(PARAMS) if state is None else state, params)


def of(**leaves):
    return {**GRADS, **leaves}


CALLS = {
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
        "leaf 'n': a gradient float32[] for a parameter int32[], which is not moved: pass None for it",
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
        "the schedule step_size must return a number, got shape (2,)",
    ),
    "factory instead of its call": (
        lambda: ol.chain(ol.clip(1.0), ol.adam),
        "argument 1 is the factory adam itself; call",
    ),
    "number in a chain": (lambda: ol.chain(ol.clip(1.0), 0.1), "member 1 must be a GradientTransformation, got 0.1"),
    "number in masked": (lambda: ol.masked(0.1, "w"), "masked: member inner must be a GradientTransformation, got 0.1"),
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
        "leaf 'w': the gradient has shape (1,), its parameter (3,)",
    ),
    "update of an integer": (
        lambda: ol.apply_updates({"n": jnp.array(3)}, {"n": jnp.array(0.5)}),
        "leaf 'n': a gradient float32[] for a parameter int32[], which is not moved",
    ),
}


@pytest.mark.parametrize(("call", "message"), CALLS.values(), ids=CALLS.keys())
def test_wrong_calls_say_what_to_write(call, message):
    with pytest.raises(ValueError) as caught:
        call()
    assert message in str(caught.value)


def test_a_python_branch_on_a_traced_hyperparameter_names_the_ways_out():
    @ol.transform
    def damped(rate):
        return ol.scale(rate if rate > 0 else 0.0)

    with pytest.raises(jax.errors.TracerBoolConversionError) as caught:
        jax.jit(lambda rate: damped(rate).init(PARAMS))(0.1)
    assert any("damped: a hyperparameter may be traced: use jnp.where" in note for note in caught.value.__notes__)


def test_a_missing_extra_argument_lists_those_given():
    @ol.transform
    def by_value(scale):
        return lambda params: ol.EmptyState(), lambda updates, state, *, value: (updates, state)

    tx = by_value(0.1)
    with pytest.raises(TypeError, match=r"by_value: update needs value=; .*Extra arguments given: loss"):
        tx.update(GRADS, tx.init(PARAMS), loss=jnp.ones(()))
    tx.update(GRADS, tx.init(PARAMS), value=jnp.ones(()))


def test_a_wrong_argument_shows_in_the_notes_of_a_custom_builder():
    @ol.transform
    def doubled(inner):
        return inner.init, lambda updates, state: inner.update(updates, state)

    with pytest.raises(AttributeError) as caught:
        doubled(0.1)
    assert caught.value.__notes__ == ["doubled was called with inner=0.1"]


def test_a_missing_required_argument_shows_the_signature():
    with pytest.raises(TypeError, match="adam: missing a required argument: 'learning_rate'"):
        ol.adam()
