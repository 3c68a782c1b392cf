"""Interleaved timing: candidates take turns, so that a noisy neighbour hits all of them alike."""

import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp


def seconds(call: Callable[[], Any]) -> float:
    """Wall time of one call, the computation it starts included."""
    start = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - start


def interleaved(
    calls: dict[str, Callable[[], Any]], repeats: int, warm: int = 1
) -> dict[str, list[float]]:
    """The times of each call over `repeats` rounds, in alternating order, after `warm` untimed
    rounds.
    """
    names = list(calls)
    times: dict[str, list[float]] = {name: [] for name in names}
    for round_ in range(warm + repeats):
        for name in names if round_ % 2 else reversed(names):
            took = seconds(calls[name])
            if round_ >= warm:
                times[name].append(took)
    return times


def ratio(times: dict[str, list[float]], ours: str = "ours", theirs: str = "optax") -> float:
    """The median over rounds of our time as a share of theirs."""
    return statistics.median(a / b for a, b in zip(times[ours], times[theirs], strict=True))


def mlp(width: int = 32) -> dict[str, Any]:
    """A three-layer perceptron: 6 leaves."""
    sizes = [64, width, width, 10]
    return {
        f"layer{i}": {"w": jnp.ones((a, b)) * 0.01, "b": jnp.zeros(b)}
        for i, (a, b) in enumerate(pairwise(sizes))
    }


def transformer(
    layers: int = 12, width: int = 256, vocabulary: int = 8192, context: int = 512
) -> dict[str, Any]:
    """A transformer's tree: two embeddings, the last norm, and 12 leaves a layer; 12M parameters by
    default.
    """

    def block():
        return {
            "norm1": {"scale": jnp.ones(width), "bias": jnp.zeros(width)},
            "qkv": {"kernel": jnp.ones((width, 3 * width)) * 0.01, "bias": jnp.zeros(3 * width)},
            "out": {"kernel": jnp.ones((width, width)) * 0.01, "bias": jnp.zeros(width)},
            "norm2": {"scale": jnp.ones(width), "bias": jnp.zeros(width)},
            "up": {"kernel": jnp.ones((width, 4 * width)) * 0.01, "bias": jnp.zeros(4 * width)},
            "down": {"kernel": jnp.ones((4 * width, width)) * 0.01, "bias": jnp.zeros(width)},
        }

    return {
        "tokens": jnp.ones((vocabulary, width)) * 0.01,
        "positions": jnp.ones((context, width)) * 0.01,
        "blocks": [block() for _ in range(layers)],
        "norm": {"scale": jnp.ones(width), "bias": jnp.zeros(width)},
    }


def language_loss(params: dict[str, Any], tokens: jax.Array, heads: int = 8) -> jax.Array:
    """The mean cross-entropy of the next token under the transformer, output embeddings tied, for
    (batch, length).
    """

    def normed(x, p):
        x = x - jnp.mean(x, axis=-1, keepdims=True)
        return (
            x * jax.lax.rsqrt(jnp.mean(x**2, axis=-1, keepdims=True) + 1e-6) * p["scale"]
            + p["bias"]
        )

    def dense(x, p):
        return x @ p["kernel"] + p["bias"]

    inputs, labels = tokens[:, :-1], tokens[:, 1:]
    x = params["tokens"][inputs] + params["positions"][: inputs.shape[1]]
    for p in params["blocks"]:
        parts = jnp.split(dense(normed(x, p["norm1"]), p["qkv"]), 3, axis=-1)
        q, k, v = (part.reshape(*part.shape[:2], heads, -1) for part in parts)
        mixed = jax.nn.dot_product_attention(q, k, v, is_causal=True)
        x = x + dense(mixed.reshape(x.shape), p["out"])
        x = x + dense(jax.nn.gelu(dense(normed(x, p["norm2"]), p["up"])), p["down"])
    logits = normed(x, params["norm"]) @ params["tokens"].T
    return jnp.mean(
        jax.nn.logsumexp(logits, axis=-1)
        - jnp.take_along_axis(logits, labels[..., None], -1)[..., 0]
    )


def many_leaves(count: int = 1000) -> dict[str, Any]:
    """A tree of `count` leaves in four shapes."""
    shapes = [(16, 16), (16,), (8, 32), (32,)]
    return {f"leaf{i}": jnp.ones(shapes[i % 4]) * 0.01 for i in range(count)}
