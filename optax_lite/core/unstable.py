"""Names that JAX may move or change without notice; no other module imports from these places."""

from typing import TYPE_CHECKING, Any

# Leaves the frames between a call and a rule out of tracebacks, as JAX leaves out its own, unless
# JAX_TRACEBACK_FILTERING=off. Replacement: none needed; without it tracebacks are longer.
from jax._src.traceback_util import register_exclusion

# Keeps XLA's CPU backend from inlining the call of one leaf (core/leaf_by_leaf.py). Without it the
# results are equal, but the temporaries of all leaves exist at once. Replacement: none; no member
# of JAX 0.12's jax.Inline forbids it.
from jax.experimental.xla_metadata import set_xla_metadata

if TYPE_CHECKING:
    # The parts of a traced program, to split one and rebuild the pieces (core/leaf_by_leaf.py).
    # jax.extend is meant for libraries but promises no stability. Replacement: one jax.jit per
    # leaf, where the caller knows the leaves.
    from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, Var, jaxpr_as_fun

__all__ = [
    "ClosedJaxpr",
    "Jaxpr",
    "Literal",
    "Var",
    "jaxpr_as_fun",
    "register_exclusion",
    "set_xla_metadata",
]


def __getattr__(name: str) -> Any:
    """Give a name of jax.extend, which is imported at the first use of one."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
    # Its package imports Pallas, which takes half as long as all of optax_lite.
    import jax.extend.core

    return getattr(jax.extend.core, name)
