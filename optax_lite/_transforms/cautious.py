"""Cautious updates: only the entries that still go downhill."""

from typing import NamedTuple

import jax.numpy as jnp

from optax_lite.core.compose import check_members
from optax_lite.core.leafwise import leafwise
from optax_lite.core.transform import PyTree, transform
from optax_lite.core.types import TransformationLike
from optax_lite.errors.composition import INSTEAD, INSTEAD_OF_MORE, SCALED
from optax_lite.errors.direction import check_makes_direction


class CautiousState(NamedTuple):
    inner_state: PyTree  # state of the transformation that makes the updates


_NOT_AROUND = {
    **SCALED,
    "resting": "so an update would be compared with the last gradient, not with the mean"
    + INSTEAD_OF_MORE,
    "rounding": "so it would compare signs with those of rounding errors" + INSTEAD,
}


@transform(not_around=_NOT_AROUND)
def cautious(inner: TransformationLike):
    """Drop the entries of an update that go against their gradient. Liang et al. 2024, Algorithm 1.

        u ← u·φ·d / (Σφ + 1),  φ = 1 where u·g > 0, else 0

    u is the update of `inner` and d the number of entries of a leaf, so the rest of u is lengthened
    to make up for what was dropped. C-AdamW is `chain(cautious(scale_by_adam()),
    add_decayed_weights(0.1), scale_by_learning_rate(1e-3))`, C-Lion the same with
    `scale_by_lion()`. A complex entry agrees if the real part of u·conj(g) is positive.

    Args:
        inner: Transformation that makes a direction of the gradient, before decay and learning
            rate.
    """
    check_members({"inner": inner})
    check_makes_direction(
        "cautious", inner, "every update would oppose its gradient and be dropped"
    )

    def rule(u, g):
        phi = ((u * jnp.conj(g)).real > 0).astype(g.real.dtype)
        return u * phi * (float(u.size) / (jnp.sum(phi) + 1))

    def update(updates, state, params=None, **extra):
        new, inner_state = inner.update(updates, state.inner_state, params, **extra)
        return leafwise(rule, new, read=(updates,)), CautiousState(inner_state)

    return lambda params: CautiousState(inner.init(params)), update
