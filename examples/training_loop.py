"""Train in a plain JAX loop: clipping, AdamW on a schedule, weight decay for the weights only, and
a rate that is changed in the middle of the run.

It prints the loss, and shows that the change compiled nothing, because the jitted step takes the
optimizer as an argument. A step that closes over `tx` would continue with the old one. It runs in
seconds: python examples/training_loop.py
"""

import functools

import jax
import jax.numpy as jnp

from optax_lite import adamw, chain, clip_by_global_norm, warmup_cosine_decay_schedule

STEPS = 2000


def init_params(key, sizes=(1, 64, 64, 1)):
    keys = jax.random.split(key, len(sizes) - 1)
    layers = zip(keys, sizes[:-1], sizes[1:], strict=True)
    return [{"w": jax.random.normal(k, (a, b)) / a**0.5, "b": jnp.zeros(b)} for k, a, b in layers]


def loss_fn(params, x, y):
    *hidden, last = params
    for layer in hidden:
        x = jnp.tanh(x @ layer["w"] + layer["b"])
    return jnp.mean((x @ last["w"] + last["b"] - y) ** 2)


@jax.jit
def make_batch(seed):
    x = jax.random.uniform(jax.random.key(seed), (128, 1), minval=-3, maxval=3)
    return x, jnp.sin(2 * x)


@functools.partial(jax.jit, donate_argnames=("params", "state"))
def step(tx, params, state, x, y):
    loss, grads = jax.value_and_grad(loss_fn)(params, x, y)
    params, state = tx.step(grads, state, params)
    return params, state, loss


def main():
    schedule = warmup_cosine_decay_schedule(0.0, 1e-2, 100, STEPS)
    tx = chain(clip_by_global_norm(1.0), adamw(schedule, weight_decay=1e-3, mask="!b"))
    print(tx)
    params = init_params(jax.random.key(STEPS))
    state = tx.init(params)
    for i in range(STEPS):
        if i == STEPS // 2:
            # a bare name is enough where it is unique
            tx = tx.replace(peak_value=3e-3, max_norm=0.5)
            print(
                {
                    path: tx.hyperparams[path]
                    for path in ("0/max_norm", "1/learning_rate/peak_value")
                }
            )
        params, state, loss = step(tx, params, state, *make_batch(i))
        if i % 250 == 0 or i == STEPS - 1:
            print(f"step {i:5d}  loss {loss:.2e}  compilations {step._cache_size()}")


if __name__ == "__main__":
    main()
