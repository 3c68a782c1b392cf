"""AdEMAMix: Adam with a second, much slower moving average of the gradient beside the first.

Gradients from ten thousand steps ago still count, while the fast average keeps the run stable. It
suits long runs, and needs a warm-up of alpha and b3, because an early b3 near 1 can diverge:

    b3, alpha = linear_schedule(0.9, 0.9999, steps), linear_schedule(0.0, 5.0, steps)
    tx = ademamix(1e-3, b3=b3, alpha=alpha)
"""

from typing import NamedTuple

from optax_lite._transforms.decay import with_decay_and_rate
from optax_lite.core.leafwise import increment, leafwise, zero_count, zeros_like
from optax_lite.core.numerics import abs_sq, bias_correction_factor, moving_average, over, sqrt
from optax_lite.core.transform import Array, PyTree, transform
from optax_lite.core.types import DTypeLike, Mask, ScalarOrSchedule
from optax_lite.core.validate import check_nonnegative


class ScaleByAdemamixState(NamedTuple):
    count: Array  # updates so far, int32
    count_m2: Array  # the same: optax evaluates its schedules at it
    m1: PyTree  # fast moving average of g, with b1
    m2: PyTree  # slow moving average of g, with b3
    nu: PyTree  # moving average of |g|², with b2


@transform(static=("mu_dtype",))
def scale_by_ademamix(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    b3: ScalarOrSchedule = 0.9999,
    alpha: ScalarOrSchedule = 6.0,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: DTypeLike | None = None,
):
    """Add a second, much slower average to Adam's average of gradients. Pagliardini et al. 2024,
    Algorithm 1.

        m1 = b1·m1 + (1 - b1)·g,   m̂1 = m1 / (1 - b1ᵗ)
        m2 = b3·m2 + (1 - b3)·g
        v = b2·v + (1 - b2)·|g|²,  v̂ = v / (1 - b2ᵗ)
        g ← (m̂1 + alpha·m2) / (√(v̂ + eps_root) + eps)

    m2 is not bias-corrected: it reaches its full weight over 1 / (1 - b3) steps. In the paper alpha
    grows linearly, and b3 so that its half-life grows linearly; here you can pass any schedule.

    Args:
        b1: Decay of the fast moving average of gradients, in [0, 1).
        b2: Decay of the moving average of squared gradients, in [0, 1).
        b3: Decay of the slow moving average of gradients, in [0, 1).
        alpha: Weight of the slow average, at least 0.
        eps: Added to the denominator; at least 0.
        eps_root: Added under the square root of the denominator; at least 0.
        mu_dtype: Dtype of m1 and m2, which are most of the state; None for the parameters' own. In
            bfloat16 m2 does not move, since 1 - b3 is below its precision.
    """
    check_nonnegative(alpha=alpha)

    def init(params):
        averages = (
            zeros_like(params, mu_dtype),
            zeros_like(params, mu_dtype),
            zeros_like(params, real=True),
        )
        return ScaleByAdemamixState(zero_count(), zero_count(), *averages)

    def update(updates, state):
        t = increment(state.count)
        c1, c2 = bias_correction_factor(b1, t), bias_correction_factor(b2, t)

        def rule(g, m1, m2, v):
            m1 = moving_average(b1, m1, g)
            m2 = moving_average(b3, m2, g)
            v = moving_average(b2, v, abs_sq(g))
            return over(m1 / c1 + alpha * m2, sqrt(v / c2 + eps_root) + eps), m1, m2, v

        updates, m1, m2, nu = leafwise(rule, updates, state.m1, state.m2, state.nu, squares=True)
        return updates, ScaleByAdemamixState(t, increment(state.count_m2), m1, m2, nu)

    return init, update


@transform(static=("mu_dtype", "mask"))
def ademamix(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    b3: ScalarOrSchedule = 0.9999,
    alpha: ScalarOrSchedule = 5.0,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: DTypeLike | None = None,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: Mask | None = None,
):
    """Update w by Adam with a second, much slower average of gradients. Pagliardini et al. 2024,
    Algorithm 1.

        w ← w - lr·((m̂1 + alpha·m2) / (√(v̂ + eps_root) + eps) + weight_decay·w)

    For the averages see `scale_by_ademamix`. The decay is that of AdamW. The state is one and a
    half times Adam's. For a short run, choose b3 so that 1 / (1 - b3) is well below the number of
    steps. The default alpha differs from that of `scale_by_ademamix`; both are optax's. If alpha or
    b3 is a schedule, optax counts it in `count_m2`; here it has a count of its own, as every
    schedule has.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        b1: Decay of the fast moving average of gradients, in [0, 1).
        b2: Decay of the moving average of squared gradients, in [0, 1).
        b3: Decay of the slow moving average of gradients, in [0, 1).
        alpha: Weight of the slow average, at least 0.
        eps: Added to the denominator; at least 0.
        eps_root: Added under the square root of the denominator; at least 0.
        mu_dtype: Dtype of m1 and m2, which are most of the state; None for the parameters' own. In
            bfloat16 m2 does not move, since 1 - b3 is below its precision.
        weight_decay: Decoupled weight decay; the learning rate multiplies it.
        mask: Leaves that decay: path patterns, a tree of bools or a function that makes one of the
            params (see `masked`); None for all.
    """
    return with_decay_and_rate(
        learning_rate,
        scale_by_ademamix(b1, b2, b3, alpha, eps, eps_root, mu_dtype),
        decay=(weight_decay, mask),
    )
