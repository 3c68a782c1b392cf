"""Connectionist temporal classification: sequences of labels of unknown alignment. Graves et al.
2006.
"""

import jax
import jax.numpy as jnp

from optax_lite.core.types import Array, Number
from optax_lite.core.validate import ArgumentError
from optax_lite.losses._inputs import ArrayLike, at_least_zero, check_labels, loss
from optax_lite.losses.classes import take


def ctc_loss(
    logits: ArrayLike,
    logit_paddings: ArrayLike,
    labels: ArrayLike,
    label_paddings: ArrayLike,
    *,
    blank_id: int = 0,
    log_epsilon: Number = -1e5,
) -> Array:
    """Return -log of the probability of each sequence of labels, over all alignments with the
    frames.

    Args:
        logits: Unnormalized log probabilities, (batch, frames, classes).
        logit_paddings: 1 where there is no frame and 0 elsewhere, (batch, frames).
        labels: Numbers of the classes, integers, (batch, labels).
        label_paddings: 1 where there is no label and 0 elsewhere, (batch, labels); on the right
            only.
        blank_id: Number of the class that separates repeated labels.
        log_epsilon: Stands for log 0: a sequence that cannot be aligned costs about -log_epsilon.

    Returns:
        The losses, of shape (batch,).
    """
    return ctc_loss_with_forward_probs(
        logits, logit_paddings, labels, label_paddings, blank_id=blank_id, log_epsilon=log_epsilon
    )[0]


@loss("logits")
def ctc_loss_with_forward_probs(
    logits: ArrayLike,
    logit_paddings: ArrayLike,
    labels: ArrayLike,
    label_paddings: ArrayLike,
    *,
    blank_id: int = 0,
    log_epsilon: Number = -1e5,
) -> tuple[Array, Array, Array]:
    """Return `ctc_loss`, and log α of the forward algorithm. Graves et al. 2006, section 4.1.

    α_t(s) is the probability that t frames spell l'_1..s, the labels with a blank before, between
    and after them:

        α_t(s) = y_t(l'_s)·(α_{t-1}(s) + α_{t-1}(s-1) + α_{t-1}(s-2)), the last only where it skips
        a blank between two labels that differ; p(l) = α_T(|l'|) + α_T(|l'| - 1).

    A padded frame repeats the one before. A label that is not a class makes the loss NaN.

    Args:
        logits: Unnormalized log probabilities, (batch, frames, classes).
        logit_paddings: 1 where there is no frame and 0 elsewhere, (batch, frames).
        labels: Numbers of the classes, integers, (batch, labels).
        label_paddings: 1 where there is no label and 0 elsewhere, (batch, labels); on the right
            only.
        blank_id: Number of the class that separates repeated labels.
        log_epsilon: Stands for log 0: a sequence that cannot be aligned costs about -log_epsilon.

    Returns:
        The losses (batch,), log α at blanks (frames, batch, labels + 1), and at labels (frames,
        batch, labels).
    """
    labels, frame_off, label_off = (
        jnp.asarray(labels),
        jnp.asarray(logit_paddings),
        jnp.asarray(label_paddings),
    )
    _check_shapes(logits, frame_off, labels, label_off)
    check_labels(labels)
    if not 0 <= blank_id < logits.shape[2]:
        raise ArgumentError(
            f"blank_id must be one of the {logits.shape[2]} classes, got {blank_id}"
        )
    frame_off, label_off = frame_off.astype(bool), label_off.astype(bool)
    batch, n = labels.shape

    spelled = jnp.full((batch, 2 * n + 1), blank_id, labels.dtype)  # l'
    spelled = spelled.at[:, 1::2].set(jnp.where(label_off, blank_id, labels))
    two_before = jnp.pad(spelled, ((0, 0), (2, 0)))[:, : 2 * n + 1]
    # the blank between two labels that differ; from blank to blank is no skip
    may_skip = spelled != two_before
    # padding may hold anything
    log_p = jax.nn.log_softmax(jnp.where(frame_off[:, :, None], 0, logits))
    log_p = jnp.maximum(log_p, log_epsilon)
    log_y = take(log_p, jnp.broadcast_to(spelled[:, None], (*frame_off.shape, 2 * n + 1)))

    def before(log_alpha, places):
        return jnp.pad(log_alpha, ((0, 0), (places, 0)), constant_values=log_epsilon)[
            :, : 2 * n + 1
        ]

    def frame(log_alpha, now):
        log_y, off = now
        skipped = jnp.where(may_skip, before(log_alpha, 2), log_epsilon)
        moved = jnp.logaddexp(jnp.logaddexp(log_alpha, before(log_alpha, 1)), skipped) + log_y
        log_alpha = jnp.where(off[:, None], log_alpha, moved)
        return log_alpha, log_alpha

    start = jnp.full((batch, 2 * n + 1), log_epsilon, logits.dtype).at[:, 0].set(0)
    frames = jnp.moveaxis(log_y, 1, 0), frame_off.T
    last, log_alpha = jax.lax.scan(frame, start, frames)
    end = 2 * jnp.sum(~label_off, 1, keepdims=True, dtype=int)
    at_label = jnp.where(end > 0, take(last, jnp.maximum(end - 1, 0)), log_epsilon)
    cost = at_least_zero(-jnp.squeeze(jnp.logaddexp(take(last, end), at_label), 1))
    return cost, log_alpha[:, :, 0::2], log_alpha[:, :, 1::2]


def _check_shapes(logits, frame_off, labels, label_off):
    shapes = {"logit_paddings": frame_off.shape, "label_paddings": label_off.shape}
    expected = {"logit_paddings": logits.shape[:2], "label_paddings": labels.shape}
    if logits.ndim != 3 or labels.ndim != 2 or len(logits) != len(labels) or shapes != expected:
        found = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ArgumentError(
            "logits (batch, frames, classes) and labels (batch, labels) must have paddings of "
            f"shapes (batch, frames) and (batch, labels), got logits {logits.shape}, labels "
            f"{labels.shape}, {found}"
        )
