"""NovoGrad: momentum of gradients that are divided by the norm of their layer.

It keeps one second moment per leaf instead of one per entry, which is about half of Adam's state.
Since b2 is small, the norm is nearly that of the last gradients, so that one of another size does
little harm, and no warm-up is needed.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optax_lite._transforms.decay import with_decay_and_rate
from optax_lite.core.leafwise import increment, leafwise, varying_like, zero_count, zeros_like
from optax_lite.core.numerics import abs_sq, moving_average, over, sqrt
from optax_lite.core.transform import Array, PyTree, transform
from optax_lite.core.types import DTypeLike, ScalarOrSchedule


class ScaleByNovogradState(NamedTuple):
    count: Array  # updates so far, int32
    mu: PyTree  # decaying sum of normalized gradients and decay
    nu: PyTree  # moving average of ‖g‖², one number for a leaf


@transform(static=("mu_dtype",))
def scale_by_novograd(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.25,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    weight_decay: ScalarOrSchedule = 0.0,
    mu_dtype: DTypeLike | None = None,
):
    """Replace g by momentum of gradients divided by their leaf's norm. Ginsburg et al. 2019,
    Algorithm 1.

        v = b2·v + (1 - b2)·‖g‖², at the first step ‖g‖²
        m = b1·m + g / (√(v + eps_root) + eps) + weight_decay·w
        g ← m

    ‖g‖ is the norm of a whole leaf, and the state's `nu` has one number per leaf. There is no bias
    correction, and m is a sum: if gradients agree, the norm of an update reaches 1 / (1 - b1).

    Args:
        b1: Decay of the sum of normalized gradients, in [0, 1).
        b2: Decay of the moving average of a leaf's squared norm, in [0, 1).
        eps: Added to the denominator; at least 0.
        eps_root: Added under the square root of the denominator; at least 0.
        weight_decay: Decay that goes through the momentum; it is not AdamW's.
        mu_dtype: Dtype in which the momentum is stored; None for the parameters' own.
    """

    def init(params):
        nu = jax.tree.map(
            lambda z: varying_like(jnp.zeros((), z.dtype), z), zeros_like(params, real=True)
        )
        return ScaleByNovogradState(zero_count(), zeros_like(params, mu_dtype), nu)

    def update(updates, state, params):
        first = state.count == 0

        def rule(g, m, v, w):
            g_sq = jnp.sum(abs_sq(g))
            v = jnp.where(first, g_sq, moving_average(b2, v, g_sq))
            m = b1 * m + (over(g, sqrt(v + eps_root) + eps) + weight_decay * w)
            return m, m, v

        updates, mu, nu = leafwise(
            rule, updates, state.mu, state.nu, read=(params,), same_shape=False, squares=True
        )
        return updates, ScaleByNovogradState(increment(state.count), mu, nu)

    return init, update


@transform
def novograd(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.25,
    eps: ScalarOrSchedule = 1e-6,
    eps_root: ScalarOrSchedule = 0.0,
    weight_decay: ScalarOrSchedule = 0.0,
):
    """Update w by momentum of gradients divided by their leaf's norm. Ginsburg et al. 2019,
    Algorithm 1.

        w ← w - lr·m, m as in `scale_by_novograd`

    The update of a leaf has about the length lr / (1 - b1) whatever its size and its gradient, so
    rates are those of SGD with momentum, not of Adam. The default eps differs from that of
    `scale_by_novograd`; both are optax's. Every update needs the parameters, even with weight_decay
    0.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        b1: Decay of the sum of normalized gradients, in [0, 1).
        b2: Decay of the moving average of a leaf's squared norm, in [0, 1).
        eps: Added to the denominator; at least 0.
        eps_root: Added under the square root of the denominator; at least 0.
        weight_decay: Decay that goes through the momentum; it is not AdamW's.
    """
    return with_decay_and_rate(
        learning_rate, scale_by_novograd(b1, b2, eps, eps_root, weight_decay)
    )
