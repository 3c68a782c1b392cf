"""Numpy references: accumulators of past gradients."""

import numpy as np


def trace(g, s, w, *, decay, nesterov):
    """Momentum accumulator (Polyak 1964; Nesterov form as rewritten from Sutskever et al. 2013)."""
    t = np.zeros_like(g) if s is None else s["trace"]
    t = g + decay * t
    # The look-ahead adds the decayed NEW accumulator to the gradient once more.
    u = g + decay * t if nesterov else t
    return u, {"trace": t}


def ema(g, s, w, *, decay, debias):
    """Exponential moving average with optional bias correction (Kingma & Ba 2015, section 3)."""
    count = (0 if s is None else s["count"]) + 1
    e = np.zeros_like(g) if s is None else s["ema"]
    e = decay * e + (1 - decay) * g
    u = e / (1 - decay**count) if debias else e
    return u, {"count": count, "ema": e}
