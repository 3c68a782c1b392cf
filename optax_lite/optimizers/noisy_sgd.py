"""Descent along a gradient with noise that fades."""

from optax_lite._transforms.decay import with_decay_and_rate
from optax_lite._transforms.noise import add_noise
from optax_lite.core.transform import transform
from optax_lite.core.types import ScalarOrSchedule, SeedOrKey


@transform(static=("key", "seed"))
def noisy_sgd(
    learning_rate: ScalarOrSchedule,
    eta: ScalarOrSchedule = 0.01,
    gamma: ScalarOrSchedule = 0.55,
    key: SeedOrKey | None = None,
    *,
    seed: SeedOrKey | None = None,
):
    """Update w along the gradient with noise that fades. Neelakantan et al. 2015.

        w ← w - lr·(g + N(0, σ²)), σ² = eta / (1 + t)^gamma after t updates

    Every run with the same key has the same noise.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        eta: Variance of the first step's noise, at least 0.
        gamma: Exponent with which the variance fades; 0.55 in the paper.
        key: Random seed, an integer or a JAX key; give members of a population a key each. None for
            0.
        seed: The older name of `key`; only one of the two may be given.
    """
    return with_decay_and_rate(learning_rate, add_noise(eta, gamma, key, seed=seed))
