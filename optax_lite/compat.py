"""optax's names for things that have another name here, for code that was written for optax."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from optax_lite._optional import optional_import
from optax_lite._stochastic import multi_normal, scale_gradient
from optax_lite._transforms.clip import unitwise_clip, unitwise_norm
from optax_lite.core.compose import (
    PartitionState,
    multi_transform,
    stateless_with_tree_map,
    with_extra_args_support,
)
from optax_lite.core.leafwise import increment
from optax_lite.core.norms import safe_root_mean_squares
from optax_lite.core.numerics import bias_correction_factor
from optax_lite.core.transform import EmptyState, GradientTransformationExtraArgs, OptState, Updates
from optax_lite.core.types import Array, PyTree, TransformationLike
from optax_lite.inspect.monitor import snapshot
from optax_lite.linear_algebra import matrix_inverse_pth_root, nnls, power_iteration
from optax_lite.microbatching import microbatch
from optax_lite.optimizers.optimistic import optimistic_adam
from optax_lite.optimizers.schedule_free import schedule_free_eval_params
from optax_lite.tree import (
    bias_correction,
    map_params,
    update_infinity_moment,
    update_moment,
    update_moment_per_elem_norm,
)
from optax_lite.wrappers.accumulate import (
    MultiSteps,
    apply_every,
    skip_large_updates,
    skip_not_finite,
)
from optax_lite.wrappers.freeze import selective_transform
from optax_lite.wrappers.inject import StatefulSchedule, WrappedSchedule, inject_hyperparams
from optax_lite.wrappers.skip import apply_if_finite, conditionally_mask, conditionally_transform

if TYPE_CHECKING:
    import optax

# types in signatures
ArrayTree: TypeAlias = PyTree
ConditionFn: TypeAlias = Callable[..., Any]  # (step, **extra) -> bool
MaskOrFn: TypeAlias = Any  # a tree of bools, or a function of the params that returns one
ShouldSkipUpdateFunction: TypeAlias = Callable[..., tuple[Array, PyTree]]
TransformInitFn: TypeAlias = Callable[[PyTree], OptState]
TransformUpdateFn: TypeAlias = Callable[..., tuple[Updates, OptState]]
TransformUpdateExtraArgsFn: TypeAlias = TransformUpdateFn

# states of transformations that keep none, and optax's older names
AdaptiveGradClipState = AddDecayedWeightsState = ClipByGlobalNormState = ClipState = EmptyState
NonNegativeParamsState = ScaleByTrustRatioState = EmptyState
MultiTransformState = PartitionState


class InjectHyperparamsState(NamedTuple):
    """Hold the state that optax's `inject_hyperparams` had before 0.1.9, to read old files."""

    count: Array  # updates so far, int32
    hyperparams: dict[str, Any]  # by name
    inner_state: OptState  # state of the optimizer


# functions
NO_PARAMS_MSG = "update needs the parameters; write tx.update(grads, state, params)"
safe_increment = safe_int32_increment = increment
ema_weight = bias_correction_factor  # its name before
inject_stateful_hyperparams = inject_hyperparams
tree_map_params = map_params


def to_optax(tx: TransformationLike) -> "optax.GradientTransformationExtraArgs":
    """Return optax's own type with the functions of `tx`, for code that calls `tx._replace`, looks
    at `type(tx)`, or is checked statically.

    All else takes `tx` itself: where optax is imported, `isinstance` says that it is of optax's
    type. The numbers of `tx` are closed over in the result, so that `replace` comes before.

    Args:
        tx: The optimizer, or any other transformation.
    """
    optax = optional_import("optax", "to_optax")
    return optax.GradientTransformationExtraArgs(tx.init, tx.update)


def init_empty_state(params: PyTree) -> EmptyState:
    """Return the state of a transformation that remembers nothing, whatever the params are.

    Args:
        params: Parameters, which are not looked at.
    """
    del params
    return EmptyState()


__all__ = [
    "AdaptiveGradClipState",
    "AddDecayedWeightsState",
    "apply_every",
    "apply_if_finite",
    "ArrayTree",
    "bias_correction",
    "ClipByGlobalNormState",
    "ClipState",
    "conditionally_mask",
    "conditionally_transform",
    "ConditionFn",
    "ema_weight",
    "GradientTransformationExtraArgs",
    "init_empty_state",
    "inject_stateful_hyperparams",
    "InjectHyperparamsState",
    "MaskOrFn",
    "matrix_inverse_pth_root",
    "microbatch",
    "multi_normal",
    "multi_transform",
    "MultiSteps",
    "MultiTransformState",
    "nnls",
    "NO_PARAMS_MSG",
    "NonNegativeParamsState",
    "optimistic_adam",
    "power_iteration",
    "safe_increment",
    "safe_int32_increment",
    "safe_root_mean_squares",
    "scale_gradient",
    "ScaleByTrustRatioState",
    "schedule_free_eval_params",
    "selective_transform",
    "ShouldSkipUpdateFunction",
    "skip_large_updates",
    "skip_not_finite",
    "snapshot",
    "StatefulSchedule",
    "stateless_with_tree_map",
    "TransformInitFn",
    "TransformUpdateExtraArgsFn",
    "TransformUpdateFn",
    "to_optax",
    "tree_map_params",
    "unitwise_clip",
    "unitwise_norm",
    "update_infinity_moment",
    "update_moment",
    "update_moment_per_elem_norm",
    "with_extra_args_support",
    "WrappedSchedule",
]
