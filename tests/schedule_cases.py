"""Every schedule with settings and its numpy reference; counts are taken at, before and after every boundary."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp

import optax_lite as ol
from tests.reference import schedules as reference

# One row a setting: the factory's name, its arguments, and the counts around which something changes.
_TABLE: list[tuple[str, dict[str, Any], list[int]]] = [
    ("constant_schedule", {"value": 0.3}, [5]),
    ("linear_schedule", {"init_value": 0.1, "end_value": 0.9, "transition_steps": 10}, [10]),
    ("linear_schedule", {"init_value": 1e20, "end_value": 1.0, "transition_steps": 3}, [3]),  # exact at its end
    ("linear_schedule", {"init_value": 1.0, "end_value": 0.2, "transition_steps": 7, "transition_begin": 5}, [5, 12]),
    ("linear_schedule", {"init_value": 0.1, "end_value": 0.9, "transition_steps": 0.5, "transition_begin": 0.75}, [1]),
    ("polynomial_schedule", {"init_value": 1.0, "end_value": 0.1, "power": 2.0, "transition_steps": 9}, [9]),
    (
        "polynomial_schedule",
        {"init_value": 0.2, "end_value": 0.7, "power": 0.5, "transition_steps": 6, "transition_begin": 3},
        [3, 9],
    ),
    ("polynomial_schedule", {"init_value": 0.2, "end_value": 0.7, "power": 0.0, "transition_steps": 6}, []),
    ("cosine_decay_schedule", {"init_value": 0.5, "decay_steps": 20}, [20]),
    ("cosine_decay_schedule", {"init_value": 0.5, "decay_steps": 20, "alpha": 0.1, "exponent": 1.7}, [20]),
    ("exponential_decay", {"init_value": 0.5, "transition_steps": 4, "decay_rate": 0.8}, [4]),
    (
        "exponential_decay",
        {"init_value": 0.5, "transition_steps": 4, "decay_rate": 0.5, "transition_begin": 3, "staircase": True},
        [3, 7, 11],
    ),
    ("exponential_decay", {"init_value": 0.5, "transition_steps": 4, "decay_rate": 0.5, "end_value": 0.2}, [5]),
    ("exponential_decay", {"init_value": 0.5, "transition_steps": 4, "decay_rate": 1.5, "end_value": 0.9}, [6]),
    ("exponential_decay", {"init_value": 0.1, "transition_steps": 4, "decay_rate": 0.5, "end_value": 0.3}, [0]),
    ("exponential_decay", {"init_value": 0.5, "transition_steps": 4, "decay_rate": 1.0, "end_value": 0.2}, [5]),
    (
        "exponential_decay",
        {"init_value": 1.0, "transition_steps": 1, "decay_rate": 1 + 2**-16, "end_value": 100.0},
        [200_000],
    ),
    ("exponential_decay", {"init_value": 1e-20, "transition_steps": 1, "decay_rate": 1.5, "end_value": 1e10}, [170]),
    ("piecewise_constant_schedule", {"init_value": 0.8, "boundaries_and_scales": {4: 0.5, 9: 0.1}}, [4, 9]),
    (
        "piecewise_constant_schedule",
        {"init_value": 0.8, "boundaries_and_scales": ((4, 0.5), (9, 0.1), (11, 3.0))},
        [4, 9, 11],
    ),
    ("piecewise_constant_schedule", {"init_value": 0.8, "boundaries_and_scales": None}, [3]),
    (
        "piecewise_interpolate_schedule",
        {"interpolate_type": "linear", "init_value": 0.8, "boundaries_and_scales": {4: 0.5, 9: 3.0}},
        [4, 9],
    ),
    (
        "piecewise_interpolate_schedule",
        {"interpolate_type": "cosine", "init_value": 0.8, "boundaries_and_scales": {4: 0.5, 9: 3.0, 11: 0.1}},
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
        {"init_value": 0.1, "peak_value": 0.9, "warmup_steps": 5, "decay_steps": 25, "end_value": 0.05},
        [5, 25],
    ),
    (
        "warmup_cosine_decay_schedule",
        {"init_value": 0.0, "peak_value": 0.9, "warmup_steps": 0, "decay_steps": 12, "exponent": 2.0},
        [0, 12],
    ),
    (
        "warmup_exponential_decay_schedule",
        {"init_value": 0.1, "peak_value": 0.9, "warmup_steps": 5, "transition_steps": 4, "decay_rate": 0.7},
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
        {"transition_steps": 22, "peak_value": 0.9, "pct_start": 0.4, "div_factor": 5.0, "final_div_factor": 10.0},
        [8, 22],
    ),
    ("cosine_onecycle_schedule", {"transition_steps": 20, "peak_value": 0.9, "pct_start": 1.0}, [20]),
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
                {"init_value": 0.0, "peak_value": 0.9, "warmup_steps": 2, "decay_steps": 7, "end_value": 0.1},
                {"init_value": 0.1, "peak_value": 0.5, "warmup_steps": 3, "decay_steps": 9},
                {"init_value": 0.0, "peak_value": 0.3, "warmup_steps": 0, "decay_steps": 4, "exponent": 2.0},
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
        {"init_value": 0.1, "peak_value": 0.9, "warmup_steps": 4, "stable_steps": 0, "decay_steps": 6},
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
    ("cyclic_schedule", {"base_value": 0.1, "peak_value": 0.9, "half_cycle_steps": 5}, [5, 10, 15, 20]),
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
    theirs = [partial(getattr(reference, name), **kw) for name, kw in parts]
    by_reference = partial(reference.join_schedules, schedules=theirs, boundaries=[5, 9])
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
        (name, getattr(ol, name), settings, partial(getattr(reference, name), **settings))
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
