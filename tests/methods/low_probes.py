"""Comparisons with numpy of wrappers that round to 16 bits, on 16-bit leaves: module -> {name:
agrees}.
"""

import zlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import optax_lite as ol
from optax_lite.core import half
from tests.methods import low as reference
from tests.methods.row import Namespace

LOW = ("bfloat16", "float16")


def sizes(dtype: str, n: int = 300) -> np.ndarray:
    """Float32 numbers of all sizes of a dtype, around its least normal and its largest, and some
    that it has.
    """
    rng = np.random.default_rng(0)
    most, least = float(jnp.finfo(dtype).max), 2.0**-120 if dtype == "bfloat16" else 2.0**-25
    x = np.exp2(rng.uniform(np.log2(least), np.log2(most), n)) * rng.choice([-1, 1], n)
    near = 2.0**-14 * np.array([0.999, 0.9999999, 1.0, 1.0000001, 1.001, -0.9999, 1.5])
    return np.concatenate([x, near, [0.0, 1.0, -2.0, most, -most, 1.00390625, 1.01171875]]).astype(
        np.float32
    )


# --- numbers --------------------------------------------------------------------------------------


def _rounds_to_the_nearest(dtype: str) -> Callable[[Namespace], bool]:
    x = sizes(dtype)
    down, up = reference.neighbours(x.astype(np.float64), dtype)
    x = np.concatenate([x, ((down + up) / 2).astype(np.float32)])  # and where two are as near
    return lambda namespace: np.array_equal(
        namespace["nearest"](jnp.asarray(x), jnp.dtype(dtype)), reference.nearest(x, dtype)
    )


def drawn(x: np.ndarray, bits: np.ndarray, dtype: str) -> np.ndarray:
    """The neighbour farther from 0 where the bits that are lost and as many random ones carry."""
    magnitude = np.abs(x).astype(np.float64)
    down, up = reference.neighbours(magnitude, dtype)
    lost = 16 if dtype == "bfloat16" else 13
    carries = (bits >> (32 - lost)) / 2.0**lost + reference.chance_of_upper(magnitude, dtype) >= 1
    below = (bits >> 8) / 2.0**24 < reference.chance_of_upper(magnitude, dtype)
    goes_up = np.where(magnitude < 2.0**-14, below, carries) if dtype == "float16" else carries
    return np.copysign(np.where(goes_up, up, down), x)


def _draws_a_neighbour(dtype: str) -> Callable[[Namespace], bool]:
    x = np.tile(sizes(dtype), 4)
    bits = np.random.default_rng(1).integers(0, 2**32, x.size, np.uint32)
    # a draw that equals the chance
    x, bits = (np.append(x, np.float32(2.0**-25)), np.append(bits, np.uint32(2**31)))
    expected = drawn(x, bits, dtype)

    def agrees(namespace):
        found = namespace["stochastic"](jnp.asarray(x), jnp.asarray(bits), jnp.dtype(dtype))
        return np.array_equal(found, expected) and np.array_equal(
            np.signbit(found), np.signbit(expected)
        )

    return agrees


def _leaves_the_ends(namespace: Namespace) -> bool:
    """What is not finite stays; beyond the largest number it is the nearest, whatever the bits."""
    x = jnp.array([jnp.inf, -jnp.inf, 65519.0, 65521.0, -65519.0, jnp.nan], jnp.float32)
    bits = jnp.full(6, 2**32 - 1, jnp.uint32)
    found = namespace["stochastic"](x, bits, jnp.dtype("float16"))
    most = float(jnp.finfo("bfloat16").max)
    beyond = namespace["stochastic"](
        jnp.array([1.0005 * most], "float32"), bits[:1], jnp.dtype("bfloat16")
    )
    return float(beyond[0]) == most and np.array_equal(
        found, [np.inf, -np.inf, 65504.0, np.inf, -65504.0, np.nan], equal_nan=True
    )


def _has_the_slope_of_the_exact_number(namespace: Namespace) -> bool:
    bits = jnp.full((), 2**31, jnp.uint32)
    return (
        jax.grad(lambda x: namespace["stochastic"](3 * x, bits, jnp.dtype("bfloat16")))(
            jnp.float32(1.234)
        )
        == 3
    )


def _knows_low_dtypes(namespace: Namespace) -> bool:
    leaves = (
        jnp.ones(1, "bfloat16"),
        jnp.ones((), "float16"),
        jnp.ones(1, "float32"),
        jnp.ones(1, "int16"),
        1.0,
        None,
    )
    return [bool(namespace["is_half"](x)) for x in leaves] == [
        True,
        True,
        False,
        False,
        False,
        False,
    ]


# --- random bits ----------------------------------------------------------------------------------


def finalized(x: np.ndarray) -> np.ndarray:
    """fmix32 of MurmurHash3, as in its source."""
    x = x.astype(np.uint64)
    x ^= x >> 16
    x = x * 0x85EBCA6B % 2**32
    x ^= x >> 13
    x = x * 0xC2B2AE35 % 2**32
    return x ^ (x >> 16)


