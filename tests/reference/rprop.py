"""Numpy references: Rprop."""

import numpy as np


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
    # optax 0.2.8 returns the step of the gradient BEFORE this one, so its first update is zero. Not so in the paper.
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
