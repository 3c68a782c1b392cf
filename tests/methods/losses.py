"""Losses: references from the formulas, settings that make every term visible, and facts that a
case cannot express.
"""

import dataclasses
import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optax_lite import losses
from optax_lite.core.validate import ArgumentError
from tests.methods.compare import relative_error
from tests.methods.row import Namespace


def log_softmax(x, axis, where=None):
    """log(exp(x) / sum(exp(x))) (Goodfellow, Bengio & Courville 2016, equation 6.30), shifted by
    the largest entry.
    """
    included = np.ones(x.shape, dtype=bool) if where is None else np.broadcast_to(where, x.shape)
    some = np.any(included, axis=axis, keepdims=True)
    largest = np.where(
        some, np.max(x, axis=axis, keepdims=True, where=included, initial=-np.inf), 0.0
    )
    total = np.where(
        some, np.sum(np.exp(x - largest), axis=axis, keepdims=True, where=included), 1.0
    )
    return x - largest - np.log(total)


def softmax_cross_entropy(logits, labels, axis=-1, where=None):
    """Cross entropy of the softmax (Goodfellow, Bengio & Courville 2016, section 6.2.2.3): -sum y
    log p.
    """
    if where is not None and where.ndim < logits.ndim:
        where = np.expand_dims(where, axis)  # whole examples: the loss of one that is left out is 0
    terms = -labels * log_softmax(logits, axis, where)
    return np.sum(terms, axis=axis, where=True if where is None else where)


def softmax_cross_entropy_with_integer_labels(logits, labels, axis=-1, where=None):
    """Cross entropy of the softmax (Goodfellow, Bengio & Courville 2016, section 6.2.2.3): -log
    p_y.
    """
    axes = axis if isinstance(axis, tuple) else (axis,)
    axes = tuple(a % logits.ndim for a in axes)
    batch = tuple(a for a in range(logits.ndim) if a not in axes)
    if where is None:
        where = np.ones(logits.shape, dtype=bool)
    elif where.ndim < logits.ndim:
        where = np.expand_dims(where, axis)  # whole examples: the loss of one that is left out is 0
    where = np.broadcast_to(where, logits.shape)
    # Of several axes the label is a flat index.
    shape = [logits.shape[a] for a in batch] + [-1]
    log_p = np.transpose(log_softmax(logits, axes, where), batch + axes).reshape(shape)
    included = np.any(where, axis=axes)
    loss = np.zeros(log_p.shape[:-1])
    for i in np.ndindex(loss.shape):
        loss[i] = -log_p[i][labels[i]] if included[i] else 0.0
    return loss


def safe_softmax_cross_entropy(logits, labels):
    """Cross entropy of the softmax with 0 log 0 = 0 (Cover & Thomas 2006, section 2.1)."""
    log_p = log_softmax(logits, -1)
    return np.sum(np.where(labels == 0, 0.0, -labels * np.where(labels == 0, 0.0, log_p)), axis=-1)


def poly_loss_cross_entropy(logits, labels, epsilon=2.0, axis=-1, where=None):
    """Poly-1 loss (Leng et al. 2022): -log P_t + epsilon * (1 - P_t)."""
    included = True if where is None else where
    # sum y (1 - p) is 1 - P_t for labels of sum 1, and 0 where nothing is included (optax).
    one_minus_P_t = np.sum(
        labels * (1 - np.exp(log_softmax(logits, axis, where))), axis=axis, where=included
    )
    return softmax_cross_entropy(logits, labels, axis, where) + epsilon * one_minus_P_t


def sigmoid_binary_cross_entropy(logits, labels):
    """Cross entropy of the sigmoid (Bishop 2006, equation 4.90): -y log p - (1 - y) log(1 - p)."""
    log_p = -np.logaddexp(0.0, -logits)
    log_not_p = -np.logaddexp(0.0, logits)
    return -labels * log_p - (1 - labels) * log_not_p


def sigmoid_focal_loss(logits, labels, *, alpha=None, gamma=2.0):
    """Focal loss (Lin et al. 2017, equation 5); for labels between 0 and 1 as in the
    authors' code.
    """
    p = np.exp(-np.logaddexp(0.0, -logits))
    not_p = np.exp(-np.logaddexp(0.0, logits))
    # 1 - p_t: not_p for the label 1, p for the label 0.
    not_p_t = labels * not_p + (1 - labels) * p
    loss = not_p_t**gamma * sigmoid_binary_cross_entropy(logits, labels)
    if alpha is not None:
        loss = (alpha * labels + (1 - alpha) * (1 - labels)) * loss
    return loss


def squared_error(predictions, targets=None):
    """Squared error (Legendre 1805)."""
    return (predictions if targets is None else predictions - targets) ** 2


def l2_loss(predictions, targets=None):
    """Half of the squared error (Bishop 2006, equation 1.2)."""
    return 0.5 * squared_error(predictions, targets)


def huber_loss(predictions, targets=None, *, delta=1.0):
    """Huber loss (Huber 1964): e^2 / 2 up to |e| = delta, delta * (|e| - delta / 2) beyond."""
    e = np.abs(predictions if targets is None else predictions - targets)
    return np.where(e <= delta, 0.5 * e**2, delta * (e - 0.5 * delta))


def log_cosh(predictions, targets=None):
    """Logarithm of the hyperbolic cosine of the error (Chen et al. 2019)."""
    e = predictions if targets is None else predictions - targets
    return np.logaddexp(e, -e) - np.log(2.0)


def cosine_similarity(predictions, targets, *, epsilon=0.0, axis=-1, where=None):
    """Cosine of the angle between two vectors: <a, b> / (||a|| ||b||); epsilon: lower bound of each
    squared norm.
    """
    # So in what optax 0.2.8 computes; its docstring says "minimum norm".
    included = True if where is None else where
    a_norm = np.sqrt(np.maximum(np.sum(predictions**2, axis=axis, where=included), epsilon))
    b_norm = np.sqrt(np.maximum(np.sum(targets**2, axis=axis, where=included), epsilon))
    return np.sum(predictions * targets, axis=axis, where=included) / (a_norm * b_norm)


def cosine_distance(predictions, targets, *, epsilon=0.0, axis=-1, where=None):
    """One minus the cosine of the angle."""
    return 1 - cosine_similarity(predictions, targets, epsilon=epsilon, axis=axis, where=where)


def kl_divergence(log_predictions, targets, axis=-1, where=None):
    """Kullback-Leibler divergence (Kullback & Leibler 1951): sum t log(t / p), with 0 log 0 = 0."""
    log_targets = np.log(np.where(targets > 0, targets, 1.0))
    terms = targets * (log_targets - log_predictions)
    return np.sum(terms, axis=axis, where=True if where is None else where)


def kl_divergence_with_log_targets(log_predictions, log_targets, axis=-1, where=None):
    """Kullback-Leibler divergence (Kullback & Leibler 1951) from log t and log p."""
    terms = np.exp(log_targets) * (log_targets - log_predictions)
    return np.sum(terms, axis=axis, where=True if where is None else where)


