"""Packages that are asked for only where they are used."""

import importlib
from typing import Any


def optional_import(module: str, what: str, name: str = "notebook") -> Any:
    """A module that the package does without; an error that names the extra where it is not
    installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        problem = (
            f"{what} needs {package}: pip install 'optax_lite[{name}]', or pip install {package}"
        )
        raise ImportError(problem) from error
