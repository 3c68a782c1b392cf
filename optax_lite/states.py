"""Every state that an optimizer keeps, with optax's class and field names where it has them."""

from optax_lite._transforms.cautious import CautiousState
from optax_lite._transforms.complex import SplitRealAndImaginaryState
from optax_lite._transforms.constrain import ZeroNansState
from optax_lite._transforms.decay import WeightDecaySchedule
from optax_lite._transforms.momentum import EmaState, TraceState
from optax_lite._transforms.noise import AddNoiseState
from optax_lite._transforms.plateau import ReduceLROnPlateauState
from optax_lite._transforms.scale import ScaleByScheduleState
from optax_lite.core.block_float8 import Quantized
from optax_lite.core.compose import MaskedState, PartitionState
from optax_lite.core.transform import EmptyState, ScheduledState
from optax_lite.core.trees import MaskedNode
from optax_lite.inspect.metrics import MetricsState
from optax_lite.inspect.monitor import MonitorState, SnapshotState
from optax_lite.linesearch.backtracking import (
    BacktrackingLinesearchInfo,
    ScaleByBacktrackingLinesearchState,
)
from optax_lite.linesearch.zoom import ScaleByZoomLinesearchState, ZoomLinesearchInfo
from optax_lite.optimizers.adabelief import ScaleByBeliefState
from optax_lite.optimizers.adadelta import ScaleByAdaDeltaState
from optax_lite.optimizers.adafactor import FactoredState
from optax_lite.optimizers.adagrad import ScaleByRssState
from optax_lite.optimizers.adam import ScaleByAdamState
from optax_lite.optimizers.adan import ScaleByAdanState
from optax_lite.optimizers.ademamix import ScaleByAdemamixState
from optax_lite.optimizers.amsgrad import ScaleByAmsgradState
from optax_lite.optimizers.cocob import COCOBState
from optax_lite.optimizers.dadapt_adamw import DAdaptAdamWState
from optax_lite.optimizers.dog import DoGState, ScaleByDistanceOverGradientsState
from optax_lite.optimizers.dowg import DoWGState
from optax_lite.optimizers.dpsgd import DifferentiallyPrivateAggregateState
from optax_lite.optimizers.galore import GaLoreState
from optax_lite.optimizers.lbfgs import ScaleByLBFGSState
from optax_lite.optimizers.lion import ScaleByLionState
from optax_lite.optimizers.madgrad import MadgradState
from optax_lite.optimizers.mars import ReduceVarianceState
from optax_lite.optimizers.mechanize import MechanicState
from optax_lite.optimizers.momo import MomoState
from optax_lite.optimizers.momo_adam import MomoAdamState
from optax_lite.optimizers.muon import MuonState
from optax_lite.optimizers.nadam_dozat import ScaleByNadamState
from optax_lite.optimizers.novograd import ScaleByNovogradState
from optax_lite.optimizers.optimistic import ScaleByOptimisticGradientState
from optax_lite.optimizers.prodigy import ProdigyState
from optax_lite.optimizers.rmsprop import (
    ScaleByRmsState,
    ScaleByRmsWithCountState,
    ScaleByRStdDevState,
    ScaleByRStdDevWithCountState,
)
from optax_lite.optimizers.rprop import ScaleByRpropState
from optax_lite.optimizers.sam import SAMState
from optax_lite.optimizers.schedule_free import ScheduleFreeState
from optax_lite.optimizers.shampoo import ScaleByShampooState
from optax_lite.optimizers.simplified_ademamix import ScaleBySimplifiedAdEMAMixState
from optax_lite.optimizers.sm3 import ScaleBySM3State
from optax_lite.optimizers.soap import ScaleBySoapState
from optax_lite.optimizers.sophia import HutchinsonState, SophiaState
from optax_lite.wrappers.accumulate import AccumulateState, ApplyEvery, MultiStepsState
from optax_lite.wrappers.average import AverageParamsState
from optax_lite.wrappers.inject import InjectStatefulHyperparamsState, WrappedScheduleState
from optax_lite.wrappers.kahan import KahanState
from optax_lite.wrappers.lookahead import LookaheadState, LookaheadWithSlowState
from optax_lite.wrappers.loss_scaling import LossScalingState
from optax_lite.wrappers.master_weights import MasterWeightsState
from optax_lite.wrappers.quantize import QuantizeState
from optax_lite.wrappers.skip import (
    ApplyIfFiniteState,
    ConditionallyMaskState,
    ConditionallyTransformState,
    SkipBadStepsState,
)
from optax_lite.wrappers.state_dtype import WithStateDtypeState
from optax_lite.wrappers.stochastic_rounding import StochasticRoundingState

ScaleState = EmptyState  # optax's other name for it

__all__ = [
    "AccumulateState",
    "AddNoiseState",
    "ApplyEvery",
    "ApplyIfFiniteState",
    "AverageParamsState",
    "BacktrackingLinesearchInfo",
    "CautiousState",
    "COCOBState",
    "ConditionallyMaskState",
    "ConditionallyTransformState",
    "DAdaptAdamWState",
    "DifferentiallyPrivateAggregateState",
    "DoGState",
    "DoWGState",
    "EmaState",
    "EmptyState",
    "FactoredState",
    "GaLoreState",
    "HutchinsonState",
    "InjectStatefulHyperparamsState",
    "KahanState",
    "LookaheadState",
    "LookaheadWithSlowState",
    "LossScalingState",
    "MadgradState",
    "MaskedNode",
    "MaskedState",
    "MasterWeightsState",
    "MechanicState",
    "MetricsState",
    "MomoAdamState",
    "MomoState",
    "MonitorState",
    "MultiStepsState",
    "MuonState",
    "PartitionState",
    "ProdigyState",
    "Quantized",
    "QuantizeState",
    "ReduceLROnPlateauState",
    "ReduceVarianceState",
    "SAMState",
    "ScaleByAdaDeltaState",
    "ScaleByAdamState",
    "ScaleByAdanState",
    "ScaleByAdemamixState",
    "ScaleByAmsgradState",
    "ScaleByBacktrackingLinesearchState",
    "ScaleByBeliefState",
    "ScaleByDistanceOverGradientsState",
    "ScaleByLBFGSState",
    "ScaleByLionState",
    "ScaleByNadamState",
    "ScaleByNovogradState",
    "ScaleByOptimisticGradientState",
    "ScaleByRmsState",
    "ScaleByRmsWithCountState",
    "ScaleByRpropState",
    "ScaleByRssState",
    "ScaleByRStdDevState",
    "ScaleByRStdDevWithCountState",
    "ScaleByScheduleState",
    "ScaleByShampooState",
    "ScaleBySimplifiedAdEMAMixState",
    "ScaleBySM3State",
    "ScaleBySoapState",
    "ScaleByZoomLinesearchState",
    "ScaleState",
    "ScheduledState",
    "ScheduleFreeState",
    "SkipBadStepsState",
    "SnapshotState",
    "SophiaState",
    "SplitRealAndImaginaryState",
    "StochasticRoundingState",
    "TraceState",
    "WeightDecaySchedule",
    "WithStateDtypeState",
    "WrappedScheduleState",
    "ZeroNansState",
    "ZoomLinesearchInfo",
]
