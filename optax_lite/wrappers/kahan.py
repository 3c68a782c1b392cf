"""Compensated summation: the rounding error of a step is added to the next one."""

from typing import NamedTuple

import jax.numpy as jnp

from optax_lite.core.compose import check_members
from optax_lite.core.functions import wrapping
from optax_lite.core.half import nearest, rounded_step, slots_of_half
from optax_lite.core.transform import PyTree, transform
from optax_lite.core.types import TransformationLike
from optax_lite.errors.composition import BETWEEN, INSTEAD, ROUNDED, SCALED


class KahanState(NamedTuple):
    # what is still to be added to the parameter, in its dtype; None for float32 and wider
    compensation: PyTree
    inner_state: PyTree  # state of the transformation whose updates are summed


_NOT_AROUND = {
    **SCALED,
    **ROUNDED,
    **BETWEEN,
    "gate": "so the compensation would move the parameters even when {inner} holds them still"
    + INSTEAD,
}


@transform(is_a=("rounding", "compensation"), not_around=_NOT_AROUND)
def kahan(tx: TransformationLike):
    """Add the updates u of `tx` to 16-bit parameters p with a compensation c of rounding. Kahan
    1965.

        y = u + c,  q = round(p + y),  c ← round(y - (q - p)),  p ← q

        tx = kahan(adamw(1e-3))

    p + c has about 16 bits in bfloat16 (22 in float16), for 2 bytes per parameter: a step is lost
    only if it is below 2⁻¹⁷ of the parameter, instead of 2⁻⁸. The result is deterministic. Leaves
    in float32 and float64 have no compensation and are updated as usual. If you change parameters
    from outside, the old compensation, at most half a unit in the last place, remains.

    `step` returns q. `update` returns q - p, and adding that in the params' dtype gives q except
    where an entry becomes less than half as large or changes its sign; there it is off by at most
    2⁻⁷·|q - p| (float16: 2⁻¹⁰).

    Args:
        tx: The optimizer, or any other transformation.
    """
    check_members({"tx": tx})

    def rule(p, u, dtype, c):
        y = u + c.astype(jnp.float32)
        q = nearest(p + y, dtype)
        left = jnp.where(jnp.isfinite(q), y - (q - p), 0.0)
        return q, nearest(left, dtype).astype(dtype)

    def init(params):
        return KahanState(slots_of_half("kahan", params, jnp.zeros_like), tx.init(params))

    def run(inner, updates, state, params, **extra):
        updates, inner_state = tx.update(updates, state.inner_state, params, **extra)
        new, compensation = rounded_step(inner.is_step, rule, updates, params, state.compensation)
        return new, KahanState(compensation, inner_state)

    return wrapping(tx, init, run)
