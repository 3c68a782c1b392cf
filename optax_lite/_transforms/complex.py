"""Complex parameters as pairs of real ones."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optax_lite.core.compose import check_members
from optax_lite.core.frozen import freeze_nothing
from optax_lite.core.transform import Array, OptState, PyTree, transform
from optax_lite.core.trees import is_missing
from optax_lite.core.types import TransformationLike
from optax_lite.errors.composition import INSTEAD, SCALED


class SplitRealAndImaginaryArrays(NamedTuple):
    """A complex array in a tree of real ones."""

    real: Array
    imaginary: Array


class SplitRealAndImaginaryState(NamedTuple):
    inner_state: OptState  # state of the real and imaginary parts


def _split(tree: PyTree) -> PyTree:
    return jax.tree.map(
        lambda x: SplitRealAndImaginaryArrays(x.real, x.imag) if jnp.iscomplexobj(x) else x, tree
    )


_NOT_AROUND = {
    **SCALED,
    "average": "whose average would be split into real and imaginary parts" + INSTEAD,
    "line search": "which needs the parameters unsplit; it handles complex ones itself",
}


@transform(freezes=freeze_nothing, not_around=_NOT_AROUND)
def split_real_and_imaginary(inner: TransformationLike):
    """Let `inner` see every complex array as two real ones, and put its updates together again.

    A rule then treats the two parts separately: Adam has a second moment for each part instead of
    one for |g|². Rules for real numbers also work on complex parameters this way. Real arrays pass
    unchanged. Inside, paths end in `z/real` and `z/imaginary`; extra arguments that are trees are
    not split.

    Args:
        inner: Transformation to apply.
    """
    check_members({"inner": inner})

    def init(params):
        return SplitRealAndImaginaryState(inner.init(_split(params)))

    def update(updates, state, params=None, **extra):
        new, inner_state = inner.update(_split(updates), state.inner_state, _split(params), **extra)
        joined = jax.tree.map(
            lambda g, u: jax.lax.complex(*u) if jnp.iscomplexobj(g) else u,
            updates,
            new,
            is_leaf=is_missing,
        )
        return joined, SplitRealAndImaginaryState(inner_state)

    return init, update
