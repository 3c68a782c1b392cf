"""Rules of `groups`: their names, the leaves they match, and their settings of the base
optimizer.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, count
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optax_lite._transforms.scale import set_to_zero
from optax_lite.core.config import Config
from optax_lite.core.factory import as_data
from optax_lite.core.masks import is_patterns, of_variables, pick
from optax_lite.core.transform import GradientTransformation
from optax_lite.core.trees import flatten_up_to, is_inexact, is_missing, path_string
from optax_lite.core.types import PyTree
from optax_lite.core.validate import ArgumentError
from optax_lite.errors.calls import check_call, errors_named

BASE, FROZEN, AND = "base", "freeze", " & "  # in the names of groups


def is_frozen(setting: Any) -> bool:
    """Tell whether a rule freezes its leaves."""
    return isinstance(setting, GradientTransformation) and setting.factory is set_to_zero


class GroupRules(NamedTuple):
    """The rules, and the leaves that they match."""

    base: GradientTransformation
    # by name: the numbers of its overrides by their keys, or a transformation
    rules: Mapping[str, Any]
    patterns: Mapping[str, Any]  # of the rules whose name is not their pattern
    choices: Mapping[str, Mapping[str, Any]]  # overrides that are no numbers
    strict: bool

    def transformation(self, label: str) -> GradientTransformation:
        """Return the transformation of a group."""
        if label == FROZEN:
            return next(filter(is_frozen, self.rules.values()))
        tx = self.base
        for name in label.split(AND) if label != BASE else ():
            if isinstance(self.rules[name], GradientTransformation):
                return self.rules[name]
            # In the order of the rules, so that later ones win (decision 12).
            tx = self.override(tx, name)
        return tx

    def override(self, tx: GradientTransformation, name: str) -> GradientTransformation:
        """Return `tx` with the settings of one rule."""
        for key, value in sorted((self.rules[name] | self.choices.get(name, {})).items()):
            try:
                tx = tx.replace(
                    {
                        "/".join(place): value
                        for place in _checked_places(tx, name, key, self.strict)
                    }
                )
            except ArgumentError as error:
                said = f"the rule {name!r}: "
                raise ArgumentError(said + error.problem.removeprefix(said), "groups") from None
        return tx

    def matched(
        self, tree: PyTree, params: PyTree = None, *, strict: bool = False
    ) -> list[list[str]]:
        """Name the rules that match each leaf, missing leaves included, in the order of the
        rules.
        """
        keyed = jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_missing)[0]
        keys = [keys for keys, _ in keyed]
        paths, seen = (list(map(path_string, some)) for some in (keys, of_variables(keys)))
        leaves = [x for _, x in keyed] if params is None else flatten_up_to(tree, params, "params")
        found = [[] for _ in keyed]
        for name in self.rules:
            where = self.patterns.get(name, name)
            if is_patterns(where):
                chosen = pick(where, paths, strict=strict)
            else:
                # No values, so that it answers the same when the optimizer is traced (decision 15).
                pairs = zip(seen, map(_shape, leaves), strict=True)
                chosen = [shape is not None and bool(where(path, shape)) for path, shape in pairs]
            for names, hit in zip(found, chosen, strict=True):
                names += [name] * hit
        return found

    def label(self, names: Iterable[str]) -> str:
        """Return the group of the leaves that these rules match: the joined names of the rules that
        apply.
        """
        source: dict[tuple[str, ...], str] = {}
        for name in names:
            setting = self.rules[name]
            if isinstance(setting, GradientTransformation):
                return FROZEN if is_frozen(setting) else name
            for key in sorted([*setting, *self.choices.get(name, ())]):
                for place in argument_paths(self.base, key):
                    source = {p: n for p, n in source.items() if p[: len(place)] != place} | {
                        place: name
                    }
        # By rules and not by equal numbers, which may be replaced: the structure of the state must
        # not depend on them (decision 13).
        return AND.join(name for name in names if name in source.values()) or BASE

    def labels(self, tree: PyTree, params: PyTree = None, known: tuple[str, ...] = ()) -> PyTree:
        """Return the tree of group labels. A leaf that does not move gets one of the other labels,
        so that it forms no group of its own.
        """
        leaves, treedef = jax.tree.flatten(tree, is_leaf=is_missing)
        moving, names = (
            [is_inexact(x) for x in leaves],
            list(map(tuple, self.matched(tree, params))),
        )
        label = {
            n: self.label(n)
            for n in dict.fromkeys(n for n, moves in zip(names, moving, strict=True) if moves)
        }
        other = next(iter(known or label.values()), BASE)
        return treedef.unflatten(
            [label[n] if moves else other for n, moves in zip(names, moving, strict=True)]
        )

    def check_use(self, params: PyTree) -> None:
        """Raise if a rule matches no leaf, or only leaves that an earlier one has taken over."""
        with errors_named("groups"):
            self.matched(params, strict=True)
        # An exception after a freeze has no effect; it belongs inside its pattern (decision 12).
        for problem in self.problems(params):
            raise ArgumentError(problem, "groups")

    def problems(self, params: PyTree) -> Iterator[str]:
        """Describe the rules without effect."""
        found = self.matched(params)
        for name, setting in self.rules.items():
            ending = []  # for every leaf that matches, the rule before it that takes the leaf over
            for names in (n for n in found if name in n):
                before = names[: names.index(name)]
                ending.append(
                    next(
                        (n for n in before if isinstance(self.rules[n], GradientTransformation)),
                        None,
                    )
                )
            if not ending:
                is_function = not is_patterns(self.patterns.get(name, name))
                yield (
                    f"the rule {name!r} "
                    f"{'is True for no leaf that trains' if is_function else 'matches no leaf'}"
                )
            elif all(ending):
                first = ending[0]
                yield (
                    f"the rule {name!r} has no effect: {first!r} comes before it and takes all "
                    f"its leaves; exclude them there, as in ({first!r}, '!{name}')"
                )
            elif setting == {} and not self.choices.get(name):
                yield f"the rule {name!r} names no hyperparameter of {self.base.definition.name}"


def _shape(leaf: Any) -> jax.ShapeDtypeStruct | None:
    return (
        jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf)) if is_inexact(leaf) else None
    )


def as_transformation(name: str, value: Any, or_else: str = "") -> GradientTransformation:
    """Return an argument of `groups` as a transformation; a pair of functions is one too."""
    try:
        tx = as_data(name, value)
    except ArgumentError:
        tx = value
    if not isinstance(tx, GradientTransformation):
        raise ArgumentError(
            f"{name} must be a GradientTransformation{or_else}, got {value!r}", "groups"
        )
    return tx


def name_of(where: Any, taken: Iterable[str]) -> str:
    """Name a rule by its pattern, with a number if the name is taken."""
    if is_patterns(where):
        parts = where if isinstance(where, (list, tuple)) else [where]
        name = ",".join(p if isinstance(p, str) else p.pattern for p in parts).replace(AND, "&")
    elif callable(where) and not isinstance(where, (type, Config)):
        name = getattr(where, "__name__", type(where).__name__)
        with errors_named("groups"):
            hint = "a pattern that is a function takes a path and a leaf, (path, leaf)"
            check_call(name, where, ("path", "leaf"), hint)
    else:
        raise ArgumentError(
            (
                "a pattern must be a string, a compiled regular expression, a tuple of these or a "
                f"function of path and leaf, got {where!r}"
            ),
            "groups",
        )
    reserved = {BASE, FROZEN, "patterns", "choices", "strict", "rules", *taken}
    return next(n for n in chain([name], (f"{name}#{i}" for i in count(2))) if n not in reserved)


def _checked_places(
    tx: GradientTransformation, name: str, key: str, strict: bool
) -> list[tuple[str, ...]]:
    """Find a rule's hyperparameter in a transformation; with `strict` there must be exactly one."""
    found = argument_paths(tx, key)
    if strict and len(found) != 1:
        try:
            tx.find(key)
        except ArgumentError as error:
            raise ArgumentError(f"the rule {name!r}: {error.problem}", "groups") from None
    return found


def argument_paths(tx: GradientTransformation, key: str) -> list[tuple[str, ...]]:
    """Return the path in a transformation that is `key`, or else all that end in it."""
    known = [parts for parts, _ in tx.walk()]
    exact = [parts for parts in known if "/".join(parts) == key]
    return exact or [parts for parts in known if "/".join(parts).endswith(f"/{key}")]


def is_choice(base: GradientTransformation, name: str, key: str, strict: bool) -> bool:
    """Tell whether an argument of `base` is static (a flag, a dtype) rather than a number."""
    arguments = {(): base, **dict(base.walk())}
    place = next(iter(_checked_places(base, name, key, strict)), ())
    owners = [(arguments[place[:i]], part) for i, part in enumerate(place)]
    return any(isinstance(owner, Config) and part in owner.choices for owner, part in owners)
