"""The rows of averages beside the training, of lookahead, and of the plateau."""

import jax.numpy as jnp
import numpy as np

import optax_lite as ol
from tests.agreement import started
from tests.catalogue.row import Row, fast, over, rate
from tests.catalogue.wrapping import BASES, adaptive, heavy, no_transformation, plain, scaled
from tests.reference import average

LOSSES = (3.0, -1.0, -1.0, -1.00005, -2.0)


def around(argument):
    """From the transformation an argument names to the reference for it."""

    def translate(arguments):
        rest = {k: v for k, v in arguments.items() if k != argument}
        return {"base": BASES[arguments[argument]]} | rest

    return translate


def just_synced(state, seed):
    """Used, and the slow weights moved in the last update."""
    state = started(state, seed)
    one = {"steps_since_sync": jnp.int32(0)}
    return (
        state._replace(**one)
        if hasattr(state, "steps_since_sync")
        else state._replace(inner_state=state.inner_state._replace(**one))
    )


def on_a_plateau(state, seed):
    """Used, with two bad losses in a row, and one loss in the present mean."""
    inner = started(state, seed)
    counts = {"plateau_count": 2, "cooldown_count": 0, "count": 0}
    return inner._replace(
        **{k: jnp.int32(v) for k, v in counts.items()},
        best_value=-jnp.ones_like(inner.best_value),
        avg_value=jnp.zeros_like(inner.avg_value),
    )


def no_small_difference(trees):
    """One entry far from 0, and gradients all of the size of parameters: beside a large one a small step has no digits.

    The differences of weights would be compared by digits that are not there.
    """
    params, gradients = trees
    params = params | {"scalar": np.abs(params["scalar"]) + 3}
    return params, [g | {"wide": 1e6 * g["wide"]} for g in gradients]


def long_steps(trees):
    """The same, and that entry with steps of its own size: the slow weights are kept beside them in one precision."""
    params, gradients = no_small_difference(trees)
    return params, [g | {"scalar": 10 * g["scalar"]} for g in gradients]


def in_order(trees):
    """Leaves in the order of their names, in which JAX puts them in a row."""
    params, gradients = trees
    return dict(sorted(params.items())), [dict(sorted(g.items())) for g in gradients]


ROWS: tuple[Row, ...] = (
    Row(
        ol.average_params,
        average.average_params,
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
        translate=around("tx"),
        data=no_small_difference,
    ),
    Row(
        ol.lookahead,
        average.lookahead,
        (
            {"fast_optimizer": heavy, "sync_period": 2, "slow_step_size": 0.5},
            *(
                {"fast_optimizer": base, **s}
                for base in (heavy, scaled)
                for s in over(sync_period=(1, 3), slow_step_size=(0.25, 1.0), reset_state=(False, True))
            ),
            {"fast_optimizer": heavy, "sync_period": 2, "slow_step_size": 0.0},
            {"fast_optimizer": plain, "sync_period": 3, "slow_step_size": rate},
        ),
        (
            ({"fast_optimizer": 0.1, "sync_period": 2, "slow_step_size": 0.5}, f"fast_optimizer {no_transformation}"),
            (
                {"fast_optimizer": plain, "sync_period": 0, "slow_step_size": 0.5},
                "sync_period must be an integer of at least 1, got 0",
            ),
            (
                {"fast_optimizer": plain, "sync_period": 2.5, "slow_step_size": 0.5},
                "sync_period must be an integer of at least 1, got 2.5",
            ),
            (
                {"fast_optimizer": plain, "sync_period": 2, "slow_step_size": -0.5},
                "slow_step_size must be at least 0, got -0.5",
            ),
        ),
        translate=around("fast_optimizer"),
        used=just_synced,
        data=long_steps,
    ),
    Row(
        ol.reduce_on_plateau,
        average.reduce_on_plateau,
        (
            {},
            {"patience": 1, "factor": 0.5},
            {"patience": 3, "factor": 0.25, "cooldown": 1, "rtol": 0.0, "atol": 1e-3},
            {"patience": 1, "rtol": 0.0, "atol": 1e-6, "cooldown": 2},
            {"patience": 1, "accumulation_size": 2, "rtol": 0.5},
            {"patience": 2, "accumulation_size": 3, "factor": 0.125},
            {"patience": 1, "factor": 0.25, "min_scale": 0.5, "rtol": 0.9},
            {"patience": 2, "rtol": 1.0},
            {"patience": 1, "rtol": 1e-6, "factor": 0.75, "atol": 1.5},
        ),
        (
            ({"factor": 0}, "factor must be above 0, got 0.0"),
            ({"factor": 1.0}, "factor must be below 1, got 1.0"),
            ({"patience": 0}, "patience must be at least 1, got 0.0"),
            ({"rtol": 1.5}, "rtol must be in [0, 1], got 1.5"),
            ({"atol": -1}, "atol must be at least 0, got -1.0"),
            ({"rtol": 0, "atol": 0}, "rtol or atol must be above 0"),
            ({"cooldown": -1}, "cooldown must be at least 0, got -1.0"),
            ({"accumulation_size": 0}, "accumulation_size must be above 0, got 0.0"),
            ({"min_scale": -1}, "min_scale must be at least 0, got -1.0"),
        ),
        extra=lambda step: {"value": np.float32(LOSSES[step])},
        used=on_a_plateau,
        positive=("factor", "rtol"),
        counts_updates=False,
    ),
    Row(
        ol.flatten,
        average.flatten,
        tuple({"inner": base} for base in BASES),
        ({"inner": 0.1}, f"member inner {no_transformation}"),
        translate=around("inner"),
        whole_tree=True,
        data=in_order,
    ),
)
