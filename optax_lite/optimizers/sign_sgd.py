"""Descent along the sign of the gradient, or of its moving average."""

from optax_lite._transforms.decay import with_decay_and_rate
from optax_lite._transforms.momentum import ema
from optax_lite._transforms.scale import scale_by_sign
from optax_lite.core.transform import transform
from optax_lite.core.types import DTypeLike, ScalarOrSchedule
from optax_lite.core.validate import check_unit_interval


@transform
def sign_sgd(learning_rate: ScalarOrSchedule):
    """Update w by the sign of the gradient. Bernstein et al. 2018, Algorithm 1.

        w ← w - lr·sign(g)

    Every entry moves by exactly the learning rate, or not at all where g is 0.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
    """
    return with_decay_and_rate(learning_rate, scale_by_sign())


@transform(static=("accumulator_dtype",))
def signum(
    learning_rate: ScalarOrSchedule,
    beta: ScalarOrSchedule = 0.9,
    accumulator_dtype: DTypeLike | None = None,
):
    """Update w by the sign of the average gradient. Bernstein et al. 2018, Algorithm 2.

        w ← w - lr·sign(m),  m = beta·m + (1 - beta)·g

    Only the sign of m counts, so its bias is not corrected.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        beta: Decay of the moving average of gradients, in [0, 1).
        accumulator_dtype: Dtype in which the momentum is stored; None for the parameters' own.
    """
    check_unit_interval(beta=beta)
    return with_decay_and_rate(
        learning_rate, ema(beta, debias=False, accumulator_dtype=accumulator_dtype), scale_by_sign()
    )
