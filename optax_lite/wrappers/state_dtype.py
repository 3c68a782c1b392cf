"""Set the dtypes in which an optimizer keeps its slots, whatever the method."""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from optax_lite.core.compose import check_members
from optax_lite.core.functions import wrapping
from optax_lite.core.half import is_half, keys_where, random_bits, stochastic
from optax_lite.core.leafwise import cast_up, increment, promote_types, zero_count
from optax_lite.core.masks import Placeholder
from optax_lite.core.transform import Array, PyTree, transform
from optax_lite.core.trees import is_inexact, leaf_paths
from optax_lite.core.types import DTypeLike, TransformationLike
from optax_lite.core.validate import ArgumentError, check_dtype
from optax_lite.errors.composition import INSTEAD, ONE, SCALED
from optax_lite.inspect._slots import slots_of
from optax_lite.wrappers.stochastic_rounding import check_seed


class WithStateDtypeState(NamedTuple):
    count: Array  # updates so far, int32: with the seed and a slot's path it gives the random bits
    inner_state: PyTree  # state of the transformation, its slots in the dtypes that were asked for


def _rounds_all(call):
    """Say what is wrong with weights inside, unless the slots to round are named."""
    problem = "so its stored weights would be rounded with the moments"
    return (
        None
        if isinstance(call.arguments["dtype"], dict)
        else f"{problem}{INSTEAD}, or name the slots"
    )


_NOT_AROUND = {
    **SCALED,
    "8 bits": "so the state would be rounded twice" + ONE,
    "exact weights": _rounds_all,
}


@transform(static=("dtype", "seed"), is_a=("narrow state", "drawn"), not_around=_NOT_AROUND)
def with_state_dtype(
    tx: TransformationLike, dtype: DTypeLike | Mapping[str, DTypeLike], *, seed: int = 0
):
    """Keep the slots of `tx` in a dtype, or each in its own by the field of the state.

        tx = with_state_dtype(adamw(1e-3), jnp.bfloat16)  # 4 bytes of state a parameter, not 8
        tx = with_state_dtype(adamw(1e-3), {"nu": jnp.bfloat16})

    Everything is computed in at least float32 and rounded once when it is stored: to bfloat16 and
    float16 stochastically, so that a moving average follows its mean however slow it is. With
    rounding to nearest it would stop when one update changes it by less than half of its last
    digit, which happens in bfloat16 with a decay above 0.996. State that all leaves share (a count,
    a norm) stays unchanged, and a slot of complex numbers is at least complex64. Slots that `tx`
    itself keeps in low precision (`mu_dtype`) are rounded as here if `dtype` covers them. float16
    is for slots near 1: squares of gradients below 1e-4 are 0 or 6e-8 there.

    Args:
        tx: The optimizer, or any other transformation.
        dtype: A floating dtype for all slots, or a dict from fields of the state to dtypes.
        seed: Random seed, an integer or a JAX key; give members of a population a key each.
    """
    check_members({"tx": tx})
    check_seed(seed)
    if dtype is None or (isinstance(dtype, Mapping) and not dtype):
        raise ArgumentError(
            f'dtype must be a dtype or a dict from slots to dtypes, as {{"nu": jnp.bfloat16}}, '
            f"got {dtype!r}"
        )
    by_slot = (
        {f"dtype[{name!r}]": x for name, x in dtype.items()}
        if isinstance(dtype, Mapping)
        else {"dtype": dtype}
    )
    check_dtype(**by_slot)

    def wanted(x, slot):
        """Return the dtype for a leaf of the state in a slot of this name, None to leave it
        alone.
        """
        asked = dtype.get(slot) if isinstance(dtype, Mapping) else dtype if slot else None
        if asked is None or not is_inexact(x):
            return None
        return promote_types(asked, jnp.complex64) if jnp.iscomplexobj(x) else jnp.dtype(asked)

    def init(params):
        state = tx.init(params)
        if isinstance(params, Placeholder):
            return WithStateDtypeState(zero_count(), state)
        leaves, treedef = jax.tree.flatten(state)
        slots, known = slots_of(tx, state)
        if isinstance(dtype, Mapping) and (unknown := dtype.keys() - known):
            shown = ", ".join(sorted(known)) or "none"
            raise ArgumentError(
                f"dtype: no slot is named {sorted(unknown)[0]!r}; known slots: {shown}",
                "with_state_dtype",
            )
        cast = [
            x.astype(wanted(x, slot) or x.dtype) for x, (slot, _) in zip(leaves, slots, strict=True)
        ]
        return WithStateDtypeState(zero_count(), treedef.unflatten(cast))

    def run(inner, updates, state, params=None, **extra):
        leaves, treedef = jax.tree.flatten(state.inner_state)
        slots, _ = slots_of(tx, state.inner_state)
        lifts = [
            is_half(x) and wanted(x, slot) is not None
            for x, (slot, _) in zip(leaves, slots, strict=True)
        ]
        full = [
            cast_up(x, jnp.float32) if lift else x for x, lift in zip(leaves, lifts, strict=True)
        ]
        new, inner_state = inner(updates, treedef.unflatten(full), params, **extra)
        paths = leaf_paths(state.inner_state, nothing_too=False)
        rows = zip(
            jax.tree.leaves(inner_state),
            leaves,
            keys_where(lifts, seed, state.count, paths),
            strict=True,
        )
        stored = [x if words is None else _rounded(x, words, old.dtype) for x, old, words in rows]
        return new, WithStateDtypeState(increment(state.count), treedef.unflatten(stored))

    return wrapping(tx, init, run)


@partial(jax.jit, static_argnums=2)
def _rounded(x, words, dtype):
    # Rounded to the nearest, bfloat16 would not move for decays above 0.996 (decision 30).
    return stochastic(x.astype(jnp.float32), random_bits(words, x.shape), dtype).astype(dtype)
