"""Fromage: every leaf moves by a given share of its norm."""

from optax_lite._transforms.decay import WeightDecaySchedule
from optax_lite._transforms.scale import scale_by_learning_rate
from optax_lite._transforms.trust_ratio import scale_by_trust_ratio
from optax_lite.core.compose import chain
from optax_lite.core.leafwise import leafwise
from optax_lite.core.numerics import sqrt
from optax_lite.core.transform import EmptyState, transform
from optax_lite.core.types import ScalarOrSchedule


@transform(scheduled=WeightDecaySchedule, is_a=("behind the rate",))
def _shrink(learning_rate):
    """Make w + u into (w + u) / √(1 + lr²), which keeps the norm of w where u is at a right angle
    to it.
    """

    def update(updates, state, params):
        root = sqrt(1 + learning_rate**2)
        less = learning_rate**2 / (root * (root + 1))  # 1 - 1/root without cancellation
        return leafwise(lambda u, w: u / root - less * w, updates, read=(params,)), state

    return lambda params: EmptyState(), update


@transform
def fromage(learning_rate: ScalarOrSchedule, min_norm: ScalarOrSchedule = 1e-6):
    """Update every leaf by a given share of its norm. Bernstein et al. 2020, Algorithm 1.

        w ← (w - lr·(‖w‖ / ‖g‖)·g) / √(1 + lr²), by leaf

    Without a gradient the leaves still shrink.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        min_norm: Lower bound of both norms, at least 0; it lets a leaf of zeros move.
    """
    return chain(
        scale_by_trust_ratio(min_norm),
        scale_by_learning_rate(learning_rate),
        _shrink(learning_rate),
    )
