"""A map of an optimizer's state: which member keeps which part, and which arguments of the whole it
was given.

A survey is an `init` whose result has a `StateNode` around the state of every member that has
functions of its own. It does not know wrappers: whatever they do with the states of their members,
the places stay where they put them.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from optax_lite.core.leafwise import is_inexact, path_string
from optax_lite.core.masks import Placeholder, steps
from optax_lite.core.schedule import Schedule, schedule
from optax_lite.core.transform import GradientTransformation, Member, functions
from optax_lite.core.types import PyTree


@dataclasses.dataclass(eq=False)
class StateNode:
    """A state with what is known of its owner; a pytree of the state."""

    state: PyTree  # as the owner's init makes it, with places inside it
    factory: Any  # of the owner
    arguments: dict[str, Any]  # of the owner, by name; a schedule as such
    # the paths, in the whole, of the arguments that went into these: {path: name}
    paths: dict[str, str]
    # of the parameters the owner sees, their paths in components
    leaves: tuple[tuple[str, ...], ...]
    joined: bool = False  # whether it sees one vector of them, as inside `flatten`


_PLACE_KEYS = ("factory", "arguments", "paths", "leaves", "joined")


@dataclasses.dataclass(eq=False, frozen=True)
class _Owner:
    known: tuple  # compared by identity: settings may be traced


jax.tree_util.register_pytree_with_keys(
    StateNode,
    lambda place: (
        ((jax.tree_util.GetAttrKey("state"), place.state),),
        _Owner(tuple(getattr(place, key) for key in _PLACE_KEYS)),
    ),
    lambda owner, children: StateNode(*children, *owner.known),
)


@schedule(static=("path",))
def _argument(value, path):
    """An argument that remembers its path in the whole while builders hand it on and calculate with
    it.
    """
    return lambda count: value(count) if isinstance(value, Schedule) else value


class Surveyed(GradientTransformation):
    """A transformation whose `init` makes places; an `init` around it may run an update to see what
    that returns.
    """

    __slots__ = ()

    def init(self, params):
        words = self.factory.words
        if "injecting" in words:  # the settings of its member are in its own state
            tx, paths = self.of(self, lambda _, value: _without_marks(value)), _marked(self)
            paths = {path: name.removeprefix("inner/") for path, name in paths.items()}
        else:
            tx, given = self, self.arguments.items()
            paths = {path: name for name, value in given for path in _argument_paths(value)}
        built = self.factory.check(tx)
        if isinstance(built, GradientTransformation):
            return _surveyed(built).init(params)
        plain = self.of(tx, lambda _, value: _plain(value))
        state = functions(plain).init(params)  # its members are surveyed ones still
        if "injecting" in words:
            state = state._replace(inner_state=_marked_inside(self, state, params))
        keyed = jax.tree_util.tree_flatten_with_path(params)[0]
        if "vector" in words:  # of the members of which each sees the vector of these
            for place in _places_in(state):
                place.leaves, place.joined = (
                    tuple(steps(path) for path, x in keyed if is_inexact(x)),
                    True,
                )
        return StateNode(
            state, self.factory, plain.arguments, paths, tuple(steps(path) for path, _ in keyed)
        )

    def update(self, updates, state, params=None, **extra):
        return _bare(self).update(updates, without_places(state), params, **extra)

    def _inside(self, *, in_use):
        return self


def _bare(value: Any) -> Any:
    """The same without a survey."""
    if isinstance(value, GradientTransformation):
        return Member.of(value, lambda _, x: _bare(x))
    if type(value) is tuple:
        return tuple(map(_bare, value))
    return {k: _bare(v) for k, v in value.items()} if isinstance(value, dict) else _plain(value)


def _surveyed(value: Any, path: tuple[str, ...] | None = None) -> Any:
    """The same, surveyed, members too; with a path its numbers and schedules remember where they
    stood.
    """

    def inside(name, child):
        below = None if path is None else (*path, name)
        is_key = jnp.issubdtype(getattr(child, "dtype", float), jax.dtypes.prng_key)
        is_argument = isinstance(child, (float, jax.Array, Schedule)) and not is_key
        return (
            _argument(child, "/".join(below)) if below and is_argument else _surveyed(child, below)
        )

    if isinstance(value, GradientTransformation):
        return Surveyed.of(value, inside)
    if (
        type(value) is tuple
    ):  # of numbers, like the two decays of an Adam, which builders take apart
        return tuple(
            _surveyed(v, None if path is None else (*path, str(i))) for i, v in enumerate(value)
        )
    return {k: inside(str(k), v) for k, v in value.items()} if isinstance(value, dict) else value


def _argument_paths(value: Any) -> list[str]:
    """The paths of the arguments of the whole that stand in a value."""
    if not isinstance(value, Schedule):
        return []
    if value.factory is _argument:
        return [value.arguments["path"]]
    return [path for v in value.arguments.values() for path in _argument_paths(v)]


def _plain(value: Any) -> Any:
    """The value as it would be without a survey: where all is numbers, the number."""
    if not isinstance(value, Schedule) or not _argument_paths(value):
        return value
    if value.factory is _argument:
        return _plain(value.arguments["value"])  # marked twice where a survey is made inside of one
    plain = value.of(value, lambda _, x: _plain(x))
    operation, *sides = plain.arguments.values()
    if "op" not in plain.arguments or any(isinstance(side, Schedule) for side in sides):
        return plain
    return operation(*sides)  # arithmetic, which made a schedule of numbers for our sake


def _without_marks(value: Any) -> Any:
    if isinstance(value, GradientTransformation):
        return value.of(value, lambda _, x: _without_marks(x))
    if type(value) is tuple:
        return tuple(map(_without_marks, value))
    return (
        {k: _without_marks(v) for k, v in value.items()}
        if isinstance(value, dict)
        else _plain(value)
    )


def _marked(tx: GradientTransformation) -> dict[str, str]:
    """The paths of the arguments of the whole that stand in a transformation, and where in it."""
    inside = [
        (parts, x) for parts, x in tx.walk() if isinstance(x, Schedule) and x.factory is _argument
    ]
    return {x.arguments["path"]: "/".join(parts) for parts, x in inside}


def _marked_inside(injecting: GradientTransformation, state: Any, params: PyTree) -> PyTree:
    """The state of the member of `inject_hyperparams`, whose places know the arguments that are
    numbers by then.
    """
    inner = injecting.arguments["inner"]
    if "foreign" in inner.factory.words:
        return state.inner_state
    arguments = dict(inner.walk())
    for path in (tuple(name.split("/")) for name in state.hyperparams_states):
        # none inside of another one, which makes these places again
        marks = _argument_paths(arguments[path])
        inner = inner.edit(path, _argument(0.5, marks[0]) if marks else 0.5)
    return inner.init(params)


def member(tx: GradientTransformation) -> GradientTransformation:
    """The first of a population; an optimizer that is none as it is."""
    return jax.tree.map(lambda x: x.reshape(-1)[0] if getattr(x, "ndim", 0) else x, tx)


def trace_state(tx: GradientTransformation, params: PyTree = None) -> StateNode:
    """The state of `init(params)` with places in it; without params there are stand-ins where their
    trees would be.
    """
    return _surveyed(_without_marks(member(tx)), ()).init(
        Placeholder() if params is None else params
    )


def _ends(x: Any) -> bool:
    return isinstance(x, (StateNode, Placeholder))


def argument_paths(place: StateNode) -> Iterator[StateNode]:
    """Every place of a survey, from the outside in."""
    yield place
    yield from _places_in(place.state)


def _places_in(state: PyTree) -> Iterator[StateNode]:
    for inner in jax.tree.leaves(state, is_leaf=_ends):
        if isinstance(inner, StateNode):
            yield from argument_paths(inner)


@dataclasses.dataclass(frozen=True)
class Joined:
    """The state of the member of `flatten`, with the parameters that its vectors are made of; a
    pytree of the state.
    """

    state: PyTree
    leaves: tuple[tuple[str, ...], ...]  # their paths in components


jax.tree_util.register_dataclass(Joined, data_fields=["state"], meta_fields=["leaves"])


def with_vectors(tx: GradientTransformation, params: PyTree) -> PyTree:
    """The state of `init(params)`, with `Joined` around the parts where one vector stands for
    several parameters.
    """

    def marked(x):
        if not isinstance(x, StateNode):
            return x
        if x.joined:
            return Joined(without_places(x.state), x.leaves)
        return jax.tree.map(marked, x.state, is_leaf=_ends)

    # without paths of arguments: builders get numbers
    return marked(_surveyed(_without_marks(member(tx))).init(params))


def vectors_in(marked: PyTree, state: PyTree) -> list[tuple[tuple[tuple[str, ...], ...], PyTree]]:
    """These parts of a state, each with the paths of its parameters."""
    marks, treedef = jax.tree.flatten(marked, is_leaf=lambda x: isinstance(x, Joined))
    if not any(isinstance(x, Joined) for x in marks):
        return []
    return [
        (x.leaves, part)
        for x, part in zip(marks, treedef.flatten_up_to(state), strict=True)
        if type(x) is Joined
    ]


def without_places(tree: PyTree) -> PyTree:
    """The state as `init` makes it."""

    def bare(x):
        return without_places(x.state) if isinstance(x, StateNode) else x

    return jax.tree.map(bare, tree, is_leaf=lambda x: isinstance(x, StateNode))


def walk(
    tree: PyTree, state: PyTree, path: str = ""
) -> Iterator[tuple[StateNode, PyTree, list[tuple[str, PyTree]]]]:
    """Every place, from the outside in, with its part of a state and in that, by path, its trees of
    parameters.

    These are known where the survey had no params. The survey must be of a transformation that
    makes such states; a ValueError says that it is not.
    """
    for at, mark, part in _marks(tree, state, path):
        if isinstance(mark, StateNode):
            inner = list(_marks(mark.state, part, at))
            yield (
                mark,
                part,
                [(below, tree) for below, x, tree in inner if isinstance(x, Placeholder)],
            )
            for below, x, tree in inner:
                yield from walk(x, tree, below) if isinstance(x, StateNode) else ()


def _marks(tree: PyTree, state: PyTree, path: str) -> Iterator[tuple[str, Any, PyTree]]:
    """The outermost places and stand-ins, with their paths and parts of the state."""
    marked, treedef = jax.tree_util.tree_flatten_with_path(tree, is_leaf=_ends)
    for (keys, mark), part in zip(marked, treedef.flatten_up_to(state), strict=True):
        at = "/".join(filter(None, (path, path_string(keys) if keys else "")))
        if isinstance(mark, Placeholder) and mark.expand is not None:
            yield from _marks(mark.expand(part), part, at)
        else:
            yield at, mark, part
