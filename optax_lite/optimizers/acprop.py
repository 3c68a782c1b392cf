"""ACProp: divide the gradient by AdaBelief's denominator of the previous step.

So the newest gradient does not shorten its own step. In Adam it does, and a rare large gradient
counts for too little.
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
    """Divide g by AdaBelief's denominator of the previous step. Zhuang et al. 2021.

        u = g / (√(s / (1 - b2ᵗ⁻¹)) + eps)
        m = b1·m + (1 - b1)·g
        s = b2·s + (1 - b2)·|g - m|² + eps_root

    The first step has no previous s and uses 1 in place of ŝ, which is plain gradient descent. m
    only centres s. It includes g, as in the paper and the authors' code; optax uses the m before g,
    contrary to its own formula.

    Args:
        b1: Decay of the moving average of gradients, in [0, 1). It centres s; there is no momentum.
        b2: Decay of the moving average of |g - m|², in [0, 1).
        eps: Added to the denominator; at least 0.
        eps_root: Added to s at every step; at least 0.
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
    """Update w by the gradient divided by AdaBelief's denominator of the previous step. Zhuang et
    al. 2021.

        w ← w - lr·(g / (√ŝ + eps) + weight_decay·w), ŝ that of the previous step

    The step has no momentum, and the first one is lr·g. The decay is that of AdamW.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        b1: Decay of the moving average of gradients, in [0, 1). It centres s; there is no momentum.
        b2: Decay of the moving average of |g - m|², in [0, 1).
        eps: Added to the denominator; at least 0.
        eps_root: Added to s at every step; at least 0.
        weight_decay: Decoupled weight decay; the learning rate multiplies it.
        mask: Leaves that decay: path patterns, a tree of bools or a function that makes one of the
            params (see `masked`); None for all.
    """
    return with_decay_and_rate(
        learning_rate, scale_by_acprop(b1, b2, eps, eps_root), decay=(weight_decay, mask)
    )
