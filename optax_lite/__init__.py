"""Optimizers for JAX as pure (init, update) pairs that are data: pytrees of their hyperparameters."""

from optax_lite import (
    losses as losses,
    tree as tree,
    tree_utils as tree_utils,
)
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
from optax_lite.matrices import (
    MuonDimensionNumbers as MuonDimensionNumbers,
)
from optax_lite.minimize import (
    MinimizeResult as MinimizeResult,
    minimize as minimize,
)
from optax_lite.norms import (
    global_norm as global_norm,
    safe_norm as safe_norm,
)
from optax_lite.optimizers.acprop import (
    acprop as acprop,
    scale_by_acprop as scale_by_acprop,
)
from optax_lite.optimizers.adabelief import (
    ScaleByBeliefState as ScaleByBeliefState,
    adabelief as adabelief,
    scale_by_belief as scale_by_belief,
)
from optax_lite.optimizers.adadelta import (
    ScaleByAdaDeltaState as ScaleByAdaDeltaState,
    adadelta as adadelta,
    scale_by_adadelta as scale_by_adadelta,
)
from optax_lite.optimizers.adafactor import (
    FactoredState as FactoredState,
    adafactor as adafactor,
    scale_by_factored_rms as scale_by_factored_rms,
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
from optax_lite.optimizers.adam_atan2 import (
    adam_atan2 as adam_atan2,
    scale_by_adam_atan2 as scale_by_adam_atan2,
)
from optax_lite.optimizers.adamax import (
    adamax as adamax,
    adamaxw as adamaxw,
    scale_by_adamax as scale_by_adamax,
)
from optax_lite.optimizers.adan import (
    ScaleByAdanState as ScaleByAdanState,
    adan as adan,
    scale_by_adan as scale_by_adan,
)
from optax_lite.optimizers.ademamix import (
    ScaleByAdemamixState as ScaleByAdemamixState,
    ademamix as ademamix,
    scale_by_ademamix as scale_by_ademamix,
)
from optax_lite.optimizers.adopt import (
    adopt as adopt,
    scale_by_adopt as scale_by_adopt,
)
from optax_lite.optimizers.amsgrad import (
    ScaleByAmsgradState as ScaleByAmsgradState,
    amsgrad as amsgrad,
    scale_by_amsgrad as scale_by_amsgrad,
)
from optax_lite.optimizers.cocob import (
    COCOBState as COCOBState,
    cocob as cocob,
    scale_by_cocob as scale_by_cocob,
)
from optax_lite.optimizers.dadapt_adamw import (
    DAdaptAdamWState as DAdaptAdamWState,
    dadapt_adamw as dadapt_adamw,
)
from optax_lite.optimizers.dog import (
    DoGState as DoGState,
    DoWGState as DoWGState,
    ScaleByDistanceOverGradientsState as ScaleByDistanceOverGradientsState,
    dog as dog,
    dowg as dowg,
    scale_by_distance_over_gradients as scale_by_distance_over_gradients,
)
from optax_lite.optimizers.dpsgd import (
    DifferentiallyPrivateAggregateState as DifferentiallyPrivateAggregateState,
    differentially_private_aggregate as differentially_private_aggregate,
    dpsgd as dpsgd,
)
from optax_lite.optimizers.fromage import (
    fromage as fromage,
)
from optax_lite.optimizers.galore import (
    GaLoreDimensionNumbers as GaLoreDimensionNumbers,
    GaLoreState as GaLoreState,
    galore as galore,
    scale_by_galore as scale_by_galore,
)
from optax_lite.optimizers.lamb import (
    lamb as lamb,
)
from optax_lite.optimizers.lars import (
    lars as lars,
)
from optax_lite.optimizers.lbfgs import (
    ScaleByLBFGSState as ScaleByLBFGSState,
    lbfgs as lbfgs,
    scale_by_lbfgs as scale_by_lbfgs,
)
from optax_lite.optimizers.lion import (
    ScaleByLionState as ScaleByLionState,
    lion as lion,
    scale_by_lion as scale_by_lion,
)
from optax_lite.optimizers.madgrad import (
    MadgradState as MadgradState,
    madgrad as madgrad,
    scale_by_madgrad as scale_by_madgrad,
)
from optax_lite.optimizers.mars import (
    ReduceVarianceState as ReduceVarianceState,
    mars as mars,
)
from optax_lite.optimizers.mechanize import (
    MechanicState as MechanicState,
    mechanize as mechanize,
)
from optax_lite.optimizers.momo import (
    MomoAdamState as MomoAdamState,
    MomoState as MomoState,
    momo as momo,
    momo_adam as momo_adam,
)
from optax_lite.optimizers.muon import (
    MuonState as MuonState,
    muon as muon,
    scale_by_muon as scale_by_muon,
)
from optax_lite.optimizers.nadam import (
    ScaleByNadamState as ScaleByNadamState,
    nadam as nadam,
    nadam_dozat as nadam_dozat,
    nadamw as nadamw,
    scale_by_nadam as scale_by_nadam,
)
from optax_lite.optimizers.noisy_sgd import (
    noisy_sgd as noisy_sgd,
)
from optax_lite.optimizers.novograd import (
    ScaleByNovogradState as ScaleByNovogradState,
    novograd as novograd,
    scale_by_novograd as scale_by_novograd,
)
from optax_lite.optimizers.optimistic import (
    ScaleByOptimisticGradientState as ScaleByOptimisticGradientState,
    optimistic_adam_v2 as optimistic_adam_v2,
    optimistic_gradient_descent as optimistic_gradient_descent,
    scale_by_optimistic_gradient as scale_by_optimistic_gradient,
)
from optax_lite.optimizers.polyak_sgd import (
    polyak_sgd as polyak_sgd,
    scale_by_polyak as scale_by_polyak,
)
from optax_lite.optimizers.prodigy import (
    ProdigyState as ProdigyState,
    prodigy as prodigy,
)
from optax_lite.optimizers.radam import (
    radam as radam,
    scale_by_radam as scale_by_radam,
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
from optax_lite.optimizers.rprop import (
    ScaleByRpropState as ScaleByRpropState,
    rprop as rprop,
    scale_by_rprop as scale_by_rprop,
)
from optax_lite.optimizers.sam import (
    SAMState as SAMState,
    sam as sam,
)
from optax_lite.optimizers.schedule_free import (
    ScheduleFreeState as ScheduleFreeState,
    schedule_free as schedule_free,
    schedule_free_adamw as schedule_free_adamw,
    schedule_free_eval_params as schedule_free_eval_params,
    schedule_free_sgd as schedule_free_sgd,
)
from optax_lite.optimizers.sgd import (
    sgd as sgd,
)
from optax_lite.optimizers.shampoo import (
    ScaleByShampooState as ScaleByShampooState,
    scale_by_shampoo as scale_by_shampoo,
    shampoo as shampoo,
)
from optax_lite.optimizers.sign_sgd import (
    sign_sgd as sign_sgd,
    signum as signum,
)
from optax_lite.optimizers.simplified_ademamix import (
    ScaleBySimplifiedAdEMAMixState as ScaleBySimplifiedAdEMAMixState,
    scale_by_simplified_ademamix as scale_by_simplified_ademamix,
    simplified_ademamix as simplified_ademamix,
)
from optax_lite.optimizers.sm3 import (
    ScaleBySM3State as ScaleBySM3State,
    scale_by_sm3 as scale_by_sm3,
    sm3 as sm3,
)
from optax_lite.optimizers.soap import (
    ScaleBySoapState as ScaleBySoapState,
    scale_by_soap as scale_by_soap,
    soap as soap,
)
from optax_lite.optimizers.sophia import (
    HutchinsonState as HutchinsonState,
    SophiaState as SophiaState,
    hutchinson_estimator_diag_hessian as hutchinson_estimator_diag_hessian,
    sophia as sophia,
)
from optax_lite.optimizers.stable_adamw import (
    stable_adamw as stable_adamw,
)
from optax_lite.optimizers.yogi import (
    scale_by_yogi as scale_by_yogi,
    yogi as yogi,
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
from optax_lite.transforms.cautious import (
    CautiousState as CautiousState,
    cautious as cautious,
)
from optax_lite.transforms.clip import (
    adaptive_grad_clip as adaptive_grad_clip,
    clip as clip,
    clip_by_block_rms as clip_by_block_rms,
    clip_by_global_norm as clip_by_global_norm,
    per_example_global_norm_clip as per_example_global_norm_clip,
    per_example_layer_norm_clip as per_example_layer_norm_clip,
)
from optax_lite.transforms.complex import (
    SplitRealAndImaginaryState as SplitRealAndImaginaryState,
    split_real_and_imaginary as split_real_and_imaginary,
)
from optax_lite.transforms.constrain import (
    ZeroNansState as ZeroNansState,
    centralize as centralize,
    keep_params_nonnegative as keep_params_nonnegative,
    normalize as normalize,
    normalize_by_update_norm as normalize_by_update_norm,
    zero_nans as zero_nans,
)
from optax_lite.transforms.decay import (
    WeightDecaySchedule as WeightDecaySchedule,
    add_decayed_weights as add_decayed_weights,
    independent_weight_decay as independent_weight_decay,
)
from optax_lite.transforms.linesearch import (
    BacktrackingLinesearchInfo as BacktrackingLinesearchInfo,
    ScaleByBacktrackingLinesearchState as ScaleByBacktrackingLinesearchState,
    scale_by_backtracking_linesearch as scale_by_backtracking_linesearch,
    value_and_grad_from_state as value_and_grad_from_state,
)
from optax_lite.transforms.momentum import (
    EmaState as EmaState,
    TraceState as TraceState,
    ema as ema,
    trace as trace,
)
from optax_lite.transforms.noise import (
    AddNoiseState as AddNoiseState,
    add_noise as add_noise,
)
from optax_lite.transforms.scale import (
    ScaleByScheduleState as ScaleByScheduleState,
    scale as scale,
    scale_by_learning_rate as scale_by_learning_rate,
    scale_by_schedule as scale_by_schedule,
    scale_by_sign as scale_by_sign,
    set_to_zero as set_to_zero,
)
from optax_lite.transforms.trust_ratio import (
    scale_by_param_block_norm as scale_by_param_block_norm,
    scale_by_param_block_rms as scale_by_param_block_rms,
    scale_by_trust_ratio as scale_by_trust_ratio,
)
from optax_lite.transforms.zoom import (
    ScaleByZoomLinesearchState as ScaleByZoomLinesearchState,
    ZoomLinesearchInfo as ZoomLinesearchInfo,
    scale_by_zoom_linesearch as scale_by_zoom_linesearch,
)

safe_increment = increment  # optax's names for the same things
ScaleState = EmptyState
