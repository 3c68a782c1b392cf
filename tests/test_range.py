"""Numbers whose squares leave float32: second moments, norms, and rules that use them."""

import ast
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optax_lite as ol
from optax_lite.core.norms import long_norm, norm
from optax_lite.core.numerics import abs_sq, largest_square, smallest_square, squarable
from optax_lite.core.scalars import power_of_two

PROVES = ("core.numerics", "core.norms")

SIZES = (1e-25, 1e-19, 1.0, 1e19, 1e20, 1e30)


def test_a_square_is_neither_lost_nor_infinite():
    x = jnp.array([0.0, -0.0, 1e-30, 1e-17, 3e-9, -0.1, 7e4, 1e17, 2e19, -3e38, jnp.inf, jnp.nan])
    plain = np.float64(x) ** 2
    expected = np.float32(np.where(x != 0, np.clip(plain, 2.0**-100, 2.0**120), plain))
    np.testing.assert_allclose(abs_sq(x), expected, rtol=1.2e-7, atol=0)
    np.testing.assert_allclose(
        abs_sq(jax.lax.complex(0 * x[:10], x[:10])), expected[:10], rtol=1.2e-7, atol=0
    )
    slopes = jax.vmap(jax.grad(abs_sq))(x[:10])
    np.testing.assert_array_equal(slopes, [0, 0, 0, 0, *(2 * x[4:8]), 0, 0])


def test_the_smallest_square_has_room_for_the_smallest_weight():
    for dtype in (np.float32, np.float64):
        info = np.finfo(dtype)
        assert (
            smallest_square(dtype) * (1 - np.nextafter(dtype(1), dtype(0))) >= 4 * info.tiny * 0.99
        )
        assert 255 * largest_square(dtype) < info.max


def test_the_squares_of_a_leaf_can_be_summed():
    ordinary = jnp.array([[0.0, -0.0, 1e-30], [5.0, -1e15, 1e16]])
    np.testing.assert_array_equal(squarable(ordinary), ordinary)
    assert np.signbit(squarable(ordinary))[0, 1]
    spike = squarable(jnp.array([2e19, -3e38, jnp.inf, jnp.nan, 1.0] * 20))
    finite = np.abs(np.float64(spike)[[0, 1, 4]])
    assert (
        np.sum(100 * finite**2) < 4 * 2.0**120 and finite[0] == finite[1] >= 1e16 and finite[2] == 1
    )
    assert np.isposinf(spike[2]) and np.isnan(spike[3])


def test_a_power_of_two_brings_a_number_near_one():
    x = jnp.array([0.0, 2e-38, 1e-20, 0.3, 1.0, 7.0, 1e38])
    units = np.asarray(power_of_two(x))
    assert units[0] == 1 and np.all(np.log2(units) % 1 == 0)
    assert np.all((units[1:] * x[1:] >= 0.25) & (units[1:] * x[1:] < 2))


def test_every_rule_with_squares_is_given_gradients_that_have_them():
    """A rule that squares what `leafwise` did not bring into range keeps an infinity for ever."""
    asked = set()
    for path in (Path(ol.__file__).parent / "optimizers").glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        ]
        if any(call.func.id in ("abs_sq", "plain_sq") for call in calls):
            passed = {
                ast.unparse(keyword)
                for call in calls
                if call.func.id == "leafwise"
                for keyword in call.keywords
            }
            assert "squares=True" in passed, path.name
            asked.add(path.stem)
    assert {"adam", "adagrad", "soap"} <= asked


def _updates(tx, gradients):
    """Three updates, and the last state, for every one of some gradients."""

    def run(g):
        state = tx.init({"w": g})
        updates = []
        for gradient in (
            g,
            jnp.ones_like(g) * jnp.minimum(jnp.max(g), 1),
            jnp.ones_like(g) * jnp.minimum(g, 1),
        ):
            u, state = tx.update({"w": gradient}, state, {"w": jnp.ones_like(g)})
            updates.append(u["w"])
        return jnp.stack(updates), state

    return jax.jit(jax.vmap(run))(gradients)


@pytest.mark.parametrize(
    "make", [ol.adam, ol.rmsprop, ol.adagrad, ol.novograd], ids=lambda make: make.__name__
)
def test_no_gradient_is_too_small_or_too_large_for_a_second_moment(make):
    """g of 3e-18 moved by thousands of rates, and one of 2e19 made the moment infinite forever."""
    start = {"initial_accumulator_value": 0.0} if make is ol.adagrad else {}
    sizes = jnp.array([1e-21, 1e-19, 3e-18, 1e-15, 1.0, 2e19, 1e25, 3e38])
    updates, state = _updates(make(1e-3, eps=1e-22, **start), jnp.outer(sizes, jnp.ones(3)))
    largest = jnp.max(jnp.abs(updates), axis=(1, 2))
    assert np.all(np.isfinite(updates)) and np.all(largest <= 4 * largest[4])
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(state))


