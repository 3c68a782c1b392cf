"""Optimistic descent, which expects the gradient to change as it just did: for games, which would
otherwise run in circles.
"""

from typing import NamedTuple

import jax.numpy as jnp

from optax_lite._transforms.decay import with_decay_and_rate
from optax_lite._transforms.scale import scale
from optax_lite.core.compose import chain
from optax_lite.core.leafwise import leafwise, zeros_like
from optax_lite.core.transform import Array, PyTree, transform
from optax_lite.core.types import DTypeLike, ScalarOrSchedule
from optax_lite.optimizers.adam import scale_by_adam


class ScaleByOptimisticGradientState(NamedTuple):
    is_initial_step: Array  # bool: no update so far
    previous_gradient: PyTree  # g of the last update


@transform
def scale_by_optimistic_gradient(alpha: ScalarOrSchedule = 1.0, beta: ScalarOrSchedule = 1.0):
    """Expect the gradient to change as it just did. Mokhtari et al. 2020, generalized OGDA.

        g ← alpha·g + beta·(g - g₋), g₋ the one before

    The first update has no g₋ and is alpha·g.

    Args:
        alpha: Factor of the gradient.
        beta: Factor of its change; equal to `alpha` it is the optimistic method, 0 is plain
            descent.
    """

    def init(params):
        return ScaleByOptimisticGradientState(jnp.ones((), bool), zeros_like(params))

    def update(updates, state):
        def rule(g, before):
            before = jnp.where(state.is_initial_step, g, before)
            return alpha * g + beta * (g - before), g

        updates, previous = leafwise(rule, updates, state.previous_gradient)
        return updates, ScaleByOptimisticGradientState(jnp.zeros((), bool), previous)

    return init, update


@transform
def optimistic_gradient_descent(
    learning_rate: ScalarOrSchedule, alpha: ScalarOrSchedule = 1.0, beta: ScalarOrSchedule = 1.0
):
    """Update w by descent that expects the gradient to change as it just did. Daskalakis et al.
    2018; Mokhtari et al. 2020.

        w ← w - lr·(alpha·g + beta·(g - g₋)), g₋ the gradient before

    In a min-max game, negate the gradients of the player who maximizes.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        alpha: Factor of the gradient.
        beta: Factor of its change; equal to `alpha` it is the optimistic method, 0 is plain
            descent.
    """
    return with_decay_and_rate(learning_rate, scale_by_optimistic_gradient(alpha, beta))


@transform(static=("mu_dtype",))
def optimistic_adam_v2(
    learning_rate: ScalarOrSchedule,
    *,
    alpha: ScalarOrSchedule = 1.0,
    beta: ScalarOrSchedule = 1.0,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: DTypeLike | None = None,
    nesterov: bool = True,
):
    """Update w by Adam that expects its direction to change as it just did. Daskalakis et al. 2018.

        w ← w - lr·(alpha·r + beta·(r - r₋)), r = m̂ / (√v̂ + eps) of Adam, r₋ the one before

    The paper's Algorithm 1 has alpha = beta = 1 and no Nesterov momentum. For m̂ and v̂ see
    `scale_by_adam`.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        alpha: Factor of Adam's direction.
        beta: Factor of its change.
        b1: Decay of the moving average of gradients, in [0, 1).
        b2: Decay of the moving average of squared gradients, in [0, 1).
        eps: Added to the denominator; at least 0.
        eps_root: Added under the square root of the denominator; at least 0. It keeps derivatives
            through training finite.
        mu_dtype: Dtype in which the average of gradients is stored; None for the parameters' own.
        nesterov: Use Nesterov momentum, which looks one step ahead.
    """
    return with_decay_and_rate(
        learning_rate,
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        scale_by_optimistic_gradient(alpha, beta),
    )


@transform(static=("mu_dtype",))
def optimistic_adam(
    learning_rate: ScalarOrSchedule,
    optimism: ScalarOrSchedule | None = None,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = True,
):
    """Update w by `optimistic_adam_v2` with absolute rates, optax's older form. Daskalakis et al.
    2018.

        w ← w - (lr·r + optimism·(r - r₋)), r of Adam

    optax takes no schedule here; both rates may be schedules.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        optimism: Rate of the change of Adam's direction; None for the learning rate, as in the
            paper.
        b1: Decay of the moving average of gradients, in [0, 1).
        b2: Decay of the moving average of squared gradients, in [0, 1).
        eps: Added to the denominator; at least 0.
        eps_root: Added under the square root of the denominator; at least 0. It keeps derivatives
            through training finite.
        mu_dtype: Dtype in which the average of gradients is stored; None for the parameters' own.
        nesterov: Use Nesterov momentum, which looks one step ahead.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        scale_by_optimistic_gradient(
            learning_rate, learning_rate if optimism is None else optimism
        ),
        scale(-1.0),
    )
