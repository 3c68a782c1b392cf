"""SAM, sharpness-aware minimization (Foret et al. 2021)."""

import jax
import jax.numpy as jnp
import numpy as np

import optax_lite as ol
from tests.methods.bases import (
    BASES,
    heavy,
    leafwise,
    light,
    no_transformation,
    plain,
    scaled,
    slower,
)
from tests.methods.compare import started
from tests.methods.row import Namespace, Quirks, Row, over


def sam_step(grad_fn, w, learning_rate, rho):
    """One SAM step (Foret et al. 2021, Algorithm 1, p = 2): the new parameters, for a list of
    arrays w.
    """
    g = grad_fn(w)
    norm = np.sqrt(sum(np.sum(np.abs(x) ** 2) for x in g))
    w_adv = [x + rho * y / norm for x, y in zip(w, g, strict=True)]
    return [x - learning_rate * y for x, y in zip(w, grad_fn(w_adv), strict=True)]


def opaque_sam(g, s, w, *, optimizer, adv_optimizer, sync_period, reset_state, grad_fn):
    """SAM (Foret et al. 2021, Algorithm 1), a whole period in one; grad_fn(w, i) at the i-th
    adversarial point.
    """
    opt_state = None if s is None else s["opt_state"]
    adv_state = None if s is None else s["adv_state"]
    point = list(w)
    for i in range(sync_period - 1):
        adv, adv_state = adv_optimizer(g, adv_state, point)
        point = [x - y for x, y in zip(point, adv, strict=True)]
        g = grad_fn(point, i)
    u, opt_state = optimizer(g, opt_state, w)
    if reset_state:
        adv_state = None
    return u, {"opt_state": opt_state, "adv_state": adv_state}


def sam(g, s, w, *, optimizer, adv_optimizer, sync_period, reset_state):
    """SAM (Foret et al. 2021, Algorithm 1) in phases: sync_period - 1 ascent steps, then the step
    from the start.
    """
    steps = 0 if s is None else s["steps_since_sync"]
    cache = list(w) if steps == 0 else s["cache"]
    opt_state = None if s is None else s["opt_state"]
    adv_state = None if s is None else s["adv_state"]
    if steps < sync_period - 1:
        # Ascent: the adversarial optimizer descends, so its update is subtracted.
        adv, adv_state = adv_optimizer(g, adv_state, w)
        u = [-x for x in adv]
        steps = steps + 1
    else:
        # The gradient was taken at the adversarial point, the step starts at the cached one.
        step, opt_state = optimizer(g, opt_state, cache)
        u = [(x - z) + y for x, y, z in zip(cache, step, w, strict=True)]
        steps = 0
        if reset_state:
            adv_state = None
    return u, {
        "steps_since_sync": steps,
        "opt_state": opt_state,
        "adv_state": adv_state,
        "cache": cache,
    }


def decayed(rule):
    """A reference with an L2 penalty, which shows at what point it stands."""
    return lambda g, s, w: rule(g + 0.25 * w, s, w)


heavy_decayed, scaled_decayed = (
    ol.chain(ol.add_decayed_weights(0.25), base) for base in (heavy, scaled)
)
SAM_BASES = BASES | {heavy_decayed: decayed(BASES[heavy]), scaled_decayed: decayed(BASES[scaled])}


def sam_of_leaves(reference):
    """A reference around references for one leaf, RMSProp and momentum, with the fields of both in
    one dict.
    """

    def of_leaves(g, s, w, *, optimizer, adv_optimizer, **settings):
        both = s and s | {"opt_state": s, "adv_state": s}
        rules = {
            "optimizer": leafwise(SAM_BASES[optimizer]),
            "adv_optimizer": leafwise(SAM_BASES[adv_optimizer]),
        }
        u, s = reference(g, both, w, **rules, **settings)
        opt_state, adv_state = s.pop("opt_state"), s.pop("adv_state")
        zeros = [np.zeros_like(x) for x in g]
        opt_state = {"nu": [np.zeros(x.shape) for x in g]} if opt_state is None else opt_state
        return u, s | {
            "nu": opt_state["nu"],
            "trace": zeros if adv_state is None else adv_state["trace"],
        }

    return of_leaves


def bent(params, i):
    """Some gradient of point and number, for a dict or a list of arrays."""
    return jax.tree.map(lambda x: (i + 1) * x, params)


