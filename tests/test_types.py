"""What editors and checkers say: of wrong lines, of right code, of every public signature.

`python -m tests.test_types` counts the wrong lines that each checker sees, here and with optax.
"""

import ast
import importlib
import importlib.util
import inspect
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
import types
from functools import cache
from pathlib import Path

import jax
import pytest

from tests.test_documents import BLOCK, ROOT, WITH_CODE

LINES = ROOT / "tests/types"
# Its recipes stand by themselves: a name of one is something else in the next; and they are about
# what six other libraries declare.
NOT_CHECKED = ("recipes.md",)
MARK = re.compile(r"# wrong(, optax)?: ")


# --- wrong lines, right code, the documents' code -------------------------------------------------


def write_files(folder):
    """The two files of lines, and the code of each page under the numbers of its lines."""
    for file in ("wrong.py", "right.py"):
        shutil.copy(LINES / file, folder)
    for page in WITH_CODE:
        if page.name in NOT_CHECKED:
            continue
        text = page.read_text(encoding="utf-8")
        lines = [""] * text.count("\n")
        for match in BLOCK.finditer(text):
            if match[2] is None:  # the others show an error, which a checker may see as well
                start = text.count("\n", 0, match.start(1))
                code = match[1].splitlines()
                lines[start : start + len(code)] = code
        file = folder / f"{page.stem.replace('-', '_')}_page.py"
        file.write_text("\n".join([*lines, ""]), encoding="utf-8")


def output(*command, folder, **environment):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PATH": path} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1) and done.stdout, done.stderr  # 1: errors were found
    return done.stdout


def with_basedpyright(folder):
    config = {
        "typeCheckingMode": "standard",
        "extraPaths": [str(ROOT)],
        "reportPossiblyUnboundVariable": False,  # what a loop of a page leaves behind
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(config), encoding="utf-8")
    told = output(
        "basedpyright", "--outputjson", "--pythonpath", sys.executable, "-p", ".", folder=folder
    )
    for found in json.loads(told)["generalDiagnostics"]:
        if found["severity"] == "error":
            where = Path(found["file"]).name, found["range"]["start"]["line"] + 1
            yield *where, found["message"]


def with_mypy(folder):
    options = ("--check-untyped-defs", "--disable-error-code=import-untyped")
    told = output(
        "mypy",
        *options,
        f"--config-file={ROOT / 'pyproject.toml'}",  # as in a checkout: silent about our sources
        f"--python-executable={sys.executable}",
        f"--cache-dir={ROOT / '.mypy_cache'}",
        ".",
        folder=folder,
        MYPYPATH=str(ROOT),
    )
    for file, line, message in re.findall(r"^(.*?):(\d+): error: (.*)$", told, re.MULTILINE):
        yield Path(file).name, int(line), message


CHECKERS = {"basedpyright": with_basedpyright, "mypy": with_mypy}
# Errors in right code: a state has a field `count`, which is a method of every tuple; a page counts
# programs by a private function of JAX.
KNOWN = ('"count" overrides method', 'base class "tuple"', '"_cache_size"')


def marked(lines):
    """The numbers of the wrong lines, and whether optax has the call as well."""
    found = {i: MARK.search(line) for i, line in enumerate(lines, start=1)}
    return {i: bool(match[1]) for i, match in found.items() if match}


@pytest.mark.skipif(
    any(importlib.util.find_spec(checker) is None for checker in CHECKERS),
    reason="the checkers are in the dev extra: make lint runs this",
)
@pytest.mark.parametrize("checker", CHECKERS)
def test_a_checker_sees_every_wrong_line_and_nothing_else(checker, tmp_path):
    write_files(tmp_path)
    errors = list(CHECKERS[checker](tmp_path))
    lines = (LINES / "wrong.py").read_text(encoding="utf-8").splitlines()
    wrong, found = marked(lines), {line for file, line, _ in errors if file == "wrong.py"}
    assert [lines[i - 1] for i in sorted(wrong.keys() - found)] == [], "not seen"
    assert [lines[i - 1] for i in sorted(found - wrong.keys())] == [], "seen, and not wrong"
    others = [error for error in errors if error[0] != "wrong.py"]
    assert [e for e in others if not any(known in e[2] for known in KNOWN)] == []


def test_wrong_and_right_lines_are_many():
    wrong = marked((LINES / "wrong.py").read_text(encoding="utf-8").splitlines())
    assert len(wrong) >= 30 and sum(wrong.values()) >= 17
    right = ast.parse((LINES / "right.py").read_text(encoding="utf-8"))
    assert len(right.body) >= 80


def test_right_code_runs():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        runpy.run_path(str(LINES / "right.py"))


