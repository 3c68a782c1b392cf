"""ADOPT: Adam that first divides the gradient by the previous second moment, and then averages it.

The gradient and its divisor are then independent, so that the method converges with any b2.
"""

from collections.abc import Callable

import jax.numpy as jnp

from optax_lite._transforms.decay import with_decay_and_rate
from optax_lite.core.leafwise import increment, leafwise, zero_count, zeros_like
from optax_lite.core.numerics import abs_sq, moving_average, sqrt, weak_typed
from optax_lite.core.transform import transform
from optax_lite.core.types import Array, DTypeLike, ScalarOrSchedule
from optax_lite.optimizers.adam import ScaleByAdamState


def fourth_root(step):
    """Return step^¼, the bound of Taniguchi et al. 2024."""
    return step**0.25


@transform(static=("mu_dtype", "clip_value_fn"))
def scale_by_adopt(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.9999,
    eps: ScalarOrSchedule = 1e-6,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = False,
    use_clipping: bool = True,
    clip_value_fn: Callable[[Array], Array] = fourth_root,
):
    """Divide gradients by the previous second moment, and average the result. Taniguchi et al.
    2024.

        d = clip(g / max(√v, eps), ±c)
        m = b1·m + (1 - b1)·d
        v = b2·v + (1 - b2)·|g|²
        g ← m

    The first gradient only sets v = |g|²; its update is 0. There is no bias correction. A complex
    entry keeps its phase. The state is Adam's.

    Args:
        b1: Decay of the moving average of normalized gradients, in [0, 1).
        b2: Decay of the moving average of squared gradients, in [0, 1).
        eps: Lower bound of √v as a divisor; at least 0.
        mu_dtype: Dtype in which m is stored; None for the parameters' own.
        nesterov: Step along b1·m + (1 - b1)·d, with the new m, instead of along m.
        use_clipping: Clip normalized gradients to ±c; False leaves the clipping out.
        clip_value_fn: Function of the number of updates so far, a float, that returns c; t^¼ by
            default.
    """

    def init(params):
        return ScaleByAdamState(
            zero_count(), zeros_like(params, mu_dtype), zeros_like(params, real=True)
        )

    def update(updates, state):
        first = state.count == 0
        c = weak_typed(clip_value_fn(weak_typed(state.count)))

        def rule(g, m, v):
            # with eps=0: 0/0 is 0, and g/0 is clipped
            d = g / jnp.where(g == 0, 1, jnp.maximum(sqrt(v), eps))
            d = jnp.sign(d) * jnp.minimum(jnp.abs(d), c) if use_clipping else d
            d = jnp.where(first, 0, d)  # m is 0 then and stays so
            m = moving_average(b1, m, d)
            v = jnp.where(first, abs_sq(g), moving_average(b2, v, abs_sq(g)))
            return moving_average(b1, m, d) if nesterov else m, m, v

        updates, mu, nu = leafwise(rule, updates, state.mu, state.nu, squares=True)
        return updates, ScaleByAdamState(increment(state.count), mu, nu)

    return init, update


@transform(static=("mu_dtype", "clip_value_fn"))
def adopt(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.9999,
    eps: ScalarOrSchedule = 1e-6,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = False,
    use_clipping: bool = True,
    clip_value_fn: Callable[[Array], Array] = fourth_root,
):
    """Update w by Adam with its two averages in the other order, which converges with any b2.
    Taniguchi et al. 2024.

        w ← w - lr·m, m as in `scale_by_adopt`

    The default b2 is closer to 1 than Adam's, and eps is larger, because it bounds √v from below
    instead of being added to it. For decoupled decay, chain `scale_by_adopt`, `add_decayed_weights`
    and `scale_by_learning_rate`.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        b1: Decay of the moving average of normalized gradients, in [0, 1).
        b2: Decay of the moving average of squared gradients, in [0, 1).
        eps: Lower bound of √v as a divisor; at least 0.
        mu_dtype: Dtype in which m is stored; None for the parameters' own.
        nesterov: Step along b1·m + (1 - b1)·d, with the new m, instead of along m.
        use_clipping: Clip normalized gradients to ±c; False leaves the clipping out.
        clip_value_fn: Function of the number of updates so far, a float, that returns c; t^¼ by
            default.
    """
    return with_decay_and_rate(
        learning_rate,
        scale_by_adopt(
            b1,
            b2,
            eps,
            mu_dtype,
            nesterov=nesterov,
            use_clipping=use_clipping,
            clip_value_fn=clip_value_fn,
        ),
    )
