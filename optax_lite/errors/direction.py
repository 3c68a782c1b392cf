"""Compute the direction of a transformation's updates: the sign of the gradient must change exactly
once.
"""

from typing import Any, cast

from optax_lite.core.transform import GradientTransformation
from optax_lite.core.validate import ArgumentError


def descends(tx: GradientTransformation) -> bool | None:
    """Tell whether updates lead downhill, by what the factories declare; None where that cannot be
    known.

    A factory that declares nothing is as what it builds, or, of plain functions, as its members:
    uphill without any. A transformation from elsewhere is unknown.
    """
    definition = tx.definition
    told = definition.traits.get("descends")
    if told is not None:
        return cast("bool | None", told(tx) if callable(told) else told)
    built, members = definition.check(tx), list(tx.members())
    if isinstance(built, GradientTransformation):
        found = descends(built)
    elif members:
        each = list(map(descends, members))
        found = True if True in each else None if None in each else False
    else:
        found = False if tx.factory.__module__.startswith("optax_lite.") else None
    if not members:
        # Asked once: its numbers do not matter, and a negative rate is still a rate (decision 37).
        definition.traits["descends"] = found
    return found


def of_chain(members: Any) -> bool | None:
    """The direction behind members one after another; two changes of sign are none."""
    found = list(map(descends, members))
    return None if None in found else sum(filter(None, found)) % 2 == 1


def check_makes_direction(wrapper: str, inner: GradientTransformation, why: str) -> None:
    """Raise if what a wrapper takes for a direction is a step downhill already."""
    if descends(inner):
        name = inner.definition.name
        raise ArgumentError(
            f"{name} inside already changes the sign, so {why}; write "
            f"chain({wrapper}(scale_by_...()), add_decayed_weights(...), "
            "scale_by_learning_rate(...)), which wraps its direction alone"
        )


def check_makes_steps(inner: GradientTransformation, why: str) -> None:
    """Raise if what a wrapper takes for an optimizer leads uphill."""
    if descends(inner) is False:
        name = inner.definition.name
        raise ArgumentError(
            f"{name} inside does not change the sign, so {why}; write chain({name}(...), "
            "scale_by_learning_rate(...)) inside"
        )


def check_one_sign(members: list[GradientTransformation]) -> None:
    """Raise if members of a chain undo what one before them did: the sign, the learning rate, the
    side of a decay.
    """
    down = None
    for member in members:
        known, name, turned = member.definition, member.definition.name, descends(member)
        problem = known.traits.get("before_descent", lambda _: None)(member)
        if down and problem:
            raise ArgumentError(
                f"{name} after {down} {problem}; write chain({name}(...), {down}(...))"
            )
        is_rule = member.factory.__module__.startswith("optax_lite.optimizers.")
        if down and turned and (is_rule or "rate" in known.words):
            raise ArgumentError(
                f"{name} after {down} changes the sign back, so the parameters would go uphill; "
                "keep one of the two"
            )
        is_direction = "direction" in known.words or (
            turned is False and "behind the rate" not in known.words
        )
        if down and is_rule and is_direction:
            raise ArgumentError(
                f"{name} after {down} would undo its learning rate; write chain({name}(...), "
                f"{down}(...))"
            )
        down = down or (name if turned else None)
