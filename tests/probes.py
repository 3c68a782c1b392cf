"""Comparisons of rules that take a function and so have no reference in the table: module -> {name: agrees}.

`agrees(namespace of the module)` runs a rule beside its reference on given functions, in float64 and uncompiled.
"""

import contextlib
import io
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import optax_lite as ol
from tests.agreement import relative_error
from tests.loss_probes import LOSS_PROBES
from tests.precision_probes import PRECISION_PROBES
from tests.reference.lbfgs import dot, flat, lbfgs_direction, unflat
from tests.reference.linesearch import approximate_decrease_error, backtracking, wolfe_errors
from tests.reference.zoom import interpolate, strong_wolfe_search
from tests.tuning_probes import TUNING_PROBES

Namespace = dict[str, Any]

# --- functions to search on, of a vector ------------------------------------------------------------------------------


def bowl(x):
    return jnp.sum(x**2 * jnp.arange(1.0, 1.0 + len(x)))


def steep(x):
    return 1e4 * bowl(x)


def shallow(x):
    return 1e-3 * bowl(x) - 5.0


def valley(x):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def waves(x):
    return jnp.sum(jnp.sin(3 * x) + jnp.cos(5 * x + 1) + 0.1 * x**2)


def wall(x):
    return jnp.sum(-jnp.log(1 - x) - x)  # not a number from 1 on


def edge(x):
    return jnp.sum(jnp.sqrt(x**2))  # the gradient at 0 is not a number


def slope(x):
    return -jnp.sum(x)


def hidden(x):
    return 1e9 + bowl(x)  # rounding hides what it does


def lonely(x):
    return jnp.where(jnp.all(x == 0.5), 1.0, jnp.nan) + jnp.sum(x)


def plateau(x):
    return jnp.sum(1e-5 * jnp.tanh(1e5 * x))


def exponential(x):
    return jnp.sum(jnp.exp(2 * x) - 3 * x)


def flat_end(x):
    return jnp.sum(jnp.where(x > 0, x**2, 0.0) - 1e-3 * x)


def coarse(x):
    value = bowl(x)  # the gradient is that of the value before it is rounded to quarters
    return value + jax.lax.stop_gradient(jnp.round(4 * value) / 4 - value)


def between(rise, height):
    """From `height` at 0 to `rise` above it at 1, with slopes of -4 and 2 there."""
    return lambda x: jnp.sum(height - 4 * x + (6 + 3 * rise) * x**2 - (2 + 2 * rise) * x**3)


def in_numpy(f):
    return lambda x: float(f(jnp.asarray(x))), lambda x: np.asarray(jax.grad(f)(jnp.asarray(x)))


# --- the zoom line search ---------------------------------------------------------------------------------------------


class Search(NamedTuple):
    f: Callable
    x: tuple[float, ...]
    settings: dict[str, Any]
    scale: float = -1.0  # of the gradient, that makes the direction
    last: float = 1.0  # the step of the search before


