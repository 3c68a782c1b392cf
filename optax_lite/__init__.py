"""Optimizers for JAX as pure (init, update) pairs that are data: pytrees of their hyperparameters."""

# fmt: off
# isort: off
from optax_lite import contrib, losses, schedules, tree, tree_utils
from optax_lite.compose import (
    MaskedState, PartitionState, chain, identity, masked, multi_transform, named_chain, partition, stateless,
    stateless_with_tree_map, with_extra_args_support,
)
from optax_lite.core import (
    EmptyState, GradientTransformation, GradientTransformationExtraArgs, OptState, Params, ScalarOrSchedule,
    Schedule, ScheduledState, Updates, apply_updates, schedule, transform,
)
from optax_lite.inspection.current import current_hyperparams
from optax_lite.inspection.explain import explain
from optax_lite.inspection.metrics import MetricsState, read_metrics, with_metrics
from optax_lite.inspection.monitor import MonitorState, SnapshotState, measure_with_ema, monitor, snapshot
from optax_lite.inspection.table import Explanation, LeafRow
from optax_lite.inspection.transfer import reset, transfer
from optax_lite.inspection.transfer_report import TransferReport
from optax_lite.forms import wrapping
from optax_lite.leaves import MaskedNode, ema_weight, increment, leafwise, zeros_like
from optax_lite.loop.fit import fit
from optax_lite.loop.history import History
from optax_lite.loop.memory import StepMemory, explain_memory
from optax_lite.loop.step import make_step
from optax_lite.losses import (
    convex_kl_divergence, cosine_distance, cosine_similarity, ctc_loss, ctc_loss_with_forward_probs,
    generalized_kl_divergence, hinge_loss, huber_loss, kl_divergence, l2_loss, log_cosh, ntxent,
    safe_softmax_cross_entropy, sigmoid_binary_cross_entropy, sigmoid_focal_loss, smooth_labels,
    softmax_cross_entropy, softmax_cross_entropy_with_integer_labels, squared_error,
)
from optax_lite.matrices import MuonDimensionNumbers
from optax_lite.minimize import MinimizeResult, minimize
from optax_lite.norms import global_norm, safe_norm
from optax_lite.optimizers.acprop import acprop, scale_by_acprop
from optax_lite.optimizers.adabelief import ScaleByBeliefState, adabelief, scale_by_belief
from optax_lite.optimizers.adadelta import ScaleByAdaDeltaState, adadelta, scale_by_adadelta
from optax_lite.optimizers.adafactor import FactoredState, adafactor, scale_by_factored_rms
from optax_lite.optimizers.adagrad import ScaleByRssState, adagrad, scale_by_rss
from optax_lite.optimizers.adam import ScaleByAdamState, adam, adamw, scale_by_adam
from optax_lite.optimizers.adam_atan2 import adam_atan2, scale_by_adam_atan2
from optax_lite.optimizers.adamax import adamax, adamaxw, scale_by_adamax
from optax_lite.optimizers.adan import ScaleByAdanState, adan, scale_by_adan
from optax_lite.optimizers.ademamix import ScaleByAdemamixState, ademamix, scale_by_ademamix
from optax_lite.optimizers.adopt import adopt, scale_by_adopt
from optax_lite.optimizers.amsgrad import ScaleByAmsgradState, amsgrad, scale_by_amsgrad
from optax_lite.optimizers.cocob import COCOBState, cocob, scale_by_cocob
from optax_lite.optimizers.dadapt_adamw import DAdaptAdamWState, dadapt_adamw
from optax_lite.optimizers.dog import DoGState, ScaleByDistanceOverGradientsState, dog, scale_by_distance_over_gradients
from optax_lite.optimizers.dowg import DoWGState, dowg
from optax_lite.optimizers.dpsgd import DifferentiallyPrivateAggregateState, differentially_private_aggregate, dpsgd
from optax_lite.optimizers.fromage import fromage
from optax_lite.optimizers.galore import GaLoreState, galore, scale_by_galore
from optax_lite.optimizers.galore_axes import GaLoreDimensionNumbers
from optax_lite.optimizers.lamb import lamb
from optax_lite.optimizers.lars import lars
from optax_lite.optimizers.lbfgs import ScaleByLBFGSState, lbfgs, scale_by_lbfgs
from optax_lite.optimizers.lion import ScaleByLionState, lion, scale_by_lion
from optax_lite.optimizers.madgrad import MadgradState, madgrad, scale_by_madgrad
from optax_lite.optimizers.mars import ReduceVarianceState, mars
from optax_lite.optimizers.mechanize import MechanicState, mechanize
from optax_lite.optimizers.momo import MomoState, momo
from optax_lite.optimizers.momo_adam import MomoAdamState, momo_adam
from optax_lite.optimizers.muon import MuonState, muon, scale_by_muon
from optax_lite.optimizers.nadam import nadam, nadamw
from optax_lite.optimizers.nadam_dozat import ScaleByNadamState, nadam_dozat, scale_by_nadam
from optax_lite.optimizers.noisy_sgd import noisy_sgd
from optax_lite.optimizers.novograd import ScaleByNovogradState, novograd, scale_by_novograd
from optax_lite.optimizers.optimistic import (
    ScaleByOptimisticGradientState, optimistic_adam_v2, optimistic_gradient_descent, scale_by_optimistic_gradient,
)
from optax_lite.optimizers.polyak_sgd import polyak_sgd, scale_by_polyak
from optax_lite.optimizers.prodigy import ProdigyState, prodigy
from optax_lite.optimizers.radam import radam, scale_by_radam
from optax_lite.optimizers.rms import (
    ScaleByRStdDevState, ScaleByRStdDevWithCountState, ScaleByRmsState, ScaleByRmsWithCountState, scale_by_rms,
    scale_by_stddev,
)
from optax_lite.optimizers.rmsprop import rmsprop
from optax_lite.optimizers.rprop import ScaleByRpropState, rprop, scale_by_rprop
from optax_lite.optimizers.sam import SAMState, sam
from optax_lite.optimizers.schedule_free import ScheduleFreeState, schedule_free, schedule_free_eval_params
from optax_lite.optimizers.schedule_free_methods import schedule_free_adamw, schedule_free_sgd
from optax_lite.optimizers.sgd import sgd
from optax_lite.optimizers.shampoo import ScaleByShampooState, scale_by_shampoo, shampoo
from optax_lite.optimizers.sign_sgd import sign_sgd, signum
from optax_lite.optimizers.simplified_ademamix import (
    ScaleBySimplifiedAdEMAMixState, scale_by_simplified_ademamix, simplified_ademamix,
)
from optax_lite.optimizers.sm3 import ScaleBySM3State, scale_by_sm3, sm3
from optax_lite.optimizers.soap import ScaleBySoapState, scale_by_soap, soap
from optax_lite.optimizers.sophia import HutchinsonState, SophiaState, hutchinson_estimator_diag_hessian, sophia
from optax_lite.optimizers.stable_adamw import stable_adamw
from optax_lite.optimizers.yogi import scale_by_yogi, yogi
from optax_lite.precision.codes import Quantized
from optax_lite.precision.kahan import KahanState, kahan
from optax_lite.precision.loss_scaling import LossScalingState, loss_scaling, scale_loss
from optax_lite.precision.master import MasterWeightsState, master_weights
from optax_lite.precision.quantize import QuantizeState, quantize_state
from optax_lite.precision.rounding import StochasticRoundingState, stochastic_rounding
from optax_lite.precision.state_dtype import WithStateDtypeState, with_state_dtype
from optax_lite.schedules import (
    constant_schedule, cosine_decay_schedule, cosine_onecycle_schedule, cyclic_schedule, exponential_decay,
    inverse_sqrt_schedule, join_schedules, linear_onecycle_schedule, linear_schedule, piecewise_constant_schedule,
    piecewise_interpolate_schedule, polynomial_schedule, sgdr_schedule, warmup_constant_schedule,
    warmup_cosine_decay_schedule, warmup_exponential_decay_schedule, warmup_stable_decay_schedule,
)
from optax_lite.transforms.cautious import CautiousState, cautious
from optax_lite.transforms.clip import (
    adaptive_grad_clip, clip, clip_by_block_rms, clip_by_global_norm, per_example_global_norm_clip,
    per_example_layer_norm_clip,
)
from optax_lite.transforms.complex import SplitRealAndImaginaryState, split_real_and_imaginary
from optax_lite.transforms.constrain import (
    ZeroNansState, centralize, keep_params_nonnegative, normalize, normalize_by_update_norm, zero_nans,
)
from optax_lite.transforms.decay import WeightDecaySchedule, add_decayed_weights, independent_weight_decay
from optax_lite.transforms.linesearch import (
    BacktrackingLinesearchInfo, ScaleByBacktrackingLinesearchState, scale_by_backtracking_linesearch,
    value_and_grad_from_state,
)
from optax_lite.transforms.momentum import EmaState, TraceState, ema, trace
from optax_lite.transforms.noise import AddNoiseState, add_noise
from optax_lite.transforms.plateau import ReduceLROnPlateauState, reduce_on_plateau
from optax_lite.transforms.scale import (
    ScaleByScheduleState, scale, scale_by_learning_rate, scale_by_schedule, scale_by_sign, set_to_zero,
)
from optax_lite.transforms.trust_ratio import scale_by_param_block_norm, scale_by_param_block_rms, scale_by_trust_ratio
from optax_lite.transforms.zoom import ScaleByZoomLinesearchState, ZoomLinesearchInfo, scale_by_zoom_linesearch
from optax_lite.targets import incremental_update, periodic_update
from optax_lite.wrappers.accumulate import (
    AccumulateState, ApplyEvery, MultiSteps, MultiStepsState, accumulate, apply_every, skip_large_updates,
    skip_not_finite,
)
from optax_lite.wrappers.average import AverageParamsState, average_params, eval_params
from optax_lite.wrappers.flatten import flatten
from optax_lite.wrappers.freeze import freeze, selective_transform
from optax_lite.wrappers.groups import groups
from optax_lite.wrappers.inject import InjectStatefulHyperparamsState, WrappedScheduleState, inject_hyperparams
from optax_lite.wrappers.lookahead import LookaheadParams, LookaheadState, LookaheadWithSlowState, lookahead
from optax_lite.wrappers.microbatch import microbatch_value_and_grad
from optax_lite.wrappers.set_hyperparams import set_hyperparams
from optax_lite.wrappers.skip import (
    ApplyIfFiniteState, ConditionallyMaskState, ConditionallyTransformState, SkipBadStepsState, apply_if_finite,
    conditionally_mask, conditionally_transform, skip_bad_steps,
)

