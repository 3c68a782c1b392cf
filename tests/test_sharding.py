"""States on a mesh of eight host devices: placed like their params, compiled once, equal to a
single device's run.
"""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import optax_lite
from tests.closeness import A_STEP, assert_close
from tests.compilations import count_lowerings
from tests.methods import COMPOSED, OWN
from tests.nightly import first

pytestmark = pytest.mark.usefixtures("eight_devices")
PROVES = ("optimizers.galore",)

SPECS = {
    "w": PartitionSpec("x", "y"),
    "b": PartitionSpec("y"),
    "rows": PartitionSpec("x"),
    "s": PartitionSpec(),
}
SHAPES = {"w": (8, 4), "b": (6,), "rows": (4, 3), "s": ()}
OPTIMIZERS = {
    "adamw": lambda: optax_lite.adamw(0.1),
    "adam bf16": lambda: optax_lite.adam(0.1, mu_dtype=jnp.bfloat16),
    "clipped": lambda: optax_lite.chain(
        optax_lite.clip_by_global_norm(0.1), optax_lite.sgd(0.1, 0.9)
    ),
    "scheduled": lambda: optax_lite.nadamw(
        optax_lite.cosine_decay_schedule(0.1, 9), b1=optax_lite.linear_schedule(0, 0.9, 5)
    ),
    "rmsprop": lambda: optax_lite.rmsprop(
        0.1, centered=True, momentum=0.5, bias_correction=True, eps=1e-3
    ),
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
        assert leaf.sharding.is_equivalent_to(NamedSharding(mesh, spec), leaf.ndim), (
            f"{path}: {leaf.sharding}"
        )


@pytest.mark.parametrize("make", first(2, OPTIMIZERS.values()), ids=OPTIMIZERS)
def test_init_places_slots_like_their_params_and_counts_everywhere(make, mesh):
    assert_placed_like_params(mesh, make().init(placed(mesh, values(0))))


@pytest.mark.parametrize("verb", first(1, ["update", "step"]))
@pytest.mark.parametrize("mode", first(2, ["eager", "jit", "jit, tx as argument"]))
def test_second_call_compiles_nothing_and_placement_stays(mode, verb, mesh):
    tx = optax_lite.chain(
        optax_lite.clip_by_global_norm(0.1),
        optax_lite.adamw(optax_lite.cosine_decay_schedule(0.1, 9)),
    )

    def one(tx, grads, state, params):
        if verb == "step":
            return tx.step(grads, state, params)
        updates, state = tx.update(grads, state, params)
        return optax_lite.apply_updates(params, updates), state

    jitted, closed = jax.jit(one), jax.jit(lambda *args: one(tx, *args))
    run = {"eager": one, "jit": lambda tx, *args: closed(*args), "jit, tx as argument": jitted}[
        mode
    ]
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
        assert_placed_like_params(
            mesh, jax.jit(optax_lite.adamw(0.1).init)(placed(mesh, values(0)))
        )


def test_donated_state_and_params_are_used_up_and_placement_stays(mesh):
    params, tx = placed(mesh, values(0)), optax_lite.adamw(0.1)
    state, step = tx.init(params), jax.jit(tx.step, donate_argnums=(1, 2))
    old = jax.tree.leaves((params, state))
    assert_placed_like_params(mesh, step(placed(mesh, values(1)), state, params))
    assert all(x.is_deleted() for x in old)


# --- matrices, cut in any way ---------------------------------------------------------------------

CUTS = {
    "rows": PartitionSpec("x", None),
    "columns": PartitionSpec(None, "y"),
    "both": PartitionSpec("x", "y"),
    "one over two": PartitionSpec(("x", "y"), None),
}
MATRIX_METHODS = {
    "muon": lambda: optax_lite.muon(0.1),
    "soap": lambda: optax_lite.soap(0.1, precondition_frequency=1),
    "shampoo": lambda: optax_lite.shampoo(0.1, block_size=4),
    "galore": lambda: optax_lite.galore(0.1, rank=4),
    "lbfgs": lambda: optax_lite.lbfgs(0.1, memory_size=2, linesearch=None),
    "flatten": lambda: optax_lite.flatten(optax_lite.adam(0.1)),
    "adafactor": lambda: optax_lite.adafactor(0.1, min_dim_size_to_factor=4),
}


def cut_matrices(mesh, seed=None):
    """A well-conditioned matrix for each way to cut one, and a vector; without a seed their
    shapes.
    """
    shapes = {name: ((8, 8), spec) for name, spec in CUTS.items()} | {
        "vector": ((8,), PartitionSpec("y"))
    }
    if seed is None:
        kinds = {name: (shape, NamedSharding(mesh, spec)) for name, (shape, spec) in shapes.items()}
        return {
            name: jax.ShapeDtypeStruct(shape, jnp.float32, sharding=at)
            for name, (shape, at) in kinds.items()
        }
    rng = np.random.default_rng(seed)
    turns = {name: np.linalg.qr(rng.normal(size=(2, 8, 8)))[0] for name in CUTS}
    rotated = {name: (left * np.arange(1.0, 9.0)) @ right for name, (left, right) in turns.items()}
    tree = jax.tree.map(jnp.float32, rotated | {"vector": rng.normal(size=8)})
    return (
        tree
        if mesh is None
        else {k: jax.device_put(x, NamedSharding(mesh, shapes[k][1])) for k, x in tree.items()}
    )


def specs_of(tree):
    """How every leaf is cut, without what JAX appends: P("x") is P("x", None)."""

    def spec(x):
        parts = [] if x.sharding is None else [*x.sharding.spec]
        return parts[: max((i + 1 for i, part in enumerate(parts) if part), default=0)]

    return {
        jax.tree_util.keystr(path): spec(x) for path, x in jax.tree_util.tree_leaves_with_path(tree)
    }


@pytest.mark.parametrize("make", MATRIX_METHODS.values(), ids=MATRIX_METHODS)
def test_types_of_explicit_axes_stay_however_a_matrix_is_cut(make):
    tx, params = make(), cut_matrices(make_mesh(AxisType.Explicit))
    state = jax.eval_shape(tx.init, params)
    found = jax.eval_shape(tx.step, params, state, params)
    assert specs_of(found) == specs_of((params, state))
    assert specs_of(jax.eval_shape(tx.update, params, state, params)) == specs_of((params, state))


def test_a_history_is_cut_like_its_params(mesh):
    state = optax_lite.scale_by_lbfgs(2).init(cut_matrices(mesh, 0))
    assert specs_of(state.diff_params_memory) == {
        f"['{k}']": [None, *spec]
        for k, spec in (("both", "xy"), ("columns", [None, "y"]), ("vector", "y"))
    } | {"['rows']": [None, "x"], "['one over two']": [None, ("x", "y")]}


def of_all_kinds():
    """A method for each way to cut a matrix, in one program."""
    labels = {
        "rows": "soap",
        "both": "shampoo",
        "one over two": "galore",
        "columns": "muon",
        "vector": "muon",
    }
    return optax_lite.partition(
        {name: MATRIX_METHODS[name]() for name in set(labels.values())}, labels
    )


@functools.cache
def three_steps(kind, make):
    """Params after three steps of gradients, and how many programs the later ones compiled."""
    mesh = kind and make_mesh(kind)
    tx, params = make(), cut_matrices(mesh, 0)
    state, step = tx.init(params), jax.jit(tx.step)
    params, state = step(cut_matrices(mesh, 1), state, params)
    with count_lowerings() as compilations:
        for seed in (2, 3):
            params, state = step(cut_matrices(mesh, seed), state, params)
    return params, compilations()


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=lambda kind: kind.name)
@pytest.mark.parametrize(
    "make", first(1, [of_all_kinds, *MATRIX_METHODS.values()]), ids=["one of each", *MATRIX_METHODS]
)
def test_matrices_on_a_mesh_move_as_on_one_device_and_bases_keep_their_place(make, kind):
    found, compilations = three_steps(kind, make)
    assert compilations == 0
    # Bases are as well determined as the singular values are apart: 1 to 8 here, and their squares
    # to 64.
    assert_close(*jax.device_get((found, three_steps(None, make)[0])), ulps=64 * 3 * A_STEP)


