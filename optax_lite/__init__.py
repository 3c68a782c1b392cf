"""Optimizers for JAX as pure (init, update) pairs that are data: pytrees of their hyperparameters."""

from optax_lite.core import (
    EmptyState,
    GradientTransformation,
    GradientTransformationExtraArgs,
    MaskedState,
    OptState,
    Params,
    PartitionState,
    ScalarOrSchedule,
    Schedule,
    ScheduledState,
    Updates,
    apply_updates,
    chain,
    identity,
    incremental_update,
    masked,
    multi_transform,
    named_chain,
    partition,
    schedule,
    stateless,
    stateless_with_tree_map,
    transform,
    with_extra_args_support,
)
from optax_lite.optimizers.adagrad import ScaleByRssState, adagrad, scale_by_rss
from optax_lite.optimizers.adam import ScaleByAdamState, adam, adamw, scale_by_adam
from optax_lite.optimizers.nadam import nadam, nadamw
from optax_lite.optimizers.rmsprop import (
    ScaleByRmsState,
    ScaleByRmsWithCountState,
    ScaleByRStdDevState,
    ScaleByRStdDevWithCountState,
    rmsprop,
    scale_by_rms,
    scale_by_stddev,
)
from optax_lite.optimizers.sgd import sgd
from optax_lite.optimizers.sign_sgd import sign_sgd, signum
from optax_lite.schedules import (
    constant_schedule,
    cosine_decay_schedule,
    cosine_onecycle_schedule,
    cyclic_schedule,
    exponential_decay,
    inverse_sqrt_schedule,
    join_schedules,
    linear_onecycle_schedule,
    linear_schedule,
    piecewise_constant_schedule,
    piecewise_interpolate_schedule,
    polynomial_schedule,
    sgdr_schedule,
    warmup_constant_schedule,
    warmup_cosine_decay_schedule,
    warmup_exponential_decay_schedule,
    warmup_stable_decay_schedule,
)
from optax_lite.transforms.clip import clip, clip_by_global_norm
from optax_lite.transforms.decay import WeightDecaySchedule, add_decayed_weights
from optax_lite.transforms.momentum import EmaState, TraceState, ema, trace
from optax_lite.transforms.scale import (
    ScaleByScheduleState,
    scale,
    scale_by_learning_rate,
    scale_by_schedule,
    scale_by_sign,
    set_to_zero,
)
from optax_lite.tree import MaskedNode, bias_correction, global_norm, increment, leafwise, zeros_like

safe_increment = increment
ScaleState = EmptyState
