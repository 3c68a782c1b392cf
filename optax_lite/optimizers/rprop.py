"""Rprop: a step size for every entry, which grows and shrinks by the signs of the gradient."""

from typing import NamedTuple

import jax.numpy as jnp

from optax_lite._transforms.scale import scale
from optax_lite.core.compose import chain
from optax_lite.core.leafwise import full_like, leafwise, zeros_like
from optax_lite.core.transform import PyTree, transform
from optax_lite.core.types import Limit, ScalarOrSchedule
from optax_lite.core.validate import check_nonnegative


class ScaleByRpropState(NamedTuple):
    step_sizes: PyTree  # Δ
    prev_updates: PyTree  # Δ·sign(g) of the last update; 0 where the sign had changed


@transform(exact_state="needs the signs of slots that may be tiny")
def scale_by_rprop(
    learning_rate: ScalarOrSchedule,
    eta_minus: ScalarOrSchedule = 0.5,
    eta_plus: ScalarOrSchedule = 1.2,
    min_step_size: ScalarOrSchedule = 1e-6,
    max_step_size: Limit = 50.0,
):
    """Replace g by its sign times a step size that grows while the sign stays. Igel & Hüsken 2003,
    iRprop⁻.

        g ← Δ·sign(g), or 0 where the sign has changed

    After a change of sign, one update is 0 and Δ stays unchanged. The noise of small batches
    changes signs, so this is for full batches. Complex leaves are refused. optax returns the
    Δ·sign(g) of the previous update, one step late.

    Args:
        learning_rate: Starting value of Δ, not a factor; for a schedule, its first value.
        eta_minus: Factor of Δ when the sign changes, at least 0.
        eta_plus: Factor of Δ while the sign stays, at least 0.
        min_step_size: Least Δ, at least 0.
        max_step_size: Largest Δ, at least 0.
    """
    check_nonnegative(eta_minus=eta_minus, eta_plus=eta_plus)
    check_nonnegative(min_step_size=min_step_size, max_step_size=max_step_size)

    def init(params):
        return ScaleByRpropState(full_like(params, learning_rate), zeros_like(params))

    def rule(g, step, previous):
        agreement = jnp.sign(g) * previous
        changed = jnp.clip(
            step * jnp.where(agreement > 0, eta_plus, eta_minus), min_step_size, max_step_size
        )
        step = jnp.where(agreement == 0, step, changed)
        u = jnp.where(agreement < 0, 0, step * jnp.sign(g))
        return u, step, u

    def update(updates, state):
        updates, steps, previous = leafwise(
            rule, updates, state.step_sizes, state.prev_updates, real_only=True
        )
        return updates, ScaleByRpropState(steps, previous)

    return init, update


@transform
def rprop(
    learning_rate: ScalarOrSchedule,
    eta_minus: ScalarOrSchedule = 0.5,
    eta_plus: ScalarOrSchedule = 1.2,
    min_step_size: ScalarOrSchedule = 1e-6,
    max_step_size: Limit = 50.0,
):
    """Update w by the sign of the gradient, with a step size for every entry. Igel & Hüsken 2003,
    iRprop⁻.

        w ← w - Δ·sign(g)

    The size of the gradient plays no part, so that neither the loss's scale nor saturation slows it
    down. For Δ see `scale_by_rprop`.

    Args:
        learning_rate: Starting value of Δ, not a factor; for a schedule, its first value.
        eta_minus: Factor of Δ when the sign changes, at least 0.
        eta_plus: Factor of Δ while the sign stays, at least 0.
        min_step_size: Least Δ, at least 0.
        max_step_size: Largest Δ, at least 0.
    """
    return chain(
        scale_by_rprop(learning_rate, eta_minus, eta_plus, min_step_size, max_step_size),
        scale(-1.0),
    )
