"""SM3: Adagrad with one accumulator per row, per column and so on, instead of one per entry."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optax_lite._transforms.decay import with_decay_and_rate
from optax_lite.core.leafwise import leafwise, zeros_like
from optax_lite.core.numerics import abs_sq, moving_average, sqrt
from optax_lite.core.transform import PyTree, transform
from optax_lite.core.types import ScalarOrSchedule
from optax_lite.core.validate import check_below_one, check_closed_unit_interval


class ScaleBySM3State(NamedTuple):
    # by leaf a list, by axis: the largest accumulated |g|² of each slice; of a scalar its own
    mu: PyTree
    nu: PyTree  # moving average of the scaled g


def _largest(v):
    """By axis, the largest entry of each slice; of a scalar itself."""
    axes = range(v.ndim)
    return [jnp.max(v, axis=tuple(a for a in axes if a != axis), initial=0) for axis in axes] or [
        v[None]
    ]


def _smallest(mu, shape):
    """At each entry the smallest of the accumulators of its slices."""
    slices = [
        m.reshape([-1 if a == axis else 1 for a in range(len(shape))]) for axis, m in enumerate(mu)
    ]
    least = slices[0]
    for m in slices[1:]:
        least = jnp.minimum(least, m)
    return least


# A shared b2 must be below 1; this one may be 1 (decision 25).
@transform(own_range=("b2",))
def scale_by_sm3(
    b1: ScalarOrSchedule = 0.9, b2: ScalarOrSchedule = 1.0, eps: ScalarOrSchedule = 1e-8
):
    """Divide g by second moments kept by row and by column. Anil et al. 2019, SM3-II.

        v = min over axes of μ + |g|²
        g ← moving average of g / √(v + eps), 0 where v is 0

    For every axis, μ has the largest v of each slice: of each row and each column of a matrix. A
    vector keeps one per entry (that is Adagrad), and a scalar has its own. With b2 < 1 squares are
    averaged, v = b2·min μ + (1 - b2)·|g|².

    Args:
        b1: Decay of the moving average of updates, in [0, 1).
        b2: Decay of the squares, in [0, 1]; 1 sums them.
        eps: Added to v under the root; at least 0.
    """
    check_closed_unit_interval(b2=b2)
    check_below_one(b2=b2)  # 1 is a sum, and no average at all

    def init(params):
        def slices(p):
            return jax.tree.map(_largest, zeros_like(p, real=True))

        return ScaleBySM3State(jax.tree.map(slices, params), zeros_like(params))

    def rule(g, m, mu):
        v = b2 * _smallest(mu, g.shape) + jnp.where(b2 == 1, 1.0, 1 - b2) * abs_sq(g)
        unseen = v == 0  # a NaN is none, so that it is seen
        m = moving_average(b1, m, jnp.where(unseen, 0, g / sqrt(jnp.where(unseen, 1, v + eps))))
        return m, m, _largest(v)

    def update(updates, state):
        updates, nu, mu = leafwise(rule, updates, state.nu, state.mu, squares=True)
        return updates, ScaleBySM3State(mu, nu)

    return init, update


@transform
def sm3(learning_rate: ScalarOrSchedule, momentum: ScalarOrSchedule = 0.9):
    """Update w by Adagrad with accumulators by row and by column. Anil et al. 2019.

        w ← w - lr·m, m the moving average of g / √(v + 1e-8)

    For v see `scale_by_sm3`. The accumulators of an n by m matrix take n + m entries; the moving
    average takes n·m. The authors warm up the rate with the square of the step, and then keep it
    constant.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        momentum: Decay of the momentum, in [0, 1). It averages the updates.
    """
    return with_decay_and_rate(learning_rate, scale_by_sm3(momentum))
