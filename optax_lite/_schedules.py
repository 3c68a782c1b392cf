"""Schedules: hyperparameters as functions of the number of updates so far.

No schedule branches in Python on its numbers, so every number can be traced, swept and
differentiated. All take a count or an array of counts and return the default float dtype, with the
same bits either way, and whether the schedule is an argument of its program or closed over. The
first update sees count 0, so a warm-up that starts at 0 spends its first step at 0. Numbers of
steps count updates and can be fractions; above 2²⁴ they have the 24 bits of float32.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeAlias, cast

import jax
import jax.numpy as jnp

from optax_lite.core.scalars import divide, multiply, since
from optax_lite.core.schedule import Schedule, function_schedule, schedule
from optax_lite.core.types import Array, Number, ScheduleFunction
from optax_lite.core.validate import (
    ArgumentError,
    check_below_one,
    check_held,
    check_nonnegative,
    check_positive,
)

# counts and the factors from them on
_Boundaries: TypeAlias = Mapping[Any, Number] | Sequence[tuple[Number, Number]] | None


def _full(count: Any, value: Number) -> Array:
    """Return a value at every count, in the default float dtype."""
    return jnp.full(jnp.shape(count), value, jnp.result_type(float))


def _fraction(count: Any, begin: Number, steps: Number) -> Array:
    """Return how much of a phase is over: 0 before it begins, 1 once it has ended.

    A phase of no steps is over as soon as it begins.
    """
    elapsed = since(count, begin)
    inside = jnp.clip(divide(elapsed, jnp.where(steps > 0, steps, 1.0)), 0.0, 1.0)
    return jnp.where(elapsed >= jnp.maximum(steps, 0.0), 1.0, inside)


def _whole_periods(elapsed: Array, period: Number) -> Array:
    """Count the periods that are over.

    By comparison with their ends, for a device may round a quotient wrongly.
    """
    n = jnp.floor(divide(elapsed, period))
    n = jnp.where(elapsed >= (n + 1.0) * period, n + 1.0, n)
    return jnp.where(elapsed < n * period, n - 1.0, n)


def _share_of(steps: Number, share: Number) -> Array:
    """Return share·steps, rounded down to a whole step.

    0.29 of 100 is 29, although float32 and float64 make it less.
    """
    product = share * steps
    return jnp.floor(product + product * float(jnp.finfo(jnp.result_type(product)).eps))


def _mix(start: Number, end: Number, fraction: Array) -> Array:
    """Interpolate from start to end; exact at both."""
    return jnp.where(fraction < 1.0, start + multiply(end - start, fraction), end)


def _remaining(start: Number, end: Number, left: Array) -> Array:
    """Interpolate from start, where all is left, to end, where nothing is.

    Exact at both, and with all digits near an end of 0.
    """
    return jnp.where(left == 1.0, start, end + multiply(start - end, left))


def _ease(fraction: Array) -> Array:
    """Rise from 0 to 1 by half a cosine."""
    return 0.5 * (1.0 - jnp.cos(jnp.pi * fraction))


def _straight(fraction: Array) -> Array:
    return fraction


def _power(base: Number, exponent: Number) -> Array:
    """Return base ** exponent for base >= 0, with gradient 0 (not NaN) at base 0."""
    positive = base > 0
    return jnp.where(
        positive, jnp.where(positive, base, 1.0) ** exponent, jnp.where(exponent == 0, 1.0, 0.0)
    )


def _through(
    count: Any, knots: list[tuple[Number, Number]], ease: Callable[[Array], Array]
) -> Array:
    """Interpolate between (count, value) knots in order, constant outside."""
    now = _full(count, knots[0][1])
    for (begin, low), (end, high) in pairwise(knots):
        reached = since(count, begin) >= 0
        now = jnp.where(reached, _mix(low, high, ease(_fraction(count, begin, end - begin))), now)
    return now


@schedule
def constant_schedule(value: Number):
    """Return the same value at every count.

    Args:
        value: The value, a number.
    """
    return lambda count: _full(count, value)


@schedule
def polynomial_schedule(
    init_value: Number,
    end_value: Number,
    power: Number,
    transition_steps: Number,
    transition_begin: Number = 0,
):
    """Move from init_value to end_value by a power of what is left of the transition.

        (init - end)·(1 - x)^power + end, x the share of the transition that has passed

    The value is init_value before the transition and end_value after it.

    Args:
        init_value: Value at count 0. It stays until the transition begins.
        end_value: Value at the end, which stays.
        power: Power of what is left, at least 0; 1 is the line, larger ones fall faster at first.
        transition_steps: Updates of the transition, above 0.
        transition_begin: Count at which the transition begins, at least 0.
    """
    check_positive(transition_steps=transition_steps)
    check_nonnegative(power=power, transition_begin=transition_begin)

    def value(count):
        left = 1.0 - _fraction(count, transition_begin, transition_steps)
        return _remaining(init_value, end_value, _power(left, power))

    return value


@schedule
def linear_schedule(
    init_value: Number, end_value: Number, transition_steps: Number, transition_begin: Number = 0
):
    """Move from init_value to end_value in a line, constant outside.

    It reaches end_value at count transition_begin + transition_steps, so the last of N updates
    (count N - 1) is one step short of it.

    Args:
        init_value: Value at count 0. It stays until the transition begins.
        end_value: Value at the end, which stays.
        transition_steps: Updates of the transition, above 0.
        transition_begin: Count at which the transition begins, at least 0.
    """
    check_positive(transition_steps=transition_steps)
    check_nonnegative(transition_begin=transition_begin)
    return lambda count: _mix(
        init_value, end_value, _fraction(count, transition_begin, transition_steps)
    )


def _cosine(peak: Number, end: Number, exponent: Number, fraction: Array) -> Array:
    left = jnp.where(fraction < 1.0, 0.5 * (1.0 + jnp.cos(jnp.pi * fraction)), 0.0)
    return _remaining(peak, end, _power(left, exponent))


@schedule
def cosine_decay_schedule(
    init_value: Number, decay_steps: Number, alpha: Number = 0.0, exponent: Number = 1.0
):
    """Decay by half a cosine. Loshchilov & Hutter 2017.

        init·((1 - alpha)·((1 + cos πx)/2)^exponent + alpha), x = count/decay_steps up to 1

    Args:
        init_value: Value at count 0.
        decay_steps: Updates until the end value, above 0.
        alpha: End value as a share of the first, 0.1 for a decay to a tenth; it stays there after
            `decay_steps`.
        exponent: Power of the cosine's half wave, at least 0; 1 is the plain cosine.
    """
    check_positive(decay_steps=decay_steps)
    check_nonnegative(exponent=exponent)
    return lambda count: _cosine(
        init_value, alpha * init_value, exponent, _fraction(count, 0.0, decay_steps)
    )


@schedule
def exponential_decay(
    init_value: Number,
    transition_steps: Number,
    decay_rate: Number,
    transition_begin: Number = 0,
    staircase: bool = False,
    end_value: Number | None = None,
):
    """Multiply the value by decay_rate in every transition.

        init·decay_rate^x, x = (count - transition_begin)/transition_steps

    Before transition_begin the value is init_value.

    Args:
        init_value: Value at count 0. It stays until the decay begins.
        transition_steps: Updates of the transition, above 0.
        decay_rate: Factor of the value in `transition_steps` updates, above 0. A jump to 0 is a
            `piecewise_constant_schedule`.
        transition_begin: Count at which the transition begins, at least 0.
        staircase: Round the number of transitions down, so that the value changes at their ends
            only.
        end_value: Bound of the value, from below where decay_rate < 1, else from above; None for
            none.
    """
    check_positive(transition_steps=transition_steps, decay_rate=decay_rate)
    check_below_one(decay_rate=decay_rate)
    check_nonnegative(transition_begin=transition_begin)

    def value(count):
        elapsed = jnp.maximum(since(count, transition_begin), 0.0)
        x = (
            _whole_periods(elapsed, transition_steps)
            if staircase
            else divide(elapsed, transition_steps)
        )
        if end_value is None:
            return init_value * decay_rate**x
        # Growth ends long before it overflows: the gradient of a bounded infinity would be NaN.
        longest = jax.lax.stop_gradient(80.0 / jnp.log(jnp.maximum(decay_rate, 1.0)))
        decayed = init_value * decay_rate ** jnp.where(decay_rate > 1, jnp.minimum(x, longest), x)
        return jnp.where(
            decay_rate < 1, jnp.maximum(decayed, end_value), jnp.minimum(decayed, end_value)
        )

    return value


def _pairs(given: Any) -> list[tuple[Number, Number]]:
    """Return the boundaries and their factors, from a dict or from pairs.

    Only in pairs can the boundaries be swept.
    """
    if given is None:
        return []
    if isinstance(given, Mapping):
        try:
            return sorted((float(k), v) for k, v in given.items())
        except (TypeError, ValueError) as error:
            raise ArgumentError(
                f"the keys of boundaries_and_scales must be counts of updates, got {[*given]}"
            ) from error
    if not isinstance(given, tuple) or not all(isinstance(p, tuple) and len(p) == 2 for p in given):
        raise ArgumentError(
            "boundaries_and_scales must be a dict {boundary: factor} or pairs "
            f"((boundary, factor), ...), got {given!r}"
        )
    return list(given)


def _check_boundaries(boundaries: list[Number]) -> None:
    concrete = all(isinstance(b, (int, float)) for b in boundaries)
    if concrete and any(b < a for a, b in pairwise(boundaries)):
        raise ArgumentError(f"the boundaries must increase, got {boundaries}")
    named = {f"boundary {i}": b for i, b in enumerate(boundaries)}
    check_nonnegative(**named)
    check_held(**named)  # those of a dict are no arguments


@schedule
def piecewise_constant_schedule(init_value: Number, boundaries_and_scales: _Boundaries = None):
    """Multiply init_value by the factor of every boundary reached.

    `{1000: 0.1, 2000: 0.1}` divides by ten twice; as pairs `((1000, 0.1), (2000, 0.1))` the
    boundaries are data too, and can be swept like the factors. A factor applies from count =
    boundary on.

    Args:
        init_value: Value at count 0.
        boundaries_and_scales: Factors by the count from which on they apply, as a dict or as pairs;
            None for none.
    """
    pairs = _pairs(boundaries_and_scales)
    _check_boundaries([b for b, _ in pairs])

    def value(count):
        now = _full(count, init_value)
        for boundary, factor in pairs:
            now = now * jnp.where(since(count, boundary) < 0, 1.0, factor)
        return now

    return value


@schedule(static=("interpolate_type",))
def piecewise_interpolate_schedule(
    interpolate_type: str, init_value: Number, boundaries_and_scales: _Boundaries = None
):
    """Interpolate between init_value at 0 and its running products with the factors.

    `piecewise_interpolate_schedule("linear", 1.0, {10: 0.5, 20: 0.1})` passes through 1 at 0, 0.5
    at 10 and 0.05 at 20, where it stays.

    Args:
        interpolate_type: "linear" or "cosine".
        init_value: Value at count 0.
        boundaries_and_scales: Factors by the count at which they are reached, as a dict or as
            pairs; None for none.
    """
    if interpolate_type not in ("linear", "cosine"):
        raise ArgumentError(
            f"interpolate_type must be 'linear' or 'cosine', got {interpolate_type!r}"
        )
    pairs = _pairs(boundaries_and_scales)
    _check_boundaries([b for b, _ in pairs])
    ease = _ease if interpolate_type == "cosine" else _straight

    def value(count):
        knots: list[tuple[Number, Number]] = [(0.0, init_value)]
        for boundary, factor in pairs:
            knots.append((boundary, knots[-1][1] * factor))
        return _through(count, knots, ease)

    return value


@schedule
def join_schedules(schedules: Sequence[ScheduleFunction], boundaries: Sequence[Number]):
    """Follow one schedule after another.

    Schedule i+1 starts at count = boundaries[i] and counts from there. All schedules are evaluated
    at every count, even outside their own range.

    Args:
        schedules: The schedules in order, a list.
        boundaries: Counts at which the next schedule takes over, absolute, one fewer than
            schedules.
    """
    for name, value in {"schedules": schedules, "boundaries": boundaries}.items():
        if not isinstance(value, tuple):
            raise ArgumentError(f"{name} must be a list, got {value!r}")
    if len(schedules) != len(boundaries) + 1:
        raise ArgumentError(
            f"{len(schedules)} schedules need {len(schedules) - 1} boundaries, got "
            f"{len(boundaries)}"
        )
    for i, part in enumerate(schedules):
        if not isinstance(part, Schedule):
            raise ArgumentError(f"schedules/{i} must be a schedule, got {part!r}")
    _check_boundaries(list(boundaries))

    def value(count):
        now = schedules[0](count)
        for part, boundary in zip(schedules[1:], boundaries, strict=True):
            elapsed, may_index = since(count, boundary), part.factory is function_schedule
            now = jnp.where(
                elapsed < 0,
                now,
                part(elapsed.astype(jnp.asarray(count).dtype) if may_index else elapsed),
            )
        return now

    return value


@schedule
def warmup_constant_schedule(init_value: Number, peak_value: Number, warmup_steps: Number):
    """Warm up linearly from init_value to peak_value, then stay there.

    Args:
        init_value: Value at count 0.
        peak_value: Largest value.
        warmup_steps: Updates of the linear warm-up, at least 0. 0 is the constant peak_value.
    """
    check_nonnegative(warmup_steps=warmup_steps)
    return lambda count: _mix(init_value, peak_value, _fraction(count, 0.0, warmup_steps))


def _after_warmup(
    count: Any, init: Number, peak: Number, warmup_steps: Number, after: Number
) -> Array:
    fraction = _fraction(count, 0.0, warmup_steps)
    return jnp.where(fraction < 1.0, _mix(init, peak, fraction), after)


@schedule
def warmup_cosine_decay_schedule(
    init_value: Number,
    peak_value: Number,
    warmup_steps: Number,
    decay_steps: Number,
    end_value: Number = 0.0,
    exponent: Number = 1.0,
):
    """Warm up linearly to peak_value, then decay by a cosine to end_value.

    Args:
        init_value: Value at count 0.
        peak_value: Largest value.
        warmup_steps: Updates of the linear warm-up, at least 0.
        decay_steps: Updates of the whole training, the warm-up included, not of the decay alone;
            above 0, and more than `warmup_steps`.
        end_value: Value at the end, which stays.
        exponent: Power of the cosine's half wave, at least 0; 1 is the plain cosine.
    """
    check_nonnegative(warmup_steps=warmup_steps, exponent=exponent)
    check_positive(decay_steps=decay_steps)
    if (
        isinstance(warmup_steps, float)
        and isinstance(decay_steps, float)
        and warmup_steps >= decay_steps
    ):
        raise ArgumentError(
            f"decay_steps includes the warm-up and must exceed warmup_steps={warmup_steps}, got "
            f"{decay_steps}"
        )

    def value(count):
        decayed = _cosine(
            peak_value,
            end_value,
            exponent,
            _fraction(count, warmup_steps, decay_steps - warmup_steps),
        )
        return _after_warmup(count, init_value, peak_value, warmup_steps, decayed)

    return value


@schedule
def warmup_exponential_decay_schedule(
    init_value: Number,
    peak_value: Number,
    warmup_steps: Number,
    transition_steps: Number,
    decay_rate: Number,
    transition_begin: Number = 0,
    staircase: bool = False,
    end_value: Number | None = None,
):
    """Warm up linearly to peak_value, then follow `exponential_decay` from there, counted from the
    end of the warm-up.

    Args:
        init_value: Value at count 0.
        peak_value: Largest value.
        warmup_steps: Updates of the linear warm-up, at least 0.
        transition_steps: Updates of the transition, above 0.
        decay_rate: Factor of the value in `transition_steps` updates, above 0. A jump to 0 is a
            `piecewise_constant_schedule`.
        transition_begin: Pause after the warm-up, at least 0.
        staircase: Round the number of transitions down, so that the value changes at their ends
            only.
        end_value: Bound of the value, from below where decay_rate < 1, else from above; None for
            none.
    """
    check_nonnegative(warmup_steps=warmup_steps)
    decay = exponential_decay(
        peak_value, transition_steps, decay_rate, transition_begin, staircase, end_value
    )

    def value(count):
        return _after_warmup(
            count, init_value, peak_value, warmup_steps, decay(since(count, warmup_steps))
        )

    return value


@schedule
def cosine_onecycle_schedule(
    transition_steps: Number,
    peak_value: Number,
    pct_start: Number = 0.3,
    div_factor: Number = 25.0,
    final_div_factor: Number = 1e4,
):
    """Rise and fall once by half cosines. Smith 2018.

    The value is peak/div at 0, peak at pct_start, and peak/(div·final_div) at the end.

    Args:
        transition_steps: Updates of the whole cycle, above 0.
        peak_value: Largest value.
        pct_start: Share of `transition_steps` at which the peak is reached, at least 0. It is
            rounded down to a whole step.
        div_factor: Peak over the value at count 0, above 0.
        final_div_factor: Value at count 0 over that at the end, above 0.
    """
    check_positive(
        transition_steps=transition_steps, div_factor=div_factor, final_div_factor=final_div_factor
    )
    check_nonnegative(pct_start=pct_start)

    def value(count):
        low, top = divide(peak_value, div_factor), _share_of(transition_steps, pct_start)
        knots = [(0.0, low), (top, peak_value), (transition_steps, divide(low, final_div_factor))]
        return _through(count, knots, _ease)

    return value


@schedule
def linear_onecycle_schedule(
    transition_steps: Number,
    peak_value: Number,
    pct_start: Number = 0.3,
    pct_final: Number = 0.85,
    div_factor: Number = 25.0,
    final_div_factor: Number = 1e4,
):
    """Rise and fall once linearly, with a last stretch far below. Smith 2018.

    The value is peak/div at 0, peak at pct_start, peak/div at pct_final, and peak/(div·final_div)
    at the end.

    Args:
        transition_steps: Updates of the whole cycle, above 0.
        peak_value: Largest value.
        pct_start: Share of `transition_steps` at which the peak is reached, at least 0. It is
            rounded down to a whole step.
        pct_final: Share of `transition_steps` at which the value is back at that of count 0, at
            least 0; rounded as well.
        div_factor: Peak over the value at count 0, above 0.
        final_div_factor: Value at count 0 over that at the end, above 0.
    """
    check_positive(
        transition_steps=transition_steps, div_factor=div_factor, final_div_factor=final_div_factor
    )
    check_nonnegative(pct_start=pct_start, pct_final=pct_final)

    def value(count):
        low, final = (
            divide(peak_value, div_factor),
            divide(divide(peak_value, div_factor), final_div_factor),
        )
        up, down = _share_of(transition_steps, pct_start), _share_of(transition_steps, pct_final)
        knots = [(0.0, low), (up, peak_value), (down, low), (transition_steps, final)]
        return _through(count, knots, _straight)

    return value


@schedule
def sgdr_schedule(cosine_kwargs: Sequence[Mapping[str, Number]]):
    """Restart a warm-up and cosine decay again and again. Loshchilov & Hutter 2017.

    Cycle k lasts its own decay_steps, warm-up included. The next cycle starts at the boundary, so
    an end value is approached but not reached, except that of the last cycle, which stays. torch's
    CosineAnnealingWarmRestarts does the same.

    Args:
        cosine_kwargs: List of dicts, the arguments of one `warmup_cosine_decay_schedule` each.
    """
    if not isinstance(cosine_kwargs, tuple) or not all(isinstance(k, dict) for k in cosine_kwargs):
        raise ArgumentError(
            f"cosine_kwargs must be a list of dicts of arguments, got {cosine_kwargs!r}"
        )
    cycles = [warmup_cosine_decay_schedule(**cast(dict, kwargs)) for kwargs in cosine_kwargs]
    ends = [
        sum(kwargs["decay_steps"] for kwargs in cosine_kwargs[: i + 1])
        for i in range(len(cycles) - 1)
    ]
    return join_schedules(cycles, ends)


@schedule
def warmup_stable_decay_schedule(
    init_value: Number,
    peak_value: Number,
    warmup_steps: Number,
    stable_steps: Number,
    decay_steps: Number,
    end_value: Number = 0.0,
):
    """Warm up linearly, stay, and fall linearly to end_value. Hu et al. 2024.

    Every phase has its own length (in `warmup_cosine_decay_schedule` the decay counts from 0). To
    extend a run from any point of the constant phase, use a larger stable_steps.

    Args:
        init_value: Value at count 0.
        peak_value: Largest value.
        warmup_steps: Updates of the linear warm-up, at least 0.
        stable_steps: Updates at the peak, at least 0.
        decay_steps: Updates of the fall, at least 0.
        end_value: Value at the end, which stays.
    """
    check_nonnegative(warmup_steps=warmup_steps, stable_steps=stable_steps, decay_steps=decay_steps)

    def value(count):
        decayed = _mix(
            peak_value, end_value, _fraction(count, warmup_steps + stable_steps, decay_steps)
        )
        return _after_warmup(count, init_value, peak_value, warmup_steps, decayed)

    return value


@schedule
def inverse_sqrt_schedule(peak_value: Number, warmup_steps: Number, init_value: Number = 0.0):
    """Warm up linearly to peak_value, then fall by a root. Vaswani et al. 2017, section 5.3.

        peak·√(warmup_steps/count)

    For a model of width d the paper's rate is peak_value = 1/√(d·warmup_steps).

    Args:
        peak_value: Largest value.
        warmup_steps: Updates of the linear warm-up, above 0.
        init_value: Value at count 0.
    """
    check_positive(warmup_steps=warmup_steps)

    def value(count):
        after = peak_value * jnp.sqrt(
            divide(warmup_steps, jnp.maximum(since(count, 0.0), warmup_steps))
        )
        return _after_warmup(count, init_value, peak_value, warmup_steps, after)

    return value


@schedule
def cyclic_schedule(
    base_value: Number, peak_value: Number, half_cycle_steps: Number, decay_rate: Number = 1.0
):
    """Rise and fall again and again between base and peak. Smith 2017.

    A cycle takes 2·half_cycle_steps and starts at base_value.

    Args:
        base_value: Least value.
        peak_value: Largest value. Later cycles are lower if `decay_rate` is.
        half_cycle_steps: Updates of a rise or a fall, above 0.
        decay_rate: Height of a cycle over that of the one before, at least 0: 1 is the paper's
            "triangular" policy, 0.5 "triangular2".
    """
    check_positive(half_cycle_steps=half_cycle_steps)
    check_nonnegative(decay_rate=decay_rate)
    check_below_one(decay_rate=decay_rate)

    def value(count):
        elapsed, period = since(count, 0.0), 2 * half_cycle_steps
        cycle = _whole_periods(elapsed, period)
        now = elapsed - multiply(cycle, period)
        height = jnp.where(
            now == half_cycle_steps, 1.0, divide(jnp.minimum(now, period - now), half_cycle_steps)
        )
        return _mix(
            base_value, _remaining(peak_value, base_value, _power(decay_rate, cycle)), height
        )

    return value
