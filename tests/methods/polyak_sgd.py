"""Polyak step sizes (Loizou et al. 2021; "sps+": Garrigos et al. 2023), over the whole tree."""

import numpy as np

import optax_lite as ol
from tests.methods.constrain import with_short_steps
from tests.methods.row import Quirks, Row, fast, rate


def scale_by_polyak(g, s, w, *, f_min, max_learning_rate, eps, variant, value):
    """Polyak step (Loizou et al. 2021, SPS_max with c = 1; "sps+": Garrigos et al. 2023), without
    the sign.
    """
    gap = value - f_min
    if variant == "sps+":
        gap = max(gap, 0.0)
    g_norm_sq = sum(np.sum(np.abs(x) ** 2) for x in g)
    # At a stationary point the step is zero, whatever its size (optax).
    gamma = min(gap / (g_norm_sq + eps), max_learning_rate) if g_norm_sq > 0 else 0.0
    return [gamma * x for x in g], {}


def polyak_sgd(g, s, w, *, max_learning_rate, scaling, f_min, eps, variant, value):
    """Gradient descent with the Polyak step (Loizou et al. 2021, SPS_max with c = 1), times a
    factor.
    """
    u, s_new = scale_by_polyak(
        g,
        s,
        w,
        f_min=f_min,
        max_learning_rate=max_learning_rate,
        eps=eps,
        variant=variant,
        value=value,
    )
    # The factor is outside, as in the formula of optax's docstring. (optax 0.2.8 divides by it if
    # the cap is inactive.)
    return [-scaling * x for x in u], s_new


def losses(step):
    return {"value": (3.0, 0.4, -1.0, 30.0, 1e-3)[step]}


polyak_settings = (
    {},
    {"f_min": 5.0},
    {"f_min": 5.0, "variant": "sps+"},
    {"max_learning_rate": 1e-3},
    {"max_learning_rate": 100.0, "eps": 30.0},
    {"eps": 1e3, "f_min": -1.0, "variant": "sps+"},
    {"f_min": rate, "max_learning_rate": fast},
    {"max_learning_rate": 100.0, "f_min": 0.1},
    {"f_min": -1e5},
)
polyak_bad = (
    ({"max_learning_rate": -1}, "max_learning_rate must be at least 0, got -1.0"),
    ({"eps": -1}, "eps must be at least 0"),
    ({"variant": "max"}, "variant must be 'sps' or 'sps+', got 'max'"),
)


def polyak_sgd_parts(lib, max_learning_rate=1.0, scaling=1.0, f_min=0.0, eps=0.0, variant="sps"):
    direction = lib.scale_by_polyak(
        f_min=f_min, max_learning_rate=max_learning_rate, eps=eps, variant=variant
    )
    # The two members are those of optax's chain, where SGD comes before the Polyak step: states
    # have one shape.
    return lib.chain(lib.chain(direction, lib.scale_by_learning_rate(scaling)), lib.identity())


ROWS: tuple[Row, ...] = (
    Row(
        ol.scale_by_polyak,
        scale_by_polyak,
        polyak_settings,
        polyak_bad,
        quirks=Quirks(whole_tree=True, extra=losses, data=with_short_steps),
    ),
    Row(
        ol.polyak_sgd,
        polyak_sgd,
        (
            *polyak_settings,
            {"scaling": 0.1, "max_learning_rate": 100.0},
            {"scaling": rate},
            {"scaling": 2.0},
        ),
        polyak_bad,
        stands_for=polyak_sgd_parts,
        quirks=Quirks(whole_tree=True, extra=losses, data=with_short_steps),
    ),
)
