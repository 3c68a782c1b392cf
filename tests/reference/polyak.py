"""Numpy references: Polyak step sizes, over the whole tree."""

import numpy as np


def scale_by_polyak(g, s, w, *, f_min, max_learning_rate, eps, variant, value):
    """Polyak step (Loizou et al. 2021, SPS_max with c = 1; "sps+": Garrigos et al. 2023), without the sign."""
    gap = value - f_min
    if variant == "sps+":
        gap = max(gap, 0.0)
    g_norm_sq = sum(np.sum(np.abs(x) ** 2) for x in g)
    # At a stationary point the step is zero, whatever its size (optax).
    gamma = min(gap / (g_norm_sq + eps), max_learning_rate) if g_norm_sq > 0 else 0.0
    return [gamma * x for x in g], {}


def polyak_sgd(g, s, w, *, max_learning_rate, scaling, f_min, eps, variant, value):
    """Gradient descent with the Polyak step (Loizou et al. 2021, SPS_max with c = 1), times a factor."""
    u, s_new = scale_by_polyak(
        g, s, w, f_min=f_min, max_learning_rate=max_learning_rate, eps=eps, variant=variant, value=value
    )
    # The factor is outside, as in the formula of optax's docstring. (optax 0.2.8 divides by it if the cap is inactive.)
    return [-scaling * x for x in u], s_new
