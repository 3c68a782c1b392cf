"""The formulas that deep-learning courses have students write, each with the call that computes the
same.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optax_lite as ol
from tests.published import course

SHAPES = {"W1": (4, 5), "b1": (5,), "W2": (5, 2, 3), "scale": ()}
STEPS = 6


def constant(t):
    return 0.05


def falling(t):
    return 0.05 * 0.5**t


@pytest.fixture(autouse=True)
def double_precision(x64):
    pass


def arrays():
    """Parameters that start at 0, so that their own rounding hides nothing, and gradients of very
    different sizes.
    """
    rng = np.random.default_rng(0)
    params = {k: np.zeros(shape) for k, shape in SHAPES.items()}
    sizes = dict(zip(SHAPES, (1.0, 1e-6, 30.0, 0.1), strict=True))
    gradients = [
        {k: np.array(sizes[k] * rng.normal(size=SHAPES[k])) for k in SHAPES} for _ in range(STEPS)
    ]
    gradients[1]["W1"][0] = 0.0
    return params, gradients


def by_course(rule, rate=None, **settings):
    """Every array by itself with its own config, as in a course; the parameters after each step."""
    params, gradients = arrays()
    configs, history = {k: dict(settings) for k in params}, []
    for t, gradient in enumerate(gradients):
        for k in params:
            if rate is not None:
                configs[k]["learning_rate"] = rate(t)
            params[k], configs[k] = rule(params[k], gradient[k], configs[k])
        history.append(dict(params))
    return history


def by_optimizer(tx):
    """All arrays at once as one pytree."""
    params, gradients = arrays()
    params, history = jax.tree.map(jnp.asarray, params), []
    state = tx.init(params)
    for gradient in gradients:
        updates, state = tx.update(jax.tree.map(jnp.asarray, gradient), state, params)
        params = ol.apply_updates(params, updates)
        history.append(params)
    return history


def distance(ours, theirs):
    """The largest difference over all steps and arrays, as a share of the array's largest entry."""
    assert all(np.all(np.isfinite(x)) for step in ours for x in step.values())
    return max(
        np.max(np.abs(a[k] - b[k])) / np.max(np.abs(b[k]))
        for a, b in zip(ours, theirs, strict=True)
        for k in b
    )


def velocity(rate, mu):
    return ol.chain(ol.scale_by_learning_rate(rate), ol.trace(mu))


CALLS = {
    "SGD": (partial(by_course, course.sgd), lambda: ol.sgd(1e-2)),
    "velocity": (partial(by_course, course.sgd_momentum), lambda: velocity(1e-2, 0.9)),
    "velocity, other numbers": (
        partial(by_course, course.sgd_momentum, learning_rate=0.3, momentum=0.5),
        lambda: velocity(0.3, 0.5),
    ),
    "velocity, schedule": (
        partial(by_course, course.sgd_momentum, falling, momentum=0.8),
        lambda: velocity(ol.exponential_decay(0.05, 1, 0.5), 0.8),
    ),
    "accumulator": (partial(by_course, course.sgd_accumulator), lambda: ol.sgd(1e-2, 0.9)),
    "accumulator, schedule": (
        partial(by_course, course.sgd_accumulator, falling, momentum=0.8),
        lambda: ol.sgd(ol.exponential_decay(0.05, 1, 0.5), 0.8),
    ),
    "RMSProp": (
        partial(by_course, course.rmsprop),
        lambda: ol.rmsprop(1e-2, decay=0.99, eps_in_sqrt=False),
    ),
    "RMSProp, large constant": (
        partial(by_course, course.rmsprop, epsilon=0.3),
        lambda: ol.rmsprop(1e-2, decay=0.99, eps=0.3, eps_in_sqrt=False),
    ),
    "RMSProp, constant inside": (
        partial(by_course, course.rmsprop_delta),
        lambda: ol.rmsprop(1e-3, decay=0.9, eps=1e-6),
    ),
    "Adam": (partial(by_course, course.adam), lambda: ol.adam(1e-3)),
    "Adam, other numbers": (
        partial(by_course, course.adam, learning_rate=0.1, beta1=0.5, beta2=0.9, epsilon=0.2),
        lambda: ol.adam(0.1, b1=0.5, b2=0.9, eps=0.2),
    ),
    "Adam, constant inside": (
        partial(by_course, course.adam_delta),
        lambda: ol.adam(1e-3, eps=0.0, eps_root=1e-8),
    ),
    "Adam, large constant inside": (
        partial(by_course, course.adam_delta, delta=0.2),
        lambda: ol.adam(1e-3, eps=0.0, eps_root=0.2),
    ),
}


@pytest.mark.parametrize(("theirs", "call"), CALLS.values(), ids=CALLS)
def test_the_call_computes_the_course_formula(theirs, call):
    assert distance(by_optimizer(call()), theirs()) <= 1e-12


def test_both_momentum_forms_agree_under_a_constant_rate():
    assert (
        distance(
            by_course(course.sgd_momentum, constant), by_course(course.sgd_accumulator, constant)
        )
        <= 1e-12
    )
    assert distance(by_optimizer(velocity(0.05, 0.9)), by_optimizer(ol.sgd(0.05, 0.9))) <= 1e-12


def test_the_momentum_forms_differ_where_the_rate_changes():
    rate = ol.exponential_decay(0.05, 1, 0.5)
    assert (
        distance(
            by_course(course.sgd_momentum, falling), by_course(course.sgd_accumulator, falling)
        )
        > 0.1
    )
    assert distance(by_optimizer(velocity(rate, 0.9)), by_optimizer(ol.sgd(rate, 0.9))) > 0.1


def test_the_place_of_the_constant_matters():
    assert (
        distance(by_course(course.adam, epsilon=0.1), by_course(course.adam_delta, delta=0.1)) > 0.1
    )
    outside, inside = ol.rmsprop(1e-2, eps=0.1, eps_in_sqrt=False), ol.rmsprop(1e-2, eps=0.1)
    assert distance(by_optimizer(outside), by_optimizer(inside)) > 0.1


def misprinted_adam(w, dw, config, *, exponent_is_t, squares):
    """Adam, with one or both of the misprints that circulate: exponent 2 for t, and r for g² in its
    own average.
    """
    config = {"m": np.zeros_like(w), "r": np.zeros_like(w), "t": 0, **config}
    t = config["t"] + 1
    m = 0.9 * config["m"] + 0.1 * dw
    r = 0.999 * config["r"] + 0.001 * (dw**2 if squares else config["r"])
    config.update(m=m, r=r, t=t)
    power = t if exponent_is_t else 2
    return w - 1e-3 * (m / (1 - 0.9**power)) / (np.sqrt(r / (1 - 0.999**power)) + 1e-8), config


def test_the_misprint_of_adam_is_not_what_is_computed():
    ours = by_optimizer(ol.adam(1e-3))
    right = by_course(partial(misprinted_adam, exponent_is_t=True, squares=True))
    exponent = by_course(partial(misprinted_adam, exponent_is_t=False, squares=True))
    moment = by_course(partial(misprinted_adam, exponent_is_t=True, squares=False))
    both = by_course(partial(misprinted_adam, exponent_is_t=False, squares=False))
    assert distance(ours, right) <= 1e-12
    assert distance(ours, exponent) > 0.1
    assert distance(ours, moment) > 0.9  # r stays 0, so the steps are m / 1e-8
    assert distance(ours, both) > 0.9
