"""Mutation testing: make one small mistake at a time; the references, or else the fast tests, must
notice it.

    python -m tests.mutate [--only NAME] [--jobs 2] [--file RESULTS]

A mistake is compared with the references first. What they pass goes to the fast tests of the files
that name its module in PROVES. One that nothing notices means a missing setting or test, or is
listed in EQUIVALENT with a proof.
"""

import argparse
import ast
import builtins
import dataclasses
import hashlib
import inspect
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import types
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from tests.equivalent import EQUIVALENT
from tests.methods import PROBES, ROWS
from tests.methods.clip import OF_EXAMPLES
from tests.methods.compare import starts_of, steps_of, worst_error
from tests.methods.composition import composition_settings, sides
from tests.methods.losses import CASES as LOSS_CASES, HARD
from tests.methods.schedules import CASES, counts

ROOT = Path(__file__).parent.parent
UNCHANGED = "nothing"  # the change of a rule as it is


@dataclasses.dataclass(frozen=True)
class Mutant:
    module: str
    function: str  # the top-level function that was changed
    line: int
    change: str  # "original -> mutated"
    code: str  # of the whole module
    # the first and the last of the statement, of which a killer runs one
    lines: tuple[int, int] = (0, 0)

    @property
    def rule(self) -> str:
        return f"{self.module.removeprefix('optax_lite.')}.{self.function}"


# --- making mutants -------------------------------------------------------------------------------

