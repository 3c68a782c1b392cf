"""AdamW with D-Adaptation: the learning rate is an estimate of the distance to the solution."""

from typing import NamedTuple

import jax.numpy as jnp

from optax_lite.core.leafwise import increment, leafwise, scalar_like, zero_count, zeros_like
from optax_lite.core.norms import dot, sum_abs
from optax_lite.core.numerics import (
    abs_sq,
    bias_correction_factor,
    moving_average,
    over,
    sqrt,
    weak_typed,
)
from optax_lite.core.transform import Array, PyTree, transform
from optax_lite.core.types import ScalarOrSchedule
from optax_lite.core.validate import ArgumentError, check_positive


class DAdaptAdamWState(NamedTuple):
    exp_avg: PyTree  # m, moving average of d·γ·g
    exp_avg_sq: PyTree  # v, moving average of |g|²
    grad_sum: PyTree  # s, moving average of d·γ·g with √b2
    estim_lr: Array  # d, the estimated distance
    numerator_weighted: Array  # r, moving average of d·γ·⟨g, s⟩ in the metric of Adam
    count: Array  # updates so far, int32


def check_betas(betas):
    """Raise unless there are two; each is checked by itself."""
    if not isinstance(betas, tuple) or len(betas) != 2:
        raise ArgumentError(f"betas must be (b1, b2), got {betas!r}")


@transform
def dadapt_adamw(
    learning_rate: ScalarOrSchedule = 1.0,
    betas: tuple[ScalarOrSchedule, ScalarOrSchedule] = (0.9, 0.999),
    eps: ScalarOrSchedule = 1e-8,
    estim_lr0: ScalarOrSchedule = 1e-6,
    weight_decay: ScalarOrSchedule = 0.0,
):
    """Update w by AdamW, with an estimated distance to the solution as its rate. Defazio &
    Mishchenko 2023, Algorithm 5.

        w = w - m / (√v + eps) - γ·weight_decay·w       γ = d·learning_rate·√(1 - b2ᵗ) / (1 - b1ᵗ)
        m = b1·m + (1 - b1)·γ·g                         v = b2·v + (1 - b2)·|g|²
        r = √b2·r + (1 - √b2)·γ·⟨g, s / (√v + eps)⟩     s = √b2·s + (1 - √b2)·γ·g
        d = max(d, r / ((1 - √b2)·‖s‖₁))

    d is a lower bound of the distance and never falls. The bias corrections and the decoupled decay
    are those of the authors' code, where r also uses the old s and v. The sums r and ‖s‖₁ are over
    all leaves, so that inside a partition every group estimates its own distance. While all
    gradients are 0, d stays unchanged.

    Args:
        learning_rate: Factor of d; leave it at 1, or give a schedule that starts or peaks there.
        betas: The pair (b1, b2) of decays, each a number or a schedule.
        eps: Added to the denominator; at least 0.
        estim_lr0: Starting value of d, above 0; choose it far too small.
        weight_decay: Decoupled weight decay; the learning rate multiplies it.
    """
    check_betas(betas)
    return _dadapt_adamw(learning_rate, *betas, eps, estim_lr0, weight_decay)


@transform(scheduled=DAdaptAdamWState, descends=True)
def _dadapt_adamw(learning_rate, b1, b2, eps, estim_lr0, weight_decay):
    check_positive(estim_lr0=estim_lr0)

    def init(params):
        m, v, d = zeros_like(params), zeros_like(params, real=True), scalar_like(params, estim_lr0)
        return DAdaptAdamWState(m, v, m, d, scalar_like(params, 0), zero_count())

    def update(updates, state, params):
        t, d = increment(state.count), weak_typed(state.estim_lr)
        rate = weak_typed(
            d * learning_rate * sqrt(bias_correction_factor(b2, t)) / bias_correction_factor(b1, t)
        )
        root = weak_typed(sqrt(b2))
        rest = (1 - b2) / (1 + root)  # 1 - √b2, which cancels in float32

        def averages(g, m, v, s):
            whitened = over(s, sqrt(v) + eps)
            return (
                whitened,
                moving_average(b1, m, rate * g),
                moving_average(b2, v, abs_sq(g)),
                root * s + rest * rate * g,
            )

        whitened, m, v, s = leafwise(
            averages, updates, state.exp_avg, state.exp_avg_sq, state.grad_sum, squares=True
        )
        r = root * weak_typed(state.numerator_weighted) + rest * rate * weak_typed(
            dot(updates, whitened)
        )
        size = rest * weak_typed(sum_abs(s))
        d = jnp.maximum(d, r / jnp.where(size == 0, 1, size))
        updates = leafwise(
            lambda g, m, v, w: -over(m, sqrt(v) + eps) - weight_decay * rate * w,
            updates,
            read=(m, v, params),
        )
        return updates, DAdaptAdamWState(m, v, s, d, r, t)

    return init, update
