"""Multiplication by a step size, by the sign (Bernstein et al. 2018), and by 0."""

import jax.numpy as jnp
import numpy as np

import optax_lite as ol
from tests.methods.row import Row, fast, over, rate, rate_bad, slow


def scale(g, s, w, *, step_size):
    """Plain scaling of the gradient (no paper; the step eta * g of gradient descent without its
    sign).
    """
    return step_size * g, {}


def scale_by_learning_rate(g, s, w, *, learning_rate, flip_sign=True):
    """Gradient descent step (Cauchy 1847), -eta * g; flip_sign=False keeps the sign of g."""
    return (-learning_rate * g if flip_sign else learning_rate * g), {}


def scale_by_schedule(g, s, w, *, step_size_fn):
    """Scaling with a step-dependent step size (Robbins & Monro 1951); step_size_fn is the number at
    this step.
    """
    count = 0 if s is None else s["count"]
    return step_size_fn * g, {"count": count + 1}


def scale_by_sign(g, s, w):
    """Elementwise sign (Bernstein et al. 2018, Algorithm 1); for complex entries the unit phase g /
    |g|.
    """
    size = np.abs(g)
    # A zero entry has no direction: its sign is 0.
    return np.where(size > 0, g / np.where(size > 0, size, 1.0), 0.0), {}


def scale_by_learning_rate_parts(lib, learning_rate, flip_sign=True):
    return lib.scale(-learning_rate if flip_sign else learning_rate)


def scale_by_schedule_parts(lib, step_size_fn):
    return lib.scale(step_size_fn)


ROWS: tuple[Row, ...] = (
    Row(
        ol.scale,
        scale,
        tuple({"step_size": s} for s in (0.1, -3, 0.0, 1e-6, 2.5, 1e3, rate, fast)),
        (({"step_size": "x"}, "step_size must be a number or a schedule, got 'x'"),),
    ),
    Row(
        ol.scale_by_learning_rate,
        scale_by_learning_rate,
        (
            {"learning_rate": 0.1},
            *over(learning_rate=(0.1, 3, 1e-6, rate), flip_sign=(True, False)),
        ),
        rate_bad,
        stands_for=scale_by_learning_rate_parts,
    ),
    Row(
        ol.scale_by_schedule,
        scale_by_schedule,
        tuple(
            {"step_size_fn": s}
            for s in (rate, fast, slow, -rate, 0.1 * fast, rate + fast, rate / 2, 1 - slow)
        ),
        (({"step_size_fn": "x"}, "step_size_fn must be a number or a schedule"),),
        stands_for=scale_by_schedule_parts,
    ),
    Row(ol.scale_by_sign, scale_by_sign, ({},)),
    Row(ol.set_to_zero, lambda g, s, w: (0 * g, {}), ({},)),
)


def _freezes(namespace):
    """Updates of -0.0, and a step that hands the parameters through where there is a gradient."""
    _, update, step = namespace["set_to_zero"].definition.builder()
    grads, w = (jnp.ones(2, complex), None), jnp.array([-0.0, 2.0])
    (u, nothing), _ = update(grads, ol.EmptyState())
    stepped, _ = step(grads, ol.EmptyState(), (w, w))
    signs = jnp.signbit(u.real).all() and jnp.signbit(u.imag).all()
    return bool(signs) and nothing is None and stepped[0] is w and stepped[1] is None


PROBES = {"optax_lite._transforms.scale": {"frozen": _freezes}}
