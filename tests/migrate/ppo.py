"""Train a policy with clipped surrogates on a point that should walk to the origin."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from optax import (
    GradientTransformation as Optimizer,
    OptState,
    Params,
    adam as make_adam,
    apply_updates,
    chain,
    clip_by_global_norm,
)
from optax.schedules import linear_schedule

CONFIG = {"lr": 0.02, "updates": 20, "epochs": 2, "agents": 32, "steps": 8, "clip": 0.2}


class Runner(NamedTuple):
    params: Params
    opt_state: OptState
    key: jax.Array


class Batch(NamedTuple):
    position: jax.Array
    action: jax.Array
    log_prob: jax.Array
    advantage: jax.Array


def optimizer(config) -> Optimizer:
    steps = config["updates"] * config["epochs"]
    schedule = linear_schedule(init_value=config["lr"], end_value=0.0, transition_steps=steps)
    adam = partial(make_adam, eps=1e-5)
    return chain(clip_by_global_norm(0.5), adam(learning_rate=schedule))


def log_prob(params, position, action):
    logits = jnp.stack([-position * params["slope"] + params["bias"], jnp.zeros_like(position)])
    return jax.nn.log_softmax(logits, axis=0)[action, jnp.arange(position.size)]


def rollout(params, key, config):
    def step(position, key):
        ones = jnp.ones(position.shape, jnp.int32)
        right = jnp.exp(log_prob(params, position, 0 * ones))
        action = (jax.random.uniform(key, position.shape) > right).astype(jnp.int32)
        moved = position + jnp.where(action == 0, 0.5, -0.5)
        reward = jnp.abs(position) - jnp.abs(moved)
        return moved, Batch(position, action, log_prob(params, position, action), reward)

    start, *keys = jax.random.split(key, config["steps"] + 1)
    positions = jax.random.uniform(start, (config["agents"],), minval=-2.0, maxval=2.0)
    _, batch = jax.lax.scan(step, positions, jnp.stack(keys))
    return jax.tree.map(jnp.ravel, batch), batch.advantage.mean()


def surrogate(params, batch, clip):
    ratio = jnp.exp(log_prob(params, batch.position, batch.action) - batch.log_prob)
    advantage = (batch.advantage - batch.advantage.mean()) / (batch.advantage.std() + 1e-8)
    clipped = jnp.clip(ratio, 1 - clip, 1 + clip)  # `clip` is no optax.clip here
    return -jnp.minimum(ratio * advantage, clipped * advantage).mean()


def train(key, config):
    tx = optimizer(config)
    params = {"slope": jnp.zeros(()), "bias": jnp.zeros(())}

    def update(runner: Runner, _):
        key, rollout_key = jax.random.split(runner.key)
        batch, reward = rollout(runner.params, rollout_key, config)

        def epoch(carry, _):
            params, opt_state = carry
            grads = jax.grad(surrogate)(params, batch, config["clip"])
            updates, opt_state = tx.update(grads, opt_state, params)
            return (apply_updates(params, updates), opt_state), None

        carry = (runner.params, runner.opt_state)
        (params, opt_state), _ = jax.lax.scan(epoch, carry, None, config["epochs"])
        return Runner(params, opt_state, key), reward

    return jax.lax.scan(update, Runner(params, tx.init(params), key), None, config["updates"])


def main():
    _, rewards = jax.jit(partial(train, config=CONFIG))(jax.random.key(0))
    print(f"reward {rewards[0]:.3f} -> {rewards[-1]:.3f}")
    return -rewards[0], -rewards[-1]


if __name__ == "__main__":
    main()
