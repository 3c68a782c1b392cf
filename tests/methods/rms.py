"""RMSProp without momentum (Tieleman & Hinton 2012; centered: Graves 2013)."""

import numpy as np

import optax_lite as ol
from tests.methods.row import Quirks, Row, decay_bad, fast, slow


def scale_by_rms(g, s, w, *, decay, eps, initial_scale, eps_in_sqrt, bias_correction):
    """RMSProp (Tieleman & Hinton 2012, lecture 6.5): g over the root of the averaged |g|^2."""
    nu = np.full(g.shape, initial_scale, dtype=np.float64) if s is None else s["nu"]
    nu = decay * nu + (1 - decay) * np.abs(g) ** 2
    s_new = {"nu": nu}
    nu_hat = nu
    if bias_correction:
        t = (0 if s is None else s["count"]) + 1
        s_new["count"] = t
        nu_hat = nu / (1 - decay**t)
    u = g / np.sqrt(nu_hat + eps) if eps_in_sqrt else g / (np.sqrt(nu_hat) + eps)
    return u, s_new


def scale_by_stddev(g, s, w, *, decay, eps, initial_scale, eps_in_sqrt, bias_correction):
    """Centered RMSProp (Graves 2013, equations 38 to 40): g over the running standard deviation."""
    mu = np.zeros_like(g) if s is None else s["mu"]
    nu = np.full(g.shape, initial_scale, dtype=np.float64) if s is None else s["nu"]
    mu = decay * mu + (1 - decay) * g
    nu = decay * nu + (1 - decay) * np.abs(g) ** 2
    s_new = {"mu": mu, "nu": nu}
    mu_hat, nu_hat = mu, nu
    if bias_correction:
        t = (0 if s is None else s["count"]) + 1
        s_new["count"] = t
        mu_hat = mu / (1 - decay**t)
        nu_hat = nu / (1 - decay**t)
    # The exact variance is never negative; rounding can make the difference slightly so.
    variance = np.maximum(nu_hat - np.abs(mu_hat) ** 2, 0.0)
    u = g / np.sqrt(variance + eps) if eps_in_sqrt else g / (np.sqrt(variance) + eps)
    return u, s_new


# The variance v - |m|² is exactly 0 on a corrected first step and with decay 0, and then all
# rounding: there an initial scale keeps it away from 0. Elsewhere it is a fraction of v, of which
# an ulp is lost: hence the bound in float32.
centered_settings = (
    {},
    {"decay": 0.99, "eps": 1e-2, "eps_in_sqrt": False},
    {"decay": 0.5, "initial_scale": 1.0},
    {"decay": 0.9, "initial_scale": 0.5, "eps_in_sqrt": False, "eps": 0.2},
    {"bias_correction": True, "initial_scale": 1e3},
    {"decay": 0.8, "bias_correction": True, "initial_scale": 1e3, "eps_in_sqrt": False, "eps": 3.0},
    {"decay": fast, "eps": 0.05},
    {"decay": slow, "bias_correction": True, "initial_scale": 1e3, "eps": 20.0},
)
centered_float32 = 1e-5
rms_settings = (
    {},
    {"decay": 0.0, "eps": 0.1},
    {"decay": 0.99, "eps": 1e-2, "eps_in_sqrt": False},
    {"decay": 0.5, "initial_scale": 1.0},
    {"decay": 0.9, "initial_scale": 0.5, "eps_in_sqrt": False, "eps": 0.2},
    {"bias_correction": True},
    {"decay": 0.8, "bias_correction": True, "eps_in_sqrt": False, "eps": 0.3},
    {"decay": fast, "eps": 0.05},
    {"decay": slow, "bias_correction": True, "initial_scale": 0.2},
)
rms_bad = (
    *decay_bad,
    ({"eps": -1}, "eps must be at least 0, got -1.0"),
    ({"initial_scale": -1}, "initial_scale must be at least 0"),
    ({"rho": 0.9}, "no argument 'rho'; write decay"),
)


ROWS: tuple[Row, ...] = (
    Row(ol.scale_by_rms, scale_by_rms, rms_settings, rms_bad),
    Row(
        ol.scale_by_stddev,
        scale_by_stddev,
        centered_settings,
        rms_bad,
        quirks=Quirks(float32=centered_float32),
    ),
)
