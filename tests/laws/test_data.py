"""Laws of an optimizer as data: equality, hash, printing, pickling, replacement, and its first
state.
"""

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import cloudpickle
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optax_lite as ol
from tests.methods import ROWS, one_of_each, row_of

PARAMS = {"w": jnp.ones((3, 2)), "b": jnp.ones(2), "scalar": jnp.ones(())}

each = pytest.mark.parametrize(
    "tx", [pytest.param(tx, id=name) for name, tx in one_of_each().items()]
)


def moved(tx):
    """The same optimizer with every number changed."""
    return tx.replace({path: x / 2 + 0.01 for path, x in tx.hyperparams.items()})


def test_building_starts_no_backend():
    """`jax.distributed.initialize` may still come: a process of its own builds the whole
    catalogue.
    """
    code = (
        "from tests.compilations import without_backend; from tests.methods import one_of_each; "
        "without_backend(one_of_each)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0
    )


@each
def test_an_optimizer_is_data(tx):
    """Replaced by itself or copied it is equal and hashes alike, and every number counts and is
    printed.
    """
    same = jax.tree.map(lambda x: x, tx)
    assert tx.replace(tx.hyperparams) == tx == same
    assert {tx: 1}[same] == 1
    for path, x in tx.hyperparams.items():
        assert tx != tx.replace({path: x / 2 + 0.01}), path
    assert jax.tree.structure(moved(tx)) == jax.tree.structure(tx)
    assert all(isinstance(x, float) for x in jax.tree.leaves(tx))
    assert repr(tx).startswith(tx.definition.name + "(")
    assert [x for x in tx.hyperparams.values() if repr(x) not in repr(tx)] == []
    hash(tx)  # a cached hash must not travel
    for copied in (
        pickle.loads(pickle.dumps(tx)),
        copy.deepcopy(tx),
        cloudpickle.loads(cloudpickle.dumps(tx)),
    ):
        assert copied == tx


@pytest.mark.parametrize("row", [row for row in ROWS if row.parameters], ids=lambda row: row.name)
def test_int_numpy_and_jax_scalars_are_the_same_setting(row):
    settings = row.settings[0]
    for kind in (np.float64, np.asarray, jnp.float32):
        same = {k: kind(v) if type(v) is float else v for k, v in settings.items()}
        expected = {k: float(kind(v)) if type(v) is float else v for k, v in settings.items()}
        assert row.factory(**same) == row.factory(**expected)


@each
def test_the_state_depends_on_static_choices_only(tx):
    """Its structure on no number, and its memory is shared with no parameter."""
    row = row_of(tx)
    positive = row.quirks.positive if row else ()
    may_be_zero = {
        path: x
        for path, x in tx.hyperparams.items()
        if "steps" not in path and path not in positive
    }
    zeros = tx.replace({path: 0.0 if x < 1 else 1.0 for path, x in may_be_zero.items()})
    state = assert_state_is_its_own(tx)
    assert jax.tree.structure(jax.eval_shape(zeros.init, PARAMS)) == jax.tree.structure(state)


def assert_state_is_its_own(tx):
    state = tx.init(PARAMS)
    assert all(isinstance(x, jax.Array) and not x.weak_type for x in jax.tree.leaves(state))
    mine = {x.unsafe_buffer_pointer() for x in jax.tree.leaves(PARAMS)}
    assert mine.isdisjoint(x.unsafe_buffer_pointer() for x in jax.tree.leaves(state) if x.size)
    return state


def test_comparing_traced_optimizers_does_not_raise():
    @jax.jit
    def same(rate):
        a, b = ol.adamw(rate), ol.adamw(rate)
        assert a == a and hash(a) == hash(a)
        return a == b

    same(0.1)


def test_cannot_be_changed_in_place():
    with pytest.raises(AttributeError, match="replace"):
        ol.adam(0.1).learning_rate = 0.2
