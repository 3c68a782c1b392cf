"""RMSProp with momentum on the steps (Tieleman & Hinton 2012; centered: Graves 2013)."""

import numpy as np

import optax_lite as ol
from tests.methods.rms import (
    centered_float32,
    centered_settings,
    rms_bad,
    rms_settings,
    scale_by_rms,
    scale_by_stddev,
)
from tests.methods.row import Quirks, Row, rate, rate_bad, with_rate


def rmsprop(
    g,
    s,
    w,
    *,
    learning_rate,
    decay,
    eps,
    initial_scale,
    eps_in_sqrt,
    centered,
    momentum,
    nesterov,
    bias_correction,
):
    """RMSProp with momentum on the steps (Tieleman & Hinton 2012; centered: Graves 2013, equations
    38 to 41).
    """
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
    # Each step enters the velocity with the learning rate it was made with, as in Graves' equation
    # 40.
    v = np.zeros_like(g) if s is None else s["trace"]
    v = momentum * v + step
    s_new["trace"] = v
    u = step + momentum * v if nesterov else v
    return u, s_new


def rmsprop_parts(
    lib,
    learning_rate,
    decay=0.9,
    eps=1e-8,
    initial_scale=0.0,
    eps_in_sqrt=True,
    centered=False,
    momentum=None,
    nesterov=False,
    bias_correction=False,
):
    scale_by = lib.scale_by_stddev if centered else lib.scale_by_rms
    return lib.chain(
        scale_by(
            decay=decay,
            eps=eps,
            initial_scale=initial_scale,
            eps_in_sqrt=eps_in_sqrt,
            bias_correction=bias_correction,
        ),
        lib.scale_by_learning_rate(learning_rate),
        lib.identity() if momentum is None else lib.trace(decay=momentum, nesterov=nesterov),
    )


ROWS: tuple[Row, ...] = (
    Row(
        ol.rmsprop,
        rmsprop,
        (
            *({"learning_rate": 0.1, **s} for s in rms_settings),
            *({"learning_rate": rate, "momentum": 0.9, **s} for s in rms_settings[2:4]),
            {"learning_rate": 0.1, "momentum": 0.8, "nesterov": True},
        ),
        (
            *rate_bad,
            *with_rate(rms_bad),
            ({"learning_rate": 0.1, "momentum": 1.5}, "momentum must be in [-1, 1], got 1.5"),
        ),
        stands_for=rmsprop_parts,
    ),
    Row(
        ol.rmsprop,
        rmsprop,
        (
            *({"learning_rate": 0.1, "centered": True, **s} for s in centered_settings[:6]),
            {"learning_rate": 0.1, "centered": True, "momentum": 0.9, "eps": 0.01},
            {
                "learning_rate": rate,
                "centered": True,
                "momentum": 0.5,
                "nesterov": True,
                "eps": 0.1,
            },
        ),
        stands_for=rmsprop_parts,
        quirks=Quirks(float32=centered_float32, variant=", centered"),
    ),
)
