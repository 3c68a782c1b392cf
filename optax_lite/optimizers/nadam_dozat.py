"""NAdam with the momentum schedule of its paper, as in torch and Keras."""

from typing import NamedTuple

from optax_lite._transforms.decay import with_decay_and_rate
from optax_lite.core.leafwise import increment, leafwise, scalar_like, zero_count, zeros_like
from optax_lite.core.numerics import (
    abs_sq,
    bias_correction_factor,
    moving_average,
    over,
    sqrt,
    weak_typed,
)
from optax_lite.core.transform import Array, PyTree, transform
from optax_lite.core.types import DTypeLike, ScalarOrSchedule
from optax_lite.core.validate import check_nonnegative


class ScaleByNadamState(NamedTuple):
    count: Array  # updates so far, int32
    mu_product: Array  # product of the momenta so far
    mu: PyTree  # moving average of g
    nu: PyTree  # moving average of |g|²


@transform(static=("mu_dtype",))
def scale_by_nadam(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    momentum_decay: ScalarOrSchedule = 4e-3,
    mu_dtype: DTypeLike | None = None,
):
    """Scale g as Adam does, with a Nesterov momentum μ that grows. Dozat 2016; as torch.

        μₜ = b1·(1 - 0.96^(momentum_decay·t) / 2)
        m = b1·m + (1 - b1)·g
        m̄ = μₜ₊₁·m / (1 - μ₁·…·μₜ₊₁) + (1 - μₜ)·g / (1 - μ₁·…·μₜ)
        v = b2·v + (1 - b2)·|g|²,  v̂ = v / (1 - b2ᵗ)
        g ← m̄ / (√v̂ + eps)

    The average m keeps the constant b1, as in torch. `mu_product` is the product of the μ so far.

    Args:
        b1: Decay of the moving average of gradients, in [0, 1). It is also the limit of μ.
        b2: Decay of the moving average of squared gradients, in [0, 1).
        eps: Added to the denominator; at least 0.
        momentum_decay: How fast μ grows from b1 / 2 to b1, at least 0. With 0.004 it is within a
            percent of b1 after 24,000 updates; with 1 after a hundred.
        mu_dtype: Dtype in which the average of gradients is stored; None for the parameters' own.
    """
    check_nonnegative(momentum_decay=momentum_decay)

    def momentum(t):
        return b1 * (1 - 0.5 * 0.96 ** (momentum_decay * weak_typed(t)))

    def init(params):
        mu, nu = zeros_like(params, mu_dtype), zeros_like(params, real=True)
        return ScaleByNadamState(zero_count(), scalar_like(params, 1, measured=False), mu, nu)

    def update(updates, state):
        t = increment(state.count)
        now, then, c2 = momentum(t), momentum(increment(t)), bias_correction_factor(b2, t)
        product = weak_typed(state.mu_product) * now

        def rule(g, m, v):
            m = moving_average(b1, m, g)
            v = moving_average(b2, v, abs_sq(g))
            m_bar = then * m / (1 - product * then) + (1 - now) * g / (1 - product)
            return over(m_bar, sqrt(v / c2) + eps), m, v

        updates, mu, nu = leafwise(rule, updates, state.mu, state.nu, squares=True)
        return updates, ScaleByNadamState(t, product, mu, nu)

    return init, update


@transform(static=("mu_dtype",))
def nadam_dozat(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    momentum_decay: ScalarOrSchedule = 4e-3,
    mu_dtype: DTypeLike | None = None,
):
    """Update w by NAdam with Dozat's schedule of the momentum. Dozat 2016.

        w ← w - lr·m̄ / (√v̂ + eps)

    Equals `torch.optim.NAdam`. For m̄ and v̂ see `scale_by_nadam`; optax has no counterpart. For
    decoupled decay, chain `scale_by_nadam`, `add_decayed_weights` and `scale_by_learning_rate`.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        b1: Decay of the moving average of gradients, in [0, 1). It is also the limit of μ.
        b2: Decay of the moving average of squared gradients, in [0, 1).
        eps: Added to the denominator; at least 0.
        momentum_decay: How fast μ grows from b1 / 2 to b1, at least 0. With 0.004 it is within a
            percent of b1 after 24,000 updates; with 1 after a hundred.
        mu_dtype: Dtype in which the average of gradients is stored; None for the parameters' own.
    """
    return with_decay_and_rate(learning_rate, scale_by_nadam(b1, b2, eps, momentum_decay, mu_dtype))
