"""The newer and rarer methods, in optax's place for them; all of them stand at the top level too."""

from optax_lite.matrices import MuonDimensionNumbers as MuonDimensionNumbers
from optax_lite.optimizers.muon import MuonState as MuonState, muon as muon, scale_by_muon as scale_by_muon
