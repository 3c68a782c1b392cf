"""Numpy references: RMSProp and its centered form."""

import numpy as np


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


def rmsprop(
    g, s, w, *, learning_rate, decay, eps, initial_scale, eps_in_sqrt, centered, momentum, nesterov, bias_correction
):
    """RMSProp with momentum on the steps (Tieleman & Hinton 2012; centered: Graves 2013, equations 38 to 41)."""
    scaling = scale_by_stddev if centered else scale_by_rms
    scaled_g, s_new = scaling(
        g,
        s,
        w,
        decay=decay,
        eps=eps,
        initial_scale=initial_scale,
        eps_in_sqrt=eps_in_sqrt,
        bias_correction=bias_correction,
    )
    step = -learning_rate * scaled_g
    if momentum is None:
        return step, s_new
    # Each step enters the velocity with the learning rate it was made with, as in Graves' equation 40.
    v = np.zeros_like(g) if s is None else s["trace"]
    v = momentum * v + step
    s_new["trace"] = v
    u = step + momentum * v if nesterov else v
    return u, s_new
