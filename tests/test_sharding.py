"""States on a mesh of eight host devices: placed like their params, compiled once, equal to a single device's run."""

import chex
import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import optax_lite
from tests.closeness import A_STEP, assert_close
from tests.compilations import count_lowerings
from tests.nightly import first

pytestmark = pytest.mark.usefixtures("eight_devices")

SPECS = {"w": PartitionSpec("x", "y"), "b": PartitionSpec("y"), "rows": PartitionSpec("x"), "s": PartitionSpec()}
SHAPES = {"w": (8, 4), "b": (6,), "rows": (4, 3), "s": ()}
OPTIMIZERS = {
    "adamw": lambda: optax_lite.adamw(0.1),
    "adam bf16": lambda: optax_lite.adam(0.1, mu_dtype=jnp.bfloat16),
    "clipped": lambda: optax_lite.chain(optax_lite.clip_by_global_norm(0.1), optax_lite.sgd(0.1, 0.9)),
    "scheduled": lambda: optax_lite.nadamw(
        optax_lite.cosine_decay_schedule(0.1, 9), b1=optax_lite.linear_schedule(0, 0.9, 5)
    ),
    "rmsprop": lambda: optax_lite.rmsprop(0.1, centered=True, momentum=0.5, bias_correction=True, eps=1e-3),
    "adagrad": lambda: optax_lite.adagrad(0.1),
    "masked": lambda: optax_lite.masked(optax_lite.signum(0.1), ["!s", "!b"]),
    "partition": lambda: optax_lite.partition(
        {"fast": optax_lite.adam(0.1), "slow": optax_lite.sgd(0.1)},
        {"w": "fast", "b": "slow", "rows": "slow", "s": "fast"},
    ),
}


def make_mesh(kind):
    return jax.make_mesh((4, 2), ("x", "y"), axis_types=(kind, kind))


@pytest.fixture(params=[AxisType.Auto, AxisType.Explicit], ids=lambda kind: kind.name)
def mesh(request):
    return make_mesh(request.param)


def values(seed):
    keys = dict(zip(SHAPES, jax.random.split(jax.random.key(seed), len(SHAPES)), strict=True))
    return {name: jax.random.normal(keys[name], shape) for name, shape in SHAPES.items()}


def placed(mesh, tree):
    return {name: jax.device_put(x, NamedSharding(mesh, SPECS[name])) for name, x in tree.items()}


def assert_placed_like_params(mesh, state):
    """Every slot where its parameter is, everything else on every device of the mesh."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        name = getattr(path[-1], "key", None)
        spec = SPECS.get(name, PartitionSpec())
        assert leaf.sharding.is_equivalent_to(NamedSharding(mesh, spec), leaf.ndim), f"{path}: {leaf.sharding}"


@pytest.mark.parametrize("make", first(2, OPTIMIZERS.values()), ids=OPTIMIZERS)
def test_init_places_slots_like_their_params_and_counts_everywhere(make, mesh):
    assert_placed_like_params(mesh, make().init(placed(mesh, values(0))))


@pytest.mark.parametrize("verb", first(1, ["update", "step"]))
@pytest.mark.parametrize("mode", first(2, ["eager", "jit", "jit, tx as argument"]))
def test_second_call_compiles_nothing_and_placement_stays(mode, verb, mesh):
    tx = optax_lite.chain(
        optax_lite.clip_by_global_norm(0.1), optax_lite.adamw(optax_lite.cosine_decay_schedule(0.1, 9))
    )

    def one(tx, grads, state, params):
        if verb == "step":
            return tx.step(grads, state, params)
        updates, state = tx.update(grads, state, params)
        return optax_lite.apply_updates(params, updates), state

    jitted, closed = jax.jit(one), jax.jit(lambda *args: one(tx, *args))
    run = {"eager": one, "jit": lambda tx, *args: closed(*args), "jit, tx as argument": jitted}[mode]
    params, grads = placed(mesh, values(0)), placed(mesh, values(1))
    params, state = run(tx, grads, tx.init(params), params)
    with count_lowerings() as compilations:
        params, state = run(tx, grads, state, params)
    assert compilations() == 0
    assert_placed_like_params(mesh, (params, state))


def run_three_steps(tx, place):
    params = place(values(0))
    state, step = tx.init(params), jax.jit(tx.step)
    for seed in (1, 2, 3):
        params, state = step(place(values(seed)), state, params)
    return params, state


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_sharded_run_equals_that_on_one_device(make):
    mesh = make_mesh(AxisType.Auto)
    sharded, single = (
        run_three_steps(make(), lambda tree: placed(mesh, tree)),
        run_three_steps(make(), lambda tree: tree),
    )
    # Not to the bit: norms are summed in another order.
    assert_close(*jax.device_get((sharded, single)), ulps=3 * A_STEP)


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_init_under_jit_places_as_out_shardings_say(make):
    mesh, tx = make_mesh(AxisType.Auto), make()
    params = placed(mesh, values(0))
    eager = tx.init(params)
    state = jax.jit(tx.init, out_shardings=jax.tree.map(lambda x: x.sharding, eager))(params)
    assert_placed_like_params(mesh, state)
    chex.assert_trees_all_equal(state, eager)


@pytest.mark.nightly
def test_init_under_jit_keeps_the_placement_on_an_explicit_mesh():
    mesh = make_mesh(AxisType.Explicit)
    with jax.set_mesh(mesh):
        assert_placed_like_params(mesh, jax.jit(optax_lite.adamw(0.1).init)(placed(mesh, values(0))))


def test_donated_state_and_params_are_used_up_and_placement_stays(mesh):
    params, tx = placed(mesh, values(0)), optax_lite.adamw(0.1)
    state, step = tx.init(params), jax.jit(tx.step, donate_argnums=(1, 2))
    old = jax.tree.leaves((params, state))
    assert_placed_like_params(mesh, step(placed(mesh, values(1)), state, params))
    assert all(x.is_deleted() for x in old)


def test_state_of_params_on_another_device_lies_there():
    device = jax.devices()[3]
    state = optax_lite.adamw(0.1).init(jax.device_put(values(0), device))
    assert {d for leaf in jax.tree.leaves(state[0]._replace(count=None)) for d in leaf.devices()} == {device}