OPERATORS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
}
OPERATORS |= {
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.MatMult: ast.Mult,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
OPERATORS |= {ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitAnd}
OPERATORS |= {ast.LShift: ast.RShift, ast.RShift: ast.LShift}
COMPARISONS = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
}
COMPARISONS |= {
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
TO_ARGUMENT = {
    "sqrt",
    "abs_sq",
    "abs",
    "floor",
    "ceil",
    "round",
    "exp",
    "expm1",
    "log",
    "log1p",
    "conj",
    "square",
}
TO_ARGUMENT |= {"sign", "increment", "clip"}
FUNCTIONS = {
    "maximum": "minimum",
    "cos": "sin",
    "sin": "cos",
    "exp": "expm1",
    "sum": "mean",
    "mean": "sum",
    "max": "min",
}
FUNCTIONS |= {
    "any": "all",
    "all": "any",
    "minimum": "maximum",
    "min": "max",
    "sign": "abs",
    "abs_sq": "abs",
    "real": "imag",
    "zeros_like": "ones_like",
}
TREES = {"params", "updates", "state", "extra", "self", "cls"}  # not numbers: no names to confuse


def changed(node: ast.AST, siblings: dict[str, list[str]]) -> Iterator[ast.AST]:
    """What may stand in the place of a node, one mistake each."""
    match node:
        case ast.BinOp(left, op, right):
            yield ast.BinOp(left, OPERATORS[type(op)](), right)
            yield left
            if isinstance(op, (ast.Add, ast.Mult, ast.BitAnd, ast.BitOr)):
                yield right
        case ast.BoolOp(op, values):
            yield ast.BoolOp(OPERATORS[type(op)](), values)
        case ast.UnaryOp(ast.USub() | ast.Not() | ast.Invert(), operand):
            yield operand
        case ast.Compare(left, [op], right):
            for other in COMPARISONS.get(type(op), ()):
                yield ast.Compare(left, [other()], right)
        case ast.Constant(bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(int(value) | float(value)):
            yield ast.Constant(
                value + 1 if value in (0, 1) or isinstance(value, int) else value / 2
            )
        case ast.IfExp(test, body, orelse) if not isinstance(test, ast.Compare):
            yield ast.IfExp(test, orelse, body)
        case ast.If(test, body, orelse) if not isinstance(test, ast.Compare):
            yield ast.If(ast.UnaryOp(ast.Not(), test), body, orelse)
        case ast.Call(function, [first, *rest]):
            name = getattr(function, "attr", getattr(function, "id", ""))
            if name in TO_ARGUMENT:
                yield first
            if (
                name == "moving_average"
            ):  # nothing new comes in, nothing old stays, or the two change places
                yield from (rest[0], rest[1], ast.Call(function, [first, *reversed(rest)], []))
            if name == "where":
                yield ast.Call(function, [first, *reversed(rest)], [])
            if name == "cond" and len(rest) > 1:
                yield ast.Call(function, [first, rest[1], rest[0], *rest[2:]], node.keywords)
        case ast.Attribute(value, name) if name in FUNCTIONS:
            yield ast.Attribute(value, FUNCTIONS[name])
        case ast.Name(name, ast.Load()) if name in FUNCTIONS and name not in siblings:
            yield ast.Name(FUNCTIONS[name])
        case ast.Name(name, ast.Load()) if name in siblings:
            names = siblings[name]
            i = names.index(name)
            yield from (
                ast.Name(other)
                for other in dict.fromkeys((names[i - 1], names[(i + 1) % len(names)]))
                if other != name
            )


def is_check(node: ast.AST) -> bool:
    """Checks of arguments, their messages, and what is no arithmetic: not mutated. That a rule asks
    for squares is read in its text by tests/test_range.py.
    """
    match node:
        case ast.Call(ast.Name(name)) | ast.FunctionDef(name):
            return name.lstrip("_").startswith("check")
        case ast.If(_, body, []):
            return all(isinstance(statement, ast.Raise) for statement in body)
        case ast.keyword(arg):
            return arg in ("strict", "squares")
        case ast.AnnAssign(_, ast.Name("TypeAlias")) | ast.Assign(
            [ast.Name()], ast.BinOp(_, ast.BitOr())
        ):
            return is_union(node.value) or isinstance(node, ast.AnnAssign)
        case ast.arg() | ast.JoinedStr() | ast.BinOp(ast.Constant(str())):
            return True
    return False


def is_union(node: ast.AST) -> bool:
    """Whether an expression is one of types, as `Array | None`."""
    match node:
        case ast.BinOp(left, ast.BitOr(), right):
            return is_union(left) and is_union(right)
        case ast.Name(name):
            return name[0].isupper() or name in dir(builtins)
        case ast.Subscript(ast.Name(name)):
            return name[0].isupper()
    return isinstance(node, ast.Constant) and node.value is None


NO_NUMBERS = ("DTypeLike", "Mask", "SeedOrKey", "TransformationLike")


def confusable(node: ast.FunctionDef | ast.Lambda) -> dict[str, list[str]]:
    """Names that somebody could mix up in a function: its flags, its numbers, what it assigns."""
    flags, numbers = [], []
    arguments = node.args.posonlyargs + node.args.args
    defaults = dict(zip(reversed(arguments), reversed(node.args.defaults), strict=False))
    defaults |= dict(zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True))
    for argument in arguments + node.args.kwonlyargs:
        match defaults.get(argument), argument.annotation:
            case ast.Constant(bool()), _:
                flags.append(argument.arg)
            case (ast.Constant(None), None | ast.Name("PyTree")) | (_, ast.Name("str")):
                pass  # a tree, a word
            case ast.Constant(None), ast.BinOp(ast.Name(kind)) if kind in NO_NUMBERS:
                pass
            case _:
                numbers.append(argument.arg)
    body = node.body if isinstance(node.body, list) else []
    inner = {
        n for s in body for f in ast.walk(s) if isinstance(f, ast.FunctionDef) for n in ast.walk(f)
    }
    stored = [
        n.id
        for s in body
        for n in ast.walk(s)
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store) and n not in inner
    ]
    assigned = [name for name in dict.fromkeys(stored) if name not in flags + numbers]
    groups = ([name for name in group if name not in TREES] for group in (flags, numbers, assigned))
    return {name: group for group in groups for name in group if len(group) > 1}


