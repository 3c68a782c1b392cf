"""Optimizer state in 8 bits, whatever the method: decoded for an update and encoded after it."""

from collections.abc import Iterable
from functools import partial
from itertools import compress
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from optax_lite.core.block_float8 import Quantized, decode, encode
from optax_lite.core.compose import check_members
from optax_lite.core.factory import Definition
from optax_lite.core.functions import wrapping
from optax_lite.core.half import leaf_keys
from optax_lite.core.leafwise import increment, zero_count
from optax_lite.core.masks import Placeholder, is_patterns, pattern_mask
from optax_lite.core.transform import Array, GradientTransformation, PyTree, transform
from optax_lite.core.trees import is_inexact, is_missing, leaf_paths
from optax_lite.core.types import Patterns, TransformationLike
from optax_lite.core.validate import ArgumentError, check_count
from optax_lite.errors.composition import INSTEAD, ONE, SCALED
from optax_lite.inspect._nodes import nodes, trace_state
from optax_lite.inspect._slots import slots_of
from optax_lite.wrappers.stochastic_rounding import check_seed


class QuantizeState(NamedTuple):
    count: Array  # updates so far, int32: with the seed and a slot's path it gives the random bits
    # state of the transformation; `Quantized(codes, scales)` is a slot in 8 bits
    inner_state: PyTree


_SUMS = "so calls that move nothing would still round the state and the summed gradients" + INSTEAD
_NOT_AROUND = {
    **SCALED,
    "gate": _SUMS,
    "sum": _SUMS,
    "vector": "so `keep` and the shared exponents would see one flat leaf without a path" + INSTEAD,
    "narrow state": "so the state would be rounded twice" + ONE,
    "compensation": "so the compensation for rounding would itself be rounded" + INSTEAD,
}


@transform(
    static=("bits", "block", "seed", "keep", "min_size"),
    is_a=("narrow state", "8 bits"),
    not_around=_NOT_AROUND,
)
def quantize_state(
    tx: TransformationLike,
    bits: int = 8,
    *,
    block: int = 256,
    seed: int = 0,
    keep: Patterns = (),
    min_size: int = 4096,
):
    """Keep the moments of `tx` in 8 bits per entry: 2.02 bytes of state per parameter for AdamW
    instead of 8.

    This quantizes every real slot that has its parameter's shape, except slots that start as a copy
    of the parameters. Slots of small leaves (`min_size`), of leaves that `keep` picks, and of
    another shape (factors, bases, counts) stay in float.

    The entries of a block, along the last axes, share an exponent E, that of the largest entry;
    each entry has 3 bits of mantissa. A block without negative entries, such as one of second
    moments, covers 31 octaves below 2^(E+1); anything smaller becomes the smallest of these
    numbers, never 0, because updates are divided by it. A block with negative entries covers 14
    octaves, and below them is evenly spaced down to 0. An entry is rounded at random to one of its
    two neighbours, at most 1/8 of it away, so that its mean is exact; the random bits come from the
    seed, the count and the path. With rounding to nearest, an average with decay b would stop where
    (1 - b)·|g² - v| < v/16. An entry that is not finite comes back as NaN, and does not affect its
    block.

    Quantization by block: Dettmers et al. 2022, arXiv 2110.02861, who use a table of numbers;
    shared exponents: Rouhani et al. 2023, arXiv 2310.10537.

    Args:
        tx: The optimizer, or any other transformation.
        bits: Bits per entry; only 8 is supported.
        block: Largest number of entries that share an exponent, an integer of at least 1.
        seed: Random seed, an integer or a JAX key; give members of a population a key each.
        keep: Path patterns of the parameters whose slots stay in float: one, or a list (see
            `masked`).
        min_size: Leaves with fewer entries stay in float; an integer of at least 1.

    Examples:
        >>> tx = quantize_state(adamw(1e-3), keep="embedding")
    """
    check_members({"tx": tx})
    check_seed(seed)
    check_count(block=block, min_size=min_size)
    if bits != 8:
        raise ArgumentError(f"bits must be 8, got {bits!r}")
    if keep not in ((), []) and not is_patterns(keep):
        raise ArgumentError(f"keep must be a pattern of paths or a list of them, got {keep!r}")
    for definition in _inside(tx):
        if why := definition.traits.get("exact_state"):
            raise ArgumentError(
                f"{definition.name} is inside, which {why}; keep its state in float"
            )

    read, write = partial(decode, block=block), partial(encode, block=block)

    def init(params):
        state = tx.init(params)
        if isinstance(params, Placeholder):
            return QuantizeState(zero_count(), state)
        chosen = _chosen(tx, state, params, keep, min_size)
        if any(isinstance(x, Tracer) for x in jax.tree.leaves(state)):
            # XLA would encode the zeros, entry by entry, while it compiles: 136 s for a leaf of
            # 2048 by 2048.
            state = jax.lax.optimization_barrier(state)
        leaves, treedef = jax.tree.flatten(state)
        paths = leaf_paths(state, nothing_too=False)
        words = leaf_keys(seed, zero_count(), list(compress(paths, chosen)))
        codes = map(write, compress(leaves, chosen), words)
        return QuantizeState(zero_count(), treedef.unflatten(_replaced(leaves, chosen, codes)))

    def run(inner, updates, state, params=None, **extra):
        leaves, treedef = jax.tree.flatten(state.inner_state, is_leaf=_is_quantized)
        chosen = [_is_quantized(x) for x in leaves]
        each = _replaced(leaves, chosen, (x.codes for x in compress(leaves, chosen)))
        one_each = treedef.unflatten(each)
        paths, (slots, _) = leaf_paths(one_each, nothing_too=False), slots_of(tx, one_each)

        def on_decoded(full):
            inner_state = treedef.unflatten(_replaced(leaves, chosen, full))
            new, inner_state = inner(updates, inner_state, params, **extra)
            after = jax.tree.leaves(inner_state)
            rest = [None if yes else x for x, yes in zip(after, chosen, strict=True)]
            return list(compress(after, chosen)), (new, rest)

        # Not at the top: it would import Pallas, for all who import optax_lite (core/unstable.py).
        from optax_lite.core.leaf_by_leaf import one_leaf_at_a_time

        codes, (new, rest) = one_leaf_at_a_time(
            on_decoded,
            list(compress(leaves, chosen)),
            leaf_keys(seed, state.count, list(compress(paths, chosen))),
            [path for _, path in compress(slots, chosen)],
            decode=read,
            encode=write,
        )
        inner_state = treedef.unflatten(_replaced(rest, chosen, codes))
        return new, QuantizeState(increment(state.count), inner_state)

    return wrapping(tx, init, run)


