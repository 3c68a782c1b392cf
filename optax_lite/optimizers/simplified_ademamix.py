"""Simplified AdEMAMix: one decaying sum of gradients, plus the gradient itself.

The gradient replaces AdEMAMix's fast average, so there is one buffer less, and no warm-up. The
paper finds that schedule-free methods and AdEMAMix gain by the same two things: a long memory, and
a large weight on the newest gradient.
"""

from typing import NamedTuple

from optax_lite._transforms.decay import with_decay_and_rate
from optax_lite.core.leafwise import increment, leafwise, zero_count, zeros_like
from optax_lite.core.numerics import abs_sq, bias_correction_factor, moving_average, over, sqrt
from optax_lite.core.transform import Array, PyTree, transform
from optax_lite.core.types import Mask, ScalarOrSchedule
from optax_lite.core.validate import check_nonnegative


class ScaleBySimplifiedAdEMAMixState(NamedTuple):
    t: Array  # updates so far, int32
    m: PyTree  # decaying sum of g
    n: PyTree  # moving average of |g|²


@transform
def scale_by_simplified_ademamix(
    b1: ScalarOrSchedule = 0.99,
    b2: ScalarOrSchedule = 0.95,
    alpha: ScalarOrSchedule = 0.0,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
):
    """Divide a decaying sum of gradients, and the gradient itself, by their size. Morwani et al.
    2025.

        m = b1·m + g
        n = b2·n + (1 - b2)·|g|²,  n̂ = n / (1 - b2ᵗ)
        g ← (m + alpha·g) / (√(n̂ + eps_root) + eps)

    m is a sum without correction, so an update reaches 1 / (1 - b1) + alpha where gradients agree.
    AdEMAMix corrects its fast average and divides its slow one by 1 / (1 - b3); here one sum with a
    b1 near 1 is both, up to the rate.

    Args:
        b1: Decay of the sum of gradients, in [0, 1).
        b2: Decay of the moving average of squared gradients, in [0, 1).
        alpha: Weight of the newest gradient, at least 0: from 0 for large batches to 100 for small
            ones.
        eps: Added to the denominator; at least 0.
        eps_root: Added under the square root of the denominator; at least 0.
    """
    check_nonnegative(alpha=alpha)

    def init(params):
        return ScaleBySimplifiedAdEMAMixState(
            zero_count(), zeros_like(params), zeros_like(params, real=True)
        )

    def update(updates, state):
        t = increment(state.t)
        c2 = bias_correction_factor(b2, t)

        def rule(g, m, n):
            m = b1 * m + g
            n = moving_average(b2, n, abs_sq(g))
            return over(m + alpha * g, sqrt(n / c2 + eps_root) + eps), m, n

        updates, m, n = leafwise(rule, updates, state.m, state.n, squares=True)
        return updates, ScaleBySimplifiedAdEMAMixState(t, m, n)

    return init, update


@transform(static=("mask",))
def simplified_ademamix(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.99,
    b2: ScalarOrSchedule = 0.95,
    alpha: ScalarOrSchedule = 0.0,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: Mask | None = None,
):
    """Update w by a decaying sum of gradients, plus the newest gradient. Morwani et al. 2025.

        w ← w - lr·((m + alpha·g) / (√(n̂ + eps_root) + eps) + weight_decay·w)

    With alpha 0 it is Adam with the rate lr / (1 - b1), without the correction of m: for the
    default b1, divide Adam's rate by 100. The decay is that of AdamW. For m and n̂ see
    `scale_by_simplified_ademamix`.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        b1: Decay of the sum of gradients, in [0, 1).
        b2: Decay of the moving average of squared gradients, in [0, 1).
        alpha: Weight of the newest gradient, at least 0: from 0 for large batches to 100 for small
            ones.
        eps: Added to the denominator; at least 0.
        eps_root: Added under the square root of the denominator; at least 0.
        weight_decay: Decoupled weight decay; the learning rate multiplies it.
        mask: Leaves that decay: path patterns, a tree of bools or a function that makes one of the
            params (see `masked`); None for all.
    """
    return with_decay_and_rate(
        learning_rate,
        scale_by_simplified_ademamix(b1, b2, alpha, eps, eps_root),
        decay=(weight_decay, mask),
    )
