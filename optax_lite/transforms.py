"""Single transformations and wrappers, by their names in `optax.transforms`."""

from optax_lite._transforms.clip import (
    adaptive_grad_clip,
    clip,
    clip_by_block_rms,
    clip_by_global_norm,
    per_example_global_norm_clip,
    per_example_layer_norm_clip,
    unitwise_clip,
    unitwise_norm,
)
from optax_lite._transforms.constrain import ZeroNansState, keep_params_nonnegative, zero_nans
from optax_lite._transforms.decay import add_decayed_weights
from optax_lite._transforms.momentum import EmaState, TraceState, ema, trace
from optax_lite._transforms.noise import AddNoiseState, add_noise
from optax_lite.compat import ConditionFn, NonNegativeParamsState, ShouldSkipUpdateFunction
from optax_lite.core.compose import (
    MaskedState,
    PartitionState,
    chain,
    masked,
    named_chain,
    partition,
)
from optax_lite.core.trees import MaskedNode
from optax_lite.inspect.monitor import (
    MonitorState,
    SnapshotState,
    measure_with_ema,
    monitor,
    snapshot,
)
from optax_lite.wrappers.accumulate import (
    MultiSteps,
    MultiStepsState,
    skip_large_updates,
    skip_not_finite,
)
from optax_lite.wrappers.flatten import flatten
from optax_lite.wrappers.freeze import freeze, selective_transform
from optax_lite.wrappers.skip import (
    ApplyIfFiniteState,
    ConditionallyMaskState,
    ConditionallyTransformState,
    apply_if_finite,
    conditionally_mask,
    conditionally_transform,
)

__all__ = [
    "AddNoiseState",
    "ApplyIfFiniteState",
    "ConditionFn",
    "ConditionallyMaskState",
    "ConditionallyTransformState",
    "EmaState",
    "MaskedNode",
    "MaskedState",
    "MonitorState",
    "MultiSteps",
    "MultiStepsState",
    "NonNegativeParamsState",
    "PartitionState",
    "ShouldSkipUpdateFunction",
    "SnapshotState",
    "TraceState",
    "ZeroNansState",
    "adaptive_grad_clip",
    "add_decayed_weights",
    "add_noise",
    "apply_if_finite",
    "chain",
    "clip",
    "clip_by_block_rms",
    "clip_by_global_norm",
    "conditionally_mask",
    "conditionally_transform",
    "ema",
    "flatten",
    "freeze",
    "keep_params_nonnegative",
    "masked",
    "measure_with_ema",
    "monitor",
    "named_chain",
    "partition",
    "per_example_global_norm_clip",
    "per_example_layer_norm_clip",
    "selective_transform",
    "skip_large_updates",
    "skip_not_finite",
    "snapshot",
    "trace",
    "unitwise_clip",
    "unitwise_norm",
    "zero_nans",
]
