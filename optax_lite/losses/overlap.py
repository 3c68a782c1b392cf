"""Losses of segmentations: how far what is predicted overlaps with what is there."""

import jax
import jax.numpy as jnp

from optax_lite.core.numerics import over
from optax_lite.core.trees import show_leaf
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

    TP = Σ p·t, FP = Σ p·(1 - t) and FN = Σ (1 - p)·t are sums over the pixels of an example. Salehi
    et al. 2017. With alpha = beta = ½ it is the Dice loss 1 - 2·Σ p·t / (Σ p + Σ t); Milletari et
    al. 2016 have squares in its denominator. A class that is neither predicted nor there has loss
    0. Of a single class the last axis may be missing in the targets, and its softmax is the
    sigmoid.

    Args:
        predictions: Logits, (batch, ..., classes).
        targets: 1 where a pixel is of the class and 0 elsewhere, or probabilities; of the
            predictions' shape.
        class_weights: Factors of the classes' losses, (classes,); None for 1.
        smooth: Pixels added to numerator and denominator; at least 0.
        alpha: Weight of false positives, at least 0.
        beta: Weight of false negatives, at least 0.
        apply_softmax: Take the softmax of the predictions; False if they are probabilities. These
            may sum to anything.
        reduction: "mean" or "sum" over the classes, or "none".
        ignore_background: Leave out class 0, unless it is the only one.
        axis: Axes of the pixels to sum over; None for all but the first and the last.
    """
    _check_numbers(smooth=smooth, alpha=alpha, beta=beta)
    _check_reduction(reduction)
    predictions, targets = _with_classes(predictions, targets)
    both, only_predicted, only_there = _overlap(predictions, targets, apply_softmax, axis)
    # 1 - (TP + smooth) / (TP + wrong + smooth) without its difference of numbers near 1
    wrong = alpha * only_predicted + beta * only_there
    losses = over(wrong, both + wrong + smooth)
    if class_weights is not None:
        _check_class_weights(class_weights, losses.shape[-1])
        losses = losses * jnp.broadcast_to(class_weights, losses.shape)
    return _REDUCTIONS[reduction](_foreground(losses, ignore_background), axis=-1)


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

    Sudre et al. 2017, section 2. The sums over the pixels of an example are weighted before they
    are divided, so that a class counts by the inverse of its size. A class that the example lacks
    has the largest weight of its others, as in the authors' code.

    Args:
        predictions: Logits, (batch, ..., classes).
        targets: 1 where a pixel is of the class and 0 elsewhere, or probabilities; of the
            predictions' shape.
        smooth: Pixels added to Σ p·t of each class, and twice to Σ p + Σ t; at least 0.
        apply_softmax: Take the softmax of the predictions; False if they are probabilities.
        ignore_background: Leave out class 0, unless it is the only one.
    """
    _check_numbers(smooth=smooth)
    predictions, targets = _with_classes(predictions, targets)
    sums = _overlap(predictions, targets, apply_softmax)
    both, only_predicted, only_there = (_foreground(x, ignore_background) for x in sums)
    weights = _inverse_squares(both + only_there)
    wrong = weights * 0.5 * (only_predicted + only_there)
    return jnp.mean(over(jnp.sum(wrong, -1), jnp.sum(weights * (both + smooth) + wrong, -1)))


@loss("predictions", "targets")
def binary_dice_loss(
    predictions: ArrayLike, targets: ArrayLike, *, smooth: Number = 1.0, apply_sigmoid: bool = True
) -> Array:
    """Return `dice_loss` of a single class for each example, 1 - 2·Σ p·t / (Σ p + Σ t).

    Args:
        predictions: Logits, (batch, ...) or (batch, ..., 1).
        targets: 1 where a pixel is of the class and 0 elsewhere, or probabilities; of the
            predictions' shape. The last axis of size 1 may be missing.
        smooth: Pixels added to Σ p·t, and twice to Σ p + Σ t; at least 0.
        apply_sigmoid: Take the sigmoid of the predictions; False if they are probabilities.
    """
    _check_one_class(predictions, targets)
    predictions, targets = _with_classes(predictions, targets)
    # A last axis of size 1 becomes one of the pixels' axes, which changes no sum.
    return dice_loss(
        predictions[..., None], targets[..., None], smooth=smooth, apply_softmax=apply_sigmoid
    )


