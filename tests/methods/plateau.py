"""Updates that shrink when the loss stops falling, written from the definition."""

import jax
import jax.numpy as jnp
import numpy as np

import optax_lite as ol
from tests.methods.compare import started
from tests.methods.row import Quirks, Row


def reduce_on_plateau(
    g, s, w, *, factor, patience, rtol, atol, cooldown, accumulation_size, min_scale, value
):
    """The scale of updates falls by `factor` after `patience` mean losses in a row that are no
    better than the best.
    """
    if s is None:
        s = {
            "scale": 1.0,
            "best_value": np.inf,
            "plateau_count": 0,
            "cooldown_count": 0,
            "count": 0,
            "avg_value": 0.0,
        }
    s = dict(s)
    total = s["avg_value"] * s["count"] + float(value)
    s["count"] = s["count"] + 1
    s["avg_value"] = total / s["count"]
    if s["count"] == accumulation_size:
        mean, best = s["avg_value"], s["best_value"]
        s["count"], s["avg_value"] = 0, 0.0
        better = best == np.inf or mean < best - rtol * abs(best) - atol
        if better:
            s["best_value"] = mean
        if s["cooldown_count"] > 0:
            s["cooldown_count"], s["plateau_count"] = s["cooldown_count"] - 1, 0
        elif better:
            s["plateau_count"] = 0
        else:
            s["plateau_count"] = s["plateau_count"] + 1
            if s["plateau_count"] >= patience:
                s["scale"] = max(s["scale"] * factor, min_scale)
                s["plateau_count"], s["cooldown_count"] = 0, cooldown
    return s["scale"] * g, s


LOSSES = (3.0, -1.0, -1.0, -1.00005, -2.0)


def on_a_plateau(state, seed):
    """Used, with two bad losses in a row, and one loss in the present mean."""
    inner = started(state, seed)
    counts = {"plateau_count": 2, "cooldown_count": 0, "count": 0}
    return inner._replace(
        **{k: jnp.int32(v) for k, v in counts.items()},
        best_value=-jnp.ones_like(inner.best_value),
        avg_value=jnp.zeros_like(inner.avg_value),
    )


ROWS: tuple[Row, ...] = (
    Row(
        ol.reduce_on_plateau,
        reduce_on_plateau,
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
        quirks=Quirks(
            extra=lambda step: {"value": np.float32(LOSSES[step])},
            used=on_a_plateau,
            positive=("factor", "rtol"),
            counts_updates=False,
        ),
    ),
)


def _plateau_follows(given, values):
    """Whether scale, best and dtypes of the plateau are those of its definition, loss by loss."""
    settings = {
        "factor": 0.1,
        "patience": 10,
        "rtol": 1e-4,
        "atol": 0.0,
        "cooldown": 0,
        "min_scale": 0.0,
    } | given

    def agrees(namespace):
        tx, g = namespace["reduce_on_plateau"](**given), jnp.ones(())
        state = tx.init(g)
        kept = [x.dtype for x in jax.tree.leaves(state)]
        scale, best, bad, cool = 1.0, np.inf, 0, 0
        for value in values:
            bar = (
                best - settings["rtol"] * abs(best) - settings["atol"] if best < np.inf else np.inf
            )
            is_better, cools = value < bar, cool > 0
            best, bad = (value if is_better else best), (0 if is_better or cools else bad + 1)
            cool = max(cool - 1, 0)
            if bad >= settings["patience"]:
                scale, bad, cool = (
                    max(scale * settings["factor"], settings["min_scale"]),
                    0,
                    settings["cooldown"],
                )
            updates, state = tx.update(g, state, value=jnp.asarray(value))
            same = np.allclose((state.scale, updates), scale) and np.allclose(
                state.best_value, best, 1e-6
            )
            if not same or [x.dtype for x in jax.tree.leaves(state)] != kept:
                return False
        return True

    return agrees


def _plateau_keeps_its_dtypes(namespace):
    """Counts are int32, and numbers of the precision of the parameters, before and after."""
    for dtype in (jnp.float32, jnp.float64):
        tx, g = namespace["reduce_on_plateau"](patience=1, accumulation_size=2), jnp.ones((), dtype)
        state = tx.init(g)
        for value in (None, 1.0, 1.0, 2.0, 2.0):
            state = state if value is None else tx.update(g, state, value=jnp.array(value))[1]
            counts = [x.dtype for x in (state.plateau_count, state.cooldown_count, state.count)]
            numbers = [x.dtype for x in (state.scale, state.best_value, state.avg_value)]
            if counts != [jnp.int32] * 3 or numbers != [dtype] * 3:
                return False
    return True


PLATEAUS = {
    "dtypes": _plateau_keeps_its_dtypes,
    "patience": _plateau_follows({}, [2.0] * 24),
    "relative": _plateau_follows(
        {"patience": 1}, [4.0, 3.9997, 3.9, -2.0, -2.0001, -2.01, -2.01, 0.0]
    ),
    "at the bar": _plateau_follows(
        {"patience": 1, "rtol": 0.5}, [4.0, 2.0, 1.0, 0.75, 0.25, -8.0, -12.0, -13.0]
    ),
    "absolute": _plateau_follows(
        {"patience": 2, "atol": 0.5, "cooldown": 2}, [4.0, 3.75, 3.25, 3.0, 2.9, 2.9, 2.9, 2.9]
    ),
    "never finite": _plateau_follows(
        {"patience": 2}, [np.inf, np.nan, np.inf, 1.0, np.nan, np.nan]
    ),
}


PROBES = {"optax_lite._transforms.plateau": PLATEAUS}
