"""Load the names that `import optax_lite` leaves for their first use, and say what to write for one
that does not exist.
"""

import ast
import contextlib
import functools
import importlib.metadata
import inspect
import sys
from typing import Any

from optax_lite.errors.suggestions import name_hint


def __getattr__(name: str) -> Any:
    """Load a name, give the version of what is installed, or say which names are near."""
    if name == "__version__":
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # run, not installed
            return importlib.metadata.version("optax_lite")
    message = f"module 'optax_lite' has no attribute {name!r}"
    if not name.startswith("__"):
        named, gathered = _homes()
        if home := named.get(name) or next((x for x in gathered if name in _all(x)), ""):
            return _load(name, home)
        public = [x for x in __dir__() if not x.startswith("_")]
        message += f"; {hint}" if (hint := name_hint(name, public)) else ""
    raise AttributeError(message, name=name)


def __dir__() -> list[str]:
    """Load everything, so that `dir`, `help` and completion list all names."""
    named, gathered = _homes()
    for name in (*named, *(name for home in gathered for name in _all(home))):
        getattr(sys.modules["optax_lite"], name)
    return sorted(vars(sys.modules["optax_lite"]))


def _load(name: str, home: str) -> Any:
    """Import a name from its module, and keep it in the package, where it is found from now on."""
    if home == "optax_lite":
        return importlib.import_module(f"{home}.{name}")  # keeps itself
    value = getattr(importlib.import_module(home), name)
    return vars(sys.modules["optax_lite"]).setdefault(name, value)


def _all(module: str) -> list[str]:
    return importlib.import_module(module).__all__


@functools.cache
def _homes() -> tuple[dict[str, str], list[str]]:
    """Return the modules of the names that the package imports for type checkers only, and those
    from which it imports everything.

    They are read from its source, so that the imports are the only table of names.
    """
    tree = ast.parse(inspect.getsource(sys.modules["optax_lite"]))
    found = [
        (name.name, node.module)
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module
        for name in node.names
    ]
    return {k: x for k, x in found if k != "*"}, [x for k, x in found if k == "*"]
