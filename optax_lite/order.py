"""Orders of transformations that would run but make no sense; each is told with the one that was meant."""

from collections.abc import Iterable, Iterator

from optax_lite.check import ArgumentError
from optax_lite.data import Config

_RESTING = ("accumulate", "MultiSteps")  # move nothing in most calls
_GATES = (*_RESTING, "skip_bad_steps", "apply_if_finite", "loss_scaling")  # move nothing in some calls, to the bit
_AVERAGES = ("average_params", "lookahead", "schedule_free", "schedule_free_sgd", "schedule_free_adamw")
_SEARCHES = ("scale_by_backtracking_linesearch", "scale_by_zoom_linesearch")
_BY_PATH = ("groups", "masked", "partition", "selective_transform")
_OF_EVERY_CALL = {  # what each does in every call, also where nothing moved
    "average_params": "the average would take in every point several times",
    "lookahead": "the slow weights would be due after sync_period gradients, not steps",
    "schedule_free": "the average would take in every point several times",
    "mechanize": "the scale would be tuned by steps that moved nothing",
    "cautious": "an update would be compared with the last gradient, not with the mean",
}
_ROUNDING = ("stochastic_rounding", "kahan", "master_weights")
_ROUNDING_INSIDE = {  # what each does with the updates of what is inside, which should not be rounded yet
    "schedule_free": "the steps of its own iterate would be rounded as those of the params",
    "mechanize": "the sum of its updates would be one of roundings",
    "cautious": "signs would be compared with those of roundings",
    "sam": "a climb and its way back would be rounded each",
    "flatten": "it would see one leaf, in float32 if any is",
}
_INSIDE_ROUNDING = {  # (outer, inner): why not
    **{("kahan", gate): "the compensation would move the parameters when that holds them still" for gate in _GATES},
    ("kahan", "average_params"): "the average would be of points where the parameters never are",
    ("stochastic_rounding", "average_params"): "the average would be of points where the parameters never are",
    ("lookahead", "kahan"): "what is left of the fast weights would be added to the slow ones",
}
_IN_8_BITS = {  # what the state that quantize_state would round is for
    **dict.fromkeys(
        (*_GATES, "apply_every"), "a call that moves nothing would round the state, and the sum of gradients too"
    ),
    "flatten": "there is one leaf without a path, of all shapes, for `keep` and the shared exponents",
    "with_state_dtype": "the state would be rounded twice",
    "quantize_state": "the state would be rounded twice",
    "kahan": "what rounding took from a step would be rounded itself",
}
_KEPT_EXACT = ("master_weights", "average_params", "lookahead")  # their slots are to have more digits than the params
_WATCHING = ("identity", "monitor", "snapshot")  # change no update
_MOVING = ("transforms.decay", "transforms.momentum", "transforms.noise", "optimizers")  # where 0 does not stay 0
_CHECKED = {
    *_GATES, *_AVERAGES, *_BY_PATH, *_ROUNDING, *_OF_EVERY_CALL, *_ROUNDING_INSIDE, "with_state_dtype",
    "quantize_state", "with_metrics", "conditionally_mask", "conditionally_transform", "split_real_and_imaginary",
}  # fmt: skip


def check_inside(outer: str, call: Config) -> None:
    """Raise if among the arguments of a factory's call, at any depth, is what should stand around it."""
    for inner in _names(call) if outer in _CHECKED else ():
        if inner == "loss_scaling":
            problem = "keep one of the two" if outer == inner else f"write {inner}({outer}(...))"
            raise ArgumentError(f"{inner} is inside, so the gradients here would be scaled ones; {problem}")
        if outer in _ROUNDING and inner in _ROUNDING:
            raise ArgumentError(f"{inner} is inside, which rounds the parameters as well; keep one of the two")
        if inner in _ROUNDING and outer in _ROUNDING_INSIDE:
            raise ArgumentError(f"{inner} is inside, so {_ROUNDING_INSIDE[outer]}; write {inner}({outer}(...))")
        if (outer, inner) in _INSIDE_ROUNDING:
            raise ArgumentError(f"{inner} is inside, so {_INSIDE_ROUNDING[outer, inner]}; write {inner}({outer}(...))")
        if outer == "quantize_state" and inner in _IN_8_BITS:
            instead = "keep one of the two" if "twice" in _IN_8_BITS[inner] else f"write {inner}({outer}(...))"
            raise ArgumentError(f"{inner} is inside, so {_IN_8_BITS[inner]}; {instead}")
        if outer == "with_state_dtype" and inner == "quantize_state":
            raise ArgumentError(f"{inner} is inside, so {_IN_8_BITS[inner]}; keep one of the two")
        if outer == "with_state_dtype" and inner in _KEPT_EXACT and not isinstance(call.arguments["dtype"], dict):
            problem = "so the weights that it keeps would be rounded with the moments"
            raise ArgumentError(f"{inner} is inside, {problem}; write {inner}({outer}(...)), or name the slots")
        if outer in _OF_EVERY_CALL and inner in _RESTING:
            raise ArgumentError(f"{inner} is inside, so {_OF_EVERY_CALL[outer]}; write {inner}({outer}(...), ...)")
        if outer in _AVERAGES and inner in _AVERAGES:
            raise ArgumentError(f"{inner} is inside, which has parameters to evaluate at as well; keep one of the two")
        if outer == "sam" and inner in _AVERAGES and inner in _names(call, "adv_optimizer"):
            raise ArgumentError(
                f"{inner} is inside adv_optimizer, at whose points nobody evaluates; leave it out there"
            )
        if outer == "split_real_and_imaginary" and inner in _AVERAGES:
            raise ArgumentError(f"{inner} is inside, whose average would be in halves; write {inner}({outer}(...))")
        if outer == "split_real_and_imaginary" and inner in _SEARCHES:
            raise ArgumentError(f"{inner} is inside, which needs the parameters whole; it takes complex ones by itself")
        if outer == "flatten" and inner in _BY_PATH:
            raise ArgumentError(f"{inner} is inside, where all is one leaf without a path; write {inner}(flatten(...))")


def _names(call: Config, argument: str = "") -> Iterator[str]:
    """The names of all factories in a call, or in one argument of it, from the outside in."""
    for path, x in call.walk():
        if isinstance(x, Config) and (not argument or path[0] == argument):
            yield x.factory.name


def check_sequence(members: Iterable[tuple[str, str]]) -> None:
    """Raise if a member of a chain, by name and module, undoes what one before it holds still, or has rounded."""
    gate = rounding = before = None
    for name, module in members:
        if rounding and name not in _WATCHING:
            raise ArgumentError(f"{name} after {rounding} would change what is rounded; write {rounding}(chain(...))")
        if name == "loss_scaling" and before:
            raise ArgumentError(f"{before} before {name} would see scaled gradients; write {name}(chain(...))")
        if gate and module.removeprefix("optax_lite.").startswith(_MOVING):
            raise ArgumentError(
                f"{name} after {gate} would move the parameters when that holds them still; write {gate}(chain(...))"
            )
        gate = name if name in _GATES else gate
        rounding = name if name in _ROUNDING else rounding
        before = before if name in _WATCHING else name
