"""Numpy references: line searches."""

import numpy as np


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
    # Returned: the step size, f there, the number of evaluations of f, and by how much the rule is missed.
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
    # A search that ends at a finite value goes there even if the rule is missed; any other stands still (optax).
    if np.isinf(error):
        eta = 0.0
    return eta, value_new, evaluations, error


def wolfe_errors(f, grad, x, u, step, slope_rtol, curv_rtol):
    """By how much x + step * u misses the strong Wolfe conditions (Nocedal & Wright 2006, equations 3.7)."""
    slope = np.sum(u * grad(x))
    slope_new = np.sum(u * grad(x + step * u))
    decrease_error = max(0.0, f(x + step * u) - f(x) - slope_rtol * step * slope)
    curvature_error = max(0.0, abs(slope_new) - curv_rtol * abs(slope))
    return float(decrease_error), float(curvature_error)


def approximate_decrease_error(f, grad, x, u, step, slope_rtol, approx_dec_rtol):
    """By how much x + step * u misses the decrease of the approximate Wolfe conditions (Hager & Zhang 2006)."""
    # Where it is allowed it is an alternative to the decrease of wolfe_errors: the smaller of the two errors counts.
    slope = np.sum(u * grad(x))
    slope_new = np.sum(u * grad(x + step * u))
    if f(x + step * u) > f(x) + approx_dec_rtol * abs(f(x)):
        return np.inf
    return float(max(0.0, slope_new - (2 * slope_rtol - 1) * slope))
