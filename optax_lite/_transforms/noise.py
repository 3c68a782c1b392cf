"""Gaussian noise on the gradient."""

from typing import NamedTuple

import jax

from optax_lite.core.leafwise import increment, leafwise, zero_count
from optax_lite.core.numerics import sqrt, weak_typed
from optax_lite.core.random import chosen_key, key_data, key_tree, next_key
from optax_lite.core.transform import Array, Number, PyTree, transform
from optax_lite.core.types import ScalarOrSchedule, SeedOrKey
from optax_lite.core.validate import check_nonnegative


class AddNoiseState(NamedTuple):
    count: Array  # updates so far, int32
    rng_key: Array  # key of the next update, raw uint32


def with_normal(updates: PyTree, key: Array, scale: Number) -> PyTree:
    """Add independent scale·N(0, 1) to every entry; of complex ones E|N|² is 1."""

    def rule(g, k):
        return g + scale * jax.random.normal(jax.random.wrap_key_data(k), g.shape, g.dtype)

    return leafwise(rule, updates, read=(key_tree(key, updates),), same_shape=False)


@transform(static=("key", "seed"))
def add_noise(
    eta: ScalarOrSchedule,
    gamma: ScalarOrSchedule,
    key: SeedOrKey | None = None,
    *,
    seed: SeedOrKey | None = None,
):
    """Add noise that fades to every entry of the gradient. Neelakantan et al. 2015.

        g ← g + N(0, σ²), σ² = eta / (1 + t)^gamma after t updates

    Runs with the same key have the same noise, so give each member of a population its own:
    jax.vmap(lambda key: add_noise(0.1, 0.55, key))(jax.random.split(key, 8)).

    Args:
        eta: Variance of the first step's noise, at least 0.
        gamma: Exponent with which the variance fades; 0.55 in the paper.
        key: Random seed, an integer or a JAX key; give members of a population a key each. None for
            0.
        seed: The older name of `key`; only one of the two may be given.
    """
    check_nonnegative(eta=eta)
    start = chosen_key(key, seed)

    def update(updates, state):
        t = increment(state.count)
        kept, key = next_key(state.rng_key)
        return with_normal(updates, key, sqrt(eta / weak_typed(t) ** gamma)), AddNoiseState(t, kept)

    return lambda params: AddNoiseState(zero_count(), key_data(start)), update
