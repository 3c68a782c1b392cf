"""Shampoo (Gupta, Koren & Singer 2018)."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import optax_lite as ol
from tests.methods.compare import part_with
from tests.methods.momentum import trace
from tests.methods.row import Namespace, Quirks, Row, fast, rate, rate_bad, slow, with_rate


def inverse_root(A, p, eps):
    """A^(-1/p) of a positive semidefinite matrix, by its eigenvalues (Gupta, Koren & Singer 2018,
    section 2).
    """
    eigenvalues, V = np.linalg.eigh(A)
    # The paper has eps in the statistics, which start at eps * I and so never have an eigenvalue
    # below eps; the floor takes back the rounding of eigh, which may go below 0. With b2 < 1 the
    # start fades away and the floor is what stays of it. Gupta's released code starts at 0, clips
    # at 0 and adds eps here instead, the same for b2 = 1. (Both, eps in the start and again in the
    # root, would be 2 eps.)
    return (V * np.maximum(eigenvalues, eps) ** (-1 / p)) @ V.conj().T


def scale_by_shampoo(g, s, w, *, b2, eps, block_size, every):
    """Shampoo direction (Gupta, Koren & Singer 2018, Algorithm 2; Algorithm 1 is its case k = 2),
    block by block.
    """
    # A scalar is a vector of length 1.
    G = np.atleast_1d(g)
    k = G.ndim
    blocks = list(np.ndindex(*(-(-d // block_size) for d in G.shape)))
    count = 0 if s is None else s["count"]
    statistics = [{} for _ in range(k)]
    roots = [{} for _ in range(k)]
    u = np.zeros_like(G)
    for block in blocks:
        # The last block of an axis takes what is left. Blocks know nothing of each other.
        part = tuple(slice(i * block_size, (i + 1) * block_size) for i in block)
        G_block = G[part]
        u_block = G_block
        for i in range(k):
            H = eps * np.eye(G_block.shape[i]) if s is None else s["statistics"][i][block]
            others = [j for j in range(k) if j != i]
            outer = np.tensordot(G_block, G_block.conj(), axes=(others, others))
            # The paper sums (b2 = 1); b2 < 1 averages.
            H = b2 * H + (1 - b2 if b2 < 1 else 1) * outer
            # Algorithm 2 takes the root in every step; the authors' code has an interval too
            # (svd_interval).
            root = inverse_root(H, 2 * k, eps) if count % every == 0 else s["roots"][i][block]
            u_block = np.moveaxis(np.tensordot(root, u_block, axes=(1, i)), 0, i)
            statistics[i][block] = H
            roots[i][block] = root
        u[part] = u_block
    return u.reshape(g.shape), {"count": count + 1, "statistics": statistics, "roots": roots}


def shampoo(g, s, w, *, learning_rate, momentum, nesterov, b2, eps, block_size, every):
    """Shampoo (Gupta, Koren & Singer 2018, Algorithm 2) with momentum on the preconditioned
    gradient.
    """
    u, s_new = scale_by_shampoo(g, s, w, b2=b2, eps=eps, block_size=block_size, every=every)
    if momentum is not None:
        u, t = trace(u, s, w, decay=momentum, nesterov=nesterov)
        s_new.update(t)
    return -learning_rate * u, s_new


def blocks_as_kept(field, value, w):
    """The statistics of a leaf as a list by axis of lists by block, without the rows that fill a
    last block up.
    """
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
    "fresh_only": (
        "the start of a block holds for its whole state, and five steps pass over roots in use "
        "already"
    ),
    "as_kept": blocks_as_kept,
    "data": of_one_size,
    # An eigenvalue of eps beside one of λ has lost the digits of λ / eps, a few hundred here.
    "float32": 1e-5,
}


def shampoo_parts(
    lib, learning_rate, momentum=0.9, nesterov=False, b2=1.0, eps=1e-6, block_size=128, every=1
):
    return lib.chain(
        lib.scale_by_shampoo(b2=b2, eps=eps, block_size=block_size, every=every),
        lib.trace(decay=momentum, nesterov=nesterov),
        lib.scale_by_learning_rate(learning_rate),
    )


ROWS: tuple[Row, ...] = (
    Row(
        ol.scale_by_shampoo,
        scale_by_shampoo,
        shampoo_settings,
        shampoo_bad,
        quirks=Quirks(positive=("eps",), same_program=1e-4, **shampoo_how),
    ),
    Row(
        ol.shampoo,
        shampoo,
        (
            *({"learning_rate": 0.1, **s} for s in shampoo_settings[:5]),
            {"learning_rate": rate, "momentum": 0.5, "nesterov": True, "eps": 0.1},
            {"learning_rate": 0.1, "momentum": 0.0, "b2": 0.7, "eps": 0.1, "block_size": 2},
            {"learning_rate": 0.1, "momentum": fast, "eps": 0.1, "every": 2},
        ),
        (
            *rate_bad,
            *with_rate(shampoo_bad),
            ({"learning_rate": 0.1, "momentum": 1.5}, "momentum must be in [-1, 1]"),
        ),
        stands_for=shampoo_parts,
        quirks=Quirks(**shampoo_how, positive=("eps",), same_program=1e-4),
    ),
)


def _blocks_by_default(namespace: Namespace) -> bool:
    """Blocks of 128: a matrix (128, 300) is three of them, the last filled up."""
    for factory in (namespace["scale_by_shampoo"], partial(namespace["shampoo"], 0.1)):
        state = jax.eval_shape(factory().init, jax.ShapeDtypeStruct((128, 300), jnp.float32))
        if [x.shape for x in part_with(state, "statistics").statistics] != [(3, 128, 128)] * 2:
            return False
    return True


def _waits_for_roots(namespace: Namespace) -> bool:
    """A leaf that had no gradient when roots were made stands still until they are made again."""
    tx, g = namespace["scale_by_shampoo"](every=2), jnp.array([1.0, -2.0])
    state, moves = tx.init({"w": g}), []
    for given in (None, g, g):
        updates, state = tx.update({"w": given}, state)
        moves.append(given is not None and bool(jnp.any(updates["w"])))
    return moves == [False, False, True]


def _of_any_size(namespace: Namespace) -> bool:
    """A tall matrix has sums without full rank; what rounding leaves there is no small
    eigenvalue.
    """
    tx, g = namespace["scale_by_shampoo"](), np.random.default_rng(0).normal(size=(6, 4))
    moves = []
    for size in (1e6, 1e15):
        state = tx.init(g)
        for i in (1.0, 1.1, 0.9):
            u, state = tx.update(i * size * g, state)
        moves.append(u)
    return np.allclose(*moves, rtol=0, atol=1e-9)


PROBES = {
    "optax_lite.optimizers.shampoo": {
        "defaults": _blocks_by_default,
        "late": _waits_for_roots,
        "sizes": _of_any_size,
    }
}
