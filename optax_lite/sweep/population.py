"""A population: members with the settings that made them, stacked if they share a structure."""

import re
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from optax_lite._numbers import is_real, show_number
from optax_lite.core.config import Word, is_key
from optax_lite.core.factory import is_factory
from optax_lite.core.schedule import Schedule, function_schedule
from optax_lite.core.trees import path_string, show_leaf
from optax_lite.core.types import PyTree
from optax_lite.core.validate import ArgumentError
from optax_lite.errors.calls import errors_named


class Members(NamedTuple):
    """The members of one structure."""

    index: np.ndarray  # which members of the population they are
    stacked: PyTree  # their numbers, of numpy, with the members in front


@jax.tree_util.register_static
class Flag(int):
    """A Python bool of a member as part of the structure, so that `if` can be asked of it."""

    # so that it passes for one where a bool is asked for, as bool has no heirs
    __class__ = property(lambda self: bool)

    def __repr__(self) -> str:
        return repr(self != 0)

    def __reduce__(self):
        return Flag, (int(self),)


@dataclass(frozen=True, eq=False, repr=False)
class Population:
    """Members to be trained side by side; `grid` and `sample` make it, `+` joins two under one
    report.
    """

    settings: tuple[Mapping[str, Any], ...]  # of each member, by axis
    members: tuple[PyTree, ...]  # each member as its factory returned it
    spaces: tuple[Mapping[str, Any], ...]  # the axes that each member was taken from

    @classmethod
    def of(
        cls,
        made: Iterable[tuple[Mapping[str, Any], PyTree]],
        space: Mapping[str, Any] | None = None,
        where: str = "sweep",
    ) -> "Population":
        """Make a population of settings and members.

        Args:
            made: Pairs (settings, member); the settings are a dict by axis.
            space: The axes that the settings were taken from; None where there are none.
            where: Name of the function with which an error about a member begins.
        """
        pairs = [(dict(settings), member) for settings, member in made]
        with errors_named(where):
            for i, (settings, member) in enumerate(pairs):
                check_member(i, settings, member)
        settings, members = zip(*pairs, strict=True) if pairs else ((), ())
        return cls(settings, members, (space or {},) * len(pairs))

    @property
    def axes(self) -> tuple[str, ...]:
        """Return the names of all axes."""
        return tuple(names_in(self.settings))

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, i: int) -> PyTree:
        return self.members[i]

    def __add__(self, other: "Population") -> "Population":
        if not isinstance(other, Population):
            return NotImplemented
        return Population(
            self.settings + other.settings, self.members + other.members, self.spaces + other.spaces
        )

    def __repr__(self) -> str:
        over, structures = " x ".join(self.axes) or "nothing", len(self._structures)
        return (
            f"Population({pluralize(len(self), 'member')} over {over}, "
            f"{pluralize(structures, 'structure')})"
        )

    @cached_property
    def _structures(self) -> tuple[tuple[Any, list[int]], ...]:
        """Return the treedefs, each with its members; shapes and dtypes are part of what tells them
        apart.
        """
        found: dict[Any, list[int]] = {}
        for i, member in enumerate(self.members):
            leaves, treedef = _flat(member)
            found.setdefault((treedef, tuple(map(_kind, leaves))), []).append(i)
        return tuple((treedef, index) for (treedef, _), index in found.items())

    def groups(self) -> tuple[Members, ...]:
        """Return the members by structure, in the order in which structures appear.

        Words and Python bools are structure, so that the training can branch on them. Python
        numbers in one place are floats where not all are whole; arrays have one shape and dtype.
        """
        made = []
        for treedef, index in self._structures:
            columns = zip(*(_flat(self.members[i])[0] for i in index), strict=True)
            made.append(Members(np.asarray(index), treedef.unflatten(map(_stack, columns))))
        return tuple(made)


_NOT_HIDDEN = "write linear_schedule(lr, 0.0, N), or your own @schedule"


def needless_structures(population: Population) -> str | None:
    """Say what to write where structures differ only in numbers that a plain function has closed
    over; each of them is compiled by itself.
    """
    # As leaves these numbers would need one program, but they would be traced. That breaks Python
    # such as `if lr > 0`, `max(lr, 0.1)` or `math.log(lr)`, and 1 - 0.99999 is off by 0.14 %.
    found: dict[Any, list[str]] = {}
    for _, (i, *_) in population._structures:
        leaves, treedef = jax.tree_util.tree_flatten_with_path(
            population.members[i], is_leaf=_is_function
        )
        paths = [path_string(path) for path, x in leaves if _is_function(x)]
        key = treedef, tuple(_without_numbers(x) for _, x in leaves)
        found.setdefault(key, []).extend(paths[:1])
    for paths in found.values():
        if len(paths) > 1:
            return (
                f"{len(paths)} structures differ only in numbers held by the function given as "
                f"{paths[0].split('/')[-1]}, so each compiles separately; {_NOT_HIDDEN}, and they "
                "all share one program"
            )
    return None


