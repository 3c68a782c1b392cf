"""Numpy references: ADOPT."""

import numpy as np


def fourth_root(count):
    """Default bound of the clipped ADOPT, c_t = t^(1/4) (Taniguchi et al. 2024)."""
    return count**0.25


def scale_by_adopt(g, s, w, *, b1, b2, eps, nesterov, use_clipping, clip_value_fn=fourth_root):
    """ADOPT direction (Taniguchi et al. 2024, Algorithm 1), by default in its clipped form."""
    if s is None:
        # The first gradient only starts the second moment: the parameters do not move.
        return np.zeros_like(g), {"count": 1, "mu": np.zeros_like(g), "nu": np.abs(g) ** 2}
    # The paper's t: the gradient that starts v is g_0.
    t = s["count"]
    # The second moment in use does not know the gradient that it divides.
    scaled_g = g / np.maximum(np.sqrt(s["nu"]), eps)
    if use_clipping:
        c = clip_value_fn(t)
        # For a real entry this is the paper's Clip(., c); a complex one keeps its phase.
        scaled_g = scaled_g * np.minimum(1.0, c / np.maximum(np.abs(scaled_g), c))
    m = b1 * s["mu"] + (1 - b1) * scaled_g
    v = b2 * s["nu"] + (1 - b2) * np.abs(g) ** 2
    # optax's Nesterov form has no bias correction, as there is none in ADOPT.
    u = b1 * m + (1 - b1) * scaled_g if nesterov else m
    return u, {"count": t + 1, "mu": m, "nu": v}


def adopt(g, s, w, *, learning_rate, b1, b2, eps, nesterov, use_clipping, clip_value_fn=fourth_root):
    """ADOPT update (Taniguchi et al. 2024, Algorithm 1), by default in its clipped form."""
    u, s_new = scale_by_adopt(
        g, s, w, b1=b1, b2=b2, eps=eps, nesterov=nesterov, use_clipping=use_clipping, clip_value_fn=clip_value_fn
    )
    return -learning_rate * u, s_new
