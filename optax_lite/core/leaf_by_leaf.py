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
from optax_lite.core.types import Array, PyTree
from optax_lite.core.unstable import (
    ClosedJaxpr,
    Jaxpr,
    Literal,
    Var,
    jaxpr_as_fun,
    set_xla_metadata,
)


def one_leaf_at_a_time(
    function: Callable[[list[Array]], tuple[list[Array], PyTree]],
    codes: Sequence[PyTree],
    words: Sequence[Array],
    turns: Sequence[Hashable],
    *,
    decode: Callable[[Any], Array],
    encode: Callable[[Array, Array], Any],
) -> tuple[list[PyTree], PyTree]:
    """Call `function` with the decoded slots, and encode the slots that it returns.

    On a CPU, what depends on the slots of one turn is finished before the next turn begins. Outside
    of a trace, with a single turn, or where the function has effects, it is called directly.

    Args:
        function: Function of all slots, decoded, that returns as many new ones and any tree.
        codes: The slots, each an array or a few.
        words: The second argument of `encode`, for each slot.
        turns: For each slot, a name that it shares with the other slots of its leaf.
        decode: Function of the codes of a slot.
        encode: Function of a new slot and its words.

    Returns:
        The codes of the new slots, and the tree.
    """

    def directly():
        slots, tree = function(list(map(decode, codes)))
        return list(map(encode, slots, words)), tree

    numbers = {name: i for i, name in enumerate(dict.fromkeys(turns))}
    end = len(numbers)
    if end < 2 or not any(isinstance(x, Tracer) for x in jax.tree.leaves(codes)):
        return directly()
    # Decoding and encoding join the pieces only: as lines of the program, two for each slot, they
    # took about 30 % of the time to trace an update of 5,000 leaves.
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(_decoded_shapes(decode, codes))
    program = closed.jaxpr
    if program.effects:
        return directly()
    # Left whole, the program decodes all moments first on a CPU, which takes 10 bytes of
    # temporaries per parameter (decision 34).
    starts = [numbers[turn] for turn in turns]
    new_slots, others = program.outvars[: len(codes)], program.outvars[len(codes) :]
    lines, last, ends = _by_turn(program, starts, new_slots, others, end)
    known = dict(zip(program.constvars, closed.consts, strict=True))
    new_codes: list[PyTree] = [None] * len(codes)
    pieces: dict[Hashable, Callable] = {}  # leaves that look alike have one piece, traced once
    starting, ending = _indices(starts), _indices(ends)
    results = []
    for turn in range(-1, end + 1):
        before, after = starting.get(turn, ()), ending.get(turn, ())
        slots = [program.invars[i] for i in before]
        made = [*slots, *(x for line in lines[turn] for x in line.outvars)]
        kept = others if turn == end else [x for x in made if last.get(x, -1) > turn]
        piece = _piece(program, lines[turn], slots, [*kept, *(new_slots[i] for i in after)])
        run = _between(decode, piece, len(kept), encode)
        if 0 <= turn < end:
            form = len(kept), _form(piece)
            run = pieces[form] = pieces.get(form) or _in_one_piece(run)
        results, encoded = run(
            [codes[i] for i in before],
            [known[x] for x in piece.invars[len(slots) :]],
            [words[i] for i in after],
        )
        if turn < end:
            known |= zip(kept, results, strict=True)
        for i, x in zip(after, encoded, strict=True):
            new_codes[i] = x
    return new_codes, jax.tree.unflatten(jax.tree.structure(shapes[1]), results)


def _decoded_shapes(decode: Callable[[Any], Array], codes: Sequence[PyTree]) -> list[Any]:
    """Return the shape and dtype of each decoded slot, asked once for those that look alike."""
    looks = [tuple(map(jax.typeof, jax.tree.leaves(q))) for q in codes]
    shapes = {
        look: jax.eval_shape(decode, q) for look, q in dict(zip(looks, codes, strict=True)).items()
    }
    return [shapes[look] for look in looks]


