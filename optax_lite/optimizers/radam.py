"""RAdam: Adam that divides by the second moment only once enough gradients are in it.

It replaces a warm-up of the learning rate, whose length follows from b2.
"""

import jax.numpy as jnp

from optax_lite._transforms.decay import with_decay_and_rate
from optax_lite.core.leafwise import increment, leafwise, zero_count, zeros_like
from optax_lite.core.numerics import (
    abs_sq,
    bias_correction_factor,
    moving_average,
    over,
    sqrt,
    weak_typed,
)
from optax_lite.core.transform import Array, Number, transform
from optax_lite.core.types import ScalarOrSchedule
from optax_lite.core.validate import check_nonnegative
from optax_lite.optimizers.adam import ScaleByAdamState, first_moment_estimate


def _langevin(y: Array) -> Array:
    """Return coth y - 1/y by its continued fraction, to the last digits of a float64 for y up to
    1/2.
    """
    below = 13.0
    for k in range(11, 1, -2):
        below = k + y * y / below
    return y / below


def _length(b2: Number, t: Array, c2: Array) -> Array:
    """Return ρ_t = ρ_∞ - 2t·b2ᵗ / (1 - b2ᵗ), the number of gradients that v effectively averages.

    For small t both terms are near ρ_∞ and a float32 keeps few digits of the difference, which is
    near t. There the same number is t + L(x/2) - t·L(t·x/2) with x = -log b2 and L(y) = coth y -
    1/y.
    """
    x = -jnp.log(jnp.maximum(b2, 1e-30))
    early = t + _langevin(x / 2) - t * _langevin(t * x / 2)
    late = 2 / (1 - b2) - 1 - 2 * t * (1 - c2) / c2
    return jnp.where(t * x < 1, early, late)


@transform
def scale_by_radam(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    threshold: ScalarOrSchedule = 5.0,
    *,
    nesterov: bool = False,
):
    """Divide by the second moment once enough gradients are in it. Liu et al. 2020, Algorithm 2.

        ρ_∞ = 2 / (1 - b2) - 1
        ρ = ρ_∞ - 2t·b2ᵗ / (1 - b2ᵗ)
        r = √((ρ - 4)·(ρ - 2)·ρ_∞ / ((ρ_∞ - 4)·(ρ_∞ - 2)·ρ))
        g ← r·m̂ / (√(v̂ + eps_root) + eps) once ρ reaches `threshold`, m̂ before

    m̂ and v̂ are Adam's. ρ grows from 1, by about 1 per step, towards ρ_∞, and r with it from near
    0 to 1: with the defaults the first 5 updates are not divided, and with a b2 up to 2/3 none ever
    is. `nesterov` looks ahead as in `scale_by_adam`.

    Args:
        b1: Decay of the moving average of gradients, in [0, 1).
        b2: Decay of the moving average of squared gradients, in [0, 1).
        eps: Added to the denominator; at least 0.
        eps_root: Added under the square root of the denominator; at least 0.
        threshold: Value of ρ from which on v̂ divides, at least 0. The paper's is 4, below which
            there is no r and nothing is divided either.
        nesterov: Use Nesterov momentum, which looks one step ahead.
    """
    check_nonnegative(threshold=threshold)

    def init(params):
        return ScaleByAdamState(zero_count(), zeros_like(params), zeros_like(params, real=True))

    def update(updates, state):
        t = increment(state.count)
        m_hat, c2 = first_moment_estimate(b1, t, nesterov), bias_correction_factor(b2, t)
        rho, rho_inf = _length(b2, weak_typed(t), c2), 2 / (1 - b2) - 1
        tractable = (rho >= threshold) & (rho > 4)
        above = jnp.where(tractable, (rho - 4) * (rho - 2) * rho_inf, 1.0)
        r = sqrt(above / jnp.where(tractable, (rho_inf - 4) * (rho_inf - 2) * rho, 1.0))

        def rule(g, m, v):
            m = moving_average(b1, m, g)
            v = moving_average(b2, v, abs_sq(g))
            rectified = over(r * m_hat(m, g), sqrt(v / c2 + eps_root) + eps)
            return jnp.where(tractable, rectified, m_hat(m, g)), m, v

        updates, mu, nu = leafwise(rule, updates, state.mu, state.nu, squares=True)
        return updates, ScaleByAdamState(t, mu, nu)

    return init, update


@transform
def radam(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    threshold: ScalarOrSchedule = 5.0,
    *,
    nesterov: bool = False,
):
    """Update w by Adam that divides only once it has seen enough gradients. Liu et al. 2020,
    Algorithm 2.

        w ← w - lr·r·m̂ / (√(v̂ + eps_root) + eps), at first w - lr·m̂

    For r see `scale_by_radam`. The first updates are as large as the gradients, unlike Adam's, so
    clip if gradients are large. optax computes ρ by the formula in `scale_by_radam`, whose rounding
    in float32 makes its first divided updates 1 % too short with b2 = 0.999, and twice as long with
    0.9999, where it starts to divide two steps too early.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        b1: Decay of the moving average of gradients, in [0, 1).
        b2: Decay of the moving average of squared gradients, in [0, 1).
        eps: Added to the denominator; at least 0.
        eps_root: Added under the square root of the denominator; at least 0.
        threshold: Value of ρ from which on v̂ divides, at least 0. The paper's is 4, below which
            there is no r and nothing is divided either.
        nesterov: Use Nesterov momentum, which looks one step ahead.
    """
    return with_decay_and_rate(
        learning_rate, scale_by_radam(b1, b2, eps, eps_root, threshold, nesterov=nesterov)
    )