safe_increment = increment  # optax's names for the same things
ScaleState = EmptyState

__all__ = [
    # states and results
    "AccumulateState", "AddNoiseState", "ApplyEvery", "ApplyIfFiniteState", "AverageParamsState",
    "BacktrackingLinesearchInfo", "CautiousState", "COCOBState", "ConditionallyMaskState",
    "ConditionallyTransformState", "DAdaptAdamWState", "DifferentiallyPrivateAggregateState", "DoGState", "DoWGState",
    "EmaState", "EmptyState", "FactoredState", "GaLoreDimensionNumbers", "GaLoreState", "HutchinsonState",
    "InjectStatefulHyperparamsState", "LookaheadState", "LookaheadWithSlowState", "MadgradState", "MaskedNode",
    "MaskedState", "MechanicState", "MetricsState", "MinimizeResult", "MomoAdamState", "MomoState", "MonitorState",
    "MultiStepsState", "MuonDimensionNumbers", "MuonState", "OptState", "PartitionState", "ProdigyState",
    "ReduceLROnPlateauState", "ReduceVarianceState", "SAMState", "ScaleByAdaDeltaState", "ScaleByAdamState",
    "ScaleByAdanState", "ScaleByAdemamixState", "ScaleByAmsgradState", "ScaleByBacktrackingLinesearchState",
    "ScaleByBeliefState", "ScaleByDistanceOverGradientsState", "ScaleByLBFGSState", "ScaleByLionState",
    "ScaleByNadamState", "ScaleByNovogradState", "ScaleByOptimisticGradientState", "ScaleByRmsState",
    "ScaleByRmsWithCountState", "ScaleByRpropState", "ScaleByRssState", "ScaleByRStdDevState",
    "ScaleByRStdDevWithCountState", "ScaleByScheduleState", "ScaleByShampooState", "ScaleBySimplifiedAdEMAMixState",
    "ScaleBySM3State", "ScaleBySoapState", "ScaleByZoomLinesearchState", "ScaleState", "ScheduledState",
    "ScheduleFreeState", "SkipBadStepsState", "SnapshotState", "SophiaState", "SplitRealAndImaginaryState",
    "TraceState", "TransferReport", "WeightDecaySchedule", "WrappedScheduleState", "ZeroNansState",
    "ZoomLinesearchInfo",
    # the pair: made, composed, applied
    "apply_updates", "chain", "GradientTransformation", "GradientTransformationExtraArgs", "identity",
    "incremental_update", "masked", "multi_transform", "named_chain", "Params", "partition", "ScalarOrSchedule",
    "Schedule", "schedule", "stateless", "stateless_with_tree_map", "transform", "Updates", "with_extra_args_support",
    # schedules
    "constant_schedule", "cosine_decay_schedule", "cosine_onecycle_schedule", "cyclic_schedule", "exponential_decay",
    "inverse_sqrt_schedule", "join_schedules", "linear_onecycle_schedule", "linear_schedule",
    "piecewise_constant_schedule", "piecewise_interpolate_schedule", "polynomial_schedule", "schedules",
    "sgdr_schedule", "warmup_constant_schedule", "warmup_cosine_decay_schedule", "warmup_exponential_decay_schedule",
    "warmup_stable_decay_schedule",
    # losses and trees
    "convex_kl_divergence", "cosine_distance", "cosine_similarity", "ctc_loss", "ctc_loss_with_forward_probs",
    "generalized_kl_divergence", "hinge_loss", "huber_loss", "kl_divergence", "l2_loss", "log_cosh", "losses", "ntxent",
    "safe_softmax_cross_entropy", "sigmoid_binary_cross_entropy", "sigmoid_focal_loss", "smooth_labels",
    "softmax_cross_entropy", "softmax_cross_entropy_with_integer_labels", "squared_error", "tree", "tree_utils",
    # optimizers
    "acprop", "adabelief", "adadelta", "adafactor", "adagrad", "adam", "adam_atan2", "adamax", "adamaxw", "adamw",
    "adan", "ademamix", "adopt", "amsgrad", "cocob", "contrib", "dadapt_adamw", "differentially_private_aggregate",
    "dog", "dowg", "dpsgd", "fromage", "galore", "hutchinson_estimator_diag_hessian", "lamb", "lars", "lbfgs", "lion",
    "madgrad", "mars", "mechanize", "momo", "momo_adam", "muon", "nadam", "nadam_dozat", "nadamw", "noisy_sgd",
    "novograd", "optimistic_adam_v2", "optimistic_gradient_descent", "polyak_sgd", "prodigy", "radam", "rmsprop",
    "rprop", "sam", "schedule_free", "schedule_free_adamw", "schedule_free_eval_params", "schedule_free_sgd", "sgd",
    "shampoo", "sign_sgd", "signum", "simplified_ademamix", "sm3", "soap", "sophia", "stable_adamw", "yogi",
    # transforms
    "adaptive_grad_clip", "add_decayed_weights", "add_noise", "cautious", "centralize", "clip", "clip_by_block_rms",
    "clip_by_global_norm", "ema", "independent_weight_decay", "keep_params_nonnegative", "normalize",
    "normalize_by_update_norm", "per_example_global_norm_clip", "per_example_layer_norm_clip", "reduce_on_plateau",
    "scale", "scale_by_acprop", "scale_by_adadelta", "scale_by_adam", "scale_by_adam_atan2", "scale_by_adamax",
    "scale_by_adan", "scale_by_ademamix", "scale_by_adopt", "scale_by_amsgrad", "scale_by_backtracking_linesearch",
    "scale_by_belief", "scale_by_cocob", "scale_by_distance_over_gradients", "scale_by_factored_rms", "scale_by_galore",
    "scale_by_lbfgs", "scale_by_learning_rate", "scale_by_lion", "scale_by_madgrad", "scale_by_muon", "scale_by_nadam",
    "scale_by_novograd", "scale_by_optimistic_gradient", "scale_by_param_block_norm", "scale_by_param_block_rms",
    "scale_by_polyak", "scale_by_radam", "scale_by_rms", "scale_by_rprop", "scale_by_rss", "scale_by_schedule",
    "scale_by_shampoo", "scale_by_sign", "scale_by_simplified_ademamix", "scale_by_sm3", "scale_by_soap",
    "scale_by_stddev", "scale_by_trust_ratio", "scale_by_yogi", "scale_by_zoom_linesearch", "set_to_zero",
    "split_real_and_imaginary", "trace", "value_and_grad_from_state", "zero_nans",
    # around an optimizer
    "accumulate", "apply_every", "apply_if_finite", "average_params", "conditionally_mask", "conditionally_transform",
    "eval_params", "flatten", "freeze", "groups", "inject_hyperparams", "lookahead", "LookaheadParams",
    "microbatch_value_and_grad", "MultiSteps", "periodic_update", "reset", "selective_transform", "set_hyperparams",
    "skip_bad_steps", "skip_large_updates", "skip_not_finite", "transfer",
    # precision
    "kahan", "KahanState", "loss_scaling", "LossScalingState", "master_weights", "MasterWeightsState",
    "quantize_state", "Quantized", "QuantizeState", "scale_loss",
    "stochastic_rounding", "StochasticRoundingState", "with_state_dtype", "WithStateDtypeState",
    # what is going on
    "current_hyperparams", "explain", "explain_memory", "Explanation", "LeafRow", "measure_with_ema", "monitor",
    "read_metrics", "snapshot", "StepMemory", "with_metrics",
    # training
    "fit", "History", "make_step", "minimize",
    # for authors
    "ema_weight", "global_norm", "increment", "leafwise", "safe_increment", "safe_norm", "wrapping",
    "zeros_like",
]
