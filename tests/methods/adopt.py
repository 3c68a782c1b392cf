"""ADOPT (Taniguchi et al. 2024)."""

import numpy as np

import optax_lite as ol
from optax_lite.optimizers.adopt import fourth_root as default_bound
from tests.methods.row import (
    Quirks,
    Row,
    beta_bad,
    eps_bad,
    fast,
    optimizer_settings,
    rate,
    rate_bad,
    slow,
    with_rate,
)


def fourth_root(count):
    """Default bound of the clipped ADOPT, c_t = t^(1/4) (Taniguchi et al. 2024)."""
    return count**0.25


def scale_by_adopt(g, s, w, *, b1, b2, eps, nesterov, use_clipping, clip_value_fn=fourth_root):
    """ADOPT direction (Taniguchi et al. 2024, Algorithm 1), by default in its clipped form."""
    if s is None:
        # The first gradient only starts the second moment: the parameters do not move.
        return np.zeros_like(g), {"count": 1, "mu": np.zeros_like(g), "nu": np.abs(g) ** 2}
    # The paper's t: the gradient that starts v is g_0.
    t = s["count"]
    # The second moment in use does not know the gradient that it divides.
    scaled_g = g / np.maximum(np.sqrt(s["nu"]), eps)
    if use_clipping:
        c = clip_value_fn(t)
        # For a real entry this is the paper's Clip(., c); a complex one keeps its phase.
        scaled_g = scaled_g * np.minimum(1.0, c / np.maximum(np.abs(scaled_g), c))
    m = b1 * s["mu"] + (1 - b1) * scaled_g
    v = b2 * s["nu"] + (1 - b2) * np.abs(g) ** 2
    # optax's Nesterov form has no bias correction, as there is none in ADOPT.
    u = b1 * m + (1 - b1) * scaled_g if nesterov else m
    return u, {"count": t + 1, "mu": m, "nu": v}


def adopt(
    g, s, w, *, learning_rate, b1, b2, eps, nesterov, use_clipping, clip_value_fn=fourth_root
):
    """ADOPT update (Taniguchi et al. 2024, Algorithm 1), by default in its clipped form."""
    u, s_new = scale_by_adopt(
        g,
        s,
        w,
        b1=b1,
        b2=b2,
        eps=eps,
        nesterov=nesterov,
        use_clipping=use_clipping,
        clip_value_fn=clip_value_fn,
    )
    return -learning_rate * u, s_new


def constant_bound(step):
    return 0.3


def square_root(step):
    return step**0.5


# From a used state v is near 1 and gradients of size 30 are clipped, of size 0.1 are not.
adopt_settings = (
    {},
    {"b1": 0.5, "b2": 0.9},
    {"b1": 0.0, "b2": 0.0, "eps": 0.1},
    {"use_clipping": False},
    {"b1": 0.8, "b2": 0.7, "eps": 0.8, "use_clipping": False},
    {"nesterov": True, "b1": 0.6},
    {"nesterov": True, "use_clipping": False, "b2": 0.5},
    {"clip_value_fn": constant_bound, "b1": 0.7},
    {"clip_value_fn": square_root, "b2": 0.8, "eps": 0.2},
    {"b1": fast, "b2": slow, "eps": 10 * rate},
)


def adopt_parts(
    lib,
    learning_rate,
    b1=0.9,
    b2=0.9999,
    eps=1e-6,
    mu_dtype=None,
    nesterov=False,
    use_clipping=True,
    clip_value_fn=None,  # t^(1/4)
):
    direction = lib.scale_by_adopt(
        b1=b1,
        b2=b2,
        eps=eps,
        mu_dtype=mu_dtype,
        nesterov=nesterov,
        use_clipping=use_clipping,
        clip_value_fn=clip_value_fn or lib.fourth_root,
    )
    return lib.chain(direction, lib.scale_by_learning_rate(learning_rate))


adopt_quirks = Quirks(
    unlike=("mu_dtype",),
    # The default bound is the reference's own.
    translate=lambda settings: {k: v for k, v in settings.items() if v is not default_bound},
)

ROWS: tuple[Row, ...] = (
    Row(
        ol.scale_by_adopt,
        scale_by_adopt,
        adopt_settings,
        (*beta_bad, eps_bad[0]),
        quirks=adopt_quirks,
    ),
    Row(
        ol.adopt,
        adopt,
        optimizer_settings(adopt_settings),
        (*rate_bad, *with_rate(beta_bad)),
        stands_for=adopt_parts,
        quirks=adopt_quirks,
    ),
)
