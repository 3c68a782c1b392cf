"""Steps in proportion to the size of the parameter: the trust ratio of LARS (You, Gitman & Ginsburg
2017).
"""

import numpy as np

import optax_lite as ol
from tests.methods.row import Quirks, Row, fast, over, rate


def scale_by_trust_ratio(g, s, w, *, min_norm, trust_coefficient, eps):
    """Layer-wise trust ratio (You, Gitman & Ginsburg 2017, LARS): g * coefficient * ||w|| /
    ||g||.
    """
    w_norm = max(np.sqrt(np.sum(np.abs(w) ** 2)), min_norm)
    g_norm = max(np.sqrt(np.sum(np.abs(g) ** 2)), min_norm)
    # A layer of zeros could never leave zero, and a zero gradient has no direction: no ratio then
    # (optax).
    if w_norm == 0 or g_norm == 0:
        return g, {}
    return g * (trust_coefficient * w_norm / (g_norm + eps)), {}


def scale_by_param_block_norm(g, s, w, *, min_scale):
    """Scaling by the norm of the parameter, ||w|| (no paper; definition of optax)."""
    return g * max(np.sqrt(np.sum(np.abs(w) ** 2)), min_scale), {}


def scale_by_param_block_rms(g, s, w, *, min_scale):
    """Scaling by the size of the parameter, max(eps_2, RMS(w)) (Shazeer & Stern 2018, Algorithm 4,
    alpha_t).
    """
    return g * max(np.sqrt(np.mean(np.abs(w) ** 2)), min_scale), {}


def with_zero_leaves(trees):
    """A parameter of zeros, and a gradient of zeros."""
    params, gradients = trees
    params["b"] = 0 * params["b"]
    for g in gradients:
        g["wide"] = 0 * g["wide"]
    return params, gradients


trust_bad = (
    ({"min_norm": -1}, "min_norm must be at least 0, got -1.0"),
    ({"eps": -1}, "eps must be at least 0, got -1.0"),
)
scale_bad = (({"min_scale": -1}, "min_scale must be at least 0, got -1.0"),)
scale_settings = ({}, *({"min_scale": s} for s in (0.0, 0.5, 1.0, 2.0, 10, rate, fast)))


ROWS: tuple[Row, ...] = (
    Row(
        ol.scale_by_trust_ratio,
        scale_by_trust_ratio,
        (
            {},
            *over(min_norm=(0.0, 0.5), trust_coefficient=(1.0, 0.1), eps=(0.0, 0.3)),
            {"min_norm": 10.0, "trust_coefficient": rate, "eps": fast},
            {"trust_coefficient": 0.0},
        ),
        trust_bad,
        quirks=Quirks(data=with_zero_leaves),
    ),
    Row(
        ol.scale_by_param_block_norm,
        scale_by_param_block_norm,
        scale_settings,
        scale_bad,
        quirks=Quirks(data=with_zero_leaves),
    ),
    Row(
        ol.scale_by_param_block_rms,
        scale_by_param_block_rms,
        scale_settings,
        scale_bad,
        quirks=Quirks(data=with_zero_leaves),
    ),
)
