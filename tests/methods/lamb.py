"""LAMB (You et al. 2020)."""

import numpy as np

import optax_lite as ol
from tests.methods.row import Quirks, Row, beta_bad, eps_bad, fast, rate, rate_bad, slow, with_rate


def lamb(g, s, w, *, learning_rate, b1, b2, eps, eps_root, weight_decay, decayed=True):
    """LAMB (You et al. 2020, Algorithm 2) with phi(z) = z; decayed=False: a masked leaf."""
    t = (0 if s is None else s["count"]) + 1
    m = np.zeros_like(g) if s is None else s["mu"]
    v = np.zeros(g.shape) if s is None else s["nu"]
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * np.abs(g) ** 2
    m_hat = m / (1 - b1**t)
    v_hat = v / (1 - b2**t)
    r = m_hat / (np.sqrt(v_hat + eps_root) + eps)
    if decayed:
        r = r + weight_decay * w
    w_norm = np.sqrt(np.sum(np.abs(w) ** 2))
    r_norm = np.sqrt(np.sum(np.abs(r) ** 2))
    # The ratio is 1 where it is not defined, as in the authors' code.
    ratio = w_norm / r_norm if w_norm > 0 and r_norm > 0 else 1.0
    return -learning_rate * ratio * r, {"count": t, "mu": m, "nu": v}


def lamb_parts(
    lib, learning_rate, b1=0.9, b2=0.999, eps=1e-6, eps_root=0.0, weight_decay=0.0, mask=None
):
    return lib.chain(
        lib.scale_by_adam(b1=b1, b2=b2, eps=eps, eps_root=eps_root, mu_dtype=None, nesterov=False),
        lib.add_decayed_weights(weight_decay=weight_decay, mask=mask),
        lib.scale_by_trust_ratio(min_norm=0.0, trust_coefficient=1.0, eps=0.0),
        lib.scale_by_learning_rate(learning_rate),
    )


ROWS: tuple[Row, ...] = (
    Row(
        ol.lamb,
        lamb,
        (
            {"learning_rate": 0.1},
            {"learning_rate": 0.1, "b1": 0.0, "b2": 0.0, "eps": 0.3},
            {"learning_rate": 0.1, "b1": 0.5, "b2": 0.9, "eps": 0.1, "eps_root": 0.2},
            {"learning_rate": 0.1, "weight_decay": 0.3},
            {"learning_rate": 1, "eps": 1e-3, "weight_decay": 1.0},
            {"learning_rate": rate, "b1": 0.8},
            {"learning_rate": 0.1, "b1": fast, "b2": slow, "eps": 0.01},
            {"learning_rate": rate, "weight_decay": fast, "eps_root": 1e-3},
        ),
        (*rate_bad, *with_rate(beta_bad + eps_bad)),
        stands_for=lamb_parts,
        quirks=Quirks(unlike=("mask",)),
    ),
)
