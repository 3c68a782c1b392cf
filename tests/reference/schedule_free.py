"""Numpy references: Schedule-Free."""

import numpy as np


def schedule_free(g, s, w, *, base, learning_rate, b1, weight_lr_power):
    """Schedule-Free (Defazio et al. 2024, the recursions of y, z and x) around `base`; weights of the authors' code."""
    # w is y, the point of the gradient; z is stored and x recovered from y = b1 * x + (1 - b1) * z.
    z = w if s is None else s["z"]
    last_b1 = b1 if s is None else s["b1"]
    # x = (w - (1 - b1) * z) / b1; all points relative to w, which keeps the digits of small steps.
    z_w = z - w
    x_w = -(1 - last_b1) * z_w / last_b1
    # The average weighs each z with the rate of the step that made it.
    lr_max = max(0.0 if s is None else s["max_lr"], learning_rate)
    weight = lr_max**weight_lr_power
    weight_sum = (0.0 if s is None else s["weight_sum"]) + weight
    # A warm-up may start at a rate of 0.
    c = weight / weight_sum if weight_sum > 0 else 0.0

    u, s_base = base(g, None if s is None else s["base"], w)
    z_w = z_w + u
    x_w = (1 - c) * x_w + c * z_w
    y_w = b1 * x_w + (1 - b1) * z_w
    s_new = {
        "b1": b1,
        "weight_sum": weight_sum,
        # Starts at 1 in optax.
        "step_count": (1 if s is None else s["step_count"]) + 1,
        "max_lr": lr_max,
        "base": s_base,
        "z": z + u,
    }
    return y_w, s_new


def schedule_free_eval_params(s, w):
    """The averaged point x (Defazio et al. 2024) from y = w and z."""
    return (w - (1 - s["b1"]) * s["z"]) / s["b1"]


def _warmed(learning_rate, warmup_steps, t):
    # The rate of step t = 0, 1, ...: optax's linear schedule from 0; the paper and the authors' code start at t = 1.
    if warmup_steps is None or t >= warmup_steps:
        return learning_rate
    return learning_rate * t / warmup_steps


def schedule_free_sgd(g, s, w, *, learning_rate, warmup_steps, b1, weight_decay, weight_lr_power):
    """Schedule-Free SGD (Defazio et al. 2024, the recursions of y, z and x) with the authors' decay at y."""
    lr = _warmed(learning_rate, warmup_steps, 0 if s is None else s["step_count"] - 1)

    def base(g, s, w):
        return -lr * (g + (0.0 if weight_decay is None else weight_decay) * w), {}

    return schedule_free(g, s, w, base=base, learning_rate=lr, b1=b1, weight_lr_power=weight_lr_power)


def schedule_free_adamw(g, s, w, *, learning_rate, warmup_steps, b1, b2, eps, weight_decay, weight_lr_power):
    """Schedule-Free AdamW (Defazio et al. 2024, Algorithm 1) with decay at y."""
    lr = _warmed(learning_rate, warmup_steps, 0 if s is None else s["step_count"] - 1)

    def base(g, s, w):
        # RMSProp with bias correction, as optax documents; the paper corrects the rate (and so the weights and the
        # decay) by sqrt(1 - b2^t) instead.
        t = (0 if s is None else s["count"]) + 1
        nu = np.zeros(g.shape) if s is None else s["nu"]
        nu = b2 * nu + (1 - b2) * np.abs(g) ** 2
        u = g / (np.sqrt(nu / (1 - b2**t)) + eps) + weight_decay * w
        return -lr * u, {"count": t, "nu": nu}

    return schedule_free(g, s, w, base=base, learning_rate=lr, b1=b1, weight_lr_power=weight_lr_power)