def _with_classes(predictions, targets):
    """Add the axis of a single class to the one of the two that lacks it."""
    ndim = max(predictions.ndim, targets.ndim)
    pair = [x[..., None] if x.ndim == ndim - 1 else x for x in (predictions, targets)]
    _check_one_shape(predictions, targets, *pair)
    return pair


def _overlap(predictions, targets, is_logits, axis=None):
    """Return the true positives Σ p·t, false positives Σ p·(1 - t) and negatives Σ (1 - p)·t."""
    p, not_p = _probabilities(predictions, is_logits)
    pixels = _pixels(axis, targets.shape)
    return [jnp.sum(x, pixels) for x in (p * targets, p * (1 - targets), not_p * targets)]


def _probabilities(predictions, is_logits):
    """Return p and 1 - p."""
    if not is_logits:
        return predictions, 1 - predictions
    if predictions.shape[-1] == 1:
        # not 1 - sigmoid(x), which has no digits left where the model is sure
        return jax.nn.sigmoid(predictions), jax.nn.sigmoid(-predictions)
    p = jax.nn.softmax(predictions, -1)
    return p, 1 - p


def _pixels(axis, shape):
    """Return the axes to sum over, by default all but the first and the last."""
    if axis is None:
        return tuple(range(1, len(shape) - 1))
    pixels = axes(tuple(axis) if isinstance(axis, (tuple, list)) else axis, len(shape))
    _check_leaves_classes(axis, pixels, shape)
    return pixels


def _inverse_squares(size):
    """Return 1 / size² relative to the rarest class; a class that is not there counts as that."""
    larger = 1 + jnp.max(size, -1, keepdims=True)
    rarest = jnp.min(jnp.where(size > 0, size, larger), -1, keepdims=True)
    # The square of a small size may be 0: targets may be probabilities.
    return jnp.square(rarest / jnp.where(size > 0, size, rarest))


def _foreground(x, ignore_background):
    """Leave out class 0, unless it is the only one."""
    return x[..., 1:] if ignore_background and x.shape[-1] > 1 else x


def _check_one_shape(predictions, targets, p, t):
    if p.shape == t.shape and p.ndim:
        return
    found = f"predictions have shape {predictions.shape}, targets {targets.shape}"
    # most often class numbers in the place of one-hot targets
    numbers = p.ndim and t.shape == (*p.shape[:-1], 1)
    remedy = f"; for class numbers write jax.nn.one_hot(targets, {p.shape[-1]})" if numbers else ""
    raise ArgumentError(f"{found}: the shapes must be equal; nothing is broadcast{remedy}")


def _check_one_class(predictions, targets):
    first, second = predictions.shape, targets.shape
    if first not in (second, (*second, 1)) and second != (*first, 1):
        raise ArgumentError(
            f"predictions have shape {first}, targets {second}: the shapes must be equal, with "
            "or without a last axis of size 1; nothing is broadcast"
        )


def _check_leaves_classes(axis, pixels, shape):
    if len(shape) - 1 in pixels:
        raise ArgumentError(
            f"axis must not include the last axis (the classes), got {axis} for targets of shape "
            f"{shape}"
        )


def _check_numbers(**numbers):
    check_nonnegative(**numbers)
    for name, x in numbers.items():
        if x is None or isinstance(x, (str, tuple, list)) or jnp.shape(x):
            raise ArgumentError(f"{name} must be one number, got {show_leaf(x)}")


def _check_reduction(reduction):
    if reduction not in _REDUCTIONS:
        raise ArgumentError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")


def _check_class_weights(class_weights, classes):
    if class_weights.shape != (classes,):
        raise ArgumentError(
            f"class_weights must have the shape ({classes},), one weight for each class, got "
            f"{class_weights.shape}"
        )
