"""Metrics, averages and 8-bit state do not change training. All but 8-bit state are compared as
programs, before they are compiled.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optax_lite as ol
from optax_lite.core.block_float8 import decode
from tests.closeness import A_STEP, assert_close
from tests.compilations import what_makes
from tests.laws.test_values import GRADIENTS, PARAMS
from tests.methods import ROWS
from tests.nightly import first

SHOWN = ("adamw", "lion", "adafactor", "dog", "muon", "schedule_free")  # unlike each other
CALLED = [
    row for row in ROWS if not row.quirks.no_laws and not row.factory.traits.get("per_example")
]
CALLED.sort(key=lambda row: row.name not in SHOWN)
WATCHERS = {
    "with_metrics": ol.with_metrics,
    "average_params": ol.average_params,
    "average_params, late": lambda tx: ol.average_params(tx, decay=0.9, start=1, every=2),
    "monitor": lambda tx: ol.chain(ol.monitor({"norm": ol.global_norm}), tx),
    "snapshot": lambda tx: ol.chain(ol.snapshot("norm", ol.global_norm), tx),
}


def program(tx, state_of, extra):
    """What makes the updates, and the state of the transformation itself."""
    state = jax.eval_shape(tx.init, PARAMS)

    def run(gradient, state, params):
        updates, state = tx.update(gradient, state, params, **extra)
        return updates, state_of(state)

    return what_makes(run, PARAMS, state, PARAMS)


def below(state):
    return (
        state[1]
        if isinstance(state, tuple) and not hasattr(state, "_fields")
        else state.inner_state
    )


@pytest.mark.parametrize("row", first(6, CALLED), ids=[row.name for row in CALLED])
def test_the_updates_and_their_state_come_from_one_program_watched_or_not(row):
    tx, extra = row.factory(**row.settings[0]), row.quirks.extra(0)
    expected = program(tx, lambda state: state, extra)
    for name, watch in WATCHERS.items():
        try:
            watched = watch(tx)
        except ValueError as error:
            assert "after " in str(error) or " is inside" in str(error)  # tests/test_order.py
            continue
        # What is not the watcher's own is one and the same, down to the order of its operations.
        assert program(watched, below, extra) == expected, name


ROUNDED = [row for row in CALLED if row.factory.__module__.startswith("optax_lite.optimizers.")]


@pytest.mark.parametrize("row", first(2, ROUNDED), ids=[row.name for row in ROUNDED])
def test_an_update_in_8_bits_is_that_of_the_state_it_has_and_its_state_is_at_most_an_eighth_off(
    row,
):
    tx, extra = row.factory(**row.settings[0]), row.quirks.extra(0)
    try:
        rounded = ol.quantize_state(tx, min_size=1)
    except ValueError:
        return
    gradients = [jax.tree.map(jnp.asarray, g) for g in GRADIENTS]
    with jax.disable_jit():
        params = jax.tree.map(jnp.asarray, PARAMS)
        state = rounded.init(params)
        for gradient in gradients:
            before = decoded(state.inner_state)
            expected, after = tx.update(gradient, before, params, **extra)
            updates, state = rounded.update(gradient, state, params, **extra)
            assert_close(updates, expected, ulps=4 * A_STEP)
            jax.tree.map(assert_an_eighth_off, decoded(state.inner_state), after)


def decoded(state):
    def is_quantized(x):
        return isinstance(x, ol.Quantized)

    return jax.tree.map(
        lambda x: decode(x, block=256) if is_quantized(x) else x, state, is_leaf=is_quantized
    )


def assert_an_eighth_off(rounded, exact):
    """An eighth of the entry, and below 14 octaves under the largest one, where they are evenly
    spaced, of that.
    """
    if jnp.issubdtype(exact.dtype, jnp.floating):
        floor = np.max(np.abs(exact), initial=0.0) * 2.0**-13
        off = np.abs(np.asarray(rounded) - np.asarray(exact))
        assert np.all(off <= np.maximum(np.abs(exact), floor) / 8 * 1.001)
