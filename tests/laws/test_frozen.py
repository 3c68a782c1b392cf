"""A norm counts only the leaves that train, whichever wrapper freezes leaves and whatever is
between it and the norm.
"""

import itertools
import re

import chex
import jax
import jax.numpy as jnp
import pytest

import optax_lite as ol
from tests.compilations import reached

PARAMS = {"encoder": jnp.ones(3), "head": jnp.ones(2)}
HARMFUL = {"encoder": jnp.full(3, jnp.nan), "head": jnp.array([3.0, 4.0])}
MASK, LABELS = {"encoder": True, "head": False}, {"encoder": "still", "head": "moves"}


def labels(params):
    return LABELS


def is_encoder(path, leaf):
    return path == "encoder"


def parts(tx):
    return {"still": ol.set_to_zero(), "moves": tx}


FREEZERS = {
    "groups": lambda t: ol.groups(t, {"encoder": "freeze"}),
    "groups, function": lambda t: ol.groups(t, {is_encoder: "freeze", "head": {}}, strict=False),
    "groups, of freezers": lambda t: ol.groups(
        t, {"encoder": ol.chain(ol.sgd(0.1), ol.set_to_zero())}
    ),
    "selective_transform": lambda t: ol.selective_transform(t, freeze_mask="encoder"),
    "freeze, behind": lambda t: ol.chain(t, ol.freeze(MASK)),
    "freeze, in front": lambda t: ol.chain(ol.freeze(["!head"]), t),
    "partition": lambda t: ol.partition(parts(t), LABELS),
    "partition, function": lambda t: ol.partition(parts(t), labels),
    "masked": lambda t: ol.chain(t, ol.masked(ol.set_to_zero(), MASK)),
    "inside of a mask": lambda t: ol.masked(
        ol.groups(t, {"encoder": "freeze"}), lambda params: dict.fromkeys(params, True)
    ),
}
BETWEEN = {
    "nothing": lambda t: t,
    "accumulate": lambda t: ol.accumulate(t, 1),
    "apply_if_finite": lambda t: ol.apply_if_finite(t, 2),
    "average_params": ol.average_params,
    "chain": lambda t: ol.chain(ol.identity(), t),
    "inject_hyperparams": ol.inject_hyperparams,
    "kahan": ol.kahan,
    "lookahead": lambda t: ol.lookahead(t, 2, 0.5),
    "loss_scaling": lambda t: ol.loss_scaling(t, 1.0),
    "master_weights": ol.master_weights,
    "mechanize": ol.mechanize,
    "MultiSteps": lambda t: ol.MultiSteps(t, 1),
    "named_chain": lambda t: ol.named_chain(("only", t)),
    "quantize_state": lambda t: ol.quantize_state(t, min_size=1),
    "sam": lambda t: ol.sam(t, t),
    "schedule_free": lambda t: ol.schedule_free(t, 0.1),
    "skip_bad_steps": lambda t: ol.skip_bad_steps(t, outlier=3.0),
    "with_metrics": ol.with_metrics,
    "with_state_dtype": lambda t: ol.with_state_dtype(t, "bfloat16"),
}
NORMS = {
    "clip_by_global_norm": lambda t: ol.chain(ol.clip_by_global_norm(1.0), t),
    "normalize": lambda t: ol.chain(ol.normalize(), t),
    "skip_bad_steps": ol.skip_bad_steps,
    "with_metrics": ol.with_metrics,
}
EVERY = list(itertools.product(FREEZERS, BETWEEN, NORMS))
some = itertools.cycle(NORMS)
FEW = [(freezer, "accumulate", next(some)) for freezer in FREEZERS]
FEW += [("selective_transform", between, next(some)) for between in BETWEEN]


def assert_counts_what_trains(freezer, between, norm):
    """Neither params nor state have anything of the gradient of a frozen leaf, whatever it is."""
    try:
        tx = NORMS[norm](BETWEEN[between](FREEZERS[freezer](ol.sgd(0.1, 0.5))))
    except ValueError as error:
        assert re.search("before loss_scaling|(loss_scaling|with_metrics) is inside", str(error))
        return
    state = jax.eval_shape(tx.init, PARAMS)
    used = reached(lambda gradient, state: tx.step(gradient, state, PARAMS), HARMFUL, state)
    assert used[:2] == [False, True]


@pytest.mark.parametrize(("freezer", "between", "norm"), FEW)
def test_a_norm_outside_counts_what_trains_inside(freezer, between, norm):
    assert_counts_what_trains(freezer, between, norm)


@pytest.mark.nightly
@pytest.mark.parametrize(("freezer", "between", "norm"), EVERY)
def test_every_norm_outside_counts_what_trains_inside(freezer, between, norm):
    assert_counts_what_trains(freezer, between, norm)


@ol.transform
def with_own_step(inner):
    """A wrapper from elsewhere that moves along the gradient itself, also where the other
    does not.
    """
    init, update = inner

    def run(updates, state, params=None):
        new, state = update(updates, state, params)
        return jax.tree.map(lambda g, u: u - g, updates, new), state

    return init, run


def test_a_wrapper_from_elsewhere_sees_the_gradients():
    tx = with_own_step(ol.groups(ol.sgd(0.1), {"encoder": "freeze"}))
    new, _ = tx.step(
        dict.fromkeys(PARAMS, 1.0) | {"encoder": jnp.ones(3), "head": jnp.ones(2)},
        tx.init(PARAMS),
        PARAMS,
    )
    chex.assert_trees_all_equal(new["encoder"], jnp.zeros(3))


def test_a_clip_before_accumulation_ignores_frozen_leaves():
    tx = ol.chain(
        ol.clip_by_global_norm(1.0),
        ol.accumulate(ol.selective_transform(ol.sgd(0.1), freeze_mask="encoder"), 2),
    )
    _, state = tx.update(HARMFUL, tx.init(PARAMS), PARAMS)
    assert state[1].num_finite == 1
    chex.assert_trees_all_close(
        state[1].acc_grads, {"encoder": jnp.zeros(3), "head": jnp.array([0.6, 0.8])}
    )
