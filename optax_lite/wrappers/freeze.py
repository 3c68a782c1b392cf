"""Freeze parameters: set their updates to zero, or keep them away from the optimizer altogether."""

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
    """Replace the updates of the leaves that `mask` picks by -0.0, and pass the others on.

    Later members of a chain (weight decay, momentum) may still move these parameters, and keep
    state for them; `selective_transform` avoids both. The whole optimizer sees gradients of 0 for
    these leaves, wherever `freeze` is in it: no norm counts them, and a NaN in them does no harm.

    Args:
        mask: Leaves to freeze: path patterns, a tree of bools or a function that makes one of the
            params (see `masked`).

    Examples:
        >>> tx = chain(adamw(1e-3), freeze("encoder"))
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
    """Train with `optimizer` where `freeze_mask` is False; keep the other parameters still, without
    state.

        selective_transform(chain(clip_by_global_norm(1.0), adamw(1e-3)), freeze_mask="encoder")

    The optimizer never sees the frozen leaves: a norm inside it, such as that of the clip here, is
    over the others.

    Args:
        optimizer: The transformation for the leaves that are trained.
        freeze_mask: Leaves to freeze: path patterns, a tree of bools or a function that makes one
            of the params (see `masked`).
    """
    check_members({"optimizer": optimizer})

    def labels(params):
        return jax.tree.map(
            lambda frozen: "freeze" if frozen else "train", as_mask(freeze_mask, params)
        )

    return partition({"train": optimizer, "freeze": set_to_zero()}, labels)
