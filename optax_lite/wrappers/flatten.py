"""One vector in place of a tree."""

from collections.abc import Mapping
from typing import Any

import jax

from optax_lite.core.compose import check_members
from optax_lite.core.frozen import freeze_nothing
from optax_lite.core.masks import Placeholder
from optax_lite.core.missing import OBJECTIVES
from optax_lite.core.placement import whole
from optax_lite.core.transform import transform
from optax_lite.core.trees import flatten_up_to, is_missing
from optax_lite.core.types import PyTree, TransformationLike
from optax_lite.core.vectors import as_tree, as_vector, on_vectors
from optax_lite.errors.composition import INSTEAD, SCALED

_NOT_AROUND = {
    **SCALED,
    "rounding": "so it would see a single leaf, in float32 if any leaf is" + INSTEAD,
    "by path": "where everything is one leaf without a path" + INSTEAD,
}


@transform(freezes=freeze_nothing, is_a=("vector",), not_around=_NOT_AROUND)
def flatten(inner: TransformationLike):
    """Give `inner` one vector of all entries in place of the tree, so that its state is a vector
    too.

        tx = flatten(scale_by_lbfgs())

    Use it for rules that look at all entries together, or for very many tiny leaves; large leaves
    are copied twice per update. The vector has the widest precision among the leaves, and is
    complex if one is; a real leaf gets the real part of its update. On a mesh the vector and the
    state are replicated on every device. Every parameter must have a gradient in every update;
    exclude others with `masked` around this. `eval_params`, `explain` and `reset` know which
    entries belong to which parameter. The extra argument `grad` becomes a vector too, and
    `value_fn`, `obj_fn` and `grad_fn` become functions of a vector.

    Args:
        inner: Transformation to apply. It sees one vector.
    """
    check_members({"inner": inner})

    def init(params):
        return inner.init(
            Placeholder(joined=True) if isinstance(params, Placeholder) else as_vector(params)
        )

    def update(updates, state, params=None, **extra):
        vector, w = as_vector(updates), None
        if params is not None:
            extra = _of_vectors(extra, updates, params)
            w = as_vector(_alike(updates, params))
        new, state = inner.update(vector, state, w, **extra)
        return as_tree(whole(new), updates), whole(state)

    return init, update


def _alike(updates: PyTree, params: PyTree) -> PyTree:
    """Keep the leaves of the params, or of a tree like them, that have a gradient."""
    treedef = jax.tree.structure(updates, is_leaf=is_missing)
    leaves = jax.tree.leaves(updates, is_leaf=is_missing)
    pairs = zip(leaves, flatten_up_to(updates, params, "params"), strict=True)
    return treedef.unflatten([None if is_missing(u) else p for u, p in pairs])


def _of_vectors(extra: Mapping[str, Any], updates: PyTree, params: PyTree) -> dict[str, Any]:
    """Convert the extra arguments about the gradient and the objective to the vector of the
    params.
    """

    def one(name, value):
        if name == "grad":
            return as_vector(_alike(updates, value))
        if name not in OBJECTIVES or not callable(value):
            return value
        function = on_vectors(value, params)
        return (
            (lambda *args, **kwargs: as_vector(function(*args, **kwargs)))
            if name == "grad_fn"
            else function
        )

    return {name: one(name, value) for name, value in extra.items()}
