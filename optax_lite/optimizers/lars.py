"""LARS: momentum with the size of every leaf's gradient in proportion to the leaf."""

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
    """w ← w - v, v = momentum·v + lr·trust_coefficient·(‖w‖ / (‖u‖ + eps))·u, by leaf. You et al.
    2017, Algorithm 1.

    u = g + weight_decay·w; in place of ‖u‖ the paper has ‖g‖ + weight_decay·‖w‖, which is at least
    as large. A leaf where ‖w‖ or ‖u‖ is 0 has v = momentum·v + lr·u. The masks pick the leaves that
    decay and those that are scaled by the ratio: biases and the weights of norms are often left out
    of both, and then have the plain learning rate. The rate is inside the momentum: to lower it
    slows the steps down over 1 / (1 - momentum) updates.
    """
    return chain(
        add_decayed_weights(weight_decay, weight_decay_mask),
        masked(scale_by_trust_ratio(0.0, trust_coefficient, eps), trust_ratio_mask),
        scale_by_learning_rate(learning_rate),
        trace(momentum, nesterov),
    )
