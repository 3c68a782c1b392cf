"""Freezing parameters: their updates set to zero, or kept away from the optimizer altogether."""

import jax

from optax_lite._transforms.scale import set_to_zero
from optax_lite.core.compose import check_members, masked, partition
from optax_lite.core.frozen import by_part, spread
from optax_lite.core.masks import as_mask
from optax_lite.core.transform import transform
from optax_lite.core.types import Mask, TransformationLike
from optax_lite.errors.composition import SCALED


def _frozen(tx, updates, params):
    return spread(as_mask(tx.arguments["mask"], updates), updates)


@transform(static=("mask",), freezes=_frozen, freezes_by_itself=True)
def freeze(mask: Mask):
    """Replace the updates by -0.0 where `mask` (in any form that `masked` takes) is True, and pass
    the others on.

    What stands after it in a chain may move these parameters again (weight decay, momentum) and
    keeps state for them; `selective_transform` has neither. Gradients of these leaves are 0 for the
    whole optimizer, wherever this stands in it: no norm counts them, and a NaN in them harms
    nobody.
    """
    return masked(set_to_zero(), mask)


def _frozen_or_inside(tx, updates, params):
    mask = as_mask(tx.arguments["freeze_mask"], updates)
    return by_part({False: next(tx.members()), True: set_to_zero()}, mask, updates, params)


@transform(
    static=("freeze_mask",),
    freezes=_frozen_or_inside,
    freezes_by_itself=True,
    is_a=("by path",),
    not_around=SCALED,
)
def selective_transform(optimizer: TransformationLike, *, freeze_mask: Mask):
    """Train with `optimizer` where `freeze_mask` is False; where it is True the parameters stay,
    and have no state.

        selective_transform(chain(clip_by_global_norm(1.0), adamw(1e-3)), freeze_mask="encoder")

    The optimizer never sees the frozen leaves: a norm inside it, as that of the clip here, is over
    the others. The mask is a tree of bools, a function that makes one of the params, or path
    patterns, as in `masked`.
    """
    check_members({"optimizer": optimizer})

    def labels(params):
        return jax.tree.map(
            lambda frozen: "freeze" if frozen else "train", as_mask(freeze_mask, params)
        )

    return partition({"train": optimizer, "freeze": set_to_zero()}, labels)
