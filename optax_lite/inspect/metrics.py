"""Telemetry computed inside the update and kept in the state: norms, the learning rate, counts of
trouble.
"""

from itertools import takewhile
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from optax_lite._transforms.clip import clip_by_global_norm
from optax_lite.core.compose import check_members, is_chain
from optax_lite.core.config import Config
from optax_lite.core.frozen import zero_frozen
from optax_lite.core.leafwise import increment, leafwise, scalar_like, varying_like, zero_count
from optax_lite.core.norms import global_norm, sum_sq
from optax_lite.core.numerics import weak_typed
from optax_lite.core.schedule import Schedule
from optax_lite.core.transform import Array, OptState, Params, PyTree, transform
from optax_lite.core.trees import is_inexact, is_missing, leaf_paths
from optax_lite.core.types import TransformationLike
from optax_lite.core.validate import ArgumentError
from optax_lite.errors.calls import usage
from optax_lite.errors.composition import SCALED
from optax_lite.errors.states import is_state, named_parts
from optax_lite.inspect._nodes import StateNode, trace_state
from optax_lite.inspect._variables import without_variables
from optax_lite.inspect.current import current_hyperparams, settings


class MetricsState(NamedTuple):
    count: Array  # updates so far, int32
    grad_norm: Array  # norm of the last gradient, before anything was done with it
    update_norm: Array  # norm of the last update; through `step`, of the change it made
    # of the last update: one number, or by group or member where there are several; None without
    learning_rate: Array | dict[str, Array] | None
    # updates so far with a gradient above the clip that comes first, int32; None without one
    clipped: Array | None
    nonfinite: Array  # updates so far with a gradient that was not finite, int32
    nonfinite_leaves: Array  # bool for every leaf: where the latest of these was not
    inner_state: PyTree  # state of the transformation that is watched


def _learning_rates(tx) -> str | dict[str, str] | None:
    """Return the path of the learning rate; if there are several, by what tells them apart, such as
    names of groups or places in a chain.
    """
    parts = [path.split("/") for path in settings(tx)]
    above = [path[:-1] for path in parts if path[-1] == "learning_rate"]
    if len(above) < 2:
        return "/".join([*above[0], "learning_rate"]) if above else None
    shared = len([*takewhile(lambda names: len(set(names)) == 1, zip(*above, strict=False))])
    return {"/".join(path[shared:]): "/".join([*path, "learning_rate"]) for path in above}


def _below(state, key):
    return (
        getattr(state, key.name)
        if hasattr(key, "name")
        else state[getattr(key, "idx", getattr(key, "key", None))]
    )


def _first_clip(tx) -> tuple[Any, tuple] | None:
    """Return the max_norm of `clip_by_global_norm` if that is the first to see the gradient, and
    its place in the state.
    """
    place, path = trace_state(tx), ()
    while (is_chain(place) and place.state) or "passing" in place.definition.words:
        state = place.state  # of a dict the first that was put in, where JAX would sort
        state = {key: state[key] for key in [*state][:1]} if isinstance(state, dict) else state
        inside = jax.tree_util.tree_flatten_with_path(
            state, is_leaf=lambda x: isinstance(x, StateNode)
        )[0]
        keys, place = next((keys, x) for keys, x in inside if isinstance(x, StateNode))
        path = (*path, *keys)
    return (place.arguments["max_norm"], path) if place.factory is clip_by_global_norm else None


@transform(not_around=SCALED)
def with_metrics(tx: TransformationLike):
    """Do what `tx` does, and keep in the state what a training log needs; `read_metrics` reads it.

        tx = with_metrics(chain(clip_by_global_norm(1.0), adamw(schedule)))

    The norm of the gradient is the one that a clip at the start of `tx` uses, computed once,
    without the leaves that a later `groups` freezes. The learning rate is the value of the argument
    of that name if there is exactly one. Clipped updates are counted only if `clip_by_global_norm`
    comes first. A leaf is not finite if the sum of its squares is not: it holds a NaN, an infinity,
    or in float32 an entry above 1e19.

    Args:
        tx: The optimizer, or any other transformation.
    """
    check_members({"tx": tx})
    if tx.factory is with_metrics:
        raise ArgumentError("with_metrics is inside, which measures the same; keep one of the two")
    rates = _learning_rates(tx)

    def init(params):
        zero, count = scalar_like(params, 0), zero_count()
        leaves = jnp.zeros(len(jax.tree.leaves(params, is_leaf=is_missing)), bool)
        clips: list[bool] = []
        # schedules in it would run one by one
        jax.eval_shape(lambda: clips.append(_first_clip(tx) is not None))
        rate, clipped = jax.tree.map(lambda _: zero, rates), count if clips[0] else None
        measured = MetricsState(count, zero, zero, rate, clipped, count, leaves, ())
        return varying_like(measured, params)._replace(count=count, inner_state=tx.init(params))

    def watched(updates, state, params, moved, inner_state):
        """Return the state after an update, which moved the parameters by `moved`."""
        updates = zero_frozen([tx], updates, params)
        now = {} if rates is None else current_hyperparams(tx, state.inner_state)
        grad_norm, clipped = global_norm(updates), state.clipped
        finite = [
            is_missing(g) or jnp.isfinite(sum_sq(g))
            for g in jax.tree.leaves(updates, is_leaf=is_missing)
        ]
        bad = ~jnp.stack(finite) if finite else state.nonfinite_leaves
        found = jnp.any(bad)
        if (clip := _first_clip(tx)) is not None:
            max_norm, inner = clip[0], state.inner_state
            for key in clip[1]:
                inner = _below(inner, key)
            max_norm = max_norm(inner.count) if isinstance(max_norm, Schedule) else max_norm
            clipped = jnp.where(grad_norm > weak_typed(max_norm), increment(clipped), clipped)
        return state._replace(
            count=increment(state.count),
            grad_norm=grad_norm,
            update_norm=global_norm(moved),
            # A schedule that no parameter follows has no count, and so no value.
            learning_rate=jax.tree.map(lambda path: now.get(path, 0.0), rates),
            clipped=clipped,
            nonfinite=jnp.where(found, increment(state.nonfinite), state.nonfinite),
            nonfinite_leaves=jnp.where(found, bad, state.nonfinite_leaves),
            inner_state=inner_state,
        )

    def update(updates, state, params=None, **extra):
        new, inner_state = tx.update(updates, state.inner_state, params, **extra)
        return new, watched(updates, state, params, new, inner_state)

    def step(updates, state, params, **extra):
        new, inner_state = tx.step(updates, state.inner_state, params, **extra)
        moved = leafwise(lambda g, n, p: n - p, updates, read=(new, params))
        return new, watched(updates, state, params, moved, inner_state)

    return init, update, step


