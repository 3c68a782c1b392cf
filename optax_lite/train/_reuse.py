"""Remember facts between two calls of a step: whose arrays these are, and whether a line search has
their value.
"""

import weakref

import jax
import jax.numpy as jnp
from jax.core import Tracer

from optax_lite.linesearch.backtracking import searches


class StepCache:
    """The arguments and results of the last call, without keeping any of them alive.

    A line search keeps the value and the gradient at the point it found. They are those of the next
    call if it has the same arguments and goes on from the same params and state, and only then: a
    batch may be a new one.
    """

    def __init__(self):
        self.ids, self.tx, self.searching, self.refs = (0, 0), None, False, []
        # whether the numbers of the optimizer are; looked up where it is another one
        self.is_traced = False

    def returned(self, params, state):
        return self.ids == (id(params), id(state))

    def unchanged(self, tx, params, state, args):
        """Tell whether a search already has value and gradient for this call; None if no search
        keeps them.
        """
        if self.tx is None or self.tx() is not tx:
            self.tx, self.is_traced = (
                weakref.ref(tx),
                any(isinstance(x, Tracer) for x in jax.tree.leaves(tx)),
            )
            self.searching = (
                (found := searches(state)) != [] and len(found) == 1 and found[0].grad is not None
            )
        if not self.searching:
            return None
        leaves = jax.tree.leaves((params, searches(state)[0].value, args))
        return len(leaves) == len(self.refs) and all(
            old() is x for old, x in zip(self.refs, leaves, strict=True)
        )

    def remember(self, params, state, args, same):
        self.ids = id(params), id(state)
        if same is not None:
            self.refs = [
                _reference(x) for x in jax.tree.leaves((params, searches(state)[0].value, args))
            ]


def _reference(x):
    """Return a weak reference to a JAX array, and one to nothing otherwise: a NumPy array may
    change.
    """
    return weakref.ref(x) if isinstance(x, jax.Array) and not isinstance(x, Tracer) else _nothing


def _nothing():
    return _nothing  # no leaf is this function


def own_arrays(params, state):
    """Return both as the step returns them: strongly typed, and no array in two places, which could
    not be donated.
    """
    seen = set()

    def own(x):
        if isinstance(x, Tracer):
            return x
        if isinstance(x, (float, complex)) or getattr(x, "weak_type", False):
            x = jnp.array(x, jnp.asarray(x).dtype)
        x = jnp.copy(x) if isinstance(x, jax.Array) and id(x) in seen else x
        seen.add(id(x))
        return x

    return jax.tree.map(own, (params, state))
