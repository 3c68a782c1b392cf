"""The rows of methods that look at a leaf as a matrix."""

import jax
import jax.numpy as jnp
import numpy as np

import optax_lite as ol
from tests.agreement import started
from tests.catalogue.row import Row, beta_bad, eps_bad, fast, rate, rate_bad, slow, with_rate, wrong_names
from tests.reference import muon, shampoo, soap

quintics = ((3.0, -3.5, 1.5), (2.0, -1.5, 0.5))  # two steps, each its own


def rows_of_any(tree):
    """Dimension numbers for leaves of any shape: a vector is one row, and of more axes the first two make a matrix."""
    return jax.tree.map(lambda x: ol.MuonDimensionNumbers(*(((), ()), ((), 0), (0, 1))[min(np.ndim(x), 2)]), tree)


newton_schulz_bad = (
    ({"beta": 1.0}, "beta must be in [0, 1), got 1.0"),
    ({"eps": -1}, "eps must be at least 0, got -1.0"),
    ({"ns_steps": 0}, "ns_steps must be an integer of at least 1, got 0"),
    ({"ns_coeffs": (1.0, 2.0)}, "ns_coeffs must be (a, b, c), one such for each step, or one of standard, dion, got"),
    ({"ns_coeffs": "quintic"}, "one of standard, dion, got 'quintic'"),
    ({"preconditioning": "l2"}, "preconditioning must be one of frobenius, spectral, aol, schatten, got 'l2'"),
    ({"ns_dtype": "int8"}, "ns_dtype must be a floating dtype or None, got 'int8'"),
)
muon_settings = (
    {},
    {"nesterov": False, "beta": 0.5, "eps": 0.3},
    {"beta": 0.8, "eps": 0.5},
    {"adaptive": True, "beta": 0.0, "ns_steps": 2},
    {"ns_coeffs": "dion", "nesterov": False, "adaptive": True, "eps": 0.1},
    {"ns_coeffs": quintics, "preconditioning": "spectral", "eps": 0.2},
    {"ns_coeffs": (1.5, -0.5, 0.1), "ns_steps": 3, "preconditioning": "aol", "beta": fast},
    {"preconditioning": "schatten", "ns_steps": 4, "beta": slow, "nesterov": False},
)
# A step multiplies a small singular value, and its rounding, by up to 3.4: five of them by 480.
muon_float32 = 5e-6


