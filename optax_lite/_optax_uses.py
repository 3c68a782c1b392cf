"""Find every use of optax in Python files and notebooks, from their syntax trees alone."""

import ast
import contextlib
import json
import os
import re
import tokenize
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

Names: TypeAlias = dict[str, str | None]  # what a name in the code is in optax, None for others
Listing: TypeAlias = Callable[[str], Iterable[str]]  # the names that `from module import *` binds

SUFFIXES = (".py", ".ipynb")
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_SCOPES = (*_FUNCTIONS, ast.ClassDef, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_INSIDE = ("body", "generators", "elt", "key", "value")  # their fields with a scope of their own
# %magic, !command, x = !command, ?name and name?, each with the lines that a backslash adds.
_MAGIC = re.compile(r"^([ \t]*)(?:[%!?]|[\w, ]+=\s*[%!]|.*\?[ \t]*$)(?:.*\\\n)*.*$", re.MULTILINE)


@dataclass
class Uses:
    """Hold what files use of optax; a place is file:line, in a notebook file:cell_N:line."""

    names: list[tuple[str, str]] = field(default_factory=list)  # dotted name, place
    keywords: list[tuple[str, str, str]] = field(default_factory=list)  # name, keyword, place
    # The module of `from module import`, or "" for `import`; what is imported; place.
    imports: list[tuple[str, list[ast.alias], str]] = field(default_factory=list)
    own: list[str] = field(default_factory=list)  # names with a dot that the code adds to optax
    unread: list[tuple[str, str]] = field(default_factory=list)  # file or cell, reason
    files: int = 0  # read
    files_with: int = 0  # of them those that use optax


def find_files(paths: Iterable[Path]) -> list[Path]:
    """Return the Python files and notebooks among paths and in folders, each once.

    Leaves out hidden folders, virtual environments and caches.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        if path.is_file():
            found.setdefault(path.resolve(), path)
        for folder, inner, files in os.walk(path):
            inner[:] = sorted(name for name in inner if not _is_skipped(Path(folder, name)))
            for file in [Path(folder, name) for name in sorted(files) if name.endswith(SUFFIXES)]:
                found.setdefault(file.resolve(), file)
    return list(found.values())


def _is_skipped(folder: Path) -> bool:
    special = folder.name.startswith(".") or folder.name in ("__pycache__", "node_modules")
    return special or (folder / "pyvenv.cfg").exists()


def find_uses(files: Iterable[Path], star_names: Listing) -> Uses:
    """Return the uses of optax in files; the cells of a notebook share their names."""
    uses = Uses()
    for file in files:
        before = len(uses.names) + len(uses.imports)
        trees = list(_trees(file, uses.unread))
        names = _scope([tree for _, tree in trees], star_names)
        for where, tree in trees:
            for node, seen in _walk(tree, names, star_names):
                _add(uses, node, seen, where)
        uses.files += bool(trees)
        uses.files_with += len(uses.names) + len(uses.imports) > before
    return uses


def _add(uses: Uses, node: Any, names: Names, where: str):
    """Add what one node has of optax."""
    match node:
        case ast.Import() | ast.ImportFrom():
            module = getattr(node, "module", "") or ""
            ours = [a for a in node.names if _imports_optax(node, a)]
            paths = [f"{module}.{a.name}".lstrip(".") for a in ours if a.name != "*"]
            uses.names += [(x, f"{where}:{node.lineno}") for x in paths if x != "optax"]
            groups = [ours] if module and ours else [[a] for a in ours]
            uses.imports += [(module, group, f"{where}:{node.lineno}") for group in groups]
        case ast.Call(func=called, args=args):
            if isinstance(called, ast.Call):  # inject_hyperparams(optax.adam)(b1=0.9)
                injects = (_path(called.func, names) or "").endswith(".inject_hyperparams")
                called = called.args[0] if injects and called.args else None
            elif getattr(called, "attr", getattr(called, "id", "")) == "partial" and args:
                called = args[0]
            if path := _path(called, names):
                given = [k for k in node.keywords if k.arg]
                uses.keywords += [(path, str(k.arg), f"{where}:{k.lineno}") for k in given]
        case ast.Attribute(ctx=ast.Store()):  # optax.mine = ..., after which there is optax.mine
            path = _path(node, names)
            uses.own += [f"{path}."] if path else []
        case ast.Attribute(ctx=ast.Load()) | ast.Name(ctx=ast.Load()):
            path = _path(node, names)
            uses.names += [(path, f"{where}:{node.lineno}")] if path and path != "optax" else []


# --- names and scopes -----------------------------------------------------------------------------


def _imports_optax(node: ast.Import | ast.ImportFrom, alias: ast.alias) -> bool:
    module = alias.name
    if isinstance(node, ast.ImportFrom):
        module = "" if node.level else str(node.module)
    return module.split(".")[0] == "optax"


def _bindings(node: ast.AST) -> Iterator[tuple[str, str | None]]:
    """Yield the names that a node binds, each with what it is in optax."""
    match node:
        case ast.Import(names=aliases):
            for a in aliases:
                name = a.name if a.asname else a.name.split(".")[0]
                yield a.asname or name, name if _imports_optax(node, a) else None
        case ast.ImportFrom(module=module, names=aliases):
            for a in aliases:
                yield a.asname or a.name, f"{module}.{a.name}" if _imports_optax(node, a) else None
        case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
            yield name, None
        case ast.alias():  # a child of an import
            pass
        case _ if isinstance(name := getattr(node, "name", None), str):  # def, class, except, case
            yield name, None


def _scope(nodes: Iterable[ast.AST], star_names: Listing) -> Names:
    """Return the names that nodes bind, without those bound in a scope inside them."""
    names: Names = {}
    pending = list(nodes)
    while pending:
        node = pending.pop()
        for name, path in _bindings(node):
            # An import of optax counts, whatever `except ImportError` binds the name to.
            names[name] = path or names.get(name)
        pending += () if isinstance(node, _SCOPES) else ast.iter_child_nodes(node)
    star = names.pop("*", None)
    starred = {name: star[:-1] + name for name in star_names(star[:-2])} if star else {}
    return starred | names


def _path(node: ast.AST | None, names: Names) -> str | None:
    """Return the dotted name of optax that an expression is, or None."""
    if isinstance(node, ast.Attribute):
        base = _path(node.value, names)
        return base and f"{base}.{node.attr}"
    return names.get(node.id) if isinstance(node, ast.Name) else None


def _walk(tree: ast.AST, names: Names, star_names: Listing) -> Iterator[tuple[ast.AST, Names]]:
    """Yield each node of a tree with the names that it sees, in the order of the source."""
    pending: list[tuple[Any, Names, Names]] = [(tree, names, names)]
    while pending:
        node, here, outer = pending.pop()  # outer: without the names of the class around it
        yield node, here
        if _path(node, here):
            continue  # the optax.contrib in optax.contrib.muon is no use of its own
        own, functions, inside = here, outer, []
        if isinstance(node, _SCOPES):
            for value in [getattr(node, name, ()) for name in _INSIDE]:
                inside += value if isinstance(value, list | tuple) else [value]
            arguments = [node.args] if isinstance(node, _FUNCTIONS) else []
            own = outer | _scope([*arguments, *inside], star_names)
            functions = outer if isinstance(node, ast.ClassDef) else own
        ids = {id(x) for x in inside}
        children = [
            (x, own, functions) if id(x) in ids else (x, here, outer)
            for x in ast.iter_child_nodes(node)
        ]
        pending += reversed(children)


# --- files ----------------------------------------------------------------------------------------


def _trees(file: Path, unread: list[tuple[str, str]]) -> Iterator[tuple[str, ast.Module]]:
    """Yield the tree of a file, or of each code cell of a notebook; adds to `unread`."""
    is_notebook = file.suffix == ".ipynb"
    try:
        sources = _cells(file) if is_notebook else [(str(file), _read(file))]
    except (OSError, SyntaxError, ValueError, LookupError, TypeError, AttributeError) as error:
        unread.append((str(file), f"not a notebook: {error!r}" if is_notebook else str(error)))
        return
    for where, source in sources:
        try:
            yield where, _parse(source, is_notebook)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            if not (is_notebook and source.lstrip().startswith("%%")):  # %%bash is not Python
                unread.append((where, str(error).replace("<unknown>, ", "")))


def _read(file: Path) -> str:
    with tokenize.open(file) as text:  # in the encoding that the file names
        return text.read()


def _cells(file: Path) -> list[tuple[str, str]]:
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    return [
        (f"{file}:cell_{i}", "".join(cell["source"]))
        for i, cell in enumerate(cells, 1)
        if cell["cell_type"] == "code"
    ]


def _parse(source: str, is_cell: bool) -> ast.Module:
    """Parse a source, and the annotations that are quoted in it; of a cell without its magics."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those about escapes in the user's strings
        try:
            tree = ast.parse(source)
        except SyntaxError:
            if not is_cell:
                raise
            tree = ast.parse(_MAGIC.sub(lambda m: m[1] + "pass" + "\n" * m[0].count("\n"), source))
        found = [getattr(x, y, None) for x in ast.walk(tree) for y in ("annotation", "returns")]
        for part in [part for x in found if isinstance(x, ast.AST) for part in ast.walk(x)]:
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                with contextlib.suppress(SyntaxError, ValueError):
                    quoted: Any = ast.parse(part.value.strip(), mode="eval")
                    part.value = ast.increment_lineno(quoted, part.lineno - 1)  # its child now
    return tree
