"""Facts about MoMo, Mechanic, SAM and the plateau that no row states: module -> {name: agrees}, as in `probes`."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import optax_lite as ol
from tests.reference import mechanize, momo, sgd
from tests.reference.lift import leafwise

Namespace = dict[str, Any]

# --- MoMo ------------------------------------------------------------------------------------------------------------

REFERENCES = {"momo": momo.momo, "momo_adam": momo.momo_adam}
POINT = [np.array([1.0, -2.0]), np.array([0.5]), np.array([[3.0]])]
GRADIENT = [np.array([0.3, -4.0]), np.array([-1.0]), np.array([[0.7]])]
MOMENTS = {"exp_avg": [x + 1 for x in POINT], "exp_avg_sq": [x**2 for x in GRADIENT]}
AVERAGES = {"barf": 5.0, "gamma": 0.25, "lb": 1.0, "count": 3}


def _momo_agrees(name, w, g, value, averages=None, **settings):
    """Whether one update is the reference's on the leaves that have a gradient, and leaves the others alone."""
    there = [i for i, x in enumerate(g) if x is not None]
    moments = {k: v for k, v in MOMENTS.items() if (name, k) != ("momo", "exp_avg_sq")}

    def of_those(tree):
        return [tree[i] for i in there]

    def agrees(namespace: Namespace) -> bool:
        tx = namespace[name](**settings)
        params, gradients = ([None if x is None else jnp.asarray(x) for x in tree] for tree in (w, g))
        state, s = tx.init(params), None
        if averages is not None:
            state = state._replace(**{k: list(map(jnp.asarray, v)) for k, v in moments.items()})
            state = state._replace(**{k: jnp.asarray(v, getattr(state, k).dtype) for k, v in averages.items()})
            s = {k: of_those(v) for k, v in moments.items()} | averages
        updates, new = tx.update(gradients, state, params, value=value)
        arguments = {k: p.default for k, p in getattr(ol, name).signature.parameters.items()} | settings
        expected, s = REFERENCES[name](of_those(g), s, of_those(w), value=value, **arguments)
        away = [i for i in range(len(w)) if i not in there]
        assert all(updates[i] is None and jnp.array_equal(new.exp_avg[i], state.exp_avg[i]) for i in away)
        pairs = list(zip(of_those(updates), expected, strict=True)) + [(getattr(new, k), s[k]) for k in AVERAGES]
        pairs += [pair for k in moments for pair in zip(of_those(getattr(new, k)), s[k], strict=True)]
        return all(np.allclose(a, b, rtol=1e-12, atol=1e-14) for a, b in pairs)

    return agrees


def _momos(name):
    none, zeros, still = [GRADIENT[0], None, GRADIENT[2]], [0 * x for x in POINT], [0 * x for x in GRADIENT]
    estimated = {"adapt_lower_bound": True, "learning_rate": 1.0, "weight_decay": 1.0}  # the bound is AVERAGES["lb"]
    models = {"above": 0.25, "just below": 0.4}  # the bound is above or just below the model of MoMo-Adam
    return {
        "a leaf without gradient": _momo_agrees(name, POINT, none, 2.0, AVERAGES, learning_rate=3.0),
        "at the origin": _momo_agrees(name, zeros, GRADIENT, 2.0),
        "at rest on the bound": _momo_agrees(name, POINT, still, 2.0, lower_bound=2.0),
        "below a known bound": _momo_agrees(name, zeros, GRADIENT, -60.0, lower_bound=-50.0),
        "the bound is the model": _momo_agrees(
            name, zeros, GRADIENT, 1.0, AVERAGES | {"barf": 1.0, "gamma": 0.0}, adapt_lower_bound=True
        ),
        **{
            f"the bound is {where} the model": _momo_agrees(
                name, zeros, GRADIENT, loss, AVERAGES | {"barf": loss, "gamma": 0.0}, **estimated
            )
            for where, loss in models.items()
        },
    }


def _momo_starts(namespace: Namespace) -> bool:
    """The averages of nothing are 0, and the bound is the one given."""
    state = namespace["momo"](lower_bound=-3.0).init(jnp.array([1.0, -2.0]))
    return (*map(float, state[1:]), *map(float, state.exp_avg)) == (0, 0, -3, 0, 0, 0)


# --- Mechanic --------------------------------------------------------------------------------------------------------


