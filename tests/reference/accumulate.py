"""Numpy references: gradient accumulation, for lists of arrays."""

import numpy as np


def is_finite(g):
    return all(bool(np.all(np.isfinite(x))) for x in g)


def still(g):
    return [np.zeros_like(x) for x in g]


def accumulate(g, s, w, *, base, start, every, reduce):
    """Every `every`-th gradient the base gets the mean (or sum) of the finite ones since the last time."""
    s = s or {"mini_step": 0, "gradient_step": 0, "num_finite": 0, "total_notfinite": 0, "base": start(g)}
    steps, inner = s["gradient_step"], s["base"]
    total, finite = (still(g), 0) if s["mini_step"] == 0 else (s["acc_grads"], s["num_finite"])
    if is_finite(g):
        total, finite = [a + x for a, x in zip(total, g, strict=True)], finite + 1
    mini_step = s["mini_step"] + 1
    u = still(g)
    if mini_step >= (every(steps) if callable(every) else every):
        mini_step, steps = 0, steps + 1
        if finite > 0:
            mean = [a / finite if reduce == "mean" else a for a in total]
            u, inner = base(mean, inner, w)
    bad = s["total_notfinite"] + (not is_finite(g))
    counts = {"mini_step": mini_step, "gradient_step": steps, "num_finite": finite, "total_notfinite": bad}
    return u, {**counts, "acc_grads": total, "base": inner}


def multi_steps(g, s, w, *, base, start, every_k_schedule, use_grad_mean, should_skip_update_fn):
    """Every k gradients the base gets their mean (or sum); those that are skipped might as well not have been there."""
    s = s or {"mini_step": 0, "gradient_step": 0, "acc_grads": still(g), "base": start(g)}
    mini_step, steps, total, inner = s["mini_step"], s["gradient_step"], s["acc_grads"], s["base"]
    u = still(g)
    if should_skip_update_fn is None or is_finite(g):  # that function is skip_not_finite
        share = mini_step + 1 if use_grad_mean else 1
        kept = mini_step / share if use_grad_mean else 1
        total, mini_step = [kept * a + x / share for a, x in zip(total, g, strict=True)], mini_step + 1
        if mini_step >= (every_k_schedule(steps) if callable(every_k_schedule) else every_k_schedule):
            u, inner = base(total, inner, w)
            mini_step, steps, total = 0, steps + 1, still(g)
    return u, {"mini_step": mini_step, "gradient_step": steps, "acc_grads": total, "base": inner}


def apply_every(g, s, w, *, k):
    """The sum of the last k updates at every k-th one, 0 at the others; for one array."""
    count, total = (0, np.zeros_like(g)) if s is None else (s["count"], s["grad_acc"])
    total = g if count == 0 else total + g
    u = total if count == k - 1 else np.zeros_like(g)
    return u, {"count": (count + 1) % k, "grad_acc": total}
