"""Descent with the step size that would reach the least value if the loss were linear along the
gradient.
"""

import jax.numpy as jnp

from optax_lite._transforms.scale import scale_by_learning_rate
from optax_lite.core.compose import chain, identity
from optax_lite.core.leafwise import leafwise
from optax_lite.core.norms import global_norm
from optax_lite.core.numerics import weak_typed
from optax_lite.core.transform import EmptyState, transform
from optax_lite.core.types import Limit, ScalarOrSchedule
from optax_lite.core.validate import ArgumentError, check_nonnegative


@transform
def scale_by_polyak(
    f_min: ScalarOrSchedule = 0.0,
    max_learning_rate: Limit = 1.0,
    eps: ScalarOrSchedule = 0.0,
    variant: str = "sps",
):
    """Multiply g by the step that would reach the minimum of a linear loss. Loizou et al. 2021,
    SPS_max with c = 1.

        g ← min((value - f_min) / (‖g‖² + eps), max_learning_rate)·g

    `update` needs the loss: tx.update(grads, state, params, value=value). ‖g‖ is over all leaves.

    Args:
        f_min: Least value of the loss, 0 for a model that can fit all data; too low a guess makes
            steps too long.
        max_learning_rate: Largest factor of g, at least 0.
        eps: Added to the denominator; at least 0. The other term is ‖g‖².
        variant: "sps", whose step turns uphill below f_min, or "sps+", whose step is 0 there
            (Garrigos et al. 2023).
    """
    check_nonnegative(max_learning_rate=max_learning_rate)
    if variant not in ("sps", "sps+"):
        raise ArgumentError(f"variant must be 'sps' or 'sps+', got {variant!r}")

    def update(updates, state, *, value):
        gap = weak_typed(value) - f_min
        gap = jnp.maximum(gap, 0) if variant == "sps+" else gap
        size = weak_typed(global_norm(updates))
        size = jnp.where(size == 0, 1, size)
        # ‖g‖² may not be held where ‖g‖ is
        length = jnp.minimum(gap / (size + eps / size), max_learning_rate * size)
        return leafwise(lambda g: length * (g / size), updates), state

    return lambda params: EmptyState(), update


@transform
def polyak_sgd(
    max_learning_rate: Limit = 1.0,
    scaling: ScalarOrSchedule = 1.0,
    f_min: ScalarOrSchedule = 0.0,
    eps: ScalarOrSchedule = 0.0,
    variant: str = "sps",
):
    """Update w by the step that would reach the minimum of a linear loss. Loizou et al. 2021,
    Algorithm 1.

        w ← w - scaling·min((value - f_min) / (‖g‖² + eps), max_learning_rate)·g

    `update` needs value=, see `scale_by_polyak`. (optax divides by `scaling` where the step is not
    capped.)

    Args:
        max_learning_rate: Largest factor of g, at least 0.
        scaling: Factor of the step; a number or a schedule.
        f_min: Least value of the loss, 0 for a model that can fit all data; too low a guess makes
            steps too long.
        eps: Added to the denominator; at least 0. The other term is ‖g‖².
        variant: "sps", whose step turns uphill below f_min, or "sps+", whose step is 0 there
            (Garrigos et al. 2023).
    """
    step = chain(
        scale_by_polyak(f_min, max_learning_rate, eps, variant), scale_by_learning_rate(scaling)
    )
    return chain(step, identity())  # nested as optax's state is
