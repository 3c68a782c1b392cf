"""What is left in memory of functions that close over data: `python -m benchmarks.closures` fails
above 30 MB.

As a notebook's cell that is run again: each round makes 20 MB, a function that closes over them,
and trains on it. The growth of the resident memory is that from the second ten rounds to the last
ten, medians of each: in the first ten what is shared by all is compiled, and malloc keeps a few
blocks of 20 MB, more or fewer as threads happen to give them back.
"""

import argparse
import gc
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import optax_lite as ol
from optax_lite import sweep

ROWS = 5_000_000  # of float32: 20 MB
BAR = 30.0


def resident() -> float:
    """The resident memory of this process in MB; of Linux."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def problem(round_: int) -> tuple[Callable[..., Any], dict[str, Any]]:
    """A loss that closes over data of its own, and its params."""
    data = jnp.asarray(np.full(ROWS, round_, np.float32))

    def loss(params, *_):
        return jnp.mean((params["w"] - data[:3]) ** 2)

    return loss, {"w": jnp.zeros(3)}


def make_step(round_: int) -> None:
    loss, params = problem(round_)
    step, tx = ol.make_step(loss), ol.sgd(0.1)
    state = tx.init(params)
    for _ in range(2):
        params, state, _ = step(tx, params, state)
    jax.block_until_ready(params)


def fit(round_: int) -> None:
    loss, params = problem(round_)
    ol.fit(loss, params, np.ones(8, np.float32), ol.sgd(0.1), steps=2, progress=False)


def minimize(round_: int) -> None:
    loss, params = problem(round_)
    jax.block_until_ready(ol.minimize(loss, params, ol.sgd(0.1), max_steps=2))


def run(round_: int) -> None:
    loss, params = problem(round_)
    task = sweep.training(lambda key: params, loss, np.ones(8, np.float32), steps=2)
    sweep.run(
        sweep.grid(ol.sgd, learning_rate=[0.1, 0.2]), task, chunk=2, devices=1, progress=False
    )


WAYS = {"make_step": make_step, "fit": fit, "minimize": minimize, "sweep.run": run}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    given = parser.parse_args()
    if given.rounds < 30:
        parser.error("--rounds must be at least 30")
    missed = []
    print(
        f"jax {jax.__version__}, {jax.devices()[0].platform}, {given.rounds} rounds of "
        f"{4 * ROWS / 1e6:.0f} MB\n"
    )
    for name in given.ways:
        used = []
        for round_ in range(given.rounds):
            WAYS[name](round_)
            gc.collect()
            used.append(resident())
        grown = statistics.median(used[-10:]) - statistics.median(used[10:20])
        missed += [name] if grown > BAR else []
        print(f"{name:12}{grown:+8.1f} MB  {'MISSED' if grown > BAR else ''}", flush=True)
    sys.exit(f"missed: {', '.join(missed)}" if missed else 0)


if __name__ == "__main__":
    main()
