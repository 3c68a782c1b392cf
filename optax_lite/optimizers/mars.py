"""MARS: AdamW on gradients whose variance is reduced with the help of the previous gradient.

This is the approximate form of MARS-AdamW: it compares with the gradient of the previous batch at
the previous parameters. The exact form uses the current batch there, which takes a second gradient
in every step. If the two gradients differ only by noise, the difference makes the result worse, so
gamma is small: it multiplies b1 / (1 - b1), which is 19 with the default b1.
"""

from typing import NamedTuple

from optax_lite._transforms.clip import fit
from optax_lite._transforms.decay import with_decay_and_rate
from optax_lite.core.leafwise import leafwise, zeros_like
from optax_lite.core.norms import norm
from optax_lite.core.transform import PyTree, transform
from optax_lite.core.types import Limit, Mask, ScalarOrSchedule
from optax_lite.core.validate import check_nonnegative, check_positive
from optax_lite.optimizers.adam import scale_by_adam


class ReduceVarianceState(NamedTuple):
    previous_gradient: PyTree  # 0 before the first


@transform
def _reduce_variance(b1, gamma, max_norm):
    """Replace g by c = g + gamma·b1 / (1 - b1)·(g - g_last), cut to max_norm in the norm of
    a leaf.
    """
    check_nonnegative(gamma=gamma)
    check_positive(max_norm=max_norm)

    def rule(g, g_last):
        c = g + gamma * (b1 / (1 - b1)) * (g - g_last)
        return fit(norm(c), max_norm) * c, g

    def update(updates, state):
        updates, previous_gradient = leafwise(rule, updates, state.previous_gradient)
        return updates, ReduceVarianceState(previous_gradient)

    return lambda params: ReduceVarianceState(zeros_like(params)), update


@transform(static=("mask",))
def mars(
    learning_rate: ScalarOrSchedule = 3e-3,
    b1: ScalarOrSchedule = 0.95,
    b2: ScalarOrSchedule = 0.99,
    eps: ScalarOrSchedule = 1e-8,
    gamma: ScalarOrSchedule = 0.025,
    max_norm: Limit = 1.0,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: Mask | None = None,
):
    """Update w by AdamW on gradients of reduced variance. Yuan et al. 2024, Algorithm 2.

        c = g + gamma·b1 / (1 - b1)·(g - g_last), and c·max_norm / ‖c‖ where ‖c‖ is above max_norm
        w ← w - lr·(m̂ / (√v̂ + eps) + weight_decay·w), with m̂ and v̂ of c

    As in the authors' code, ‖c‖ is the norm of a leaf, and g_last is 0 on the first step. Their
    code gives vectors and scalars to AdamW by default; use `partition` for that. The defaults are
    theirs. The state is Adam's and the last gradient. optax has no counterpart.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        b1: Decay of the moving average of c, in [0, 1).
        b2: Decay of the moving average of |c|², in [0, 1).
        eps: Added to the denominator; at least 0.
        gamma: Weight of the change of the gradient, at least 0; 0 is AdamW after clipping every
            leaf.
        max_norm: Largest norm of a leaf of c, above 0; 1 in the paper.
        weight_decay: Decoupled weight decay; the learning rate multiplies it.
        mask: Leaves that decay: path patterns, a tree of bools or a function that makes one of the
            params (see `masked`); None for all.
    """
    return with_decay_and_rate(
        learning_rate,
        _reduce_variance(b1, gamma, max_norm),
        scale_by_adam(b1, b2, eps),
        decay=(weight_decay, mask),
    )
