"""Projections against references written from the definition of each set, the laws of nearest
points, the places where formulas have no value, and optax.
"""

import dataclasses
import functools
import inspect
import itertools
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from optax_lite import projections
from optax_lite.core.trees import MaskedNode
from tests.closeness import assert_close
from tests.nightly import first

NAMES = [
    *("projection_box", "projection_halfspace", "projection_hypercube", "projection_hyperplane"),
    *("projection_l1_ball", "projection_l1_sphere", "projection_l2_ball", "projection_l2_sphere"),
    *("projection_linf_ball", "projection_non_negative", "projection_simplex"),
    "projection_vector",
]
INF, NAN = np.inf, np.nan

# --- the nearest point of one vector, in float64, as each set is defined --------------------------


def box(x, lower, upper):
    """The nearest number of an interval, entry by entry."""
    y = x.copy()
    lower, upper = np.broadcast_to(lower, x.shape), np.broadcast_to(upper, x.shape)
    y[x < lower] = lower[x < lower]
    y[x > upper] = upper[x > upper]
    return y


def threshold(x, total, low, high):
    """The τ in [low, high] with Σ max(x - τ, 0) = total, by bisection: the sum falls with τ."""
    for _ in range(80):
        middle = (low + high) / 2
        is_low = np.sum(np.maximum(x - middle, 0), axis=-1, keepdims=True) > total
        low, high = np.where(is_low, middle, low), np.where(is_low, high, middle)
    return (low + high) / 2


def simplex(x, scale):
    """The KKT conditions of min ½‖x - y‖² with y ≥ 0 and Σy = scale: y = max(x - τ, 0) for a τ."""
    top = np.max(x, axis=-1, keepdims=True)
    return np.maximum(x - threshold(x, scale, top - scale, top), 0)


def l1_ball(x, scale):
    """The KKT conditions again: x inside, else x shrunk towards 0 by the t with Σ|y| = scale."""
    sizes = np.abs(x)
    if np.sum(sizes) <= scale:
        return x
    return np.sign(x) * np.maximum(sizes - threshold(sizes, scale, 0.0, np.max(sizes)), 0)


def l1_sphere(x, scale):
    """The nearest of the faces of the sphere, each a simplex in an orthant of its own."""
    signs = np.array(np.meshgrid(*[[1, -1]] * x.size)).reshape(x.size, -1).T
    faces = signs * simplex(signs * x, scale)
    return faces[np.argmin(np.linalg.norm(faces - x, axis=-1))]


def l2_ball(x, scale):
    return x if np.linalg.norm(x) <= scale else l2_sphere(x, scale)


def l2_sphere(x, scale):
    return scale * x / np.linalg.norm(x)


def hyperplane(x, a, b):
    """The KKT system of min ½‖x - y‖² with ⟨a, y⟩ = b: y + λ·a = x and ⟨a, y⟩ = b."""
    system = np.block([[np.eye(x.size), a[:, None]], [a[None], np.zeros((1, 1))]])
    return np.linalg.solve(system, np.append(x, b))[:-1]


def halfspace(x, a, b):
    return x if a @ x <= b else hyperplane(x, a, b)


def vector(x, a):
    """c·a, with the c of least squares."""
    return a * np.linalg.lstsq(a[:, None], x)[0]


# --- the sets -------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Row:
    """A projection: its reference, arguments to draw, how far a point is outside, and points."""

    name: str
    reference: Callable[..., np.ndarray]
    draw: Callable[..., dict[str, Any]]  # (rng, n) -> arguments, vectors of n entries for trees
    outside: Callable[..., float]  # (y, **arguments)
    member: Callable[..., np.ndarray]  # (rng, y, **arguments), y in the set
    is_convex: bool = True

    @property
    def function(self):
        return getattr(projections, self.name)


def radius(rng, n):
    return {"scale": rng.uniform(0.2, 4)}


def normal_and_offset(rng, n):
    return {"a": rng.normal(size=n), "b": rng.normal()}


def in_interval(rng, y, lower, upper):
    return rng.uniform(np.broadcast_to(lower, y.shape), upper)


