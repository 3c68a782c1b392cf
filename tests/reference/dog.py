"""Numpy references: distance over (weighted) gradients."""

import numpy as np


def _norm(x):
    return np.sqrt(sum(np.sum(np.abs(y) ** 2) for y in x))


def dog(g, s, w, *, learning_rate, init_step, eps, weight_decay, decayed=None):
    """DoG (Ivgi, Hinder & Carmon 2023, the rule tagged DoG); eps under the root from the authors' code."""
    decayed = [True] * len(g) if decayed is None else decayed
    if weight_decay is not None:
        g = [x + weight_decay * y if keep else x for x, y, keep in zip(g, w, decayed, strict=True)]
    x_0 = list(w) if s is None else s["init_params"]
    tag, value = init_step
    if s is None:
        r = {"distance": value, "heuristic": value * (1 + _norm(w)), "learning_rate": 0.0}[tag]
        G = 0.0
    else:
        r = max(s["max_dist"], _norm([x - y for x, y in zip(w, x_0, strict=True)]))
        G = s["sum_sq_norm_grads"]
    G = G + _norm(g) ** 2
    eta = r / np.sqrt(G + eps)
    # A first rate replaces the first distance, which then is 0 (authors' code).
    if s is None and tag == "learning_rate":
        eta = value
    s_new = {"is_init_step": False, "init_params": x_0, "max_dist": r, "sum_sq_norm_grads": G}
    return [-learning_rate * eta * x for x in g], s_new


def dowg(g, s, w, *, learning_rate, init_estim_sq_dist, eps, weight_decay, decayed=None):
    """DoWG (Khaled, Mishchenko & Jin 2023, Algorithm 1); eps from the authors' code."""
    decayed = [True] * len(g) if decayed is None else decayed
    if weight_decay is not None:
        g = [x + weight_decay * y if keep else x for x, y, keep in zip(g, w, decayed, strict=True)]
    x_0 = list(w) if s is None else s["init_params"]
    v = 0.0 if s is None else s["weighted_sq_norm_grads"]
    if s is None:
        r2 = eps if init_estim_sq_dist is None else init_estim_sq_dist
    else:
        r2 = s["estim_sq_dist"]
    r2 = max(r2, _norm([x - y for x, y in zip(w, x_0, strict=True)]) ** 2)
    v = v + r2 * _norm(g) ** 2
    eta = r2 / (np.sqrt(v) + eps)
    s_new = {"init_params": x_0, "weighted_sq_norm_grads": v, "estim_sq_dist": r2}
    return [-learning_rate * eta * x for x in g], s_new


def scale_by_distance_over_gradients(g, s, w, *, reps_rel, eps, global_scale):
    """Layer-wise DoG (Ivgi, Hinder & Carmon 2023, L-DoG): the rule DoG with the norms of one leaf."""
    x_0 = w if s is None else s["init_params"]
    r = reps_rel * (1 + _norm([w])) if s is None else s["max_dist"]
    G = 0.0 if s is None else s["grad_sum_of_squares"][0]  # of shape (1,) in optax
    r = max(r, _norm([w - x_0]))
    G = G + _norm([g]) ** 2
    eta = r / np.sqrt(G + eps)
    s_new = {"max_dist": np.asarray(r), "grad_sum_of_squares": np.reshape(G, 1), "init_params": x_0}
    return global_scale * eta * g, s_new
