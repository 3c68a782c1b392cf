"""Gradients of a batch in parts: equal to those of the whole, in less memory."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

import optax_lite as ol
from tests.closeness import assert_close
from tests.nightly import first

PROVES = ("wrappers.microbatch",)

PARAMS = {"w": jnp.array([[1.0], [-2.0], [0.5]]), "b": jnp.array([0.3])}

# twice the ten operations of a residual, and a sum over the rows, of terms of about 1 that cancel
SUMS = 2 * 10 + 12


def data(rows=12, seed=0):
    x = jax.random.normal(jax.random.key(seed), (rows, 3))
    return x, {"target": x @ jnp.array([[0.5], [1.0], [-1.0]]) + 1.0}


def loss_fn(params, x, y, *, weight=1.0):
    return weight * jnp.mean((x @ params["w"] + params["b"][None] - y["target"]) ** 2)


@pytest.mark.parametrize("n", first(2, [3, 1, 2, 12]))
def test_it_is_the_value_and_gradient_of_the_whole_batch(n):
    for keywords in ({}, {"weight": 0.5}):
        ours = ol.microbatch_value_and_grad(loss_fn, n)(PARAMS, *data(), **keywords)
        assert_close(
            ours, jax.value_and_grad(loss_fn)(PARAMS, *data(), **keywords), ulps=SUMS, largest=1.0
        )


def test_in_float64_to_all_digits(x64):
    double = jax.tree.map(lambda x: jnp.asarray(x, float), (PARAMS, *data()))
    ours = jax.jit(ol.microbatch_value_and_grad(loss_fn, 4))(*double)
    chex.assert_trees_all_equal_dtypes(ours, jax.value_and_grad(loss_fn)(*double))
    assert_close(ours, jax.value_and_grad(loss_fn)(*double), ulps=SUMS, largest=1.0)


def test_low_precision_is_summed_in_float32_and_returned_as_it_was():
    def total(p, x):
        return jnp.mean(p * x)

    x = jnp.concatenate([jnp.full(1, 256.0), jnp.ones(511)]).astype(jnp.bfloat16)
    value, slope = ol.microbatch_value_and_grad(total, 512)(jnp.ones((), jnp.bfloat16), x)
    assert (value.dtype, slope.dtype) == (jnp.bfloat16, jnp.bfloat16)
    assert float(slope) == float(value) == float(jnp.bfloat16(767 / 512))


def test_arguments_are_chosen_as_in_jax():
    def loss(x, params, y, scale):
        return scale * loss_fn(params, x, y)

    x, y = data()
    scale = jnp.array(2.0)
    for argnums in (1, (1,), (1, 3), (-1, 1)):
        f = ol.microbatch_value_and_grad(
            lambda x, p, y, s=scale: loss(x, p, y, s), 3, argnums=argnums
        )
        expected = jax.value_and_grad(loss, argnums)
        args = (x, PARAMS, y, scale) if argnums in ((1, 3), (-1, 1)) else (x, PARAMS, y)
        assert_close(f(*args), expected(x, PARAMS, y, scale), ulps=SUMS, largest=1.0)


def test_auxiliary_outputs_are_stacked():
    def with_aux(params, x, y):
        return loss_fn(params, x, y), {"rows": x[:, 0]}

    x, y = data()
    (value, aux), grads = ol.microbatch_value_and_grad(with_aux, 3, has_aux=True)(PARAMS, x, y)
    assert_close((value, grads), jax.value_and_grad(loss_fn)(PARAMS, x, y), ulps=SUMS, largest=1.0)
    np.testing.assert_array_equal(aux["rows"], [x[i::3, 0] for i in range(3)])


def test_each_part_gets_a_random_key_of_its_own():
    def noise(p, x, keys):
        return p * jnp.mean(x) * jax.random.normal(keys[0], ())

    keys = jax.random.split(jax.random.key(0), 4)
    value, _ = ol.microbatch_value_and_grad(noise, 4)(1.0, jnp.ones(8), keys)
    # of both signs, so that their mean may be near 0
    each = jax.vmap(lambda k: jax.random.normal(k, ()))(keys)
    assert_close(value, jnp.mean(each), ulps=20, largest=float(jnp.max(jnp.abs(each))))


def test_leaves_without_a_gradient_are_none():
    params = PARAMS | {"none": None}
    _, grads = ol.microbatch_value_and_grad(loss_fn, 2)(params, *data())
    assert grads["none"] is None


def test_it_needs_less_memory():
    def wide(p, x):
        return jnp.mean(jnp.tanh(jnp.tanh(x @ p) @ p) ** 2)

    p, x = jnp.ones((64, 64)), jnp.ones((4096, 64))

    def temporaries(f):
        return jax.jit(f).lower(p, x).compile().memory_analysis().temp_size_in_bytes

    in_parts, whole = (
        temporaries(ol.microbatch_value_and_grad(wide, 16)),
        temporaries(jax.value_and_grad(wide)),
    )
    assert in_parts < 0.75 * whole


def test_the_batch_is_not_copied():
    p, x = jnp.ones((64, 64)), jnp.ones((8192, 64))
    step = jax.jit(ol.microbatch_value_and_grad(lambda p, x: jnp.mean(jnp.tanh(x @ p) ** 2), 64))
    assert step.lower(p, x).compile().memory_analysis().temp_size_in_bytes < x.nbytes / 2


@pytest.mark.usefixtures("eight_devices")
def test_a_batch_that_is_spread_over_devices_stays_where_it_is():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spread, everywhere = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("data",), ()))
    batch, params = jax.device_put(data(64), spread), jax.device_put(PARAMS, everywhere)
    step = jax.jit(ol.microbatch_value_and_grad(loss_fn, 4), out_shardings=everywhere)
    program = step.lower(params, *batch).compile().as_text()
    assert not any(word in program for word in ("all-gather", "all-to-all", "collective-permute"))
    assert_close(
        step(params, *batch),
        jax.value_and_grad(loss_fn)(PARAMS, *data(64)),
        ulps=2 * 10 + 64,
        largest=1.0,
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ol.microbatch_value_and_grad(loss_fn, 0),
            "n must be an integer of at least 1, got 0",
        ),
        (
            lambda: ol.microbatch_value_and_grad(loss_fn, 5)(PARAMS, *data()),
            r"argument 1 has shape \(12, 3\); its first axis must be divisible by n = 5",
        ),
        (
            lambda: ol.microbatch_value_and_grad(loss_fn, 4)(PARAMS, data()[0], data(10)[1]),
            r"argument 2, leaf 'target', has shape \(10, 1\); .* divisible by n = 4",
        ),
        (
            lambda: ol.microbatch_value_and_grad(loss_fn, 4)(PARAMS, *data(), 0.5),
            r"argument 3 has shape \(\); .* Pass arguments that are not batches by keyword",
        ),
        (
            lambda: ol.microbatch_value_and_grad(loss_fn, 4)(PARAMS, x=data()[0], y=data()[1]),
            "there is no batch to split; pass it as a positional argument",
        ),
    ],
)
def test_errors_say_what_to_write(call, message):
    with pytest.raises(ValueError, match=f"^microbatch_value_and_grad: {message}"):
        call()


MASK = jnp.array([[1, 1, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0], [0] * 6], jnp.float32)


def of_tokens(params, x, y, mask):
    return jnp.sum(mask * (x @ params["w"] - y) ** 2) / jnp.sum(mask)


def tokens():
    return (
        jax.random.normal(jax.random.key(0), (4, 6, 3)),
        jnp.arange(24.0).reshape(4, 6) / 10,
        MASK,
    )


def count_tokens(params, x, y, mask):
    return mask.sum()


def test_a_mean_over_tokens_equals_that_of_the_whole_batch():
    """The last part has none, and its own mean is NaN."""
    params = {"w": jnp.ones(3)}
    ours = ol.microbatch_value_and_grad(of_tokens, 4, weight=count_tokens)(params, *tokens())
    assert_close(ours, jax.value_and_grad(of_tokens)(params, *tokens()), ulps=SUMS)
    with pytest.raises(ValueError, match="one number"):
        ol.microbatch_value_and_grad(of_tokens, 4, weight=lambda p, x, y, m: m)(params, *tokens())


def test_accumulated_means_over_tokens_equal_those_of_the_whole_batch():
    params = {"w": jnp.ones(3)}
    tx = ol.accumulate(ol.sgd(1.0), 4, reduce="weighted")
    moved, state = params, tx.init(params)
    for part in zip(*tokens(), strict=True):
        moved, state = tx.step(
            jax.grad(of_tokens)(params, *part), state, moved, weight=part[2].sum()
        )
    whole = jax.grad(of_tokens)(params, *tokens())
    assert_close(params["w"] - moved["w"], whole["w"], ulps=SUMS)
    assert (int(state.num_finite), int(state.total_notfinite), float(state.total_weight)) == (
        3,
        0,
        9.0,
    )
    for weight in (0.0, 0.0, 0.0, 0.0):
        still, state = tx.step(
            {"w": jnp.full(3, jnp.nan)}, state, moved, weight=jnp.asarray(weight)
        )
    np.testing.assert_array_equal(still["w"], moved["w"])
    with pytest.raises(TypeError, match="needs tx"):
        tx.step({"w": jnp.ones(3)}, state, params)
