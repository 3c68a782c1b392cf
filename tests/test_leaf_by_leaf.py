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


WORDS = [jnp.float32(2**i) for i in range(4)]


def by_leaf(function, codes, turns):
    """The function of slots that are stored as their halves and come back times their words."""
    return one_leaf_at_a_time(
        function,
        codes,
        WORDS,
        turns,
        decode=lambda q: q["half"] * 2,
        encode=lambda x, word: {"times": x * word},
    )


def by_itself(function, codes):
    new, others = function([q["half"] * 2 for q in codes])
    return [{"times": x * word} for x, word in zip(new, WORDS, strict=True)], others


def both(function, slots=X, turns="abca"):
    """What a jitted function makes of slots in turn and by itself, and the program of the first."""
    codes = [{"half": x / 2} for x in slots]
    ordered = jax.jit(lambda codes: by_leaf(function, codes, turns))
    plain = jax.jit(lambda codes: by_itself(function, codes))
    return ordered(codes), plain(codes), ordered.lower(codes).compile().as_text()


def calls(text):
    return len(re.findall(r' call\(.*inlineable="false"', text))


def scaled_by_all(slots):
    """A new slot for each that needs all of them, as with a norm of all updates."""
    steps = [jnp.sin(x) for x in slots]
    norm = jnp.sqrt(sum(jnp.sum(x**2) for x in steps))
    return [x / norm for x in steps], ([x + 1 for x in slots], norm)


def each_by_itself(slots):
    return [x * x for x in slots], [x - 1 for x in slots]


def with_lines_before(slots):
    """Lines that depend on no slot: one for all, one for a single slot, one that is a result, and
    one that is a new slot.
    """
    shared, own = jnp.exp(jnp.float32(1.0)), jnp.arange(6.0) * 2
    new = [*(x * shared for x in slots[:2]), slots[3] * own, jnp.arange(9.0) + shared]
    return new, {"none": jnp.arange(3), "same": slots[2]}


@pytest.mark.parametrize("function", [scaled_by_all, each_by_itself, with_lines_before])
@pytest.mark.parametrize("turns", ["abcd", "abca", "aabb", "aaaa"])
def test_the_results_are_those_of_the_function(function, turns):
    found, expected, text = both(function, turns=turns)
    assert_close(found, expected, ulps=24 + 8)  # a norm of 24 squares
    chex.assert_trees_all_equal_shapes_and_dtypes(found, expected)
    assert calls(text) == (len(set(turns)) if len(set(turns)) > 1 else 0)


def test_inputs_and_constants_can_be_results_too():
    def function(slots):
        new = [slots[2], 3.0, np.arange(2.0, dtype=np.float32), slots[2]]
        return new, (slots[2], 3.0, np.arange(2), None, jnp.sin(slots[0]), slots[1])

    found, expected, _ = both(function)
    assert_close(found, expected, ulps=4)  # the sine is another program's


def test_a_function_with_effects_is_called_unchanged(capfd):
    def function(slots):
        jax.debug.print("sum {}", sum(map(jnp.sum, slots)))
        return slots, None

    found, expected, text = both(function)
    jax.effects_barrier()
    chex.assert_trees_all_equal(found, expected)
    assert calls(text) == 0
    assert capfd.readouterr().out.count("sum 96.0") == 2


def test_under_vmap_and_grad():
    stacked = [{"half": jnp.stack([x, x + 1, x - 2])} for x in X]

    def ordered(codes):
        return by_leaf(scaled_by_all, codes, "abcd")

    def plain(codes):
        return by_itself(scaled_by_all, codes)

    def slopes(run):
        weighted = jax.grad(lambda codes: jnp.sum(run(codes)[0][1]["times"] * X[0]))
        return jax.jit(weighted)([{"half": x / 2} for x in X])

    assert_close(jax.jit(jax.vmap(ordered))(stacked), jax.jit(jax.vmap(plain))(stacked), ulps=32)
    # Each slope is a difference of terms as large as the numbers that the sum is weighted by, times
    # a word of 2 and a slot that is twice its half.
    assert_close(slopes(ordered), slopes(plain), ulps=2 * 32, largest=4 * float(jnp.max(X[0])))


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
    if name == "clipped before" and jax.__version_info__ < (0, 9):
        pytest.skip("the XLA of JAX 0.8 keeps the clipped gradients of all leaves")
    leaf, found = 128 * 128 * 4, {}
    for leaves in (4, 8):
        dtype = jnp.bfloat16 if name == "rounded" else jnp.float32
        found[leaves] = compiled(METHODS[name], leaves, dtype).memory_analysis().temp_size_in_bytes
    # both moments before and after; a decoded state would be 8 or 16 of them
    assert found[8] < 4.5 * leaf
    assert found[8] - found[4] < leaf / 10