def quadratic(params, x):
    return sum(jnp.sum((p - jnp.mean(x)) ** 2) for p in jax.tree.leaves(params))


def test_functions_among_the_extras_are_called_on_explicit_axes():
    mesh = make_mesh(AxisType.Explicit)
    params = cut_matrices(mesh)
    x = jax.ShapeDtypeStruct((8,), jnp.float32, sharding=NamedSharding(mesh, PartitionSpec("x")))
    tx = optax_lite.lbfgs()

    def step(params, state, x):
        def fn(params):
            return quadratic(params, x)

        value, grad = jax.value_and_grad(fn)(params)
        return tx.step(grad, state, params, value=value, grad=grad, value_fn=fn)

    with jax.set_mesh(mesh):
        state = jax.eval_shape(tx.init, params)
        assert specs_of(jax.eval_shape(step, params, state, x)) == specs_of((params, state))


def test_fit_takes_batches_of_data_on_explicit_axes():
    mesh = make_mesh(AxisType.Explicit)
    data = np.linspace(-1, 1, 8, dtype=np.float32)
    with jax.set_mesh(mesh):
        params = {"w": jax.device_put(jnp.ones(4), NamedSharding(mesh, PartitionSpec("y")))}
        x = jax.device_put(data, NamedSharding(mesh, PartitionSpec("x")))
        for size in (4, 3):  # 3 rows are not cut into 4
            found, _ = optax_lite.fit(
                quadratic, params, x, optax_lite.sgd(0.1), steps=1, batch_size=size
            )
            expected, _ = optax_lite.fit(
                quadratic,
                {"w": np.ones(4, np.float32)},
                data,
                optax_lite.sgd(0.1),
                steps=1,
                batch_size=size,
            )
            assert_close(*jax.device_get((found, expected)), ulps=A_STEP)


