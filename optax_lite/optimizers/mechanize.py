"""Mechanic: learns how much of another optimizer's path to take."""

from typing import NamedTuple

import jax.numpy as jnp

from optax_lite.core.compose import check_members
from optax_lite.core.leafwise import copy_params, increment, leafwise, scalar_like, zero_count
from optax_lite.core.norms import dot, global_norm
from optax_lite.core.numerics import over, sqrt, weak_typed
from optax_lite.core.transform import Array, OptState, PyTree, transform
from optax_lite.core.types import ScalarOrSchedule, TransformationLike
from optax_lite.core.validate import check_count, check_nonnegative
from optax_lite.errors.composition import INSTEAD, INSTEAD_OF_MORE, SCALED
from optax_lite.errors.direction import check_makes_steps


class MechanicState(NamedTuple):
    base_optimizer_state: OptState  # state of the optimizer whose scale is learned
    count: Array  # updates so far, int32
    r: Array  # reward, one for each β like the next three
    m: Array  # decaying maximum of |h|
    v: Array  # decaying sum of h²
    s: Array  # the scale, in as many parts
    x0: PyTree  # the parameters at the start


_NOT_AROUND = {
    **SCALED,
    "resting": "so the scale would be tuned on steps that moved nothing" + INSTEAD_OF_MORE,
    "rounding": "so it would sum rounding errors" + INSTEAD,
}


@transform(static=("num_betas",), scheduled=MechanicState, not_around=_NOT_AROUND)
def mechanize(
    base_optimizer: TransformationLike,
    weight_decay: ScalarOrSchedule = 0.01,
    eps: ScalarOrSchedule = 1e-8,
    s_init: ScalarOrSchedule = 1e-6,
    num_betas: int = 6,
):
    """Learn how much of another optimizer's path to take. Cutkosky, Defazio & Mehta 2023, Algorithm
    1.

        x ← x₀ + (Σs)·(Δ + u)
        h = ⟨Δ, g + weight_decay·(Σs)·‖g‖·x / (‖x‖ + eps)⟩
        r = β·r - s·clip(h, m)      m = max(β·m, |h| + eps)      v = β²·v + h²
        s = (max(r, 0) + s_init·m / num_betas) / (√v + eps)      β = 1 - 10⁻ⁱ, i = 1 ... num_betas

    u is the update of `base_optimizer`, and Δ = (x - x₀) / (Σs + eps) the sum of the earlier ones.
    This follows the authors' JAX code, which clips h at its past size m and lets r be negative. The
    scale Σs of the whole path is learned as in betting, for several horizons β at once. Steps far
    below an ulp of the parameters are lost in x - x₀, so keep the parameters in at least float32.
    Extra arguments of `update` are passed to the base optimizer.

    Args:
        base_optimizer: Optimizer whose path is scaled. Give it the rate 1, or a schedule that peaks
            there; which constant does not matter.
        weight_decay: Decay of the tuner, which makes runs more alike; decay of the parameters
            belongs to the base optimizer.
        eps: Added to the denominators and to |h|; at least 0.
        s_init: Starting value of the scale, at least 0; choose it too small.
        num_betas: Number of horizons, an integer of at least 1.
    """
    check_members({"base_optimizer": base_optimizer})
    check_makes_steps(base_optimizer, "no scaling of its updates would lower the loss")
    check_nonnegative(s_init=s_init)
    check_count(num_betas=num_betas)

    def init(params):
        zeros, s = (jnp.full(num_betas, scalar_like(params, x)) for x in (0, s_init))
        return MechanicState(
            base_optimizer.init(params), zero_count(), zeros, zeros, zeros, s, copy_params(params)
        )

    def update(updates, state, params, **extra):
        base, r, m, v, s = state.base_optimizer_state, state.r, state.m, state.v, state.s
        u, base = base_optimizer.update(updates, base, params, **extra)
        total = weak_typed(jnp.sum(s))
        x = leafwise(lambda g, x: x, updates, read=(params,))  # those with a gradient
        delta = leafwise(lambda x, x0: over(x - x0, total + eps), x, read=(state.x0,))
        pull = over(
            weight_decay * total * weak_typed(global_norm(updates)),
            weak_typed(global_norm(x)) + eps,
        )
        h = weak_typed(dot(delta, updates)) + pull * weak_typed(dot(delta, x))

        beta = 1 - jnp.power(0.1, jnp.arange(1, num_betas + 1).astype(state.s.dtype))
        r = beta * r - s * jnp.clip(h, -m, m)
        m = jnp.maximum(beta * m, jnp.abs(h) + eps)
        v = beta**2 * v + h**2
        s = over(jnp.maximum(r, 0) + s_init / num_betas * m, sqrt(v) + eps)
        scale = weak_typed(jnp.sum(s))
        # (Σs)·(Δ + u) - (x - x₀), where x₀ + ... - x would lose the digits of small steps
        updates = leafwise(lambda u, d: scale * (d + u) - (total + eps) * d, u, read=(delta,))
        return updates, MechanicState(base, increment(state.count), r, m, v, s, state.x0)

    return init, update
