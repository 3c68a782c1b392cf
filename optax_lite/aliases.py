"""Names for types in signatures."""

from typing import Any, TypeAlias

import jax

Array: TypeAlias = jax.Array
PyTree: TypeAlias = Any
Number: TypeAlias = Any  # a number, an array of shape (), or a schedule
DTypeLike: TypeAlias = Any
