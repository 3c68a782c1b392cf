"""Stochastic rounding: 16-bit parameters that move by small steps on average."""

from typing import Any, NamedTuple

import jax

from optax_lite.core.compose import check_members
from optax_lite.core.config import is_key
from optax_lite.core.functions import wrapping
from optax_lite.core.half import leaf_keys, random_bits, rounded_step, slots_of_half, stochastic
from optax_lite.core.leafwise import increment, zero_count
from optax_lite.core.transform import Array, PyTree, transform
from optax_lite.core.trees import is_missing, leaf_paths
from optax_lite.core.types import TransformationLike
from optax_lite.core.validate import ArgumentError
from optax_lite.errors.composition import BETWEEN, ROUNDED, SCALED


class StochasticRoundingState(NamedTuple):
    # updates so far, int32: with the seed and the path of a leaf it gives the random bits
    count: Array
    inner_state: PyTree  # state of the transformation whose updates are rounded


def check_seed(seed: Any) -> None:
    """Raise unless it is an int or a typed key."""
    if not (is_key(seed) or (isinstance(seed, int) and not isinstance(seed, bool))):
        raise ArgumentError(
            f"seed must be an int or a key, such as jax.random.key(0), got {seed!r}"
        )


_NOT_AROUND = {**SCALED, **ROUNDED, **BETWEEN}


@transform(static=("seed",), is_a=("rounding",), not_around=_NOT_AROUND)
def stochastic_rounding(tx: TransformationLike, *, seed: int = 0):
    """Add the updates u of `tx` to 16-bit parameters p, rounding each sum at random so that the
    mean is exact.

        p ← q⁺ with probability (p + u - q⁻) / (q⁺ - q⁻), else q⁻

        tx = stochastic_rounding(adamw(1e-3))

    q⁻ and q⁺ are the neighbours of p + u in bfloat16 or float16. With rounding to nearest, steps
    below half their distance would be lost: 0.2 to 0.4 % of the parameter in bfloat16. A sum that
    is exact or not finite is kept; float32 and float64 leaves are updated as usual. The state has
    only a count.

    `step` returns the rounded q. `update` returns q - p, and adding that in the params' dtype gives
    q except where an entry becomes less than half as large or changes its sign; there it is off by
    at most 2⁻⁷·|q - p| (float16: 2⁻¹⁰).

    The random bits come from the seed, the count and a leaf's path, so a run is reproducible, can
    be resumed, and is the same on any number of devices.

    Args:
        tx: The optimizer, or any other transformation.
        seed: Random seed, an integer or a JAX key; give members of a population a key each.
    """
    check_members({"tx": tx})
    check_seed(seed)

    def init(params):
        slots_of_half("stochastic_rounding", params, lambda p: p)
        return StochasticRoundingState(zero_count(), tx.init(params))

    def run(inner, updates, state, params, **extra):
        updates, inner_state = tx.update(updates, state.inner_state, params, **extra)
        treedef = jax.tree.structure(updates, is_leaf=is_missing)
        words = treedef.unflatten(leaf_keys(seed, state.count, leaf_paths(updates)))

        def rule(p, u, dtype, words):
            x = p + u
            return stochastic(x, random_bits(words, x.shape), dtype), None

        new, _ = rounded_step(inner.is_step, rule, updates, params, words)
        return new, StochasticRoundingState(increment(state.count), inner_state)

    return wrapping(tx, init, run)
