"""Descent along a gradient with noise that fades."""

from optax_lite._transforms.decay import with_decay_and_rate
from optax_lite._transforms.noise import add_noise
from optax_lite.core.transform import Number, transform


@transform(static=("key", "seed"))
def noisy_sgd(
    learning_rate: Number, eta: Number = 0.01, gamma: Number = 0.55, key=None, *, seed=None
):
    """w ← w - lr·(g + N(0, σ²)), σ² = eta / (1 + t)^gamma after t updates. Neelakantan et al. 2015.

    `key` is an int seed or a JAX key, 0 by default: every run with the same key has the same noise.
    """
    return with_decay_and_rate(learning_rate, add_noise(eta, gamma, key, seed=seed))
