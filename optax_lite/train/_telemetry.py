"""What the state of an optimizer has to say about a step, and the point at which it is an error."""

from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from optax_lite.inspect.metrics import MetricsState, named_parts, read_metrics

_GIVEN_UP = (
    "make_step: there were more bad steps in a row than max_consecutive of skip_bad_steps "
    "allows. None of them was applied: params and state are those of the last good step. Check "
    "the data and the learning rate"
)


def telemetry(state: Any, params: Any) -> dict[str, Any]:
    """What `read_metrics` finds where the state has any, and `exceeded` where steps are skipped and
    a limit was set.
    """
    parts = [part for _, part in named_parts(state)]
    found = (
        read_metrics(state, params) if any(isinstance(part, MetricsState) for part in parts) else {}
    )
    limits = [part.exceeded for part in parts if "exceeded" in part._fields]
    return found | ({"exceeded": sum(limits[1:], start=limits[0])} if limits else {})


@jax.tree_util.register_pytree_with_keys_class
class CheckedMetrics(dict):
    """Metrics of an optimizer that may give up: to read one is an error once it has, and waits for
    the step.

    What passes them on as a whole (`jax.device_get`, `jax.tree.map`, `dict(metrics)`) does not
    check.
    """

    def _read(self):
        exceeded = super().__getitem__("exceeded")
        if not isinstance(exceeded, Tracer) and np.any(exceeded):
            raise RuntimeError(_GIVEN_UP)
        return super()

    def __getitem__(self, name):
        return super().__getitem__(name) if name == "exceeded" else self._read().__getitem__(name)

    def get(self, name, default=None):
        return self._read().get(name, default)

    def items(self):
        return self._read().items()

    def values(self):
        return self._read().values()

    def tree_flatten_with_keys(self):
        names = sorted(self)
        return [
            (jax.tree_util.DictKey(name), dict.__getitem__(self, name)) for name in names
        ], tuple(names)

    @classmethod
    def tree_unflatten(cls, names, values):
        return cls(zip(names, values, strict=True))


def checked(metrics: dict[str, Any]) -> dict[str, Any]:
    """The metrics, checked when they are read if there is something to check."""
    return CheckedMetrics(metrics) if "exceeded" in metrics else metrics
