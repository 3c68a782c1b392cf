"""Map an optimizer's state: which member keeps which part, and which arguments of the whole it got.

A survey is an `init` whose result has a `StateNode` around the state of every member that has
functions of its own. It knows nothing of wrappers: wherever they put the states of their members,
the nodes are there.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import jax

from optax_lite.core.config import is_key
from optax_lite.core.factory import is_scalar
from optax_lite.core.masks import Placeholder, steps
from optax_lite.core.schedule import Schedule, function_schedule
from optax_lite.core.transform import GradientTransformation, Member, functions
from optax_lite.core.trees import is_inexact, path_string
from optax_lite.core.types import PyTree

Path: TypeAlias = tuple[str, ...]


@dataclasses.dataclass(eq=False)
class StateNode:
    """A state with facts about its owner; a pytree of the state."""

    state: PyTree  # as the owner's init makes it, with nodes inside it
    factory: Any  # of the owner
    arguments: dict[str, Any]  # of the owner, by name; a schedule as such
    # the paths, in the whole, of the arguments that went into these, {path: name}; `find_paths`
    paths: dict[str, str]
    # of the parameters the owner sees, their paths in components
    leaves: tuple[tuple[str, ...], ...]
    joined: bool = False  # whether it sees one vector of them, as inside `flatten`

    @property
    def definition(self) -> Any:
        """Return what is declared of the owner's factory."""
        return self.factory.definition


_NODE_KEYS = ("factory", "arguments", "paths", "leaves", "joined")


@dataclasses.dataclass(eq=False, frozen=True)
class _Owner:
    known: tuple  # compared by identity: settings may be traced


jax.tree_util.register_pytree_with_keys(
    StateNode,
    lambda place: (
        ((jax.tree_util.GetAttrKey("state"), place.state),),
        _Owner(tuple(getattr(place, key) for key in _NODE_KEYS)),
    ),
    lambda owner, children: StateNode(*children, *owner.known),
)


class Surveyed(GradientTransformation):
    """A transformation whose `init` makes nodes; an `init` around it may run an update to see what
    that returns.
    """

    __slots__ = ()

    def init(self, params):
        built = self.definition.check(self)
        if isinstance(built, GradientTransformation):
            return _with_class(built, Surveyed).init(params)
        state = functions(self).init(params)  # its members are surveyed ones still
        keyed = jax.tree_util.tree_flatten_with_path(params)[0]
        if "vector" in self.definition.words:  # of its members each sees the vector of these
            for node in _nodes_in(state):
                node.leaves = tuple(steps(path) for path, x in keyed if is_inexact(x))
                node.joined = True
        leaves = tuple(steps(path) for path, _ in keyed)
        return StateNode(state, self.factory, self.arguments, {}, leaves)

    def update(self, updates, state, params=None, **extra):
        return _with_class(self, Member).update(updates, without_nodes(state), params, **extra)

    def _inside(self, *, in_use):
        return self


def _with_class(value: Any, kind: type[GradientTransformation]) -> Any:
    """Return a copy in which all transformations, members too, have another class."""
    if isinstance(value, GradientTransformation):
        return kind.copy_of(value, lambda _, x: _with_class(x, kind))
    if type(value) is tuple:
        return tuple(_with_class(x, kind) for x in value)
    return {k: _with_class(v, kind) for k, v in value.items()} if isinstance(value, dict) else value


def member(tx: GradientTransformation) -> GradientTransformation:
    """Return the first member of a population; an optimizer that is not one unchanged."""
    return jax.tree.map(lambda x: x.reshape(-1)[0] if getattr(x, "ndim", 0) else x, tx)


def trace_state(tx: GradientTransformation, params: PyTree = None) -> StateNode:
    """Return the state of `init(params)` with nodes in it; without params, stand-ins replace their
    trees.
    """
    return _with_class(member(tx), Surveyed).init(Placeholder() if params is None else params)


def find_paths(
    tx: GradientTransformation,
    found: Iterable[StateNode],
    again: Callable[..., Iterable[StateNode]],
    *args: Any,
) -> None:
    """Set the `paths` of the nodes that `again(tx, *args)` finds: the arguments of the whole that
    each depends on.

    Builders pass arguments on and calculate with them. So they run once more with all numbers and
    schedules of the whole traced, and the jaxpr tells what an argument depends on.
    """
    one = member(tx)
    names = [path for path, _ in _numbers(one)]

    def arguments(values, *args):
        made = again(_with(one, dict(zip(names, values, strict=True))), *args)
        return [
            {name: x(0) if isinstance(x, Schedule) else x for name, x in _own(node)}
            for node in made
        ]

    traced, shapes = jax.make_jaxpr(arguments, return_shape=True)([0.5] * len(names), *args)
    sources = jax.tree.unflatten(jax.tree.structure(shapes), _sources(traced.jaxpr))
    for node, into in zip(found, sources, strict=True):
        node.paths = {}
        for own, inputs in into.items():
            for path in (names[i] for i in sorted(inputs) if i < len(names)):
                if "/".join(path) not in node.paths or path[-1] == own:
                    node.paths["/".join(path)] = own


def _own(node: StateNode) -> Iterator[tuple[str, Any]]:
    """Return the numbers and schedules of a node by name, or its member's if it keeps those."""
    if "injecting" in node.definition.words:
        return (("/".join(path), x) for path, x in _numbers(node.arguments["inner"]))
    return ((name, x) for name, x in node.arguments.items() if is_scalar(x) and not is_key(x))