def places(node: ast.AST, above: tuple, siblings: dict[str, list[str]]) -> Iterator[tuple]:
    """Every node that may change, with its ancestors, the list or object and the index or field
    that hold it.
    """
    if isinstance(node, (ast.FunctionDef, ast.Lambda)):
        siblings = siblings | confusable(node)
    for field, value in ast.iter_fields(node):
        if field in ("decorator_list", "annotation", "returns"):
            continue
        many = isinstance(value, list)
        for key, child in list(enumerate(value)) if many else [(field, value)]:
            if isinstance(child, ast.AST) and not is_check(child):
                yield (
                    child,
                    (*above, node),
                    (value.__setitem__ if many else node.__setattr__),
                    key,
                    siblings,
                )
                yield from places(child, (*above, node), siblings)


def lines_of(node: ast.AST, above: tuple) -> tuple[int, int]:
    """The lines of the statement that a node is in: of a compound one its head, of a function (a
    default) all.
    """
    statement = next(x for x in (node, *reversed(above)) if isinstance(x, ast.stmt))
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)) or not getattr(
        statement, "body", None
    ):
        return statement.lineno, statement.end_lineno
    return statement.lineno, max(statement.lineno, statement.body[0].lineno - 1)


def shown(node: ast.AST, above: tuple) -> tuple[ast.AST, str]:
    """The largest piece of code around a node that still fits a line, and what it belongs to."""
    if isinstance(above[-1], ast.arguments):
        arguments = above[-1]
        named = [
            *reversed([*zip(reversed(arguments.args), reversed(arguments.defaults), strict=False)])
        ]
        named += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        return node, next((f"default of {a.arg}: " for a, default in named if default is node), "")
    piece = node
    for larger in reversed(above):
        if (
            not isinstance(larger, (ast.expr, ast.keyword, ast.Assign, ast.Return))
            or len(ast.unparse(larger)) > 48
        ):
            break
        piece = larger
    return piece, ""


