"""Say what to write for a name that the package does not have."""

import contextlib
import importlib.metadata
import sys
from typing import Any

from optax_lite.errors.suggestions import name_hint


def __getattr__(name: str) -> Any:
    """Give the version of what is installed; of any other name say which are near."""
    if name == "__version__":
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # run, not installed
            return importlib.metadata.version("optax_lite")
    message = f"module 'optax_lite' has no attribute {name!r}"
    if not name.startswith("__"):
        public = [x for x in dir(sys.modules["optax_lite"]) if not x.startswith("_")]
        message += f"; {hint}" if (hint := name_hint(name, public)) else ""
    raise AttributeError(message, name=name)
