"""LAMB: Adam with the size of every leaf's step in proportion to the norm of the leaf."""

from optax_lite._transforms.decay import add_decayed_weights, with_decay_and_rate
from optax_lite._transforms.trust_ratio import scale_by_trust_ratio
from optax_lite.core.transform import transform
from optax_lite.core.types import Mask, ScalarOrSchedule
from optax_lite.optimizers.adam import scale_by_adam


@transform(static=("mask",))
def lamb(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-6,
    eps_root: ScalarOrSchedule = 0.0,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: Mask | None = None,
):
    """Update every leaf along Adam's direction, in proportion to the leaf's norm. You et al. 2020,
    Algorithm 2.

        w ← w - lr·(‖w‖ / ‖u‖)·u with u = m̂ / (√v̂ + eps) + weight_decay·w, by leaf

    The paper's φ is the identity here; where ‖w‖ or ‖u‖ is 0 the step is lr·u. Leaves that `mask`
    excludes from the decay are still scaled by the ratio; to exclude biases and norms from both,
    give them `adam` in a `partition`. For m̂ and v̂ see `scale_by_adam`.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        b1: Decay of the moving average of gradients, in [0, 1).
        b2: Decay of the moving average of squared gradients, in [0, 1).
        eps: Added to the denominator; at least 0.
        eps_root: Added under the square root of the denominator; at least 0. It keeps derivatives
            through training finite.
        weight_decay: Decoupled weight decay; the learning rate multiplies it.
        mask: Leaves that decay: path patterns, a tree of bools or a function that makes one of the
            params (see `masked`); None for all.
    """
    return with_decay_and_rate(
        learning_rate,
        scale_by_adam(b1, b2, eps, eps_root),
        add_decayed_weights(weight_decay, mask),
        scale_by_trust_ratio(),
    )
