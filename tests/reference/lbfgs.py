"""Numpy reference: L-BFGS."""

import numpy as np


def dot(a, b):
    """Inner product; complex vectors count as pairs of real ones."""
    return np.vdot(a, b).real


def lbfgs_direction(gradient_history, parameter_history, memory_size, scale_init_precond):
    """L-BFGS two-loop recursion (Nocedal & Wright 2006, Algorithm 7.4): H_k * gradient, from all vectors so far."""
    k = len(gradient_history) - 1
    pairs = range(max(0, k - memory_size), k)
    s = {i: parameter_history[i + 1] - parameter_history[i] for i in pairs}
    y = {i: gradient_history[i + 1] - gradient_history[i] for i in pairs}
    # The book's line search sees to s.y > 0. As in optax, a pair with s.y < 0 enters like any other (the direction
    # may then go uphill), and one with s.y = 0 counts as one of the memory_size pairs but has no effect.
    rho = {i: 1 / dot(s[i], y[i]) if dot(s[i], y[i]) != 0 else 0.0 for i in pairs}

    gamma = 1.0
    if scale_init_precond and k == 0 and np.any(gradient_history[0] != 0):
        # The book leaves the first step open; optax's docstring: the reciprocal of the gradient norm, at most 1.
        gamma = min(1.0, 1 / np.sqrt(dot(gradient_history[0], gradient_history[0])))
    elif scale_init_precond and k > 0 and np.any(y[k - 1] != 0):
        gamma = dot(s[k - 1], y[k - 1]) / dot(y[k - 1], y[k - 1])

    q = gradient_history[k]
    alpha = {}
    for i in reversed(pairs):
        alpha[i] = rho[i] * dot(s[i], q)
        q = q - alpha[i] * y[i]
    r = gamma * q
    for i in pairs:
        beta = rho[i] * dot(y[i], r)
        r = r + s[i] * (alpha[i] - beta)
    return r