def of_box(draw, name="projection_box"):
    def arguments(given):
        return given if "lower" in given else {"lower": 0.0, "upper": given["scale"]}

    return Row(
        name,
        lambda x, **given: box(x, **arguments(given)),
        draw,
        lambda y, **given: np.max(np.abs(box(y, **arguments(given)) - y)),
        lambda rng, y, **given: in_interval(rng, y, **arguments(given)),
    )


def signs(rng, y):
    return rng.choice([-1.0, 1.0], y.shape)


def normalized(norm, x, scale):
    return scale * x / norm(x)


def l1(x):
    return np.sum(np.abs(x))


def two_numbers(rng, n):
    return {"lower": rng.uniform(-1, 0), "upper": rng.uniform(0, 1)}


def two_trees(rng, n):
    return {"lower": rng.uniform(-1, 0, n), "upper": rng.uniform(0, 1, n)}


ROWS = {
    "box": of_box(two_numbers),
    "box of trees": of_box(two_trees),
    "hypercube": of_box(radius, "projection_hypercube"),
    "hypercube of a tree": of_box(lambda rng, n: {"scale": rng.uniform(0, 1, n)}, NAMES[2]),
    "non_negative": Row(
        "projection_non_negative",
        lambda x: box(x, 0.0, INF),
        lambda rng, n: {},
        lambda y: max(0.0, -np.min(y)),
        lambda rng, y: rng.exponential(1.0, y.shape),
    ),
    "linf_ball": Row(
        "projection_linf_ball",
        lambda x, scale: box(x, -scale, scale),
        radius,
        lambda y, scale: max(0.0, np.max(np.abs(y)) - scale),
        lambda rng, y, scale: rng.uniform(-scale, scale, y.shape),
    ),
    "simplex": Row(
        "projection_simplex",
        simplex,
        radius,
        lambda y, scale: max(abs(np.sum(y) - scale), -np.min(y)),
        lambda rng, y, scale: scale * rng.dirichlet(np.full(y.size, 0.5)),
    ),
    "l1_ball": Row(
        "projection_l1_ball",
        l1_ball,
        radius,
        lambda y, scale: max(0.0, l1(y) - scale),
        lambda rng, y, scale: signs(rng, y) * scale * rng.dirichlet(np.full(y.size + 1, 0.5))[1:],
    ),
    "l1_sphere": Row(
        "projection_l1_sphere",
        l1_sphere,
        radius,
        lambda y, scale: abs(l1(y) - scale),
        lambda rng, y, scale: normalized(l1, rng.normal(size=y.size), scale),
        is_convex=False,
    ),
    "l2_ball": Row(
        "projection_l2_ball",
        l2_ball,
        radius,
        lambda y, scale: max(0.0, np.linalg.norm(y) - scale),
        lambda rng, y, scale: normalized(
            np.linalg.norm, rng.normal(size=y.size), scale * rng.uniform()
        ),
    ),
    "l2_sphere": Row(
        "projection_l2_sphere",
        l2_sphere,
        radius,
        lambda y, scale: abs(np.linalg.norm(y) - scale),
        lambda rng, y, scale: normalized(np.linalg.norm, rng.normal(size=y.size), scale),
        is_convex=False,
    ),
    "hyperplane": Row(
        "projection_hyperplane",
        hyperplane,
        normal_and_offset,
        lambda y, a, b: abs(a @ y - b) / np.linalg.norm(a),
        lambda rng, y, a, b: hyperplane(rng.normal(size=y.size), a, b),
    ),
    "halfspace": Row(
        "projection_halfspace",
        halfspace,
        normal_and_offset,
        lambda y, a, b: max(0.0, (a @ y - b) / np.linalg.norm(a)),
        lambda rng, y, a, b: hyperplane(rng.normal(size=y.size), a, b) - a * rng.exponential(),
    ),
    "vector": Row(
        "projection_vector",
        vector,
        lambda rng, n: {"a": rng.normal(size=n)},
        lambda y, a: np.linalg.norm(vector(y, a) - y),
        lambda rng, y, a: rng.normal() * a,
    ),
}

each_row = pytest.mark.parametrize("row", ROWS)

# --- trees of them, in batches --------------------------------------------------------------------

TREES = {
    "layers": {"w": np.zeros((2, 2)), "b": [np.zeros(3), None]},
    "number": np.zeros(()),
    "vector": np.zeros(5),
}
each_tree = pytest.mark.parametrize("tree", first(1, TREES))
BATCH = 12  # of points; a third of them near 0, where they are inside of a ball