ZOOM_DEFAULTS = {
    "max_linesearch_steps": 20,
    "max_learning_rate": None,
    "tol": 0.0,
    "increase_factor": 2.0,
    "slope_rtol": 1e-4,
    "curv_rtol": 0.9,
    "approx_dec_rtol": 1e-6,
    "stepsize_precision": 1e-5,
}
POINT = (0.5, -0.8)
SEARCHES = {
    "bowl": Search(bowl, POINT, {}),
    "bowl, strict": Search(bowl, POINT, {"curv_rtol": 0.1}),
    "bowl, strictest": Search(bowl, POINT, {"curv_rtol": 0.0, "max_linesearch_steps": 6}),
    "bowl, short": Search(bowl, POINT, {}, -1e-3),
    "bowl, short, longer factor": Search(bowl, POINT, {"increase_factor": 10.0}, -1e-3),
    "bowl, short, one step": Search(bowl, POINT, {"max_linesearch_steps": 1}, -1e-3),
    "bowl, short, three steps": Search(bowl, POINT, {"max_linesearch_steps": 3}, -1e-3),
    "bowl, short, as wide as precise": Search(bowl, POINT, {"curv_rtol": 0.01, "stepsize_precision": 256.0}, -1e-3),
    "bowl, short, bounded": Search(bowl, POINT, {"max_learning_rate": 3.0}, -1e-3),
    "bowl, bounded too far": Search(bowl, POINT, {"max_learning_rate": 0.9}),
    "bowl, from a tiny step": Search(bowl, POINT, {"increase_factor": 10.0}, last=1e-6),
    "bowl, not low enough": Search(
        bowl, (1.0,), {"slope_rtol": 0.9, "max_linesearch_steps": 1, "approx_dec_rtol": None}, -0.25
    ),
    "bowl, bounded below 1": Search(bowl, POINT, {"max_learning_rate": 0.02}),
    "bowl, half": Search(bowl, (1.0,), {"slope_rtol": 0.4, "curv_rtol": 0.45}, -0.8),
    "bowl, opposite": Search(bowl, (1.0,), {"approx_dec_rtol": None}),
    "bowl, tolerant": Search(bowl, POINT, {"curv_rtol": 0.0, "tol": 0.5}),
    "bowl, tolerant decrease": Search(bowl, POINT, {"tol": 2.0}, -0.7),
    "bowl, kept": Search(bowl, POINT, {"initial_guess_strategy": "keep"}, last=0.0625),
    "bowl, kept, not used": Search(bowl, POINT, {"initial_guess_strategy": "one"}, last=0.0625),
    "bowl, none to keep": Search(bowl, POINT, {"initial_guess_strategy": "keep"}, last=0.0),
    "bowl, kept, bounded": Search(bowl, POINT, {"max_learning_rate": 0.02}, last=0.0625),
    "bowl, one step": Search(bowl, POINT, {"max_linesearch_steps": 1}, -2.0),
    "bowl, two steps": Search(bowl, POINT, {"max_linesearch_steps": 2}, -40.0),
    "steep": Search(steep, POINT, {}),
    "steep, out of steps": Search(steep, POINT, {"max_linesearch_steps": 2}),
    "steep, precise": Search(steep, POINT, {"curv_rtol": 0.001}),
    "steep, rough": Search(steep, POINT, {"curv_rtol": 0.001, "stepsize_precision": 1e-4}),
    "shallow": Search(shallow, POINT, {}),
    "shallow, strict": Search(shallow, POINT, {"curv_rtol": 0.2}),
    "shallow, steep slope": Search(shallow, POINT, {"slope_rtol": 0.9, "approx_dec_rtol": None}),
    "shallow, steep slope, long": Search(
        shallow, (1.0,), {"slope_rtol": 0.9, "curv_rtol": 0.85, "approx_dec_rtol": None}
    ),
    "as low as the start": Search(between(0.0, 0.0), (0.0,), {}, -0.25),
    "as low, steep slope": Search(between(0.0, 0.0), (0.0,), {"slope_rtol": 0.3}, -0.25),
    "nearly as low": Search(between(0.05, 4.0), (0.0,), {"approx_dec_rtol": 0.02, "slope_rtol": 0.2}, -0.25),
    "not nearly as low": Search(between(0.1, 4.0), (0.0,), {"approx_dec_rtol": 0.02}, -0.25),
    "coarse": Search(coarse, (1.0,), {"curv_rtol": 0.5}, -0.05),
    "valley": Search(valley, (-1.2, 1.0, 0.5), {}),
    "valley, strict": Search(valley, (-1.2, 1.0, 0.5), {"curv_rtol": 0.01}),
    "valley, two": Search(valley, (0.3, -0.2), {"curv_rtol": 0.2, "slope_rtol": 0.15}),
    "waves": Search(waves, (0.4, 2.0), {}),
    "waves, strict": Search(waves, (0.4, 2.0), {"curv_rtol": 0.05}),
    "waves, long": Search(waves, (0.4, 2.0), {"curv_rtol": 0.1}, -3.0),
    "waves, small": Search(waves, (1.4, -2.0), {"curv_rtol": 0.1, "increase_factor": 4.0}, -0.01),
    "waves, steep slope": Search(waves, (1.4, -2.0), {"curv_rtol": 0.3, "slope_rtol": 0.29}, -0.05),
    "waves, uphill": Search(waves, (0.4, 2.0), {}, 1.0),
    "wall": Search(wall, (0.7,), {}, 4.0),
    "wall, down": Search(wall, (0.9, -3.0), {"curv_rtol": 0.1}),
    "wall, far": Search(wall, (-3.0,), {"curv_rtol": 0.1}, -30.0),
    "edge": Search(edge, (1.0,), {"max_linesearch_steps": 8}),
    "edge, past it": Search(edge, (1.0,), {"stepsize_precision": 0.3}, -1.5),
    "slope": Search(slope, POINT, {}),
    "slope, bounded": Search(slope, POINT, {"max_learning_rate": 3.0}),
    "hidden": Search(hidden, (1e-5,), {}, -0.1),
    "hidden, short": Search(hidden, (1e-5,), {"curv_rtol": 0.1}, -0.01),
    "hidden, twice": Search(hidden, (1e-5, 2e-5), {"curv_rtol": 0.01, "increase_factor": 5.0}, -0.01),
    "hidden, uphill": Search(hidden, (1e-5,), {}, 0.1),
    "hidden, off": Search(hidden, (1e-5,), {"approx_dec_rtol": None}, -0.1),
    "hidden, too far": Search(hidden, (1e-5,), {}, -1.0),
    "hidden, above": Search(hidden, (1.0,), {"curv_rtol": 2.0, "slope_rtol": 0.3}, -0.95),
    "hidden, negative": Search(lambda x: -hidden(x) + 2 * bowl(x), (1e-5,), {}, -0.1),
    "lonely": Search(lonely, (0.5,), {"max_linesearch_steps": 5}),
    "plateau, uphill": Search(plateau, (0.0,), {}, 1.0),
    "bowl, uphill": Search(bowl, POINT, {"max_linesearch_steps": 5}, 1.0),
    "bottom": Search(bowl, (0.0, 0.0), {}),
    "exponential": Search(exponential, (2.0, -1.0), {"curv_rtol": 0.1}),
    "exponential, past the minimum": Search(exponential, (-1.0,), {"curv_rtol": 0.1}, -0.119),
    "exponential, long": Search(exponential, (-3.0, -1.0), {"curv_rtol": 0.3}, -5.0),
    "flat end": Search(flat_end, (1.0,), {"curv_rtol": 0.0005, "slope_rtol": 0.3}, -0.9),
}


@cache
def searched(name):
    """What the reference finds: step, number of steps tried, and the two errors of that step."""
    case = SEARCHES[name]
    f, grad = in_numpy(case.f)
    x = np.array(case.x)
    u = case.scale * grad(x)
    settings = ZOOM_DEFAULTS | case.settings
    keeps = settings.pop("initial_guess_strategy", "keep") == "keep" and case.last > 0
    step, tried = strong_wolfe_search(f, grad, x, u, first=case.last if keeps else 1.0, **settings)
    c1, c2 = settings["slope_rtol"], settings["curv_rtol"]
    c1_now = c1 if np.sum(u * grad(x)) <= 0 else 0.0
    decrease, curvature = wolfe_errors(f, grad, x, u, step, c1_now, c2)
    if settings["approx_dec_rtol"] is not None:
        other = approximate_decrease_error(f, grad, x, u, step, c1, settings["approx_dec_rtol"])
        decrease = min(decrease, other)
    return step, len(tried), decrease, curvature


