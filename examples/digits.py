"""Load scikit-learn's digits and define a small network, for the examples of sweeps."""

import jax
import jax.numpy as jnp
import numpy as np

import optax_lite as ol

try:
    from sklearn.datasets import load_digits
except ModuleNotFoundError:
    raise SystemExit("scikit-learn is not installed; write pip install scikit-learn") from None

TRAINED_ON = 1400
_images, _labels = load_digits(return_X_y=True)
_order = np.random.default_rng(0).permutation(len(_labels))
X, Y = (_images[_order] / 16.0 - 0.3).astype(np.float32), _labels[_order].astype(np.int32)
TRAIN, TEST = (X[:TRAINED_ON], Y[:TRAINED_ON]), (X[TRAINED_ON:], Y[TRAINED_ON:])


def init(key, sizes=(64, 48, 48, 10)):
    keys = jax.random.split(key, len(sizes))
    layers = zip(keys, sizes[:-1], sizes[1:], strict=False)
    return [{"w": jax.random.normal(k, (a, b)) / a**0.5, "b": jnp.zeros(b)} for k, a, b in layers]


def network(params, x):
    *hidden, last = params
    for layer in hidden:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    return x @ last["w"] + last["b"]


def loss(params, x, y):
    return ol.losses.softmax_cross_entropy_with_integer_labels(network(params, x), y).mean()


def evaluate(params):
    x, y = TEST
    return {
        "error": 100 * jnp.mean(network(params, x).argmax(-1) != y),
        "test loss": loss(params, x, y),
    }
