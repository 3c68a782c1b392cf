"""Losses against their references, their slopes against differences, and the places where naive
formulas break.
"""

import functools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optax_lite import losses
from optax_lite.losses._inputs import at_least_zero
from tests.methods.losses import (
    CASES,
    FAR,
    FUNCTIONS,
    GROUPS,
    HALVES,
    HARD,
    INF,
    LABELS,
    LOGITS,
    MASKED,
    ONES,
    PADDED,
    POINTS,
    RIGHT,
    TEXT,
    WORDS,
    WORDS_PADDED,
    ZEROS,
    P,
    X,
    Y,
    Z,
    multiclass_sparsemax_loss,
)
from tests.nightly import first


def cases(most):
    """Every case; those after the first `most` of a loss are slow."""
    marked = first(most, CASES, of=lambda case: case.name)
    return pytest.mark.parametrize(
        "case", marked, ids=[f"{case.name}-{i}" for i, case in enumerate(CASES)]
    )


first_cases = pytest.mark.parametrize(
    "case", {c.name: c for c in reversed(CASES)}.values(), ids=lambda case: case.name
)


@cases(2)
def test_float64_equals_the_reference_slopes_included(case, x64):
    error, slopes = case.error_and_slopes(FUNCTIONS[case.name], jnp.float64)
    assert error <= 1e-12
    args = [np.asarray(x) for x in case.given(jnp.float64)]
    for i in range(
        1 if case.name == "ctc_loss" else len(slopes)
    ):  # after the first of it come paddings
        if i and np.any(args[i] == 0) and "kl" in case.name:
            continue  # the slope of p·log p at 0 is infinite, and 0 by decision
        differences = np.zeros(args[i].shape)
        for place in np.ndindex(differences.shape):
            step = np.zeros(args[i].shape)
            step[place] = 1e-6
            sides = [[*args[:i], args[i] + side * step, *args[i + 1 :]] for side in (1, -1)]
            above, below = (np.sum(case.expected(side)) for side in sides)
            differences[place] = (above - below) / 2e-6
        np.testing.assert_allclose(
            slopes[i], differences, rtol=1e-6, atol=1e-7 * np.max(np.abs(differences))
        )


@cases(1)
def test_float32_equals_the_reference(case):
    assert case.error(FUNCTIONS[case.name], jnp.float32) <= 2e-6


@first_cases
@pytest.mark.nightly
def test_compiled_and_batched_it_is_the_same(case):
    function, given = FUNCTIONS[case.name], case.given(jnp.float32)

    def run(*args):
        return function(*args, **case.settings)

    single = jax.jit(run)(*given)
    chex.assert_trees_all_close(run(*given), single, rtol=1e-5, atol=1e-6)
    batch = [jnp.stack([x, x]) for x in given]
    chex.assert_trees_all_close(
        jax.jit(jax.vmap(run))(*batch), jnp.stack([single, single]), rtol=1e-5, atol=1e-6
    )


@first_cases
@pytest.mark.parametrize("dtype", first(1, ["float16", "bfloat16"]))
def test_low_precision_is_computed_in_float32_and_rounded_once(case, dtype):
    function, given = FUNCTIONS[case.name], case.given(dtype)
    if case.name == "ctc_loss":
        given = (given[0], *case.given("float32")[1:])  # paddings do not count

    def in_dtype(*args):
        return function(*args, **case.settings)

    def in_float32(*args):
        up = [x.astype(jnp.float32) if x.dtype == dtype else x for x in args]
        return function(*up, **case.settings).astype(dtype)

    assert jax.eval_shape(in_dtype, *given).dtype == dtype
    both = jax.jit(lambda *args: (in_dtype(*args), in_float32(*args)))(*given)
    chex.assert_trees_all_equal(*both)


def test_mixed_arguments_give_their_common_dtype_and_numbers_none():
    x = jnp.ones(3, jnp.bfloat16)
    assert losses.l2_loss(x, jnp.ones(3)).dtype == jnp.float32
    assert losses.l2_loss(x, jnp.arange(3)).dtype == jnp.bfloat16
    assert losses.l2_loss(x, x > 0).dtype == jnp.bfloat16
    assert losses.huber_loss(x, 1.0, delta=jnp.float32(0.5)).dtype == jnp.bfloat16
    assert losses.l2_loss(1.5, 1).dtype == jnp.float32
    assert losses.kl_divergence([0.5, 0.5], np.array([0.5, 0.5])).dtype == jnp.float32


