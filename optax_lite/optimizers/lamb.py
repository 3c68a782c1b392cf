"""LAMB: Adam with the size of every leaf's step in proportion to the leaf."""

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
    """w ← w - lr·(‖w‖ / ‖u‖)·u with u = m̂ / (√v̂ + eps) + weight_decay·w, by leaf. You et al.
    2020, Algorithm 2.

    The paper's φ is the identity here; where ‖w‖ or ‖u‖ is 0 the step is lr·u. `b1`, `b2`, `eps`
    and `eps_root` are those of `scale_by_adam`. `mask` picks the leaves that decay; the others are
    scaled by the ratio too: to leave biases and norms out of both, give them `adam` in a
    `partition`.
    """
    return with_decay_and_rate(
        learning_rate,
        scale_by_adam(b1, b2, eps, eps_root),
        add_decayed_weights(weight_decay, mask),
        scale_by_trust_ratio(),
    )
