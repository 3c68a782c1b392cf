"""Bring the functions of a builder into one form, with all arguments that any of them may get.

The functions of a builder take only what the rule needs: `update(updates, state)`, params if it
uses them, and extra arguments by name. Here they become `(init, update, step)` with one signature
each.
"""

import functools
import inspect
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optax_lite.core.factory import Definition
from optax_lite.core.leafwise import (
    as_array,
    cast_like,
    check_like,
    check_state_leaves,
    compute_dtype,
    leafwise,
)
from optax_lite.core.trees import is_missing
from optax_lite.core.types import PyTree, TransformationLike
from optax_lite.core.validate import check_function
from optax_lite.errors.calls import usage
from optax_lite.errors.methods import checked_init, other_state, pair_of
from optax_lite.errors.states import outline


class EmptyState(NamedTuple):
    """State without anything in it, of a transformation that remembers nothing."""


class Functions(NamedTuple):
    """The functions of a transformation."""

    init: Callable  # params -> state
    update: Callable  # (updates, state, params, **extra) -> updates, state
    step: Callable  # the same with the next params in place of updates


class Inner(NamedTuple):
    """The update or the step of a member, whichever the wrapper was called for, as its `run` gets
    it.

    Both return a pair, of updates or of the next params, and the state, so that one `run` serves
    for both.
    """

    run: Any  # the function itself
    is_step: bool

    def __call__(self, updates: PyTree, state: PyTree, params: PyTree | None = None, **extra: Any):
        return self.run(updates, state, params, **extra)

    def of(self, tx: Any) -> "Inner":
        """Return the update, or the step, of another transformation, or of its `Functions`."""
        return Inner(tx.step if self.is_step else tx.update, self.is_step)

    def where(
        self, condition: Any, updates: PyTree, state: PyTree, params: PyTree | None, **extra: Any
    ):
        """Run it where the condition holds; elsewhere nothing moves, and the state stays to the
        bit.

        The whole run is one branch of a `lax.cond`. A step adds its updates inside that branch, so
        the other branch returns the params unchanged.
        """
        return self._gated(self.still, condition, updates, state, params, extra)

    def where_or_unchanged(
        self, condition: Any, updates: PyTree, state: PyTree, params: PyTree | None, **extra: Any
    ):
        """Run it where the condition holds; elsewhere pass the updates on, so that they move the
        params.
        """
        return self._gated(self.unchanged, condition, updates, state, params, extra)

    def _gated(self, otherwise, condition, updates, state, params, extra):
        return jax.lax.cond(
            condition,
            lambda: self.like_still(updates, state, params, **extra),
            lambda: (otherwise(updates, params), state),
        )

    def like_still(self, updates: PyTree, state: PyTree, params: PyTree | None, **extra: Any):
        """Run it, and return the dtypes of `still`: for a branch beside that."""
        new, state = self(updates, state, params, **extra)
        return cast_like(new, self.still(updates, params)), state

    def still(self, updates: PyTree, params: PyTree | None) -> PyTree:
        """Move nothing: return the params, or updates of -0.0, which leave even a parameter of -0.0
        unchanged.
        """
        if self.is_step:
            return jax.tree.map(
                lambda u, p: u if is_missing(u) else p, updates, params, is_leaf=is_missing
            )
        return _beside(lambda u, *p: -jnp.zeros_like(u), updates, params)

    def unchanged(self, updates: PyTree, params: PyTree | None) -> PyTree:
        """Return the updates as they came, in their compute dtype, or the params moved by them."""
        if self.is_step:
            moved = leafwise(lambda u, p: p + u, updates, read=(params,))
            olds = self.still(updates, params)
            return jax.tree.map(
                lambda p, m: p if is_missing(p) else m.astype(p.dtype),
                olds,
                moved,
                is_leaf=is_missing,
            )
        return _beside(lambda u, *p: u, updates, params)


UPDATE, STEP = Inner(None, False), Inner(None, True)  # which of the two, of no member yet


def _beside(rule, updates, params):
    return leafwise(rule, updates, read=() if params is None else (params,))


@usage("return wrapping(tx, init, run)")
def wrapping(
    tx: TransformationLike | None, init: Callable[..., Any], run: Callable[..., Any]
) -> Functions:
    """Make the `update` and the `step` of a wrapper from one function `run`, for its builder to
    return.

        def run(inner, updates, state, params=None, **extra):
            new, state = inner(updates, state, params, **extra)  # the update of tx, or its step
            return new, state

        return wrapping(tx, tx.init, run)

    `inner.where(condition, updates, state, params, **extra)` runs the wrapped transformation if the
    condition holds; otherwise nothing moves, and the state stays unchanged bit for bit.

    Args:
        tx: The optimizer, or any other transformation. None where there are several members, each
            of which `run` calls by `inner.of(member)`.
        init: Function of the params that returns the state.
        run: Function `(inner, updates, state, params, **extra)` that returns the updates, or the
            next params, and the state.
    """
    check_function(init=init, run=run)
    # of several members each is asked for with `of`
    update, step = (Inner(None, False), Inner(None, True))
    inners = (update, step) if tx is None else (update.of(tx), step.of(tx))
    return Functions(init, *(functools.partial(run, inner) for inner in inners))


