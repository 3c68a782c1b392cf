"""A computation over many leaves done leaf by leaf, so that what it makes of one is gone before the next.

XLA's CPU backend orders a program so that as much as possible can run at once: what a hundred leaves are decoded to
would all exist beside each other. A call that it must not inline it runs as one piece.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import jax
from jax.core import Tracer

from optax_lite.aliases import PyTree
from optax_lite.unstable import ClosedJaxpr, Jaxpr, Literal, Var, jaxpr_as_fun, set_xla_metadata


def in_turn(function: Callable[[list], PyTree], parts: list, turns: Sequence[Hashable]) -> PyTree:
    """`function(parts)`; on a CPU, what depends on the parts of one turn is done before those of the next.

    Outside of a trace, with a single turn, or where the function has effects, it is called as it is.
    """
    names = {name: i for i, name in enumerate(dict.fromkeys(turns))}
    end = len(names)
    if end < 2 or not any(isinstance(x, Tracer) for x in jax.tree.leaves(parts)):
        return function(parts)
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(parts)
    program = closed.jaxpr
    if program.effects:
        return function(parts)
    of_inputs = [names[turn] for part, turn in zip(parts, turns, strict=True) for _ in jax.tree.leaves(part)]
    lines, users = _by_turn(program, of_inputs, end)
    known = dict(zip(program.constvars, closed.consts, strict=True))
    known |= zip(program.invars, jax.tree.leaves(parts), strict=True)
    for turn in range(end):
        made = [x for line in lines[turn] for x in line.outvars if max(users.get(x, ()), default=-1) > turn]
        inputs, run = _piece(program, lines[turn], made)
        known |= zip(made, _in_one_piece(run)(*(known[x] for x in inputs)), strict=True)
    inputs, run = _piece(program, lines[end], program.outvars)
    return jax.tree.unflatten(jax.tree.structure(shapes), run(*(known[x] for x in inputs)))


def _by_turn(program: Jaxpr, of_inputs: list[int], end: int) -> tuple[list[list], dict[Var, set[int]]]:
    """The lines of each turn, and the turns in which a variable is used; results are, at the end.

    A line has the last turn of those it depends on. One that depends on none has the first turn that needs it.
    """
    depends = dict(zip(program.invars, of_inputs, strict=True))
    users = {x: {end} for x in _variables(program.outvars)}
    lines = [[] for _ in range(end + 1)]
    for line in program.eqns:
        depends |= dict.fromkeys(line.outvars, max((depends.get(x, -1) for x in _variables(line.invars)), default=-1))
    for line in reversed(program.eqns):
        turn = depends[line.outvars[0]]
        if turn < 0:
            turn = min((user for x in line.outvars for user in users.get(x, ())), default=end)
        lines[turn].append(line)
        for x in _variables(line.invars):
            users.setdefault(x, set()).add(turn)
    return [some[::-1] for some in lines], users


def _piece(program: Jaxpr, lines: list, results: list) -> tuple[list[Var], Callable[..., list]]:
    """What some lines of a program take, and the function of it that returns these results."""
    made = {x for line in lines for x in line.outvars}
    needed = dict.fromkeys(_variables(x for line in lines for x in line.invars)) | dict.fromkeys(_variables(results))
    inputs = [x for x in needed if x not in made]
    piece = program.replace(constvars=[], invars=inputs, outvars=results, eqns=lines)
    return inputs, jaxpr_as_fun(ClosedJaxpr(piece, ()))


def _variables(atoms: Iterable[Any]) -> list[Var]:
    return [x for x in atoms if not isinstance(x, Literal)]


def _in_one_piece(run: Callable[..., list]) -> Callable[..., list]:
    """The function as a call that XLA's CPU backend leaves as it is, and so all calls within it.

    Were these inlined, decoding would be fused into several others, each with codes of its own to read and a copy of
    them; on AdamW in 8 bits that is a ninth slower.
    """

    def on_cpu(*xs):
        with set_xla_metadata(inlineable="false"):
            return jax.jit(run)(*xs)

    return lambda *xs: jax.lax.platform_dependent(*xs, cpu=on_cpu, default=run)
