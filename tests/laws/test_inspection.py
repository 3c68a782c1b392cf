"""What reads a state by its parameters, for every pair of wrappers that builds: shapes only, so
nothing is computed.

The parameters have whatever a tree may hold: None, integers, bools, and two leaves of one path.
"""

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import optax_lite as ol
from tests.nightly import first
from tests.test_extras import REFUSALS, WRAPPERS

PARAMS = {
    "w": {
        "k": jnp.ones((2, 2)),
        "a/b": jnp.ones(3),
        "a": {"b": jnp.ones(3)},
        "none": None,
        "flag": jnp.array(True),
    },
    "b": jnp.ones(2),
}
BASE = ol.chain(
    ol.scale_by_adam(ol.linear_schedule(0.5, 0.9, 5)),
    ol.scale_by_schedule(ol.constant_schedule(-0.1)),
)
MEETING = (
    "flatten",
    "groups",
    "inject_hyperparams",
    "lookahead",
    "split_real_and_imaginary",
    "with_state_dtype",
)
PAIRS = sorted(itertools.product(WRAPPERS, WRAPPERS), key=lambda pair: not {*pair} <= {*MEETING})


def shapes(tree):
    return jax.tree.map(lambda x: (x.shape, x.dtype), tree)


@pytest.mark.parametrize(("outer", "inner"), first(len(MEETING) ** 2, PAIRS))
def test_every_reader_reads_the_state_of_every_pair_that_builds(outer, inner):
    try:
        tx = WRAPPERS[outer](WRAPPERS[inner](BASE))
    except ValueError as error:
        assert re.search(REFUSALS, str(error))
        return
    try:
        state = jax.eval_shape(tx.init, PARAMS)
    except TypeError as error:  # a measure must do without extra arguments
        assert outer == "monitor" and "needs grad_fn=" in str(error)
        return
    explanation = ol.explain(tx, PARAMS)
    assert len({row.path for row in explanation.rows}) == len(jax.tree.leaves(PARAMS))
    assert explanation.totals["bytes"] == sum(
        x.size * x.dtype.itemsize for x in jax.tree.leaves((state, PARAMS))
    )
    evaluated = jax.eval_shape(lambda s, p: ol.eval_params(tx, s, p), state, PARAMS)
    assert shapes(evaluated) == shapes(PARAMS)
    assert shapes(
        jax.eval_shape(lambda s, p: ol.reset(s, tx, p, where="b"), state, PARAMS)
    ) == shapes(state)
    told = []

    def carried(state, params):
        new, report = ol.transfer(state, tx, params)
        told.append(report)
        return new

    assert shapes(jax.eval_shape(carried, state, PARAMS)) == shapes(state)
    (report,) = told
    lost = [path for path in (*report.new, *report.dropped) if "hyperparams" not in path]
    assert lost == [], f"a state carried into its own optimizer: {report}"


# --- the same in every process --------------------------------------------------------------------

TOLD = """
import jax, jax.numpy as jnp, optax_lite as ol
from tests.laws.test_inspection import BASE, PARAMS, report_of
from tests.test_extras import REFUSALS, WRAPPERS
params = {"flag": jnp.array(True), "count": jnp.arange(2), "none": None, **PARAMS}
rules = {("k", "b"): {"b1": 0.5}, "count": {"eps": 0.2}, "flag": {"b1": 0.6}, "w": {"eps": 0.3}}
made = {name: wrap(BASE) for name, wrap in WRAPPERS.items()}
made["rules"] = ol.groups(BASE, rules, strict=False)
for name, tx in made.items():
    here = PARAMS if name in ("partition", "multi_transform", "selective_transform") else params
    print(name, jax.tree.structure(jax.eval_shape(tx.init, here)))
    if name in ("rules", "partition", "monitor", "with_metrics"):
        print(ol.explain(tx, here), report_of(tx, here))
"""


def report_of(tx, params):
    """What `transfer` says of the state of an optimizer carried from another one."""
    told = []
    state = jax.eval_shape(ol.chain(ol.clip(1.0), ol.adam(0.1)).init, params)
    jax.eval_shape(lambda s, p: told.append(ol.transfer(s, tx, p)[1]), state, params)
    return told[0]


@pytest.mark.nightly
def test_states_and_reports_do_not_depend_on_hash_seeds():
    command = [sys.executable, "-c", TOLD]
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "JAX_PLATFORMS": "cpu",
    }
    started = [
        subprocess.Popen(
            command, env=environment | {"PYTHONHASHSEED": seed}, stdout=subprocess.PIPE, text=True
        )
        for seed in ("0", "1", "2")
    ]
    told = [process.communicate()[0] for process in started]
    assert "rules PyTreeDef" in told[0], "it ended early"
    assert told[0] == told[1] == told[2]