def test_half_precision_errors_are_squared_beyond_its_range_without_a_nan():
    assert (
        losses.cosine_similarity(jnp.full(3, 6e4, jnp.float16), jnp.full(3, 6e4, jnp.float16)) == 1
    )
    assert losses.log_cosh(jnp.float16(300.0)) == jnp.float16(300.0 - math.log(2))


# --- hard places ----------------------------------------------------------------------------------


@pytest.mark.parametrize("place", HARD.values(), ids=HARD.keys())
def test_hard_places(place):
    assert place.error(FUNCTIONS[place.name]) <= 3e-6


X_ALL = 3 * jax.random.normal(jax.random.key(0), (500, 10))
LOG_P, Q = jax.nn.log_softmax(X_ALL), jax.nn.softmax(X_ALL)
BEST = jnp.argmax(X_ALL, -1)
NEVER_NEGATIVE = {
    "ctc_loss": lambda: losses.ctc_loss(
        jnp.array([[[0.0, 17.0], [0.0, 17.0]]]),
        jnp.zeros((1, 2)),
        jnp.array([[1]]),
        jnp.zeros((1, 1)),
    ),
    "kl_divergence": lambda: losses.kl_divergence(LOG_P, Q),
    "kl_divergence over a mask": lambda: losses.kl_divergence(
        jnp.pad(LOG_P, ((0, 0), (0, 1))),
        jnp.pad(Q, ((0, 0), (0, 1))),
        where=jnp.arange(11)[None] < 10,
    ),
    "kl_divergence_with_log_targets": lambda: losses.kl_divergence_with_log_targets(
        LOG_P, jnp.log(Q)
    ),
    "generalized_kl_divergence": lambda: losses.generalized_kl_divergence(LOG_P, Q),
    "generalized_kl_divergence, terms": lambda: losses.generalized_kl_divergence(LOG_P, Q, axis=()),
    "cosine_distance": lambda: losses.cosine_distance(X_ALL, 2 * X_ALL),
    "multiclass_hinge_loss": lambda: losses.multiclass_hinge_loss(X_ALL, BEST),
    "poly_loss_cross_entropy": lambda: losses.poly_loss_cross_entropy(
        10 * X_ALL, jax.nn.one_hot(BEST, 10), epsilon=-1.0
    ),
    "log_cosh": lambda: losses.log_cosh(jnp.linspace(-1e-3, 1e-3, 501)),
    "huber_loss": lambda: losses.huber_loss(jnp.linspace(-1.1, 1.1, 501)),
    "sigmoid_focal_loss": lambda: losses.sigmoid_focal_loss(30 * X_ALL, (X_ALL > 0).astype(float)),
    "softmax_cross_entropy": lambda: losses.softmax_cross_entropy(
        30 * X_ALL, jax.nn.one_hot(BEST, 10)
    ),
    "ntxent": lambda: losses.ntxent(X_ALL[:8], jnp.arange(8) // 2, 0.01),
    "sparsemax_loss": lambda: losses.sparsemax_loss(X_ALL, (jnp.clip(X_ALL, -1, 1) + 1) / 2),
    "multiclass_sparsemax_loss": lambda: losses.multiclass_sparsemax_loss(X_ALL, BEST),
    "dice_loss": lambda: losses.dice_loss(30 * X_ALL, jax.nn.one_hot(BEST, 10)),
    "binary_dice_loss": lambda: losses.binary_dice_loss(30 * X_ALL, (X_ALL > 0).astype(float)),
    "multiclass_generalized_dice_loss": lambda: losses.multiclass_generalized_dice_loss(
        30 * X_ALL[None], jax.nn.one_hot(BEST, 10)[None]
    ),
    "ranking_softmax_loss": lambda: losses.ranking_softmax_loss(
        30 * X_ALL, jax.nn.one_hot(BEST, 10), reduce_fn=None
    ),
}


@pytest.mark.parametrize("call", NEVER_NEGATIVE.values(), ids=NEVER_NEGATIVE.keys())
def test_rounding_never_makes_a_nonnegative_loss_negative(call):
    assert float(jax.jit(lambda: jnp.min(call()))()) >= 0


def test_at_the_bound_a_loss_keeps_its_slope_and_curvature():
    """As many entries as not are clamped there; the slope is that of the formula for all of
    them.
    """
    slope = jax.grad(lambda log_q: jnp.sum(losses.kl_divergence(log_q, Q)))(LOG_P)
    np.testing.assert_allclose(slope, -Q, atol=1e-6)
    slope = jax.grad(lambda log_q: jnp.sum(losses.generalized_kl_divergence(log_q, Q)))(LOG_P)
    np.testing.assert_allclose(slope, 0, atol=1e-6)
    curved = jax.grad(jax.grad(at_least_zero))
    assert jax.grad(at_least_zero)(-1e-7) == 1.0 and curved(-1e-7) == 0.0
    square = jax.grad(jax.grad(lambda x: at_least_zero(x * x - 1e-7)))
    assert square(0.0) == 2.0 and jnp.isnan(at_least_zero(jnp.nan))


def test_losses_that_can_be_negative_stay_negative():
    p, q = jnp.array([0.2, 0.8]), jnp.log(jnp.array([0.5, 0.5]))
    terms = p * (jnp.log(p) - q)
    np.testing.assert_allclose(losses.kl_divergence(q, p, axis=()), terms, rtol=1e-6)
    np.testing.assert_allclose(
        losses.kl_divergence(q, p, where=jnp.array([True, False])), terms[0], rtol=1e-6
    )
    joint = losses.kl_divergence(jnp.stack([q, q]) - jnp.log(2.0), jnp.stack([0.25 * p, 0.75 * p]))
    np.testing.assert_allclose(
        joint[0], np.sum(0.25 * p * (np.log(0.25 * p) - q + np.log(2.0))), rtol=1e-6
    )
    assert joint[0] < 0
    assert (
        losses.poly_loss_cross_entropy(jnp.array([3.0, 0.0]), jnp.array([1.0, 0.0]), epsilon=-2.0)
        < 0
    )


def test_curvatures_at_0_are_there():
    for function in (losses.l2_loss, losses.huber_loss, losses.log_cosh):
        assert jax.jit(jax.grad(jax.grad(function)))(0.0) == 1
    curvature = jax.jit(jax.grad(jax.grad(losses.sigmoid_binary_cross_entropy)))(0.0, 1.0)
    np.testing.assert_allclose(curvature, 0.25)


def test_slopes_of_the_numbers_are_finite_at_hard_places():
    for name, args, setting, number in [
        ("huber_loss", [FAR], "delta", 1.0),
        ("sigmoid_focal_loss", [FAR, RIGHT], "gamma", 0.0),
        ("sigmoid_focal_loss", [FAR, RIGHT], "alpha", 0.0),
        ("poly_loss_cross_entropy", [MASKED, np.array([0.0, 0, 1])], "epsilon", 2.0),
        ("smooth_labels", [HALVES], "alpha", 0.0),
        ("cosine_similarity", [ZEROS, ONES], "epsilon", 0.0),
        ("ntxent", [np.eye(3), np.arange(3)], "temperature", 0.07),
        ("triplet_margin_loss", [ONES, ONES, ZEROS], "norm_degree", 2.0),
        ("triplet_margin_loss", [ONES, ONES, ONES], "eps", 0.0),
        ("ctc_loss", list(TEXT), "log_epsilon", -1e5),
        ("dice_loss", [ZEROS, ZEROS], "smooth", 0.0),
        ("dice_loss", [MASKED, HALVES], "alpha", 0.5),
        ("dice_loss", [MASKED, HALVES], "beta", 0.5),
        ("binary_dice_loss", [FAR, RIGHT], "smooth", 0.0),
        ("multiclass_generalized_dice_loss", [MASKED, ZEROS], "smooth", 0.0),
    ]:
        args = [jnp.asarray(a, jnp.float32 if a.dtype == float else None) for a in args]

        def with_number(number, name=name, args=args, setting=setting):
            return jnp.sum(getattr(losses, name)(*args, **{setting: number}))

        both = jax.jit(jax.vmap(jax.value_and_grad(with_number)))(jnp.array([number, number]))
        chex.assert_tree_all_finite(both)


# --- classes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function",
    [
        losses.softmax_cross_entropy_with_integer_labels,
        losses.multiclass_hinge_loss,
        losses.multiclass_perceptron_loss,
        losses.multiclass_sparsemax_loss,
    ],
)
def test_a_label_that_is_not_a_class_gives_nan_and_finite_slopes(function):
    labels = jnp.array([0, -1, 4, -4, 3])
    scores = jnp.asarray(np.arange(20.0).reshape(5, 4) % 7, jnp.float32)
    loss, slopes = jax.jit(jax.vmap(jax.value_and_grad(function)))(scores, labels)
    np.testing.assert_array_equal(np.isnan(loss), [False, True, True, True, False])
    chex.assert_tree_all_finite(slopes)


