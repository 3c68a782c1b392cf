"""Descent along a gradient with noise that fades."""

from optax_lite.aliases import Number
from optax_lite.compose import chain
from optax_lite.core import transform
from optax_lite.transforms.noise import add_noise
from optax_lite.transforms.scale import scale_by_learning_rate


@transform(static=("key", "seed"))
def noisy_sgd(learning_rate: Number, eta: Number = 0.01, gamma: Number = 0.55, key=None, *, seed=None):
    """w ← w - lr·(g + N(0, σ²)), σ² = eta / (1 + t)^gamma after t updates. Neelakantan et al. 2015.

    `key` is an int seed or a JAX key, 0 by default: every run with the same key has the same noise.
    """
    return chain(add_noise(eta, gamma, key, seed=seed), scale_by_learning_rate(learning_rate))
