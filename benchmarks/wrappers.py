"""Wrappers against optax and against the bare optimizer: `python -m benchmarks.wrappers` prints one
row a bar.

Every ratio is a median over interleaved rounds in this process. Steps are jitted, params and state
donated, gradients given; the tree is that of a transformer with 12M parameters. A full step is
`make_step` of its loss on 2 × 128 tokens.
"""

import argparse
import math
import sys

import jax
import jax.numpy as jnp
import optax

import optax_lite as ol
from benchmarks.core import gradients
from benchmarks.measure import interleaved, language_loss, mlp, ratio, transformer
from tests.compilations import count_lowerings

EVERY = 8


def our_step(tx):
    """A donated step that takes the optimizer as an argument."""
    compiled = jax.jit(
        lambda tx, params, state, grads: tx.step(grads, state, params), donate_argnums=(1, 2)
    )
    return lambda params, state, grads: compiled(tx, params, state, grads)


def optax_step(tx):
    def step(params, state, grads):
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    return jax.jit(step, donate_argnums=(0, 1))


WRAPPED = {
    "ours": lambda: (our_step, ol.accumulate(ol.adamw(1e-3), EVERY)),
    "optax": lambda: (optax_step, optax.MultiSteps(optax.adamw(1e-3), EVERY)),
    "MultiSteps": lambda: (our_step, ol.MultiSteps(ol.adamw(1e-3), EVERY)),
    "bare": lambda: (our_step, ol.adamw(1e-3)),
    "skip": lambda: (our_step, ol.skip_bad_steps(ol.adamw(1e-3), outlier=6.0, max_consecutive=10)),
    "metrics": lambda: (our_step, ol.with_metrics(ol.adamw(1e-3))),
    "both": lambda: (
        our_step,
        ol.with_metrics(ol.skip_bad_steps(ol.adamw(1e-3), outlier=6.0, max_consecutive=10)),
    ),
    "finite": lambda: (our_step, ol.apply_if_finite(ol.adamw(1e-3), 10)),
    "optax finite": lambda: (optax_step, optax.apply_if_finite(optax.adamw(1e-3), 10)),
}


def micro_steps(name, params, count):
    """A call of `count` steps that go on from where the last call stopped."""
    make, tx = WRAPPED[name]()
    step, held = make(tx), {"params": jax.tree.map(lambda p: p.copy(), params)}
    held["state"], grads = tx.init(held["params"]), gradients(params)

    def call():
        for _ in range(count):
            held["params"], held["state"] = step(held["params"], held["state"], grads)
        return held["params"]

    return call


