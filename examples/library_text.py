"""Load a text that every Python installation has, and train on it: for bf16_training.py and
benchmarks/language.py.
"""

import argparse
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np


def load_text():
    """Return source code of the standard library as bytes, with the last tenth to evaluate on."""
    files = sorted(Path(argparse.__file__).parent.glob("*.py"))
    text = np.frombuffer(b"".join(path.read_bytes() for path in files), np.uint8)
    return jnp.asarray(text[: len(text) * 9 // 10]), jnp.asarray(text[len(text) * 9 // 10 :])


def windows(text, starts, length):
    return text[starts[:, None] + jnp.arange(length)].astype(jnp.int32)


@partial(jax.jit, static_argnums=0)
def train(loss_fn, tx, params, text, held_out, starts):
    """Return losses on held-out windows during one run; the starts of the batches are (evaluations,
    steps between, batch).
    """

    def step(carry, start):
        params, state = carry
        grads = jax.grad(loss_fn)(params, windows(text, start, held_out.shape[1]))
        return tx.step(grads, state, params), None

    def stretch(carry, starts):
        carry, _ = jax.lax.scan(step, carry, starts)
        return carry, loss_fn(carry[0], held_out)

    _, losses = jax.lax.scan(stretch, (params, tx.init(params)), starts)
    return losses
