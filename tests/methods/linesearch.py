"""Backtracking to the Armijo rule (Nocedal & Wright 2006, Algorithm 3.1)."""

import contextlib
import io
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import optax_lite as ol
from tests.methods.row import Namespace, Quirks, Row


def backtracking(
    f,
    x,
    direction,
    slope,
    value,
    learning_rate,
    slope_rtol,
    decrease_factor,
    increase_factor,
    max_learning_rate,
    max_steps,
    atol,
    rtol,
):
    """Backtracking to the Armijo rule (Armijo 1966; Nocedal & Wright 2006, Algorithm 3.1)."""
    # Returned: the step size, f there, the number of evaluations of f, and by how much the rule is
    # missed.
    eta = min(increase_factor * learning_rate, max_learning_rate)
    # The first guess is not a reduction, hence one evaluation more than max_steps (optax).
    for evaluations in range(1, max_steps + 2):
        value_new = f(x + eta * direction)
        excess = value_new - (1 + rtol) * value - slope_rtol * eta * slope
        # A value that is not a number satisfies no rule.
        error = np.inf if np.isnan(excess) else max(0.0, excess)
        if error <= atol or evaluations == max_steps + 1:
            break
        eta = eta * decrease_factor
    # A search that ends at a finite value goes there even if the rule is missed; any other stands
    # still (optax).
    if np.isinf(error):
        eta = 0.0
    return eta, value_new, evaluations, error


search_bad = (
    ({"increase_factor": 0}, "increase_factor must be above 0, got 0.0"),
    ({"slope_rtol": -1}, "slope_rtol must be at least 0, got -1.0"),
    ({"max_learning_rate": 0}, "max_learning_rate must be above 0, got 0.0"),
    ({"maxls": 20}, "no argument 'maxls'"),
)
needs_value_fn = "it evaluates a function: tests/test_linesearch.py"


ROWS: tuple[Row, ...] = (
    Row(
        ol.scale_by_backtracking_linesearch,
        None,
        ({"max_backtracking_steps": 7, "slope_rtol": 0.5, "rtol": 0.25},),
        (
            *(({"max_backtracking_steps": 7, **s}, message) for s, message in search_bad),
            (
                {"max_backtracking_steps": 0},
                "max_backtracking_steps must be an integer of at least 1, got 0",
            ),
            (
                {"max_backtracking_steps": 7, "decrease_factor": -1},
                "decrease_factor must be above 0, got -1.0",
            ),
            ({"max_backtracking_steps": 7, "atol": -1}, "atol must be at least 0, got -1.0"),
            ({"max_backtracking_steps": 7, "rtol": -1}, "rtol must be at least 0, got -1.0"),
        ),
        quirks=Quirks(no_laws=needs_value_fn),
    ),
)


def bowl(x):
    return jnp.sum(x**2 * jnp.arange(1.0, 1.0 + len(x)))


def shallow(x):
    return 1e-3 * bowl(x) - 5.0


def valley(x):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def waves(x):
    return jnp.sum(jnp.sin(3 * x) + jnp.cos(5 * x + 1) + 0.1 * x**2)


def wall(x):
    return jnp.sum(-jnp.log(1 - x) - x)  # not a number from 1 on


def lonely(x):
    return jnp.where(jnp.all(x == 0.5), 1.0, jnp.nan) + jnp.sum(x)


def in_numpy(f):
    value, gradient = jax.jit(f), jax.jit(jax.grad(f))
    return lambda x: float(value(x)), lambda x: np.asarray(gradient(x))


def counted(f, most=100):
    """The same function, until it was called too often: for mutants, which run operation by
    operation, a search that does not end.
    """
    calls = []

    def counted(x):
        calls.append(1)
        assert len(calls) <= most, "the search does not end"
        return f(x)

    return counted


@partial(jax.jit, static_argnames="f")
def search(tx, state, x, scale, *, f):
    """One search for a lower f along a multiple of its gradient: value, gradient, direction, then
    updates and state.
    """
    value, g = jax.value_and_grad(f)(x)
    u = scale * g
    return value, g, u, *tx.update(u, state, x, value=value, grad=g, value_fn=counted(f))


class Search(NamedTuple):
    f: Callable
    x: tuple[float, ...]
    settings: dict[str, Any]
    scale: float = -1.0  # of the gradient, that makes the direction
    last: float = 1.0  # the step of the search before


