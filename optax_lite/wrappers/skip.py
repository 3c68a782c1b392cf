"""Leaving out updates: those of bad gradients, and those that a function of the count does not want."""

from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp

from optax_lite.check import ArgumentError, check_nonnegative, check_positive
from optax_lite.compose import check_members
from optax_lite.core import Array, Number, PyTree, transform
from optax_lite.leaves import increment, scalar_like, sqrt, varying_like, zero_count
from optax_lite.norms import all_finite, global_norm
from optax_lite.wrappers.gate import run_if, still, unchanged

GOOD, NOT_FINITE, OUTLIER = range(3)  # why the last step was left out, as its state says it


class SkipBadStepsState(NamedTuple):
    total_skipped: Array  # steps left out so far, int32
    consecutive_skipped: Array  # steps left out since the last good one, int32
    last_reason: Array  # of the last step: 0 good, 1 norm not finite, 2 outlier; int32
    exceeded: Array  # whether consecutive_skipped was ever above max_consecutive, bool
    good_steps: Array  # steps in the statistics, int32
    norm_mean: Array  # running mean of ‖g‖
    norm_var: Array  # running variance of ‖g‖
    inner_state: PyTree  # of the transformation whose steps are left out


@transform
def skip_bad_steps(tx, *, nonfinite=True, outlier: Number = None, window: Number = 100, max_consecutive: Number = None):
    """Leave out the steps of `tx` whose gradient is bad: params and the state of `tx` stay as they are, to the bit.

    A gradient is bad if its norm over all leaves is not finite (entries near 1e20 overflow it in float32), or, given
    `outlier`, above m + outlier·max(s, m / 100), where m and s are mean and standard deviation of the norms of good
    gradients: plain ones over the first `window`, exponentially weighted with 1 / window from then on; before that no
    gradient is an outlier. So where norms have grown for good every step may be left out: set `max_consecutive`, and
    watch `exceeded`, which is set once more steps in a row were bad, and stays set. They are left out all the same.

    With `nonfinite=False` only outliers are bad; what is not finite goes on to `tx`, and not into the statistics.
    `tx.step` is the fast way. Averages and accumulation go inside or outside: inside, the bad mean of several
    gradients is left out, outside, one bad gradient of them.
    """
    check_members({"tx": tx})
    check_positive(outlier=outlier)
    check_nonnegative(max_consecutive=max_consecutive)
    if isinstance(window, float) and window < 1:
        raise ArgumentError(f"window must be at least 1, got {window!r}")
    if not nonfinite and outlier is None:
        raise ArgumentError("no step would be bad: write outlier=6.0, or leave nonfinite at True")

    def init(params):
        total, consecutive, reason, good_steps = (zero_count() for _ in range(4))
        mean, var = scalar_like(params, 0), scalar_like(params, 0)
        exceeded = jnp.zeros((), bool)
        state = SkipBadStepsState(total, consecutive, reason, exceeded, good_steps, mean, var, tx.init(params))
        return varying_like(state, params)

    def gated(kind, updates, state, params=None, **extra):
        m, v = state.norm_mean, state.norm_var
        norm = global_norm(updates).astype(m.dtype)
        finite = jnp.isfinite(norm)
        reason = jnp.where(finite | (not nonfinite), GOOD, NOT_FINITE)
        if outlier is not None:
            known = state.good_steps.astype(jnp.float32) >= window
            bound = m + outlier * jnp.maximum(sqrt(v), 0.01 * m)
            reason = jnp.where(finite & known & (norm > bound), OUTLIER, reason)
        good = reason == GOOD
        new, inner_state = run_if(good, tx, kind, updates, state.inner_state, params, extra)

        counted = good & finite
        good_steps = jnp.where(counted, increment(state.good_steps), state.good_steps)
        a = 1 / jnp.minimum(jnp.maximum(good_steps, 1).astype(m.dtype), window)
        d = jnp.where(counted, norm - m, 0)
        v = jnp.where(counted, (1 - a) * (v + a * d**2), v)
        m = m + a * d
        consecutive = jnp.where(good, 0, increment(state.consecutive_skipped))
        exceeded = state.exceeded
        if max_consecutive is not None:
            exceeded |= consecutive.astype(jnp.float32) > max_consecutive
        total = jnp.where(good, state.total_skipped, increment(state.total_skipped))
        return new, SkipBadStepsState(total, consecutive, reason, exceeded, good_steps, m, v, inner_state)

    return init, partial(gated, "update"), partial(gated, "step")


