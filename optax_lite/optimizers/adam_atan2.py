"""Adam-atan2: Adam with an arctangent in place of the division, so that it needs no epsilon.

Multiplying all gradients by a number, however small, does not change the updates: there is no eps
that gradients could fall below.
"""

import jax.numpy as jnp

from optax_lite._transforms.decay import with_decay_and_rate
from optax_lite.core.leafwise import increment, leafwise, zero_count, zeros_like
from optax_lite.core.numerics import abs_sq, bias_correction_factor, moving_average, sqrt
from optax_lite.core.transform import transform
from optax_lite.core.types import DTypeLike, Mask, ScalarOrSchedule
from optax_lite.core.validate import check_nonnegative
from optax_lite.optimizers.adam import ScaleByAdamState


@transform(static=("mu_dtype",))
def scale_by_adam_atan2(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    a: ScalarOrSchedule = 1.27,
    b: ScalarOrSchedule = 1.0,
    mu_dtype: DTypeLike | None = None,
):
    """Replace Adam's division by an arctangent, which needs no epsilon. Everett et al. 2024.

        m = b1·m + (1 - b1)·g,     m̂ = m / (1 - b1ᵗ)
        v = b2·v + (1 - b2)·|g|²,  v̂ = v / (1 - b2ᵗ)
        g ← a·atan2(m̂, b·√v̂), 0 where m̂ is 0

    An update lies within ±a·π/2. With the default a (4/π) and b, an entry whose gradients are all
    equal moves by 1, as it does in Adam. A complex entry keeps the phase of m̂. The state is
    Adam's.

    Args:
        b1: Decay of the moving average of gradients, in [0, 1).
        b2: Decay of the moving average of squared gradients, in [0, 1).
        a: Factor of the arctangent, at least 0.
        b: Factor of √v̂, at least 0; it sets where the arctangent bends.
        mu_dtype: Dtype in which the average of gradients is stored; None for the parameters' own.
    """
    check_nonnegative(a=a, b=b)

    def init(params):
        return ScaleByAdamState(
            zero_count(), zeros_like(params, mu_dtype), zeros_like(params, real=True)
        )

    def update(updates, state):
        t = increment(state.count)
        c1, c2 = bias_correction_factor(b1, t), bias_correction_factor(b2, t)

        def rule(g, m, v):
            m = moving_average(b1, m, g)
            v = moving_average(b2, v, abs_sq(g))
            # The angle is 0 where m is, whatever v is, but has no derivative where both are 0.
            root = jnp.where(m == 0, 1, b * sqrt(v / c2))
            return a * jnp.sign(m) * jnp.arctan2(jnp.abs(m / c1), root), m, v

        updates, mu, nu = leafwise(rule, updates, state.mu, state.nu, squares=True)
        return updates, ScaleByAdamState(t, mu, nu)

    return init, update


@transform(static=("mu_dtype", "mask"))
def adam_atan2(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    a: ScalarOrSchedule = 1.27,
    b: ScalarOrSchedule = 1.0,
    mu_dtype: DTypeLike | None = None,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: Mask | None = None,
):
    """Update w by Adam with an arctangent in place of the division. Everett et al. 2024; decay as
    in AdamW.

        w ← w - lr·(a·atan2(m̂, b·√v̂) + weight_decay·w)

    For m̂ and v̂ see `scale_by_adam_atan2`. optax has no counterpart.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        b1: Decay of the moving average of gradients, in [0, 1).
        b2: Decay of the moving average of squared gradients, in [0, 1).
        a: Factor of the arctangent, at least 0.
        b: Factor of √v̂, at least 0; it sets where the arctangent bends.
        mu_dtype: Dtype in which the average of gradients is stored; None for the parameters' own.
        weight_decay: Decoupled weight decay; the learning rate multiplies it.
        mask: Leaves that decay: path patterns, a tree of bools or a function that makes one of the
            params (see `masked`); None for all.
    """
    return with_decay_and_rate(
        learning_rate, scale_by_adam_atan2(b1, b2, a, b, mu_dtype), decay=(weight_decay, mask)
    )
