"""DoG, distance over gradients (Ivgi, Hinder & Carmon 2023)."""

import numpy as np

import optax_lite as ol
from tests.methods.row import Quirks, Row, eps_bad, fast, over, rate, rate_bad, slow


def norm(x):
    return np.sqrt(sum(np.sum(np.abs(y) ** 2) for y in x))


def dog(g, s, w, *, learning_rate, init_step, eps, weight_decay, decayed=None):
    """DoG (Ivgi, Hinder & Carmon 2023, the rule tagged DoG); eps under the root from the authors'
    code.
    """
    decayed = [True] * len(g) if decayed is None else decayed
    if weight_decay is not None:
        g = [x + weight_decay * y if keep else x for x, y, keep in zip(g, w, decayed, strict=True)]
    x_0 = list(w) if s is None else s["init_params"]
    tag, value = init_step
    if s is None:
        r = {"distance": value, "heuristic": value * (1 + norm(w)), "learning_rate": 0.0}[tag]
        G = 0.0
    else:
        r = max(s["max_dist"], norm([x - y for x, y in zip(w, x_0, strict=True)]))
        G = s["sum_sq_norm_grads"]
    G = G + norm(g) ** 2
    eta = r / np.sqrt(G + eps)
    # A first rate replaces the first distance, which then is 0 (authors' code).
    if s is None and tag == "learning_rate":
        eta = value
    s_new = {"is_init_step": False, "init_params": x_0, "max_dist": r, "sum_sq_norm_grads": G}
    return [-learning_rate * eta * x for x in g], s_new


def scale_by_distance_over_gradients(g, s, w, *, reps_rel, eps, global_scale):
    """Layer-wise DoG (Ivgi, Hinder & Carmon 2023, L-DoG): the rule DoG with the norms of
    one leaf.
    """
    x_0 = w if s is None else s["init_params"]
    r = reps_rel * (1 + norm([w])) if s is None else s["max_dist"]
    G = 0.0 if s is None else s["grad_sum_of_squares"][0]  # of shape (1,) in optax
    r = max(r, norm([w - x_0]))
    G = G + norm([g]) ** 2
    eta = r / np.sqrt(G + eps)
    s_new = {"max_dist": np.asarray(r), "grad_sum_of_squares": np.reshape(G, 1), "init_params": x_0}
    return global_scale * eta * g, s_new


ROWS: tuple[Row, ...] = (
    Row(
        ol.scale_by_distance_over_gradients,
        scale_by_distance_over_gradients,
        tuple(
            {"param_dtype": None, **s}
            for s in (
                {},
                *over(reps_rel=(1e-3, 2.0), eps=(0.0, 0.5)),
                {"global_scale": -1.0},
                {"reps_rel": 0.1, "eps": 3.0, "global_scale": rate},
                {"reps_rel": fast, "eps": slow},
            )
        ),
        (
            ({"reps_rel": -1}, "reps_rel must be at least 0"),
            *eps_bad[:1],
            ({"param_dtype": int}, "must be a floating dtype"),
        ),
        quirks=Quirks(unlike=("param_dtype",)),
    ),
    Row(
        ol.dog,
        dog,
        (
            {},
            {"init_step": ("distance", 0.3), "eps": 100.0, "weight_decay": 0.1},
            {"init_step": ("distance", 30.0), "weight_decay": 0.0},
            {"init_step": ("learning_rate", 0.1), "eps": 50.0},
            {"init_step": ("learning_rate", 3.0), "weight_decay": fast},
            {"init_step": ("heuristic", 0.5), "learning_rate": rate},
            {"init_step": ("heuristic", 1e-3), "learning_rate": 0.5, "weight_decay": 3.0},
            {"init_step": ("distance", 1e-3), "eps": fast},
        ),
        (
            *rate_bad,
            *eps_bad[:1],
            (
                {"init_step": 0.1},
                "init_step must be one of ('distance', 'learning_rate', 'heuristic') with a number",
            ),
            ({"init_step": ("radius", 0.1)}, "with a number, got ('radius', 0.1)"),
            ({"init_step": ("distance",)}, "with a number, got ('distance',)"),
        ),
        quirks=Quirks(whole_tree=True, unlike=("mask",)),
    ),
)
