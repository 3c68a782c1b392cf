"""Skip updates: those of bad gradients, and those that a function of the count rejects."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from optax_lite.core.compose import check_members
from optax_lite.core.frozen import freeze_nothing
from optax_lite.core.functions import Inner, wrapping
from optax_lite.core.leafwise import increment, scalar_like, varying_like, zero_count
from optax_lite.core.norms import global_norm, sum_sq
from optax_lite.core.numerics import sqrt
from optax_lite.core.transform import Array, PyTree, transform
from optax_lite.core.types import Limit, ScalarOrSchedule, TransformationLike
from optax_lite.core.validate import ArgumentError, check_nonnegative, check_positive
from optax_lite.errors.composition import SCALED

# Why the last step was left out, as its state says it.
GOOD, NOT_FINITE, OUTLIER, LOSS_NOT_FINITE, LOSS_OUTLIER = range(5)


class SkipBadStepsState(NamedTuple):
    total_skipped: Array  # steps left out so far, int32
    consecutive_skipped: Array  # steps left out since the last good one, int32
    # 0 good, 1 norm not finite, 2 norm an outlier, 3 loss not finite, 4 loss an outlier; int32
    last_reason: Array
    exceeded: Array  # whether consecutive_skipped was ever above max_consecutive, bool
    good_steps: Array  # norms in the statistics, int32
    log_norm_mean: Array  # running mean of log ‖g‖
    log_norm_var: Array  # running variance of log ‖g‖
    # losses in the statistics, int32; None without loss_outlier, like the next two
    good_losses: Array | None
    log_loss_mean: Array | None  # running mean of the logarithm of the loss
    log_loss_var: Array | None  # running variance of it
    inner_state: PyTree  # state of the transformation whose steps are left out


def _is_outlier(x, statistics, outlier, window):
    """Tell whether log x is above m + outlier·max(s, 0.01); equal numbers are no outliers, nor are
    x ≤ 0.
    """
    n, m, v = statistics
    above = jnp.log(jnp.where(x > 0, x, 1)) > m + outlier * jnp.maximum(sqrt(v), 0.01)
    return (n.astype(jnp.float32) >= window) & (x > 0) & above


def _taken_in(x, statistics, good, window):
    """Update the count, mean and variance of the logarithms by that of x, if it is good and has
    one.
    """
    n, m, v = statistics
    counted = good & (x > 0) & (x < jnp.inf)
    n = jnp.where(counted, increment(n), n)
    a = 1 / jnp.minimum(jnp.maximum(n, 1).astype(m.dtype), window)
    d = jnp.where(counted, jnp.log(jnp.where(counted, x, 1)) - m, 0)
    return n, m + a * d, jnp.where(counted, (1 - a) * (v + a * d**2), v)


@transform(is_a=("gate", "passing"), not_around=SCALED)
def skip_bad_steps(
    tx: TransformationLike,
    *,
    nonfinite: bool = True,
    outlier: Limit | None = None,
    window: ScalarOrSchedule = 100,
    max_consecutive: ScalarOrSchedule | None = None,
    loss_outlier: Limit | None = None,
):
    """Skip the steps of `tx` whose gradient is bad: params and the state of `tx` stay unchanged,
    bit for bit.

        log ‖g‖ > m + outlier·max(s, 0.01)

    A gradient is bad if the square of its norm over all leaves is not finite (in float32, if the
    norm is above 2e19). With `outlier` it is also bad above this bound. m and s are the mean and
    standard deviation of log ‖g‖ over good gradients: plain ones over the first `window`, during
    which no gradient is an outlier, and exponentially weighted with 1 / window from then on.
    Logarithms are used because in a mean of norms, a single norm of a thousand among norms of one
    would hide every outlier for hundreds of steps. If norms vary by 10 %, outlier=6.0 means 1.8
    times the usual norm.

    `loss_outlier` applies the same test to the loss, with statistics of its own: a step is skipped
    if its loss is an outlier or is not finite. The update then needs `value=`, which `fit` and
    `make_step` pass. A loss of 0 or below is never an outlier. `last_reason` in the state is 0 for
    a good step, 1 for a norm that is not finite, 2 for a norm that is an outlier, 3 for a loss that
    is not finite, and 4 for a loss that is an outlier.

    If norms have grown for good, every step may be skipped. So set `max_consecutive` and watch
    `exceeded`, which is set once more than that many steps in a row were bad, and stays set; bad
    steps are skipped even then. `tx.step` is faster than `tx.update`. Inside `accumulate`, this
    wrapper skips a bad mean of several gradients; around it, a single bad gradient.

    Args:
        tx: The optimizer, or any other transformation.
        nonfinite: Leave out gradients that are not finite; False passes them on to `tx`, but not
            into the statistics.
        outlier: Standard deviations above the mean of log ‖g‖ beyond which a gradient is bad, above
            0; None for no such bound.
        window: Number of good gradients that the statistics cover, at least 1.
        max_consecutive: Bad steps in a row that are tolerated before `exceeded` is set, at least 0;
            None for any number.
        loss_outlier: The same bound as `outlier` for the loss, above 0; None to ignore the loss.

    Examples:
        >>> tx = skip_bad_steps(adamw(1e-3), outlier=6.0, max_consecutive=20)
        >>> params, state = tx.step(grads, tx.init(params), params)
        >>> int(state.last_reason)
        0
    """
    check_members({"tx": tx})
    check_positive(outlier=outlier, loss_outlier=loss_outlier)
    check_nonnegative(max_consecutive=max_consecutive)
    if isinstance(window, float) and window < 1:
        raise ArgumentError(f"window must be at least 1, got {window!r}")
    if not nonfinite and outlier is None and loss_outlier is None:
        raise ArgumentError(
            "no step would count as bad; write outlier=6.0, or leave nonfinite=True"
        )

    def init(params):
        total, consecutive, reason = (zero_count() for _ in range(3))
        none = (zero_count(), scalar_like(params, 0), scalar_like(params, 0))
        losses = (None,) * 3 if loss_outlier is None else none
        state = SkipBadStepsState(
            total,
            consecutive,
            reason,
            jnp.zeros((), bool),
            *none,
            *losses,
            inner_state=tx.init(params),
        )
        return varying_like(state, params)

    def run(inner, updates, state, params=None, **extra):
        norms = (state.good_steps, state.log_norm_mean, state.log_norm_var)
        losses = (state.good_losses, state.log_loss_mean, state.log_loss_var)
        norm = global_norm(updates).astype(state.log_norm_mean.dtype)
        finite = jnp.isfinite(norm * norm)  # beyond that a second moment could not hold it
        reasons = [(~finite & nonfinite, NOT_FINITE)]
        if outlier is not None:
            reasons.append((finite & _is_outlier(norm, norms, outlier, window), OUTLIER))
        loss = None
        if loss_outlier is not None:
            if extra.get("value") is None:
                raise TypeError(
                    "skip_bad_steps: loss_outlier needs the loss: tx.step(grads, state, params, "
                    "value=loss)"
                )
            loss = jnp.asarray(extra["value"]).astype(norm.dtype)
            reasons.append((~jnp.isfinite(loss) & nonfinite, LOSS_NOT_FINITE))
            reasons.append(
                (jnp.isfinite(loss) & _is_outlier(loss, losses, loss_outlier, window), LOSS_OUTLIER)
            )
        reason = jnp.asarray(GOOD)
        for is_bad, why in reversed(reasons):  # the first of them counts
            reason = jnp.where(is_bad, why, reason)
        good = reason == GOOD
        new, inner_state = inner.where(good, updates, state.inner_state, params, **extra)

        norms = _taken_in(norm, norms, good & finite, window)
        losses = losses if loss is None else _taken_in(loss, losses, good, window)
        consecutive = jnp.where(good, 0, increment(state.consecutive_skipped))
        exceeded = state.exceeded
        if max_consecutive is not None:
            exceeded |= consecutive.astype(jnp.float32) > max_consecutive
        total = jnp.where(good, state.total_skipped, increment(state.total_skipped))
        return new, SkipBadStepsState(
            total, consecutive, reason, exceeded, *norms, *losses, inner_state=inner_state
        )

    return wrapping(tx, init, run)


class ApplyIfFiniteState(NamedTuple):
    notfinite_count: Array  # gradients left out since the last good one, int32
    last_finite: Array  # whether the last gradient was finite, bool
    total_notfinite: Array  # gradients left out so far, int32
    inner_state: PyTree  # state of the transformation whose updates are left out


@transform(is_a=("gate", "passing"), not_around=SCALED)
def apply_if_finite(inner: TransformationLike, max_consecutive_errors: ScalarOrSchedule):
    """Leave out the updates of `inner` whose gradient has an entry, or a sum of squares, that is
    infinite or NaN.

    They are left out however many come in a row. Where optax applies them after more than
    `max_consecutive_errors`, here the parameters stay finite, and a `notfinite_count` above it in
    the state tells. `skip_bad_steps` is the newer form.

    Args:
        inner: Transformation to apply. Its bad updates are left out.
        max_consecutive_errors: Kept for optax's sake, at least 0; compare `notfinite_count` with
            it.
    """
    check_members({"inner": inner})
    check_nonnegative(max_consecutive_errors=max_consecutive_errors)

    def init(params):
        state = ApplyIfFiniteState(
            zero_count(), jnp.ones((), bool), zero_count(), inner.init(params)
        )
        return varying_like(state, params)

    def run(inner, updates, state, params=None, **extra):
        # entries of 2e19 are, and a second moment cannot hold their squares
        finite = jnp.isfinite(sum_sq(updates))
        new, inner_state = inner.where(finite, updates, state.inner_state, params, **extra)
        count = jnp.where(finite, 0, increment(state.notfinite_count))
        total = jnp.where(finite, state.total_notfinite, increment(state.total_notfinite))
        return new, ApplyIfFiniteState(count, finite, total, inner_state)

    return wrapping(inner, init, run)


class ConditionallyTransformState(NamedTuple):
    inner_state: PyTree  # state of the transformation, which knows only the updates it made
    step: Array  # updates so far, int32


class ConditionallyMaskState(NamedTuple):
    step: Array  # updates so far, int32
    inner_state: PyTree  # state of the transformation, which knows only the updates it made


def _conditionally(inner, should_transform_fn, forward_extra_args, state_type, where):
    check_members({"inner": inner})
    if not callable(should_transform_fn):
        raise ArgumentError(
            f"should_transform_fn must be a function of the count, got {should_transform_fn!r}"
        )

    def init(params):
        return state_type(step=zero_count(), inner_state=inner.init(params))

    def run(inner, updates, state, params=None, **extra):
        condition: Any = should_transform_fn(state.step, **(extra if forward_extra_args else {}))
        new, inner_state = where(inner, condition, updates, state.inner_state, params, **extra)
        return new, state_type(step=increment(state.step), inner_state=inner_state)

    return wrapping(inner, init, run)


@transform(static=("should_transform_fn",), freezes=freeze_nothing, not_around=SCALED)
def conditionally_transform(
    inner: TransformationLike,
    should_transform_fn: Callable[..., Any],
    forward_extra_args: bool = False,
):
    """Apply `inner` where a function of the count is True; elsewhere pass the updates on unchanged.

        tx = chain(conditionally_transform(clip(1.0), lambda count: count < 100), adam(1e-3))

    Args:
        inner: Transformation to apply.
        should_transform_fn: Function of the count (traced; 0 is the first update) that returns a
            bool.
        forward_extra_args: Pass the extra arguments of `update` to this function as well.
    """
    where = Inner.where_or_unchanged
    return _conditionally(
        inner, should_transform_fn, forward_extra_args, ConditionallyTransformState, where
    )


@transform(static=("should_transform_fn",), not_around=SCALED)
def conditionally_mask(
    inner: TransformationLike,
    should_transform_fn: Callable[..., Any],
    forward_extra_args: bool = False,
):
    """Apply `inner` where a function of the count is True; elsewhere nothing moves (-0.0).

        tx = conditionally_mask(adam(1e-3), lambda count: count >= 100)

    Args:
        inner: Transformation to apply.
        should_transform_fn: Function of the count (traced; 0 is the first update) that returns a
            bool.
        forward_extra_args: Pass the extra arguments of `update` to this function as well.
    """
    return _conditionally(
        inner, should_transform_fn, forward_extra_args, ConditionallyMaskState, Inner.where
    )
