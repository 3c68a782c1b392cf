"""StableAdamW: AdamW that shortens the step of a leaf whose gradients outgrow their second moment.

It uses the clipping of Adafactor, which can replace clipping the gradient's norm.
"""

import jax.numpy as jnp

from optax_lite._transforms.decay import add_decayed_weights, with_decay_and_rate
from optax_lite.core.leafwise import leafwise
from optax_lite.core.norms import rms
from optax_lite.core.numerics import bias_correction_factor, over, sqrt
from optax_lite.core.transform import transform
from optax_lite.core.types import Mask, ScalarOrSchedule
from optax_lite.optimizers.adam import scale_by_adam


@transform
def _update_clipped(b1, b2, eps, decay):
    """Divide Adam's update, decayed by the transformation `decay`, by max(1, RMS)."""
    adam_init, adam_update = scale_by_adam.definition.builder(b1, b2, eps)

    def init(params):
        return adam_init(params), decay.init(params)

    def update(updates, state, params):
        new, adam_state = adam_update(updates, state[0])
        new, decay_state = decay.update(new, state[1], params)
        c2 = bias_correction_factor(b2, adam_state.count)

        def rule(u, v, g):
            return u / jnp.maximum(1, rms(over(g, jnp.maximum(sqrt(v / c2), eps))))

        return leafwise(rule, new, read=(adam_state.nu, updates)), (adam_state, decay_state)

    return init, update


@transform(static=("mask",))
def stable_adamw(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.99,
    eps: ScalarOrSchedule = 1e-6,
    weight_decay: ScalarOrSchedule = 0.01,
    mask: Mask | None = None,
):
    """Update w by AdamW with shorter steps where gradients outgrow v̂. Wortsman et al. 2023,
    Algorithm 2.

        RMS = √(mean of |g|² / max(v̂, eps²))
        w ← w - lr / max(1, RMS)·(m̂ / (√v̂ + eps) + weight_decay·w)

    The mean is over a leaf. RMS is near 1 while v̂ matches the size of the gradients, and rises
    when they suddenly grow; the rate of the leaf is then divided by it, for the decay too. m̂ and
    v̂ are those of Adam; the paper's averages with changing weights give the same numbers. optax
    has no counterpart.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        b1: Decay of the moving average of gradients, in [0, 1).
        b2: Decay of the moving average of squared gradients, in [0, 1).
        eps: Added to the denominator; at least 0.
        weight_decay: Decoupled weight decay; the learning rate multiplies it.
        mask: Leaves that decay: path patterns, a tree of bools or a function that makes one of the
            params (see `masked`); None for all.
    """
    return with_decay_and_rate(
        learning_rate, _update_clipped(b1, b2, eps, add_decayed_weights(weight_decay, mask))
    )
