"""The newer and rarer methods, in optax's place for them; all of them stand at the top level too."""

from optax_lite.matrices import (
    MuonDimensionNumbers as MuonDimensionNumbers,
)
from optax_lite.optimizers.acprop import (
    acprop as acprop,
    scale_by_acprop as scale_by_acprop,
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
    dog as dog,
    dowg as dowg,
)
from optax_lite.optimizers.dpsgd import (
    DifferentiallyPrivateAggregateState as DifferentiallyPrivateAggregateState,
    differentially_private_aggregate as differentially_private_aggregate,
    dpsgd as dpsgd,
)
from optax_lite.optimizers.galore import (
    GaLoreDimensionNumbers as GaLoreDimensionNumbers,
    GaLoreState as GaLoreState,
    galore as galore,
    scale_by_galore as scale_by_galore,
)
from optax_lite.optimizers.madgrad import (
    MadgradState as MadgradState,
    madgrad as madgrad,
    scale_by_madgrad as scale_by_madgrad,
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
from optax_lite.optimizers.prodigy import (
    ProdigyState as ProdigyState,
    prodigy as prodigy,
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
from optax_lite.optimizers.simplified_ademamix import (
    ScaleBySimplifiedAdEMAMixState as ScaleBySimplifiedAdEMAMixState,
    scale_by_simplified_ademamix as scale_by_simplified_ademamix,
    simplified_ademamix as simplified_ademamix,
)
from optax_lite.optimizers.sophia import (
    HutchinsonState as HutchinsonState,
    SophiaState as SophiaState,
    hutchinson_estimator_diag_hessian as hutchinson_estimator_diag_hessian,
    sophia as sophia,
)
from optax_lite.transforms.complex import (
    SplitRealAndImaginaryState as SplitRealAndImaginaryState,
    split_real_and_imaginary as split_real_and_imaginary,
)
from optax_lite.transforms.constrain import (
    normalize as normalize,
)
