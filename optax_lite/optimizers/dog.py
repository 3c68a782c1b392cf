"""DoG and its layer-wise form: the distance moved so far over the gradients seen so far is the step
size.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optax_lite._transforms.decay import add_decayed_weights, with_decay_and_rate
from optax_lite.core.compose import identity
from optax_lite.core.leafwise import cast_like, copy_params, leafwise, scalar_like, zeros_like
from optax_lite.core.norms import global_norm, norm, with_sum_sq
from optax_lite.core.numerics import abs_sq, over, sqrt, weak_typed
from optax_lite.core.transform import Array, PyTree, transform
from optax_lite.core.types import DTypeLike, Mask, ScalarOrSchedule
from optax_lite.core.validate import ArgumentError, check_nonnegative


class ScaleByDistanceOverGradientsState(NamedTuple):
    max_dist: PyTree  # r̄ of each leaf, the largest ‖x - x₀‖ so far
    grad_sum_of_squares: PyTree  # G of each leaf, the sum of ‖g‖², of shape (1,)
    init_params: PyTree  # x₀


class DoGState(NamedTuple):
    is_init_step: Array  # whether no update was made yet
    init_params: PyTree  # x₀
    max_dist: Array  # r̄, the largest ‖x - x₀‖ so far
    sum_sq_norm_grads: Array  # G, the sum of ‖g‖²


@transform(static=("param_dtype",))
def scale_by_distance_over_gradients(
    reps_rel: ScalarOrSchedule = 1e-6,
    eps: ScalarOrSchedule = 1e-8,
    param_dtype: DTypeLike = jnp.float32,
    global_scale: ScalarOrSchedule = 1.0,
):
    """Replace g by global_scale·r̄ / √(G + eps)·g, each leaf by itself: LDoG of Ivgi, Hinder &
    Carmon 2023.

        r̄ = max ‖x - x₀‖    G = Σ ‖g‖²

    r̄ starts at reps_rel·(1 + ‖x₀‖): 1e-6, or 1e-4 with batch normalization. Nothing is negated:
    descend with `global_scale=-1.0`. x₀ is kept in `param_dtype`, or with None in that of the
    parameters. Average the iterates, as the authors do.
    """
    check_nonnegative(reps_rel=reps_rel)

    def init(params):
        x0 = cast_like(copy_params(params), zeros_like(params, param_dtype))
        r = jax.tree.map(lambda x: reps_rel * (1 + global_norm(x)), x0)
        return ScaleByDistanceOverGradientsState(
            r, jax.tree.map(lambda x: scalar_like(x, 0).reshape(1), x0), x0
        )

    def rule(g, r, total, x0, x):
        r = jnp.maximum(r, norm(x - x0))
        total = total + jnp.sum(abs_sq(g))
        return over(global_scale * r, sqrt(total.squeeze() + eps)) * g, r, total

    def update(updates, state, params):
        r, total, x0 = state
        updates, r, total = leafwise(
            rule, updates, r, total, read=(x0, params), same_shape=False, squares=True
        )
        return updates, ScaleByDistanceOverGradientsState(r, total, x0)

    return init, update


def distance(updates, params, x0):
    return weak_typed(global_norm(leafwise(lambda g, x, x0: x - x0, updates, read=(params, x0))))


@transform
def _scale_by_dog(init_step, eps):
    kinds = ("distance", "learning_rate", "heuristic")
    if not isinstance(init_step, tuple) or len(init_step) != 2 or init_step[0] not in kinds:
        raise ArgumentError(f"init_step must be one of {kinds} with a number, got {init_step!r}")
    kind, first = init_step

    def init(params):
        x0 = copy_params(params)
        starts = {
            "distance": first,
            "learning_rate": 0.0,
            "heuristic": first * (1 + weak_typed(global_norm(x0))),
        }
        return DoGState(
            jnp.array(True), x0, scalar_like(params, starts[kind]), scalar_like(params, 0)
        )

    def update(updates, state, params):
        r = jnp.maximum(weak_typed(state.max_dist), distance(updates, params, state.init_params))
        updates, square = with_sum_sq(updates)
        total = weak_typed(state.sum_sq_norm_grads) + square
        eta = over(r, sqrt(total + eps))
        if kind == "learning_rate":
            eta = jnp.where(state.is_init_step, first, eta)
        updates = leafwise(lambda g: weak_typed(eta) * g, updates)
        return updates, DoGState(jnp.array(False), state.init_params, r, total)

    return init, update


def with_decay(weight_decay, mask, scale_by, learning_rate):
    decay = identity() if weight_decay is None else add_decayed_weights(weight_decay, mask)
    return with_decay_and_rate(learning_rate, decay, scale_by)


@transform(static=("mask",))
def dog(
    learning_rate: ScalarOrSchedule = 1.0,
    init_step: tuple[str, ScalarOrSchedule] = ("heuristic", 1e-6),
    eps: ScalarOrSchedule = 1e-8,
    weight_decay: ScalarOrSchedule | None = None,
    mask: Mask | None = None,
):
    """w ← w - learning_rate·r̄ / √(G + eps)·g over the whole tree, r̄ and G as in LDoG. Ivgi,
    Hinder & Carmon 2023.

    `init_step` says how the first step is made, for which there is no distance yet: ("heuristic",
    a) starts r̄ at a·(1 + ‖x₀‖), ("distance", r) at r, and ("learning_rate", η) takes η for the
    first step. It should be too small; 1e-4 in place of 1e-6 with batch normalization.
    `learning_rate` is a factor, best left at 1; there is no decay of it, so average the iterates.
    `weight_decay` is an L2 penalty, on the leaves that `mask` picks; None adds nothing.
    """
    return with_decay(weight_decay, mask, _scale_by_dog(init_step, eps), learning_rate)
