"""State in 8 bits: what a code means, which slots are coded, and how averages behave over many
steps.
"""

import re
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optax_lite as ol
from optax_lite.core import leaf_by_leaf
from optax_lite.core.block_float8 import decode, encode, layout
from optax_lite.core.half import leaf_keys
from tests.closeness import A_STEP, assert_close
from tests.methods import quantize as reference

PROVES = ("wrappers.quantize", "core.block_float8", "inspect._slots")

BLOCK = 64


def words(seed=0):
    return leaf_keys(seed, jnp.int32(0), ["x"])[0]


def stored(x, seed=0, block=BLOCK):
    return np.asarray(
        decode(encode(jnp.asarray(x), words(seed), block=block), block=block), np.float64
    )


def rows(kind, rng):
    """Blocks whose entries lie up to 40 octaves apart."""
    x = np.exp2(rng.uniform(-40, 0, (12, BLOCK))) * np.exp2(rng.uniform(-60, 60, (12, 1)))
    if kind == "signed":
        x *= rng.choice([-1, 1], x.shape)
    if kind == "not finite":
        x[:, 0], x[:, 1], x[3], x[4, 5], x[6] = np.nan, np.inf, 0, -np.inf, np.nan
    if kind == "large":
        x = x / x.max(axis=1, keepdims=True) * float(np.finfo(np.float32).max)
        x[::2, 1] *= -1
    if kind == "small":
        x = np.maximum(x / x.max(axis=1, keepdims=True) * 2.0**-100, 2.0**-126)
        x[::2, 1] *= -1
    return x.astype(np.float32)


kinds = pytest.mark.parametrize("kind", ["unsigned", "signed", "not finite", "large", "small"])


def of_blocks(function, x):
    return [
        np.array(part)
        for part in zip(*(function(block.astype(np.float64)) for block in x), strict=True)
    ]