def convex_kl_divergence(log_predictions, targets, axis=-1, where=None):
    """Generalized divergence (Csiszar 1991): sum t log(t / p) + p - t, convex also where the sums
    are not 1.
    """
    log_targets = np.log(np.where(targets > 0, targets, 1.0))
    terms = targets * (log_targets - log_predictions) + np.exp(log_predictions) - targets
    return np.sum(terms, axis=axis, where=True if where is None else where)


generalized_kl_divergence = convex_kl_divergence


def hinge_loss(predictor_outputs, targets):
    """Hinge loss (Cortes & Vapnik 1995): max(0, 1 - t * y), t = -1 or 1."""
    return np.maximum(0.0, 1 - targets * predictor_outputs)


def perceptron_loss(predictor_outputs, targets):
    """Perceptron criterion (Rosenblatt 1958; Bishop 2006, equation 4.54): max(0, -t * y), t = -1 or
    1.
    """
    return np.maximum(0.0, -targets * predictor_outputs)


def multiclass_hinge_loss(scores, labels):
    """Multiclass hinge loss (Crammer & Singer 2001): max_j (s_j + 1 where j is not the label) -
    s_label.
    """
    loss = np.zeros(scores.shape[:-1])
    for i in np.ndindex(loss.shape):
        other = np.arange(scores.shape[-1]) != labels[i]
        loss[i] = np.max(scores[i] + other) - scores[i][labels[i]]
    return loss


def multiclass_perceptron_loss(scores, labels):
    """Multiclass perceptron (Collins 2002): max_j s_j - s_label."""
    return np.max(scores, axis=-1) - np.take_along_axis(scores, labels[..., None], axis=-1)[..., 0]


def triplet_margin_loss(
    anchors, positives, negatives, axis=-1, norm_degree=2, margin=1.0, eps=1e-6
):
    """Triplet loss (Balntas et al. 2016): max(0, d(a, p) - d(a, n) + margin)."""
    # eps inside the root, so that the distance has a gradient at 0 (optax, which leaves out the
    # absolute values).
    d_p = (np.sum(np.abs(anchors - positives) ** norm_degree, axis=axis) + eps) ** (1 / norm_degree)
    d_n = (np.sum(np.abs(anchors - negatives) ** norm_degree, axis=axis) + eps) ** (1 / norm_degree)
    return np.maximum(0.0, d_p - d_n + margin)


def ntxent(embeddings, labels, temperature=0.07):
    """NT-Xent (Chen et al. 2020, equation 1), averaged over all ordered pairs of equal labels."""
    unit = embeddings / np.sqrt(np.sum(embeddings**2, axis=-1, keepdims=True))
    s = unit @ unit.T / temperature
    losses = []
    for i, j in itertools.permutations(range(len(labels)), 2):
        if labels[i] == labels[j]:
            # With more than two of a label the others of it are left out of the sum, unlike in the
            # paper (optax).
            rest = [s[i, k] for k in range(len(labels)) if k == j or labels[k] != labels[i]]
            losses.append(np.logaddexp.reduce(rest) - s[i, j])
    return np.mean(losses)


def smooth_labels(labels, alpha, *, axis=-1, where=None):
    """Label smoothing (Szegedy et al. 2016, section 7; Mueller, Kornblith & Hinton 2019): (1 - a) *
    y + a / K.
    """
    included = np.broadcast_to(True if where is None else where, labels.shape)
    K = np.sum(included, axis=axis, keepdims=True)
    # A class that is left out gets no share of a, unlike in optax: the labels still sum to 1.
    return np.where(included, (1 - alpha) * labels + alpha / K, labels)


def ctc_loss(logits, logit_paddings, labels, label_paddings, *, blank_id=0, log_epsilon=-1e5):
    """CTC loss (Graves et al. 2006, section 3) by brute force, over every path that collapses to
    the label.
    """
    B, _, K = logits.shape
    loss = np.zeros(B)
    for b in range(B):
        log_p = log_softmax(logits[b], -1)[logit_paddings[b] == 0]
        label = [int(n) for n in labels[b][label_paddings[b] == 0]]
        log_paths = []
        for path in itertools.product(range(K), repeat=len(log_p)):
            without_repeats = [k for k, _ in itertools.groupby(path)]
            if [k for k in without_repeats if k != blank_id] == label:
                log_paths.append(sum(log_p[t, k] for t, k in enumerate(path)))
        # Without a path the loss is infinite; optax has some number close to -log_epsilon, its
        # substitute for -log 0.
        loss[b] = -np.logaddexp.reduce(log_paths) if log_paths else -log_epsilon
    return loss


def _sparsemax(z):
    """Projection onto the simplex (Martins & Astudillo 2016, algorithm 1): p, tau and the
    support.
    """
    ordered = np.sort(z)[::-1]
    k = max(k for k in range(1, len(z) + 1) if 1 + k * ordered[k - 1] > np.sum(ordered[:k]))
    tau = (np.sum(ordered[:k]) - 1) / k
    return np.maximum(z - tau, 0.0), tau, z > tau


def multiclass_sparsemax_loss(scores, labels):
    """Sparsemax loss (Martins & Astudillo 2016, section 3): -z_k + sum over the support of (z^2 -
    tau^2) / 2, plus 1/2.
    """
    loss = np.zeros(scores.shape[:-1])
    for i in np.ndindex(loss.shape):
        z = scores[i]
        _, tau, support = _sparsemax(z)
        loss[i] = -z[labels[i]] + 0.5 * np.sum(z[support] ** 2 - tau**2) + 0.5
    return loss


def sparsemax_loss(logits, labels):
    """Fenchel-Young loss of the squared norm (Blondel, Martins & Niculae 2020, table 1) for the two
    classes with scores (s, 0) and labels (y, 1 - y): (||y - z||^2 - ||sparsemax(z) - z||^2) / 2.
    """
    labels = np.broadcast_to(labels, logits.shape)
    loss = np.zeros(logits.shape)
    for i in np.ndindex(loss.shape):
        z, y = np.array([logits[i], 0.0]), np.array([labels[i], 1.0 - labels[i]])
        p, _, _ = _sparsemax(z)
        loss[i] = 0.5 * np.sum((y - z) ** 2) - 0.5 * np.sum((p - z) ** 2)
    return loss


def _segmented(predictions, targets, probabilities):
    """Probabilities of every class and targets, both with the axis of the classes."""
    if predictions.ndim < targets.ndim:
        predictions = predictions[..., None]
    if targets.ndim < predictions.ndim:
        targets = targets[..., None]
    if probabilities:
        return predictions, targets
    if predictions.shape[-1] == 1:
        return 1 / (1 + np.exp(-predictions)), targets
    return np.exp(log_softmax(predictions, -1)), targets


