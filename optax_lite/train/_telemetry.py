"""Reports of an optimizer's state on a step, and the point at which one is an error."""

from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from optax_lite.errors.states import named_parts
from optax_lite.inspect.metrics import MetricsState, read_metrics

_GIVEN_UP = (
    "make_step: there were more bad steps in a row than max_consecutive of skip_bad_steps "
    "allows. None of them was applied: params and state are those of the last good step. Check "
    "the data and the learning rate"
)


def telemetry(state: Any, params: Any) -> dict[str, Any]:
    """Return what `read_metrics` finds where the state has metrics, and `exceeded` where steps are
    skipped up to a limit.
    """
    parts = [part for _, part in named_parts(state)]
    found = (
        read_metrics(state, params) if any(isinstance(part, MetricsState) for part in parts) else {}
    )
    limits = [part.exceeded for part in parts if "exceeded" in part._fields]
    return found | ({"exceeded": sum(limits[1:], start=limits[0])} if limits else {})


@jax.tree_util.register_pytree_with_keys_class
class CheckedMetrics(dict):
    """Metrics of an optimizer that may give up: once it has, reading one raises, and waits for the
    step.

    Passing them on as a whole (`jax.device_get`, `jax.tree.map`, `dict(metrics)`) does not check.
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
    """Return the metrics, checked when they are read if there is something to check."""
    return CheckedMetrics(metrics) if "exceeded" in metrics else metrics
