"""Find which leaves of a state belong to parameters, and the fields of the states that keep
them.
"""

import jax

from optax_lite.core.masks import Placeholder
from optax_lite.core.transform import GradientTransformation
from optax_lite.core.trees import is_missing, leaf_paths
from optax_lite.core.types import PyTree
from optax_lite.inspect._nodes import marks, without_nodes


def slots_of(tx: GradientTransformation, state: PyTree) -> tuple[list[tuple[str, str]], set[str]]:
    """Return for every leaf of a state its field and its path in there, "" for leaves of no
    parameter.

    With it come all such fields, those without leaves too.
    """
    try:
        marked = tx.init(Placeholder())
    except Exception as error:
        error.add_note(
            "init is called with a placeholder for the params here, but this one needs the "
            "actual leaves"
        )
        raise
    slots, known = [], set()
    for keys, mark, part in marks(marked, without_nodes(state), inside=True):
        name = next((key.name for key in reversed(keys) if hasattr(key, "name")), "values")
        is_slot = isinstance(mark, Placeholder)
        known.update({name} if is_slot else ())
        leaves = jax.tree.leaves(part, is_leaf=is_missing)
        for path, x in zip(leaf_paths(part), leaves, strict=True):
            if not is_missing(x):
                slots.append((name, path) if is_slot else ("", ""))
    return slots, known
