"""Numpy reference: stochastic gradient descent."""

import numpy as np


def sgd(g, s, w, *, learning_rate, momentum, nesterov):
    """SGD with heavy-ball (Polyak 1964) or Nesterov momentum (Sutskever et al. 2013, rewritten at the look-ahead)."""
    if momentum is None:
        return -learning_rate * g, {}
    t = np.zeros_like(g) if s is None else s["trace"]
    t = g + momentum * t
    direction = g + momentum * t if nesterov else t
    # The learning rate multiplies the whole accumulator, so a change of it also acts on past gradients.
    return -learning_rate * direction, {"trace": t}
