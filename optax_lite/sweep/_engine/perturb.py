"""Find and edit the numbers of stacked members by path."""

from collections.abc import Iterable, Mapping

import jax
import numpy as np

from optax_lite.core.trees import leaf_paths
from optax_lite.core.types import PyTree
from optax_lite.core.validate import ArgumentError, unknown_argument


def resolve(member: PyTree, names: Iterable[str]) -> dict[str, int]:
    """Return the leaf positions of names, which may be ends of paths; raise unless each matches
    exactly one.
    """
    known = {path: i for i, path in enumerate(leaf_paths(member, nothing_too=False))}
    found = {}
    for name in names:
        exact = [path for path in known if path in (name, f"tx/{name}")]
        hits = exact or [path for path in known if path.endswith("/" + name)]
        if len(hits) != 1:
            several = f"several numbers are called {name!r}: {', '.join(hits)}; write the path"
            raise ArgumentError(
                f"perturb: {several if hits else unknown_argument(name, known)}", "pbt"
            )
        found[name] = known[hits[0]]
    return found


def as_floats(values: PyTree, paths: Mapping[str, int]) -> PyTree:
    """Convert ints at these positions to floats, so that factors do not truncate them."""
    leaves, treedef = jax.tree.flatten(values)
    for i in paths.values():
        if np.issubdtype(leaves[i].dtype, np.integer):
            leaves[i] = leaves[i].astype(jax.dtypes.canonicalize_dtype(np.float64))
    return treedef.unflatten(leaves)
