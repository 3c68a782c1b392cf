"""Theory of Muon, Shampoo and SOAP: orthogonal updates, symmetries, and how they relate."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optax_lite as ol
from optax_lite.core.matrices import from_blocks, to_blocks
from tests.closeness import A_STEP, assert_close
from tests.nightly import first

# Units that a direction may be off by: five iterations (or a root by eigenvalues) of three products
# of matrices, sums of up to seven terms; and by how much matrices that are normally distributed and
# this small may raise it.
A_PRODUCT = 5 * 3 * 2 * 7
CONDITION = 30


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def rotation(n, seed=0):
    return jnp.linalg.qr(normal(n, n, seed=seed))[0]


def directions(tx, gradients):
    """The updates for a sequence of gradients."""
    state, found = tx.init(gradients[0]), []
    for g in gradients:
        u, state = tx.update(g, state, g)
        found.append(u)
    return found


def singular_values(x):
    return jnp.linalg.svdvals(x.astype(jnp.float32))


# --- Muon -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(8, 8), (16, 64), (64, 16), (1, 5)])
@pytest.mark.parametrize("preconditioning", first(2, ["frobenius", "spectral", "aol", "schatten"]))
def test_muon_brings_all_singular_values_near_one(shape, preconditioning):
    u = directions(ol.scale_by_muon(preconditioning=preconditioning), [normal(*shape)])[0]
    s = singular_values(u)
    assert float(s.min()) > 0.5 and float(s.max()) < 1.3


def test_muon_with_a_convergent_iteration_finds_the_polar_factor(x64):
    g = normal(6, 9)
    u, _, vt = jnp.linalg.svd(g, full_matrices=False)
    found = directions(ol.scale_by_muon(ns_coeffs=(1.875, -1.25, 0.375), ns_steps=30), [g])[0]
    # Thirty iterations of three products converge quadratically: what is left is the rounding of
    # the last ones and of the decomposition, times the condition number (about 10).
    assert_close(found, u @ vt, ulps=10 * 3 * 9, largest=1.0)


def test_orthogonalize_finds_the_polar_factor_of_every_matrix(x64):
    x = normal(3, 6, 9)
    u, _, vt = jnp.linalg.svd(x, full_matrices=False)
    found = ol.orthogonalize(x, (1.875, -1.25, 0.375), 30)
    assert_close(found, u @ vt, ulps=10 * 3 * 9, largest=1.0)
    standard = directions(ol.scale_by_muon(nesterov=False), [x[0]])[0]
    assert_close(standard, ol.orthogonalize(x[0]), ulps=A_PRODUCT * CONDITION)
    low = ol.orthogonalize(x.astype(jnp.float32), "dion", dtype=jnp.bfloat16)
    assert low.dtype == jnp.float32
    assert singular_values(low).min() > 0.8 and singular_values(low).max() < 1.2


@pytest.mark.parametrize("preconditioning", ["frobenius", "spectral", "aol", "schatten"])
def test_muon_does_not_see_the_size_of_gradients(preconditioning):
    """Powers of two change no digit, so that the updates are the same to the bit."""
    gradients = [normal(4, 7, seed=i) for i in range(3)]
    tx = ol.scale_by_muon(preconditioning=preconditioning)
    plain = directions(tx, gradients)
    for factor in (2.0**-90, 2.0**-40, 2.0**40, 2.0**90):
        scaled = directions(tx, [(factor * g).astype(g.dtype) for g in gradients])
        np.testing.assert_array_equal(plain[-1], scaled[-1])


@pytest.mark.parametrize("preconditioning", ["frobenius", "spectral", "schatten"])
def test_muon_turns_with_the_gradient_on_both_sides(preconditioning, x64):
    a, b, tx = rotation(4), rotation(7, seed=1), ol.scale_by_muon(preconditioning=preconditioning)
    gradients = [normal(4, 7, seed=i) for i in range(3)]
    turned = directions(tx, [a @ g @ b for g in gradients])
    for u, v in zip(directions(tx, gradients), turned, strict=True):
        assert_close(a @ u @ b, v, ulps=A_PRODUCT * CONDITION)


@pytest.mark.parametrize("adaptive", first(1, [False, True]))
@pytest.mark.parametrize("preconditioning", first(2, ["frobenius", "spectral", "aol", "schatten"]))
def test_stacked_layers_are_a_loop_over_layers(adaptive, preconditioning, x64):
    how = {"adaptive": adaptive, "preconditioning": preconditioning, "adam_learning_rate": 1.0}
    numbers = ol.MuonDimensionNumbers(1, 2)
    gradients = [normal(3, 4, 5, seed=i) for i in range(2)]
    stacked = directions(ol.muon(0.1, muon_weight_dimension_numbers=numbers, **how), gradients)
    for layer in range(3):
        alone = directions(ol.muon(0.1, **how), [g[layer] for g in gradients])
        assert_close([u[layer] for u in stacked], alone, ulps=A_PRODUCT * CONDITION)


def test_several_axes_make_one(x64):
    kernel = normal(3, 3, 4, 5)
    tx = ol.muon(
        0.1,
        consistent_rms=0.2,
        muon_weight_dimension_numbers=ol.MuonDimensionNumbers((0, 1, -2), -1),
    )
    as_matrix = directions(ol.muon(0.1, consistent_rms=0.2), [kernel.reshape(36, 5)])[0]
    assert_close(
        directions(tx, [kernel])[0], as_matrix.reshape(kernel.shape), ulps=A_PRODUCT * CONDITION
    )


@pytest.mark.nightly
def test_embeddings_and_heads_can_be_left_to_adam_by_name():
    params = {
        "embed": normal(5, 4),
        "body": {"w": normal(4, 4), "b": normal(4)},
        "head": normal(4, 2),
    }
    by_name = ol.muon(0.1, muon_weight_dimension_numbers=["!embed", "!head"])
    by_tree = ol.muon(
        0.1,
        muon_weight_dimension_numbers={
            "embed": None,
            "body": {"w": ol.MuonDimensionNumbers(), "b": None},
            "head": None,
        },
    )
    updates = directions(by_name, [params])[0]
    chex.assert_trees_all_equal(updates, directions(by_tree, [params])[0])
    adam = directions(ol.adamw(0.1, weight_decay=0.0, nesterov=True), [params])[0]
    muon = directions(ol.muon(0.1), [params])[0]
    expected = adam | {"body": {"w": muon["body"]["w"], "b": adam["body"]["b"]}}
    assert_close(updates, expected, ulps=A_PRODUCT * CONDITION)
    by_function = ol.muon(0.1, muon_weight_dimension_numbers=only_the_body)
    chex.assert_trees_all_equal(updates, directions(by_function, [params])[0])


def only_the_body(params):
    numbers = jax.tree.map(lambda x: None, params)
    return numbers | {"body": {"w": ol.MuonDimensionNumbers(), "b": None}}


def test_dimension_numbers_stand_for_whole_subtrees():
    params = {
        "layers": {"a": normal(2, 3, 4), "b": normal(2, 4, 3, seed=1)},
        "rest": {"w": normal(4, 3), "c": normal(3)},
    }
    stacked = ol.MuonDimensionNumbers(1, 2)
    short = {"layers": stacked, "rest": None}
    full = {"layers": {"a": stacked, "b": stacked}, "rest": {"w": None, "c": None}}
    found, expected, by_function = (
        directions(ol.muon(0.1, muon_weight_dimension_numbers=given), [params])
        for given in (short, full, lambda params: short)
    )
    chex.assert_trees_all_equal(found, expected)
    chex.assert_trees_all_equal(by_function, expected)
    wrong = ol.muon(0.1, muon_weight_dimension_numbers={"layers": {"a": stacked}, "rest": None})
    with pytest.raises(ValueError, match=r"dimension numbers .*'layers/b' only in the params"):
        wrong.init(params)


@pytest.mark.parametrize("shape", [(3,), (4, 3)])
def test_coefficients_may_be_an_array(shape):
    rows = np.broadcast_to(np.float32([3.0, -3.5, 1.5]), shape)
    expected = ol.muon(0.1, ns_coeffs=tuple(map(tuple, rows)) if rows.ndim == 2 else tuple(rows))
    for array in (rows, jnp.asarray(rows), rows.tolist()):
        assert ol.muon(0.1, ns_coeffs=array) == expected
        assert ol.muon(0.1).replace(ns_coeffs=array) == expected
    traced = jax.jit(
        lambda a: ol.muon(0.1, ns_coeffs=a).hyperparams["ns_coeffs/0" + rows.ndim // 2 * "/0"]
    )
    assert traced(rows) == 3.0
    with pytest.raises(ValueError, match=r"ns_coeffs must be \(a, b, c\)"):
        ol.muon(0.1, ns_coeffs=jnp.ones((4, 2)))


def test_coefficients_are_data():
    g, tx = normal(4, 4), ol.scale_by_muon()
    assert dict(list(tx.hyperparams.items())[:3]) == {
        "ns_coeffs/0": 3.4445,
        "ns_coeffs/1": -4.775,
        "ns_coeffs/2": 2.0315,
    }
    steeper = jax.vmap(lambda a: ol.scale_by_muon((a, -4.775, 2.0315)))(jnp.array([3.0, 3.4445]))
    many = jax.vmap(lambda tx: tx.update(g, tx.init(g))[0])(steeper)
    assert_close(many[1], directions(tx, [g])[0], ulps=A_PRODUCT * CONDITION)
    assert ol.scale_by_muon("standard").update(g, tx.init(g))[0].shape == g.shape


@pytest.mark.parametrize("dtype", first(1, ["float16", "bfloat16", "float32"]))
@pytest.mark.parametrize("preconditioning", ["frobenius", "spectral", "aol", "schatten"])
def test_newton_schulz_of_zero_is_zero_in_every_dtype(dtype, preconditioning):
    zeros = jnp.zeros((3, 4), dtype)
    for ns_dtype in (None, jnp.bfloat16):
        tx = ol.scale_by_muon(preconditioning=preconditioning, ns_dtype=ns_dtype)
        chex.assert_trees_all_equal(directions(tx, [zeros, zeros]), [zeros, zeros])


def test_newton_schulz_in_bfloat16_keeps_the_singular_values():
    """Measured on a Gaussian (256, 256), whose smallest singular value is a thousandth of the
    largest.

    Five steps in float32 bring the singular values into [0.076, 1.199], in bfloat16 into [0.074,
    1.192]; each is the same up to 0.023, and 95 % are above 0.68 and 0.67. The matrices are 3.3 %
    apart, where Newton-Schulz itself leaves 24 % to the polar factor.
    """
    g = normal(256, 256).astype(jnp.float32)
    exact, rough = (
        directions(ol.scale_by_muon(ns_dtype=dtype), [g])[0] for dtype in (None, jnp.bfloat16)
    )
    assert rough.dtype == exact.dtype == jnp.float32
    u, _, vt = jnp.linalg.svd(g)
    s, t = singular_values(exact), singular_values(rough)
    apart, from_polar = jnp.linalg.norm(exact - rough), jnp.linalg.norm(exact - u @ vt)
    size = jnp.linalg.norm(exact)
    assert float(abs(s - t).max()) < 0.03
    assert float(jnp.quantile(s, 0.05)) > 0.65 and float(jnp.quantile(t, 0.05)) > 0.65
    assert max(float(s.max()), float(t.max())) < 1.25
    assert 0.02 < float(apart / size) < 0.05 < 0.2 < float(from_polar / size)


# --- Shampoo --------------------------------------------------------------------------------------


def test_the_first_update_of_shampoo_is_the_polar_factor(x64):
    g = normal(5, 5)
    u, _, vt = jnp.linalg.svd(g)
    np.testing.assert_allclose(
        directions(ol.scale_by_shampoo(eps=1e-14), [g])[0], u @ vt, rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("every", first(1, [1, 3]))
def test_shampoo_turns_with_the_gradient_on_both_sides(every, x64):
    a, b, tx = rotation(4), rotation(7, seed=1), ol.scale_by_shampoo(b2=0.9, eps=0.1, every=every)
    gradients = [normal(4, 7, seed=i) for i in range(4)]
    turned = directions(tx, [a @ g @ b for g in gradients])
    for u, v in zip(directions(tx, gradients), turned, strict=True):
        assert_close(a @ u @ b, v, ulps=A_PRODUCT * CONDITION)


def test_shampoo_of_a_vector_is_full_matrix_adagrad(x64):
    gradients = [normal(5, seed=i) for i in range(4)]
    total = 0.1 * np.eye(5)
    for g, u in zip(gradients, directions(ol.scale_by_shampoo(eps=0.1), gradients), strict=True):
        total += np.outer(g, g)
        values, vectors = np.linalg.eigh(total)
        assert_close(u, vectors @ (vectors.T @ g / np.sqrt(values)), ulps=A_PRODUCT * CONDITION)


@pytest.mark.nightly
def test_shampoo_of_blocks_is_a_loop_over_blocks(x64):
    gradients = [normal(5, 3, seed=i) for i in range(3)]
    tx = ol.scale_by_shampoo(eps=0.1, block_size=2)
    together = directions(tx, gradients)
    for rows in (slice(0, 2), slice(2, 4), slice(4, 5)):
        for columns in (slice(0, 2), slice(2, 3)):
            alone = directions(tx, [g[rows, columns] for g in gradients])
            assert_close([u[rows, columns] for u in together], alone, ulps=A_PRODUCT * CONDITION)


@pytest.mark.parametrize("shape", [(), (1,), (5,), (0,), (0, 3), (4, 4), (5, 7), (3, 1, 6)])
@pytest.mark.parametrize("size", first(1, [4, 1, 2, 128]))
def test_blocks_make_the_array_again(shape, size):
    x = normal(*shape)
    blocks = to_blocks(x, size)
    assert all(n <= size for n in blocks.shape[1:])
    chex.assert_trees_all_equal(from_blocks(blocks, shape), x)


# --- SOAP -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("frequency", first(1, [1, 3]))
def test_soap_turns_with_the_gradient_on_both_sides(frequency, x64):
    a, b, tx = rotation(4), rotation(5, seed=1), ol.scale_by_soap(precondition_frequency=frequency)
    gradients = [normal(4, 5, seed=i) for i in range(6)]
    turned = directions(tx, [a @ g @ b for g in gradients])
    for u, v in zip(directions(tx, gradients), turned, strict=True):
        np.testing.assert_allclose(a @ u @ b, v, rtol=0, atol=1e-9)


@pytest.mark.parametrize("shape", [(5,), (), (5, 5)])
def test_soap_without_bases_is_adam_from_the_second_update_on(shape, x64):
    gradients = [normal(*shape, seed=i) for i in range(5)]
    found = directions(ol.scale_by_soap(0.9, 0.99, eps=1e-12, max_precondition_dim=4), gradients)
    chex.assert_trees_all_equal(found[0], jnp.zeros(shape))
    # Of updates up to 1 the eps beside a √v that is not corrected, at least √(1 - b2)·|g|, is this
    # share.
    share = 1e-12 / (0.1 * min(float(jnp.min(jnp.abs(g))) for g in gradients[1:]))
    for u, v in zip(
        found[1:], directions(ol.scale_by_adam(0.9, 0.99, 1e-12), gradients[1:]), strict=True
    ):
        np.testing.assert_allclose(u, v, rtol=0, atol=share + 4 * A_STEP * np.finfo(float).eps)


def test_soap_is_adam_in_its_basis(x64):
    """A gradient of constant singular vectors is diagonal there: the update is that of Adam for its
    singular values.
    """
    a, b = rotation(4), rotation(4, seed=1)
    diagonals = [jnp.diag(jnp.array([4.0, 3.0, 2.0, 1.0]) * (1 + 0.2 * i)) for i in range(5)]
    found = directions(
        ol.scale_by_soap(0.9, 0.99, eps=1e-12, precondition_frequency=2),
        [a @ d @ b for d in diagonals],
    )
    expected = directions(ol.scale_by_adam(0.9, 0.99, 1e-12), [jnp.diag(d) for d in diagonals[1:]])
    for u, singular in zip(found[1:], expected, strict=True):
        np.testing.assert_allclose(u, a @ jnp.diag(singular) @ b, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("make", "costly"),
    [
        (lambda eps: ol.scale_by_soap(eps=eps), ("eigh", "householder_product")),
        (lambda eps: ol.scale_by_shampoo(eps=eps, every=10), ("eigh",)),
    ],
    ids=["soap", "shampoo"],
)
def test_decompositions_wait_for_their_turn_in_a_population_too(make, costly):
    g = normal(4, 5)

    def run(eps):
        tx = make(eps)
        state, total = tx.init(g), 0.0
        for _ in range(2):
            u, state = tx.update(g, state)
            total += jnp.sum(u)
        return total

    jaxpr = jax.make_jaxpr(jax.vmap(run))(jnp.array([0.1, 0.2])).jaxpr
    outside = functools.reduce(set.union, primitives_outside_branches(jaxpr))
    assert not outside & set(costly)


def primitives_outside_branches(jaxpr):
    for equation in jaxpr.eqns:
        yield {equation.primitive.name}
        if equation.primitive.name != "cond":
            for inner in jax.tree.leaves(
                list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")
            ):
                if hasattr(inner, "jaxpr"):
                    yield from primitives_outside_branches(inner.jaxpr)


def test_the_decay_mask_of_muon_reaches_the_leaves_of_adam_too():
    params = {"w": jnp.ones((3, 4)), "b": jnp.ones(3)}
    nothing = jax.tree.map(jnp.zeros_like, params)
    for mask in (
        {"w": True, "b": False},
        "w",
        lambda tree: jax.tree.map(lambda x: x.ndim > 1, tree),
    ):
        tx = ol.muon(0.1, weight_decay=0.5, adam_weight_decay=0.5, weight_decay_mask=mask)
        updates, _ = tx.update(nothing, tx.init(params), params)
        chex.assert_trees_all_close(updates, {"w": jnp.full((3, 4), -0.05), "b": jnp.zeros(3)})
