"""Refuse orders of transformations that would run but make no sense, and name the right order.

A factory declares what its transformations are, `@transform(is_a=("gate",))`, in the words of
`WORDS`, and what makes no sense inside them, `not_around={"gate": why}`. No factory knows any
other.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from optax_lite.core.config import Config
from optax_lite.core.validate import ArgumentError

WORDS = {
    "gate": "leaves every bit of the parameters unchanged in some calls",
    "resting": "moves nothing in most calls, until the next real step",
    "sum": "adds up the updates of several calls",
    "scaled": "takes gradients of a scaled loss",
    "average": "evaluates at other parameters than those it trains",
    "mean of points": "averages the points that the parameters visit",
    "exact weights": "keeps weights with more digits than the parameters",
    "rounding": "rounds the parameters to their own low dtype",
    "compensation": "keeps what rounding cut off a step",
    "narrow state": "stores the state of its member with fewer digits",
    "drawn": "rounds its state stochastically, so that the mean is exact",
    "8 bits": "stores a state as codes",
    "by path": "assigns leaves to other transformations by their paths",
    "vector": "shows its member one vector instead of a tree",
    "line search": "tries points before it moves",
    "watching": "changes no update",
    "always on": "runs its members in every update",
    "passing": "passes gradients to its member unchanged",
    "direction": "makes a direction whatever the sign of its members, and needs a rate after it",
    "rate": "is the learning rate alone",
    "of matrices": "does what is its own to matrices alone",
    "behind the rate": "works on steps that already include the rate",
    "injecting": "keeps the hyperparameters of its member in its own state",
    "foreign": "calls a factory of another library, which takes plain numbers",
}
INSTEAD = "; write {inner}({outer}(...))"
# where the inner one takes other arguments too
INSTEAD_OF_MORE = "; write {inner}({outer}(...), ...)"
ONE = "; keep one of the two"
# of every wrapper but a chain
SCALED = {"scaled": "so the gradients here would still be scaled" + INSTEAD}
ONE_AVERAGE = {"average": "and each evaluates at parameters of its own" + ONE}
EVERY_POINT = {"resting": "so the average would count every point several times" + INSTEAD_OF_MORE}
BETWEEN = {"mean of points": "so it would average points that the parameters never visit" + INSTEAD}
ROUNDED = {"rounding": "and both round the parameters" + ONE}
# where 0 does not stay 0
_MOVING = ("_transforms.decay", "_transforms.momentum", "_transforms.noise", "optimizers")


def check_words(is_a: Iterable[str] = (), not_around: Mapping[str, Any] | None = None) -> None:
    """Raise unless a factory speaks of itself and of others in known words."""
    for word in (*is_a, *(key.split("/")[-1] for key in not_around or ())):
        if word not in WORDS:
            raise TypeError(f"transform: unknown word {word!r}; the words are {', '.join(WORDS)}")


def check_inside(outer: Config) -> None:
    """Raise if among the arguments of a call, at any depth, is what should stand around it.

    A reason is a text with {inner} and {outer}, or a function of the call that returns one, or
    None. It may be about one argument alone: "adv_optimizer/average".
    """
    reasons: Mapping[str, Any] = outer.definition.traits.get("not_around", {})
    for path, inner in outer.walk() if reasons else ():
        for word in inner.definition.words if isinstance(inner, Config) else ():
            for key, where in ((word, "inside"), (f"{path[0]}/{word}", f"inside {path[0]}")):
                why: Any = reasons.get(key)
                if why := why(outer) if callable(why) else why:
                    raise ArgumentError(
                        f"{inner.definition.name} is {where}, {_told(why, inner, outer)}"
                    )


def _told(why: str, inner: Config, outer: Config) -> str:
    """A reason with the names in it; of two alike one is enough."""
    why = why.replace(INSTEAD, ONE) if inner.factory is outer.factory else why
    return why.format(inner=inner.definition.name, outer=outer.definition.name)


def check_sequence(members: Iterable[Config]) -> None:
    """Raise if a member of a chain undoes what one before it holds still, or has rounded."""
    gate = rounding = before = None
    for member in members:
        name, is_a = member.definition.name, member.definition.words
        if rounding and "watching" not in is_a:
            raise ArgumentError(
                f"{name} after {rounding} would change what {rounding} has rounded; write "
                f"{rounding}(chain(...))"
            )
        if "scaled" in is_a and before:
            raise ArgumentError(
                f"{before} before {name} would see scaled gradients; write {name}(chain(...))"
            )
        if gate and member.factory.__module__.removeprefix("optax_lite.").startswith(_MOVING):
            raise ArgumentError(
                f"{name} after {gate} would move the parameters even when {gate} holds them "
                f"still; write {gate}(chain(...))"
            )
        gate = name if "gate" in is_a else gate
        rounding = name if "rounding" in is_a else rounding
        before = before if "watching" in is_a else name
