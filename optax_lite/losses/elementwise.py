"""Losses of one number against another: regression, and binary classification by margin or
probability.
"""

import jax
import jax.numpy as jnp

from optax_lite.core.types import Array, Number
from optax_lite.core.validate import check_nonnegative
from optax_lite.losses._inputs import ArrayLike, check_same_shape, loss, times


def _error(predictions, targets):
    check_same_shape(predictions=predictions, targets=targets)
    return predictions if targets is None else predictions - targets


@loss("predictions", "targets")
def squared_error(predictions: ArrayLike, targets: ArrayLike | None = None) -> Array:
    """Return e² with e = predictions - targets, entry by entry.

    As in all losses that compare one number with another, (n,) against (n, 1) is an error, not n²
    differences.

    Args:
        predictions: Predicted values, of any shape.
        targets: Values to predict, of that shape or one number; None for 0.
    """
    return jnp.square(_error(predictions, targets))


@loss("predictions", "targets")
def l2_loss(predictions: ArrayLike, targets: ArrayLike | None = None) -> Array:
    """Return ½·e², half of `squared_error`.

    Args:
        predictions: Predicted values, of any shape.
        targets: Values to predict, of that shape or one number; None for 0.
    """
    return 0.5 * jnp.square(_error(predictions, targets))


@loss("predictions", "targets")
def huber_loss(
    predictions: ArrayLike, targets: ArrayLike | None = None, *, delta: Number = 1.0
) -> Array:
    """Return ½·e² where |e| ≤ delta, and delta·(|e| - ½·delta) beyond. Huber 1964.

    The slope is e clipped to ±delta.

    Args:
        predictions: Predicted values, of any shape.
        targets: Values to predict, of that shape or one number; None for 0.
        delta: Error from which on the loss is a line, at least 0.
    """
    e = _error(predictions, targets)
    check_same_shape(predictions=e, delta=delta)
    check_nonnegative(delta=delta)
    slope = jnp.clip(e, -delta, delta)
    return slope * (e - 0.5 * slope)


@loss("predictions", "targets")
def log_cosh(predictions: ArrayLike, targets: ArrayLike | None = None) -> Array:
    """Return log cosh e: ½·e² near 0, |e| - log 2 far away, accurate in both. Chen et al. 2019.

    Args:
        predictions: Predicted values, of any shape.
        targets: Values to predict, of that shape or one number; None for 0.
    """
    e = _error(predictions, targets)
    near = jnp.log1p(2 * jnp.square(jnp.sinh(0.5 * jnp.clip(e, -1, 1))))
    far = jnp.abs(e) + jnp.log1p(jnp.exp(-2 * jnp.abs(e))) - jnp.log(2.0).astype(e.dtype)
    return jnp.where(jnp.abs(e) < 1, near, far)


@loss("predictor_outputs", "targets")
def hinge_loss(predictor_outputs: ArrayLike, targets: ArrayLike) -> Array:
    """Return max(0, 1 - y·f) for a score f and a target y.

    Args:
        predictor_outputs: Scores of the positive class, of any shape.
        targets: Classes y, -1 or 1, of that shape or one number; a target of 0 has the constant
            loss 1.
    """
    check_same_shape(predictor_outputs=predictor_outputs, targets=targets)
    return jnp.maximum(0, 1 - predictor_outputs * targets)


@loss("predictor_outputs", "targets")
def perceptron_loss(predictor_outputs: ArrayLike, targets: ArrayLike) -> Array:
    """Return max(0, -y·f) for a score f and a target y. Rosenblatt 1958.

    Args:
        predictor_outputs: Scores of the positive class, of any shape.
        targets: Classes y, -1 or 1, of that shape or one number.
    """
    check_same_shape(predictor_outputs=predictor_outputs, targets=targets)
    return jnp.maximum(0, -predictor_outputs * targets)


@loss("logits", "labels")
def sigmoid_binary_cross_entropy(logits: ArrayLike, labels: ArrayLike) -> Array:
    """Return -y·log p - (1 - y)·log(1 - p) with p = 1 / (1 + e^-x) of a logit x, for a label y.

    It is computed from the logit, so that large logits and confident, correct ones lose no digits.
    Every entry is a separate decision; for classes that exclude each other, use
    `softmax_cross_entropy`.

    Args:
        logits: Logits of the positive class, of any shape.
        labels: Probabilities of the positive class, 0 or 1 for known ones; of the logits' shape or
            one number.
    """
    check_same_shape(logits=logits, labels=labels)
    return times(labels, jax.nn.softplus(-logits)) + times(1 - labels, jax.nn.softplus(logits))


@loss("logits", "labels")
def sigmoid_focal_loss(
    logits: ArrayLike, labels: ArrayLike, *, alpha: Number | None = None, gamma: Number = 2.0
) -> Array:
    """Return α_t·(1 - p_t)^gamma times the binary cross entropy. Lin et al. 2017, section 3.

    p_t is the probability of the right answer and α_t = alpha for a positive, 1 - alpha for a
    negative one; a label between 0 and 1 mixes the two.

    Args:
        logits: Logits of the positive class, of any shape.
        labels: Probabilities of the positive class, 0 or 1 for known ones; of the logits' shape or
            one number.
        alpha: Weight of positives against negatives; None for 1 of both.
        gamma: Power by which easy examples lose weight; 0 is the cross entropy.
    """
    check_same_shape(logits=logits, labels=labels, alpha=alpha, gamma=gamma)
    wrong = jax.nn.sigmoid(logits) * (1 - labels) + jax.nn.sigmoid(-logits) * labels  # 1 - p_t
    # at 0 the cross entropy is 0, whatever its factor
    focus = jnp.where(wrong > 0, wrong, 1) ** gamma
    weight = 1 if alpha is None else labels * alpha + (1 - labels) * (1 - alpha)
    return weight * focus * sigmoid_binary_cross_entropy(logits, labels)