def as_tree(flat, tree, dtype=None):
    """The entries of a vector, or of a batch of them, in the shapes of a tree."""
    leaves, treedef = jax.tree.flatten(TREES[tree])
    parts = np.split(flat, np.cumsum([x.size for x in leaves])[:-1], axis=-1)
    shaped = [p.reshape(flat.shape[:-1] + x.shape) for p, x in zip(parts, leaves, strict=True)]
    return treedef.unflatten([jnp.asarray(x, dtype) for x in shaped])


def as_flat(tree, batch=()):
    """The entries of a tree as a vector of float64, or as a batch of them."""
    leaves = [np.asarray(x, np.float64).reshape(*batch, -1) for x in jax.tree.leaves(tree)]
    return np.concatenate(leaves, axis=-1)


def as_arguments(given, tree, dtype=None, batch=0):
    """Vectors as trees, numbers as they are."""
    return {
        name: as_tree(value, tree, dtype)
        if np.ndim(value) > batch
        else jnp.asarray(value, dtype)
        if batch
        else float(value)
        for name, value in given.items()
    }


@functools.cache
def drawn(row, tree, dtype="float64"):
    """A batch of points and of arguments, as float64 that the dtype holds."""
    rng = np.random.default_rng(0)
    n = as_flat(TREES[tree]).size
    x = rng.normal(size=(BATCH, n)) * np.where(np.arange(BATCH) % 3 == 0, 0.1, 2.0)[:, None]
    each = [ROWS[row].draw(rng, n) for _ in range(BATCH)]
    given = {name: np.stack([g[name] for g in each]) for name in each[0]}
    return jax.tree.map(lambda x: x.astype(dtype).astype(float), (x, given))


def one(given, i):
    return {name: value[i] for name, value in given.items()}


@functools.cache
def compiled(function):
    return jax.jit(jax.vmap(lambda x, given: function(x, **given)))


def run(function, x, given, tree, dtype="float64"):
    with jax.enable_x64(dtype == "float64"):
        arguments = as_arguments(given, tree, dtype, batch=1)
        return as_flat(compiled(function)(as_tree(x, tree, dtype), arguments), (BATCH,))


@functools.cache
def projected(row, tree, dtype="float64"):
    x, given = drawn(row, tree, dtype)
    return run(ROWS[row].function, x, given, tree, dtype)


def nearest(row, x, given):
    """The reference of a batch."""
    return np.stack([ROWS[row].reference(x[i], **one(given, i)) for i in range(BATCH)])


# --- references and laws --------------------------------------------------------------------------


@each_tree
@each_row
def test_float64_equals_the_reference(row, tree):
    x, given = drawn(row, tree)
    expected = nearest(row, x, given)
    np.testing.assert_allclose(projected(row, tree), expected, rtol=0, atol=1e-12)


@each_row
def test_float32_equals_the_reference(row):
    x, given = drawn(row, "layers", "float32")
    expected, found = nearest(row, x, given), projected(row, "layers", "float32")
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)


@each_row
def test_the_result_is_in_the_set_and_stays_where_it_is(row):
    y, (_, given) = projected(row, "layers"), drawn(row, "layers")
    outside = [ROWS[row].outside(y[i], **one(given, i)) for i in range(BATCH)]
    assert max(outside) <= 1e-12
    again = run(ROWS[row].function, y, given, "layers")
    np.testing.assert_allclose(again, y, rtol=0, atol=1e-12)


@each_row
def test_no_other_point_of_the_set_is_nearer(row):
    """Nor, in a convex set, one on the way to it, which says that y is a minimum in all of it."""
    (x, given), y = drawn(row, "layers"), projected(row, "layers")
    rng = np.random.default_rng(1)
    for i in range(BATCH):
        for _ in range(50):
            other = ROWS[row].member(rng, y[i], **one(given, i))
            assert ROWS[row].outside(other, **one(given, i)) <= 1e-12
            assert np.linalg.norm(x[i] - y[i]) <= np.linalg.norm(x[i] - other) + 1e-12
            if ROWS[row].is_convex:
                assert (x[i] - y[i]) @ (other - y[i]) <= 1e-11


