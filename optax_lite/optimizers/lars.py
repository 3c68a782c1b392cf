"""LARS: momentum with the size of every leaf's gradient in proportion to the norm of the leaf."""

from optax_lite._transforms.decay import add_decayed_weights
from optax_lite._transforms.momentum import trace
from optax_lite._transforms.scale import scale_by_learning_rate
from optax_lite._transforms.trust_ratio import scale_by_trust_ratio
from optax_lite.core.compose import chain, masked
from optax_lite.core.transform import transform
from optax_lite.core.types import Mask, ScalarOrSchedule


@transform(static=("weight_decay_mask", "trust_ratio_mask"))
def lars(
    learning_rate: ScalarOrSchedule,
    weight_decay: ScalarOrSchedule = 0.0,
    weight_decay_mask: Mask = True,
    trust_coefficient: ScalarOrSchedule = 0.001,
    eps: ScalarOrSchedule = 0.0,
    trust_ratio_mask: Mask = True,
    momentum: ScalarOrSchedule = 0.9,
    nesterov: bool = False,
):
    """Update every leaf by momentum of gradients scaled in proportion to the leaf's norm. You et
    al. 2017, Algorithm 1.

        v = momentum·v + lr·trust_coefficient·(‖w‖ / (‖u‖ + eps))·u with u = g + weight_decay·w
        w ← w - v, by leaf

    In place of ‖u‖ the paper has ‖g‖ + weight_decay·‖w‖, which is at least as large. If ‖w‖ or ‖u‖
    is 0, v = momentum·v + lr·u. Biases and the weights of norms are often excluded from both decay
    and ratio; they then have the plain learning rate. The rate is inside the momentum, so lowering
    it slows the steps down over 1 / (1 - momentum) updates.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        weight_decay: L2 penalty, which the ratio scales as well.
        weight_decay_mask: Leaves that decay: path patterns, a tree of bools or a function that
            makes one of the params (see `masked`); None for all. True also means all.
        trust_coefficient: Share of its norm that a leaf moves by, times the learning rate.
        eps: Added to the denominator; at least 0.
        trust_ratio_mask: Leaves scaled by the ratio, in the forms of `masked`; True for all.
        momentum: Decay of the momentum, in [-1, 1].
        nesterov: Use Nesterov momentum, which looks one step ahead.
    """
    return chain(
        add_decayed_weights(weight_decay, weight_decay_mask),
        masked(scale_by_trust_ratio(0.0, trust_coefficient, eps), trust_ratio_mask),
        scale_by_learning_rate(learning_rate),
        trace(momentum, nesterov),
    )
