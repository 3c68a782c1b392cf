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
    """Return 1 - t^-exponent after t = i + 1 updates, a decay that needs no bias correction."""
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
    """Divide a matrix by the root of second moments kept by row and by column. Shazeer & Stern
    2018, Algorithm 4.

        G ← G / √V̂,  V̂ = R·Cᵀ / mean(R)

    R and C are averages over time of the row and column means of |G|² + epsilon. A leaf is factored
    over its two largest axes, and the other axes stack matrices. A leaf that is not factored keeps
    V for every entry (Algorithm 5).

    Args:
        factored: Factor V of leaves that are large enough; False keeps all of V for every leaf.
        decay_rate: Exponent p of the averages' decay 1 - (i + 1)^-p after i updates; at least 0.
        step_offset: Subtracted from the number of updates: fine-tuning that continues a count gives
            it here, to start anew. Until the count reaches it nothing is averaged (optax: NaN).
        min_dim_size_to_factor: Size that both of the two largest axes must have for a leaf to be
            factored.
        epsilon: Added to |G|²; at least 0.
        decay_rate_fn: Function of the number of updates i and `decay_rate` that returns the
            averages' decay.
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
        """Return what a leaf adds to its three averages: of rows, of columns, of entries."""
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
    """Update W by Adafactor, with steps relative to the size of W. Shazeer & Stern 2018, Algorithm
    4.

        W ← W - lr·max(RMS(W), 1e-3)·U / max(1, RMS(U)/clipping_threshold),  U = G / √V̂

    RMS is taken over a leaf; for V̂ see `scale_by_factored_rms`.

    Args:
        learning_rate: Step size relative to RMS(W), in the paper min(0.01, 1/√t); absolute without
            `multiply_by_parameter_scale`. A number or a schedule; None for 1.
        min_dim_size_to_factor: Size that both of the two largest axes must have for a leaf to be
            factored.
        decay_rate: Exponent p of the averages' decay 1 - (i + 1)^-p after i updates; at least 0.
        decay_offset: Subtracted from the number of updates: `step_offset` of
            `scale_by_factored_rms`.
        multiply_by_parameter_scale: Multiply the step of a leaf by max(RMS(W), 1e-3).
        clipping_threshold: Largest RMS of U, at least 0; None does not clip.
        momentum: Decay of an average of the steps, in [0, 1); None for none. It costs the memory
            that factoring saves: n·m for an n by m matrix, where the averages take n + m.
        dtype_momentum: Dtype in which that average is stored; None for the parameters' own.
        weight_decay_rate: Share of W removed at every step, not multiplied by the learning rate;
            None for none.
        eps: Added to |G|²; at least 0.
        factored: Factor V of leaves that are large enough; False keeps all of V for every leaf.
        weight_decay_mask: Leaves that decay: path patterns, a tree of bools or a function that
            makes one of the params (see `masked`); None for all.
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