def guarded(built: tuple[Callable, ...], definition: Definition) -> Functions:
    """Wrap a builder's functions: pass the arguments that each accepts, require those that it
    needs, and keep the structure, shapes and dtypes of the state.
    """
    init, update, *own_step = built
    init = checked_init(definition.name, init)
    checked = _checked_update(init, update, definition)

    def step(updates, state, params, **extra):
        new, state = checked(updates, state, params, **extra)
        return added(params, new), state

    steps = [_checked_update(init, own, definition) for own in own_step] or [step]
    return Functions(init, checked, *steps)


class Form(NamedTuple):
    """Arguments that a function of a builder takes, and those that it needs."""

    takes_all: bool
    takes_params: bool  # by place
    needs_params: bool
    params_by_name: bool
    named: tuple[str, ...]  # extra arguments
    needed: tuple[str, ...]


def form_of(function: Callable, known: dict[Any, Form]) -> Form:
    """Return the form of a builder's function, looked up if one made of the same code is known."""
    given, inner = (), function
    if isinstance(function, functools.partial):
        given, inner = (len(function.args), *function.keywords), function.func
    if not isinstance(inner, types.FunctionType) or hasattr(inner, "__wrapped__"):
        return _form(function)
    key = inner.__code__, given
    if key not in known:
        known[key] = _form(function)
    return known[key]


def _form(function):
    parameters = list(inspect.signature(function).parameters.values())
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    by_keyword = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    own = [p for p in by_keyword if p.name == "params"]
    named = [*positional[3:], *(p for p in by_keyword if p.name != "params")]
    return Form(
        takes_all=any(p.kind is p.VAR_KEYWORD for p in parameters),
        takes_params=len(positional) > 2 or any(p.kind is p.VAR_POSITIONAL for p in parameters),
        needs_params=any(p.default is p.empty for p in [*positional[2:3], *own]),
        params_by_name=bool(own),
        named=tuple(p.name for p in named),
        needed=tuple(p.name for p in named if p.default is p.empty),
    )


def _checked_update(init: Callable, update: Callable, definition: Definition) -> Callable:
    """Wrap `update`: pass the extra arguments it takes, check those it needs, and keep the state's
    structure and dtypes.
    """
    form, name = form_of(update, definition.forms), definition.name

    def checked_update(updates, state, params=None, **extra):
        if form.needs_params and params is None:
            raise ValueError(
                f"{name}: update needs the parameters; write tx.update(grads, state, params)"
            )
        if missing := [needed for needed in form.needed if needed not in extra]:
            raise TypeError(
                f"{name}: update needs {missing[0]}=; write tx.update(grads, state, params, "
                f"{missing[0]}=...). Extra arguments given: {', '.join(extra) or 'none'}"
            )
        # A transformation does not see a keyword that it has no use for (decision 42).
        kept = extra if form.takes_all else {own: extra[own] for own in form.named if own in extra}
        kept = {**kept, "params": params} if form.params_by_name else kept
        args = (updates, state, params) if form.takes_params else (updates, state)
        new_updates, new_state = made = pair_of(name, update(*args, **kept))
        old, new = jax.tree.structure(state), jax.tree.structure(new_state)
        if new_state is state and not isinstance(state, EmptyState | None):
            # Returned unread, so it may be anybody's: compare with a fresh one (decision 49).
            old, new = outline(state), outline(jax.eval_shape(init, updates))
        if old != new:
            raise other_state(name, jax.eval_shape(init, updates), state, made)
        check_state_leaves(name, new_state, state)
        return new_updates, cast_like(new_state, state)

    return checked_update


def added(params, updates):
    """Return params + updates, computed in float32 at least and rounded once to the parameters'
    dtype.
    """
    check_like(updates, params, "update")
    return jax.tree.map(
        lambda u, p: u if is_missing(u) else _add(as_array(p), as_array(u)),
        updates,
        params,
        is_leaf=is_missing,
    )


@jax.jit
def _add(p, u):  # compiled apart, so that leaves that look alike are traced once
    dtype = compute_dtype(p, u)
    return (p.astype(dtype) + u.astype(dtype)).astype(p.dtype)
