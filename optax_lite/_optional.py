"""Packages that are asked for only where they are used."""

import importlib
from typing import Any


def optional_import(module: str, what: str, name: str = "notebook") -> Any:
    """Import a module that the package does without.

    Where it is not installed the error names the extra to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        problem = (
            f"{what} needs {package}: pip install 'optax_lite[{name}]', or pip install {package}"
        )
        raise ImportError(problem) from error
