"""AMSGrad: Adam whose second moment never falls, so that the rate of an entry never grows.

It is meant for gradients of which a few rare, large ones show the way: Adam forgets them, and can
then fail to converge even on a convex loss. The price is that an outlier is never forgotten either.

There are three conventions. optax takes the maximum of the bias-corrected second moment, which is
largest in the first steps: one large first gradient shortens all later steps. torch and Keras take
the maximum of the raw moment and then correct it. The paper corrects nothing.
"""

from typing import NamedTuple

import jax.numpy as jnp

from optax_lite._transforms.decay import with_decay_and_rate
from optax_lite.core.leafwise import increment, leafwise, zero_count, zeros_like
from optax_lite.core.numerics import abs_sq, bias_correction_factor, moving_average, over, sqrt
from optax_lite.core.transform import Array, PyTree, transform
from optax_lite.core.types import DTypeLike, ScalarOrSchedule
from optax_lite.core.validate import ArgumentError


class ScaleByAmsgradState(NamedTuple):
    count: Array  # updates so far, int32
    mu: PyTree  # moving average of g
    nu: PyTree  # moving average of |g|²
    nu_max: PyTree  # the largest of the second moments, corrected ones if max_of="corrected"


@transform(static=("mu_dtype",))
def scale_by_amsgrad(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: DTypeLike | None = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
    *,
    max_of: str = "corrected",
):
    """Divide the average gradient by the largest second moment so far. Reddi, Kale & Kumar 2018,
    Algorithm 2.

        m = b1·m + (1 - b1)·g,     m̂ = m / (1 - b1ᵗ)
        v = b2·v + (1 - b2)·|g|²,  v̂ = v / (1 - b2ᵗ)
        v_max = max(v_max, v̂)
        g ← m̂ / (√(v_max + eps_root) + eps)

    Without both corrections this is the paper's algorithm; without that of v, the two kinds of
    maximum are the same.

    Args:
        b1: Decay of the moving average of gradients, in [0, 1).
        b2: Decay of the moving average of squared gradients, in [0, 1).
        eps: Added to the denominator; at least 0.
        eps_root: Added under the square root of the denominator; at least 0. It is 0 in the paper,
            torch and optax, and keeps second derivatives finite where v_max is 0.
        mu_dtype: Dtype in which the average of gradients is stored; None for the parameters' own.
        bias_correction_mu: Divide m by 1 - b1ᵗ; False takes m for m̂.
        bias_correction_nu: Divide v by 1 - b2ᵗ; False takes v for v̂.
        max_of: "corrected" for the maximum of v̂, as in optax; "raw" for that of v, as in torch,
            divided by 1 - b2ᵗ only in the update.
    """
    if max_of not in ("corrected", "raw"):
        raise ArgumentError(f"max_of must be 'corrected' or 'raw', got {max_of!r}")

    def init(params):
        moments = (
            zeros_like(params, mu_dtype),
            zeros_like(params, real=True),
            zeros_like(params, real=True),
        )
        return ScaleByAmsgradState(zero_count(), *moments)

    def update(updates, state):
        t = increment(state.count)
        c1 = bias_correction_factor(b1, t) if bias_correction_mu else 1.0
        c2 = bias_correction_factor(b2, t) if bias_correction_nu else 1.0
        before, after = (c2, 1.0) if max_of == "corrected" else (1.0, c2)

        def rule(g, m, v, v_max):
            m = moving_average(b1, m, g)
            v = moving_average(b2, v, abs_sq(g))
            v_max = jnp.maximum(v_max, v / before)
            return over(m / c1, sqrt(v_max / after + eps_root) + eps), m, v, v_max

        updates, mu, nu, nu_max = leafwise(
            rule, updates, state.mu, state.nu, state.nu_max, squares=True
        )
        return updates, ScaleByAmsgradState(t, mu, nu, nu_max)

    return init, update


@transform(static=("mu_dtype",))
def amsgrad(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: DTypeLike | None = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
    *,
    max_of: str = "corrected",
):
    """Update w by Adam with a second moment that never falls. Reddi, Kale & Kumar 2018, Algorithm
    2.

        w ← w - lr·m̂ / (√(v_max + eps_root) + eps)

    For m̂ and v_max see `scale_by_amsgrad`. `max_of="raw"` is `torch.optim.Adam(amsgrad=True)`, and
    Keras's except for the position of eps. States with the two kinds of maximum are not
    interchangeable. The state has one buffer more than Adam's. For decoupled decay, chain
    `scale_by_amsgrad`, `add_decayed_weights` and `scale_by_learning_rate`.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        b1: Decay of the moving average of gradients, in [0, 1).
        b2: Decay of the moving average of squared gradients, in [0, 1).
        eps: Added to the denominator; at least 0.
        eps_root: Added under the square root of the denominator; at least 0. 0 in the paper, torch
            and optax; it keeps second derivatives finite where v_max is 0.
        mu_dtype: Dtype in which the average of gradients is stored; None for the parameters' own.
        bias_correction_mu: Divide m by 1 - b1ᵗ; False takes m for m̂.
        bias_correction_nu: Divide v by 1 - b2ᵗ; False takes v for v̂.
        max_of: "corrected" for the maximum of v̂, as in optax; "raw" for that of v, as in torch,
            divided by 1 - b2ᵗ only in the update.
    """
    return with_decay_and_rate(
        learning_rate,
        scale_by_amsgrad(
            b1, b2, eps, eps_root, mu_dtype, bias_correction_mu, bias_correction_nu, max_of=max_of
        ),
    )
