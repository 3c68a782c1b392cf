"""NAdam: Adam with Nesterov momentum, with a constant b1 or with Dozat's schedule for it.

`nadam` is optax's; `nadam_dozat` is torch's and the paper's, and warms up the momentum. Both
multiply m by the momentum of the next step and g by one minus that of this step, which is
Nesterov's look-ahead without a second gradient.
"""

from optax_lite.core.transform import transform
from optax_lite.core.types import DTypeLike, Mask, ScalarOrSchedule
from optax_lite.optimizers.adam import adam, adamw


@transform(static=("mu_dtype",))
def nadam(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = True,
):
    """Update w by Adam with Nesterov momentum. Dozat 2016, with a constant b1.

        w ← w - lr·m̄ / (√(v̂ + eps_root) + eps),  m̄ = b1·m/(1 - b1ᵗ⁺¹) + (1 - b1)·g/(1 - b1ᵗ)

    The step uses the momentum of the next step. torch and Keras warm up b1 by Dozat's schedule,
    which gives other numbers: that is `nadam_dozat`. For m and v̂ see `scale_by_adam`.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        b1: Decay of the moving average of gradients, in [0, 1).
        b2: Decay of the moving average of squared gradients, in [0, 1).
        eps: Added to the denominator; at least 0.
        eps_root: Added under the square root of the denominator; at least 0. It keeps derivatives
            through training finite.
        mu_dtype: Dtype in which the average of gradients is stored; None for the parameters' own.
        nesterov: Use Nesterov momentum, which looks one step ahead. False makes it Adam.
    """
    return adam(learning_rate, b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov)


@transform(static=("mu_dtype", "mask"))
def nadamw(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: DTypeLike | None = None,
    weight_decay: ScalarOrSchedule = 1e-4,
    mask: Mask | None = None,
    *,
    nesterov: bool = True,
):
    """Update w by `nadam` with the decoupled decay of AdamW. Dozat 2016; Loshchilov & Hutter 2019.

        w ← w - lr·(m̄ / (√(v̂ + eps_root) + eps) + weight_decay·w)

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
        nesterov: Use Nesterov momentum, which looks one step ahead. False makes it AdamW.
    """
    return adamw(
        learning_rate, b1, b2, eps, eps_root, mu_dtype, weight_decay, mask, nesterov=nesterov
    )
