"""Find which leaves of a state belong to parameters, and the fields of the states that keep
them.
"""

import jax

from optax_lite.core.masks import Placeholder
from optax_lite.core.transform import GradientTransformation
from optax_lite.core.trees import is_missing, leaf_paths
from optax_lite.core.types import PyTree
from optax_lite.inspect._nodes import without_nodes


def slots_of(tx: GradientTransformation, state: PyTree) -> tuple[list[tuple[str, str]], set[str]]:
    """Return for every leaf of a state its field and its path in there, "" for leaves of no
    parameter.

    With it come all such fields, those without leaves too.
    """
    known = set()

    def walk(marked, state):
        marks, treedef = jax.tree_util.tree_flatten_with_path(
            marked, is_leaf=lambda x: isinstance(x, Placeholder)
        )
        found = []
        for (keys, mark), part in zip(marks, treedef.flatten_up_to(state), strict=True):
            name = next((key.name for key in reversed(keys) if hasattr(key, "name")), "values")
            if isinstance(mark, Placeholder) and mark.expand is not None:
                found += walk(without_nodes(mark.expand(part)), part)
            else:
                is_slot = isinstance(mark, Placeholder)
                known.update({name} if is_slot else ())
                below = zip(
                    leaf_paths(part), jax.tree.leaves(part, is_leaf=is_missing), strict=True
                )
                inside = [path for path, x in below if not is_missing(x)]
                found += [(name, path) if is_slot else ("", "") for path in inside]
        return found

    try:
        marked = tx.init(Placeholder())
    except Exception as error:
        error.add_note(
            "init is called with a placeholder for the params here, but this one needs the "
            "actual leaves"
        )
        raise
    return walk(without_nodes(marked), without_nodes(state)), known
