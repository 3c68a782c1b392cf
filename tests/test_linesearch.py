"""Line searches: beside their references, on random functions, in compositions, under the
transformations of JAX.
"""

import warnings

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lite as ol
from tests.closeness import A_STEP, assert_close
from tests.laws import test_data
from tests.methods.zoom import approximate_decrease_error, wolfe_errors
from tests.nightly import first
from tests.test_optax_parity import outline


def backtracking(**settings):
    return ol.scale_by_backtracking_linesearch(**{"max_backtracking_steps": 20, **settings})


def zoom(**settings):
    return ol.scale_by_zoom_linesearch(**{"max_linesearch_steps": 20, **settings})


BOTH = pytest.mark.parametrize("search", [backtracking, zoom], ids=["backtracking", "zoom"])
KEEPING = pytest.mark.parametrize(
    "search", [lambda: backtracking(store_grad=True), zoom], ids=["backtracking", "zoom"]
)


def steps(tx, f, x, n=1, *, value_and_grad=None, **extra):
    """Some updates of a whole loop, with gradients as an update takes them: conjugated, None for
    integers.
    """
    state = tx.init(x)
    for _ in range(n):
        value, g = jax.value_and_grad(f, allow_int=True)(x, **extra)
        g = jax.tree.map(lambda d, p: jnp.conj(d) if jnp.iscomplexobj(p) else d, g, x)
        x, state = tx.step(g, state, x, value=value, grad=g, value_fn=f, **extra)
    return x, state


def bowl(x):
    return jnp.sum((x - 3) ** 2 * jnp.arange(1, 1 + x.size, dtype=x.dtype))


# --- on random functions --------------------------------------------------------------------------


def quadratic(x, t):
    return jnp.sum(jnp.exp(2 * t[:3]) * (x - t[3:]) ** 2)


def quartic(x, t):
    return jnp.sum(jnp.abs(t[:3]) * x**4 + t[3:] * x**3 + x**2 * jnp.abs(t[0]) + t[1] * x)


def waves(x, t):
    return jnp.sum(jnp.sin(3 * t[:3] * x) + 0.1 * x**2 + jnp.cos(5 * t[3:] * x))


def exponentials(x, t):
    return jnp.sum(jnp.exp(t[:3] * x) + jnp.exp(-2 * t[3:] * x) + 0.01 * x**2)


def barrier(x, t):
    return -jnp.sum(jnp.log(4 - x * x)) + 3 * jnp.sum(t[:3] * x)


def holes(x, t):
    return jnp.sum(jnp.where(x * x < 9, x**2, jnp.inf) * jnp.exp(t[:3])) + jnp.sum(t[3:] * x)


def valley(x, t):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def logistic(x, t):
    return jnp.sum(jnp.logaddexp(0.0, -(t.reshape(2, 3) @ x))) + 0.01 * jnp.sum(x * x)


FAMILIES = (quadratic, quartic, waves, exponentials, barrier, holes, valley, logistic)
MEMBERS = 60


def along_the_gradient(f, curv_rtol, **settings):
    """A search from each of many points; numpy functions, points, directions and states of the
    searches.
    """
    rng = np.random.default_rng(0)
    points, parameters = rng.uniform(-1.9, 1.9, (MEMBERS, 3)), rng.normal(size=(MEMBERS, 6))
    tx = ol.chain(ol.sgd(1.0), zoom(max_linesearch_steps=30, curv_rtol=curv_rtol, **settings))

    @jax.jit
    @jax.vmap
    def search(x, t):
        value, g = jax.value_and_grad(f)(x, t)
        return tx.update(g, tx.init(x), x, value=value, grad=g, value_fn=f, t=t)[1][-1]

    found, f, grad = search(points, parameters), jax.jit(f), jax.jit(jax.grad(f))
    for i in range(MEMBERS):
        here, t = points[i], parameters[i]
        functions = (lambda x, t=t: float(f(x, t))), (lambda x, t=t: np.asarray(grad(x, t)))
        yield *functions, here, -functions[1](here), jax.tree.map(lambda leaf, i=i: leaf[i], found)