def _zoom_agrees(name):
    case = SEARCHES[name]

    def agrees(namespace: Namespace) -> bool:
        tx = namespace["scale_by_zoom_linesearch"](**{"max_linesearch_steps": 20, **case.settings})
        x = jnp.array(case.x)
        value, g = jax.value_and_grad(case.f)(x)
        state = tx.init(x)._replace(learning_rate=jnp.array(case.last))
        u = case.scale * g
        updates, state = tx.update(u, state, x, value=value, grad=g, value_fn=_counted(case.f))
        step, tried, decrease, curvature = searched(name)
        assert int(state.info.num_linesearch_steps) == tried, (state.info, tried)
        size = abs(float(value)) + float(jnp.abs(g) @ jnp.abs(u)) + 1e-300
        expected = {
            "learning_rate": (state.learning_rate, step, step + 1e-300),
            "decrease": (state.info.decrease_error, decrease, size),
            "curvature": (state.info.curvature_error, curvature, size),
            "value": (state.value, case.f(x + step * u), size),
            "grad": (state.grad, jax.grad(case.f)(x + step * u), jnp.max(jnp.abs(g)) + 1e-300),
            "update": (updates, step * u, jnp.max(jnp.abs(u)) + 1e-300),
        }
        errors = {k: float(jnp.max(jnp.abs(a - b) / s)) for k, (a, b, s) in expected.items()}
        assert all(error <= 1e-8 for error in errors.values()), errors  # one digit is lost at every interpolation
        return True

    return agrees


def _counted(f, most=100):
    """The same function, until it was called too often: a search that does not end."""
    calls = []

    def counted(x):
        calls.append(1)
        assert len(calls) <= most, "the search does not end"
        return f(x)

    return counted


def _interpolates(namespace: Namespace) -> bool:
    rng, point = np.random.default_rng(0), namespace["_Point"]
    for i in range(60):
        low, high = (10.0 ** rng.uniform(-2, 2) * rng.normal(size=3) for _ in range(2))
        if i % 3:  # as in a bracket: downhill from low, and high above it or going up
            low[2] = -abs(low[2]) * np.sign(high[0] - low[0])
            high[1] = low[1] + abs(high[1])
        if i % 10 == 5:
            high[1:] = np.inf, np.nan
        expected = interpolate(*low, *high)
        found = namespace["_between"](*(point(*map(jnp.asarray, end)) for end in (low, high)))
        assert abs(float(found) - expected) <= 1e-9 * max(abs(low[0]), abs(high[0])), (i, low, high, found, expected)
    tenth = [point(*map(jnp.array, end)) for end in ((0.0, 1.0, -2.0), (10.0, 81.0, 18.0))]  # of (t - 1)², just inside
    assert float(namespace["_between"](*tenth)) == 1
    same = point(*map(jnp.array, (0.5, 1.0, 2.0)))
    return float(namespace["_between"](same, same)) == 0.5


# --- backtracking -----------------------------------------------------------------------------------------------------

BACKTRACKING_DEFAULTS = {
    "slope_rtol": 1e-4,
    "decrease_factor": 0.8,
    "increase_factor": 1.5,
    "max_learning_rate": 1.0,
    "atol": 0.0,
    "rtol": 0.0,
}
BACKTRACKINGS = {
    "bowl": Search(bowl, POINT, {}),
    "bowl, half": Search(bowl, (1.0, 0.5), {"slope_rtol": 0.4, "decrease_factor": 0.5}),
    "bowl, from the longest": Search(bowl, POINT, {"increase_factor": jnp.inf, "max_learning_rate": 3.0}),
    "bowl, ever shorter": Search(bowl, POINT, {"increase_factor": 0.5}, -0.1),
    "bowl, few steps": Search(bowl, POINT, {"max_backtracking_steps": 3}, -4.0),
    "bowl, one step": Search(bowl, POINT, {"max_backtracking_steps": 1}, -4.0),
    "bowl, uphill": Search(bowl, POINT, {"max_backtracking_steps": 4}, 0.1),
    "bowl, uphill, steep slope": Search(bowl, POINT, {"slope_rtol": 3.0}, 0.05),
    "bowl, uphill, allowed": Search(bowl, POINT, {"max_backtracking_steps": 4, "atol": 0.3}, 0.05),
    "bowl, uphill, allowed in part": Search(bowl, POINT, {"max_backtracking_steps": 4, "rtol": 0.2}, 0.05),
    "shallow, negative": Search(shallow, POINT, {"rtol": 1e-4, "max_backtracking_steps": 5}, -50.0),
    "valley": Search(valley, (-1.2, 1.0, 0.5), {}),
    "valley, longer": Search(valley, (-1.2, 1.0, 0.5), {"increase_factor": 3.0, "max_learning_rate": 0.5}),
    "waves": Search(waves, (0.4, 2.0), {"slope_rtol": 0.2, "decrease_factor": 0.3}),
    "wall": Search(wall, (0.9, -3.0), {}, -30.0),
    "wall, out of steps": Search(wall, (0.5,), {"max_backtracking_steps": 2}, 30.0),
    "lonely": Search(lonely, (0.5,), {"max_backtracking_steps": 5}),
    "bottom": Search(bowl, (0.0, 0.0), {}),
}


