"""The line search for the strong Wolfe conditions (Nocedal & Wright 2006, Algorithms 3.5
and 3.6).
"""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np

import optax_lite as ol
from tests.methods.linesearch import (
    POINT,
    Search,
    bowl,
    in_numpy,
    lonely,
    needs_value_fn,
    printed,
    prints,
    search,
    search_bad,
    shallow,
    valley,
    wall,
    waves,
)
from tests.methods.row import Namespace, Quirks, Row


def wolfe_errors(f, grad, x, u, step, slope_rtol, curv_rtol):
    """By how much x + step * u misses the strong Wolfe conditions (Nocedal & Wright 2006, equations
    3.7).
    """
    slope = np.sum(u * grad(x))
    slope_new = np.sum(u * grad(x + step * u))
    decrease_error = max(0.0, f(x + step * u) - f(x) - slope_rtol * step * slope)
    curvature_error = max(0.0, abs(slope_new) - curv_rtol * abs(slope))
    return float(decrease_error), float(curvature_error)


def approximate_decrease_error(f, grad, x, u, step, slope_rtol, approx_dec_rtol):
    """By how much x + step * u misses the decrease of the approximate Wolfe conditions (Hager &
    Zhang 2006).
    """
    # Where it is allowed it is an alternative to the decrease of wolfe_errors: the smaller of the
    # two errors counts.
    slope = np.sum(u * grad(x))
    slope_new = np.sum(u * grad(x + step * u))
    if f(x + step * u) > f(x) + approx_dec_rtol * abs(f(x)):
        return np.inf
    return float(max(0.0, slope_new - (2 * slope_rtol - 1) * slope))


def strong_wolfe_search(
    f,
    grad,
    x,
    u,
    *,
    first,
    max_linesearch_steps,
    max_learning_rate,
    tol,
    increase_factor,
    slope_rtol,
    curv_rtol,
    approx_dec_rtol,
    stepsize_precision,
):
    """Nocedal & Wright 2006, Algorithms 3.5 and 3.6, on phi(a) = f(x + a * u): the step and all
    steps tried.

    `find` is 3.5 and `zoom` 3.6. Where the book leaves it open: a point that meets both conditions
    is taken wherever it is found, and a search that runs out of points, of room or of interval
    takes its best one with enough decrease.
    """
    tried = []
    longest = np.inf if max_learning_rate is None else max_learning_rate
    phi_0, slope_0 = f(x), np.sum(u * grad(x))

    def phi(a):
        tried.append(a)
        value, slope = f(x + a * u), np.sum(u * grad(x + a * u))
        return (value, slope) if np.isfinite(value) and np.isfinite(slope) else (np.inf, np.nan)

    def enough_decrease(a, value, slope):
        exact = value - phi_0 <= slope_rtol * a * min(slope_0, 0) + tol
        if approx_dec_rtol is None or value > phi_0 + approx_dec_rtol * abs(phi_0):
            return exact
        return exact or slope <= (2 * slope_rtol - 1) * slope_0 + tol  # Hager & Zhang 2006, T2

    def both_conditions(a, value, slope):
        return enough_decrease(a, value, slope) and abs(slope) <= curv_rtol * abs(slope_0) + tol

    def lower(new, old):
        # rounding hides a decrease, the slope does not
        return new[1] < old[1] or (new[1] == old[1] and new[2] < 0)

    def find():
        old, a = (0.0, phi_0, slope_0), min(first, longest)
        while len(tried) < max_linesearch_steps:
            new = (a, *phi(a))
            if both_conditions(*new):
                return a
            if not enough_decrease(*new) or not lower(new, old):
                return zoom(old, new)
            if new[2] >= 0:
                return zoom(new, old)
            if a >= longest:
                return a
            old, a = new, min(increase_factor * a, longest)
        return old[0]

    def zoom(low, high):
        while len(tried) < max_linesearch_steps:
            if abs(high[0] - low[0]) < stepsize_precision and low[0] > 0:
                break
            a = interpolate(*low, *high)
            new = (a, *phi(a))
            if both_conditions(*new):
                return a
            if not enough_decrease(*new) or not lower(new, low):
                high = new
            else:
                if new[2] * (high[0] - low[0]) >= 0:
                    high = low
                low = new
        return low[0]

    return find(), tried


def interpolate(a_low, phi_low, slope_low, a_high, phi_high, slope_high):
    """The minimum of the cubic with these values and slopes, else of the parabola without the slope
    at a_high.

    Either only if it keeps a tenth of the interval from both ends; else the middle.
    """
    width = a_high - a_low
    margin = 0.1 * abs(width)
    candidates = []
    if np.isfinite(phi_high):
        t = width  # c3 t^3 + c2 t^2 + slope_low t + phi_low at t = a - a_low
        system = np.array([[t**3, t**2], [3 * t**2, 2 * t]])
        c3, c2 = np.linalg.solve(
            system, [phi_high - phi_low - slope_low * t, slope_high - slope_low]
        )
        roots = np.roots([3 * c3, 2 * c2, slope_low])
        candidates += [r for r in roots if np.isreal(r) and 6 * c3 * r + 2 * c2 > 0]
        bend = (phi_high - phi_low - slope_low * t) / t**2
        candidates += [-slope_low / (2 * bend)] if bend != 0 else []
    for t in candidates:
        a = a_low + float(np.real(t))
        if min(a_low, a_high) + margin <= a <= max(a_low, a_high) - margin:
            return a
    return a_low + width / 2


