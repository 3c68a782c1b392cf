"""The rows of low precision: parameters in float32 and float64 pass the rounding wrappers untouched."""

import jax.numpy as jnp

import optax_lite as ol
from tests.agreement import started
from tests.catalogue.averaging import around
from tests.catalogue.gates import around as gated, with_base, with_faults
from tests.catalogue.row import Row, over
from tests.catalogue.wrapping import BASES, adaptive, heavy, no_transformation, plain, scaled, slower
from tests.reference import loss_scaling


def untouched(g, s, w, *, base, seed=0):
    u, s = base(g, s and s["base"], w)
    return u, {"base": s}


def counted(g, s, w, *, base, seed=0):
    u, state = untouched(g, s, w, base=base)
    return u, state | {"count": 1 if s is None else s["count"] + 1}


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


bad_tx = ({"tx": 0.1}, f"member tx {no_transformation}")
quadrupling = ol.piecewise_constant_schedule(4.0, {2: 0.5})

ROWS: tuple[Row, ...] = (
    Row(
        ol.stochastic_rounding,
        counted,
        tuple(over(tx=(heavy, plain, scaled, adaptive), seed=(0, 5))),
        (
            bad_tx,
            ({"tx": plain, "seed": 0.5}, "seed must be an int or a key, as jax.random.key(0) is one, got 0.5"),
            ({"tx": plain, "seed": True}, "seed must be an int or a key"),
        ),
        translate=around("tx"),
        random=True,
    ),
    Row(
        ol.kahan,
        untouched,
        tuple({"tx": tx} for tx in BASES),
        (bad_tx, ({"tx": ol.kahan(plain)}, "kahan is inside, which rounds the parameters as well")),
        translate=around("tx"),
        unseen=("compensation",),
    ),
    Row(
        ol.master_weights,
        untouched,
        tuple({"tx": tx} for tx in BASES),
        (bad_tx, ({"tx": ol.kahan(plain)}, "kahan is inside, which rounds the parameters as well")),
        translate=around("tx"),
        unseen=("master",),
    ),
    Row(
        ol.with_state_dtype,
        None,  # what it stores is random; tests/test_precision.py compares means
        ({"tx": adaptive, "dtype": "bfloat16"},),
        (
            ({"tx": 0.1, "dtype": "bfloat16"}, f"member tx {no_transformation}"),
            ({"tx": plain, "dtype": "int8"}, "dtype must be a floating dtype or None, got 'int8'"),
            ({"tx": plain, "dtype": None}, "dtype must be a dtype or a dict from slots to dtypes"),
            ({"tx": plain, "dtype": {}}, 'as {"nu": jnp.bfloat16}, got {}'),
            ({"tx": plain, "dtype": {"nu": "int8"}}, "dtype['nu'] must be a floating dtype or None, got 'int8'"),
            ({"tx": plain, "dtype": "bfloat16", "seed": "x"}, "seed must be an int or a key"),
            ({"tx": plain, "nu_dtype": "bfloat16"}, "no argument 'nu_dtype'"),
        ),
        random=True,
    ),
    Row(
        ol.quantize_state,
        None,  # what it stores is random; tests/test_quantize.py compares the codes with their reference
        ({"tx": adaptive, "block": 4, "min_size": 1},),
        (
            bad_tx,
            ({"tx": plain, "bits": 4}, "bits must be 8, got 4"),
            ({"tx": plain, "block": 0}, "block must be an integer of at least 1, got 0"),
            ({"tx": plain, "min_size": 0.5}, "min_size must be an integer of at least 1, got 0.5"),
            ({"tx": plain, "seed": "x"}, "seed must be an int or a key"),
            ({"tx": plain, "keep": 3}, "keep must be a pattern of paths or a list of them, got 3"),
            ({"tx": ol.accumulate(plain, 2)}, "accumulate is inside, so a call that moves nothing would round"),
            ({"tx": ol.apply_every(2)}, "apply_every is inside, so a call that moves nothing would round"),
            ({"tx": ol.lbfgs()}, "scale_by_lbfgs is inside, which takes differences of points that would be rounded"),
            ({"tx": ol.rmsprop(0.1, centered=True)}, "scale_by_stddev is inside, which takes the difference of two"),
            ({"tx": ol.cocob()}, "scale_by_cocob is inside, which makes the parameters of its sums; keep its state"),
            ({"tx": ol.galore(0.1)}, "scale_by_galore is inside, which has bases among its slots; give it quantize_"),
        ),
        random=True,
    ),
    Row(
        ol.loss_scaling,
        gated(loss_scaling.loss_scaling),
        (
            {"tx": scaled},
            {"tx": heavy, "init_scale": 64},
            *over(tx=(scaled, heavy), growth_interval=(1, 2), init_scale=(48.0,)),
            *over(tx=(scaled,), growth_interval=(1,), growth_factor=(3, 2.0**30), backoff_factor=(0.25,)),
            {"tx": slower, "growth_interval": 1, "backoff_factor": 2.0**-50},
            {"tx": heavy, "growth_interval": 1, "growth_factor": quadrupling, "init_scale": 8},
        ),
        (
            bad_tx,
            ({"tx": plain, "init_scale": 0}, "init_scale must be above 0, got 0.0"),
            ({"tx": plain, "growth_factor": 0.5}, "growth_factor must be at least 1, got 0.5"),
            ({"tx": plain, "backoff_factor": 2}, "backoff_factor must be below 1, got 2.0"),
            ({"tx": plain, "backoff_factor": 0}, "backoff_factor must be above 0, got 0.0"),
            ({"tx": plain, "growth_interval": 0}, "growth_interval must be an integer of at least 1, got 0"),
            ({"tx": plain, "growth_interval": 2.5}, "growth_interval must be an integer of at least 1, got 2.5"),
        ),
        whole_tree=True,
        translate=with_base,
        data=of_a_scaled_loss,
        used=about_to_grow,
        positive=("init_scale", "growth_factor", "backoff_factor"),
    ),
)