def _hashes_the_place(namespace: Namespace) -> bool:
    words = np.array([0x12345678, 0xFEDCBA98], np.uint32)
    for shape in ((), (3,), (2, 3, 4), (2, 5, 20), (0, 2)):
        place = np.arange(np.prod(shape, dtype=int)).reshape(shape)
        expected = finalized(finalized(place ^ int(words[0])) ^ int(words[1]))
        found = namespace["random_bits"](jnp.asarray(words), shape)
        if found.dtype != jnp.uint32 or not np.array_equal(found, expected):
            return False
    many = jax.eval_shape(
        lambda w: namespace["random_bits"](w, (2, 2**16, 2**16)), jnp.asarray(words)
    )  # and wraps
    return many.size == 2**33 and finalized(np.array(1)) == 0x514E28B7


def _folds_count_and_path_into_the_seed(namespace: Namespace) -> bool:
    paths, count = ["a", "b/c"], jnp.int32(5)
    key = jax.random.fold_in(jax.random.key(3), count)
    expected = [
        jax.random.bits(jax.random.fold_in(key, zlib.crc32(p.encode())), (2,), jnp.uint32)
        for p in paths
    ]
    for seed in (3, jax.random.key(3)):
        found = namespace["leaf_keys"](seed, count, paths)
        if len(found) != 2 or not np.array_equal(jnp.stack(found), jnp.stack(expected)):
            return False
    first, second = namespace["keys_where"]([False, True], 3, count, paths)
    nothing = namespace["leaf_keys"](3, count, []) == [] and namespace["keys_where"](
        iter([False]), 3, count, ["a"]
    )
    return nothing == [None] and first is None and np.array_equal(second, expected[1])


# --- the walk over leaves -------------------------------------------------------------------------


def _walks(namespace: Namespace) -> bool:
    """Low leaves as the rule means, to the bit; others by the update; columns beside them; nothing
    is passed over.
    """
    low_p = jnp.array([1.0, -0.0, 4.0, jnp.inf, 2.0, 3e38, jnp.inf, 3e38], "bfloat16")
    p = {
        "a": low_p,
        "b": jnp.array([1.0, 2.0], "float32"),
        "c": None,
        "d": jnp.array(3),
        "e": jnp.ones(1, "bfloat16"),
    }
    u = {
        "a": jnp.array([2.0, 0.0, 1.0, 1.0, jnp.nan, 3e38, 5.0, 7.0], "float32"),
        "b": jnp.array([0.5, -0.5], "float16"),
    }
    p = p | {"f": jnp.ones(1, "bfloat16"), "g": jnp.array([1 / 3]), "h": jnp.ones(1, "float32")}
    u = u | {
        "c": None,
        "d": None,
        "e": None,
        "f": ol.MaskedNode(),
        "g": jnp.array([0.25], "float32"),
    }
    # half a digit of 1, and in float64 a little more
    u = u | {"h": jnp.array([2.0**-24 + 2.0**-50])}
    column = {k: jnp.float32(i) for i, k in enumerate(p)}
    seen = []

    def rule(w, u, dtype, c):
        seen.append((w.dtype, u.dtype, dtype))
        q = jnp.where(u == 7, -w, half.nearest(w + u, dtype))
        return jnp.where(u == 5, 1.0, q).astype(w.dtype), c + 1

    new, after = namespace["rounded_step"](True, rule, u, p, column)
    updates, also = namespace["rounded_step"](False, rule, u, p, column)
    assert set(seen) == {(jnp.dtype("float32"), jnp.dtype("float32"), jnp.dtype("bfloat16"))}
    assert (new["a"].dtype, new["b"].dtype, updates["a"].dtype, updates["b"].dtype) == (
        jnp.bfloat16,
        jnp.float32,
        jnp.float32,
        jnp.float16,
    )
    for columns in (after, also):
        assert {k: float(x) for k, x in columns.items()} == {
            "a": 1,
            "b": 1,
            "c": 2,
            "d": 3,
            "e": 4,
            "f": 5,
            "g": 6,
            "h": 7,
        }
    found, moves = np.asarray(new["a"], np.float32), np.asarray(updates["a"])
    stepped = [3.0, 0.0, 5.0, np.inf, np.nan, np.inf, 1.0, -low_p[7].astype(jnp.float32)]
    assert np.array_equal(found, stepped, equal_nan=True) and np.signbit(found[1])
    expected = [2.0, 0.0, 1.0, 1.0, np.nan, u["a"][5], 5.0, -np.inf]
    assert np.array_equal(moves, expected, equal_nan=True) and np.signbit(moves[1])
    assert (
        np.array_equal(new["g"], np.asarray(p["g"]) + new["g"].dtype.type(0.25))
        and new["g"].dtype == p["g"].dtype
    )
    assert (
        np.array_equal(new["h"], np.float32(1 + np.asarray(u["h"], np.float64)))
        and new["h"].dtype == jnp.float32
    )
    assert np.array_equal(new["b"], [1.5, 1.5]) and np.array_equal(updates["b"], [0.5, -0.5])
    assert all(new[k] is u[k] and updates[k] is u[k] for k in "cdef")
    return namespace["rounded_step"](False, rule, {}, {}, {}) == ({}, {})