def dice_loss(
    predictions,
    targets,
    *,
    class_weights=None,
    smooth=1.0,
    alpha=0.5,
    beta=0.5,
    apply_softmax=True,
    reduction="mean",
    ignore_background=False,
    axis=None,
):
    """One minus the Tversky index of every class (Salehi, Erdogmus & Gholipour 2017):
    with alpha = beta = 1/2 the Dice coefficient.
    """
    # Milletari et al. 2016 have squares in the denominator; optax, as most, has not.
    p, g = _segmented(predictions, targets, not apply_softmax)
    if axis is None:
        axis = tuple(range(1, p.ndim - 1))  # the first is the batch
    both = np.sum(p * g, axis=axis)
    only_p, only_g = np.sum(p * (1 - g), axis=axis), np.sum((1 - p) * g, axis=axis)
    loss = 1 - (both + smooth) / (both + alpha * only_p + beta * only_g + smooth)
    if class_weights is not None:
        loss = class_weights * loss
    if ignore_background and p.shape[-1] > 1:
        loss = loss[..., 1:]
    return {"mean": np.mean, "sum": np.sum, "none": lambda x, axis: x}[reduction](loss, axis=-1)


def binary_dice_loss(predictions, targets, *, smooth=1.0, apply_sigmoid=True):
    """Dice loss of one class, of all that an example has."""
    n = len(predictions)
    p, g = predictions.reshape(n, -1), targets.reshape(n, -1)
    if apply_sigmoid:
        p = 1 / (1 + np.exp(-p))
    return 1 - 2 * (np.sum(p * g, 1) + smooth) / (np.sum(p, 1) + np.sum(g, 1) + 2 * smooth)


def multiclass_generalized_dice_loss(
    predictions, targets, *, smooth=1.0, apply_softmax=True, ignore_background=False
):
    """Generalised Dice loss (Sudre et al. 2017, section 2): 1 - 2 sum_l w_l sum_n r p / sum_l w_l
    sum_n (r + p), with w_l = 1 / (sum_n r)^2, of every example, and their mean.
    """
    p, r = _segmented(predictions, targets, not apply_softmax)
    if p.ndim == 1:
        p, r = p[None], r[None]
    losses = []
    for p_n, r_n in zip(p, r, strict=True):
        p_n, r_n = p_n.reshape(-1, p.shape[-1]), r_n.reshape(-1, p.shape[-1])
        if ignore_background and p.shape[-1] > 1:
            p_n, r_n = p_n[:, 1:], r_n[:, 1:]
        size = np.sum(r_n, axis=0)
        # The weight of a class that is not there is the largest of the others', as in the authors'
        # code (NiftyNet); the paper does not say.
        present = size > 0
        w = np.full(size.shape, np.max(1 / size[present] ** 2) if np.any(present) else 1.0)
        w[present] = 1 / size[present] ** 2
        both = np.sum(p_n * r_n, axis=0) + smooth
        sizes = np.sum(p_n + r_n, axis=0) + 2 * smooth
        losses.append(1 - 2 * np.sum(w * both) / np.sum(w * sizes))
    return np.mean(losses)


def ranking_softmax_loss(logits, labels, *, where=None, weights=None, reduce_fn=jnp.mean):
    """ListNet with top-one probabilities (Cao et al. 2007): cross entropy of the softmax of a
    list's scores, with its labels themselves as targets (Rax: Jagerman et al. 2022).
    """
    included = np.broadcast_to(True if where is None else where, logits.shape)
    gains = np.broadcast_to(labels if weights is None else labels * weights, logits.shape)
    loss = np.zeros(logits.shape[:-1])
    for i in np.ndindex(loss.shape):
        s, y = logits[i][included[i]], gains[i][included[i]]
        loss[i] = np.sum(y * (np.logaddexp.reduce(s) - s)) if len(s) else 0.0
    if reduce_fn is None:
        return loss
    # a list without items is none; of no lists the mean is 0 (optax)
    loss = loss[np.any(included, axis=-1)]
    return np.sum(loss) / max(loss.size, 1) if reduce_fn is jnp.mean else np.sum(loss)


# --- cases: arguments in float64 ------------------------------------------------------------------

_rng = np.random.default_rng(0)


def _normal(*shape, size=1.0):
    return size * _rng.normal(size=shape)


def _distribution(*shape):
    weights = _rng.random(shape) + 0.1
    return weights / weights.sum(-1, keepdims=True)


X, Y, Z = (_normal(2, 3, 4) for _ in range(3))
BIG = _normal(2, 3, 4, size=20.0)
P, Q = _distribution(2, 3, 4), _distribution(2, 3, 4)
ZERO = P * (P.max(-1, keepdims=True) > P)  # a distribution with entries 0, short of 1
SIGNS, BITS = np.sign(Y), (Y > 0) * 1.0
ONE_HOT = np.eye(4)[[[0, 1, 2], [3, 3, 0]]]
LABELS = np.array([[0, 1, 2], [3, 3, 0]])
INT_BITS = BITS.astype(int)
CLASS_WEIGHTS = np.array([0.5, 1.0, 2.0, 0.25])
SOME = _rng.random((2, 3, 4)) < 0.6
SOME[:, :, 0] = True
LINES = np.array([[True, False, True], [False, False, True]])
POINTS, GROUPS = _normal(6, 3), np.array([0, 0, 0, 1, 1, 2])

LOGITS = _normal(2, 5, 3)
PADDED = np.array([[0.0, 0, 0, 0, 0], [0, 0, 0, 1, 1]])
WORDS, WORDS_PADDED = np.array([[1, 1, 2], [2, 0, 0]]), np.array([[0.0, 0, 0], [0, 1, 1]])
TEXT = (LOGITS, PADDED, WORDS, WORDS_PADDED)


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    args: tuple
    settings: dict[str, Any]

    def given(self, dtype: Any) -> tuple:
        """The arguments in a precision; integers and masks as they are."""
        return tuple(
            jnp.asarray(a, dtype if a.dtype == float else None) for a in map(np.asarray, self.args)
        )

    def expected(self, args: tuple) -> np.ndarray:
        """The reference, on the arguments as rounded."""
        exact = [
            np.asarray(a, float if jnp.issubdtype(a.dtype, jnp.floating) else a.dtype) for a in args
        ]
        return globals()[self.name](*exact, **self.settings)

    def error(self, function: Any, dtype: Any) -> float:
        """The relative error of a loss that should be this one."""
        given = self.given(dtype)
        return relative_error(
            jax.jit(lambda *a: function(*a, **self.settings))(*given), self.expected(given)
        )

    def error_and_slopes(self, function: Any, dtype: Any) -> tuple[float, tuple]:
        """The same, and the gradients of the sum of the losses with respect to every floating
        argument.
        """

        def total(*args):
            loss = function(*args, **self.settings)
            return jnp.sum(loss), loss

        given = self.given(dtype)
        places = tuple(i for i, a in enumerate(given) if jnp.issubdtype(a.dtype, jnp.floating))
        slopes, loss = jax.jit(jax.grad(total, places, has_aux=True))(*given)
        return relative_error(loss, self.expected(given)), slopes


