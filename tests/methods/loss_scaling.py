"""Dynamic loss scaling (Micikevicius et al. 2018, section 3.2)."""

import jax.numpy as jnp

import optax_lite as ol
from tests.methods.accumulate import is_finite, still, with_faults
from tests.methods.bases import (
    bad_tx,
    given_own_fields,
    heavy,
    plain,
    scaled,
    slower,
    with_fresh_base,
)
from tests.methods.compare import started
from tests.methods.row import Quirks, Row, over


def loss_scaling(
    g, s, w, *, base, start, init_scale, growth_factor, backoff_factor, growth_interval
):
    """Gradients are divided by the scale; a bad one is left out and makes it smaller, many good
    ones larger.
    """
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
    return u, {
        "loss_scale": scale,
        "good_steps": good_steps,
        "total_skipped": skipped,
        "base": inner,
    }


def of_a_scaled_loss(trees):
    """Gradients of the size that they have after scaling, some of them not finite."""
    params, gradients = with_faults(trees)
    return params, [{k: 64 * x for k, x in g.items()} for g in gradients]


def about_to_grow(state, seed):
    """Used, and one good step before the scale grows."""
    used, now = started(state, seed), {"loss_scale": jnp.float32(64), "good_steps": jnp.int32(1)}
    if isinstance(used, ol.ScheduledState):
        return used._replace(inner_state=used.inner_state._replace(**now))
    return used._replace(**now)


quadrupling = ol.piecewise_constant_schedule(4.0, {2: 0.5})


ROWS: tuple[Row, ...] = (
    Row(
        ol.loss_scaling,
        given_own_fields(loss_scaling),
        (
            {"tx": scaled},
            {"tx": heavy, "init_scale": 64},
            *over(tx=(scaled, heavy), growth_interval=(1, 2), init_scale=(48.0,)),
            *over(
                tx=(scaled,),
                growth_interval=(1,),
                growth_factor=(3, 2.0**30),
                backoff_factor=(0.25,),
            ),
            {"tx": slower, "growth_interval": 1, "backoff_factor": 2.0**-50},
            {"tx": heavy, "growth_interval": 1, "growth_factor": quadrupling, "init_scale": 8},
        ),
        (
            bad_tx,
            ({"tx": plain, "init_scale": 0}, "init_scale must be above 0, got 0.0"),
            ({"tx": plain, "growth_factor": 0.5}, "growth_factor must be at least 1, got 0.5"),
            ({"tx": plain, "backoff_factor": 2}, "backoff_factor must be below 1, got 2.0"),
            ({"tx": plain, "backoff_factor": 0}, "backoff_factor must be above 0, got 0.0"),
            (
                {"tx": plain, "growth_interval": 0},
                "growth_interval must be an integer of at least 1, got 0",
            ),
            (
                {"tx": plain, "growth_interval": 2.5},
                "growth_interval must be an integer of at least 1, got 2.5",
            ),
        ),
        quirks=Quirks(
            whole_tree=True,
            translate=with_fresh_base,
            data=of_a_scaled_loss,
            used=about_to_grow,
            positive=("init_scale", "growth_factor", "backoff_factor"),
        ),
    ),
)
