"""L-BFGS directions along real trajectories, compared with the textbook and with its theorems."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lite as ol
from tests.closeness import A_STEP, assert_close
from tests.methods.lbfgs import smallest_curvature_used, trajectory
from tests.nightly import first
from tests.test_optax_parity import outline


def directions(tx, points, gradients):
    state, found = tx.init(points[0]), []
    for w, g in zip(points, gradients, strict=True):
        u, state = tx.update(g, state, w)
        found.append(u)
    return found, state


# Where ⟨s, y⟩ is small beside ‖s‖·‖y‖, what is lost in it is multiplied in the direction: measured
# 2e-14 and 6e-6.
FLOAT64, FLOAT32 = 2e-13, 5e-5


@pytest.mark.parametrize("scale_init_precond", first(1, [True, False]), ids=["scaled", "identity"])
@pytest.mark.parametrize("memory_size", first(1, [3, 1, 25, 2, 10]))
def test_float64_equals_the_textbook(memory_size, scale_init_precond, x64):
    errors, curvatures = trajectory(
        ol.scale_by_lbfgs, np.float64, memory_size, scale_init_precond, seed=1
    )
    assert sum(c < 0 for c in curvatures) > 3 and sum(c > 0 for c in curvatures) > 3
    assert max(errors) < FLOAT64


@pytest.mark.parametrize("memory_size", first(1, [3, 1, 10]))
def test_float32_equals_the_textbook(memory_size):
    assert max(trajectory(ol.scale_by_lbfgs, np.float32, memory_size, True, seed=1)[0]) < FLOAT32


def test_real_leaves_alone_equal_the_textbook(x64):
    assert (
        max(trajectory(ol.scale_by_lbfgs, np.float64, 4, True, complex_=False, seed=3)[0]) < FLOAT64
    )


def test_jitted_equals_the_textbook(x64):
    assert max(trajectory(ol.scale_by_lbfgs, np.float64, 3, True, seed=2, jit=True)[0]) < FLOAT64


def test_the_newest_pair_is_mapped_exactly(x64):
    # The secant equation H·y = s, seen where the old gradient is 0 and so y is the gradient itself.
    rng = np.random.default_rng(0)
    for older in (0, 1, 5):
        ws = [jnp.asarray(rng.normal(size=4)) for _ in range(older + 2)]
        gs = [jnp.asarray(rng.normal(size=4)) for _ in range(older)] + [
            jnp.zeros(4),
            0.5 * (ws[-1] - ws[-2]) + 0.1,
        ]
        assert np.vdot(ws[-1] - ws[-2], gs[-1]) > 0
        found, _ = directions(ol.scale_by_lbfgs(4), ws, gs)
        # Six pairs of random vectors, of which the curvature s·y may be a hundredth of the lengths.
        assert_close(found[-1], ws[-1] - ws[-2], ulps=100 * 6 * A_STEP)


@pytest.mark.parametrize("memory_size", [1, 3, 10])
def test_exact_steps_end_on_a_quadratic_of_n_dimensions_after_n(memory_size, x64):
    # Kolda, O'Leary & Nazareth 1998: L-BFGS with exact line searches is then the method of
    # conjugate gradients.
    n, rng = 6, np.random.default_rng(1)
    basis, _ = np.linalg.qr(rng.normal(size=(n, n)))
    hessian = jnp.asarray((basis * np.logspace(0, 2, n)) @ basis.T)
    tx, w = ol.scale_by_lbfgs(memory_size), jnp.asarray(rng.normal(size=n))
    state, norms = tx.init(w), []
    for _ in range(n + 1):
        g = hessian @ w
        norms.append(float(jnp.linalg.norm(g)))
        d, state = tx.update(g, state, w)
        w = w - (d @ g) / (d @ hessian @ d) * d
    assert norms[-1] < 1e-9 * norms[0] < 1e-3 * norms[-2]


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("memory_size", [1, 4])
def test_every_direction_goes_downhill(memory_size, scaled):
    for seed in range(8):
        rng = np.random.default_rng(seed)
        sizes = 10.0 ** rng.uniform(-6, 6, size=(2, 8))
        ws, gs = (
            jnp.asarray(rng.normal(size=(8, 3)) * size[:, None], jnp.float32) for size in sizes
        )
        found, _ = directions(ol.scale_by_lbfgs(memory_size, scaled), ws, gs)
        for u, g in zip(found, gs, strict=True):
            assert float(jnp.vdot(u.astype(float), g.astype(float))) > 0, f"seed {seed}"


@pytest.mark.nightly
def test_a_pair_that_curves_downwards_makes_optax_go_uphill():
    # f(x) = x⁴/4 - x²/2 from 0.1: the first two points lie where f is concave.
    def f(x):
        return x**4 / 4 - x**2 / 2

    def walk(tx, steps=3):
        x, values, update = jnp.array(0.1), [], jax.jit(tx.update)
        state = tx.init(x)
        for _ in range(steps):
            value, g = jax.value_and_grad(f)(x)
            values.append(float(value))
            u, state = update(g, state, x)
            x = x + u
        return [*values, float(f(x))], x

    ours, x = walk(ol.lbfgs(1.0, linesearch=None), 12)
    assert ours == sorted(ours, reverse=True)
    np.testing.assert_allclose(x, 1.0, rtol=1e-5)
    theirs, x = walk(optax.lbfgs(1.0, linesearch=None), 12)
    assert theirs[2] > theirs[1]
    np.testing.assert_allclose(x, 0.0, atol=1e-5)  # the maximum


@pytest.mark.parametrize("memory_size", [1, 4])
@pytest.mark.nightly
def test_optax_makes_the_same_steps_if_the_function_is_convex(memory_size, x64):
    def loss(p):
        return (
            jnp.sum(jnp.cosh(p["a"] * jnp.arange(1.0, 4.0)))
            + jnp.exp(p["b"] - p["a"][0])
            + p["b"] ** 2
        )

    p = {"a": jnp.array([0.5, -0.3, 0.2]), "b": jnp.array(0.7)}
    txs = [lib.lbfgs(0.5, memory_size, linesearch=None) for lib in (ol, optax)]
    states, updates = [tx.init(p) for tx in txs], [jax.jit(tx.update) for tx in txs]
    assert outline(states[0][0]) == outline(states[1][0])
    for _ in range(8):
        g = jax.grad(loss)(p)
        with jax.numpy_dtype_promotion("standard"):  # optax needs it
            (u, theirs), states = zip(
                *[f(g, s, p) for f, s in zip(updates, states, strict=True)], strict=True
            )
        for k in p:
            # of eight steps, at a condition of about 10
            assert_close(u[k], theirs[k], ulps=10 * 8 * A_STEP, largest=1.0)
        memories = [state[0].weights_memory for state in states]
        # 1 / (s·y), of differences that lose a digit in each of the steps towards the minimum.
        np.testing.assert_allclose(*memories, rtol=1e-9)
        p = ol.apply_updates(p, u)


def test_the_default_has_the_state_of_optax():
    p = {"a": jnp.ones(3), "b": jnp.ones(())}
    assert outline(ol.lbfgs().init(p)) == outline(optax.lbfgs().init(p))
    assert outline(ol.lbfgs(linesearch=None).init(p)[0]) == outline(
        optax.lbfgs(linesearch=None).init(p)[0]
    )


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_low_precision_parameters_have_a_float32_memory(dtype):
    w = jnp.ones(3, dtype)
    tx = ol.scale_by_lbfgs(2)
    state = tx.init(w)
    assert {x.dtype for x in jax.tree.leaves(state)} == {jnp.dtype("float32"), jnp.dtype("int32")}
    for i in range(3):
        u, state = tx.update(w * (3 - i), state, w * (3 - i))
        assert u.dtype == dtype
    np.testing.assert_allclose(state.weights_memory, 1 / 3, rtol=1e-6)  # s = y = -1, three times


def test_the_smallest_curvature_that_has_a_reciprocal_is_used(x64):
    assert smallest_curvature_used(ol.scale_by_lbfgs)


@pytest.mark.nightly
def test_hypergradients_pass_through_the_memory(x64):
    @jax.jit
    def last(rate):
        tx, w = ol.lbfgs(rate, 3, linesearch=None), jnp.array([1.0, -2.0])
        state = tx.init(w)
        for _ in range(4):
            w, state = tx.step(w * jnp.array([1.0, 5.0]), state, w)
        return jnp.sum(w**2)

    slope = jax.grad(last)(0.1)
    np.testing.assert_allclose(slope, (last(0.1 + 1e-5) - last(0.1 - 1e-5)) / 2e-5, rtol=1e-5)
    together, alone = jax.vmap(last)(jnp.array([0.1, 0.2])), jnp.stack([last(0.1), last(0.2)])
    # of the sum of squares at the start
    assert_close(together, alone, ulps=4 * A_STEP, largest=5.0)
