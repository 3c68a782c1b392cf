"""Adagrad."""

from typing import NamedTuple

import jax.numpy as jnp

from optax_lite.check import check_nonnegative
from optax_lite.compose import chain
from optax_lite.core import transform
from optax_lite.leaves import Number, PyTree, abs_sq, full_like, leafwise, sqrt
from optax_lite.transforms.scale import scale_by_learning_rate


class ScaleByRssState(NamedTuple):
    sum_of_squares: PyTree  # sum of |g|²


@transform
def scale_by_rss(initial_accumulator_value: Number = 0.1, eps: Number = 1e-7):
    """Replace g by g / √(s + eps), s the sum of |g|² so far; 0 where s is 0. Duchi, Hazan & Singer 2011."""
    check_nonnegative(initial_accumulator_value=initial_accumulator_value, eps=eps)

    def init(params):
        return ScaleByRssState(full_like(params, initial_accumulator_value, real=True))

    def rule(g, s):
        s = s + abs_sq(g)
        unseen = s == 0
        return jnp.where(unseen, 0, g / sqrt(jnp.where(unseen, 1, s + eps))), s

    def update(updates, state):
        updates, sum_of_squares = leafwise(rule, updates, state.sum_of_squares)
        return updates, ScaleByRssState(sum_of_squares)

    return init, update


@transform
def adagrad(learning_rate: Number, initial_accumulator_value: Number = 0.1, eps: Number = 1e-7):
    """w ← w - lr·g / √(s + eps), s the sum of |g|² so far. Duchi, Hazan & Singer 2011."""
    return chain(scale_by_rss(initial_accumulator_value, eps), scale_by_learning_rate(learning_rate))