@pytest.mark.parametrize("curv_rtol", first(1, [0.9, 0.1]))
@pytest.mark.parametrize("family", first(2, FAMILIES), ids=lambda f: f.__name__)
def test_both_conditions_hold_or_the_state_says_by_how_much_they_fail(family, curv_rtol, x64):
    import scipy.optimize  # half a second, which only this test should wait for

    failed = ours = theirs = 0
    for f, grad, x, u, state in along_the_gradient(family, curv_rtol):
        step, (tried, *said) = float(state.learning_rate), map(float, state.info)
        decrease, curvature = wolfe_errors(f, grad, x, u, step, 1e-4, curv_rtol)
        decrease = min(decrease, approximate_decrease_error(f, grad, x, u, step, 1e-4, 1e-6))
        # at a minimum, value and slope are what is left of numbers of this size
        size = abs(f(x)) + u @ u
        np.testing.assert_allclose([decrease, curvature], said, rtol=1e-12, atol=1e-12 * size)
        np.testing.assert_allclose(state.value, f(x + step * u), rtol=1e-12, atol=1e-12 * size)
        np.testing.assert_allclose(state.grad, grad(x + step * u), rtol=1e-9, atol=1e-12 * size)
        with warnings.catch_warnings(action="ignore"):  # it warns where it fails
            theirs_step, count, *_ = scipy.optimize.line_search(
                f, grad, x, u, -u, c1=1e-4, c2=curv_rtol, maxiter=30
            )
        failed += max(said) > 0
        if max(said) == 0 and theirs_step is not None:
            ours, theirs = ours + tried, theirs + count
    assert failed <= (1 if family is holes else 0), failed  # the minimum may lie in a hole's edge
    assert ours <= 1.1 * theirs, (ours, theirs)


@pytest.mark.nightly
@pytest.mark.parametrize("scale", first(1, [1e-3, 1.0]))
def test_a_float32_search_continues_when_rounding_hides_the_decrease(scale):
    x = jnp.array([3.001, 2.998])
    for tx in (
        ol.lbfgs(),
        ol.chain(ol.sgd(0.1 / scale), zoom()),
        ol.chain(ol.sgd(1e-3 / scale), zoom()),
    ):
        new, state = steps(tx, lambda x: 1e3 + scale * bowl(x), x, 3)
        assert int(state[-1].info.num_linesearch_steps) <= 10
        assert bowl(new) < 0.5 * bowl(x)


def test_the_approximate_decrease_can_be_turned_off():
    def hidden(x):
        return 1e6 + bowl(x)

    tx, x = ol.chain(ol.sgd(0.1), zoom(curv_rtol=0.5)), jnp.array([3.001])
    assert int(steps(tx, hidden, x)[1][-1].learning_rate) == 4  # where the slope is at most half
    _, state = steps(tx.replace(approx_dec_rtol=None), hidden, x)
    assert float(state[-1].learning_rate) == 0 and float(state[-1].info.curvature_error) > 0


def test_max_learning_rate_bounds_the_step_and_the_step_that_starts():
    x, state = steps(ol.chain(ol.sgd(1e-4), zoom(max_learning_rate=5.0)), bowl, jnp.array([1.0]))
    assert float(state[-1].learning_rate) == 5 and float(state[-1].info.curvature_error) > 0
    np.testing.assert_allclose(x, 1 + 5e-4 * 4, rtol=1e-6)
    _, state = steps(ol.chain(ol.sgd(1e-4), zoom(max_learning_rate=0.5)), bowl, jnp.array([1.0]))
    assert (float(state[-1].learning_rate), int(state[-1].info.num_linesearch_steps)) == (0.5, 1)


