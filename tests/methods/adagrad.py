"""AdaGrad (Duchi, Hazan & Singer 2011)."""

import numpy as np

import optax_lite as ol
from tests.methods.row import Quirks, Row, over, rate, rate_bad


def scale_by_rss(g, s, w, *, initial_accumulator_value, eps, eps_in_sqrt=True):
    """Diagonal AdaGrad (Duchi, Hazan & Singer 2011, Figure 1); eps under the root (optax) or beside
    it (paper).
    """
    G = (
        np.full(g.shape, initial_accumulator_value, dtype=np.float64)
        if s is None
        else s["sum_of_squares"]
    )
    G = G + np.abs(g) ** 2
    # G == 0 means that no gradient was seen yet: the pseudo-inverse gives 0 there instead of 0 / 0.
    seen = np.where(G > 0, G, 1.0)
    scaled_g = g / np.sqrt(seen + eps) if eps_in_sqrt else g / (np.sqrt(seen) + eps)
    u = np.where(G > 0, scaled_g, 0.0)
    return u, {"sum_of_squares": G}


def adagrad(g, s, w, *, learning_rate, initial_accumulator_value, eps, eps_in_sqrt=True):
    """Diagonal AdaGrad update (Duchi, Hazan & Singer 2011, Figure 1)."""
    u, s_new = scale_by_rss(
        g,
        s,
        w,
        initial_accumulator_value=initial_accumulator_value,
        eps=eps,
        eps_in_sqrt=eps_in_sqrt,
    )
    return -learning_rate * u, s_new


def adagrad_parts(lib, learning_rate, initial_accumulator_value=0.1, eps=1e-7, eps_in_sqrt=True):
    return lib.chain(
        lib.scale_by_rss(
            initial_accumulator_value=initial_accumulator_value, eps=eps, eps_in_sqrt=eps_in_sqrt
        ),
        lib.scale_by_learning_rate(learning_rate),
    )


ROWS: tuple[Row, ...] = (
    Row(
        ol.scale_by_rss,
        scale_by_rss,
        (
            {"eps_in_sqrt": False},
            *over(initial_accumulator_value=(0.0, 0.1, 1), eps=(1e-7, 0.1), eps_in_sqrt=(False,)),
            {"eps": rate, "eps_in_sqrt": False},
        ),
        quirks=Quirks(variant=", eps beside the root"),
    ),
    Row(
        ol.adagrad,
        adagrad,
        (
            *over(
                learning_rate=(0.1, rate),
                initial_accumulator_value=(0.0, 0.5),
                eps=(1e-7, 0.2),
                eps_in_sqrt=(False,),
            ),
        ),
        stands_for=adagrad_parts,
        quirks=Quirks(variant=", eps beside the root"),
    ),
    Row(
        ol.scale_by_rss,
        scale_by_rss,
        (
            {},
            *over(initial_accumulator_value=(0.0, 0.1, 1), eps=(1e-7, 0.1)),
            {"initial_accumulator_value": 0, "eps": 0},
            {"eps": rate},
        ),
        (
            ({"eps": -1}, "eps must be at least 0"),
            ({"initial_accumulator_value": -1}, "initial_accumulator_value must be at least 0"),
        ),
    ),
    Row(
        ol.adagrad,
        adagrad,
        (
            {"learning_rate": 0.1},
            *over(learning_rate=(0.1, rate), initial_accumulator_value=(0.0, 0.5), eps=(1e-7, 0.2)),
        ),
        rate_bad,
        stands_for=adagrad_parts,
    ),
)