def _is_function(x: Any) -> bool:
    return isinstance(x, Schedule) and x.factory is function_schedule


def _without_numbers(x: Any) -> Any:
    """Return what decides the structure of a leaf; of a plain function, its code and whatever it
    has closed over besides numbers.
    """
    if not _is_function(x):
        return x if isinstance(x, (str, bool, np.bool_)) else _kind(x)
    function = x.choices["fn"]
    if not isinstance(function, types.FunctionType):
        return id(function)
    held = [cell.cell_contents for cell in function.__closure__ or ()]
    others = [id(value) for value in held if not isinstance(value, (int, float, np.number))]
    return function.__code__, tuple(others)


def weakened(member: PyTree) -> PyTree:
    """Return a member out of a stack with numbers that decide no dtype, like those of the member
    alone.
    """
    return jax.tree.map(_weak, member)


def _weak(x: Any) -> Any:
    if not hasattr(x, "dtype") or x.shape or is_key(x) or getattr(x, "weak_type", False):
        return x
    for zero, kind in ((0.0, jnp.floating), (0, jnp.signedinteger)):
        if jnp.issubdtype(x.dtype, kind):
            return jax.lax.full_like(zero, x)
    return x


def pluralize(n: int, what: str) -> str:
    """Return '1 member', '2 members'."""
    return f"{n} {what}{'s' * (n != 1)}"


def names_in(settings: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the names of all settings, in the order in which they appear."""
    return list(dict.fromkeys(name for some in settings for name in some))


def show_settings(settings: Mapping[str, Any]) -> str:
    """Return settings as in a call: 'learning_rate=0.001, nesterov=True'."""
    return ", ".join(f"{name}={show(x)}" for name, x in settings.items())


def show(value: Any) -> str:
    """Return a value of a setting as text."""
    if isinstance(value, (float, np.floating)):
        return show_number(float(value), 4)
    return getattr(value, "__name__", None) or strip_addresses(value)


def strip_addresses(value: Any) -> str:
    """Return anything as text that is the same in the next process: without addresses."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", f"{value}")


def _flat(member: PyTree) -> tuple[list[Any], Any]:
    """Return the numbers of a member and its structure, which includes words and bools."""
    leaves, treedef = jax.tree.flatten(member)
    if any(isinstance(x, (str, bool, np.bool_)) for x in leaves):
        return jax.tree.flatten(treedef.unflatten(map(_as_structure, leaves)))
    return leaves, treedef


def _as_structure(x: Any) -> Any:
    return Word(x) if isinstance(x, str) else Flag(x) if isinstance(x, (bool, np.bool_)) else x


def _is_plain(x: Any) -> bool:
    """Tell whether a number fixes no dtype: Python's, NumPy's scalars, and weakly typed ones of
    JAX.
    """
    return is_real(x) or (getattr(x, "weak_type", False) and not x.shape)


def _kind(x: Any) -> Any:
    return "number" if type(x) is float or _is_plain(x) else (np.shape(x), _dtype(x))


def _dtype(x: Any) -> np.dtype:
    return jax.dtypes.canonicalize_dtype(np.asarray(x).dtype)


def _stack(column: tuple) -> np.ndarray:
    stacked = (
        np.asarray(column) if _is_plain(column[0]) else np.stack([np.asarray(x) for x in column])
    )
    return stacked.astype(_dtype(stacked))


def check_member(i: int, settings: Mapping[str, Any], member: PyTree) -> None:
    """Raise, naming the member by its number and settings, unless it has numbers that can be
    stacked.
    """
    leaves = _flat(member)[0]
    if leaves and all(type(x) is float for x in leaves):
        return
    problem = f"there is no number in {member!r:.60}; return an optimizer, or any pytree of numbers"
    if any(map(_is_function, jax.tree.leaves(member, is_leaf=_is_function))):
        problem += f"; {_NOT_HIDDEN} instead of a function that holds them"
    if leaves:
        named = jax.tree_util.tree_flatten_with_path(member)[0]
        problem = next(
            (f"{path_string(path)!r} {p}" for path, x in named if (p := _no_number(x))), ""
        )
    if problem:
        raise ArgumentError(f"member {i} ({show_settings(settings)}): {problem}")


def _no_number(x: Any) -> str:
    """Explain why a leaf cannot be stacked; empty where it can."""
    if isinstance(x, (str, bool)):
        return ""
    if is_factory(x):
        return f"is the factory {x.__name__} itself; call it: {x.__name__}(...)"
    if is_key(x):
        return "is a random key, which cannot differ; give an int as seed"
    if isinstance(x, int) and not jnp.iinfo(bounds := _dtype(0)).min <= x <= jnp.iinfo(bounds).max:
        return f"is {x}, too large for {bounds}; write a float"
    if (
        isinstance(x, (int, float, complex, jax.Array))
        or getattr(getattr(x, "dtype", None), "kind", "O") not in "OSU"
    ):
        return ""
    kind = f"the function {getattr(x, '__name__', x)}" if callable(x) else show_leaf(x)
    return f"is {kind:.60}, not a number; let the training function close over it"
