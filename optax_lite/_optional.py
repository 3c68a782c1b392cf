"""Import packages only where they are used."""

import importlib
from typing import Any


def optional_import(module: str, what: str, package: str | None = None) -> Any:
    """Import a module that the package does without; where it is missing, say what to install.

    Args:
        module: the module's full name.
        what: the call that needs it, for the message.
        package: its name for pip, where that is not the module's.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = package or module.split(".")[0]
        raise ImportError(f"{what} needs {package}; write pip install {package}") from error
