"""The package's shape, read from its syntax trees: who imports whom, sizes, docstrings."""

import ast
import importlib.metadata
import inspect
import json
import subprocess
import sys
import types
from functools import cache
from pathlib import Path

import pytest

import optax_lite
from optax_lite import sweep
from tools.size import count

PACKAGE = Path(optax_lite.__file__).parent
FILES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}

# From low to high; a module imports only from its own layer and lower ones (decision 9).
LAYERS = [
    [
        "core.types",
        "core.axes",
        "core.fills",
        "core.scalars",
        "core.show",
        "core.optax_class",
        "errors.suggestions",
    ],
    [
        *("core.trees", "core.validate", "core.binding", "core.numerics", "core.leafwise"),
        *("core.norms", "core.random"),
    ],
    [
        "core.placement",
        "core.missing",
        "core.vectors",
        "core.unstable",
        "core.half",
        "errors.states",
    ],
    [
        *("core.config", "core.factory", "core.masks", "core.frozen", "core.functions"),
        *("errors.composition", "errors.calls", "errors.methods", "errors.step"),
    ],
    ["core", "errors", "_numbers", "_optional", "_plotting", "_forward", "_names", "_microbatches"],
    ["_transforms", "linesearch", "_schedules", "losses", "tree"],
    ["projections", "microbatching", "linear_algebra", "_stochastic"],
    ["assignment", "experimental", "perturbations", "second_order"],
    ["optimizers"],
    ["wrappers", "inspect"],
    ["train"],
    ["sweep"],
    # tables of contents, what is handed on to optax, and a command
    ["states", "compat", "contrib", "schedules", "transforms", "tree_utils", "__init__"],
    ["migrate", "_optax_uses"],
]
# What is read in an afternoon: the call as data, the pair, the tree rule, composition, the checks.
CALL = ("config", "factory", "binding", "schedule", "functions", "transform")
CORE = (*CALL, "leafwise", "trees", "numerics", "norms", "compose", "validate")
MAX_LINES = {CALL: 1150, CORE: 1930}


def layer(module):
    """The layer of 'core.leafwise', or of the folder of 'optimizers.adam'."""
    layers = {name: i for i, names in enumerate(LAYERS) for name in names}
    assert module in layers or module.split(".")[0] in layers, f"{module} is in no layer"
    return layers.get(module, layers.get(module.split(".")[0]))


def module_name(file):
    """'optimizers.adam' for 'optimizers/adam.py', 'optimizers' for 'optimizers/__init__.py',
    '__init__' for its own.
    """
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imports(nodes):
    """The absolute module names that statements import, `from package import module` as
    package.module.
    """
    found = []
    for node in nodes:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [name if own_module(name) else node.module for name in submodules]
    return found


def own_module(name):
    """'core' for 'optax_lite.core.transform', None for what is no module of the package."""
    inner = name.removeprefix("optax_lite.").replace(".", "/")
    is_own = name.startswith("optax_lite.") and (
        f"{inner}.py" in FILES or f"{inner}/__init__.py" in FILES
    )
    return inner.replace("/", ".") if is_own else None


@cache
def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def nodes_that_run(path, skipped=()):
    """The nodes of a module but those for type checkers, and those inside of `skipped` ones."""
    pending, found = list(parsed(path).body), []
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            pending += node.orelse
        elif not isinstance(node, skipped):
            found.append(node)
            pending += ast.iter_child_nodes(node)
    return found


@cache
def all_imports(file):
    return imports(nodes_that_run(FILES[file]))


def unstable_names(path):
    """The modules of JAX without a promise of stability that a file names, in an import or as
    `jax.extend.core`.
    """
    places = ("jax._src", "jax.extend", "jax.experimental", "jax.interpreters")
    if not any(place in path.read_text(encoding="utf-8") for place in places):
        return []
    nodes = list(ast.walk(parsed(path)))
    attributes = [ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)]
    imported = [
        alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names
    ]
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            imported += [f"{node.module}.{alias.name}" for alias in node.names]
    return [name for name in attributes + imported if name.startswith(places)]


