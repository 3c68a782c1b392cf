"""Numpy references: gradient clipping."""

import numpy as np


def clip(g, s, w, *, max_delta):
    """Elementwise clipping of real gradients to [-max_delta, max_delta] (Mikolov 2012, PhD thesis)."""
    return np.minimum(np.maximum(g, -max_delta), max_delta), {}


def clip_by_global_norm(g, s, w, *, max_norm):
    """Norm clipping (Pascanu, Mikolov & Bengio 2013, Algorithm 1); g and w are lists of arrays."""
    # One norm for the whole tree, so that the direction of the full gradient is kept.
    norm = np.sqrt(sum(np.sum(np.abs(x) ** 2) for x in g))
    if norm > max_norm:
        return [x * (max_norm / norm) for x in g], {}
    return list(g), {}


def clip_by_block_rms(g, s, w, *, threshold):
    """Update clipping (Shazeer & Stern 2018, Algorithm 4, U_hat): each leaf has an RMS of at most the threshold."""
    RMS = np.sqrt(np.mean(np.abs(g) ** 2))
    return g / max(1.0, RMS / threshold), {}


def adaptive_grad_clip(g, s, w, *, clipping, eps, axis=None):
    """Adaptive gradient clipping (Brock et al. 2021, equation 3), unit by unit; axis: summed over in the norms."""
    if axis is None:
        # A unit is what feeds one output: the layouts are (in, out), (heads, ..., out) and (height, width, in, out).
        if np.squeeze(w).ndim <= 1:
            axis = tuple(range(w.ndim))  # a bias or a gain is one unit
        elif w.ndim in (2, 3):
            axis = 0
        else:
            axis = tuple(range(w.ndim - 1))
    W_norm = np.sqrt(np.sum(np.abs(w) ** 2, axis=axis, keepdims=True))
    G_norm = np.sqrt(np.sum(np.abs(g) ** 2, axis=axis, keepdims=True))
    largest = clipping * np.maximum(W_norm, eps)
    # The bound 1e-6 on the divisor is the authors' code's: it avoids 0 / 0 and shrinks still smaller units further.
    return np.where(G_norm > largest, g * (largest / np.maximum(G_norm, 1e-6)), g), {}


def per_example_global_norm_clip(grads, l2_norm_clip):
    """DP-SGD clipping (Abadi et al. 2016, Algorithm 1): sum over the examples (axis 0), and how many were clipped."""
    total = [np.zeros(x.shape[1:]) for x in grads]
    clipped = 0
    for example in range(len(grads[0])):
        g = [x[example] for x in grads]
        norm = np.sqrt(sum(np.sum(np.abs(x) ** 2) for x in g))
        if norm > l2_norm_clip:
            g = [x * (l2_norm_clip / norm) for x in g]
            clipped = clipped + 1
        total = [a + x for a, x in zip(total, g, strict=True)]
    return total, clipped


def per_example_layer_norm_clip(grads, global_l2_norm_clip, uniform=True):
    """Per-layer clipping (McMahan et al. 2018, C_j = C / sqrt(m)); not uniform: by the layer's size."""
    sizes = [x[0].size for x in grads]
    totals, counts = [], []
    for x, size in zip(grads, sizes, strict=True):
        share = 1 / len(grads) if uniform else size / sum(sizes)
        [total], clipped = per_example_global_norm_clip([x], global_l2_norm_clip * np.sqrt(share))
        totals.append(total)
        counts.append(clipped)
    return totals, counts
