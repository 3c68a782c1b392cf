"""Optimizers for JAX as pure (init, update) pairs that are data: pytrees of their hyperparameters."""

from optax_lite.compose import (
    MaskedState as MaskedState,
)
from optax_lite.compose import (
    PartitionState as PartitionState,
)
from optax_lite.compose import (
    chain as chain,
)
from optax_lite.compose import (
    identity as identity,
)
from optax_lite.compose import (
    masked as masked,
)
from optax_lite.compose import (
    multi_transform as multi_transform,
)
from optax_lite.compose import (
    named_chain as named_chain,
)
from optax_lite.compose import (
    partition as partition,
)
from optax_lite.compose import (
    stateless as stateless,
)
from optax_lite.compose import (
    stateless_with_tree_map as stateless_with_tree_map,
)
from optax_lite.core import (
    EmptyState as EmptyState,
)
from optax_lite.core import (
    GradientTransformation as GradientTransformation,
)
from optax_lite.core import (
    GradientTransformationExtraArgs as GradientTransformationExtraArgs,
)
from optax_lite.core import (
    OptState as OptState,
)
from optax_lite.core import (
    Params as Params,
)
from optax_lite.core import (
    ScalarOrSchedule as ScalarOrSchedule,
)
from optax_lite.core import (
    Schedule as Schedule,
)
from optax_lite.core import (
    ScheduledState as ScheduledState,
)
from optax_lite.core import (
    Updates as Updates,
)
from optax_lite.core import (
    apply_updates as apply_updates,
)
from optax_lite.core import (
    incremental_update as incremental_update,
)
from optax_lite.core import (
    schedule as schedule,
)
from optax_lite.core import (
    transform as transform,
)
from optax_lite.core import (
    with_extra_args_support as with_extra_args_support,
)
from optax_lite.optimizers.adagrad import (
    ScaleByRssState as ScaleByRssState,
)
from optax_lite.optimizers.adagrad import (
    adagrad as adagrad,
)
from optax_lite.optimizers.adagrad import (
    scale_by_rss as scale_by_rss,
)
from optax_lite.optimizers.adam import (
    ScaleByAdamState as ScaleByAdamState,
)
from optax_lite.optimizers.adam import (
    adam as adam,
)
from optax_lite.optimizers.adam import (
    adamw as adamw,
)
from optax_lite.optimizers.adam import (
    scale_by_adam as scale_by_adam,
)
from optax_lite.optimizers.nadam import (
    nadam as nadam,
)
from optax_lite.optimizers.nadam import (
    nadamw as nadamw,
)
from optax_lite.optimizers.rmsprop import (
    ScaleByRmsState as ScaleByRmsState,
)
from optax_lite.optimizers.rmsprop import (
    ScaleByRmsWithCountState as ScaleByRmsWithCountState,
)
from optax_lite.optimizers.rmsprop import (
    ScaleByRStdDevState as ScaleByRStdDevState,
)
from optax_lite.optimizers.rmsprop import (
    ScaleByRStdDevWithCountState as ScaleByRStdDevWithCountState,
)
from optax_lite.optimizers.rmsprop import (
    rmsprop as rmsprop,
)
from optax_lite.optimizers.rmsprop import (
    scale_by_rms as scale_by_rms,
)
from optax_lite.optimizers.rmsprop import (
    scale_by_stddev as scale_by_stddev,
)
from optax_lite.optimizers.sgd import (
    sgd as sgd,
)
from optax_lite.optimizers.sign_sgd import (
    sign_sgd as sign_sgd,
)
from optax_lite.optimizers.sign_sgd import (
    signum as signum,
)
from optax_lite.schedules import (
    constant_schedule as constant_schedule,
)
from optax_lite.schedules import (
    cosine_decay_schedule as cosine_decay_schedule,
)
from optax_lite.schedules import (
    cosine_onecycle_schedule as cosine_onecycle_schedule,
)
from optax_lite.schedules import (
    cyclic_schedule as cyclic_schedule,
)
from optax_lite.schedules import (
    exponential_decay as exponential_decay,
)
from optax_lite.schedules import (
    inverse_sqrt_schedule as inverse_sqrt_schedule,
)
from optax_lite.schedules import (
    join_schedules as join_schedules,
)
from optax_lite.schedules import (
    linear_onecycle_schedule as linear_onecycle_schedule,
)
from optax_lite.schedules import (
    linear_schedule as linear_schedule,
)
from optax_lite.schedules import (
    piecewise_constant_schedule as piecewise_constant_schedule,
)
from optax_lite.schedules import (
    piecewise_interpolate_schedule as piecewise_interpolate_schedule,
)
from optax_lite.schedules import (
    polynomial_schedule as polynomial_schedule,
)
from optax_lite.schedules import (
    sgdr_schedule as sgdr_schedule,
)
from optax_lite.schedules import (
    warmup_constant_schedule as warmup_constant_schedule,
)
from optax_lite.schedules import (
    warmup_cosine_decay_schedule as warmup_cosine_decay_schedule,
)
from optax_lite.schedules import (
    warmup_exponential_decay_schedule as warmup_exponential_decay_schedule,
)
from optax_lite.schedules import (
    warmup_stable_decay_schedule as warmup_stable_decay_schedule,
)
from optax_lite.transforms.clip import (
    clip as clip,
)
from optax_lite.transforms.clip import (
    clip_by_global_norm as clip_by_global_norm,
)
from optax_lite.transforms.decay import (
    WeightDecaySchedule as WeightDecaySchedule,
)
from optax_lite.transforms.decay import (
    add_decayed_weights as add_decayed_weights,
)
from optax_lite.transforms.momentum import (
    EmaState as EmaState,
)
from optax_lite.transforms.momentum import (
    TraceState as TraceState,
)
from optax_lite.transforms.momentum import (
    ema as ema,
)
from optax_lite.transforms.momentum import (
    trace as trace,
)
from optax_lite.transforms.scale import (
    ScaleByScheduleState as ScaleByScheduleState,
)
from optax_lite.transforms.scale import (
    scale as scale,
)
from optax_lite.transforms.scale import (
    scale_by_learning_rate as scale_by_learning_rate,
)
from optax_lite.transforms.scale import (
    scale_by_schedule as scale_by_schedule,
)
from optax_lite.transforms.scale import (
    scale_by_sign as scale_by_sign,
)
from optax_lite.transforms.scale import (
    set_to_zero as set_to_zero,
)
from optax_lite.tree import (
    MaskedNode as MaskedNode,
)
from optax_lite.tree import (
    ema_weight as ema_weight,
)
from optax_lite.tree import (
    global_norm as global_norm,
)
from optax_lite.tree import (
    increment as increment,
)
from optax_lite.tree import (
    leafwise as leafwise,
)
from optax_lite.tree import (
    zeros_like as zeros_like,
)

safe_increment = increment  # optax's names for the same things
ScaleState = EmptyState
