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