# --- a member for each device ---------------------------------------------------------------------

WRAPPED = {
    "accumulate Adam": lambda: optax_lite.accumulate(optax_lite.adam(0.1), 2),
    "skip": lambda: optax_lite.skip_bad_steps(optax_lite.adam(0.1), outlier=6.0, max_consecutive=5),
    "metrics": lambda: optax_lite.with_metrics(
        optax_lite.chain(optax_lite.clip_by_global_norm(1.0), optax_lite.adam(0.1))
    ),
    "average": lambda: optax_lite.average_params(optax_lite.adam(0.1), decay=0.9),
    "monitor": COMPOSED["monitor"],
    "snapshot": COMPOSED["snapshot"],
}
MEMBERS = {name: (make, lambda i: {}) for name, make in WRAPPED.items()}
MEMBERS |= {
    row.name: (lambda row=row: row.factory(**row.settings[0]), row.quirks.extra)
    for row in OWN
    if not row.quirks.no_laws and not row.factory.traits.get("per_example")
}


@pytest.mark.parametrize(("make", "extra"), MEMBERS.values(), ids=MEMBERS)
def test_a_scan_under_shard_map_takes_a_member_for_each_device(make, extra):
    mesh, tx, given = jax.make_mesh((8,), ("x",), axis_types=(AxisType.Auto,)), make(), extra(0)

    def train(params, gradients):
        def one(carry, _):
            return tx.step(gradients, carry[1], carry[0], **given), None

        return jax.lax.scan(one, (params, tx.init(params)), length=4)[0][0]

    specs = PartitionSpec("x")
    each = {
        "w": jax.ShapeDtypeStruct((24, 2), jnp.float32),
        "b": jax.ShapeDtypeStruct((16,), jnp.float32),
    }
    found = jax.eval_shape(
        jax.shard_map(train, mesh=mesh, in_specs=(specs, specs), out_specs=specs), each, each
    )
    assert jax.tree.map(jnp.shape, found) == jax.tree.map(jnp.shape, each)


@pytest.mark.parametrize(
    "search",
    [
        optax_lite.scale_by_zoom_linesearch(10, initial_guess_strategy="one"),
        optax_lite.scale_by_backtracking_linesearch(10, store_grad=True),
    ],
    ids=["zoom", "backtracking"],
)
def test_each_device_searches_along_its_own_line(search):
    mesh, tx = (
        jax.make_mesh((8,), ("x",), axis_types=(AxisType.Auto,)),
        optax_lite.lbfgs(linesearch=search),
    )
    targets, ones = jnp.linspace(0.1, 30.0, 8)[:, None], jnp.ones((8, 1))

    def train(target, w):
        def loss(w):
            return jnp.sum((w - target) ** 2) + 0.1 * jnp.sum(w**4)

        def one(carry, _):
            value, grad = optax_lite.value_and_grad_from_state(loss)(carry[0], state=carry[1])
            w, state = tx.step(grad, carry[1], carry[0], value=value, grad=grad, value_fn=loss)
            return (w, state), state[-1].info.num_linesearch_steps

        (w, _), tried = jax.lax.scan(one, (w, tx.init(w)), length=4)
        return w, tried[None]

    specs = PartitionSpec("x")
    together = jax.jit(jax.shard_map(train, mesh=mesh, in_specs=specs, out_specs=specs))
    w, tried = together(targets, ones)
    alone, alone_tried = jax.lax.map(lambda pair: train(*pair), (targets, ones))
    np.testing.assert_array_equal(tried, alone_tried[:, 0])
    assert len(np.unique(tried.sum(1))) > 1, "they take different numbers of points"
    assert_close(w, alone, ulps=4 * A_STEP)


def test_counts_stay_those_of_all_devices_under_shard_map():
    mesh, tx = jax.make_mesh((8,), ("x",), axis_types=(AxisType.Auto,)), optax_lite.adamw(0.1)

    def count(params):
        return tx.update(params, tx.init(params), params)[1][0].count

    whole = jax.shard_map(count, mesh=mesh, in_specs=PartitionSpec("x"), out_specs=PartitionSpec())
    assert jax.eval_shape(whole, jax.ShapeDtypeStruct((8,), jnp.float32)).shape == ()


def test_state_is_on_the_device_of_the_params():
    device = jax.devices()[3]
    state = optax_lite.adamw(0.1).init(jax.device_put(values(0), device))
    assert {
        d for leaf in jax.tree.leaves(state[0]._replace(count=None)) for d in leaf.devices()
    } == {device}
