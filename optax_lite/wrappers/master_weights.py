"""Master weights: a float32 copy of 16-bit parameters, which the optimizer moves in their place."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optax_lite.core.compose import check_members
from optax_lite.core.functions import wrapping
from optax_lite.core.half import nearest, rounded_step, slots_of_half
from optax_lite.core.transform import PyTree, transform
from optax_lite.core.trees import flatten_up_to, is_missing
from optax_lite.core.types import TransformationLike
from optax_lite.errors.composition import ROUNDED, SCALED


class MasterWeightsState(NamedTuple):
    # the parameter in float32; None for float32 and wider, which are their own master
    master: PyTree
    inner_state: PyTree  # state of the transformation that moves the master


@transform(is_a=("rounding", "exact weights"), not_around={**SCALED, **ROUNDED})
def master_weights(tx: TransformationLike):
    """Let `tx` move a float32 copy of bfloat16 and float16 parameters, and round it to get these.
    Micikevicius 2018.

        tx = master_weights(adamw(1e-3))

    This is training in float32 with gradients taken at the rounded parameters, for 4 bytes per
    parameter; `tx` sees the copy as its params. Leaves in float32 and float64 have no copy. If an
    entry of the params differs from its rounded copy, it was changed from outside, for example by
    loading other weights, and the copy starts again from it, so that the params are always what is
    trained.

    `step` returns the rounded copy q. `update` returns q - p, and adding that in the params' dtype
    gives q except where an entry becomes less than half as large or changes its sign; there it is
    off by at most 2⁻⁷·|q - p| (float16: 2⁻¹⁰), and the copy follows it.

    Args:
        tx: The optimizer, or any other transformation.
    """
    check_members({"tx": tx})

    def rule(p, u, dtype, m):
        m = m + u
        return nearest(m, dtype), m

    def init(params):
        master = slots_of_half("master_weights", params, lambda p: p.astype(jnp.float32))
        return MasterWeightsState(master, tx.init(_by_leaf(_exact, params, master)))

    def run(inner, updates, state, params, **extra):
        master = _by_leaf(_followed, params, state.master)
        updates, inner_state = tx.update(
            updates, state.inner_state, _by_leaf(_exact, params, master), **extra
        )
        new, master = rounded_step(inner.is_step, rule, updates, params, master)
        return new, MasterWeightsState(master, inner_state)

    return wrapping(tx, init, run)


def _by_leaf(f, params: PyTree, master: PyTree) -> PyTree:
    leaves, treedef = jax.tree.flatten(params, is_leaf=is_missing)
    return treedef.unflatten(list(map(f, leaves, flatten_up_to(params, master, "state"))))


def _followed(p, m):
    """Return the copy, or the parameter where that is not the copy rounded."""
    if is_missing(p) or is_missing(m):
        return m
    w = p.astype(jnp.float32)
    return jnp.where(nearest(m, p.dtype) == w, m, w)


def _exact(p, m):
    return p if is_missing(p) or is_missing(m) else m
