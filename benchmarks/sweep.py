"""Populations against the usual ways to sweep: `python -m benchmarks.sweep` prints a table for each
model.

Every way trains the same members on the same batches, from the first line to the last score,
compilation included. The usual way with optax is one jitted step for each setting, its loop over
steps inside (`lax.scan`); by hand, optax's `inject_hyperparams` under a vmap over all members at
once; with torch, a loop over settings and steps (where torch is installed; eager, as it is mostly
used). Ways take turns, and the median over rounds counts.
"""

import argparse
import importlib.util
import statistics
import sys
import time
from itertools import islice

import jax
import jax.numpy as jnp
import numpy as np
import optax

import optax_lite as ol
from benchmarks.measure import language_loss, transformer
from optax_lite import sweep
from optax_lite.train._batches import shuffled

ROWS, EVERY = 2048, 100


class Mlp:
    """64 inputs, two hidden layers of 32, 10 classes; batches of 64."""

    name, batch_size = "MLP, 3.5k parameters", 64

    def __init__(self):
        rng = np.random.default_rng(0)
        self.data = (
            rng.normal(size=(ROWS, 64)).astype(np.float32),
            rng.integers(0, 10, ROWS).astype(np.int32),
        )

    @staticmethod
    def init(key):
        keys = jax.random.split(key, 3)
        sizes = ((64, 32), (32, 32), (32, 10))
        return [
            {"w": jax.random.normal(k, s) / s[0] ** 0.5, "b": jnp.zeros(s[1])}
            for k, s in zip(keys, sizes, strict=True)
        ]

    @staticmethod
    def loss(params, x, y):
        for layer in params[:-1]:
            x = jnp.tanh(x @ layer["w"] + layer["b"])
        logits = x @ params[-1]["w"] + params[-1]["b"]
        return jnp.mean(ol.softmax_cross_entropy_with_integer_labels(logits, y))


class Transformer:
    """Two layers of width 32, 64 tokens, contexts of 32; batches of 8."""

    name, batch_size = "transformer, 29k parameters", 8

    def __init__(self):
        self.data = np.random.default_rng(0).integers(0, 64, (ROWS, 33)).astype(np.int32)

    @staticmethod
    def init(key):
        shapes = jax.eval_shape(lambda: transformer(2, 32, 64, 32))
        leaves, treedef = jax.tree.flatten(shapes)
        keys = jax.random.split(key, len(leaves))
        made = [jax.random.normal(k, x.shape) * 0.05 for k, x in zip(keys, leaves, strict=True)]
        return treedef.unflatten(made)

    @staticmethod
    def loss(params, tokens):
        return language_loss(params, tokens, heads=2)


MODELS = {"mlp": Mlp, "transformer": Transformer}


def rates(n):
    return np.geomspace(1e-4, 1e-2, n).tolist()


def ours(model, n, steps, chunk="auto"):
    train = sweep.training(
        model.init,
        model.loss,
        model.data,
        steps=steps,
        batch_size=model.batch_size,
        every=min(EVERY, steps),
    )
    population = sweep.grid(ol.adamw, learning_rate=rates(n))
    return sweep.run(population, train, chunk=chunk, progress=False)


def batches(model, steps):
    """Row numbers of every step: those that `training` takes."""
    return jnp.asarray(np.stack(list(islice(shuffled(ROWS, model.batch_size, 0), steps))))


def scanned(model, update, params, state, data, rows):
    """One run of `rows` steps, and its mean loss."""

    def step(carry, index):
        params, state = carry
        batch = jax.tree.map(lambda x: x[index], data)
        args = batch if isinstance(batch, tuple) else (batch,)
        value, grads = jax.value_and_grad(model.loss)(params, *args)
        updates, state = update(grads, state, params)
        return (optax.apply_updates(params, updates), state), value

    (params, state), losses = jax.lax.scan(step, (params, state), rows)
    return params, state, jnp.mean(losses)


def closures(model, n, steps):
    """One compiled program for each setting, the learning rate a constant in it."""
    data, rows, scores = jax.tree.map(jnp.asarray, model.data), batches(model, steps), []
    for rate in rates(n):
        tx = optax.adamw(rate)
        part = jax.jit(lambda p, s, rows, tx=tx: scanned(model, tx.update, p, s, data, rows))
        params = model.init(jax.random.key(0))
        state, score = tx.init(params), None
        for begin in range(0, steps, EVERY):
            params, state, score = part(params, state, rows[begin : begin + EVERY])
        scores.append(float(score))
    return scores


def by_hand(model, n, steps):
    """`inject_hyperparams` under a vmap over all members at once."""
    data, rows = jax.tree.map(jnp.asarray, model.data), batches(model, steps)
    tx = optax.inject_hyperparams(optax.adamw)(learning_rate=1e-3)

    def start(rate):
        params = model.init(jax.random.key(0))
        state = tx.init(params)
        state.hyperparams["learning_rate"] = rate
        return params, state

    params, state = jax.jit(jax.vmap(start))(jnp.asarray(rates(n), jnp.float32))

    def one(params, state, rows):
        return scanned(model, tx.update, params, state, data, rows)

    part, scores = jax.jit(jax.vmap(one, in_axes=(0, 0, None)), donate_argnums=(0, 1)), None
    for begin in range(0, steps, EVERY):
        params, state, scores = part(params, state, rows[begin : begin + EVERY])
    return np.asarray(scores)


