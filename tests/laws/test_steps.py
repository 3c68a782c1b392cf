"""`step` is `update` and `apply_updates`, for every pair of wrappers, operation by operation:
nothing is compiled.
"""

import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optax_lite as ol
from tests.closeness import A_STEP, assert_close
from tests.fuzz import by_rank, is_matrix, matrices
from tests.test_extras import REFUSALS, WRAPPERS

PARAMS = {
    "w": np.float32([[1.0, -2.0], [0.5, 3.0]]),
    "b": np.float32([0.3, -0.1]),
    "u": np.float32([0.5, 2.0]),
    "none": None,
    "count": np.arange(2),
}
RNG = np.random.default_rng(5)
GRADIENTS = [
    {
        k: RNG.normal(size=np.shape(p)).astype(np.float32) if k in "wb" else None
        for k, p in PARAMS.items()
    }
    for _ in range(2)
]
BASE = ol.chain(
    ol.scale_by_adam(ol.linear_schedule(0.5, 0.9, 5)),
    ol.scale_by_schedule(ol.constant_schedule(-0.1)),
)


TREE = {"w": True, "b": False, "u": False, "none": False, "count": False}
LABELS = {"w": "a", "b": "b", "u": "b", "none": "b", "count": "b"}
FORMS = {  # masks and labels as trees, patterns and functions
    **{
        f"{name}, {form}": lambda t, wrap=wrap, mask=mask: wrap(t, mask)
        for name, wrap in {
            "masked": ol.masked,
            "selective_transform": lambda t, mask: ol.selective_transform(t, freeze_mask=mask),
            "freeze": lambda t, mask: ol.chain(t, ol.freeze(mask)),
            "decay": lambda t, mask: ol.chain(ol.add_decayed_weights(0.1, mask), t),
        }.items()
        for form, mask in {"tree": TREE, "patterns": ["w", "!b"], "function": matrices}.items()
    },
    "partition, tree": lambda t: ol.partition({"a": t, "b": ol.set_to_zero()}, LABELS),
    "partition, function": lambda t: ol.partition({"a": t, "b": ol.sgd(0.1)}, by_rank),
    "groups, function": lambda t: ol.groups(t, {is_matrix: ol.sgd(0.1)}),
    "groups, patterns": lambda t: ol.groups(
        ol.chain(t, ol.scale(1.0)), {("w", "u"): {"step_size": 0.5}, "b": "freeze"}
    ),
}
UNLIKE = {
    "sophia",
    "multi_transform",
    "partition",
    "selective_transform",
}  # a function of the loss; labels of fewer leaves
# A first step of 1e-6 is a few units in the last place of the params: a norm of updates would be
# one of roundings.
LARGE = {"mechanize": lambda t: ol.mechanize(t, s_init=0.1)}
ALL = {name: wrap for name, wrap in WRAPPERS.items() if name not in UNLIKE} | FORMS | LARGE
PAIRS = list(itertools.product(ALL, ALL))
EVERY = list(WRAPPERS)
FEW = [
    pair
    for i, form in enumerate(FORMS)
    for pair in ((form, EVERY[2 * i]), (EVERY[2 * i + 1], form))
]
# What some say besides of what they are given.
OF_WHAT_IS_GIVEN = (
    "the rule .*: |the rule 'is_matrix' is True for no leaf that trains|matches no "
    "leaf|different structures|needs (the parameters|grad_fn=)"
)


@pytest.mark.parametrize(("outer", "inner"), [pair for pair in FEW if {*pair} <= {*ALL}])
def test_a_step_is_the_update_and_its_application(outer, inner):
    assert_steps_are_updates(outer, inner)


@pytest.mark.nightly
@pytest.mark.parametrize(("outer", "inner"), PAIRS)
def test_a_step_of_every_pair_is_the_update_and_its_application(outer, inner):
    assert_steps_are_updates(outer, inner)


def assert_steps_are_updates(outer, inner):
    gradients = GRADIENTS
    if "flatten" in (outer, inner):  # there every parameter has a gradient
        gradients = [gradient | {"u": gradient["b"]} for gradient in GRADIENTS]
    extra = {"grad_fn": lambda p, i=0: gradients[i]} if "sam, opaque" in (outer, inner) else {}
    with jax.disable_jit():
        try:
            tx = ALL[outer](ALL[inner](BASE))
            params = stepped = jax.tree.map(jnp.asarray, PARAMS)
            state = after = tx.init(params)
            for gradient in gradients:
                updates, state = tx.update(gradient, state, params, **extra)
                params = ol.apply_updates(params, updates)
                stepped, after = tx.step(gradient, after, stepped, **extra)
        except (ValueError, TypeError) as error:
            assert re.search(f"{REFUSALS}|{OF_WHAT_IS_GIVEN}", str(error)), error
            return
    assert_close((stepped, after), (params, state), ulps=4 * A_STEP)
