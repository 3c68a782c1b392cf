"""Orders of transformations that would run but make no sense; each is told with the one that was
meant.

A factory says what its transformations are, `@transform(is_a=("gate",))`, in the words of `WORDS`,
and what makes no sense inside of them, `not_around={"gate": why}`. Nobody need know who else there
is.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from optax_lite.core.config import Config
from optax_lite.core.validate import ArgumentError

WORDS = {
    "gate": "moves nothing in some calls, to the bit",
    "resting": "moves nothing in most calls, until a real step is due",
    "sum": "adds up the updates of several calls",
    "scaled": "takes gradients of a loss that was scaled",
    "average": "has parameters to evaluate at that are not those to train",
    "mean of points": "averages the points where the parameters are",
    "exact weights": "keeps weights, with more digits than the parameters have",
    "rounding": "lands on numbers of the parameters' low dtype",
    "compensation": "keeps what rounding took from a step",
    "narrow state": "keeps a state with fewer digits than what is inside makes",
    "drawn": "rounds what it keeps at random, so that nothing is lost in the mean",
    "8 bits": "keeps codes in place of a state",
    "by path": "gives leaves of a tree to others by their paths",
    "vector": "shows what is inside one vector in place of a tree",
    "line search": "tries points before it moves",
    "watching": "changes no update",
    "always on": "runs its members in every update",
    "passing": "hands gradients on to its member as they came",
    "direction": "makes a direction whatever sign its members have, and takes a rate behind it",
    "rate": "is the learning rate alone",
    "behind the rate": "works on steps, which already have their size",
    "injecting": "keeps the numbers of its member in its own state",
    "foreign": "calls a factory from elsewhere, which takes plain numbers",
}
INSTEAD = "; write {inner}({outer}(...))"
# where the inner one takes other arguments too
INSTEAD_OF_MORE = "; write {inner}({outer}(...), ...)"
ONE = "; keep one of the two"
# of every wrapper but a chain
SCALED = {"scaled": "so the gradients here would be scaled ones" + INSTEAD}
ONE_AVERAGE = {"average": "which has parameters to evaluate at as well" + ONE}
EVERY_POINT = {
    "resting": "so the average would take in every point several times" + INSTEAD_OF_MORE
}
BETWEEN = {
    "mean of points": "so the average would be of points where the parameters never are" + INSTEAD
}
ROUNDED = {"rounding": "which rounds the parameters as well" + ONE}
# where 0 does not stay 0
_MOVING = ("_transforms.decay", "_transforms.momentum", "_transforms.noise", "optimizers")


def check_words(is_a: Iterable[str] = (), not_around: Mapping[str, Any] | None = None) -> None:
    """Raise unless a factory speaks of itself and of others in known words."""
    for word in (*is_a, *(key.split("/")[-1] for key in not_around or ())):
        if word not in WORDS:
            raise TypeError(f"transform: no word {word!r}; there are {', '.join(WORDS)}")


def check_inside(outer: Config) -> None:
    """Raise if among the arguments of a call, at any depth, is what should stand around it.

    A reason is a text with {inner} and {outer}, or a function of the call that returns one, or
    None. It may be about one argument alone: "adv_optimizer/average".
    """
    reasons: Mapping[str, Any] = outer.factory.traits.get("not_around", {})
    for path, inner in outer.walk() if reasons else ():
        for word in inner.factory.words if isinstance(inner, Config) else ():
            for key, where in ((word, "inside"), (f"{path[0]}/{word}", f"inside {path[0]}")):
                why: Any = reasons.get(key)
                if why := why(outer) if callable(why) else why:
                    raise ArgumentError(
                        f"{inner.factory.name} is {where}, {_told(why, inner, outer)}"
                    )


def _told(why: str, inner: Config, outer: Config) -> str:
    """A reason with the names in it; of two alike one is enough."""
    why = why.replace(INSTEAD, ONE) if inner.factory is outer.factory else why
    return why.format(inner=inner.factory.name, outer=outer.factory.name)


def check_sequence(members: Iterable[Config]) -> None:
    """Raise if a member of a chain undoes what one before it holds still, or has rounded."""
    gate = rounding = before = None
    for factory in (member.factory for member in members):
        name, is_a = factory.name, factory.words
        if rounding and "watching" not in is_a:
            raise ArgumentError(
                f"{name} after {rounding} would change what is rounded; write "
                f"{rounding}(chain(...))"
            )
        if "scaled" in is_a and before:
            raise ArgumentError(
                f"{before} before {name} would see scaled gradients; write {name}(chain(...))"
            )
        if gate and factory.__module__.removeprefix("optax_lite.").startswith(_MOVING):
            raise ArgumentError(
                f"{name} after {gate} would move the parameters when that holds them still; write "
                f"{gate}(chain(...))"
            )
        gate = name if "gate" in is_a else gate
        rounding = name if "rounding" in is_a else rounding
        before = before if "watching" in is_a else name
