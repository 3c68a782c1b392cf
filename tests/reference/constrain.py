"""Numpy references: corrections of single updates."""

import numpy as np


def zero_nans(g, s, w):
    """Zeros in the place of NaNs (no paper; written definition)."""
    nan = np.isnan(g)
    return np.where(nan, 0.0, g), {"found_nan": bool(np.any(nan))}


def keep_params_nonnegative(g, s, w):
    """Projection onto w >= 0 of the parameters after the update (Goldstein 1964; Levitin & Polyak 1966)."""
    return np.where(w + g < 0, -w, g), {}


def centralize(g, s, w):
    """Gradient centralization (Yong et al. 2020, equation 1): every slice of the first axis gets the mean 0."""
    if g.ndim < 2:
        return g, {}
    # The paper has one column per output. optax centralizes for each index of the FIRST axis, as its example shows.
    return g - np.mean(g, axis=tuple(range(1, g.ndim)), keepdims=True), {}


def normalize_by_update_norm(g, s, w, *, scale_factor, eps):
    """Normalized gradient (Nesterov 1984), g / (||g|| + eps) times a factor; g and w are lists of arrays."""
    norm = np.sqrt(sum(np.sum(np.abs(x) ** 2) for x in g))
    return [scale_factor * x / (norm + eps) for x in g], {}


def normalize(g, s, w):
    """Normalized gradient (Nesterov 1984), g / ||g||; g and w are lists of arrays."""
    norm = np.sqrt(sum(np.sum(np.abs(x) ** 2) for x in g))
    return [x / norm for x in g], {}
