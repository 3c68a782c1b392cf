"""Adam, and AdamW with decoupled weight decay."""

from typing import NamedTuple

from optax_lite._transforms.decay import add_decayed_weights
from optax_lite._transforms.scale import scale_by_learning_rate
from optax_lite.core.compose import chain
from optax_lite.core.leafwise import increment, leafwise, zero_count, zeros_like
from optax_lite.core.numerics import abs_sq, bias_correction_factor, moving_average, over, sqrt
from optax_lite.core.transform import Array, Number, PyTree, transform
from optax_lite.core.types import DTypeLike, Mask, ScalarOrSchedule


class ScaleByAdamState(NamedTuple):
    count: Array  # updates so far, int32
    mu: PyTree  # moving average of g
    nu: PyTree  # moving average of |g|²


def first_moment_estimate(b1: Number, t: Array, nesterov: bool):
    """Return m̂ as a function of m and g, with Nesterov one step ahead (Dozat 2016). Call it before
    `leafwise`.
    """
    c, c_next = bias_correction_factor(b1, t), bias_correction_factor(b1, increment(t))
    return lambda m, g: b1 * m / c_next + (1 - b1) * g / c if nesterov else m / c


@transform(static=("mu_dtype",))
def scale_by_adam(
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = False,
):
    """Divide the average gradient by its typical size, entry by entry. Kingma & Ba 2015, Algorithm
    1.

        m = b1·m + (1 - b1)·g     m̂ = m / (1 - b1ᵗ)
        v = b2·v + (1 - b2)·|g|²  v̂ = v / (1 - b2ᵗ)
        g ← m̂ / (√(v̂ + eps_root) + eps)

    With `nesterov`, m̂ = b1·m / (1 - b1ᵗ⁺¹) + (1 - b1)·g / (1 - b1ᵗ) (Dozat 2016, constant b1). v
    is real, even for complex g.

    Args:
        b1: Decay of the moving average of gradients, in [0, 1).
        b2: Decay of the moving average of squared gradients, in [0, 1).
        eps: Added to the denominator; at least 0.
        eps_root: Added under the square root of the denominator; at least 0. It keeps derivatives
            through training finite.
        mu_dtype: Dtype in which the average of gradients is stored; None for the parameters' own.
        nesterov: Use Nesterov momentum, which looks one step ahead.
    """

    def init(params):
        return ScaleByAdamState(
            zero_count(), zeros_like(params, mu_dtype), zeros_like(params, real=True)
        )

    def update(updates, state):
        t = increment(state.count)
        # Not in the rule, where XLA fuses log and expm1 into the loop over entries (decision 17).
        m_hat, c2 = first_moment_estimate(b1, t, nesterov), bias_correction_factor(b2, t)

        def rule(g, m, v):
            m = moving_average(b1, m, g)
            v = moving_average(b2, v, abs_sq(g))
            return over(m_hat(m, g), sqrt(v / c2 + eps_root) + eps), m, v

        updates, mu, nu = leafwise(rule, updates, state.mu, state.nu, squares=True)
        return updates, ScaleByAdamState(t, mu, nu)

    return init, update


@transform(static=("mu_dtype",))
def adam(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = False,
):
    """Update w by Adam. Kingma & Ba 2015, Algorithm 1.

        w ← w - lr·m̂ / (√(v̂ + eps_root) + eps)

    Every entry moves by about the learning rate per step, however large its gradients are: 1e-3 is
    a common start, 3e-4 and below for transformers. `eps` limits steps where gradients are tiny:
    entries whose gradients are well below it hardly move. `scale_by_adam` defines m̂ and v̂.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        b1: Decay of the moving average of gradients, in [0, 1).
        b2: Decay of the moving average of squared gradients, in [0, 1).
        eps: Added to the denominator; at least 0.
        eps_root: Added under the square root of the denominator; at least 0. It keeps derivatives
            through training finite.
        mu_dtype: Dtype in which the average of gradients is stored; None for the parameters' own.
        nesterov: Use Nesterov momentum, which looks one step ahead.

    Examples:
        >>> tx = adam(1e-3)
        >>> state = tx.init(params)
        >>> params, state = tx.step(grads, state, params)
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        scale_by_learning_rate(learning_rate),
    )


@transform(static=("mu_dtype", "mask"))
def adamw(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: DTypeLike | None = None,
    weight_decay: ScalarOrSchedule = 1e-4,
    mask: Mask | None = None,
    *,
    nesterov: bool = False,
):
    """Update w by Adam with decoupled weight decay. Loshchilov & Hutter 2019, Algorithm 2.

        w ← w - lr·(m̂ / (√(v̂ + eps_root) + eps) + weight_decay·w)

    The decay does not enter the moments. The learning rate multiplies it, as in optax and torch
    (whose default is 1e-2); for a decay that it does not multiply, use `independent_weight_decay`.
    `scale_by_adam` defines m̂ and v̂.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        b1: Decay of the moving average of gradients, in [0, 1).
        b2: Decay of the moving average of squared gradients, in [0, 1).
        eps: Added to the denominator; at least 0.
        eps_root: Added under the square root of the denominator; at least 0. It keeps derivatives
            through training finite.
        mu_dtype: Dtype in which the average of gradients is stored; None for the parameters' own.
        weight_decay: Decoupled weight decay; the learning rate multiplies it.
        mask: Leaves that decay: path patterns, a tree of bools or a function that makes one of the
            params (see `masked`); None for all.
        nesterov: Use Nesterov momentum, which looks one step ahead.

    Examples:
        >>> tx = adamw(1e-3, weight_decay=0.1, mask=["!bias", "!norm*"])
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
