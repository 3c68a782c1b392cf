"""A normal distribution with its parameters at hand, and gradients scaled on their way back."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optax_lite.core.types import Array, PyTree


class MultiNormal(NamedTuple):
    """Hold a normal distribution of independent entries; `multi_normal` makes it."""

    mean: Array
    log_scale: Array

    @property
    def params(self) -> list[Array]:
        """Give mean and log_scale, for a gradient with respect to both."""
        return [self.mean, self.log_scale]

    def sample(self, shape: tuple[int, ...], key: Any) -> Array:
        """Draw an array of samples: of this shape, and behind it that of the mean."""
        shape = (*shape, *jnp.broadcast_shapes(self.mean.shape, self.log_scale.shape))
        mean, scale = (jnp.broadcast_to(x, shape) for x in (self.mean, jnp.exp(self.log_scale)))
        return mean + scale * jax.random.normal(key, shape, mean.dtype)

    def log_prob(self, x: Array) -> Array:
        """Return the log density of x, summed over the axes of the mean."""
        mean, log_scale = jnp.broadcast_arrays(self.mean, self.log_scale)
        if jnp.shape(x)[jnp.ndim(x) - mean.ndim :] != mean.shape:
            raise ValueError(
                f"log_prob: the shape of x, {jnp.shape(x)}, does not end in the shape of the "
                f"mean, {mean.shape}"
            )
        mean, log_scale = (jnp.broadcast_to(y, jnp.shape(x)) for y in (mean, log_scale))
        each = -(((x - mean) * jnp.exp(-log_scale)) ** 2 + jnp.log(2 * jnp.pi)) / 2 - log_scale
        return jnp.sum(each, axis=tuple(range(-len(self.mean.shape), 0)))


def multi_normal(loc: Array, log_scale: Array) -> MultiNormal:
    """Make a normal distribution of independent entries from its mean and log standard deviation.

    Args:
        loc: Mean, an array of any shape.
        log_scale: Logarithm of the standard deviation, of the same shape or a scalar.
    """
    return MultiNormal(*map(jnp.asarray, (loc, log_scale)))


@jax.custom_vjp
def _scaled(x, scale):
    return x


_scaled.defvjp(lambda x, scale: (x, scale), lambda scale, g: (g * scale.astype(g.dtype), None))


def scale_gradient(inputs: PyTree, scale: float) -> PyTree:
    """Return the inputs; in the backward pass multiply their gradient by `scale`.

    Args:
        inputs: A tree of floating arrays.
        scale: Factor of the gradient, any real number; 0 stops it, -1 turns it round.
    """
    return jax.tree.map(lambda x: _scaled(x, jnp.asarray(scale, jnp.result_type(float))), inputs)