@BOTH
def test_schedules_set_a_search(search):
    bound = ol.piecewise_constant_schedule(0.125, {1: 2.0})
    tx = ol.chain(ol.sgd(1e-3), search(max_learning_rate=bound, increase_factor=2.0))
    for n, expected in ((1, 0.125), (2, 0.25)):
        _, state = steps(tx, bowl, jnp.array([1.0]), n)
        assert float(state[-1].inner_state.learning_rate) == expected


def test_uphill_and_at_a_minimum_nothing_moves():
    for tx in (ol.chain(ol.sgd(-1.0), zoom()), ol.chain(ol.sgd(-1e-6), zoom())):
        x, state = steps(tx, bowl, jnp.array([1.0, 2.0]), 2)
        np.testing.assert_array_equal(x, [1.0, 2.0])
        assert float(state[-1].learning_rate) == 0 and float(state[-1].info.curvature_error) > 0
        np.testing.assert_array_equal(state[-1].value, bowl(x))
    for tx in (
        ol.chain(ol.sgd(1.0), zoom()),
        ol.lbfgs(),
        ol.chain(ol.sgd(1.0), backtracking(store_grad=True)),
    ):
        x, state = steps(tx, bowl, jnp.array([3.0, 3.0]), 2)
        np.testing.assert_array_equal(x, [3.0, 3.0])
        assert int(state[-1].info.num_linesearch_steps) == 1
        chex.assert_tree_all_finite(state)


@BOTH
def test_where_the_function_is_not_finite_nothing_moves_and_the_next_search_starts_again(search):
    def cliff(x):
        return jnp.where(jnp.all(x == 1), 0.0, jnp.nan) + jnp.sum(x)

    tx = ol.chain(ol.sgd(1.0), search())
    x, state = steps(tx, cliff, jnp.array([1.0]), 2)
    assert (float(x[0]), float(state[-1].learning_rate), float(state[-1].value)) == (1.0, 0.0, 1.0)
    g = jnp.array([1.0])
    _, state = tx.update(g, state, x, value=x[0], grad=g, value_fn=jnp.sum)
    assert float(state[-1].learning_rate) >= 1


def test_optax_is_stuck_forever_after_such_a_step():
    tx = optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(3))
    x = g = jnp.array(1.0)
    _, state = tx.update(g, tx.init(x), x, value=x, grad=g, value_fn=lambda x: x * jnp.nan)
    for _ in range(2):
        u, state = tx.update(g, state, x, value=x, grad=g, value_fn=lambda x: x)
    assert float(u) == 0


# --- trees, dtypes, complex -----------------------------------------------------------------------


@pytest.mark.nightly
@BOTH
def test_the_step_is_in_the_dtypes_of_the_parameters(search):
    for dtype in ("bfloat16", "float16", "float32"):
        x = jnp.ones(3, dtype)
        tx = ol.chain(ol.sgd(1.0), search())
        new, state = steps(tx, bowl, x, 2)
        assert new.dtype == dtype and bowl(new) < bowl(x)
        chex.assert_trees_all_equal_shapes_and_dtypes(state, tx.init(x))
        assert state[-1].value.dtype == jnp.float32
    mixed = {"h": jnp.ones(2, jnp.bfloat16), "w": jnp.ones(2)}
    new, _ = steps(
        tx, lambda p: jnp.sum((p["h"].astype("float32") - 2) ** 2) + jnp.sum(p["w"] ** 4), mixed, 3
    )
    chex.assert_trees_all_equal_shapes_and_dtypes(new, mixed)


@pytest.mark.nightly
@BOTH
def test_float64_parameters_are_searched_in_float64(search, x64):
    x, state = steps(ol.chain(ol.sgd(0.1), search()), bowl, jnp.ones(2), 2)
    assert state[-1].value.dtype == state[-1].learning_rate.dtype == jnp.float64
    x, state = steps(ol.chain(ol.sgd(0.1), search()), bowl, jnp.ones(2, jnp.float32), 2)
    assert x.dtype == state[-1].value.dtype == state[-1].learning_rate.dtype == jnp.float32