def share(ours, theirs, params, repeats, count=EVERY):
    """The time of one wrapper as a share of another's, set up in both orders, over `count` steps a
    round.
    """
    ratios = []
    for names in ([ours, theirs], [theirs, ours]):
        calls = {name: micro_steps(name, params, count) for name in names}
        ratios.append(ratio(interleaved(calls, -(-repeats // 2), warm=1), ours, theirs))
    return math.sqrt(math.prod(ratios))


def peak(name, params):
    """Bytes that a compiled step needs at once: arguments, results that do not reuse them, and
    temporaries.
    """
    make, tx = WRAPPED[name]()
    shapes = jax.eval_shape(lambda: params)
    state = jax.eval_shape(tx.init, shapes)
    if make is our_step:
        lowered = jax.jit(lambda tx, p, s, g: tx.step(g, s, p), donate_argnums=(1, 2)).lower(
            tx, shapes, state, shapes
        )
    else:
        lowered = make(tx).lower(shapes, state, shapes)
    memory = lowered.compile().memory_analysis()
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    return held + memory.temp_size_in_bytes


def full_steps(name, params):
    """A call of one step with forward and backward pass, that goes on from where the last call
    stopped.
    """
    tx = WRAPPED[name]()[1]
    step, held = ol.make_step(language_loss), {"params": jax.tree.map(lambda p: p.copy(), params)}
    held["state"], tokens = (
        tx.init(held["params"]),
        jax.random.randint(jax.random.key(0), (2, 129), 0, 8192),
    )

    def call():
        held["params"], held["state"], metrics = step(tx, held["params"], held["state"], tokens)
        return dict.__getitem__(metrics, "loss")  # without a look at whether skipping has to stop

    return call


def share_of_full(ours, theirs, params, repeats):
    """The time of a full step with one wrapper as a share of that with another."""
    ratios = []
    for names in ([ours, theirs], [theirs, ours]):
        calls = {name: full_steps(name, params) for name in names}
        ratios.append(ratio(interleaved(calls, repeats, warm=1), ours, theirs))
    return math.sqrt(math.prod(ratios))


def compiles_of_a_run():
    """Compilations of `make_step` over ten changes of rates, weight decay and a threshold, in
    groups too.
    """
    params = mlp()
    rules = {"b": {"weight_decay": 0.0}, "layer2": {"learning_rate": 1e-2}}
    base = ol.groups(ol.adamw(1e-3, weight_decay=0.1), rules)
    tx = ol.accumulate(ol.with_metrics(ol.skip_bad_steps(base, outlier=6.0)), 2)
    state, step = (
        tx.init(params),
        ol.make_step(lambda params: sum(jnp.sum(p**2) for p in jax.tree.leaves(params))),
    )
    with count_lowerings() as count:
        for i in range(1, 11):
            tx = tx.replace(
                {
                    "base/learning_rate": 1e-3 / i,
                    "base/weight_decay": 0.1 * i,
                    "layer2/learning_rate": 1e-2 / i,
                },
                outlier=5.0 + i,
            )
            params, state, _ = step(tx, params, state)
    return count()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=8, help="rounds of each comparison")
    repeats = parser.parse_args().repeats
    params = transformer()
    print(
        f"jax {jax.__version__}, optax {optax.__version__}, {jax.devices()[0].platform}, "
        f"{repeats} rounds\n"
    )
    rows = [
        (
            f"accumulate({EVERY}), a micro-step, of optax's MultiSteps",
            0.5,
            lambda: share("ours", "optax", params, repeats),
        ),
        ("the same, peak memory", 1.0, lambda: peak("ours", params) / peak("optax", params)),
        ("our MultiSteps, of optax's", None, lambda: share("MultiSteps", "optax", params, repeats)),
        (
            "skip_bad_steps, of the bare optimizer",
            None,
            lambda: share("skip", "bare", params, repeats),
        ),
        ("the same, peak memory", None, lambda: peak("skip", params) / peak("bare", params)),
        (
            "with_metrics, of the bare optimizer",
            None,
            lambda: share("metrics", "bare", params, repeats),
        ),
        ("both, of the bare optimizer", None, lambda: share("both", "bare", params, repeats)),
        (
            "with_metrics, of a full step",
            1.1,
            lambda: share_of_full("metrics", "bare", params, repeats),
        ),
        (
            "skip_bad_steps, of a full step",
            1.1,
            lambda: share_of_full("skip", "bare", params, repeats),
        ),
        ("both, of a full step", 1.1, lambda: share_of_full("both", "bare", params, repeats)),
        (
            "apply_if_finite, of optax's",
            None,
            lambda: share("finite", "optax finite", params, repeats),
        ),
        ("compiles, ten changes of four numbers", 1, compiles_of_a_run),
    ]
    missed = []
    print(f"{'':56}{'measured':>10}{'bar':>8}")
    for name, bar, measure in rows:
        value = measure()
        missed += [name] if bar is not None and value > bar else []
        print(
            (
                f"{name:56}{value:>10.3g}{'' if bar is None else f'{bar:>8.3g}'}  "
                f"{'MISSED' * (name in missed)}"
            ),
            flush=True,
        )
    sys.exit(f"missed: {', '.join(missed)}" if missed else 0)


if __name__ == "__main__":
    main()