def _backtracking_agrees(name, steps=6):
    case = BACKTRACKINGS[name]
    settings = {"max_backtracking_steps": 25, **case.settings}

    def agrees(namespace: Namespace) -> bool:
        tx = namespace["scale_by_backtracking_linesearch"](store_grad=True, **settings)
        x, last = jnp.array(case.x), 1.0
        f, grad = in_numpy(case.f)
        state = tx.init(x)
        assert np.isinf(state.value) and float(state.learning_rate) == 1.0
        for _ in range(steps):
            value, g = jax.value_and_grad(case.f)(x)
            u = case.scale * g
            updates, state = tx.update(u, state, x, value=value, grad=g, value_fn=_counted(case.f))
            v, s, direction = float(value), float(u @ g), np.asarray(u)
            hyperparameters = BACKTRACKING_DEFAULTS | settings
            limit = hyperparameters.pop("max_backtracking_steps")
            eta, reached, tried, error = backtracking(
                f, np.asarray(x), direction, s, v, last, max_steps=limit, **hyperparameters
            )
            reached, last = (reached, eta) if eta > 0 else (v, 1.0)  # standing still is where it was, then anew
            assert int(state.info.num_linesearch_steps) == tried
            size = abs(v) + 1e-300
            pairs = ((state.learning_rate, eta, 1), (state.value, reached, size), (updates, eta * direction, 1))
            pairs += ((state.grad, grad(np.asarray(x) + eta * direction), 1),)
            assert np.isinf(error) == np.isinf(state.info.decrease_error)
            if np.isfinite(error):
                pairs += ((state.info.decrease_error, error, size),)
            assert all(float(np.max(np.abs(a - b))) <= 1e-12 * scale for a, b, scale in pairs), pairs
            x = x + updates
        return True

    return agrees


# --- what the line searches share -------------------------------------------------------------------------------------


def _moves(namespace: Namespace) -> bool:
    moved = namespace["moved"]
    # 1 + 2⁻²⁴ + 2⁻⁵⁰ is above the middle of two float32 numbers; the update alone, rounded to one, is at it.
    wide, narrow = moved(jnp.array(1 + 2.0**-40), jnp.ones((), jnp.bfloat16), 2.0), jnp.ones((), jnp.float32)
    assert (wide, moved(narrow, jnp.array(2.0**-24 + 2.0**-50), 1.0)) == (3 + 2.0**-40, 1 + 2.0**-23)
    p = {"a": jnp.array([1.0, 2.0]), "b": jnp.array(3, jnp.int32), "h": jnp.ones(2, jnp.bfloat16), "n": None}
    new = moved(p, {"a": jnp.array([1.0, -1.0]), "b": None, "h": jnp.full(2, 0.5, jnp.float32), "n": None}, 0.5)
    assert {k: x is None or x.dtype for k, x in new.items()} == {k: x is None or x.dtype for k, x in p.items()}
    return [float(x) for k in "abh" for x in np.ravel(new[k].astype(float))] == [1.5, 1.5, 3.0, 1.25, 1.25]


def _gives_what_is_taken(namespace: Namespace) -> bool:
    of_params, p, extra = namespace["of_params"], jnp.array(2.0), {"a": 3.0, "b": 5.0}
    dtype = jnp.dtype("float32")

    def value(f):
        out = of_params(f, p, extra, dtype)(p)
        assert out.dtype == dtype
        return float(out)

    assert value(lambda x: 7 * x) == 14
    assert value(lambda x, a: x * a) == 6
    assert value(lambda x, **others: x * len(others) + others["b"]) == 9
    return value(lambda x, *, b, a=1.0, c=100.0: x * b + a + c) == 113


def _takes_gradients(namespace: Namespace) -> bool:
    slot = {"z": jnp.zeros((), jnp.complex64), "x": jnp.zeros((), jnp.float32), "i": None}
    p = {"z": jnp.array(1 + 2j), "x": jnp.array(3.0), "i": jnp.array(2, jnp.int32)}
    value, g = namespace["value_and_descent"](lambda p: jnp.abs(p["z"]) ** 2 + p["x"] ** 2, p, slot)
    assert (round(float(value), 9), g["i"], g["z"].dtype, g["x"].dtype) == (14, None, jnp.complex64, jnp.float32)
    assert (complex(g["z"]), float(g["x"])) == (2 + 4j, 6)
    none = namespace["gradient_like"](slot, {"z": None, "x": jnp.array(2.0, jnp.bfloat16), "i": None})
    return (complex(none["z"]), float(none["x"]), none["x"].dtype, none["i"]) == (0, 2, jnp.float32, None)


def _finds_searches(namespace: Namespace) -> bool:
    class Other(NamedTuple):
        learning_rate: float
        inner: Any

    state = namespace["scale_by_backtracking_linesearch"](3).init(jnp.ones(2))

    class More(NamedTuple):
        learning_rate: float
        value: float
        grad: Any
        info: Any
        more: Any

    nested = ({"a": (Other(0.1, (state,)), None, ol.EmptyState())}, (), [state])
    found, more = namespace["searches"](nested), More(0.1, 0.0, None, None, None)
    assert namespace["searches"]((more,)) == [more]
    return len(found) == 1 and found[0] is state and namespace["searches"](Other(0.1, None)) == []


def _value_is_kept(namespace: Namespace) -> bool:
    f = namespace["value_and_grad_from_state"](lambda x, a, *, b: a * x["w"] ** 2 + b)
    state = namespace["scale_by_backtracking_linesearch"](3, store_grad=True).init({"w": jnp.array(1.0)})
    for value, expected in ((jnp.inf, (17.0, 12.0)), (jnp.nan, (17.0, 12.0)), (5.0, (5.0, 0.25))):
        kept = state._replace(value=jnp.array(value), grad={"w": jnp.array(0.25)})
        found, grad = f({"w": jnp.array(2.0)}, 3.0, b=5.0, state=(kept, ()))
        if (float(found), {k: float(g) for k, g in grad.items()}) != (expected[0], {"w": expected[1]}):
            return False
    return True