ROWS: tuple[Row, ...] = (
    Row(
        ol.scale_by_zoom_linesearch,
        None,
        ({"max_linesearch_steps": 7, "slope_rtol": 0.25, "curv_rtol": 0.5},),
        (
            *(({"max_linesearch_steps": 7, **s}, message) for s, message in search_bad),
            (
                {"max_linesearch_steps": True},
                "max_linesearch_steps must be an integer of at least 1, got True",
            ),
            (
                {"max_linesearch_steps": 7, "stepsize_precision": 0},
                "stepsize_precision must be above 0, got 0.0",
            ),
            ({"max_linesearch_steps": 7, "tol": -1}, "tol must be at least 0, got -1.0"),
            (
                {"max_linesearch_steps": 7, "curv_rtol": -1},
                "curv_rtol must be at least 0, got -1.0",
            ),
            (
                {"max_linesearch_steps": 7, "approx_dec_rtol": -1},
                "approx_dec_rtol must be at least 0, got -1.0",
            ),
            (
                {"max_linesearch_steps": 7, "initial_guess_strategy": "two"},
                "initial_guess_strategy must be 'one' or 'keep', got 'two'",
            ),
        ),
        quirks=Quirks(no_laws=needs_value_fn),
    ),
)


def steep(x):
    return 1e4 * bowl(x)


def edge(x):
    return jnp.sum(jnp.sqrt(x**2))  # the gradient at 0 is not a number


def slope(x):
    return -jnp.sum(x)


def hidden(x):
    return 1e9 + bowl(x)  # rounding hides what it does


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
SEARCHES = {
    "bowl": Search(bowl, POINT, {}),
    "bowl, strict": Search(bowl, POINT, {"curv_rtol": 0.1}),
    "bowl, strictest": Search(bowl, POINT, {"curv_rtol": 0.0, "max_linesearch_steps": 6}),
    "bowl, short": Search(bowl, POINT, {}, -1e-3),
    "bowl, short, longer factor": Search(bowl, POINT, {"increase_factor": 10.0}, -1e-3),
    "bowl, short, one step": Search(bowl, POINT, {"max_linesearch_steps": 1}, -1e-3),
    "bowl, short, three steps": Search(bowl, POINT, {"max_linesearch_steps": 3}, -1e-3),
    "bowl, short, as wide as precise": Search(
        bowl, POINT, {"curv_rtol": 0.01, "stepsize_precision": 256.0}, -1e-3
    ),
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
    "nearly as low": Search(
        between(0.05, 4.0), (0.0,), {"approx_dec_rtol": 0.02, "slope_rtol": 0.2}, -0.25
    ),
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
    "hidden, twice": Search(
        hidden, (1e-5, 2e-5), {"curv_rtol": 0.01, "increase_factor": 5.0}, -0.01
    ),
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
        x, (f, grad) = np.array(case.x), in_numpy(case.f)
        start = tx.init(x)._replace(learning_rate=np.array(case.last))
        value, g, u, updates, state = jax.device_get(search(tx, start, x, case.scale, f=case.f))
        step, tried, decrease, curvature = searched(name)
        assert int(state.info.num_linesearch_steps) == tried, (state.info, tried)
        size = abs(value) + np.abs(g) @ np.abs(u) + 1e-300
        expected = {
            "learning_rate": (state.learning_rate, step, step + 1e-300),
            "decrease": (state.info.decrease_error, decrease, size),
            "curvature": (state.info.curvature_error, curvature, size),
            "value": (state.value, f(x + step * u), size),
            "grad": (state.grad, grad(x + step * u), np.max(np.abs(g)) + 1e-300),
            "update": (updates, step * u, np.max(np.abs(u)) + 1e-300),
        }
        errors = {k: float(np.max(np.abs(a - b) / s)) for k, (a, b, s) in expected.items()}
        # one digit is lost at every interpolation
        assert all(error <= 1e-8 for error in errors.values()), errors
        return True

    return agrees


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
        assert abs(float(found) - expected) <= 1e-9 * max(abs(low[0]), abs(high[0])), (
            i,
            low,
            high,
            found,
            expected,
        )
    # of (t - 1)², just inside
    tenth = [point(*map(jnp.array, end)) for end in ((0.0, 1.0, -2.0), (10.0, 81.0, 18.0))]
    assert float(namespace["_between"](*tenth)) == 1
    same = point(*map(jnp.array, (0.5, 1.0, 2.0)))
    return float(namespace["_between"](same, same)) == 0.5


def _zoom_tells(namespace: Namespace) -> bool:
    """From 1 along -1/4: slopes -1/2 at 0, -3/8 at 1 and -1/4 at 2, where |-1/4| ≤ 1/8·|-1/2| is
    missed by 3/16.
    """
    wolfe = partial(namespace["scale_by_zoom_linesearch"], 2, curv_rtol=0.125)
    assert (
        printed(wolfe(verbose=True), -0.25)
        == "zoom: step 2.0 after 2 trials, conditions missed by 0.0 and 0.1875\n"
    )
    return printed(wolfe(), -0.25) == ""


PROBES = {
    "optax_lite.linesearch.zoom": {
        **{name: _zoom_agrees(name) for name in SEARCHES},
        "interpolation": _interpolates,
        "tells": _zoom_tells,
        "defaults": prints(
            (
                "scale_by_zoom_linesearch(max_linesearch_steps=7, tol=0.0, increase_factor=2.0, "
                "slope_rtol=0.0001, curv_rtol=0.9, approx_dec_rtol=1e-06, stepsize_precision=1e-05)"
            ),
            7,
        ),
    }
}