TREE = {
    "w": jnp.array([1.0, -2.0]),
    "n": jnp.array(2, jnp.int32),
    "none": None,
    "frozen": jnp.ones(2),
}


def of_tree(p):
    return jnp.sum((p["w"] - 3) ** 2) * p["n"].astype("float32") + jnp.sum(p["frozen"] ** 2)


@pytest.mark.parametrize("frozen", first(1, [False, True]), ids=["integer", "None"])
@pytest.mark.parametrize(
    "tx",
    [
        ol.chain(ol.sgd(0.1), backtracking()),
        ol.chain(ol.sgd(0.1), backtracking(store_grad=True)),
        ol.chain(ol.sgd(0.1), zoom()),
        ol.lbfgs(),
    ],
    ids=["backtracking", "backtracking, gradient", "zoom", "lbfgs"],
)
def test_leaves_without_gradient_stay_and_are_passed_to_the_function(tx, frozen):
    state, x = tx.init(TREE), TREE
    for _ in range(3):
        value, g = jax.value_and_grad(of_tree, allow_int=True)(x)
        g = {**g, "frozen": None} if frozen else g
        new, state = tx.step(g, state, x, value=value, grad=g, value_fn=of_tree)
        x = new
    assert of_tree(x) < 0.5 * of_tree(TREE)
    assert (int(x["n"]), x["none"], x["n"].dtype) == (2, None, jnp.int32)
    np.testing.assert_array_equal(x["frozen"] == TREE["frozen"], frozen)
    chex.assert_trees_all_equal_shapes_and_dtypes(state, tx.init(TREE))


@pytest.mark.nightly
def test_a_search_after_masks_covers_all_leaves():
    p = {"w": jnp.array([1.0, -2.0]), "b": jnp.ones(2)}

    def f(p):
        return jnp.sum((p["w"] - 3) ** 2) + jnp.sum(p["b"] ** 4)

    rules = {"fast": ol.scale_by_lbfgs(), "slow": ol.scale(0.1)}
    for direction in (
        ol.partition(rules, {"w": "fast", "b": "slow"}),
        ol.chain(ol.masked(ol.scale_by_lbfgs(), "w"), ol.masked(ol.set_to_zero(), "b")),
        ol.chain(ol.masked(ol.scale_by_adam(), "w"), ol.masked(ol.clip_by_global_norm(0.1), "b")),
    ):
        for search in (backtracking(store_grad=True), zoom()):
            x, state = steps(ol.chain(direction, ol.scale(-1.0), search), f, p, 3)
            assert f(x) < f(p)
            # near a minimum it cancels
            assert_close(state[-1].value, f(x), ulps=A_STEP, largest=float(f(p)))


def test_a_search_inside_a_mask_covers_the_masked_leaves():
    p = {"w": jnp.array([1.0, -2.0]), "b": jnp.ones(2)}

    def f(p):
        return jnp.sum((p["w"] - 3) ** 2 * p["b"]) + jnp.sum(p["b"] ** 4)

    for search in (ol.chain(ol.sgd(1.0), backtracking()), ol.lbfgs()):
        x, _ = steps(ol.selective_transform(search, freeze_mask="b"), f, p, 2)
        alone, _ = steps(search, lambda x: f(x | {"b": p["b"]}), {"w": p["w"]}, 2)
        assert_close(x, alone | {"b": p["b"]}, ulps=A_STEP)
        assert f(x) < f(p)