def _cases(name, *calls):
    return [
        Case(name, call, {}) if isinstance(call, tuple) else Case(name, call["args"], call["with"])
        for call in calls
    ]


def at(*args, **settings):
    """A call with settings."""
    return {"args": args, "with": settings}


CASES = [
    *_cases("squared_error", (X, Y), (X,), (X, np.array(0.5))),
    *_cases("l2_loss", (X, Y), (X,), (X, np.array(0.5))),
    *_cases(
        "huber_loss",
        (X, Y),
        (BIG, Y),
        at(X, Y, delta=0.3),
        at(X, delta=2.0),
        at(BIG, np.array(1.5), delta=7.0),
    ),
    *_cases("log_cosh", (X, Y), (BIG, Y), (X,)),
    *_cases("hinge_loss", (X, SIGNS), (BIG, SIGNS), (X, BITS), (X, np.array(-1.0))),
    *_cases("perceptron_loss", (X, SIGNS), (BIG, SIGNS), (X, BITS)),
    *_cases(
        "sigmoid_binary_cross_entropy", (X, BITS), (X, P), (BIG, BITS), (BIG, P), (X, np.array(1.0))
    ),
    *_cases(
        "sigmoid_focal_loss",
        *((X, BITS), (X, P), (BIG, BITS), at(X, BITS, alpha=0.3), at(X, P, alpha=0.25, gamma=0.5)),
        *(at(X, P, gamma=0.0), at(BIG, P, alpha=0.9, gamma=1.0), at(X, BITS, gamma=5.0)),
    ),
    *_cases(
        "softmax_cross_entropy",
        *(
            (X, P),
            (X, ONE_HOT),
            (BIG, P),
            (X, 3 * P),
            (X[:1], P),
            at(X, P, axis=0),
            at(X, P, axis=(0, -1)),
        ),
        *(
            at(X, P, axis=None),
            at(X, P, where=SOME),
            at(X, P, where=LINES),
            at(X, P, axis=1, where=SOME[:, 0]),
        ),
        *(at(X, P, where=LINES[..., None]), at(X, P, axis=(0, 2), where=SOME)),
    ),
    *_cases("safe_softmax_cross_entropy", (X, P), (BIG, ONE_HOT), (X, ZERO)),
    *_cases(
        "softmax_cross_entropy_with_integer_labels",
        *((X, LABELS), (BIG, LABELS), (X[0, 0], np.array(2)), (X, LABELS.astype(np.uint8))),
        *(
            at(X, LABELS[:, :, None].repeat(4, 2)[:, 0] % 3, axis=1),
            at(X, np.array([0, 7, 3]), axis=(0, 2)),
        ),
        *(at(X, np.array([0, 7, 3]), axis=(2, 0)), at(X, np.array([0, 7, 3]), axis=(-1, -3))),
        *(
            at(X, LABELS, axis=2, where=LINES),
            at(X, 0 * LABELS, where=SOME),
            at(X, LABELS, where=LINES[..., None]),
        ),
    ),
    *_cases(
        "poly_loss_cross_entropy",
        *((X, P), (BIG, ONE_HOT), at(X, P, epsilon=-1.0), at(X, ONE_HOT, epsilon=0.5, axis=0)),
        *(at(X, P, where=SOME), at(X, P, axis=(1, 2), where=SOME)),
    ),
    *_cases(
        "smooth_labels",
        *(
            at(ONE_HOT, alpha=0.1),
            at(P, alpha=0.7),
            at(ONE_HOT, alpha=0.2, axis=(0, 1)),
            at(P, alpha=0.2, axis=None),
        ),
        *(at(ONE_HOT, alpha=0.3, where=SOME), at(ONE_HOT, alpha=0.3, where=SOME[:1, :1], axis=2)),
        at(ONE_HOT, alpha=0.3, where=ONE_HOT == 1),
    ),
    *_cases(
        "multiclass_hinge_loss",
        (X, LABELS),
        (BIG, LABELS),
        (X[0, 0], np.array(1)),
        (0.1 * X, LABELS),
    ),
    *_cases("multiclass_perceptron_loss", (X, LABELS), (BIG, LABELS), (X[0, 0], np.array(1))),
    *_cases(
        "kl_divergence",
        *(
            (np.log(Q), P),
            (np.log(Q), ZERO),
            (X, 2 * P),
            (np.log(Q[:1]), P),
            at(np.log(Q), P, axis=0),
        ),
        *(at(np.log(Q), P, axis=(1, 2)), at(X, P, where=SOME), at(X, ZERO, axis=None, where=SOME)),
    ),
    *_cases(
        "kl_divergence_with_log_targets",
        *((np.log(Q), np.log(P)), (X, Y), at(np.log(Q), Y, axis=(0, 1)), at(X, Y, where=SOME)),
    ),
    *_cases(
        "generalized_kl_divergence",
        *(
            (np.log(Q), P),
            (X, 2 * P),
            (X, ZERO),
            at(X, P, axis=0),
            at(X, P, where=SOME),
            at(X, P, axis=None),
        ),
    ),
    *_cases("convex_kl_divergence", (np.log(Q), P)),
    *_cases(
        "cosine_similarity",
        *(
            (X, Y),
            (BIG, Y),
            (X[:, :, None], Y[:, None]),
            at(X, Y, epsilon=4.0),
            at(X, Y, epsilon=4.0, axis=0),
        ),
        *(
            at(X, Y, axis=(0, 2)),
            at(X, Y, axis=None),
            at(X, Y, where=SOME),
            at(X, Y, where=SOME[:1], axis=1),
        ),
    ),
    *_cases("cosine_distance", (X, Y), at(X, Y, epsilon=4.0, axis=1), at(X, Y, where=SOME)),
    *_cases(
        "ntxent",
        at(POINTS, GROUPS, temperature=0.5),
        at(POINTS, GROUPS % 2),
        at(POINTS[:4], GROUPS[1:5]),
    ),
    *_cases(
        "triplet_margin_loss",
        *(
            (X, Y, Z),
            at(X, Y, Z, margin=3.0),
            at(X, Y, Z, axis=1, margin=3.0),
            at(X, Y[:1], Z, margin=3.0, eps=0.5),
        ),
        *(
            at(X, Y, Z, norm_degree=1, margin=9.0),
            at(X, Y, Z, norm_degree=3, margin=3.0),
            (X, X + 0.1, Z),
        ),
    ),
    *_cases(
        "ctc_loss",
        *(
            TEXT,
            (LOGITS, 0 * PADDED, np.array([[2, 1, 1], [1, 2, 1]]), 0 * WORDS_PADDED),
            (LOGITS, PADDED[:, ::-1] == 1, WORDS, WORDS_PADDED == 1),
        ),
        *(
            (LOGITS, PADDED, WORDS, 0 * WORDS_PADDED + 1),
            at(LOGITS, PADDED, 0 * WORDS, WORDS_PADDED, blank_id=2),
        ),
        *(
            (LOGITS, PADDED, WORDS[:, :0], WORDS_PADDED[:, :0]),
            (4 * LOGITS, PADDED, WORDS[:, 1:], WORDS_PADDED[:, 1:]),
        ),
    ),
    *_cases(
        "sparsemax_loss",
        *((X, BITS), (X, P), (BIG, BITS), (BIG, P), (X, np.array(1.0)), (0.1 * X, INT_BITS)),
    ),
    *_cases(
        "multiclass_sparsemax_loss",
        *((X[0], LABELS[0]), (X, LABELS), (BIG, LABELS), (0.1 * X, LABELS)),
        *((X[0, 0], np.array(2)), (0.5 * X, LABELS.astype(np.uint8))),
    ),
    *_cases(
        "dice_loss",
        *((X, ONE_HOT), (X, P), (BIG, ONE_HOT), (X, ONE_HOT.astype(int)), at(X, P, smooth=0.01)),
        *(at(X, ONE_HOT, alpha=0.3, beta=0.9), at(X, P, alpha=1.0, beta=0.0, smooth=0.3)),
        *(at(X, P, reduction="sum"), at(X, P, reduction="none"), at(Q, P, apply_softmax=False)),
        *(
            at(X, P, class_weights=CLASS_WEIGHTS),
            at(X, P, class_weights=CLASS_WEIGHTS, ignore_background=True),
            at(X, P, ignore_background=True, reduction="none"),
            at(X[..., :2], P[..., :2], ignore_background=True),
            at(X[0, 0], P[0, 0], ignore_background=True),
        ),
        *(at(X, P, axis=0), at(X, P, axis=(0, 1)), at(X, P, axis=()), at(X, P, axis=-2)),
        *((X[0], P[0]), (X[0, 0], P[0, 0]), (X[..., :1], BITS[..., :1])),
        *(
            (X[..., None], BITS),
            (BIG, BITS[..., None]),
            at(X[..., None], P, ignore_background=True),
        ),
    ),
    *_cases(
        "binary_dice_loss",
        *((X, BITS), (BIG, P), at(X, P, smooth=0.1), at(Q, P, apply_sigmoid=False)),
        *((X[..., :1], P[..., :1]), (X[..., None], P), (X[0, 0], P[0, 0])),
    ),
    *_cases(
        "multiclass_generalized_dice_loss",
        *((X, P), (X, ONE_HOT.astype(int)), (BIG, P), at(X, P, smooth=0.01)),
        *(at(Q, P, apply_softmax=False), at(X, P, ignore_background=True)),
        *(at(X, ONE_HOT.astype(int), ignore_background=True), (X[..., :1], BITS[..., :1])),
        *(at(X, np.zeros((2, 3, 4), int), ignore_background=True), (X[:, None], P[:, None])),
        *((X[0], P[0]), (X[0, 0], P[0, 0]), at(X[..., :2], P[..., :2], ignore_background=True)),
        at(X[..., :1], P[..., :1], ignore_background=True),
    ),
    *_cases(
        "ranking_softmax_loss",
        *((X, P), (X, 3 * P), (BIG, P), (X, LABELS[:, :, None].repeat(4, 2)), (X[0, 0], P[0, 0])),
        *(
            at(X, P, where=SOME),
            at(X, P, where=SOME & LINES[..., None]),
            at(X, P, where=SOME & False),
        ),
        *(at(X, P, weights=Z**2), at(X, P, weights=Z[..., :1] ** 2), at(X, P[:1])),
        *(
            at(X, P, reduce_fn=None, where=SOME & LINES[..., None]),
            at(X, P, reduce_fn=None, weights=Z**2),
            at(X, P, reduce_fn=jnp.sum),
            at(X, P, reduce_fn=jnp.sum, where=SOME & LINES[..., None], weights=Z**2),
            at(X, P, where=LINES[..., None]),
        ),
    ),
]
FUNCTIONS = {name: getattr(losses, name) for name in dict.fromkeys(case.name for case in CASES)}


