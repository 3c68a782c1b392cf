"""Accumulate gradients outside the optimizer: compute a large batch in parts, with the memory of
one part.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optax_lite._microbatches import in_microbatches, pick_microbatch
from optax_lite.core.leafwise import cast_like, compute_dtype, leafwise, zeros_like
from optax_lite.core.numerics import weak_typed
from optax_lite.core.trees import path_string
from optax_lite.core.validate import ArgumentError, check_count, check_function
from optax_lite.errors.calls import usage


@usage("loss, grads = microbatch_value_and_grad(loss_fn, n)(params, *batch)")
def microbatch_value_and_grad(
    loss_fn: Callable[..., Any],
    n: int,
    *,
    has_aux: bool = False,
    argnums: int | tuple[int, ...] = 0,
    weight: Callable[..., Any] | None = None,
) -> Callable[..., Any]:
    """Compute `jax.value_and_grad` of a mean over examples in n parts, one after another, to save
    memory.

        loss, grads = microbatch_value_and_grad(loss_fn, 8)(params, images, labels)

    Positional arguments outside `argnums` are the batch: the first axis of each of their arrays
    must be divisible by n. Keyword arguments reach every part unchanged. Part i has the rows i, n +
    i, 2n + i ..., so that a batch that is spread over devices stays where it is. For dropout pass
    `jax.random.split(key, n)`: each part gets one row of it. Sums are computed in at least float32;
    a loss that is a sum over examples is returned divided by n. Auxiliary output is stacked, with
    one entry per part.

    If the loss is a mean over tokens, and some parts have more tokens than others, pass `weight`:
    the mean over parts is then Σ weight·loss / Σ weight. A part of weight 0 adds nothing, even if
    its own mean is NaN.

        count = lambda params, x, y, mask: mask.sum()
        of_tokens = microbatch_value_and_grad(loss_fn, 8, weight=count)

    Args:
        loss_fn: Function of the params and the batch that returns one number.
        n: Number of parts, an integer of at least 1.
        has_aux: Let `loss_fn` return (loss, aux).
        argnums: Positions of the arguments to differentiate, as in `jax.value_and_grad`.
        weight: Function of the arguments of `loss_fn` that returns the weight of a part, one
            number; None to weight all equally.

    Returns:
        A function of the arguments of `loss_fn` that returns (loss, grads), or ((loss, aux),
        grads).
    """
    check_function(loss_fn=loss_fn, **({} if weight is None else {"weight": weight}))
    check_count(n=n)
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    in_one = jax.value_and_grad(loss_fn, argnums, has_aux=has_aux)

    @functools.wraps(loss_fn)
    def value_and_grad(*args, **kwargs):
        with_gradient = {i % len(args) for i in numbers}
        batch = {i: arg for i, arg in enumerate(args) if i not in with_gradient}
        if not jax.tree.leaves(batch):
            raise ArgumentError(
                "there is no batch to split; pass it as a positional argument",
                "microbatch_value_and_grad",
            )
        _check_rows(batch, n)
        parts = in_microbatches(batch, n)

        def add(total, i):
            part = pick_microbatch(parts, i)
            arguments = [part.get(place, arg) for place, arg in enumerate(args)]
            value, grads = in_one(*arguments, **kwargs)
            if weight is None:
                return leafwise(lambda t, g: t + g, total, read=(grads,)), (value, None)
            w: Any = weight(*arguments, **kwargs)
            if np.shape(w) != ():
                problem = f"weight must return one number, got shape {np.shape(w)}; return its sum"
                raise ArgumentError(problem, "microbatch_value_and_grad")
            w = jnp.asarray(w).astype(jnp.float32)
            # Chosen, not multiplied: 0 times the NaN of an empty mean is NaN.
            total = leafwise(
                lambda t, g: t + jnp.where(w == 0, 0, weak_typed(w) * g), total, read=(grads,)
            )
            return total, (value, w)

        of = args[argnums] if isinstance(argnums, int) else tuple(args[i] for i in numbers)
        total, (values, weights) = jax.lax.scan(add, zeros_like(of), jnp.arange(n))
        value, aux = values if has_aux else (values, None)
        wide = value.astype(compute_dtype(value))
        if weights is None:
            whole, mean = n, jnp.mean(wide)
        else:
            whole = weak_typed(jnp.sum(weights))
            mean = jnp.sum(jnp.where(weights == 0, 0, weights.astype(wide.dtype) * wide)) / whole
        grads, mean = cast_like(leafwise(lambda t: t / whole, total), of), mean.astype(value.dtype)
        return ((mean, aux) if has_aux else mean), grads

    return value_and_grad


def _check_rows(batch: dict[int, Any], n: int) -> None:
    """Raise unless n divides the first axis of every array."""
    for i, arg in batch.items():
        for path, x in jax.tree_util.tree_flatten_with_path(arg)[0]:
            if np.ndim(x) == 0 or np.shape(x)[0] % n:
                where = f"argument {i}" + (f", leaf {path_string(path)!r}," if path else "")
                raise ArgumentError(
                    f"{where} has shape {np.shape(x)}; its first axis must be divisible by n = "
                    f"{n}. Pass arguments that are not batches by keyword",
                    "microbatch_value_and_grad",
                )