def _inside(tx: GradientTransformation) -> list[Definition]:
    """Return the factories of all members; traced, as building an optimizer must not start a
    backend.
    """
    found = []
    jax.eval_shape(lambda: found.extend(place.definition for place in nodes(trace_state(tx))))
    return found


def _replaced(leaves: list, chosen: list[bool], new: Iterable) -> list:
    """Return the leaves, with the chosen ones replaced by new ones."""
    new = iter(new)
    return [next(new) if yes else x for x, yes in zip(leaves, chosen, strict=True)]


def _is_quantized(x: Any) -> bool:
    return isinstance(x, Quantized)


def _chosen(
    tx: GradientTransformation, state: PyTree, params: PyTree, keep: Any, min_size: int
) -> list[bool]:
    """Tell which leaves of a state to keep in 8 bits."""
    paths, leaves = leaf_paths(params), jax.tree.leaves(params, is_leaf=is_missing)
    # masked leaves too
    kept = jax.tree.leaves(pattern_mask(keep, params)) if keep else [False] * len(paths)
    shapes = {
        path: np.shape(x)
        for path, x, no in zip(paths, leaves, kept, strict=True)
        if is_inexact(x) and not no
    }
    slots, _ = slots_of(tx, state)
    # By shape and origin: `tx` may be any method, with slots of any name (decision 32).
    rows = zip(jax.tree.leaves(state), slots, _copied(tx, params), strict=True)
    return [
        shapes.get(path) == x.shape
        and x.size >= min_size
        and jnp.issubdtype(x.dtype, jnp.floating)
        and not copied
        for x, (_, path), copied in rows
    ]


def _copied(tx: GradientTransformation, params: PyTree) -> list[bool]:
    """Tell which leaves of a state are built from the values of the parameters."""
    shapes = jax.tree.map(
        lambda p: jax.ShapeDtypeStruct(p.shape, p.dtype) if hasattr(p, "dtype") else p,
        params,
        is_leaf=is_missing,
    )
    # No slot is known by name, so the program of `init` has to tell which are copies (decision 32).
    program = jax.make_jaxpr(tx.init)(shapes).jaxpr
    depends = set(map(id, program.invars))
    for line in program.eqns:
        if depends.intersection(map(id, line.invars)):
            depends.update(map(id, line.outvars))
    return [id(x) in depends for x in program.outvars]