@pytest.mark.parametrize(
    "tx",
    [
        ol.chain(ol.sgd(1.0), backtracking(store_grad=True)),
        ol.chain(ol.sgd(1.0), zoom()),
        ol.lbfgs(),
    ],
    ids=["backtracking", "zoom", "lbfgs"],
)
@pytest.mark.nightly
def test_complex_parameters_are_pairs_of_real_ones(tx):
    def f(z):
        return (
            jnp.sum(jnp.abs(z - (3 - 2j)) ** 2 * jnp.array([1.0, 4.0])) + jnp.abs(z[0] * z[1]) ** 2
        )

    def of_pairs(x):
        return f(x[0] + 1j * x[1])

    z = jnp.array([1 + 1j, -2j])
    got, state = steps(tx, lambda z: f(z), z, 3)
    with jax.numpy_dtype_promotion("standard"):
        expected, pairs = steps(tx, of_pairs, jnp.stack([z.real, z.imag]), 3)
    # A step that is interpolated from values of the function multiplies their rounding by about
    # 100.
    assert_close(jnp.stack([got.real, got.imag]), expected, ulps=100 * A_STEP)
    assert_close(state[-1].value, pairs[-1].value, ulps=100 * A_STEP, largest=float(f(z)))
    gradient = jnp.stack([state[-1].grad.real, state[-1].grad.imag])
    assert_close(gradient, pairs[-1].grad, ulps=100 * A_STEP, largest=float(f(z)))
    _, kept = ol.value_and_grad_from_state(f)(got, state=state)
    np.testing.assert_array_equal(kept, state[-1].grad)
    again = ol.value_and_grad_from_state(f)(got, state=tx.init(z))
    assert_close(again[1], kept, ulps=A_STEP, largest=float(f(z)))


# --- values kept, extra arguments -----------------------------------------------------------------


@KEEPING
def test_value_and_gradient_are_kept_and_computed_only_once(search):
    tx, x, calls = ol.chain(ol.sgd(0.1), search()), jnp.array([1.0, 2.0]), []

    def f(x):
        calls.append(1)
        return bowl(x)

    value_and_grad, state = ol.value_and_grad_from_state(f), tx.init(x)
    with jax.disable_jit():
        for i in range(3):
            before = len(calls)
            value, g = value_and_grad(x, state=state)
            assert len(calls) - before == (1 if i == 0 else 0)
            assert_close(value, bowl(x), ulps=A_STEP, largest=5.0)  # what it starts from
            assert_close(g, jax.grad(bowl)(x), ulps=A_STEP, largest=4.0)
            x, state = tx.step(g, state, x, value=value, grad=g, value_fn=f)
            # the gradient at the accepted step is one more evaluation
            stored = search.__name__ != "zoom"
            assert len(calls) - before == (i == 0) + stored + int(
                state[-1].info.num_linesearch_steps
            )


def test_the_kept_value_and_gradient_are_the_ones_computed_under_jit():
    tx = ol.lbfgs()

    @jax.jit
    def loop(x):
        state, gap = tx.init(x), 0.0
        for _ in range(4):
            value, g = ol.value_and_grad_from_state(bowl)(x, state=state)
            gap = jnp.maximum(
                gap, jnp.max(jnp.abs(g - jax.grad(bowl)(x))) + jnp.abs(value - bowl(x))
            )
            x, state = tx.step(g, state, x, value=value, grad=g, value_fn=bowl)
        return gap

    assert loop(jnp.array([1.0, 2.0])) < 1e-6


def test_errors_of_value_and_grad_from_state():
    f, x = ol.value_and_grad_from_state(bowl), jnp.ones(2)
    with pytest.raises(
        ValueError,
        match="value_and_grad_from_state: the state must hold exactly one line search, got 0",
    ):
        f(x, state=ol.adam(0.1).init(x))
    with pytest.raises(ValueError, match="exactly one line search, got 2"):
        f(x, state=ol.chain(zoom(), zoom()).init(x))
    with pytest.raises(
        ValueError,
        match=r"keeps no gradient; write scale_by_backtracking_linesearch\(..., store_grad",
    ):
        f(x, state=ol.chain(ol.sgd(0.1), backtracking()).init(x))


