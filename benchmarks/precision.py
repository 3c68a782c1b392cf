"""What low precision saves and costs: `python -m benchmarks.precision` prints memory, losses and
times, and draws them.

Memory is that of a compiled, donated `tx.step` on a transformer's tree. Losses are those of a small
transformer on the standard library's sources, trained in the same way but for what is kept in fewer
bits. Times are medians over interleaved rounds on the tree of the first part, gradients given,
beside the bandwidth that a triad reaches.
"""

import argparse
import statistics
import sys
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import optax_lite as ol
from benchmarks import language
from benchmarks.core import gradients
from benchmarks.measure import interleaved, ratio, transformer

# The dtype of the params, and what is around AdamW.
METHODS = {
    "float32": ("float32", lambda tx: tx),
    "bf16 params": ("bfloat16", lambda tx: tx),
    "bf16 params, stochastic_rounding": ("bfloat16", lambda tx: ol.stochastic_rounding(tx)),
    "bf16 params, kahan": ("bfloat16", lambda tx: ol.kahan(tx)),
    "bf16 params, master_weights": ("bfloat16", lambda tx: ol.master_weights(tx)),
    "bf16 state": ("float32", lambda tx: ol.with_state_dtype(tx, jnp.bfloat16)),
    "8-bit state": ("float32", lambda tx: ol.quantize_state(tx)),
    "bf16 params, rounding, 8-bit state": (
        "bfloat16",
        lambda tx: ol.quantize_state(ol.stochastic_rounding(tx)),
    ),
}
STATE_BARS = {"float32": 8.0, "bf16 state": 4.0, "8-bit state": 2.1}
INNER = 4  # steps of a round, so that handing them over does not count


def line(name, *cells):
    print(f"{name:36}" + "".join(f"{cell:>11}" for cell in cells), flush=True)


def nbytes(tree):
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def stored(params, dtype):
    return jax.tree.map(lambda p: jnp.array(p, dtype), params)


class Step:
    """A compiled, donated step of one method, with the bytes that it takes, returns and needs in
    between.
    """

    def __init__(self, dtype, tx, tree):
        self.dtype, self.tx, self.params = (
            dtype,
            tx,
            jax.eval_shape(partial(stored, dtype=dtype), tree),
        )
        begin = time.perf_counter()
        run = jax.jit(
            lambda tx, params, state, grads: tx.step(grads, state, params), donate_argnums=(1, 2)
        )
        self.run = run.lower(
            tx, self.params, jax.eval_shape(tx.init, self.params), self.params
        ).compile()
        self.seconds, self.memory = time.perf_counter() - begin, self.run.memory_analysis()

    def calls(self, tree):
        """A call of a few steps that go on from where the last call stopped."""
        params = stored(tree, self.dtype)
        held, grads = {"params": params, "state": self.tx.init(params)}, gradients(params)

        def call():
            for _ in range(INNER):
                held["params"], held["state"] = self.run(
                    self.tx, held["params"], held["state"], grads
                )
            return held["params"]

        return call


def steps_of(tree):
    adamw = ol.adamw(1e-3)
    rows = {name: (dtype, wrap(adamw)) for name, (dtype, wrap) in METHODS.items()}
    rows |= {
        "loss_scaling": ("float32", ol.loss_scaling(adamw)),
        "adafactor": ("float32", ol.adafactor(1e-3)),
    }
    return {name: Step(dtype, tx, tree) for name, (dtype, tx) in rows.items()}


def memory_table(steps, count):
    """Bytes for each parameter: the state as the compiled step takes it, and as `explain` counts
    it.
    """
    print(f"\nBytes of a step for each of {count / 1e6:.1f}M parameters")
    line("", "state", "bar", "", "explain", "params", "temporary", "compile s")
    missed = []
    for name, step in steps.items():
        own = nbytes(step.params)
        state = (
            step.memory.argument_size_in_bytes - 2 * own
        ) / count  # besides the params and as many gradients
        counted = sum(ol.explain(step.tx, step.params).totals["state_bytes"].values()) / count
        bar, verdict = STATE_BARS.get(name, ""), ""
        if bar:
            verdict = "met" if round(state, 2) <= bar else "MISSED"
        missed += [f"bytes of {name}"] if verdict == "MISSED" else []
        numbers = (counted, own / count, step.memory.temp_size_in_bytes / count, step.seconds)
        line(name, f"{state:.2f}", bar, verdict, *(f"{x:.2f}" for x in numbers))
    return missed


