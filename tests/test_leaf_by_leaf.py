"""Leaf by leaf: results equal those of the function, and temporaries of one leaf are freed before
the next.
"""

import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optax_lite as ol
from optax_lite.core.leaf_by_leaf import one_leaf_at_a_time
from tests.closeness import assert_close
from tests.nightly import first

PROVES = ("core.leaf_by_leaf",)

X = [jnp.arange(6.0) + i for i in range(4)]


def both(function, parts=X, turns="abca"):
    """What a jitted function returns in turn and by itself, and the program of the first."""
    ordered = jax.jit(lambda parts: one_leaf_at_a_time(function, parts, turns))
    return ordered(parts), jax.jit(function)(parts), ordered.lower(parts).compile().as_text()


def calls(text):
    return len(re.findall(r' call\(.*inlineable="false"', text))


def scaled_by_all(parts):
    """A result of each part that needs all of them, as with a norm of all updates."""
    steps = [jnp.sin(x) for x in parts]
    norm = jnp.sqrt(sum(jnp.sum(x**2) for x in steps))
    return [x / norm for x in steps], [x + 1 for x in parts], norm


def with_lines_before(parts):
    """Lines that depend on no part: one for all, one for a single part, and one that is a
    result.
    """
    shared, own = jnp.exp(jnp.float32(1.0)), jnp.arange(6.0) * 2
    return {
        "all": [x * shared for x in parts[:3]],
        "one": parts[3] * own,
        "none": jnp.arange(3),
        "same": parts[0],
    }


@pytest.mark.parametrize("function", [scaled_by_all, with_lines_before])
@pytest.mark.parametrize("turns", ["abcd", "abca", "aabb", "aaaa"])
def test_the_results_are_those_of_the_function(function, turns):
    found, expected, text = both(function, turns=turns)
    assert_close(found, expected, ulps=24 + 8)  # a norm of 24 squares
    chex.assert_trees_all_equal_shapes_and_dtypes(found, expected)
    assert calls(text) == (len(set(turns)) if len(set(turns)) > 1 else 0)


def test_inputs_and_constants_can_be_results_too():
    found, expected, _ = both(
        lambda parts: (parts[2], 3.0, np.arange(2), None, jnp.sin(parts[0]), parts[1])
    )
    assert_close(found, expected, ulps=4)  # the sine is another program's


def test_a_function_with_effects_is_called_unchanged(capfd):
    def function(parts):
        jax.debug.print("sum {}", sum(map(jnp.sum, parts)))
        return [x * 2 for x in parts]

    found, expected, text = both(function)
    jax.effects_barrier()
    chex.assert_trees_all_equal(found, expected)
    assert calls(text) == 0
    assert capfd.readouterr().out.count("sum 96.0") == 2


def test_under_vmap_and_grad():
    stacked = [jnp.stack([x, x + 1, x - 2]) for x in X]

    def ordered(parts):
        return one_leaf_at_a_time(scaled_by_all, parts, "abcd")

    def slopes(run):
        return jax.jit(jax.grad(lambda parts: jnp.sum(run(parts)[0][1] * X[0])))(X)

    assert_close(
        jax.jit(jax.vmap(ordered))(stacked), jax.jit(jax.vmap(scaled_by_all))(stacked), ulps=24 + 8
    )
    # Each slope is a difference of terms as large as the numbers that the sum is weighted by.
    assert_close(
        slopes(ordered), slopes(scaled_by_all), ulps=2 * (24 + 8), largest=float(jnp.max(X[0]))
    )


def compiled(tx, leaves, dtype, side=128):
    params = {f"w{i:02}": jax.ShapeDtypeStruct((side, side), dtype) for i in range(leaves)}
    run = jax.jit(lambda params, state, grads: tx.step(grads, state, params), donate_argnums=(0, 1))
    return run.lower(params, jax.eval_shape(tx.init, params), params).compile()


METHODS = {
    "clipped before": ol.quantize_state(ol.chain(ol.clip_by_global_norm(1.0), ol.adamw(1e-3))),
    "rounded": ol.quantize_state(ol.stochastic_rounding(ol.adamw(1e-3))),
    "adamw": ol.quantize_state(ol.adamw(1e-3)),
    "lion": ol.quantize_state(ol.lion(1e-3)),
    "partition": ol.partition(
        {"a": ol.quantize_state(ol.adamw(1e-3)), "b": ol.quantize_state(ol.lion(1e-4))},
        lambda params: {name: "a" if name < "w02" else "b" for name in params},
    ),
}


@pytest.mark.skipif(
    jax.default_backend() != "cpu", reason="what other backends do has not been measured"
)
@pytest.mark.parametrize("name", first(1, METHODS))
def test_no_more_than_a_leaf_is_in_full_precision_at_once(name):
    leaf, found = 128 * 128 * 4, {}
    for leaves in (4, 8):
        dtype = jnp.bfloat16 if name == "rounded" else jnp.float32
        found[leaves] = compiled(METHODS[name], leaves, dtype).memory_analysis().temp_size_in_bytes
    # both moments before and after; a decoded state would be 8 or 16 of them
    assert found[8] < 4.5 * leaf
    assert found[8] - found[4] < leaf / 10
