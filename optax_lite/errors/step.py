"""Explain why a compiled step did not take its arguments."""

from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from optax_lite.core.trees import path_string, show_leaf

_ARRAYS = (jax.Array, np.ndarray, np.generic, bool, int, float, complex)


def explain_failure(
    error: Exception, params: Any, state: Any, args: Any, by: str = "make_step"
) -> None:
    """Raise a clearer error if an argument is the reason: memory given away, memory in two places,
    no array.
    """
    leaves = [
        (f"{name} leaf {path_string(path)!r}", leaf)
        for name, tree in (("params", params), ("state", state), ("args", args))
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
    ]
    for where, leaf in leaves:
        if not isinstance(leaf, _ARRAYS) and not hasattr(leaf, "__jax_array__"):
            raise TypeError(
                f"{by}: {where} is {_kind(leaf)}, not an array. {_remedy(where, leaf)}"
            ) from error
    seen: dict[int, str] = {}
    for where, leaf in leaves:
        if isinstance(leaf, Tracer) or not isinstance(leaf, jax.Array):
            continue
        if leaf.is_deleted() and "has been deleted" not in str(error):
            error.add_note(
                f"{by}: params and state were donated to this step, which failed, so they are "
                "lost: continue from a saved copy, or write make_step(loss_fn, donate=False)"
            )
            return
        if leaf.is_deleted():
            raise RuntimeError(
                f"{by}: {where} was donated: an earlier step reused its memory for the results. "
                "Continue with those, `params, state, metrics = step(tx, params, state, ...)`; "
                "to keep an old point, copy it first with `jax.tree.map(jnp.copy, params)`, or "
                "write make_step(loss_fn, donate=False)"
            ) from error
        if id(leaf) in seen and "donate" in str(error):
            raise ValueError(
                f"{by}: {where} is the same array as {seen[id(leaf)]}, whose memory is "
                "donated: pass jnp.copy of it, or write make_step(loss_fn, donate=False)"
            ) from error
        seen[id(leaf)] = where
    if "donate" in str(error):
        error.add_note(
            f"{by}: two arrays share memory, and one of them is donated with params or state: "
            "pass jnp.copy of one, or write make_step(loss_fn, donate=False)"
        )


def _kind(leaf: Any) -> str:
    return (
        f"the function {getattr(leaf, '__name__', leaf)}"
        if callable(leaf)
        else show_leaf(leaf)[:80]
    )


def _remedy(where: str, leaf: Any) -> str:
    if not where.startswith("args"):
        return (
            "Write params, static = equinox.partition(model, equinox.is_inexact_array), and in "
            "loss_fn model = equinox.combine(params, static); split any other module in the same "
            "way"
        )
    if hasattr(leaf, "__array__"):
        return "Convert it with numpy.asarray"
    return "Let loss_fn close over values that are not arrays (one loss_fn for each value)"