@pytest.mark.parametrize(
    "length", [ol.global_norm, lambda x: long_norm(x)[0], lambda x: ol.safe_norm(x, 0.0)]
)
def test_a_norm_of_any_size_and_its_slope(length):
    x = jnp.outer(jnp.asarray(SIZES), jnp.array([3.0, -4.0]))
    lengths, slopes = jax.jit(jax.vmap(jax.value_and_grad(length)))(x)
    np.testing.assert_allclose(lengths / jnp.asarray(SIZES), 5.0, rtol=1e-6)
    np.testing.assert_allclose(slopes, np.broadcast_to([0.6, -0.8], x.shape), rtol=1e-6)
    np.testing.assert_array_equal(jax.grad(length)(jnp.zeros(2)), 0.0)


def test_ordinary_norms_are_those_of_the_plain_formula_to_the_bit():
    x = jax.random.normal(jax.random.key(0), (40, 30)) * 1e-3
    plain = jnp.sqrt(jnp.sum(x * x))
    assert ol.global_norm({"x": x}) == norm(x) == plain
    np.testing.assert_array_equal(long_norm(x, 1), jnp.sqrt(jnp.sum(x * x, axis=1, keepdims=True)))


def test_a_norm_counts_leaves_of_all_kinds():
    for size in SIZES:
        tree = {
            "half": size * jnp.ones(9, jnp.bfloat16),
            "z": size * jnp.full(8, 1 + 1j),
            "none": None,
        }
        # a bfloat16 has three digits
        np.testing.assert_allclose(ol.global_norm(tree) / size, 5.0, rtol=3e-3)
    assert ol.global_norm({"n": jnp.arange(4), "x": jnp.array([1.0, 1.0])}) == 4.0
    assert np.isnan(ol.global_norm([jnp.array([jnp.nan, 1.0])])) and np.isposinf(
        ol.global_norm([jnp.array(jnp.inf)])
    )


def test_a_gradient_of_any_size_is_clipped():
    tx = ol.clip_by_global_norm(1.0)
    for size in (1e19, 1e30):
        u = tx.update({"a": size * jnp.array([3.0, -4.0])}, ol.EmptyState())[0]["a"]
        np.testing.assert_allclose(u, [0.6, -0.8], rtol=1e-6)


def test_a_polyak_step_is_that_of_the_loss_in_any_unit():
    tx = ol.scale_by_polyak(max_learning_rate=float("inf"))
    for size in SIZES:
        u = tx.update({"a": size * jnp.array([3.0, -4.0])}, ol.EmptyState(), value=10.0 * size)[0][
            "a"
        ]
        np.testing.assert_allclose(u, [1.2, -1.6], rtol=1e-6)  # 10·(3, -4) / 5²


def test_the_cosine_of_vectors_of_any_size():
    x = jnp.outer(jnp.asarray(SIZES), jnp.array([3.0, -4.0]))
    np.testing.assert_allclose(
        ol.losses.cosine_similarity(x, jnp.broadcast_to(x[2], x.shape)), 1.0, rtol=1e-6
    )


def test_shampoo_does_not_take_a_rounding_for_a_small_eigenvalue():
    """The sums of a tall matrix have no full rank; the root of what rounding leaves there was the
    largest of all.
    """
    g, tx = jax.random.normal(jax.random.key(0), (6, 4)), ol.scale_by_shampoo()

    def third(size):
        state = tx.init(g)
        for i in (1.0, 1.1, 0.9):
            u, state = tx.update(i * size * g, state)
        return u

    updates = jax.jit(jax.vmap(third))(jnp.array([1e3, 1e12, 1e15]))
    np.testing.assert_allclose(updates, jnp.broadcast_to(updates[0], updates.shape), atol=1e-4)


def test_soap_is_bounded_where_the_turned_gradient_has_zeros():
    """A rank-one gradient has one entry in its eigenbasis; the others were rounding over rounding:
    14 in the mean.
    """
    a = (
        1e6
        * jax.random.normal(jax.random.key(1), (16, 1))
        * jax.random.normal(jax.random.key(2), (1, 12))
    )
    tx = ol.scale_by_soap(precondition_frequency=3)

    def step(state, z):
        u, state = tx.update({"w": z * a}, state)
        return state, jnp.sqrt(jnp.mean(u["w"] ** 2))

    sizes = jax.lax.scan(step, tx.init({"w": a}), jax.random.normal(jax.random.key(3), (30,)))[1]
    assert np.max(sizes) < 1.0 and np.max(sizes) > 0.05
