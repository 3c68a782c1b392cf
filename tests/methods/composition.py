"""List the parts of a composition, to compare it with the chain that it stands for."""

import types
from typing import Any

import optax_lite as ol
from tests.methods.row import Namespace, Row, Settings

# Arguments that no numpy reference takes, and so no setting of a row gives.
OTHERS = {
    "mask": "w*",
    "weight_decay_mask": ["w*", "!scalar"],
    "mu_dtype": "bfloat16",
    "accumulator_dtype": "bfloat16",
    "dtype_momentum": "bfloat16",
    "state_dtype": "bfloat16",
    "ns_dtype": "bfloat16",
    "muon_weight_dimension_numbers": ["!embed*"],
}


def composition_settings(row: Row) -> list[Settings]:
    """Return the settings of a row, and one more for each argument that they leave out."""
    others = [name for name in row.parameters if name in OTHERS]
    return [*row.settings, *({**row.settings[-1], name: OTHERS[name]} for name in others)]


def expanded(tx: Any) -> Any:
    """Replace every composition by what its builder returns, down to parts that have a rule of
    their own.

    Chains stay nested as they are, because states are nested alike.
    """
    if isinstance(tx, ol.GradientTransformation):
        built = tx.definition.check(tx)
        if isinstance(built, ol.GradientTransformation):
            return expanded(built)
        return tx.copy_of(tx, lambda _, value: expanded(value))
    if type(tx) is tuple:
        return tuple(map(expanded, tx))
    return {k: expanded(v) for k, v in tx.items()} if type(tx) is dict else tx


def library(namespace: Namespace) -> types.SimpleNamespace:
    """The names of the package, with those of one of its modules, which may be mutated,
    over them.
    """
    names = {name: getattr(ol, name) for name in dir(ol)}
    return types.SimpleNamespace(**{**names, **namespace})


def sides(row: Row, settings: Settings, namespace: Namespace) -> tuple[Any, Any]:
    """What the factory of a module builds and what its row says that it stands for; both
    expanded.
    """
    made, expected = (
        namespace[row.factory.__name__](**settings),
        row.stands_for(library(namespace), **settings),
    )
    return expanded(made), expanded(expected)
