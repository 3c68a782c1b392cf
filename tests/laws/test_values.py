"""Laws about numbers. A population runs by its updates, and a single member by its steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optax_lite as ol
from tests.closeness import A_STEP, assert_close
from tests.methods import OWN
from tests.nightly import first

PARAMS = {
    "w": np.float32([[1.0, -2.0], [0.5, 3.0], [0.1, 0.2]]),
    "b": np.float32([0.3, -0.1]),
    "scalar": np.float32(2.0),
}
RNG = np.random.default_rng(1)
# of two updates
GRADIENTS = [
    {k: RNG.normal(size=p.shape).astype(np.float32) for k, p in PARAMS.items()} for _ in range(2)
]
ZEROS = [jax.tree.map(np.zeros_like, g) for g in GRADIENTS]
# no squares in float32
SPIKES = [jax.tree.map(lambda x: np.full_like(x, 2e19), GRADIENTS[0]), GRADIENTS[1]]


def edited(tx, change):
    return tx.replace(
        {path: change(path, x) for path, x in tx.hyperparams.items() if "steps" not in path}
    )


def nothing_to_divide_by(path, x, positive):
    """Without an eps, a start of the second moment or decay: of a zero gradient 0/0 is left."""
    name = path.split("/")[-1]
    zero = name.endswith("weight_decay") or name in ("eps", "eps_root", "epsilon", "initial_scale")
    return 0.0 if (zero or name == "initial_accumulator_value") and name not in positive else x


def assert_finite(tree):
    numbers = {
        jax.tree_util.keystr(path): x for path, x in jax.tree_util.tree_leaves_with_path(tree)
    }
    wrong = [
        k
        for k, x in numbers.items()
        if jnp.issubdtype(x.dtype, jnp.inexact) and not jnp.all(jnp.isfinite(x))
    ]
    assert not wrong, f"not finite: {wrong}"


LAWFUL = [row for row in OWN if not row.quirks.no_laws]


def kind(row):
    """Each wrapper is a kind of its own, as it has a step of its own; the step of a rule is its
    update, applied.
    """
    package = row.factory.__module__.split(".")[1]
    return row.name if package in ("wrappers", "inspect") else package


def population_of(row):
    """Three members, and a function that runs all of them: their updates, and the params and states
    after them.
    """
    tx, extra = row.factory(**row.settings[0]), row.quirks.extra(0)
    members = (
        edited(tx, lambda path, x: 0.0 if path.endswith("weight_decay") else x),
        edited(tx, lambda path, x: 0.9 * x),
        edited(tx, lambda path, x: nothing_to_divide_by(path, x, row.quirks.positive)),
    )
    population = jax.tree.map(lambda *xs: jnp.array(xs), *members)

    def of_all(function, *axes):
        return jax.vmap(function, in_axes=axes, axis_size=len(members))

    # one update and not a scan of two, which takes longer to compile
    update = jax.jit(of_all(lambda tx, g, s, p: tx.update(g, s, p, **extra), 0, None, 0, 0))

    def run(gradients):
        params, found = jax.tree.map(lambda p: np.stack([p] * len(members)), PARAMS), []
        state = of_all(lambda tx: tx.init(PARAMS), 0)(population)
        for g in gradients:
            updates, state = update(population, g, state, params)
            params = ol.apply_updates(params, updates)
            found.append((updates, (params, state)))
        return found

    return members, run


@pytest.mark.parametrize("row", first(2, LAWFUL, of=kind), ids=[row.name for row in LAWFUL])
def test_a_population_by_update_is_its_members_by_step(row):
    """So `vmap` is a loop, and `step` is `update` and `apply_updates`."""
    members, together = population_of(row)
    step = jax.jit(lambda tx, g, state, p: tx.step(g, state, p, **row.quirks.extra(0)))
    found = [after for _, after in together(GRADIENTS)]
    ulps = max(4 * A_STEP, row.quirks.same_program / np.finfo(np.float32).eps)
    for i, member in enumerate(members[:2]):
        params, state = PARAMS, member.init(PARAMS)
        for g, after in zip(GRADIENTS, found, strict=True):
            params, state = step(member, g, state, params)
            assert_close(jax.tree.map(lambda x, i=i: x[i], after), (params, state), ulps=ulps)


@pytest.mark.parametrize("row", LAWFUL, ids=lambda row: row.name)
def test_gradients_of_zero_move_nothing(row):
    """With eps=0 or not; and where the squares of a gradient overflow, steps stay finite."""
    _, together = population_of(row)
    spiked = together(SPIKES)
    moved = jax.tree.leaves([params for _, (params, _) in spiked])
    if not any(jnp.any(jnp.isfinite(p) & (jnp.abs(p) > 1e18)) for p in moved):
        assert_finite(spiked)  # of a rule whose steps do not grow with the gradient
    found = together(ZEROS)
    assert_finite(found)
    if not row.quirks.moves_without_gradient:
        for u in jax.tree.leaves([updates for updates, _ in found]):
            np.testing.assert_array_equal(u[0::2], np.zeros_like(u[0::2]))
