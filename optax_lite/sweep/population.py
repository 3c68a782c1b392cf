"""A population: members with the settings they were made of, stacked where their structure is one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from optax_lite.aliases import PyTree
from optax_lite.check import ArgumentError
from optax_lite.data import Word
from optax_lite.leaves import path_string, show_leaf


class Members(NamedTuple):
    """Those of one structure."""

    index: np.ndarray  # which members of the population they are
    stacked: PyTree  # their numbers, of numpy, with the members in front


@dataclass(frozen=True, eq=False, repr=False)
class Population:
    """Members to be trained side by side; `grid` and `sample` make it, `+` puts two under one report."""

    settings: tuple[Mapping[str, Any], ...]  # of each member, by axis
    members: tuple[PyTree, ...]  # each member as its factory returned it
    spaces: tuple[Mapping[str, Any], ...]  # the axes that each member was taken from

    @classmethod
    def of(
        cls, made: Iterable[tuple[Mapping[str, Any], PyTree]], space: Mapping[str, Any] | None = None
    ) -> "Population":
        """A population of settings and members; words in a member are part of its structure."""
        pairs = [(dict(settings), jax.tree.map(_checked_word, member)) for settings, member in made]
        for i, (settings, member) in enumerate(pairs):
            _check(i, settings, member)
        return cls(tuple(s for s, _ in pairs), tuple(m for _, m in pairs), (space or {},) * len(pairs))

    @property
    def axes(self) -> tuple[str, ...]:
        """The names of all axes."""
        return tuple(dict.fromkeys(name for settings in self.settings for name in settings))

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, i: int) -> PyTree:
        return self.members[i]

    def __add__(self, other: "Population") -> "Population":
        if not isinstance(other, Population):
            return NotImplemented
        both = (self.settings + other.settings, self.members + other.members, self.spaces + other.spaces)
        return Population(*both)

    def __repr__(self) -> str:
        over, n = " x ".join(self.axes), len(self.groups())
        return f"Population({len(self)} members over {over}, {n} structure{'s' * (n > 1)})"

    def groups(self) -> tuple[Members, ...]:
        """The members by structure, in the order in which these appear."""
        found: dict[Any, list[int]] = {}
        flat = [jax.tree.flatten(member) for member in self.members]
        for i, (leaves, treedef) in enumerate(flat):
            key = treedef, tuple((np.shape(x), _kind(x)) for x in leaves)
            found.setdefault(key, []).append(i)
        made = []
        for (treedef, _), index in found.items():
            columns = zip(*(flat[i][0] for i in index), strict=True)
            made.append(Members(np.asarray(index), treedef.unflatten([_stack(column) for column in columns])))
        return tuple(made)


def _checked_word(x):
    return Word(x) if isinstance(x, str) else x


def _check(i: int, settings: Mapping[str, Any], member: PyTree) -> None:
    leaves = jax.tree_util.tree_flatten_with_path(member)[0]
    shown = f"member {i} ({show_settings(settings)})"
    for path, x in leaves:
        if not isinstance(x, (bool, int, float, complex, np.ndarray, np.generic, jax.Array)):
            kind = "a function" if callable(x) else show_leaf(x)
            problem = f"{shown}: {path_string(path)!r} is {kind:.60}, no number; let the training close over it"
            raise ArgumentError(problem, "sweep")
        if isinstance(x, jax.Array) and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            problem = f"{shown}: {path_string(path)!r} is a random key, which cannot differ; give an int as seed"
            raise ArgumentError(problem, "sweep")
    if not leaves:
        raise ArgumentError(f"{shown} has no number in it, got {member!r}", "sweep")


def show_settings(settings: Mapping[str, Any]) -> str:
    """Settings as in a call: 'learning_rate=0.001, nesterov=True'."""
    return ", ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in settings.items()
    )


def _kind(x: Any) -> str:
    kind = np.asarray(x).dtype.kind
    return "number" if kind in "iuf" else kind


def _stack(column: tuple) -> np.ndarray:
    """Numbers side by side, in the dtypes that JAX gives them; whole ones among others are floats."""
    stacked = np.stack([np.asarray(x) for x in column])
    return stacked.astype(jax.dtypes.canonicalize_dtype(stacked.dtype))