def _goes_on_from(namespace: Namespace) -> bool:
    """The last step, or 1 where that was 0."""
    state = namespace["scale_by_backtracking_linesearch"](3).init(jnp.array(1.0))
    return [float(namespace["last_step"](state._replace(learning_rate=jnp.array(x)))) for x in (0.25, 0.0)] == [0.25, 1]


def _stands_still_outside(namespace: Namespace) -> bool:
    """Nothing decreases a value that is no number: after all steps the search fails, although f is finite there."""
    tx, x = namespace["scale_by_backtracking_linesearch"](3), jnp.array(1.5)
    value, g = jax.value_and_grad(wall)(x)
    update, state = tx.update(jnp.array(-1.0), tx.init(x), x, value=value, grad=g, value_fn=wall)
    assert np.isnan(value) and np.isfinite(wall(x - 1)) and np.isinf(state.info.decrease_error)
    return (float(update), float(state.learning_rate), int(state.info.num_linesearch_steps)) == (0, 0, 4)


def _printed(tx, u):
    """What a search for the minimum of x² from 1 prints."""
    x = jnp.array(1.0)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        tx.update(jnp.array(u), tx.init(x), x, value=x**2, grad=2 * x, value_fn=lambda x: x**2)
        jax.effects_barrier()
    return out.getvalue()


def _backtracking_tells(namespace: Namespace) -> bool:
    """From 1 along -2: at 1 f stays 1, at 1/2 it is 0, and 7/8·(1/2)·4 was asked for. Only if `verbose`."""
    search = partial(namespace["scale_by_backtracking_linesearch"], 1, slope_rtol=0.875, decrease_factor=0.5)
    assert search().init(jnp.array(1.0)).grad is None
    assert _printed(search(verbose=True), -2.0) == "backtracking: step 0.5, decrease error 0.75\n"
    return _printed(search(store_grad=True), -2.0) == _printed(search(), -2.0) == ""


def _zoom_tells(namespace: Namespace) -> bool:
    """From 1 along -1/4: slopes -1/2 at 0, -3/8 at 1 and -1/4 at 2, where |-1/4| ≤ 1/8·|-1/2| is missed by 3/16."""
    search = partial(namespace["scale_by_zoom_linesearch"], 2, curv_rtol=0.125)
    assert _printed(search(verbose=True), -0.25) == "zoom: step 2.0 of 2 tried, misses by 0.0 and 0.1875\n"
    return _printed(search(), -0.25) == ""


def _dtype_is_real(namespace: Namespace) -> bool:
    of = namespace["value_dtype"]
    trees = [jnp.ones(2, jnp.bfloat16)], {"z": jnp.ones((), jnp.complex64), "n": jnp.ones((), jnp.int32)}, {}, 1.0
    return [of(tree) for tree in trees] == [jnp.float32] * 3 + [jnp.float64]


# --- L-BFGS -----------------------------------------------------------------------------------------------------------

LEAVES = {"w": (3, 2), "b": (4,), "scalar": (), "z": (2,)}


def landscape(seed, size):
    """The gradient, as a function of one vector, of a random quadratic that curves both ways."""
    rng = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(rng.normal(size=(size, size)))
    hessian, shift = (basis * rng.uniform(-2.0, 3.0, size)) @ basis.T, rng.normal(size=size)
    return lambda x: hessian @ (x - shift)


def trajectory(factory, dtype, memory_size, scale_init_precond, *, steps=18, complex_=True, seed=0, jit=False):
    """The error of the direction at each point of a path that the reference walks, and the ⟨s, y⟩ of its pairs.

    Both get the same points and gradients, as rounded to `dtype`, so that errors do not pile up.
    """
    rng = np.random.default_rng(seed)
    kinds = {k: np.result_type(dtype, np.complex64) if k == "z" else dtype for k in LEAVES if complex_ or k != "z"}
    w = [np.asarray(rng.normal(size=LEAVES[k]) + (1j if k == "z" else 0), kind) for k, kind in kinds.items()]
    gradient = landscape(seed, flat(w).size)
    tx = factory(memory_size, scale_init_precond)
    update = jax.jit(tx.update) if jit else tx.update
    state, ws, gs, errors = None, [], [], []
    for _ in range(steps):
        g = [np.asarray(x, p.dtype) for x, p in zip(unflat(gradient(flat(w)), w), w, strict=True)]
        params, grads = ({"none": None} | dict(zip(kinds, map(jnp.asarray, tree), strict=True)) for tree in (w, g))
        state = tx.init(params) if state is None else state
        updates, state = update(grads, state, params)
        assert updates["none"] is None
        ws, gs = [*ws, flat(w).astype(np.float64)], [*gs, flat(g).astype(np.float64)]
        direction = lbfgs_direction(gs, ws, memory_size, scale_init_precond)
        errors.append(relative_error(flat([updates[k] for k in kinds]), direction))
        moved = flat(w) - direction / max(1.0, np.linalg.norm(direction)) + 0.3 * rng.normal(size=direction.size)
        w = [np.asarray(x, p.dtype) for x, p in zip(unflat(moved, w), w, strict=True)]
    return errors, [dot(a - b, c - d) for a, b, c, d in zip(ws[1:], ws, gs[1:], gs, strict=False)]


def _walks(memory_size, scale_init_precond, seed):
    def agrees(namespace: Namespace) -> bool:
        errors, _ = trajectory(
            namespace["scale_by_lbfgs"], np.float64, memory_size, scale_init_precond, seed=seed, steps=8
        )
        return max(errors) < 2e-13

    return agrees