def climbed(state, seed):
    """Used, and one update since the last step."""
    return started(state, seed)._replace(steps_since_sync=jnp.int32(1))


ROWS: tuple[Row, ...] = (
    Row(
        ol.sam,
        sam_of_leaves(sam),
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
            (
                {"optimizer": plain, "adv_optimizer": 0.1},
                f"member adv_optimizer {no_transformation}",
            ),
            (
                {"optimizer": plain, "adv_optimizer": plain, "sync_period": 0},
                "sync_period must be an integer of at least 1, got 0",
            ),
        ),
        quirks=Quirks(whole_tree=True, unlike=("opaque_mode", "batch_axis_name"), used=climbed),
    ),
    Row(
        ol.sam,
        sam_of_leaves(sam),
        tuple(
            over(
                optimizer=(scaled, slower),
                adv_optimizer=(heavy, light),
                sync_period=(1,),
                reset_state=(True, False),
            )
        ),
        quirks=Quirks(
            whole_tree=True,
            unlike=("opaque_mode", "batch_axis_name"),
            fresh_only="with a period of 1 no update ever stands between two steps",
            variant=", of one",
        ),
    ),
    Row(
        ol.sam,
        sam_of_leaves(opaque_sam),
        tuple(
            {"optimizer": scaled, "adv_optimizer": heavy, "opaque_mode": True, **s}
            for s in (
                {},
                {"optimizer": scaled_decayed, "adv_optimizer": heavy_decayed},
                *over(sync_period=(1, 2, 3), reset_state=(True, False)),
            )
        ),
        quirks=Quirks(
            whole_tree=True,
            unlike=("opaque_mode", "batch_axis_name"),
            extra=lambda step: {"grad_fn": bent},
            unseen=("steps_since_sync", "cache"),
            variant=", opaque",
            no_laws="its gradient function is no array: tests/test_wrapping_optimizers.py",
        ),
    ),
)


def _sam_averages_over_devices(namespace: Namespace) -> bool:
    """Gradients of two devices at the adversarial point make one step; the climb is each
    one's own.
    """
    scales = jnp.array([1.0, 3.0])
    tx = namespace["sam"](ol.sgd(0.5), ol.sgd(0.1), opaque_mode=True, batch_axis_name="devices")

    def step(scale):
        w = jnp.array([1.0, -2.0])
        return tx.update(scale * w, tx.init(w), w, grad_fn=lambda w, i: scale * w)[0]

    updates = jax.vmap(step, axis_name="devices")(scales)
    expected = -0.5 * jnp.mean(scales * (1 + 0.1 * scales)) * jnp.array([1.0, -2.0])
    return bool(jnp.allclose(updates, jnp.stack([expected, expected]), rtol=1e-12))


def _sam_climbs_afresh(namespace: Namespace) -> bool:
    """After a step the adversarial optimizer starts where the climb did."""

    @ol.transform
    def from_start():
        return lambda params: params, lambda updates, state, params: (updates, state)

    w, g = jnp.array([1.0, -2.0]), jnp.array([3.0, 0.5])
    tx = namespace["sam"](ol.sgd(0.5), from_start())
    state = tx.init(w)._replace(adv_state=0 * w)
    updates, state = tx.update(g, state, w)
    kept = jnp.array_equal(state.adv_state, 0 * w)
    _, state = tx.update(2 * g, state, w + updates)
    return bool(kept and jnp.array_equal(state.adv_state, w))


def _sam_passes_extra_arguments(namespace: Namespace) -> bool:
    """Also those that it takes itself: what is inside may take them too."""

    @ol.transform
    def times_both():
        def update(updates, state, params, *, grad_fn, value):
            return jax.tree.map(lambda u: value * grad_fn(u, 1), updates), state

        return lambda params: (), update

    w = {"w": np.array([1.0, -2.0])}
    tx = namespace["sam"](ol.chain(times_both(), ol.sgd(1.0)), ol.sgd(0.0), opaque_mode=True)
    updates, _ = tx.update(w, tx.init(w), w, grad_fn=bent, value=3.0)
    return bool(np.array_equal(updates["w"], -3 * 2 * w["w"]))


PROBES = {
    "optax_lite.optimizers.sam": {
        "devices": _sam_averages_over_devices,
        "afresh": _sam_climbs_afresh,
        "extra": _sam_passes_extra_arguments,
    }
}
