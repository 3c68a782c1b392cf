"""Match the leaves of an old state to those of a new one, and give reasons where there is no
match.
"""

import functools
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
from jax.core import Tracer

from optax_lite.core.leafwise import as_array
from optax_lite.core.trees import show_leaf
from optax_lite.inspect._parts import Leaf, StateSection, distance


class TransferPlan:
    """For every leaf of the new state the old one that is carried there, or why there is none."""

    def __init__(self, olds: list[StateSection], news: list[StateSection]):
        self.olds, self.news = olds, news
        self.kept: dict[
            str, list[Leaf]
        ] = {}  # path in the new state: where from; of several counts the largest
        self.new: dict[str, str] = {}  # path in the new state: why it starts afresh
        self.notes: list[str] = []
        # new part: old ones its slots came from
        self.sources: dict[StateSection, list[StateSection]] = defaultdict(list)
        for kind in dict.fromkeys(part.kind for part in news):
            self._slots([p for p in news if p.kind == kind], [p for p in olds if p.kind == kind])
        for part in news:
            if not part.only_counts:
                self._shared(part, [p for p in olds if p.kind == part.kind])
        for part in news:
            if part.only_counts:
                self._count(part, [p for p in olds if p.kind == part.kind])

    def carried(self) -> Iterator[tuple[Leaf, Any]]:
        """Yield the leaves of the new state that are carried, with their values."""
        for _, _, leaf in every_leaf(self.news):
            if leaf.path in self.kept:
                values = [source.value for source in self.kept[leaf.path]]
                yield leaf, functools.reduce(jnp.maximum, values)

    def dropped(self) -> Iterator[tuple[StateSection, str, Leaf]]:
        """Yield the leaves of the old state that were not carried, each with its part and field."""
        used = {source.index for sources in self.kept.values() for source in sources}
        return (entry for entry in every_leaf(self.olds) if entry[2].index not in used)

    def _slots(self, news: list[StateSection], olds: list[StateSection]) -> None:
        for owner in dict.fromkeys(owner for part in news for owner in part.of):
            pairs = _pairs([p for p in news if owner in p.of], [p for p in olds if owner in p.of])
            for part, old in pairs:
                why = (
                    old if isinstance(old, str) else self._carry_all(part.of[owner], old.of[owner])
                )
                if why:
                    self._afresh(part.of[owner], why)
                elif isinstance(old, StateSection) and old not in self.sources[part]:
                    self.sources[part].append(old)

    def _shared(self, part: StateSection, olds: list[StateSection]) -> None:
        sources = self.sources[part]
        if not part.of:
            alike = [p for p in self.news if p.kind == part.kind and not p.of]
            old = dict(_pairs(alike, olds))[part]
            sources = [] if isinstance(old, str) else [old]
            why = old if isinstance(old, str) else ""
        else:
            why = "" if sources else "its moments start afresh"
        if len(sources) == 1:
            why = self._carry(part.shared, sources[0].shared)
        elif sources:
            for name, leaf in part.shared.items():
                found = [old.shared[name] for old in sources if name in old.shared]
                self._largest(leaf, found, f"{len(found)} of them are merged")
            return
        if why:
            self._afresh(part.shared, why)

    def _count(self, part: StateSection, olds: list[StateSection]) -> None:
        """Return the count of a schedule: its own, that of what it was split from, or that of the
        moments beside it.
        """
        leaf = part.shared["count"]
        self._afresh(
            {k: x for k, x in part.shared.items() if x is not leaf}, "set by the new optimizer"
        )
        nearest = _nearest(part, [p for p in olds if "count" in p.shared])
        alike = [p for p in self.news if (p.kind, p.context) == (part.kind, part.context)]
        if nearest and len(nearest) == len(alike):
            self._carry({"count": leaf}, {"count": nearest[alike.index(part)].shared["count"]})
            return
        found = [old.shared["count"] for old in nearest] or self._beside(part)
        self._largest(
            leaf, found, "the old state has no count to carry over, so the schedule starts from 0"
        )

    def _beside(self, part: StateSection) -> list[Leaf]:
        """Return the old counts of the nearest new parts that carry one, or else of all old
        parts.
        """
        counts = {
            p.place: source
            for p in self.news
            if "count" in p.shared and not p.only_counts
            for source in self.kept.get(p.shared["count"].path, [])
        }
        for depth in range(len(part.place), -1, -1):
            if near := [x for place, x in counts.items() if place[:depth] == part.place[:depth]]:
                return near
        return [p.shared["count"] for p in self.olds if "count" in p.shared]

    def _largest(self, leaf: Leaf, found: list[Leaf], why_not: str) -> None:
        found = [x for x in found if not misfit(leaf, x)]
        is_count = jnp.issubdtype(leaf.value.dtype, jnp.integer) and leaf.value.ndim == 0
        if not found or (len(found) > 1 and not is_count):
            self.new[leaf.path] = why_not
            return
        self.kept[leaf.path] = found
        values = {str(x.value) for x in found}
        if len(values) > 1 and not any(isinstance(x.value, Tracer) for x in found):
            self.notes.append(
                f"{leaf.path}: the counts are {', '.join(sorted(values, key=int))}; the largest "
                "is kept"
            )

    def _carry_all(self, news: dict[str, Leaf], olds: dict[str, Leaf]) -> str:
        """Carry the slots of one parameter, all of them or none, because one gives another its
        meaning.
        """
        left = [name for name in olds if name not in news]
        return f"the old state also had {left[0]}" if left else self._carry(news, olds)

    def _carry(self, news: dict[str, Leaf], olds: dict[str, Leaf]) -> str:
        """Carry all leaves of a group; if one does not fit, carry none and return the reason."""
        for name, leaf in news.items():
            if name not in olds:
                return f"the old state has no {name}"
            if why := misfit(leaf, olds[name]):
                return why
        self.kept |= {leaf.path: [olds[name]] for name, leaf in news.items()}
        return ""

    def _afresh(self, leaves: dict[str, Leaf], why: str) -> None:
        self.new |= {leaf.path: why for leaf in leaves.values()}


