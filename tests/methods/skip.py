"""Skipped updates: bad steps, and steps under a condition; written from their definition."""

import jax.numpy as jnp
import numpy as np

import optax_lite as ol
from tests.methods.accumulate import all_at_fault, growing, is_finite, still, with_faults
from tests.methods.bases import (
    given_own_fields,
    heavy,
    no_transformation,
    plain,
    scaled,
    slower,
    with_fresh_base,
)
from tests.methods.compare import started
from tests.methods.row import Quirks, Row, fast, over


def skip_bad_steps(
    g, s, w, *, base, start, nonfinite, outlier, window, max_consecutive, loss_outlier, value=None
):
    """Leave out a gradient whose squared norm is not finite, or one with a logarithm of its norm,
    or of the loss, `outlier` deviations above the mean of the good ones.
    """
    with np.errstate(over="ignore"):
        norm = np.sqrt(sum(np.sum(np.abs(x) ** 2) for x in g))
    watched = {"norm": (norm, outlier, "good_steps", 1)}
    if loss_outlier is not None:
        watched["loss"] = (value, loss_outlier, "good_losses", 3)
    if s is None:
        s = {
            "total_skipped": 0,
            "consecutive_skipped": 0,
            "last_reason": 0,
            "exceeded": False,
            "base": start(g),
        }
        for name, (_, _, count, _) in watched.items():
            s |= {count: 0, f"log_{name}_mean": 0.0, f"log_{name}_var": 0.0}
    reason = 0
    for name, (x, most, count, not_finite) in watched.items():
        mean, deviation = s[f"log_{name}_mean"], max(np.sqrt(s[f"log_{name}_var"]), 0.01)
        if reason:
            continue
        if not np.isfinite(x):
            reason = not_finite if nonfinite else 0
        elif (
            most is not None
            and s[count] >= window
            and x > 0
            and np.log(x) > mean + most * deviation
        ):
            reason = not_finite + 1
    u, inner = base(g, s["base"], w) if reason == 0 else (still(g), s["base"])
    new = {}
    for name, (x, _, count, _) in watched.items():
        n, mean, var = s[count], s[f"log_{name}_mean"], s[f"log_{name}_var"]
        if reason == 0 and np.isfinite(x) and x > 0:
            # The mean and variance of the first `window` (Welford 1962), exponentially weighted
            # after them.
            n = n + 1
            a = 1 / min(n, window)
            var = (1 - a) * (var + a * (np.log(x) - mean) ** 2)
            mean = mean + a * (np.log(x) - mean)
        new |= {count: n, f"log_{name}_mean": mean, f"log_{name}_var": var}
    consecutive = s["consecutive_skipped"] + 1 if reason else 0
    return u, new | {
        "total_skipped": s["total_skipped"] + (reason > 0),
        "consecutive_skipped": consecutive,
        "last_reason": reason,
        "exceeded": s["exceeded"]
        or (max_consecutive is not None and consecutive > max_consecutive),
        "base": inner,
    }


def apply_if_finite(g, s, w, *, base, start, max_consecutive_errors):
    """Leave out a gradient with an entry that is not finite, however many came before."""
    s = s or {"notfinite_count": 0, "total_notfinite": 0, "base": start(g)}
    bad = not is_finite(g)
    u, inner = (still(g), s["base"]) if bad else base(g, s["base"], w)
    counts = {
        "notfinite_count": s["notfinite_count"] + 1 if bad else 0,
        "total_notfinite": s["total_notfinite"] + bad,
    }
    return u, {**counts, "last_finite": not bad, "base": inner}


def conditionally(g, s, w, *, base, start, should_transform_fn, otherwise):
    """The base where a function of the count says so; elsewhere `otherwise(g)`, and the base's
    state as it is.
    """
    s = s or {"step": 0, "base": start(g)}
    run = should_transform_fn(s["step"])
    u, inner = base(g, s["base"], w) if run else (otherwise(g), s["base"])
    return u, {"step": s["step"] + 1, "base": inner}


def with_a_spike(trees):
    """Norms near each other, but for a NaN and a large one."""
    params, gradients = with_faults(trees)
    for g in gradients:
        g["b"][...] = np.where(
            np.isfinite(g["b"]), np.array([30.0, -40.0, 5.0]) + 0.1 * g["b"], g["b"]
        )
    for g in gradients[4:]:
        g["wide"][0, 0, 0] = 300.0
    return params, gradients


def with_norms(state, seed):
    """Used, with the statistics of the norms and losses that there are, of as many as the default
    window.
    """
    used = started(state, seed)
    own = used.inner_state if isinstance(used, ol.ScheduledState) else used
    mean, var, loss_mean = (jnp.array(x, own.log_norm_mean.dtype) for x in (3.87, 0.013, 0.5))
    own = own._replace(log_norm_mean=mean, log_norm_var=var, good_steps=jnp.int32(100))
    if own.good_losses is not None:
        own = own._replace(log_loss_mean=loss_mean, log_loss_var=var, good_losses=jnp.int32(100))
    return used._replace(inner_state=own) if isinstance(used, ol.ScheduledState) else own


