"""Explain mistakes of those who write a method: what a builder's functions take and return."""

import inspect
from collections.abc import Callable
from typing import Any

import jax

from optax_lite.core.trees import show_leaf
from optax_lite.core.types import PyTree
from optax_lite.errors.calls import StateError, call_problem
from optax_lite.errors.states import children, named_parts, outline
from optax_lite.errors.suggestions import plain


def checked_init(name: str, init: Callable[[PyTree], PyTree]) -> Callable[[PyTree], PyTree]:
    """Wrap an `init`: explain the error where it does not take the params, as an `update` would."""

    def checked(params):
        try:
            return init(params)
        except TypeError:
            if problem := call_problem(init, (params,)):
                given = f"{getattr(init, '__name__', 'init')}{plain(inspect.signature(init))}"
                raise TypeError(
                    f"{name}: init must take the params alone, but is {given}: {problem}; a "
                    "builder returns (init, update), in this order"
                ) from None
            raise

    return checked


def pair_of(name: str, made: Any) -> Any:
    """Return what an update returned; raise unless that is a pair."""
    if not isinstance(made, (tuple, list)) or len(made) != 2:
        raise TypeError(f"{name}: update must return (updates, state), got {show_leaf(made):.60}")
    return made


def other_state(name: str, fresh: PyTree, given: PyTree, made: Any) -> StateError:
    """Return the error about an update that made another state than it was given; `fresh` is one
    of `init`.
    """
    updates, state = made
    old, new = jax.tree.structure(given), jax.tree.structure(state)
    if outline(given) != outline(fresh):
        return StateError(
            f"{name}: update was given a state of structure {old}, but it makes {new}"
        )
    # The state was right, so what the builder's update returned is not.
    found, expected = outline(state, 2), outline(given, 2)
    problem = f"{found}, but init made {expected}"
    if jax.tree.structure(updates) == old:
        problem += "; the two are swapped"
    elif twin := _twin(given, state):
        problem = (
            f"of another class {twin} than that of init. A class inside a builder is made anew in "
            "each call: define it at the top of the module. If you ran its cell again, write "
            "state = tx.init(params)"
        )
    elif found == expected:
        problem = f"not built as that of init: {_other_container(given, state)}"
    return StateError(
        f"{name}: update must return (updates, state); the state it returned is {problem}"
    )


def _other_container(given: PyTree, made: PyTree, path: tuple[str, ...] = ()) -> str | None:
    """Say where two trees first differ in what holds their leaves."""
    own, other = children(given), children(made)
    if own.keys() != other.keys() or (own and type(given) is not type(made)):
        return f"{'/'.join(path)!r} is {show_leaf(made)}, not {show_leaf(given)}"
    deeper = (_other_container(part, other[name], (*path, name)) for name, part in own.items())
    return next(filter(None, deeper), None)


def _twin(given: PyTree, made: PyTree) -> str | None:
    """Name a class of which two states have one each."""
    pairs = zip(named_parts(given), named_parts(made), strict=False)
    return next(
        (
            type(a).__name__
            for (_, a), (_, b) in pairs
            if type(a) is not type(b) and type(a).__qualname__ == type(b).__qualname__
        ),
        None,
    )