@BOTH
def test_the_function_gets_the_keywords_it_takes(search):
    tx, x = ol.chain(ol.sgd(0.1), search()), jnp.array([1.0])

    def two(x, data, *, weight=1.0):
        return jnp.sum((x - data) ** 2) * weight

    def all_of_them(x, **extra):
        assert extra.keys() == {"data", "weight", "unused"}
        return two(x, extra["data"], weight=extra["weight"])

    g = jax.grad(two)(x, 3.0, weight=2.0)
    found = []
    for f in (two, all_of_them, lambda x: two(x, 3.0, weight=2.0)):
        extra = {"data": 3.0, "weight": 2.0, "unused": jnp.ones(7)}
        found.append(
            tx.update(g, tx.init(x), x, value=two(x, 3.0, weight=2.0), grad=g, value_fn=f, **extra)
        )
    for other in found[1:]:
        assert_close(other, found[0], ulps=A_STEP)


@BOTH
def test_a_missing_extra_argument_is_named(search):
    tx, x = search(), jnp.ones(2)
    name = tx.definition.name
    for given, missing in (
        ({}, "value"),
        ({"value": 1.0}, "grad"),
        ({"value": 1.0, "grad": x}, "value_fn"),
    ):
        with pytest.raises(TypeError, match=f"{name}: update needs {missing}=; write tx.update"):
            tx.update(x, tx.init(x), x, **given)
    with pytest.raises(ValueError, match="update needs the parameters"):
        tx.update(x, tx.init(x), value=1.0, grad=x, value_fn=bowl)


@BOTH
def test_verbose_prints_how_a_search_ended(search, capfd):
    steps(ol.chain(ol.sgd(0.1), search(verbose=True)), bowl, jnp.array([1.0]))
    jax.effects_barrier()
    assert search.__name__ + ": step 1.0" in capfd.readouterr().out
    steps(ol.chain(ol.sgd(0.1), search()), bowl, jnp.array([1.0]))
    jax.effects_barrier()
    assert capfd.readouterr().out == ""


# --- under the transformations of JAX -------------------------------------------------------------

SETTINGS = {
    "backtracking": ol.chain(ol.sgd(0.3), backtracking(store_grad=True)),
    "backtracking, longest": ol.chain(
        ol.sgd(0.3), backtracking(increase_factor=np.inf, slope_rtol=0.3)
    ),
    "zoom": ol.chain(ol.sgd(0.3), zoom(curv_rtol=0.2)),
    "zoom, bounded": ol.chain(ol.sgd(1e-3), zoom(max_learning_rate=8.0)),
    "zoom after adam": ol.chain(ol.adam(0.1), zoom(initial_guess_strategy="one")),
    "backtracking after adam": ol.chain(ol.adam(3.0), backtracking()),
    "lbfgs": ol.lbfgs(memory_size=3),
}
each = pytest.mark.parametrize("tx", SETTINGS.values(), ids=SETTINGS.keys())


def rippled(x):
    return bowl(x) + jnp.sum(jnp.cos(4 * x))


@each
@pytest.mark.nightly
def test_jitted_equals_eager_and_as_an_argument(tx):
    x = jnp.array([0.5, -1.0])
    eager = steps(tx, rippled, x, 3)
    # As above: three steps that may be interpolated.
    assert_close(
        jax.jit(lambda x: steps(tx, rippled, x, 3))(x), eager, ulps=100 * A_STEP, largest=1.0
    )
    given = jax.jit(lambda tx, x: steps(tx, rippled, x, 3))(tx, x)
    assert_close(given, eager, ulps=100 * A_STEP, largest=1.0)


@each
@pytest.mark.nightly
def test_vmap_over_starting_points_equals_a_loop(tx, x64):
    points = jnp.asarray(np.random.default_rng(0).normal(size=(5, 2)))
    run = jax.jit(lambda x: steps(tx, rippled, x, 3))
    together = jax.jit(jax.vmap(run))(points)
    for i, x in enumerate(points):
        alone = run(x)
        assert_close(
            jax.tree.map(lambda leaf, i=i: leaf[i], together), alone, ulps=100 * A_STEP, largest=1.0
        )


