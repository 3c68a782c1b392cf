"""Steps in proportion to the parameters they change, leaf by leaf."""

import jax.numpy as jnp

from optax_lite.core.leafwise import leafwise
from optax_lite.core.norms import norm, rms
from optax_lite.core.transform import EmptyState, transform
from optax_lite.core.types import ScalarOrSchedule
from optax_lite.core.validate import check_nonnegative


@transform
def scale_by_trust_ratio(
    min_norm: ScalarOrSchedule = 0.0,
    trust_coefficient: ScalarOrSchedule = 1.0,
    eps: ScalarOrSchedule = 0.0,
):
    """Scale the update of a leaf in proportion to the leaf. You et al. 2017.

        u ← trust_coefficient·‖w‖ / (‖u‖ + eps)·u, the norms of its leaf

    A step then changes every leaf by the same share, trust_coefficient times the learning rate. If
    one of the norms is 0 (a bias that starts at 0), u stays unchanged, without the coefficient.

    Args:
        min_norm: Lower bound of both norms, at least 0.
        trust_coefficient: Share of its norm by which a leaf changes.
        eps: Added to the denominator; at least 0.
    """
    check_nonnegative(min_norm=min_norm)

    def rule(u, w):
        w_norm, u_norm = jnp.maximum(norm(w), min_norm), jnp.maximum(norm(u), min_norm)
        ratio = trust_coefficient * w_norm / jnp.where(u_norm == 0, 1, u_norm + eps)
        return jnp.where(w_norm == 0, 1, ratio) * u

    def update(updates, state, params):
        return leafwise(rule, updates, read=(params,)), state

    return lambda params: EmptyState(), update


@transform
def scale_by_param_block_norm(min_scale: ScalarOrSchedule = 1e-3):
    """Multiply u by max(‖w‖, min_scale), the norm of its leaf.

    Args:
        min_scale: Lower bound of the factor, at least 0; it lets a leaf of zeros move.
    """
    check_nonnegative(min_scale=min_scale)

    def update(updates, state, params):
        return leafwise(
            lambda u, w: jnp.maximum(norm(w), min_scale) * u, updates, read=(params,)
        ), state

    return lambda params: EmptyState(), update


@transform
def scale_by_param_block_rms(min_scale: ScalarOrSchedule = 1e-3):
    """Multiply u by max(RMS(w), min_scale), the root mean square of its leaf. Shazeer & Stern 2018,
    section 8.

    Args:
        min_scale: Lower bound of the factor, at least 0; it lets a leaf of zeros move.
    """
    check_nonnegative(min_scale=min_scale)

    def update(updates, state, params):
        return leafwise(
            lambda u, w: jnp.maximum(rms(w), min_scale) * u, updates, read=(params,)
        ), state

    return lambda params: EmptyState(), update