def module_level_imports(file):
    """Those that run when the module is imported: not those inside functions."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    return imports(nodes_that_run(FILES[file], functions))


def test_imports_go_down_the_layers():
    """And nothing but the tables of contents imports the package itself."""
    own = {file: layer(module_name(file)) for file in FILES}
    upward = {
        (f, name)
        for f in FILES
        for name in all_imports(f)
        if own_module(name) and layer(own_module(name)) > own[f]
    }
    assert upward == set()
    assert {
        f for f in FILES if "optax_lite" in all_imports(f) and own[f] < len(LAYERS) - 1
    } == set()


def test_no_cycles_at_module_level():
    graph = {
        module_name(f): {own_module(n) for n in module_level_imports(f)} - {None} for f in FILES
    }
    done = set()
    while ready := {
        module for module, needs in graph.items() if module not in done and needs <= done
    }:
        done |= ready
    assert set(graph) == done, "these import each other"


def test_runtime_needs_only_jax_numpy_and_the_standard_library():
    allowed = {*sys.stdlib_module_names, "jax", "numpy", "optax_lite"}
    assert {
        (f, name) for f in FILES for name in all_imports(f) if name.split(".")[0] not in allowed
    } == set()


def test_unstable_names_of_jax_come_through_one_module():
    assert {file for file, path in FILES.items() if unstable_names(path)} == {"core/unstable.py"}


def test_every_unstable_import_says_what_it_is_for():
    text = FILES["core/unstable.py"].read_text(encoding="utf-8")
    lines = [line.strip() for line in text.splitlines()]
    from_jax = [i for i, line in enumerate(lines) if line.startswith(("import jax", "from jax"))]
    assert from_jax and all(lines[i - 1].startswith("# ") for i in from_jax)


def test_tests_and_benchmarks_import_private_names_in_one_module():
    root = PACKAGE.parent
    files = [path for folder in ("tests", "benchmarks") for path in (root / folder).rglob("*.py")]
    private = {
        path for path in files if any(name.startswith("jax._src") for name in unstable_names(path))
    }
    assert private == {root / "tests/compilations.py"}


def test_core_is_small():
    lines = {
        file: count((PACKAGE / f"core/{file}.py").read_text(encoding="utf-8"))["code"]
        for file in CORE
    }
    sums = {files: sum(lines[file] for file in files) for files in MAX_LINES}
    assert {files: found for files, found in sums.items() if found > MAX_LINES[files]} == {}


def test_every_module_says_what_it_answers():
    trees = {file: parsed(path) for file, path in FILES.items()}
    assert {file for file, tree in trees.items() if not ast.get_docstring(tree)} == set()


def test_modules_that_only_gather_names_have_no_logic():
    body = parsed(FILES["__init__.py"]).body
    guarded = [node for node in body if isinstance(node, ast.If)]
    assert [ast.unparse(node.test) for node in guarded] == ["_typing.TYPE_CHECKING"]
    # `_names.py` reads these, and knows no other form.
    assert all(isinstance(node, ast.ImportFrom) for node in guarded[0].body)
    assert not any(name.asname for node in guarded[0].body for name in node.names)
    allowed = ast.Expr | ast.Import | ast.ImportFrom | ast.Assign | ast.If
    assert all(isinstance(node, allowed) for node in body)
    assert all(isinstance(node.value, ast.Constant) for node in body if isinstance(node, ast.Expr))
    assert "__version__" not in vars(optax_lite), "the version has one home, pyproject.toml"
    assert optax_lite.__version__ == importlib.metadata.version("optax_lite")


def test_modules_are_there_after_one_import():
    """As optax's are: `import optax_lite as optax; optax.contrib.muon`."""
    code = (
        "import optax_lite as o; o.contrib.muon, o.losses, o.schedules.linear_schedule, "
        "o.tree.add, o.tree_utils"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent).returncode == 0