def _indices(turns: Sequence[int]) -> dict[int, list[int]]:
    """Return the places of each turn in a list of turns."""
    found: dict[int, list[int]] = {}
    for i, turn in enumerate(turns):
        found.setdefault(turn, []).append(i)
    return found


def _by_turn(
    program: Jaxpr, starts: list[int], new_slots: list, others: list, end: int
) -> tuple[dict[int, list], dict[Var, int], list[int]]:
    """Return the lines of each turn, the last turn that uses each variable, and the turn in which
    each new slot is done; other results are used at the end.

    A line is in the last turn of those it depends on. One that depends on none is in the first turn
    that needs it, or in -1, before all, where its results are as small as random words: left in a
    turn, these would set apart leaves that are alike.
    """
    depends = dict(zip(program.invars, starts, strict=True))
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
    ends = [max((depends.get(y, -1) for y in _variables([x])), default=-1) for x in new_slots]
    ends = [end if turn < 0 else turn for turn in ends]
    first: dict[Var, int] = {}
    last: dict[Var, int] = {}

    def used(atoms, turn):
        for x in _variables(atoms):
            first[x], last[x] = min(first.get(x, end), turn), max(last.get(x, -1), turn)

    for x, turn in [*zip(new_slots, ends, strict=True), *((x, end) for x in others)]:
        used([x], turn)
    for line in reversed(program.eqns):
        turn = depends[line.outvars[0]]
        if line.outvars[0] in early:
            turn = -1
        elif turn < 0:
            turn = min(first.get(x, end) for x in line.outvars)
        lines[turn].append(line)
        used(line.invars, turn)
    return {turn: some[::-1] for turn, some in lines.items()}, last, ends


def _is_small(array: Any, words: int) -> bool:
    """Tell whether an array is a number or a few, or random words, as many as there are for all
    leaves together.
    """
    return math.prod(array.shape) <= (8 if is_inexact(array) else max(8, words))


def _piece(program: Jaxpr, lines: list, slots: list[Var], results: list) -> Jaxpr:
    """Return the program of some lines that returns these results; its inputs begin with the
    slots.
    """
    made = {x for line in lines for x in line.outvars}
    needed = dict.fromkeys(slots) | dict.fromkeys(
        _variables([*(x for line in lines for x in line.invars), *results])
    )
    inputs = [x for x in needed if x not in made]
    return program.replace(constvars=[], invars=inputs, outvars=results, eqns=lines)


def _between(decode: Callable, piece: Jaxpr, kept: int, encode: Callable) -> Callable:
    """Return the function of a piece: its slots are decoded first, and the results after those
    that are kept are encoded.
    """
    evaluate = jaxpr_as_fun(ClosedJaxpr(piece, ()))

    def run(codes, inputs, words):
        results = evaluate(*map(decode, codes), *inputs)
        return results[:kept], list(map(encode, results[kept:], words))

    return run


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


def _in_one_piece(run: Callable) -> Callable:
    """Turn the function into a call that XLA's CPU backend does not inline, nor any call within it.

    Were these inlined, decoding would be fused into several others, each with codes of its own to
    read and a copy of them; on AdamW in 8 bits that is a ninth slower.
    """

    def in_one_piece(*xs):
        # Traced before the calls are marked: those within `encode`, such as of `jnp.where`, stay
        # open to inlining, or each of their results would be a temporary of its own.
        closed, shapes = jax.make_jaxpr(run, return_shape=True)(*xs)
        evaluate = jaxpr_as_fun(closed)

        def on_cpu(*leaves):
            # An optimization barrier is gone before the scheduler runs; a false dependency and a
            # conditional each leave 6 bytes of temporaries per parameter (decision 34).
            with set_xla_metadata(inlineable="false"):
                return jax.jit(evaluate)(*leaves)

        results = jax.lax.platform_dependent(*jax.tree.leaves(xs), cpu=on_cpu, default=evaluate)
        return jax.tree.unflatten(jax.tree.structure(shapes), results)

    return jax.jit(in_one_piece)
