"""Losses of vectors: divergences between distributions, angles, and embeddings that should be near
or apart.
"""

import math

import jax
import jax.numpy as jnp

from optax_lite.core.norms import long_norm
from optax_lite.core.numerics import sqrt
from optax_lite.core.types import Array, Number
from optax_lite.core.validate import ArgumentError
from optax_lite.losses._inputs import (
    ArrayLike,
    Axis,
    Mask,
    at_least_zero,
    check_fit,
    included,
    loss,
    times,
)

_OF_ALL = 0.01  # how far the sum of a distribution may be from 1, for the rounding of bfloat16


def _divergence(log_q, targets, both, axis, where, generalized=False):
    """Sum the terms of p and log p, which `both` makes of the targets."""
    check_fit(axis, log_predictions=log_q, targets=targets)
    check_fit((), log_predictions=log_q, where=where)
    log_q, (p, log_p) = included(log_q, where), both(included(targets, where))
    q = jnp.exp(log_q)
    terms = times(p, log_p - log_q)
    total = jnp.sum(terms + q - p if generalized else terms, axis, where=where)
    if generalized:
        return at_least_zero(total)
    # Of whole distributions it cannot be negative; of single terms, or of a part that the mask
    # leaves, it can.
    whole = [
        jnp.abs(jnp.sum(x, axis, where=where) - 1) < _OF_ALL for x in jnp.broadcast_arrays(p, q)
    ]
    return jnp.where(whole[0] & whole[1], at_least_zero(total), total)


def _with_log(p):
    """Return p and log p, with 0 where p is 0: its slope would be infinite, and it is multiplied by
    0.
    """
    return p, jnp.log(jnp.where(p == 0, 1, p))


def _with_exp(log_p):
    return jnp.exp(log_p), jnp.where(log_p == -jnp.inf, 0, log_p)


@loss("log_predictions", "targets")
def kl_divergence(
    log_predictions: ArrayLike, targets: ArrayLike, axis: Axis = -1, where: Mask = None
) -> Array:
    """Return the divergence of a distribution p from predictions q. Kullback & Leibler 1951.

        Σ p·(log p - log q) along `axis`, with 0·log 0 = 0

    Args:
        log_predictions: Predicted distribution as log q, with its entries along `axis`.
        targets: Distribution p to predict, of sizes of the predictions or 1.
        axis: Axis of the entries, or several that are taken together.
        where: True for the entries that count, of the rank of the predictions, in sizes of theirs
            or 1; None for all.
    """
    return _divergence(log_predictions, targets, _with_log, axis, where)


@loss("log_predictions", "log_targets")
def kl_divergence_with_log_targets(
    log_predictions: ArrayLike, log_targets: ArrayLike, axis: Axis = -1, where: Mask = None
) -> Array:
    """Return `kl_divergence` of targets given as log p.

    Args:
        log_predictions: Predicted distribution as log q, with its entries along `axis`.
        log_targets: Distribution to predict as log p, of sizes of the predictions or 1; -inf is a
            target of 0.
        axis: Axis of the entries, or several that are taken together.
        where: True for the entries that count, of the rank of the predictions, in sizes of theirs
            or 1; None for all.
    """
    return _divergence(log_predictions, log_targets, _with_exp, axis, where)


@loss("log_predictions", "targets")
def generalized_kl_divergence(
    log_predictions: ArrayLike, targets: ArrayLike, axis: Axis = -1, where: Mask = None
) -> Array:
    """Return the divergence of masses that need not sum to 1. Bregman 1967.

        Σ p·(log p - log q) - p + q

    Args:
        log_predictions: Predicted distribution as log q, with its entries along `axis`.
        targets: Distribution p to predict, of sizes of the predictions or 1.
        axis: Axis of the entries, or several that are taken together.
        where: True for the entries that count, of the rank of the predictions, in sizes of theirs
            or 1; None for all.
    """
    return _divergence(log_predictions, targets, _with_log, axis, where, generalized=True)


convex_kl_divergence = generalized_kl_divergence  # optax's earlier name


def _unit(x, epsilon, axis):
    """Return x over its norm, or over √epsilon if that is larger; 0, with slope 0, for a vector of
    0.
    """
    size = jnp.maximum(long_norm(x, axis), sqrt(epsilon))
    return jnp.where(size > 0, x / jnp.where(size > 0, size, 1), 0)


