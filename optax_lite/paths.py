"""Patterns that pick leaves by path: `bias` at any depth, `encoder/*` from the root, `!norm*` to leave out."""

import fnmatch
import re
from typing import Any

import jax
import numpy as np

from optax_lite.check import closest
from optax_lite.tree import PyTree, is_nothing, leaf_paths

Pattern = str | re.Pattern


def is_patterns(value: Any) -> bool:
    """Whether a value is a pattern or a non-empty list of patterns."""
    many = value if isinstance(value, (list, tuple)) else [value]
    return len(many) > 0 and all(isinstance(v, (str, re.Pattern)) for v in many)


def normal_path(path: str) -> str:
    """A path as patterns see it: without the `.value` at the end of a Flax NNX variable's."""
    return path.removesuffix("/value").removesuffix("/.value")


def matches(pattern: Pattern, path: str) -> bool:
    """Whether a path lies at or below what a pattern names.

    A glob without a slash matches at any depth, one with a slash from the root; `*` stays within a component and `**`
    crosses them. A compiled regular expression is searched for.
    """
    if isinstance(pattern, re.Pattern):
        return pattern.search(path) is not None
    start = "" if "/" in pattern else "(?:.*/)?"
    parts = [".*" if part == "**" else _component(part) for part in pattern.strip("/").split("/")]
    return re.fullmatch(start + "/".join(parts) + "(?:/.*)?", path) is not None


def _component(part: str) -> str:
    return fnmatch.translate(part).removeprefix("(?s:").removesuffix(")\\Z").replace(".*", "[^/]*")


def pattern_mask(patterns: Any, tree: PyTree) -> PyTree:
    """The tree of bools that patterns mean: the last one that matches decides, `!pattern` for False.

    If the first is an exclusion everything else is in. A pattern that matches nothing is an error.
    """
    patterns = patterns if isinstance(patterns, (list, tuple)) else [patterns]
    excludes = [isinstance(p, str) and p.startswith("!") for p in patterns]
    paths = [normal_path(path) for path in leaf_paths(tree)]
    chosen = np.full(len(paths), excludes[0])
    for pattern, exclude in zip(patterns, excludes, strict=True):
        bare = pattern[1:] if isinstance(pattern, str) and exclude else pattern
        hits = np.array([matches(bare, path) for path in paths], bool)
        if not hits.any():
            raise ValueError(f"the pattern {bare!r} matches no leaf; the nearest paths: {closest(str(bare), paths)}")
        chosen[hits] = not exclude
    treedef = jax.tree.structure(tree, is_leaf=is_nothing)
    return treedef.unflatten([bool(c) for c in chosen])


def as_mask(mask: Any, tree: PyTree) -> PyTree:
    """A mask in any of its forms (tree of bools, function of the tree, patterns) as a tree of bools, checked."""
    if is_patterns(mask):
        return pattern_mask(mask, tree)
    made = mask(tree) if callable(mask) else mask
    for leaf, path in zip(jax.tree.leaves(made), leaf_paths(made)):
        if not isinstance(leaf, (bool, np.bool_)):
            raise ValueError(f"mask leaf {path!r} must be True or False, got {leaf!r}")
    return made