# --- where naive formulas have no value or no slope -----------------------------------------------


@dataclasses.dataclass(frozen=True)
class Hard:
    name: str
    args: list[np.ndarray]
    settings: dict[str, Any]
    value: Any
    slopes: list  # with respect to the arguments
    floor: float = 0.3  # below it errors are absolute

    def error(self, function: Any) -> float:
        """The largest relative error of the loss and its slopes; NaN counts as infinite."""
        args = [jnp.asarray(a, jnp.float32) for a in self.args]

        def total(*args):
            loss = function(*args, **self.settings)
            return jnp.sum(loss), loss

        slopes, loss = jax.jit(jax.grad(total, tuple(range(len(args))), has_aux=True))(*args)
        worst = 0.0
        for found, expected in zip([loss, *slopes], [self.value, *self.slopes], strict=True):
            found, expected = np.asarray(found, float), np.asarray(expected, float)
            assert found.shape == expected.shape
            errors = np.abs(found - expected) / np.maximum(np.abs(expected), self.floor)
            worst = max(worst, float(np.max(np.where(np.isnan(errors), np.inf, errors))))
        return worst


INF = math.inf
ZEROS, ONES = np.zeros(3), np.ones(3)
HALVES = np.array([0.0, 0.5, 0.5])
FAR = np.array([1e4, 1e4, -1e4, -1e4, 0.0])
RIGHT = np.array([1.0, 0, 1, 0, 0.5])
MASKED = np.array([-INF, 1.0, 2.0])
NEVER = np.array([False, False, False])
ONE_OF_TWO = math.log1p(math.exp(-1.0))  # -log of the softmax of (1, 2) at 2
P2 = 1 / (1 + math.exp(-1.0))