def language_table(seeds, steps, file):
    """Final losses on held-out text, seed by seed beside float32, whose spread is from its best
    seed to its worst.

    A method is as good as float32 where the mean of its differences is at most that spread; bf16
    params without a remedy are to be worse by more.
    """
    adamw = ol.adamw(ol.warmup_cosine_decay_schedule(0.0, language.PEAK, steps // 10, steps))
    print(
        f"\nLoss on held-out text after {steps} steps, {seeds} seeds; the last columns are "
        "differences to float32"
    )
    line("", "mean", "least", "largest", "mean", "least", "largest", "bar", "", "seconds")
    found, missed = {}, []
    for name, (dtype, wrap) in METHODS.items():
        begin = time.perf_counter()
        found[name] = language.curves(wrap(adamw), dtype, seeds, steps)
        took, first = time.perf_counter() - begin, found["float32"][:, -1]
        last, spread = found[name][:, -1], first.max() - first.min()
        away, bar, verdict = last - first, "", ""
        if seeds > 1 and name != "float32":
            is_worse = away.mean() > spread if name == "bf16 params" else abs(away.mean()) > spread
            bar = f"{'>' if name == 'bf16 params' else '<='} {spread:.4f}"
            verdict = "met" if is_worse == (name == "bf16 params") else "MISSED"
        missed += [f"loss of {name}"] if verdict == "MISSED" else []
        losses = (f"{f(last):.4f}" for f in (np.mean, np.min, np.max))
        differences = (f"{f(away):+.4f}" for f in (np.mean, np.min, np.max))
        line(name, *losses, *differences, bar, verdict, f"{took:.0f}")
    language.draw(found, steps, file)
    print(f"Picture: {file}")
    return missed


def triad(size=2**26):
    """a ← a/2 + b in place, as an optimizer moves its arrays: two numbers are read and one is
    written.
    """
    run = jax.jit(lambda a, b: 0.5 * a + b, donate_argnums=0)
    held, b = {"a": jnp.zeros(size)}, jnp.ones(size)

    def call():
        for _ in range(INNER):
            held["a"] = run(held["a"], b)
        return held["a"]

    return call, 12 * size


def time_table(steps, tree, count, repeats):
    """Times of a step beside AdamW in float32. At least, every argument is read once and every
    result written once.
    """
    moved = {
        k: s.memory.argument_size_in_bytes + s.memory.output_size_in_bytes for k, s in steps.items()
    }
    calls = {name: step.calls(tree) for name, step in steps.items()}
    noise = "float32 once more: the noise"
    calls[noise], moved[noise] = steps["float32"].calls(tree), moved["float32"]
    calls["triad"], moved["triad"] = triad()
    times = interleaved(calls, repeats, warm=2)
    took = {name: statistics.median(t) / INNER for name, t in times.items()}
    speed = {name: moved[name] / took[name] / 1e9 for name in times}
    print(
        f"\nA step of {count / 1e6:.1f}M parameters, {repeats} rounds; a triad moves "
        f"{speed['triad']:.3g} GB/s"
    )
    line("", "ms", "of float32", "bytes", "GB/s", "of triad")
    for name in [*steps, noise]:
        shares = f"{ratio(times, name, 'float32'):.2f}", f"{moved[name] / count:.1f}"
        line(
            name,
            f"{1e3 * took[name]:.3g}",
            *shares,
            f"{speed[name]:.3g}",
            f"{speed[name] / speed['triad']:.2f}",
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parts = ("memory", "language", "time")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    parser.add_argument("--steps", type=int, default=800, help="of the language model (800)")
    parser.add_argument(
        "--seeds", type=int, default=3, help="of the language model (3); with one there are no bars"
    )
    parser.add_argument(
        "--repeats", type=int, default=10, help="rounds of the times, 5 at least (10)"
    )
    parser.add_argument(
        "--layers", type=int, default=12, help="of the tree for memory and times (12)"
    )
    parser.add_argument(
        "--width", type=int, default=256, help="of the tree for memory and times (256)"
    )
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the picture (out)")
    arguments = parser.parse_args()
    print(f"jax {jax.__version__}, {jax.devices()[0].device_kind}")
    tree, missed, steps = transformer(arguments.layers, arguments.width), [], {}
    count = sum(p.size for p in jax.tree.leaves(tree))
    if {"memory", "time"} & set(arguments.only):
        steps = steps_of(tree)
    if "memory" in arguments.only:
        missed += memory_table(steps, count)
    if "language" in arguments.only:
        missed += language_table(arguments.seeds, arguments.steps, arguments.out / "precision.png")
    if "time" in arguments.only:
        time_table(steps, tree, count, arguments.repeats)
    sys.exit(f"missed: {', '.join(missed)}" if missed else 0)


if __name__ == "__main__":
    main()
