"""Annealed gradient noise (Neelakantan et al. 2015)."""

import jax
import jax.numpy as jnp
import numpy as np

import optax_lite as ol
from tests.methods.row import Quirks, Row, fast, over, rate


def variance(*, eta, gamma, t):
    """Variance of the noise at step t = 0, 1, ... (Neelakantan et al. 2015, equation 1): eta / (1 +
    t)^gamma.
    """
    return eta / (1 + t) ** gamma


def sorted_by_name(trees):
    """In the order in which JAX sees the leaves, and so hands out keys."""
    params, gradients = trees
    return dict(sorted(params.items())), [dict(sorted(g.items())) for g in gradients]


def draws(s, seed, leaves):
    """The raw key to keep, and standard normal numbers for every leaf: a key for each, split from
    this step's.
    """
    data = (
        jax.random.key_data(jax.random.key(int(seed or 0)))
        if s is None
        else jnp.asarray(s["rng_key"])
    )
    kept, now = jax.random.split(jax.random.wrap_key_data(data))
    keys = jax.random.split(now, len(leaves))
    kinds = [jnp.result_type(complex if np.iscomplexobj(x) else float) for x in leaves]
    normal = [
        jax.random.normal(k, np.shape(x), d) for k, x, d in zip(keys, leaves, kinds, strict=True)
    ]
    return np.asarray(jax.random.key_data(kept)), [np.asarray(n) for n in normal]


def add_noise(g, s, w, *, eta, gamma, key, seed):
    t = 0 if s is None else s["count"]
    kept, normal = draws(s, key if seed is None else seed, g)
    std = np.sqrt(variance(eta=eta, gamma=gamma, t=t))
    return [x + std * n for x, n in zip(g, normal, strict=True)], {"count": t + 1, "rng_key": kept}


eta_bad = ({"eta": -1, "gamma": 0.5}, "eta must be at least 0, got -1.0")
key_bad = (
    ({"key": 1, "seed": 2}, "pass key= or seed=, not both; got 1 and 2"),
    ({"key": 0.5}, "key must be an int seed or a random key, got 0.5"),
    ({"seed": True}, "seed must be an int seed or a random key, got True"),
)


def bad_with(settings, **more):
    return tuple((more | s, message) for s, message in settings)


ROWS: tuple[Row, ...] = (
    Row(
        ol.add_noise,
        add_noise,
        (
            *over(eta=(0.01, 1.0), gamma=(0.0, 0.55, 2.0)),
            {"eta": 0.0, "gamma": 0.5},
            {"eta": 0.3, "gamma": 0.55, "key": 7},
            {"eta": 0.3, "gamma": 0.55, "seed": 7},
            {"eta": rate, "gamma": fast},
        ),
        (eta_bad, *bad_with(key_bad, eta=0.1, gamma=0.5)),
        quirks=Quirks(
            whole_tree=True,
            data=sorted_by_name,
            random=True,
            moves_without_gradient="there is noise",
        ),
    ),
)
