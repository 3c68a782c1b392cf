"""DP-SGD: clipped gradients of single examples, summed with noise."""

from typing import NamedTuple

import jax

from optax_lite._transforms.clip import per_example_global_norm_clip
from optax_lite._transforms.decay import with_decay_and_rate
from optax_lite._transforms.momentum import trace_if
from optax_lite._transforms.noise import with_normal
from optax_lite.core.leafwise import check_like, leafwise
from optax_lite.core.random import chosen_key, key_data, next_key
from optax_lite.core.transform import Array, Number, transform
from optax_lite.core.validate import ArgumentError, check_nonnegative


class DifferentiallyPrivateAggregateState(NamedTuple):
    rng_key: Array  # of the next update, raw uint32


@transform(static=("key", "seed"), per_example=True)
def differentially_private_aggregate(
    l2_norm_clip: Number, noise_multiplier: Number, key=None, *, seed=None
):
    """Replace the gradients of n examples by (Σ min(1, C/‖gᵢ‖)·gᵢ + N(0, (noise_multiplier·C)²)) /
    n, C = l2_norm_clip.

    Abadi et al. 2016, Algorithm 1. Every leaf of the gradients has the n examples along an axis in
    front of its parameter's, as from jax.vmap(jax.grad(loss), (None, 0)); so it comes first in a
    chain. ‖gᵢ‖ is over all leaves. An optimizer of your own that has it inside is declared with
    @transform(per_example=True), unless it is a chain of arguments. `key` is an int seed or a JAX
    key, `seed` optax's older name for it.
    """
    check_nonnegative(l2_norm_clip=l2_norm_clip, noise_multiplier=noise_multiplier)
    start = chosen_key(key, seed)

    def update(updates, state, params=None):
        one = jax.tree.map(lambda g: jax.ShapeDtypeStruct(g.shape[1:], g.dtype), updates)
        if params is not None:
            check_like(one, params, "gradient of one example")
        total, _ = per_example_global_norm_clip(updates, l2_norm_clip)
        n = max([g.shape[0] for g in jax.tree.leaves(updates)], default=1)
        kept, key = next_key(state.rng_key)
        noisy = with_normal(total, key, noise_multiplier * l2_norm_clip)
        return leafwise(lambda g: g / n, noisy), DifferentiallyPrivateAggregateState(kept)

    return lambda params: DifferentiallyPrivateAggregateState(key_data(start)), update


@transform(static=("key", "seed"), per_example=True)
def dpsgd(
    learning_rate: Number,
    l2_norm_clip: Number,
    noise_multiplier: Number,
    key=None,
    momentum: Number | None = None,
    nesterov=False,
    *,
    seed=None,
):
    """Descent along `differentially_private_aggregate` of per-example gradients, with momentum.
    Abadi et al. 2016.

    `key` is an int seed or a JAX key, `seed` optax's older name for it; one of them must be given,
    for who knows it can take the noise off again. `noise_multiplier` is
    the noise's share of the clip: with the size of batch and data and the number of steps an
    accountant makes (ε, δ) of it. No example may reach the parameters another way, for instance
    through batch norm.
    """
    if key is None and seed is None:
        raise ArgumentError("pass key=, an int seed or a random key that you keep secret")
    return with_decay_and_rate(
        learning_rate,
        differentially_private_aggregate(l2_norm_clip, noise_multiplier, key, seed=seed),
        trace_if(momentum, nesterov),
    )
