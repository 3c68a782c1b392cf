"""Sophia (Liu et al. 2023)."""

import math

import jax
import jax.numpy as jnp
import numpy as np

import optax_lite as ol
from tests.methods.bases import no_transformation
from tests.methods.compare import changes_at, part_with
from tests.methods.row import (
    Namespace,
    Quirks,
    Row,
    beta_bad,
    eps_bad,
    fast,
    rate,
    rate_bad,
    slow,
    with_rate,
)


def hutchinson(z, Hz):
    """Hutchinson's estimate of the diagonal of H from z and the product H z (Liu et al. 2023,
    Algorithm 1).
    """
    # E[z z^T] = I makes it unbiased: the paper draws z normal, optax (as documented) from {-1, 1}.
    return z * Hz


def sophia(
    g,
    s,
    w,
    *,
    learning_rate,
    b1,
    b2,
    eps,
    weight_decay,
    gamma,
    clip_threshold,
    update_interval,
    hessian,
    decayed=True,
):
    """Sophia (Liu et al. 2023, Algorithm 3); hessian is the estimate of the Hessian diagonal at
    this step.
    """
    t = (0 if s is None else s["count"]) + 1
    m = np.zeros_like(g) if s is None else s["mu"]
    h = np.zeros(g.shape) if s is None else s["nu"]
    m = b1 * m + (1 - b1) * g
    # The bias correction is not in the paper but in the authors' code (SophiaH) and in optax.
    m_hat = m / (1 - b1**t)
    # h is the average BEFORE this step's estimate (authors' code, optax); Algorithm 3 uses the one
    # after it.
    u = m_hat / np.maximum(gamma * h, eps)
    if clip_threshold is not None:
        u = np.clip(u, -clip_threshold, clip_threshold)
    # "t mod k = 1" of the paper, which k = 1 also needs.
    if (t - 1) % update_interval == 0:
        h = b2 * h + (1 - b2) * hessian
    if decayed:
        u = u + weight_decay * w
    return -learning_rate * u, {"count": t, "mu": m, "nu": h}


@ol.transform
def given_diagonal():
    """An estimator of the Hessian's diagonal that is told it."""

    def update(updates, state, *, hessian):
        return ol.leafwise(lambda g: 0 * g + hessian, updates), state

    return lambda params: ol.EmptyState(), update


@jax.jit
def quartic(params):
    """Its Hessian is diagonal, so that every estimate is exact."""
    return sum(jnp.sum(x**4) for x in jax.tree.leaves(params))


def hutchinson_of_signs(g, s, w, *, random_seed, obj_fn):
    z = np.sign(g) + (g == 0)
    return hutchinson(z, 12 * w**2 * z), {}


