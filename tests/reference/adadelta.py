"""Numpy references: ADADELTA."""

import numpy as np


def scale_by_adadelta(g, s, w, *, rho, eps):
    """ADADELTA (Zeiler 2012, Algorithm 1), without the sign."""
    E_g = np.zeros(g.shape) if s is None else s["e_g"]
    E_x = np.zeros(g.shape) if s is None else s["e_x"]
    E_g = rho * E_g + (1 - rho) * np.abs(g) ** 2
    dx = np.sqrt(E_x + eps) / np.sqrt(E_g + eps) * g
    E_x = rho * E_x + (1 - rho) * np.abs(dx) ** 2
    return dx, {"e_g": E_g, "e_x": E_x}


def adadelta(g, s, w, *, learning_rate, rho, eps, weight_decay, decayed=True):
    """ADADELTA update (Zeiler 2012, Algorithm 1), times a learning rate; decayed=False: a masked leaf."""
    # Not decoupled: the decay joins the gradient first.
    d = g + weight_decay * w if decayed else g
    dx, s_new = scale_by_adadelta(d, s, w, rho=rho, eps=eps)
    # The paper has no learning rate. It acts outside: E_x averages the steps as if it were 1.
    # optax 0.2.8 leaves out the sign as well as the factor if learning_rate is None; the paper's step goes down.
    return -(1.0 if learning_rate is None else learning_rate) * dx, s_new
