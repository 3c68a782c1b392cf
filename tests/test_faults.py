"""Training with NaN, inf and 1e30 in the gradients of random steps, and training that is
interrupted.
"""

import pickle
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optax_lite as ol
from tests.nightly import first

STEPS, FAULTS, SEEDS = 160, 16, range(3)
HUGE = 1e30  # its square overflows in float32
SPIKE = 1e4


@dataclass(frozen=True)
class Case:
    tx: ol.GradientTransformation
    values: tuple[float, ...] = (np.nan, np.inf, HUGE)  # what goes wrong
    # faults by step -> the steps that are left out
    refused: Callable[[dict[int, float]], set[int]] = set
    was_refused: Callable[[Any, Any], bool] = lambda old, new: new.total_skipped > old.total_skipped
    # what stays as it is where a step is left out
    kept: Callable[[Any], Any] = lambda state: state.inner_state
    first: int = 0  # no fault before this step


def only(*values):
    """The faults that are left out, where others are not."""
    return lambda faults: {
        step for step, value in faults.items() if any(value is v for v in values)
    }


def windows(*values):
    """The last steps of the pairs of steps that hold one of these faults."""
    return lambda faults: {step - step % 2 + 1 for step in only(*values)(faults)}


RATE = ol.cosine_decay_schedule(0.2, STEPS)
OF_PAIRS = ol.cosine_decay_schedule(0.3, STEPS // 2)  # for those that see every second step only
finite = {
    "values": (np.nan, np.inf),
    "was_refused": lambda old, new: new.total_notfinite > old.total_notfinite,
}
CASES = {
    "outliers": Case(
        ol.skip_bad_steps(ol.adamw(RATE), outlier=6.0, window=12),
        (np.nan, np.inf, HUGE, SPIKE),
        first=12,
    ),
    "MultiSteps": Case(
        ol.MultiSteps(ol.adam(OF_PAIRS), 2, should_skip_update_fn=ol.skip_not_finite),
        values=(np.nan, np.inf),
        was_refused=lambda old, new: bool(new.skip_state["should_skip"]),
        kept=lambda state: state._replace(skip_state=()),
    ),
    "apply_if_finite": Case(ol.apply_if_finite(ol.adam(RATE), 2), **finite),
    "sgd": Case(ol.skip_bad_steps(ol.sgd(RATE))),
    "momentum": Case(ol.skip_bad_steps(ol.sgd(0.03, 0.9, nesterov=True))),
    "adam": Case(ol.skip_bad_steps(ol.adam(RATE))),
    "adamw, scheduled": Case(ol.skip_bad_steps(ol.adamw(RATE), max_consecutive=20)),
    "nadamw": Case(ol.skip_bad_steps(ol.nadamw(RATE))),
    "lion": Case(ol.skip_bad_steps(ol.lion(RATE))),
    "rmsprop": Case(ol.skip_bad_steps(ol.rmsprop(0.5 * RATE))),
    "adagrad": Case(ol.skip_bad_steps(ol.adagrad(0.5))),
    "adafactor": Case(
        ol.skip_bad_steps(ol.adafactor(0.5 * RATE, multiply_by_parameter_scale=False))
    ),
    "muon": Case(ol.skip_bad_steps(ol.muon(RATE))),
    "schedule_free": Case(ol.skip_bad_steps(ol.schedule_free_adamw(0.2, 5))),
    "clipped": Case(ol.skip_bad_steps(ol.chain(ol.clip_by_global_norm(1.0), ol.adamw(RATE)))),
    "skipping around accumulation": Case(ol.skip_bad_steps(ol.accumulate(ol.adamw(OF_PAIRS), 2))),
    "skipping in accumulation": Case(
        ol.accumulate(ol.skip_bad_steps(ol.adamw(OF_PAIRS)), 2),
        refused=windows(HUGE),
        was_refused=lambda old, new: new.inner_state.total_skipped > old.inner_state.total_skipped,
        kept=lambda state: state.inner_state.inner_state,
    ),
    "accumulation": Case(
        ol.chain(ol.identity(), ol.accumulate(ol.adam(OF_PAIRS), 2)),
        values=(np.nan, np.inf),
        was_refused=lambda old, new: new[1].total_notfinite > old[1].total_notfinite,
        kept=lambda state: (),  # the other gradient of the pair makes the step
    ),
    "skipping in MultiSteps": Case(
        ol.MultiSteps(ol.skip_bad_steps(ol.adam(OF_PAIRS)), 2),
        refused=windows(np.nan, np.inf, HUGE),
        was_refused=lambda old, new: (
            new.inner_opt_state.total_skipped > old.inner_opt_state.total_skipped
        ),
        kept=lambda state: state.inner_opt_state.inner_state,
    ),
    "apply_if_finite, in a group": Case(
        ol.partition(
            {"w": ol.apply_if_finite(ol.adam(RATE), 0), "b": ol.sgd(RATE)}, {"w": "w", "b": "b"}
        ),
        values=(np.nan, np.inf),
        was_refused=lambda old, new: of_group(new).total_notfinite > of_group(old).total_notfinite,
        kept=lambda state: of_group(state).inner_state,
    ),
    "sometimes": Case(
        ol.conditionally_mask(ol.skip_bad_steps(ol.sgd(RATE)), lambda step: step % 4 != 0),
        refused=lambda faults: {step for step in faults if step % 4 != 0},
        was_refused=lambda old, new: new.inner_state.total_skipped > old.inner_state.total_skipped,
        kept=lambda state: state.inner_state.inner_state,
    ),
}
each = pytest.mark.parametrize("name", first(3, CASES))


def of_group(state):
    return state.inner_states["w"].inner_state


TRUTH = {"w": jax.random.normal(jax.random.key(0), (8, 4)), "b": jnp.array([1.0, -1.0, 0.5, 0.0])}


@jax.jit
def batch(key):
    x_key, noise_key = jax.random.split(key)
    x = jax.random.normal(x_key, (32, 8))
    return x, x @ TRUTH["w"] + TRUTH["b"][None] + 0.1 * jax.random.normal(noise_key, (32, 4))


@jax.jit
def loss(params, key):
    x, y = batch(key)
    return jnp.mean((x @ params["w"] + params["b"][None] - y) ** 2)


@jax.jit
def gradient(params, key, fault):
    """That of the loss on the batch of this key, one entry of it the fault, unless that is 0."""
    g = jax.grad(loss)(params, key)
    return g | {"w": jnp.where(fault == 0, g["w"], g["w"].at[3, 1].set(fault))}


def start():
    return jax.tree.map(jnp.zeros_like, TRUTH)


def train(tx, seed, faults, carry=None, steps=range(STEPS)):
    """Params and state after each step."""
    params, state = carry or (start(), tx.init(start()))
    keys = jax.random.split(jax.random.key(seed), STEPS)
    for step in steps:
        params, state = tx.step(gradient(params, keys[step], faults.get(step, 0.0)), state, params)
        yield params, state


def drawn(case, seed):
    rng = np.random.default_rng(seed)
    steps = np.sort(rng.choice(np.arange(case.first, STEPS), FAULTS, replace=False))
    return {
        int(step): case.values[i % len(case.values)]
        for i, step in enumerate(rng.permutation(steps))
    }


def bits(tree):
    return [np.asarray(x).tobytes() for x in jax.tree.leaves(tree)]


def seed_of(name):
    return zlib.crc32(name.encode())


@pytest.mark.nightly
@pytest.mark.parametrize("name", CASES)
def test_training_survives_faults(name):
    case = CASES[name]
    final = {"clean": [], "with faults": []}
    for seed in SEEDS:
        *_, (clean, _) = train(case.tx, seed, {})
        faults = drawn(case, seed_of(name) + seed)
        params, state = start(), case.tx.init(start())
        left_out = set()
        for step, (new_params, new_state) in enumerate(train(case.tx, seed, faults)):
            assert all(np.isfinite(x).all() for x in jax.tree.leaves(new_params)), (step, faults)
            if case.was_refused(state, new_state):
                left_out.add(step)
                assert bits(case.kept(state)) == bits(case.kept(new_state))
                assert name == "accumulation" or "group" in name or bits(params) == bits(new_params)
            params, state = new_params, new_state
        assert left_out == case.refused(faults)
        for which, p in (("clean", clean), ("with faults", params)):
            final[which].append(np.mean([loss(p, jax.random.key(1000 + i)) for i in range(8)]))
    # of the loss of one batch
    noise = np.std([loss(clean, jax.random.key(2000 + i)) for i in range(32)])
    assert np.mean(final["with faults"]) < np.mean(final["clean"]) + 2 * noise
    assert np.mean(final["with faults"]) < 0.01 * loss(start(), jax.random.key(0))


@each
def test_resuming_at_any_step_is_the_uninterrupted_run_to_the_bit(name):
    case = CASES[name]
    seed = seed_of(name)
    faults = drawn(case, seed)
    at = int(np.random.default_rng(seed).integers(1, 30))
    for i, carry in enumerate(train(case.tx, 0, faults, steps=range(30))):
        if i == at - 1:
            saved = pickle.dumps(jax.device_get(carry))
    resumed = jax.tree.map(jnp.asarray, pickle.loads(saved))
    *_, end = train(case.tx, 0, faults, resumed, range(at, 30))
    assert bits(end) == bits(carry)