def test_examples_with_a_label_below_0_are_ignored_by_where():
    logits, labels = jnp.asarray(X[0], jnp.float32), jnp.array([2, -100, 1])

    def loss(logits):
        return jnp.sum(
            losses.softmax_cross_entropy_with_integer_labels(logits, labels, where=labels >= 0)
        )

    kept = jnp.array([0, 2])
    expected = losses.softmax_cross_entropy_with_integer_labels(logits[kept], labels[kept])
    np.testing.assert_allclose(loss(logits), jnp.sum(expected), rtol=1e-6)
    slopes = jax.grad(loss)(logits)
    chex.assert_tree_all_finite(slopes)
    assert not np.any(slopes[1])


def test_a_label_that_is_masked_out_has_probability_0():
    where = jnp.array([True, False, True])
    assert losses.softmax_cross_entropy_with_integer_labels(jnp.ones(3), 1, where=where) == INF
    one_hot = losses.softmax_cross_entropy(jnp.ones(3), jnp.array([0.0, 1, 0]), where=where)
    assert one_hot == 0  # a sum over the classes that are left


def test_smoothed_labels_sum_to_1_over_the_classes_that_are_left():
    where = jnp.array([True, False, True, True])
    smooth = losses.smooth_labels(jnp.array([1.0, 0, 0, 0]), 0.3, where=where)
    np.testing.assert_allclose(smooth, [0.8, 0, 0.1, 0.1], rtol=1e-6)
    loss = losses.softmax_cross_entropy(jnp.array([1.0, -INF, 2, 3]), smooth)
    assert jnp.isfinite(loss)


