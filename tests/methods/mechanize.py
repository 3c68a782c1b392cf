"""Mechanic (Cutkosky, Defazio & Mehta 2023)."""

from functools import partial

import jax.numpy as jnp
import numpy as np

import optax_lite as ol
from tests.methods import adam, sgd
from tests.methods.bases import leafwise
from tests.methods.row import Namespace, Quirks, Row, fast


def mechanize(g, s, w, *, base, weight_decay, eps, s_init, num_betas):
    """Mechanic (Cutkosky, Defazio & Mehta 2023, Algorithm 1) around the whole-tree reference
    `base`.
    """
    n = num_betas
    beta = np.array([1 - 0.1**i for i in range(1, n + 1)])
    t = 0 if s is None else s["count"]
    x_ref = list(w) if s is None else s["x0"]
    s_t = np.full(n, s_init) if s is None else s["s"]
    r = np.zeros(n) if s is None else s["r"]
    m = np.zeros(n) if s is None else s["m"]
    v = np.zeros(n) if s is None else s["v"]

    u, s_base = base(g, None if s is None else s["base"], w)
    # Delta_t is not stored but read off x_t = x_ref + (sum of s_t) * Delta_t (also in the authors'
    # code).
    delta = [(x - y) / (np.sum(s_t) + eps) for x, y in zip(w, x_ref, strict=True)]
    norm_g = np.sqrt(sum(np.sum(np.abs(x) ** 2) for x in g))
    norm_x = np.sqrt(sum(np.sum(np.abs(x) ** 2) for x in w))
    decay = weight_decay * np.sum(s_t) * norm_g / (norm_x + eps)
    h = sum(np.vdot(x, y + decay * z).real for x, y, z in zip(delta, g, w, strict=True))
    # Not in the paper but in optax, the authors' JAX version (by their README): the reward sees h
    # clipped to its past size and may stay negative, and m is never 0. With m = 0, x_2 would be
    # x_ref and the Delta read off it 0 for good.
    h_clipped = np.clip(h, -m, m)
    m = np.maximum(beta * m, np.abs(h) + eps)
    v = beta**2 * v + h**2
    r = beta * r - s_t * h_clipped
    W = s_init / n * m + np.maximum(r, 0)
    s_t = W / (np.sqrt(v) + eps)
    s_new = {"base": s_base, "count": t + 1, "r": r, "m": m, "v": v, "s": s_t, "x0": x_ref}
    # x_ref + (sum of s_t) * (Delta_t + u_t) - x_t, in the order that keeps the digits of a small
    # step.
    return [
        np.sum(s_t) * (z + q) + (y - x) for x, y, z, q in zip(w, x_ref, delta, u, strict=True)
    ], s_new


# h is a sum over the tree whose terms have both signs, which leaves fewer digits than float32 has:
# the largest error seen is half of this.
mechanize_float32 = 5e-5
# The base optimizers, as the factory and as the reference take them; their numbers are exact in
# float32.
BASES = {
    ol.sgd(0.5): leafwise(partial(sgd.sgd, learning_rate=0.5, momentum=None, nesterov=False)),
    ol.sgd(0.5, 0.75): leafwise(partial(sgd.sgd, learning_rate=0.5, momentum=0.75, nesterov=False)),
    ol.adam(0.25, 0.5, 0.75, 0.125): leafwise(
        partial(
            adam.adam, learning_rate=0.25, b1=0.5, b2=0.75, eps=0.125, eps_root=0.0, nesterov=False
        )
    ),
}
plain, momentum, adaptive = BASES


def with_base(arguments):
    return {"base": BASES[arguments["base_optimizer"]]} | {
        k: v for k, v in arguments.items() if k != "base_optimizer"
    }


ROWS: tuple[Row, ...] = (
    Row(
        ol.mechanize,
        mechanize,
        (
            {"base_optimizer": adaptive},
            {"base_optimizer": plain, "s_init": 0.1, "eps": 0.3},
            {"base_optimizer": plain, "s_init": 1.0, "weight_decay": 0.5, "num_betas": 1},
            {"base_optimizer": momentum, "s_init": 0.5, "eps": 3.0, "num_betas": 2},
            {"base_optimizer": momentum, "s_init": 10.0, "weight_decay": 0.0},
            {"base_optimizer": adaptive, "s_init": 2.0, "eps": 0.1, "num_betas": 3},
            {"base_optimizer": adaptive, "s_init": 1e-3, "weight_decay": fast},
            {"base_optimizer": plain, "s_init": 1.0, "eps": fast, "weight_decay": 3.0},
        ),
        (
            (
                {"base_optimizer": 0.1},
                "member base_optimizer must be a GradientTransformation, got 0.1",
            ),
            (
                {"base_optimizer": plain, "num_betas": 0},
                "num_betas must be an integer of at least 1, got 0",
            ),
            ({"base_optimizer": plain, "eps": -1}, "eps must be at least 0"),
        ),
        quirks=Quirks(whole_tree=True, float32=mechanize_float32, translate=with_base),
    ),
)


def _mechanic_moved_before(namespace: Namespace) -> bool:
    """A first update elsewhere than where it was started, which shows the first scale."""
    settings = {"weight_decay": 0.5, "eps": 0.25, "s_init": 0.125, "num_betas": 2}
    base = leafwise(partial(sgd.sgd, learning_rate=0.5, momentum=None, nesterov=False))
    start, w, g = np.array([1.0, 2.0]), np.array([1.5, -1.0]), np.array([3.0, 0.5])
    tx = namespace["mechanize"](ol.sgd(0.5), **settings)
    updates, state = tx.update(jnp.asarray(g), tx.init(jnp.asarray(start)), jnp.asarray(w))
    zeros = np.zeros(2)
    s = {
        "count": 0,
        "x0": [start],
        "s": np.full(2, 0.125),
        "r": zeros,
        "m": zeros,
        "v": zeros,
        "base": {},
    }
    (expected,), s = mechanize([g], s, [w], base=base, **settings)
    pairs = [(updates, expected), (state.x0, start), *((getattr(state, k), s[k]) for k in "rmvs")]
    return all(np.allclose(a, b, rtol=1e-12) for a, b in pairs)


PROBES = {"optax_lite.optimizers.mechanize": {"moved before": _mechanic_moved_before}}
