"""Losses of segmentations: how far what is predicted overlaps with what is there."""

import math

import jax
import jax.numpy as jnp

from optax_lite.core.leafwise import show_leaf
from optax_lite.core.numerics import over
from optax_lite.core.types import Array, Number
from optax_lite.core.validate import ArgumentError, check_nonnegative
from optax_lite.losses._inputs import ArrayLike, Axis, axes, loss

_REDUCTIONS = {"mean": jnp.mean, "sum": jnp.sum, "none": lambda losses, axis: losses}


@loss("predictions", "targets", "class_weights")
def dice_loss(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    class_weights: ArrayLike | None = None,
    smooth: Number = 1.0,
    alpha: Number = 0.5,
    beta: Number = 0.5,
    apply_softmax: bool = True,
    reduction: str = "mean",
    ignore_background: bool = False,
    axis: Axis = None,
) -> Array:
    """Return 1 - (TP + smooth) / (TP + alpha·FP + beta·FN + smooth), averaged over the classes.

    TP = Σ p·t, FP = Σ p·(1 - t) and FN = Σ (1 - p)·t are sums over pixels. Salehi et al. 2017,
    equation 3. With alpha = beta = ½ it is the Dice loss 1 - 2·Σ p·t / (Σ p + Σ t), without the
    squares that Milletari et al. 2016 have in the denominator. A class that is neither predicted
    nor there has loss 0.

    Args:
        predictions: logits, (batch, ..., classes).
        targets: 1 where a pixel is of the class and 0 elsewhere, or probabilities; of the
            predictions' shape, in which the last axis of a single class may be missing.
        class_weights: factors of the losses of the classes, (classes,). Default: 1.
        smooth: pixels that count as overlap besides those that do, at least 0.
        alpha: weight of false positives, at least 0.
        beta: weight of false negatives, at least 0.
        apply_softmax: whether the predictions are logits, of which a softmax is taken, or a sigmoid
            of a single class; False for probabilities, which may sum to anything.
        reduction: "mean" or "sum" over the classes, or "none".
        ignore_background: whether to leave out class 0, unless it is the only one.
        axis: axes of the pixels to sum over. Default: all but the first and the last.
    """
    _check_numbers(smooth=smooth, alpha=alpha, beta=beta)
    if reduction not in ("mean", "sum", "none"):
        raise ArgumentError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
    predictions, targets = _with_classes(predictions, targets)
    both, only_predicted, only_there = _overlap(predictions, targets, apply_softmax, axis)
    # 1 - (TP + smooth) / (TP + wrong + smooth) without its difference of numbers near 1
    wrong = alpha * only_predicted + beta * only_there
    losses = over(wrong, both + wrong + smooth)
    if class_weights is not None:
        _check_class_weights(class_weights, losses.shape[-1])
        losses = losses * jnp.broadcast_to(class_weights, losses.shape)
    if ignore_background and losses.shape[-1] > 1:
        losses = losses[..., 1:]
    return _REDUCTIONS[reduction](losses, axis=-1)


@loss("predictions", "targets")
def multiclass_generalized_dice_loss(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    smooth: Number = 1.0,
    apply_softmax: bool = True,
    ignore_background: bool = False,
) -> Array:
    """Return the batch's mean of 1 - 2·Σ_c w_c·Σ p·t / Σ_c w_c·(Σ p + Σ t), w_c = 1 / (Σ t)².

    Sudre et al. 2017, section 2: the sums over pixels are weighted before they are divided, so that
    a class counts by the inverse of its size. One that an example lacks has the largest weight of
    the example's others, as in the authors' code. `smooth` is added to Σ p·t of each class, and
    twice to Σ p + Σ t.

    Args:
        predictions: logits, (batch, ..., classes).
        targets: 1 where a pixel is of the class and 0 elsewhere, or probabilities; of the
            predictions' shape.
        smooth: pixels that count as overlap besides those that do, at least 0.
        apply_softmax: whether the predictions are logits, of which a softmax is taken; False for
            probabilities.
        ignore_background: whether to leave out class 0, unless it is the only one.
    """
    _check_numbers(smooth=smooth)
    predictions, targets = _with_classes(predictions, targets)
    axis = tuple(range(1, targets.ndim - 1))
    sums = [*_overlap(predictions, targets, apply_softmax, axis), jnp.sum(targets, axis)]
    if ignore_background and targets.shape[-1] > 1:
        sums = [x[..., 1:] for x in sums]
    both, only_predicted, only_there, size = sums
    # Relative to the rarest class's, of which squares are in range; what is not there counts as
    # such. An image without any class is all of one size.
    there, pixels = size > 0, math.prod(targets.shape[1:-1])
    rarest = jnp.min(jnp.where(there, size, pixels), -1, keepdims=True)
    weights = jnp.square(rarest / jnp.where(there, size, rarest))
    wrong = weights * 0.5 * (only_predicted + only_there)
    return jnp.mean(over(jnp.sum(wrong, -1), jnp.sum(weights * (both + smooth) + wrong, -1)))


