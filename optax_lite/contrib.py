"""The newer and rarer methods, in optax's place for them; all of them stand at the top level too."""

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
from optax_lite.optimizers.dpsgd import (
    DifferentiallyPrivateAggregateState as DifferentiallyPrivateAggregateState,
    differentially_private_aggregate as differentially_private_aggregate,
    dpsgd as dpsgd,
)
from optax_lite.optimizers.simplified_ademamix import (
    ScaleBySimplifiedAdEMAMixState as ScaleBySimplifiedAdEMAMixState,
    scale_by_simplified_ademamix as scale_by_simplified_ademamix,
    simplified_ademamix as simplified_ademamix,
)
from optax_lite.transforms.constrain import (
    normalize as normalize,
)
