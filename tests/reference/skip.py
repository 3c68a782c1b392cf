"""Numpy references: updates that are left out, for lists of arrays."""

import numpy as np

from tests.reference.accumulate import is_finite, still


def skip_bad_steps(g, s, w, *, base, start, nonfinite, outlier, window, max_consecutive):
    """Leave out a gradient without a finite norm, or with one `outlier` deviations above the mean of the good ones."""
    fresh = {"total_skipped": 0, "consecutive_skipped": 0, "last_reason": 0, "exceeded": False}
    s = s or {**fresh, "good_steps": 0, "norm_mean": 0.0, "norm_var": 0.0, "base": start(g)}
    n, mean, var = s["good_steps"], s["norm_mean"], s["norm_var"]
    norm = np.sqrt(sum(np.sum(np.abs(x) ** 2) for x in g))
    reason = 0
    if not np.isfinite(norm):
        reason = 1 if nonfinite else 0
    elif outlier is not None and n >= window:
        deviation = max(np.sqrt(var), 0.01 * mean)  # equal norms are no outliers
        reason = 2 if norm > mean + outlier * deviation else 0
    u, inner = base(g, s["base"], w) if reason == 0 else (still(g), s["base"])
    if reason == 0 and np.isfinite(norm):
        # The mean and variance of the first `window` norms (Welford 1962), exponentially weighted after them.
        n = n + 1
        a = 1 / min(n, window)
        var = (1 - a) * (var + a * (norm - mean) ** 2)
        mean = mean + a * (norm - mean)
    consecutive = s["consecutive_skipped"] + 1 if reason else 0
    return u, {
        "total_skipped": s["total_skipped"] + (reason > 0),
        "consecutive_skipped": consecutive,
        "last_reason": reason,
        "exceeded": s["exceeded"] or (max_consecutive is not None and consecutive > max_consecutive),
        "good_steps": n,
        "norm_mean": mean,
        "norm_var": var,
        "base": inner,
    }


def apply_if_finite(g, s, w, *, base, start, max_consecutive_errors):
    """Leave out a gradient with an entry that is not finite, however many came before."""
    s = s or {"notfinite_count": 0, "total_notfinite": 0, "base": start(g)}
    bad = not is_finite(g)
    u, inner = (still(g), s["base"]) if bad else base(g, s["base"], w)
    counts = {"notfinite_count": s["notfinite_count"] + 1 if bad else 0, "total_notfinite": s["total_notfinite"] + bad}
    return u, {**counts, "last_finite": not bad, "base": inner}


def conditionally(g, s, w, *, base, start, should_transform_fn, otherwise):
    """The base where a function of the count says so; elsewhere `otherwise(g)`, and the base's state as it is."""
    s = s or {"step": 0, "base": start(g)}
    run = should_transform_fn(s["step"])
    u, inner = base(g, s["base"], w) if run else (otherwise(g), s["base"])
    return u, {"step": s["step"] + 1, "base": inner}