@pytest.mark.nightly
@each
def test_forward_mode_through_every_number_is_finite(tx, x64):
    def end(tx, x):
        x, state = steps(tx, rippled, x, 3)
        return x, state[-1].learning_rate, state[-1].value

    numbers = jax.tree.map(jnp.asarray, tx)
    for x in (jnp.array([0.5, -1.0]), jnp.array([3.0, 3.0])):
        leaves, treedef = jax.tree.flatten(tx)
        for i in range(len(leaves)):
            tangents = treedef.unflatten([jnp.full((), float(i == j)) for j in range(len(leaves))])
            _, slopes = jax.jit(
                lambda dtx, x=x: jax.jvp(end, (numbers, x), (dtx, jnp.zeros_like(x)))
            )(tangents)
            chex.assert_tree_all_finite(slopes)
        _, slopes = jax.jit(
            lambda x: jax.jvp(lambda x: end(numbers, x), (x,), (jnp.ones_like(x),))
        )(x)
        chex.assert_tree_all_finite(slopes)


@pytest.mark.nightly
def test_forward_mode_is_the_derivative(x64):
    # The first step is taken as it is, so the derivative with respect to sgd's rate is that of the
    # point.
    def value(rate):
        tx = ol.chain(ol.sgd(rate), zoom(curv_rtol=0.1))
        return bowl(steps(tx, bowl, jnp.array([1.0, 2.0]), 2)[0])

    for rate in (0.1, 0.6):  # the second needs an interpolated step
        _, slope = jax.jvp(value, (rate,), (1.0,))
        np.testing.assert_allclose(
            slope, (value(rate + 1e-6) - value(rate - 1e-6)) / 2e-6, rtol=1e-4, atol=1e-8
        )


@pytest.mark.nightly
def test_a_population_of_searches_equals_a_loop():
    factors = jnp.array([1.5, 2.0, 4.0])
    x = jnp.array([0.5, -1.0])
    tx = ol.chain(ol.sgd(1e-3), zoom())
    together = jax.vmap(lambda c: steps(tx.replace(increase_factor=c), rippled, x, 2)[0])(factors)
    alone = [steps(tx.replace(increase_factor=c), rippled, x, 2)[0] for c in factors]
    assert_close(together, jnp.stack(alone), ulps=100 * A_STEP)
    assert len({float(x[0]) for x in together}) == 3


# --- as data, and beside optax --------------------------------------------------------------------


@each
def test_a_search_is_data(tx):
    tx = tx.replace(increase_factor=3.0)  # half of an infinite one is no other
    test_data.test_an_optimizer_is_data(tx)
    test_data.assert_state_is_its_own(tx)


@pytest.mark.parametrize(
    "make",
    [
        lambda lib: lib.scale_by_backtracking_linesearch(3),
        lambda lib: lib.scale_by_backtracking_linesearch(3, store_grad=True),
        lambda lib: lib.scale_by_zoom_linesearch(3),
    ],
)
def test_states_are_those_of_optax(make):
    p = {"a": jnp.ones(3), "b": jnp.ones(())}
    assert outline(make(ol).init(p)) == outline(make(optax).init(p))


@pytest.mark.nightly
@pytest.mark.parametrize(
    "settings",
    first(
        2,
        [
            {},
            {"increase_factor": np.inf},
            {"slope_rtol": 0.4, "decrease_factor": 0.5},
            {"atol": 0.1, "rtol": 0.2},
        ],
    ),
)
def test_backtracking_makes_the_same_steps_as_optax(settings, x64):
    found = []
    for lib in (ol, optax):
        tx = lib.chain(lib.sgd(0.7), lib.scale_by_backtracking_linesearch(30, **settings))
        x, history = jnp.array([0.5, -1.0]), []
        state = tx.init(x)
        for _ in range(5):
            value, g = jax.value_and_grad(rippled)(x)
            u, state = tx.update(g, state, x, value=value, grad=g, value_fn=rippled)
            x = x + u
            history.append([state[-1].learning_rate, state[-1].value, *state[-1].info])
        found.append(np.array(history))
    np.testing.assert_allclose(*found, rtol=1e-10, atol=1e-12)
