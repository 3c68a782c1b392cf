"""The row of the table that stands for one method in the tests, and the settings that many rows
share.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp

import optax_lite as ol

Settings = dict[str, Any]
Trees = tuple[dict, list[dict]]
Namespace = dict[str, Any]  # of a module of the package, as it is or mutated


def as_they_are(x):
    return x


def no_extra(step: int) -> dict[str, Any]:
    return {}


def as_it_is(field: str, value: Any, w: Any = None) -> Any:
    return value


@dataclass(frozen=True)
class Quirks:
    """What sets some methods apart from most."""

    whole_tree: bool = False  # the reference takes lists of arrays
    complex_: bool = True  # whether the rule means something for complex gradients
    refuses_complex: str = ""  # what it says to a complex leaf if it refuses one
    unlike: tuple[str, ...] = ()  # arguments of the factory that the reference does not take
    # from the factory's arguments to the reference's
    translate: Callable[[Settings], Settings] = as_they_are
    # extra arguments of update and reference, by step from 0
    extra: Callable[[int], dict[str, Any]] = no_extra
    # edits (parameters, gradients by step), the numbers to compare on
    data: Callable[[Trees], Trees] = as_they_are
    # (state, seed) -> a state as if training had gone on; default: compare.started
    used: Callable | None = None
    fresh_only: str = ""  # why it is not compared from a used state
    # of the leaves, where compare.SHAPES would not do
    shapes: dict[str, tuple[int, ...]] | None = None
    # (field, value, parameter) of a leaf's state -> as the reference keeps it
    as_kept: Callable[..., Any] = as_it_is
    # (field, value) -> what two right implementations have in common
    determined: Callable[..., Any] = as_it_is
    unseen: tuple[str, ...] = ()  # fields of the state that the reference does not keep
    # bound of the relative error in float32; a reason stands beside another number
    float32: float = 2e-6
    float64: float = 1e-12  # the same in float64
    # whether the field `count` of its state, if there is one, is the number of updates
    counts_updates: bool = True
    random: bool = False  # whether its updates hold noise, drawn by a leaf's place in the tree
    positive: tuple[str, ...] = ()  # numbers that may not be 0
    # How far eager, jitted and scanned runs may differ: where sums or eigenvectors are in the rule,
    # XLA orders their terms by what it fuses them with, and 0 (to the bit) cannot hold.
    same_program: float = 0.0
    moves_without_gradient: str = ""  # why a zero gradient gives an update that is not zero
    no_laws: str = ""  # why the laws do not call it, and where they are tested instead
    variant: str = ""  # told apart from another row of the same factory


@dataclass(frozen=True)
class Row:
    """A factory, its numpy reference, settings to run both on, and bad settings with what their
    error must say.
    """

    factory: Callable[..., ol.GradientTransformation]
    reference: Callable | None  # from the paper: (g, s, w, **hyperparameters) -> (u, s)
    settings: tuple[Settings, ...]
    bad: tuple[tuple[Settings, str], ...] = ()
    # What a composition stands for: (lib, **settings) -> the composition made of names of the
    # namespace `lib`, written from the paper or the documentation, defaults included.
    stands_for: Callable[..., ol.GradientTransformation] | None = None
    quirks: Quirks = Quirks()

    @property
    def name(self) -> str:
        return self.factory.__name__ + self.quirks.variant

    @property
    def economical(self) -> tuple[Settings, ...]:
        """The settings without those that need a program of their own only to combine values that
        the others have too.
        """
        programs: dict[Any, set] = {}
        needed = [jax.tree.structure(self.factory(**settings)) for settings in self.settings]
        for program, settings in zip(needed, self.settings, strict=True):
            values = {(name, _kind(settings.get(name))) for name in self.parameters}
            programs.setdefault(program, {()}).update(values)
        kept, missing = set(), set().union(*programs.values())
        while missing:
            best = max(programs, key=lambda program: len(programs[program] & missing))
            kept.add(best)
            missing -= programs[best]
        return tuple(s for program, s in zip(needed, self.settings, strict=True) if program in kept)

    @property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        return inspect.signature(self.factory).parameters


def _kind(value: Any) -> str:
    """Schedules are all of a kind, as what they hold is read by one line of the core."""
    return "schedule" if isinstance(value, ol.Schedule) else repr(value)


def over(**axes: tuple) -> Iterator[Settings]:
    """All combinations of some arguments."""
    return (dict(zip(axes, values, strict=True)) for values in product(*axes.values()))


# Schedules for every kind of hyperparameter: rates decay, averages warm up.
rate = ol.cosine_decay_schedule(0.1, 20)
fast = ol.linear_schedule(0.5, 0.9, 10)
slow = ol.linear_schedule(0.9, 0.99, 10)
beta_bad = (
    ({"b1": 1.5}, "b1 must be in [0, 1), got 1.5"),
    ({"b2": -0.1}, "b2 must be in [0, 1), got -0.1"),
)
eps_bad = (
    ({"eps": -1}, "eps must be at least 0, got -1.0"),
    ({"eps_root": -1}, "eps_root must be at least 0"),
)
rate_bad = (
    ({"learning_rate": "fast"}, "learning_rate must be a number or a schedule, got 'fast'"),
    (
        {"learning_rate": jnp.ones(3)},
        "learning_rate has shape (3,): for a population of 3, use jax.vmap",
    ),
    ({"lr": 0.1}, "no argument 'lr'; write learning_rate"),
)
weight_decay_bad = (
    {"learning_rate": 0.1, "weight_decay": "x"},
    "weight_decay must be a number or a schedule",
)
wrong_names = (
    ({"learning_rate": 0.1, "beta1": 0.5}, "no argument 'beta1'; write b1"),
    ({"learning_rate": 0.1, "betas": (0.5, 0.9)}, "no argument 'betas'; write b1 and b2"),
    ({"learning_rate": 0.1, "epsilon": 1e-3}, "no argument 'epsilon'; write eps"),
    (
        {"learning_rate": 0.1, "clipnorm": 1.0},
        "no argument 'clipnorm'; write chain(clip_by_global_norm",
    ),
)


def with_rate(bad):
    return tuple(({"learning_rate": 0.1, **settings}, message) for settings, message in bad)


# Large eps and eps_root make their places visible; gradients near 1e-6 are among the data of the
# tests.
adam_settings = (
    {},
    {"b1": 0.0, "b2": 0.0},
    {"b1": 0.5, "b2": 0.9, "eps": 0.1},
    {"b1": 0.99, "b2": 0.9999},
    {"eps_root": 0.05},
    {"eps": 0.3, "eps_root": 0.2},
    {"nesterov": True},
    {"b1": 0.6, "b2": 0.8, "eps": 1e-3, "eps_root": 1e-3, "nesterov": True},
    {"b1": fast, "b2": slow, "eps": 1e-2},
    {"b1": 0, "b2": fast, "nesterov": True},
)
decay_bad = (
    ({"decay": 1.0}, "decay must be in [0, 1), got 1.0"),
    ({"decay": "x"}, "decay must be a number"),
)


def decayed_optimizer_settings(settings: tuple[Settings, ...]) -> tuple[Settings, ...]:
    """The settings of a direction as those of its optimizer with decay: defaults, decay, a schedule
    of each.
    """
    return (
        {"learning_rate": 0.1},
        *({"learning_rate": 0.1, "weight_decay": 0.3, **s} for s in settings),
        {"learning_rate": 0.1, "weight_decay": fast},
        {"learning_rate": rate, "weight_decay": 0.2},
    )


def optimizer_settings(settings: tuple[Settings, ...]) -> tuple[Settings, ...]:
    """The same without decay."""
    return (
        {"learning_rate": 1.0},
        *({"learning_rate": 0.1, **s} for s in settings),
        {"learning_rate": rate},
    )