class ApplyIfFiniteState(NamedTuple):
    notfinite_count: Array  # gradients left out since the last good one, int32
    last_finite: Array  # whether the last gradient was finite, bool
    total_notfinite: Array  # gradients left out so far, int32
    inner_state: PyTree  # of the transformation whose updates are left out


@transform
def apply_if_finite(inner, max_consecutive_errors):
    """Leave out the updates of `inner` whose gradient has an entry that is infinite or NaN.

    However many come in a row: where optax applies them once there are more than `max_consecutive_errors`, here
    `notfinite_count` above it tells, and the parameters stay finite. `skip_bad_steps` is the newer form.
    """
    check_members({"inner": inner})
    check_nonnegative(max_consecutive_errors=max_consecutive_errors)

    def init(params):
        state = ApplyIfFiniteState(zero_count(), jnp.ones((), bool), zero_count(), inner.init(params))
        return varying_like(state, params)

    def gated(kind, updates, state, params=None, **extra):
        finite = all_finite(updates)
        new, inner_state = run_if(finite, inner, kind, updates, state.inner_state, params, extra)
        count = jnp.where(finite, 0, increment(state.notfinite_count))
        total = jnp.where(finite, state.total_notfinite, increment(state.total_notfinite))
        return new, ApplyIfFiniteState(count, finite, total, inner_state)

    return init, partial(gated, "update"), partial(gated, "step")


class ConditionallyTransformState(NamedTuple):
    inner_state: PyTree  # of the transformation, which knows only the updates it made
    step: Array  # updates so far, int32


class ConditionallyMaskState(NamedTuple):
    step: Array  # updates so far, int32
    inner_state: PyTree  # of the transformation, which knows only the updates it made


def _conditionally(inner, should_transform_fn, forward_extra_args, state_type, otherwise):
    check_members({"inner": inner})
    if not callable(should_transform_fn):
        raise ArgumentError(f"should_transform_fn must be a function of the count, got {should_transform_fn!r}")

    def init(params):
        return state_type(step=zero_count(), inner_state=inner.init(params))

    def gated(kind, updates, state, params=None, **extra):
        condition: Any = should_transform_fn(state.step, **(extra if forward_extra_args else {}))
        new, inner_state = run_if(condition, inner, kind, updates, state.inner_state, params, extra, otherwise)
        return new, state_type(step=increment(state.step), inner_state=inner_state)

    return init, partial(gated, "update"), partial(gated, "step")


@transform(static=("should_transform_fn",))
def conditionally_transform(inner, should_transform_fn, forward_extra_args=False):
    """`inner` where `should_transform_fn(count)` is True, from count 0 on; elsewhere the updates go on unchanged.

    The function must take a traced count, and with `forward_extra_args` the extra arguments of `update` as well.
    """
    return _conditionally(inner, should_transform_fn, forward_extra_args, ConditionallyTransformState, unchanged)


@transform(static=("should_transform_fn",))
def conditionally_mask(inner, should_transform_fn, forward_extra_args=False):
    """`inner` where `should_transform_fn(count)` is True, from count 0 on; elsewhere nothing moves (-0.0).

    The function must take a traced count, and with `forward_extra_args` the extra arguments of `update` as well.
    """
    return _conditionally(inner, should_transform_fn, forward_extra_args, ConditionallyMaskState, still)
