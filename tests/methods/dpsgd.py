"""Differentially private SGD (Abadi et al. 2016)."""

import numpy as np

import optax_lite as ol
from tests.methods import sgd
from tests.methods.noise import bad_with, draws, key_bad, sorted_by_name
from tests.methods.row import Quirks, Row, fast, rate


def dpsgd_aggregate(grads, *, l2_norm_clip):
    """Mean of the clipped per-example (axis 0) gradients (Abadi et al. 2016, Algorithm 1), without
    the noise.
    """
    examples = len(grads[0])
    total = [np.zeros(x.shape[1:]) for x in grads]
    for i in range(examples):
        norm = np.sqrt(sum(np.sum(np.abs(x[i]) ** 2) for x in grads))
        total = [
            a + x[i] / max(1.0, norm / l2_norm_clip) for a, x in zip(total, grads, strict=True)
        ]
    return [a / examples for a in total]


def dpsgd_std(*, l2_norm_clip, noise_multiplier, examples):
    """Standard deviation of the noise on that mean (Abadi et al. 2016, Algorithm 1): sigma
    * C / L.
    """
    return noise_multiplier * l2_norm_clip / examples


def of_examples(trees):
    """Gradients of three examples: one is 0, one is large."""
    params, gradients = sorted_by_name(trees)
    return params, [
        {k: np.stack([0 * x, x, 30 * np.flip(x)]) for k, x in g.items()} for g in gradients
    ]


def aggregate(g, s, w, *, l2_norm_clip, noise_multiplier, key, seed):
    examples = len(g[0])
    kept, normal = draws(s, key if seed is None else seed, w)
    std = dpsgd_std(l2_norm_clip=l2_norm_clip, noise_multiplier=noise_multiplier, examples=examples)
    mean = dpsgd_aggregate(g, l2_norm_clip=l2_norm_clip)
    return [m + std * n for m, n in zip(mean, normal, strict=True)], {"rng_key": kept}


def dpsgd(g, s, w, *, learning_rate, l2_norm_clip, noise_multiplier, key, seed, momentum, nesterov):
    mean, s_new = aggregate(
        g, s, w, l2_norm_clip=l2_norm_clip, noise_multiplier=noise_multiplier, key=key, seed=seed
    )
    traces = [
        None if s is None or momentum is None else {"trace": t} for t in (s or {}).get("trace", w)
    ]
    settings = {"learning_rate": learning_rate, "momentum": momentum, "nesterov": nesterov}
    steps = [sgd.sgd(m, t, x, **settings) for m, t, x in zip(mean, traces, w, strict=True)]
    new_traces = {} if momentum is None else {"trace": [state["trace"] for _, state in steps]}
    return [u for u, _ in steps], s_new | new_traces


private = {"l2_norm_clip": 1.0, "noise_multiplier": 0.5}
private_settings = (
    private,
    {"l2_norm_clip": 0.3, "noise_multiplier": 0.0},
    {"l2_norm_clip": 1e3, "noise_multiplier": 0.0},
    {"l2_norm_clip": 1e6, "noise_multiplier": 1e-6},
    {"l2_norm_clip": 10.0, "noise_multiplier": 2.0},
    {"l2_norm_clip": rate, "noise_multiplier": 0.1},
    {"l2_norm_clip": 3.0, "noise_multiplier": fast},
)
private_bad = (
    ({**private, "l2_norm_clip": -1}, "l2_norm_clip must be at least 0, got -1.0"),
    ({**private, "noise_multiplier": -1}, "noise_multiplier must be at least 0"),
)
examples_only = "it takes gradients of examples: see test_noise_and_privacy"


def dpsgd_parts(
    lib,
    learning_rate,
    l2_norm_clip,
    noise_multiplier,
    key=None,
    momentum=None,
    nesterov=False,
    seed=None,
):
    return lib.chain(
        lib.differentially_private_aggregate(
            l2_norm_clip=l2_norm_clip, noise_multiplier=noise_multiplier, key=key, seed=seed
        ),
        lib.identity() if momentum is None else lib.trace(decay=momentum, nesterov=nesterov),
        lib.scale_by_learning_rate(learning_rate),
    )


ROWS: tuple[Row, ...] = (
    Row(
        ol.differentially_private_aggregate,
        aggregate,
        (*private_settings, {**private, "key": 7}, {**private, "seed": 7}),
        (*private_bad, *bad_with(key_bad, **private)),
        quirks=Quirks(whole_tree=True, data=of_examples, no_laws=examples_only),
    ),
    Row(
        ol.dpsgd,
        dpsgd,
        (
            *({"learning_rate": 0.1, "seed": 0, **s} for s in private_settings),
            {"learning_rate": rate, "seed": 1, "momentum": 0.9, **private},
            {"learning_rate": 0.1, "seed": 2, "momentum": 0.5, "nesterov": True, **private},
            {"learning_rate": 0.1, "key": 2, "momentum": fast, "nesterov": True, **private},
        ),
        (
            *bad_with(private_bad, learning_rate=0.1, seed=0, **private),
            ({"learning_rate": 0.1, **private, "seed": 2.5}, "seed must be an int seed"),
            ({"learning_rate": 0.1, **private}, "pass key=, an int seed or a random key"),
        ),
        stands_for=dpsgd_parts,
        quirks=Quirks(whole_tree=True, data=of_examples, no_laws=examples_only),
    ),
)
