"""Rprop: a step size for every entry, which grows and shrinks by the signs of the gradient."""

from typing import NamedTuple

import jax.numpy as jnp

from optax_lite._transforms.scale import scale
from optax_lite.core.compose import chain
from optax_lite.core.leafwise import full_like, leafwise, zeros_like
from optax_lite.core.transform import Number, PyTree, transform
from optax_lite.core.types import Limit
from optax_lite.core.validate import check_nonnegative


class ScaleByRpropState(NamedTuple):
    step_sizes: PyTree  # Δ
    prev_updates: PyTree  # Δ·sign(g) of the last update; 0 where the sign had changed


@transform(exact_state="needs the signs of slots that may be tiny")
def scale_by_rprop(
    learning_rate: Number,
    eta_minus: Number = 0.5,
    eta_plus: Number = 1.2,
    min_step_size: Number = 1e-6,
    max_step_size: Limit = 50.0,
):
    """Replace g by Δ·sign(g), or 0 where its sign has changed. Igel & Hüsken 2003, iRprop⁻.

    Δ starts at `learning_rate` (a schedule: its first value), is multiplied by `eta_plus` while the
    sign stays and by `eta_minus` when it changes, and then kept within [min_step_size,
    max_step_size]. After a change one update is 0 and leaves Δ alone. Signs are what the noise of
    small batches changes: this is for full batches. Complex leaves are refused. optax moves by the
    Δ·sign(g) of the update before, one step late.
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
    learning_rate: Number,
    eta_minus: Number = 0.5,
    eta_plus: Number = 1.2,
    min_step_size: Number = 1e-6,
    max_step_size: Limit = 50.0,
):
    """w ← w - Δ·sign(g), with a step size Δ for every entry. Igel & Hüsken 2003, iRprop⁻.

    `learning_rate` is the first Δ, not a factor; see `scale_by_rprop` for the others. The size of
    the gradient plays no part, so that neither the loss's scale nor saturation slows it down.
    """
    return chain(
        scale_by_rprop(learning_rate, eta_minus, eta_plus, min_step_size, max_step_size),
        scale(-1.0),
    )
