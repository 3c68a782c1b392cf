"""Laws about numbers, in one program a rule: two updates of a population of two, and a step beside each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optax_lite as ol
from tests.closeness import A_STEP, assert_close
from tests.methods import OWN

PARAMS = {
    "w": np.float32([[1.0, -2.0], [0.5, 3.0], [0.1, 0.2]]),
    "b": np.float32([0.3, -0.1]),
    "scalar": np.float32(2.0),
}
RNG = np.random.default_rng(1)
GRADIENTS = {k: RNG.normal(size=(2, *p.shape)).astype(np.float32) for k, p in PARAMS.items()}  # of two updates
ZEROS = {k: np.zeros_like(g) for k, g in GRADIENTS.items()}


def run(tx, gradients, extra, *, steps=True):
    """After each update: updates, (params, state), and the (params, state) that a step from the same place gives."""

    def body(carry, g):
        params, state = carry
        updates, new = tx.update(g, state, params, **extra)
        after = ol.apply_updates(params, updates), new
        return after, (updates, after, tx.step(g, state, params, **extra) if steps else None)

    params = jax.tree.map(jnp.asarray, PARAMS)
    return jax.lax.scan(body, (params, tx.init(params)), gradients)[1]


def edited(tx, change):
    return tx.replace({path: change(path, x) for path, x in tx.hyperparams.items() if "steps" not in path})


@pytest.mark.parametrize("row", [row for row in OWN if not row.quirks.no_laws], ids=lambda row: row.name)
def test_a_population_is_its_members(row):
    """Besides, `step` is `update` and `apply_updates`, and gradients of zero move nothing."""
    tx, extra = row.factory(**row.settings[0]), row.quirks.extra(0)
    members = (
        edited(tx, lambda path, x: 0.0 if path.endswith("weight_decay") else x),
        edited(tx, lambda path, x: 0.9 * x),
    )
    population = jax.tree.map(lambda *xs: jnp.array(xs), *members)
    program = jax.jit(jax.vmap(lambda tx, g: run(tx, g, extra), in_axes=(0, None), axis_size=2))

    updates, after, stepped = program(population, GRADIENTS)
    ulps = max(4 * A_STEP, row.quirks.same_program / np.finfo(np.float32).eps)
    assert_close(stepped, after, ulps=ulps)
    alone = jax.jit(lambda tx, g: run(tx, g, extra, steps=False)[:2])
    for i, member in enumerate(members):
        found = jax.tree.map(lambda x, i=i: x[i], (updates, after))
        assert_close(found, alone(member, GRADIENTS), ulps=ulps)

    updates, after, stepped = program(population, ZEROS)
    numbers = [x for x in jax.tree.leaves((updates, after, stepped)) if jnp.issubdtype(x.dtype, jnp.inexact)]
    assert all(jnp.all(jnp.isfinite(x)) for x in numbers)
    if not row.quirks.moves_without_gradient:
        jax.tree.map(lambda u: np.testing.assert_array_equal(u[0], np.zeros_like(u[0])), updates)