HARD = {
    "huber at delta": Hard(
        "huber_loss", [np.array([-1.0, 1.0, 0.0, 3.0])], {}, [0.5, 0.5, 0, 2.5], [[-1, 1, 0, 1]]
    ),
    "log_cosh": Hard(
        "log_cosh",
        [np.array([0.0, 1e-5, 1, 1e4, -3e38])],
        {},
        [0, 5e-11, math.log(math.cosh(1)), 1e4 - math.log(2), 3e38],
        [[0, 1e-5, math.tanh(1), 1, -1]],
        floor=1e-12,
    ),
    "hinge at its corner": Hard(
        "hinge_loss", [np.array([1.0, 2.0])], {"targets": 1.0}, [0, 0], [[-0.5, 0]]
    ),
    "sigmoid far away": Hard(
        "sigmoid_binary_cross_entropy",
        [FAR, RIGHT],
        {},
        [0, 1e4, 1e4, 0, math.log(2)],
        [[0, 1, -1, 0, 0], [-1e4, -1e4, 1e4, 1e4, 0]],
    ),
    "sigmoid sure and right": Hard(
        "sigmoid_binary_cross_entropy",
        [np.array([30.0, -30.0])],
        {"labels": np.array([1.0, 0.0])},
        [math.exp(-30), math.exp(-30)],
        [[-math.exp(-30), math.exp(-30)]],
        floor=1e-15,
    ),
    "sigmoid at infinity": Hard(
        "sigmoid_binary_cross_entropy",
        [np.array([INF, -INF])],
        {"labels": np.array([1.0, 0.0])},
        [0, 0],
        [[0, 0]],
    ),
    "focal far away": Hard(
        "sigmoid_focal_loss",
        [FAR],
        {"labels": RIGHT, "gamma": 0.5, "alpha": 0.25},
        [0, 0.75e4, 0.25e4, 0, 0.5 * 0.5**0.5 * math.log(2)],
        [[0, 0.75, -0.25, 0, 0]],
    ),
    "a class of probability 0": Hard(
        "softmax_cross_entropy",
        [MASKED, np.array([0.0, 0, 1])],
        {},
        ONE_OF_TWO,
        [[0, 1 - P2, P2 - 1], [0, ONE_OF_TWO + 1, ONE_OF_TWO]],
    ),
    "a class of probability 0, by number": Hard(
        "softmax_cross_entropy_with_integer_labels",
        [MASKED],
        {"labels": 2},
        ONE_OF_TWO,
        [[0, 1 - P2, P2 - 1]],
    ),
    "a masked NaN": Hard(
        "softmax_cross_entropy",
        [np.array([math.nan, 1.0, 2.0]), np.array([math.nan, 0, 1])],
        {"where": ~np.isnan([math.nan, 1, 2])},
        ONE_OF_TWO,
        [[0, 1 - P2, P2 - 1], [0, ONE_OF_TWO + 1, ONE_OF_TWO]],
    ),
    "no class": Hard("softmax_cross_entropy", [ONES, ONES], {"where": NEVER}, 0, [ZEROS, ZEROS]),
    "no class by number": Hard(
        "softmax_cross_entropy_with_integer_labels",
        [ONES],
        {"labels": 1, "where": NEVER},
        0,
        [ZEROS],
    ),
    "poly without a class": Hard(
        "poly_loss_cross_entropy", [ONES, ONES], {"where": NEVER}, 0, [ZEROS, ZEROS]
    ),
    "poly with a class of probability 0": Hard(
        "poly_loss_cross_entropy",
        [MASKED],
        {"labels": np.array([0.0, 0, 1]), "epsilon": 1.0},
        ONE_OF_TWO + 1 - P2,
        [[0, (1 - P2) * (1 + P2), (P2 - 1) * (1 + P2)]],
    ),
    "kl at 0": Hard(
        "kl_divergence",
        [np.log(HALVES + 1e-30), HALVES],
        {},
        0,
        [-HALVES, [30 * math.log(10), 1, 1]],
    ),
    "kl of impossible and never": Hard(
        "kl_divergence",
        [np.array([-INF, math.log(0.5), math.log(0.5)]), HALVES],
        {},
        0,
        [-HALVES, [0, 1, 1]],
    ),
    "kl of logs at -inf": Hard(
        "kl_divergence_with_log_targets",
        [np.array([-INF, math.log(0.5), math.log(0.5)])] * 2,
        {},
        0,
        [-HALVES, HALVES],
    ),
    "kl of a masked NaN": Hard(
        "kl_divergence",
        [np.array([math.nan, 0.0]), np.array([math.nan, 1.0])],
        {"where": np.array([False, True])},
        0,
        [[0, -1], [0, 1]],
    ),
    "generalized kl at 0": Hard("generalized_kl_divergence", [ZEROS, ZEROS], {}, 3, [ONES, -ONES]),
    "cosine of nothing": Hard("cosine_similarity", [ZEROS, ONES], {}, 0, [ZEROS, ZEROS]),
    "cosine of nothing twice": Hard("cosine_distance", [ZEROS, ZEROS], {}, 1, [ZEROS, ZEROS]),
    "cosine near nothing": Hard(
        "cosine_similarity",
        [ZEROS, np.array([2.0, 0, 0])],
        {"epsilon": 0.25},
        0,
        [[2, 0, 0], ZEROS],
    ),
    "cosine of a masked NaN": Hard(
        "cosine_similarity",
        [np.array([math.nan, 2.0]), np.array([1.0, 3.0])],
        {"where": np.array([False, True])},
        1,
        [[0, 0], [0, 0]],
    ),
    "ntxent without pairs": Hard(
        "ntxent", [np.eye(3)], {"labels": np.arange(3)}, 0, [np.zeros((3, 3))]
    ),
    "ntxent without negatives": Hard(
        "ntxent", [np.eye(3)], {"labels": np.zeros(3, int)}, 0, [np.zeros((3, 3))]
    ),
    "ntxent of nothing": Hard(
        "ntxent",
        [np.zeros((4, 2))],
        {"labels": np.array([0, 0, 1, 1])},
        math.log(3),
        [np.zeros((4, 2))],
    ),
    "triplet of one point": Hard(
        "triplet_margin_loss", [ONES, ONES, ONES], {"eps": 0.0}, 1, [ZEROS, ZEROS, ZEROS]
    ),
    "triplet of two points": Hard(
        "triplet_margin_loss",
        [ONES, ONES, ZEROS],
        {"eps": 0.0, "margin": 2.0},
        2 - math.sqrt(3),
        [-ONES / math.sqrt(3), ZEROS, ONES / math.sqrt(3)],
    ),
    "triplet of one point, degree 1": Hard(
        "triplet_margin_loss",
        [ONES, ONES, ONES],
        {"eps": 0.0, "norm_degree": 1},
        1,
        [ZEROS, ZEROS, ZEROS],
    ),
    "sparsemax at its corners": Hard(
        "sparsemax_loss",
        [np.array([-1.0, 1, 1, -1, 0]), np.array([0.0, 0, 1, 1, 1])],
        {},
        [0, 1, 0, 1, 0.25],
        [[0, 1, 0, -1, -0.5], [0, -2, 0, 2, 1]],
    ),
    "sparsemax near its corner": Hard(
        "sparsemax_loss",
        [np.array([1 - 2**-12, 2**-12 - 1, 1 - 2**-12])],
        {"labels": np.array([1.0, 0.0, 1 - 2**-12])},
        [2**-26, 2**-26, 2**-26],
        [[-(2**-13), 2**-13, 2**-13]],
        floor=1e-12,
    ),
    "sparsemax far away": Hard(
        "sparsemax_loss", [FAR], {"labels": RIGHT}, [0, 1e4, 1e4, 0, 0], [[0, 1, -1, 0, 0]]
    ),
    "sparsemax at infinity": Hard(
        "sparsemax_loss", [np.array([INF, -INF])], {"labels": np.array([1, 0])}, [0, 0], [[0, 0]]
    ),
    "sparsemax of equals": Hard(
        "multiclass_sparsemax_loss", [ZEROS], {"labels": 1}, 1 / 3, [[1 / 3, -2 / 3, 1 / 3]]
    ),
    "sparsemax at a corner of the simplex": Hard(
        "multiclass_sparsemax_loss",
        [np.array([[0.0, 1, 0], [0, 1, 0], [5, 0, -5]])],
        {"labels": np.array([1, 0, 0])},
        [0, 1, 0],
        [[[0, 0, 0], [-1, 1, 0], [0, 0, 0]]],
    ),
    "sparsemax near a corner of the simplex": Hard(
        "multiclass_sparsemax_loss",
        [np.array([2**-11, 1, -1.0])],
        {"labels": 1},
        2**-24,
        [[2**-12, -(2**-12), 0]],
        floor=1e-12,
    ),
    "sparsemax of large scores": Hard(
        "multiclass_sparsemax_loss",
        [np.array([1e4 + 0.25, 1e4, 1e4 - 0.5])],
        {"labels": 1},
        0.5 * 0.625**2 * 2,
        [[0.625, -0.625, 0]],
    ),
    "sparsemax with a class of probability 0": Hard(
        "multiclass_sparsemax_loss",
        [np.array([-INF, 0.25, 0.0, -INF])],
        {"labels": 1},
        0.375**2,
        [[0, -0.375, 0.375, 0]],
    ),
    "dice sure and right": Hard(
        "binary_dice_loss",
        [np.array([[30.0, -30.0, 30.0, -30.0]])],
        {"targets": np.array([[1.0, 0, 1, 0]])},
        [2 * math.exp(-30) / 3],
        [[[-math.exp(-30) / 6, math.exp(-30) / 6] * 2]],
        floor=1e-16,
    ),
    "dice of nothing": Hard(
        "dice_loss",
        [np.zeros((1, 2, 2)), np.zeros((1, 2, 2))],
        {"smooth": 0.0, "apply_softmax": False},
        [0],
        [np.zeros((1, 2, 2)), np.zeros((1, 2, 2))],
    ),
    "dice with a class of probability 0": Hard(
        "dice_loss",
        [np.array([[[-INF, 0.0, 0.0], [-INF, 0.0, 0.0]]])],
        {"targets": np.array([[[0.0, 1, 0], [0, 0, 1]]]), "smooth": 0.0},
        [1 / 3],
        [[[[0, -1 / 12, 1 / 12], [0, 1 / 12, -1 / 12]]]],
    ),
    "a class that is not there": Hard(
        "multiclass_generalized_dice_loss",
        [np.array([[[0.0, 20.0, -20.0]] * 3 + [[20.0, 0, -20.0]]])],
        {"targets": np.array([[[1, 0, 0]] * 3 + [[0, 1, 0]]]), "smooth": 0.0},
        1,
        [np.zeros((1, 4, 3))],
        floor=0.01,
    ),
    "segmentation of no class": Hard(
        "multiclass_generalized_dice_loss",
        [np.zeros((1, 2, 2)), np.zeros((1, 2, 2))],
        {"smooth": 0.0, "apply_softmax": False},
        0,
        [np.zeros((1, 2, 2)), np.zeros((1, 2, 2))],
    ),
    "ranking of a masked NaN": Hard(
        "ranking_softmax_loss",
        [
            np.array([[math.nan, 1.0, 2.0], [math.nan] * 3]),
            np.array([[math.nan, 0, 1], [math.nan] * 3]),
        ],
        {"where": np.array([[False, True, True], NEVER])},
        ONE_OF_TWO,
        [[[0, 1 - P2, P2 - 1], [0, 0, 0]], [[0, ONE_OF_TWO + 1, ONE_OF_TWO], [0, 0, 0]]],
    ),
    "ranking of weights without an effect": Hard(
        "ranking_softmax_loss",
        [np.array([5.0, 1.0, 2.0])],
        {
            "labels": np.array([math.nan, 0, 1]),
            "where": np.array([False, True, True]),
            "weights": np.array([math.nan, INF, 1.0]),
        },
        ONE_OF_TWO,
        [[0, 1 - P2, P2 - 1]],
    ),
    "ranking with an item of probability 0": Hard(
        "ranking_softmax_loss",
        [np.array([MASKED]), np.array([[0.0, 0, 1]])],
        {},
        ONE_OF_TWO,
        [[[0, 1 - P2, P2 - 1]], [[0, ONE_OF_TWO + 1, ONE_OF_TWO]]],
    ),
    "ranking of no items": Hard(
        "ranking_softmax_loss",
        [np.ones((2, 3)), np.ones((2, 3))],
        {"where": np.array([NEVER, NEVER])},
        0,
        [np.zeros((2, 3)), np.zeros((2, 3))],
    ),
}


