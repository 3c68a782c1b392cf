"""The rows around an optimizer that lets it run in some calls only: accumulation, skipping, conditions."""

import jax.numpy as jnp
import numpy as np

import optax_lite as ol
from optax_lite.wrappers.accumulate import _MultiSteps
from tests.agreement import started
from tests.catalogue.row import Row, fast, over
from tests.catalogue.wrapping import BASES, heavy, light, no_transformation, plain, scaled, slower
from tests.reference import accumulate, skip
from tests.reference.lift import leafwise

# What the bases remember before they have run, so that the references know it where they never do.
FRESH = {plain: (), heavy: ("trace",), light: ("trace",), scaled: ("nu",), slower: ("nu",)}


def with_base(arguments):
    """The base of a reference for lists, and its state at the start, in place of the transformation."""
    name = next(k for k in ("tx", "opt", "inner") if k in arguments)
    fields = FRESH[arguments[name]]

    def start(g):
        return {f: [np.zeros(np.shape(x), x.real.dtype if f == "nu" else x.dtype) for x in g] for f in fields}

    rest = {k: v for k, v in arguments.items() if k != name}
    return rest | {"base": leafwise(BASES[arguments[name]]), "start": start}


def around(reference):
    """A reference whose base is told its own fields only, and so may return them as they were."""

    def with_own_fields(g, s, w, *, start, **settings):
        s = s and s | {"base": {field: s[field] for field in start(g)}}
        return reference(g, s, w, start=start, **settings)

    return with_own_fields


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


def with_a_spike(trees):
    """Norms near each other, but for a NaN and a large one."""
    params, gradients = with_faults(trees)
    for g in gradients:
        g["b"][...] = np.where(np.isfinite(g["b"]), np.array([30.0, -40.0, 5.0]) + 0.1 * g["b"], g["b"])
    for g in gradients[4:]:
        g["wide"][0, 0, 0] = 300.0
    return params, gradients


def halfway(state, seed):
    """Used, and inside a period."""
    counts = {"mini_step": jnp.int32(1)}
    counts |= {"num_finite": jnp.int32(1)} if "num_finite" in state._fields else {}
    return started(state, seed)._replace(**counts)


def between(state, seed):
    """Used, and before the first update of a period."""
    return started(state, seed)._replace(count=jnp.int32(0))


def with_norms(state, seed):
    """Used, with the statistics of norms that the gradients have, of as many as the default window."""
    used = started(state, seed)
    own = used.inner_state if isinstance(used, ol.ScheduledState) else used
    mean, var = (jnp.array(x, own.norm_mean.dtype) for x in (48.0, 30.0))
    own = own._replace(norm_mean=mean, norm_var=var, good_steps=jnp.int32(100))
    return used._replace(inner_state=own) if isinstance(used, ol.ScheduledState) else own


def growing(step):
    return step + 1


def even(step):
    return step % 2 == 0


def late(step):
    return step >= 3


def no_first(step):
    return step != 0


def conditionally(otherwise):
    def reference(g, s, w, *, forward_extra_args, **settings):
        return skip.conditionally(g, s, w, otherwise=otherwise, **settings)

    return reference


conditions = tuple(over(inner=(scaled, heavy), should_transform_fn=(even, late, no_first, growing)))
shrinking = ol.piecewise_constant_schedule(3.0, {1: 0.5})  # 3, then 1.5, which means 2

ROWS: tuple[Row, ...] = (
    Row(
        ol.accumulate,
        around(accumulate.accumulate),
        (
            {"tx": scaled, "every": 2},
            *over(tx=(scaled, heavy), every=(1, 3, growing), reduce=("mean", "sum")),
            {"tx": slower, "every": shrinking},
        ),
        (
            ({"tx": 0.1, "every": 2}, f"member tx {no_transformation}"),
            ({"tx": plain, "every": 0}, "every must be an integer of at least 1, got 0"),
            ({"tx": plain, "every": 2.5}, "every must be an integer of at least 1, got 2.5"),
            ({"tx": plain, "every": 2, "reduce": "max"}, 'reduce must be "mean" or "sum", got \'max\''),
            (
                {"tx": ol.dpsgd(0.1, 1.0, 0.1, seed=0), "every": 2},
                "tx takes per-example gradients, and means of these are none; write chain(",
            ),
        ),
        whole_tree=True,
        translate=with_base,
        data=with_faults,
        used=halfway,
    ),
    Row(
        ol.accumulate,
        around(accumulate.accumulate),
        tuple(over(tx=(scaled, heavy), every=(1, 2), reduce=("mean", "sum"))),
        whole_tree=True,
        translate=with_base,
        data=all_at_fault,
        variant=", all at fault",
        used=halfway,
        no_laws="the same transformation as that of the row before",
    ),
    Row(
        _MultiSteps,
        around(accumulate.multi_steps),
        (
            {"opt": scaled, "every_k_schedule": 2, "should_skip_update_fn": ol.skip_not_finite},
            *over(
                opt=(heavy, scaled),
                every_k_schedule=(3, growing),
                use_grad_mean=(True, False),
                should_skip_update_fn=(ol.skip_not_finite,),
            ),
        ),
        whole_tree=True,
        translate=with_base,
        data=with_faults,
        unlike=("accumulator_dtype",),
        unseen=("skip_state",),
        used=halfway,
    ),
    Row(
        ol.apply_every,
        accumulate.apply_every,
        tuple({"k": k} for k in range(1, 10)),
        ({"k": 0}, "k must be an integer of at least 1, got 0"),
        used=between,
        counts_updates=False,
    ),
    Row(
        ol.skip_bad_steps,
        around(skip.skip_bad_steps),
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
            ({"tx": plain, "window": 0.5}, "window must be at least 1, got 0.5"),
            ({"tx": plain, "max_consecutive": -1}, "max_consecutive must be at least 0, got -1.0"),
            ({"tx": plain, "nonfinite": False}, "no step would be bad: write outlier=6.0"),
            ({"tx": plain, "nonfinite": 1}, "nonfinite must be True or False, got 1"),
        ),
        whole_tree=True,
        translate=with_base,
        data=with_a_spike,
        used=with_norms,
        positive=("outlier",),
    ),
    Row(
        ol.skip_bad_steps,
        around(skip.skip_bad_steps),
        tuple({"outlier": 6.0, **s} for s in over(tx=(scaled, heavy), window=(1, 2), max_consecutive=(None, 1))),
        whole_tree=True,
        translate=with_base,
        data=all_at_fault,
        variant=", all at fault",
        used=with_norms,
        no_laws="the same transformation as that of the row before",
    ),
    Row(
        ol.apply_if_finite,
        around(skip.apply_if_finite),
        tuple(over(inner=(scaled, heavy, slower, plain), max_consecutive_errors=(0, 3))),
        (
            ({"inner": 0.1, "max_consecutive_errors": 1}, f"member inner {no_transformation}"),
            ({"inner": plain, "max_consecutive_errors": -1}, "max_consecutive_errors must be at least 0, got -1.0"),
        ),
        whole_tree=True,
        translate=with_base,
        data=with_faults,
    ),
    *(
        Row(
            factory,
            around(conditionally(otherwise)),
            conditions,
            (
                ({"inner": 0.1, "should_transform_fn": even}, f"member inner {no_transformation}"),
                ({"inner": plain, "should_transform_fn": 3}, "should_transform_fn must be a function of the count"),
            ),
            whole_tree=True,
            translate=with_base,
        )
        for factory, otherwise in ((ol.conditionally_transform, list), (ol.conditionally_mask, accumulate.still))
    ),
)