def printed(code):
    """What a new process prints."""
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, cwd=PACKAGE.parent, check=True, capture_output=True, text=True)
    return ran.stdout


def test_sweeps_are_imported_by_who_asks_for_them():
    code = "import sys, optax_lite; print('optax_lite.sweep' in sys.modules); import {}sweep"
    assert printed(code.format("optax_lite.")) == "False\n"


def test_the_import_loads_no_more_than_optax():
    """`python -m benchmarks.imports` measures the time; here are the causes that were found."""
    ours, theirs = (
        printed(
            "import sys, jax, jax.numpy; before = {*sys.modules}\n"
            f"import {name}; {name}.adamw\n"
            "print(*sorted(sys.modules.keys() - before))"
        ).split()
        for name in ("optax_lite", "optax")
    )
    assert len(ours) < len(theirs)
    assert [name for name in ours if "pallas" in name or name.startswith("jax.extend")] == []


# What is listed, in a new process, before anything has been loaded.
LISTS = {
    "dir": "dir(ol)",
    "star": "[*(lambda names: exec('from optax_lite import *', names) or names)({})]",
}


@pytest.mark.parametrize("way", LISTS)
def test_every_name_is_listed_before_its_first_use(way):
    found = json.loads(printed(f"import json, optax_lite as ol; print(json.dumps({LISTS[way]}))"))
    assert {*optax_lite.__all__} <= {*found}
    if way == "dir":
        assert {*optax_lite.compat.__all__, *optax_lite.states.__all__} <= {*found}


def is_state(value):
    """States are exempt from docstrings: their fields carry a comment each, and their
    transformation the text.
    """
    return (
        isinstance(value, type)
        and issubclass(value, tuple)
        and value.__name__.endswith(("State", "Schedule"))
    )


NAMES = {name: getattr(optax_lite, name) for name in dir(optax_lite)}
PUBLIC = {
    name: value
    for name, value in NAMES.items()
    if not name.startswith("_") and not isinstance(value, types.ModuleType) and not is_state(value)
}
PUBLIC |= {f"sweep.{name}": getattr(sweep, name) for name in sweep.__all__}
# documented where they are used
TYPE_ALIASES = {
    *(
        "OptState",
        "Params",
        "Updates",
        "ScalarOrSchedule",
        "Schedule",
        "ArrayTree",
        "ConditionFn",
        "MaskOrFn",
    ),
    *("ShouldSkipUpdateFunction", "TransformInitFn", "TransformUpdateFn"),
    *("TransformUpdateExtraArgsFn", "NO_PARAMS_MSG"),
}


def test_every_public_name_has_a_sentence_of_its_own():
    names = PUBLIC.keys() - TYPE_ALIASES
    first = {name: inspect.cleandoc(PUBLIC[name].__doc__ or "").split("\n\n")[0] for name in names}
    assert {
        name: text
        for name, text in first.items()
        if len(text.split()) < 3 or not text.endswith(".")
    } == {}


STATES = [value for value in NAMES.values() if is_state(value) and value._fields]


def test_every_field_of_a_state_has_a_comment():
    bare = set()
    for state in STATES:
        lines = [line.strip() for line in inspect.getsourcelines(state)[0]]
        before = ["", *lines]  # a comment that does not fit beside its field is above it
        commented = {
            line.split(":")[0]
            for last, line in zip(before, lines, strict=False)
            if "#" in line or last.startswith("#")
        }
        bare |= {f"{state.__name__}.{field}" for field in state._fields if field not in commented}
    assert bare == set()


# Where AdamW is written: its own file, decay, the learning rate, and how they are chained.
ADAMW = {
    "optimizers/adam.py": {"ScaleByAdamState", "first_moment_estimate", "scale_by_adam", "adamw"},
    "_transforms/decay.py": {"add_decayed_weights", "_add_decayed_weights"},
    "_transforms/scale.py": {"scale", "scale_by_learning_rate"},
    "core/compose.py": {"chain"},
}


