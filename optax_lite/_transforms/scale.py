"""Scaling: by a number, by a schedule, by the learning rate, to the sign."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optax_lite.core.compose import identity
from optax_lite.core.leafwise import leafwise
from optax_lite.core.transform import Array, EmptyState, transform
from optax_lite.core.trees import is_missing
from optax_lite.core.types import ScalarOrSchedule
from optax_lite.core.validate import check_number


class ScaleByScheduleState(NamedTuple):
    count: Array  # updates so far, int32


def _is_turned(tx):
    step_size = tx.arguments["step_size"]
    return bool(step_size < 0) if isinstance(step_size, (int, float)) else None


@transform(scheduled=ScaleByScheduleState, descends=_is_turned)
def scale(step_size: ScalarOrSchedule):
    """Multiply the updates by a number or a schedule.

    Args:
        step_size: Factor; a number, or a schedule of the number of updates so far.
    """

    def update(updates, state):
        return leafwise(lambda g: step_size * g, updates), state

    return lambda params: EmptyState(), update


@transform(descends=lambda tx: None)
def scale_by_schedule(step_size_fn: ScalarOrSchedule):
    """Multiply the updates by the value of a schedule.

    Args:
        step_size_fn: Schedule, a function of the number of updates so far (0 on the first).
    """
    return scale(step_size_fn)


def _is_rate(tx):
    return tx.arguments["learning_rate"] is not None and tx.arguments["flip_sign"]


@transform(descends=_is_rate, is_a=("rate",))
def scale_by_learning_rate(
    learning_rate: ScalarOrSchedule | None = None, *, flip_sign: bool = True
):
    """Multiply by -learning_rate: the one place where an ascent direction becomes a descent.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far. None
            leaves the updates unchanged, sign included.
        flip_sign: Multiply by -learning_rate; False multiplies by learning_rate.
    """
    if learning_rate is None:
        return identity()
    check_number(learning_rate=learning_rate)
    return scale(-learning_rate if flip_sign else learning_rate)


@transform
def scale_by_sign():
    """Replace g by sign(g), with 0 where g is 0; g/|g| for complex g."""
    return lambda params: EmptyState(), lambda updates, state: (leafwise(jnp.sign, updates), state)


@transform(
    freezes=lambda tx, updates, params: [True] * len(jax.tree.leaves(updates, is_leaf=is_missing)),
    freezes_by_itself=True,
    descends=lambda tx: None,
)
def set_to_zero():
    """Replace every update by -0.0, which freezes the parameters bit for bit: -0.0 + 0.0 would be
    0.0.
    """

    def update(updates, state):
        zeros = jax.tree.map(
            lambda g: g if is_missing(g) else -jnp.zeros_like(g), updates, is_leaf=is_missing
        )
        return zeros, state

    def step(updates, state, params):
        return jax.tree.map(
            lambda u, p: u if is_missing(u) else p, updates, params, is_leaf=is_missing
        ), state

    return lambda params: EmptyState(), update, step