ROWS: tuple[Row, ...] = (
    Row(
        ol.hutchinson_estimator_diag_hessian,
        hutchinson_of_signs,
        tuple({"random_seed": s} for s in (None, *range(7))),
        quirks=Quirks(
            complex_=False,
            refuses_complex="this method takes real ones",
            extra=lambda step: {"obj_fn": quartic},
            unseen=("key",),
            moves_without_gradient="the Hessian is there without one",
            no_laws=(
                "its function takes the tree of the tests alone: tests/test_wrapping_optimizers.py"
            ),
        ),
    ),
    Row(
        ol.sophia,
        sophia,
        tuple(
            {"learning_rate": 0.1, "hessian_diagonal_fn": given_diagonal(), **s}
            for s in (
                {},
                {"eps": 0.3, "gamma": 0.5, "weight_decay": 0.3, "update_interval": 2},
                {"b1": 0.0, "b2": 0.0, "gamma": 3.0, "update_interval": 1, "clip_threshold": 2.5},
                {"b1": 0.5, "b2": 0.5, "gamma": 1, "clip_threshold": math.inf, "eps": 0.1},
                {"learning_rate": rate, "eps": 5.0, "update_interval": 3},
                {"b1": fast, "b2": slow, "eps": 0.5, "gamma": 2.0},
                {"gamma": fast, "clip_threshold": rate, "weight_decay": 0.0},
                {"b2": 0.3, "gamma": 20.0, "update_interval": 4, "clip_threshold": 1e9},
            )
        ),
        (
            *rate_bad,
            *with_rate(beta_bad),
            *with_rate(eps_bad[:1]),
            (
                {"learning_rate": 0.1, "update_interval": 0},
                "update_interval must be an integer of at least 1, got 0",
            ),
            ({"learning_rate": 0.1, "gamma": -1}, "gamma must be at least 0, got -1.0"),
            (
                {"learning_rate": 0.1, "hessian_diagonal_fn": 0.1},
                f"member hessian_diagonal_fn {no_transformation}",
            ),
            ({"learning_rate": 0.1, "mu_dtype": int}, "mu_dtype must be a floating dtype"),
        ),
        quirks=Quirks(
            unlike=("weight_decay_mask", "hessian_diagonal_fn", "mu_dtype"),
            extra=lambda step: {"hessian": (2.0, -1.0, 0.5, 3.0, 1.0)[step]},
            complex_=False,
            refuses_complex="this method takes real ones",
            no_laws=(
                "its function takes the tree of the tests alone: tests/test_wrapping_optimizers.py"
            ),
        ),
    ),
)


@ol.transform
def _twos():
    """An estimator of the Hessian's diagonal that says 2."""
    return lambda params: ol.EmptyState(), lambda updates, state: (
        ol.leafwise(lambda g: 0 * g + 2, updates),
        state,
    )


def _sophia_by_default(namespace: Namespace) -> bool:
    """An estimate every 10 updates, mu alone in mu_dtype, complex leaves refused by name."""
    tx, g = (
        namespace["sophia"](0.1, hessian_diagonal_fn=_twos(), mu_dtype="bfloat16"),
        jnp.array([1.0, -2.0]),
    )
    state = part_with(tx.init(g), "nu")
    assert (state.mu.dtype, state.nu.dtype) == (jnp.bfloat16, g.dtype)
    return changes_at(
        tx, g, lambda state: part_with(state, "nu").nu, {0, 10, 20}
    ) and _refuses_complex(tx)


def _refuses_complex(tx, **extra):
    z = {"w": jnp.array([1 + 2j, -0.5j])}
    try:
        tx.update(z, tx.init(z), z, **extra)
    except ValueError as error:
        return str(error).startswith(
            "leaf 'w': the gradient is complex"
        ) and "this method takes real ones" in str(error)
    return False


def _draws_signs(namespace: Namespace) -> bool:
    """Seed 0 without one; complex leaves refused by name; none of its signs can be drawn from the
    key it keeps.
    """

    def half_square_of_sum(
        x,
    ):  # a Hessian of ones, so that the estimate is z times the sum of an odd number of signs
        return jnp.sum(x) ** 2 / 2

    tx, x = namespace["hutchinson_estimator_diag_hessian"](), jnp.ones(63)
    state = tx.init(x)
    estimate, new = tx.update(x, state, x, obj_fn=half_square_of_sum)
    z = jnp.sign(estimate)
    kept = jax.random.wrap_key_data(new.key)
    drawn = [
        jax.random.rademacher(key, z.shape, z.dtype) for key in (kept, *jax.random.split(kept))
    ]
    assert np.array_equal(state.key, jax.random.key_data(jax.random.key(0)))
    assert np.all(jnp.abs(estimate) == abs(jnp.sum(z))) and all(
        abs(z @ other) < 63 for other in drawn
    )
    return _refuses_complex(tx, obj_fn=lambda w: jnp.sum(jnp.abs(w["w"]) ** 2))


PROBES = {"optax_lite.optimizers.sophia": {"defaults": _sophia_by_default, "signs": _draws_signs}}
