"""COCOB: every coordinate bets on its gradients, and there is no learning rate to choose."""

from typing import NamedTuple

import jax.numpy as jnp

from optax_lite._transforms.decay import add_decayed_weights
from optax_lite._transforms.scale import scale_by_learning_rate
from optax_lite.core.compose import chain
from optax_lite.core.leafwise import copy_params, full_like, leafwise, zeros_like
from optax_lite.core.numerics import over
from optax_lite.core.transform import PyTree, transform
from optax_lite.core.types import Mask, ScalarOrSchedule
from optax_lite.core.validate import check_nonnegative


class COCOBState(NamedTuple):
    init_particles: PyTree  # w₁, the parameters at the start
    cumulative_gradients: PyTree  # θ, the sum of -g
    scale: PyTree  # L, the largest |g| so far
    subgradients: PyTree  # G, the sum of |g|
    reward: PyTree  # R, what the bets have won


@transform(descends=True, exact_state="computes the parameters from its sums")
def scale_by_cocob(alpha: ScalarOrSchedule = 100.0, eps: ScalarOrSchedule = 1e-8):
    """Let every coordinate bet on its gradients, without a learning rate. Orabona & Tommasi 2017,
    Algorithm 2.

        θ = Σ -g    L = max |g|    G = Σ |g|    R = max(R - g·(w - w₁), 0)
        g ← w₁ + θ·(L + R) / (L·max(G + L, alpha·L)) - w

    Every coordinate bets on a coin whose next outcome is its gradient. The winnings of earlier
    bets, R, decide the size of the next one, so there is no learning rate to choose. The result
    already is a descent step: do not negate it. A complex entry bets as the pair of its real and
    imaginary parts.

    Args:
        alpha: Length of the warm-up: bets stay small for about so many updates; at least 0.
        eps: Starting value of L, at least 0; a nonzero one avoids 0/0 where gradients are exactly
            0.
    """
    check_nonnegative(alpha=alpha)

    def init(params):
        none, nothing = zeros_like(params), zeros_like(params, real=True)
        return COCOBState(
            copy_params(params), none, full_like(params, eps, real=True), nothing, nothing
        )

    def rule(g, theta, largest, total, reward, w1, w):
        largest = jnp.maximum(largest, jnp.abs(g))
        total = total + jnp.abs(g)
        reward = jnp.maximum(reward - (jnp.conj(g) * (w - w1)).real, 0)
        theta = theta - g
        bet = over(theta, jnp.maximum(total + largest, alpha * largest)) * (
            1 + over(reward, largest)
        )
        return bet - (w - w1), theta, largest, total, reward

    def update(updates, state, params):
        w1, *slots = state
        updates, *slots = leafwise(rule, updates, *slots, read=(w1, params))
        return updates, COCOBState(w1, *slots)

    return init, update


@transform(static=("mask",))
def cocob(
    learning_rate: ScalarOrSchedule = 1.0,
    alpha: ScalarOrSchedule = 100.0,
    eps: ScalarOrSchedule = 1e-8,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: Mask | None = None,
):
    """Update w by bets on the gradients. Orabona & Tommasi 2017, Algorithm 2.

    This is `scale_by_cocob` of learning_rate·(g + weight_decay·w).

    Args:
        learning_rate: Factor of what is bet on, not of the step: a constant only divides `eps`, and
            a schedule weights the gradients by time.
        alpha: Length of the warm-up: bets stay small for about so many updates; at least 0.
        eps: Starting value of L, at least 0; a nonzero one avoids 0/0 where gradients are exactly
            0.
        weight_decay: L2 penalty.
        mask: Leaves that decay: path patterns, a tree of bools or a function that makes one of the
            params (see `masked`); None for all.
    """
    return chain(
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate, flip_sign=False),
        scale_by_cocob(alpha, eps),
    )
