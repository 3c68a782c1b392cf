"""Names for types in signatures."""

from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

import jax

Array: TypeAlias = jax.Array
PyTree: TypeAlias = Any
Number: TypeAlias = Any  # a number, an array of shape (), or a schedule
# a number, of which infinity and what is too large to be held mean: none
Limit: TypeAlias = Annotated[Any, "infinite"]
DTypeLike: TypeAlias = Any
# In annotations any function of the count is a schedule, as in optax: a class refuses a lambda.
ScheduleFunction: TypeAlias = Callable
