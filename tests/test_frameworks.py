"""Inside other people's loops: optax chains, Flax linen and NNX, Equinox, Haiku, NumPyro, published
two-function optimizers, pickle.
"""

import pickle

import chex
import equinox as eqx
import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training.train_state import TrainState

import optax_lite
from tests.closeness import A_STEP, assert_close
from tests.compilations import count_lowerings
from tests.nightly import first

STEPS = 3
X = jnp.asarray(np.random.default_rng(0).normal(size=(8, 3)), jnp.float32)
Y = jnp.sin(X.sum(1, keepdims=True))

# Decay rates are exact in float32: with b2 = 0.999 optax rounds 1 - b2 and b2 apart, which alone
# makes 7e-6 in params.
ADAM = {"b1": 0.875, "b2": 0.984375}
OPTIMIZERS = {
    "clipped sgd": lambda lib: lib.chain(
        lib.clip_by_global_norm(0.5), lib.sgd(0.1, momentum=0.9, nesterov=True)
    ),
    "adamw": lambda lib: lib.adamw(lib.cosine_decay_schedule(1e-2, 10), **ADAM, weight_decay=0.1),
}
as_pure = nnx.as_pure if hasattr(nnx, "as_pure") else nnx.pure  # its name in Flax 0.12.0
over_optimizers = pytest.mark.parametrize("make", first(1, OPTIMIZERS.values()), ids=OPTIMIZERS)


def assert_same_run(ours, theirs, tolerance=2e-6):
    """Every leaf equal, relative to its largest entry."""
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max())


PARAMS = {"w": X[:3] * 0.3, "b": jnp.zeros(3), "out": [X[3:4].T, jnp.zeros(1)]}


@jax.jit
@jax.grad
def gradient(params):
    def predict(x):
        return jnp.tanh(x @ params["w"] + params["b"]) @ params["out"][0] + params["out"][1]

    return jnp.mean((jax.vmap(predict)(X) - Y) ** 2)


def as_optax_does(run, *args):
    """Run with JAX's own promotion: optax mixes dtypes."""
    with jax.numpy_dtype_promotion("standard"):
        return run(*args)


