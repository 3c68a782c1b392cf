"""Whole minimizations: beside scipy, from hostile starting points, with other transformations,
compiled once.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optax_lite as ol
from tests.closeness import A_STEP, assert_close
from tests.compilations import count_lowerings
from tests.nightly import first


def valley(x):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def beale(x):
    a, b = x
    return (1.5 - a + a * b) ** 2 + (2.25 - a + a * b**2) ** 2 + (2.625 - a + a * b**3) ** 2


def logistic(w, data, ridge=0.01):
    return jnp.mean(jnp.logaddexp(0.0, -data["y"] * (data["x"] @ w))) + ridge * jnp.sum(w**2)


def bowl(x, centre=3.0):
    return jnp.sum((x - centre) ** 2 * jnp.arange(1, 1 + x.size, dtype=x.dtype))


def labelled(seed=0, n=200, size=8, dtype=None):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, size)) * np.logspace(-1, 1, size)
    y = np.sign(x @ rng.normal(size=size) + rng.normal(size=n))
    return {"x": jnp.asarray(x, dtype), "y": jnp.asarray(y, dtype)}


PROBLEMS = {
    "valley of 2": (valley, lambda: jnp.array([-1.2, 1.0]), lambda: ()),
    "valley of 10": (valley, lambda: jnp.linspace(-1.0, 1.0, 10), lambda: ()),
    "Beale": (beale, lambda: jnp.array([1.0, 1.0]), lambda: ()),
    "logistic": (logistic, lambda: jnp.zeros(8), lambda: (labelled(),)),
}


@pytest.mark.parametrize("name", first(1, PROBLEMS))
def test_finds_what_scipy_finds_in_about_as_many_steps(name, x64):
    import scipy.optimize  # half a second, which only this test should wait for

    fn, start, args = PROBLEMS[name]
    x0, args = start(), args()
    found = ol.minimize(fn, x0, args=args, tol=1e-7)
    value_and_grad = jax.jit(jax.value_and_grad(fn))
    options = {"gtol": 1e-7, "ftol": 0.0, "maxcor": 10}
    expected = scipy.optimize.minimize(
        lambda x: tuple(map(np.asarray, value_and_grad(x, *args))),
        x0,
        jac=True,
        method="L-BFGS-B",
        options=options,
    )
    np.testing.assert_allclose(found.x, expected.x, atol=1e-5)
    assert int(found.steps) <= 1.3 * expected.nit + 3
    assert bool(found.converged) and float(found.grad_norm) <= 1e-7
    # Where value and gradient vanish they are what is left of terms of the size of those at the
    # start.
    at_start, slope = fn(x0, *args), jnp.linalg.norm(jax.grad(fn)(x0, *args))
    assert_close(found.value, fn(found.x, *args), ulps=2 * A_STEP + 200, largest=float(at_start))
    grad_norm = jnp.linalg.norm(jax.grad(fn)(found.x, *args))
    assert_close(found.grad_norm, grad_norm, ulps=2 * A_STEP + 200, largest=float(slope))


@pytest.mark.parametrize("name", first(2, PROBLEMS))
def test_float32_comes_as_close_as_float32_can(name):
    fn, start, args = PROBLEMS[name]
    found = ol.minimize(fn, start(), args=args(), tol=1e-3)
    assert bool(found.converged) and int(found.steps) < 100
    out_of_reach = ol.minimize(fn, start(), args=args(), tol=1e-12)
    assert float(out_of_reach.grad_norm) <= float(found.grad_norm)


def test_a_tolerance_out_of_reach_ends_with_converged_false():
    found = ol.minimize(logistic, jnp.zeros(8), args=(labelled(),), tol=0.0)
    assert not found.converged and float(found.grad_norm) < 1e-5


def test_it_ends_where_three_updates_in_a_row_moved_nothing():
    # float32 has steps of 64 there
    found = ol.minimize(jnp.sum, jnp.full(8, 1e9), ol.sgd(1e-3), tol=0.0)
    assert not found.converged and int(found.steps) == 3


TRANSFORMATIONS = {
    "adam": ol.adam(0.1),
    "adam, decaying": ol.adam(ol.exponential_decay(0.3, 100, 0.5)),
    "sgd": ol.sgd(0.1),
    "momentum": ol.sgd(0.03, 0.9, nesterov=True),
    "backtracking": ol.chain(ol.sgd(1.0), ol.scale_by_backtracking_linesearch(30)),
    "backtracking, gradient": ol.chain(
        ol.sgd(1.0), ol.scale_by_backtracking_linesearch(30, store_grad=True)
    ),
    "zoom": ol.chain(ol.sgd(1.0), ol.scale_by_zoom_linesearch(20)),
    "zoom after adam": ol.chain(ol.adam(0.1), ol.scale_by_zoom_linesearch(20)),
    "two searches": ol.chain(ol.lbfgs(), ol.scale_by_backtracking_linesearch(5)),
    "lbfgs without a search": ol.lbfgs(1.0, linesearch=None),
    "lbfgs and backtracking": ol.lbfgs(
        linesearch=ol.scale_by_backtracking_linesearch(20, store_grad=True)
    ),
    "named": ol.named_chain(
        ("direction", ol.scale_by_lbfgs()), ("search", ol.chain(ol.scale(-1.0), ol.identity()))
    ),
}


@pytest.mark.parametrize("name", first(6, TRANSFORMATIONS))
def test_any_transformation_minimizes(name):
    found = ol.minimize(
        bowl, jnp.array([1.0, -1.0]), TRANSFORMATIONS[name], tol=1e-4, max_steps=2000
    )
    assert bool(found.converged), found
    np.testing.assert_allclose(found.x, 3.0, atol=1e-4)
    np.testing.assert_allclose(found.value, bowl(found.x), atol=1e-6)
    first = TRANSFORMATIONS[name].init(found.x)
    chex.assert_trees_all_equal_shapes_and_dtypes(found.state, first)


def test_the_loop_is_that_of_a_user():
    tx, x = ol.adam(0.1), jnp.array([1.0, -1.0])
    found = ol.minimize(bowl, x, tx, tol=0.0, max_steps=10)
    state = tx.init(x)
    for _ in range(10):
        x, state = tx.step(jax.grad(bowl)(x), state, x)
    assert int(found.steps) == 10 and not found.converged
    assert_close((found.x, found.state), (x, state), ulps=10 * A_STEP)


def test_the_function_is_evaluated_by_the_search_alone():
    calls = []

    def counted(x):
        calls.append(1)
        return bowl(x)

    kept = ol.chain(ol.sgd(0.1), ol.scale_by_zoom_linesearch(20))
    fresh = ol.chain(ol.sgd(0.1), ol.scale_by_backtracking_linesearch(20))
    with jax.disable_jit():
        for tx, expected in ((kept, 1 + 2), (fresh, 1 + 2 * 2)):  # one point tried a step
            calls.clear()
            ol.minimize(counted, jnp.array([1.0]), tx, max_steps=2)
            assert len(calls) == expected


@pytest.mark.nightly
def test_starting_points_under_vmap_equal_a_loop(x64):
    points = jnp.asarray(np.random.default_rng(0).uniform(-2, 2, size=(6, 2)))
    ended = jax.vmap(lambda x: ol.minimize(valley, x)._replace(state=None))(points)
    assert ended.converged.all() and len(set(ended.steps.tolist())) > 1
    # From one step to the next rounding grows, so that the numbers are compared after ten of them.
    together = jax.vmap(lambda x: ol.minimize(valley, x, max_steps=10)._replace(state=None))(points)
    for i, x in enumerate(points):
        alone = ol.minimize(valley, x, max_steps=10)._replace(state=None)
        assert int(alone.steps) == int(together.steps[i])
        here = jax.tree.map(lambda leaf, i=i: leaf[i], together)
        np.testing.assert_allclose(here.x, alone.x, rtol=0, atol=1e-8)
        np.testing.assert_allclose(here.value, alone.value, rtol=0, atol=1e-8 * valley(x))


@pytest.mark.nightly
def test_problems_rates_and_tolerances_under_vmap():
    centres = jnp.array([[1.0, 2.0], [3.0, -4.0]])
    found = jax.vmap(lambda c: ol.minimize(bowl, jnp.zeros(2), args=(c,), tol=1e-4))(centres)
    np.testing.assert_allclose(found.x, centres, atol=1e-4)
    by_rate = jax.vmap(lambda rate: ol.minimize(bowl, jnp.zeros(2), ol.sgd(rate), tol=1e-2))(
        jnp.array([0.05, 0.2])
    )
    assert by_rate.converged.all() and by_rate.steps[0] > by_rate.steps[1]
    by_tol = jax.vmap(lambda tol: ol.minimize(bowl, jnp.zeros(2), ol.sgd(0.1), tol=tol))(
        jnp.array([1.0, 1e-3])
    )
    assert by_tol.steps[0] < by_tol.steps[1] and (by_tol.grad_norm <= jnp.array([1.0, 1e-3])).all()


def test_parameters_and_arguments_are_trees():
    def fn(p, data, scale):
        residual = data["x"] @ p["w"] + p["b"] - data["y"]
        return scale[0] * jnp.mean(residual**2) + scale[1] * p["layers"][0] ** 2

    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 3))
    y = x @ [1.0, -2.0, 0.5] + 0.7
    data = {"x": jnp.asarray(x, jnp.float32), "y": jnp.asarray(y, jnp.float32)}
    x0 = {"w": np.zeros(3, np.float32), "b": 0.0, "layers": [1.0, None]}
    found = ol.minimize(fn, x0, args=[data, (1.0, 2.0)], tol=1e-5)
    assert bool(found.converged)
    np.testing.assert_allclose(found.x["w"], [1.0, -2.0, 0.5], atol=1e-4)
    np.testing.assert_allclose([found.x["b"], found.x["layers"][0]], [0.7, 0.0], atol=1e-4)
    assert found.x["layers"][1] is None


@pytest.mark.parametrize("x0", [1.0, np.float32(1.0), jnp.ones(()), [1.0], (), {}], ids=repr)
def test_starting_points_of_any_kind(x0):
    def fn(x):
        return sum((jnp.sum((leaf - 3) ** 2) for leaf in jax.tree.leaves(x)), start=jnp.zeros(()))

    found = ol.minimize(fn, x0)
    assert bool(found.converged)
    assert jax.tree.structure(found.x) == jax.tree.structure(x0)
    assert all(float(leaf) == 3 for leaf in jax.tree.leaves(found.x))


def test_complex_starting_points():
    centre = jnp.array([3 - 2j, 1j])
    for tx in (ol.lbfgs(), ol.sgd(0.1)):
        found = ol.minimize(
            lambda z: jnp.sum(jnp.abs(z - centre) ** 2), jnp.array([1 + 1j, 0j]), tx, tol=1e-4
        )
        assert bool(found.converged) and found.x.dtype == jnp.complex64
        np.testing.assert_allclose(found.x, centre, atol=1e-4)


@pytest.mark.parametrize("dtype", first(1, ["bfloat16", "float16"]))
def test_low_precision_parameters(dtype):
    found = ol.minimize(lambda x: jnp.sum((x - 3) ** 2), jnp.array([1.0, -1.0], dtype), tol=0.05)
    assert found.x.dtype == dtype and bool(found.converged)


# --- where it ends --------------------------------------------------------------------------------


def test_no_step_is_made_if_none_is_asked_for_or_needed():
    x = jnp.array([1.0, 2.0])
    none = ol.minimize(bowl, x, max_steps=0)
    assert (int(none.steps), bool(none.converged)) == (0, False)
    np.testing.assert_array_equal(none.x, x)
    assert_close(
        (none.value, none.grad_norm), (bowl(x), jnp.linalg.norm(jax.grad(bowl)(x))), ulps=A_STEP
    )
    at_optimum = ol.minimize(bowl, jnp.array([3.0, 3.0]), max_steps=5)
    assert (int(at_optimum.steps), bool(at_optimum.converged), float(at_optimum.value)) == (
        0,
        True,
        0.0,
    )
    close_enough = ol.minimize(bowl, x, tol=100.0)
    assert (int(close_enough.steps), bool(close_enough.converged)) == (0, True)
    one = ol.minimize(bowl, x, max_steps=1)
    assert (int(one.steps), bool(one.converged)) == (1, False) and float(one.value) < float(
        none.value
    )
    assert one.steps.dtype == jnp.int32


@pytest.mark.parametrize("start", first(2, [np.nan, np.inf, -1.0, -2.0]))
@pytest.mark.parametrize("name", ["lbfgs", "sgd"])
def test_a_start_that_is_not_finite_is_where_it_ends(name, start):
    def fn(x):  # at -1 the value is not a number and the slope 2; at -2 the slope is 0
        return jnp.sum(jnp.where(x > -1.5, x - jnp.log(x), jnp.nan))

    tx = {"lbfgs": ol.lbfgs(), "sgd": ol.sgd(0.0)}[name]
    found = ol.minimize(fn, jnp.array([start]), tx)
    assert not found.converged and int(found.steps) <= 3


def test_divergence_ends_where_the_gradient_is_no_longer_finite():
    found = ol.minimize(lambda x: jnp.sum(x**4), jnp.array([1.0]), ol.sgd(3.0))
    assert not found.converged and int(found.steps) < 20


def test_a_cliff_does_not_end_the_run():
    found = ol.minimize(lambda x: jnp.sum(x - jnp.log(x)), jnp.array([0.01, 20.0]), tol=1e-4)
    assert bool(found.converged)
    np.testing.assert_allclose(found.x, 1.0, atol=1e-3)


def test_three_updates_that_move_nothing_are_the_end():
    stuck = ol.minimize(bowl, jnp.array([1.0]), ol.sgd(0.0))
    assert (int(stuck.steps), bool(stuck.converged)) == (3, False)
    # Two of them are not: the third moves again.
    rate = ol.piecewise_constant_schedule(0.0, {})
    resting = rate + ol.join_schedules([ol.constant_schedule(0.0), ol.constant_schedule(0.25)], [2])
    moving = ol.minimize(bowl, jnp.array([1.0]), ol.sgd(resting), tol=1e-3)
    assert bool(moving.converged) and int(moving.steps) > 3


# --- errors, compilation --------------------------------------------------------------------------


def test_errors():
    with pytest.raises(
        ValueError, match=r"minimize: x0 leaf 'n' is int32\[2\]; it must be floating or complex"
    ):
        ol.minimize(bowl, {"w": jnp.ones(2), "n": jnp.arange(2, dtype=jnp.int32)})
    with pytest.raises(ValueError, match="minimize: args must be a tuple, got dict: write args="):
        ol.minimize(logistic, jnp.zeros(8), args=labelled())
    with pytest.raises(TypeError, match="minimize: fn must return one real number, got float32"):
        ol.minimize(lambda x: x, jnp.ones(2))


def test_one_compilation_serves_data_points_tolerances_and_numbers():
    def fn(x, data):
        return bowl(x) + jnp.sum((x - data["c"]) ** 2)

    def run(x, c, tol, max_steps, tx):
        return ol.minimize(
            fn, x, tx, args=({"c": c},), tol=tol, max_steps=max_steps
        ).x.block_until_ready()

    x = jnp.ones(2)
    tx = ol.lbfgs()
    run(x, x, 1e-3, 10, tx)
    changed = tx.replace(curv_rtol=0.5)
    other = 2 * x
    with count_lowerings() as count:
        run(other, x, 1e-3, 10, tx)
        run(x, other, 1e-4, 20, tx)
        run(x, x, 1e-3, 10, changed)
        run(x, x, 1e-3, 10, ol.lbfgs())
    assert count() == 0


def test_inside_jit():
    found = jax.jit(lambda x, c: ol.minimize(bowl, x, args=(c,), tol=1e-4).x)(
        jnp.zeros(2), jnp.ones(2)
    )
    np.testing.assert_allclose(found, 1.0, atol=1e-4)


@pytest.mark.parametrize("scale, tol", [(1e-25, 0.0), (1e30, 1e20)])
def test_a_loss_may_have_any_unit(scale, tol):
    """The squares of these gradients are 0, or infinite, in float32."""
    found = ol.minimize(lambda x: scale * jnp.sum((x - 1) ** 2), jnp.array([3.0, -4.0]), tol=tol)
    np.testing.assert_allclose(found.x, 1.0, atol=1e-3)
    assert found.grad_norm <= 1e-3 * scale
