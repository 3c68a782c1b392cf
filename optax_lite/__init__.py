"""Optimizers for JAX: pure (init, update) pairs that are data, pytrees of their hyperparameters."""

import typing as _typing

from optax_lite._names import __dir__ as __dir__, __getattr__ as __getattr__
from optax_lite._schedules import (
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
from optax_lite._transforms.cautious import cautious
from optax_lite._transforms.clip import (
    adaptive_grad_clip,
    clip,
    clip_by_block_rms,
    clip_by_global_norm,
    per_example_global_norm_clip,
    per_example_layer_norm_clip,
)
from optax_lite._transforms.complex import split_real_and_imaginary
from optax_lite._transforms.constrain import (
    centralize,
    keep_params_nonnegative,
    normalize,
    normalize_by_update_norm,
    zero_nans,
)
from optax_lite._transforms.decay import add_decayed_weights, independent_weight_decay
from optax_lite._transforms.momentum import ema, trace
from optax_lite._transforms.noise import add_noise
from optax_lite._transforms.plateau import reduce_on_plateau
from optax_lite._transforms.scale import (
    scale,
    scale_by_learning_rate,
    scale_by_schedule,
    scale_by_sign,
    set_to_zero,
)
from optax_lite._transforms.trust_ratio import (
    scale_by_param_block_norm,
    scale_by_param_block_rms,
    scale_by_trust_ratio,
)
from optax_lite.core.compose import chain, identity, masked, named_chain, partition, stateless
from optax_lite.core.functions import wrapping
from optax_lite.core.leafwise import increment, leafwise, zeros_like
from optax_lite.core.matrices import MuonDimensionNumbers
from optax_lite.core.norms import global_norm, safe_norm
from optax_lite.core.numerics import bias_correction_factor
from optax_lite.core.schedule import schedule
from optax_lite.core.targets import incremental_update, periodic_update
from optax_lite.core.transform import (
    GradientTransformation,
    OptState,
    Params,
    Updates,
    apply_updates,
    transform,
)
from optax_lite.core.types import ScalarOrSchedule, ScheduleFunction as Schedule
from optax_lite.linesearch.backtracking import (
    scale_by_backtracking_linesearch,
    value_and_grad_from_state,
)
from optax_lite.linesearch.zoom import scale_by_zoom_linesearch
from optax_lite.optimizers.acprop import acprop, scale_by_acprop
from optax_lite.optimizers.adabelief import adabelief, scale_by_belief
from optax_lite.optimizers.adadelta import adadelta, scale_by_adadelta
from optax_lite.optimizers.adafactor import adafactor, scale_by_factored_rms
from optax_lite.optimizers.adagrad import adagrad, scale_by_rss
from optax_lite.optimizers.adam import adam, adamw, scale_by_adam
from optax_lite.optimizers.adam_atan2 import adam_atan2, scale_by_adam_atan2
from optax_lite.optimizers.adamax import adamax, adamaxw, scale_by_adamax
from optax_lite.optimizers.adan import adan, scale_by_adan
from optax_lite.optimizers.ademamix import ademamix, scale_by_ademamix
from optax_lite.optimizers.adopt import adopt, scale_by_adopt
from optax_lite.optimizers.amsgrad import amsgrad, scale_by_amsgrad
from optax_lite.optimizers.cocob import cocob, scale_by_cocob
from optax_lite.optimizers.dadapt_adamw import dadapt_adamw
from optax_lite.optimizers.dog import dog, scale_by_distance_over_gradients
from optax_lite.optimizers.dowg import dowg
from optax_lite.optimizers.dpsgd import differentially_private_aggregate, dpsgd
from optax_lite.optimizers.fromage import fromage
from optax_lite.optimizers.galore import GaLoreDimensionNumbers, galore, scale_by_galore
from optax_lite.optimizers.lamb import lamb
from optax_lite.optimizers.lars import lars
from optax_lite.optimizers.lbfgs import lbfgs, scale_by_lbfgs
from optax_lite.optimizers.lion import lion, scale_by_lion
from optax_lite.optimizers.madgrad import madgrad, scale_by_madgrad
from optax_lite.optimizers.mars import mars
from optax_lite.optimizers.mechanize import mechanize
from optax_lite.optimizers.momo import momo
from optax_lite.optimizers.momo_adam import momo_adam
from optax_lite.optimizers.muon import muon, orthogonalize, scale_by_muon
from optax_lite.optimizers.nadam import nadam, nadamw
from optax_lite.optimizers.nadam_dozat import nadam_dozat, scale_by_nadam
from optax_lite.optimizers.noisy_sgd import noisy_sgd
from optax_lite.optimizers.novograd import novograd, scale_by_novograd
from optax_lite.optimizers.optimistic import (
    optimistic_adam_v2,
    optimistic_gradient_descent,
    scale_by_optimistic_gradient,
)
from optax_lite.optimizers.polyak_sgd import polyak_sgd, scale_by_polyak
from optax_lite.optimizers.prodigy import prodigy
from optax_lite.optimizers.radam import radam, scale_by_radam
from optax_lite.optimizers.rmsprop import rmsprop, scale_by_rms, scale_by_stddev
from optax_lite.optimizers.rprop import rprop, scale_by_rprop
from optax_lite.optimizers.sam import sam
from optax_lite.optimizers.schedule_free import (
    schedule_free,
    schedule_free_adamw,
    schedule_free_sgd,
)
from optax_lite.optimizers.sgd import sgd
from optax_lite.optimizers.shampoo import scale_by_shampoo, shampoo
from optax_lite.optimizers.sign_sgd import sign_sgd, signum
from optax_lite.optimizers.simplified_ademamix import (
    scale_by_simplified_ademamix,
    simplified_ademamix,
)
from optax_lite.optimizers.sm3 import scale_by_sm3, sm3
from optax_lite.optimizers.soap import scale_by_soap, soap
from optax_lite.optimizers.sophia import hutchinson_estimator_diag_hessian, sophia
from optax_lite.optimizers.stable_adamw import stable_adamw
from optax_lite.optimizers.yogi import scale_by_yogi, yogi
from optax_lite.wrappers.accumulate import accumulate
from optax_lite.wrappers.average import average_params, eval_params
from optax_lite.wrappers.flatten import flatten
from optax_lite.wrappers.freeze import freeze
from optax_lite.wrappers.groups import groups
from optax_lite.wrappers.inject import inject_hyperparams
from optax_lite.wrappers.kahan import kahan
from optax_lite.wrappers.lookahead import LookaheadParams, lookahead
from optax_lite.wrappers.loss_scaling import loss_scaling, scale_loss
from optax_lite.wrappers.master_weights import master_weights
from optax_lite.wrappers.microbatch import microbatch_value_and_grad
from optax_lite.wrappers.quantize import quantize_state
from optax_lite.wrappers.set_hyperparams import set_hyperparams
from optax_lite.wrappers.skip import skip_bad_steps
from optax_lite.wrappers.state_dtype import with_state_dtype
from optax_lite.wrappers.stochastic_rounding import stochastic_rounding

# `_names.py` reads these lines and loads a name at its first use: together they would double the
# time of the import, and few programs use many of them.
if _typing.TYPE_CHECKING:
    from optax_lite import (
        assignment,
        compat,
        contrib,
        experimental,
        linear_algebra,
        losses,
        microbatching,
        perturbations,
        projections,
        schedules,
        second_order,
        states,
        transforms,
        tree,
        tree_utils,
    )
    from optax_lite.compat import *
    from optax_lite.inspect._table import Explanation, LeafRow
    from optax_lite.inspect._transfer_report import TransferReport
    from optax_lite.inspect.current import current_hyperparams
    from optax_lite.inspect.explain import explain
    from optax_lite.inspect.metrics import read_metrics, with_metrics
    from optax_lite.inspect.monitor import measure_with_ema, monitor
    from optax_lite.inspect.transfer import reset, transfer
    from optax_lite.losses import (
        convex_kl_divergence,
        cosine_distance,
        cosine_similarity,
        ctc_loss,
        ctc_loss_with_forward_probs,
        generalized_kl_divergence,
        hinge_loss,
        huber_loss,
        kl_divergence,
        l2_loss,
        log_cosh,
        ntxent,
        safe_softmax_cross_entropy,
        sigmoid_binary_cross_entropy,
        sigmoid_focal_loss,
        smooth_labels,
        softmax_cross_entropy,
        softmax_cross_entropy_with_integer_labels,
        squared_error,
    )
    from optax_lite.states import *
    from optax_lite.train.fit import fit
    from optax_lite.train.history import History, plot_histories
    from optax_lite.train.memory import StepMemory, explain_memory
    from optax_lite.train.minimize import MinimizeResult, minimize
    from optax_lite.train.step import make_step

__all__ = [
    # compose and apply; write one of your own
    "apply_updates",
    "bias_correction_factor",
    "chain",
    "global_norm",
    "GradientTransformation",
    "identity",
    "increment",
    "incremental_update",
    "leafwise",
    "masked",
    "named_chain",
    "OptState",
    "orthogonalize",
    "Params",
    "partition",
    "periodic_update",
    "safe_norm",
    "ScalarOrSchedule",
    "Schedule",
    "schedule",
    "stateless",
    "transform",
    "Updates",
    "wrapping",
    "zeros_like",
    # schedules, losses, trees
    "constant_schedule",
    "convex_kl_divergence",
    "cosine_decay_schedule",
    "cosine_distance",
    "cosine_onecycle_schedule",
    "cosine_similarity",
    "ctc_loss",
    "ctc_loss_with_forward_probs",
    "cyclic_schedule",
    "exponential_decay",
    "generalized_kl_divergence",
    "hinge_loss",
    "huber_loss",
    "inverse_sqrt_schedule",
    "join_schedules",
    "kl_divergence",
    "l2_loss",
    "linear_onecycle_schedule",
    "linear_schedule",
    "log_cosh",
    "losses",
    "ntxent",
    "piecewise_constant_schedule",
    "piecewise_interpolate_schedule",
    "polynomial_schedule",
    "safe_softmax_cross_entropy",
    "schedules",
    "sgdr_schedule",
    "sigmoid_binary_cross_entropy",
    "sigmoid_focal_loss",
    "smooth_labels",
    "softmax_cross_entropy",
    "softmax_cross_entropy_with_integer_labels",
    "squared_error",
    "tree",
    "tree_utils",
    "warmup_constant_schedule",
    "warmup_cosine_decay_schedule",
    "warmup_exponential_decay_schedule",
    "warmup_stable_decay_schedule",
    # optimizers
    "acprop",
    "adabelief",
    "adadelta",
    "adafactor",
    "adagrad",
    "adam",
    "adam_atan2",
    "adamax",
    "adamaxw",
    "adamw",
    "adan",
    "ademamix",
    "adopt",
    "amsgrad",
    "cocob",
    "contrib",
    "dadapt_adamw",
    "differentially_private_aggregate",
    "dog",
    "dowg",
    "dpsgd",
    "fromage",
    "galore",
    "GaLoreDimensionNumbers",
    "hutchinson_estimator_diag_hessian",
    "lamb",
    "lars",
    "lbfgs",
    "lion",
    "madgrad",
    "mars",
    "mechanize",
    "momo",
    "momo_adam",
    "muon",
    "MuonDimensionNumbers",
    "nadam",
    "nadam_dozat",
    "nadamw",
    "noisy_sgd",
    "novograd",
    "optimistic_adam_v2",
    "optimistic_gradient_descent",
    "polyak_sgd",
    "prodigy",
    "radam",
    "rmsprop",
    "rprop",
    "sam",
    "schedule_free",
    "schedule_free_adamw",
    "schedule_free_sgd",
    "sgd",
    "shampoo",
    "sign_sgd",
    "signum",
    "simplified_ademamix",
    "sm3",
    "soap",
    "sophia",
    "stable_adamw",
    "yogi",
    # transforms
    "adaptive_grad_clip",
    "add_decayed_weights",
    "add_noise",
    "cautious",
    "centralize",
    "clip",
    "clip_by_block_rms",
    "clip_by_global_norm",
    "ema",
    "independent_weight_decay",
    "keep_params_nonnegative",
    "normalize",
    "normalize_by_update_norm",
    "per_example_global_norm_clip",
    "per_example_layer_norm_clip",
    "reduce_on_plateau",
    "scale",
    "scale_by_acprop",
    "scale_by_adadelta",
    "scale_by_adam",
    "scale_by_adam_atan2",
    "scale_by_adamax",
    "scale_by_adan",
    "scale_by_ademamix",
    "scale_by_adopt",
    "scale_by_amsgrad",
    "scale_by_backtracking_linesearch",
    "scale_by_belief",
    "scale_by_cocob",
    "scale_by_distance_over_gradients",
    "scale_by_factored_rms",
    "scale_by_galore",
    "scale_by_lbfgs",
    "scale_by_learning_rate",
    "scale_by_lion",
    "scale_by_madgrad",
    "scale_by_muon",
    "scale_by_nadam",
    "scale_by_novograd",
    "scale_by_optimistic_gradient",
    "scale_by_param_block_norm",
    "scale_by_param_block_rms",
    "scale_by_polyak",
    "scale_by_radam",
    "scale_by_rms",
    "scale_by_rprop",
    "scale_by_rss",
    "scale_by_schedule",
    "scale_by_shampoo",
    "scale_by_sign",
    "scale_by_simplified_ademamix",
    "scale_by_sm3",
    "scale_by_soap",
    "scale_by_stddev",
    "scale_by_trust_ratio",
    "scale_by_yogi",
    "scale_by_zoom_linesearch",
    "set_to_zero",
    "split_real_and_imaginary",
    "trace",
    "value_and_grad_from_state",
    "zero_nans",
    # around an optimizer
    "accumulate",
    "average_params",
    "eval_params",
    "flatten",
    "freeze",
    "groups",
    "inject_hyperparams",
    "kahan",
    "lookahead",
    "LookaheadParams",
    "loss_scaling",
    "master_weights",
    "microbatch_value_and_grad",
    "quantize_state",
    "scale_loss",
    "set_hyperparams",
    "skip_bad_steps",
    "stochastic_rounding",
    "with_state_dtype",
    # train, look inside
    "current_hyperparams",
    "explain",
    "explain_memory",
    "Explanation",
    "fit",
    "History",
    "plot_histories",
    "LeafRow",
    "make_step",
    "measure_with_ema",
    "minimize",
    "MinimizeResult",
    "monitor",
    "read_metrics",
    "reset",
    "StepMemory",
    "transfer",
    "TransferReport",
    "with_metrics",
    # by their modules
    "assignment",
    "compat",
    "experimental",
    "linear_algebra",
    "microbatching",
    "perturbations",
    "projections",
    "second_order",
    "states",
    "transforms",
]
