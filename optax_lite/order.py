"""Orders of transformations that would run but make no sense; each is told with the one that was meant."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from optax_lite.check import ArgumentError

_RESTING = ("accumulate", "MultiSteps")  # move nothing in most calls
_GATES = (*_RESTING, "skip_bad_steps", "apply_if_finite")  # move nothing in some calls, to the bit
_AVERAGES = ("average_params", "lookahead", "schedule_free", "schedule_free_sgd", "schedule_free_adamw")
_BY_PATH = ("groups", "masked", "partition", "selective_transform")
_OF_EVERY_CALL = {  # what each does in every call, also where nothing moved
    "average_params": "the average would take in every point several times",
    "lookahead": "the slow weights would be due after sync_period gradients, not steps",
    "schedule_free": "the average would take in every point several times",
    "mechanize": "the scale would be tuned by steps that moved nothing",
    "cautious": "an update would be compared with the last gradient, not with the mean",
}
_MOVING = ("transforms.decay", "transforms.momentum", "transforms.noise", "optimizers")  # where 0 does not stay 0
_CHECKED = {*_OF_EVERY_CALL, "flatten"}


def check_inside(outer: str, arguments: Any, children: Callable[[Any], Iterable[tuple[str, Any]]]) -> None:
    """Raise if among the arguments of a factory, at any depth, is what should stand around it."""
    for inner in _names(arguments, children) if outer in _CHECKED else ():
        if outer in _OF_EVERY_CALL and inner in _RESTING:
            raise ArgumentError(f"{inner} is inside, so {_OF_EVERY_CALL[outer]}; write {inner}({outer}(...), ...)")
        if outer in _AVERAGES and inner in _AVERAGES:
            raise ArgumentError(f"{inner} is inside, which has parameters to evaluate at as well; keep one of the two")
        if outer == "flatten" and inner in _BY_PATH:
            raise ArgumentError(f"{inner} is inside, where all is one leaf without a path; write {inner}(flatten(...))")


def _names(value: Any, children: Callable[[Any], Iterable[tuple[str, Any]]]) -> Iterator[str]:
    """The names of all factories in a value, from the outside in."""
    for _, child in children(value):
        if hasattr(child, "_call"):
            yield child._call.name
        yield from _names(child, children)


def check_sequence(members: Iterable[tuple[str, str]]) -> None:
    """Raise if a member of a chain, by name and module, moves parameters when one before it holds them still."""
    gate = None
    for name, module in members:
        if gate and module.removeprefix("optax_lite.").startswith(_MOVING):
            raise ArgumentError(
                f"{name} after {gate} would move the parameters when that holds them still; write {gate}(chain(...))"
            )
        gate = name if name in _GATES else gate