# --- sparse predictions ---------------------------------------------------------------------------


def test_sparsemax_of_two_classes_is_that_of_one_score_against_0():
    s = jnp.linspace(-3, 3, 61)
    for label in (0, 1):
        two = losses.multiclass_sparsemax_loss(
            jnp.stack([s, 0 * s], -1), jnp.full(s.shape, 1 - label)
        )
        np.testing.assert_allclose(losses.sparsemax_loss(s, label), two, atol=1e-6)


def test_sparsemax_of_a_soft_label_is_0_where_it_is_predicted():
    labels = jnp.linspace(0, 1, 11)
    loss, slope = jax.vmap(jax.value_and_grad(losses.sparsemax_loss))(2 * labels - 1, labels)
    assert not np.any(loss) and not np.any(slope)


def test_curvature_of_sparsemax_is_that_of_its_projection(x64):
    """The support of (0, 0.5, 0.2, -2) is the first three classes, on which it is 1 - 1/3."""
    scores = jnp.array([0.0, 0.5, 0.2, -2.0])
    curvature = jax.jit(jax.hessian(losses.multiclass_sparsemax_loss))(scores, 0)
    expected = np.zeros((4, 4))
    expected[:3, :3] = np.eye(3) - 1 / 3
    np.testing.assert_allclose(curvature, expected, atol=1e-12)
    of_one = jax.vmap(jax.grad(jax.grad(losses.sparsemax_loss)), (0, None))
    np.testing.assert_array_equal(of_one(jnp.array([-2.0, 0.3, 2.0]), 1.0), [0, 0.5, 0])


def test_an_impossible_right_class_costs_infinity_and_has_a_slope():
    both = jax.jit(jax.value_and_grad(losses.multiclass_sparsemax_loss))
    loss, slope = both(jnp.array([-INF, 0.25, 0.0]), 0)
    assert loss == INF
    np.testing.assert_allclose(slope, [-1, 0.625, 0.375])
    assert jax.value_and_grad(losses.sparsemax_loss)(-INF, 1.0) == (INF, -1)


def test_sparsemax_of_many_classes_in_float32():
    scores = jax.random.normal(jax.random.key(1), (4, 50_000))
    labels = jnp.array([0, 7, 4000, 49_999])
    loss, slope = jax.jit(jax.vmap(jax.value_and_grad(losses.multiclass_sparsemax_loss)))(
        scores, labels
    )
    np.testing.assert_allclose(
        loss, multiclass_sparsemax_loss(np.asarray(scores, float), labels), rtol=1e-6
    )
    np.testing.assert_allclose(np.sum(slope, -1), 0, atol=1e-6)


