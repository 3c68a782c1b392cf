"""ACProp (Zhuang et al. 2021)."""

import numpy as np

import optax_lite as ol
from tests.methods.adabelief import belief_settings
from tests.methods.row import (
    Quirks,
    Row,
    beta_bad,
    decayed_optimizer_settings,
    eps_bad,
    rate_bad,
    weight_decay_bad,
    with_rate,
)


def scale_by_acprop(g, s, w, *, b1, b2, eps, eps_root):
    """ACProp direction (Zhuang et al. 2021): the gradient over the belief of the step before."""
    t = (0 if s is None else s["count"]) + 1
    m = np.zeros_like(g) if s is None else s["mu"]
    v = np.zeros(g.shape) if s is None else s["nu"]
    # Before the first step there is no belief, and its corrected value is 0 / 0. The authors' code
    # takes the plain gradient; optax takes 1 for it, which is the same up to the factor 1 / (1 +
    # eps).
    v_hat_before = np.ones(g.shape) if s is None else v / (1 - b2 ** (t - 1))
    u = g / (np.sqrt(v_hat_before) + eps)
    m = b1 * m + (1 - b1) * g
    # As in AdaBelief the deviation is from the new average (paper and authors' code).
    v = b2 * v + (1 - b2) * np.abs(g - m) ** 2 + eps_root
    return u, {"count": t, "mu": m, "nu": v}


def acprop(g, s, w, *, learning_rate, b1, b2, eps, eps_root, weight_decay, decayed=True):
    """ACProp (Zhuang et al. 2021) with the decoupled decay of Loshchilov & Hutter 2019."""
    u, s_new = scale_by_acprop(g, s, w, b1=b1, b2=b2, eps=eps, eps_root=eps_root)
    if decayed:
        u = u + weight_decay * w
    return -learning_rate * u, s_new


acprop_settings = tuple({k: v for k, v in s.items() if k != "nesterov"} for s in belief_settings)


def acprop_parts(
    lib, learning_rate, b1=0.9, b2=0.999, eps=1e-16, eps_root=1e-16, weight_decay=0.0, mask=None
):
    return lib.chain(
        lib.scale_by_acprop(b1=b1, b2=b2, eps=eps, eps_root=eps_root),
        lib.add_decayed_weights(weight_decay=weight_decay, mask=mask),
        lib.scale_by_learning_rate(learning_rate),
    )


ROWS: tuple[Row, ...] = (
    Row(ol.scale_by_acprop, scale_by_acprop, acprop_settings, (*beta_bad, *eps_bad)),
    Row(
        ol.acprop,
        acprop,
        decayed_optimizer_settings(acprop_settings),
        (*rate_bad, *with_rate(beta_bad + eps_bad), weight_decay_bad),
        stands_for=acprop_parts,
        quirks=Quirks(unlike=("mask",)),
    ),
)