def as_users_do(run, *cases):
    """Run each of the cases with JAX's own promotion, for frameworks that mix dtypes."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return [run(case) for case in cases]


def train(lib, tx, jit=lambda step: step):
    """The loop of the optax tutorial; without jit around the step unless asked for: compiling takes
    the time here.
    """

    @jit
    def step(params, state):
        updates, state = tx.update(gradient(params), state, params)
        return lib.apply_updates(params, updates), state

    def run(params):
        state = tx.init(params)
        for _ in range(STEPS):
            params, state = step(params, state)
        return params, state

    return as_optax_does(run, PARAMS) if lib is optax else run(PARAMS)


# --- optax ----------------------------------------------------------------------------------------


@pytest.mark.nightly
@over_optimizers
def test_loop_of_the_optax_tutorial(make):
    assert_same_run(train(optax_lite, make(optax_lite), jax.jit), train(optax, make(optax)))


MIXED = {
    "ours in optax.chain": lambda lib: optax.chain(
        lib.clip_by_global_norm(0.5), optax.trace(0.9), lib.adamw(1e-2, **ADAM)
    ),
    "ours in optax.named_chain": lambda lib: optax.named_chain(
        ("a", lib.trace(0.9)), ("b", lib.scale(-0.1))
    ),
    "ours in optax.masked": lambda lib: optax.masked(
        lib.adam(1e-2, **ADAM), {"w": True, "b": False, "out": True}
    ),
    "ours in optax.MultiSteps": lambda lib: optax.MultiSteps(lib.adam(1e-2, **ADAM), 2),
    "ours in optax.apply_if_finite": lambda lib: optax.apply_if_finite(lib.adam(1e-2, **ADAM), 2),
    "ours in optax.partition": lambda lib: optax.partition(
        {"one": lib.adam(1e-2, **ADAM), "two": lib.sgd(0.1, 0.9)},
        {"w": "one", "b": "two", "out": "two"},
    ),
}


@pytest.mark.parametrize("make", first(1, MIXED.values()), ids=MIXED)
def test_our_transformations_inside_those_of_optax(make):
    assert_same_run(train(optax, make(optax_lite)), train(optax, make(optax)))


def test_transformations_of_optax_inside_ours():
    chained = [
        lib.chain(optax.adaptive_grad_clip(0.1), optax.lion(1e-2, b1=0.8))
        for lib in (optax_lite, optax)
    ]
    assert_same_run(*(train(lib, tx) for lib, tx in zip((optax_lite, optax), chained, strict=True)))


def test_every_composition_of_ours_takes_transformations_of_optax():
    labels = {"w": "one", "b": "two", "out": "two"}
    compositions = [
        lambda lib: lib.named_chain(("clip", optax.clip(0.1)), ("lion", optax.lion(1e-2))),
        lambda lib: lib.masked(optax.lion(1e-2), {"w": True, "b": False, "out": True}),
        lambda lib: lib.partition({"one": optax.lion(1e-2), "two": optax.sgd(0.1, 0.9)}, labels),
    ]
    for compose in compositions:
        assert_same_run(train(optax_lite, compose(optax_lite)), train(optax, compose(optax)))


def test_extra_arguments_reach_transformations_of_optax():
    tx = optax_lite.chain(optax.scale_by_polyak(f_min=0.0), optax_lite.scale(-1.0))
    theirs = optax.polyak_sgd()
    grads = gradient(PARAMS)
    assert_same_run(*(t.update(grads, t.init(PARAMS), PARAMS, value=0.5)[0] for t in (tx, theirs)))


# --- published code: two plain functions ----------------------------------------------------------


def scale_by_count(factory):
    """A transformation as third parties write it."""

    def init_fn(params):
        del params
        return optax_lite.ScaleByScheduleState(jnp.zeros([], jnp.int32))

    def update_fn(updates, state, params=None, **extra):
        factor = extra.get("factor", 1.0) / (state.count + 1).astype(float)
        updates = jax.tree.map(lambda g: -0.1 * factor * g, updates)
        return updates, optax_lite.ScaleByScheduleState(state.count + 1)

    return factory(init_fn, update_fn)


PAIRS = {
    "positional": optax_lite.GradientTransformation,
    "keywords": lambda i, u: optax_lite.GradientTransformation(init=i, update=u),
    "ExtraArgs": optax_lite.GradientTransformationExtraArgs,
    "with_extra_args_support": lambda i, u: optax_lite.with_extra_args_support(
        optax_lite.GradientTransformation(i, u)
    ),
}


@pytest.mark.parametrize("factory", PAIRS.values(), ids=PAIRS)
def test_pair_of_plain_functions_works_as_in_optax(factory):
    theirs, tx = scale_by_count(optax.GradientTransformationExtraArgs), scale_by_count(factory)
    assert_same_run(train(optax_lite, tx), train(optax, theirs))
    init, update = tx
    grads, state = gradient(PARAMS), init(PARAMS)
    assert_same_run(
        update(grads, state, PARAMS, factor=3.0), theirs.update(grads, state, PARAMS, factor=3.0)
    )


def test_pair_of_plain_functions_chains_here_and_in_optax():
    tx = scale_by_count(optax_lite.GradientTransformation)
    expected = train(
        optax, optax.chain(scale_by_count(optax.GradientTransformation), optax.trace(0.9))
    )
    assert_same_run(train(optax_lite, optax_lite.chain(tx, optax_lite.trace(0.9))), expected)
    assert_same_run(train(optax, optax.chain(tx, optax.trace(0.9))), expected)


def test_update_function_without_params_and_extra_arguments_is_given_none():
    tx = optax_lite.GradientTransformation(
        lambda params: optax_lite.EmptyState(), lambda u, state: (u, state)
    )
    updates, _ = tx.update(PARAMS, tx.init(PARAMS), PARAMS, value=1.0)
    chex.assert_trees_all_equal(updates, PARAMS)


def decay(u, p):
    return -0.1 * u - 0.01 * p


@pytest.mark.parametrize(
    "make",
    [
        lambda lib: lib.stateless(lambda u, p: jax.tree.map(decay, u, p)),
        lambda lib: lib.stateless_with_tree_map(decay),
    ],
    ids=["stateless", "stateless_with_tree_map"],
)
def test_stateless_is_that_of_optax(make):
    assert_same_run(train(optax_lite, make(optax_lite)), train(optax, make(optax)))


# --- Flax -----------------------------------------------------------------------------------------


class Linen(flax.linen.Module):
    @flax.linen.compact
    def __call__(self, x):
        return flax.linen.Dense(1)(flax.linen.tanh(flax.linen.Dense(4)(x)))


@jax.jit
def linen_step(state):
    grads = jax.grad(lambda p: jnp.mean((state.apply_fn({"params": p}, X) - Y) ** 2))(state.params)
    return state.apply_gradients(grads=grads)


LINEN = Linen()


def linen_state(tx):
    return TrainState.create(
        apply_fn=LINEN.apply, params=LINEN.init(jax.random.key(0), X)["params"], tx=tx
    )


@over_optimizers
def test_flax_train_state(make):
    def run(tx):
        state = linen_state(tx)
        for _ in range(STEPS):
            state = linen_step(state)
        return state.params, state.opt_state

    assert_same_run(run(make(optax_lite)), as_optax_does(run, make(optax)))


@over_optimizers
def test_flax_train_state_built_again_does_not_compile_again(make):
    linen_step(linen_state(make(optax_lite)))
    with count_lowerings() as compilations:
        linen_step(linen_state(make(optax_lite)))
    assert compilations() == 0


class Net(nnx.Module):
    def __init__(self, rngs):
        self.first, self.second = nnx.Linear(3, 4, rngs=rngs), nnx.Linear(4, 1, rngs=rngs)

    def __call__(self, x):
        return self.second(jnp.tanh(self.first(x)))


@nnx.jit
def nnx_step(model, optimizer):
    grads = nnx.grad(lambda m: jnp.mean((m(X) - Y) ** 2))(model)
    optimizer.update(model, grads)


@over_optimizers
def test_flax_nnx_optimizer(make):
    def run(tx):
        model = Net(nnx.Rngs(0))
        optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
        for _ in range(STEPS):
            nnx_step(model, optimizer)
        return nnx.to_pure_dict(nnx.state(model, nnx.Param)), jax.tree.leaves(nnx.state(optimizer))

    assert_same_run(run(make(optax_lite)), as_optax_does(run, make(optax)))


class Noisy(nnx.Module):
    """With what is no parameter: statistics, and a key for dropout."""

    def __init__(self, rngs):
        self.first, self.second = nnx.Linear(3, 4, rngs=rngs), nnx.Linear(4, 1, rngs=rngs)
        self.norm, self.drop = nnx.BatchNorm(4, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.second(self.drop(jnp.tanh(self.norm(self.first(x)))))


def test_a_split_nnx_module_trains_as_by_its_own_optimizer():
    model, tx = Noisy(nnx.Rngs(0)), optax_lite.adamw(0.1)
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    graphdef, params, rest = nnx.split(Noisy(nnx.Rngs(0)), nnx.Param, ...)

    def loss_fn(params, rest, x, y):
        model = nnx.merge(graphdef, params, rest, copy=True)
        return jnp.mean((model(x) - y) ** 2), nnx.state(model, nnx.Not(nnx.Param))

    params, history = optax_lite.fit(loss_fn, params, (X, Y), tx, steps=STEPS, aux=rest)
    for _ in range(STEPS):
        nnx_step(model, optimizer)
    expected = nnx.split(model, nnx.Param, ...)[1:]
    assert jax.tree.structure((params, history.aux)) == jax.tree.structure(expected)
    pairs = zip(jax.tree.leaves((params, history.aux)), jax.tree.leaves(expected), strict=True)
    for found, other in pairs:
        if jnp.issubdtype(other.dtype, jnp.floating):
            assert_close(found, other, ulps=STEPS * 4 * A_STEP, largest=1.0)
        else:  # keys and their counts
            assert (found == other).all()


def test_a_pattern_without_a_match_suggests_paths_as_patterns_name_them():
    params = nnx.state(Net(nnx.Rngs(0)), nnx.Param)
    for tx in (
        optax_lite.adamw(0.1, mask="kernl"),
        optax_lite.groups(optax_lite.sgd(0.1), {"kernl": "freeze"}),
    ):
        with pytest.raises(ValueError, match=r"nearest paths: first/kernel, second/kernel$"):
            tx.init(params)


def test_a_rate_in_the_state_of_an_nnx_optimizer_does_not_compile_again():
    """As docs/recipes.md says; one in the optimizer itself does, for NNX keeps that static."""
    traced = []

    @nnx.jit
    def step(model, optimizer):
        traced.append(None)
        grads = nnx.grad(lambda m: jnp.mean((m(X) - Y) ** 2))(model)
        optimizer.update(model, grads)

    def moved_by(tx, set_rate):
        model = Net(nnx.Rngs(0))
        optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
        traced.clear()
        for rate in (0.1, 0.2, 0.4):
            set_rate(optimizer, rate)
            step(model, optimizer)
        return model.first.kernel[...]

    def replaced(optimizer, rate):
        optimizer.tx = optimizer.tx.replace(learning_rate=rate)

    def written(optimizer, rate):
        optimizer.opt_state.hyperparams["learning_rate"][...] = rate

    expected = moved_by(optax_lite.sgd(0.1), replaced)
    assert len(traced) == 3
    found = moved_by(optax_lite.inject_hyperparams(optax_lite.sgd(0.1)), written)
    assert len(traced) == 1
    assert_close(found, expected, ulps=3 * A_STEP)


def test_python_floats_of_an_equinox_module_are_trained_where_they_have_a_gradient():
    class Scaled(eqx.Module):
        w: jax.Array
        scale: float = 2.0

    model, tx = Scaled(jnp.ones(3)), optax_lite.sgd(0.1)

    def loss(model):
        return model.scale * jnp.sum(model.w**2)

    trained, _, _ = optax_lite.make_step(loss, donate=False)(tx, model, tx.init(model))
    assert_close(trained.scale, jnp.float32(2.0 - 0.1 * 3), ulps=A_STEP)
    kept, _ = tx.step(eqx.filter_grad(loss)(model), tx.init(model), model)
    assert type(kept.scale) is float and kept.scale == 2.0
    params, static = eqx.partition(model, eqx.is_inexact_array)
    step = optax_lite.make_step(lambda params: loss(eqx.combine(params, static)), donate=False)
    assert step(tx, params, tx.init(params))[0].scale is None


def test_what_nnx_does_not_train_is_refused_by_name():
    model, tx = Noisy(nnx.Rngs(0)), optax_lite.adam(0.1)
    message = (
        r"params leaf 'drop/rngs/count' is a Flax NNX RngCount, which gradients do not "
        r"train.*\n.*nnx.split.*\n"
    )
    for call in (
        lambda: tx.init(model),
        lambda: tx.init(nnx.state(model)),
        lambda: optax_lite.make_step(lambda p: 0.0)(tx, model, tx.init({})),
        lambda: optax_lite.fit(lambda p, x: 0.0, nnx.state(model), X, tx, steps=1),
    ):
        with pytest.raises(ValueError, match=message):
            call()


# --- Equinox --------------------------------------------------------------------------------------


class Module(eqx.Module):
    """Leaves of every kind: arrays, functions, an integer array, a string, None."""

    mlp: eqx.nn.MLP
    scale: jax.Array
    steps: jax.Array
    activation: object
    name: str
    nothing: None = None

    def __call__(self, x):
        return self.scale * self.activation(self.mlp(x))


def module():
    return Module(
        eqx.nn.MLP(3, 1, 4, 1, key=jax.random.key(0)), jnp.ones(1), jnp.arange(2), jnp.tanh, "net"
    )


@eqx.filter_grad
def module_gradient(model):
    return jnp.mean((jax.vmap(model)(X) - Y) ** 2)


def equinox_run(tx, advance):
    model = module()
    state = tx.init(eqx.filter(model, eqx.is_inexact_array))
    for _ in range(STEPS):
        model, state = advance(tx, model, state)
    return model, state


def equinox_tutorial(tx, model, state):
    updates, state = tx.update(
        module_gradient(model), state, eqx.filter(model, eqx.is_inexact_array)
    )
    return eqx.apply_updates(model, updates), state


def whole_module(apply_updates):
    def advance(tx, model, state):
        updates, state = tx.update(module_gradient(model), state, model)
        return apply_updates(model, updates), state

    return advance


ADVANCES = {
    "as in its tutorial": equinox_tutorial,
    "whole module": whole_module(eqx.apply_updates),
    "whole module, optax_lite.apply_updates": whole_module(optax_lite.apply_updates),
    "whole module, tx.step": lambda tx, model, state: tx.step(module_gradient(model), state, model),
}


@pytest.fixture(scope="module")
def equinox_reference():
    run = eqx.filter_jit(equinox_tutorial)
    return {name: as_optax_does(equinox_run, make(optax), run) for name, make in OPTIMIZERS.items()}


@pytest.mark.parametrize("name", first(1, OPTIMIZERS))
@pytest.mark.parametrize("advance", first(2, ADVANCES.values()), ids=ADVANCES)
def test_equinox_module(advance, name, equinox_reference):
    tx = OPTIMIZERS[name](optax_lite)
    # One runs eagerly, the other passes through filter_jit as an argument.
    model, state = equinox_run(tx, advance if name == "clipped sgd" else eqx.filter_jit(advance))
    theirs, their_state = equinox_reference[name]
    assert_same_run(
        (eqx.filter(model, eqx.is_array), state), (eqx.filter(theirs, eqx.is_array), their_state)
    )
    assert model.activation is jnp.tanh and model.name == "net" and model.nothing is None
    chex.assert_trees_all_equal(model.steps, jnp.arange(2))
    assert jax.tree.structure(model) == jax.tree.structure(module())


def test_functions_and_flags_among_the_extras_drop_what_has_no_gradient_too():
    model = {
        "w": jnp.array([1.0, 2.0]),
        "steps": jnp.arange(2),
        "activation": jnp.tanh,
        "name": "net",
    }
    grads = {"w": jnp.ones(2), "steps": None, "activation": None, "name": None}
    tx = optax_lite.adamw(1e-2)
    state = tx.init(eqx.filter(model, eqx.is_inexact_array))

    def value_fn(model):  # of the whole, its function too
        return jnp.sum(model["activation"](model["w"])) + model["steps"][1].astype(jnp.float32)

    expected = tx.step(grads, state, model)
    assert expected[0]["activation"] is jnp.tanh
    for extra in ({"is_last": True}, {"value_fn": value_fn}):
        assert_same_run(
            *(
                eqx.filter(x, eqx.is_array)
                for x in (tx.step(grads, state, model, **extra), expected)
            )
        )

    def update(updates, state, params, *, value_fn, grad_fn):
        assert (
            jax.tree.structure(grad_fn(params))
            == jax.tree.structure(params)
            == jax.tree.structure(grads)
        )
        return updates, value_fn(params)

    looking = optax_lite.GradientTransformation(lambda params: jnp.zeros(()), update)
    _, value = looking.update(
        grads, jnp.zeros(()), model, value_fn=value_fn, grad_fn=eqx.filter_grad(value_fn)
    )
    assert value == value_fn(model)


@over_optimizers
def test_equinox_state_of_a_whole_module_is_that_of_its_arrays(make):
    tx = make(optax_lite)
    chex.assert_trees_all_equal(
        tx.init(module()), tx.init(eqx.filter(module(), eqx.is_inexact_array))
    )


def test_arrays_as_hyperparameters_pass_filter_jit_without_a_compile_per_rate():
    step = eqx.filter_jit(ADVANCES["whole module, tx.step"])
    made = [jax.tree.map(jnp.asarray, optax_lite.adamw(rate)) for rate in (0.1, 0.2, 0.3)]
    state = made[0].init(module())
    step(made[0], module(), state)
    with count_lowerings() as compilations:
        models = [step(tx, module(), state)[0] for tx in made]
    assert compilations() == 0
    assert len({float(model.scale[0]) for model in models}) == 3


# --- Haiku ----------------------------------------------------------------------------------------


@over_optimizers
def test_haiku_transform(make):
    hk = pytest.importorskip("haiku", reason="dm-haiku comes with the extra test")
    net = hk.transform_with_state(
        lambda x: hk.nets.MLP([4, 1])(hk.BatchNorm(True, True, 0.9)(x, True))
    )

    def loss_fn(params, averages):
        predicted, averages = net.apply(params, averages, None, X)
        return jnp.mean((predicted - Y) ** 2), averages

    def run(lib):
        tx = make(lib)
        params, averages = net.init(jax.random.key(0), X)
        state, losses = tx.init(params), []

        @jax.jit
        def step(params, averages, state):
            (loss, averages), grads = jax.value_and_grad(loss_fn, has_aux=True)(params, averages)
            updates, state = tx.update(grads, state, params)
            return lib.apply_updates(params, updates), averages, state, loss

        for _ in range(STEPS):
            params, averages, state, loss = step(params, averages, state)
            losses.append(loss)
        return losses, params, averages, state

    assert_same_run(*as_users_do(run, optax_lite, optax))


# --- NumPyro --------------------------------------------------------------------------------------

SVI_OPTIMIZERS = OPTIMIZERS | {
    "plateau": lambda lib: lib.chain(
        lib.adam(0.1, **ADAM), lib.contrib.reduce_on_plateau(patience=1, cooldown=1)
    )
}


@pytest.mark.parametrize("make", first(1, SVI_OPTIMIZERS.values()), ids=SVI_OPTIMIZERS)
def test_numpyro_svi(make):
    numpyro = pytest.importorskip("numpyro", reason="it comes with the extra test")
    from numpyro.infer import SVI, Trace_ELBO
    from numpyro.infer.autoguide import AutoNormal

    def model(x):
        mean = numpyro.sample("mean", numpyro.distributions.Normal(0.0, 3.0))
        numpyro.sample("x", numpyro.distributions.Normal(mean, 1.0), obs=x)

    def run(tx):
        svi = SVI(model, AutoNormal(model), tx, Trace_ELBO())
        found = svi.run(jax.random.key(0), 10, X[:, 0] + 2.0, progress_bar=False)
        return found.losses, found.params

    ours = make(optax_lite)
    found, converted, expected = as_users_do(run, ours, optax_lite.to_optax(ours), make(optax))
    assert_close(found, converted, ulps=0)
    assert_same_run(found, expected, tolerance=1e-5)


# --- checkpoints ----------------------------------------------------------------------------------

CHECKPOINTS = {
    "pickle": lambda state, fresh: pickle.loads(pickle.dumps(state)),
    "leaves alone": lambda state, fresh: jax.tree.unflatten(
        jax.tree.structure(fresh), [np.asarray(leaf) for leaf in jax.tree.leaves(state)]
    ),
    "leaves by path": lambda state, fresh: jax.tree_util.tree_map_with_path(
        lambda path, _: dict(jax.tree_util.tree_leaves_with_path(state))[path], fresh
    ),
}


@pytest.mark.parametrize("restore", CHECKPOINTS.values(), ids=CHECKPOINTS)
@over_optimizers
def test_training_goes_on_bit_for_bit_after_a_checkpoint(make, restore):
    tx = make(optax_lite)
    step = jax.jit(lambda params, state: tx.step(gradient(params), state, params))
    halfway = step(*step(PARAMS, tx.init(PARAMS)))
    restored = (
        pickle.loads(pickle.dumps(halfway[0])),
        restore(halfway[1], make(optax_lite).init(PARAMS)),
    )
    chex.assert_trees_all_equal(restored, halfway)
    chex.assert_trees_all_equal(step(*restored), step(*halfway))


@over_optimizers
def test_checkpoint_of_optax_goes_on_here_by_its_leaves(make):
    params, state = train(optax, make(optax))
    ours = jax.tree.unflatten(
        jax.tree.structure(make(optax_lite).init(params)), jax.tree.leaves(state)
    )
    grads = gradient(params)
    new = make(optax_lite).update(grads, ours, params)
    assert_same_run(new, as_optax_does(make(optax).update, grads, state, params))


def test_the_state_of_an_nnx_optimizer_is_carried_into_a_changed_one():
    model = Net(nnx.Rngs(0))
    optimizer = nnx.Optimizer(
        model, optax_lite.groups(optax_lite.adamw(1e-2), {"first": "freeze"}), wrt=nnx.Param
    )
    for _ in range(3):
        nnx_step(model, optimizer)
    variables, tx = nnx.state(model, nnx.Param), optax_lite.adamw(1e-3)
    for state, params in (
        (optimizer.opt_state, variables),
        (as_pure(optimizer.opt_state), as_pure(variables)),
    ):
        new, report = optax_lite.transfer(state, tx, params)
        assert set(report.kept) >= {"0/count", "0/mu/second/kernel", "0/nu/second/bias"}
        assert "0/mu/first/kernel" in report.new and not report.dropped
        assert int(jax.tree.leaves(new[0].count)[0]) == 3
        tx.update(params, new, params)


def test_the_average_is_read_from_the_state_of_an_nnx_optimizer():
    """Which keeps it in variables of another class than the params'."""
    model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    tx = optax_lite.average_params(optax_lite.adam(0.1), decay=0.5)
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    grads = nnx.grad(lambda m: jnp.sum(m(jnp.ones((1, 2))) ** 2))(model)
    optimizer.update(model, grads)
    params = nnx.state(model, nnx.Param)
    found = optax_lite.eval_params(tx, optimizer.opt_state, params)
    assert jax.tree.structure(found) == jax.tree.structure(params)
    pure = optax_lite.eval_params(tx, as_pure(optimizer.opt_state), as_pure(params))
    np.testing.assert_array_equal(found["kernel"][...], pure["kernel"])


# --- what is read of the state of an nnx.Optimizer ------------------------------------------------


def test_averages_and_metrics_are_read_where_groups_leave_leaves_to_each_other():
    model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    rules = {"bias": {"weight_decay": 0.0}}
    tx = optax_lite.with_metrics(
        optax_lite.average_params(optax_lite.groups(optax_lite.adamw(1e-3), rules), decay=0.9)
    )
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    grads = nnx.grad(lambda model: jnp.mean(model(jnp.ones((2, 3))) ** 2))(model)
    optimizer.update(model, grads)
    params = nnx.state(model, nnx.Param)
    average = optax_lite.eval_params(tx, optimizer.opt_state, params)
    assert_close(nnx.to_pure_dict(average), nnx.to_pure_dict(params), ulps=A_STEP)  # of one step
    metrics = optax_lite.read_metrics(optimizer.opt_state)
    assert (
        f"{metrics['grad_norm']:.1f}"
        == f"{float(optax_lite.global_norm(nnx.to_pure_dict(grads))):.1f}"
    )
    with pytest.raises(ValueError, match=r"write nnx.state\(model, nnx.Param\)"):
        optax_lite.eval_params(tx, optimizer.opt_state, model)
