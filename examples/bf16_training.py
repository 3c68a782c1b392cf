"""Train with 16-bit parameters: plain bfloat16 and three remedies, compared with float32.

A small network predicts the next byte of the source code of Python's standard library. Steps of
AdamW become smaller than half the distance between two neighbouring bfloat16 numbers, 0.2 to 0.4 %
of a parameter, and are then rounded away. Run it from the repository:

    pip install matplotlib
    python examples/bf16_training.py            # a minute on two cores; --quick for a look
"""

import argparse
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from library_text import load_text, train, windows

import optax_lite as ol

CONTEXT, WIDTH, HIDDEN, BATCH = 12, 16, 128, 128
STYLES = {
    "float32": {"color": "black", "linewidth": 4, "alpha": 0.35},
    "bfloat16, plain": {"color": "#d62728"},
    "bfloat16, stochastic_rounding": {"color": "#1f77b4"},
    "bfloat16, kahan": {"color": "#2ca02c", "linestyle": "--"},
    "bfloat16, master_weights": {"color": "#ff7f0e", "linestyle": ":"},
}


def init_params(key, dtype):
    keys = jax.random.split(key, 3)
    params = {
        "embedding": jax.random.normal(keys[0], (256, WIDTH)),
        "hidden": {
            "w": jax.random.normal(keys[1], (CONTEXT * WIDTH, HIDDEN)) / (CONTEXT * WIDTH) ** 0.5,
            "b": jnp.zeros(HIDDEN),
        },
        "out": {"w": jax.random.normal(keys[2], (HIDDEN, 256)) / HIDDEN**0.5, "b": jnp.zeros(256)},
    }
    return jax.tree.map(lambda p: p.astype(dtype), params)


def loss_fn(params, batch):
    """Compute in float32, which is as fast on a CPU; the runs differ only in how parameters are
    stored.
    """
    p = jax.tree.map(lambda p: p.astype(jnp.float32), params)
    x = p["embedding"][batch[:, :-1]].reshape(len(batch), -1)
    h = jax.nn.relu(x @ p["hidden"]["w"] + p["hidden"]["b"])
    logits = h @ p["out"]["w"] + p["out"]["b"]
    return jnp.mean(ol.softmax_cross_entropy_with_integer_labels(logits, batch[:, -1]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, help="steps of AdamW for each run (1500; quick: 300)")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the picture (out)")
    parser.add_argument("--quick", action="store_true", help="small defaults, for a look or a test")
    args = parser.parse_args()
    args.steps = args.steps or (300 if args.quick else 1500)
    text, rest = load_text()
    every = max(1, args.steps // 30)
    shape = (args.steps // every, every, BATCH)
    starts = jax.random.randint(jax.random.key(1), shape, 0, len(text) - CONTEXT - 1)
    held_out = windows(
        rest,
        jax.random.randint(jax.random.key(2), (4096,), 0, len(rest) - CONTEXT - 1),
        CONTEXT + 1,
    )

    warmup = min(100, args.steps // 3)
    adamw = ol.adamw(ol.warmup_cosine_decay_schedule(0.0, 1e-3, warmup, args.steps))
    runs = dict(
        zip(
            STYLES,
            (
                adamw,
                adamw,
                ol.stochastic_rounding(adamw),
                ol.kahan(adamw),
                ol.master_weights(adamw),
            ),
            strict=True,
        )
    )
    figure, axes = plt.subplots(figsize=(8, 4.8), layout="constrained")
    for name, tx in runs.items():
        start = time.perf_counter()
        params = init_params(jax.random.key(0), name.split(",")[0])
        losses = np.asarray(train(loss_fn, tx, params, text, held_out, starts))
        kept = ol.explain_memory(tx, params)
        per_parameter = (kept.parameters + sum(kept.state.values())) / ol.explain(
            tx, params
        ).totals["parameters"]
        seconds = time.perf_counter() - start
        print(
            f"{name:30} loss {losses[-1]:.3f}  {per_parameter:4.1f} bytes per parameter  "
            f"{seconds:4.1f} s"
        )
        axes.plot(every * np.arange(1, len(losses) + 1), losses, label=name, **STYLES[name])
    axes.set(xlabel="Steps of AdamW", ylabel="Loss on held-out text (nats per byte)")
    axes.set_title("Plain rounding to bfloat16 loses the small steps; the remedies keep them")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    args.out.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out / "bf16_training.png", dpi=120)
    print(f"Picture: {args.out / 'bf16_training.png'}")


if __name__ == "__main__":
    main()
