"""Shampoo: a full-matrix preconditioner for every axis."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optax_lite._transforms.decay import with_decay_and_rate
from optax_lite._transforms.momentum import trace
from optax_lite.core.leafwise import increment, leafwise, varying_like, zero_count, zeros_like
from optax_lite.core.matrices import adjoint, along, from_blocks, gram, to_blocks
from optax_lite.core.placement import whole
from optax_lite.core.transform import Array, PyTree, transform
from optax_lite.core.types import ScalarOrSchedule
from optax_lite.core.validate import ArgumentError, check_count, check_nonnegative, check_positive


class ScaleByShampooState(NamedTuple):
    count: Array  # updates so far, int32
    statistics: PyTree  # for each axis eps·I + Σ GGᵀ of all blocks of the leaf: (blocks, n, n)
    roots: PyTree  # for each axis the inverse 2k-th roots in use, k the number of axes


def _inverse_root(statistics, order, floor):
    values, vectors = jnp.linalg.eigh(jax.lax.stop_gradient(statistics))
    rounding = jnp.finfo(values.dtype).eps * values[..., -1:]
    powers = jnp.maximum(values, jnp.maximum(floor, rounding)) ** (-1 / order)
    return (vectors * powers[..., None, :]) @ adjoint(vectors)


# A shared b2 must be below 1; this one may be 1 (decision 25).
@transform(static=("block_size", "every"), own_range=("b2",))
def scale_by_shampoo(
    b2: ScalarOrSchedule = 1.0, eps: ScalarOrSchedule = 1e-6, block_size: int = 128, every: int = 1
):
    """Precondition G along each of its axes by a full matrix. Gupta, Koren & Singer 2018,
    Algorithms 1 and 2.

        G ← L^(-1/4) G R^(-1/4), and so on for k axes by -1/2k

    L = eps·I + Σ GGᵀ and R = eps·I + Σ GᵀG; with b2 below 1 these are moving averages b2·L + (1 -
    b2)·GGᵀ instead of sums. Eigenvalues below eps, or below the rounding error of the largest one,
    are raised to that: otherwise the inverse root of a rounding error would be the largest of all.
    A vector gets full-matrix Adagrad's preconditioner; a scalar is a vector of length 1.

    Each block of a leaf is preconditioned by itself; the state of a matrix of whole blocks is four
    times its size. There is no grafting: the size of the update is Shampoo's own.

    Args:
        b2: Decay of L and R, in [0, 1]; 1 sums them.
        eps: Multiple of the identity at which L and R start, and their least eigenvalue; above 0.
        block_size: Length of the blocks into which axes are cut, the last one shorter; an integer
            of at least 1.
        every: Updates from one computation of the roots to the next, starting with the first; an
            integer of at least 1.
    """
    check_nonnegative(b2=b2)
    check_positive(eps=eps)
    check_count(block_size=block_size, every=every)
    if isinstance(b2, float) and b2 > 1:
        raise ArgumentError(f"b2 must be in [0, 1], got {b2!r}")

    def init(params):
        def start(m):
            count, *sizes = jax.eval_shape(lambda: to_blocks(jnp.zeros(m.shape), block_size)).shape
            return varying_like(
                [jnp.broadcast_to(eps * jnp.eye(n, dtype=m.dtype), (count, n, n)) for n in sizes], m
            )

        statistics = jax.tree.map(start, zeros_like(params))
        return ScaleByShampooState(zero_count(), statistics, zeros_like(statistics))

    def update(updates, state):
        is_due = state.count % every == 0
        weight = jnp.where(b2 == 1, 1.0, 1 - b2)

        def rule(g, statistics, roots):
            blocks, order = to_blocks(g, block_size), 2 * len(statistics)
            grams = [
                jax.vmap(lambda x, axis=axis: gram(x, axis))(blocks)
                for axis in range(len(statistics))
            ]
            statistics = [b2 * p + weight * new for p, new in zip(statistics, grams, strict=True)]
            roots = jax.lax.cond(
                is_due, lambda: [_inverse_root(p, order, eps) for p in statistics], lambda: roots
            )
            for axis, root in enumerate(roots):
                blocks = jax.vmap(lambda a, x, axis=axis: along(a, x, axis))(root, blocks)
            return from_blocks(blocks, g.shape), whole(statistics), whole(roots)

        updates, statistics, roots = leafwise(
            rule, updates, state.statistics, state.roots, squares=True
        )
        return updates, ScaleByShampooState(increment(state.count), statistics, roots)

    return init, update


@transform(static=("block_size", "every"), own_range=("b2",))
def shampoo(
    learning_rate: ScalarOrSchedule,
    momentum: ScalarOrSchedule = 0.9,
    nesterov: bool = False,
    b2: ScalarOrSchedule = 1.0,
    eps: ScalarOrSchedule = 1e-6,
    block_size: int = 128,
    every: int = 1,
):
    """Update W by gradients preconditioned along each axis, with momentum. Gupta, Koren & Singer
    2018.

        W ← W - lr·t,  t = L^(-1/4) G R^(-1/4) + momentum·t

    For L and R see `scale_by_shampoo`.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        momentum: Decay of the momentum, in [-1, 1].
        nesterov: Use Nesterov momentum, which looks one step ahead.
        b2: Decay of L and R, in [0, 1]; 1 sums them.
        eps: Multiple of the identity at which L and R start, and their least eigenvalue; above 0.
        block_size: Length of the blocks into which axes are cut, the last one shorter; an integer
            of at least 1.
        every: Updates from one computation of the roots to the next, starting with the first; an
            integer of at least 1.
    """
    return with_decay_and_rate(
        learning_rate, scale_by_shampoo(b2, eps, block_size, every), trace(momentum, nesterov)
    )
