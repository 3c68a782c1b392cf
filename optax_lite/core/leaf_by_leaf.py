"""Run a computation one leaf at a time, so that the temporaries of one leaf are freed before the
next begins.

XLA's CPU backend orders a program so that as much as possible can run at once: the decoded values
of a hundred leaves would all exist side by side. It runs a call that it must not inline as one
piece.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import jax
from jax.core import Tracer

from optax_lite.core.trees import is_inexact
from optax_lite.core.types import PyTree
from optax_lite.core.unstable import (
    ClosedJaxpr,
    Jaxpr,
    Literal,
    Var,
    jaxpr_as_fun,
    set_xla_metadata,
)


def one_leaf_at_a_time(
    function: Callable[[list], PyTree], parts: list, turns: Sequence[Hashable]
) -> PyTree:
    """Call `function(parts)`; on a CPU, finish what depends on the parts of one turn before the
    next begins.

    Outside of a trace, with a single turn, or where the function has effects, it is called
    directly.
    """
    names = {name: i for i, name in enumerate(dict.fromkeys(turns))}
    end = len(names)
    if end < 2 or not any(isinstance(x, Tracer) for x in jax.tree.leaves(parts)):
        return function(parts)
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(parts)
    program = closed.jaxpr
    if program.effects:
        return function(parts)
    of_inputs = [
        names[turn] for part, turn in zip(parts, turns, strict=True) for _ in jax.tree.leaves(part)
    ]
    # Left whole, the program decodes all moments first on a CPU, which takes 10 bytes of
    # temporaries per parameter (decision 34).
    lines, last = _by_turn(program, of_inputs, end)
    known = dict(zip(program.constvars, closed.consts, strict=True))
    known |= zip(program.invars, jax.tree.leaves(parts), strict=True)
    made_once: dict[
        Hashable, Callable[..., list]
    ] = {}  # leaves that look alike have one piece, traced once
    for turn in range(-1, end):
        own = lines[turn]
        made = [x for line in own for x in line.outvars if last.get(x, -1) > turn]
        inputs, piece = _piece(program, own, made)
        if turn < 0:
            run = jaxpr_as_fun(ClosedJaxpr(piece, ()))
        elif (run := made_once.get(form := _form(piece))) is None:
            run = made_once[form] = _in_one_piece(jaxpr_as_fun(ClosedJaxpr(piece, ())))
        known |= zip(made, run(*(known[x] for x in inputs)), strict=True)
    inputs, piece = _piece(program, lines[end], program.outvars)
    results = jaxpr_as_fun(ClosedJaxpr(piece, ()))(*(known[x] for x in inputs))
    return jax.tree.unflatten(jax.tree.structure(shapes), results)


def _by_turn(
    program: Jaxpr, of_inputs: list[int], end: int
) -> tuple[dict[int, list], dict[Var, int]]:
    """Return the lines of each turn, and the last turn that uses each variable; results are used at
    the end.

    A line is in the last turn of those it depends on. One that depends on none is in the first turn
    that needs it, or in -1, before all, where its results are as small as random words: left in a
    turn, these would set apart leaves that are alike.
    """
    depends = dict(zip(program.invars, of_inputs, strict=True))
    last = dict.fromkeys(_variables(program.outvars), end)
    first = dict(last)
    lines: dict[int, list] = {turn: [] for turn in range(-1, end + 1)}
    early: set[Any] = {*program.constvars}
    for line in program.eqns:
        depends |= dict.fromkeys(
            line.outvars, max((depends.get(x, -1) for x in _variables(line.invars)), default=-1)
        )
        if early.issuperset(_variables(line.invars)) and all(
            _is_small(x.aval, 4 * end) for x in line.outvars
        ):
            early.update(line.outvars)
    for line in reversed(program.eqns):
        turn = depends[line.outvars[0]]
        if line.outvars[0] in early:
            turn = -1
        elif turn < 0:
            turn = min(first.get(x, end) for x in line.outvars)
        lines[turn].append(line)
        for x in _variables(line.invars):
            first[x], last[x] = min(first.get(x, end), turn), max(last.get(x, -1), turn)
    return {turn: some[::-1] for turn, some in lines.items()}, last


def _is_small(array: Any, words: int) -> bool:
    """Tell whether an array is a number or a few, or random words, as many as there are for all
    leaves together.
    """
    return math.prod(array.shape) <= (8 if is_inexact(array) else max(8, words))


def _piece(program: Jaxpr, lines: list, results: list) -> tuple[list[Var], Jaxpr]:
    """Return the inputs of some lines of a program, and the program of them that returns these
    results.
    """
    made = {x for line in lines for x in line.outvars}
    needed = dict.fromkeys(_variables(x for line in lines for x in line.invars)) | dict.fromkeys(
        _variables(results)
    )
    inputs = [x for x in needed if x not in made]
    return inputs, program.replace(constvars=[], invars=inputs, outvars=results, eqns=lines)


def _form(piece: Jaxpr) -> Hashable:
    """Return what two pieces have in common that compute the same function of their inputs."""
    names = {
        x: i
        for i, x in enumerate([*piece.invars, *(x for line in piece.eqns for x in line.outvars)])
    }

    def atom(x):
        return (x.aval, _frozen(x.val)) if isinstance(x, Literal) else names[x]

    lines = [
        (
            line.primitive,
            _frozen(line.params),
            line.ctx,
            *map(atom, line.invars),
            *(x.aval for x in line.outvars),
        )
        for line in piece.eqns
    ]
    return tuple(x.aval for x in piece.invars), tuple(lines), tuple(map(atom, piece.outvars))


def _frozen(value: Any) -> Hashable:
    """Return a line's parameter in a form to compare; one that cannot be hashed is itself, as the
    program keeps it alive.
    """
    try:
        hash(value)
    except TypeError:
        if isinstance(value, dict):
            return tuple((name, _frozen(x)) for name, x in value.items())
        return (
            (type(value), *map(_frozen, value)) if isinstance(value, (tuple, list)) else id(value)
        )
    return type(value), value


def _variables(atoms: Iterable[Any]) -> list[Var]:
    return [x for x in atoms if not isinstance(x, Literal)]


def _in_one_piece(run: Callable[..., list]) -> Callable[..., list]:
    """Turn the function into a call that XLA's CPU backend does not inline, nor any call within it.

    Were these inlined, decoding would be fused into several others, each with codes of its own to
    read and a copy of them; on AdamW in 8 bits that is a ninth slower.
    """

    def on_cpu(*xs):
        # An optimization barrier is gone before the scheduler runs; a false dependency and a
        # conditional each leave 6 bytes of temporaries per parameter (decision 34).
        with set_xla_metadata(inlineable="false"):
            return jax.jit(run)(*xs)

    return jax.jit(lambda *xs: jax.lax.platform_dependent(*xs, cpu=on_cpu, default=run))
