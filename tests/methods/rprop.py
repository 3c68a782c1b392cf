"""iRprop- (Igel & Huesken 2003)."""

import numpy as np

import optax_lite as ol
from tests.methods.row import Quirks, Row, fast, rate, rate_bad


def scale_by_rprop(g, s, w, *, learning_rate, eta_minus, eta_plus, min_step_size, max_step_size):
    """iRprop- (Igel & Huesken 2003, Algorithm iRprop-), for real gradients and without the sign."""
    step = np.full(g.shape, learning_rate, dtype=np.float64) if s is None else s["step_sizes"]
    # Only the sign of the previous gradient matters, and the step made with it has that sign.
    sign_old = np.zeros(g.shape) if s is None else np.sign(s["prev_updates"])
    same, turned = np.sign(g) * sign_old > 0, np.sign(g) * sign_old < 0
    step = np.where(same, np.clip(step * eta_plus, min_step_size, max_step_size), step)
    step = np.where(turned, np.clip(step * eta_minus, min_step_size, max_step_size), step)
    # After a turn the entry rests for one step, and the next gradient is compared with nothing.
    u = np.where(turned, 0.0, np.sign(g) * step)
    # optax 0.2.8 returns the step of the gradient BEFORE this one, so its first update is zero. Not
    # so in the paper.
    return u, {"step_sizes": step, "prev_updates": u}


def rprop(g, s, w, *, learning_rate, eta_minus, eta_plus, min_step_size, max_step_size):
    """iRprop- update (Igel & Huesken 2003, Algorithm iRprop-)."""
    u, s_new = scale_by_rprop(
        g,
        s,
        w,
        learning_rate=learning_rate,
        eta_minus=eta_minus,
        eta_plus=eta_plus,
        min_step_size=min_step_size,
        max_step_size=max_step_size,
    )
    return -u, s_new


step_bounds = (
    {},
    {"eta_minus": 0.3, "eta_plus": 1.5},
    {"min_step_size": 0.08, "max_step_size": 0.11},
    {"min_step_size": 0.3, "max_step_size": 0.4, "eta_plus": 1.1},
    {"max_step_size": 0.05},
    {"eta_minus": 1.0, "eta_plus": 1.0},
    {"eta_minus": fast, "eta_plus": 1.3},
    {"min_step_size": rate},
)
at_bounds = ({"learning_rate": 1.5e-6}, {"learning_rate": 45.0})  # of the defaults
step_bad = (
    ({"learning_rate": 0.1, "eta_minus": -1}, "eta_minus must be at least 0, got -1.0"),
    ({"learning_rate": 0.1, "eta_plus": -1}, "eta_plus must be at least 0"),
    ({"learning_rate": 0.1, "min_step_size": -1}, "min_step_size must be at least 0"),
    ({"learning_rate": 0.1, "max_step_size": -1}, "max_step_size must be at least 0"),
)


def rprop_parts(
    lib, learning_rate, eta_minus=0.5, eta_plus=1.2, min_step_size=1e-6, max_step_size=50.0
):
    direction = lib.scale_by_rprop(
        learning_rate=learning_rate,
        eta_minus=eta_minus,
        eta_plus=eta_plus,
        min_step_size=min_step_size,
        max_step_size=max_step_size,
    )
    return lib.chain(direction, lib.scale(-1.0))


ROWS: tuple[Row, ...] = (
    Row(
        ol.scale_by_rprop,
        scale_by_rprop,
        (*({"learning_rate": 0.1, **s} for s in step_bounds), *at_bounds),
        step_bad,
        quirks=Quirks(complex_=False, refuses_complex="this method takes real ones"),
    ),
    Row(
        ol.rprop,
        rprop,
        (*({"learning_rate": 0.1, **s} for s in step_bounds), *at_bounds, {"learning_rate": rate}),
        (*rate_bad, *step_bad),
        stands_for=rprop_parts,
        quirks=Quirks(complex_=False, refuses_complex="this method takes real ones"),
    ),
)
