"""AdaMax: Adam with the largest recent gradient in place of the root of the second moment.

This is the limit of Adam with the power 2 replaced by p, as p grows. An entry without gradients
remembers its largest one, which decays by b2 per step.
"""

import jax.numpy as jnp

from optax_lite._transforms.decay import with_decay_and_rate
from optax_lite.core.leafwise import increment, leafwise, zero_count, zeros_like
from optax_lite.core.numerics import bias_correction_factor, moving_average, over
from optax_lite.core.transform import transform
from optax_lite.core.types import Mask, ScalarOrSchedule
from optax_lite.core.validate import check_below_one, check_closed_unit_interval
from optax_lite.optimizers.adam import ScaleByAdamState


# A shared b2 must be below 1 (decision 25); with 1 this u is the largest gradient of all steps.
@transform(own_range=("b2",))
def scale_by_adamax(
    b1: ScalarOrSchedule = 0.9, b2: ScalarOrSchedule = 0.999, eps: ScalarOrSchedule = 1e-8
):
    """Divide the average gradient by the largest recent one. Kingma & Ba 2015, Algorithm 2.

        m = b1·m + (1 - b1)·g,  m̂ = m / (1 - b1ᵗ)
        u = max(b2·u, |g| + eps)
        g ← m̂ / u

    u needs no bias correction. The paper has no eps; here, as in optax and torch, it is inside the
    maximum and so enters the state. The state is Adam's, with u in `nu`.

    Args:
        b1: Decay of the moving average of gradients, in [0, 1).
        b2: Factor by which the largest gradient fades at every step, in [0, 1]; with 1 it never
            does.
        eps: Added to |g| inside the maximum; at least 0.
    """
    check_closed_unit_interval(b2=b2)
    check_below_one(b2=b2)

    def init(params):
        return ScaleByAdamState(zero_count(), zeros_like(params), zeros_like(params, real=True))

    def update(updates, state):
        t = increment(state.count)
        c1 = bias_correction_factor(b1, t)

        def rule(g, m, u):
            m = moving_average(b1, m, g)
            u = jnp.maximum(b2 * u, jnp.abs(g) + eps)
            return over(m / c1, u), m, u

        updates, mu, nu = leafwise(rule, updates, state.mu, state.nu)
        return updates, ScaleByAdamState(t, mu, nu)

    return init, update


@transform(own_range=("b2",))
def adamax(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
):
    """Update w by the average gradient over the largest recent one. Kingma & Ba 2015, Algorithm 2.

        w ← w - lr·m̂ / u, u the largest |g|, which fades by b2 a step

    For m̂ and u see `scale_by_adamax`. The paper's rate is 0.002.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        b1: Decay of the moving average of gradients, in [0, 1).
        b2: Factor by which the largest gradient fades at every step, in [0, 1]; with 1 it never
            does.
        eps: Added to |g| inside the maximum; at least 0.
    """
    return with_decay_and_rate(learning_rate, scale_by_adamax(b1, b2, eps))


@transform(static=("mask",), own_range=("b2",))
def adamaxw(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    weight_decay: ScalarOrSchedule = 1e-4,
    mask: Mask | None = None,
):
    """Update w by AdaMax with decoupled decay. Kingma & Ba 2015; Loshchilov & Hutter 2019.

        w ← w - lr·(m̂ / u + weight_decay·w)

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        b1: Decay of the moving average of gradients, in [0, 1).
        b2: Factor by which the largest gradient fades at every step, in [0, 1]; with 1 it never
            does.
        eps: Added to |g| inside the maximum; at least 0.
        weight_decay: Decoupled weight decay; the learning rate multiplies it.
        mask: Leaves that decay: path patterns, a tree of bools or a function that makes one of the
            params (see `masked`); None for all.
    """
    return with_decay_and_rate(
        learning_rate, scale_by_adamax(b1, b2, eps), decay=(weight_decay, mask)
    )
