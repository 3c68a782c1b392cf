"""Flax NNX variables in a state or in params, as the arrays in them."""

import sys

import jax

from optax_lite.core.trees import MaskedNode
from optax_lite.core.types import PyTree


def without_variables(tree: PyTree) -> PyTree:
    """Replace Flax NNX variables, which differ in class between params and state, by their
    arrays.
    """
    nnx = sys.modules.get("flax.nnx")
    if nnx is None:  # who has not imported it has none of its variables
        return tree

    def is_variable(x):
        return isinstance(x, nnx.Variable)

    if not any(map(is_variable, jax.tree.leaves(tree, is_leaf=is_variable))):
        return tree

    def content(x):
        if not is_variable(x):
            return x
        # Where a group leaves a leaf to another one, a variable holds a mark and no array.
        return x[...] if jax.tree.leaves(x) else MaskedNode()

    return jax.tree.map(content, tree, is_leaf=is_variable)