@each_row
def test_compiled_and_batched_it_is_the_same(row):
    (x, given), batch = drawn(row, "layers", "float32"), projected(row, "layers", "float32")
    for i in (0, 1):  # near 0 and far away
        arguments = as_arguments(one(given, i), "layers")
        eager = ROWS[row].function(as_tree(x[i], "layers"), **arguments)
        largest = max(1.0, np.max(np.abs(x[i])))
        assert_close(eager, as_tree(batch[i], "layers"), ulps=10, largest=largest)


@each_row
def test_derivatives_are_those_of_the_reference(row, x64):
    """With respect to the point and to the arguments, forwards and backwards."""
    primals = drawn(row, "vector")
    rng = np.random.default_rng(2)
    tangents = jax.tree.map(lambda v: rng.normal(size=v.shape), primals)
    weights = rng.normal(size=primals[0].shape)
    sides = [
        nearest(row, *jax.tree.map(lambda v, t, h=h: v + h * t, primals, tangents))
        for h in (1e-6, -1e-6)
    ]
    differences = (sides[0] - sides[1]) / 2e-6

    def both(primals, tangents, weights):
        def call(x, given):
            return ROWS[row].function(x, **given)

        backwards = jax.vjp(call, *primals)[1](weights)
        return jax.jvp(call, primals, tangents)[1], backwards

    def trees(x, given):
        return as_tree(x, "vector"), as_arguments(given, "vector", batch=1)

    forwards, backwards = jax.jit(jax.vmap(both))(
        trees(*primals), trees(*tangents), as_tree(weights, "vector")
    )
    np.testing.assert_allclose(as_flat(forwards, (BATCH,)), differences, rtol=0, atol=1e-7)
    products = jax.tree.map(
        lambda b, t: jnp.sum((b * t).reshape(BATCH, -1), -1), backwards, trees(*tangents)
    )
    total = sum(np.asarray(p) for p in jax.tree.leaves(products))
    np.testing.assert_allclose(total, np.sum(differences * weights, -1), rtol=0, atol=1e-6)


def test_many_entries_keep_their_digits():
    """Sums of 100,000 entries, far from 0: what is left is 0 but for a few."""
    x = np.random.default_rng(3).normal(size=100_000).astype(np.float32)
    for shift, scale in [(0, 1), (0, 1e4), (1e3, 1)]:
        moved = x + np.float32(shift)
        found = projections.projection_simplex(moved, scale)
        expected = simplex(moved.astype(float), scale)
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)
        np.testing.assert_allclose(np.sum(found, dtype=float), scale, rtol=2e-6)
    np.testing.assert_allclose(
        projections.projection_l1_ball(x, 1e3), l1_ball(x.astype(float), 1e3), rtol=0, atol=2e-6
    )


# --- dtypes, missing leaves, places ---------------------------------------------------------------


@each_row
def test_low_precision_is_computed_in_float32_and_rounded_once(row):
    x, given = drawn(row, "layers", "float32")
    function, x = ROWS[row].function, as_tree(x[1], "layers", "bfloat16")
    arguments = as_arguments(one(given, 1), "layers")

    def in_both(x):
        wide = function(jax.tree.map(lambda leaf: leaf.astype(jnp.float32), x), **arguments)
        return function(x, **arguments), jax.tree.map(lambda y: y.astype(jnp.bfloat16), wide)

    chex.assert_trees_all_equal(*jax.jit(in_both)(x))


def test_every_leaf_keeps_its_dtype_and_the_widest_is_computed_in(x64):
    tree = {"half": jnp.ones(2, jnp.float16), "single": jnp.ones(2, jnp.float32), "double": 0.1}
    for name in ("simplex", "l1_ball", "l2_sphere", "hypercube"):
        found = getattr(projections, f"projection_{name}")(tree)
        dtypes = {k: v.dtype for k, v in found.items()}
        assert dtypes == {"half": jnp.float16, "single": jnp.float32, "double": jnp.float64}
    norm = np.sqrt(4.01)
    found = projections.projection_l2_ball(tree)
    np.testing.assert_allclose(found["double"], 0.1 / norm, rtol=1e-15)
    np.testing.assert_allclose(found["single"], 1 / norm, rtol=1e-7)


