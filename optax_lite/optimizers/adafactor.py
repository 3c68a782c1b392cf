"""Adafactor: second moments of a matrix from the moments of its rows and columns."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optax_lite._transforms.clip import clip_by_block_rms
from optax_lite._transforms.decay import add_decayed_weights
from optax_lite._transforms.momentum import ema
from optax_lite._transforms.scale import scale, scale_by_learning_rate
from optax_lite._transforms.trust_ratio import scale_by_param_block_rms
from optax_lite.core.compose import chain
from optax_lite.core.leafwise import increment, leafwise, zero_count, zeros_like
from optax_lite.core.numerics import moving_average, over, plain_sq, sqrt, weak_typed
from optax_lite.core.transform import Array, PyTree, transform
from optax_lite.core.types import DTypeLike, Limit, Mask, ScalarOrSchedule
from optax_lite.core.validate import check_nonnegative


class FactoredState(NamedTuple):
    count: Array  # updates so far, int32
    # average of |g|² + epsilon over the largest axis, of a factored leaf; of another [0]
    v_row: PyTree
    v_col: PyTree  # the same over the second largest axis
    v: PyTree  # average of |g|² + epsilon by entry, of a leaf that is not factored; of another [0]


def _decay_rate_pow(i, exponent):
    """1 - t^-exponent after t = i + 1 updates, the decay with which no bias correction is
    needed.
    """
    return 1 - (i + 1) ** -exponent


@transform(static=("min_dim_size_to_factor", "decay_rate_fn"))
def scale_by_factored_rms(
    factored: bool = True,
    decay_rate: ScalarOrSchedule = 0.8,
    step_offset: ScalarOrSchedule = 0,
    min_dim_size_to_factor: int = 128,
    epsilon: ScalarOrSchedule = 1e-30,
    decay_rate_fn: Callable[[Array, Any], Array] = _decay_rate_pow,
):
    """Replace G by G / √V̂, V̂ = R·Cᵀ / mean(R), averages over time of the row and column means of
    |G|² + epsilon.

    Shazeer & Stern 2018, Algorithm 4. A leaf is factored over its two largest axes if both have at
    least `min_dim_size_to_factor` entries, the others being a stack of matrices; else V is kept by
    entry (Algorithm 5). After i updates the averages decay by `decay_rate_fn(i, decay_rate)`, by
    default 1 - (i + 1)^-decay_rate. The first `step_offset` of these i do not count: fine-tuning
    that goes on with a count gives it here, to start anew; before it is reached nothing is averaged
    (optax: NaN).
    """
    check_nonnegative(decay_rate=decay_rate, epsilon=epsilon)

    def factored_axes(shape):
        axes = sorted(range(len(shape)), key=shape.__getitem__)[-2:]
        return (
            axes
            if factored and len(axes) == 2 and shape[axes[0]] >= max(min_dim_size_to_factor, 1)
            else None
        )

    def means(square):
        """What the three averages of a leaf take in: of rows, of columns, of entries."""
        axes, unused = factored_axes(square.shape), jnp.zeros(1, square.dtype)
        return (
            (*(jnp.mean(square, axis) for axis in reversed(axes)), unused)
            if axes
            else (unused, unused, square)
        )

    def init(params):
        def slot(i):
            return jax.tree.map(
                lambda p: jax.tree.map(lambda v: means(v)[i], zeros_like(p, real=True)), params
            )

        return FactoredState(zero_count(), slot(0), slot(1), slot(2))

    def update(updates, state):
        i = jnp.maximum(weak_typed(state.count) - step_offset, 0)
        b = weak_typed(decay_rate_fn(i, decay_rate))

        def rule(g, *averages):
            row, col, v = averages = [
                moving_average(b, a, m)
                for a, m in zip(averages, means(plain_sq(g) + epsilon), strict=True)
            ]
            axes = factored_axes(g.shape)
            if not axes:
                return over(g, sqrt(v)), *averages
            r, c = jnp.expand_dims(row, axes[1]), jnp.expand_dims(col, axes[0])
            mean = jnp.mean(r, axis=axes[0], keepdims=True)
            return over(over(g, sqrt(r)), sqrt(c)) * sqrt(
                mean
            ), *averages  # r·c may be below the smallest number

        updates, *averages = leafwise(
            rule, updates, state.v_row, state.v_col, state.v, same_shape=False, squares=True
        )
        return updates, FactoredState(increment(state.count), *averages)

    return init, update


@transform(static=("min_dim_size_to_factor", "dtype_momentum", "weight_decay_mask"))
def adafactor(
    learning_rate: ScalarOrSchedule | None = None,
    min_dim_size_to_factor: int = 128,
    decay_rate: ScalarOrSchedule = 0.8,
    decay_offset: ScalarOrSchedule = 0,
    multiply_by_parameter_scale: bool = True,
    clipping_threshold: Limit | None = 1.0,
    momentum: ScalarOrSchedule | None = None,
    dtype_momentum: DTypeLike = jnp.float32,
    weight_decay_rate: ScalarOrSchedule | None = None,
    eps: ScalarOrSchedule = 1e-30,
    factored: bool = True,
    weight_decay_mask: Mask | None = None,
):
    """W ← W - lr·max(RMS(W), 1e-3)·U / max(1, RMS(U)/clipping_threshold), U = G/√V̂. Shazeer &
    Stern 2018, Algorithm 4.

    U and its arguments are those of `scale_by_factored_rms`; RMS is that of a leaf. `learning_rate`
    is relative to the size of the parameters (in the paper min(0.01, 1/√t)), absolute without
    `multiply_by_parameter_scale`, 1 if None. `momentum` averages the steps, in `dtype_momentum`; it
    costs the memory that factoring saves, n·m for a matrix of n by m where the averages take n + m.
    `weight_decay_rate`·W is taken off as it is, not times the learning rate.
    """
    parts = (
        scale_by_factored_rms(factored, decay_rate, decay_offset, min_dim_size_to_factor, eps),
        None if clipping_threshold is None else clip_by_block_rms(clipping_threshold),
        None if learning_rate is None else scale_by_learning_rate(learning_rate, flip_sign=False),
        scale_by_param_block_rms() if multiply_by_parameter_scale else None,
        None if momentum is None else ema(momentum, debias=False, accumulator_dtype=dtype_momentum),
        None
        if weight_decay_rate is None
        else add_decayed_weights(weight_decay_rate, weight_decay_mask),
        scale(-1.0),
    )
    return chain(*(part for part in parts if part is not None))
