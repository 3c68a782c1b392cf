"""A report of `transfer` in words."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
from jax.core import Tracer

from optax_lite.inspect._matching import TransferPlan, every_leaf, form
from optax_lite.inspect._parts import Leaf, StateSection
from optax_lite.inspect._table import abbreviate, shorten


@dataclasses.dataclass(frozen=True)
class TransferReport:
    """A report of what `transfer` did, by path; it prints a line for each field of a state, then
    the notes.
    """

    kept: dict[str, str]  # path in the new state: path in the old one
    new: dict[str, str]  # path in the new state: why it starts afresh
    dropped: dict[str, str]  # path in the old state: why it is not there any more
    notes: tuple[str, ...]  # what to know before training goes on
    # printed before the notes
    _lines: tuple[str, ...] = dataclasses.field(repr=False)

    def __str__(self) -> str:
        return "\n".join([*self._lines, *(f"note     {note}" for note in self.notes)])


def report_of(plan: TransferPlan) -> TransferReport:
    """Return the report of a plan."""
    kept = {path: ", ".join(leaf.path for leaf in leaves) for path, leaves in plan.kept.items()}
    kinds = {part.kind for part in plan.news}
    dropped = {
        leaf.path: (
            "the new optimizer sets it"
            if "hyperparams/" in leaf.path
            else "the new state has no place for it"
            if part.kind in kinds
            else f"the new state has no {part.kind or 'such part'}"
        )
        for part, _, leaf in plan.dropped()
    }
    entries = list(every_leaf(plan.news))
    lines = [
        *_lines("kept", [entry for entry in entries if entry[2].path in kept], {}, plan.kept),
        *_lines("new", [entry for entry in entries if entry[2].path in plan.new], plan.new, {}),
        *_lines("dropped", list(plan.dropped()), dropped, {}),
    ]
    return TransferReport(kept, plan.new, dropped, (*plan.notes, *_warnings(plan)), tuple(lines))


def _lines(
    word: str,
    leaves: list[tuple[StateSection, str, Leaf]],
    why: dict[str, str],
    kept: dict[str, list[Leaf]],
) -> list[str]:
    groups: dict[tuple[str, str], list[Leaf]] = defaultdict(list)
    parts = {id(part): part for part, _, _ in leaves}  # each once, or this would be quadratic
    owners = {
        leaf.path: owner
        for part in parts.values()
        for owner, slots in part.of.items()
        for leaf in slots.values()
    }
    for part, field, leaf in leaves:
        name = f"{part.kind}.{field}" if part.kind else leaf.path
        groups[name, why.get(leaf.path, "")].append(leaf)
    lines = []
    for (name, reason), members in groups.items():
        now = kept.get(members[0].path, [members[0]])[-1].value
        is_count = len(members) == 1 and now.ndim == 0 and not isinstance(now, Tracer)
        number = f"{len(members)} {'leaf' if len(members) == 1 else 'leaves'}"
        shown = f"= {now}" if is_count else number
        if not is_count and word != "kept":
            paths = [owners.get(leaf.path) or shorten(leaf.path, 48) for leaf in members]
            shown += f": {abbreviate(dict.fromkeys(paths))}"
        lines.append(f"{word:8} {name}  {shown}{f'  ({reason})' if reason else ''}")
    return lines


def _is_set(value: Any) -> bool:
    """Tell whether a slot begins with values, as an average of the parameters does, and not at
    0.
    """
    return not isinstance(value, Tracer) and bool(np.asarray(value).any())


def _warnings(plan: TransferPlan) -> Iterator[str]:
    """Warn of moments at 0 beside a count that went on, and of names that look changed."""
    for part in plan.news:
        afresh = [
            owner
            for owner, slots in part.of.items()
            if all(leaf.path in plan.new and not _is_set(leaf.value) for leaf in slots.values())
        ]
        if afresh and any(
            leaf.path in plan.kept
            for name, leaf in part.shared.items()
            if "count" in name or name == "t"
        ):
            yield (
                f"{abbreviate(afresh)}: {part.kind} starts at 0 there while its count continues, "
                "so its first steps are not bias-corrected (Adam's are up to (1 - b1)/√(1 - b2) "
                "times as long): warm up, or give these leaves their own optimizer in a "
                "partition"
            )
        firsts = []
        for owner in afresh:
            field, leaf = next(iter(part.of[owner].items()))
            firsts.append((owner, field.removesuffix(f"/{owner}"), leaf))
        different = dict.fromkeys(field for _, field, _ in firsts)
        # by field and form, as comparing each with each is quadratic
        alike: dict[tuple, set[str]] = defaultdict(set)
        olds = [p for p in plan.olds if p.kind == part.kind]
        for name, leaf in (item for old in olds for item in old.shared.items()):
            for field in (f for f in different if name.startswith(f"{f}/")):
                alike[field, form(leaf)].add(name.removeprefix(f"{field}/"))
        for owner, field, leaf in firsts:
            if len(found := alike[field, form(leaf)]) == 1:
                (was,) = found
                yield (
                    f"{owner} may be the old {was}; if so, write transfer(..., "
                    f"renamed={{{was!r}: {owner!r}}})"
                )
