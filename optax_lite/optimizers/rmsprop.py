"""RMSProp, its centered form, and their scaling by the root mean square or standard deviation of
gradients.
"""

from typing import NamedTuple

import jax.numpy as jnp

from optax_lite._transforms.momentum import trace_if
from optax_lite._transforms.scale import scale_by_learning_rate
from optax_lite.core.compose import chain
from optax_lite.core.leafwise import full_like, increment, leafwise, zero_count, zeros_like
from optax_lite.core.numerics import abs_sq, bias_correction_factor, moving_average, over, sqrt
from optax_lite.core.transform import Array, Number, PyTree, transform
from optax_lite.core.types import ScalarOrSchedule
from optax_lite.core.validate import check_nonnegative, check_unit_interval


class ScaleByRmsState(NamedTuple):
    nu: PyTree  # moving average of |g|²


class ScaleByRmsWithCountState(NamedTuple):
    count: Array  # updates so far, int32
    nu: PyTree  # moving average of |g|²


class ScaleByRStdDevState(NamedTuple):
    mu: PyTree  # moving average of g
    nu: PyTree  # moving average of |g|²


class ScaleByRStdDevWithCountState(NamedTuple):
    count: Array  # updates so far, int32
    mu: PyTree  # moving average of g
    nu: PyTree  # moving average of |g|²


def over_root(g: Array, v: Array, eps: Number, eps_in_sqrt: bool) -> Array:
    """Return g / √(v + eps), or g / (√v + eps)."""
    return over(g, sqrt(v + eps) if eps_in_sqrt else sqrt(v) + eps)


@transform
def scale_by_rms(
    decay: ScalarOrSchedule = 0.9,
    eps: ScalarOrSchedule = 1e-8,
    initial_scale: ScalarOrSchedule = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
):
    """Divide g by the root of its mean square. Tieleman & Hinton 2012, lecture 6e.

        v = decay·v + (1 - decay)·|g|²,  v₀ = initial_scale
        g ← g / √(v + eps)

    With v₀ = 0 the first steps are up to 1/√(1 - decay) times too long.

    Args:
        decay: Decay of the moving average, in [0, 1).
        eps: Added under the root, or to it without `eps_in_sqrt`; at least 0. 1e-8 inside the root
            acts like 1e-4 outside.
        initial_scale: Starting value of v, at least 0.
        eps_in_sqrt: Divide by √(v + eps); False divides by √v + eps, as torch and Keras do.
        bias_correction: Divide v by 1 - decayᵗ, to avoid first steps that are too long; it adds a
            count to the state.
    """
    check_unit_interval(decay=decay)
    check_nonnegative(initial_scale=initial_scale)

    def init(params):
        nu = full_like(params, initial_scale, real=True)
        return (
            ScaleByRmsWithCountState(zero_count(), nu) if bias_correction else ScaleByRmsState(nu)
        )

    def update(updates, state):
        t = increment(state.count) if bias_correction else zero_count()
        c = bias_correction_factor(decay, t) if bias_correction else 1.0

        def rule(g, v):
            v = moving_average(decay, v, abs_sq(g))
            return over_root(g, v / c, eps, eps_in_sqrt), v

        updates, nu = leafwise(rule, updates, state.nu, squares=True)
        return updates, ScaleByRmsWithCountState(t, nu) if bias_correction else ScaleByRmsState(nu)

    return init, update


@transform(exact_state="takes the difference of two slots, v - m², which rounding would spoil")
def scale_by_stddev(
    decay: ScalarOrSchedule = 0.9,
    eps: ScalarOrSchedule = 1e-8,
    initial_scale: ScalarOrSchedule = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
):
    """Divide g by its standard deviation. Graves 2013, section 4.2.

    This is `scale_by_rms` with the variance v - |m|² in place of v, m the moving average of g. In
    float32 the difference loses digits where gradients hardly vary: a relative error of 1e-5 is
    usual, and negative values become 0. With `bias_correction` both averages are corrected, and on
    the first step the variance is 0 (up to `initial_scale`), so that the update there is g/√eps.

    Args:
        decay: Decay of the moving average, in [0, 1).
        eps: Added under the root, or to it without `eps_in_sqrt`; at least 0. 1e-8 inside the root
            acts like 1e-4 outside.
        initial_scale: Starting value of v, at least 0.
        eps_in_sqrt: Divide by √(v + eps); False divides by √v + eps, as torch and Keras do.
        bias_correction: Divide v by 1 - decayᵗ, to avoid first steps that are too long; it adds a
            count to the state.
    """
    check_unit_interval(decay=decay)
    check_nonnegative(initial_scale=initial_scale)

    def init(params):
        mu, nu = zeros_like(params), full_like(params, initial_scale, real=True)
        return (
            ScaleByRStdDevWithCountState(zero_count(), mu, nu)
            if bias_correction
            else ScaleByRStdDevState(mu, nu)
        )

    def update(updates, state):
        t = increment(state.count) if bias_correction else zero_count()
        c = bias_correction_factor(decay, t) if bias_correction else 1.0

        def rule(g, m, v):
            m = moving_average(decay, m, g)
            v = moving_average(decay, v, abs_sq(g))
            variance = jnp.maximum(v / c - abs_sq(m / c), 0)  # rounding can leave it just below 0
            return over_root(g, variance, eps, eps_in_sqrt), m, v

        updates, mu, nu = leafwise(rule, updates, state.mu, state.nu, squares=True)
        return updates, ScaleByRStdDevWithCountState(
            t, mu, nu
        ) if bias_correction else ScaleByRStdDevState(mu, nu)

    return init, update


@transform
def rmsprop(
    learning_rate: ScalarOrSchedule,
    decay: ScalarOrSchedule = 0.9,
    eps: ScalarOrSchedule = 1e-8,
    initial_scale: ScalarOrSchedule = 0.0,
    eps_in_sqrt: bool = True,
    centered: bool = False,
    momentum: ScalarOrSchedule | None = None,
    nesterov: bool = False,
    bias_correction: bool = False,
):
    """Update w by the gradient divided by its root mean square. Tieleman & Hinton 2012, lecture 6e;
    Graves 2013.

        w ← w - lr·g / √(v + eps), v the moving average of |g|²

    Momentum accumulates these steps, learning rate included (the velocity form), so that a change
    of the rate does not rescale earlier steps. To reproduce torch, pass
    `decay=0.99, eps_in_sqrt=False`.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        decay: Decay of the moving average, in [0, 1).
        eps: Added under the root, or to it without `eps_in_sqrt`; at least 0. 1e-8 inside the root
            acts like 1e-4 outside.
        initial_scale: Starting value of v, at least 0.
        eps_in_sqrt: Divide by √(v + eps); False divides by √v + eps, as torch and Keras do.
        centered: Divide by the standard deviation, `scale_by_stddev`, in place of the root mean
            square.
        momentum: Decay of the momentum, in [-1, 1]. None for none, and no state for it.
        nesterov: Use Nesterov momentum, which looks one step ahead.
        bias_correction: Divide v by 1 - decayᵗ, to avoid first steps that are too long; it adds a
            count to the state.
    """
    scale_by = scale_by_stddev if centered else scale_by_rms
    return chain(
        scale_by(decay, eps, initial_scale, eps_in_sqrt, bias_correction),
        scale_by_learning_rate(learning_rate),
        trace_if(momentum, nesterov),
    )