# --- signatures -----------------------------------------------------------------------------------

MODULES = [
    "optax_lite",
    *(
        f"optax_lite.{name}"
        for name in (
            "assignment",
            "compat",
            "contrib",
            "experimental",
            "linear_algebra",
            "losses",
            "microbatching",
            "migrate",
            "perturbations",
            "projections",
            "schedules",
            "second_order",
            "states",
            "sweep",
            "transforms",
            "tree",
            "tree_utils",
        )
    ),
]
# Of these parameters every value is right, and of these functions every result is possible; a tree
# of arrays is a `PyTree`.
ANYTHING = {
    ("GradientTransformation.adopt", "value"): "is asked whether it is a pair of functions",
    ("GradientTransformation.step", "extra"): "extra arguments, which each method has of its own",
    ("GradientTransformation.update", "extra"): "likewise",
    ("Result.plot", "return"): "a figure, or the Axes of one kind, as its argument says",
    ("StatefulSchedule.__call__", "extra_args"): "those of an update",
    ("StatefulSchedule.update", "extra_args"): "likewise",
    ("WrappedSchedule.__call__", "extra_args"): "likewise",
    ("WrappedSchedule.update", "extra_args"): "likewise",
    ("get", "default"): "what is returned where nothing is found",
    ("get", "key"): "a dict key, which may be anything",
    ("get", "return"): "a value in a tree, or the default",
    ("get_all_with_path", "key"): "a dict key, which may be anything",
    ("run_study", "options"): "those of `run`",
    ("sample", "axes"): "an axis, or values of any type to choose from",
    ("set", "kwargs"): "the new values",
}


def public_functions():
    """Every function and method that is public in one of the modules, under the factory."""
    for module in map(importlib.import_module, MODULES):
        homes = {name: _home(x) for name, x in vars(module).items() if name[0] != "_"}
        own = [name for name, home in homes.items() if home == module.__name__]
        for name in getattr(module, "__all__", own):
            value = getattr(module, name)
            if isinstance(value, types.ModuleType) or not _home(value).startswith("optax_lite"):
                continue
            members = vars(value).items() if inspect.isclass(value) else [(name, value)]
            for member, function in members:
                function = getattr(function, "__func__", getattr(function, "fget", function))
                function = inspect.unwrap(function)
                if inspect.isfunction(function) and (member[0] != "_" or member == "__call__"):
                    yield function


def _home(value):
    return getattr(value, "__module__", None) or ""


@cache
def definitions(file):
    """The functions of a file by line, that of their first decorator."""
    tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return {min([f.lineno, *(d.lineno for d in f.decorator_list)]): f for f in functions}


def untyped(function):
    """The parameters that say nothing, or `Any`, of what they take, and "return" likewise."""
    code = function.__code__
    node = definitions(code.co_filename).get(code.co_firstlineno)
    if node is None or not code.co_filename.startswith(str(ROOT / "optax_lite")):
        return  # made by NamedTuple
    given = node.args
    extra = [p for p in (given.vararg, given.kwarg) if p]
    hints = {
        p.arg: p.annotation for p in [*given.posonlyargs, *given.args, *given.kwonlyargs, *extra]
    }
    # A decorator says what a factory returns; its builder returns functions.
    is_builder = any(
        re.match(r"transform|schedule|functools.partial", ast.unparse(d))
        for d in node.decorator_list
    )
    hints |= {} if is_builder else {"return": node.returns}
    name = function.__qualname__
    for place, hint in hints.items():
        if place not in ("self", "cls") and (hint is None or says_nothing(hint)):
            yield name, place


def says_nothing(hint):
    return ast.unparse(hint) in ("Any", "Callable", "dict", "list", "object", "tuple")


def test_every_public_parameter_and_result_has_a_type():
    functions = list(public_functions())
    assert len(functions) > 400
    assert {place for function in functions for place in untyped(function)} == ANYTHING.keys()


# --- the count ------------------------------------------------------------------------------------


def count():
    lines = (LINES / "wrong.py").read_text(encoding="utf-8")
    wrong = marked(lines.splitlines())
    shared = {line for line, is_shared in wrong.items() if is_shared}
    for library in ("optax_lite", "optax"):
        for checker, check in CHECKERS.items():
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name).resolve()
                text = lines.replace("import optax_lite as ol", f"import {library} as ol")
                (folder / "wrong.py").write_text(text, encoding="utf-8")
                found = {line for _, line, _ in check(folder)}
            own = f", {len(wrong.keys() & found)} of all {len(wrong)}" if library != "optax" else ""
            print(f"{library:10} {checker:12} {len(shared & found)} of {len(shared)}{own}")


if __name__ == "__main__":
    count()
