"""Corrections of single updates: NaNs, signs, means (Yong et al. 2020) and norms (Nesterov
1984).
"""

import numpy as np

import optax_lite as ol
from tests.methods.row import Quirks, Row, fast, over, rate


def zero_nans(g, s, w):
    """Zeros in the place of NaNs (no paper; written definition)."""
    nan = np.isnan(g)
    return np.where(nan, 0.0, g), {"found_nan": bool(np.any(nan))}


def keep_params_nonnegative(g, s, w):
    """Projection onto w >= 0 of the parameters after the update (Goldstein 1964; Levitin & Polyak
    1966).
    """
    return np.where(w + g < 0, -w, g), {}


def centralize(g, s, w):
    """Gradient centralization (Yong et al. 2020, equation 1): every slice of the first axis gets
    the mean 0.
    """
    if g.ndim < 2:
        return g, {}
    # The paper has one column per output. optax centralizes for each index of the FIRST axis, as
    # its example shows.
    return g - np.mean(g, axis=tuple(range(1, g.ndim)), keepdims=True), {}


def normalize_by_update_norm(g, s, w, *, scale_factor, eps):
    """Normalized gradient (Nesterov 1984), g / (||g|| + eps) times a factor; g and w are lists of
    arrays.
    """
    norm = np.sqrt(sum(np.sum(np.abs(x) ** 2) for x in g))
    return [scale_factor * x / (norm + eps) for x in g], {}


def normalize(g, s, w):
    """Normalized gradient (Nesterov 1984), g / ||g||; g and w are lists of arrays."""
    norm = np.sqrt(sum(np.sum(np.abs(x) ** 2) for x in g))
    return [x / norm for x in g], {}


def with_nans(trees):
    params, gradients = trees
    gradients[0]["w"][1, 1] = gradients[1]["z"][0, 1] = gradients[1]["scalar"] = np.nan
    return params, gradients


def with_short_steps(trees):
    """Every second gradient has a norm below 1."""
    params, gradients = trees
    return params, [{k: x * 1e-3 ** (i % 2) for k, x in g.items()} for i, g in enumerate(gradients)]


def normalize_parts(lib):
    return lib.normalize_by_update_norm(scale_factor=1.0, eps=0.0)


ROWS: tuple[Row, ...] = (
    Row(ol.zero_nans, zero_nans, ({},), quirks=Quirks(data=with_nans)),
    Row(
        ol.keep_params_nonnegative,
        keep_params_nonnegative,
        ({},),
        quirks=Quirks(
            complex_=False,
            refuses_complex="this method takes real ones",
            moves_without_gradient="a negative parameter goes to 0",
        ),
    ),
    Row(ol.centralize, centralize, ({},)),
    Row(
        ol.normalize_by_update_norm,
        normalize_by_update_norm,
        (
            {},
            *over(scale_factor=(1.0, -2.0, 0.1), eps=(1e-6, 0.0, 30.0)),
            {"scale_factor": rate, "eps": fast},
        ),
        (({"eps": -1}, "eps must be at least 0, got -1.0"),),
        quirks=Quirks(whole_tree=True, data=with_short_steps),
    ),
    Row(ol.normalize, normalize, ({},), stands_for=normalize_parts, quirks=Quirks(whole_tree=True)),
)