@cache
def source(module: str) -> str:
    return (ROOT / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8")


def mutants(module: str) -> Iterator[Mutant]:
    """All mutants of a module."""
    tree = ast.parse(source(module))
    texts, seen = [ast.unparse(statement) for statement in tree.body], Counter()
    for i, statement in enumerate(tree.body):
        if isinstance(statement, (ast.Import, ast.ImportFrom)) or is_check(statement):
            continue
        for node, above, put, key, siblings in places(statement, (), {}):
            piece, label = shown(node, above)
            before = ast.unparse(piece).removesuffix(":")
            for new in changed(node, siblings):
                put(key, ast.fix_missing_locations(new))
                after = ast.unparse(new if piece is node else piece)
                if (
                    after.removesuffix(":") == before
                ):  # where(a, b), with a single argument to turn around, say
                    put(key, node)
                    continue
                change = (
                    f"{label}{before} -> {after}"
                    if len(before) < 200
                    else f"if {ast.unparse(node.test)} -> if not"
                )
                seen[i, change] += 1
                change += f" (#{seen[i, change]})" if seen[i, change] > 1 else ""
                code = "\n".join([*texts[:i], ast.unparse(statement), *texts[i + 1 :]])
                function = getattr(statement, "name", "(module)")
                yield Mutant(module, function, node.lineno, change, code, lines_of(node, above))
                put(key, node)


# every module of these folders is mutated
WHOLE = ("optimizers", "_transforms", "linesearch", "losses", "wrappers")
FILES = (
    "_schedules.py",
    "core/half.py",
    "core/block_float8.py",
    "core/leaf_by_leaf.py",
    "inspect/_slots.py",
    "inspect/metrics.py",
    "sweep/search.py",
)
PARTS = (*WHOLE, "_schedules", "core", "inspect", "sweep")


def modules() -> list[str]:
    """The modules that are mutated."""
    package = ROOT / "optax_lite"
    paths = [p for folder in WHOLE for p in package.glob(f"{folder}/*.py")]
    paths += [package / file for file in FILES]
    names = [".".join(p.relative_to(ROOT).with_suffix("").parts) for p in paths]
    return sorted(name for name in names if not name.endswith(("__init__", "losses._inputs")))


# --- running them ---------------------------------------------------------------------------------


def users(module: str, function: str) -> set[str]:
    """The names of a module that need `function`, itself included."""
    uses: dict[str, set[str]] = {}
    for statement in ast.parse(source(module)).body:
        targets = [t.id for t in getattr(statement, "targets", []) if isinstance(t, ast.Name)]
        for name in [getattr(statement, "name", ""), *targets]:
            uses[name] = {n.id for n in ast.walk(statement) if isinstance(n, ast.Name)}
    found, size = {function}, 0
    while size < len(found):
        size = len(found)
        found |= {name for name, used in uses.items() if used & found}
    return set(uses) if function == "(module)" else found


@cache
def comparisons(module: str, function: str) -> list[tuple[str, Callable[[dict], bool]]]:
    """What a mutant of `function` has to get through: `agrees(namespace of the mutated module)`, by
    name.
    """
    names = users(module, function)
    if module == "optax_lite._schedules":
        chosen = [(i, case) for i, case in enumerate(CASES) if case[1].__name__ in names]
        of_cases = [(f"{case[0]}-{i}", _schedule_agrees(case)) for i, case in chosen]
        return of_cases + list(PROBES.get(module, {}).items())
    if module.startswith("optax_lite.losses"):
        chosen = [(i, case) for i, case in enumerate(LOSS_CASES) if case.name in names]
        hard = [(name, _hard_agrees(place)) for name, place in HARD.items() if place.name in names]
        of_cases = [(f"{case.name}-{i}", _loss_agrees(case)) for i, case in chosen]
        return of_cases + hard + list(PROBES.get(module, {}).items())
    rows = [
        row for row in ROWS if row.factory.__module__ == module and row.factory.__name__ in names
    ]
    composed = [
        (row, i, s)
        for row in rows
        if row.stands_for
        for i, s in enumerate(composition_settings(row))
    ]
    made = [(f"{row.name}-{i}", _parts_agree(row, settings)) for row, i, settings in composed]
    compared = [row for row in rows if row.reference and not row.stands_for]
    of_rows = [
        (f"{row.name}-{i}", _row_agrees(row, s))
        for row in compared
        for i, s in enumerate(row.economical)
    ]
    cases = [
        case
        for case in OF_EXAMPLES
        if case.function.__module__ == module and case.function.__name__ in names
    ]
    of_cases = [
        (f"{c.name}-{i}", _function_agrees(c, s)) for c in cases for i, s in enumerate(c.settings)
    ]
    return made + of_rows + of_cases + list(PROBES.get(module, {}).items())


@cache
def comparisons_elsewhere(module: str, function: str) -> list[tuple[str, Callable[[dict], bool]]]:
    """The same for the modules that import what needs `function`, with the mutated names in place
    of theirs.
    """
    names, found = users(module, function), []
    for other in modules():
        taken = imported(other, module) & names
        wanted = (
            {name: c for f in sorted(taken) for name, c in comparisons(other, f)} if taken else {}
        )
        found += [
            (f"{other}: {name}", _agrees_elsewhere(other, taken, agrees))
            for name, agrees in wanted.items()
        ]
    return found


@cache
def imported(module: str, origin: str) -> frozenset[str]:
    """The names that a module takes from another one."""
    lines = [
        x
        for x in ast.walk(ast.parse(source(module)))
        if isinstance(x, ast.ImportFrom) and x.module == origin
    ]
    return frozenset(alias.name for line in lines for alias in line.names)


def _agrees_elsewhere(other, names, agrees):
    def agrees_with(namespace):
        module = types.ModuleType(other)
        exec(compile(source(other), other, "exec"), module.__dict__)
        module.__dict__.update({name: namespace[name] for name in names})
        return agrees(module.__dict__)

    return agrees_with


def _row_agrees(row, settings):
    def agrees(namespace):
        mutated = namespace[row.factory.__name__]

        def factory(**kwargs):
            return mutated(**kwargs)

        # the reference keeps the defaults of the real one
        factory.__signature__ = inspect.signature(row.factory)
        run = dataclasses.replace(row, factory=factory)
        error = worst_error(run, settings, jnp.float64, starts=starts_of(row), steps=steps_of(row))
        return error <= row.quirks.float64

    return agrees


def _parts_agree(row, settings):
    """Whether a composition is what it stands for; its parts are compared where they are
    defined.
    """

    def agrees(namespace):
        made, expected = sides(row, settings, namespace)
        return made == expected

    return agrees


def _function_agrees(case, settings):
    return lambda namespace: case.error(settings, namespace[case.name]) <= 1e-12


def _schedule_agrees(case):
    name, factory, settings, reference = case
    at = counts(name, settings)
    expected = [reference(count) for count in at]
    far = 100_000 if jnp.isfinite(factory(**settings)(100_000)) else 0

    def agrees(namespace):
        schedule = namespace[factory.__name__](**settings)
        values = schedule(jnp.array(at))
        equal = values.shape == (len(at),) and np.allclose(values, expected, rtol=1e-12, atol=1e-13)
        # Some branches are there for the derivatives alone.
        slopes = jax.grad(lambda s: jnp.sum(s(jnp.array([*at, far]))))(schedule) if equal else None
        return equal and all(jnp.isfinite(slope) for slope in jax.tree.leaves(slopes))

    return agrees


def _loss_agrees(case):
    def agrees(namespace):
        error, slopes = case.error_and_slopes(namespace[case.name], jnp.float64)
        return error <= 1e-12 and all(jnp.all(jnp.isfinite(slope)) for slope in slopes)

    return agrees


def _hard_agrees(place):
    return lambda namespace: place.error(namespace[place.name]) <= 3e-6


# seconds of computing for a comparison; a mutant that turns a loop into an endless one is noticed
# too
LONGEST = 120


def _in_time(agrees: Callable[[dict], bool], namespace: dict) -> bool:
    """A comparison, ended when it takes too long; a busy machine does not count."""
    before = signal.signal(signal.SIGPROF, _too_long)
    signal.setitimer(signal.ITIMER_PROF, LONGEST)
    try:
        return agrees(namespace)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _too_long(signal_number, frame):
    raise TimeoutError


_kills: Counter[tuple[str, str]] = Counter()  # what killed before is tried first


def killer(mutant: Mutant) -> str:
    """The name of the first comparison that a mutant fails, "" if it passes all."""
    module = types.ModuleType(mutant.module)
    try:
        exec(compile(mutant.code, f"<mutant of {mutant.module}>", "exec"), module.__dict__)
    except Exception:
        return "import"
    elsewhere = comparisons_elsewhere if mutant.change != UNCHANGED else lambda *_: []
    for compare in (comparisons, elsewhere):
        for name, agrees in sorted(
            compare(mutant.module, mutant.function), key=lambda c: -_kills[mutant.module, c[0]]
        ):
            try:
                good = _in_time(agrees, module.__dict__)
            except Exception:
                good = False
            if not good:
                _kills[mutant.module, name] += 1
                return name
    return ""


def _configure() -> None:
    warnings.simplefilter("error")
    jax.config.update("jax_enable_x64", True)
    # nothing is run often enough to be worth a compilation
    jax.config.update("jax_disable_jit", True)
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    jax.config.update("jax_numpy_rank_promotion", "raise")


def _run(mutant: Mutant) -> tuple[Mutant, str]:
    return mutant, killer(mutant)


def killers(
    wanted: Callable[[Mutant], bool] = lambda m: True, jobs: int = 2, file: Path | None = None
) -> dict:
    """What killed each mutant, "" where nothing did, after a run of the unchanged modules.

    Results go to the file one by one. Those of the same code are not run again if it was killed or
    is proven.
    """
    made = [m for module in modules() for m in mutants(module) if wanted(m)]
    before = saved(file, made) if file and file.exists() else {}
    results = {m: by for m, by in before.items() if by or is_proven(m)}
    left = [m for m in made if m not in results]
    files = {module: test_files(module) for module in {m.module: 0 for m in left}}

    def keep(mutant, by):
        results[mutant] = by
        out.write(json.dumps([*_named(mutant), by]) + "\n")
        out.flush()
        if len(results) % 200 == 0:
            print(
                f"{len(results)} of {len(made)} run, now in {mutant.module}",
                file=sys.stderr,
                flush=True,
            )

    with open(file or os.devnull, "a") as out:
        compare = [
            m
            for m in left
            if comparisons(m.module, m.function) or comparisons_elsewhere(m.module, m.function)
        ]
        alone = set(left) - set(compare)
        survivors = [m for m in left if m in alone and files[m.module]]
        for mutant in (m for m in left if m in alone and not files[m.module]):
            keep(mutant, "")
        for mutant, by in compared(compare, jobs):
            if by or not files[mutant.module]:
                keep(mutant, by)
            else:
                survivors.append(mutant)
        run_tests(survivors, files, jobs, keep)
    return {m: results[m] for m in made}


def compared(left: list[Mutant], jobs: int) -> Iterator[tuple[Mutant, str]]:
    """The mutants, and the comparison that killed each of them."""
    if not left:
        return
    unchanged = [
        Mutant(module, "(module)", 0, UNCHANGED, source(module))
        for module in {m.module: 0 for m in left}
    ]
    wrong = []
    with multiprocessing.get_context("spawn").Pool(jobs, _configure) as pool:
        for mutant, by in pool.imap_unordered(_run, unchanged + left, chunksize=8):
            if mutant.change == UNCHANGED:
                wrong += [f"{mutant.module}: {by}"] if by else []
            else:
                yield mutant, by
    if wrong:
        sys.exit(f"the rules themselves disagree with their references: {', '.join(wrong)}")


# --- running the tests on them --------------------------------------------------------------------


@cache
def test_files(module: str) -> list[str]:
    """The test files that prove a module: those that name it in a constant PROVES."""
    found = []
    for path in sorted((ROOT / "tests").glob("**/test_*.py")):
        for statement in ast.parse(path.read_text()).body:
            match statement:
                case ast.Assign([ast.Name("PROVES")], value) if module.removeprefix(
                    "optax_lite."
                ) in ast.literal_eval(value):
                    found.append(str(path.relative_to(ROOT)))
    return found


class Trials:
    """The fast tests of a module, run on one mutant after the other until one fails."""

    def __init__(self, module: str, files: list[str]) -> None:
        command = [sys.executable, "-m", "tests.trials", module, *files]
        self.module, pipe = module, subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT)
        unchanged = self._ask(code=source(module))
        if unchanged["failed"]:
            sys.exit(f"{module}: tests fail without a mutant: {', '.join(unchanged['failed'])}")
        self.tests: dict[str, tuple[float, list[int]]] = unchanged["tests"]
        self.last: dict[str, int] = {}  # when a test killed a mutant last
        self.ran = 0

    def killer(self, mutant: Mutant) -> str:
        """The first test that fails of those that run the changed lines; all where these run at
        import.
        """
        first, last = mutant.lines
        touching = [
            name
            for name, (_, lines) in self.tests.items()
            if any(first <= x <= last for x in lines)
        ]
        at_import = mutant.function == "(module)" or not touching
        some = [name for name, (_, lines) in self.tests.items() if lines] if at_import else touching
        order = sorted(some, key=lambda name: (-self.last.get(name, 0), self.tests[name][0]))
        by = self._ask(code=mutant.code, order=order)["killer"] if order else ""
        self.ran += 1
        self.last[by] = self.ran
        return by

    def _ask(self, **trial) -> dict:
        print(json.dumps(trial), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.module}: the process of the trials ended")
        answer = json.loads(line)
        number = -answer.pop("signal", 0)
        if number and (number == signal.SIGKILL or "order" not in trial):
            sys.exit(f"{self.module}: a trial was ended by signal {number}")
        return answer | ({"killer": f"ended by {signal.Signals(number).name}"} if number else {})

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def run_tests(
    survivors: list[Mutant], files: dict, jobs: int, keep: Callable[[Mutant, str], None]
) -> None:
    """Run the tests on what the comparisons did not notice, each module in a process."""
    lock = threading.Lock()

    def run(module):
        trials = Trials(module, files[module])
        try:
            for mutant in (m for m in survivors if m.module == module):
                by = trials.killer(mutant)
                with lock:
                    keep(mutant, by)
        finally:
            trials.close()

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(run, {m.module: 0 for m in survivors}))


