"""`python -m optax_lite.migrate`: what it finds in code, what it reports, and that code runs once
its advice is followed.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import jax
import pytest

import optax_lite
from optax_lite.migrate import DIFFERENCES, main

LOOPS = Path(__file__).parent / "migrate"
DOCS = Path(__file__).parent.parent / "docs"


def reported(capsys, *paths):
    """Return the exit status and the report of the command as JSON."""
    status = main([*map(str, paths), "--json"])
    return status, json.loads(capsys.readouterr().out)


@pytest.fixture
def report_of(tmp_path, capsys):
    """Return a function from a source to the report of it, with lines as places."""

    def report(source, name="code.py"):
        (tmp_path / name).write_text(source, encoding="utf-8")
        _, found = reported(capsys, tmp_path / name)
        return json.loads(json.dumps(found).replace(json.dumps(str(tmp_path / name))[1:-1], "at"))

    return report


# --- three training loops -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["linen_classifier.py", "ppo.py"])
def test_a_loop_trains_once_the_lines_reported_are_changed(capsys, name):
    status, found = reported(capsys, LOOPS / name)
    assert (status, found["missing"], found["keywords"], found["unread"]) == (0, [], [], [])

    source = (LOOPS / name).read_text(encoding="utf-8")
    source = re.sub(r"from optax import \(.*?\)", on_one_line, source, flags=re.DOTALL)
    for change in found["imports"]:
        assert change["optax"] in source
        source = source.replace(change["optax"], change["optax_lite"])
    assert not re.search("(import|from) optax\\b", source)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        namespace = {"__name__": name}
        exec(compile(source, name, "exec"), namespace)
        first, last = namespace["main"]()
    assert last < first


def on_one_line(match):
    return re.sub(r"\s+", " ", match[0]).replace("( ", "").replace(", )", "").replace(" )", "")


def test_a_notebook_with_a_missing_name_and_a_wrong_keyword(capsys):
    notebook = LOOPS / "muon.ipynb"
    assert main([str(notebook)]) == 1
    text = capsys.readouterr().out
    head, *sections = text.split("\n\n")
    assert head == "optax: 8 uses of 7 names in 1 of 1 files read"
    assert [section.splitlines()[0] for section in sections[:4]] == [
        "Not in optax_lite (1)",
        "Arguments that the function here does not take (1)",
        "In optax_lite, with a difference (1)",
        "Lines to change (3)",
    ]
    missing, keywords, _, imports, _, last = sections
    assert "  optax.warmup_cosine_schedule: the nearest is optax.warmup_cosine_decay_" in missing
    assert missing.endswith(f"      {notebook}:cell_5:1")
    assert "  optax.contrib.muon(momentum=): the arguments are learning_rate" in keywords
    assert keywords.endswith(f"      {notebook}:cell_6:4")
    assert f"  import optax  ->  import optax_lite as optax\n      {notebook}:cell_2:7" in imports
    assert last == "Missing: 2.\n"
    assert max(map(len, text.splitlines())) <= max(100, 6 + len(f"{notebook}:cell_00:00,"))


def test_it_runs_as_a_command():
    command = [sys.executable, "-m", "optax_lite.migrate", str(LOOPS)]
    run = subprocess.run(command, cwd=DOCS.parent, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (1, "")
    assert run.stdout.startswith("optax: ") and run.stdout.endswith("\nMissing: 2.\n")


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nowhere", "notes.txt"])
def test_a_bad_path_is_one_line_and_status_2(tmp_path, capsys, name):
    (tmp_path / "notes.txt").write_text("import optax")
    with pytest.raises(SystemExit) as exit:
        main([str(tmp_path / name)])
    assert exit.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith(f"python -m optax_lite.migrate: error: {tmp_path / name}: ")


def test_unreadable_files_are_named_and_the_rest_is_read(tmp_path, capsys):
    (tmp_path / "a.py").write_text("import optax\noptax.adam(1e-3)")
    (tmp_path / "latin.py").write_bytes(b"x = '\xe4'")
    (tmp_path / "old.py").write_text("print 'optax'")
    (tmp_path / "nul.py").write_text("x = '\0'")
    (tmp_path / "list.ipynb").write_text("[1]")
    (tmp_path / "text.ipynb").write_text("optax")
    cells = [{"cell_type": "code", "source": source} for source in ("import optax", "x =")]
    (tmp_path / "cells.ipynb").write_text(json.dumps({"cells": cells}))
    status, found = reported(capsys, tmp_path)
    assert (status, found["files"], found["files_with_optax"], found["uses"]) == (0, 2, 2, 1)
    unread = [Path(row["file"]).name for row in found["unread"]]
    names = ["latin.py", "list.ipynb", "nul.py", "old.py", "text.ipynb"]
    assert unread == ["cells.ipynb:cell_2", *names]


def test_folders_are_read_without_environments_and_caches_and_files_once(tmp_path, capsys):
    for folder in ("src", ".git", "env", "__pycache__", "src/.ipynb_checkpoints"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.py").write_text("import optax")
    (tmp_path / "env/pyvenv.cfg").write_text("")
    _, found = reported(capsys, tmp_path, tmp_path / "src/a.py")
    assert found["files"] == 1
    assert found["imports"][0]["places"] == [f"{tmp_path}/src/a.py:1"]


def test_code_without_optax(tmp_path, capsys):
    assert main([str(tmp_path)]) == 0
    expected = "optax: 0 uses of 0 names in 0 of 0 files read\n\nNothing is missing.\n"
    assert capsys.readouterr().out == expected


def test_the_code_is_not_run(report_of):
    assert report_of("import optax\nraise SystemExit(3)")["files"] == 1


# --- uses -----------------------------------------------------------------------------------------

# Source, and the names that are not here as optax has them, each with its line. Names in x_... are
# nowhere, so that these cases hold whatever the package has.
USES = {
    "import": ("import optax\noptax.x_a(optax.x_b)", "x_a:2 x_b:2"),
    "import as": ("import optax as ox\nox.x_a()\noptax.x_b()", "x_a:2"),
    "module": ("import optax.contrib as c\nc.x_a", "contrib.x_a:2"),
    "module without as": ("import optax.contrib\noptax.contrib.x_a", "contrib.x_a:2"),
    "missing module": ("import optax.x_m\noptax.x_m.f()", "x_m:1 x_m.f:2"),
    "from": ("from optax import x_a as a, adam\na(), adam(1)", "x_a:1 x_a:2"),
    "from module": ("from optax.contrib import x_a\nx_a", "contrib.x_a:1 contrib.x_a:2"),
    "from import module": ("from optax import contrib\ncontrib.x_a", "contrib.x_a:2"),
    "attributes of a class": ("import optax\noptax.MultiSteps.init.x_a", ""),
    "attributes of a missing class": ("import optax\noptax.X_a.init", "X_a:2"),
    "attributes of calls": ("import optax\noptax.adam(1).x_a", ""),
    "annotation": ("import optax\ndef f(a: optax.x_a) -> optax.x_b: pass", "x_a:2 x_b:2"),
    "quoted": ("import optax\nx: 'list[optax.x_a]'\ndef f() -> 'optax.x_b': ...", "x_a:2 x_b:3"),
    "quoted inside": ("import optax\ndef f(a: list['optax.x_a | None']): ...", "x_a:2"),
    "other strings": ("import optax\n'optax.x_a'", ""),
    "decorator": ("import optax\n@optax.x_a\ndef f(optax=optax.x_b): optax.x_c", "x_a:2 x_b:3"),
    "parameter": ("from optax import x_a\ndef f(x_a): return x_a\nx_a", "x_a:1 x_a:3"),
    "local": ("import optax\ndef f():\n  optax = g()\n  optax.x_a", ""),
    "lambda": ("import optax\nlambda optax: optax.x_a\nlambda: optax.x_b", "x_b:3"),
    "comprehension": ("import optax\n[optax.x_a for optax in y]\n[optax.x_b for z in y]", "x_b:3"),
    "class body": ("import optax\nclass A:\n  optax = optax\n  def f(self): optax.x_a", "x_a:4"),
    "import in a function": ("def f():\n  import optax\n  optax.x_a\noptax.x_b", "x_a:3"),
    "closure": ("def f():\n  import optax\n  def g():\n    optax.x_a", "x_a:4"),
    "optional": ("try:\n  import optax\nexcept ImportError:\n  optax = None\noptax.x_a", "x_a:5"),
    "added": ("import optax\noptax.x_a = 1\noptax.x_a.f\noptax.x_ab", "x_ab:4"),
    "relative": ("from .optax import x_a\nfrom . import optax\noptax.x_b", ""),
    "another package": ("import optax_extra as optax\noptax.x_a", ""),
    "private": ("from optax._src.base import x_a", "_src.base.x_a:1"),
}


@pytest.mark.parametrize(("source", "expected"), USES.values(), ids=USES)
def test_uses_of_missing_names(report_of, source, expected):
    missing = report_of(source)["missing"]
    found = [f"{row['name']}{place[2:]}" for row in missing for place in row["places"]]
    assert sorted(found) == sorted(f"optax.{use}" for use in expected.split())


KEYWORDS = {
    "call": ("import optax\noptax.adam(\n  1e-3,\n  beta1=0.8)", "adam beta1 4"),
    "alias": ("from optax import adam as a\na(lr=1e-3)", "adam lr 2"),
    "injected": ("import optax\noptax.inject_hyperparams(optax.adam)(lr=1)", "adam lr 2"),
    "partial": ("import optax, functools\nfunctools.partial(optax.adam, lr=1)", "adam lr 2"),
    "class": ("import optax\noptax.MultiSteps(tx, every_k=2)", "MultiSteps every_k 2"),
    "right": ("import optax\noptax.adam(learning_rate=1, b1=0.8, **rest)", ""),
    "missing function": ("import optax\noptax.x_a(lr=1)", ""),
}


@pytest.mark.parametrize(("source", "expected"), KEYWORDS.values(), ids=KEYWORDS)
def test_keywords(report_of, source, expected):
    rows = report_of(source)["keywords"]
    found = [f"{r['name'][6:]} {r['keyword']} {at[3:]}" for r in rows for at in r["places"]]
    assert found == ([expected] if expected else [])
    assert all(row["instead"] for row in rows)


# --- what to write --------------------------------------------------------------------------------

IMPORTS = {
    "import optax": "import optax_lite as optax",
    "import optax as ox": "import optax_lite as ox",
    "import optax.contrib": "import optax_lite as optax",
    "import optax.contrib as c": "from optax_lite import contrib as c",
    "from optax import adam as a, sgd": "from optax_lite import adam as a, sgd",
    "from optax.contrib import muon": "from optax_lite.contrib import muon",
    "from optax import contrib as c": "from optax_lite import contrib as c",
    "from optax._src.base import identity as i": "from optax_lite import identity as i",
    "from optax.contrib import adam, muon": (
        "from optax_lite import adam; from optax_lite.contrib import muon"
    ),
    "from optax import x_a": "nothing: optax_lite has no such name",
    "from optax import x_a, adam": "from optax_lite import adam",
}


@pytest.mark.parametrize(("old", "new"), IMPORTS.items())
def test_lines_to_change(report_of, old, new):
    assert report_of(old)["imports"] == [{"optax": old, "optax_lite": new, "places": ["at:1"]}]
    if not new.startswith("nothing"):
        exec(new, {})


def test_a_star_becomes_the_names_used(report_of):
    """For `from optax_lite import *` leaves out those of `optax_lite.compat`."""
    source = (
        "from optax import *\nfrom numpy import *\ntx = MultiSteps(adam(1), 2)\ndef f(sgd): sgd"
    )
    found = report_of(source)
    assert [row["optax_lite"] for row in found["imports"]] == [
        "from optax_lite import MultiSteps, adam"
    ]


def test_instead_of_a_name(report_of):
    source = "import optax\noptax.{}"
    found = {
        name: report_of(source.format(name))["missing"][0]["instead"]
        for name in ("adamm", "contrib.adam", "_src.base.identity", "_src.transform", "x_hypercube")
    }
    assert found["adamm"].startswith("the nearest is optax.adam")
    del found["adamm"]
    assert found == {
        "contrib.adam": "write optax.adam",
        "_src.base.identity": "write optax.identity",
        "_src.transform": "private to optax",
        "x_hypercube": "nothing here is near it",
    }


# --- differences ----------------------------------------------------------------------------------


def documented_differences():
    """Return the public names in the first column of the tables of docs/differences.md."""
    text = (DOCS / "differences.md").read_text(encoding="utf-8")
    first = [re.split(r"(?<!\\)\|", line)[1] for line in text.splitlines() if line[:1] == "|"]
    named = [name for cell in first for name in re.findall(r"`(\w+).*?`", cell)]
    return {name for name in named if hasattr(optax_lite, name)}


def test_differences_are_those_of_the_docs():
    assert len(documented_differences()) > 40
    assert DIFFERENCES.keys() == documented_differences()


def test_differences_are_short_and_sorted():
    assert list(DIFFERENCES) == sorted(DIFFERENCES)
    assert {name for name, text in DIFFERENCES.items() if len(text) > 120} == set()
    assert all(text.isascii() and text[-1] != "." for text in DIFFERENCES.values())


@pytest.mark.parametrize("name", ["muon", "contrib.muon"])
def test_a_difference_is_found_under_each_name(report_of, name):
    rows = report_of(f"import optax\noptax.{name}")["different"]
    assert rows == [{"name": f"optax.{name}", "here": DIFFERENCES["muon"], "places": ["at:2"]}]