def smallest_curvature_used(factory):
    """Whether a pair is used exactly where 1/⟨s, y⟩ is finite."""
    tiny = float(jnp.finfo(float).tiny)
    for curvature, expected in ((tiny, 1 / tiny), (tiny / 2, 0.0), (0.0, 0.0), (-1.0, 0.0)):
        tx = factory(2)
        _, state = tx.update(jnp.array(0.0), tx.init(jnp.array(0.0)), jnp.array(0.0))
        _, state = tx.update(jnp.array(1.0), state, jnp.array(curvature))
        if float(state.weights_memory[0]) != expected:
            return False
    return True


def _starts_with_unit_norm_at_most(namespace: Namespace) -> bool:
    """The first direction is min(1, 1/‖g‖)·g, and so is every one until a pair curves upwards."""
    for size in (0.0, 0.5, 1.0, 1.5, 4.0):
        tx, g = namespace["scale_by_lbfgs"](2), {"w": size * jnp.array([0.6, 0.0]), "b": size * jnp.array(0.8)}
        w = jax.tree.map(jnp.ones_like, g)
        first, state = tx.update(g, tx.init(w), w)
        second, _ = tx.update(g, state, jax.tree.map(lambda x: x + 1, w))  # y = 0
        for x in (*jax.tree.leaves(first), *jax.tree.leaves(second)):
            expected = [min(1.0, size) * share for share in ((0.6, 0.0) if x.ndim else (0.8,))]
            if not np.allclose(x.ravel(), expected, rtol=1e-15, atol=0):
                return False
    return True


def _passes_over_nothing(namespace: Namespace) -> bool:
    """A leaf without a gradient takes no part: the other's directions are those it has alone, its own state stays."""
    tx, alone = namespace["scale_by_lbfgs"](3), namespace["scale_by_lbfgs"](3)
    w, rest = jnp.array([1.0, -2.0, 0.5]), jnp.array([3.0, 4.0])
    both, one = tx.init({"a": w, "b": rest}), alone.init({"a": w})
    start = both
    for _ in range(5):
        g = w * jnp.array([1.0, 5.0, 2.0])
        updates, both = tx.update({"a": g, "b": None}, both, {"a": w, "b": rest})
        expected, one = alone.update({"a": g}, one, {"a": w})
        assert updates["b"] is None
        if not np.allclose(updates["a"], expected["a"], rtol=1e-14, atol=0):
            return False
        w = w - 0.1 * expected["a"]
    trees = ("params", "updates", "diff_params_memory", "diff_updates_memory")
    return all(np.array_equal(getattr(both, k)["b"], getattr(start, k)["b"]) for k in trees)


def _searches_by_default(namespace: Namespace) -> bool:
    tx, x = namespace["lbfgs"](), jnp.array([-1.2, 1.0])
    state = tx.init(x)
    for _ in range(3):
        value, g = jax.value_and_grad(valley)(x)
        updates, state = tx.update(g, state, x, value=value, grad=g, value_fn=_counted(valley))
        x = x + updates
        assert float(state[-1].value) < float(value) and float(state[-1].info.curvature_error) == 0
    return True


def _prints(name, *settings):
    """Whether a printed transformation is what it should be, defaults included."""

    def agrees(namespace: Namespace) -> bool:
        return repr(namespace[name](*settings)) == DEFAULTS[name]

    return agrees


# --- GaLore -----------------------------------------------------------------------------------------------------------

SHAPED = {"empty": (0, 3), "matrix": (5, 2), "nothing": None, "one": (1, 1), "scalar": (), "vector": (3,)}


def _names_axes(namespace: Namespace) -> bool:
    """What dimension numbers, their absence, a tree of them and a function say about leaves of any shape."""
    axes, numbers = namespace["matrix_axes"], namespace["GaLoreDimensionNumbers"]
    tree = {k: shape if shape is None else jnp.zeros(shape) for k, shape in SHAPED.items()}
    cube, given = {"cube": jnp.zeros((2, 3, 4))}, dict.fromkeys(SHAPED) | {"matrix": numbers(-1, 0)}
    assert axes(None, tree | cube) == [None, None, ([0], [1]), None, ([0], [1]), None, None]
    assert axes(numbers(1, -2), tree) == [None, ([1], [0]), None, ([1], [0]), None, None]
    assert axes(given, tree) == [None, ([1], [0]), None, None, None, None]
    assert axes(lambda t: {k: given[k] for k in t}, tree) == axes(given, tree)
    assert axes(given | {"nothing": numbers()}, tree) == axes(given, tree)
    assert axes(numbers(1, (-1, 0)), cube) == [([1], [2, 0])]
    return axes(numbers((2, 0), 1), cube) == [([2, 0], [1])]


def _folds(namespace: Namespace) -> bool:
    """A matrix holds x[i, j, k] in row j and column 2k + i, in its transpose's row 2k + i and column j."""
    fold, unfold = namespace["fold"], namespace["unfold"]
    x = np.arange(24.0).reshape(2, 3, 4)
    matrix = np.array([[x[i, j, k] for k in range(4) for i in range(2)] for j in range(3)])
    for axes, m in ((([1], [2, 0]), matrix), (([2, 0], [1]), matrix.T)):
        found = fold(jnp.array(x), axes)
        if found.shape != m.shape or np.any(found != m) or np.any(unfold(jnp.array(m), axes, x.shape) != x):
            return False
    return True


