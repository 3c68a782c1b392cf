"""Losses of class scores: the cross entropies of a softmax, label smoothing, and margins between
classes.
"""

import jax
import jax.numpy as jnp

from optax_lite.core.leafwise import promote_types
from optax_lite.core.types import Array, Number
from optax_lite.core.validate import ArgumentError, check_closed_unit_interval
from optax_lite.losses._inputs import (
    ArrayLike,
    Axis,
    Mask,
    as_array,
    at_least_zero,
    axes,
    check_fit,
    check_labels,
    included,
    loss,
    times,
)


def _log_softmax(logits, axis, where):
    """Return log softmax over the classes that the mask includes.

    The others have -inf; where it includes none the distribution is uniform.
    """
    if where is not None:
        some = jnp.any(where, axis, keepdims=True)
        logits = jnp.where(where, logits, jnp.where(some, -jnp.inf, jnp.zeros_like(logits)))
    return jax.nn.log_softmax(logits, axis)


def _class_mask(where, logits, axis):
    """Give the mask the class axes, if it was given for whole examples."""
    if where is not None and where.ndim == logits.ndim - len(axes(axis, logits.ndim)):
        where = jnp.expand_dims(where, axes(axis, logits.ndim))
    check_fit((), logits=logits, where=where)
    return where


def _parts(logits, labels, axis, where):
    """Return log softmax and labels, the labels 0 where the mask leaves classes out."""
    if labels.ndim < logits.ndim:
        raise ArgumentError(
            f"logits have shape {logits.shape}, labels {labels.shape}; for class numbers use "
            "softmax_cross_entropy_with_integer_labels"
        )
    check_fit(axis, logits=logits, labels=labels)
    where = _class_mask(where, logits, axis)
    return _log_softmax(logits, axis, where), included(labels, where)


@loss("logits", "labels")
def softmax_cross_entropy(
    logits: ArrayLike, labels: ArrayLike, axis: Axis = -1, where: Mask = None
) -> Array:
    """Return the cross entropy of the softmax, for labels that are a distribution (one-hot or
    soft).

        -Σ y·log softmax(x) over the classes along `axis`

    A logit of -inf is a class of probability 0, which costs nothing if its label is 0. An example
    for which `where` excludes every class has loss 0.

    Args:
        logits: Unnormalized log probabilities, with the classes along `axis`.
        labels: Distribution y over the classes along `axis`; elsewhere a size of 1 is repeated.
        axis: Axis of the classes, or several that are taken together.
        where: True for the classes that count, entry by entry or for whole examples; None for all.
            Others are left out of softmax and sum.
    """
    log_p, labels = _parts(logits, labels, axis, where)
    return jnp.sum(times(labels, -log_p), axis)


def safe_softmax_cross_entropy(logits: ArrayLike, labels: ArrayLike) -> Array:
    """Return `softmax_cross_entropy`, which already takes 0·log 0 as 0; the name is optax's.

    Args:
        logits: Unnormalized log probabilities, (..., classes).
        labels: Distribution over the classes along the last axis; elsewhere a size of 1 is
            repeated.
    """
    return softmax_cross_entropy(logits, labels)


@loss("logits")
def softmax_cross_entropy_with_integer_labels(
    logits: ArrayLike, labels: ArrayLike, axis: int | tuple[int, ...] = -1, where: Mask = None
) -> Array:
    """Return -log softmax(x)[y] for the number y of the right class, without making one-hot labels.

    A label outside [0, classes) makes the loss NaN, also if it is negative; one that `where`
    excludes makes it infinite. To ignore examples, write `where=labels >= 0`, which gives them loss
    0.

    Args:
        logits: Unnormalized log probabilities, with the classes along `axis`.
        labels: Numbers of the right classes, integers, of the shape without the classes. With
            several axes they are flat indices, row by row.
        axis: Axis of the classes, or several that are taken together.
        where: True for the classes that count, entry by entry or for whole examples; None for all.
    """
    where = _class_mask(where, logits, axis)
    cross_entropy = -score_of_label(_log_softmax(logits, axis, where), labels, axis)
    return cross_entropy if where is None else included(cross_entropy, jnp.any(where, axis))


