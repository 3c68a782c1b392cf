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
    """g / √(v + eps), or g / (√v + eps)."""
    return over(g, sqrt(v + eps) if eps_in_sqrt else sqrt(v) + eps)


@transform
def scale_by_rms(
    decay: Number = 0.9,
    eps: Number = 1e-8,
    initial_scale: Number = 0.0,
    eps_in_sqrt=True,
    bias_correction=False,
):
    """Replace g by g / √(v + eps), with v the moving average of |g|². Tieleman & Hinton 2012,
    lecture 6e.

        v = decay·v + (1 - decay)·|g|²,  v₀ = initial_scale

    `eps_in_sqrt=False` gives g / (√v + eps), as in torch and Keras; an eps of 1e-8 inside the root
    acts like one of 1e-4 outside. With v₀ = 0 the first steps are up to 1/√(1 - decay) times too
    long; `bias_correction` divides v by 1 - decayᵗ against that, and adds a count to the state.
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
    decay: Number = 0.9,
    eps: Number = 1e-8,
    initial_scale: Number = 0.0,
    eps_in_sqrt=True,
    bias_correction=False,
):
    """`scale_by_rms` with the variance v - |m|² in place of v, m the moving average of g. Graves
    2013, section 4.2.

    In float32 the difference loses digits where gradients hardly vary: 1e-5 relative is usual, and
    below 0 it is cut off. With `bias_correction` both averages are corrected, and on the first step
    the variance is 0 (up to `initial_scale`), so that the update there is g/√eps.
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
    learning_rate: Number,
    decay: Number = 0.9,
    eps: Number = 1e-8,
    initial_scale: Number = 0.0,
    eps_in_sqrt=True,
    centered=False,
    momentum: Number | None = None,
    nesterov=False,
    bias_correction=False,
):
    """w ← w - lr·g / √(v + eps); momentum accumulates these steps. Tieleman & Hinton 2012, lecture
    6e; Graves 2013.

    `centered` divides by the standard deviation, `scale_by_stddev`, in place of the root mean
    square. Momentum comes after the learning rate (the velocity form), so that a change of the rate
    does not rescale steps already taken; None is no momentum and no state for it. To reproduce
    torch, say `decay=0.99, eps_in_sqrt=False`.
    """
    scale_by = scale_by_stddev if centered else scale_by_rms
    return chain(
        scale_by(decay, eps, initial_scale, eps_in_sqrt, bias_correction),
        scale_by_learning_rate(learning_rate),
        trace_if(momentum, nesterov),
    )