def test_a_fenchel_young_loss_is_compiled_mapped_and_rounded_once():
    loss = losses.make_fenchel_young_loss(jax.scipy.special.logsumexp)
    x, y = jnp.asarray(X, jnp.bfloat16), jnp.asarray(P, jnp.bfloat16)
    up = loss(x.astype(jnp.float32), y.astype(jnp.float32))
    assert up.dtype == jnp.float32
    chex.assert_trees_all_equal(jax.jit(jax.vmap(loss))(x, y), up.astype(jnp.bfloat16))


# --- segmentations --------------------------------------------------------------------------------


def test_probabilities_are_used_unchanged_under_jit_too():
    p, hot = jax.nn.sigmoid(X), (Y > 0).astype(np.float32)
    compiled = jax.jit(functools.partial(losses.binary_dice_loss, apply_sigmoid=False))
    np.testing.assert_allclose(compiled(p, hot), losses.binary_dice_loss(X, hot), rtol=1e-6)
    softmax = jax.jit(functools.partial(losses.dice_loss, apply_softmax=False))
    np.testing.assert_allclose(
        softmax(jax.nn.softmax(X), P), losses.dice_loss(np.float32(X), np.float32(P)), rtol=1e-6
    )


def test_a_class_that_an_example_lacks_leaves_the_others_their_slopes():
    """Of 3 classes two are there, and all their pixels are taken for the other one."""
    there = jnp.arange(50) % 5 == 0
    wrong = 8 * jax.nn.one_hot(jnp.where(there, 0, 1), 3)
    targets = jax.nn.one_hot(jnp.where(there, 1, 0), 3)
    both = jax.jit(jax.value_and_grad(losses.multiclass_generalized_dice_loss))
    loss, slopes = both(wrong[None], targets[None])
    of_two, of_two_slopes = both(wrong[None, :, :2], targets[None, :, :2])
    assert 0.8 < loss < of_two
    assert jnp.linalg.norm(slopes) > 0.8 * jnp.linalg.norm(of_two_slopes)


def test_examples_of_a_batch_have_weights_of_their_own():
    x, hot = jnp.asarray(X), jax.nn.one_hot(LABELS, 4)
    each = [losses.multiclass_generalized_dice_loss(x[i : i + 1], hot[i : i + 1]) for i in (0, 1)]
    both = losses.multiclass_generalized_dice_loss(x, hot)
    np.testing.assert_allclose(both, np.mean(each), rtol=1e-6)


# --- lists ----------------------------------------------------------------------------------------


def test_a_loss_of_no_lists_is_0():
    for settings in ({}, {"where": np.ones((0, 3), bool)}):
        loss = losses.ranking_softmax_loss(np.ones((0, 3)), np.ones((0, 3)), **settings)
        assert loss.shape == () and loss == 0


# --- sequences ------------------------------------------------------------------------------------


def test_what_cannot_be_aligned_costs_about_minus_log_epsilon():
    for log_epsilon in (-1e5, -1e3):
        ctc_loss = jax.jit(functools.partial(losses.ctc_loss, log_epsilon=log_epsilon))
        loss = ctc_loss(LOGITS[:, :2], PADDED[:, :2], WORDS, 0 * WORDS_PADDED)
        np.testing.assert_allclose(loss, -log_epsilon, rtol=0.01)
    no_frames = jax.jit(losses.ctc_loss)(
        LOGITS[:, :0], PADDED[:, :0], WORDS, np.array([[1, 1, 1], [0, 0, 0]])
    )
    np.testing.assert_allclose(no_frames, [0, 1e5], rtol=1e-5)


def test_padding_and_impossible_classes_do_no_harm():
    dirty = jnp.asarray(LOGITS, jnp.float32).at[1, 3:].set(jnp.nan).at[0, 1, 2].set(-jnp.inf)
    words = WORDS.copy()
    words[1, 1:] = -1

    def total(logits, words):
        return jnp.sum(losses.ctc_loss(logits, PADDED, words, WORDS_PADDED))

    loss, slopes = jax.jit(jax.value_and_grad(total))(dirty, words)
    chex.assert_tree_all_finite((loss, slopes))
    assert not np.any(slopes[1, 3:])
    clean = jnp.asarray(LOGITS, jnp.float32).at[0, 1, 2].set(-1e4)
    np.testing.assert_allclose(loss, jax.jit(total)(clean, WORDS), rtol=1e-5)
    assert jnp.isnan(jax.jit(total)(clean, WORDS + 2))


# --- errors ---------------------------------------------------------------------------------------

