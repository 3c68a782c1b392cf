"""Lion: the sign of a mixture of momentum and gradient.

It was found by a search over programs. It keeps one moving average, and every entry moves by the
learning rate.
"""

from typing import NamedTuple

import jax.numpy as jnp

from optax_lite._transforms.decay import with_decay_and_rate
from optax_lite.core.leafwise import increment, leafwise, zero_count, zeros_like
from optax_lite.core.numerics import moving_average
from optax_lite.core.transform import Array, PyTree, transform
from optax_lite.core.types import DTypeLike, Mask, ScalarOrSchedule
from optax_lite.core.validate import ArgumentError, check_nonnegative


class ScaleByLionState(NamedTuple):
    count: Array  # updates so far, int32
    mu: PyTree  # moving average of g, with b2


@transform(static=("mu_dtype",))
def scale_by_lion(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.99,
    mu_dtype: DTypeLike | None = None,
    *,
    mode: str = "hard",
    smooth_beta: ScalarOrSchedule = 1.0,
):
    """Replace g by the sign of a mixture of momentum and gradient. Chen et al. 2023, Algorithm 2.

        c = b1·m + (1 - b1)·g
        m = b2·m + (1 - b2)·g
        g ← sign(c)

    The modes other than "hard" depend on the size of gradients. A complex c keeps its phase c /
    |c|, and the mode applies to |c|.

    Args:
        b1: Share of m in the mixture c, in [0, 1).
        b2: Decay of the moving average of gradients, in [0, 1).
        mu_dtype: Dtype in which the average of gradients is stored; None for the parameters' own.
        mode: "hard" for the sign; "smooth", tanh(smooth_beta·c), and "refined", c clipped to ±1,
            soften it near 0.
        smooth_beta: Steepness of "smooth" at 0, at least 0.
    """
    check_nonnegative(smooth_beta=smooth_beta)
    if mode not in ("hard", "smooth", "refined"):
        raise ArgumentError(f"mode must be 'hard', 'smooth' or 'refined', got {mode!r}")

    def length(c):
        if mode == "smooth":
            return jnp.tanh(smooth_beta * jnp.abs(c))
        return jnp.minimum(jnp.abs(c), 1) if mode == "refined" else 1.0

    def rule(g, m):
        c = moving_average(b1, m, g)
        return length(c) * jnp.sign(c), moving_average(b2, m, g)

    def update(updates, state):
        updates, mu = leafwise(rule, updates, state.mu)
        return updates, ScaleByLionState(increment(state.count), mu)

    return lambda params: ScaleByLionState(zero_count(), zeros_like(params, mu_dtype)), update


@transform(static=("mu_dtype", "mask"))
def lion(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.99,
    mu_dtype: DTypeLike | None = None,
    weight_decay: ScalarOrSchedule = 1e-3,
    mask: Mask | None = None,
):
    """Update w by the sign of a mixture of momentum and gradient. Chen et al. 2023, Algorithm 2.

        w ← w - lr·(sign(b1·m + (1 - b1)·g) + weight_decay·w),  m = b2·m + (1 - b2)·g

    Choose lr three to ten times smaller than for AdamW, and weight_decay larger by the same factor.
    For the other modes, chain `scale_by_lion(mode=...)`, `add_decayed_weights` and
    `scale_by_learning_rate`.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        b1: Share of m in the mixture c, in [0, 1).
        b2: Decay of the moving average of gradients, in [0, 1).
        mu_dtype: Dtype in which the average of gradients is stored; None for the parameters' own.
        weight_decay: Decoupled weight decay; the learning rate multiplies it.
        mask: Leaves that decay: path patterns, a tree of bools or a function that makes one of the
            params (see `masked`); None for all.
    """
    return with_decay_and_rate(
        learning_rate, scale_by_lion(b1, b2, mu_dtype), decay=(weight_decay, mask)
    )
