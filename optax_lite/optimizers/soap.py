"""SOAP: Adam in the eigenbasis of Shampoo."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optax_lite._transforms.decay import with_decay_and_rate
from optax_lite.core.leafwise import increment, leafwise, varying_like, zero_count, zeros_like
from optax_lite.core.matrices import adjoint, along, gram
from optax_lite.core.norms import norm
from optax_lite.core.numerics import abs_sq, bias_correction_factor, moving_average, over, sqrt
from optax_lite.core.placement import whole
from optax_lite.core.transform import Array, PyTree, transform
from optax_lite.core.types import Mask, ScalarOrSchedule
from optax_lite.core.validate import check_count, check_unit_interval


class ScaleBySoapState(NamedTuple):
    count: Array  # updates so far, int32
    mu: PyTree  # moving average of g
    nu: PyTree  # moving average of |g|² in the basis q
    gg: PyTree  # for each axis the moving average of GGᵀ, None for an axis that is not turned
    q: PyTree  # for each axis an orthogonal matrix, its columns nearly the eigenvectors of gg


def _multiply(x, matrices):
    for axis, a in enumerate(matrices):
        x = x if a is None else along(a, x, axis)
    return x


def _first_basis(v, gg, q):
    """Return the eigenvectors, that of the largest eigenvalue first."""
    return v, jax.tree.map(lambda p: jnp.linalg.eigh(p)[1][:, ::-1], gg)


def _next_basis(v, gg, q):
    """Improve the basis by a step of power iteration, sorted by eigenvalue; the entries of v move
    along.
    """
    orders = jax.tree.map(
        lambda p, b: jnp.argsort(jnp.diag(adjoint(b) @ p @ b).real, descending=True), gg, q
    )
    for axis, order in enumerate(orders):
        v = v if order is None else jnp.take(v, order, axis=axis)
    return v, jax.tree.map(lambda p, b, order: jnp.linalg.qr(p @ b[:, order])[0], gg, q, orders)


@transform(static=("precondition_frequency", "max_precondition_dim"), is_a=("of matrices",))
def scale_by_soap(
    b1: ScalarOrSchedule = 0.95,
    b2: ScalarOrSchedule = 0.95,
    shampoo_beta: ScalarOrSchedule | None = None,
    eps: ScalarOrSchedule = 1e-8,
    precondition_frequency: int = 10,
    max_precondition_dim: int = 10000,
):
    """Run Adam in the eigenbasis of Shampoo. Vyas et al. 2024, Algorithm 3, and their code.

        G ← Q_L N Q_Rᵀ,  N = M'/(√V + eps)·√(1 - b2ᵗ)/(1 - b1ᵗ)

    V is the moving average of the squares of Q_LᵀGQ_R, M' = Q_LᵀMQ_R, M that of G. The columns of
    Q_L and Q_R are nearly eigenvectors of L = beta·L + (1 - beta)·GGᵀ and of R = beta·R + (1 -
    beta)·GᵀG, where beta is `shampoo_beta`, and so on for more axes.

    The first update is zero: its gradient initializes L, R and, by an eigendecomposition, Q. Adam's
    averages and t start with the second. From then on Q is updated at the cost of a QR
    decomposition. A leaf with fewer than two axes is not rotated: that is Adam with eps added to an
    uncorrected √V.

    Args:
        b1: Decay of the moving average of gradients, in [0, 1).
        b2: Decay of the moving average of squared gradients, in [0, 1).
        shampoo_beta: Decay of L and R, in [0, 1); None for b2.
        eps: Added to the denominator; at least 0.
        precondition_frequency: Updates from one QR decomposition to the next, an integer of at
            least 1.
        max_precondition_dim: Length above which an axis is not rotated, an integer of at least 1.
    """
    check_unit_interval(shampoo_beta=shampoo_beta)
    check_count(
        precondition_frequency=precondition_frequency, max_precondition_dim=max_precondition_dim
    )
    beta = b2 if shampoo_beta is None else shampoo_beta

    def init(params):
        def bases(m):
            turned = [m.ndim > 1 and 0 < n <= max_precondition_dim for n in m.shape]
            eyes = [
                jnp.eye(n, dtype=m.dtype) if turn else None
                for n, turn in zip(m.shape, turned, strict=True)
            ]
            return varying_like(eyes, m)

        mu = zeros_like(params)
        q = jax.tree.map(bases, mu)
        return ScaleBySoapState(
            zero_count(), mu, zeros_like(params, real=True), jax.tree.map(jnp.zeros_like, q), q
        )

    def update(updates, state):
        t = state.count  # 0 in the first update
        c1, c2 = (
            bias_correction_factor(b1, jnp.maximum(t, 1)),
            bias_correction_factor(b2, jnp.maximum(t, 1)),
        )
        change = jnp.where(t == 0, 0, jnp.where(t % precondition_frequency == 0, 1, 2))

        def rule(g, m, v, gg, q):
            back = jax.tree.map(adjoint, q)
            m = jnp.where(t == 0, m, moving_average(b1, m, g))
            v = jnp.where(t == 0, v, moving_average(b2, v, abs_sq(_multiply(g, back))))
            turned = jax.tree.leaves(q)
            # In exact arithmetic |m'| is at most about √v. A rotation is rounded to a share of the
            # whole, in m and in v differently, so that below this share an entry is noise over
            # noise, or over 0.
            floor = jnp.finfo(v.dtype).eps * norm(m) * (jnp.sqrt(c2) / c1) if turned else 0
            n = over(_multiply(m, back), jnp.maximum(sqrt(v), floor) + eps) * (jnp.sqrt(c2) / c1)
            u = _multiply(n, q)
            gg = [
                p if p is None else moving_average(beta, p, gram(g, axis))
                for axis, p in enumerate(gg)
            ]
            if turned:
                bases = jax.lax.stop_gradient((gg, q))
                v, q = jax.lax.switch(
                    change, [_first_basis, _next_basis, lambda v, gg, q: (v, q)], v, *bases
                )
            return u, m, v, whole(gg), whole(q)

        updates, mu, nu, gg, q = leafwise(
            rule, updates, state.mu, state.nu, state.gg, state.q, squares=True
        )
        return updates, ScaleBySoapState(increment(t), mu, nu, gg, q)

    return init, update


@transform(static=("mask", "precondition_frequency", "max_precondition_dim"))
def soap(
    learning_rate: ScalarOrSchedule = 3e-3,
    b1: ScalarOrSchedule = 0.95,
    b2: ScalarOrSchedule = 0.95,
    shampoo_beta: ScalarOrSchedule | None = None,
    eps: ScalarOrSchedule = 1e-8,
    weight_decay: ScalarOrSchedule = 0.01,
    mask: Mask | None = None,
    precondition_frequency: int = 10,
    max_precondition_dim: int = 10000,
):
    """Update W by Adam in the eigenbasis of Shampoo; the first step is only decay. Vyas et al.
    2024.

        W ← W - lr·(Q_L N Q_Rᵀ + weight_decay·W)

    For Q_L, N and Q_R see `scale_by_soap`.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        b1: Decay of the moving average of gradients, in [0, 1).
        b2: Decay of the moving average of squared gradients, in [0, 1).
        shampoo_beta: Decay of L and R, in [0, 1); None for b2.
        eps: Added to the denominator; at least 0.
        weight_decay: Decoupled weight decay; the learning rate multiplies it.
        mask: Leaves that decay: path patterns, a tree of bools or a function that makes one of the
            params (see `masked`); None for all.
        precondition_frequency: Updates from one QR decomposition to the next, an integer of at
            least 1.
        max_precondition_dim: Length above which an axis is not rotated, an integer of at least 1.
    """
    return with_decay_and_rate(
        learning_rate,
        scale_by_soap(b1, b2, shampoo_beta, eps, precondition_frequency, max_precondition_dim),
        decay=(weight_decay, mask),
    )
