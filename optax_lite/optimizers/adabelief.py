"""AdaBelief: Adam that divides by how far gradients deviate from their average, not by their size.

If gradients stay close to their average, steps are long, even for large gradients; if they scatter
around it, steps are short, even for small ones.
"""

from typing import NamedTuple

from optax_lite._transforms.decay import with_decay_and_rate
from optax_lite.core.leafwise import increment, leafwise, zero_count, zeros_like
from optax_lite.core.numerics import abs_sq, bias_correction_factor, moving_average, over, sqrt
from optax_lite.core.transform import Array, PyTree, transform
from optax_lite.core.types import Mask, ScalarOrSchedule
from optax_lite.optimizers.adam import first_moment_estimate


class ScaleByBeliefState(NamedTuple):
    count: Array  # updates so far, int32
    mu: PyTree  # moving average of g
    nu: PyTree  # moving average of |g - mu|², to which every step adds eps_root


@transform
def scale_by_belief(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-16,
    eps_root: ScalarOrSchedule = 1e-16,
    *,
    nesterov: bool = False,
):
    """Divide the average gradient by how far gradients deviate from it. Zhuang et al. 2020,
    Algorithm 2.

        m = b1·m + (1 - b1)·g,  m̂ = m / (1 - b1ᵗ)
        s = b2·s + (1 - b2)·|g - m|² + eps_root,  ŝ = s / (1 - b2ᵗ)
        g ← m̂ / (√ŝ + eps)

    The m in s includes g. Unlike Adam's, eps_root enters the state at every step, and adds up to
    eps_root / (1 - b2). It is the paper's only ε. Both defaults are those of the authors' package
    and of optax. `nesterov` looks ahead as in `scale_by_adam`.

    Args:
        b1: Decay of the moving average of gradients, in [0, 1).
        b2: Decay of the moving average of |g - m|², in [0, 1).
        eps: Added to the denominator; at least 0.
        eps_root: Added to s at every step; at least 0.
        nesterov: Use Nesterov momentum, which looks one step ahead.
    """

    def init(params):
        return ScaleByBeliefState(zero_count(), zeros_like(params), zeros_like(params, real=True))

    def update(updates, state):
        t = increment(state.count)
        m_hat, c2 = first_moment_estimate(b1, t, nesterov), bias_correction_factor(b2, t)

        def rule(g, m, s):
            m = moving_average(b1, m, g)
            s = moving_average(b2, s, abs_sq(g - m)) + eps_root
            return over(m_hat(m, g), sqrt(s / c2) + eps), m, s

        updates, mu, nu = leafwise(rule, updates, state.mu, state.nu, squares=True)
        return updates, ScaleByBeliefState(t, mu, nu)

    return init, update


@transform(static=("weight_decay_mask",))
def adabelief(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-16,
    eps_root: ScalarOrSchedule = 1e-16,
    weight_decay: ScalarOrSchedule | None = None,
    weight_decay_mask: Mask | None = None,
    *,
    nesterov: bool = False,
):
    """Update w by AdaBelief, with decoupled decay. Zhuang et al. 2020, Algorithm 2.

        w ← w - lr·(m̂ / (√ŝ + eps) + weight_decay·w), s the moving average of |g - m|²

    For m̂ and ŝ see `scale_by_belief`; the decay is that of `adamw`.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        b1: Decay of the moving average of gradients, in [0, 1).
        b2: Decay of the moving average of |g - m|², in [0, 1).
        eps: Added to the denominator; at least 0.
        eps_root: Added to s at every step; at least 0.
        weight_decay: Decoupled weight decay; the learning rate multiplies it. None for none.
        weight_decay_mask: Leaves that decay: path patterns, a tree of bools or a function that
            makes one of the params (see `masked`); None for all.
        nesterov: Use Nesterov momentum, which looks one step ahead.
    """
    return with_decay_and_rate(
        learning_rate,
        scale_by_belief(b1, b2, eps, eps_root, nesterov=nesterov),
        decay=None if weight_decay is None else (weight_decay, weight_decay_mask),
    )
