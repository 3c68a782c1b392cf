"""The numeric cases in which optimizers are silently wrong, for every row in float16, bfloat16,
float32 and float64.

Most run operation by operation: arithmetic of small leaves is compiled once for all rows, and a
rule not at all.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optax_lite as ol
from tests.methods import COMPOSED, OWN, extra_of, row_of
from tests.methods.compare import relative_error, slots
from tests.nightly import first
from tests.test_extras import PARAMS as WRAPPED, WRAPPERS

RULES = {row.name: row.factory(**row.settings[0]) for row in OWN if not row.quirks.no_laws} | {
    name: make() for name, make in COMPOSED.items()
}
# One of a kind each, for `make test`; what holds for them mostly holds for the others, which are
# nightly.
HANDFUL = (
    "scale_by_adam",
    "scale_by_lion",
    "scale_by_radam",
    "scale_by_novograd",
    "sam",
    "lookahead",
    "prodigy",
    "kahan",
)


def over(rules):
    """The handful, and every night the others."""
    marks = {name: [] if name in HANDFUL else [pytest.mark.nightly] for name in rules}
    return pytest.mark.parametrize(
        "tx", [pytest.param(tx, id=name, marks=marks[name]) for name, tx in rules.items()]
    )


each = over(RULES)
DTYPES = ("bfloat16", "float16", "float32", "float64")
dtypes = pytest.mark.parametrize("dtype", DTYPES)
TOP = np.iinfo(np.int32).max


def static_choices():
    """The settings of each rule of its own, without schedules, whose static choices no setting
    before has.
    """
    found = {}
    for row in (row for row in OWN if not row.quirks.no_laws):
        known = []
        for i, tx in enumerate(row.factory(**settings) for settings in row.settings):
            is_new, inside = jax.tree.structure(tx) not in known, tx.arguments.values()
            if is_new and not any(
                isinstance(v, (ol.Schedule, ol.GradientTransformation)) for v in inside
            ):
                known.append(jax.tree.structure(tx))
                found |= {f"{row.name}, setting {i}": tx} if i else {}
    return found


CHOICES = static_choices()
each_choice = over(RULES | CHOICES)

# Exact in float16 and bfloat16. "b" are parameters of 0, "scalar" has no gradient but 0; 2^14 times
# the gradient has squares and a norm that float16 does not hold, and of 2^-20 times it not even the
# entries are normal.
PARAMS = {
    "w": np.array([[1.0, -2.0], [0.5, 3.0], [0.125, 0.25]]),
    "b": np.zeros(2),
    "scalar": np.array(2.0),
    "half": np.array([[1.0, -2.0], [0.5, 3.0], [0.125, 0.25]]),
    "void": np.zeros((0, 2)),
    "idle": np.ones(2),
    "number": np.array(3),
    "none": None,
}
GRADIENT = {
    "w": np.array([[1.5, -0.25], [0.0, 2.0], [-3.0, 0.75]]),
    "b": np.array([0.5, -1.0]),
    "scalar": np.array(0.0),
    "half": np.array([[0.25, 1.0], [-1.5, 0.0], [3.0, -0.75]]),
    "void": np.zeros((0, 2)),
    "idle": None,
    "number": None,
    "none": None,
}
SIZES = (1.0, 2.0**-20, 2.0**14, 0.0)
NAMED = ("w", "b", "scalar")  # those that the labels of a partition name


def given(tree, dtype_of):
    """A tree of numbers as arrays, each in the dtype of its name."""

    def one(name, x):
        return (
            x if x is None else jnp.asarray(x, dtype_of(name) if x.dtype.kind == "f" else jnp.int32)
        )

    return {name: one(name, x) for name, x in tree.items()}


def only(names, tree):
    return {k: v for k, v in tree.items() if k in names}


def times(size, tree):
    return {k: x if x is None else size * x for k, x in tree.items()}


def update(tx, *args):
    return tx.update(*args, **extra_of(tx))


def step(tx, *args):
    return tx.step(*args, **extra_of(tx))


def wide(tree):
    """A tree in float32 at least, as numpy arrays."""
    return jax.tree.map(
        lambda x: np.asarray(x, np.promote_types(np.asarray(x).dtype, np.float32)), tree
    )


# --- low precision --------------------------------------------------------------------------------

# Rounding is what they do, or (an average) of what they keep; each has tests of its own for that.
ROUNDING = ("stochastic_rounding", "kahan", "master_weights", "average_params")


LOW = dict.fromkeys(PARAMS, "bfloat16") | dict.fromkeys(("half", "scalar", "idle"), "float16")


@each_choice
def test_low_precision_is_float32_on_the_same_numbers_rounded_at_the_end(tx):
    """Updates and states, also the second moment with b2 = 0.9999; and leaves that do not move are
    left alone.
    """
    tx = tx.replace({path: 0.9999 for path in tx.hyperparams if path.split("/")[-1] == "b2"})
    names = NAMED if tx.definition.name in ("partition", "multi_transform") else tuple(PARAMS)
    p, single = (given(only(names, PARAMS), of) for of in (LOW.__getitem__, lambda name: "float32"))
    with jax.disable_jit():
        state, single_state = tx.init(p), tx.init(single)
        for size in SIZES:
            g, as_single = (
                given(times(size, only(names, GRADIENT)), of)
                for of in (LOW.__getitem__, lambda _: "float32")
            )
            if size == 1:
                stepped, after = step(tx, g, state, p)
                chex.assert_trees_all_equal_shapes_and_dtypes((stepped, after), (p, state))
                assert all(stepped[k] is p[k] for k in set(names) & {"idle", "number", "none"})
            updates, new = update(tx, g, state, p)
            chex.assert_trees_all_equal_shapes_and_dtypes((updates, new), (g, state))
            chex.assert_tree_all_finite(new)
            # the largest end beyond float16
            state, p = (new, p if size > 1 else ol.apply_updates(p, updates))
            if tx.definition.name not in ROUNDING:
                expected, single_state = update(tx, as_single, single_state, single)
                rounded = jax.tree.map(lambda u, e: e.astype(u.dtype), updates, expected)
                np.testing.assert_equal(wide(updates), wide(rounded))
                np.testing.assert_equal(wide(state), wide(single_state))
                single = {
                    k: p[k] if x is None or k == "number" else p[k].astype(x.dtype)
                    for k, x in single.items()
                }


# --- pairs of dtypes ------------------------------------------------------------------------------

PAIRS = [(p, g) for p in DTYPES for g in DTYPES if p != g or p == "float64"]


@each
def test_every_pair_of_dtypes_settles_at_once_in_scan_and_cond(tx, x64):
    """A leaf for each pair, in one tree: what a loop carries may not change its dtype. Only
    traced.
    """
    p = {
        "w": {f"{a} {b}": jnp.ones((3, 2), a) for a, b in PAIRS},
        "b": jnp.ones(2, "bfloat16"),
        "scalar": jnp.ones(()),
    }
    g = {
        "w": {f"{a} {b}": jnp.ones((3, 2), b) for a, b in PAIRS},
        "b": jnp.ones(2),
        "scalar": jnp.ones((), "float16"),
    }

    def course(p, g):
        def body(carry, by_step):
            p, state = carry

            def by_update():
                updates, new = update(tx, g, state, p)
                chex.assert_trees_all_equal_shapes_and_dtypes(updates, g)
                return ol.apply_updates(p, updates), new

            return jax.lax.cond(by_step, lambda: step(tx, g, state, p), by_update), None

        return jax.lax.scan(body, (p, tx.init(p)), jnp.array([True, False]))[0][0]

    chex.assert_trees_all_equal_shapes_and_dtypes(jax.eval_shape(course, p, g), p)


# --- zeros ----------------------------------------------------------------------------------------


def assert_sits(tx, p, zeros, extra, *, moves=False):
    """Zero gradients move nothing, and leave numbers."""
    updates, state = tx.update(zeros, tx.init(p), p, **extra)
    stepped, state = tx.step(zeros, state, p, **extra)
    if not moves:
        np.testing.assert_equal(
            wide(jax.tree.map(jnp.abs, updates)), wide(jax.tree.map(jnp.zeros_like, p))
        )
        np.testing.assert_equal(wide(stepped), wide(p))
    chex.assert_tree_all_finite((updates, stepped, state))
    chex.assert_trees_all_equal_shapes_and_dtypes((updates, stepped), (p, p))


@each
def test_zero_gradients_do_nothing_in_float64(tx, x64):
    """In the other dtypes by a law."""
    if any("weight_decay/" in path for path in tx.hyperparams):
        return  # decay moves without a gradient, and a schedule of it cannot be set to 0
    tx = tx.replace({path: 0.0 for path in tx.hyperparams if path.endswith("weight_decay")})
    p = given(only(NAMED, PARAMS), lambda name: "float64")
    moves = row_of(tx) is not None and bool(row_of(tx).quirks.moves_without_gradient)
    with jax.disable_jit():
        assert_sits(tx, p, jax.tree.map(jnp.zeros_like, p), extra_of(tx), moves=moves)


SHARP = ol.chain(ol.normalize(), ol.sgd(0.05))
STATIONARY = {
    "sam": (ol.sam(ol.sgd(0.1), SHARP), {}),
    "sam, opaque": (
        ol.sam(ol.sgd(0.1), SHARP, opaque_mode=True),
        {"grad_fn": lambda p, i: jax.tree.map(jnp.zeros_like, p)},
    ),
    "sophia": (
        ol.sophia(0.1, weight_decay=0.0),
        {"obj_fn": lambda p: sum(jnp.sum(x**2) for x in jax.tree.leaves(p))},
    ),
    "backtracking": (ol.chain(ol.sgd(1.0), ol.scale_by_backtracking_linesearch(5)), "at a minimum"),
    "lbfgs": (ol.lbfgs(), "at a minimum"),
    "dpsgd": (ol.dpsgd(0.1, 1.0, 0.0, seed=0), "of examples"),
    "muon, stacked": (ol.scale_by_muon(weight_dimension_numbers=ol.MuonDimensionNumbers(1, 2)), {}),
}


@pytest.mark.nightly
@dtypes
@pytest.mark.parametrize("name", STATIONARY)
def test_what_the_laws_do_not_call_rests_at_a_zero_gradient(name, dtype, x64):
    tx, extra = STATIONARY[name]
    p = {"a": jnp.ones((2, 3, 2), dtype), "b": jnp.full((2, 1, 2), -0.5, dtype)}
    zeros = jax.tree.map(jnp.zeros_like, p)
    if extra == "at a minimum":
        p = zeros
        value = jnp.zeros((), jnp.result_type(float))
        extra = {"value": value, "grad": zeros, "value_fn": STATIONARY["sophia"][1]["obj_fn"]}
    if extra == "of examples":
        zeros, extra = jax.tree.map(lambda x: jnp.zeros((3, *x.shape), x.dtype), p), {}
    with jax.disable_jit():
        assert_sits(tx, p, zeros, extra)


# --- thresholds -----------------------------------------------------------------------------------

CLIPS = {
    "clip": lambda c: ol.clip(4.0 * c),
    "clip_by_global_norm": lambda c: ol.clip_by_global_norm(5.0 * c),
    "clip_by_block_rms": lambda c: ol.clip_by_block_rms(2.5 * c),
    "adaptive_grad_clip": lambda c: ol.adaptive_grad_clip(0.5 * c),
    "differentially_private_aggregate": lambda c: ol.differentially_private_aggregate(
        5.0 * c, 0.0, seed=0
    ),
}


@dtypes
@pytest.mark.parametrize("name", CLIPS)
def test_clipping_begins_above_the_threshold_and_at_0_nothing_passes(name, dtype, x64):
    p, g = (
        jnp.array([[6.0], [8.0], [0.0], [0.0]], dtype),
        jnp.array([[3.0], [4.0], [0.0], [0.0]], dtype),
    )
    half = jnp.minimum(g, jnp.asarray(2.0, dtype)) if name == "clip" else g / 2
    for c, expected in ((1.0, g), (0.5, half), (0.0, 0 * g)):
        tx = CLIPS[name](c)
        for x, clipped in ((g, expected), (0 * g, 0 * g)):
            x = x[None] if name == "differentially_private_aggregate" else x
            np.testing.assert_array_equal(wide(tx.update(x, tx.init(p), p)[0]), wide(clipped))


# --- norms that are no row's ----------------------------------------------------------------------

NORMS = {
    "safe_norm": lambda x: ol.safe_norm(x, 0.0),
    "tree_utils": lambda x: ol.tree_utils.tree_norm([x]),
    "skip_large_updates": lambda x: jnp.sqrt(
        ol.skip_large_updates([x], jnp.int32(0), None, 1.0)[1]["norm_squared"]
    ),
    "monitor": lambda x: ol.monitor({"n": ol.global_norm}).update(
        x, ol.monitor({"n": ol.global_norm}).init(x)
    )[1],
}
OVERFLOWS = {
    "float16, over": ("float16", 300.0, 10_000, 30_000.0),
    "float16, under": ("float16", 2.0**-20, 2**16, 2.0**-12),
    "bfloat16": ("bfloat16", 0.5, 4096, 32.0),
}


@pytest.mark.parametrize("case", OVERFLOWS)
@pytest.mark.parametrize("name", NORMS)
def test_norms_of_low_precision_are_those_of_float32(name, case):
    dtype, entry, size, norm = OVERFLOWS[case]
    (found,) = jax.tree.leaves(NORMS[name](jnp.full(size, entry, dtype)))
    np.testing.assert_allclose(wide(found), norm, rtol=1e-6)


@pytest.mark.parametrize("case", OVERFLOWS)
@pytest.mark.parametrize("clip", [ol.per_example_global_norm_clip, ol.per_example_layer_norm_clip])
def test_examples_in_low_precision_are_clipped_by_their_norm_in_float32(clip, case):
    dtype, entry, size, norm = OVERFLOWS[case]
    x = jnp.full((2, size), entry, dtype)
    for bound, factor in ((norm / 2, 0.5), (2 * norm, 1.0)):
        (total,), count = clip([x], bound)
        np.testing.assert_allclose(wide(total), 2 * factor * entry, rtol=1e-6)
        np.testing.assert_array_equal(jnp.stack(jax.tree.leaves(count)), 2 if factor < 1 else 0)


# --- where a NaN goes -----------------------------------------------------------------------------

# Those that look at more than the entry; the refusals are of gates, of what holds a leaf still, and
# of `zero_nans`.
SPREAD = {
    "refused": (
        "_MultiSteps",
        "accumulate",
        "apply_if_finite",
        "freeze",
        "loss_scaling",
        "set_to_zero",
        "skip_bad_steps",
        "zero_nans",
    ),
    "leaf": (
        "adafactor",
        "adaptive_grad_clip",
        "cautious",
        "centralize",
        "clip_by_block_rms",
        "fromage",
        "galore",
        "lamb",
        "lars",
        "mars",
        "muon",
        "novograd",
        "scale_by_distance_over_gradients",
        "scale_by_galore",
        "scale_by_muon",
        "scale_by_novograd",
        "scale_by_shampoo",
        "scale_by_sm3",
        "scale_by_soap",
        "scale_by_trust_ratio",
        "shampoo",
        "sm3",
        "soap",
        "stable_adamw",
    ),
    "tree": (
        "chain",
        "clip_by_global_norm",
        "clip_by_global_norm, scheduled",
        "dadapt_adamw",
        "dog",
        "dowg",
        "inject_hyperparams",
        "lbfgs",
        "mechanize",
        "momo",
        "momo_adam",
        "normalize",
        "normalize_by_update_norm",
        "polyak_sgd",
        "prodigy",
        "scale_by_lbfgs",
        "scale_by_polyak",
        "with_metrics, clipped",
    ),
}


def spread_of(tx):
    """How far a NaN in one entry of one gradient reaches, in that update or the next one."""
    p, g = (
        {k: jnp.asarray(x, jnp.float32) for k, x in only(NAMED, tree).items()}
        for tree in (PARAMS, GRADIENT)
    )
    g = g | {"scalar": jnp.float32(0.5)}
    start, seen = tx.init(p), []
    for bad in (g, g | {"w": g["w"].at[1, 1].set(jnp.nan)}):
        first, state = update(tx, bad, start, p)
        second, _ = update(tx, g, state, p)
        seen.append({k: np.stack([first[k], second[k]]) for k in g})
    clean, bad = seen
    if all(np.isfinite(x).all() for x in bad.values()):
        return "refused"
    differs = {k: ~(clean[k] == bad[k]) for k in g}
    for k in g:
        now = bad[k][0][differs[k][0]]
        assert tx.definition.name == "cautious" or np.all(np.isnan(now) | (now == 0)), (
            f"a NaN becomes a number: {bad}"
        )
    if differs["b"].any() or differs["scalar"].any():
        return "tree"
    differs["w"][:, 1, 1] = False
    return "leaf" if differs["w"].any() else "entry"


@each
def test_a_nan_reaches_no_further_than_the_rule_looks(tx):
    name = next(name for name, other in RULES.items() if other is tx)
    expected = [reach for reach, names in SPREAD.items() if name in names] or ["entry"]
    with jax.disable_jit():
        assert [spread_of(tx)] == expected


# --- counts and betas -----------------------------------------------------------------------------

COUNTS = ("count", "step", "step_count", "gradient_step")
BETAS = (
    "b1",
    "b2",
    "b3",
    "beta",
    "beta3",
    "decay",
    "momentum",
    "rho",
    "shampoo_beta",
    "betas/0",
    "betas/1",
)
NEAR = float(np.float32(0.999999))


def with_betas(tx, beta):
    """An optimizer whose numbers are float32 ones, all its decays the same."""
    positive = row_of(tx).quirks.positive if row_of(tx) else ()
    decays = [k for k in tx.hyperparams if k.split("/")[-1] in BETAS or k.endswith(BETAS[-2:])]
    exact = {k: float(np.float32(x)) for k, x in tx.hyperparams.items()}
    return tx.replace(
        exact | {k: beta for k in decays if beta is not None and (beta or k not in positive)}
    )


def with_count(state, count):
    """A state after that many updates, as its counts say."""

    def one(path, x):
        return (
            jnp.asarray(count, x.dtype)
            if path and getattr(path[-1], "name", "") in COUNTS and x.ndim == 0
            else x
        )

    return jax.tree_util.tree_map_with_path(one, state)


def second(tx, count, dtype, state=None):
    """The second update, from the state after the first with the count in it, or from the one
    given.
    """
    p, g = (
        {k: jnp.asarray(x, dtype) for k, x in only(NAMED, tree).items()}
        for tree in (PARAMS, GRADIENT)
    )
    own = tx.init(p)
    if state is None:
        _, state = update(tx, g, own, p)
        state = with_count(state, count)
    state = jax.tree.map(lambda x, like: jnp.asarray(np.asarray(x), like.dtype), state, own)
    return state, update(tx, {k: 0.75 * x + 0.5 for k, x in g.items()}, state, p)


# After a few steps gg has nearly equal eigenvalues, of which float32 finds other eigenvectors than
# float64 does.
UNDETERMINED = ("scale_by_soap", "soap")
FEW_DIGITS = {
    # Its decay is 1 - t^-0.8, made by a function that may be the user's: of 1 - b three digits are
    # left after a million updates, and none at the last count.
    "scale_by_factored_rms": lambda count: np.inf if count == TOP else 1e-3,
    # It makes its Adam itself, whose b2 of 0.999 no test rounds: 1 - b2 is off by up to 2^-25 of
    # 0.001.
    "scale_by_galore": lambda count: 3e-5,
}


@each
def test_float32_follows_float64_at_every_count_and_beta(tx):
    """b = 0, b near 1, a million updates, and the last count that there is, at which counts
    stay.
    """
    row = row_of(tx)
    if row is not None and (
        row.quirks.random or not row.quirks.counts_updates or row.name in UNDETERMINED
    ):
        return
    usual = 4 * (row.quirks.float32 if row else 2e-6)
    bound = FEW_DIGITS.get(row.name if row else "", lambda count: usual)
    for beta, count in ((0.0, 0), (NEAR, 100), (NEAR, 1_000_000), (None, TOP)):
        exact = with_betas(tx, beta)
        with jax.disable_jit():
            state, (updates, after) = second(exact, count, "float32")
            with jax.enable_x64(True):
                _, (expected, expected_after) = second(exact, count, "float64", state)
        chex.assert_tree_all_finite((updates, after))
        pairs = [
            *zip(*map(jax.tree.leaves, ((updates, after), (expected, expected_after))), strict=True)
        ]
        errors = [relative_error(np.asarray(a), np.asarray(b)) for a, b in pairs]
        assert max(errors) <= bound(count), (beta, count, errors)
        for name, counts in slots(after).items():
            assert name not in COUNTS or set(map(int, counts)) <= {count, min(count + 1, TOP)}, (
                name,
                counts,
            )


# --- left out and recovered -----------------------------------------------------------------------

INSIDE = {
    "plain": lambda tx: tx,
    "stochastic_rounding": ol.stochastic_rounding,
    "kahan": ol.kahan,
    "master_weights": ol.master_weights,
    "with_state_dtype": lambda tx: ol.with_state_dtype(tx, "bfloat16"),
}
GATES = {
    "skip_bad_steps": (lambda tx: ol.skip_bad_steps(tx, outlier=50.0, window=2), "inner_state"),
    "apply_if_finite": (lambda tx: ol.apply_if_finite(tx, 1), "inner_state"),
    "loss_scaling": (lambda tx: ol.loss_scaling(tx, init_scale=1.0), "inner_state"),
    "accumulate": (lambda tx: ol.accumulate(tx, 1), "inner_state"),
    "MultiSteps": (
        lambda tx: ol.MultiSteps(tx, 1, should_skip_update_fn=ol.skip_not_finite),
        "inner_opt_state",
    ),
}


def bits(tree):
    return [np.asarray(x).tobytes() for x in jax.tree.leaves(tree)]


@pytest.mark.parametrize("inside", first(1, INSIDE))
@pytest.mark.parametrize("gate", first(2, GATES))
def test_what_is_left_out_might_as_well_not_have_been(gate, inside, x64):
    """To the bit, in every dtype, by `step` and by `update`; and the run goes on as one
    without it.
    """
    wrap, inner = GATES[gate]
    tx = wrap(INSIDE[inside](ol.adamw(2.0**-7, weight_decay=0.5)))
    p = {dtype: jnp.asarray([1.0, -0.0, 3.0], dtype) for dtype in DTYPES}
    good = {dtype: jnp.asarray([0.5, 0.0, -2.0], dtype) for dtype in DTYPES}
    faults = dict(zip(DTYPES, (jnp.nan, jnp.inf, -jnp.inf, jnp.nan), strict=True))
    bad = [good | {dtype: good[dtype].at[2].set(x)} for dtype, x in faults.items()]
    with jax.disable_jit():
        once, state = tx.step(good, tx.init(p), p)
        assert all(jnp.signbit(x[1]) for x in once.values())
        went_on, end = tx.step(good, state, once)
        for g in bad:
            stepped, left = tx.step(g, state, once)
            updates, also = tx.update(g, state, once)
            assert bits(stepped) == bits(ol.apply_updates(once, updates)) == bits(once)
            assert (
                bits(getattr(left, inner))
                == bits(getattr(also, inner))
                == bits(getattr(state, inner))
            )
            # what the next loss will be multiplied by
            scale = float(getattr(left, "loss_scale", 1.0))
            again, after = tx.step(times(scale, good), left, stepped)
            assert bits(again) == bits(went_on) != bits(once)
            assert bits(getattr(after, inner)) == bits(getattr(end, inner))


# --- schedules ------------------------------------------------------------------------------------


class Told(NamedTuple):
    values: jax.Array  # of the schedule, the last one first; -1 where there was no update


@ol.transform
def telling(value):
    """Remembers what its schedule said."""

    def update(updates, state, params=None):
        return updates, Told(jnp.roll(state.values, 1).at[0].set(value))

    return lambda params: Told(jnp.full(4, -1.0)), update


# How many of three updates reach what is wrapped, where it is not all of them.
RARELY = {"sam, both": {1}, "sam, opaque": {3}, "sophia": {1}}


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_schedule_is_read_at_zero_first_in_every_wrapper(name):
    tx, state = WRAPPERS[name](telling(ol.linear_schedule(0.0, 100.0, 100))), None
    with jax.disable_jit():
        state = tx.init(WRAPPED)
        for _ in range(3):
            _, state = tx.update(
                WRAPPED, state, WRAPPED, grad_fn=lambda p, i: p, value=jnp.float32(1.0)
            )
    told = [
        x
        for x in jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, Told))
        if isinstance(x, Told)
    ]
    assert told, "there is no state of what is wrapped"
    for values in (x.values[x.values >= 0] for x in told):
        assert len(values) in RARELY.get(name, {3}) and values[::-1].tolist() == list(
            range(len(values))
        )