def _galore_by_default(namespace: Namespace) -> bool:
    """Rank 128, from new singular vectors every 200 updates; a leaf without a gradient has no projector."""
    for factory in (namespace["scale_by_galore"], partial(namespace["galore"], 0.1)):
        tx = factory()
        large = _part(jax.eval_shape(tx.init, jax.ShapeDtypeStruct((140, 130), jnp.float32)), "projector")
        g = {"w": jnp.array([[1.0, 2.0], [0.0, 3.0]]), "n": None, "m": ol.MaskedNode()}
        projector = _part(tx.init(g), "projector").projector
        assert (large.projector.shape, projector["n"], projector["m"]) == ((140, 128), None, ol.MaskedNode())
        if not _turns(tx, g, lambda state: _part(state, "projector").projector["w"], {0, 200, 400}):
            return False
    return True


# --- Shampoo, SOAP, Sophia --------------------------------------------------------------------------------------------


def _blocks_by_default(namespace: Namespace) -> bool:
    """Blocks of 128: a matrix (128, 300) is three of them, the last filled up."""
    for factory in (namespace["scale_by_shampoo"], partial(namespace["shampoo"], 0.1)):
        state = jax.eval_shape(factory().init, jax.ShapeDtypeStruct((128, 300), jnp.float32))
        if [x.shape for x in _part(state, "statistics").statistics] != [(3, 128, 128)] * 2:
            return False
    return True


def _waits_for_roots(namespace: Namespace) -> bool:
    """A leaf that had no gradient when roots were made stands still until they are made again."""
    tx, g = namespace["scale_by_shampoo"](every=2), jnp.array([1.0, -2.0])
    state, moves = tx.init({"w": g}), []
    for given in (None, g, g):
        updates, state = tx.update({"w": given}, state)
        moves.append(given is not None and bool(jnp.any(updates["w"])))
    return moves == [False, False, True]


def _soap_by_default(namespace: Namespace) -> bool:
    """An axis of up to 10000 is turned, and the basis changes with the first update and after every 10 from then on."""
    for factory in (namespace["scale_by_soap"], namespace["soap"]):
        tx = factory()
        trees = [jax.ShapeDtypeStruct((n, 2), jnp.float32) for n in (10000, 10001)]
        longest, longer = (_part(jax.eval_shape(tx.init, tree), "gg").gg for tree in trees)
        assert (longest[0].shape, longer[0], longer[1].shape) == ((10000, 10000), None, (2, 2))
        g = jnp.array([[1.0, 2.0], [0.0, 3.0]])
        if not _turns(tx, g, lambda state: _part(state, "q").q[0], {0, 10, 20}):
            return False
    return True


def _turns(tx, g, slot, expected, **extra):
    """Whether the updates of these numbers, from 0, and none of their neighbours', change a slot of the state."""
    state = tx.init(g)
    for count in sorted({n + d for n in expected for d in (-1, 0, 1) if n + d >= 0}):
        now = jax.tree.map(lambda x, count=count: jnp.int32(count) if x.dtype == jnp.int32 else x, state)
        _, new = tx.update(g, now, g, **extra)
        if bool(jnp.any(slot(new) != slot(now))) != (count in expected):
            return False
    return True


@ol.transform
def _twos():
    """An estimator of the Hessian's diagonal that says 2."""
    return lambda params: ol.EmptyState(), lambda updates, state: (ol.leafwise(lambda g: 0 * g + 2, updates), state)


def _sophia_by_default(namespace: Namespace) -> bool:
    """An estimate every 10 updates, mu alone in mu_dtype, complex leaves refused by name."""
    tx, g = namespace["sophia"](0.1, hessian_diagonal_fn=_twos(), mu_dtype="bfloat16"), jnp.array([1.0, -2.0])
    state = _part(tx.init(g), "nu")
    assert (state.mu.dtype, state.nu.dtype) == (jnp.bfloat16, g.dtype)
    return _turns(tx, g, lambda state: _part(state, "nu").nu, {0, 10, 20}) and _refuses_complex(tx)


def _refuses_complex(tx, **extra):
    z = {"w": jnp.array([1 + 2j, -0.5j])}
    try:
        tx.update(z, tx.init(z), z, **extra)
    except ValueError as error:
        return str(error).startswith("leaf 'w': the gradient is complex") and "this is for real ones" in str(error)
    return False


def _draws_signs(namespace: Namespace) -> bool:
    """Seed 0 without one; complex leaves refused by name; none of its signs can be drawn from the key it keeps."""

    def half_square_of_sum(x):  # a Hessian of ones, so that the estimate is z times the sum of an odd number of signs
        return jnp.sum(x) ** 2 / 2

    tx, x = namespace["hutchinson_estimator_diag_hessian"](), jnp.ones(63)
    state = tx.init(x)
    estimate, new = tx.update(x, state, x, obj_fn=half_square_of_sum)
    z = jnp.sign(estimate)
    kept = jax.random.wrap_key_data(new.key)
    drawn = [jax.random.rademacher(key, z.shape, z.dtype) for key in (kept, *jax.random.split(kept))]
    assert np.array_equal(state.key, jax.random.key_data(jax.random.key(0)))
    assert np.all(jnp.abs(estimate) == abs(jnp.sum(z))) and all(abs(z @ other) < 63 for other in drawn)
    return _refuses_complex(tx, obj_fn=lambda w: jnp.sum(jnp.abs(w["w"]) ** 2))


def _part(state, field):
    """The first of a chain's states, or of the states in them, that has a field."""
    parts = state if isinstance(state, tuple) and not hasattr(state, "_fields") else (state,)
    return next(part for part in parts if hasattr(part, field))


# --- SAM over devices, Schedule-Free's average ------------------------------------------------------------------------


