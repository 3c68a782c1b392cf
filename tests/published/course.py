"""Numpy references: update rules as written in deep-learning courses, one array at a time."""

import numpy as np


def sgd(w, dw, config):
    """Vanilla gradient descent in course form (Robbins & Monro 1951)."""
    config = {"learning_rate": 1e-2, **(config or {})}
    next_w = w - config["learning_rate"] * dw
    return next_w, config


def sgd_momentum(w, dw, config):
    """Classical momentum in velocity form (Sutskever et al. 2013, equations 1 and 2)."""
    config = {
        "learning_rate": 1e-2,
        "momentum": 0.9,
        "velocity": np.zeros_like(w),
        **(config or {}),
    }
    # The learning rate goes INTO the velocity: past steps keep the rate they were made with.
    v = config["momentum"] * config["velocity"] - config["learning_rate"] * dw
    config["velocity"] = v
    return w + v, config


def sgd_accumulator(w, dw, config):
    """Heavy-ball momentum in accumulator form (Polyak 1964); differs from sgd_momentum if the rate
    changes.
    """
    config = {
        "learning_rate": 1e-2,
        "momentum": 0.9,
        "velocity": np.zeros_like(w),
        **(config or {}),
    }
    t = config["momentum"] * config["velocity"] + dw
    config["velocity"] = t
    return w - config["learning_rate"] * t, config


def rmsprop(w, dw, config):
    """RMSProp in course form, epsilon outside the root (Tieleman & Hinton 2012, lecture 6.5)."""
    config = {
        "learning_rate": 1e-2,
        "decay_rate": 0.99,
        "epsilon": 1e-8,
        "cache": np.zeros_like(w),
        **(config or {}),
    }
    cache = config["decay_rate"] * config["cache"] + (1 - config["decay_rate"]) * dw**2
    config["cache"] = cache
    return w - config["learning_rate"] * dw / (np.sqrt(cache) + config["epsilon"]), config


def rmsprop_delta(w, dw, config):
    """RMSProp in textbook form, delta under the root (Goodfellow, Bengio & Courville 2016,
    Algorithm 8.5).
    """
    config = {
        "learning_rate": 1e-3,
        "decay_rate": 0.9,
        "delta": 1e-6,
        "cache": np.zeros_like(w),
        **(config or {}),
    }
    cache = config["decay_rate"] * config["cache"] + (1 - config["decay_rate"]) * dw**2
    config["cache"] = cache
    return w - config["learning_rate"] * dw / np.sqrt(config["delta"] + cache), config


def adam(w, dw, config):
    """Adam in course form, epsilon outside the root (Kingma & Ba 2015, Algorithm 1)."""
    config = {
        "learning_rate": 1e-3,
        "beta1": 0.9,
        "beta2": 0.999,
        "epsilon": 1e-8,
        "m": np.zeros_like(w),
        "v": np.zeros_like(w),
        "t": 0,
        **(config or {}),
    }
    beta1, beta2 = config["beta1"], config["beta2"]
    # t counts before it is used: with t = 0 the corrections would divide by zero.
    t = config["t"] + 1
    m = beta1 * config["m"] + (1 - beta1) * dw
    v = beta2 * config["v"] + (1 - beta2) * dw**2
    config.update(m=m, v=v, t=t)
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    return w - config["learning_rate"] * m_hat / (np.sqrt(v_hat) + config["epsilon"]), config


def adam_delta(w, dw, config):
    """Adam (Kingma & Ba 2015, Algorithm 1) with the small constant delta moved under the root."""
    config = {
        "learning_rate": 1e-3,
        "beta1": 0.9,
        "beta2": 0.999,
        "delta": 1e-8,
        "m": np.zeros_like(w),
        "v": np.zeros_like(w),
        "t": 0,
        **(config or {}),
    }
    beta1, beta2 = config["beta1"], config["beta2"]
    t = config["t"] + 1
    m = beta1 * config["m"] + (1 - beta1) * dw
    v = beta2 * config["v"] + (1 - beta2) * dw**2
    config.update(m=m, v=v, t=t)
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    return w - config["learning_rate"] * m_hat / np.sqrt(v_hat + config["delta"]), config
