"""The rows around other optimizers: Schedule-Free, SAM, GaLore, complex leaves in parts; Sophia with its estimator."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import optax_lite as ol
from tests.agreement import seen_by_run, started
from tests.catalogue.row import Row, beta_bad, eps_bad, fast, over, rate, rate_bad, slow, with_rate
from tests.reference import adam, galore, momentum, rmsprop, sam, schedule_free, sgd, sophia, split_real
from tests.reference.lift import leafwise

eps_bad = eps_bad[:1]
no_transformation = "must be a GradientTransformation, got 0.1"

_rmsprop = partial(
    rmsprop.rmsprop,
    initial_scale=0.0,
    eps_in_sqrt=True,
    centered=False,
    momentum=None,
    nesterov=False,
    bias_correction=False,
)

# Base optimizers for one leaf, as the factory and as the reference take them; their numbers are exact in float32.
BASES = {
    ol.sgd(0.5): partial(sgd.sgd, learning_rate=0.5, momentum=None, nesterov=False),
    ol.sgd(0.25, 0.75): partial(sgd.sgd, learning_rate=0.25, momentum=0.75, nesterov=False),
    ol.sgd(0.5, 0.25): partial(sgd.sgd, learning_rate=0.5, momentum=0.25, nesterov=False),
    ol.adam(0.25, 0.5, 0.75, 2.0**-30): partial(
        adam.adam, learning_rate=0.25, b1=0.5, b2=0.75, eps=2.0**-30, eps_root=0.0, nesterov=False
    ),
    ol.rmsprop(0.5, 0.75, 0.125): partial(_rmsprop, learning_rate=0.5, decay=0.75, eps=0.125),
    ol.rmsprop(0.25, 0.5, 0.5): partial(_rmsprop, learning_rate=0.25, decay=0.5, eps=0.5),
    ol.scale_by_adam(0.5, 0.75, 0.125): partial(
        adam.scale_by_adam, b1=0.5, b2=0.75, eps=0.125, eps_root=0.0, nesterov=False
    ),
    ol.trace(0.5): partial(momentum.trace, decay=0.5, nesterov=False),
    ol.sgd(2.0**20): partial(sgd.sgd, learning_rate=2.0**20, momentum=None, nesterov=False),
}
plain, heavy, light, adaptive, scaled, slower, adam_direction, trace, giant = BASES


def default_adam(g, s, w):
    b1, b2 = (seen_by_run(b, 0) for b in (0.9, 0.999))
    return adam.scale_by_adam(g, s, w, b1=b1, b2=b2, eps=1e-8, eps_root=0.0, nesterov=False)


def with_base(arguments):
    given = [arguments[k] for k in ("base_optimizer", "inner") if arguments.get(k) is not None]
    rest = {k: v for k, v in arguments.items() if k not in ("base_optimizer", "inner")}
    return {"base": BASES[given[0]] if given else default_adam} | rest


def nested(reference):
    """A reference that finds its base's fields among its own."""
    return lambda g, s, w, **settings: reference(g, s and s | {"base": s}, w, **settings)


# --- Schedule-Free ---------------------------------------------------------------------------------------------------


def averaged_for_a_while(state, seed):
    """Used, with the count that starts at 1."""
    return started(state, seed)._replace(step_count=jnp.int32(8))


# z and y are kept in float32, so that y - z has the digits that a step has beside z: hence the giant steps, and the
# bound for those that are not.
giant_rate, schedule_free_float32 = 2.0**20, 2e-5

# --- SAM -------------------------------------------------------------------------------------------------------------


def decayed(rule):
    """A reference with an L2 penalty, which shows at what point it stands."""
    return lambda g, s, w: rule(g + 0.25 * w, s, w)


heavy_decayed, scaled_decayed = (ol.chain(ol.add_decayed_weights(0.25), base) for base in (heavy, scaled))
SAM_BASES = BASES | {heavy_decayed: decayed(BASES[heavy]), scaled_decayed: decayed(BASES[scaled])}