def _mechanic_moved_before(namespace: Namespace) -> bool:
    """A first update elsewhere than where it was started, which shows the first scale."""
    settings = {"weight_decay": 0.5, "eps": 0.25, "s_init": 0.125, "num_betas": 2}
    base = leafwise(partial(sgd.sgd, learning_rate=0.5, momentum=None, nesterov=False))
    start, w, g = np.array([1.0, 2.0]), np.array([1.5, -1.0]), np.array([3.0, 0.5])
    tx = namespace["mechanize"](ol.sgd(0.5), **settings)
    updates, state = tx.update(jnp.asarray(g), tx.init(jnp.asarray(start)), jnp.asarray(w))
    zeros = np.zeros(2)
    s = {"count": 0, "x0": [start], "s": np.full(2, 0.125), "r": zeros, "m": zeros, "v": zeros, "base": {}}
    (expected,), s = mechanize.mechanize([g], s, [w], base=base, **settings)
    pairs = [(updates, expected), (state.x0, start), *((getattr(state, k), s[k]) for k in "rmvs")]
    return all(np.allclose(a, b, rtol=1e-12) for a, b in pairs)


# --- SAM -------------------------------------------------------------------------------------------------------------


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


def _plateau_follows(given, values):
    """Whether scale, best and dtypes of the plateau are those of its definition, loss by loss."""
    settings = {"factor": 0.1, "patience": 10, "rtol": 1e-4, "atol": 0.0, "cooldown": 0, "min_scale": 0.0} | given

    def agrees(namespace):
        tx, g = namespace["reduce_on_plateau"](**given), jnp.ones(())
        state = tx.init(g)
        kept = [x.dtype for x in jax.tree.leaves(state)]
        scale, best, bad, cool = 1.0, np.inf, 0, 0
        for value in values:
            bar = best - settings["rtol"] * abs(best) - settings["atol"] if best < np.inf else np.inf
            is_better, cools = value < bar, cool > 0
            best, bad = (value if is_better else best), (0 if is_better or cools else bad + 1)
            cool = max(cool - 1, 0)
            if bad >= settings["patience"]:
                scale, bad, cool = max(scale * settings["factor"], settings["min_scale"]), 0, settings["cooldown"]
            updates, state = tx.update(g, state, value=jnp.asarray(value))
            same = np.allclose((state.scale, updates), scale) and np.allclose(state.best_value, best, 1e-6)
            if not same or [x.dtype for x in jax.tree.leaves(state)] != kept:
                return False
        return True

    return agrees


def _plateau_keeps_its_dtypes(namespace):
    """Counts are int32, and numbers of the precision of the parameters, before and after."""
    for dtype in (jnp.float32, jnp.float64):
        tx, g = namespace["reduce_on_plateau"](patience=1, accumulation_size=2), jnp.ones((), dtype)
        state = tx.init(g)
        for value in (None, 1.0, 1.0, 2.0, 2.0):
            state = state if value is None else tx.update(g, state, value=jnp.array(value))[1]
            counts = [x.dtype for x in (state.plateau_count, state.cooldown_count, state.count)]
            numbers = [x.dtype for x in (state.scale, state.best_value, state.avg_value)]
            if counts != [jnp.int32] * 3 or numbers != [dtype] * 3:
                return False
    return True


PLATEAUS = {
    "dtypes": _plateau_keeps_its_dtypes,
    "patience": _plateau_follows({}, [2.0] * 24),
    "relative": _plateau_follows({"patience": 1}, [4.0, 3.9997, 3.9, -2.0, -2.0001, -2.01, -2.01, 0.0]),
    "at the bar": _plateau_follows({"patience": 1, "rtol": 0.5}, [4.0, 2.0, 1.0, 0.75, 0.25, -8.0, -12.0, -13.0]),
    "absolute": _plateau_follows(
        {"patience": 2, "atol": 0.5, "cooldown": 2}, [4.0, 3.75, 3.25, 3.0, 2.9, 2.9, 2.9, 2.9]
    ),
    "never finite": _plateau_follows({"patience": 2}, [np.inf, np.nan, np.inf, 1.0, np.nan, np.nan]),
}


TUNING_PROBES: dict[str, dict[str, Callable[[Namespace], bool]]] = {
    "optax_lite.optimizers.momo": {"start": _momo_starts, **_momos("momo")},
    "optax_lite.optimizers.momo_adam": _momos("momo_adam"),
    "optax_lite.optimizers.mechanize": {"moved before": _mechanic_moved_before},
    "optax_lite.optimizers.sam": {"afresh": _sam_climbs_afresh},
    "optax_lite.transforms.plateau": PLATEAUS,
}
