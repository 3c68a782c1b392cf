"""Losses whose predictions may be exactly 0: sparsemax, and the Fenchel-Young losses in general."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from optax_lite.core.trees import show_leaf
from optax_lite.core.types import Array
from optax_lite.core.validate import ArgumentError
from optax_lite.losses._inputs import ArrayLike, check_fit, check_same_shape, loss, times
from optax_lite.losses.classes import score_of_label


@loss("logits", "labels")
def sparsemax_loss(logits: ArrayLike, labels: ArrayLike) -> Array:
    """Return ¼·(t - q)² + ½·(t - q)·(q - s), the sparsemax loss of a score s against 0.

    t = 2y - 1 is the label and q = clip(s, -1, 1) the prediction, as numbers in [-1, 1]. For a
    label 0 or 1 and the margin m = t·s that is 0 where m ≥ 1, ¼·(1 - m)² where |m| ≤ 1, and -m
    where m ≤ -1. Martins & Astudillo 2016, section 3. For a label between 0 and 1 it is the
    Fenchel-Young loss of ½·‖p‖², which is 0 where t = q. Blondel, Martins & Niculae 2020.

    Args:
        logits: Scores of the positive class, of any shape.
        labels: Probabilities y of the positive class, 0 or 1 for known ones; of the logits' shape
            or one number.
    """
    check_same_shape(logits=logits, labels=labels)
    t, q = 2 * labels - 1, jnp.clip(logits, -1, 1)
    # In this factor the slope of q adds nothing, as q - s is 0 wherever it is not 0 itself; but it
    # would be 0·∞ for an infinite score.
    linear = times(t - jax.lax.stop_gradient(q), q - logits)
    return 0.25 * jnp.square(t - q) + 0.5 * linear


@loss("scores")
def multiclass_sparsemax_loss(scores: ArrayLike, labels: ArrayLike) -> Array:
    """Return ½·‖e_y - p‖² + max(0, τ - z_y), the sparsemax loss of scores z over the last axis.

    p = max(z - τ, 0) is the distribution nearest to z. Martins & Astudillo 2016, section 3, write
    -z_y + ½·Σ (z_j² - τ²) + ½ with the sum over p_j > 0; here there are no differences of squares.
    A label outside [0, classes) makes the loss NaN.

    Args:
        scores: Scores of the classes, (..., classes).
        labels: Numbers of the right classes, integers, of the shape without the classes.
    """
    right_score = score_of_label(scores, labels, -1)
    best = jnp.max(scores, -1, keepdims=True)
    gap, right_gap = best - scores, jnp.squeeze(best, -1) - right_score
    c = _threshold(gap)
    right = jax.nn.one_hot(labels, scores.shape[-1], dtype=bool)
    # 1 - p_y is gap + c; for p_y near 1 the subtraction would lose its digits
    off = jnp.where(right, jnp.minimum(gap + c, 1), jnp.maximum(1 - gap - c, 0))
    return 0.5 * jnp.sum(jnp.square(off), -1) + jnp.maximum(right_gap + jnp.squeeze(c, -1) - 1, 0)


def _threshold(gap):
    """Return c, for which max(1 - gap - c, 0) sums to 1, given the distances to the best score."""
    # If k classes are in the support, c is the sum of their 1 - gap, without the 1 of the best,
    # over k. Any other k gives less: algorithm 1 of the paper looks for the same k.
    near = (1 - jnp.sort(gap, -1)).at[..., 0].set(0)
    k = jnp.cumsum(jnp.ones_like(near), -1)
    return jnp.max(jnp.cumsum(near, -1) / k, -1, keepdims=True)


def make_fenchel_young_loss(max_fun: Callable[..., ArrayLike]) -> Callable[..., Array]:
    """Make the Fenchel-Young loss Ω*(θ) - ⟨y, θ⟩ of a function Ω*(θ) = max_p ⟨p, θ⟩ - Ω(p).

    Its slope is p - y for the p that attains the maximum: `jax.scipy.special.logsumexp` makes
    `softmax_cross_entropy`. Blondel, Martins & Niculae 2020, section 3; their Ω(y), which does not
    depend on the scores, is left out as in optax, so that the least loss is -Ω(y).

    Args:
        max_fun: Function Ω* from a vector of scores to a number.

    Returns:
        A function of `scores` and `targets` with the vectors along the last axis, which hands
        further arguments on to `max_fun`.
    """
    if not callable(max_fun):
        problem = f"max_fun must be a function, got {show_leaf(max_fun)}"
        raise ArgumentError(
            f"{problem}; write jax.scipy.special.logsumexp, for example", "make_fenchel_young_loss"
        )

    @loss("scores", "targets")
    def fenchel_young_loss(scores: ArrayLike, targets: ArrayLike, *args, **kwargs) -> Array:
        """Return Ω*(θ) - ⟨y, θ⟩ for scores θ and targets y along the last axis."""
        check_fit(-1, scores=scores, targets=targets)

        def largest(vector):
            value = jnp.asarray(max_fun(vector, *args, **kwargs))
            if value.shape:
                raise ArgumentError(
                    f"max_fun must return one number for a vector of scores, got {show_leaf(value)}"
                )
            return value.astype(vector.dtype)

        conjugate = jnp.vectorize(largest, signature="(n)->()")(scores)
        return conjugate - jnp.sum(times(targets, scores), -1)

    return fenchel_young_loss
