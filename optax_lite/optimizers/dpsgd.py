"""DP-SGD: clipped gradients of single examples, summed with noise."""

from typing import NamedTuple

import jax

from optax_lite._transforms.clip import per_example_global_norm_clip
from optax_lite._transforms.decay import with_decay_and_rate
from optax_lite._transforms.momentum import trace_if
from optax_lite._transforms.noise import with_normal
from optax_lite.core.leafwise import check_like, leafwise
from optax_lite.core.random import chosen_key, key_data, next_key
from optax_lite.core.transform import Array, transform
from optax_lite.core.types import ScalarOrSchedule, SeedOrKey
from optax_lite.core.validate import ArgumentError, check_nonnegative


class DifferentiallyPrivateAggregateState(NamedTuple):
    rng_key: Array  # key of the next update, raw uint32


@transform(static=("key", "seed"), per_example=True)
def differentially_private_aggregate(
    l2_norm_clip: ScalarOrSchedule,
    noise_multiplier: ScalarOrSchedule,
    key: SeedOrKey | None = None,
    *,
    seed: SeedOrKey | None = None,
):
    """Clip the gradient of each example, average them and add noise. Abadi et al. 2016, Algorithm
    1.

        g ← (Σ min(1, C/‖gᵢ‖)·gᵢ + N(0, (noise_multiplier·C)²)) / n,  C = l2_norm_clip

    Every leaf of the gradients has the n examples along a leading axis, as jax.vmap(jax.grad(loss),
    (None, 0)) makes, so this comes first in a chain. ‖gᵢ‖ is over all leaves. Declare an optimizer
    of your own that contains it with @transform(per_example=True), unless it is a chain of its
    arguments.

    Args:
        l2_norm_clip: Largest norm of the gradient of one example, at least 0.
        noise_multiplier: Standard deviation of the noise as a multiple of the clip, at least 0.
        key: Random seed, an integer or a JAX key; give members of a population a key each.
        seed: The older name of `key`; only one of the two may be given.
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
    learning_rate: ScalarOrSchedule,
    l2_norm_clip: ScalarOrSchedule,
    noise_multiplier: ScalarOrSchedule,
    key: SeedOrKey | None = None,
    momentum: ScalarOrSchedule | None = None,
    nesterov: bool = False,
    *,
    seed: SeedOrKey | None = None,
):
    """Update w by clipped and noisy gradients of single examples, with momentum. Abadi et al. 2016.

    Pass per-example gradients, as to `differentially_private_aggregate`. A privacy accountant
    computes (ε, δ) from `noise_multiplier`, the sizes of the batch and of the data, and the number
    of steps. No example may reach the parameters in another way, for instance through batch norm.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        l2_norm_clip: Largest norm of the gradient of one example, at least 0.
        noise_multiplier: Standard deviation of the noise as a multiple of the clip, at least 0.
        key: Random seed, an integer or a JAX key; give members of a population a key each. It or
            `seed` must be given; whoever knows it can remove the noise.
        momentum: Decay of the momentum, in [-1, 1]. None for none.
        nesterov: Use Nesterov momentum, which looks one step ahead.
        seed: The older name of `key`; only one of the two may be given.
    """
    if key is None and seed is None:
        raise ArgumentError("pass key=, an int seed or a random key that you keep secret")
    return with_decay_and_rate(
        learning_rate,
        differentially_private_aggregate(l2_norm_clip, noise_multiplier, key, seed=seed),
        trace_if(momentum, nesterov),
    )
