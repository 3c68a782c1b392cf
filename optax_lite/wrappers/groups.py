"""Settings by parameter: rules from patterns of paths to other hyperparameters, to transformations,
or to "freeze".
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import jax

from optax_lite._transforms.scale import set_to_zero
from optax_lite.core.compose import MaskedState, PartitionState, check_members, partition
from optax_lite.core.config import Config
from optax_lite.core.frozen import by_part
from optax_lite.core.functions import wrapping
from optax_lite.core.masks import Placeholder
from optax_lite.core.transform import GradientTransformation, transform
from optax_lite.core.types import PyTree, TransformationLike
from optax_lite.core.validate import ArgumentError
from optax_lite.errors.composition import SCALED
from optax_lite.wrappers._rules import (
    FROZEN,
    GroupRules,
    argument_paths,
    as_transformation,
    is_choice,
    name_of,
)

# A dict's keys and values are not checked closer: checkers join the types of a literal's entries,
# of {("bias", "norm"): {...}, "head": "freeze"} to a dict[Sequence[str], Collection[str]].
Rules: TypeAlias = Mapping[Any, Any] | Iterable[tuple[Any, Any]]


def groups(
    base: TransformationLike, rules: Rules, *, strict: bool = True
) -> GradientTransformation:
    """Override settings of the optimizer `base` for the parameters that patterns match.

    A rule is a pattern and a setting. A dict overrides hyperparameters of `base`; if several rules
    match a leaf, their overrides are merged, and later ones win. A transformation, or "freeze",
    takes over the leaf: the first such rule that matches decides, and the other rules do not apply
    to that leaf.

    A pattern is a glob, a compiled regular expression, a tuple of these
    (`("encoder", "!encoder/adapter")`, where the last match decides; see `masked`), or a function
    of a leaf's path and its `jax.ShapeDtypeStruct`. An override names a hyperparameter of `base` as
    `replace` does, and may also be a flag or a dtype. Its number becomes a hyperparameter of the
    result, such as `"head/learning_rate"`; that of the leaves without an override is
    `"base/learning_rate"`.

    Leaves whose overrides come from the same rules form one group, with one state. A norm inside
    `base` covers one group. A norm outside, as in `chain(clip_by_global_norm(1.0),
    groups(adamw(1e-3), rules))`, covers all leaves except the frozen ones, even if other members
    come in between.

    Args:
        base: The optimizer whose settings the rules override.
        rules: Mapping from patterns to settings, or pairs of the two; order matters.
        strict: Raise if a rule or override has no effect or is ambiguous. False ignores one without
            effect; an override that names several hyperparameters then sets them all.

    Raises:
        ArgumentError: With `strict`, if a rule matches no leaf or only leaves that an earlier one
            has taken over, or if an override names no hyperparameter or several.

    Examples:
        >>> rules = {("bias", "norm*"): {"weight_decay": 0.0}, "head": {"learning_rate": 1e-2}}
        >>> tx = groups(adamw(1e-3), {**rules, "encoder": "freeze"})
        >>> tx = tx.replace({"head/learning_rate": 3e-2})
    """
    base = as_transformation("base", base)
    if not isinstance(rules, Iterable) or isinstance(rules, str):
        raise ArgumentError(
            'rules must be a dict of settings by pattern, {"bias": {"weight_decay": 0.0}}, or '
            f"pairs; got {rules!r:.60}",
            "groups",
        )
    items = list(rules.items() if isinstance(rules, Mapping) else rules)
    given, patterns, choices = {}, {}, {}
    for item in items:
        if not isinstance(item, tuple) or len(item) != 2:
            raise ArgumentError(
                f"rules must be pairs (pattern, setting), or a mapping; got {item!r}", "groups"
            )
        where, setting = item
        name = name_of(where, given)
        if name != where:
            patterns[name] = where
        if isinstance(setting, Mapping):
            numbers = {
                key: value
                for key, value in setting.items()
                if not is_choice(base, name, key, strict)
            }
            given[name] = {
                key: value for key, value in numbers.items() if argument_paths(base, key)
            }
            choices |= {name: {key: value for key, value in setting.items() if key not in numbers}}
        else:
            given[name] = (
                set_to_zero() if isinstance(setting, str) and setting == FROZEN else setting
            )
            as_transformation(
                f"the rule {name!r}",
                given[name],
                ' (or "freeze", or a dict of overrides such as {"learning_rate": 1e-4})',
            )
    choices = {name: of_rule for name, of_rule in choices.items() if of_rule}
    return _groups(base, patterns=patterns or None, choices=choices or None, strict=strict, **given)


def _frozen_groups(tx, updates, params):
    plan = _plan_of(tx)
    labels = plan.labels(updates, params)
    return by_part(
        {k: plan.transformation(k) for k in dict.fromkeys(jax.tree.leaves(labels))},
        labels,
        updates,
        params,
    )


@transform(
    static=("patterns", "choices"), freezes=_frozen_groups, is_a=("by path",), not_around=SCALED
)
def _groups(base, *, patterns=None, choices=None, strict=True, **rules):
    check_members({"base": base})
    plan = GroupRules(base, rules, patterns or {}, choices or {}, strict)
    for name, setting in rules.items():
        if isinstance(setting, dict):
            plan.override(base, name)

    def init(params):
        if isinstance(params, Placeholder):
            parts: Any = Placeholder(
                lambda states: {k: MaskedState(plan.transformation(k).init(params)) for k in states}
            )
            return PartitionState(parts)
        if strict:
            plan.check_use(params)
        labels = plan.labels(params)
        used = set(jax.tree.leaves(labels))
        # The order of strings in a set differs between the processes of a job (decision 16).
        return partition.definition.builder(
            {k: plan.transformation(k) for k in sorted(used)}, labels
        )[0](params)

    def run(inner, updates, state, params=None, **extra):
        labels = plan.labels(updates, params, tuple(state.inner_states))
        parts = partition.definition.builder(
            {k: plan.transformation(k) for k in state.inner_states}, labels
        )
        return inner.of(parts)(updates, state, params, **extra)

    return wrapping(base, init, run)


def group_of_leaves(
    tx: GradientTransformation, params: PyTree
) -> tuple[PyTree, dict[str, GradientTransformation]]:
    """Return the tree of group labels of the params, and the transformation of each group."""
    plan = _plan_of(tx)
    labels = plan.labels(params)
    return labels, {
        label: plan.transformation(label) for label in sorted(set(jax.tree.leaves(labels)))
    }


def idle_rules(tx: GradientTransformation, params: PyTree) -> list[str]:
    """Report the rules of `groups(..., strict=False)` without effect, anywhere in an optimizer."""
    lenient = [x for x in tx.calls() if x.factory is _groups and not x.arguments["strict"]]
    return [problem for x in lenient for problem in _plan_of(x).problems(params)]


def _plan_of(tx: Config) -> GroupRules:
    rules = tx.arguments
    base, patterns, choices, strict = map(rules.pop, ("base", "patterns", "choices", "strict"))
    return GroupRules(base, rules, patterns or {}, choices or {}, strict)
