"""Weight decay."""

from typing import NamedTuple

from optax_lite.compose import masked
from optax_lite.core import EmptyState, transform
from optax_lite.leaves import Array, Number, leafwise


class WeightDecaySchedule(NamedTuple):
    count: Array  # updates so far, int32


@transform(static=("mask",))
def add_decayed_weights(weight_decay: Number = 0.0, mask=None):
    """Replace g by g + weight_decay·w on the leaves that `mask` picks (all without one; see `masked` for its forms).

    Before an adaptive scaling it is an L2 penalty; after it, decoupled decay (Loshchilov & Hutter 2019).
    """
    decay = _add_decayed_weights(weight_decay)
    return decay if mask is None else masked(decay, mask)


@transform(scheduled=WeightDecaySchedule)
def _add_decayed_weights(weight_decay):
    def update(updates, state, params):
        return leafwise(lambda g, w: g + weight_decay * w, updates, read=(params,)), state

    return lambda params: EmptyState(), update