@loss("predictions", "targets")
def binary_dice_loss(
    predictions: ArrayLike, targets: ArrayLike, *, smooth: Number = 1.0, apply_sigmoid: bool = True
) -> Array:
    """Return `dice_loss` of a single class for each example, 1 - 2·Σ p·t / (Σ p + Σ t).

    Args:
        predictions: logits, (batch, ...) or (batch, ..., 1).
        targets: 1 where a pixel is of the class and 0 elsewhere, or probabilities; of the
            predictions' shape, with or without the last axis of size 1.
        smooth: pixels that count as overlap besides those that do, at least 0.
        apply_sigmoid: whether the predictions are logits, of which a sigmoid is taken; False for
            probabilities.
    """
    predictions, targets = _with_classes(predictions, targets)
    if targets.shape[-1] != 1:
        predictions, targets = predictions[..., None], targets[..., None]
    return dice_loss(predictions, targets, smooth=smooth, apply_softmax=apply_sigmoid)


def _with_classes(predictions, targets):
    """Both with the axis of the classes, also where one of them lacks that of a single class."""
    ndim = max(predictions.ndim, targets.ndim)
    p, t = (x[..., None] if x.ndim == ndim - 1 else x for x in (predictions, targets))
    if p.shape != t.shape or not ndim:
        found = f"predictions of shape {predictions.shape} and targets of {targets.shape}"
        # class numbers in the place of one-hot targets are the usual case
        numbers = t.shape == (*p.shape[:-1], 1)
        remedy = f"write jax.nn.one_hot(targets, {p.shape[-1]})" if numbers else "reshape one"
        raise ArgumentError(f"{found}: they must have one shape, (batch, ..., classes); {remedy}")
    return p, t


def _overlap(predictions, targets, is_logits, axis):
    """Σ p·t, Σ p·(1 - t) and Σ (1 - p)·t over the pixels: true positives, false ones, and false
    negatives.
    """
    classes = targets.ndim - 1
    pixels = tuple(range(1, classes)) if axis is None else axes(_as_tuple(axis), targets.ndim)
    if classes in pixels:
        raise ArgumentError(
            f"axis must leave out the last axis, the classes, got {axis} for targets of shape "
            f"{targets.shape}"
        )
    p, not_p = predictions, 1 - predictions
    if is_logits and targets.shape[-1] == 1:
        # each by itself: the difference from 1 loses what is sure
        p, not_p = jax.nn.sigmoid(predictions), jax.nn.sigmoid(-predictions)
    elif is_logits:
        p = jax.nn.softmax(predictions, -1)
        not_p = 1 - p
    return [jnp.sum(x, pixels) for x in (p * targets, p * (1 - targets), not_p * targets)]


def _as_tuple(axis):
    return tuple(axis) if isinstance(axis, (tuple, list)) else axis


def _check_numbers(**numbers):
    check_nonnegative(**numbers)
    for name, x in numbers.items():
        if jnp.shape(x):
            raise ArgumentError(f"{name} must be one number, got {show_leaf(x)}")


def _check_class_weights(class_weights, classes):
    if class_weights.shape != (classes,):
        raise ArgumentError(
            f"class_weights must have the shape ({classes},), a weight for each class, got "
            f"{class_weights.shape}"
        )