# --- facts ----------------------------------------------------------------------------------------

# --- classes --------------------------------------------------------------------------------------


def _no_class_is_seen(namespace: Namespace) -> bool:
    """NaN is the loss of a label that is not one of the classes."""
    scores, labels = np.arange(20.0).reshape(5, 4) % 7, np.array([0, -1, 4, -4, 3])
    names = (
        "softmax_cross_entropy_with_integer_labels",
        "multiclass_hinge_loss",
        "multiclass_perceptron_loss",
    )
    found = [np.isnan(namespace[name](scores, labels)).tolist() for name in names]
    return found == 3 * [[False, True, True, True, False]]


def _mask_of_others_is_refused(namespace: Namespace) -> bool:
    """A mask fits the logits, not only the labels, which may be the same for all examples."""
    try:
        namespace["softmax_cross_entropy"](
            np.ones((2, 5)), np.ones((1, 5)), where=np.ones((3, 5), bool)
        )
    except ArgumentError as error:
        return "got logits (2, 5), where (3, 5)" in str(error)
    return False


# --- sequences ------------------------------------------------------------------------------------


def spelled(path, blank=0):
    """What a path of classes spells: repeats as one, then without blanks."""
    return [k for k, _ in itertools.groupby(path) if k != blank]


def _forward_is_a_sum_over_paths(namespace: Namespace) -> bool:
    logits, word = jnp.asarray(LOGITS[:1]), [1, 1, 2]
    forward = jax.jit(namespace["ctc_loss_with_forward_probs"])
    loss, blank, label = forward(logits, PADDED[:1], WORDS[:1], WORDS_PADDED[:1])
    log_p = np.asarray(jax.nn.log_softmax(logits[0]))
    assert blank.shape == (5, 1, 4) and label.shape == (5, 1, 3)
    np.testing.assert_allclose(loss, ctc_loss(*(x[:1] for x in TEXT)), rtol=1e-12)
    for t, n in itertools.product(range(5), range(4)):
        paths = [
            path for path in itertools.product(range(3), repeat=t + 1) if spelled(path) == word[:n]
        ]
        for ends_blank, found in ((True, blank), (False, label)):
            mine = [
                sum(log_p[i, k] for i, k in enumerate(p))
                for p in paths
                if (p[-1] == 0) == ends_blank
            ]
            if mine:
                value = found[t, 0, n if ends_blank else n - 1]
                np.testing.assert_allclose(value, np.logaddexp.reduce(mine), rtol=1e-12)
    return True


