"""Set hyperparameters that are kept in a state."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from optax_lite.core.config import Config
from optax_lite.core.leafwise import as_array
from optax_lite.core.types import Number, PyTree, TransformationLike
from optax_lite.core.validate import ArgumentError, check_shared, unknown_argument

_NAME = "set_hyperparams"


def set_hyperparams(
    state: PyTree,
    changes: Mapping[str, Number] | None = None,
    /,
    *,
    tx: TransformationLike | None = None,
    **more: Number,
) -> PyTree:
    """Set hyperparameters that `inject_hyperparams` keeps in a state; nothing compiles again.

        state = set_hyperparams(state, learning_rate=3e-4)
        state = set_hyperparams(state, {"1/b1": 0.8})  # by path
        train_state = set_hyperparams(train_state, tx=train_state.tx, weight_decay=0.1)  # checked

    In the state of a population a scalar goes to every member, and an array gives each its own. A
    number that follows a schedule cannot be set, as the next update would undo it.

    Args:
        state: State of the optimizer, as `init`, `update` or `step` returned it. Or any tree around
            it, such as a Flax `TrainState`.
        changes: New values by path, or by the end of a path where only one ends so.
        tx: The optimizer made by `inject_hyperparams`, whose ranges are checked too. Without it
            only the ranges that methods share are (b1, eps).
        **more: New values by name.

    Returns:
        The state, or the tree around it, with the new values.
    """
    if changes is not None and not isinstance(changes, Mapping):
        raise TypeError(
            f"{_NAME}: name the hyperparameter, as in set_hyperparams(state, "
            f"learning_rate={changes!r})"
        )
    if isinstance(state, Config):
        raise TypeError(
            f"{_NAME}: got an optimizer, not a state; change an optimizer with tx.replace(...)"
        )
    nodes, treedef = jax.tree.flatten(state, is_leaf=_holds_hyperparams)
    places = {i: node for i, node in enumerate(nodes) if _holds_hyperparams(node)}
    if not places:
        raise ValueError(
            f"{_NAME}: this state has no hyperparameters; build the optimizer with "
            "inject_hyperparams(tx)"
        )
    prefix = {i: f"{k}/" if len(places) > 1 else "" for k, i in enumerate(places)}
    known = {
        f"{prefix[i]}{name}": (i, name) for i, node in places.items() for name in node.hyperparams
    }
    for path, value in {**(changes or {}), **more}.items():
        i, name = known[_found(path, list(known))]
        hyperparams = dict(nodes[i].hyperparams)
        if name in nodes[i].hyperparams_states:
            own = [other for other in hyperparams if other.startswith(f"{name}/")]
            way = (
                f"set its numbers: {', '.join(own)}"
                if own
                else "its numbers can be set if a built optimizer is injected, "
                "inject_hyperparams(tx)"
            )
            raise ArgumentError(
                f"{name} follows a schedule, so the next update would undo this; {way}", _NAME
            )
        hyperparams[name] = jax.tree.map(
            lambda old, n=name, v=value: _in_place_of(old, n, v), hyperparams[name]
        )
        _check_range(name, value, tx)
        nodes[i] = nodes[i]._replace(hyperparams=hyperparams)
    return treedef.unflatten(nodes)


def _holds_hyperparams(node: Any) -> bool:
    return "hyperparams_states" in getattr(node, "_fields", ())


def _found(path: str, known: list[str]) -> str:
    hits = [path] if path in known else [k for k in known if k.endswith(f"/{path}")]
    if len(hits) > 1:
        raise ArgumentError(
            f"several are called {path!r}: {', '.join(hits)}; write the full path", _NAME
        )
    if not hits:
        raise ArgumentError(
            f"{unknown_argument(path, known)}; the hyperparameters are {', '.join(known)}", _NAME
        )
    return hits[0]


def _in_place_of(old: Any, name: str, value: Any) -> Any:
    """Return a value, or one for each member, with the shape, dtype and placement of the old
    one.
    """
    is_number = isinstance(
        value, (int, float, list, np.number, np.ndarray, jax.Array)
    ) and not isinstance(value, bool)
    if not is_number or np.iscomplexobj(value):
        raise ArgumentError(f"{name} must be a real number, got {value!r}", _NAME)
    value, old = value if isinstance(value, jax.Array) else np.asarray(value), as_array(old)
    if value.shape not in ((), old.shape):
        raise ArgumentError(f"{name} has shape {old.shape} in the state, got {value.shape}", _NAME)
    new = jnp.broadcast_to(jnp.asarray(value, old.dtype), old.shape)
    is_traced = isinstance(new, Tracer) or isinstance(old, Tracer)
    return (
        new
        if is_traced or not getattr(old, "committed", False)
        else jax.device_put(new, old.sharding)
    )


def _check_range(name: str, value: Any, tx: Any) -> None:
    if isinstance(value, Tracer):
        return
    if tx is None:
        for x in np.ravel(np.asarray(value)).tolist():
            try:
                check_shared({name.rsplit("/", 1)[-1]: x})
            except ArgumentError as error:
                raise ArgumentError(error.problem, _NAME) from None
        return
    paths = [
        path for path in getattr(tx, "hyperparams", ()) if f"/{path}".endswith(f"/inner/{name}")
    ]
    if len(paths) != 1:
        raise ArgumentError(
            f"tx must be the optimizer made by inject_hyperparams, got {tx!r}", _NAME
        )
    for x in np.ravel(np.asarray(value)).tolist():
        tx.replace({paths[0]: x})
