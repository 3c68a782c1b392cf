"""Running a transformation in some calls only; in the others nothing changes, to the bit.

The gate is a `lax.cond` around the whole of it. Through `tx.step` its own application lies inside, so that the params
pass through the other branch as they are.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from optax_lite.aliases import Array, PyTree
from optax_lite.core import GradientTransformation
from optax_lite.leaves import cast_like, is_nothing, leafwise


def still(kind: str, updates: PyTree, params: PyTree | None) -> PyTree:
    """What moves nothing: the params for a step; for an update -0.0, which also leaves a parameter of -0.0 as it is."""
    if kind == "step":
        return jax.tree.map(lambda u, p: u if is_nothing(u) else p, updates, params, is_leaf=is_nothing)
    return _with_params(lambda u, *p: -jnp.zeros_like(u), updates, params)


def unchanged(kind: str, updates: PyTree, params: PyTree | None) -> PyTree:
    """The updates as they came, in their compute dtype, or the params moved by them."""
    if kind == "step":
        moved = leafwise(lambda u, p: p + u, updates, read=(params,))
        olds = still(kind, updates, params)
        return jax.tree.map(lambda p, m: p if is_nothing(p) else m.astype(p.dtype), olds, moved, is_leaf=is_nothing)
    return _with_params(lambda u, *p: u, updates, params)


def _with_params(rule, updates, params):
    return leafwise(rule, updates, read=() if params is None else (params,))


def run(
    tx: GradientTransformation, kind: str, updates: PyTree, inner_state: PyTree, params: PyTree | None,
    extra: Mapping[str, Any],
) -> tuple[PyTree, PyTree]:  # fmt: skip
    """`tx.update` or `tx.step`, as `kind` says, with the dtypes of `still`: for a branch beside it."""
    new, state = getattr(tx, kind)(updates, inner_state, params, **extra)
    return cast_like(new, still(kind, updates, params)), state


def run_if(
    condition: Array, tx: GradientTransformation, kind: str, updates: PyTree, inner_state: PyTree,
    params: PyTree | None, extra: Mapping[str, Any], otherwise: Callable[..., PyTree] = still,
) -> tuple[PyTree, PyTree]:  # fmt: skip
    """`run` where the condition holds, else `otherwise` (`still` or `unchanged`) and the same state."""
    return jax.lax.cond(
        condition,
        lambda: run(tx, kind, updates, inner_state, params, extra),
        lambda: (otherwise(kind, updates, params), inner_state),
    )