def sam_of_leaves(reference):
    """A reference around references for one leaf, RMSProp and momentum, with the fields of both in one dict."""

    def of_leaves(g, s, w, *, optimizer, adv_optimizer, **settings):
        both = s and s | {"opt_state": s, "adv_state": s}
        rules = {"optimizer": leafwise(SAM_BASES[optimizer]), "adv_optimizer": leafwise(SAM_BASES[adv_optimizer])}
        u, s = reference(g, both, w, **rules, **settings)
        opt_state, adv_state = s.pop("opt_state"), s.pop("adv_state")
        zeros = [np.zeros_like(x) for x in g]
        opt_state = {"nu": [np.zeros(x.shape) for x in g]} if opt_state is None else opt_state
        return u, s | {"nu": opt_state["nu"], "trace": zeros if adv_state is None else adv_state["trace"]}

    return of_leaves


def bent(params, i):
    """Some gradient of point and number, for a dict or a list of arrays."""
    return jax.tree.map(lambda x: (i + 1) * x, params)


def climbed(state, seed):
    """Used, and one update since the last step."""
    return started(state, seed)._replace(steps_since_sync=jnp.int32(1))


# --- Sophia ----------------------------------------------------------------------------------------------------------


@ol.transform
def given_diagonal():
    """An estimator of the Hessian's diagonal that is told it."""

    def update(updates, state, *, hessian):
        return ol.leafwise(lambda g: 0 * g + hessian, updates), state

    return lambda params: ol.EmptyState(), update


def quartic(params):
    """Its Hessian is diagonal, so that every estimate is exact."""
    return sum(jnp.sum(x**4) for x in jax.tree.leaves(params))


def hutchinson(g, s, w, *, random_seed, obj_fn):
    z = np.sign(g) + (g == 0)
    return sophia.hutchinson(z, 12 * w**2 * z), {}


# --- GaLore ----------------------------------------------------------------------------------------------------------


def split(g, s, w, *, base):
    """The reference for one leaf: its parts are a list if there are two."""
    kept = {k: x if isinstance(x, (int, list)) else [x] for k, x in (s or {}).items() if k != "base"}
    (u,), s = split_real.split_real_and_imaginary([g], {"base": kept} if kept else None, [w], base=leafwise(base))
    return u, {k: x[0] if isinstance(x, list) and len(x) == 1 else x for k, x in s["base"].items()}


