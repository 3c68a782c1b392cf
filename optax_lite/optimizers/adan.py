"""Adan: Adam with Nesterov's look-ahead, computed from the change of the gradient.

It keeps three moving averages: of the gradient, of its change from step to step, and of the square
of the gradient that is expected next. A decay b, here and in the authors' code, is 1 - β in the
paper.
"""

from typing import NamedTuple

import jax.numpy as jnp

from optax_lite._transforms.decay import with_decay_and_rate
from optax_lite.core.leafwise import increment, leafwise, zero_count, zeros_like
from optax_lite.core.numerics import abs_sq, bias_correction_factor, moving_average, over, sqrt
from optax_lite.core.transform import Array, PyTree, transform
from optax_lite.core.types import Mask, ScalarOrSchedule


class ScaleByAdanState(NamedTuple):
    m: PyTree  # moving average of g
    v: PyTree  # moving average of the change of g
    n: PyTree  # moving average of the square of the gradient looked ahead to
    g: PyTree  # the last gradient
    t: Array  # updates so far, int32


@transform
def scale_by_adan(
    b1: ScalarOrSchedule = 0.98,
    b2: ScalarOrSchedule = 0.92,
    b3: ScalarOrSchedule = 0.99,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
):
    """Divide the average gradient plus its average change by its size. Xie et al. 2022, Algorithm
    1.

        d = g - g_last, at the first step 0
        m = b1·m + (1 - b1)·g
        v = b2·v + (1 - b2)·d
        n = b3·n + (1 - b3)·|g + b2·d|²
        g ← (m̂ + b2·v̂) / (√(n̂ + eps_root) + eps)

    m̂, v̂ and n̂ are corrected by 1 - b1ᵗ, 1 - b2ᵗ and 1 - b3ᵗ, as in the authors' code. optax has
    1 - b2 where n and the update have b2: the paper's formula with the other meaning of b2, which
    makes the look-ahead 0.08 instead of 0.92.

    Args:
        b1: Decay of the moving average of gradients, in [0, 1).
        b2: Decay of the moving average of the gradient's change, and weight of the look-ahead; in
            [0, 1).
        b3: Decay of the moving average of the squared look-ahead gradient, in [0, 1).
        eps: Added to the denominator; at least 0.
        eps_root: Added under the square root of the denominator; at least 0.
    """

    def init(params):
        n = zeros_like(params, real=True)
        return ScaleByAdanState(
            zeros_like(params), zeros_like(params), n, zeros_like(params), zero_count()
        )

    def update(updates, state):
        first, t = state.t == 0, increment(state.t)
        c1, c2, c3 = (
            bias_correction_factor(b1, t),
            bias_correction_factor(b2, t),
            bias_correction_factor(b3, t),
        )

        def rule(g, m, v, n, g_last):
            d = jnp.where(first, 0, g - g_last)
            m = moving_average(b1, m, g)
            v = moving_average(b2, v, d)
            n = moving_average(b3, n, abs_sq(g + b2 * d))
            return over(m / c1 + b2 * v / c2, sqrt(n / c3 + eps_root) + eps), m, v, n, g

        updates, m, v, n, g = leafwise(
            rule, updates, state.m, state.v, state.n, state.g, squares=True
        )
        return updates, ScaleByAdanState(m, v, n, g, t)

    return init, update


@transform(static=("mask",))
def adan(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.98,
    b2: ScalarOrSchedule = 0.92,
    b3: ScalarOrSchedule = 0.99,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 1e-8,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: Mask | None = None,
):
    """Update w by Adan: Adam that looks ahead along the change of the gradient. Xie et al. 2022,
    Algorithm 1.

        w ← w - lr·((m̂ + b2·v̂) / (√(n̂ + eps_root) + eps) + weight_decay·w)

    For m̂, v̂ and n̂ see `scale_by_adan`. The decay is that of AdamW and of the authors'
    `no_prox=True`; the paper divides w - lr·u by 1 + lr·weight_decay instead. The default eps_root
    differs from that of `scale_by_adan`; both are optax's, and the authors have none. Rates are
    five to ten times those of Adam.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        b1: Decay of the moving average of gradients, in [0, 1).
        b2: Decay of the moving average of the gradient's change, and weight of the look-ahead; in
            [0, 1).
        b3: Decay of the moving average of the squared look-ahead gradient, in [0, 1).
        eps: Added to the denominator; at least 0.
        eps_root: Added under the square root of the denominator; at least 0.
        weight_decay: Decoupled weight decay; the learning rate multiplies it.
        mask: Leaves that decay: path patterns, a tree of bools or a function that makes one of the
            params (see `masked`); None for all.
    """
    return with_decay_and_rate(
        learning_rate, scale_by_adan(b1, b2, b3, eps, eps_root), decay=(weight_decay, mask)
    )
