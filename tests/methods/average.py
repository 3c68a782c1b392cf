"""Averages of the parameters (Polyak & Juditsky 1992), written from their definition."""

import numpy as np

import optax_lite as ol
from tests.methods.bases import adaptive, heavy, no_transformation, plain, scaled, with_base_of
from tests.methods.row import Quirks, Row, fast


def average_params(g, s, w, *, base, decay, start, every):
    """Average of the iterates w_t: with `decay` Σ d^(T-t)·(1-d)·w_t over the sum of these weights,
    else their mean.
    """
    count = 0 if s is None else s["count"]
    weight = 0.0 if s is None else s["weight"]
    average = np.array(w) if s is None else s["average"]
    u, base_state = base(g, None if s is None else s["base"], w)
    count = count + 1  # this is update number `count`, the first is 1
    if count > start and (count - start) % every == 0:
        # The sums are made anew of the average so far: total = weight·average.
        old = 1.0 if decay is None else decay
        one = 1.0 if decay is None else 1.0 - decay
        total = old * weight * average + one * (w + u)
        weight = old * weight + one
        average = total / weight if weight > 0 else average
    return u, {"count": count, "weight": weight, "average": average, "base": base_state}


def no_small_difference(trees):
    """One entry far from 0, and gradients all of the size of parameters: beside a large one a small
    step has no digits.

    The differences of weights would be compared by digits that are not there.
    """
    params, gradients = trees
    params = params | {"scalar": np.abs(params["scalar"]) + 3}
    return params, [g | {"wide": 1e6 * g["wide"]} for g in gradients]


ROWS: tuple[Row, ...] = (
    Row(
        ol.average_params,
        average_params,
        (
            {"tx": heavy, "decay": 0.75},
            {"tx": heavy},
            {"tx": adaptive, "decay": 0.0},
            {"tx": adaptive, "decay": 0.9999},
            {"tx": scaled, "decay": fast},
            {"tx": scaled, "start": 2},
            {"tx": heavy, "decay": 0.5, "every": 2},
            {"tx": plain, "start": 1, "every": 3},
            {"tx": plain, "decay": fast, "start": 2, "every": 2},
        ),
        (
            ({"tx": 0.1}, f"member tx {no_transformation}"),
            ({"tx": plain, "decay": 1.0}, "decay must be in [0, 1), got 1.0"),
            ({"tx": plain, "decay": "x"}, "decay must be a number or a schedule, got 'x'"),
            ({"tx": plain, "every": 0}, "every must be an integer of at least 1, got 0"),
            ({"tx": plain, "start": -1}, "start must be an integer of at least 0, got -1"),
            ({"tx": plain, "start": 0.5}, "start must be an integer of at least 0, got 0.5"),
        ),
        quirks=Quirks(translate=with_base_of("tx"), data=no_small_difference),
    ),
)