# --- reading --------------------------------------------------------------------------------------

# of a tree, of the trees of a population
_norm, _norms = (jax.jit(global_norm), jax.jit(jax.vmap(global_norm)))


@usage("read_metrics(state, params)")
def read_metrics(state: OptState, params: Params | None = None) -> dict[str, Any]:
    """Read what `with_metrics` kept in a state, as a flat dict for a log.

        read_metrics(state, params)
        # step, grad_norm, update_norm, learning_rate, clipped, skipped, nonfinite, first_nonfinite,
        # param_norm, update_ratio

    learning_rate, clipped and skipped are there if they are known; skipped counts the updates that
    wrappers anywhere in the state have skipped. `first_nonfinite` is the path of the first leaf
    that was not finite in the latest of the `nonfinite` updates; None if there was none, or if
    neither params nor a slot of the state tell the paths. In a trace it is the leaf's index, -1 for
    none. Of a population every value is an array, and `first_nonfinite` a list.

    Args:
        state: State of the optimizer, as `init`, `update` or `step` returned it. Or any tree around
            it, with metrics in one place.
        params: Parameters, a pytree of arrays. They add param_norm, and update_ratio = update_norm
            / param_norm.
    """
    if isinstance(state, Config):
        raise ArgumentError("got an optimizer; the call is read_metrics(state, params)")
    state = without_variables(state)
    found = [(path, part) for path, part in named_parts(state) if isinstance(part, MetricsState)]
    outermost = [
        path for path, _ in found if not any(path[: len(p)] == p and path != p for p, _ in found)
    ]
    if len(outermost) != 1:
        paths = ", ".join("/".join(path) for path in outermost)
        raise ArgumentError(
            f"the state has metrics in several places, {paths}; pass the part that you mean"
            if found
            else "the state has no metrics; wrap the optimizer in with_metrics(tx)"
        )
    metrics = found[0][1]
    rates = metrics.learning_rate
    if isinstance(rates, dict):
        rates = {f"learning_rate/{name}": rate for name, rate in rates.items()}
    else:
        rates = {"learning_rate": rates}
    values = {
        "step": metrics.count,
        "grad_norm": metrics.grad_norm,
        "update_norm": metrics.update_norm,
        **rates,
        "clipped": metrics.clipped,
        "skipped": count_skipped(state),
        "nonfinite": metrics.nonfinite,
    }
    values = {name: value for name, value in values.items() if value is not None}
    values["first_nonfinite"] = _first_nonfinite(metrics, params)
    if params is not None:
        norm = _norms if np.ndim(metrics.count) else _norm
        param_norm = norm([p for p in jax.tree.leaves(params) if is_inexact(p)])
        values |= {"param_norm": param_norm, "update_ratio": metrics.update_norm / param_norm}
    return values


def count_skipped(state):
    """Count the updates that the wrappers in a state left out, by the fields that keep such counts;
    None without any.
    """
    fields = ("total_skipped", "total_notfinite")
    counts = [
        getattr(part, f) for _, part in named_parts(state) for f in fields if f in part._fields
    ]
    return sum(counts) if counts else None


def _first_nonfinite(metrics, params):
    bad = metrics.nonfinite_leaves
    index = (
        jnp.where(jnp.any(bad, axis=-1), jnp.argmax(bad, axis=-1), -1)
        if bad.size
        else jnp.full(bad.shape[:-1], -1)
    )
    if isinstance(index, Tracer):
        return index
    paths = (
        _leaf_paths_in(metrics.inner_state, bad.shape[-1]) if params is None else leaf_paths(params)
    )
    named = [None if i < 0 or paths is None else paths[i] for i in np.ravel(index)]
    return named if np.ndim(index) else named[0]


def _leaf_paths_in(state, size):
    """Return the paths of the parameters if the slots of a state with that many leaves agree about
    them.
    """

    def is_slot(x):
        states = [
            v
            for v in (x.values() if isinstance(x, dict) else ())
            if not is_missing(v) and is_state(v)
        ]
        return not (
            is_missing(x) or is_state(x) or hasattr(x, "_fields") or hasattr(x, "dtype") or states
        )

    parts = (part for _, part in named_parts(state) if is_state(part))
    slots = {tuple(leaf_paths(x)) for part in parts for x in part if is_slot(x)}
    slots = {paths for paths in slots if len(paths) == size}
    return slots.pop() if len(slots) == 1 else None
