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
    """w ← w - lr·(g + N(0, σ²)), σ² = eta / (1 + t)^gamma after t updates. Neelakantan et al. 2015.

    `key` is an int seed or a JAX key, 0 by default: every run with the same key has the same noise.
    """
    return with_decay_and_rate(learning_rate, add_noise(eta, gamma, key, seed=seed))
