"""Names for types in signatures."""

from collections.abc import Callable, Mapping, Sequence
from re import Pattern
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol, TypeAlias, runtime_checkable

import jax
import numpy as np
from jax.typing import ArrayLike as ArrayLike, DTypeLike as DTypeLike

if TYPE_CHECKING:
    # A builder is handed something else than its caller wrote: the value of a schedule, the
    # transformation made of a pair. A checker lets it do anything with what has this base.
    _Replaced: TypeAlias = Any
else:
    _Replaced = object

Array: TypeAlias = jax.Array
PyTree: TypeAlias = Any
Number: TypeAlias = float | Array | np.ndarray | np.number
SeedOrKey: TypeAlias = int | np.integer | np.ndarray | Array


@runtime_checkable
class ScheduleFunction(Protocol, _Replaced):
    """Any function of the count of updates, as in optax: a class of schedules refuses a lambda."""

    def __call__(self, count: Any, /) -> ArrayLike: ...


@runtime_checkable
class InitAndUpdate(Protocol):
    """Anything with the two functions of a transformation: one of ours, of optax, of a user."""

    @property
    def init(self) -> Callable[..., Any]: ...
    @property
    def update(self) -> Callable[..., Any]: ...


@runtime_checkable
class TransformationLike(InitAndUpdate, Protocol, _Replaced):
    """The same as an argument."""


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]


ScalarOrSchedule: TypeAlias = Number | ScheduleFunction
# a number, of which infinity and what is too large to be held mean: none
Limit: TypeAlias = Annotated[ScalarOrSchedule, "infinite"]
Patterns: TypeAlias = str | Pattern[str] | Sequence[str | Pattern[str]]  # of paths
# a tree of bools or a prefix of one, patterns of paths, or a function of the params to either
Mask: TypeAlias = bool | str | Pattern[str] | Callable[[Any], Any] | Mapping | Sequence | _Dataclass
