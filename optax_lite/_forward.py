"""Take names that have nothing to do with optimizers from an installed optax."""

import importlib
from collections.abc import Callable
from typing import Any


def forwarded(module: str) -> Callable[[str], Any]:
    """Make the `__getattr__` of a module whose names are those of optax's, found when asked for."""

    def find(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return getattr(importlib.import_module(f"optax.{module}"), name)
        except ImportError as error:
            raise AttributeError(
                f"optax_lite.{module}.{name} is optax's own, since it has nothing to do with "
                "optimizers; pip install optax"
            ) from error

    return find
