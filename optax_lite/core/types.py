"""Names for types in signatures."""

from collections.abc import Callable, Mapping, Sequence
from re import Pattern
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol, TypeAlias

import jax
import numpy as np
from jax.typing import ArrayLike as ArrayLike, DTypeLike as DTypeLike

Array: TypeAlias = jax.Array
PyTree: TypeAlias = Any
Number: TypeAlias = float | Array | np.ndarray | np.number
SeedOrKey: TypeAlias = int | np.integer | np.ndarray | Array


class InitAndUpdate(Protocol):
    """Anything with the two functions of a transformation: one of ours, of optax, of a user."""

    @property
    def init(self) -> Callable[..., Any]: ...
    @property
    def update(self) -> Callable[..., Any]: ...


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]


if TYPE_CHECKING:
    # A builder is handed something else than its caller wrote: the value of a schedule, the
    # transformation made of a pair. With Any as a base it may do anything with it (decision 61).
    class ScheduleFunction(Protocol, Any):
        """Any function of the count of updates."""

        def __call__(self, count: Any, /) -> ArrayLike: ...

    class TransformationLike(InitAndUpdate, Protocol, Any):
        """The same as an argument."""
else:
    ScheduleFunction, TransformationLike = Callable, InitAndUpdate


ScalarOrSchedule: TypeAlias = Number | ScheduleFunction
# a number, of which infinity and what is too large to be held mean: none
Limit: TypeAlias = Annotated[ScalarOrSchedule, "infinite"]
Patterns: TypeAlias = str | Pattern[str] | Sequence[str | Pattern[str]]  # of paths
# a tree of bools or a prefix of one, patterns of paths, or a function of the params to either
Mask: TypeAlias = bool | str | Pattern[str] | Callable[[Any], Any] | Mapping | Sequence | _Dataclass
