"""Optimizers for JAX as pure (init, update) pairs that are data: pytrees of their hyperparameters."""

from optax_lite import losses as losses, tree as tree, tree_utils as tree_utils
from optax_lite.compose import (
    MaskedState as MaskedState,
    PartitionState as PartitionState,
    chain as chain,
    identity as identity,
    masked as masked,
    multi_transform as multi_transform,
    named_chain as named_chain,
    partition as partition,
    stateless as stateless,
    stateless_with_tree_map as stateless_with_tree_map,
)
from optax_lite.core import (
    EmptyState as EmptyState,
    GradientTransformation as GradientTransformation,
    GradientTransformationExtraArgs as GradientTransformationExtraArgs,
    OptState as OptState,
    Params as Params,
    ScalarOrSchedule as ScalarOrSchedule,
    Schedule as Schedule,
    ScheduledState as ScheduledState,
    Updates as Updates,
    apply_updates as apply_updates,
    incremental_update as incremental_update,
    schedule as schedule,
    transform as transform,
    with_extra_args_support as with_extra_args_support,
)
from optax_lite.leaves import (
    MaskedNode as MaskedNode,
    ema_weight as ema_weight,
    increment as increment,
    leafwise as leafwise,
    zeros_like as zeros_like,
)
from optax_lite.losses import (
    convex_kl_divergence as convex_kl_divergence,
    cosine_distance as cosine_distance,
    cosine_similarity as cosine_similarity,
    ctc_loss as ctc_loss,
    ctc_loss_with_forward_probs as ctc_loss_with_forward_probs,
    generalized_kl_divergence as generalized_kl_divergence,
    hinge_loss as hinge_loss,
    huber_loss as huber_loss,
    kl_divergence as kl_divergence,
    l2_loss as l2_loss,
    log_cosh as log_cosh,
    ntxent as ntxent,
    safe_softmax_cross_entropy as safe_softmax_cross_entropy,
    sigmoid_binary_cross_entropy as sigmoid_binary_cross_entropy,
    sigmoid_focal_loss as sigmoid_focal_loss,
    smooth_labels as smooth_labels,
    softmax_cross_entropy as softmax_cross_entropy,
    softmax_cross_entropy_with_integer_labels as softmax_cross_entropy_with_integer_labels,
    squared_error as squared_error,
)
from optax_lite.norms import (
    global_norm as global_norm,
)
from optax_lite.optimizers.adagrad import (
    ScaleByRssState as ScaleByRssState,
    adagrad as adagrad,
    scale_by_rss as scale_by_rss,
)
from optax_lite.optimizers.adam import (
    ScaleByAdamState as ScaleByAdamState,
    adam as adam,
    adamw as adamw,
    scale_by_adam as scale_by_adam,
)
from optax_lite.optimizers.nadam import (
    nadam as nadam,
    nadamw as nadamw,
)
from optax_lite.optimizers.rmsprop import (
    ScaleByRmsState as ScaleByRmsState,
    ScaleByRmsWithCountState as ScaleByRmsWithCountState,
    ScaleByRStdDevState as ScaleByRStdDevState,
    ScaleByRStdDevWithCountState as ScaleByRStdDevWithCountState,
    rmsprop as rmsprop,
    scale_by_rms as scale_by_rms,
    scale_by_stddev as scale_by_stddev,
)
from optax_lite.optimizers.sgd import (
    sgd as sgd,
)
from optax_lite.optimizers.sign_sgd import (
    sign_sgd as sign_sgd,
    signum as signum,
)
from optax_lite.schedules import (
    constant_schedule as constant_schedule,
    cosine_decay_schedule as cosine_decay_schedule,
    cosine_onecycle_schedule as cosine_onecycle_schedule,
    cyclic_schedule as cyclic_schedule,
    exponential_decay as exponential_decay,
    inverse_sqrt_schedule as inverse_sqrt_schedule,
    join_schedules as join_schedules,
    linear_onecycle_schedule as linear_onecycle_schedule,
    linear_schedule as linear_schedule,
    piecewise_constant_schedule as piecewise_constant_schedule,
    piecewise_interpolate_schedule as piecewise_interpolate_schedule,
    polynomial_schedule as polynomial_schedule,
    sgdr_schedule as sgdr_schedule,
    warmup_constant_schedule as warmup_constant_schedule,
    warmup_cosine_decay_schedule as warmup_cosine_decay_schedule,
    warmup_exponential_decay_schedule as warmup_exponential_decay_schedule,
    warmup_stable_decay_schedule as warmup_stable_decay_schedule,
)
from optax_lite.transforms.clip import (
    clip as clip,
    clip_by_global_norm as clip_by_global_norm,
)
from optax_lite.transforms.decay import (
    WeightDecaySchedule as WeightDecaySchedule,
    add_decayed_weights as add_decayed_weights,
)
from optax_lite.transforms.momentum import (
    EmaState as EmaState,
    TraceState as TraceState,
    ema as ema,
    trace as trace,
)
from optax_lite.transforms.scale import (
    ScaleByScheduleState as ScaleByScheduleState,
    scale as scale,
    scale_by_learning_rate as scale_by_learning_rate,
    scale_by_schedule as scale_by_schedule,
    scale_by_sign as scale_by_sign,
    set_to_zero as set_to_zero,
)

safe_increment = increment  # optax's names for the same things
ScaleState = EmptyState