def score_of_label(scores: Array, labels: ArrayLike, axis: int | tuple[int, ...]) -> Array:
    """Return the score of the right class of every example, NaN where the label is no class."""
    labels, last = as_array("labels", labels), tuple(range(-len(axes(axis, scores.ndim)), 0))
    flat = jnp.moveaxis(scores, axis, last if isinstance(axis, tuple) else -1)
    shape = flat.shape[: last[0]]
    check_labels(labels)
    if labels.shape != shape:
        expected = f"{shape}, the shape of the scores {scores.shape} without axis {axis}"
        raise ArgumentError(f"labels must have the shape {expected}, got {labels.shape}")
    return jnp.squeeze(take(flat.reshape(*shape, -1), labels[..., None]), -1)


def take(x: Array, index: Array) -> Array:
    """Index the last axis as `take_along_axis` does, with NaN where the index is negative or too
    large.
    """
    index = index.astype(promote_types(index.dtype, jnp.int32))
    index = jnp.where(index < 0, x.shape[-1], index)
    return jnp.take_along_axis(x, index, -1, mode="fill", fill_value=jnp.nan)


@loss("logits", "labels")
def poly_loss_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    epsilon: Number = 2.0,
    axis: Axis = -1,
    where: Mask = None,
) -> Array:
    """Return the cross entropy + epsilon·Σ y·(1 - softmax(x)). Leng et al. 2022, Poly-1.

    Args:
        logits: Unnormalized log probabilities, with the classes along `axis`.
        labels: Distribution y over the classes along `axis`; elsewhere a size of 1 is repeated.
        epsilon: Weight of the added term; in the paper 2 for image classification and -1 for
            detection.
        axis: Axis of the classes, or several that are taken together.
        where: True for the classes that count, entry by entry or for whole examples; None for all.
            Others are left out of softmax and sum.
    """
    log_p, labels = _parts(logits, labels, axis, where)
    terms = -log_p - epsilon * jnp.expm1(log_p)
    # -log p ≥ 1 - p; a smaller epsilon has negative terms
    terms = jnp.where(epsilon >= -1, at_least_zero(terms), terms)
    return jnp.sum(times(labels, terms), axis)


@loss("labels")
def smooth_labels(
    labels: ArrayLike, alpha: Number, *, axis: Axis = -1, where: Mask = None
) -> Array:
    """Mix labels with the uniform distribution. Szegedy et al. 2016, section 7.

        (1 - alpha)·y + alpha / classes

    Args:
        labels: Distribution y over the classes along `axis`, floating, as of `jax.nn.one_hot`.
        alpha: Share of the uniform distribution, in [0, 1].
        axis: Axis of the classes, or several that are taken together.
        where: True for the classes that count, entry by entry or for whole examples; None for all.
            Only these are counted and smoothed.
    """
    check_fit((), labels=labels, where=where)
    check_closed_unit_interval(alpha=alpha)
    mask = True if where is None else where
    classes = jnp.sum(jnp.broadcast_to(mask, labels.shape), axis, labels.dtype, keepdims=True)
    return jnp.where(mask, (1 - alpha) * labels + alpha / jnp.maximum(classes, 1), labels)


@loss("scores")
def multiclass_hinge_loss(scores: ArrayLike, labels: ArrayLike) -> Array:
    """Return the hinge loss of several classes. Crammer & Singer 2001.

        max_j (f_j + [j ≠ y]) - f_y over the last axis, for the number y of the right class

    A label outside [0, classes) makes the loss NaN.

    Args:
        scores: Scores of the classes, (..., classes).
        labels: Numbers of the right classes, integers, of the shape without the classes.
    """
    # that of y is f_y to the bit
    margins = scores + (1 - jax.nn.one_hot(labels, scores.shape[-1], dtype=scores.dtype))
    return jnp.max(margins, -1) - score_of_label(scores, labels, -1)


@loss("scores")
def multiclass_perceptron_loss(scores: ArrayLike, labels: ArrayLike) -> Array:
    """Return max_j f_j - f_y over the last axis, for the number y of the right class. Collins 2002.

    Args:
        scores: Scores of the classes, (..., classes).
        labels: Numbers of the right classes, integers, of the shape without the classes.
    """
    return jnp.max(scores, -1) - score_of_label(scores, labels, -1)