def _makes_slots(namespace: Namespace) -> bool:
    p = {
        "a": jnp.ones(2, "bfloat16"),
        "b": jnp.ones(2),
        "c": None,
        "d": jnp.array(3),
        "e": jnp.ones(1, "float16"),
    }
    slots = namespace["slots_of_half"]("wrap", p, lambda x: 2 * x)
    try:
        namespace["slots_of_half"]("wrap", {"w": jnp.ones(2, "float8_e4m3fn")}, lambda x: x)
    except ValueError as error:
        refused = str(error).startswith(
            "wrap: leaf 'w' is"
        ) and "only bfloat16, float16 and wider dtypes" in str(error)
    return (
        refused
        and [k for k, x in slots.items() if x is not None] == ["a", "e"]
        and float(slots["a"][0]) == 2
    )


# --- wrappers -------------------------------------------------------------------------------------


@ol.transform
def given():
    """The updates are the gradients; the state is the sum of the parameters that it saw."""

    def update(updates, state, params):
        return updates, jax.tree.map(lambda s, p: s + p.astype(jnp.float32), state, params)

    return lambda params: jax.tree.map(lambda p: 0 * p.astype(jnp.float32), params), update


def steps_of(dtype: str, least: int) -> tuple[np.ndarray, np.ndarray]:
    """A parameter on the grid, and steps many of which are below the distance to its neighbours."""
    rng = np.random.default_rng(3)
    p = reference.nearest(rng.normal(size=40), dtype)
    return p, np.round(rng.normal(size=(6, 40)) * 8) / 8 * np.exp2(rng.integers(least, 1, (6, 40)))


def _follows(name: str, dtype: str) -> Callable[[Namespace], bool]:
    """The parameters and what is kept beside them, through `step` and through `update`, where
    nothing halves.
    """
    p, updates = steps_of(dtype, -24 if (name, dtype) == ("kahan", "bfloat16") else -16)
    rule = vars(reference)[name]

    def agrees(namespace):
        tx, w = namespace[name](given()), jnp.asarray(p, dtype)
        state, mine = tx.init(w), p
        kept, seen = np.zeros_like(p) if name == "kahan" else p, np.zeros_like(p)
        for i, u in enumerate(updates):
            u32 = jnp.asarray(u, jnp.float32)
            if i == 3 and name == "master_weights":
                # changed from outside
                w, mine = (w.at[0].set(7.0), np.concatenate([[7.0], mine[1:]]))
            before, now = mine, kept
            seen = seen + (
                np.where(reference.nearest(now, dtype) == before, now, before)
                if "master" in name
                else before
            )
            mine, kept = rule(before, u, now, dtype)
            moves, _ = tx.update(u32, state, w)
            w, state = tx.step(u32, state, w)
            if not np.array_equal(np.asarray(w, np.float64), mine) or not np.array_equal(
                np.asarray(moves), mine - before
            ):
                return False
            if not np.allclose(np.asarray(state[0], np.float64), kept, rtol=1e-6, atol=0):
                return False
        is_seen = np.allclose(np.asarray(state.inner_state, np.float64), seen, rtol=1e-5, atol=0)
        return state[0].dtype == (dtype if name == "kahan" else jnp.float32) and is_seen

    return agrees


def _compensates_nothing_beyond_all_numbers(namespace: Namespace) -> bool:
    tx, p = namespace["kahan"](given()), jnp.array([jnp.inf, 3e38, 1.0], "bfloat16")
    _, state = tx.step(jnp.array([1.0, 3e38, 2.0**-12], jnp.float32), tx.init(p), p)
    return np.array_equal(np.asarray(state.compensation, np.float64), [0.0, 0.0, 2.0**-12])


PROBES: dict[str, dict[str, Callable[[Namespace], bool]]] = {
    "optax_lite.core.half": {
        **{f"nearest, {dtype}": _rounds_to_the_nearest(dtype) for dtype in LOW},
        **{f"stochastic, {dtype}": _draws_a_neighbour(dtype) for dtype in LOW},
        "ends": _leaves_the_ends,
        "slope": _has_the_slope_of_the_exact_number,
        "dtypes": _knows_low_dtypes,
        "bits": _hashes_the_place,
        "keys": _folds_count_and_path_into_the_seed,
        "walk": _walks,
        "slots": _makes_slots,
    },
    "optax_lite.wrappers.kahan": {
        **{dtype: _follows("kahan", dtype) for dtype in LOW},
        "ends": _compensates_nothing_beyond_all_numbers,
    },
    "optax_lite.wrappers.master_weights": {
        dtype: _follows("master_weights", dtype) for dtype in LOW
    },
}