POINT = (0.5, -0.8)


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
    "bowl, from the longest": Search(
        bowl, POINT, {"increase_factor": jnp.inf, "max_learning_rate": 3.0}
    ),
    "bowl, ever shorter": Search(bowl, POINT, {"increase_factor": 0.5}, -0.1),
    "bowl, few steps": Search(bowl, POINT, {"max_backtracking_steps": 3}, -4.0),
    "bowl, one step": Search(bowl, POINT, {"max_backtracking_steps": 1}, -4.0),
    "bowl, uphill": Search(bowl, POINT, {"max_backtracking_steps": 4}, 0.1),
    "bowl, uphill, steep slope": Search(bowl, POINT, {"slope_rtol": 3.0}, 0.05),
    "bowl, uphill, allowed": Search(bowl, POINT, {"max_backtracking_steps": 4, "atol": 0.3}, 0.05),
    "bowl, uphill, allowed in part": Search(
        bowl, POINT, {"max_backtracking_steps": 4, "rtol": 0.2}, 0.05
    ),
    "shallow, negative": Search(shallow, POINT, {"rtol": 1e-4, "max_backtracking_steps": 5}, -50.0),
    "valley": Search(valley, (-1.2, 1.0, 0.5), {}),
    "valley, longer": Search(
        valley, (-1.2, 1.0, 0.5), {"increase_factor": 3.0, "max_learning_rate": 0.5}
    ),
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
        x, last = np.array(case.x), 1.0
        f, grad = in_numpy(case.f)
        state = tx.init(x)
        assert np.isinf(state.value) and float(state.learning_rate) == 1.0
        for _ in range(steps):
            value, g, u, updates, state = search(tx, state, x, case.scale, f=case.f)
            v, s, direction = float(value), float(u @ g), np.asarray(u)
            hyperparameters = BACKTRACKING_DEFAULTS | settings
            limit = hyperparameters.pop("max_backtracking_steps")
            eta, reached, tried, error = backtracking(
                f, np.asarray(x), direction, s, v, last, max_steps=limit, **hyperparameters
            )
            # standing still is where it was, then anew
            reached, last = (reached, eta) if eta > 0 else (v, 1.0)
            assert int(state.info.num_linesearch_steps) == tried
            size = abs(v) + 1e-300
            there = grad(np.asarray(x) + eta * direction)
            pairs = (
                (state.learning_rate, eta, 1),
                (state.value, reached, size),
                (updates, eta * direction, 1),
                # entries of up to 6e4, in another program than the reference's
                (state.grad, there, max(1, np.max(np.abs(there)))),
            )
            assert np.isinf(error) == np.isinf(state.info.decrease_error)
            if np.isfinite(error):
                pairs += ((state.info.decrease_error, error, size),)
            assert all(float(np.max(np.abs(a - b))) <= 1e-12 * scale for a, b, scale in pairs), (
                pairs
            )
            x = x + updates
        return True

    return agrees


def _moves(namespace: Namespace) -> bool:
    moved = namespace["moved"]
    # 1 + 2⁻²⁴ + 2⁻⁵⁰ is above the middle of two float32 numbers; the update alone, rounded to one,
    # is at it.
    wide, narrow = (
        moved(jnp.array(1 + 2.0**-40), jnp.ones((), jnp.bfloat16), 2.0),
        jnp.ones((), jnp.float32),
    )
    assert (wide, moved(narrow, jnp.array(2.0**-24 + 2.0**-50), 1.0)) == (
        3 + 2.0**-40,
        1 + 2.0**-23,
    )
    p = {
        "a": jnp.array([1.0, 2.0]),
        "b": jnp.array(3, jnp.int32),
        "h": jnp.ones(2, jnp.bfloat16),
        "n": None,
    }
    new = moved(
        p,
        {"a": jnp.array([1.0, -1.0]), "b": None, "h": jnp.full(2, 0.5, jnp.float32), "n": None},
        0.5,
    )
    assert {k: x is None or x.dtype for k, x in new.items()} == {
        k: x is None or x.dtype for k, x in p.items()
    }
    return [float(x) for k in "abh" for x in np.ravel(new[k].astype(float))] == [
        1.5,
        1.5,
        3.0,
        1.25,
        1.25,
    ]


