"""Numpy references: losses, from their formulas."""

import itertools

import numpy as np


def log_softmax(x, axis, where=None):
    """log(exp(x) / sum(exp(x))) (Goodfellow, Bengio & Courville 2016, equation 6.30), shifted by the largest entry."""
    included = np.ones(x.shape, dtype=bool) if where is None else np.broadcast_to(where, x.shape)
    some = np.any(included, axis=axis, keepdims=True)
    largest = np.where(some, np.max(x, axis=axis, keepdims=True, where=included, initial=-np.inf), 0.0)
    total = np.where(some, np.sum(np.exp(x - largest), axis=axis, keepdims=True, where=included), 1.0)
    return x - largest - np.log(total)


def softmax_cross_entropy(logits, labels, axis=-1, where=None):
    """Cross entropy of the softmax (Goodfellow, Bengio & Courville 2016, section 6.2.2.3): -sum y log p."""
    if where is not None and where.ndim < logits.ndim:
        where = np.expand_dims(where, axis)  # whole examples: the loss of one that is left out is 0
    terms = -labels * log_softmax(logits, axis, where)
    return np.sum(terms, axis=axis, where=True if where is None else where)


def softmax_cross_entropy_with_integer_labels(logits, labels, axis=-1, where=None):
    """Cross entropy of the softmax (Goodfellow, Bengio & Courville 2016, section 6.2.2.3): -log p_y."""
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
    one_minus_P_t = np.sum(labels * (1 - np.exp(log_softmax(logits, axis, where))), axis=axis, where=included)
    return softmax_cross_entropy(logits, labels, axis, where) + epsilon * one_minus_P_t


def sigmoid_binary_cross_entropy(logits, labels):
    """Cross entropy of the sigmoid (Bishop 2006, equation 4.90): -y log p - (1 - y) log(1 - p)."""
    log_p = -np.logaddexp(0.0, -logits)
    log_not_p = -np.logaddexp(0.0, logits)
    return -labels * log_p - (1 - labels) * log_not_p


def sigmoid_focal_loss(logits, labels, *, alpha=None, gamma=2.0):
    """Focal loss (Lin et al. 2017, equation 5); for labels between 0 and 1 as in the authors' code."""
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
    """Cosine of the angle between two vectors: <a, b> / (||a|| ||b||); epsilon: lower bound of each squared norm."""
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
    """Generalized divergence (Csiszar 1991): sum t log(t / p) + p - t, convex also where the sums are not 1."""
    log_targets = np.log(np.where(targets > 0, targets, 1.0))
    terms = targets * (log_targets - log_predictions) + np.exp(log_predictions) - targets
    return np.sum(terms, axis=axis, where=True if where is None else where)


generalized_kl_divergence = convex_kl_divergence


def hinge_loss(predictor_outputs, targets):
    """Hinge loss (Cortes & Vapnik 1995): max(0, 1 - t * y), t = -1 or 1."""
    return np.maximum(0.0, 1 - targets * predictor_outputs)


def perceptron_loss(predictor_outputs, targets):
    """Perceptron criterion (Rosenblatt 1958; Bishop 2006, equation 4.54): max(0, -t * y), t = -1 or 1."""
    return np.maximum(0.0, -targets * predictor_outputs)


def multiclass_hinge_loss(scores, labels):
    """Multiclass hinge loss (Crammer & Singer 2001): max_j (s_j + 1 where j is not the label) - s_label."""
    loss = np.zeros(scores.shape[:-1])
    for i in np.ndindex(loss.shape):
        other = np.arange(scores.shape[-1]) != labels[i]
        loss[i] = np.max(scores[i] + other) - scores[i][labels[i]]
    return loss


def multiclass_perceptron_loss(scores, labels):
    """Multiclass perceptron (Collins 2002): max_j s_j - s_label."""
    return np.max(scores, axis=-1) - np.take_along_axis(scores, labels[..., None], axis=-1)[..., 0]


def triplet_margin_loss(anchors, positives, negatives, axis=-1, norm_degree=2, margin=1.0, eps=1e-6):
    """Triplet loss (Balntas et al. 2016): max(0, d(a, p) - d(a, n) + margin)."""
    # eps inside the root, so that the distance has a gradient at 0 (optax, which leaves out the absolute values).
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
            # With more than two of a label the others of it are left out of the sum, unlike in the paper (optax).
            rest = [s[i, k] for k in range(len(labels)) if k == j or labels[k] != labels[i]]
            losses.append(np.logaddexp.reduce(rest) - s[i, j])
    return np.mean(losses)


def smooth_labels(labels, alpha, *, axis=-1, where=None):
    """Label smoothing (Szegedy et al. 2016, section 7; Mueller, Kornblith & Hinton 2019): (1 - a) * y + a / K."""
    included = np.broadcast_to(True if where is None else where, labels.shape)
    K = np.sum(included, axis=axis, keepdims=True)
    # A class that is left out gets no share of a, unlike in optax: the labels still sum to 1.
    return np.where(included, (1 - alpha) * labels + alpha / K, labels)


def ctc_loss(logits, logit_paddings, labels, label_paddings, *, blank_id=0, log_epsilon=-1e5):
    """CTC loss (Graves et al. 2006, section 3) by brute force, over every path that collapses to the label."""
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
        # Without a path the loss is infinite; optax has some number close to -log_epsilon, its substitute for -log 0.
        loss[b] = -np.logaddexp.reduce(log_paths) if log_paths else -log_epsilon
    return loss
