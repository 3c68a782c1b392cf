"""Numpy reference: dynamic loss scaling (Micikevicius et al. 2018, section 3.2), for lists of arrays."""

from tests.reference.accumulate import is_finite, still


def loss_scaling(g, s, w, *, base, start, init_scale, growth_factor, backoff_factor, growth_interval):
    """Gradients are divided by the scale; a bad one is left out and makes it smaller, many good ones larger."""
    s = s or {"loss_scale": init_scale, "good_steps": 0, "total_skipped": 0, "base": start(g)}
    scale, good_steps = s["loss_scale"], s["good_steps"]
    if not is_finite(g):
        u, inner, skipped = still(g), s["base"], s["total_skipped"] + 1
        scale, good_steps = scale * backoff_factor, 0
    else:
        u, inner = base([x / scale for x in g], s["base"], w)
        skipped, good_steps = s["total_skipped"], good_steps + 1
        if good_steps >= growth_interval:
            scale, good_steps = scale * growth_factor, 0
    scale = min(max(scale, 2.0**-24), 2.0**24)
    return u, {"loss_scale": scale, "good_steps": good_steps, "total_skipped": skipped, "base": inner}
