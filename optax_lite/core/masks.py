"""Patterns that pick leaves by path: `bias` at any depth, `encoder/*` from the root, `!norm*` to
leave out.
"""

import dataclasses
import functools
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from optax_lite.core.trees import check_prefix, is_missing, leaf_paths, path_string, step_string
from optax_lite.core.types import PyTree
from optax_lite.core.validate import ArgumentError, closest

Pattern = str | re.Pattern


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Placeholder:
    """A tree without leaves in place of the parameters: a state made of it shows where it keeps
    theirs.

    Where the leaves decide the structure of a state, `expand` makes the part with stand-ins of the
    real one. `joined` says that one vector replaces all of them, as inside `flatten`.
    """

    expand: Callable[[Any], Any] | None = None
    joined: bool = False


# in an init that is run with a stand-in: whatever structure this has
OF_NO_PARAMETER: Any = Placeholder(lambda part: part)


def steps(path: Sequence[Any]) -> tuple[str, ...]:
    """Return a key path as its components, which are unique where the paths in words may not be."""
    # In {"a/b": x, "a": {"b": y}} both paths read "a/b" (decision 10).
    return tuple(map(step_string, path))


def of_variables(paths: Sequence[Sequence[Any]], *, anywhere: bool = False) -> list[Sequence[Any]]:
    """Return the key paths of a tree without the `.value` of Flax NNX variables, which depends on
    how it was split.

    A variable has nothing else below its place, which is in a dict, or in a state `anywhere`; a
    class of the user's has other fields beside its `value`.
    """
    # Flax NNX ends paths in `.value` in `init` and not in `update` (decision 15).
    if not any(path and path[-1] == _VALUE for path in paths):
        return list(paths)
    times = Counter(tuple(path[:i]) for path in paths for i in range(len(path)))

    def is_variable(path):
        below = len(path) > 1 and (anywhere or isinstance(path[-2], jax.tree_util.DictKey))
        return below and path[-1] == _VALUE and times[tuple(path[:-1])] == 1

    return [path[:-1] if is_variable(path) else path for path in paths]


def without_value(paths: Sequence[str]) -> list[str]:
    """Return paths in words without the `/value` at the end, if they are all of Flax NNX
    variables.
    """
    ending = "/value" if all(path.endswith("/value") for path in paths) else ""
    return [path.removesuffix(ending) for path in paths]


_VALUE = jax.tree_util.GetAttrKey("value")


def is_patterns(value: Any) -> bool:
    """Tell whether a value is a pattern or a non-empty list of patterns: strings, or compiled
    regular expressions.
    """
    many = value if isinstance(value, (list, tuple)) else [value]
    return len(many) > 0 and all(isinstance(v, (str, re.Pattern)) for v in many)


def matches(pattern: Pattern, path: str) -> bool:
    """Tell whether a path is at or below what a pattern names, by the rules of .gitignore.

    A glob matches at any depth, one with a slash inside or in front from the root; `*` and `?` stay
    within a component, `**` matches any number of them. A compiled regular expression is searched
    for, also in the path without the `.value` that ends a Flax NNX variable's.
    """
    if isinstance(pattern, re.Pattern):
        return any(pattern.search(p) for p in (path, path.removesuffix("/value")))
    # The rules of .gitignore, because people already know them (decision 11).
    return re.fullmatch(_translated(pattern), path) is not None


@functools.cache
def _translated(glob: str) -> str:
    parts = glob.strip("/").split("/")
    if "/" not in glob.rstrip("/"):
        parts = ["**", *parts]
    patterns = ["(?:[^/]+/)*" if part == "**" else _component(part) + "/" for part in parts]
    return "".join(patterns).removesuffix("/") + (".+" if parts[-1] == "**" else "(?:/.*)?")


def _component(part: str) -> str:
    pieces = re.split(r"(\*|\?|\[!?[^]]+\])", part)
    wild = {"*": "[^/]*", "?": "[^/]"}
    sets = {
        p: f"(?!/)[{p[1:-1].replace('!', '^', 1) if p[1] == '!' else p[1:-1]}]"
        for p in pieces
        if p[:1] == "["
    }
    return "".join({**wild, **sets}.get(piece, re.escape(piece)) for piece in pieces)


def pattern_mask(patterns: Any, tree: PyTree) -> PyTree:
    """Return the tree of bools that patterns mean: the last one that matches decides, `!pattern`
    for False.

    If the first is an exclusion everything else is in. A pattern that matches nothing is an error.
    """
    keyed, treedef = jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_missing)
    return treedef.unflatten(pick(patterns, [path_string(path) for path, _ in keyed]))


def pick(patterns: Any, paths: Sequence[str], *, strict: bool = True) -> list[bool]:
    """Tell which of the paths patterns mean; without `strict` a pattern may match none."""
    patterns = patterns if isinstance(patterns, (list, tuple)) else [patterns]
    excludes = [isinstance(p, str) and p.startswith("!") for p in patterns]
    # A list that begins with an exclusion includes the rest (decision 11).
    chosen = np.full(len(paths), excludes[0])
    for pattern, exclude in zip(patterns, excludes, strict=True):
        bare = pattern[1:] if isinstance(pattern, str) and exclude else pattern
        hits = np.array([matches(bare, path) for path in paths], bool)
        if strict and not hits.any():
            is_regex = isinstance(bare, re.Pattern)
            shown = bare.pattern if is_regex else bare
            hint = f"the nearest paths: {closest(shown, without_value(paths))}"
            if not is_regex and re.search(r"\.\*|\.\+|[\\^$(|]", bare):
                hint = f"a str is a glob; for a regular expression write re.compile({bare!r})"
            raise ArgumentError(f"the pattern {bare!r} matches no leaf; {hint}")
        chosen[hits] = not exclude
    return chosen.tolist()


def as_mask(mask: Any, tree: PyTree) -> PyTree:
    """Return a mask in any of its forms (tree of bools, function of the tree, patterns) as a
    checked tree of bools.
    """
    if isinstance(tree, Placeholder):
        return tree
    if is_patterns(mask):
        return pattern_mask(mask, tree)
    leaves = jax.tree.leaves(mask)  # a module of bools may be callable too
    is_tree = len(leaves) > 0 and all(map(_is_bool, leaves))
    made = mask(tree) if callable(mask) and not is_tree else mask
    check_prefix(made, tree, "mask")
    for leaf, path in zip(jax.tree.leaves(made), leaf_paths(made, nothing_too=False), strict=True):
        if not _is_bool(leaf):
            raise ValueError(f"mask leaf {path!r} must be True or False, got {leaf!r}")
    return jax.tree.map(bool, made)


def _is_bool(x: Any) -> bool:
    """Tell whether this is one bool of known value: Python's, numpy's or JAX's."""
    is_array = isinstance(x, (np.ndarray, jax.Array)) and not isinstance(x, Tracer)
    return isinstance(x, (bool, np.bool_)) or (is_array and x.dtype == bool and x.shape == ())