def _impossible_costs_1e5(namespace: Namespace) -> bool:
    """Two frames cannot spell three labels; by default that costs about 1e5."""
    short = (LOGITS[:, :2], PADDED[:, :2], WORDS, 0 * WORDS_PADDED)
    found = namespace["ctc_loss"](*short), namespace["ctc_loss_with_forward_probs"](*short)[0]
    return all(np.allclose(loss, 1e5, rtol=0.01) for loss in found)


def _nothing_to_spell(namespace: Namespace) -> bool:
    """Without labels all frames are blank; there is one blank to be at, and no label."""
    loss, blank, label = namespace["ctc_loss_with_forward_probs"](
        LOGITS, 0 * PADDED, WORDS[:, :0], WORDS_PADDED[:, :0]
    )
    expected = np.cumsum(log_softmax(LOGITS, -1)[:, :, 0], 1)
    assert blank.shape == (5, 2, 1) and label.shape == (5, 2, 0)
    return np.allclose(blank[:, :, 0], expected.T, rtol=1e-12) and np.allclose(
        loss, -expected[:, -1], rtol=1e-12
    )


def _takes_lists(namespace: Namespace) -> bool:
    return np.allclose(
        namespace["ctc_loss"](*(x.tolist() for x in TEXT)), ctc_loss(*TEXT), rtol=1e-12
    )


def _only_of_whole_distributions(namespace: Namespace) -> bool:
    """No rounding below 0 where both sum to 1 within a hundredth; what is negative by its formula
    stays so.
    """
    p = np.exp(log_softmax(np.random.default_rng(0).normal(size=(500, 10)), -1))
    divergence = namespace["kl_divergence"]
    near = divergence(np.log(p) + 1e-17, p), divergence(np.log(1.007 * p), p)
    larger = divergence(np.log(2 * p), p), divergence(np.log(p / 2), p / 4)
    no_less = all(np.all(x >= 0) for x in near)
    return no_less and np.allclose(larger[0], -np.log(2)) and np.allclose(larger[1], -np.log(2) / 4)


# --- segmentations and lists ----------------------------------------------------------------------


def _weights_of_tiny_classes_are_finite(namespace: Namespace) -> bool:
    """The square of a size of 1e-25 is 0 in float32, not its share of another one's."""
    targets = np.float32([[[1e-25, 1.0], [0.0, 1.0]]])
    found = namespace["multiclass_generalized_dice_loss"](0 * targets, targets)
    # w = (1, 0) in the end, so that the class of size 1e-25 alone counts: 1 - 2·1 / (1 + 2)
    return np.allclose(found, 1 / 3, rtol=1e-6)


def _slopes_of_what_is_masked_are_0(namespace: Namespace) -> bool:
    """Also those of labels and weights where the other one is NaN."""
    logits, where = np.array([math.nan, 1.0, 2.0]), np.array([False, True, True])

    def loss(labels, weights):
        return namespace["ranking_softmax_loss"](logits, labels, where=where, weights=weights)

    labels, weights = jnp.array([math.nan, 0.0, 1.0]), jnp.array([math.nan, 2.0, 3.0])
    slopes = jax.grad(loss, (0, 1))(labels, weights)
    return np.allclose(slopes[0], [0, 2 * ONE_OF_TWO + 2, 3 * ONE_OF_TWO]) and np.allclose(
        slopes[1], [0, 0, ONE_OF_TWO]
    )


def _reduces_lists(namespace: Namespace) -> bool:
    """The function that reduces is called with the lists that count, one by one also where one mask
    is for all.
    """
    calls = []

    def spy(losses, where=None):
        calls.append((losses.shape, where if where is None else where.tolist()))
        return 1.0

    loss = namespace["ranking_softmax_loss"]
    loss(X[0], P[0], reduce_fn=spy)
    loss(X[0], P[0], reduce_fn=spy, where=LINES[0][:, None])
    one = loss(X[0], P[0], reduce_fn=spy, where=np.zeros((1, 4), bool))
    expected = [((3,), None), ((3,), [True, False, True]), ((3,), [False, False, False])]
    return calls == expected and one.dtype == jnp.float64


# --- losses made of a function --------------------------------------------------------------------


def _fenchel_young_of_log_sum_exp_is_cross_entropy(namespace: Namespace) -> bool:
    """The conjugate of the negative entropy makes the cross entropy of the softmax (Blondel,
    Martins & Niculae 2020, table 1), with slope softmax - y.
    """
    made = namespace["make_fenchel_young_loss"](jax.scipy.special.logsumexp)
    given = jnp.asarray(X), jnp.asarray(P)
    slopes = jax.grad(lambda x, y: jnp.sum(made(x, y)), (0, 1))(*given)
    same = np.allclose(made(*given), softmax_cross_entropy(X, P), rtol=1e-12)
    one_for_all = np.allclose(made(X[:1], P), softmax_cross_entropy(X[:1], P), rtol=1e-12)
    right = np.allclose(slopes[0], np.exp(log_softmax(X, -1)) - P, rtol=1e-12, atol=1e-14)
    return same and one_for_all and right and np.allclose(slopes[1], -X)


def _fenchel_young_of_a_vector(namespace: Namespace) -> bool:
    """The function sees one vector at a time, with what the loss was called with."""

    def max_fun(vector, scale, *, power):
        assert vector.shape == (4,) and vector.dtype == jnp.float64
        return scale * jnp.sort(vector)[-1] ** power

    made = namespace["make_fenchel_young_loss"](max_fun)
    expected = 3 * np.max(X, -1) ** 2 - np.sum(X * P, -1)
    return np.allclose(made(X, P, 3.0, power=2), expected, rtol=1e-12)


def _fenchel_young_of_minus_infinity(namespace: Namespace) -> bool:
    """0·∞ = 0: what is never right may be impossible."""
    made = namespace["make_fenchel_young_loss"](jax.scipy.special.logsumexp)
    return np.allclose(made(MASKED, np.array([0.0, 0, 1])), ONE_OF_TWO, rtol=1e-12)


PROBES = {
    "optax_lite.losses.sparse": {
        "entropy": _fenchel_young_of_log_sum_exp_is_cross_entropy,
        "vector": _fenchel_young_of_a_vector,
        "infinity": _fenchel_young_of_minus_infinity,
    },
    "optax_lite.losses.overlap": {"tiny": _weights_of_tiny_classes_are_finite},
    "optax_lite.losses.ranking": {
        "slopes": _slopes_of_what_is_masked_are_0,
        "lists": _reduces_lists,
    },
    "optax_lite.losses.vectors": {"whole": _only_of_whole_distributions},
    "optax_lite.losses.classes": {
        "no class": _no_class_is_seen,
        "mask": _mask_of_others_is_refused,
    },
    "optax_lite.losses.ctc": {
        "forward": _forward_is_a_sum_over_paths,
        "impossible": _impossible_costs_1e5,
        "nothing": _nothing_to_spell,
        "lists": _takes_lists,
    },
}
