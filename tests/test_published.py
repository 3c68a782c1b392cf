"""What papers proved: rates, a cycle, two counterexamples, a bound and the limits of stability,
found by running.
"""

from itertools import islice, pairwise

import jax.numpy as jnp
import numpy as np
import pytest

import optax_lite as ol
from tests.published import papers as published

pytestmark = pytest.mark.usefixtures("x64")


def trajectory(tx, gradient, x, project=lambda x: x):
    """The points after every step; `gradient(x, t)` takes the number of the step, from 1."""
    x, t = jnp.asarray(x, jnp.float64), 0
    state = tx.init(x)
    while True:
        t += 1
        x, state = tx.step(jnp.asarray(gradient(np.asarray(x), t), jnp.float64), state, x)
        x = project(x)
        yield np.asarray(x)


def points(tx, gradient, x, steps, **how):
    return list(islice(trajectory(tx, gradient, x, **how), steps))


def contraction(tx, eigenvalues, steps):
    """The factor per step by which the distance to the minimum of a quadratic shrinks in the later
    half of a run.
    """
    eigenvalues = np.asarray(eigenvalues)
    norms = [
        np.linalg.norm(x)
        for x in points(tx, lambda x, t: eigenvalues * x, np.ones(len(eigenvalues)), steps)
    ]
    return (norms[-1] / norms[steps // 2 - 1]) ** (1 / (steps - steps // 2))


# --- rates ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", [4.0, 25.0, 100.0])
@pytest.mark.parametrize(
    ("tuning", "nesterov"),
    [(published.heavy_ball_tuning, False), (published.nesterov_tuning, True)],
    ids=["heavy ball", "nesterov"],
)
def test_momentum_has_the_rate_of_its_paper(tuning, nesterov, condition):
    learning_rate, momentum, rate = tuning(1.0, condition)
    tx = ol.sgd(float(learning_rate), float(momentum), nesterov=nesterov)
    found = contraction(tx, np.linspace(1.0, condition, 7), 200)
    assert rate <= found <= 1.01 * rate  # two roots meet, so it is t·rateᵗ: 2^(1/100) is the rest
    plain = contraction(ol.sgd(2 / (1 + condition)), np.linspace(1.0, condition, 7), 200)
    assert found < 0.95 * plain


def test_heavy_ball_with_the_tuning_for_quadratics_can_cycle_on_a_convex_function():
    tx = ol.sgd(published.CYCLE_LEARNING_RATE, published.CYCLE_MOMENTUM)
    for start in np.linspace(*published.CYCLE_STARTS, 5)[1:-1]:
        last = points(tx, lambda x, t: published.cycle_gradient(x), start, 300)[-3:]
        turned = [published.CYCLE[i:] + published.CYCLE[:i] for i in range(3)]
        assert min(np.abs(np.subtract(last, cycle)).max() for cycle in turned) < 1e-9
    slow = points(ol.sgd(1 / 25), lambda x, t: published.cycle_gradient(x), 3.2, 300)[-1]
    assert abs(slow) < 1e-4  # gradient descent reaches the minimum from there


# --- counterexamples ------------------------------------------------------------------------------


@pytest.mark.nightly
@pytest.mark.parametrize("scale", [3.0, 5.0])
def test_adam_goes_to_the_worst_point_where_amsgrad_goes_to_the_best(scale):
    b1, b2, limit = published.online_settings(scale)

    def rate(count):
        return 0.9 * limit / jnp.sqrt(jnp.asarray(count, float) + 1)

    def run(make):
        def gradient(x, t):
            return published.online_gradient(t, scale)

        settings = {"b1": b1, "b2": float(b2), "eps": 0.0}
        return points(
            make(rate, **settings), gradient, 1.0, 1800, project=lambda x: jnp.clip(x, -1.0, 1.0)
        )

    adam, amsgrad = run(ol.adam), run(ol.amsgrad)
    assert {float(x) for x in adam[2::3]} == {published.ONLINE_ADAM}
    before = np.array([1.0, *adam[:-1]])
    losses = np.array([published.online_gradient(t, scale) for t in range(1, 1801)])
    regret = (losses * (before - published.ONLINE_BEST)).reshape(-1, 3).sum(axis=1)
    assert regret.min() >= published.online_regret_per_period(scale)
    assert {float(x) for x in amsgrad[-300::3]} == {published.ONLINE_AMSGRAD}


SIGN_BLIND = {
    "adagrad": lambda rate: ol.adagrad(rate, initial_accumulator_value=0.0, eps=0.0),
    "rmsprop": lambda rate: ol.rmsprop(rate, eps=0.0),
    "adam": lambda rate: ol.adam(rate, eps=0.0),
}


@pytest.mark.nightly
@pytest.mark.parametrize("name", SIGN_BLIND)
def test_adaptive_methods_find_the_solution_whose_entries_are_all_of_one_size(name):
    y = np.array([1.0, -1.0, 1.0, 1.0, -1.0, 1.0])
    data, c = published.sign_data(y)
    path = points(
        SIGN_BLIND[name](1e-3),
        lambda w, t: published.sign_gradient(w, data, y),
        np.zeros(data.shape[1]),
        200,
    )
    solution = published.sign_solution(data, y, c)
    for w in path:
        np.testing.assert_allclose(w / np.abs(w).max(), c * solution, atol=1e-10)
    steps = [np.linalg.norm(b - solution) < np.linalg.norm(a - solution) for a, b in pairwise(path)]
    assert all(steps)  # on its way there
    w = path[-1]
    # whatever the label
    assert min(w @ np.array([label, 1, 1, *np.zeros(len(w) - 3)]) for label in (1, -1)) > 0
    least_norm = points(
        ol.sgd(0.01), lambda w, t: published.sign_gradient(w, data, y), 0 * solution, 2000
    )[-1]
    # and gradient descent another
    np.testing.assert_allclose(least_norm, np.linalg.pinv(data) @ y, atol=1e-6)


# --- a bound --------------------------------------------------------------------------------------


@pytest.mark.parametrize("b1", [0.1, 0.5, 0.9, 0.98])
@pytest.mark.parametrize("steps", [10, 100, 400])
def test_schedule_free_keeps_its_bound_without_knowing_where_it_will_stop(b1, steps):
    distance, slope, minimum = 3.0, 2.0, 0.7
    learning_rate, _ = published.schedule_free_theorem(distance, slope, steps)
    tx = ol.schedule_free_sgd(float(learning_rate), b1=b1)
    y = jnp.asarray(minimum + distance)
    state = tx.init(y)
    for _ in range(steps):
        _, g = published.absolute_value(float(y), minimum, slope)
        y, state = tx.step(jnp.asarray(g), state, y)
    value, _ = published.absolute_value(
        float(ol.schedule_free_eval_params(state, y)), minimum, slope
    )
    assert value <= published.schedule_free_bound_without_start(distance, slope, steps)


# --- the largest learning rates -------------------------------------------------------------------

LIMITS = {
    "gradient descent": (
        published.gradient_descent_limit,
        lambda rate, lam: np.array([[1 - rate * lam]]),
        lambda rate: ol.sgd(rate),
        (),
    ),
    "heavy ball": (
        published.heavy_ball_limit,
        published.heavy_ball_matrix,
        lambda rate, b: ol.sgd(rate, b),
        (0.5, 0.9),
    ),
    "moving average": (
        published.ema_limit,
        published.ema_matrix,
        lambda rate, b: ol.chain(ol.ema(b, debias=False), ol.scale_by_learning_rate(rate)),
        (0.5, 0.9),
    ),
    "nesterov": (
        published.nesterov_limit,
        published.nesterov_matrix,
        lambda rate, b: ol.sgd(rate, b, nesterov=True),
        (0.5, 0.9),
    ),
}
CASES = [(name, (b,)) for name, (*_, momenta) in LIMITS.items() for b in momenta] + [
    ("gradient descent", ())
]


@pytest.mark.nightly
@pytest.mark.parametrize(("name", "momentum"), CASES)
@pytest.mark.parametrize("curvature", [1.0, 30.0])
def test_stability_ends_where_the_algebra_says(name, momentum, curvature):
    limit, matrix, make, _ = LIMITS[name]
    largest = limit(curvature, *momentum)
    for factor, converges in ((0.99, True), (1.01, False)):
        rate = factor * largest
        found = contraction(make(rate, *momentum), [curvature], 400)
        assert bool(found < 1) is converges
        np.testing.assert_allclose(
            found, published.spectral_radius(matrix(rate, curvature, *momentum)), rtol=1e-3
        )
