"""MoMo (Schaipp et al. 2023)."""

import inspect

import jax.numpy as jnp
import numpy as np

import optax_lite as ol
from tests.methods.row import Namespace, Quirks, Row, fast, rate, rate_bad, slow


def dot(x, y):
    return sum(np.vdot(a, b).real for a, b in zip(x, y, strict=True))


def momo(g, s, w, *, value, learning_rate, beta, lower_bound, weight_decay, adapt_lower_bound):
    """MoMo (Schaipp et al. 2023, Algorithm 1) with the authors' code's decay and estimate of the
    lower bound.
    """
    k = 0 if s is None else s["count"]
    # The averages start at the first values, so that no bias needs correcting.
    d = g if s is None else s["exp_avg"]
    f_bar = value if s is None else s["barf"]
    gamma = dot(g, w) if s is None else s["gamma"]
    # Only an estimate is remembered; a known bound may be a schedule.
    lb = s["lb"] if s and adapt_lower_bound else lower_bound
    a = 1 + learning_rate * weight_decay

    d = [beta * y + (1 - beta) * x for x, y in zip(g, d, strict=True)]
    f_bar = beta * f_bar + (1 - beta) * value
    gamma = beta * gamma + (1 - beta) * dot(g, w)
    norm = dot(d, d)
    if adapt_lower_bound:
        cap = a * f_bar + dot(d, w) - a * gamma
        if cap < a * lb:
            lb = max(cap / (2 * a), lower_bound)
    polyak = max(a * (f_bar - lb - gamma) + dot(d, w), 0)
    # With d = 0 any tau gives the same point.
    tau = min(learning_rate, polyak / norm) if norm > 0 else learning_rate
    if adapt_lower_bound:
        h = f_bar + dot(d, w) - gamma
        lb = max(h - tau * norm / 2, lower_bound)
    # The decay is proximal: first the step, then the division of all (optax divides the parameter
    # only). (x - tau * d) / a - x with a = 1 + learning_rate * weight_decay, without the difference
    # of two points.
    u = [-(tau * y + learning_rate * weight_decay * x) / a for x, y in zip(w, d, strict=True)]
    return u, {"exp_avg": d, "barf": f_bar, "gamma": gamma, "lb": lb, "count": k + 1}


momo_settings = (
    {},
    {"learning_rate": 0.01, "beta": 0.5},
    {"learning_rate": 0.5, "lower_bound": 0.5, "weight_decay": 0.3},
    {"learning_rate": 100, "lower_bound": -30.0, "weight_decay": 0.1},
    {"learning_rate": rate, "beta": fast, "weight_decay": 0.5},
    {"lower_bound": slow, "beta": 0.0},
    {"adapt_lower_bound": True},
    {"adapt_lower_bound": True, "learning_rate": 1e-3, "weight_decay": 0.5, "lower_bound": -50.0},
    {"adapt_lower_bound": True, "lower_bound": 0.3, "weight_decay": 0.2},
    {"adapt_lower_bound": True, "learning_rate": 50, "lower_bound": -100.0, "beta": 0.3},
    # The estimate is above the model, and is put down.
    {
        "adapt_lower_bound": True,
        "learning_rate": 0.1,
        "lower_bound": -5.0,
        "weight_decay": 0.3,
        "beta": 0.5,
    },
    {
        "adapt_lower_bound": True,
        "learning_rate": 0.01,
        "lower_bound": 0.3,
        "weight_decay": 2.0,
        "beta": 0.5,
    },
    {"adapt_lower_bound": True, "learning_rate": 0.1, "beta": 0.5},
)


def losses(step):
    return {"value": (40.0, 2.0, 30.0, 0.5, 10.0)[step]}


# The gap of the model to the lower bound has both signs, and few digits: the largest error seen is
# half of this.
momo_float32 = 2e-4


ROWS: tuple[Row, ...] = (
    Row(
        ol.momo,
        momo,
        momo_settings,
        (
            *rate_bad,
            ({"beta": 1}, "beta must be in [0, 1), got 1.0"),
            ({"weight_decay": -1}, "weight_decay must be at least 0"),
        ),
        quirks=Quirks(whole_tree=True, float32=momo_float32, extra=losses),
    ),
)


