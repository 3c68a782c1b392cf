"""AdEMAMix: Adam with a second, much slower moving average of the gradient beside the first.

Gradients of ten thousand steps ago still count, while the fast average keeps the run stable. It
wants long runs, and a warm-up of alpha and b3, without which an early b3 near 1 can diverge:

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
    """Replace g by (m̂1 + alpha·m2) / (√(v̂ + eps_root) + eps). Pagliardini et al. 2024, Algorithm
    1.

        m1 = b1·m1 + (1 - b1)·g,   m̂1 = m1 / (1 - b1ᵗ)
        m2 = b3·m2 + (1 - b3)·g
        v = b2·v + (1 - b2)·|g|²,  v̂ = v / (1 - b2ᵗ)

    m2 is not corrected: it comes to its full weight over 1 / (1 - b3) steps. The paper lets alpha
    and b3 grow as well, alpha in a line and b3 so that its half-life does; any schedule will do
    here. `mu_dtype` is that of m1 and m2, which are most of the state; in bfloat16 the slow one
    stands still, for 1 - b3 is below its precision.
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
    """w ← w - lr·((m̂1 + alpha·m2) / (√(v̂ + eps_root) + eps) + weight_decay·w). Pagliardini et al.
    2024, Algorithm 1.

    The decay is that of AdamW, on the leaves of `mask`. The state is half as large again as Adam's.
    A short run wants a b3 for which 1 / (1 - b3) is well below its number of steps. The default
    alpha is not that of `scale_by_ademamix`; both are optax's. Where alpha or b3 is a schedule,
    optax counts it in `count_m2`; here it has a count of its own, as every schedule has.
    """
    return with_decay_and_rate(
        learning_rate,
        scale_by_ademamix(b1, b2, b3, alpha, eps, eps_root, mu_dtype),
        decay=(weight_decay, mask),
    )
