"""A language model of bytes, small enough for a CPU, on a text that is always at hand: Python's
standard library.
"""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.measure import language_loss, transformer
from examples.library_text import load_text, train, windows

LAYERS, WIDTH, HEADS, CONTEXT, BATCH = 2, 64, 4, 64, 16
PEAK = 1e-3  # of the learning rate
EVALUATIONS, HELD_OUT = 20, 128  # of a run; windows of text in each


def init_params(key, dtype):
    """Matrices are drawn, 1/√rows in size; norms and biases begin at 1 and 0."""
    leaves, treedef = jax.tree.flatten(transformer(LAYERS, WIDTH, 256, CONTEXT))
    keys = jax.random.split(key, len(leaves))
    pairs = zip(leaves, keys, strict=True)
    drawn = [
        p if p.ndim == 1 else jax.random.normal(k, p.shape) / p.shape[0] ** 0.5 for p, k in pairs
    ]
    return treedef.unflatten([p.astype(dtype) for p in drawn])


def loss_fn(params, tokens):
    """In float32, whatever the params are stored in: what differs between the runs is what is kept
    between steps.
    """
    return language_loss(jax.tree.map(lambda p: p.astype(jnp.float32), params), tokens, HEADS)


def schedule_of(steps):
    """Steps between two evaluations, and how many evaluations there are."""
    every = max(1, steps // EVALUATIONS)
    return every, steps // every


def curves(tx, dtype, seeds, steps):
    """Losses (seeds, evaluations). The seed draws the first params and the batches, the same ones
    for every `tx`.
    """
    (text, rest), (every, count) = load_text(), schedule_of(steps)
    last = len(text) - CONTEXT - 1
    held_out = windows(
        rest,
        jax.random.randint(jax.random.key(0), (HELD_OUT,), 0, len(rest) - CONTEXT - 1),
        CONTEXT + 1,
    )
    found = []
    for seed in range(seeds):
        weights, batches = jax.random.split(jax.random.key(seed))
        starts = jax.random.randint(batches, (count, every, BATCH), 0, last)
        found.append(
            np.asarray(train(loss_fn, tx, init_params(weights, dtype), text, held_out, starts))
        )
    return np.stack(found)


STYLES = [
    {"color": "black", "linewidth": 4, "alpha": 0.35},
    {"color": "#d62728"},
    {"color": "#1f77b4"},
    {"color": "#2ca02c", "linestyle": "--"},
    {"color": "#ff7f0e", "linestyle": ":"},
    {"color": "#9467bd"},
    {"color": "#8c564b", "linestyle": "--"},
    {"color": "#17becf", "linestyle": ":"},
]


def draw(found, steps, file):
    """Every method's losses, and their distance from those of the first, seed by seed; bands from
    least to largest.
    """
    from matplotlib.figure import Figure

    every, count = schedule_of(steps)
    at, first = every * np.arange(1, count + 1), next(iter(found.values()))
    figure = Figure(figsize=(12, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    middle = first - first.mean(axis=0)
    right.fill_between(
        at, middle.min(axis=0), middle.max(axis=0), color="black", alpha=0.12, linewidth=0
    )
    for (name, losses), style in zip(found.items(), STYLES, strict=True):
        for ax, values in ((left, losses), (right, losses - first)):
            ax.plot(at, values.mean(axis=0), label=name, **style)
            ax.fill_between(
                at,
                values.min(axis=0),
                values.max(axis=0),
                color=style["color"],
                alpha=0.12,
                linewidth=0,
            )
    left.set(
        xlabel="Steps of AdamW",
        ylabel="Loss on held-out text (nats per byte)",
        ylim=(None, np.median(first[:, 0])),
    )
    name = next(iter(found))
    right.set(xlabel="Steps of AdamW", ylabel=f"Loss above that of {name}, same seed")
    right.set_title(f"Grey: how far seeds of {name} lie from their mean", fontsize="medium")
    left.set_title(
        f"Means of {len(first)} seeds, bands from the least to the largest", fontsize="medium"
    )
    left.legend(frameon=False, fontsize="small")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)
