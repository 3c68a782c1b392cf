"""Weight decay, and the tail of nearly every optimizer: decay and the learning rate."""

from typing import NamedTuple

from optax_lite._transforms.scale import scale_by_learning_rate
from optax_lite.core.compose import chain, masked
from optax_lite.core.leafwise import leafwise
from optax_lite.core.transform import Array, EmptyState, Number, transform
from optax_lite.core.types import Mask, ScalarOrSchedule
from optax_lite.core.validate import check_number


class WeightDecaySchedule(NamedTuple):
    count: Array  # updates so far, int32


def _grows(tx):
    weight_decay = tx.arguments["weight_decay"]
    known = isinstance(weight_decay, (int, float))
    return "would make the weights grow instead of decay" if known and weight_decay > 0 else None


@transform(static=("mask",), before_descent=_grows)
def add_decayed_weights(weight_decay: ScalarOrSchedule = 0.0, mask: Mask | None = None):
    """Add weight_decay·w to the update of every leaf that decays.

    Before an adaptive scaling it is an L2 penalty; after it, decoupled decay (Loshchilov & Hutter
    2019).

    Args:
        weight_decay: Factor of the parameters.
        mask: Leaves that decay: path patterns, a tree of bools or a function that makes one of the
            params (see `masked`); None for all.
    """
    decay = _add_decayed_weights(weight_decay)
    return decay if mask is None else masked(decay, mask)


@transform(scheduled=WeightDecaySchedule)
def _add_decayed_weights(weight_decay):
    def update(updates, state, params):
        return leafwise(lambda g, w: g + weight_decay * w, updates, read=(params,)), state

    return lambda params: EmptyState(), update


@transform(static=("mask",))
def independent_weight_decay(weight_decay: ScalarOrSchedule, mask: Mask | None = None):
    """Shrink the parameters by a share, whatever the learning rate is. Loshchilov & Hutter 2019,
    Algorithm 2.

        u ← u - weight_decay·w

    Put it after the learning rate. This is the independent decay of Wortsman et al. 2023,
    "Small-scale proxies". To let it fall with the rate, give both the same shape: `chain(adam(1e-3
    * shape), independent_weight_decay(1e-4 * shape))`, a schedule.

    Args:
        weight_decay: Share of w that is removed per step, which for `adamw` is lr·weight_decay.
        mask: Leaves that decay: path patterns, a tree of bools or a function that makes one of the
            params (see `masked`); None for all.
    """
    check_number(weight_decay=weight_decay)
    return add_decayed_weights(-weight_decay, mask)


def with_decay_and_rate(learning_rate: Number, *directions, decay: tuple | None = None):
    """Chain `directions`, decoupled decay if given as (weight_decay, mask), and the rate."""
    decays = () if decay is None else (add_decayed_weights(*decay),)
    return chain(*directions, *decays, scale_by_learning_rate(learning_rate))
