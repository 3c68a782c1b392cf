"""Prodigy: AdamW whose learning rate is an estimated distance to the solution, which grows faster
than that of D-Adaptation.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optax_lite.core.leafwise import (
    copy_params,
    increment,
    leafwise,
    scalar_like,
    zero_count,
    zeros_like,
)
from optax_lite.core.masks import as_mask
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
from optax_lite.core.trees import is_missing
from optax_lite.core.types import Mask, ScalarOrSchedule
from optax_lite.core.validate import check_nonnegative, check_positive, check_unit_interval
from optax_lite.optimizers.dadapt_adamw import check_betas


class ProdigyState(NamedTuple):
    exp_avg: PyTree  # m, moving average of d·g
    exp_avg_sq: PyTree  # v, moving average of |d·g|²
    grad_sum: PyTree  # s, decaying sum of d·γ·g, in units of estim_lr0
    params0: PyTree  # w₀, the parameters at the start
    estim_lr: Array  # d, the estimated distance
    numerator_weighted: Array  # r, decaying sum of d·γ·⟨g, w₀ - w⟩, in the same units
    count: Array  # updates so far, int32


@transform(static=("weight_decay_mask",))
def prodigy(
    learning_rate: ScalarOrSchedule = 1.0,
    betas: tuple[ScalarOrSchedule, ScalarOrSchedule] = (0.9, 0.999),
    beta3: ScalarOrSchedule | None = None,
    eps: ScalarOrSchedule = 1e-8,
    estim_lr0: ScalarOrSchedule = 1e-6,
    estim_lr_coef: ScalarOrSchedule = 1.0,
    weight_decay: ScalarOrSchedule = 0.0,
    safeguard_warmup: bool = False,
    weight_decay_mask: Mask | None = None,
):
    """Update w by AdamW, with an estimated distance to the solution as its rate. Mishchenko &
    Defazio 2023, Algorithm 4.

        w = w - γ·(m / (√v + d·eps) + weight_decay·w)   γ = d·learning_rate·√(1 - b2ᵗ) / (1 - b1ᵗ)
        m = b1·m + (1 - b1)·d·g                         v = b2·v + (1 - b2)·|d·g|²
        r = beta3·r + γ·d/d₀·⟨g, w₀ - w⟩                s = beta3·s + γ·d/d₀·g
        d = max(d, estim_lr_coef·r / ‖s‖₁)

    d grows during training and never falls. The units are those of the authors' code, where the new
    d multiplies eps. To tune the method, change `estim_lr_coef` (0.5 or 2). The sums are over all
    leaves. While all gradients are 0, d stays unchanged.

    Args:
        learning_rate: Factor of d; leave it at 1, or give a schedule that starts or peaks there.
        betas: The pair (b1, b2) of decays, each a number or a schedule.
        beta3: Decay of r and s, in [0, 1); None for √b2.
        eps: Added to √v as d·eps; at least 0.
        estim_lr0: Starting value d₀ of d, above 0; choose it far too small.
        estim_lr_coef: Factor of the estimate, at least 0.
        weight_decay: Decoupled weight decay; the learning rate multiplies it.
        safeguard_warmup: Leave the learning rate out of s: a small rate in a long warm-up would let
            d grow too far.
        weight_decay_mask: Leaves that decay: path patterns, a tree of bools or a function that
            makes one of the params (see `masked`); None for all.
    """
    check_betas(betas)
    numbers = (learning_rate, *betas, eps, estim_lr0, estim_lr_coef, weight_decay)
    return _prodigy(
        *numbers,
        beta3=beta3,
        safeguard_warmup=safeguard_warmup,
        weight_decay_mask=weight_decay_mask,
    )


@transform(static=("safeguard_warmup", "weight_decay_mask"), scheduled=ProdigyState, descends=True)
def _prodigy(
    learning_rate,
    b1,
    b2,
    eps,
    estim_lr0,
    estim_lr_coef,
    weight_decay,
    *,
    beta3=None,
    safeguard_warmup,
    weight_decay_mask=None,
):
    check_unit_interval(beta3=beta3)
    check_nonnegative(estim_lr_coef=estim_lr_coef)
    check_positive(estim_lr0=estim_lr0)

    def decayed(params):
        """Return the params, 0 where the mask lets none decay."""
        if weight_decay_mask is None:
            return params
        return jax.tree.map(
            lambda yes, part: part if yes else jax.tree.map(jnp.zeros_like, part),
            as_mask(weight_decay_mask, params),
            params,
            is_leaf=is_missing,
        )

    def init(params):
        m, v, d = zeros_like(params), zeros_like(params, real=True), scalar_like(params, estim_lr0)
        return ProdigyState(m, v, m, copy_params(params), d, scalar_like(params, 0), zero_count())

    def update(updates, state, params):
        t, d = increment(state.count), weak_typed(state.estim_lr)
        rate = weak_typed(
            d * learning_rate * sqrt(bias_correction_factor(b2, t)) / bias_correction_factor(b1, t)
        )
        b3 = weak_typed(sqrt(b2)) if beta3 is None else beta3
        unit = d / estim_lr0
        weight = unit * (d if safeguard_warmup else rate)

        def averages(g, m, v, s, w0, w):
            return (
                w0 - w,
                moving_average(b1, m, d * g),
                moving_average(b2, v, abs_sq(d * g)),
                b3 * s + weight * g,
            )

        slots = (state.exp_avg, state.exp_avg_sq, state.grad_sum)
        way, m, v, s = leafwise(
            averages, updates, *slots, read=(state.params0, params), squares=True
        )
        r = b3 * weak_typed(state.numerator_weighted) + unit * rate * weak_typed(dot(updates, way))
        size = weak_typed(sum_abs(s))
        d = weak_typed(jnp.maximum(d, estim_lr_coef * r / jnp.where(size == 0, 1, size)))
        updates = leafwise(
            lambda g, m, v, w: -rate * (over(m, sqrt(v) + d * eps) + weight_decay * w),
            updates,
            read=(m, v, decayed(params)),
        )
        return updates, ProdigyState(m, v, s, state.params0, d, r, t)

    return init, update
