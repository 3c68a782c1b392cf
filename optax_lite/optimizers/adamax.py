"""AdaMax: Adam with the largest recent gradient in place of the root of the second moment.

The limit of Adam with a norm of power p in place of 2, as p grows. An entry without a gradient for
a while keeps its long memory of the largest one, which fades by b2 a step.
"""

import jax.numpy as jnp

from optax_lite._transforms.decay import with_decay_and_rate
from optax_lite.core.leafwise import increment, leafwise, zero_count, zeros_like
from optax_lite.core.numerics import bias_correction_factor, moving_average, over
from optax_lite.core.transform import Number, transform
from optax_lite.core.validate import check_below_one, check_closed_unit_interval
from optax_lite.optimizers.adam import ScaleByAdamState


# A shared b2 must be below 1 (decision 25); with 1 this u is the largest gradient of all steps.
@transform(own_range=("b2",))
def scale_by_adamax(b1: Number = 0.9, b2: Number = 0.999, eps: Number = 1e-8):
    """Replace g by m̂ / u. Kingma & Ba 2015, Algorithm 2.

        m = b1·m + (1 - b1)·g,  m̂ = m / (1 - b1ᵗ)
        u = max(b2·u, |g| + eps)

    u needs no correction. The paper has no eps; inside the maximum, as in optax and torch, it is
    kept in the state. The state is Adam's, with u in `nu`. With b2 = 1 u never fades.
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
def adamax(learning_rate: Number, b1: Number = 0.9, b2: Number = 0.999, eps: Number = 1e-8):
    """w ← w - lr·m̂ / u, u the largest |g|, which fades by b2 a step. Kingma & Ba 2015, Algorithm
    2.

    The formula stands with `scale_by_adamax`. The paper's rate is 0.002.
    """
    return with_decay_and_rate(learning_rate, scale_by_adamax(b1, b2, eps))


@transform(static=("mask",), own_range=("b2",))
def adamaxw(
    learning_rate: Number,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    weight_decay: Number = 1e-4,
    mask=None,
):
    """`adamax` with decoupled decay: w ← w - lr·(m̂ / u + weight_decay·w).

    Kingma & Ba 2015; Loshchilov & Hutter 2019. `mask` picks the leaves that decay, as in
    `add_decayed_weights`.
    """
    return with_decay_and_rate(
        learning_rate, scale_by_adamax(b1, b2, eps), decay=(weight_decay, mask)
    )
