"""Smaller updates once the loss has stopped falling."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optax_lite.core.leafwise import increment, leafwise, scalar_like, varying_like, zero_count
from optax_lite.core.numerics import weak_typed
from optax_lite.core.transform import Array, transform
from optax_lite.core.types import ScalarOrSchedule
from optax_lite.core.validate import (
    ArgumentError,
    check_closed_unit_interval,
    check_nonnegative,
    check_positive,
)


class ReduceLROnPlateauState(NamedTuple):
    scale: Array  # the factor of the updates
    best_value: Array  # the least mean loss so far
    plateau_count: Array  # mean losses since then that were no better, int32
    cooldown_count: Array  # mean losses still to pass over, int32
    count: Array  # losses in the present mean, int32
    avg_value: Array  # the present mean


@transform
def reduce_on_plateau(
    factor: ScalarOrSchedule = 0.1,
    patience: ScalarOrSchedule = 10,
    rtol: ScalarOrSchedule = 1e-4,
    atol: ScalarOrSchedule = 0.0,
    cooldown: ScalarOrSchedule = 0,
    accumulation_size: ScalarOrSchedule = 1,
    min_scale: ScalarOrSchedule = 0.0,
):
    """Reduce the size of updates once the loss has stopped falling.

        tx = chain(adam(1e-3), reduce_on_plateau(patience=5, accumulation_size=100))
        updates, state = tx.update(grads, state, params, value=loss)

    Better is value < best - rtol·|best| - atol, for a loss below 0 too (optax multiplies the best
    by 1 - rtol, so a loss that stays at -10 gets better forever). NaN is no better.

    Args:
        factor: Factor by which a reduction multiplies the scale, in (0, 1).
        patience: Losses without improvement before a reduction, at least 1.
        rtol: Relative improvement below which a loss counts as no better, in [0, 1].
        atol: Absolute improvement below which a loss counts as no better, at least 0.
        cooldown: Losses after a reduction that only update the best, at least 0.
        accumulation_size: Updates whose losses are averaged into one, above 0.
        min_scale: Least scale, at least 0.
    """
    check_positive(factor=factor, accumulation_size=accumulation_size)
    check_nonnegative(atol=atol, cooldown=cooldown, min_scale=min_scale)
    check_closed_unit_interval(rtol=rtol)
    if isinstance(factor, float) and factor >= 1:
        raise ArgumentError(f"factor must be below 1, got {factor!r}")
    if isinstance(patience, float) and patience < 1:
        raise ArgumentError(f"patience must be at least 1, got {patience!r}")
    if isinstance(rtol, float) and isinstance(atol, float) and rtol == atol == 0:
        raise ArgumentError(
            "rtol or atol must be above 0, or rounding errors would count as improvements"
        )

    def init(params):
        number = scalar_like(params, 0)
        zero = zero_count()
        state = ReduceLROnPlateauState(number + 1, number + jnp.inf, zero, zero, zero, number)
        return varying_like(state, params)

    def judged(s, value):
        """Return the state after a mean loss."""
        best = weak_typed(s.best_value)
        # at first the best is inf
        bar = jnp.where(best < jnp.inf, best - rtol * jnp.abs(best) - atol, jnp.inf)
        is_better, cools = value < bar, s.cooldown_count > 0
        plateau = jnp.where(is_better | cools, 0, increment(s.plateau_count))
        reduces = plateau.astype(jnp.float32) >= patience
        scale = jnp.where(
            reduces, jnp.maximum(weak_typed(s.scale) * factor, min_scale), weak_typed(s.scale)
        )
        rest = jnp.where(cools, s.cooldown_count - 1, 0)
        return ReduceLROnPlateauState(
            scale,
            jnp.where(is_better, value, best),
            jnp.where(reduces, 0, plateau),
            jnp.where(reduces, jnp.asarray(cooldown).astype(jnp.int32), rest),
            zero_count(),
            jnp.zeros_like(s.avg_value),
        )

    def update(updates, state, *, value):
        if jnp.ndim(value) != 0:
            raise ValueError(
                f"reduce_on_plateau: value= must be one number, got shape {jnp.shape(value)}"
            )
        t = increment(state.count)
        mean = weak_typed(state.avg_value) + (
            weak_typed(value) - weak_typed(state.avg_value)
        ) / weak_typed(t.astype(jnp.float32))
        is_whole = t.astype(jnp.float32) >= accumulation_size
        after, within = judged(state, mean), state._replace(count=t, avg_value=mean)
        state = jax.tree.map(lambda a, b: jnp.where(is_whole, a, b), after, within)
        scale = weak_typed(state.scale)
        return leafwise(lambda g: scale * g, updates), state

    return init, update
