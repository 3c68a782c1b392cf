"""The newer and rarer methods, in optax's place for them; all of them stand at the top level too."""

from optax_lite.optimizers.dpsgd import (
    DifferentiallyPrivateAggregateState as DifferentiallyPrivateAggregateState,
    differentially_private_aggregate as differentially_private_aggregate,
    dpsgd as dpsgd,
)
from optax_lite.transforms.constrain import normalize as normalize
