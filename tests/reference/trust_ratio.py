"""Numpy references: steps in proportion to the size of the parameter."""

import numpy as np


def scale_by_trust_ratio(g, s, w, *, min_norm, trust_coefficient, eps):
    """Layer-wise trust ratio (You, Gitman & Ginsburg 2017, LARS): g * coefficient * ||w|| / ||g||."""
    w_norm = max(np.sqrt(np.sum(np.abs(w) ** 2)), min_norm)
    g_norm = max(np.sqrt(np.sum(np.abs(g) ** 2)), min_norm)
    # A layer of zeros could never leave zero, and a zero gradient has no direction: no ratio then (optax).
    if w_norm == 0 or g_norm == 0:
        return g, {}
    return g * (trust_coefficient * w_norm / (g_norm + eps)), {}


def scale_by_param_block_norm(g, s, w, *, min_scale):
    """Scaling by the norm of the parameter, ||w|| (no paper; definition of optax)."""
    return g * max(np.sqrt(np.sum(np.abs(w) ** 2)), min_scale), {}


def scale_by_param_block_rms(g, s, w, *, min_scale):
    """Scaling by the size of the parameter, max(eps_2, RMS(w)) (Shazeer & Stern 2018, Algorithm 4, alpha_t)."""
    return g * max(np.sqrt(np.mean(np.abs(w) ** 2)), min_scale), {}
