"""Bad input: every message names the argument or the leaf, the value, and what to write instead."""

import math
import re
import traceback
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optax_lite as ol
from tests.methods import ROWS
from tests.wrong_calls import BAD_CALLS, GRADS, PARAMS


@pytest.mark.parametrize("row", [row for row in ROWS if row.bad], ids=lambda row: row.name)
def test_bad_settings_are_named_by_the_factory_called(row):
    for settings, message in row.bad:
        with pytest.raises(ValueError) as caught:
            row.factory(**settings)
        said = str(caught.value)
        assert said.startswith(f"{row.factory.__name__}: ") and message in said, (
            f"{settings}: {said}"
        )


def test_an_error_names_the_argument_as_the_user_wrote_it():
    """Also where the builder hands it on to another factory, which calls it otherwise."""
    strange = {}
    for row in {row.factory: row for row in ROWS}.values():
        known, factory = row.parameters, row.factory.__name__
        for name in known:
            for value in (-1.0, 2.0):
                try:
                    row.factory(**{**row.settings[0], name: value})
                except ValueError as error:
                    told = (
                        str(error)
                        .removeprefix(f"{factory.lstrip('_')}: ")
                        .removeprefix("member ")
                        .split(" ")
                    )
                    if (
                        told[1:3] == ["must", "be"] and told[0] not in known and told[0] != "2"
                    ):  # of lbfgs's chain
                        strange[factory, name] = str(error)
                except (TypeError, AttributeError):
                    pass  # of settings that stand in for arrays and functions
    assert strange == {}


@pytest.mark.parametrize(("call", "message"), BAD_CALLS.values(), ids=BAD_CALLS.keys())
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
    assert any(
        "damped: a hyperparameter may be traced here: use jnp.where" in note
        for note in caught.value.__notes__
    )


def test_a_missing_extra_argument_lists_those_given():
    @ol.transform
    def by_value(scale):
        return lambda params: ol.EmptyState(), lambda updates, state, *, value: (updates, state)

    tx = by_value(0.1)
    with pytest.raises(
        TypeError, match=r"by_value: update needs value=; .*Extra arguments given: loss"
    ):
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


# --- what a traceback shows -----------------------------------------------------------------------


@ol.transform
def _wrong_shapes():
    def update(updates, state):
        return ol.leafwise(lambda g: g @ jnp.ones((7, 7)), updates), state

    return lambda params: ol.states.EmptyState(), update


@pytest.mark.parametrize("call", ["update", "step"])
@pytest.mark.parametrize("jitted", [False, True])
def test_a_traceback_shows_the_rule_and_little_of_the_library(call, jitted):
    tx, params = ol.chain(ol.clip(1.0), _wrong_shapes(), ol.scale(-1.0)), {"w": jnp.ones((3, 2))}
    function = getattr(ol.GradientTransformation, call)
    with pytest.raises(TypeError, match="contracting") as caught:
        (jax.jit(function) if jitted else function)(tx, params, tx.init(params), params)
    frames = traceback.extract_tb(caught.tb)
    package = Path(ol.__file__).parent.as_posix()
    assert sum(Path(frame.filename).as_posix().startswith(package) for frame in frames) <= 5
    assert "g @ jnp.ones((7, 7))" in str([frame.line for frame in frames])


# --- mistakes of those who write a method ---------------------------------------------------------


def _updating(function):
    @ol.transform
    def mine(n=3.0):
        def update(updates, state):
            return function(updates, state, n)

        return lambda params: {"m": params}, update

    return mine()


MISTAKES = {
    "swapped": (lambda u, s, n: (s, u), "must return .*; the two are swapped"),
    "another state": (
        lambda u, s, n: (u, (s, s)),
        r"must return \(updates, state\); the state it returned",
    ),
    "a loop": (
        lambda u, s, n: (u, [s for _ in range(n)]),
        r'n is traced: .* list it in @transform\(static=\("n",\)\)',
    ),
    "a branch": (lambda u, s, n: (u, s) if n > 1 else (u, u), "n is traced: .*list it in @transf"),
    "NumPy": (
        lambda u, s, n: (ol.leafwise(lambda g: np.sign(g), u), s),
        r"NumPy, math and float\(\) .* jnp.sign .* in line \d+ of test_errors.py, `.*np.sign\(g\)",
    ),
    "NumPy on a number": (lambda u, s, n: (u, np.sqrt(n)), r"write jnp.sqrt.*, `.*np.sqrt\(n\)"),
    "math": (lambda u, s, n: (u, math.sqrt(n)), r"write jnp.sqrt.*, `.*math.sqrt\(n\)"),
    "item": (lambda u, s, n: (u, n.item()), r"write jnp.sqrt.*, `.*n.item\(\)"),
    "jnp on a tree": (lambda u, s, n: (jnp.sign(u), s), "are trees: write leafwise"),
    "NumPy on a tree": (lambda u, s, n: (np.sign(u), s), "are trees: write leafwise"),
    "minus a tree": (lambda u, s, n: (-u, s), "are trees: write leafwise"),
    "nothing": (lambda u, s, n: None, r"^mine: update must return \(updates, state\), got None"),
    "no state": (lambda u, s, n: u, r"must return \(updates, state\), got a dict of 2 leaves"),
    "other containers": (
        lambda u, s, n: (u, {"m": {**s["m"], "layer": [*s["m"]["layer"].values()]}}),
        "the state it returned is not built as that of init: 'm/layer' is a list of 1 leaves, not",
    ),
    "trees as arrays": (lambda u, s, n: (n * u, s), "are trees: write leafwise"),
    "a leaf": (
        lambda u, s, n: (ol.leafwise(lambda g: g @ g, u), s),
        r"in the rule for leaf 'w', float32\[3\]",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_a_method_is_named(name):
    function, message = MISTAKES[name]
    tx = _updating(function)
    with pytest.raises((ValueError, TypeError, jax.errors.ConcretizationTypeError)) as caught:
        tx.update(GRADS, tx.init(PARAMS), PARAMS)
    said = " ".join([str(caught.value), *getattr(caught.value, "__notes__", ())])
    assert re.search(message, said)


def test_a_builder_that_returns_update_first_is_told_the_order():
    @ol.transform
    def swapped():
        return lambda updates, state: (updates, state), lambda params: ol.states.EmptyState()

    order = r"init must take the params alone, but is <lambda>\(updates, state\): missing .*'state'"
    for tx in (swapped(), ol.chain(ol.clip(1.0), swapped())):
        with pytest.raises(TypeError, match=rf"^swapped: {order}; .* returns \(init, update\), in"):
            tx.init(PARAMS)


def test_a_type_error_from_inside_an_init_is_left_alone():
    def init(params):
        raise TypeError("of your own")

    with pytest.raises(TypeError, match=r"^of your own$"):
        ol.GradientTransformation(init, lambda updates, state: (updates, state)).init(PARAMS)


def test_a_state_class_inside_a_builder_is_named():
    @ol.transform
    def counted():
        class CountState(NamedTuple):
            count: jax.Array

        return (
            lambda params: CountState(jnp.zeros((), int)),
            lambda updates, state: (updates, CountState(state.count + 1)),
        )

    tx = ol.chain(counted(), ol.scale(-1.0))
    with pytest.raises(ValueError, match=r"of another class CountState .* top of the module"):
        tx.update(GRADS, tx.init(PARAMS), PARAMS)
