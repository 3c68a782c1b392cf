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
    # The book's line search sees to s.y > 0. Any other pair counts as one of the memory_size pairs but is not used.
    rho = {i: 1 / dot(s[i], y[i]) if dot(s[i], y[i]) > 0 else 0.0 for i in pairs}
    used = [i for i in pairs if rho[i] > 0]

    gamma = 1.0
    if scale_init_precond and used:
        gamma = dot(s[used[-1]], y[used[-1]]) / dot(y[used[-1]], y[used[-1]])
    elif scale_init_precond and np.any(gradient_history[k] != 0):
        # The book leaves the first step open; optax's docstring: the reciprocal of the gradient norm, at most 1.
        gamma = min(1.0, 1 / np.sqrt(dot(gradient_history[k], gradient_history[k])))

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


def scale_by_lbfgs(g, s, w, *, memory_size, scale_init_precond):
    """`lbfgs_direction` of the leaves as one vector, with optax's state: pair i stands at place i % memory_size."""
    zeros = [np.zeros(x.shape, x.dtype) for x in w]
    stacked = [np.zeros((memory_size, *x.shape), x.dtype) for x in w]
    if s is None:
        s = {"count": 0, "params": zeros, "updates": zeros, "diff_params_memory": stacked}
        s |= {"diff_updates_memory": stacked, "weights_memory": np.zeros(memory_size)}
    count = s["count"]
    w_history = [flat(s["params"]), flat(w)] if count > 0 else [flat(w)]
    g_history = [flat(s["updates"]), flat(g)] if count > 0 else [flat(g)]
    for i in range(count - 2, max(-1, count - 1 - memory_size), -1):  # older points, from the differences kept
        w_history.insert(0, w_history[0] - flat([x[i % memory_size] for x in s["diff_params_memory"]]))
        g_history.insert(0, g_history[0] - flat([x[i % memory_size] for x in s["diff_updates_memory"]]))
    direction = lbfgs_direction(g_history, w_history, memory_size, scale_init_precond)

    new = {"count": count + 1, "params": w, "updates": g, "weights_memory": s["weights_memory"].copy()}
    new["diff_params_memory"] = [x.copy() for x in s["diff_params_memory"]]
    new["diff_updates_memory"] = [x.copy() for x in s["diff_updates_memory"]]
    if count > 0:
        place = (count - 1) % memory_size
        for i in range(len(w)):
            new["diff_params_memory"][i][place] = w[i] - s["params"][i]
            new["diff_updates_memory"][i][place] = g[i] - s["updates"][i]
        curvature = dot(w_history[-1] - w_history[-2], g_history[-1] - g_history[-2])
        new["weights_memory"][place] = 1 / curvature if curvature > 0 else 0.0
    return unflat(direction, w), new


def lbfgs(g, s, w, *, learning_rate, memory_size, scale_init_precond):
    """The step -learning_rate * H * g without a line search (Liu & Nocedal 1989); None stands for 1."""
    u, s = scale_by_lbfgs(g, s, w, memory_size=memory_size, scale_init_precond=scale_init_precond)
    return [-(1.0 if learning_rate is None else learning_rate) * x for x in u], s


def flat(leaves):
    """All entries in one vector of real numbers."""
    return np.concatenate([np.ravel(part) for x in leaves for part in (np.real(x), np.imag(x))])


def unflat(vector, like):
    """The leaves that make up a vector."""
    leaves = []
    for x in like:
        real, imag, vector = vector[: x.size], vector[x.size : 2 * x.size], vector[2 * x.size :]
        leaves.append((real + 1j * imag if np.iscomplexobj(x) else real).reshape(x.shape))
    return leaves
