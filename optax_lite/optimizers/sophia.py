"""Sophia: momentum divided by an estimate of the Hessian's diagonal, clipped entry by entry."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optax_lite._transforms.decay import with_decay_and_rate
from optax_lite.core.compose import check_members
from optax_lite.core.frozen import freeze_nothing
from optax_lite.core.leafwise import cast_like, increment, leafwise, zero_count, zeros_like
from optax_lite.core.numerics import bias_correction_factor, moving_average
from optax_lite.core.random import chosen_key, key_data, key_tree, next_key
from optax_lite.core.transform import Array, OptState, PyTree, apply_updates, transform
from optax_lite.core.types import (
    DTypeLike,
    Limit,
    Mask,
    ScalarOrSchedule,
    SeedOrKey,
    TransformationLike,
)
from optax_lite.core.validate import check_count, check_nonnegative


class HutchinsonState(NamedTuple):
    key: Array  # raw random key, uint32


class SophiaState(NamedTuple):
    count: Array  # updates so far, int32
    mu: PyTree  # moving average of g
    nu: PyTree  # moving average of the Hessian's diagonal
    hessian_fn_state: OptState  # state of its estimator


@transform(static=("random_seed",))
def hutchinson_estimator_diag_hessian(random_seed: SeedOrKey | None = None):
    """Estimate the diagonal of the Hessian by random signs. Bekas et al. 2007.

        g ← z ⊙ (H·z), z of random signs, whose mean is the diagonal of H

    H is the Hessian at the params of `obj_fn=`, a function of the params alone that returns a
    scalar and closes over the batch. An update costs about two gradients. With several devices,
    average the estimate yourself. Real parameters only.

    Args:
        random_seed: Random seed, an integer or a JAX key; None for 0.
    """
    seed = chosen_key(random_seed, None)

    def signs(g, key):
        return jax.random.rademacher(jax.random.wrap_key_data(key), g.shape, g.dtype)

    def update(updates, state, params, *, obj_fn):
        kept, key = next_key(state.key)
        z = leafwise(
            signs, updates, read=(key_tree(key, updates),), same_shape=False, real_only=True
        )
        slope = jax.grad(lambda step: obj_fn(apply_updates(params, step)))
        _, hz = jax.jvp(slope, (jax.tree.map(jnp.zeros_like, z),), (z,))
        return leafwise(lambda hz, z: z * hz, hz, read=(z,)), HutchinsonState(kept)

    return lambda params: HutchinsonState(key_data(seed)), update


@transform(static=("update_interval", "mu_dtype"), freezes=freeze_nothing)
def _scale_by_sophia(
    b1, b2, eps, gamma, clip_threshold, update_interval, hessian_diagonal_fn, mu_dtype
):
    check_nonnegative(gamma=gamma, clip_threshold=clip_threshold)
    check_members({"hessian_diagonal_fn": hessian_diagonal_fn})
    check_count(update_interval=update_interval)

    def init(params):
        mu, nu = zeros_like(params, mu_dtype), zeros_like(params)
        return SophiaState(zero_count(), mu, nu, hessian_diagonal_fn.init(params))

    def update(updates, state, params, **extra):
        t = increment(state.count)
        c = bias_correction_factor(b1, t)

        def rule(g, m, h):
            m = moving_average(b1, m, g)
            # with eps=0: 0/0 is 0, and m/0 is clipped
            h = jnp.where(m == 0, 1, jnp.maximum(gamma * h, eps))
            return jnp.clip(m / c / h, -clip_threshold, clip_threshold), m

        def estimate():
            h, fn_state = hessian_diagonal_fn.update(
                updates, state.hessian_fn_state, params, **extra
            )
            _, nu = leafwise(lambda h, nu: (h, moving_average(b2, nu, h)), h, state.nu)
            return cast_like(nu, state.nu), fn_state

        due = state.count % update_interval == 0
        nu, fn_state = jax.lax.cond(due, estimate, lambda: (state.nu, state.hessian_fn_state))
        updates, mu = leafwise(rule, updates, state.mu, read=(state.nu,), real_only=True)
        return updates, SophiaState(t, mu, nu, fn_state)

    return init, update


@transform(static=("update_interval", "mu_dtype", "weight_decay_mask"), freezes=freeze_nothing)
def sophia(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.965,
    b2: ScalarOrSchedule = 0.99,
    eps: ScalarOrSchedule = 1e-8,
    weight_decay: ScalarOrSchedule = 1e-4,
    weight_decay_mask: Mask | None = None,
    gamma: ScalarOrSchedule = 0.01,
    clip_threshold: Limit = 1.0,
    update_interval: int = 10,
    hessian_diagonal_fn: TransformationLike = hutchinson_estimator_diag_hessian(),
    mu_dtype: DTypeLike | None = None,
):
    """Update w by momentum divided by the Hessian's diagonal, clipped entry by entry. Liu et al.
    2023, Algorithm 3.

        m = b1·m + (1 - b1)·g     m̂ = m / (1 - b1ᵗ)
        h = b2·h + (1 - b2)·ĥ     every `update_interval` updates; ĥ is like the Hessian's diagonal
        w ← w - lr·(clip(m̂ / max(gamma·h, eps), clip_threshold) + weight_decay·w)

    As in the authors' code, an estimate is used from the next update on, and m is bias-corrected.
    Where h is 0 or negative, as it is everywhere on the first update, the clipped sign remains. The
    share of entries that are not clipped should be 0.1 to 0.5; optax can print it, here compute it
    from the state. A call with functions as extra arguments is not compiled, so jit the training
    step around it.

    Args:
        learning_rate: Step size; a number, or a schedule of the number of updates so far.
        b1: Decay of the moving average of gradients, in [0, 1).
        b2: Decay of the moving average of the Hessian's diagonal, in [0, 1).
        eps: Least value of gamma·h; at least 0.
        weight_decay: Decoupled weight decay; the learning rate multiplies it.
        weight_decay_mask: Leaves that decay: path patterns, a tree of bools or a function that
            makes one of the params (see `masked`); None for all.
        gamma: Factor of h, at least 0; a larger one raises the share of entries that are not
            clipped.
        clip_threshold: Largest entry of an update before the learning rate, at least 0; `math.inf`
            does not clip.
        update_interval: Updates from one estimate to the next, an integer of at least 1.
        hessian_diagonal_fn: Transformation from gradients to ĥ. The default, Hutchinson's with
            random signs (the paper draws normal numbers), needs `obj_fn=` at every update.
        mu_dtype: Dtype in which the average of gradients is stored; None for the parameters' own.
    """
    settings = (b1, b2, eps, gamma, clip_threshold, update_interval, hessian_diagonal_fn, mu_dtype)
    return with_decay_and_rate(
        learning_rate, _scale_by_sophia(*settings), decay=(weight_decay, weight_decay_mask)
    )
