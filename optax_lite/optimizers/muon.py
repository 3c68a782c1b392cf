"""Muon: momentum made orthogonal, matrix by matrix."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optax_lite._transforms.decay import add_decayed_weights
from optax_lite._transforms.scale import scale_by_learning_rate
from optax_lite.core.compose import chain, partition
from optax_lite.core.config import hashable
from optax_lite.core.leafwise import increment, leafwise, zero_count, zeros_like
from optax_lite.core.matrices import adjoint, check_matrices, dimension_numbers, on_matrices
from optax_lite.core.norms import norm
from optax_lite.core.numerics import bias_correction_factor, moving_average, over, sqrt
from optax_lite.core.scalars import power_of_two
from optax_lite.core.transform import Array, EmptyState, PyTree, transform
from optax_lite.core.trees import is_missing, show_leaf
from optax_lite.core.types import DTypeLike, Mask, ScalarOrSchedule
from optax_lite.core.validate import (
    ArgumentError,
    check_count,
    check_nonnegative,
    check_unit_interval,
)
from optax_lite.errors.calls import usage
from optax_lite.optimizers.adam import adamw

_STANDARD = (3.4445, -4.775, 2.0315)
_DION = (
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)
_PRESETS = {"standard": _STANDARD, "dion": _DION}


class MuonState(NamedTuple):
    count: Array  # updates so far, int32
    mu: PyTree  # moving average of g
    ns_coeffs: Array  # (a, b, c), or one such for each step, as optax keeps them; not read


def _spectral_norm(x):
    return jnp.max(jnp.linalg.svdvals(jax.lax.stop_gradient(x)), axis=-1, initial=0)[
        ..., None, None
    ]


_BOUNDS = {  # of the singular values of matrices (..., m, n), m ≤ n; "aol" has one for each row
    "frobenius": lambda x: norm(x, axis=(-2, -1)),
    "spectral": _spectral_norm,
    "aol": lambda x: sqrt(jnp.sum(jnp.abs(x @ adjoint(x)), axis=-1, keepdims=True)),
    "schatten": lambda x: sqrt(norm(x @ adjoint(x), axis=(-2, -1))),
}


def _newton_schulz(x, steps, eps, bound, dtype):
    """Make matrices (..., m, n) orthogonal by steps X ← aX + (bA + cA²)X with A = XXᵀ, on the
    smaller side.
    """
    if x.shape[-2] > x.shape[-1]:
        return adjoint(_newton_schulz(adjoint(x), steps, eps, bound, dtype))
    # In units in which the largest entry is near 1: the gram of a bound has the entries' fourth
    # powers in its norm.
    largest = jnp.max(jnp.abs(jax.lax.stop_gradient(x)), axis=(-2, -1), keepdims=True, initial=0)
    x = x * power_of_two(largest)
    made = over(x, bound(x) * (1 + eps)).astype(dtype or x.dtype)
    for a, b, c in steps:
        gram = made @ adjoint(made)
        made = a * made + (b * gram + c * gram @ gram) @ made
    return made.astype(x.dtype)


def _steps(ns_coeffs, ns_steps):
    """List (a, b, c) for every Newton-Schulz step."""
    steps = _PRESETS.get(ns_coeffs, ()) if isinstance(ns_coeffs, str) else ns_coeffs
    if not (isinstance(steps, tuple) and any(isinstance(step, tuple) for step in steps)):
        steps = (steps,) * ns_steps
    if not all(isinstance(step, tuple) and len(step) == 3 for step in steps):
        raise ArgumentError(
            "ns_coeffs must be (a, b, c), a list of these, one for each step, or one of "
            f"{', '.join(_PRESETS)}, got {ns_coeffs!r}"
        )
    return steps


def _bound(preconditioning: str):
    if preconditioning not in _BOUNDS:
        raise ArgumentError(
            f"preconditioning must be one of {', '.join(_BOUNDS)}, got {preconditioning!r}"
        )
    return _BOUNDS[preconditioning]


@usage(
    "orthogonalize(x, ns_steps=5)",
    steps="write ns_steps=",
    num_steps="write ns_steps=",
    coeffs="write ns_coeffs=",
    ns_dtype="write dtype=",
)
def orthogonalize(
    x: Array,
    ns_coeffs: tuple | str = _STANDARD,
    ns_steps: int = 5,
    eps: float = 1e-8,
    *,
    preconditioning: str = "frobenius",
    dtype: DTypeLike | None = None,
) -> Array:
    """Return approximately UVᵀ for every matrix USVᵀ, by Newton-Schulz steps. Jordan et al. 2024.

        X ← x / (bound·(1 + eps)),  then ns_steps times  X ← aX + (bA + cA²)X,  A = XXᵀ

    `muon` applies this to its momentum; use it in methods of your own. The standard coefficients
    bring singular values to about 0.7 to 1.2; (1.875, -1.25, 0.375) converge to 1.

    Args:
        x: A matrix, or a stack of them, of shape (..., m, n).
        ns_coeffs: (a, b, c), one such triple for each step, "standard" or "dion" (Ahn et al. 2025).
        ns_steps: Number of steps, an integer of at least 1, where `ns_coeffs` is one triple.
        eps: Share of the bound that is added to it; at least 0.
        preconditioning: Bound of the singular values: "frobenius", "spectral", "schatten" or "aol".
        dtype: Dtype of the steps, such as `jnp.bfloat16`; None for the dtype of `x`.
    """
    if jnp.ndim(x) < 2:
        raise ArgumentError(f"x must have at least two axes, got {show_leaf(x):.60}")
    check_count(ns_steps=ns_steps)
    check_nonnegative(eps=eps)
    steps, bound = _steps(ns_coeffs, ns_steps), _bound(preconditioning)
    return _newton_schulz(jnp.asarray(x), steps, eps, bound, dtype)


@transform(static=("ns_steps", "mu_dtype", "weight_dimension_numbers", "ns_dtype"))
def scale_by_muon(
    ns_coeffs: tuple | str = _STANDARD,
    ns_steps: int = 5,
    beta: ScalarOrSchedule = 0.95,
    eps: ScalarOrSchedule = 1e-8,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = True,
    adaptive: bool = False,
    preconditioning: str = "frobenius",
    weight_dimension_numbers: PyTree = None,
    ns_dtype: DTypeLike | None = None,
):
    """Make the average gradient nearly orthogonal, matrix by matrix. Jordan et al. 2024.

        G ← UVᵀ, nearly, where USVᵀ is the corrected moving average m̂ of G

    `ns_steps` Newton-Schulz steps X ← aX + (bA + cA²)X, A = XXᵀ, start from m̂ / (bound·(1 + eps))
    and bring the singular values to about 0.7 to 1.2. `preconditioning` chooses the bound of the
    singular values; a tighter one saves a step: "frobenius" or "spectral" norm (the latter by an
    SVD); "schatten", the norm of order 4 (Grishina et al. 2025); or "aol", √Σⱼ|Aᵢⱼ| for every row
    (Boissin et al. 2025).

    A leaf must have two axes, unless `weight_dimension_numbers` (as in `muon`) names those of its
    matrix. The other axes stack matrices: layers stacked for `jax.lax.scan` are orthogonalized one
    by one. The update does not depend on the size of the gradient (optax adds eps), and a zero
    gradient gives a zero update. The coefficients are hyperparameters; the state has a copy because
    optax's state has one.

    Args:
        ns_coeffs: Coefficients (a, b, c) of the steps, one such triple for each step, an array of
            either, "standard" or "dion" (Ahn et al. 2025).
        ns_steps: Number of Newton-Schulz steps, an integer of at least 1.
        beta: Decay of the moving average of gradients, in [0, 1).
        eps: Share of the bound that is added to it; at least 0.
        mu_dtype: Dtype in which the average of gradients is stored; None for the parameters' own.
        nesterov: Use Nesterov momentum, which looks one step ahead.
        adaptive: Multiply by ⟨m̂, result⟩, matrix by matrix (Bernstein & Newhouse 2024).
        preconditioning: Bound of the singular values: "frobenius", "spectral", "schatten" or "aol".
        weight_dimension_numbers: Axes of each leaf's matrix, in the forms that `muon` takes.
        ns_dtype: Dtype of the steps alone: bfloat16 in Jordan's code, None for that of the rest.
    """
    check_unit_interval(beta=beta)
    check_count(ns_steps=ns_steps)
    steps, bound = _steps(ns_coeffs, ns_steps), _bound(preconditioning)

    def kept():
        given = _PRESETS.get(ns_coeffs, ()) if isinstance(ns_coeffs, str) else ns_coeffs
        numbers = [jnp.asarray(x, jnp.float32) for x in jax.tree.leaves(given)]
        return jnp.stack(numbers).reshape((3,) if len(numbers) == 3 else (-1, 3))

    def update(updates, state):
        t = increment(state.count)
        c, c_next = bias_correction_factor(beta, t), bias_correction_factor(beta, increment(t))

        def momentum(g, m):
            m = moving_average(beta, m, g)
            return (beta * m / c_next + (1 - beta) * g / c if nesterov else m / c), m

        def orthogonal(m):
            made = _newton_schulz(m, steps, eps, bound, ns_dtype)
            dual_norm = jnp.sum((jnp.conj(m) * made).real, axis=(-2, -1), keepdims=True)
            return dual_norm * made if adaptive else made

        updates, mu = leafwise(momentum, updates, state.mu)
        made = on_matrices(orthogonal, updates, weight_dimension_numbers)
        return made, MuonState(t, mu, kept())

    def init(params):
        check_matrices(params, weight_dimension_numbers)  # now, not after the first gradient
        return MuonState(zero_count(), zeros_like(params, mu_dtype), kept())

    return init, update


@transform(static=("numbers",))
def _scale_by_shape(numbers, consistent_rms: ScalarOrSchedule | None = None):
    """Make a step's effect, or its root mean square, independent of the shape (m, n) of the
    matrix.
    """

    def rule(x):
        m, n = x.shape[-2:]
        return (
            max(1, n / max(m, 1)) ** 0.5
            if consistent_rms is None
            else max(m, n) ** 0.5 * consistent_rms
        ) * x

    def update(updates, state):
        return on_matrices(rule, updates, numbers), state

    return lambda params: EmptyState(), update


def _label(tree, numbers):
    """Label every leaf "muon" if it has dimension numbers, else "adam"."""
    treedef = jax.tree.structure(tree, is_leaf=is_missing)
    return treedef.unflatten(
        ["adam" if n is None else "muon" for n in dimension_numbers(numbers, tree)]
    )


class _Labels:
    """`_label` as a function of the tree alone; an object, so that equal muons have equal
    labels.
    """

    def __init__(self, numbers: Any):
        self.numbers = numbers

    def __call__(self, tree: PyTree) -> PyTree:
        return _label(tree, self.numbers)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Labels) and hashable(self.numbers) == hashable(other.numbers)

    def __hash__(self) -> int:
        return hash(hashable(self.numbers))


@transform(
    static=(
        "ns_steps",
        "mu_dtype",
        "weight_decay_mask",
        "muon_weight_dimension_numbers",
        "ns_dtype",
    )
)
def muon(
    learning_rate: ScalarOrSchedule,
    ns_coeffs: tuple | str = _STANDARD,
    ns_steps: int = 5,
    beta: ScalarOrSchedule = 0.95,
    eps: ScalarOrSchedule = 1e-8,
    weight_decay: ScalarOrSchedule = 0.0,
    weight_decay_mask: Mask | None = None,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = True,
    adaptive: bool = False,
    preconditioning: str = "frobenius",
    adam_b1: ScalarOrSchedule = 0.9,
    adam_b2: ScalarOrSchedule = 0.999,
    adam_eps_root: ScalarOrSchedule = 0.0,
    adam_weight_decay: ScalarOrSchedule = 0.0,
    adam_learning_rate: ScalarOrSchedule | None = None,
    muon_weight_dimension_numbers: PyTree = None,
    consistent_rms: ScalarOrSchedule | None = None,
    ns_dtype: DTypeLike | None = None,
):
    """Update matrices by orthogonalized momentum, other leaves by AdamW. Jordan et al. 2024.

        W ← W - lr·(√max(1, n/m)·UVᵀ + weight_decay·W) for matrices (m, n)

    `scale_by_muon` makes UVᵀ. A matrix (m, n) maps m inputs to n outputs, x·W. Embeddings, output
    layers and everything that is not a matrix are better left to AdamW.

    `muon_weight_dimension_numbers` selects Muon's leaves: None takes all with two axes; path
    patterns select among those, as in `["!embed*", "!head"]` (see `masked`); a tree has
    `MuonDimensionNumbers` for Muon's leaves and None for AdamW's, and one of them may stand for a
    whole subtree; a function makes such a tree from the params.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        ns_coeffs: Coefficients (a, b, c) of the steps, one such triple for each step, an array of
            either, "standard" or "dion" (Ahn et al. 2025).
        ns_steps: Number of Newton-Schulz steps, an integer of at least 1.
        beta: Decay of the moving average of gradients, in [0, 1).
        eps: Added to the denominator; at least 0. For matrices it is a share of their bound.
        weight_decay: Decoupled weight decay; the learning rate multiplies it.
        weight_decay_mask: Leaves that decay: path patterns, a tree of bools or a function that
            makes one of the params (see `masked`); None for all.
        mu_dtype: Dtype in which the average of gradients is stored; None for the parameters' own.
            Applies to both methods.
        nesterov: Use Nesterov momentum, which looks one step ahead. Applies to both methods.
        adaptive: Multiply by ⟨m̂, result⟩, matrix by matrix (Bernstein & Newhouse 2024).
        preconditioning: Bound of the singular values: "frobenius", "spectral", "schatten" or "aol".
        adam_b1: The `b1` of AdamW, in [0, 1).
        adam_b2: The `b2` of AdamW, in [0, 1).
        adam_eps_root: The `eps_root` of AdamW, at least 0.
        adam_weight_decay: The `weight_decay` of AdamW.
        adam_learning_rate: The learning rate of AdamW; None for `learning_rate`.
        muon_weight_dimension_numbers: Leaves that Muon trains, and the axes of their matrices.
        consistent_rms: Factor r of r·√max(m, n), or None for √max(1, n/m); 0.2 makes updates of
            AdamW's size, so that one rate and decay serve both (Liu et al. 2025).
        ns_dtype: Dtype of the steps alone: bfloat16 in Jordan's code, None for that of the rest.

    Examples:
        >>> matrices = ["!embed*", "!head"]  # the others get Adam
        >>> tx = muon(2e-2, adam_learning_rate=3e-4, muon_weight_dimension_numbers=matrices)
    """
    numbers = muon_weight_dimension_numbers
    how = {
        "nesterov": nesterov,
        "adaptive": adaptive,
        "preconditioning": preconditioning,
        "ns_dtype": ns_dtype,
    }
    of_matrices = chain(
        scale_by_muon(
            ns_coeffs, ns_steps, beta, eps, mu_dtype, weight_dimension_numbers=numbers, **how
        ),
        _scale_by_shape(numbers, consistent_rms),
        add_decayed_weights(weight_decay, weight_decay_mask),
        scale_by_learning_rate(learning_rate),
    )
    adam_rate, decay = (
        learning_rate if adam_learning_rate is None else adam_learning_rate,
        adam_weight_decay,
    )
    mask = weight_decay_mask
    of_others = adamw(
        adam_rate, adam_b1, adam_b2, eps, adam_eps_root, mu_dtype, decay, mask, nesterov=nesterov
    )
    return partition({"muon": of_matrices, "adam": of_others}, _Labels(numbers))
