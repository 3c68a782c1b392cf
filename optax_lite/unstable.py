"""Names of JAX that it may move or change without notice; no other module of the package imports from these places."""

# Keeps XLA's CPU backend from inlining the call of one leaf (precision/in_turn.py). Without it the results are equal,
# but the temporaries of all leaves exist at once. Replacement: none; no member of JAX 0.12's jax.Inline forbids it.
from jax.experimental.xla_metadata import set_xla_metadata

# The parts of a traced program, to split one and rebuild the pieces (precision/in_turn.py). jax.extend is meant for
# libraries but promises no stability. Replacement: one jax.jit per leaf, where the caller knows the leaves.
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, Var, jaxpr_as_fun

__all__ = ["ClosedJaxpr", "Jaxpr", "Literal", "Var", "jaxpr_as_fun", "set_xla_metadata"]