def _numbers(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every number and schedule below a value, with its path; nothing from inside a
    schedule.
    """
    if is_scalar(value) and not is_key(value):
        yield path, value
    for name, child in _inside(value):
        yield from _numbers(child, (*path, name))


def _with(value: Any, given: dict[Path, Any], path: Path = ()) -> Any:
    """Return a copy with the given values in place of its numbers and schedules."""
    if isinstance(value, GradientTransformation):
        return value.copy_of(value, lambda name, x: _with(x, given, (*path, name)))
    if isinstance(
        value, Schedule
    ):  # still one of as many numbers: the state has the same structure
        traced, numbers = given[path], jax.tree.leaves(value)
        changed = jax.tree.map(lambda _: traced, value)
        return changed if numbers else function_schedule(lambda count: traced)
    if path in given or not isinstance(value, (tuple, dict)):
        return given.get(path, value)
    inside = {name: _with(x, given, (*path, name)) for name, x in _inside(value)}
    return inside if isinstance(value, dict) else tuple(inside.values())


def _inside(value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, GradientTransformation):
        return ((name, x) for name, x in value.arguments.items() if name not in value.choices)
    if isinstance(value, dict):
        return value.items()
    return zip(map(str, range(len(value))), value, strict=True) if type(value) is tuple else ()


def _sources(jaxpr: Any) -> list[frozenset[int]]:
    """Return which inputs of a traced program went into each of its outputs, by number."""
    from optax_lite.core.unstable import Literal  # at the first use, as it imports Pallas

    known = {var: frozenset([i]) for i, var in enumerate(jaxpr.invars)}

    def of(var):
        return frozenset() if isinstance(var, Literal) else known.get(var, frozenset())

    for equation in jaxpr.eqns:
        inputs = frozenset().union(*map(of, equation.invars))
        known.update((var, inputs) for var in equation.outvars)
    return [of(var) for var in jaxpr.outvars]


def _ends(x: Any) -> bool:
    return isinstance(x, (StateNode, Placeholder))


def nodes(place: StateNode) -> Iterator[StateNode]:
    """Yield every node of a survey, from the outside in."""
    yield place
    yield from _nodes_in(place.state)


def _nodes_in(state: PyTree) -> Iterator[StateNode]:
    for inner in jax.tree.leaves(state, is_leaf=_ends):
        if isinstance(inner, StateNode):
            yield from nodes(inner)


@dataclasses.dataclass(frozen=True)
class Joined:
    """The state of the member of `flatten`, with the parameters that its vectors are made of; a
    pytree of the state.
    """

    state: PyTree
    leaves: tuple[tuple[str, ...], ...]  # their paths in components


jax.tree_util.register_dataclass(Joined, data_fields=["state"], meta_fields=["leaves"])


def with_vectors(tx: GradientTransformation, params: PyTree) -> PyTree:
    """Return the state of `init(params)`, with `Joined` around the parts where one vector replaces
    several parameters.
    """

    def marked(x):
        if not isinstance(x, StateNode):
            return x
        if x.joined:
            return Joined(without_nodes(x.state), x.leaves)
        return jax.tree.map(marked, x.state, is_leaf=_ends)

    return marked(_with_class(member(tx), Surveyed).init(params))


def vectors_in(marked: PyTree, state: PyTree) -> list[tuple[tuple[tuple[str, ...], ...], PyTree]]:
    """Yield these parts of a state, each with the paths of its parameters."""
    marks, treedef = jax.tree.flatten(marked, is_leaf=lambda x: isinstance(x, Joined))
    if not any(isinstance(x, Joined) for x in marks):
        return []
    return [
        (x.leaves, part)
        for x, part in zip(marks, treedef.flatten_up_to(state), strict=True)
        if type(x) is Joined
    ]


def without_nodes(tree: PyTree) -> PyTree:
    """Return the state as `init` makes it."""

    def bare(x):
        return without_nodes(x.state) if isinstance(x, StateNode) else x

    return jax.tree.map(bare, tree, is_leaf=lambda x: isinstance(x, StateNode))


def walk(
    tx: GradientTransformation, state: PyTree
) -> Iterator[tuple[StateNode, PyTree, list[tuple[str, PyTree]]]]:
    """Yield every node, from the outside in, with its part of a state and, by path, the trees of
    parameters in it.

    A ValueError says that the transformation does not make such states.
    """
    return _below(trace_state(tx), state, ())


def _below(tree, state, path):
    for keys, mark, part in marks(tree, state, path):
        if isinstance(mark, StateNode):
            inner = list(marks(mark.state, part, keys))
            trees = [
                (path_string(below) if below else "", tree)
                for below, x, tree in inner
                if isinstance(x, Placeholder)
            ]
            yield mark, part, trees
            for below, x, tree in inner:
                yield from _below(x, tree, below) if isinstance(x, StateNode) else ()


def marks(
    tree: PyTree, state: PyTree, path: tuple = (), *, inside: bool = False
) -> Iterator[tuple[tuple, Any, PyTree]]:
    """Yield the outermost nodes and stand-ins of a state, and other leaves, with their key paths
    and parts of the state; `inside` looks into nodes too.
    """
    marked, treedef = jax.tree_util.tree_flatten_with_path(tree, is_leaf=_ends)
    for (keys, mark), part in zip(marked, treedef.flatten_up_to(state), strict=True):
        at, below = (*path, *keys), None
        if isinstance(mark, Placeholder) and mark.expand is not None:
            below = mark.expand(part)
        elif isinstance(mark, StateNode) and inside:
            below = mark.state
        if below is None:
            yield at, mark, part
        else:
            yield from marks(below, part, at, inside=inside)
