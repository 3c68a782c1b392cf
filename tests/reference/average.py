"""Numpy references: averages of the parameters, lookahead, and updates that shrink on a plateau."""

import numpy as np


def average_params(g, s, w, *, base, decay, start, every):
    """Average of the iterates w_t: with `decay` Σ d^(T-t)·(1-d)·w_t over the sum of these weights, else their mean."""
    count = 0 if s is None else s["count"]
    weight = 0.0 if s is None else s["weight"]
    average = np.array(w) if s is None else s["average"]
    u, base_state = base(g, None if s is None else s["base"], w)
    count = count + 1  # this is update number `count`, the first is 1
    if count > start and (count - start) % every == 0:
        # The sums are made anew of the average so far: total = weight·average.
        old = 1.0 if decay is None else decay
        one = 1.0 if decay is None else 1.0 - decay
        total = old * weight * average + one * (w + u)
        weight = old * weight + one
        average = total / weight if weight > 0 else average
    return u, {"count": count, "weight": weight, "average": average, "base": base_state}


def lookahead(g, s, w, *, base, sync_period, slow_step_size, reset_state):
    """Lookahead (Zhang et al. 2019, Algorithm 1): one inner step, and after sync_period of them the outer one."""
    slow = np.array(w) if s is None else s["slow"]
    steps = 0 if s is None else s["steps_since_sync"]
    u, fast_state = base(g, None if s is None else s["base"], w)
    steps = steps + 1
    if steps == sync_period:
        step = slow_step_size * (u - (slow - w))  # the fast weights are at w + u
        u, slow = (slow - w) + step, slow + step
        steps = 0
        if reset_state:
            fast_state = {k: 0 * x for k, x in fast_state.items()}  # these start at 0
    return u, {"slow": slow, "steps_since_sync": steps, "base": fast_state}


def reduce_on_plateau(g, s, w, *, factor, patience, rtol, atol, cooldown, accumulation_size, min_scale, value):
    """The scale of updates falls by `factor` after `patience` mean losses in a row that are no better than the best."""
    if s is None:
        s = {"scale": 1.0, "best_value": np.inf, "plateau_count": 0, "cooldown_count": 0, "count": 0, "avg_value": 0.0}
    s = dict(s)
    total = s["avg_value"] * s["count"] + float(value)
    s["count"] = s["count"] + 1
    s["avg_value"] = total / s["count"]
    if s["count"] == accumulation_size:
        mean, best = s["avg_value"], s["best_value"]
        s["count"], s["avg_value"] = 0, 0.0
        better = best == np.inf or mean < best - rtol * abs(best) - atol
        if better:
            s["best_value"] = mean
        if s["cooldown_count"] > 0:
            s["cooldown_count"], s["plateau_count"] = s["cooldown_count"] - 1, 0
        elif better:
            s["plateau_count"] = 0
        else:
            s["plateau_count"] = s["plateau_count"] + 1
            if s["plateau_count"] >= patience:
                s["scale"] = max(s["scale"] * factor, min_scale)
                s["plateau_count"], s["cooldown_count"] = 0, cooldown
    return s["scale"] * g, s


def flatten(g, s, w, *, base):
    """The rule of one array on all entries of a list of arrays, in a row."""
    flat = np.concatenate([np.ravel(x) for x in g])
    u, s = base(flat, s, np.concatenate([np.ravel(x) for x in w]))
    ends = np.cumsum([np.size(x) for x in g])
    parts = [part.reshape(np.shape(x)) for part, x in zip(np.split(u, ends[:-1]), g, strict=True)]
    return [part if np.iscomplexobj(x) else part.real for part, x in zip(parts, g, strict=True)], s
