"""The table: for every factory its numpy reference, settings, bad settings, and what else is
compared.

Each file of this folder stands for one module of the package and holds `ROWS`, and perhaps
`PROBES`: comparisons of rules that no row can state, module -> {name: agrees}, where
`agrees(namespace of the module)` says whether the rule is right. A row is tested by the references,
the laws, the errors and the mutants without another line.
"""

import functools
import importlib
import pkgutil
from collections.abc import Callable

import jax.numpy as jnp

import optax_lite as ol
from tests.methods.row import Namespace, Row as Row, rate as rate

FILES = {
    found.name: importlib.import_module(f"{__name__}.{found.name}")
    for found in pkgutil.iter_modules(__path__)
}
ROWS: tuple[Row, ...] = tuple(row for file in FILES.values() for row in getattr(file, "ROWS", ()))
PROBES: dict[str, dict[str, Callable[[Namespace], bool]]] = {
    module: probes
    for file in FILES.values()
    for module, probes in getattr(file, "PROBES", {}).items()
}

# Compositions that the laws hold for too; their parts are proven above.
COMPOSED = {
    "chain": lambda: ol.chain(ol.clip_by_global_norm(1.0), ol.adam(rate)),
    "named_chain": lambda: ol.named_chain(("zebra", ol.trace(0.9)), ("ant", ol.scale(-0.1))),
    "masked": lambda: ol.masked(ol.adam(0.1), "w*"),
    "adamw, masked decay": lambda: ol.adamw(0.1, weight_decay=0.1, mask="w*"),
    "partition": lambda: ol.partition(
        {"slow": ol.sgd(0.01, 0.9), "fast": ol.adam(rate)},
        {"w": "fast", "b": "slow", "scalar": "fast"},
    ),
    "groups": lambda: ol.groups(
        ol.adamw(rate, weight_decay=0.1),
        {
            ("b", "scalar"): {"weight_decay": 0.0},
            "w*": {"learning_rate": 0.2, "b1": 0.5},
            "scalar": ol.sgd(0.1),
        },
        strict=False,
    ),
    "freeze": lambda: ol.freeze("w*"),
    "selective_transform": lambda: ol.selective_transform(ol.adamw(rate), freeze_mask="!w*"),
    "pair": lambda: ol.GradientTransformation(*optimizer_of_functions()),
    "inject_hyperparams": lambda: ol.inject_hyperparams(
        ol.chain(ol.clip_by_global_norm(1.0), ol.adamw(rate))
    ),
    "inject_hyperparams of a factory": lambda: ol.inject_hyperparams(
        ol.sgd, static_args="nesterov"
    )(rate, 0.9),
    "monitor": lambda: ol.chain(
        ol.monitor({"norm": ol.global_norm, "slow": ol.measure_with_ema(ol.global_norm, 0.9)}),
        ol.sgd(0.1),
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


@functools.cache
def one_of_each() -> dict[str, ol.GradientTransformation]:
    """The first setting of every row, and the compositions."""
    chosen = {row.name: row.factory(**row.settings[0]) for row in ROWS if not row.quirks.no_laws}
    return chosen | {name: make() for name, make in COMPOSED.items()}


def row_of(tx: ol.GradientTransformation) -> Row | None:
    """The row of the factory that made a transformation."""
    return next((row for row in ROWS if row.factory is tx.factory), None)


def extra_of(tx: ol.GradientTransformation) -> dict:
    """The extra arguments that a transformation's update needs."""
    row = row_of(tx)
    return row.quirks.extra(0) if row else {}


def is_composed(tx: ol.GradientTransformation) -> bool:
    """Whether a transformation's builder returns another one, a chain mostly, and has no rule of
    its own.
    """
    return isinstance(tx.definition.check(tx), ol.GradientTransformation)


# Rules of their own: a composition is proven by what it stands for, and its members by theirs.
OWN = tuple(row for row in ROWS if not row.stands_for)
