"""Yogi: Adam whose second moment moves towards |g|² in steps that do not depend on the distance.

If small gradients follow a large one, v falls by (1 - b2)·|g|² per step, not by (1 - b2)·v, so that
steps do not suddenly become long.
"""

import jax.numpy as jnp

from optax_lite._transforms.decay import with_decay_and_rate
from optax_lite.core.leafwise import full_like, increment, leafwise, zero_count, zeros_like
from optax_lite.core.numerics import abs_sq, bias_correction_factor, moving_average, over, sqrt
from optax_lite.core.transform import transform
from optax_lite.core.types import ScalarOrSchedule
from optax_lite.core.validate import check_nonnegative
from optax_lite.optimizers.adam import ScaleByAdamState


@transform
def scale_by_yogi(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-3,
    eps_root: ScalarOrSchedule = 0.0,
    initial_accumulator_value: ScalarOrSchedule = 1e-6,
):
    """Divide the average gradient by a second moment that moves in bounded steps. Zaheer et al.
    2018, Algorithm 2.

        m = b1·m + (1 - b1)·g,                        m̂ = m / (1 - b1ᵗ)
        v = v - (1 - b2)·sign(v - |g|²)·|g|²,         v̂ = v / (1 - b2ᵗ)
        g ← m̂ / (√(v̂ + eps_root) + eps)

    m starts at 0, as in TensorFlow Addons; optax starts it at `initial_accumulator_value`, which
    moves parameters that have no gradient.

    Args:
        b1: Decay of the moving average of gradients, in [0, 1).
        b2: One minus the share of |g|² by which v moves at a step, in [0, 1).
        eps: Added to the denominator; at least 0.
        eps_root: Added under the square root of the denominator; at least 0.
        initial_accumulator_value: Starting value of v, in units of |g|²; at least 0.
    """
    check_nonnegative(initial_accumulator_value=initial_accumulator_value)

    def init(params):
        nu = full_like(params, initial_accumulator_value, real=True)
        return ScaleByAdamState(zero_count(), zeros_like(params), nu)

    def update(updates, state):
        t = increment(state.count)
        c1, c2 = bias_correction_factor(b1, t), bias_correction_factor(b2, t)

        def rule(g, m, v):
            m = moving_average(b1, m, g)
            v = v - (1 - b2) * jnp.sign(v - abs_sq(g)) * abs_sq(g)
            return over(m / c1, sqrt(v / c2 + eps_root) + eps), m, v

        updates, mu, nu = leafwise(rule, updates, state.mu, state.nu, squares=True)
        return updates, ScaleByAdamState(t, mu, nu)

    return init, update


@transform
def yogi(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-3,
):
    """Update w by Adam with a second moment that moves in bounded steps. Zaheer et al. 2018,
    Algorithm 2.

        w ← w - lr·m̂ / (√v̂ + eps), v as in `scale_by_yogi`

    The default eps is large, as in the paper's experiments: it limits the steps of entries with
    small gradients. The other defaults are Adam's. To start v elsewhere, chain `scale_by_yogi` and
    `scale_by_learning_rate`.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        b1: Decay of the moving average of gradients, in [0, 1).
        b2: One minus the share of |g|² by which v moves at a step, in [0, 1).
        eps: Added to the denominator; at least 0.
    """
    return with_decay_and_rate(learning_rate, scale_by_yogi(b1, b2, eps))
