"""Eigenvalues, matrix roots and least squares, which optax offers next to its optimizers."""

import functools
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optax_lite.core.leafwise import cast_up, compute_dtype
from optax_lite.core.norms import global_norm
from optax_lite.core.numerics import over, weak_typed
from optax_lite.core.trees import show_leaf
from optax_lite.core.types import Array, Number, PyTree
from optax_lite.core.validate import check_count
from optax_lite.errors.calls import errors_named


def _square(name: str, matrix: Any) -> Array:
    shape = jnp.shape(matrix)
    if len(shape) != 2 or shape[0] != shape[1]:
        raise ValueError(f"{name}: matrix must be a square matrix, got {show_leaf(matrix):.60}")
    return cast_up(jnp.asarray(matrix), compute_dtype(jnp.asarray(matrix)))


def power_iteration(
    matrix: Array | Callable[[PyTree], PyTree],
    *,
    v0: PyTree = None,
    num_iters: int = 100,
    error_tolerance: float = 1e-6,
    precision: jax.lax.PrecisionLike = jax.lax.Precision.HIGHEST,
    key: Array | None = None,
) -> tuple[Array, PyTree]:
    """Find the eigenvalue of largest magnitude and its eigenvector, by repeated multiplication.

        v ← A·v / ‖A·v‖,  λ = v·(A·v)   (von Mises & Pollaczek-Geiringer 1929)

    Args:
        matrix: A square matrix, or a function v -> A·v of a tree v.
        v0: Starting vector or tree; required for a function, None for a random one.
        num_iters: Largest number of multiplications, an integer of at least 1.
        error_tolerance: Relative change of λ at or under which the iteration stops.
        precision: Precision of the multiplication by a matrix, as `jax.lax.dot` takes it.
        key: Random key for the start; None for `jax.random.key(0)`.

    Returns:
        The eigenvalue and the eigenvector of norm 1. If different eigenvalues share the largest
        magnitude, the iteration has no limit.
    """
    with errors_named("power_iteration"):
        check_count(num_iters=num_iters)
    if callable(matrix):
        if v0 is None:
            raise ValueError(
                "power_iteration: for a function, pass v0=, a tree that the function accepts"
            )
        multiply: Callable = matrix
    else:
        a = _square("power_iteration", matrix)
        multiply = functools.partial(jnp.matmul, a, precision=precision)
        if v0 is None:
            key = jax.random.key(0) if key is None else key
            v0 = jax.random.uniform(key, a.shape[:1], jnp.finfo(a.dtype).dtype, -1.0, 1.0)
            v0 = v0.astype(a.dtype)

    def scaled(v):
        length = global_norm(v)
        return jax.tree.map(lambda x: over(x, length.astype(x.real.dtype)), v)

    def inner(u, v):
        pairs = zip(*map(jax.tree.leaves, (u, v)), strict=True)
        return functools.reduce(operator.add, (jnp.vdot(x, y).real for x, y in pairs))

    def step(carry):
        i, v, before, _ = carry
        product = multiply(v)
        value = inner(v, product)
        return i + 1, scaled(product), value, jnp.abs(value - before)

    def goes_on(carry):
        i, _, value, change = carry
        return (i < num_iters) & (change > weak_typed(error_tolerance) * jnp.abs(value))

    start = scaled(v0)
    zero = jnp.zeros_like(inner(start, start))
    _, vector, value, _ = jax.lax.while_loop(goes_on, step, (0, start, zero, zero + jnp.inf))
    return value, vector


def matrix_inverse_pth_root(
    matrix: Array,
    p: int,
    num_iters: int = 100,
    ridge_epsilon: float = 1e-6,
    error_tolerance: float = 1e-6,
    precision: jax.lax.PrecisionLike = jax.lax.Precision.HIGHEST,
) -> tuple[Array, Array]:
    """Compute (A + ridge_epsilon·λ_max·I)^(-1/p) of a symmetric matrix, from its eigenvalues.

    Args:
        matrix: A symmetric, positive semi-definite matrix of shape (n, n).
        p: Order of the root, an integer of at least 1.
        num_iters: Not used, since nothing is iterated; accepted because optax has it.
        ridge_epsilon: Share of the largest eigenvalue that is added to the diagonal.
        error_tolerance: Not used either.
        precision: Precision of the products of the eigenvectors, as `jax.lax.dot` takes it.

    Returns:
        The root X, in the dtype of the matrix, at least float32, and the largest entry of
        |Xᵖ·(A + ridge) - I|.
    """
    del num_iters, error_tolerance
    with errors_named("matrix_inverse_pth_root"):
        check_count(p=p)
    matrix = _square("matrix_inverse_pth_root", matrix)
    values, vectors = jnp.linalg.eigh(matrix)
    ridge = weak_typed(ridge_epsilon) * jnp.max(values)
    values = jnp.maximum(values, 0) + ridge
    scaled = vectors * (values ** (-1.0 / p))[None, :].astype(vectors.dtype)
    root = jnp.matmul(scaled, vectors.conj().T, precision=precision)
    identity = jnp.eye(len(matrix), dtype=matrix.dtype)
    power = functools.reduce(functools.partial(jnp.matmul, precision=precision), [root] * p)
    left = jnp.matmul(power, matrix + ridge * identity, precision=precision) - identity
    return root, jnp.max(jnp.abs(left))


def nnls(A: Array, b: Array, iters: int, unroll: int | bool = 1, L: Number | None = None) -> Array:
    """Minimize ‖A·x - b‖₂ over x ≥ 0 by accelerated projected gradient descent.

        x' = max(y - Aᵀ(A·y - b) / L, 0),  t' = (1 + √(1 + 4t²)) / 2
        y' = x' + (t - 1) / t'·(x' - x)

    Beck & Teboulle 2009, "A fast iterative shrinkage-thresholding algorithm", section 4.

    Args:
        A: A real matrix of shape (m, n).
        b: Right-hand side of shape (m,), or (m, k) for k problems at once.
        iters: Number of iterations, an integer of at least 1.
        unroll: Number of iterations that `jax.lax.scan` unrolls.
        L: The largest eigenvalue of AᵀA, or an upper bound; None for the Frobenius norm of AᵀA.

    Returns:
        x, of shape (n,) or (n, k).
    """
    with errors_named("nnls"):
        check_count(iters=iters)
    A, b = jnp.asarray(A), jnp.asarray(b)
    if A.ndim != 2 or b.ndim not in (1, 2) or A.shape[0] != b.shape[0]:
        raise ValueError(
            f"nnls: A of shape {A.shape} and b of shape {b.shape} must be (m, n) and (m,) or (m, k)"
        )
    dtype = compute_dtype(A, b)
    A, b = cast_up(A, dtype), cast_up(b, dtype)
    gram, target = A.T @ A, A.T @ b
    bound = jnp.sqrt(jnp.sum(gram**2)) if L is None else jnp.asarray(L, dtype)

    def step(carry, _):
        x, y, t = carry
        new = jnp.maximum(y - over(gram @ y - target, bound), 0)
        t_new = (1 + jnp.sqrt(1 + 4 * t**2)) / 2
        return (new, new + (t - 1) / t_new * (new - x), t_new), None

    start = jnp.zeros_like(target)
    (x, _, _), _ = jax.lax.scan(
        step, (start, start, jnp.ones((), dtype)), length=iters, unroll=unroll
    )
    return x
