"""DoG and its layer-wise form LDoG: the step size is the distance moved so far, divided by the norm
of all gradients so far.
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
    """Scale each leaf by the distance it has moved over the norm of all its gradients. LDoG of
    Ivgi, Hinder & Carmon 2023.

        g ← global_scale·r̄ / √(G + eps)·g,  r̄ = max ‖x - x₀‖,  G = Σ ‖g‖²

    r̄ starts at reps_rel·(1 + ‖x₀‖). The sign is not changed. Average the iterates, as the authors
    do.

    Args:
        reps_rel: Share of 1 + ‖x₀‖ at which r̄ starts, at least 0: 1e-6, or 1e-4 with batch
            normalization.
        eps: Added to G under the root; at least 0.
        param_dtype: Dtype in which x₀ is stored; None for the parameters' own.
        global_scale: Factor of the result; -1.0 descends.
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
    """Update w at the rate (distance moved) / (norm of all gradients), both of the whole tree.
    Ivgi, Hinder & Carmon 2023.

        w ← w - learning_rate·r̄ / √(G + eps)·g,  r̄ = max ‖x - x₀‖,  G = Σ ‖g‖²

    The first step has no distance yet, and uses `init_step`. Choose it rather too small: 1e-6, or
    1e-4 with batch normalization. The rate does not decay, so average the iterates.

    Args:
        learning_rate: Factor of the step, best left at 1; a number or a schedule.
        init_step: ("heuristic", a) starts r̄ at a·(1 + ‖x₀‖), ("distance", r) starts it at r, and
            ("learning_rate", η) takes η for the first step.
        eps: Added to G under the root; at least 0.
        weight_decay: L2 penalty; None adds nothing.
        mask: Leaves that decay: path patterns, a tree of bools or a function that makes one of the
            params (see `masked`); None for all.
    """
    return with_decay(weight_decay, mask, _scale_by_dog(init_step, eps), learning_rate)
