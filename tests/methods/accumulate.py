"""Gradient accumulation: accumulate, MultiSteps and apply_every, written from their definition."""

import jax.numpy as jnp
import numpy as np

import optax_lite as ol
from optax_lite.wrappers.accumulate import _MultiSteps
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
from tests.methods.row import Quirks, Row, over


def is_finite(g):
    return all(bool(np.all(np.isfinite(x))) for x in g)


def still(g):
    return [np.zeros_like(x) for x in g]


def accumulate(g, s, w, *, base, start, every, reduce, weight=1.0):
    """Every `every`-th gradient the base gets the mean, weighted or not, or the sum of the finite
    ones since then.
    """
    s = s or {
        "mini_step": 0,
        "gradient_step": 0,
        "num_finite": 0,
        "total_notfinite": 0,
        "base": start(g),
    }
    steps, inner, fresh = s["gradient_step"], s["base"], s["mini_step"] == 0
    total, finite = (still(g), 0) if fresh else (s["acc_grads"], s["num_finite"])
    weights = 0.0 if fresh else s.get("total_weight", 0.0)
    if is_finite(g) and weight != 0:
        total, finite = [a + weight * x for a, x in zip(total, g, strict=True)], finite + 1
        weights = weights + weight
    mini_step = s["mini_step"] + 1
    u = still(g)
    if mini_step >= (every(steps) if callable(every) else every):
        mini_step, steps = 0, steps + 1
        if finite > 0:
            share = {"mean": finite, "sum": 1, "weighted": weights}[reduce]
            u, inner = base([a / share for a in total], inner, w)
    bad = s["total_notfinite"] + (not is_finite(g) and weight != 0)
    counts = {
        "mini_step": mini_step,
        "gradient_step": steps,
        "num_finite": finite,
        "total_notfinite": bad,
    }
    counts |= {"total_weight": weights} if reduce == "weighted" else {}
    return u, {**counts, "acc_grads": total, "base": inner}


def multi_steps(g, s, w, *, base, start, every_k_schedule, use_grad_mean, should_skip_update_fn):
    """Every k gradients the base gets their mean (or sum); those that are skipped might as well not
    have been there.
    """
    s = s or {"mini_step": 0, "gradient_step": 0, "acc_grads": still(g), "base": start(g)}
    mini_step, steps, total, inner = s["mini_step"], s["gradient_step"], s["acc_grads"], s["base"]
    u = still(g)
    if should_skip_update_fn is None or is_finite(g):  # that function is skip_not_finite
        share = mini_step + 1 if use_grad_mean else 1
        kept = mini_step / share if use_grad_mean else 1
        total, mini_step = (
            [kept * a + x / share for a, x in zip(total, g, strict=True)],
            mini_step + 1,
        )
        if mini_step >= (
            every_k_schedule(steps) if callable(every_k_schedule) else every_k_schedule
        ):
            u, inner = base(total, inner, w)
            mini_step, steps, total = 0, steps + 1, still(g)
    return u, {"mini_step": mini_step, "gradient_step": steps, "acc_grads": total, "base": inner}


def apply_every(g, s, w, *, k):
    """The sum of the last k updates at every k-th one, 0 at the others; for one array."""
    count, total = (0, np.zeros_like(g)) if s is None else (s["count"], s["grad_acc"])
    total = g if count == 0 else total + g
    u = total if count == k - 1 else np.zeros_like(g)
    return u, {"count": (count + 1) % k, "grad_acc": total}


def with_faults(trees):
    """Gradients with a NaN and with an infinite entry, not at the same leaf; not the first."""
    params, gradients = trees
    for g in gradients[1:2]:
        g["w"][1, 2] = np.nan
    for g in gradients[3:4]:
        g["b"][0] = -np.inf
    return params, gradients


def all_at_fault(trees):
    """The first two gradients hold no number at all."""
    params, gradients = trees
    for g in gradients[:2]:
        g["w"][:] = np.nan
    return params, gradients


def weights(step):
    """Some of them 0, and one of these where the gradient is NaN."""
    return {"weight": (2.0, 0.0, 0.5, 3.0)[step % 4]}


def halfway(state, seed):
    """Used, and inside a period."""
    counts = {"mini_step": jnp.int32(1)}
    counts |= {"num_finite": jnp.int32(1)} if "num_finite" in state._fields else {}
    return started(state, seed)._replace(**counts)


def between(state, seed):
    """Used, and before the first update of a period."""
    return started(state, seed)._replace(count=jnp.int32(0))


def growing(step):
    return step + 1


shrinking = ol.piecewise_constant_schedule(3.0, {1: 0.5})  # 3, then 1.5, which means 2


ROWS: tuple[Row, ...] = (
    Row(
        ol.accumulate,
        given_own_fields(accumulate),
        (
            {"tx": scaled, "every": 2},
            *over(tx=(scaled, heavy), every=(1, 3, growing), reduce=("mean", "sum")),
            {"tx": slower, "every": shrinking},
        ),
        (
            ({"tx": 0.1, "every": 2}, f"member tx {no_transformation}"),
            ({"tx": plain, "every": 0}, "every must be an integer of at least 1, got 0"),
            ({"tx": plain, "every": 2.5}, "every must be an integer of at least 1, got 2.5"),
            (
                {"tx": plain, "every": 2, "reduce": "max"},
                'reduce must be "mean", "sum" or "weighted", got \'max\'',
            ),
            (
                {"tx": ol.dpsgd(0.1, 1.0, 0.1, seed=0), "every": 2},
                "tx needs per-example gradients, but would get means of them; write chain(",
            ),
        ),
        quirks=Quirks(
            whole_tree=True,
            translate=with_fresh_base,
            data=with_faults,
            used=halfway,
            unseen=("total_weight",),
        ),
    ),
    Row(
        ol.accumulate,
        given_own_fields(accumulate),
        tuple(
            {"reduce": "weighted", **s} for s in over(tx=(scaled, heavy), every=(1, 2, 3, growing))
        ),
        quirks=Quirks(
            whole_tree=True,
            translate=with_fresh_base,
            data=with_faults,
            extra=weights,
            variant=", weighted",
            used=halfway,
            no_laws="the same transformation as that of the row before, which needs no weight",
        ),
    ),
    Row(
        ol.accumulate,
        given_own_fields(accumulate),
        tuple(over(tx=(scaled, heavy), every=(1, 2), reduce=("mean", "sum"))),
        quirks=Quirks(
            whole_tree=True,
            translate=with_fresh_base,
            data=all_at_fault,
            variant=", all at fault",
            used=halfway,
            unseen=("total_weight",),
            no_laws="the same transformation as that of the row before",
        ),
    ),
    Row(
        _MultiSteps,
        given_own_fields(multi_steps),
        (
            {"opt": scaled, "every_k_schedule": 2, "should_skip_update_fn": ol.skip_not_finite},
            *over(
                opt=(heavy, scaled),
                every_k_schedule=(3, growing),
                use_grad_mean=(True, False),
                should_skip_update_fn=(ol.skip_not_finite,),
            ),
        ),
        quirks=Quirks(
            whole_tree=True,
            translate=with_fresh_base,
            data=with_faults,
            unlike=("accumulator_dtype",),
            unseen=("skip_state",),
            used=halfway,
        ),
    ),
    Row(
        ol.apply_every,
        apply_every,
        ({}, *({"k": k} for k in range(2, 10))),
        (({"k": 0}, "k must be an integer of at least 1, got 0"),),
        quirks=Quirks(used=between, counts_updates=False),
    ),
)
