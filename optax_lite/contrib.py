"""Newer and rarer methods, by their names in `optax.contrib`; all are at the top level too."""

from optax_lite._transforms.complex import SplitRealAndImaginaryState, split_real_and_imaginary
from optax_lite._transforms.constrain import normalize
from optax_lite._transforms.plateau import ReduceLROnPlateauState, reduce_on_plateau
from optax_lite.core.matrices import MuonDimensionNumbers
from optax_lite.core.transform import EmptyState
from optax_lite.optimizers.acprop import acprop, scale_by_acprop
from optax_lite.optimizers.ademamix import ScaleByAdemamixState, ademamix, scale_by_ademamix
from optax_lite.optimizers.adopt import adopt, scale_by_adopt
from optax_lite.optimizers.cocob import COCOBState, cocob, scale_by_cocob
from optax_lite.optimizers.dadapt_adamw import DAdaptAdamWState, dadapt_adamw
from optax_lite.optimizers.dog import DoGState, dog
from optax_lite.optimizers.dowg import DoWGState, dowg
from optax_lite.optimizers.dpsgd import (
    DifferentiallyPrivateAggregateState,
    differentially_private_aggregate,
    dpsgd,
)
from optax_lite.optimizers.galore import (
    GaLoreDimensionNumbers,
    GaLoreState,
    galore,
    scale_by_galore,
)
from optax_lite.optimizers.madgrad import MadgradState, madgrad, scale_by_madgrad
from optax_lite.optimizers.mechanize import MechanicState, mechanize
from optax_lite.optimizers.momo import MomoState, momo
from optax_lite.optimizers.momo_adam import MomoAdamState, momo_adam
from optax_lite.optimizers.muon import MuonState, muon, scale_by_muon
from optax_lite.optimizers.prodigy import ProdigyState, prodigy
from optax_lite.optimizers.sam import SAMState, sam
from optax_lite.optimizers.schedule_free import (
    ScheduleFreeState,
    schedule_free,
    schedule_free_adamw,
    schedule_free_eval_params,
    schedule_free_sgd,
)
from optax_lite.optimizers.simplified_ademamix import (
    ScaleBySimplifiedAdEMAMixState,
    scale_by_simplified_ademamix,
    simplified_ademamix,
)
from optax_lite.optimizers.sophia import (
    HutchinsonState,
    SophiaState,
    hutchinson_estimator_diag_hessian,
    sophia,
)

NormalizeState = EmptyState

__all__ = [
    # states
    "COCOBState",
    "DAdaptAdamWState",
    "DifferentiallyPrivateAggregateState",
    "DoGState",
    "DoWGState",
    "GaLoreDimensionNumbers",
    "GaLoreState",
    "HutchinsonState",
    "MadgradState",
    "MechanicState",
    "MomoAdamState",
    "MomoState",
    "MuonDimensionNumbers",
    "MuonState",
    "ProdigyState",
    "ReduceLROnPlateauState",
    "SAMState",
    "ScaleByAdemamixState",
    "ScaleBySimplifiedAdEMAMixState",
    "ScheduleFreeState",
    "SophiaState",
    "SplitRealAndImaginaryState",
    "acprop",
    "ademamix",
    "adopt",
    "cocob",
    "dadapt_adamw",
    "differentially_private_aggregate",
    "dog",
    "dowg",
    "dpsgd",
    "galore",
    "hutchinson_estimator_diag_hessian",
    "madgrad",
    "mechanize",
    "momo",
    "momo_adam",
    "muon",
    "normalize",
    "NormalizeState",
    "prodigy",
    "reduce_on_plateau",
    "sam",
    "scale_by_acprop",
    "scale_by_ademamix",
    "scale_by_adopt",
    "scale_by_cocob",
    "scale_by_galore",
    "scale_by_madgrad",
    "scale_by_muon",
    "scale_by_simplified_ademamix",
    "schedule_free",
    "schedule_free_adamw",
    "schedule_free_eval_params",
    "schedule_free_sgd",
    "simplified_ademamix",
    "sophia",
    "split_real_and_imaginary",
]
