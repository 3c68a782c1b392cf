"""The losses to compare with their references: arguments in float64, and settings that make every term visible."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optax_lite import losses
from tests.agreement import relative_error
from tests.reference import losses as reference

_rng = np.random.default_rng(0)


def _normal(*shape, size=1.0):
    return size * _rng.normal(size=shape)


def _distribution(*shape):
    weights = _rng.random(shape) + 0.1
    return weights / weights.sum(-1, keepdims=True)


X, Y, Z = (_normal(2, 3, 4) for _ in range(3))
BIG = _normal(2, 3, 4, size=20.0)
P, Q = _distribution(2, 3, 4), _distribution(2, 3, 4)
ZERO = P * (P.max(-1, keepdims=True) > P)  # a distribution with entries 0, short of 1
SIGNS, BITS = np.sign(Y), (Y > 0) * 1.0
ONE_HOT = np.eye(4)[[[0, 1, 2], [3, 3, 0]]]
LABELS = np.array([[0, 1, 2], [3, 3, 0]])
SOME = _rng.random((2, 3, 4)) < 0.6
SOME[:, :, 0] = True
ROWS = np.array([[True, False, True], [False, False, True]])
POINTS, GROUPS = _normal(6, 3), np.array([0, 0, 0, 1, 1, 2])

LOGITS = _normal(2, 5, 3)
PADDED = np.array([[0.0, 0, 0, 0, 0], [0, 0, 0, 1, 1]])
WORDS, WORDS_PADDED = np.array([[1, 1, 2], [2, 0, 0]]), np.array([[0.0, 0, 0], [0, 1, 1]])
TEXT = (LOGITS, PADDED, WORDS, WORDS_PADDED)


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    args: tuple
    settings: dict[str, Any]

    def given(self, dtype: Any) -> tuple:
        """The arguments in a precision; integers and masks as they are."""
        return tuple(jnp.asarray(a, dtype if a.dtype == float else None) for a in map(np.asarray, self.args))

    def expected(self, args: tuple) -> np.ndarray:
        """The reference, on the arguments as rounded."""
        exact = [np.asarray(a, float if jnp.issubdtype(a.dtype, jnp.floating) else a.dtype) for a in args]
        return getattr(reference, self.name)(*exact, **self.settings)

    def error(self, function: Any, dtype: Any) -> float:
        """The relative error of a loss that should be this one."""
        given = self.given(dtype)
        return relative_error(jax.jit(lambda *a: function(*a, **self.settings))(*given), self.expected(given))

    def error_and_slopes(self, function: Any, dtype: Any) -> tuple[float, tuple]:
        """The same, and the gradients of the sum of the losses with respect to every floating argument."""

        def total(*args):
            loss = function(*args, **self.settings)
            return jnp.sum(loss), loss

        given = self.given(dtype)
        places = tuple(i for i, a in enumerate(given) if jnp.issubdtype(a.dtype, jnp.floating))
        slopes, loss = jax.jit(jax.grad(total, places, has_aux=True))(*given)
        return relative_error(loss, self.expected(given)), slopes


def _cases(name, *calls):
    return [
        Case(name, call, {}) if isinstance(call, tuple) else Case(name, call["args"], call["with"]) for call in calls
    ]


def at(*args, **settings):
    """A call with settings."""
    return {"args": args, "with": settings}


CASES = [
    *_cases("squared_error", (X, Y), (X,), (X, np.array(0.5))),
    *_cases("l2_loss", (X, Y), (X,), (X, np.array(0.5))),
    *_cases("huber_loss", (X, Y), (BIG, Y), at(X, Y, delta=0.3), at(X, delta=2.0), at(BIG, np.array(1.5), delta=7.0)),
    *_cases("log_cosh", (X, Y), (BIG, Y), (X,)),
    *_cases("hinge_loss", (X, SIGNS), (BIG, SIGNS), (X, BITS), (X, np.array(-1.0))),
    *_cases("perceptron_loss", (X, SIGNS), (BIG, SIGNS), (X, BITS)),
    *_cases("sigmoid_binary_cross_entropy", (X, BITS), (X, P), (BIG, BITS), (BIG, P), (X, np.array(1.0))),
    *_cases(
        "sigmoid_focal_loss",
        *((X, BITS), (X, P), (BIG, BITS), at(X, BITS, alpha=0.3), at(X, P, alpha=0.25, gamma=0.5)),
        *(at(X, P, gamma=0.0), at(BIG, P, alpha=0.9, gamma=1.0), at(X, BITS, gamma=5.0)),
    ),
    *_cases(
        "softmax_cross_entropy",
        *((X, P), (X, ONE_HOT), (BIG, P), (X, 3 * P), (X[:1], P), at(X, P, axis=0), at(X, P, axis=(0, -1))),
        *(at(X, P, axis=None), at(X, P, where=SOME), at(X, P, where=ROWS), at(X, P, axis=1, where=SOME[:, 0])),
        *(at(X, P, where=ROWS[..., None]), at(X, P, axis=(0, 2), where=SOME)),
    ),
    *_cases("safe_softmax_cross_entropy", (X, P), (BIG, ONE_HOT), (X, ZERO)),
    *_cases(
        "softmax_cross_entropy_with_integer_labels",
        *((X, LABELS), (BIG, LABELS), (X[0, 0], np.array(2)), (X, LABELS.astype(np.uint8))),
        *(at(X, LABELS[:, :, None].repeat(4, 2)[:, 0] % 3, axis=1), at(X, np.array([0, 7, 3]), axis=(0, 2))),
        *(at(X, np.array([0, 7, 3]), axis=(2, 0)), at(X, np.array([0, 7, 3]), axis=(-1, -3))),
        *(at(X, LABELS, axis=2, where=ROWS), at(X, 0 * LABELS, where=SOME), at(X, LABELS, where=ROWS[..., None])),
    ),
    *_cases(
        "poly_loss_cross_entropy",
        *((X, P), (BIG, ONE_HOT), at(X, P, epsilon=-1.0), at(X, ONE_HOT, epsilon=0.5, axis=0)),
        *(at(X, P, where=SOME), at(X, P, axis=(1, 2), where=SOME)),
    ),
    *_cases(
        "smooth_labels",
        *(at(ONE_HOT, alpha=0.1), at(P, alpha=0.7), at(ONE_HOT, alpha=0.2, axis=(0, 1)), at(P, alpha=0.2, axis=None)),
        *(at(ONE_HOT, alpha=0.3, where=SOME), at(ONE_HOT, alpha=0.3, where=SOME[:1, :1], axis=2)),
        at(ONE_HOT, alpha=0.3, where=ONE_HOT == 1),
    ),
    *_cases("multiclass_hinge_loss", (X, LABELS), (BIG, LABELS), (X[0, 0], np.array(1)), (0.1 * X, LABELS)),
    *_cases("multiclass_perceptron_loss", (X, LABELS), (BIG, LABELS), (X[0, 0], np.array(1))),
    *_cases(
        "kl_divergence",
        *((np.log(Q), P), (np.log(Q), ZERO), (X, 2 * P), (np.log(Q[:1]), P), at(np.log(Q), P, axis=0)),
        *(at(np.log(Q), P, axis=(1, 2)), at(X, P, where=SOME), at(X, ZERO, axis=None, where=SOME)),
    ),
    *_cases(
        "kl_divergence_with_log_targets",
        *((np.log(Q), np.log(P)), (X, Y), at(np.log(Q), Y, axis=(0, 1)), at(X, Y, where=SOME)),
    ),
    *_cases(
        "generalized_kl_divergence",
        *((np.log(Q), P), (X, 2 * P), (X, ZERO), at(X, P, axis=0), at(X, P, where=SOME), at(X, P, axis=None)),
    ),
    *_cases("convex_kl_divergence", (np.log(Q), P)),
    *_cases(
        "cosine_similarity",
        *((X, Y), (BIG, Y), (X[:, :, None], Y[:, None]), at(X, Y, epsilon=4.0), at(X, Y, epsilon=4.0, axis=0)),
        *(at(X, Y, axis=(0, 2)), at(X, Y, axis=None), at(X, Y, where=SOME), at(X, Y, where=SOME[:1], axis=1)),
    ),
    *_cases("cosine_distance", (X, Y), at(X, Y, epsilon=4.0, axis=1), at(X, Y, where=SOME)),
    *_cases("ntxent", at(POINTS, GROUPS, temperature=0.5), at(POINTS, GROUPS % 2), at(POINTS[:4], GROUPS[1:5])),
    *_cases(
        "triplet_margin_loss",
        *((X, Y, Z), at(X, Y, Z, margin=3.0), at(X, Y, Z, axis=1, margin=3.0), at(X, Y[:1], Z, margin=3.0, eps=0.5)),
        *(at(X, Y, Z, norm_degree=1, margin=9.0), at(X, Y, Z, norm_degree=3, margin=3.0), (X, X + 0.1, Z)),
    ),
    *_cases(
        "ctc_loss",
        *(
            TEXT,
            (LOGITS, 0 * PADDED, np.array([[2, 1, 1], [1, 2, 1]]), 0 * WORDS_PADDED),
            (LOGITS, PADDED[:, ::-1] == 1, WORDS, WORDS_PADDED == 1),
        ),
        *((LOGITS, PADDED, WORDS, 0 * WORDS_PADDED + 1), at(LOGITS, PADDED, 0 * WORDS, WORDS_PADDED, blank_id=2)),
        *((LOGITS, PADDED, WORDS[:, :0], WORDS_PADDED[:, :0]), (4 * LOGITS, PADDED, WORDS[:, 1:], WORDS_PADDED[:, 1:])),
    ),
]
FUNCTIONS = {name: getattr(losses, name) for name in dict.fromkeys(case.name for case in CASES)}


# --- where naive formulas have no value or no slope ------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Hard:
    name: str
    args: list[np.ndarray]
    settings: dict[str, Any]
    value: Any
    slopes: list  # with respect to the arguments
    floor: float = 0.3  # below it errors are absolute

    def error(self, function: Any) -> float:
        """The largest relative error of the loss and its slopes; NaN counts as infinite."""
        args = [jnp.asarray(a, jnp.float32) for a in self.args]

        def total(*args):
            loss = function(*args, **self.settings)
            return jnp.sum(loss), loss

        slopes, loss = jax.jit(jax.grad(total, tuple(range(len(args))), has_aux=True))(*args)
        worst = 0.0
        for found, expected in zip([loss, *slopes], [self.value, *self.slopes], strict=True):
            found, expected = np.asarray(found, float), np.asarray(expected, float)
            assert found.shape == expected.shape
            errors = np.abs(found - expected) / np.maximum(np.abs(expected), self.floor)
            worst = max(worst, float(np.max(np.where(np.isnan(errors), np.inf, errors))))
        return worst


INF = math.inf
ZEROS, ONES = np.zeros(3), np.ones(3)
HALVES = np.array([0.0, 0.5, 0.5])
FAR = np.array([1e4, 1e4, -1e4, -1e4, 0.0])
RIGHT = np.array([1.0, 0, 1, 0, 0.5])
MASKED = np.array([-INF, 1.0, 2.0])
NEVER = np.array([False, False, False])
ONE_OF_TWO = math.log1p(math.exp(-1.0))  # -log of the softmax of (1, 2) at 2
P2 = 1 / (1 + math.exp(-1.0))

HARD = {
    "huber at delta": Hard("huber_loss", [np.array([-1.0, 1.0, 0.0, 3.0])], {}, [0.5, 0.5, 0, 2.5], [[-1, 1, 0, 1]]),
    "log_cosh": Hard(
        "log_cosh",
        [np.array([0.0, 1e-5, 1, 1e4, -3e38])],
        {},
        [0, 5e-11, math.log(math.cosh(1)), 1e4 - math.log(2), 3e38],
        [[0, 1e-5, math.tanh(1), 1, -1]],
        floor=1e-12,
    ),
    "hinge at its corner": Hard("hinge_loss", [np.array([1.0, 2.0])], {"targets": 1.0}, [0, 0], [[-0.5, 0]]),
    "sigmoid far away": Hard(
        "sigmoid_binary_cross_entropy",
        [FAR, RIGHT],
        {},
        [0, 1e4, 1e4, 0, math.log(2)],
        [[0, 1, -1, 0, 0], [-1e4, -1e4, 1e4, 1e4, 0]],
    ),
    "sigmoid sure and right": Hard(
        "sigmoid_binary_cross_entropy",
        [np.array([30.0, -30.0])],
        {"labels": np.array([1.0, 0.0])},
        [math.exp(-30), math.exp(-30)],
        [[-math.exp(-30), math.exp(-30)]],
        floor=1e-15,
    ),
    "sigmoid at infinity": Hard(
        "sigmoid_binary_cross_entropy", [np.array([INF, -INF])], {"labels": np.array([1.0, 0.0])}, [0, 0], [[0, 0]]
    ),
    "focal far away": Hard(
        "sigmoid_focal_loss",
        [FAR],
        {"labels": RIGHT, "gamma": 0.5, "alpha": 0.25},
        [0, 0.75e4, 0.25e4, 0, 0.5 * 0.5**0.5 * math.log(2)],
        [[0, 0.75, -0.25, 0, 0]],
    ),
    "a class of probability 0": Hard(
        "softmax_cross_entropy",
        [MASKED, np.array([0.0, 0, 1])],
        {},
        ONE_OF_TWO,
        [[0, 1 - P2, P2 - 1], [0, ONE_OF_TWO + 1, ONE_OF_TWO]],
    ),
    "a class of probability 0, by number": Hard(
        "softmax_cross_entropy_with_integer_labels", [MASKED], {"labels": 2}, ONE_OF_TWO, [[0, 1 - P2, P2 - 1]]
    ),
    "a masked NaN": Hard(
        "softmax_cross_entropy",
        [np.array([math.nan, 1.0, 2.0]), np.array([math.nan, 0, 1])],
        {"where": ~np.isnan([math.nan, 1, 2])},
        ONE_OF_TWO,
        [[0, 1 - P2, P2 - 1], [0, ONE_OF_TWO + 1, ONE_OF_TWO]],
    ),
    "no class": Hard("softmax_cross_entropy", [ONES, ONES], {"where": NEVER}, 0, [ZEROS, ZEROS]),
    "no class by number": Hard(
        "softmax_cross_entropy_with_integer_labels", [ONES], {"labels": 1, "where": NEVER}, 0, [ZEROS]
    ),
    "poly without a class": Hard("poly_loss_cross_entropy", [ONES, ONES], {"where": NEVER}, 0, [ZEROS, ZEROS]),
    "poly with a class of probability 0": Hard(
        "poly_loss_cross_entropy",
        [MASKED],
        {"labels": np.array([0.0, 0, 1]), "epsilon": 1.0},
        ONE_OF_TWO + 1 - P2,
        [[0, (1 - P2) * (1 + P2), (P2 - 1) * (1 + P2)]],
    ),
    "kl at 0": Hard("kl_divergence", [np.log(HALVES + 1e-30), HALVES], {}, 0, [-HALVES, [30 * math.log(10), 1, 1]]),
    "kl of impossible and never": Hard(
        "kl_divergence", [np.array([-INF, math.log(0.5), math.log(0.5)]), HALVES], {}, 0, [-HALVES, [0, 1, 1]]
    ),
    "kl of logs at -inf": Hard(
        "kl_divergence_with_log_targets", [np.array([-INF, math.log(0.5), math.log(0.5)])] * 2, {}, 0, [-HALVES, HALVES]
    ),
    "kl of a masked NaN": Hard(
        "kl_divergence",
        [np.array([math.nan, 0.0]), np.array([math.nan, 1.0])],
        {"where": np.array([False, True])},
        0,
        [[0, -1], [0, 1]],
    ),
    "generalized kl at 0": Hard("generalized_kl_divergence", [ZEROS, ZEROS], {}, 3, [ONES, -ONES]),
    "cosine of nothing": Hard("cosine_similarity", [ZEROS, ONES], {}, 0, [ZEROS, ZEROS]),
    "cosine of nothing twice": Hard("cosine_distance", [ZEROS, ZEROS], {}, 1, [ZEROS, ZEROS]),
    "cosine near nothing": Hard(
        "cosine_similarity", [ZEROS, np.array([2.0, 0, 0])], {"epsilon": 0.25}, 0, [[2, 0, 0], ZEROS]
    ),
    "cosine of a masked NaN": Hard(
        "cosine_similarity",
        [np.array([math.nan, 2.0]), np.array([1.0, 3.0])],
        {"where": np.array([False, True])},
        1,
        [[0, 0], [0, 0]],
    ),
    "ntxent without pairs": Hard("ntxent", [np.eye(3)], {"labels": np.arange(3)}, 0, [np.zeros((3, 3))]),
    "ntxent without negatives": Hard("ntxent", [np.eye(3)], {"labels": np.zeros(3, int)}, 0, [np.zeros((3, 3))]),
    "ntxent of nothing": Hard(
        "ntxent", [np.zeros((4, 2))], {"labels": np.array([0, 0, 1, 1])}, math.log(3), [np.zeros((4, 2))]
    ),
    "triplet of one point": Hard("triplet_margin_loss", [ONES, ONES, ONES], {"eps": 0.0}, 1, [ZEROS, ZEROS, ZEROS]),
    "triplet of two points": Hard(
        "triplet_margin_loss",
        [ONES, ONES, ZEROS],
        {"eps": 0.0, "margin": 2.0},
        2 - math.sqrt(3),
        [-ONES / math.sqrt(3), ZEROS, ONES / math.sqrt(3)],
    ),
    "triplet of one point, degree 1": Hard(
        "triplet_margin_loss", [ONES, ONES, ONES], {"eps": 0.0, "norm_degree": 1}, 1, [ZEROS, ZEROS, ZEROS]
    ),
}
