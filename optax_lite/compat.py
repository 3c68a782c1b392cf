"""optax's spellings of what has another name here, for code that was written for optax."""

from optax_lite.core.compose import (
    multi_transform,
    stateless_with_tree_map,
    with_extra_args_support,
)
from optax_lite.core.leafwise import increment
from optax_lite.core.numerics import bias_correction_factor
from optax_lite.core.transform import GradientTransformationExtraArgs
from optax_lite.inspect.monitor import snapshot
from optax_lite.optimizers.schedule_free import schedule_free_eval_params
from optax_lite.wrappers.accumulate import (
    MultiSteps,
    apply_every,
    skip_large_updates,
    skip_not_finite,
)
from optax_lite.wrappers.freeze import selective_transform
from optax_lite.wrappers.skip import apply_if_finite, conditionally_mask, conditionally_transform

safe_increment = increment
ema_weight = bias_correction_factor  # its name before

__all__ = [
    "apply_every",
    "apply_if_finite",
    "conditionally_mask",
    "conditionally_transform",
    "ema_weight",
    "GradientTransformationExtraArgs",
    "multi_transform",
    "MultiSteps",
    "safe_increment",
    "schedule_free_eval_params",
    "selective_transform",
    "skip_large_updates",
    "skip_not_finite",
    "snapshot",
    "stateless_with_tree_map",
    "with_extra_args_support",
]