def test_numpy_arrays_and_python_numbers_are_leaves():
    tree = {"w": np.array([2.5, 3.2]), "b": 0.5}
    found = projections.projection_simplex(tree, np.float64(1))
    assert all(isinstance(x, jax.Array) and x.dtype == jnp.float32 for x in found.values())
    np.testing.assert_allclose(found["w"], [0.15, 0.85], atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_missing_leaves_stay_missing(name):
    tree = {"w": jnp.array([1.0, -2.0]), "none": None, "masked": MaskedNode()}
    needed = {"lower": -1.0, "upper": {"w": 1.0, "none": 5, "masked": None}, "b": 1, "a": tree}
    function = getattr(projections, name)
    given = {k: v for k, v in needed.items() if k in inspect.signature(function).parameters}
    found = function(tree, **given)
    assert found["none"] is None and found["masked"] == MaskedNode()
    chex.assert_trees_all_close(
        found["w"],
        function(
            tree["w"],
            **jax.tree.map(
                jnp.asarray, {k: v["w"] if isinstance(v, dict) else v for k, v in given.items()}
            ),
        ),
    )
    assert function({"none": None}, **{k: {"none": None} if k == "a" else 1 for k in given}) == {
        "none": None
    }


@pytest.mark.parametrize("row", ["l1_ball", "l1_sphere", "l2_ball", "l2_sphere", "linf_ball"])
def test_of_complex_numbers_the_sizes_are_projected(row):
    rng = np.random.default_rng(4)
    sizes, angles = rng.uniform(0, 2, 5), rng.uniform(0, 2 * np.pi, 5)
    z = np.append(sizes * np.exp(1j * angles), [0])
    tree = {"z": jnp.asarray(z[1:], jnp.complex64), "x": jnp.asarray(z[0].real, jnp.float32)}
    z[0] = z[0].real
    for scale in (0.7, 30.0):
        phases = np.where(z == 0, 1, z / np.where(z == 0, 1, np.abs(z)))
        expected = phases * ROWS[row].reference(np.abs(z), scale)
        found = jax.jit(ROWS[row].function)(tree, scale)
        np.testing.assert_allclose(found["z"], expected[1:], rtol=0, atol=2e-6)
        np.testing.assert_allclose(found["x"], expected[0].real, rtol=0, atol=2e-6)
        assert found["x"].dtype == jnp.float32

    def total(tree):
        return sum(jnp.sum(jnp.abs(x) ** 2) for x in ROWS[row].function(tree, 0.7).values())

    chex.assert_tree_all_finite(jax.jit(jax.grad(total))(tree))


@pytest.mark.parametrize("name", ["simplex", "l1_ball", "l2_ball", "hypercube"])
def test_leaves_stay_on_their_devices(name, eight_devices):
    mesh = jax.make_mesh((8,), ("x",), axis_types=(AxisType.Explicit,))
    tree = {"w": np.arange(16, dtype=np.float32) / 9, "b": np.float32(0.5)}
    cut = jax.device_put(
        tree,
        {"w": NamedSharding(mesh, PartitionSpec("x")), "b": NamedSharding(mesh, PartitionSpec())},
    )
    function = getattr(projections, f"projection_{name}")
    found = jax.jit(function)(cut)
    assert found["w"].sharding.spec == PartitionSpec("x")
    assert_close(jax.device_get(found), function(tree), ulps=10)


# --- hard places ----------------------------------------------------------------------------------

ZEROS, ONES = np.zeros(3), np.ones(3)
X = np.array([3.0, -1.0, 0.0])
F = {name.removeprefix("projection_"): getattr(projections, name) for name in NAMES}
HARD = {
    "0 in the l2 ball": (lambda: F["l2_ball"](ZEROS), ZEROS),
    "0 and a radius of 0": (lambda: F["l2_ball"](ZEROS, 0), ZEROS),
    "onto the point 0": (lambda: F["l2_ball"](X, 0.0), ZEROS),
    "l1, onto the point 0": (lambda: F["l1_ball"](X, 0.0), ZEROS),
    "simplex of sum 0": (lambda: F["simplex"](X, 0.0), ZEROS),
    "l1 sphere of radius 0": (lambda: F["l1_sphere"](X, 0.0), ZEROS),
    "l2 sphere of radius 0": (lambda: F["l2_sphere"](X, 0.0), ZEROS),
    "0 onto the l2 sphere": (lambda: F["l2_sphere"](ZEROS, 2.0), 2 / np.sqrt(3) * ONES),
    "0 onto the l1 sphere": (lambda: F["l1_sphere"](ZEROS, 3), ONES),
    "entries of 0 take part": (lambda: F["l1_sphere"](np.array([0, -0.5])), [0.25, -0.75]),
    "an infinite l1 ball": (lambda: F["l1_ball"](X, INF), X),
    "an infinite l2 ball": (lambda: F["l2_ball"](X, INF), X),
    "an infinite linf ball": (lambda: F["linf_ball"](X, INF), X),
    "no bounds": (lambda: F["box"](X, None, None), X),
    "one bound": (lambda: F["box"](X, None, 1), [1, -1, 0]),
    "bounds by leaf": (
        lambda: F["box"]({"w": X}, {"w": None}, {"w": np.array([1, 2, 3])})["w"],
        [1, -1, 0],
    ),
    "infinite entries in a box": (lambda: F["hypercube"](np.array([INF, -INF, 0.5])), [1, 0, 0.5]),
    "infinite entries in a ball": (lambda: F["linf_ball"](np.array([INF, -INF, 0])), [1, -1, 0]),
    "an entry of -inf": (lambda: F["simplex"](np.array([-INF, 1, 1])), [0, 0.5, 0.5]),
    "no direction": (lambda: F["vector"](X, ZEROS), ZEROS),
    "every point is in the plane": (lambda: F["hyperplane"](X, ZEROS, 0.0), X),
    "every point is in the halfspace": (lambda: F["halfspace"](X, ZEROS, 1.0), X),
    "an infinite halfspace": (lambda: F["halfspace"](X, ONES, INF), X),
    "squares that are 0": (lambda: F["vector"](ONES, 1e-25 * ONES), ONES),
    "squares that are infinite": (lambda: F["hyperplane"](ONES, 1e25 * ONES, 1e25), ONES / 3),
    "sizes that are lost": (lambda: 1e25 * F["l2_sphere"](1e-25 * ONES, 1e-25), ONES / np.sqrt(3)),
    "tiny and huge": (lambda: 1e10 * F["l2_ball"](1e30 * ONES, 1e-10), ONES / np.sqrt(3)),
    "ties": (lambda: F["simplex"](ONES), ONES / 3),
    "far from 0": (
        lambda: F["simplex"](np.array([1e6 + 0.25, 1e6, 1e6 - 0.25])),
        [1 / 3 + 0.25, 1 / 3, 1 / 3 - 0.25],
    ),
    "NaN in a ball": (lambda: F["l1_ball"](np.array([NAN, 1])), [NAN, NAN]),
    "NaN on a simplex": (lambda: F["simplex"](np.array([NAN, 1])), [NAN, NAN]),
    "NaN in a box": (lambda: F["hypercube"](np.array([NAN, 2])), [NAN, 1]),
    "NaN in the linf ball": (lambda: F["linf_ball"](np.array([NAN, 2])), [NAN, 1]),
    "an empty plane": (lambda: F["hyperplane"](ONES, ZEROS, 1.0), NAN * ONES),
    "an empty halfspace": (lambda: F["halfspace"](ONES, ZEROS, -1.0), NAN * ONES),
    "crossed bounds of arrays": (lambda: F["box"](ONES, ZEROS, np.array([1, 0, -1])), [1, 0, NAN]),
}


@pytest.mark.parametrize(("call", "expected"), HARD.values(), ids=HARD.keys())
def test_hard_places(call, expected):
    """And no NaN is made on the way to a number, in the branch that is not taken."""
    with jax.debug_nans(not np.any(np.isnan(expected))):
        np.testing.assert_allclose(call(), expected, rtol=2e-6, atol=1e-7)


SCALED = [
    name
    for name in NAMES
    if "scale" in inspect.signature(getattr(optax.projections, name)).parameters
]


@pytest.mark.parametrize("name", SCALED)
def test_a_traced_radius_below_0_makes_nan(name):
    found = jax.jit(getattr(projections, name))(ONES, -1.0)
    assert jnp.all(jnp.isnan(found))


@pytest.mark.parametrize("name", NAMES)
def test_derivatives_are_finite_at_hard_places(name):
    """At 0, at ties, on the boundary, in sets of one point, and where squares leave float32."""
    function = getattr(projections, name)
    points = jnp.array([ZEROS, ONES, X, ONES / 3, ONES / np.sqrt(3)])
    numbers = jnp.array([0.0, 1.0, INF] if "ball" in name else [0.0, 1.0])
    parameters = list(inspect.signature(function).parameters)[1:]

    def slopes(x, a, number, size):
        b = number * jnp.max(jnp.abs(size * a))  # of a plane with a = 0 only b = 0 is a set
        given = {"lower": -size * number, "upper": size * number, "scale": size * number}
        given |= {"a": size * a, "b": b}
        chosen = {k: given[k] for k in parameters}

        def total(x, chosen):
            return jnp.dot(function(x, **chosen), jnp.array([0.3, -0.5, 0.7]))

        return jax.grad(total, (0, 1))(size * x, chosen)

    sizes, some = jnp.array([1.0, 1e30, 1e-30]), range(len(points))
    every = itertools.product(some, some, range(len(numbers)), range(len(sizes)))
    x, a, number, size = np.array(list(every)).T
    found = jax.jit(jax.vmap(slopes))(points[x], points[a], numbers[number], sizes[size])
    chex.assert_tree_all_finite(found)


# --- optax ----------------------------------------------------------------------------------------


def test_names_and_signatures_are_those_of_optax():
    theirs = [name for name in dir(optax.projections) if name.startswith("projection_")]
    assert sorted(NAMES) == theirs
    assert all(name in vars(projections) for name in theirs)
    for name in NAMES:
        ours, theirs = (
            [(p.name, p.kind, p.default) for p in inspect.signature(f).parameters.values()]
            for f in (getattr(projections, name), getattr(optax.projections, name))
        )
        assert ours == theirs


def of_optax(name):
    """Its function; a box of numbers around a tree fails there, and has to be one of trees."""
    if name not in ("projection_box", "projection_hypercube"):
        return getattr(optax.projections, name)

    def call(tree, **given):
        given = {"lower": 0.0, "upper": given["scale"]} if "scale" in given else given
        whole = {
            k: v
            if jax.tree.structure(v) == jax.tree.structure(tree)
            else jax.tree.map(lambda x, v=v: v, tree)
            for k, v in given.items()
        }
        return optax.projections.projection_box(tree, **whole)

    return call


@pytest.mark.parametrize("tree", first(1, ["layers", "vector"]))
@each_row
def test_numbers_are_those_of_optax(row, tree):
    x, given = drawn(row, tree)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        expected = run(of_optax(ROWS[row].name), x, given, tree)
    np.testing.assert_allclose(projected(row, tree), expected, rtol=0, atol=1e-12)


# --- errors ---------------------------------------------------------------------------------------

PAIR = {"w": np.ones(3), "b": np.ones(())}
ERRORS = {
    "integers": (
        lambda: F["simplex"]({"w": np.arange(3, dtype=np.int32)}),
        "projection_simplex: leaf 'w' of tree must be real and floating, got int32[3]; cast it, or "
        "pass None",
    ),
    "a Python integer": (
        lambda: F["l2_ball"]([1.0, 2]),
        "projection_l2_ball: leaf '1' of tree must be floating or complex, got int 2; cast it",
    ),
    "an integer as the tree": (
        lambda: F["vector"](3, 1.0),
        "projection_vector: x must be real and floating, got int 3",
    ),
    "words": (
        lambda: F["non_negative"]({"w": "a"}),
        "projection_non_negative: leaf 'w' of tree must be real and floating, got str 'a'",
    ),
    "complex": (
        lambda: F["simplex"]([np.ones(2, np.complex64)]),
        "projection_simplex: leaf '0' of tree must be real and floating, got complex64[2]; project "
        "real and imaginary parts",
    ),
    "a complex normal": (
        lambda: F["vector"](np.ones(2), 1j * np.ones(2)),
        "projection_vector: a must be a real array of shape (2,), got complex",
    ),
    "another tree": (
        lambda: F["hyperplane"](PAIR, {"w": np.ones(3), "c": 1.0}, 1.0),
        "projection_hyperplane: the tree to project and the argument a have different structures: "
        "'b' only in the tree to project, 'c' only in the argument a",
    ),
    "a number for a tree": (
        lambda: F["halfspace"](PAIR, 1.0, 1.0),
        "projection_halfspace: the tree to project and the argument a have different structures",
    ),
    "another shape": (
        lambda: F["vector"](PAIR, {"w": np.ones((3, 1)), "b": 1.0}),
        "projection_vector: leaf 'w' of a must be a real array of shape (3,), got float",
    ),
    "a missing normal": (
        lambda: F["vector"](PAIR, {"w": None, "b": 1.0}),
        "projection_vector: leaf 'w' of a must be a real array of shape (3,), got None",
    ),
    "an array as offset": (
        lambda: F["hyperplane"](PAIR, PAIR, np.ones(3)),
        "projection_hyperplane: b must be a real number, got float",
    ),
    "an offset that is no number": (
        lambda: F["halfspace"](PAIR, PAIR, None),
        "projection_halfspace: b must be a real number, got None",
    ),
    "an offset that is lost": (
        lambda: F["halfspace"](PAIR, PAIR, 1e300),
        "projection_halfspace: b must fit in JAX's default float, got 1e+300, which is infinite",
    ),
    "a complex radius": (
        lambda: F["l2_ball"](PAIR, 1j),
        "projection_l2_ball: scale must be a real number, got complex 1j",
    ),
    "a bool as radius": (
        lambda: F["l2_ball"](PAIR, True),
        "projection_l2_ball: scale must be a real number, got bool True",
    ),
    "a tree of radii": (
        lambda: F["l1_ball"](PAIR, PAIR),
        "projection_l1_ball: scale must be a real number, got a dict of 2 leaves",
    ),
    "a radius below 0": (
        lambda: F["l1_ball"](PAIR, -1),
        "projection_l1_ball: scale must be at least 0, got -1.0",
    ),
    "an array below 0": (
        lambda: F["linf_ball"](PAIR, jnp.array(-0.5)),
        "projection_linf_ball: scale must be at least 0, got -0.5",
    ),
    "a radius of NaN": (
        lambda: F["l2_sphere"](PAIR, NAN),
        "projection_l2_sphere: scale must be at least 0, got nan",
    ),
    "a simplex of infinite sum": (
        lambda: F["simplex"](PAIR, INF),
        "projection_simplex: scale must be finite, got inf",
    ),
    "an edge below 0": (
        lambda: F["hypercube"](PAIR, {"w": np.ones(3), "b": -2.0}),
        "projection_hypercube: leaf 'b' of scale must be at least 0, got -2.0",
    ),
    "edges of another tree": (
        lambda: F["hypercube"](PAIR, [1.0, 1.0]),
        "projection_hypercube: the tree to project and the argument scale have different ",
    ),
    "a bound of another shape": (
        lambda: F["box"](PAIR, {"w": np.zeros(2), "b": 0}, 1),
        "projection_box: leaf 'w' of lower must be a number or a real array of shape (3,), got ",
    ),
    "one array for all leaves": (
        lambda: F["box"](PAIR, 0, np.ones(3)),
        "projection_box: the tree to project and the argument upper have different structures",
    ),
    "crossed bounds": (
        lambda: F["box"](PAIR, 2, 1),
        "projection_box: lower must be at most upper, got 2.0 and 1.0",
    ),
    "crossed bounds of a leaf": (
        lambda: F["box"](PAIR, 0.5, {"w": 1, "b": 0}),
        "projection_box: lower must be at most leaf 'b' of upper, got 0.5 and 0.0",
    ),
}


@pytest.mark.parametrize(("call", "message"), ERRORS.values(), ids=ERRORS.keys())
def test_errors_name_the_argument_and_the_leaf(call, message):
    with pytest.raises(ValueError) as caught:
        call()
    assert str(caught.value).startswith(message)


def test_a_wrong_call_shows_the_signature():
    with pytest.raises(TypeError, match=r"projection_box: .*'upper'; its signature is \(tree, low"):
        projections.projection_box(PAIR, 0)
    with pytest.raises(TypeError, match=r"projection_l1_ball: .*'radius'; its signature is"):
        projections.projection_l1_ball(PAIR, radius=1)
