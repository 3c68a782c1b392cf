"""The fast tests run on mutants of one module, each in a process of its own; `tests.mutate` starts
it and asks.

    python -m tests.trials MODULE < trials, a JSON object a line

The process imports everything up to the module and is forked there for every mutant, which spares
its import. It must not start a JAX backend before that: the threads of a backend do not survive a
fork.
"""

import ast
import importlib
import importlib.abc
import importlib.machinery
import json
import os
import resource
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

import tests.conftest  # noqa: F401  the flags of XLA, and the strictness, before anything else is imported

ROOT = Path(__file__).parent.parent
FAST = "not nightly"  # nothing else may kill a mutant
LONGEST = 600  # seconds of computing for all tests of a mutant
ASLEEP = 3600  # seconds after which a mutant that waits for something is ended


class Forking(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from the source that a trial gives, in a fork for each trial."""

    def __init__(self, module: str) -> None:
        self.module = module
        self.answers = os.fdopen(os.dup(1), "w")
        self.trial: dict = {}
        self.pipe = -1

    def find_spec(self, name, path=None, target=None):
        if name != self.module:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None:
            spec.loader = self
        return spec

    def exec_module(self, module):
        """Return in the forks only, one for each line of input."""
        for line in sys.stdin:
            reading, writing = os.pipe()
            if (child := os.fork()) == 0:
                self.trial, self.pipe = json.loads(line), writing
                _become_trial()
                exec(compile(self.trial["code"], module.__file__, "exec"), module.__dict__)
                return
            os.close(writing)
            with os.fdopen(reading) as pipe:
                answer = pipe.read()
            _, status = os.waitpid(child, 0)
            if not answer:
                answer = json.dumps({"killer": "", "signal": os.waitstatus_to_exitcode(status)})
            print(answer, file=self.answers, flush=True)
        os._exit(0)

    def answer(self, **answer) -> None:
        with os.fdopen(self.pipe, "w") as pipe:
            json.dump(answer, pipe)
        os._exit(0)


def _become_trial() -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    resource.setrlimit(resource.RLIMIT_CPU, (LONGEST, LONGEST + 10))
    signal.alarm(ASLEEP)


class Chosen:
    """A plugin of pytest: the tests that a trial names, in their order, until one fails."""

    def __init__(self, order: list[str]) -> None:
        self.rank = {name: i for i, name in enumerate(order)}
        self.killer = ""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items):
        items[:] = sorted(
            (x for x in items if x.nodeid in self.rank), key=lambda x: self.rank[x.nodeid]
        )

    def pytest_collectreport(self, report):
        if report.failed:
            self.killer = self.killer or f"import of {report.nodeid}"

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.killer = self.killer or report.nodeid


class Watched:
    """A plugin of pytest: all tests, with the seconds that each computes and the lines of a file
    that it runs.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.failed: list[str] = []
        self.tests: dict[str, tuple[float, list[int]]] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        lines, started = set(), time.process_time()

        def see(frame, event, arg):
            lines.add(frame.f_lineno)
            return see

        def see_of_file(frame, event, arg):
            return see(frame, event, arg) if frame.f_code.co_filename == self.path else None

        importlib.import_module(
            "jax"
        ).clear_caches()  # a line that was traced before would not run again
        sys.settrace(
            lambda frame, event, arg: (
                see(frame, event, arg) if frame.f_code.co_filename == self.path else None
            )
        )
        try:
            return (yield)
        finally:
            sys.settrace(None)
            self.tests[item.nodeid] = time.process_time() - started, sorted(lines)

    def pytest_collectreport(self, report):
        self.failed += [report.nodeid] if report.failed else []

    def pytest_runtest_logreport(self, report):
        self.failed += [report.nodeid] if report.failed else []


def _import_what_tests_import(paths: list[Path]) -> None:
    """All that test files take from elsewhere, once for all trials."""
    nodes = [node for path in paths for node in ast.walk(ast.parse(path.read_text()))]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    for name in dict.fromkeys(names):
        if name.split(".")[0] not in ("", "tests", "optax_lite", "matplotlib"):
            with suppress(ImportError):  # one that a test tries to import
                importlib.import_module(name)


def main(module: str) -> None:
    server = Forking(module)
    os.dup2(2, 1)
    paths = [ROOT / file for file in sys.argv[2:]]
    _import_what_tests_import(paths)
    sys.meta_path.insert(0, server)
    try:
        importlib.import_module("optax_lite")
        importlib.import_module(module)  # from here on in a fork
    except Exception as error:
        if server.pipe < 0:
            raise
        server.answer(killer="import", failed=[repr(error)])
    options = ["-q", "-m", FAST, "-p", "no:cacheprovider", "--tb=no", "--assert=plain"]
    if "order" in server.trial:
        chosen = Chosen(server.trial["order"])
        files = dict.fromkeys(name.split("::")[0] for name in server.trial["order"])
        code = pytest.main([*files, "-x", *options], [chosen])
        server.answer(killer=chosen.killer or ("" if code == 0 else f"pytest ends with {code}"))
    watched = Watched(sys.modules[module].__file__)
    code = pytest.main([*sys.argv[2:], *options], [watched])
    server.answer(
        killer="",
        failed=watched.failed or ([] if code == 0 else [f"pytest ends with {code}"]),
        tests=watched.tests,
    )


if __name__ == "__main__":
    main(sys.argv[1])