@kinds
def test_an_entry_becomes_one_of_its_neighbours_and_in_the_mean_stays_itself(kind):
    x, n = rows(kind, np.random.default_rng(0)), 1000
    down, up = of_blocks(reference.neighbours, x)
    chance = np.array([reference.chance_of_farther(block.astype(np.float64)) for block in x])
    draws = np.stack([stored(x, seed) for seed in range(n // 10)])
    assert np.all((draws == down) | (draws == up) | (np.isnan(draws) & np.isnan(down)))
    many = np.broadcast_to(x, (n, *x.shape))  # blocks of their own, with bits of their own
    often = np.mean(stored(many) == up, axis=0)
    open_ = np.isfinite(down) & (chance > 0.01) & (chance < 0.99)
    often_open, chance_open = often[open_], chance[open_]
    z = (often_open - chance_open) / np.sqrt(chance_open * (1 - chance_open) / n)
    assert open_.sum() > 50 and np.max(np.abs(z)) < 5 and 0.8 < np.mean(z**2) < 1.2
    assert np.all(often[np.isfinite(down) & (chance == 0) & (up == down)] == 1)


@kinds
def test_the_error_is_an_eighth_at_most(kind):
    """Below the least numbers it is a step of the even ones where the block is signed; else what is
    there grows.
    """
    x = rows(kind, np.random.default_rng(1))
    y, top = (
        stored(x),
        np.array([reference.exponent(block) for block in x.astype(np.float64)])[:, None],
    )
    signed, size = np.any(x < 0, axis=1, keepdims=True), np.abs(x.astype(np.float64))
    finite = np.isfinite(size)
    # by itself: its neighbours are as they were
    np.testing.assert_array_equal(np.isnan(y), ~finite)
    bound = np.where(
        signed, np.maximum(size / 8, 2.0 ** (top - 16)), np.maximum(size / 8, 2.0 ** (top - 30))
    )
    assert np.all((np.abs(y - x) <= bound)[finite])
    assert np.all(((y > 0) | signed)[(x > 0) & finite]), "a second moment is never 0"
    assert np.all(y[x == 0] == 0)


@pytest.mark.parametrize("kind", ["unsigned", "signed", "small"])
def test_storing_a_decoded_state_again_changes_nothing(kind):
    """But where the largest entry has become the next power of 2, which moves the least numbers up
    an octave.
    """
    y = stored(rows(kind, np.random.default_rng(2)))
    top = np.array([reference.exponent(block) for block in y])[:, None]
    kept = np.abs(y) >= 2.0 ** (top - 13) if kind == "signed" else np.abs(y) >= 2.0 ** (top - 30)
    assert kept.mean() > 0.3
    for seed in range(3):
        np.testing.assert_array_equal(stored(y.astype(np.float32), seed)[kept], y[kept])


@pytest.mark.parametrize(
    ("shape", "found"),
    {
        (512, 1024): ((512,), 4, 256),
        (3, 3, 64, 128): ((3, 3), 32, 256),
        (300,): ((), 2, 150),
        (1000, 16): ((), 63, 254),
        (257, 3): ((), 4, 193),
        (): ((), 1, 1),
    }.items(),
)
def test_blocks_run_along_the_last_axes(shape, found):
    assert layout(shape, 256) == found
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    q = encode(jnp.asarray(x), words(), block=256)
    assert q.codes.shape == shape and q.codes.dtype == jnp.uint8
    assert q.scales.shape == (*found[0], found[1]) and q.scales.dtype == jnp.int16
    np.testing.assert_allclose(decode(q, block=256), x, atol=np.max(np.abs(x)) / 8, rtol=1 / 8)


# --- which slots ----------------------------------------------------------------------------------

PARAMS = {
    "w": jnp.ones((64, 64)),
    "long": jnp.ones(5000),
    "b": jnp.ones(64),
    "z": jnp.ones(5000, jnp.complex64),
}
PARAMS |= {"n": jnp.arange(5000), "half": jnp.ones(5000, jnp.bfloat16)}


def quantized(tx, params=PARAMS):
    """The paths of the slots in 8 bits, by way of shapes only."""
    state = jax.eval_shape(tx.init, params)
    leaves, _ = jax.tree_util.tree_flatten_with_path(
        state, is_leaf=lambda x: isinstance(x, ol.Quantized)
    )
    paths = [
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, x in leaves
        if isinstance(x, ol.Quantized)
    ]
    return {path.removeprefix("inner_state/") for path in paths}


def under(field, *names):
    return {f"{field}/{name}" for name in names or ("half", "long", "w")}


def test_large_real_leaves_are_in_8_bits():
    assert quantized(ol.quantize_state(ol.adamw(1e-3))) == under("0/mu") | under("0/nu") | {
        "0/nu/z"
    }
    assert quantized(ol.quantize_state(ol.lion(1e-3), min_size=5000)) == under(
        "0/mu", "half", "long"
    )
    assert quantized(ol.quantize_state(ol.lion(1e-3), min_size=64)) == under(
        "0/mu", "half", "long", "w", "b"
    )
    assert quantized(ol.quantize_state(ol.lion(1e-3, mu_dtype="bfloat16"))) == under("0/mu")


def test_chosen_paths_stay_in_float():
    assert quantized(ol.quantize_state(ol.lion(1e-3), keep="w")) == under("0/mu", "half", "long")
    assert quantized(ol.quantize_state(ol.lion(1e-3), keep=["l*", re.compile("half")])) == under(
        "0/mu", "w"
    )
    with pytest.raises(
        ValueError, match=r"the pattern 'w1' matches no leaf; the nearest paths: .*w"
    ):
        ol.quantize_state(ol.lion(1e-3), keep="w1").init(PARAMS)
    apart = ol.partition(
        {"8": ol.quantize_state(ol.lion(1e-3), keep=["w", "half"]), "32": ol.sgd(0.1)},
        lambda p: LABELS,
    )
    assert quantized(apart) == {"inner_states/8/inner_state/inner_state/0/mu/long"}
    assert quantized(ol.quantize_state(ol.lion(1e-3), keep=[])) == under("0/mu")


LABELS = {"w": "32", "long": "8", "b": "32", "z": "32", "n": "32", "half": "8"}


def test_slots_of_integers_and_parameters_that_are_python_numbers():
    @ol.transform
    def counting():
        def init(params):
            return CountingState(jax.tree.map(lambda p: jnp.zeros(jnp.shape(p), jnp.int32), params))

        return init, lambda updates, state: (
            updates,
            CountingState(jax.tree.map(lambda n: n + 1, state.seen)),
        )

    tx, params = (
        ol.quantize_state(ol.chain(counting(), ol.trace(0.9))),
        {"w": jnp.ones((64, 64)), "s": 1.0},
    )
    assert quantized(tx, params) == {"1/trace/w"}
    _, state = tx.update(params, tx.init(params), params)
    assert state.inner_state[0].seen["w"].dtype == jnp.int32 and jnp.all(
        state.inner_state[0].seen["w"] == 1
    )


class CountingState(NamedTuple):
    seen: ol.Params


def test_copies_of_the_parameters_and_matrices_of_axes_stay_in_float():
    real = {name: PARAMS[name] for name in ("w", "long", "b")}

    def slots(tx):
        return quantized(ol.quantize_state(tx), real)

    found = slots(ol.schedule_free(ol.rmsprop(0.1), 0.1))
    assert found == under("base_optimizer_state/0/nu", "long", "w"), "z starts as the parameters"
    assert slots(ol.average_params(ol.trace(0.9))) == under("inner_state/trace", "long", "w")
    assert slots(ol.master_weights(ol.trace(0.9))) == under("inner_state/trace", "long", "w")
    soap = slots(ol.soap(1e-3))  # w is square, and so are the bases of its axes
    assert soap == under("0/mu", "long", "w") | under("0/nu", "long", "w")
    assert slots(ol.prodigy(1.0)) == {
        f"{field}/{name}"
        for field in ("exp_avg", "exp_avg_sq", "grad_sum")
        for name in ("w", "long")
    }


@pytest.mark.nightly
def test_inside_of_groups_accumulation_skipping_and_averages():
    real = {name: PARAMS[name] for name in ("w", "long", "b")}
    small = ol.quantize_state(ol.adamw(1e-2))
    tx = ol.skip_bad_steps(ol.accumulate(ol.average_params(small, decay=0.9), 2))
    grouped = ol.partition({"8": small, "32": ol.adamw(1e-2)}, {"w": "8", "long": "32", "b": "8"})
    g = jax.tree.map(lambda x: jax.random.normal(jax.random.key(0), x.shape), real)
    bad = jax.tree.map(lambda x: x.at[0].set(jnp.nan), g)
    step = jax.jit(lambda tx, g, state, p: tx.step(g, state, p), donate_argnums=(2, 3))
    for each, times in (
        (tx, 2),
        (grouped, 1),
        (ol.groups(small, {"b": {"learning_rate": 0.0}}), 1),
    ):
        params, state = jax.tree.map(jnp.copy, real), each.init(real)
        kept = jax.tree.structure(state)
        for gradient in [bad] * (each is tx) + [g] * times:
            params, state = step(each, gradient, state, params)
        assert jax.tree.structure(state) == kept and step._cache_size() <= 3
        assert float(jnp.mean(jnp.abs(params["w"] - 1))) == pytest.approx(0.01, rel=0.05)


def test_one_setting_after_another_compiles_once_and_a_population_runs():
    real = {"w": PARAMS["w"]}
    g = {"w": jnp.full((64, 64), 0.5)}
    step = jax.jit(lambda tx, g, state, p: tx.step(g, state, p)[0])
    ends = [
        step(tx, g, tx.init(real), real)
        for tx in (ol.quantize_state(ol.adamw(lr)) for lr in (0.1, 0.2))
    ]
    assert step._cache_size() == 1
    population = jax.vmap(lambda lr: ol.quantize_state(ol.adamw(lr)))(jnp.array([0.1, 0.2]))
    states = jax.vmap(lambda tx: tx.init(real))(population)
    together = jax.vmap(lambda tx, state: tx.step(g, state, real)[0])(population, states)
    for i, end in enumerate(ends):
        assert_close(jax.tree.map(lambda x, i=i: x[i], together), end, ulps=A_STEP)


# --- memory ---------------------------------------------------------------------------------------


def test_adamw_takes_two_bytes_of_state_a_parameter():
    p = {
        "w": jax.ShapeDtypeStruct((512, 1024), jnp.float32),
        "b": jax.ShapeDtypeStruct((1024,), jnp.float32),
    }
    n, tx = 512 * 1024 + 1024, ol.quantize_state(ol.adamw(1e-3))
    state = ol.explain(tx, p).totals["state_bytes"]
    assert sum(state.values()) / n < 2.05
    assert state["mu"] == state["nu"] == 512 * 1024 + 2 * 512 * 4 + 4 * 1024
    assert ol.explain_memory(tx, p).state == state


# --- many steps -----------------------------------------------------------------------------------


def second_moments(b2, gradient, steps, size=4096):
    """In 8 bits and in float32, after gradients gradient(i, key)."""
    p = jnp.ones(size)
    tx = ol.scale_by_adam(b2=b2)
    eight = ol.quantize_state(tx)

    def body(i, states):
        g = gradient(i, jax.random.fold_in(jax.random.key(0), i), size)
        return tx.update(g, states[0])[1], eight.update(g, states[1])[1]

    exact, rounded = jax.jit(
        lambda: jax.lax.fori_loop(0, steps, body, (tx.init(p), eight.init(p)))
    )()
    return np.asarray(exact.nu, np.float64), np.asarray(
        decode(rounded.inner_state.nu, block=256), np.float64
    )


@pytest.mark.nightly
@pytest.mark.parametrize("b2", [0.999, 0.9999])
def test_a_second_moment_in_8_bits_follows_float32_over_ten_thousand_steps(b2):
    """After gradients have shrunk: its mean within 2 %, half of the entries within 20 %, all within
    a factor of 3.
    """
    exact, rounded = second_moments(
        b2, lambda i, key, size: jnp.where(i == 0, 1.0, 0.01) * jnp.ones(size), 10_000
    )
    ratio = rounded / exact
    assert abs(np.mean(ratio) - 1) < 0.02
    assert np.median(np.abs(ratio - 1)) < 0.2 and np.min(ratio) > 1 / 3 and np.max(ratio) < 3


@pytest.mark.nightly
def test_a_second_moment_in_8_bits_follows_float32_under_noise():
    """Its mean within 2 %; an entry is off by the root of (1 - b2)-weighted steps: a fifth in the
    root mean square.
    """
    exact, rounded = second_moments(
        0.999, lambda i, key, size: jax.random.normal(key, (size,)), 4000
    )
    ratio = rounded / exact
    assert abs(np.mean(ratio) - 1) < 0.02
    assert np.sqrt(np.mean((ratio - 1) ** 2)) < 0.25


@pytest.mark.nightly
def test_adam_in_8_bits_ends_where_adam_does():
    """A regression of 4096 weights, noisy gradients: the distance to the solution within a tenth of
    that of Adam.
    """
    target = jax.random.normal(jax.random.key(1), (64, 64))

    def end(tx):
        def body(i, carry):
            w, state = carry
            g = (
                w
                - target
                + 0.3 * jax.random.normal(jax.random.fold_in(jax.random.key(2), i), w.shape)
            )
            return tx.step(g, state, w)

        tx = tx(ol.cosine_decay_schedule(0.05, 500))
        w = jnp.zeros((64, 64))
        return jax.jit(lambda: jax.lax.fori_loop(0, 500, body, (w, tx.init(w))))()[0]

    plain, eight = (
        float(jnp.linalg.norm(end(tx) - target))
        for tx in (ol.adam, lambda lr: ol.quantize_state(ol.adam(lr)))
    )
    assert eight < 1.1 * plain


def test_double_precision_stays_outside_of_the_codes(x64):
    p = {"w": jnp.ones((64, 64), jnp.float64)}
    tx = ol.quantize_state(ol.adamw(1e-3))
    state = tx.init(p)
    new, after = tx.step({"w": jnp.full((64, 64), 0.1, jnp.float64)}, state, p)
    assert new["w"].dtype == jnp.float64
    chex.assert_trees_all_equal_shapes_and_dtypes(after, state)


def test_zeros_are_not_encoded_while_a_program_compiles():
    """XLA folds what it knows: 136 s for a leaf of 2048 by 2048. Behind a barrier it does not know
    them.
    """
    shape = jax.ShapeDtypeStruct((64, 64), jnp.float32)
    program = jax.make_jaxpr(ol.quantize_state(ol.adam(0.1), min_size=64).init)(shape).jaxpr
    known = {
        x
        for line in program.eqns
        if line.primitive.name == "optimization_barrier"
        for x in line.outvars
    }
    encoded = [line for line in program.eqns if line.params.get("name") == "encode"]
    assert len(encoded) == 2
    assert all(line.invars[0] in known for line in encoded)


def test_leaves_that_look_alike_are_one_piece_of_the_program(monkeypatch):
    pieces = []
    monkeypatch.setattr(
        leaf_by_leaf, "_in_one_piece", lambda run: pieces.append(run) or jax.jit(run)
    )
    tx = ol.quantize_state(ol.adamw(0.1), min_size=1)
    params = {f"layer_{i}": {"w": jnp.ones((2, 3)), "b": jnp.ones(4)} for i in range(5)}
    jax.jit(lambda g, s, p: tx.update(g, s, p)).trace(
        params, jax.eval_shape(tx.init, params), params
    )
    assert len(pieces) == 2
