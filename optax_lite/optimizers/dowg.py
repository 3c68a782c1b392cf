"""DoWG: DoG with gradients weighted by the distance moved."""

from typing import NamedTuple

import jax.numpy as jnp

from optax_lite.core.leafwise import copy_params, leafwise, scalar_like
from optax_lite.core.norms import with_sum_sq
from optax_lite.core.numerics import over, sqrt, weak_typed
from optax_lite.core.transform import Array, PyTree, transform
from optax_lite.core.types import Mask, ScalarOrSchedule
from optax_lite.core.validate import check_nonnegative
from optax_lite.optimizers.dog import distance, with_decay


class DoWGState(NamedTuple):
    init_params: PyTree  # x₀
    weighted_sq_norm_grads: Array  # v, the sum of r̄²·‖g‖²
    estim_sq_dist: Array  # r̄², the largest ‖x - x₀‖² so far


@transform
def _scale_by_dowg(init_estim_sq_dist, eps):
    check_nonnegative(init_estim_sq_dist=init_estim_sq_dist)

    def update(updates, state, params):
        r_sq = jnp.maximum(
            weak_typed(state.estim_sq_dist), distance(updates, params, state.init_params) ** 2
        )
        updates, square = with_sum_sq(updates)
        v = weak_typed(state.weighted_sq_norm_grads) + r_sq * square
        updates = leafwise(lambda g: weak_typed(over(r_sq, sqrt(v) + eps)) * g, updates)
        return updates, DoWGState(state.init_params, v, r_sq)

    return lambda params: DoWGState(
        copy_params(params), scalar_like(params, 0), scalar_like(params, init_estim_sq_dist)
    ), update


@transform(static=("mask",))
def dowg(
    learning_rate: ScalarOrSchedule = 1.0,
    init_estim_sq_dist: ScalarOrSchedule | None = None,
    eps: ScalarOrSchedule = 1e-4,
    weight_decay: ScalarOrSchedule | None = None,
    mask: Mask | None = None,
):
    """Update w by DoG with gradients weighted by the distance moved. Khaled et al. 2023, Algorithm
    1.

        w ← w - learning_rate·r̄² / (√v + eps)·g over the whole tree,  v = Σ r̄²·‖g‖²

    Later gradients weigh more than in `dog`, because r̄² = max ‖x - x₀‖² grows.

    Args:
        learning_rate: Factor of the step, best left at 1; a number or a schedule.
        init_estim_sq_dist: Starting value of r̄², at least 0; None for `eps`.
        eps: Added to the denominator; at least 0. It is also where r̄² starts by default.
        weight_decay: L2 penalty; None adds nothing.
        mask: Leaves that decay: path patterns, a tree of bools or a function that makes one of the
            params (see `masked`); None for all.
    """
    start = eps if init_estim_sq_dist is None else init_estim_sq_dist
    return with_decay(weight_decay, mask, _scale_by_dowg(start, eps), learning_rate)
