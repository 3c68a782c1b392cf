"""Results of sweeps: ranking, best, table, files, pictures; on made-up courses of training."""

import numpy as np
import pytest

import optax_lite as ol
from optax_lite import sweep
from optax_lite.sweep.result import Copy, Result, Rung

STEPS = np.arange(100, 1001, 100)


def course(population, seeds=3, *, noise=0.05, mode="min", **changes):
    """A result in which the loss falls fastest near learning_rate = 0.01, and runs above 0.1 diverge."""
    rng, n = np.random.default_rng(0), len(population)
    rate = np.array([s.get("learning_rate", 0.01) for s in population.settings])
    decay = np.array([s.get("weight_decay", 0.0) for s in population.settings])
    speed = np.exp(-(np.log10(rate / 0.01) ** 2)) * (1 - 0.3 * decay)
    loss = 2.3 * np.exp(-5 * speed[:, None, None] * (STEPS / 1000) ** 0.5)
    loss = loss * np.exp(noise * rng.normal(size=(n, seeds, 1)) + 0.02 * rng.normal(size=(n, seeds, STEPS.size)))
    diverged = (rate > 0.1)[:, None] & (rng.random((n, seeds)) < 0.8)
    loss = np.where(diverged[..., None] & (STEPS > 300), np.nan, loss * np.where(diverged[..., None], STEPS / 50, 1))
    accuracy = np.exp(-loss / 2)
    values = loss if mode == "min" else accuracy
    worst = np.inf if mode == "min" else -np.inf
    fields = {
        "population": population, "seeds": tuple(range(seeds)), "mode": mode,
        "score_name": "loss" if mode == "min" else "accuracy",
        "scores": np.where(diverged, worst, values[..., -1]), "status": np.where(diverged, "diverged", "done"),
        "steps": np.where(diverged, 350, 1000), "history": {"step": STEPS, "loss": loss, "accuracy": accuracy},
        "hyperparams": {}, "rungs": (), "lineage": (), "outputs": lambda m, s: {"w": np.array([m, s])},
        "seconds": 12.34, "compile_seconds": 3.21, "compiles": 2, "probes": 3, "chunk": (16,), "interrupted": False,
        "notes": (),
    }  # fmt: skip
    return Result(**fields | changes)


def halved(population, seeds=2, rungs=(200, 500)):
    """The same with two thirds of the members pruned at each rung."""
    made = course(population, seeds)
    present, found = np.arange(len(population)), []
    scores, status, steps = made.scores.copy(), made.status.copy(), made.steps.copy()
    for step in rungs:
        at = int(np.flatnonzero(STEPS == step)[0])
        order = present[np.argsort(np.nan_to_num(made.history["loss"][present, :, at], nan=np.inf).mean(1))]
        kept, dropped = np.split(order, [-(-len(order) // 3)])
        for values in (made.history["loss"], made.history["accuracy"]):
            values[dropped, :, at + 1 :] = np.nan
        is_out = np.isin(np.arange(len(population)), dropped)[:, None] & (made.status != "diverged")
        scores[is_out] = made.history["loss"][..., at][is_out]
        status[is_out], steps[is_out] = "pruned", step
        found.append(Rung(step, tuple(map(int, kept)), tuple(map(int, dropped))))
        present = kept
    made.scores, made.status, made.steps, made.rungs = scores, status, steps, tuple(found)
    return made


def evolved(population, seeds=2):
    """The same with the learning rate of the worst quarter taken from the best, and changed, at every second point."""
    made, rng, n = course(population, seeds), np.random.default_rng(1), len(population)
    rate = np.empty((n, seeds, STEPS.size))
    rate[..., 0] = np.array([s["learning_rate"] for s in population.settings])[:, None]
    loss, lineage = np.empty_like(rate), []
    level = np.full((n, seeds), 2.3)
    for k in range(STEPS.size):
        target = 0.1 * 0.1 ** (k / 5)
        level = (
            level * np.exp(-0.4 * np.exp(-(np.log10(rate[..., k] / target) ** 2))) * rng.uniform(0.95, 1.05, (n, seeds))
        )
        loss[..., k] = level
        if k + 1 == STEPS.size:
            break
        rate[..., k + 1] = rate[..., k]
        for s in range(seeds) if k % 2 else ():
            order = np.argsort(level[:, s])
            for loser in order[-n // 4 :]:
                winner = int(rng.choice(order[: n // 4]))
                lineage.append(Copy(int(STEPS[k]), s, int(loser), winner))
                level[loser, s] = level[winner, s]
                rate[loser, s, k + 1] = rate[winner, s, k] * rng.choice([0.5, 2.0])
    made.history = {"step": STEPS, "loss": loss}
    made.hyperparams, made.lineage, made.scores = {"learning_rate": rate}, tuple(lineage), loss[..., -1]
    made.status, made.steps = np.full((n, seeds), "done"), np.full((n, seeds), 1000)
    return made


def rates(n=7, low=1e-4, high=1.0, factory=ol.adamw, **axes):
    return sweep.grid(factory, learning_rate=np.geomspace(low, high, n), **axes)