def _sam_averages_over_devices(namespace: Namespace) -> bool:
    """Gradients of two devices at the adversarial point make one step; the climb is each one's own."""
    scales = jnp.array([1.0, 3.0])
    tx = namespace["sam"](ol.sgd(0.5), ol.sgd(0.1), opaque_mode=True, batch_axis_name="devices")

    def step(scale):
        w = jnp.array([1.0, -2.0])
        return tx.update(scale * w, tx.init(w), w, grad_fn=lambda w, i: scale * w)[0]

    updates = jax.vmap(step, axis_name="devices")(scales)
    expected = -0.5 * jnp.mean(scales * (1 + 0.1 * scales)) * jnp.array([1.0, -2.0])
    return bool(jnp.allclose(updates, jnp.stack([expected, expected]), rtol=1e-12))


def _evaluates_at_the_average(namespace: Namespace) -> bool:
    """x, where y = b1·x + (1 - b1)·z."""
    x, z, b1 = jnp.array([1.0, -2.0, 0.5]), jnp.array([0.3, 4.0, -1.0]), 0.75
    state = ol.schedule_free_sgd(0.1, b1=b1).init(x)._replace(z=z)
    own = namespace["ScheduleFreeState"](*state)
    return bool(jnp.allclose(namespace["schedule_free_eval_params"](own, b1 * x + (1 - b1) * z), x, rtol=1e-12))


DEFAULTS = {
    "scale_by_lbfgs": "scale_by_lbfgs()",
    "lbfgs": "lbfgs(linesearch=scale_by_zoom_linesearch(max_linesearch_steps=20, tol=0.0, increase_factor=2.0, "
    "slope_rtol=0.0001, curv_rtol=0.9, approx_dec_rtol=1e-06, stepsize_precision=1e-05, "
    "initial_guess_strategy='one'))",
    "scale_by_backtracking_linesearch": "scale_by_backtracking_linesearch(max_backtracking_steps=7, slope_rtol=0.0001, "
    "decrease_factor=0.8, increase_factor=1.5, max_learning_rate=1.0, atol=0.0, rtol=0.0)",
    "scale_by_zoom_linesearch": "scale_by_zoom_linesearch(max_linesearch_steps=7, tol=0.0, increase_factor=2.0, "
    "slope_rtol=0.0001, curv_rtol=0.9, approx_dec_rtol=1e-06, stepsize_precision=1e-05)",
}

# --- freezing --------------------------------------------------------------------------------------------------------


def _freezes(namespace):
    """Updates of -0.0, and a step that hands the parameters through where there is a gradient."""
    _, update, step = namespace["set_to_zero"].builder()
    grads, w = (jnp.ones(2, complex), None), jnp.array([-0.0, 2.0])
    (u, nothing), _ = update(grads, ol.EmptyState())
    stepped, _ = step(grads, ol.EmptyState(), (w, w))
    signs = jnp.signbit(u.real).all() and jnp.signbit(u.imag).all()
    return bool(signs) and nothing is None and stepped[0] is w and stepped[1] is None


# --- rules of groups -------------------------------------------------------------------------------------------------


def _the_later_rule_wins(namespace):
    rules = {"a": {"learning_rate": 2.0}, "a*": {"learning_rate": 3.0}}
    plan = namespace["Plan"](ol.sgd(1.0), rules, {}, {}, True)
    labels = plan.labels({"a": 1.0, "ab": 1.0, "b": 1.0})
    return labels == {"a": "a*", "ab": "a*", "b": "base"} and plan.transformation("a*") == ol.sgd(3.0)


PROBES: dict[str, dict[str, Callable[[Namespace], bool]]] = {
    **LOSS_PROBES,
    **PRECISION_PROBES,
    **TUNING_PROBES,
    "optax_lite.optimizers.galore": {"defaults": _galore_by_default},
    "optax_lite.optimizers.galore_axes": {"axes": _names_axes, "matrices": _folds},
    "optax_lite.optimizers.lbfgs": {
        **{f"memory {m}, {s}": _walks(m, s, seed) for m, s, seed in ((1, True, 1), (3, True, 2), (10, False, 3))},
        "smallest curvature": lambda namespace: smallest_curvature_used(namespace["scale_by_lbfgs"]),
        "first": _starts_with_unit_norm_at_most,
        "nothing": _passes_over_nothing,
        "searches": _searches_by_default,
        "defaults": lambda namespace: _prints("scale_by_lbfgs")(namespace) and _prints("lbfgs")(namespace),
    },
    "optax_lite.optimizers.sam": {"devices": _sam_averages_over_devices, **TUNING_PROBES["optax_lite.optimizers.sam"]},
    "optax_lite.optimizers.shampoo": {"defaults": _blocks_by_default, "late": _waits_for_roots},
    "optax_lite.optimizers.soap": {"defaults": _soap_by_default},
    "optax_lite.optimizers.sophia": {"defaults": _sophia_by_default, "signs": _draws_signs},
    "optax_lite.optimizers.schedule_free": {"average": _evaluates_at_the_average},
    "optax_lite.transforms.linesearch": {
        **{name: _backtracking_agrees(name) for name in BACKTRACKINGS},
        "moved": _moves,
        "of_params": _gives_what_is_taken,
        "gradients": _takes_gradients,
        "searches": _finds_searches,
        "kept": _value_is_kept,
        "goes on": _goes_on_from,
        "outside": _stands_still_outside,
        "tells": _backtracking_tells,
        "dtype": _dtype_is_real,
        "defaults": _prints("scale_by_backtracking_linesearch", 7),
    },
    "optax_lite.transforms.scale": {"frozen": _freezes},
    "optax_lite.wrappers.rules": {"later": _the_later_rule_wins},
    "optax_lite.transforms.zoom": {
        **{name: _zoom_agrees(name) for name in SEARCHES},
        "interpolation": _interpolates,
        "tells": _zoom_tells,
        "defaults": _prints("scale_by_zoom_linesearch", 7),
    },
}
