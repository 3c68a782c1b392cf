"""Keep averages of the parameters during training, and read the parameters to evaluate at."""

import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optax_lite.core.compose import check_members
from optax_lite.core.leafwise import (
    cast_like,
    copy_params,
    increment,
    leafwise,
    scalar_like,
    zero_count,
    zeros_like,
)
from optax_lite.core.masks import steps
from optax_lite.core.numerics import weak_typed
from optax_lite.core.transform import (
    Array,
    GradientTransformation,
    OptState,
    Params,
    PyTree,
    StateError,
    apply_updates,
    transform,
)
from optax_lite.core.trees import is_inexact, is_missing, leaf_paths, path_string
from optax_lite.core.types import ScalarOrSchedule, TransformationLike
from optax_lite.core.validate import ArgumentError, check_count, check_unit_interval
from optax_lite.core.vectors import as_tree, as_vector
from optax_lite.errors.calls import usage
from optax_lite.errors.composition import EVERY_POINT, ONE_AVERAGE, SCALED
from optax_lite.errors.states import first_difference, is_state, outline
from optax_lite.inspect._nodes import vectors_in, with_vectors
from optax_lite.inspect._variables import without_variables
from optax_lite.wrappers.lookahead import LookaheadParams


class AverageParamsState(NamedTuple):
    count: Array  # updates so far, int32
    weight: Array  # sum of the weights in the average; 0 while nothing is in it
    average: PyTree  # average of the parameters, at least float32
    inner_state: OptState  # state of the optimizer that moves the parameters

    def eval_params(self, params: Params) -> Params:
        """Return the average, or the params themselves while it is empty."""
        return leafwise(lambda a, w: jnp.where(self.weight > 0, a, w), self.average, read=(params,))


_NOT_AROUND = {**SCALED, **ONE_AVERAGE, **EVERY_POINT}


@transform(
    static=("start", "every"),
    scheduled=AverageParamsState,
    is_a=("average", "mean of points", "exact weights", "passing"),
    not_around=_NOT_AROUND,
)
def average_params(
    tx: TransformationLike, *, decay: ScalarOrSchedule | None = None, start: int = 0, every: int = 1
):
    """Keep an average w̄ of the parameters after each update of `tx`; read it with `eval_params`.

        w̄ ← w̄ + c·(w - w̄)

    With a `decay` d this is the exponential average with bias correction: c = (1 - d) / W, where W
    ← d·W + 1 - d, so that after the first update w̄ is w (Kingma & Ba 2015, section 7.1). Without a
    decay it is the mean, c = 1/n (Polyak & Juditsky 1992; Izmailov et al. 2018).

    The average is kept in at least float32. Put this wrapper around everything that moves the
    parameters; `accumulate`, `skip_bad_steps` and `with_metrics` go outside. `update` averages
    params + updates, `step` the params that it returns.

    Args:
        tx: The optimizer, or any other transformation.
        decay: Decay of the moving average, in [0, 1). None for the mean. A schedule warms it up:
            `lambda t: jnp.minimum(0.999, (1 + t) / (10 + t))`.
        start: How many of the first updates to leave out, an integer of at least 0.
        every: Average only every `every`-th of the others; an integer of at least 1.

    Examples:
        >>> tx = average_params(adamw(1e-3), decay=0.999)
        >>> params, state = tx.step(grads, tx.init(params), params)
        >>> loss = loss_fn(eval_params(tx, state, params), x, y)
    """
    check_members({"tx": tx})
    check_count(every=every)
    check_unit_interval(decay=decay)
    if isinstance(start, bool) or not isinstance(start, int) or start < 0:
        raise ArgumentError(f"start must be an integer of at least 0, got {start!r}")

    def init(params):
        average = cast_like(copy_params(params), zeros_like(params))
        return AverageParamsState(
            zero_count(), scalar_like(params, 0, measured=False), average, tx.init(params)
        )

    def take_in(moved, new, state, inner_state):
        """Return the next state after the new params; leaves that are missing in `moved` stay."""

        def taken():
            keep, share = (1.0, 1.0) if decay is None else (decay, 1 - decay)
            weight = keep * weak_typed(state.weight) + share
            c = weak_typed(share / jnp.where(weight == 0, 1, weight))

            # (1 - c)·a + c·w, with 1 - c rounded, would be off by 2e-4 after 120,000 updates at
            # d = 0.9999 instead of 1e-6 (decision 40).
            def rule(u, a, w):
                return u, jnp.where(c == 1, w, a + c * (w - a))

            _, average = leafwise(rule, moved, state.average, read=(new,))
            return cast_like((weight, average), (state.weight, state.average))

        is_due = (state.count >= start) & ((state.count + 1 - start) % every == 0)
        kept = (state.weight, state.average)
        weight, average = (
            taken() if (start, every) == (0, 1) else jax.lax.cond(is_due, taken, lambda: kept)
        )
        return AverageParamsState(increment(state.count), weight, average, inner_state)

    def update(updates, state, params, **extra):
        updates, inner_state = tx.update(updates, state.inner_state, params, **extra)
        return updates, take_in(updates, apply_updates(params, updates), state, inner_state)

    def step(updates, state, params, **extra):
        params, inner_state = tx.step(updates, state.inner_state, params, **extra)
        return params, take_in(params, params, state, inner_state)

    return init, update, step


