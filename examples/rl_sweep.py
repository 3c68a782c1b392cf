"""Sweep the learning rate and the entropy bonus of a control task in pure JAX: more than the
optimizer, with an update that carries its environment along.

The task is a corridor of 10 rooms. One step left of the start lies a small reward that ends the
episode; a hundred times as much lies at the far right. At a high learning rate a policy soon
settles for the small one, unless a bonus for entropy keeps it looking; with too large a bonus it
never settles. The picture in `out/` is a heat map of the expected return.

A member is a dict of the optimizer and the bonus. Each update sees 8 steps of 4 walkers, who
continue in the next update from where they are (advantage actor-critic, Mnih et al. 2016). Because
the carry holds all that a run needs, `sweep.run` may also prune it (`--halving`), perturb, save and
resume it.

    pip install -e ".[sweep]"
    python examples/rl_sweep.py            # seconds on two cores; --quick for a look
"""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import optax_lite as ol
from optax_lite import sweep

ROOMS, LONGEST, WALKERS, STEPS = 10, 24, 4, 8
SMALL, LARGE = 0.01, 1.0


class Walkers(NamedTuple):
    room: jax.Array  # int32; room 1 is the start
    age: jax.Array  # steps since it was there, int32


class Carry(NamedTuple):
    params: dict[str, jax.Array]
    state: Any  # of the optimizer
    walkers: Walkers


def init(member, key):
    """Return preferences for left and right in each room, its value, and walkers in room 1."""
    params = {"logits": 0.01 * jax.random.normal(key, (ROOMS, 2)), "values": jnp.zeros(ROOMS)}
    start = Walkers(jnp.ones(WALKERS, jnp.int32), jnp.zeros(WALKERS, jnp.int32))
    return Carry(params, member["tx"].init(params), start)


def step(params, walkers, key):
    """Move all walkers one step; those whose episode ends go back to room 1."""
    logp = jax.nn.log_softmax(params["logits"][walkers.room])
    action = jax.random.categorical(key, logp)
    room, age = walkers.room + 2 * action - 1, walkers.age + 1
    reward = jnp.where(room == 0, SMALL, jnp.where(room == ROOMS - 1, LARGE, 0.0))
    ended = (room == 0) | (room == ROOMS - 1) | (age == LONGEST)
    seen = {
        "logp": jnp.take_along_axis(logp, action[:, None], 1)[:, 0],
        "entropy": -jnp.sum(jnp.exp(logp) * logp, 1),
        "value": params["values"][walkers.room],
        "reward": reward,
        "goes_on": 1.0 - ended,
    }
    return Walkers(jnp.where(ended, 1, room), jnp.where(ended, 0, age)), seen


def update(member, carry, key):
    """Move the walkers for some steps, and learn from these."""

    def loss(params):
        walkers, seen = jax.lax.scan(
            lambda walkers, key: step(params, walkers, key),
            carry.walkers,
            jax.random.split(key, STEPS),
        )

        def discounted(after, now):
            after = now["reward"] + now["goes_on"] * after
            return after, after

        last = params["values"][walkers.room]  # what an episode that goes on may still bring
        _, returns = jax.lax.scan(discounted, last, seen, reverse=True)
        advantage = jax.lax.stop_gradient(returns) - seen["value"]
        policy = seen["logp"] * jax.lax.stop_gradient(advantage)
        policy = policy + member["entropy"] * seen["entropy"]
        return jnp.mean(0.5 * advantage**2 - policy), (walkers, jnp.mean(seen["reward"]))

    (value, (walkers, reward)), grads = jax.value_and_grad(loss, has_aux=True)(carry.params)
    params, state = member["tx"].step(grads, carry.state, carry.params)
    return Carry(params, state, walkers), {"loss": value, "reward": reward}


def expected_return(carry):
    """Compute the return of the policy exactly, from the walker's distribution over rooms at each
    step.
    """
    right = jax.nn.softmax(carry.params["logits"])[:, 1]

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
    parser.add_argument("--halving", action="store_true", help="prune two thirds on the way")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the picture")
    arguments = parser.parse_args()
    steps, n, seeds = (200, 3, 2) if arguments.quick else (2000, 7, 3)

    population = sweep.grid(
        lambda learning_rate, entropy: {"tx": ol.adam(learning_rate), "entropy": entropy},
        learning_rate=np.geomspace(1e-3, 1.0, n),
        entropy=np.geomspace(1e-4, 1.0, n),
    )
    train = sweep.training(init, update=update, steps=steps, eval_fn=expected_return)
    search = sweep.successive_halving([steps // 4]) if arguments.halving else None
    result = sweep.run(population, train, seeds=seeds, score="return", mode="max", search=search)
    print(result)
    print(result.table(8))
    arguments.out.mkdir(exist_ok=True)
    result.plot("heatmap").figure.savefig(arguments.out / "rl_sweep.png", dpi=120)
    print(f"The picture is in {arguments.out / 'rl_sweep.png'}.")


if __name__ == "__main__":
    main()
