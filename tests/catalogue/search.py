"""The rows of second order and line search."""

import jax
import jax.numpy as jnp

import optax_lite as ol
from tests.agreement import started
from tests.catalogue.row import Row, over, rate
from tests.reference import lbfgs


def with_pairs(state, seed):
    """A used L-BFGS state: weights that belong to their pairs, one in three curved downwards, empty places empty."""
    is_chain = not hasattr(state, "_fields")
    first, *rest = started(state, seed) if is_chain else (started(state, seed),)
    place = jnp.arange(len(first.weights_memory), dtype=jnp.int32)
    filled, sign = jnp.where(place < first.count - 1, 1.0, 0.0), jnp.where(place % 3 == 1, -1.0, 1.0)

    def at_places(factor, memory):
        return jax.tree.map(lambda x: factor.astype(x.dtype).reshape(-1, *[1] * (x.ndim - 1)) * x, memory)

    s, y = at_places(filled, first.diff_params_memory), at_places(filled * sign, first.diff_updates_memory)
    products = [
        (jnp.conj(a) * b).real.reshape(len(place), -1).sum(1)
        for a, b in zip(*map(jax.tree.leaves, (s, y)), strict=True)
    ]
    curvature = sum(products)
    weights = jnp.where(curvature > 0, 1 / jnp.where(curvature > 0, curvature, 1), 0)
    weights = weights.astype(first.weights_memory.dtype)
    first = first._replace(diff_params_memory=s, diff_updates_memory=y, weights_memory=weights)
    return (first, *rest) if is_chain else first


def whole_size(arguments):
    return {**arguments, "memory_size": int(arguments["memory_size"])}


size_bad = (
    ({"memory_size": 0}, "memory_size must be an integer of at least 1, got 0"),
    ({"memory_size": 2.5}, "memory_size must be an integer of at least 1, got 2.5"),
)
search_bad = (
    ({"increase_factor": 0}, "increase_factor must be above 0, got 0.0"),
    ({"slope_rtol": -1}, "slope_rtol must be at least 0, got -1.0"),
    ({"max_learning_rate": 0}, "max_learning_rate must be above 0, got 0.0"),
    ({"maxls": 20}, "no argument 'maxls'"),
)
lbfgs_settings = ({}, *over(memory_size=(1, 3, 10), scale_init_precond=(True, False)), {"memory_size": 7})
cancels = 1e-5  # a direction is a sum over twenty vectors, of either sign
needs_value_fn = "it evaluates a function: tests/test_linesearch.py"

ROWS: tuple[Row, ...] = (
    Row(
        ol.scale_by_lbfgs,
        lbfgs.scale_by_lbfgs,
        lbfgs_settings,
        size_bad,
        whole_tree=True,
        translate=whole_size,
        used=with_pairs,
        float32=cancels,
    ),
    Row(
        ol.lbfgs,
        lbfgs.lbfgs,
        tuple(
            {"learning_rate": lr, "linesearch": None, **s}
            for lr, s in zip((0.1, None, rate, 2, 0.1, 0.5, 1.0, rate), lbfgs_settings, strict=True)
        ),
        (*size_bad, ({"lr": 1}, "no argument 'lr'; write learning_rate")),
        whole_tree=True,
        translate=whole_size,
        used=with_pairs,
        unlike=("linesearch",),
        float32=cancels,
    ),
    Row(
        ol.scale_by_backtracking_linesearch,
        None,
        ({"max_backtracking_steps": 7, "slope_rtol": 0.5, "rtol": 0.25},),
        (
            *(({"max_backtracking_steps": 7, **s}, message) for s, message in search_bad),
            ({"max_backtracking_steps": 0}, "max_backtracking_steps must be an integer of at least 1, got 0"),
            ({"max_backtracking_steps": 7, "decrease_factor": -1}, "decrease_factor must be above 0, got -1.0"),
            ({"max_backtracking_steps": 7, "atol": -1}, "atol must be at least 0, got -1.0"),
            ({"max_backtracking_steps": 7, "rtol": -1}, "rtol must be at least 0, got -1.0"),
        ),
        no_laws=needs_value_fn,
    ),
    Row(
        ol.scale_by_zoom_linesearch,
        None,
        ({"max_linesearch_steps": 7, "slope_rtol": 0.25, "curv_rtol": 0.5},),
        (
            *(({"max_linesearch_steps": 7, **s}, message) for s, message in search_bad),
            ({"max_linesearch_steps": True}, "max_linesearch_steps must be an integer of at least 1, got True"),
            ({"max_linesearch_steps": 7, "stepsize_precision": 0}, "stepsize_precision must be above 0, got 0.0"),
            ({"max_linesearch_steps": 7, "tol": -1}, "tol must be at least 0, got -1.0"),
            ({"max_linesearch_steps": 7, "curv_rtol": -1}, "curv_rtol must be at least 0, got -1.0"),
            ({"max_linesearch_steps": 7, "approx_dec_rtol": -1}, "approx_dec_rtol must be at least 0, got -1.0"),
            (
                {"max_linesearch_steps": 7, "initial_guess_strategy": "two"},
                "initial_guess_strategy must be 'one' or 'keep', got 'two'",
            ),
        ),
        no_laws=needs_value_fn,
    ),
)
