"""ACProp: the gradient over AdaBelief's denominator of the step before.

The newest gradient does not shorten its own step: in Adam it does, and a rare large gradient counts
for too little.
"""

import jax.numpy as jnp

from optax_lite._transforms.decay import with_decay_and_rate
from optax_lite.core.leafwise import increment, leafwise, zero_count, zeros_like
from optax_lite.core.numerics import abs_sq, bias_correction_factor, moving_average, over, sqrt
from optax_lite.core.transform import transform
from optax_lite.core.types import Mask, ScalarOrSchedule
from optax_lite.optimizers.adabelief import ScaleByBeliefState


@transform
def scale_by_acprop(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-16,
    eps_root: ScalarOrSchedule = 1e-16,
):
    """Replace g by g / (√ŝ + eps), ŝ being that of the step before. Zhuang et al. 2021.

        u = g / (√(s / (1 - b2ᵗ⁻¹)) + eps)
        m = b1·m + (1 - b1)·g
        s = b2·s + (1 - b2)·|g - m|² + eps_root

    The first step has no s before it and takes 1 for ŝ: plain gradient descent. m only centres s.
    It holds g already, as in the paper and in the authors' code; optax takes the m before g,
    against its own formula.
    """

    def init(params):
        return ScaleByBeliefState(zero_count(), zeros_like(params), zeros_like(params, real=True))

    def update(updates, state):
        first = state.count == 0
        c2 = bias_correction_factor(b2, jnp.maximum(state.count, 1))

        def rule(g, m, s):
            s_hat = jnp.where(first, 1, s / c2)
            m = moving_average(b1, m, g)
            return over(g, sqrt(s_hat) + eps), m, moving_average(b2, s, abs_sq(g - m)) + eps_root

        updates, mu, nu = leafwise(rule, updates, state.mu, state.nu, squares=True)
        return updates, ScaleByBeliefState(increment(state.count), mu, nu)

    return init, update


@transform(static=("mask",))
def acprop(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-16,
    eps_root: ScalarOrSchedule = 1e-16,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: Mask | None = None,
):
    """w ← w - lr·(g / (√ŝ + eps) + weight_decay·w), ŝ that of the step before. Zhuang et al. 2021.

    There is no momentum in the step, b1 is that of the centre. The first step is as long as the
    gradient. The decay is that of AdamW, on the leaves of `mask`.
    """
    return with_decay_and_rate(
        learning_rate, scale_by_acprop(b1, b2, eps, eps_root), decay=(weight_decay, mask)
    )