def every_leaf(of_parts: list[StateSection]) -> Iterator[tuple[StateSection, str, Leaf]]:
    """Yield every leaf with its part and field."""
    for part in of_parts:
        for group in (part.shared, *part.of.values()):
            yield from ((part, name.split("/")[0], leaf) for name, leaf in group.items())


def misfit(new: Leaf, old: Leaf) -> str:
    """Explain why an old leaf cannot replace a new one; empty if it can."""
    same = form(new) == form(old)
    return (
        "" if same else f"it was {show_leaf(as_array(old.value))} and is now {show_leaf(new.value)}"
    )


def form(leaf: Leaf) -> tuple:
    """Return what two leaves must share for one to replace the other: shape, and kind of number."""
    x = as_array(leaf.value)
    return x.shape, _kind(x.dtype)


@functools.cache
def _kind(dtype: Any) -> tuple[bool, ...]:
    kinds = (jnp.bool_, jnp.integer, jnp.floating, jnp.complexfloating)
    return tuple(jnp.issubdtype(dtype, kind) for kind in kinds)


def _nearest(part: StateSection, others: list[StateSection]) -> list[StateSection]:
    """Return the parts whose context is most like that of one."""
    least = min((distance(part.context, p.context) for p in others), default=0)
    return [p for p in others if distance(part.context, p.context) == least]


def _pairs(
    news: list[StateSection], olds: list[StateSection]
) -> list[tuple[StateSection, StateSection | str]]:
    """Pair each new part with the old one it continues, or give a reason; use no old one twice."""
    found: list[tuple[StateSection, StateSection | str]] = []
    for part in news:
        near = _nearest(part, olds)
        rivals = [p for p in news if p.context == part.context]
        claims = [p for p in news if near and near[0] in _nearest(p, olds)]
        winners = _nearest(near[0], claims) if near else []
        if not near:
            old = "the old state has none"
        elif part not in winners:
            old = f"the old one went to {'/'.join(winners[0].place) or 'another'}"
        elif len({p.context for p in near}) > 1 or not len(near) == len(rivals) == len(winners):
            old = f"{len(olds)} {part.kind} before, {len(news)} now, and they cannot be told apart"
        else:
            old = near[rivals.index(part)]
        found.append((part, old))
    return found
