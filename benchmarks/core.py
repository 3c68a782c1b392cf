"""The core against optax: `python -m benchmarks.core` prints one row a bar and fails if one is
missed.

Every ratio is a median over interleaved rounds in this process; below 1 is faster than optax.
"""

import argparse
import math
import statistics
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax

import optax_lite
from benchmarks.measure import interleaved, many_leaves, mlp, ratio, transformer
from tests.compilations import count_lowerings

LIBRARIES = {"ours": optax_lite, "optax": optax}


def gradients(params):
    return jax.tree.map(lambda p: p * 0.1 + 0.01, params)


def compare(make, repeats, warm):
    """Our time as a share of optax's, set up in both orders: what is set up first runs slower by a
    tenth or more.

    Seen with optax against itself: 1.2 on 1000 small leaves. The geometric mean of the two orders
    is free of it.
    """
    ratios = []
    for names in (["ours", "optax"], ["optax", "ours"]):
        calls = {name: make(LIBRARIES[name]) for name in names}
        ratios.append(ratio(interleaved(calls, -(-repeats // 2), warm)))
    return math.sqrt(math.prod(ratios))


def step_of(library, tx):
    def step(params, state, grads):
        updates, state = tx.update(grads, state, params)
        return library.apply_updates(params, updates), state

    return step


def eager(params, repeats):
    """`update` and `apply_updates` of AdamW outside jit."""

    def make(library):
        tx = library.adamw(1e-3)
        state, grads = tx.init(params), gradients(params)
        return lambda: step_of(library, tx)(params, state, grads)

    return compare(make, repeats, warm=3)


def initial(params, repeats):
    """The state of AdamW before the first update, eagerly."""

    def make(library):
        tx = library.adamw(1e-3)
        return lambda: tx.init(params)

    return compare(make, repeats, warm=3)


def construction(repeats):
    """Milliseconds to build AdamW."""

    def built():
        for _ in range(100):
            optax_lite.adamw(1e-3)

    return 10 * statistics.median(interleaved({"ours": built}, repeats, warm=1)["ours"])


def compiled_share(params, repeats):
    """optax's `update` and `apply_updates`, each compiled, as a share of the same eagerly: what
    there is to be won.
    """
    tx = optax.adamw(1e-3)
    state, grads, step = tx.init(params), gradients(params), step_of(optax, tx)
    update, apply_updates = jax.jit(tx.update), jax.jit(optax.apply_updates)

    def compiled():
        updates, new = update(grads, state, params)
        return apply_updates(params, updates), new

    calls = {"ours": compiled, "optax": lambda: step(params, state, grads)}
    return ratio(interleaved(calls, repeats, warm=3))


def tracing(params, repeats, *, again, compiled):
    """Time to trace (and compile) a step: from empty caches, or of a new step over a structure seen
    before.
    """

    def make(library):
        state = jax.eval_shape(library.adamw(1e-3).init, params)

        def call():
            if not again:
                jax.clear_caches()
            lowered = jax.jit(step_of(library, library.adamw(1e-3)))
            if compiled:
                return lowered.lower(params, state, params).compile() and None
            return lowered.trace(params, state, params) and None

        return call

    return compare(make, repeats, warm=1)


def jitted(params, repeats, inner):
    """One compiled, donated step, `inner` times."""

    def make(library):
        tx = library.adamw(1e-3)
        step = jax.jit(step_of(library, tx), donate_argnums=(0, 1))
        held = {"params": jax.tree.map(jnp.array, params), "grads": gradients(params)}
        held["state"] = tx.init(held["params"])

        def call():
            for _ in range(inner):
                held["params"], held["state"] = step(held["params"], held["state"], held["grads"])
            return held["params"]

        return call

    return compare(make, repeats, warm=2)


def compiles_per_learning_rate():
    """Compilations of a step that takes the optimizer as argument, over seven ways to write a
    learning rate.
    """
    params = mlp()
    step = jax.jit(lambda tx, grads, state, params: tx.step(grads, state, params))
    state, grads = optax_lite.adamw(1e-3).init(params), gradients(params)
    rates = [
        0.1,
        1,
        np.float32(0.2),
        np.float64(0.3),
        np.int64(2),
        jnp.float32(0.4),
        jnp.asarray(0.5),
    ]
    with count_lowerings() as count:
        for rate in rates:
            step(optax_lite.adamw(rate), grads, state, params)
    return count()


def compiles_on_second_grad():
    """Compilations of the second un-jitted `jax.grad` through an update."""
    params = mlp()
    grads = gradients(params)

    def loss(rate):
        tx = optax_lite.adamw(rate)
        updates, _ = tx.update(grads, tx.init(params), params)
        return sum(jnp.sum(u) for u in jax.tree.leaves(updates))

    jax.grad(loss)(0.1)
    with count_lowerings() as count:
        jax.grad(loss)(0.2)
    return count()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--repeats", type=int, default=8, help="rounds of each comparison, 5 at least"
    )
    repeats = parser.parse_args().repeats
    small, large, many = mlp(), transformer(), many_leaves()
    count = sum(p.size for p in jax.tree.leaves(large))
    print(
        f"jax {jax.__version__}, optax {optax.__version__}, {jax.devices()[0].platform}, "
        f"{repeats} rounds"
    )
    print(
        f"transformer tree: {count / 1e6:.1f}M parameters, {len(jax.tree.leaves(large))} leaves\n"
    )
    rows = [
        ("init, MLP", 2.0, lambda: initial(small, 5 * repeats)),
        ("milliseconds to build AdamW", 0.1, lambda: construction(5 * repeats)),
        ("eager update + apply, transformer", 0.20, lambda: eager(large, 3 * repeats)),
        ("eager update + apply, MLP", 0.08, lambda: eager(small, 5 * repeats)),
        ("tracing, 1000 leaves", 0.35, lambda: tracing(many, repeats, again=False, compiled=False)),
        (
            "tracing again, 1000 leaves",
            0.12,
            lambda: tracing(many, repeats, again=True, compiled=False),
        ),
        ("trace + compile, 1000 leaves", 1.0, lambda: tracing(many, 6, again=False, compiled=True)),
        ("trace + compile, 148 leaves", 1.0, lambda: tracing(large, 6, again=False, compiled=True)),
        ("jitted step, 6 leaves", 1.0, lambda: jitted(small, 5 * repeats, 200)),
        ("jitted step, 148 leaves", 1.0, lambda: jitted(large, 5 * repeats, 2)),
        ("jitted step, 1000 leaves", 1.0, lambda: jitted(many, 5 * repeats, 20)),
        ("compiles, 7 learning rates", 1, compiles_per_learning_rate),
        ("compiles, second un-jitted grad", 0, compiles_on_second_grad),
    ]
    noise = 1.05  # a ratio of 1.0 is met within the noise of a shared machine
    missed = []
    share = compiled_share(large, 3 * repeats)
    print(
        f"optax on the transformer, update and apply compiled by hand: {share:.3g} of its eager "
        "time\n"
    )
    print(f"{'':36}{'measured':>10}{'bar':>8}")
    for name, bar, measure in rows:
        value = measure()
        met = value <= bar * (noise if bar == 1.0 and isinstance(bar, float) else 1)
        missed += [] if met else [name]
        print(f"{name:36}{value:>10.3g}{bar:>8.3g}  {'' if met else 'MISSED'}", flush=True)
    sys.exit(f"missed: {', '.join(missed)}" if missed else 0)


if __name__ == "__main__":
    main()
