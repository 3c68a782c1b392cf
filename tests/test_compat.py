"""Every name that code written for optax uses is here and gives optax's numbers."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lite as ol

RNG = np.random.default_rng(0)
MODULES = (
    *("assignment", "contrib", "experimental", "losses", "microbatching", "perturbations"),
    *("projections", "schedules", "second_order", "transforms", "tree", "tree_utils"),
)
OF_PYTHON = {"functools", "typing"}  # modules that optax's own happen to have imported


def names(module):
    return {name for name in dir(module) if not name.startswith("_")} - OF_PYTHON


def test_every_public_name_of_optax_is_here():
    assert {name for name in names(optax) if not hasattr(ol, name)} == set()


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_of_a_module_of_optax_is_in_ours(module):
    """Ours is imported as `import optax_lite.contrib`, and is there without that."""
    theirs = getattr(optax, module)
    ours = importlib.import_module(f"optax_lite.{module}")
    assert ours is getattr(ol, module)
    assert {name for name in names(theirs) if not hasattr(ours, name)} == set()


def test_names_that_need_optax_say_so_when_it_is_missing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optax.assignment", None)
    with pytest.raises(
        AttributeError, match=r"assignment\.hungarian_algorithm is optax's own, since"
    ):
        ol.assignment.hungarian_algorithm  # noqa: B018


# --- linear algebra -------------------------------------------------------------------------------


def symmetric(n, dtype=np.float64):
    a = RNG.normal(size=(n, n))
    return np.asarray(a @ a.T / n + 0.1 * np.eye(n), dtype)


def test_power_iteration_finds_the_largest_eigenvalue():
    a = symmetric(6)
    values, vectors = np.linalg.eigh(a)
    with jax.enable_x64(True):
        value, vector = ol.power_iteration(jnp.asarray(a), num_iters=2000, error_tolerance=1e-15)
    np.testing.assert_allclose(value, values[-1], rtol=1e-9)
    np.testing.assert_allclose(np.abs(vector), np.abs(vectors[:, -1]), atol=1e-4)
    start = {"x": jnp.ones(4), "y": jnp.ones(2)}

    def product(v):
        out = jnp.asarray(a, jnp.float32) @ jnp.concatenate([v["x"], v["y"]])
        return {"x": out[:4], "y": out[4:]}

    value, vector = jax.jit(lambda v: ol.power_iteration(product, v0=v))(start)
    np.testing.assert_allclose(value, values[-1], rtol=1e-4)
    theirs = optax.power_iteration(product, v0=start)
    np.testing.assert_allclose(value, theirs[0], rtol=1e-4)
    np.testing.assert_allclose(vector["x"], theirs[1]["x"], atol=2e-2)


@pytest.mark.parametrize("p", [1, 2, 4])
def test_an_inverse_root_is_one(p):
    a = symmetric(5)
    with jax.enable_x64(True):
        found = ol.matrix_inverse_pth_root(jnp.asarray(a), p, ridge_epsilon=0.0)
        root, error = map(np.asarray, found)
    assert error < 1e-9
    np.testing.assert_allclose(np.linalg.matrix_power(root, p) @ a, np.eye(5), atol=1e-9)
    theirs = optax.matrix_inverse_pth_root(jnp.asarray(a, jnp.float32), p)
    ours = ol.matrix_inverse_pth_root(jnp.asarray(a, jnp.float32), p)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("shape", [(8,), (8, 3)])
def test_nonnegative_least_squares(shape):
    a, b = RNG.normal(size=(8, 4)), RNG.normal(size=shape)
    from scipy.optimize import nnls

    columns = [nnls(a, column)[0] for column in b.reshape(8, -1).T]
    expected = np.stack(columns, axis=-1).reshape(4, *shape[1:])
    x = jax.jit(ol.nnls, static_argnums=2)(
        jnp.asarray(a, "float32"), jnp.asarray(b, "float32"), 3000
    )
    np.testing.assert_allclose(x, expected, atol=2e-4)
    theirs = optax.nnls(jnp.asarray(a, "float32"), jnp.asarray(b, "float32"), 3000)
    np.testing.assert_allclose(x, theirs, atol=2e-4)


BAD = {
    "not square": (lambda: ol.power_iteration(jnp.ones((2, 3))), "matrix must be a square matrix"),
    "no start": (lambda: ol.power_iteration(lambda v: v), "for a function, pass v0="),
    "no step": (
        lambda: ol.power_iteration(jnp.eye(2), num_iters=0),
        "num_iters must be an integer",
    ),
    "no root": (lambda: ol.matrix_inverse_pth_root(jnp.eye(2), 0), "p must be an integer"),
    "a vector": (
        lambda: ol.matrix_inverse_pth_root(jnp.ones(2), 2),
        "must be a square matrix, got",
    ),
    "shapes": (lambda: ol.nnls(jnp.ones((2, 3)), jnp.ones(3), 5), r"A of shape \(2, 3\) and b"),
    "no iteration": (lambda: ol.nnls(jnp.eye(2), jnp.ones(2), 0), "iters must be an integer"),
    "a tree": (lambda: ol.safe_root_mean_squares({}, 1.0), "x must be an array, got"),
    "a density": (
        lambda: ol.multi_normal(jnp.zeros(3), 0.0).log_prob(jnp.zeros(2)),
        r"the shape of x, \(2,\), does not end in the shape of the mean, \(3,\)",
    ),
    "units": (
        lambda: ol.transforms.unitwise_clip(jnp.ones(2), jnp.ones(1), jnp.ones(2)),
        "must have the same shape, got",
    ),
    "axes": (
        lambda: ol.transforms.unitwise_norm(jnp.ones((2, 2)), 3),
        "unitwise_norm: axis 3 must",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_argument_is_named(name):
    call, message = BAD[name]
    with pytest.raises((ValueError, TypeError), match=message):
        call()


# --- small functions ------------------------------------------------------------------------------


def test_a_normal_distribution_is_optax_s():
    mean, log_scale = jnp.asarray([0.5, -1.0, 2.0]), jnp.asarray([0.1, -0.3, 0.0])
    ours, theirs = ol.multi_normal(mean, log_scale), optax.multi_normal(mean, log_scale)
    key, x = jax.random.key(3), RNG.normal(size=(5, 3)).astype(np.float32)
    with jax.numpy_rank_promotion("allow"):
        np.testing.assert_array_equal(ours.sample((5,), key), theirs.sample((5,), key))
        density = theirs.log_prob(x)
    squares = ((x - np.asarray(mean)) / np.exp(log_scale)) ** 2
    expected = -np.sum(squares / 2 + np.asarray(log_scale) + np.log(2 * np.pi) / 2, -1)
    np.testing.assert_allclose(ours.log_prob(x), expected, rtol=1e-5)
    np.testing.assert_allclose(ours.log_prob(x), density, rtol=1e-5)
    assert [*map(id, ours.params)] == [id(ours.mean), id(ours.log_scale)]


def test_a_gradient_is_scaled_on_its_way_back_only():
    tree = {"a": jnp.asarray([1.0, 2.0]), "b": jnp.float32(3.0)}

    def loss(tree, scale):
        tree = ol.scale_gradient(tree, scale)
        return jnp.sum(tree["a"] ** 2) * tree["b"]

    for scale in (0.0, -1.0, 0.25):
        value, grads = jax.value_and_grad(loss)(tree, scale)
        assert value == 15.0
        np.testing.assert_allclose(grads["a"], scale * 6 * tree["a"])
        np.testing.assert_allclose(grads["b"], scale * 5)


@pytest.mark.parametrize("x", [np.zeros(4), np.full((2, 3), 0.1), np.array([3.0, -4.0])])
def test_a_safe_root_mean_square_is_optax_s(x):
    x = jnp.asarray(x, jnp.float32)
    for least in (0.0, 0.5):
        np.testing.assert_allclose(
            ol.safe_root_mean_squares(x, least), optax.safe_root_mean_squares(x, least), rtol=1e-6
        )
        assert jnp.isfinite(jax.grad(ol.safe_root_mean_squares)(x, least)).all()


def test_units_are_measured_and_clipped_as_in_optax():
    grad, w = (jnp.asarray(RNG.normal(size=(3, 4)), jnp.float32) for _ in range(2))
    ours = ol.transforms.unitwise_norm(grad)
    np.testing.assert_allclose(ours, optax.transforms.unitwise_norm(grad), rtol=1e-6)
    most = 0.5 * ol.transforms.unitwise_norm(w)
    np.testing.assert_allclose(
        ol.transforms.unitwise_clip(ours, most, grad),
        optax.transforms.unitwise_clip(ours, most, grad),
        rtol=1e-6,
    )


def test_old_names_are_the_new_things():
    assert ol.safe_int32_increment is ol.increment and ol.tree_map_params is ol.tree.map_params
    assert ol.ema_weight is ol.bias_correction_factor
    assert ol.ClipState() == ol.init_empty_state(None) == ol.states.EmptyState()
    assert ol.MultiTransformState is ol.states.PartitionState
    assert ol.InjectHyperparamsState(0, {"learning_rate": 0.1}, ()).hyperparams["learning_rate"]


# --- schedules with a state -----------------------------------------------------------------------


class Halved:
    """Half as much after each update in which `bad` was given as True."""

    def init(self):
        return jnp.float32(1.0)

    def update(self, state, *, bad=False, **extra):
        return jnp.where(bad, state / 2, state)

    def __call__(self, state, **extra):
        return state


@pytest.mark.parametrize("jitted", [False, True])
def test_a_stateful_schedule_follows_extra_arguments_as_in_optax(jitted):
    params = {"w": jnp.ones(3)}
    found = []
    for lib in (ol, optax):
        tx = lib.inject_hyperparams(lib.scale)(step_size=Halved())
        state, seen = tx.init(params), []
        update = jax.jit(tx.update) if jitted else tx.update
        for bad in (False, True, True, False):
            updates, state = update(params, state, params, bad=jnp.asarray(bad))
            seen.append((float(updates["w"][0]), float(state.hyperparams["step_size"])))
        found.append(seen)
    assert found[0] == found[1]


def test_a_wrapped_schedule_counts():
    line = ol.linear_schedule(1.0, 0.0, 4)
    params = {"w": jnp.ones(2)}
    states = []
    for given in (line, ol.schedules.WrappedSchedule(line)):
        tx = ol.inject_hyperparams(ol.sgd)(given)
        state = tx.init(params)
        for _ in range(3):
            _, state = tx.update(params, state)
        states.append(state.hyperparams["learning_rate"])
    assert states[0] == states[1] == 0.5