def test_adamw_is_read_in_four_files_and_a_hundred_lines_of_code():
    lines = 0
    for file, names in ADAMW.items():
        source = (PACKAGE / file).read_text(encoding="utf-8")
        nodes = [
            n
            for n in ast.parse(source).body
            if isinstance(n, (ast.ClassDef, ast.FunctionDef)) and n.name in names
        ]
        assert {n.name for n in nodes} == names
        spans = [
            (min([n.lineno, *(d.lineno for d in n.decorator_list)]), n.end_lineno) for n in nodes
        ]
        code = ["\n".join(source.splitlines()[a - 1 : b]) for a, b in spans]
        lines += sum(count(part)["code"] for part in code)
    assert lines <= 100


# --- no order comes from a set: its iteration differs from process to process (decision 16) -------


def is_set(node, sets):
    """Whether an expression is a set, as far as its syntax and the names of sets in its function
    tell.
    """
    if isinstance(node, ast.Set | ast.SetComp):
        return True
    if isinstance(node, ast.NamedExpr):
        return is_set(node.value, sets)
    if isinstance(node, ast.BinOp) and isinstance(
        node.op, ast.Sub | ast.BitAnd | ast.BitOr | ast.BitXor
    ):
        return any(
            is_set(side, sets) or ".keys()" in ast.unparse(side) for side in (node.left, node.right)
        )
    called = node.func if isinstance(node, ast.Call) else None
    if isinstance(called, ast.Attribute):
        return called.attr in ("union", "intersection", "difference") and is_set(called.value, sets)
    return getattr(called, "id", None) in ("set", "frozenset") or getattr(node, "id", None) in sets


def iterations_of_sets(tree):
    """The lines in which a set is gone through in its own order."""
    found = set()
    own = [x for x in tree.body if not isinstance(x, ast.FunctionDef | ast.ClassDef)]
    functions = [x for x in ast.walk(tree) if isinstance(x, ast.FunctionDef)]
    for function in (*functions, ast.Module(own, [])):
        sets = set()
        for node in ast.walk(function):
            targets = (
                node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            )
            value = getattr(node, "value", None)
            if (
                isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr)
                and value
                and is_set(value, sets)
            ):
                sets |= {target.id for target in targets if isinstance(target, ast.Name)}
        unordered = {
            id(part)
            for x in ast.walk(function)
            if isinstance(x, ast.SetComp)
            for part in x.generators
        }
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) in (
                "sorted",
                "min",
                "max",
                "any",
                "all",
            ):
                unordered |= {id(part) for x in node.args for part in getattr(x, "generators", ())}
        for node in ast.walk(function):
            is_loop = isinstance(node, ast.For | ast.comprehension) and id(node) not in unordered
            if is_loop and is_set(node.iter, sets):
                found.add(getattr(node, "lineno", node.iter.lineno))
            ordering = (
                "list",
                "tuple",
                "dict",
                "iter",
                "map",
                "zip",
                "enumerate",
                "join",
                "fromkeys",
                "filter",
            )
            name = (
                getattr(node.func, "id", getattr(node.func, "attr", ""))
                if isinstance(node, ast.Call)
                else ""
            )
            if name in ordering and any(is_set(x, sets) for x in node.args):
                found.add(node.lineno)
            if isinstance(node, ast.Starred) and is_set(node.value, sets):
                found.add(node.lineno)
    return sorted(found)


def test_no_order_comes_from_a_set():
    """Of a set only membership, size, its least and largest, its one member or its sorted members
    are asked.
    """
    assert iterations_of_sets(ast.parse("a = {1} - b\nfor x in a: pass")) == [2]
    assert iterations_of_sets(
        ast.parse("sorted({f(x) for x in y}); ', '.join(z := x.keys() - y)")
    ) == [1]
    found = {
        file: lines for file, path in FILES.items() if (lines := iterations_of_sets(parsed(path)))
    }
    assert found == {}