COLUMN = np.ones((3, 1))
LONG = np.ones((2, 5))
ERRORS = {
    "l2 of a column": (
        lambda: losses.l2_loss(ONES, COLUMN),
        "l2_loss: predictions have shape (3,), targets (3, 1)",
    ),
    "l2 the other way": (
        lambda: losses.l2_loss(COLUMN, ONES),
        "(3, 1), targets (3,): nothing is broadcast",
    ),
    "squared": (
        lambda: losses.squared_error(COLUMN, LONG),
        "squared_error: predictions have shape (3, 1), targets",
    ),
    "huber": (
        lambda: losses.huber_loss(ONES, COLUMN),
        "huber_loss: predictions have shape (3,), targets",
    ),
    "delta": (
        lambda: losses.huber_loss(ONES, delta=np.ones(2)),
        "predictions have shape (3,), delta (2,)",
    ),
    "log_cosh": (
        lambda: losses.log_cosh(ONES, COLUMN),
        "log_cosh: predictions have shape (3,), targets (3, 1)",
    ),
    "hinge": (
        lambda: losses.hinge_loss(ONES, COLUMN),
        "hinge_loss: predictor_outputs have shape (3,), targets",
    ),
    "perceptron": (
        lambda: losses.perceptron_loss(ONES, COLUMN),
        "perceptron_loss: predictor_outputs have shape (3,)",
    ),
    "sigmoid": (
        lambda: losses.sigmoid_binary_cross_entropy(ONES, COLUMN),
        "logits have shape (3,), labels (3, 1)",
    ),
    "focal": (
        lambda: losses.sigmoid_focal_loss(ONES, COLUMN),
        "sigmoid_focal_loss: logits have shape (3,), labels",
    ),
    "alpha": (
        lambda: losses.sigmoid_focal_loss(ONES, ONES, alpha=np.ones(2)),
        "logits have shape (3,), alpha (2,)",
    ),
    "integer predictions": (
        lambda: losses.l2_loss(np.arange(3)),
        "l2_loss: predictions must be floating, got int32[3]",
    ),
    "labels first": (
        lambda: losses.softmax_cross_entropy_with_integer_labels(np.array([0, 1]), LONG),
        (
            "softmax_cross_entropy_with_integer_labels: logits must be floating, got int32[2]; the "
            "order is (logits, labels)"
        ),
    ),
    "targets first": (
        lambda: losses.l2_loss(np.arange(3), ONES),
        "predictions must be floating, got int32[3]; the order is (predictions, targets)",
    ),
    "complex targets": (
        lambda: losses.l2_loss(ONES, ONES * 1j),
        "targets must be real, got complex64[3]",
    ),
    "class numbers": (
        lambda: losses.softmax_cross_entropy(LONG, np.array([0, 1])),
        "for class numbers use softmax_cross",
    ),
    "a column of labels": (
        lambda: losses.softmax_cross_entropy(LONG, np.ones((2, 1))),
        "equal along axis -1",
    ),
    "other examples": (
        lambda: losses.softmax_cross_entropy(LONG, np.ones((3, 5))),
        "logits (2, 5), labels (3, 5)",
    ),
    "the mask's shape": (
        lambda: losses.softmax_cross_entropy(LONG, LONG, where=np.ones(5, bool)),
        (
            "softmax_cross_entropy: the shapes must be equal or 1 in every dimension, got logits "
            "(2, 5), where (5, 1)"
        ),
    ),
    "float labels": (
        lambda: losses.softmax_cross_entropy_with_integer_labels(LONG, np.ones(2)),
        "labels must be integers (class numbers), got float32[2]",
    ),
    "labels with an axis too many": (
        lambda: losses.softmax_cross_entropy_with_integer_labels(LONG, np.ones((2, 1), int)),
        (
            "labels must have the shape (2,), the shape of the scores (2, 5) without axis -1, got "
            "(2, 1)"
        ),
    ),
    "one label for two": (
        lambda: losses.multiclass_hinge_loss(LONG, np.array([1])),
        "multiclass_hinge_loss: labels must have the shape (2,)",
    ),
    "integer one-hot": (
        lambda: losses.smooth_labels(np.eye(3, dtype=int), 0.1),
        "labels must be floating, got int32",
    ),
    "kl": (
        lambda: losses.kl_divergence(LONG, LONG[:, :1]),
        "got log_predictions (2, 5), targets (2, 1)",
    ),
    "kl mask": (
        lambda: losses.kl_divergence(LONG, LONG, where=np.ones(5, bool)),
        "log_predictions (2, 5), where (5,)",
    ),
    "cosine": (
        lambda: losses.cosine_similarity(LONG, LONG[0]),
        "got predictions (2, 5), targets (5,)",
    ),
    "axis": (
        lambda: losses.cosine_distance(LONG, LONG, axis=2),
        "cosine_distance: axis 2 is out of range for an array",
    ),
    "embeddings": (
        lambda: losses.ntxent(POINTS, GROUPS[:, None]),
        "ntxent: embeddings must have shape (n, d) and",
    ),
    "one embedding": (
        lambda: losses.ntxent(POINTS[0], GROUPS[:3]),
        "labels (n,), got embeddings (3,) and labels (3,)",
    ),
    "triplet": (
        lambda: losses.triplet_margin_loss(X, Y, Z[0]),
        "anchors (2, 3, 4), positives (2, 3, 4), negatives (3,",
    ),
    "degree": (
        lambda: losses.triplet_margin_loss(X, Y, Z, norm_degree=INF),
        "norm_degree must be finite and at least 1",
    ),
    "paddings": (
        lambda: losses.ctc_loss(LOGITS, PADDED.T, WORDS, WORDS_PADDED),
        "got logits (2, 5, 3), labels (2, 3), logit_paddings (5, 2), label_paddings (2, 3)",
    ),
    "a sequence without batch": (
        lambda: losses.ctc_loss(LOGITS[0], PADDED[0], WORDS, WORDS_PADDED),
        "got logits (5, 3), labels (2, 3), logit_paddings (5,), label_paddings (2, 3)",
    ),
    "words without batch": (
        lambda: losses.ctc_loss(LOGITS, PADDED, WORDS[0], WORDS_PADDED[0]),
        "got logits (2, 5, 3), labels (3,), logit_paddings (2, 5), label_paddings (3,)",
    ),
    "more words than logits": (
        lambda: losses.ctc_loss(LOGITS[:1], PADDED[:1], WORDS, WORDS_PADDED),
        "got logits (1, 5, 3), labels (2, 3), logit_paddings (1, 5), label_paddings (2, 3)",
    ),
    "paddings of words": (
        lambda: losses.ctc_loss(LOGITS, PADDED, WORDS, WORDS_PADDED[:, 1:]),
        "got logits (2, 5, 3), labels (2, 3), logit_paddings (2, 5), label_paddings (2, 2)",
    ),
    "float words": (
        lambda: losses.ctc_loss(LOGITS, PADDED, WORDS * 1.0, WORDS_PADDED),
        "labels must be integers",
    ),
    "blank": (
        lambda: losses.ctc_loss(*TEXT, blank_id=3),
        "blank_id must be one of the 3 classes, got 3",
    ),
    "sparsemax": (
        lambda: losses.sparsemax_loss(ONES, COLUMN),
        "sparsemax_loss: logits have shape (3,), labels (3, 1): nothing is broadcast",
    ),
    "sparsemax of one label for two": (
        lambda: losses.multiclass_sparsemax_loss(LONG, np.array([1])),
        (
            "multiclass_sparsemax_loss: labels must have the shape (2,), the shape of the scores "
            "(2, 5)"
        ),
    ),
    "sparsemax without labels": (
        lambda: losses.multiclass_sparsemax_loss(LONG, None),
        "multiclass_sparsemax_loss: labels must be an array, got None",
    ),
    "sparsemax of a number": (
        lambda: losses.multiclass_sparsemax_loss(1.0, 0),
        "multiclass_sparsemax_loss: axis -1 is out of range for an array of 0 dimensions",
    ),
    "no function": (
        lambda: losses.make_fenchel_young_loss(LONG),
        "make_fenchel_young_loss: max_fun must be a function, got float64[2, 5]; write jax.scipy",
    ),
    "a function of entries": (
        lambda: losses.make_fenchel_young_loss(jnp.exp)(LONG, LONG),
        "fenchel_young_loss: max_fun must return one number for a vector of scores, got float32[5]",
    ),
    "targets of one vector": (
        lambda: losses.make_fenchel_young_loss(jnp.max)(LONG, LONG[0]),
        "fenchel_young_loss: the shapes must be equal along axis -1 and equal or 1 in every",
    ),
    "class numbers of a segmentation": (
        lambda: losses.dice_loss(X, LABELS),
        (
            "dice_loss: predictions have shape (2, 3, 4), targets (2, 3): the shapes must be "
            "equal; nothing is broadcast; for class numbers write jax.nn.one_hot(targets, 4)"
        ),
    ),
    "a segmentation of one image": (
        lambda: losses.multiclass_generalized_dice_loss(X, P[:1]),
        "multiclass_generalized_dice_loss: predictions have shape (2, 3, 4), targets (1, 3, 4)",
    ),
    "a segmentation of a number": (
        lambda: losses.dice_loss(1.0, 1.0),
        "dice_loss: predictions have shape (), targets (): the shapes must be equal",
    ),
    "two classes of one": (
        lambda: losses.binary_dice_loss(LONG, LONG[:, 0]),
        (
            "binary_dice_loss: predictions have shape (2, 5), targets (2,): the shapes must be "
            "equal, with or without a last axis of size 1"
        ),
    ),
    "the axis of the classes": (
        lambda: losses.dice_loss(X, P, axis=(0, -1)),
        "axis must not include the last axis (the classes), got (0, -1) for targets of shape",
    ),
    "the axis of nothing": (
        lambda: losses.dice_loss(X, P, axis=[1, 3]),
        "dice_loss: axis (1, 3) is out of range for an array of 3 dimensions",
    ),
    "class weights": (
        lambda: losses.dice_loss(X, P, class_weights=ONES),
        "class_weights must have the shape (4,), one weight for each class, got (3,)",
    ),
    "reduction": (
        lambda: losses.dice_loss(X, P, reduction=None),
        "dice_loss: reduction must be 'mean', 'sum' or 'none', got None",
    ),
    "smooth": (
        lambda: losses.binary_dice_loss(X, P, smooth=-1),
        "binary_dice_loss: smooth must be at least 0, got -1",
    ),
    "smooth of each class": (
        lambda: losses.multiclass_generalized_dice_loss(X, P, smooth=np.ones(4)),
        "multiclass_generalized_dice_loss: smooth must be one number, got float32[4]",
    ),
    "alpha of nothing": (
        lambda: losses.dice_loss(X, P, alpha=None),
        "dice_loss: alpha must be one number, got None",
    ),
    "beta": (
        lambda: losses.dice_loss(X, P, beta=-0.5),
        "dice_loss: beta must be at least 0, got -0.5",
    ),
    "labels of one list": (
        lambda: losses.ranking_softmax_loss(LONG, LONG[0]),
        "ranking_softmax_loss: the shapes must be equal along axis -1 and equal or 1 in every",
    ),
    "a mask of lists": (
        lambda: losses.ranking_softmax_loss(LONG, LONG, where=np.ones(2, bool)),
        "ranking_softmax_loss: the shapes must be equal or 1 in every dimension, got logits (2, 5)",
    ),
    "weights of lists": (
        lambda: losses.ranking_softmax_loss(LONG, LONG, weights=np.ones(2)),
        "equal or 1 in every dimension, got logits (2, 5), weights (2,)",
    ),
    "the name of a function": (
        lambda: losses.ranking_softmax_loss(LONG, LONG, reduce_fn="mean"),
        "reduce_fn must be a function or None, got str 'mean'; write jnp.mean",
    ),
    "a function without mask": (
        lambda: losses.ranking_softmax_loss(LONG, LONG, reduce_fn=lambda x: x),
        "reduce_fn must take `where` as jnp.mean does, got function <lambda>; or write reduce_fn=",
    ),
}


@pytest.mark.parametrize(("call", "message"), ERRORS.values(), ids=ERRORS.keys())
def test_errors_name_the_arguments_and_their_shapes(call, message):
    with pytest.raises(ValueError) as caught:
        call()
    assert message in str(caught.value)


def test_a_wrong_keyword_is_reported_with_the_name_of_the_loss():
    with pytest.raises(TypeError, match="l2_loss: no argument 'target'; the nearest is targets"):
        losses.l2_loss(ONES, target=ONES)


def test_the_mask_of_examples_and_that_of_classes_are_told_apart_by_their_dimensions(x64):
    square, labels = jnp.asarray(X[0, :, :3]), jnp.asarray(P[0, :, :3])
    rows = jnp.array([True, False, True])
    whole = losses.softmax_cross_entropy(square, labels, where=rows)
    chex.assert_trees_all_equal(
        whole, losses.softmax_cross_entropy(square, labels, where=rows[:, None])
    )
    assert whole[1] == 0 and whole[0] != 0
    assert LABELS.shape == X.shape[:2]
