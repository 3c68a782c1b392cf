"""Chains that run but may be mistakes: a direction uphill, and members in an order that is rarely
wanted.
"""

from collections.abc import Iterator

import jax

from optax_lite._transforms.clip import adaptive_grad_clip, clip, clip_by_global_norm
from optax_lite._transforms.decay import add_decayed_weights
from optax_lite._transforms.momentum import ema
from optax_lite._transforms.scale import scale_by_schedule
from optax_lite.core.compose import is_chain, links
from optax_lite.core.masks import Placeholder
from optax_lite.core.transform import GradientTransformation
from optax_lite.errors.direction import descends
from optax_lite.errors.states import states_with
from optax_lite.inspect._table import value_range

# of gradients; a bound on the RMS is for updates
_CLIPS = (clip, clip_by_global_norm, adaptive_grad_clip)
_SMALL = 0.1  # a rate below it is not there to be multiplied by another one


def doubts(tx: GradientTransformation) -> Iterator[str]:
    """Report likely mistakes; only in chains that were written, not in those that a factory
    makes.
    """
    chains = [x for x in tx.calls() if isinstance(x, GradientTransformation) and is_chain(x)]
    inside = {id(x) for chain in chains for x in chain.members() if is_chain(x)}
    written = [list(links([chain])) for chain in chains if id(chain) not in inside]
    if written and descends(tx) is False:
        yield _uphill(written)
    for members in written:
        yield from _clipped_late(members)
        yield from _decayed_early(members)
        yield from _rated_twice(members)


def _uphill(written: list[list[GradientTransformation]]) -> str:
    for members in written:
        turning = [member.definition.name for member in members if descends(member)]
        if len(turning) > 1:
            again = f"{turning[1]} after {turning[0]} changes the sign back"
            return f"{again}: params go uphill, which is right only to maximize the loss"
    return (
        "no member changes the sign, so params go uphill; write scale_by_learning_rate(...) at "
        "the end of the chain"
    )


def _of(member: GradientTransformation) -> Iterator[GradientTransformation]:
    """Return the member and the transformations nested in it."""
    return (x for x in member.calls() if isinstance(x, GradientTransformation))


def _is_rule(member: GradientTransformation) -> bool:
    return member.factory.__module__.startswith("optax_lite.optimizers.")


def _clipped_late(members: list[GradientTransformation]) -> Iterator[str]:
    rule = None
    for member in members:
        name = member.definition.name
        if rule and member.factory in _CLIPS:
            yield (
                f"{name} after {rule} bounds the update; to bound the gradient write "
                f"chain({name}(...), {rule}(...))"
            )
        if rule and member.factory is ema:
            yield (
                f"ema after {rule} averages the updates; to average the parameters write "
                "average_params(tx, decay=...)"
            )
        rule = rule or (name if any(map(_is_rule, _of(member))) else None)


def _decayed_early(members: list[GradientTransformation]) -> Iterator[str]:
    decays = False
    for member in members:
        name = member.definition.name
        if member.factory is add_decayed_weights:
            decays = any(value_range(member.arguments["weight_decay"]))
        elif decays and _divides(member):
            yield (
                f"add_decayed_weights before {name} is an L2 penalty, which {name} rescales "
                "together with the gradient; for decoupled decay, as in adamw, put it between "
                "the scaling and the learning rate"
            )
            decays = False


def _divides(member: GradientTransformation) -> bool:
    """Tell whether a rule keeps a second moment of its updates."""
    found: list[object] = []
    if _is_rule(member):
        jax.eval_shape(lambda: found.extend(states_with(member.init(Placeholder()), "nu")))
    return bool(found)


def _rated_twice(members: list[GradientTransformation]) -> Iterator[str]:
    rated = None
    for member in members:
        name = member.definition.name
        factors = (
            value_range(member.arguments["step_size_fn"])
            if member.factory is scale_by_schedule
            else ()
        )
        if rated and factors and max(map(abs, factors)) < _SMALL:
            low, high = factors
            yield (
                f"{name} after {rated} multiplies its learning rate by {low:.3g} to {high:.3g}: "
                "the rate is applied twice"
            )
        rates = [
            value for path, value in member.hyperparams.items() if path.endswith("learning_rate")
        ]
        rated = (
            name
            if rates and max(abs(x) for rate in rates for x in value_range(rate)) < _SMALL
            else rated
        )