def blocks_as_kept(field, value, w):
    """The statistics of a leaf as a list by axis of lists by block, without the rows that fill a last block up."""
    if field == "trace" or field == "count":
        return value
    lengths = np.shape(w) or (1,)
    sizes = [p.shape[-1] for p in value]
    grid = list(np.ndindex(*(-(-length // n) for length, n in zip(lengths, sizes, strict=True))))

    def cropped(axis):
        kept = [min(sizes[axis], lengths[axis] - block[axis] * sizes[axis]) for block in grid]
        return [p[:n, :n] for p, n in zip(value[axis], kept, strict=True)]

    return [cropped(axis) for axis in range(len(sizes))]


def of_one_size(trees):
    """Gradients of "b" as large as the others', so that no sum of squares is 5e4 times eps."""
    params, gradients = trees
    return params, [g | {"b": g["b"] / 30} for g in gradients]


shampoo_settings = (
    {"eps": 0.1},
    {"block_size": 1},
    {"b2": 0.9, "eps": 0.3, "every": 2},
    {"b2": 0.5, "eps": 0.01, "block_size": 2},
    {"b2": 0.0, "eps": 1.0, "block_size": 1, "every": 3},
    {"block_size": 3, "eps": 0.2},
    {"b2": fast, "eps": 0.1, "block_size": 2, "every": 2},
    {"b2": slow, "eps": rate, "block_size": 4},
)
shampoo_bad = (
    ({"b2": 1.5}, "b2 must be in [0, 1], got 1.5"),
    ({"eps": 0}, "eps must be above 0, got 0.0"),
    ({"block_size": 0}, "block_size must be an integer of at least 1, got 0"),
    ({"every": 0.5}, "every must be an integer of at least 1, got 0.5"),
)
shampoo_how = {
    "fresh_only": "the start of a block holds for its whole state, and five steps pass over roots in use already",
    "as_kept": blocks_as_kept,
    "data": of_one_size,
    # An eigenvalue of eps beside one of λ has lost the digits of λ / eps, a few hundred here.
    "float32": 1e-5,
}

soap_settings = (
    {},
    {"b1": 0.5, "b2": 0.9, "eps": 0.1, "precondition_frequency": 1},
    {"b1": 0.0, "b2": 0.8, "shampoo_beta": 0.3, "precondition_frequency": 2},
    {"b1": 0.8, "b2": 0.5, "shampoo_beta": 0.9, "eps": 0.3, "max_precondition_dim": 3, "precondition_frequency": 4},
    {"max_precondition_dim": 2, "precondition_frequency": 2},
    {"b1": fast, "b2": slow, "precondition_frequency": 1},
    {"shampoo_beta": fast, "eps": 0.01, "precondition_frequency": 2},
    {"shampoo_beta": 0, "eps": 0, "precondition_frequency": 7},
)
soap_bad = (
    *beta_bad,
    eps_bad[0],
    ({"shampoo_beta": 1.0}, "shampoo_beta must be in [0, 1), got 1.0"),
    ({"precondition_frequency": 0}, "precondition_frequency must be an integer of at least 1, got 0"),
    ({"max_precondition_dim": 1.5}, "max_precondition_dim must be an integer of at least 1, got 1.5"),
)


def without_signs(field, value):
    """Of eigenvectors the absolute values: their signs (complex: phases) are whatever LAPACK makes of them."""
    return [q if q is None else np.abs(q) for q in value] if field == "q" else value


def soap_used(state, seed):
    """A used state whose q are orthogonal and whose gg have eigenvalues apart, as in training."""

    def is_soap(part):
        return isinstance(part, ol.ScaleBySoapState)

    def like_training(part):
        q = jax.tree.map(lambda x: jnp.linalg.qr(x)[0], part.q)
        gg = jax.tree.map(lambda x, q: 0.1 * x + q * jnp.arange(1.0, len(q) + 1).astype(q.dtype) @ q.T, part.gg, q)
        return part._replace(q=q, gg=gg)

    with jax.numpy_rank_promotion("allow"):
        return jax.tree.map(lambda x: like_training(x) if is_soap(x) else x, started(state, seed), is_leaf=is_soap)


# No axis is longer than the others' product by two, or eigenvectors for a repeated 0 would be anybody's choice.
soap_how = {
    "shapes": {"w": (3, 4), "wide": (2, 1, 2), "b": (3,), "scalar": ()},
    "determined": without_signs,
    "used": soap_used,
    "float32": 1e-5,  # what is small in the basis of the eigenvectors is a difference of large entries
}

ROWS: tuple[Row, ...] = (
    Row(
        ol.scale_by_muon,
        muon.scale_by_muon,
        tuple({"weight_dimension_numbers": rows_of_any, **s} for s in muon_settings),
        newton_schulz_bad,
        unlike=("mu_dtype", "weight_dimension_numbers", "ns_dtype"),
        shapes={"w": (3, 4), "wide": (5, 2), "b": (1, 3), "scalar": (1, 1)},
        float32=muon_float32,
        same_program=2e-5,
    ),
    Row(
        ol.scale_by_muon,
        muon.scale_by_muon,
        tuple({"weight_dimension_numbers": ol.MuonDimensionNumbers(1, 2), **s} for s in muon_settings),
        unlike=("mu_dtype", "weight_dimension_numbers", "ns_dtype"),
        translate=lambda s: s | {"stacked": True},
        shapes={"w": (2, 3, 4), "wide": (3, 5, 2), "b": (1, 3, 1), "scalar": (2, 1, 1)},
        complex_=False,
        no_laws="dimension numbers of three axes fit no leaf there; the unstacked row is called",
        float32=muon_float32,
        variant=", stacked",
        same_program=2e-5,
    ),
    Row(
        ol.muon,
        muon.muon,
        (
            *({"learning_rate": 0.1, **s} for s in muon_settings),
            {"learning_rate": rate, "weight_decay": 0.3, "adam_weight_decay": 0.2, "eps": 0.1},
            {"learning_rate": 0.1, "adam_learning_rate": 0.5, "consistent_rms": 0.2, "eps": 0.2},
            {"learning_rate": 0.1, "adam_b1": 0.5, "adam_b2": 0.9, "adam_eps_root": 0.05, "consistent_rms": rate},
            {"learning_rate": fast, "adam_learning_rate": rate, "adam_b1": 0.0, "nesterov": False},
        ),
        (*rate_bad, *with_rate(newton_schulz_bad)),
        unlike=("mu_dtype", "weight_decay_mask", "muon_weight_dimension_numbers", "ns_dtype"),
        shapes={"w": (3, 4), "tall": (5, 2), "row": (1, 3), "wide": (2, 1, 5), "b": (3,), "scalar": ()},
        float32=muon_float32,
        same_program=2e-5,
    ),
    Row(
        ol.scale_by_shampoo,
        shampoo.scale_by_shampoo,
        shampoo_settings,
        shampoo_bad,
        positive=("eps",),
        same_program=1e-4,
        **shampoo_how,
    ),
    Row(
        ol.shampoo,
        shampoo.shampoo,
        (
            *({"learning_rate": 0.1, **s} for s in shampoo_settings[:5]),
            {"learning_rate": rate, "momentum": 0.5, "nesterov": True, "eps": 0.1},
            {"learning_rate": 0.1, "momentum": 0.0, "b2": 0.7, "eps": 0.1, "block_size": 2},
            {"learning_rate": 0.1, "momentum": fast, "eps": 0.1, "every": 2},
        ),
        (*rate_bad, *with_rate(shampoo_bad), ({"learning_rate": 0.1, "momentum": 1.0}, "decay must be in [0, 1)")),
        **shampoo_how,
        positive=("eps",),
        same_program=1e-4,
    ),
    Row(ol.scale_by_soap, soap.scale_by_soap, soap_settings, soap_bad, same_program=1e-4, **soap_how),
    Row(
        ol.soap,
        soap.soap,
        (
            *soap_settings[:6],
            {"learning_rate": 0.1, "weight_decay": 0.3, "eps": 0.1},
            {"learning_rate": rate, "weight_decay": fast, "eps": 0.1, "precondition_frequency": 2},
        ),
        (*rate_bad, *wrong_names, *with_rate(soap_bad)),
        unlike=("mask",),
        **soap_how,
        same_program=1e-4,
    ),
)
