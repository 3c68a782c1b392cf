"""Numpy reference: the line search for the strong Wolfe conditions."""

import numpy as np


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
    """Nocedal & Wright 2006, Algorithms 3.5 and 3.6, on phi(a) = f(x + a * u): the step and all steps tried.

    `find` is 3.5 and `zoom` 3.6. Where the book leaves it open: a point that meets both conditions is taken wherever it
    is found, and a search that runs out of points, of room or of interval takes its best one with enough decrease.
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
        return new[1] < old[1] or (new[1] == old[1] and new[2] < 0)  # rounding hides a decrease, the slope does not

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
    """The minimum of the cubic with these values and slopes, else of the parabola without the slope at a_high.

    Either only if it keeps a tenth of the interval from both ends; else the middle.
    """
    width = a_high - a_low
    margin = 0.1 * abs(width)
    candidates = []
    if np.isfinite(phi_high):
        t = width  # c3 t^3 + c2 t^2 + slope_low t + phi_low at t = a - a_low
        system = np.array([[t**3, t**2], [3 * t**2, 2 * t]])
        c3, c2 = np.linalg.solve(system, [phi_high - phi_low - slope_low * t, slope_high - slope_low])
        roots = np.roots([3 * c3, 2 * c2, slope_low])
        candidates += [r for r in roots if np.isreal(r) and 6 * c3 * r + 2 * c2 > 0]
        bend = (phi_high - phi_low - slope_low * t) / t**2
        candidates += [-slope_low / (2 * bend)] if bend != 0 else []
    for t in candidates:
        a = a_low + float(np.real(t))
        if min(a_low, a_high) + margin <= a <= max(a_low, a_high) - margin:
            return a
    return a_low + width / 2
