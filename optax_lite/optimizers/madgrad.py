"""MADGRAD: dual averaging with a cube root, and momentum as an average of iterates."""

from typing import NamedTuple

import jax.numpy as jnp

from optax_lite._transforms.decay import add_decayed_weights
from optax_lite.core.compose import chain
from optax_lite.core.leafwise import copy_params, increment, leafwise, zero_count, zeros_like
from optax_lite.core.numerics import abs_sq, sqrt, weak_typed
from optax_lite.core.transform import Array, PyTree, transform
from optax_lite.core.types import ScalarOrSchedule
from optax_lite.core.validate import check_number, check_unit_interval


class MadgradState(NamedTuple):
    count: Array  # updates so far, int32
    grad_sum_sq: PyTree  # ν, the sum of λ·|g|²
    s: PyTree  # the sum of λ·g
    x0: PyTree  # the parameters at the start


@transform(
    scheduled=MadgradState, descends=True, exact_state="computes the parameters from its sums"
)
def scale_by_madgrad(
    learning_rate: ScalarOrSchedule, momentum: ScalarOrSchedule = 0.9, eps: ScalarOrSchedule = 1e-6
):
    """Step from the starting point by the sum of all gradients over a cube root. Defazio & Jelassi
    2021, Algorithm 1.

        s = Σ λ·g    ν = Σ λ·|g|²    λ = (learning_rate + eps)·√t
        g ← (1 - momentum)·(z - x),  z = x₀ - s / (∛ν + eps)

    This is dual averaging: z is a step from the starting point along all gradients so far, and x is
    a moving average of z. The result already is a descent step, with the learning rate included.
    Useful rates differ from Adam's, and the decay should be smaller than elsewhere.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        momentum: Decay of the moving average of iterates, in [0, 1).
        eps: Added to ∛ν, and to the rate in λ, as in the authors' code; at least 0.
    """
    check_unit_interval(momentum=momentum)
    check_number(learning_rate=learning_rate)

    def init(params):
        return MadgradState(
            zero_count(), zeros_like(params, real=True), zeros_like(params), copy_params(params)
        )

    def update(updates, state, params):
        t = increment(state.count)
        lam = weak_typed((learning_rate + eps) * sqrt(weak_typed(t)))

        def rule(g, v, s, x0, x):
            v = v + lam * abs_sq(g)
            s = s + lam * g
            # Where v is 0 so is s; the cube root has no derivative there.
            z_minus_x = (x0 - x) - s / (jnp.cbrt(jnp.where(v == 0, 1, v)) + eps)
            return (1 - momentum) * z_minus_x, v, s

        updates, v, s = leafwise(
            rule, updates, state.grad_sum_sq, state.s, read=(state.x0, params), squares=True
        )
        return updates, MadgradState(t, v, s, state.x0)

    return init, update


@transform
def madgrad(
    learning_rate: ScalarOrSchedule,
    momentum: ScalarOrSchedule = 0.9,
    weight_decay: ScalarOrSchedule = 0.0,
    eps: ScalarOrSchedule = 1e-6,
):
    """Update x by dual averaging with a cube root. Defazio & Jelassi 2021, Algorithm 1.

        x ← x + (1 - momentum)·(x₀ - s / (∛ν + eps) - x)

    For s and ν see `scale_by_madgrad`; their g is g + weight_decay·x.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        momentum: Decay of the moving average of iterates, in [0, 1).
        weight_decay: L2 penalty.
        eps: Added to ∛ν, and to the rate in λ, as in the authors' code; at least 0.
    """
    return chain(add_decayed_weights(weight_decay), scale_by_madgrad(learning_rate, momentum, eps))