def _named(m: Mutant) -> tuple[str, ...]:
    return m.module, m.function, m.change, hashlib.sha256(m.code.encode()).hexdigest()


def saved(file: Path, made: list[Mutant]) -> dict[Mutant, str]:
    """The results in a file, of mutants whose code is still the same."""
    results = {
        tuple(names): by
        for *names, by in map(json.loads, file.read_text(encoding="utf-8").splitlines())
    }
    return {m: results[_named(m)] for m in made if _named(m) in results}


def is_proven(m: Mutant) -> bool:
    """Whether a mutant is known to compute the same."""
    return m.change in EQUIVALENT.get(m.rule, {})


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", help="a function or the end of a module's name")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--file",
        type=Path,
        help="where results are kept, so that a run goes on where one was ended",
    )
    args = parser.parse_args()

    started = time.monotonic()
    results = killers(
        lambda m: args.only in (None, m.function) or m.module.endswith(args.only),
        args.jobs,
        args.file,
    )
    for rule in dict.fromkeys(m.rule for m in results):
        mine = [m for m in results if m.rule == rule]
        print(f"{rule:55s} {sum(bool(results[m]) for m in mine):4d} / {len(mine)}")
    survivors = [m for m in results if not results[m]]
    proven = [m for m in survivors if is_proven(m)]
    for m in survivors:
        where = f"{m.module.replace('.', '/')}.py:{m.line}"
        print(f"{'equivalent' if m in proven else 'SURVIVOR  '}  {where}  {m.function}: {m.change}")
    listed = {(rule, change) for rule, changes in EQUIVALENT.items() for change in changes}
    ran = {m.rule for m in results} if args.only else set(EQUIVALENT)
    stale = [
        key for key in sorted(listed - {(m.rule, m.change) for m in survivors}) if key[0] in ran
    ]
    for rule, change in stale:
        print(f"STALE       {rule}: {change}: it is killed, or gone")
    made, unproven = len(results), len(survivors) - len(proven)
    for part in PARTS:
        mine = [m for m in results if m.module.split(".")[1] == part]
        alive = [m for m in mine if not results[m]]
        same = sum(map(is_proven, alive))
        if mine:
            print(
                f"{part:12s} {len(mine):5d} made, {len(mine) - len(alive):5d} killed, {same:3d} "
                f"equivalent, {len(alive) - same} left"
            )
    print(
        f"{made} mutants, {made - len(survivors)} killed, {len(proven)} equivalent, {unproven} "
        "not noticed"
    )
    print(f"{time.monotonic() - started:.0f} s")
    return 1 if unproven or stale else 0


if __name__ == "__main__":
    sys.exit(main())
