"""Laws about structures, shapes and dtypes. They are only traced, so every pair of dtypes is
tested.
"""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optax_lite as ol
from tests.methods import COMPOSED, OWN as RULES

SINGLE = [
    (p, g) for p in ("bfloat16", "float16", "float32") for g in ("bfloat16", "float16", "float32")
]
DOUBLE = [("float64", g) for g in ("bfloat16", "float16", "float32", "float64")]
DOUBLE += [(p, "float64") for p in ("bfloat16", "float16", "float32")] + [("float32", "float32")]
# what jax.grad(allow_int=True) gives for an integer; no input of a jit
WHOLE = np.zeros((2, 2), jax.dtypes.float0)


def shape(shape, dtype):
    return jax.ShapeDtypeStruct(shape, jnp.dtype(dtype))


def trees(pairs, complex_dtype=None, *, others=True):
    """Params and gradients with a leaf for each pair of dtypes, and others that are missing, empty
    or huge.
    """
    params = {f"{p}, {g}": shape((3, 2), p) for p, g in pairs}
    gradients = {f"{p}, {g}": shape((3, 2), g) for p, g in pairs}
    both = {"complex": complex_dtype and shape((2, 3), complex_dtype)}
    if not others:
        return params | both, gradients | both
    both |= {
        "none": None,
        "void": shape((0, 2), "float32"),
        # stacked layers: more entries than an int32 counts
        "giant": shape((80, 8192, 4096), "bfloat16"),
    }
    idle = {
        "idle": shape((2,), "float32"),
        "number": shape((2,), "int32"),
        "flag": shape((), "bool"),
    }
    params = {"w": params | both | idle | {"whole": shape((2, 2), "int32")}}
    gradients = {"w": gradients | both | dict.fromkeys(idle)}
    params |= {"b": shape((2,), "bfloat16"), "scalar": shape((), "float32")}
    gradients |= {"b": shape((2,), "float32"), "scalar": shape((), "float16")}
    return params, gradients


def described(tree):
    """Every leaf by path as its dtype and shape, and the structure around them."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    by_path = {
        jax.tree_util.keystr(path): f"{x.dtype}{list(x.shape)}{weakness(x)}" for path, x in leaves
    }
    return by_path | {"structure": str(jax.tree.structure(tree))}


def weakness(x):
    return " weak" if getattr(x, "weak_type", False) else ""


def assert_same_types(found, expected, what):
    """Fail with the paths of the leaves that differ; a weak type is another dtype."""
    a, b = described(found), described(expected)
    different = [
        f"{path} is {a.get(path)}, not {b.get(path)}"
        for path in {**b, **a}
        if a.get(path) != b.get(path)
    ]
    assert not different, f"{what} differ: {'; '.join(different[:6])}"


def assert_keeps_types(tx, params, gradients, extra, *, by_step=True):
    """Compare the types that init, update and step return with those they were given; return the
    state's.
    """
    whole = {"whole": WHOLE} if isinstance(params.get("w"), dict) else {}

    def given(g):
        return g | {"w": g["w"] | whole} if whole else g

    def update(params, state, g):
        updates, state = tx.update(given(g), state, params, **extra)
        return updates, state, ol.apply_updates(params, updates)

    def step(params, state, g):
        return tx.step(given(g), state, params, **extra)

    state = jax.eval_shape(tx.init, params)
    if by_step and jax.tree.leaves(params):
        assert_same_types(tx.init(params), state, "init of shapes and of arrays")
    assert "weak" not in str(described(state)), (
        f"the state has weakly typed leaves: {described(state)}"
    )
    updates, new, applied = jax.eval_shape(update, params, state, gradients)
    if whole:
        assert updates["w"].pop("whole") is None
    assert_same_types(updates, gradients, "the updates and the gradients")
    assert_same_types(new, state, "the states after an update and before")
    assert_same_types(applied, params, "the params after apply_updates and before")
    if by_step:
        stepped, new = jax.eval_shape(step, params, state, gradients)
        assert_same_types(stepped, params, "the params after a step and before")
        assert_same_types(new, state, "the states after a step and before")
    return described(state)


OWN = [row for row in RULES if not row.quirks.no_laws]
COMPOSITIONS = {name: make() for name, make in COMPOSED.items()}
each = pytest.mark.parametrize("row", OWN, ids=lambda row: row.name)


def of(row):
    return row.factory(**row.settings[0])


@each
def test_types_stay(row):
    assert_keeps_types(
        of(row), *trees(SINGLE, "complex64" if row.quirks.complex_ else None), row.quirks.extra(0)
    )


@each
@pytest.mark.parametrize(
    "by_step", [False, pytest.param(True, marks=pytest.mark.nightly)], ids=["update", "step"]
)
def test_types_stay_in_double_precision(row, by_step, x64):
    """The slots of a leaf in float32 have no 64 bits, whatever its neighbours have. By `step` only
    nightly: it applies the updates, of whose types this is about.
    """
    quirks = row.quirks
    given = trees(DOUBLE, "complex128" if quirks.complex_ else None, others=False)
    state = assert_keeps_types(of(row), *given, quirks.extra(0), by_step=by_step)
    assert not {
        path: x for path, x in state.items() if "['float32, float32']" in path and "64" in x
    }


@pytest.mark.parametrize(
    "row", [row for row in OWN if not row.quirks.complex_], ids=lambda row: row.name
)
def test_complex_leaves_are_refused_by_name(row):
    params = {"w": shape((2, 3), "complex64"), "b": shape((2,), "float32")}
    with pytest.raises(ValueError, match="leaf 'w'.*" + re.escape(row.quirks.refuses_complex)):
        assert_keeps_types(of(row), params, params, row.quirks.extra(0))


@each
def test_an_empty_tree_is_a_tree(row):
    assert_keeps_types(of(row), {}, {}, row.quirks.extra(0))


@pytest.mark.parametrize("tx", COMPOSITIONS.values(), ids=COMPOSITIONS)
def test_types_of_a_composition_stay(tx):
    assert_keeps_types(tx, *trees(SINGLE), {})
