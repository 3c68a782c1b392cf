"""Losses of lists: which of the items come first."""

import inspect
from collections.abc import Callable

import jax.numpy as jnp

from optax_lite.core.trees import show_leaf
from optax_lite.core.types import Array
from optax_lite.core.validate import ArgumentError
from optax_lite.losses._inputs import ArrayLike, Mask, check_fit, included, loss, times
from optax_lite.losses.classes import softmax_cross_entropy


@loss("logits", "labels", "weights")
def ranking_softmax_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    where: Mask = None,
    weights: ArrayLike | None = None,
    reduce_fn: Callable[..., ArrayLike] | None = jnp.mean,
) -> Array:
    """Return the mean over lists of -Σ w·y·log softmax(s), for scores s and relevances y of items.

    This is ListNet with top-one probabilities, Cao et al. 2007, with the relevances themselves as
    targets, as in Rax (Jagerman et al. 2022): a list with more relevant items counts more. A list
    of which `where` leaves nothing is left out of the mean.

    Args:
        logits: Scores of the items, (..., items).
        labels: Relevance of each item, not negative; of the logits' size along the items, elsewhere
            of theirs or 1.
        where: True for the items that count, in sizes of the logits or 1; None for all.
        weights: Factors of the labels, in sizes of the logits or 1; None for 1.
        reduce_fn: Function that reduces the losses, called as `jnp.mean` with `where` for the lists
            that count; None to return them, 0 for lists that do not count.
    """
    check_fit(-1, logits=logits, labels=labels)
    check_fit((), logits=logits, where=where, weights=weights)
    _check_reduces(reduce_fn)
    if weights is not None:
        labels = times(labels, included(weights, where))
    losses = softmax_cross_entropy(logits, labels, where=where)
    if reduce_fn is None:
        return losses
    lists = None if where is None else jnp.broadcast_to(jnp.any(where, -1), losses.shape)
    reduced = _mean if reduce_fn is jnp.mean else reduce_fn
    return jnp.asarray(reduced(losses, where=lists))


def _mean(losses, where=None):
    """Return `jnp.mean`, or 0 where no list counts."""
    count = losses.size if where is None else jnp.sum(where, dtype=losses.dtype)
    return jnp.sum(losses, where=where) / jnp.maximum(count, 1)


def _check_reduces(reduce_fn):
    """Raise unless reduce_fn is None or can be called as `jnp.mean(losses, where=...)`."""
    if reduce_fn is None:
        return
    if not callable(reduce_fn):
        raise ArgumentError(
            f"reduce_fn must be a function or None, got {show_leaf(reduce_fn)}; write jnp.mean"
        )
    try:
        parameters = inspect.signature(reduce_fn).parameters.values()
    except ValueError:  # a function of C has none
        return
    if not any(p.name == "where" or p.kind is p.VAR_KEYWORD for p in parameters):
        raise ArgumentError(
            f"reduce_fn must take `where` as jnp.mean does, got {show_leaf(reduce_fn)}; or write "
            "reduce_fn=None and reduce the returned losses yourself"
        )
