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
    """Divide g by the root of the sum of its squares so far. Duchi, Hazan & Singer 2011, Figure 1.

        g ← g / √(s + eps), s the sum of |g|² so far; 0 where s is 0

    Args:
        initial_accumulator_value: Starting value of the sum; at least 0, and 0 in the paper and in
            torch.
        eps: Added under the root, or to it without `eps_in_sqrt`; at least 0.
        eps_in_sqrt: Divide by √(s + eps); False divides by √s + eps, as the paper (δ) and torch do.
            optax takes the root of both.
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
    """Update w by steps that only ever become shorter. Duchi, Hazan & Singer 2011, Figure 1.

        w ← w - lr·g / √(s + eps), s the sum of |g|² so far

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        initial_accumulator_value: Starting value of the sum; at least 0, and 0 in the paper and in
            torch.
        eps: Added under the root, or to it without `eps_in_sqrt`; at least 0.
        eps_in_sqrt: Divide by √(s + eps); False divides by √s + eps, as the paper (δ) and torch do.
            optax takes the root of both.
    """
    return with_decay_and_rate(
        learning_rate, scale_by_rss(initial_accumulator_value, eps, eps_in_sqrt=eps_in_sqrt)
    )
