"""Adagrad: every entry divided by the root of the sum of its squared gradients."""

from typing import NamedTuple

import jax.numpy as jnp

from optax_lite._transforms.decay import with_decay_and_rate
from optax_lite.core.leafwise import full_like, leafwise
from optax_lite.core.numerics import abs_sq
from optax_lite.core.transform import PyTree, transform
from optax_lite.core.types import ScalarOrSchedule
from optax_lite.core.validate import check_nonnegative
from optax_lite.optimizers.rmsprop import over_root


class ScaleByRssState(NamedTuple):
    sum_of_squares: PyTree  # sum of |g|²


@transform
def scale_by_rss(
    initial_accumulator_value: ScalarOrSchedule = 0.1,
    eps: ScalarOrSchedule = 1e-7,
    *,
    eps_in_sqrt: bool = True,
):
    """Replace g by g / √(s + eps), s the sum of |g|² so far; by 0 where s is 0. Duchi, Hazan &
    Singer 2011, Figure 1.

    `eps_in_sqrt=False` divides by √s + eps, as the paper (δ) and torch do; optax has the root
    around both. The sum starts at `initial_accumulator_value`, which is 0 in the paper and in
    torch.
    """
    check_nonnegative(initial_accumulator_value=initial_accumulator_value)

    def init(params):
        return ScaleByRssState(full_like(params, initial_accumulator_value, real=True))

    def rule(g, s):
        s = s + abs_sq(g)
        unseen = s == 0
        return jnp.where(unseen, 0, over_root(g, jnp.where(unseen, 1, s), eps, eps_in_sqrt)), s

    def update(updates, state):
        updates, sum_of_squares = leafwise(rule, updates, state.sum_of_squares, squares=True)
        return updates, ScaleByRssState(sum_of_squares)

    return init, update


@transform
def adagrad(
    learning_rate: ScalarOrSchedule,
    initial_accumulator_value: ScalarOrSchedule = 0.1,
    eps: ScalarOrSchedule = 1e-7,
    *,
    eps_in_sqrt: bool = True,
):
    """w ← w - lr·g / √(s + eps), s the sum of |g|² so far. Duchi, Hazan & Singer 2011, Figure 1.

    Steps only ever become shorter. `scale_by_rss` says where eps can stand.
    """
    return with_decay_and_rate(
        learning_rate, scale_by_rss(initial_accumulator_value, eps, eps_in_sqrt=eps_in_sqrt)
    )