ROWS: tuple[Row, ...] = (
    Row(
        ol.schedule_free,
        schedule_free.schedule_free,
        (
            {"base_optimizer": adaptive, "learning_rate": 0.5},
            {"base_optimizer": giant, "learning_rate": 0.5, "b1": 0.5, "weight_lr_power": 0.0},
            {"base_optimizer": giant, "learning_rate": 3, "weight_lr_power": 1.0},
            {"base_optimizer": adaptive, "learning_rate": rate},
            {"base_optimizer": adaptive, "learning_rate": fast, "b1": 0.8, "weight_lr_power": 3.0},
            {"base_optimizer": giant, "learning_rate": 0.3, "b1": fast},
            {"base_optimizer": adaptive, "learning_rate": 0.3, "weight_lr_power": fast},
            {"base_optimizer": giant, "learning_rate": 0.0, "b1": 0.99},
        ),
        (
            ({"base_optimizer": 0.1, "learning_rate": 0.1}, f"member base_optimizer {no_transformation}"),
            ({"base_optimizer": plain, "learning_rate": 0.1, "b1": 0.0}, "b1 must be above 0, got 0.0"),
            ({"base_optimizer": plain, "learning_rate": 0.1, "b1": 1.0}, "b1 must be in [0, 1), got 1.0"),
            ({"base_optimizer": plain, "learning_rate": "x"}, "learning_rate must be a number or a schedule, got 'x'"),
            (
                {"base_optimizer": plain, "learning_rate": 0.1, "state_dtype": "int8"},
                "state_dtype must be a floating dtype",
            ),
        ),
        unlike=("state_dtype",),
        translate=with_base,
        used=averaged_for_a_while,
        float32=schedule_free_float32,
        positive=("b1",),
    ),
    Row(
        ol.schedule_free_sgd,
        nested(schedule_free.schedule_free_sgd),
        (
            {"learning_rate": 2.0**14},
            *over(learning_rate=(giant_rate, 3 * giant_rate), warmup_steps=(None, 3), weight_decay=(None, 0.3)),
            {"learning_rate": giant_rate, "warmup_steps": 10, "b1": 0.5, "weight_lr_power": 1.0, "weight_decay": fast},
            {"learning_rate": giant_rate * rate, "b1": 0.6},
            {"weight_decay": giant_rate},
        ),
        (
            *rate_bad,
            ({"b1": 0}, "b1 must be above 0, got 0.0"),
            ({"weight_decay": "x"}, "weight_decay must be a number"),
        ),
        unlike=("state_dtype",),
        used=averaged_for_a_while,
        float32=schedule_free_float32,
        positive=("b1",),
    ),
    Row(
        ol.schedule_free_adamw,
        nested(schedule_free.schedule_free_adamw),
        (
            {},
            *over(learning_rate=(giant_rate,), warmup_steps=(None, 3), weight_decay=(0.0, 0.3), eps=(1e-8, 0.1)),
            {"learning_rate": 1, "warmup_steps": 10, "b1": 0.5, "b2": 0.5, "weight_lr_power": 1.0},
            {"learning_rate": rate, "b1": 0.6},
        ),
        (*rate_bad, *beta_bad[:1], *eps_bad),
        unlike=("state_dtype",),
        used=averaged_for_a_while,
        float32=schedule_free_float32,
        positive=("b1",),
    ),
    Row(
        ol.sam,
        sam_of_leaves(sam.sam),
        tuple(
            {"optimizer": scaled, "adv_optimizer": heavy, **s}
            for s in (
                {},
                {"reset_state": False, "optimizer": scaled_decayed, "adv_optimizer": heavy_decayed},
                *over(sync_period=(2, 3, 4, 10), reset_state=(True, False)),
            )
        ),
        (
            ({"optimizer": 0.1, "adv_optimizer": plain}, f"member optimizer {no_transformation}"),
            ({"optimizer": plain, "adv_optimizer": 0.1}, f"member adv_optimizer {no_transformation}"),
            (
                {"optimizer": plain, "adv_optimizer": plain, "sync_period": 0},
                "sync_period must be an integer of at least 1, got 0",
            ),
        ),
        whole_tree=True,
        unlike=("opaque_mode", "batch_axis_name"),
        used=climbed,
    ),
    Row(
        ol.sam,
        sam_of_leaves(sam.sam),
        tuple(
            over(optimizer=(scaled, slower), adv_optimizer=(heavy, light), sync_period=(1,), reset_state=(True, False))
        ),
        whole_tree=True,
        unlike=("opaque_mode", "batch_axis_name"),
        fresh_only="with a period of 1 no update ever stands between two steps",
        variant=", of one",
    ),
    Row(
        ol.sam,
        sam_of_leaves(sam.opaque_sam),
        tuple(
            {"optimizer": scaled, "adv_optimizer": heavy, "opaque_mode": True, **s}
            for s in (
                {},
                {"optimizer": scaled_decayed, "adv_optimizer": heavy_decayed},
                *over(sync_period=(1, 2, 3), reset_state=(True, False)),
            )
        ),
        whole_tree=True,
        unlike=("opaque_mode", "batch_axis_name"),
        extra=lambda step: {"grad_fn": bent},
        unseen=("steps_since_sync", "cache"),
        variant=", opaque",
        no_laws="its gradient function is no array: tests/test_wrapping_optimizers.py",
    ),
    Row(
        ol.hutchinson_estimator_diag_hessian,
        hutchinson,
        tuple({"random_seed": s} for s in (None, *range(7))),
        complex_=False,
        refuses_complex="this is for real ones",
        extra=lambda step: {"obj_fn": quartic},
        unseen=("key",),
        moves_without_gradient="the Hessian is there without one",
        no_laws="its function takes the tree of the tests alone: tests/test_wrapping_optimizers.py",
    ),
    Row(
        ol.sophia,
        sophia.sophia,
        tuple(
            {"learning_rate": 0.1, "hessian_diagonal_fn": given_diagonal(), **s}
            for s in (
                {},
                {"eps": 0.3, "gamma": 0.5, "weight_decay": 0.3, "update_interval": 2},
                {"b1": 0.0, "b2": 0.0, "gamma": 3.0, "update_interval": 1, "clip_threshold": 2.5},
                {"b1": 0.5, "b2": 0.5, "gamma": 1, "clip_threshold": math.inf, "eps": 0.1},
                {"learning_rate": rate, "eps": 5.0, "update_interval": 3},
                {"b1": fast, "b2": slow, "eps": 0.5, "gamma": 2.0},
                {"gamma": fast, "clip_threshold": rate, "weight_decay": 0.0},
                {"b2": 0.3, "gamma": 20.0, "update_interval": 4, "clip_threshold": 1e9},
            )
        ),
        (
            *rate_bad,
            *with_rate(beta_bad),
            *with_rate(eps_bad),
            ({"learning_rate": 0.1, "update_interval": 0}, "update_interval must be an integer of at least 1, got 0"),
            ({"learning_rate": 0.1, "gamma": -1}, "gamma must be at least 0, got -1.0"),
            ({"learning_rate": 0.1, "hessian_diagonal_fn": 0.1}, f"member hessian_diagonal_fn {no_transformation}"),
            ({"learning_rate": 0.1, "mu_dtype": int}, "mu_dtype must be a floating dtype"),
        ),
        unlike=("weight_decay_mask", "hessian_diagonal_fn", "mu_dtype"),
        extra=lambda step: {"hessian": (2.0, -1.0, 0.5, 3.0, 1.0)[step]},
        complex_=False,
        refuses_complex="this is for real ones",
        no_laws="its function takes the tree of the tests alone: tests/test_wrapping_optimizers.py",
    ),
    Row(
        ol.galore,
        galore.galore,
        (
            {"learning_rate": 0.1},
            {"learning_rate": 0.1, "rank": 2, "base_optimizer": adam_direction},
            {"learning_rate": 0.1, "rank": 1, "base_optimizer": trace, "scale": 0.25, "weight_decay": 0.3},
            {"learning_rate": rate, "rank": 2, "base_optimizer": adam_direction, "update_proj_gap": 3},
            {"learning_rate": 1, "rank": 1, "base_optimizer": trace, "update_proj_gap": 2},
            {"learning_rate": 0.1, "rank": 3, "base_optimizer": trace, "scale": fast, "update_proj_gap": 1},
            {"learning_rate": 0.1, "rank": 2, "weight_decay": fast},
            {"learning_rate": 3, "rank": 1, "scale": 10.0, "base_optimizer": adam_direction},
        ),
        (
            *rate_bad,
            ({"learning_rate": 0.1, "rank": 0}, "rank must be an integer of at least 1, got 0"),
            ({"learning_rate": 0.1, "rank": 2.5}, "rank must be an integer of at least 1, got 2.5"),
            ({"learning_rate": 0.1, "update_proj_gap": 0}, "update_proj_gap must be an integer of at least 1, got 0"),
            ({"learning_rate": 0.1, "base_optimizer": 0.1}, f"member base_optimizer {no_transformation}"),
        ),
        unlike=("mask", "weight_dimension_numbers"),
        translate=with_base,
    ),
    Row(
        ol.scale_by_galore,
        partial(galore.galore, learning_rate=-1, weight_decay=0.0),
        (
            {},
            *over(rank=(1, 2), base_optimizer=(trace, adam_direction)),
            {"rank": 1, "base_optimizer": trace, "update_proj_gap": 2},
            {"rank": 2, "scale": fast},
            {"rank": 2, "scale": 0.25, "base_optimizer": plain},
        ),
        ({"rank": 0}, "rank must be an integer of at least 1, got 0"),
        unlike=("weight_dimension_numbers",),
        translate=with_base,
    ),
    Row(
        ol.split_real_and_imaginary,
        split,
        tuple({"inner": base} for base in BASES),
        ({"inner": 0.1}, f"member inner {no_transformation}"),
        translate=with_base,
    ),
)
