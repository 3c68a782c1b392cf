"""The memory of a step, read from its compiled program and compared with sums made by hand."""

import jax
import jax.numpy as jnp
import pytest

import optax_lite as ol
from optax_lite.inspect._table import show_bytes

N = 64 * 64
PARAMS = {
    "w": jax.ShapeDtypeStruct((64, 64), jnp.float32),
    "b": jax.ShapeDtypeStruct((64,), jnp.bfloat16),
}
X = jax.ShapeDtypeStruct((256, 64), jnp.float32)


def loss(params, x):
    return jnp.mean((jnp.tanh(x @ params["w"]) + params["b"].astype(jnp.float32)[None, :]) ** 2)


def test_the_sums_are_those_of_the_arrays():
    found = ol.explain_memory(ol.adamw(1e-3), PARAMS, loss, X)
    own = 4 * N + 2 * 64
    assert (found.parameters, found.gradients) == (own, own)
    assert found.state == {"mu": 4 * (N + 64), "nu": 4 * (N + 64), "shared": 4}
    assert found.arguments == 4 * 256 * 64
    together = found.parameters + sum(found.state.values()) + found.arguments
    numbers = 256  # the loss, the optimizer's own numbers, a table of the results
    assert together < found.peak <= together + found.temporary + numbers
    assert found.temporary >= found.gradients / 2  # they are there in between


def test_without_donation_the_old_params_and_state_stay():
    tx = ol.adamw(1e-3)
    given, kept = (ol.explain_memory(tx, PARAMS, loss, X, donate=d) for d in (True, False))
    moved = kept.parameters + sum(kept.state.values())
    assert kept.peak - kept.temporary - (given.peak - given.temporary) == moved


def test_a_state_of_half_the_bytes_is_seen_in_the_peak():
    tx = ol.adamw(1e-3)
    full = ol.explain_memory(tx, PARAMS)
    low = ol.explain_memory(ol.with_state_dtype(tx, "bfloat16"), PARAMS)
    assert low.state["mu"] == full.state["mu"] / 2 and low.state["nu"] == full.state["nu"] / 2
    difference = full.peak - full.temporary - (low.peak - low.temporary)
    assert difference == pytest.approx(full.state["mu"], abs=64)  # a count, a table of the results


def test_arrays_numbers_and_an_auxiliary_value_are_accepted_and_nothing_is_allocated():
    params = {"w": jnp.ones(3), "n": jnp.array(3), "none": None}

    def with_aux(params, x, scale):
        value = scale * jnp.sum(params["w"] * x)
        return value, {"twice": 2 * value}

    found = ol.explain_memory(ol.sgd(0.1, 0.9), params, with_aux, jnp.ones(3), 2.0, has_aux=True)
    assert (found.parameters, found.gradients, found.state, found.arguments) == (
        16,
        12,
        {"trace": 12},
        12,
    )
    assert not params["w"].is_deleted()


def test_methods_that_need_more_than_a_gradient_are_compiled_too():
    found = ol.explain_memory(
        ol.lbfgs(memory_size=5), {"w": PARAMS["w"]}, lambda p: jnp.sum(p["w"] ** 2)
    )
    assert sum(found.state.values()) > 10 * 4 * N
    fast = ol.explain_memory(
        ol.lookahead(ol.sgd(0.1), 5, 0.5), ol.LookaheadParams.init_synced(PARAMS)
    )
    assert fast.parameters == 2 * fast.gradients


def test_the_text_has_a_line_for_each():
    found = ol.explain_memory(ol.adamw(1e-3), PARAMS, loss, X)
    lines = [" ".join(line.split()) for line in str(found).splitlines()]
    assert lines[:2] == ["parameters 16.5 kB", "gradients 16.5 kB"]
    assert lines[2:] == [
        "state mu 16.6 kB",
        "state nu 16.6 kB",
        "state shared 4 B",
        "arguments 65.5 kB",
        f"temporary {show_bytes(found.temporary)}",
        f"peak on cpu {show_bytes(found.peak)}",
    ]


def test_wrong_arguments_are_named():
    with pytest.raises(
        ValueError, match="explain_memory: loss_fn must be a function of the params, got"
    ):
        ol.explain_memory(ol.sgd(0.1), PARAMS, X)
    with pytest.raises(TypeError, match=r"explain_memory\(tx, params, loss_fn, \*args\)"):
        ol.explain_memory(PARAMS, ol.sgd(0.1))
    with pytest.raises(TypeError, match="loss_fn must return one number"):
        ol.explain_memory(ol.sgd(0.1), PARAMS, lambda p: p["w"])
