"""The table: one row per factory, with settings, an independent reference and bad settings with their message.

A row is tested by the references, the laws, the errors and the mutants without another line.
"""

import re

import jax.numpy as jnp

import optax_lite as ol
from tests.catalogue import (
    adaptive,
    adaptive_more,
    averaging,
    basic,
    constrained,
    gates,
    layerwise,
    matrix,
    precision,
    search,
    telemetry,
    tuning_free,
    wrapping,
)
from tests.catalogue.row import Row as Row, Settings, rate as rate

ROWS: tuple[Row, ...] = (
    *basic.ROWS,
    *adaptive.ROWS,
    *adaptive_more.ROWS,
    *layerwise.ROWS,
    *constrained.ROWS,
    *tuning_free.ROWS,
    *wrapping.ROWS,
    *averaging.ROWS,
    *gates.ROWS,
    *matrix.ROWS,
    *search.ROWS,
    *telemetry.ROWS,
    *precision.ROWS,
)

# Compositions that the laws hold for too; their parts are proven above.
COMPOSED = {
    "chain": lambda: ol.chain(ol.clip_by_global_norm(1.0), ol.adam(rate)),
    "named_chain": lambda: ol.named_chain(("zebra", ol.trace(0.9)), ("ant", ol.scale(-0.1))),
    "masked": lambda: ol.masked(ol.adam(0.1), "w*"),
    "adamw, masked decay": lambda: ol.adamw(0.1, weight_decay=0.1, mask="w*"),
    "partition": lambda: ol.partition(
        {"slow": ol.sgd(0.01, 0.9), "fast": ol.adam(rate)}, {"w": "fast", "b": "slow", "scalar": "fast"}
    ),
    "groups": lambda: ol.groups(
        ol.adamw(rate, weight_decay=0.1),
        {("b", "scalar"): {"weight_decay": 0.0}, "w*": {"learning_rate": 0.2, "b1": 0.5}, "scalar": ol.sgd(0.1)},
        strict=False,
    ),
    "freeze": lambda: ol.freeze("w*"),
    "selective_transform": lambda: ol.selective_transform(ol.adamw(rate), freeze_mask="!w*"),
    "pair": lambda: ol.GradientTransformation(*optimizer_of_functions()),
    "inject_hyperparams": lambda: ol.inject_hyperparams(ol.chain(ol.clip_by_global_norm(1.0), ol.adamw(rate))),
    "inject_hyperparams of a factory": lambda: ol.inject_hyperparams(ol.sgd, static_args="nesterov")(rate, 0.9),
    "monitor": lambda: ol.chain(
        ol.monitor({"norm": ol.global_norm, "slow": ol.measure_with_ema(ol.global_norm, 0.9)}), ol.sgd(0.1)
    ),
    "snapshot": lambda: ol.chain(ol.snapshot("norm", ol.global_norm), ol.sgd(0.1)),
    "stateless": lambda: ol.stateless(scaled_by_tenth),
}


def scaled_by_tenth(updates, params):
    return ol.leafwise(lambda g: -0.1 * g, updates)


def optimizer_of_functions():
    return _init_count, _update_count


def _init_count(params):
    return jnp.zeros((), jnp.int32)


def _update_count(updates, state, params=None):
    return scaled_by_tenth(updates, params), state + 1


def all_settings() -> list[tuple[str, Row, Settings]]:
    """Every row that has a reference with each of its settings, and a name for it."""
    rows = [row for row in ROWS if row.reference]
    return [(f"{row.name}-{i}", row, settings) for row in rows for i, settings in enumerate(row.settings)]


def one_of_each(*, scheduled: bool = True) -> dict[str, ol.GradientTransformation]:
    """The first setting of every row, those of the foundation with a schedule too, and the compositions."""
    chosen = {row.name: row.factory(**row.settings[0]) for row in ROWS if not row.no_laws}
    for row in basic.ROWS:
        with_schedule = [s for s in row.settings if any(isinstance(v, ol.Schedule) for v in s.values())]
        if scheduled and with_schedule:
            chosen[f"{row.name}, scheduled"] = row.factory(**with_schedule[-1])
    return chosen | {name: make() for name, make in COMPOSED.items()}


def row_of(tx: ol.GradientTransformation) -> Row | None:
    """The row of the factory that made a transformation."""
    return next((row for row in ROWS if row.factory is tx._call.factory), None)


def extra_of(tx: ol.GradientTransformation) -> dict:
    """The extra arguments that a transformation's update needs."""
    row = row_of(tx)
    return row.extra(0) if row else {}


def is_composed(tx: ol.GradientTransformation) -> bool:
    """Whether a transformation's builder returns another one, a chain mostly, and has no rule of its own."""
    return isinstance(tx._call.build(tx._values), ol.GradientTransformation)


def is_slow(name: str, tx: ol.GradientTransformation) -> bool:
    """Whether a transformation only chains others, for which the laws hold by themselves, or repeats one on a schedule.

    Some of both kinds are not slow, to show that this is so.
    """
    if name in COMPOSED or name in ("sgd", "adamw", "lion", "trace, scheduled", "adamw, scheduled"):
        return False
    return name.endswith(", scheduled") or is_composed(tx)


def bad_settings() -> list[tuple[Row, Settings, str]]:
    """Every bad setting, with a pattern for its message."""
    pairs = ((row, row.bad if isinstance(row.bad[0], tuple) else (row.bad,)) for row in ROWS if row.bad)
    return [(row, settings, re.escape(message)) for row, bad in pairs for settings, message in bad]
