"""Schedules as functions of the step count: references, and settings with the counts around which
something changes.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import optax_lite as ol
from tests.methods.row import Namespace


def constant_schedule(count, *, value):
    """Constant step size (no paper; written definition)."""
    return float(value)


def linear_schedule(count, *, init_value, end_value, transition_steps, transition_begin=0):
    """Straight line from init_value to end_value (no paper; written definition)."""
    if count >= transition_begin + transition_steps:
        return float(end_value)
    frac = max(count - transition_begin, 0) / transition_steps
    return float(init_value + (end_value - init_value) * frac)


def polynomial_schedule(
    count, *, init_value, end_value, power, transition_steps, transition_begin=0
):
    """Polynomial decay (the "poly" policy, Liu, Rabinovich & Berg 2015, ParseNet)."""
    frac = min(max(count - transition_begin, 0) / transition_steps, 1.0)
    return float((init_value - end_value) * (1 - frac) ** power + end_value)


def cosine_decay_schedule(count, *, init_value, decay_steps, alpha=0.0, exponent=1.0):
    """Cosine annealing without restarts (Loshchilov & Hutter 2017, equation 5)."""
    cosine = 0.5 * (1 + np.cos(np.pi * min(count, decay_steps) / decay_steps))
    return float(init_value * ((1 - alpha) * cosine**exponent + alpha))


def exponential_decay(
    count,
    *,
    init_value,
    transition_steps,
    decay_rate,
    transition_begin=0,
    staircase=False,
    end_value=None,
):
    """Exponential decay, smooth or in steps (no paper; written definition)."""
    if count <= transition_begin:
        value = init_value
    else:
        exponent = (count - transition_begin) / transition_steps
        if staircase:
            exponent = np.floor(exponent)
        value = init_value * decay_rate**exponent
    # The bound is on the side that the values move towards.
    if end_value is not None and decay_rate < 1:
        value = max(value, end_value)
    if end_value is not None and decay_rate >= 1:
        value = min(value, end_value)
    return float(value)


def piecewise_constant_schedule(count, *, init_value, boundaries_and_scales):
    """Step decay (no paper; written definition, boundary convention as documented for optax)."""
    # optax's documentation page of this function (readthedocs, "latest") gives the condition t >= b
    # for the factor of boundary b, so {5: 0.1} from 1.0 is 1.0 at 4 and 0.1 at 5. Its example has
    # no value AT a boundary.
    value = init_value
    for boundary, factor in dict(boundaries_and_scales or {}).items():
        if count >= boundary:
            value = value * factor
    return float(value)


def piecewise_interpolate_schedule(count, *, interpolate_type, init_value, boundaries_and_scales):
    """Interpolation, linear or half-cosine, between running products (no paper; written
    definition).
    """
    left, start = 0, init_value
    for right, factor in sorted(dict(boundaries_and_scales or {}).items()):
        end = start * factor
        if count < right:
            frac = (count - left) / (right - left)
            if interpolate_type == "cosine":
                frac = 0.5 * (1 - np.cos(np.pi * frac))
            return float(start + (end - start) * frac)
        left, start = right, end
    return float(start)


def warmup_constant_schedule(count, *, init_value, peak_value, warmup_steps):
    """Gradual warm-up, then constant (Goyal et al. 2017, section 2.2)."""
    if count < warmup_steps:
        return float(init_value + (peak_value - init_value) * count / warmup_steps)
    return float(peak_value)


def warmup_cosine_decay_schedule(
    count, *, init_value, peak_value, warmup_steps, decay_steps, end_value=0.0, exponent=1.0
):
    """Gradual warm-up (Goyal et al. 2017), then cosine annealing (Loshchilov & Hutter 2017,
    equation 5).
    """
    if count < warmup_steps:
        return float(init_value + (peak_value - init_value) * count / warmup_steps)
    # decay_steps is the length of the whole schedule, warm-up included.
    T = decay_steps - warmup_steps
    t = min(count - warmup_steps, T)
    alpha = 0.0 if peak_value == 0 else end_value / peak_value
    cosine = 0.5 * (1 + np.cos(np.pi * t / T))
    return float(peak_value * ((1 - alpha) * cosine**exponent + alpha))


def warmup_exponential_decay_schedule(
    count,
    *,
    init_value,
    peak_value,
    warmup_steps,
    transition_steps,
    decay_rate,
    transition_begin=0,
    staircase=False,
    end_value=None,
):
    """Gradual warm-up (Goyal et al. 2017), then exponential decay counted from the end of the
    warm-up.
    """
    if count < warmup_steps:
        return float(init_value + (peak_value - init_value) * count / warmup_steps)
    return exponential_decay(
        count - warmup_steps,
        init_value=peak_value,
        transition_steps=transition_steps,
        decay_rate=decay_rate,
        transition_begin=transition_begin,
        staircase=staircase,
        end_value=end_value,
    )


def join_schedules(count, *, schedules, boundaries):
    """One schedule after another, each on its own clock (no paper; written definition)."""
    value = schedules[0](count)
    for schedule, boundary in zip(schedules[1:], boundaries, strict=True):
        if count >= boundary:
            value = schedule(count - boundary)
    return float(value)


def cosine_onecycle_schedule(
    count, *, transition_steps, peak_value, pct_start=0.3, div_factor=25.0, final_div_factor=1e4
):
    """One cycle (Smith & Topin 2018) with half-cosine flanks."""
    T = transition_steps
    T_up = int(pct_start * T)
    low = peak_value / div_factor
    final = peak_value / (div_factor * final_div_factor)
    if count >= T:
        return float(final)
    if count < T_up:
        return float(low + (peak_value - low) * 0.5 * (1 - np.cos(np.pi * count / T_up)))
    frac = (count - T_up) / (T - T_up)
    return float(peak_value + (final - peak_value) * 0.5 * (1 - np.cos(np.pi * frac)))


def linear_onecycle_schedule(
    count,
    *,
    transition_steps,
    peak_value,
    pct_start=0.3,
    pct_final=0.85,
    div_factor=25.0,
    final_div_factor=1e4,
):
    """One cycle with straight flanks and a final descent below the start (Smith & Topin 2018)."""
    T = transition_steps
    T_up = int(pct_start * T)
    T_down = int(pct_final * T)
    low = peak_value / div_factor
    final = peak_value / (div_factor * final_div_factor)
    if count >= T:
        return float(final)
    if count < T_up:
        return float(low + (peak_value - low) * count / T_up)
    if count < T_down:
        return float(peak_value + (low - peak_value) * (count - T_up) / (T_down - T_up))
    return float(low + (final - low) * (count - T_down) / (T - T_down))


def sgdr_schedule(count, *, cosine_kwargs):
    """Cosine annealing with warm restarts (Loshchilov & Hutter 2017, equation 5), each cycle with
    its own keywords.
    """
    # Every restart sets T_cur back to 0; the last cycle simply stays at its end.
    t = count
    for kwargs in cosine_kwargs[:-1]:
        if t < kwargs["decay_steps"]:
            return warmup_cosine_decay_schedule(t, **kwargs)
        t = t - kwargs["decay_steps"]
    return warmup_cosine_decay_schedule(t, **cosine_kwargs[-1])


def warmup_stable_decay_schedule(
    count, *, init_value, peak_value, warmup_steps, stable_steps, decay_steps, end_value=0.0
):
    """Warm-up, stable, decay (Hu et al. 2024, MiniCPM) with a linear cooldown (Haegele et al.
    2024).
    """
    if count < warmup_steps:
        return float(init_value + (peak_value - init_value) * count / warmup_steps)
    if count < warmup_steps + stable_steps:
        return float(peak_value)
    if count < warmup_steps + stable_steps + decay_steps:
        t = count - warmup_steps - stable_steps
        return float(peak_value + (end_value - peak_value) * t / decay_steps)
    return float(end_value)


def inverse_sqrt_schedule(count, *, peak_value, warmup_steps, init_value=0.0):
    """Linear warm-up, then decay with one over the root of the step (Vaswani et al. 2017, equation
    3).
    """
    if count < warmup_steps:
        return float(init_value + (peak_value - init_value) * count / warmup_steps)
    # The paper's factor d_model^-0.5 * warmup_steps^-0.5 is called peak_value here.
    return float(peak_value * np.sqrt(warmup_steps / count))


def cyclic_schedule(count, *, base_value, peak_value, half_cycle_steps, decay_rate=1.0):
    """Triangular cyclical learning rate with a per-cycle factor on the amplitude (Smith 2017,
    section 3).
    """
    cycle = count // (2 * half_cycle_steps)
    position = count - cycle * 2 * half_cycle_steps
    height = (peak_value - base_value) * decay_rate**cycle
    if position < half_cycle_steps:
        return float(base_value + height * position / half_cycle_steps)
    return float(base_value + height * (2 * half_cycle_steps - position) / half_cycle_steps)


# One row a setting: the factory's name, its arguments, and the counts around which something
# changes.
_TABLE: list[tuple[str, dict[str, Any], list[int]]] = [
    ("constant_schedule", {"value": 0.3}, [5]),
    ("linear_schedule", {"init_value": 0.1, "end_value": 0.9, "transition_steps": 10}, [10]),
    # exact at its end
    ("linear_schedule", {"init_value": 1e20, "end_value": 1.0, "transition_steps": 3}, [3]),
    (
        "linear_schedule",
        {"init_value": 1.0, "end_value": 0.2, "transition_steps": 7, "transition_begin": 5},
        [5, 12],
    ),
    (
        "linear_schedule",
        {"init_value": 0.1, "end_value": 0.9, "transition_steps": 0.5, "transition_begin": 0.75},
        [1],
    ),
    (
        "polynomial_schedule",
        {"init_value": 1.0, "end_value": 0.1, "power": 2.0, "transition_steps": 9},
        [9],
    ),
    (
        "polynomial_schedule",
        {
            "init_value": 0.2,
            "end_value": 0.7,
            "power": 0.5,
            "transition_steps": 6,
            "transition_begin": 3,
        },
        [3, 9],
    ),
    (
        "polynomial_schedule",
        {"init_value": 0.2, "end_value": 0.7, "power": 0.0, "transition_steps": 6},
        [],
    ),
    ("cosine_decay_schedule", {"init_value": 0.5, "decay_steps": 20}, [20]),
    (
        "cosine_decay_schedule",
        {"init_value": 1.5, "decay_steps": 20, "alpha": 0.1, "exponent": 1.7},
        [20],
    ),
    ("exponential_decay", {"init_value": 0.5, "transition_steps": 4, "decay_rate": 0.8}, [4]),
    (
        "exponential_decay",
        {
            "init_value": 0.5,
            "transition_steps": 4,
            "decay_rate": 0.5,
            "transition_begin": 3,
            "staircase": True,
        },
        [3, 7, 11],
    ),
    (
        "exponential_decay",
        {"init_value": 0.5, "transition_steps": 4, "decay_rate": 0.5, "end_value": 0.2},
        [5],
    ),
    (
        "exponential_decay",
        {"init_value": 0.5, "transition_steps": 4, "decay_rate": 1.5, "end_value": 0.9},
        [6],
    ),
    (
        "exponential_decay",
        {"init_value": 0.1, "transition_steps": 4, "decay_rate": 0.5, "end_value": 0.3},
        [0],
    ),
    (
        "exponential_decay",
        {"init_value": 0.5, "transition_steps": 4, "decay_rate": 1.0, "end_value": 0.2},
        [5],
    ),
    (
        "exponential_decay",
        {"init_value": 1.0, "transition_steps": 1, "decay_rate": 1 + 2**-16, "end_value": 100.0},
        [200_000],
    ),
    (
        "exponential_decay",
        {"init_value": 1e-20, "transition_steps": 1, "decay_rate": 1.5, "end_value": 1e10},
        [170],
    ),
    (
        "piecewise_constant_schedule",
        {"init_value": 0.8, "boundaries_and_scales": {4: 0.5, 9: 0.1}},
        [4, 9],
    ),
    (
        "piecewise_constant_schedule",
        {"init_value": 0.8, "boundaries_and_scales": ((4, 0.5), (9, 0.1), (11, 3.0))},
        [4, 9, 11],
    ),
    ("piecewise_constant_schedule", {"init_value": 0.8, "boundaries_and_scales": None}, [3]),
    (
        "piecewise_interpolate_schedule",
        {
            "interpolate_type": "linear",
            "init_value": 0.8,
            "boundaries_and_scales": {4: 0.5, 9: 3.0},
        },
        [4, 9],
    ),
    (
        "piecewise_interpolate_schedule",
        {
            "interpolate_type": "cosine",
            "init_value": 0.8,
            "boundaries_and_scales": {4: 0.5, 9: 3.0, 11: 0.1},
        },
        [4, 9, 11],
    ),
    (
        "piecewise_interpolate_schedule",
        {"interpolate_type": "linear", "init_value": 0.8, "boundaries_and_scales": ((9, 3.0),)},
        [9],
    ),
    (
        "piecewise_interpolate_schedule",
        {"interpolate_type": "linear", "init_value": 0.8, "boundaries_and_scales": None},
        [3],
    ),
    (
        "piecewise_interpolate_schedule",
        {"interpolate_type": "cosine", "init_value": 0.8, "boundaries_and_scales": {0: 0.5}},
        [0],
    ),
    ("warmup_constant_schedule", {"init_value": 0.1, "peak_value": 0.9, "warmup_steps": 8}, [8]),
    ("warmup_constant_schedule", {"init_value": 0.1, "peak_value": 0.9, "warmup_steps": 0}, [0]),
    (
        "warmup_cosine_decay_schedule",
        {
            "init_value": 0.1,
            "peak_value": 0.9,
            "warmup_steps": 5,
            "decay_steps": 25,
            "end_value": 0.05,
        },
        [5, 25],
    ),
    (
        "warmup_cosine_decay_schedule",
        {
            "init_value": 0.0,
            "peak_value": 0.9,
            "warmup_steps": 0,
            "decay_steps": 12,
            "exponent": 2.0,
        },
        [0, 12],
    ),
    (
        "warmup_exponential_decay_schedule",
        {
            "init_value": 0.1,
            "peak_value": 0.9,
            "warmup_steps": 5,
            "transition_steps": 4,
            "decay_rate": 0.7,
        },
        [5, 9],
    ),
    (
        "warmup_exponential_decay_schedule",
        {
            "init_value": 0.1,
            "peak_value": 0.9,
            "warmup_steps": 5,
            "transition_steps": 4,
            "decay_rate": 0.7,
            "transition_begin": 3,
            "staircase": True,
            "end_value": 0.3,
        },
        [5, 8, 12, 16],
    ),
    ("cosine_onecycle_schedule", {"transition_steps": 20, "peak_value": 0.9}, [6, 20]),
    (
        "cosine_onecycle_schedule",
        {
            "transition_steps": 22,
            "peak_value": 0.9,
            "pct_start": 0.4,
            "div_factor": 5.0,
            "final_div_factor": 10.0,
        },
        [8, 22],
    ),
    (
        "cosine_onecycle_schedule",
        {"transition_steps": 20, "peak_value": 0.9, "pct_start": 1.0},
        [20],
    ),
    ("linear_onecycle_schedule", {"transition_steps": 20, "peak_value": 0.9}, [6, 17, 20]),
    (
        "linear_onecycle_schedule",
        {
            "transition_steps": 22,
            "peak_value": 0.9,
            "pct_start": 0.4,
            "pct_final": 0.7,
            "div_factor": 5.0,
            "final_div_factor": 10.0,
        },
        [8, 15, 22],
    ),
    (
        "sgdr_schedule",
        {
            "cosine_kwargs": [
                {
                    "init_value": 0.0,
                    "peak_value": 0.9,
                    "warmup_steps": 2,
                    "decay_steps": 7,
                    "end_value": 0.1,
                },
                {"init_value": 0.1, "peak_value": 0.5, "warmup_steps": 3, "decay_steps": 9},
                {
                    "init_value": 0.0,
                    "peak_value": 0.3,
                    "warmup_steps": 0,
                    "decay_steps": 4,
                    "exponent": 2.0,
                },
            ]
        },
        [2, 7, 10, 16, 20],
    ),
    (
        "warmup_stable_decay_schedule",
        {
            "init_value": 0.1,
            "peak_value": 0.9,
            "warmup_steps": 4,
            "stable_steps": 5,
            "decay_steps": 6,
            "end_value": 0.2,
        },
        [4, 9, 15],
    ),
    (
        "warmup_stable_decay_schedule",
        {
            "init_value": 0.1,
            "peak_value": 0.9,
            "warmup_steps": 4,
            "stable_steps": 0,
            "decay_steps": 6,
        },
        [4, 10],
    ),
    (
        "warmup_stable_decay_schedule",
        {
            "init_value": 0.1,
            "peak_value": 0.9,
            "warmup_steps": 4,
            "stable_steps": 5,
            "decay_steps": 0,
            "end_value": 0.2,
        },
        [4, 9],
    ),
    ("inverse_sqrt_schedule", {"peak_value": 0.9, "warmup_steps": 6}, [6]),
    ("inverse_sqrt_schedule", {"peak_value": 30.0, "warmup_steps": 6}, [6, 30]),
    ("inverse_sqrt_schedule", {"peak_value": 0.9, "warmup_steps": 6, "init_value": 0.2}, [6, 100]),
    (
        "cyclic_schedule",
        {"base_value": 0.1, "peak_value": 0.9, "half_cycle_steps": 5},
        [5, 10, 15, 20],
    ),
    (
        "cyclic_schedule",
        {"base_value": 0.1, "peak_value": 0.9, "half_cycle_steps": 5, "decay_rate": 0.6},
        [5, 10, 15, 20, 25],
    ),
]


def _joined() -> tuple[str, Callable, dict[str, Any], Callable[[int], float]]:
    parts = [
        ("linear_schedule", {"init_value": 0.1, "end_value": 0.9, "transition_steps": 4}),
        ("constant_schedule", {"value": 0.5}),
        ("cosine_decay_schedule", {"init_value": 0.8, "decay_steps": 6}),
    ]
    ours = {"schedules": [getattr(ol, name)(**kw) for name, kw in parts], "boundaries": [5, 9]}
    theirs = [partial(globals()[name], **kw) for name, kw in parts]
    by_reference = partial(join_schedules, schedules=theirs, boundaries=[5, 9])
    return "join_schedules", ol.join_schedules, ours, by_reference


_TABLE_OF_RATES = [0.4, 0.3, 0.1, 0.2]


def by_table(count):
    """A plain function that indexes by its count, which must be an integer therefore."""
    return jnp.array(_TABLE_OF_RATES)[jnp.minimum(count, 3)]


def _joined_functions() -> tuple[str, Callable, dict[str, Any], Callable[[int], float]]:
    def by_reference(count):
        return 0.5 if count < 5 else _TABLE_OF_RATES[min(count - 5, 3)]

    ours = {"schedules": [ol.constant_schedule(0.5), by_table], "boundaries": [5]}
    return "join_schedules", ol.join_schedules, ours, by_reference


CASES: list[tuple[str, Callable, dict[str, Any], Callable[[int], float]]] = [
    *(
        (name, getattr(ol, name), settings, partial(globals()[name], **settings))
        for name, settings, _ in _TABLE
    ),
    _joined(),
    _joined_functions(),
]


def counts(name: str, settings: dict[str, Any]) -> list[int]:
    """0, every boundary with its neighbours, and counts far beyond."""
    boundaries = next((b for n, s, b in _TABLE if n == name and s is settings), [5, 9, 15])
    near = {b + d for b in boundaries for d in (-1, 0, 1)}
    return sorted(c for c in near | {0, 1, 2, 50, 1000} if c >= 0)


def _whatever_a_quotient_is_off(namespace: Namespace) -> bool:
    """Steps come when they are due, and peaks are exact, although a division is off, up or down."""
    exact, found = namespace["divide"], []
    stairs = namespace["exponential_decay"](1.0, 7, 0.5, staircase=True)
    wave = namespace["cyclic_schedule"](0.1, 0.7, 3, 0.5)
    try:
        for way in (jnp.inf, -jnp.inf):
            namespace["divide"] = lambda x, y, way=way: jnp.nextafter(exact(x, y), way)
            found += [
                np.allclose(
                    [wave(count) for count in (0, 3, 6, 9, 12)],
                    [0.1, 0.7, 0.1, 0.4, 0.1],
                    atol=1e-6,
                )
            ]
            found += [float(wave(3)) == float(jnp.asarray(0.7))]
        for factor in (
            0.8,
            1.0,
            1.2,
        ):  # ends of periods are compared with, so that even this is right
            namespace["divide"] = lambda x, y, factor=factor: factor * exact(x, y)
            found += [
                [float(stairs(count)) for count in (0, 6, 7, 13, 14)] == [1.0, 1.0, 0.5, 0.5, 0.25]
            ]
    finally:
        namespace["divide"] = exact
    return all(found)


def _ends_exactly(namespace: Namespace) -> bool:
    """The first value is the one that was given, although end + (start - end) is not."""
    pairs = ((0.9, 0.3), (0.1, 0.3), (0.7, 0.1))
    starts = [(a, namespace["polynomial_schedule"](a, b, 2.0, 5)) for a, b in pairs]
    return all(
        float(schedule(0)) == float(jnp.asarray(a)) and float(schedule(3)) != a
        for a, schedule in starts
    )


def _has_a_slope_at_its_end(namespace: Namespace) -> bool:
    """Of a power below 1 the slope at 0 is infinite; it counts as 0, or 0 times it would be NaN."""
    made, power = namespace["polynomial_schedule"], namespace["_power"]
    at_its_end = jax.grad(lambda steps: made(1.0, 0.0, 0.5, steps)(10))(10.0)
    return bool(at_its_end == 0 and jax.grad(lambda left: power(left, 0.5))(0.0) == 0)


def _joins_between_counts(namespace: Namespace) -> bool:
    """The first count after a boundary of 10.5 is the 0 of a function that indexes by it."""
    joined = namespace["join_schedules"]([namespace["constant_schedule"](0.5), by_table], [10.5])
    return np.allclose([joined(jnp.int32(count)) for count in (10, 11, 12)], [0.5, 0.4, 0.3])


PROBES = {
    "optax_lite._schedules": {
        "quotients": _whatever_a_quotient_is_off,
        "ends": _ends_exactly,
        "slopes": _has_a_slope_at_its_end,
        "joins": _joins_between_counts,
    }
}
