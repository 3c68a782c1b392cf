"""Numpy reference: Mechanic. A per-leaf base is lifted: base=leafwise(partial(sgd, learning_rate=0.1, ...))."""

import numpy as np


def mechanize(g, s, w, *, base, weight_decay, eps, s_init, num_betas):
    """Mechanic (Cutkosky, Defazio & Mehta 2023, Algorithm 1) around the whole-tree reference `base`."""
    n = num_betas
    beta = np.array([1 - 0.1**i for i in range(1, n + 1)])
    t = 0 if s is None else s["count"]
    x_ref = list(w) if s is None else s["x0"]
    s_t = np.full(n, s_init) if s is None else s["s"]
    r = np.zeros(n) if s is None else s["r"]
    m = np.zeros(n) if s is None else s["m"]
    v = np.zeros(n) if s is None else s["v"]

    u, s_base = base(g, None if s is None else s["base"], w)
    # Delta_t is not stored but read off x_t = x_ref + (sum of s_t) * Delta_t (also in the authors' code).
    delta = [(x - y) / (np.sum(s_t) + eps) for x, y in zip(w, x_ref, strict=True)]
    norm_g = np.sqrt(sum(np.sum(np.abs(x) ** 2) for x in g))
    norm_x = np.sqrt(sum(np.sum(np.abs(x) ** 2) for x in w))
    decay = weight_decay * np.sum(s_t) * norm_g / (norm_x + eps)
    h = sum(np.vdot(x, y + decay * z).real for x, y, z in zip(delta, g, w, strict=True))
    # Not in the paper but in optax, the authors' JAX version (by their README): the reward sees h clipped to its past
    # size and may stay negative, and m is never 0. With m = 0, x_2 would be x_ref and the Delta read off it 0 for good.
    h_clipped = np.clip(h, -m, m)
    m = np.maximum(beta * m, np.abs(h) + eps)
    v = beta**2 * v + h**2
    r = beta * r - s_t * h_clipped
    W = s_init / n * m + np.maximum(r, 0)
    s_t = W / (np.sqrt(v) + eps)
    s_new = {"base": s_base, "count": t + 1, "r": r, "m": m, "v": v, "s": s_t, "x0": x_ref}
    # x_ref + (sum of s_t) * (Delta_t + u_t) - x_t, in the order that keeps the digits of a small step.
    return [np.sum(s_t) * (z + q) + (y - x) for x, y, z, q in zip(w, x_ref, delta, u, strict=True)], s_new
