"""A control task in pure JAX, learning rate against entropy bonus: a sweep over more than the
optimizer.

A corridor of 10 rooms. One step left of the start lies a small reward that ends the episode; a
hundred times as much lies at the far right. Policy gradients with too small a bonus for entropy
settle for the small one, with too large a one they never settle. What one sees: a heat map of the
expected return, in `out/`. The member is a dict of the optimizer and the bonus, which the loss gets
by name.

    pip install -e ".[sweep]"
    python examples/rl_sweep.py            # seconds on two cores; --quick for a look
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import optax_lite as ol
from optax_lite import sweep

ROOMS, LONGEST, EPISODES = 10, 24, 16
SMALL, LARGE = 0.01, 1.0


def init(key):
    """Preferences for left and right in each room; the walk begins in room 1."""
    return 0.01 * jax.random.normal(key, (ROOMS, 2))


def episode(logits, key):
    """One walk: log-probabilities of what was done, entropies and rewards, each 0 after its end."""

    def step(carry, key):
        room, alive = carry
        logp = jax.nn.log_softmax(logits[room])
        action = jax.random.categorical(key, logp)
        room = room + 2 * action - 1
        reward = alive * jnp.where(room == 0, SMALL, jnp.where(room == ROOMS - 1, LARGE, 0.0))
        entropy = -jnp.sum(jnp.exp(logp) * logp) * alive
        ended = (room == 0) | (room == ROOMS - 1)
        return (jnp.clip(room, 0, ROOMS - 1), alive * (1.0 - ended)), (
            logp[action] * alive,
            entropy,
            reward,
        )

    _, found = jax.lax.scan(step, (jnp.int32(1), 1.0), jax.random.split(key, LONGEST))
    return found


def loss(logits, *, key, entropy):
    """REINFORCE with a baseline, minus the bonus."""
    logp, entropies, rewards = jax.vmap(episode, in_axes=(None, 0))(
        logits, jax.random.split(key, EPISODES)
    )
    returns = jnp.cumsum(rewards[:, ::-1], axis=1)[:, ::-1]
    advantage = jax.lax.stop_gradient(returns - returns.mean(0))
    return -jnp.mean(jnp.sum(logp * advantage + entropy * entropies, axis=1))


def expected_return(logits):
    """The return of the policy, exactly: where the walker is, step by step."""
    right = jax.nn.softmax(logits)[:, 1]

    def step(carry, _):
        at, total = carry
        new = jnp.zeros(ROOMS).at[1:].add((at * right)[:-1]).at[:-1].add((at * (1 - right))[1:])
        total = total + new[0] * SMALL + new[-1] * LARGE
        return (new.at[0].set(0.0).at[-1].set(0.0), total), None

    (_, total), _ = jax.lax.scan(step, (jnp.zeros(ROOMS).at[1].set(1.0), 0.0), length=LONGEST)
    return {"return": total}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer updates and settings")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the picture")
    arguments = parser.parse_args()
    steps, n, seeds = (100, 3, 2) if arguments.quick else (1000, 7, 3)

    population = sweep.grid(
        lambda learning_rate, entropy: {"tx": ol.adam(learning_rate), "entropy": entropy},
        learning_rate=np.geomspace(1e-3, 1.0, n),
        entropy=np.geomspace(1e-4, 1.0, n),
    )
    train = sweep.training(init, loss, steps=steps, eval_fn=expected_return)
    result = sweep.run(population, train, seeds=seeds, mode="max")
    print(result)
    print(result.table(8))
    arguments.out.mkdir(exist_ok=True)
    result.plot("heatmap").figure.savefig(arguments.out / "rl_sweep.png", dpi=120)
    print(f"The picture is in {arguments.out / 'rl_sweep.png'}.")


if __name__ == "__main__":
    main()
