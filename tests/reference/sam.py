"""Numpy references: sharpness-aware minimization."""

import numpy as np


def sam_step(grad_fn, w, learning_rate, rho):
    """One SAM step (Foret et al. 2021, Algorithm 1, p = 2): the new parameters, for a list of arrays w."""
    g = grad_fn(w)
    norm = np.sqrt(sum(np.sum(np.abs(x) ** 2) for x in g))
    w_adv = [x + rho * y / norm for x, y in zip(w, g, strict=True)]
    return [x - learning_rate * y for x, y in zip(w, grad_fn(w_adv), strict=True)]


def opaque_sam(g, s, w, *, optimizer, adv_optimizer, sync_period, reset_state, grad_fn):
    """SAM (Foret et al. 2021, Algorithm 1), a whole period in one; grad_fn(w, i) at the i-th adversarial point."""
    opt_state = None if s is None else s["opt_state"]
    adv_state = None if s is None else s["adv_state"]
    point = list(w)
    for i in range(sync_period - 1):
        adv, adv_state = adv_optimizer(g, adv_state, point)
        point = [x - y for x, y in zip(point, adv, strict=True)]
        g = grad_fn(point, i)
    u, opt_state = optimizer(g, opt_state, w)
    if reset_state:
        adv_state = None
    return u, {"opt_state": opt_state, "adv_state": adv_state}


def sam(g, s, w, *, optimizer, adv_optimizer, sync_period, reset_state):
    """SAM (Foret et al. 2021, Algorithm 1) in phases: sync_period - 1 ascent steps, then the step from the start."""
    steps = 0 if s is None else s["steps_since_sync"]
    cache = list(w) if steps == 0 else s["cache"]
    opt_state = None if s is None else s["opt_state"]
    adv_state = None if s is None else s["adv_state"]
    if steps < sync_period - 1:
        # Ascent: the adversarial optimizer descends, so its update is subtracted.
        adv, adv_state = adv_optimizer(g, adv_state, w)
        u = [-x for x in adv]
        steps = steps + 1
    else:
        # The gradient was taken at the adversarial point, the step starts at the cached one.
        step, opt_state = optimizer(g, opt_state, cache)
        u = [(x - z) + y for x, y, z in zip(cache, step, w, strict=True)]
        steps = 0
        if reset_state:
            adv_state = None
    return u, {"steps_since_sync": steps, "opt_state": opt_state, "adv_state": adv_state, "cache": cache}