def _gives_what_is_taken(namespace: Namespace) -> bool:
    of_params, p, extra = namespace["of_params"], jnp.array(2.0), {"a": 3.0, "b": 5.0}
    dtype = jnp.dtype("float32")

    def value(f):
        out = of_params(f, extra, dtype)(p)
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
    assert (round(float(value), 9), g["i"], g["z"].dtype, g["x"].dtype) == (
        14,
        None,
        jnp.complex64,
        jnp.float32,
    )
    assert (complex(g["z"]), float(g["x"])) == (2 + 4j, 6)
    none = namespace["gradient_like"](
        slot, {"z": None, "x": jnp.array(2.0, jnp.bfloat16), "i": None}
    )
    return (complex(none["z"]), float(none["x"]), none["x"].dtype, none["i"]) == (
        0,
        2,
        jnp.float32,
        None,
    )


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
    return (
        len(found) == 2
        and found[0] is found[1] is state
        and namespace["searches"](Other(0.1, None)) == []
    )


def _value_is_kept(namespace: Namespace) -> bool:
    f = namespace["value_and_grad_from_state"](lambda x, a, *, b: a * x["w"] ** 2 + b)
    state = namespace["scale_by_backtracking_linesearch"](3, store_grad=True).init(
        {"w": jnp.array(1.0)}
    )
    for value, expected in ((jnp.inf, (17.0, 12.0)), (jnp.nan, (17.0, 12.0)), (5.0, (5.0, 0.25))):
        kept = state._replace(value=jnp.array(value), grad={"w": jnp.array(0.25)})
        found, grad = f({"w": jnp.array(2.0)}, 3.0, b=5.0, state=(kept, ()))
        if (float(found), {k: float(g) for k, g in grad.items()}) != (
            expected[0],
            {"w": expected[1]},
        ):
            return False
    return True


def _goes_on_from(namespace: Namespace) -> bool:
    """The last step, or 1 where that was 0."""
    state = namespace["scale_by_backtracking_linesearch"](3).init(jnp.array(1.0))
    return [
        float(namespace["last_step"](state._replace(learning_rate=jnp.array(x))))
        for x in (0.25, 0.0)
    ] == [0.25, 1]


def _stands_still_outside(namespace: Namespace) -> bool:
    """Nothing decreases a value that is no number: after all steps the search fails, although f is
    finite there.
    """
    tx, x = namespace["scale_by_backtracking_linesearch"](3), jnp.array(1.5)
    value, g = jax.value_and_grad(wall)(x)
    update, state = tx.update(jnp.array(-1.0), tx.init(x), x, value=value, grad=g, value_fn=wall)
    assert np.isnan(value) and np.isfinite(wall(x - 1)) and np.isinf(state.info.decrease_error)
    return (float(update), float(state.learning_rate), int(state.info.num_linesearch_steps)) == (
        0,
        0,
        4,
    )


def printed(tx, u):
    """What a search for the minimum of x² from 1 prints."""
    x = jnp.array(1.0)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        tx.update(jnp.array(u), tx.init(x), x, value=x**2, grad=2 * x, value_fn=lambda x: x**2)
        jax.effects_barrier()
    return out.getvalue()


def _backtracking_tells(namespace: Namespace) -> bool:
    """From 1 along -2: at 1 f stays 1, at 1/2 it is 0, and 7/8·(1/2)·4 was asked for. Only if
    `verbose`.
    """
    armijo = partial(
        namespace["scale_by_backtracking_linesearch"], 1, slope_rtol=0.875, decrease_factor=0.5
    )
    assert armijo().init(jnp.array(1.0)).grad is None
    assert printed(armijo(verbose=True), -2.0) == "backtracking: step 0.5, decrease error 0.75\n"
    return printed(armijo(store_grad=True), -2.0) == printed(armijo(), -2.0) == ""


def _dtype_is_real(namespace: Namespace) -> bool:
    of = namespace["value_dtype"]
    trees = (
        [jnp.ones(2, jnp.bfloat16)],
        {"z": jnp.ones((), jnp.complex64), "n": jnp.ones((), jnp.int32)},
        {},
        1.0,
    )
    return [of(tree) for tree in trees] == [jnp.float32] * 3 + [jnp.float64]


def prints(expected, *settings):
    """Whether a factory makes a transformation that prints so, defaults included."""

    def agrees(namespace: Namespace) -> bool:
        return repr(namespace[expected.split("(")[0]](*settings)) == expected

    return agrees


PROBES = {
    "optax_lite.linesearch.backtracking": {
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
        "defaults": prints(
            (
                "scale_by_backtracking_linesearch(max_backtracking_steps=7, slope_rtol=0.0001, "
                "decrease_factor=0.8, increase_factor=1.5, max_learning_rate=1.0, atol=0.0, "
                "rtol=0.0)"
            ),
            7,
        ),
    }
}
