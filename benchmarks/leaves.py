"""What thousands of leaves cost: `python -m benchmarks.leaves` fails where a part is quadratic in
them.

Each job is timed at a tenth of the leaves and at all of them, by turns; linear is a ratio of 10,
quadratic one of 100.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

import optax_lite as ol
from benchmarks.measure import interleaved


def layers(count: int, name: str = "layer") -> dict[str, Any]:
    """A tree of `count` leaves in four shapes, in layers of four."""
    shapes = {"w": (4, 4), "b": (4,), "scale": (8,), "v": (4, 5)}
    return {
        f"{name}_{i}": {k: jnp.zeros(shape) for k, shape in shapes.items()}
        for i in range(count // 4)
    }


def jobs(count: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What may be asked of a state of so many leaves, by name."""
    params, renamed = layers(count), layers(count, "block")
    tx, watched = ol.adamw(1e-3), ol.with_metrics(ol.adamw(ol.linear_schedule(1.0, 0.0, 100)))
    labels = {layer: {"w": "on", "b": "off", "scale": "off", "v": "on"} for layer in params}
    parted, state = (
        ol.partition({"on": ol.adamw(1e-3), "off": ol.sgd(0.1, momentum=0.9)}, labels),
        tx.init(params),
    )
    new_names = {f"layer_{i}": f"block_{i}" for i in range(count // 4)}
    coded = ol.quantize_state(tx, min_size=1)
    codes = jax.eval_shape(coded.init, params)
    yield "init", lambda: tx.init(params)
    yield "transfer, metrics and a schedule", lambda: ol.transfer(state, watched, params)[0]
    yield "transfer, groups", lambda: ol.transfer(state, parted, params)[0]
    yield "transfer, all renamed", lambda: ol.transfer(state, tx, renamed, renamed=new_names)[0]
    yield "transfer, all renamed unsaid", lambda: ol.transfer(state, tx, renamed)[0]
    yield "reset", lambda: ol.reset(state, tx, params, where="*/w")
    yield "explain", lambda: ol.explain(tx, params).warnings and None
    yield "explain, groups, printed", lambda: str(ol.explain(parted, params)) and None
    yield "trace AdamW", lambda: fresh(tx, params, state)
    yield "trace quantize_state(AdamW)", lambda: fresh(coded, params, codes)


def fresh(tx: Any, params: Any, state: Any) -> None:
    """Trace an update that was not traced before."""
    jax.clear_caches()
    jax.jit(lambda g, s, p: tx.update(g, s, p)).trace(params, state, params)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leaves", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    few, many = dict(jobs(given.leaves // 10)), dict(jobs(given.leaves))
    bar, missed = 20.0, []
    print(
        f"jax {jax.__version__}, {jax.devices()[0].platform}, {given.leaves} leaves, "
        f"{given.repeats} rounds\n"
    )
    print(f"{'':36}{'seconds':>10}{'of a tenth':>12}{'bar':>8}")
    for name in many:
        times = interleaved({"few": few[name], "many": many[name]}, given.repeats, warm=1)
        growth = statistics.median(b / a for a, b in zip(times["few"], times["many"], strict=True))
        missed += [name] if growth > bar else []
        mark = "MISSED" if growth > bar else ""
        print(
            f"{name:36}{statistics.median(times['many']):>10.3g}{growth:>12.3g}{bar:>8.3g}  {mark}",
            flush=True,
        )
    sys.exit(f"missed: {', '.join(missed)}" if missed else 0)


if __name__ == "__main__":
    main()