@usage("eval_params(tx, state, params)")
def eval_params(tx: TransformationLike, state: OptState, params: Params) -> Params:
    """Return the parameters to evaluate at: the average that `state` keeps, or `params` where it
    keeps none.

    It reads `average_params`, `lookahead` (the slow weights) and `schedule_free`, wherever they are
    in a chain, in groups or inside other wrappers, and every state with a method
    `eval_params(params)`. The result has the params' dtypes; continue training from the params, not
    from it. Averages of different groups are read together.

    Args:
        tx: The optimizer, or any other transformation. It made the state.
        state: State of the optimizer, as `init`, `update` or `step` returned it.
        params: Parameters, a pytree of arrays.

    Raises:
        ValueError: If two averages cover the same parameter, because it is unclear which is meant.
    """
    _check_call(tx, state, params)
    given, state, params = params, without_variables(state), without_variables(params)
    moving, owners, result = copy_params(params), {}, params
    found = list(_averages((state,)))
    joined = _joined(tx, state, params) if found else {}
    for path, node in found:
        values = (
            _evaluated(node, moving)
            if id(node) not in joined
            else _of_vector(node, moving, joined[id(node)])
        )
        name = f"{type(node).__name__} at {path_string(path[1:])!r}"
        for leaf in _covered(values, params):
            if leaf in owners:
                raise ValueError(
                    f"eval_params: leaf {leaf!r} has two averages, {owners[leaf]} and {name}; "
                    "keep one of them, or call .eval_params(params) of the state that you mean"
                )
            owners[leaf] = name
        # None where a state says nothing, so that groups are read together (decision 39).
        result = jax.tree.map(
            lambda v, p: p if is_missing(v) else v, values, result, is_leaf=is_missing
        )
    if jax.tree.structure(given) != jax.tree.structure(params):
        result = jax.tree.unflatten(jax.tree.structure(given), jax.tree.leaves(result))
    return result.slow if isinstance(result, LookaheadParams) else result


def _averages(tree: Any, path: tuple = ()) -> Iterator[tuple[tuple, Any]]:
    """Yield the states that have evaluation parameters of their own, outer ones first, each with
    its path.
    """

    def is_average(x):
        # By the method and not by a type, as a user's state may have it too (decision 39).
        return x is not tree and hasattr(x, "eval_params")

    for keys, x in jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_average)[0]:
        if is_average(x):
            yield (*path, *keys), x
            yield from _averages(x, (*path, *keys))


_with_vectors = jax.jit(with_vectors)


def _joined(tx: Any, state: OptState, params: Params) -> dict[int, tuple[tuple[str, ...], ...]]:
    """Find the averages of one vector, as inside `flatten`, with the paths of the parameters in
    it.
    """
    if not isinstance(tx, GradientTransformation):
        return {}
    arrays = jax.tree.map(
        lambda p: p if is_missing(p) or hasattr(p, "dtype") or is_inexact(p) else None, params
    )
    parts = vectors_in(_with_vectors.eval_shape(tx, arrays), state)
    return {id(node): leaves for leaves, part in parts for _, node in _averages((part,))}


def _of_vector(node: Any, params: Params, leaves: tuple[tuple[str, ...], ...]) -> Params:
    """Split the average of a vector into its parameters; None for the others."""
    keyed, treedef = jax.tree_util.tree_flatten_with_path(params, is_leaf=is_missing)
    by_path = {steps(path): p for path, p in keyed}
    own = [by_path[path] for path in leaves]
    values = dict(
        zip(leaves, as_tree(_evaluated(node, as_vector(own)), own, lambda p: p.dtype), strict=True)
    )
    return treedef.unflatten([values.get(path) for path in by_path])


@jax.jit
def _evaluated(node, params):
    def cast(v, p):
        return None if is_missing(v) else jax.lax.convert_element_type(v, p.dtype)

    return jax.tree.map(cast, node.eval_params(params), params, is_leaf=is_missing)


def _covered(values: PyTree, params: Params) -> list[str]:
    """Return the paths of the parameters that have a value."""
    has = jax.tree.map(
        lambda v, p: jax.tree.map(lambda _: not is_missing(v), p),
        values,
        params,
        is_leaf=is_missing,
    )
    return [
        path
        for path, yes in zip(
            leaf_paths(params, nothing_too=False), jax.tree.leaves(has), strict=True
        )
        if yes
    ]


_init = jax.jit(lambda tx, params: tx.init(params))


def _init_shapes(tx: Any, params: Params) -> OptState:
    """Return the shapes of the first state, traced once for each kind of optimizer and params."""
    if all(
        is_missing(x) or hasattr(x, "dtype") or isinstance(x, float)
        for x in jax.tree.leaves((tx, params))
    ):
        return _init.eval_shape(tx, params)
    return jax.eval_shape(lambda: tx.init(params))


def _check_call(tx: Any, state: OptState, params: Params) -> None:
    """Raise unless the arguments are in order and `tx` makes such a state; another one could hide
    an average.
    """
    if (
        not (hasattr(tx, "init") and hasattr(tx, "update"))
        or is_state(params)
        or isinstance(params, GradientTransformation)
    ):
        found = ", ".join(type(x).__name__ for x in (tx, state, params))
        raise ValueError(f"eval_params: the order is eval_params(tx, state, params), got {found}")
    nnx = sys.modules.get("flax.nnx")
    if nnx is not None and isinstance(params, nnx.Module):
        problem = "params is a Flax NNX module; write nnx.state(model, nnx.Param)"
        raise ArgumentError(problem, "eval_params")
    expected = _init_shapes(tx, params)
    if outline(state) != outline(expected):
        problem = f"this state was not made by this optimizer: {first_difference(expected, state)}"
        raise StateError(f"eval_params: {problem}")
