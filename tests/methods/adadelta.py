"""ADADELTA (Zeiler 2012)."""

import numpy as np

import optax_lite as ol
from tests.methods.row import Quirks, Row, fast, over, rate, slow


def scale_by_adadelta(g, s, w, *, rho, eps):
    """ADADELTA (Zeiler 2012, Algorithm 1), without the sign."""
    E_g = np.zeros(g.shape) if s is None else s["e_g"]
    E_x = np.zeros(g.shape) if s is None else s["e_x"]
    E_g = rho * E_g + (1 - rho) * np.abs(g) ** 2
    dx = np.sqrt(E_x + eps) / np.sqrt(E_g + eps) * g
    E_x = rho * E_x + (1 - rho) * np.abs(dx) ** 2
    return dx, {"e_g": E_g, "e_x": E_x}


def adadelta(g, s, w, *, learning_rate, rho, eps, weight_decay, decayed=True):
    """ADADELTA update (Zeiler 2012, Algorithm 1), times a learning rate; decayed=False: a masked
    leaf.
    """
    # Not decoupled: the decay joins the gradient first.
    d = g + weight_decay * w if decayed else g
    dx, s_new = scale_by_adadelta(d, s, w, rho=rho, eps=eps)
    # The paper has no learning rate. It acts outside: E_x averages the steps as if it were 1. optax
    # 0.2.8 leaves out the sign as well as the factor if learning_rate is None; the paper's step
    # goes down.
    return -(1.0 if learning_rate is None else learning_rate) * dx, s_new


def adadelta_parts(
    lib, learning_rate=None, rho=0.9, eps=1e-6, weight_decay=0.0, weight_decay_mask=None
):
    return lib.chain(
        lib.add_decayed_weights(weight_decay=weight_decay, mask=weight_decay_mask),
        lib.scale_by_adadelta(rho=rho, eps=eps),
        lib.scale_by_learning_rate(1.0 if learning_rate is None else learning_rate),
    )


ROWS: tuple[Row, ...] = (
    Row(
        ol.scale_by_adadelta,
        scale_by_adadelta,
        ({}, *over(rho=(0.0, 0.5), eps=(1e-6, 0.1, 3.0)), {"rho": fast, "eps": rate}),
        (({"rho": 1}, "rho must be in [0, 1), got 1.0"), ({"eps": -1}, "eps must be at least 0")),
    ),
    Row(
        ol.adadelta,
        adadelta,
        (
            {},
            {"learning_rate": 0.1, "rho": 0.5},
            {"learning_rate": 10, "eps": 0.1},
            {"rho": 0.0, "eps": 1e-3},
            {"learning_rate": 1.0, "weight_decay": 0.3},
            {"weight_decay": 0.1, "rho": 0.99, "eps": 0.5},
            {"learning_rate": rate, "rho": slow},
            {"learning_rate": 2.0, "eps": rate, "weight_decay": fast},
        ),
        (
            ({"rho": 1}, "rho must be in [0, 1), got 1.0"),
            ({"lr": 1.0}, "no argument 'lr'; write learning_rate"),
        ),
        stands_for=adadelta_parts,
        quirks=Quirks(unlike=("weight_decay_mask",)),
    ),
)
