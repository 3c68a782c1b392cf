"""Numpy references: what is not random about noisy gradients."""

import numpy as np


def variance(*, eta, gamma, t):
    """Variance of the noise at step t = 0, 1, ... (Neelakantan et al. 2015, equation 1): eta / (1 + t)^gamma."""
    return eta / (1 + t) ** gamma


def noisy_sgd_mean(g, s, w, *, learning_rate):
    """Expected update of noisy SGD (Neelakantan et al. 2015, section 3): the noise has mean 0."""
    return -learning_rate * g, {"count": (0 if s is None else s["count"]) + 1}


def noisy_sgd_std(*, learning_rate, eta, gamma, t):
    """Standard deviation of the noisy SGD update at step t (Neelakantan et al. 2015, equation 1)."""
    return learning_rate * np.sqrt(variance(eta=eta, gamma=gamma, t=t))


def dpsgd_aggregate(grads, *, l2_norm_clip):
    """Mean of the clipped per-example (axis 0) gradients (Abadi et al. 2016, Algorithm 1), without the noise."""
    examples = len(grads[0])
    total = [np.zeros(x.shape[1:]) for x in grads]
    for i in range(examples):
        norm = np.sqrt(sum(np.sum(np.abs(x[i]) ** 2) for x in grads))
        total = [a + x[i] / max(1.0, norm / l2_norm_clip) for a, x in zip(total, grads, strict=True)]
    return [a / examples for a in total]


def dpsgd_std(*, l2_norm_clip, noise_multiplier, examples):
    """Standard deviation of the noise on that mean (Abadi et al. 2016, Algorithm 1): sigma * C / L."""
    return noise_multiplier * l2_norm_clip / examples