POINT = [np.array([1.0, -2.0]), np.array([0.5]), np.array([[3.0]])]
GRADIENT = [np.array([0.3, -4.0]), np.array([-1.0]), np.array([[0.7]])]
MOMENTS = {"exp_avg": [x + 1 for x in POINT], "exp_avg_sq": [x**2 for x in GRADIENT]}
AVERAGES = {"barf": 5.0, "gamma": 0.25, "lb": 1.0, "count": 3}


def _agrees(reference, w, g, value, averages=None, **settings):
    """Whether one update is the reference's on the leaves that have a gradient, and leaves the
    others alone.
    """
    there = [i for i, x in enumerate(g) if x is not None]
    name = reference.__name__
    moments = {k: v for k, v in MOMENTS.items() if (name, k) != ("momo", "exp_avg_sq")}

    def of_those(tree):
        return [tree[i] for i in there]

    def agrees(namespace: Namespace) -> bool:
        tx = namespace[name](**settings)
        params, gradients = (
            [None if x is None else jnp.asarray(x) for x in tree] for tree in (w, g)
        )
        state, s = tx.init(params), None
        if averages is not None:
            state = state._replace(**{k: list(map(jnp.asarray, v)) for k, v in moments.items()})
            state = state._replace(
                **{k: jnp.asarray(v, getattr(state, k).dtype) for k, v in averages.items()}
            )
            s = {k: of_those(v) for k, v in moments.items()} | averages
        updates, new = tx.update(gradients, state, params, value=value)
        arguments = {
            k: p.default for k, p in inspect.signature(getattr(ol, name)).parameters.items()
        } | settings
        expected, s = reference(of_those(g), s, of_those(w), value=value, **arguments)
        away = [i for i in range(len(w)) if i not in there]
        assert all(
            updates[i] is None and jnp.array_equal(new.exp_avg[i], state.exp_avg[i]) for i in away
        )
        pairs = list(zip(of_those(updates), expected, strict=True)) + [
            (getattr(new, k), s[k]) for k in AVERAGES
        ]
        pairs += [
            pair for k in moments for pair in zip(of_those(getattr(new, k)), s[k], strict=True)
        ]
        return all(np.allclose(a, b, rtol=1e-12, atol=1e-14) for a, b in pairs)

    return agrees


def momo_probes(reference):
    none, zeros, still = (
        [GRADIENT[0], None, GRADIENT[2]],
        [0 * x for x in POINT],
        [0 * x for x in GRADIENT],
    )
    # the bound is AVERAGES["lb"]
    estimated = {"adapt_lower_bound": True, "learning_rate": 1.0, "weight_decay": 1.0}
    # the bound is above or just below the model of MoMo-Adam
    models = {"above": 0.25, "just below": 0.4}
    return {
        "a leaf without gradient": _agrees(
            reference, POINT, none, 2.0, AVERAGES, learning_rate=3.0
        ),
        "at the origin": _agrees(reference, zeros, GRADIENT, 2.0),
        "at rest on the bound": _agrees(reference, POINT, still, 2.0, lower_bound=2.0),
        "below a known bound": _agrees(reference, zeros, GRADIENT, -60.0, lower_bound=-50.0),
        "the bound is the model": _agrees(
            reference,
            zeros,
            GRADIENT,
            1.0,
            AVERAGES | {"barf": 1.0, "gamma": 0.0},
            adapt_lower_bound=True,
        ),
        **{
            f"the bound is {where} the model": _agrees(
                reference,
                zeros,
                GRADIENT,
                loss,
                AVERAGES | {"barf": loss, "gamma": 0.0},
                **estimated,
            )
            for where, loss in models.items()
        },
    }


def _momo_starts(namespace: Namespace) -> bool:
    """The averages of nothing are 0, and the bound is the one given."""
    state = namespace["momo"](lower_bound=-3.0).init(jnp.array([1.0, -2.0]))
    return (*map(float, state[1:]), *map(float, state.exp_avg)) == (0, 0, -3, 0, 0, 0)


PROBES = {"optax_lite.optimizers.momo": {"start": _momo_starts, **momo_probes(momo)}}