@loss("predictions", "targets")
def cosine_similarity(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    epsilon: Number = 0.0,
    axis: Axis = -1,
    where: Mask = None,
) -> Array:
    """Return the cosine of the angle between vectors; 0 with slope 0 if one of them is 0.

        ⟨x, y⟩ / (‖x‖·‖y‖)

    The vectors have the same size along `axis`; along other axes a size of 1 is repeated:
    `x[:, None], y[None]` gives all pairs.

    Args:
        predictions: Vectors x along `axis`.
        targets: Vectors y along `axis`.
        epsilon: Least value of a squared norm where it divides.
        axis: Axis of the entries, or several that are taken together.
        where: True for the entries that count, of the rank of the predictions, in sizes of theirs
            or 1; None for all.
    """
    check_fit(axis, predictions=predictions, targets=targets)
    check_fit((), predictions=predictions, where=where)
    x, y = (
        _unit(included(predictions, where), epsilon, axis),
        _unit(included(targets, where), epsilon, axis),
    )
    return jnp.sum(x * y, axis)


@loss("predictions", "targets")
def cosine_distance(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    epsilon: Number = 0.0,
    axis: Axis = -1,
    where: Mask = None,
) -> Array:
    """Return 1 - `cosine_similarity`.

    Args:
        predictions: Vectors x along `axis`.
        targets: Vectors y along `axis`.
        epsilon: Least value of a squared norm where it divides.
        axis: Axis of the entries, or several that are taken together.
        where: True for the entries that count, of the rank of the predictions, in sizes of theirs
            or 1; None for all.
    """
    return at_least_zero(
        1 - cosine_similarity(predictions, targets, epsilon=epsilon, axis=axis, where=where)
    )


@loss("embeddings")
def ntxent(embeddings: ArrayLike, labels: ArrayLike, temperature: Number = 0.07) -> Array:
    """Return the mean loss of pairs of one label against examples of others. Chen et al. 2020.

        -log e^s_ij / (e^s_ij + Σ_k e^s_ik) over all ordered pairs i ≠ j of one label

    s are cosines divided by the temperature, and k runs over examples with other labels, so that
    other positives of i are not pushed away. The loss is 0 if no two examples share a label.

    Args:
        embeddings: Vectors to compare, (n, d).
        labels: Labels by which embeddings belong together, (n,).
        temperature: Divisor of the cosines.
    """
    labels = jnp.asarray(labels)
    if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1]:
        raise ArgumentError(
            "embeddings must have shape (n, d) and labels (n,), "
            f"got embeddings {embeddings.shape} and labels {labels.shape}"
        )
    unit = _unit(embeddings, 0.0, -1)
    s = jnp.matmul(unit, unit.T, precision="highest") / temperature
    same = labels[:, None] == labels[None, :]
    pairs = same & ~jnp.eye(len(labels), dtype=bool)
    negatives = jax.nn.logsumexp(jnp.where(same, -jnp.inf, s), 1, keepdims=True)
    terms = jax.nn.softplus(negatives - s)
    return jnp.sum(terms, where=pairs) / jnp.maximum(jnp.sum(pairs, dtype=s.dtype), 1)


@loss("anchors", "positives", "negatives")
def triplet_margin_loss(
    anchors: ArrayLike,
    positives: ArrayLike,
    negatives: ArrayLike,
    axis: int = -1,
    norm_degree: Number = 2,
    margin: Number = 1.0,
    eps: Number = 1e-6,
) -> Array:
    """Return how much nearer an anchor should be to its positive than to its negative. Balntas et
    al. 2016.

        max(0, d(a, p) - d(a, n) + margin)
        d(x, y) = (Σ |x - y|^norm_degree + eps)^(1/norm_degree)

    Args:
        anchors: Vectors a along `axis`.
        positives: Vectors p that should be near, in sizes of the anchors or 1.
        negatives: Vectors n that should be far, in sizes of the anchors or 1.
        axis: Axis of the entries, or several that are taken together.
        norm_degree: Degree of the norm, finite and at least 1.
        margin: Difference of the distances from which on the loss is 0.
        eps: Added to the sum under the root.
    """
    if isinstance(norm_degree, (int, float)) and not 1 <= norm_degree < math.inf:
        raise ArgumentError(f"norm_degree must be finite and at least 1, got {norm_degree!r}")
    check_fit(axis, anchors=anchors, positives=positives, negatives=negatives)

    def distance(other):
        total = jnp.sum(jnp.abs(anchors - other) ** norm_degree, axis) + eps
        return jnp.where(total > 0, jnp.where(total > 0, total, 1) ** (1 / norm_degree), 0)

    return jnp.maximum(0, distance(positives) - distance(negatives) + margin)