def with_torch(model, n, steps):
    """A loop over settings, eager; the MLP only."""
    import torch

    x, y = (torch.from_numpy(np.asarray(part)) for part in model.data)
    rows, scores = np.asarray(batches(model, steps)), []
    for rate in rates(n):
        layers = [
            torch.nn.Linear(64, 32),
            torch.nn.Tanh(),
            torch.nn.Linear(32, 32),
            torch.nn.Tanh(),
            torch.nn.Linear(32, 10),
        ]
        net = torch.nn.Sequential(*layers)
        tx = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=1e-4)
        for index in rows:
            tx.zero_grad()
            loss = torch.nn.functional.cross_entropy(net(x[index]), y[index].long())
            loss.backward()
            tx.step()
        scores.append(float(loss.detach()))
    return scores


def seconds(call):
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def compare(model, n, steps, repeats, closures_up_to):
    """Median seconds of each way."""
    ways = {"ours": lambda: ours(model, n, steps), "by hand": lambda: by_hand(model, n, steps)}
    if n <= closures_up_to:
        ways["closures"] = lambda: closures(model, n, steps)
    if isinstance(model, Mlp) and n <= closures_up_to and importlib.util.find_spec("torch"):
        ways["torch"] = lambda: with_torch(model, n, steps)
    times = {name: [] for name in ways}
    for round_ in range(repeats):
        for name in ways if round_ % 2 else reversed(ways):
            if name in ("closures", "torch") and round_ >= 3:
                continue  # far off, and long
            jax.clear_caches()
            times[name].append(seconds(ways[name]))
    return {name: statistics.median(t) for name, t in times.items()}


def usual_table(arguments):
    missed = []
    for model in (MODELS[name]() for name in arguments.models):
        steps = arguments.steps if isinstance(model, Mlp) else arguments.steps // 2
        print(f"\n{model.name}, {steps} steps: seconds, compilation included (times ours)")
        print(f"{'members':>8}{'ours':>10}{'by hand':>18}{'closures':>18}{'torch':>18}")
        for n in arguments.members:
            found = compare(model, n, steps, arguments.repeats, arguments.closures_up_to)
            cells = [
                f"{found[k]:.3g} ({found[k] / found['ours']:.2f})" if k in found else ""
                for k in ("by hand", "closures", "torch")
            ]
            print(f"{n:>8}{found['ours']:>10.3g}" + "".join(f"{c:>18}" for c in cells), flush=True)
            if n == 64 and "closures" in found and found["closures"] < 5 * found["ours"]:
                missed.append(f"{model.name}: closures at 64")
            if found["by hand"] < 0.95 * found["ours"]:
                missed.append(f"{model.name}: by hand at {n}")
    return missed


def chunk_table(arguments):
    """Runs of a minute or more: the chunk chosen against fixed ones."""
    missed, model, n = [], Mlp(), 1024
    once = seconds(lambda: ours(model, n, 200, 32))
    twice = seconds(lambda: ours(model, n, 400, 32))
    steps = max(400, int(70 / max((twice - once) / 200, 1e-6) // 100 * 100))
    sizes = [*arguments.chunks, "auto"]
    times = {size: [] for size in sizes}
    for round_ in range(arguments.chunk_repeats):
        for size in sizes if round_ % 2 else reversed(sizes):
            times[size].append(seconds(lambda s=size: ours(model, n, steps, s)))
    found = {size: statistics.median(t) for size, t in times.items()}
    best = min(v for k, v in found.items() if k != "auto")
    print(f"\n{model.name}, {n} members, {steps} steps: seconds by chunk")
    for size, took in found.items():
        print(f"{size!s:>8}{took:>10.3g}{best / took:>8.2f} of the best fixed one", flush=True)
    if best / found["auto"] < 0.95:
        missed.append("chunk='auto'")
    return missed


def throughput_table(arguments):
    """Runs a minute against members, after compilation."""
    for model in (MODELS[name]() for name in arguments.models):
        print(f"\n{model.name}: runs of 1000 steps a minute, compilation left out")
        for n in arguments.throughput:
            result = ours(model, n, 1000, n)
            took = result.seconds - result.compile_seconds
            print(f"{n:>8}{60 * n / took:>12.4g}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--members", type=int, nargs="*", default=[16, 64, 256])
    parser.add_argument(
        "--closures-up-to", type=int, default=64, help="members of the two slow ways"
    )
    parser.add_argument("--chunks", type=int, nargs="*", default=[8, 32, 128, 512])
    parser.add_argument(
        "--chunk-repeats", type=int, default=1, help="rounds of the long runs; 0 leaves them out"
    )
    parser.add_argument("--throughput", type=int, nargs="*", default=[1, 16, 256])
    arguments = parser.parse_args()
    device = jax.devices()[0]
    print(
        f"jax {jax.__version__}, optax {optax.__version__}, {device.device_kind}, "
        f"{arguments.repeats} rounds"
    )
    missed = usual_table(arguments) if arguments.members else []
    missed += chunk_table(arguments) if arguments.chunk_repeats else []
    throughput_table(arguments)
    sys.exit(f"missed: {', '.join(missed)}" if missed else 0)


if __name__ == "__main__":
    main()