def losses(step):
    """Near 2, but for a spike, one that is not finite, and one below 0, which has no logarithm."""
    return {"value": {3: 9.0, 5: np.inf, 6: -1.0}.get(step, 2.0 + 0.1 * (step % 3))}


of_losses = ("good_losses", "log_loss_mean", "log_loss_var")  # None without loss_outlier


def even(step):
    return step % 2 == 0


def late(step):
    return step >= 3


def no_first(step):
    return step != 0


def conditionally_with(otherwise):
    def reference(g, s, w, *, forward_extra_args, **settings):
        return conditionally(g, s, w, otherwise=otherwise, **settings)

    return reference


conditions = tuple(over(inner=(scaled, heavy), should_transform_fn=(even, late, no_first, growing)))


ROWS: tuple[Row, ...] = (
    Row(
        ol.skip_bad_steps,
        given_own_fields(skip_bad_steps),
        (
            {"tx": scaled, "outlier": 6.0, "max_consecutive": 5},
            {"tx": scaled},
            {"tx": heavy, "max_consecutive": 0},
            *over(tx=(scaled,), outlier=(0.5, 3.0, 20.0), window=(1, 2), max_consecutive=(None, 1)),
            {"tx": heavy, "outlier": 2.0 * fast, "window": 2.5},
            {"tx": slower, "outlier": 300.0, "window": 2},
        ),
        (
            ({"tx": 0.1}, f"member tx {no_transformation}"),
            ({"tx": plain, "outlier": 0}, "outlier must be above 0, got 0.0"),
            ({"tx": plain, "loss_outlier": -1}, "loss_outlier must be above 0, got -1.0"),
            ({"tx": plain, "window": 0.5}, "window must be at least 1, got 0.5"),
            ({"tx": plain, "max_consecutive": -1}, "max_consecutive must be at least 0, got -1.0"),
            ({"tx": plain, "nonfinite": False}, "no step would count as bad; write outlier=6.0"),
            ({"tx": plain, "nonfinite": 1}, "nonfinite must be True or False, got 1"),
        ),
        quirks=Quirks(
            whole_tree=True,
            translate=with_fresh_base,
            data=with_a_spike,
            used=with_norms,
            positive=("outlier",),
            unseen=of_losses,
            float32=3e-5,  # of the logarithms of norms, near 4, hundredths differ
        ),
    ),
    Row(
        ol.skip_bad_steps,
        given_own_fields(skip_bad_steps),
        tuple(
            {"outlier": 6.0, **s}
            for s in over(tx=(scaled, heavy), window=(1, 2), max_consecutive=(None, 1))
        ),
        quirks=Quirks(
            whole_tree=True,
            translate=with_fresh_base,
            data=all_at_fault,
            used=with_norms,
            unseen=of_losses,
            no_laws="the same transformation as that of the row before",
            variant=", all at fault",
        ),
    ),
    Row(
        ol.skip_bad_steps,
        given_own_fields(skip_bad_steps),
        (
            *over(tx=(scaled, heavy), loss_outlier=(2.0, 50.0), window=(2, 3)),
            {
                "tx": heavy,
                "loss_outlier": 2.0 * fast,
                "outlier": 3.0,
                "window": 2,
                "max_consecutive": 1,
            },
        ),
        quirks=Quirks(
            whole_tree=True,
            translate=with_fresh_base,
            data=with_a_spike,
            extra=losses,
            used=with_norms,
            positive=("loss_outlier",),
            float32=3e-5,  # as in the first row
            no_laws="the same transformation as that of the first row, which needs no value",
            variant=", by loss",
        ),
    ),
    Row(
        ol.apply_if_finite,
        given_own_fields(apply_if_finite),
        tuple(over(inner=(scaled, heavy, slower, plain), max_consecutive_errors=(0, 3))),
        (
            ({"inner": 0.1, "max_consecutive_errors": 1}, f"member inner {no_transformation}"),
            (
                {"inner": plain, "max_consecutive_errors": -1},
                "max_consecutive_errors must be at least 0, got -1.0",
            ),
        ),
        quirks=Quirks(whole_tree=True, translate=with_fresh_base, data=with_faults),
    ),
    *(
        Row(
            factory,
            given_own_fields(conditionally_with(otherwise)),
            conditions,
            (
                ({"inner": 0.1, "should_transform_fn": even}, f"member inner {no_transformation}"),
                (
                    {"inner": plain, "should_transform_fn": 3},
                    "should_transform_fn must be a function of the count",
                ),
            ),
            quirks=Quirks(whole_tree=True, translate=with_fresh_base),
        )
        for factory, otherwise in (
            (ol.conditionally_transform, list),
            (ol.conditionally_mask, still),
        )
    ),
)
