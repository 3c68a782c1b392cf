"""Sweeps: a run in a population is the run alone, whatever cuts, moves, spreads or kills it."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optax_lite as ol
from optax_lite import sweep
from optax_lite.sweep._engine import devices as sweep_devices, sizes
from optax_lite.sweep._engine.checkpoint import digest
from optax_lite.sweep._engine.engine import Reused, _Sweep
from optax_lite.sweep._engine.feed import BatchSource
from optax_lite.sweep._engine.programs import SweepProgram, block_length
from optax_lite.sweep._engine.sizes import ChunkSize, ChunkSizer
from optax_lite.sweep.population import needless_structures
from tests.closeness import A_STEP, assert_close
from tests.nightly import first

RNG = np.random.default_rng(0)
X = RNG.normal(size=(96, 5)).astype(np.float32)
Y = (X @ RNG.normal(size=5)).astype(np.float32)
RATES = [1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3]
# Two programs of one run are compared after ten steps, where rounding has not grown yet and no loss
# is near 0: of parameters ten steps apart in rounding, a square (the loss) is off by twice as much,
# and by its own sum over a batch.
TEN_STEPS = 10 * A_STEP
LOSS_OF_TEN_STEPS = 2 * TEN_STEPS + 96


def init(key):
    return {"w": jax.random.normal(key, (5,)), "b": jnp.zeros(())}


def loss(params, x, y):
    return jnp.mean((x @ params["w"] + params["b"] - y) ** 2)


def mse(params):
    return {"mse": loss(params, X, Y)}


def training(**changes):
    given = {"steps": 60, "batch_size": 16, "eval_fn": mse, "every": 20}
    return sweep.training(init, loss, (X, Y), **(given | changes))


def run(population, train=None, **options):
    return sweep.run(
        population, train or training(), **({"progress": False, "devices": 1} | options)
    )


def population():
    return sweep.grid(ol.adamw, learning_rate=RATES, weight_decay=[0.0, 0.1])


def assert_losses_close(actual, expected, ulps=LOSS_OF_TEN_STEPS):
    """In float32, in which they were computed; a report holds them in float64."""
    assert_close(np.asarray(actual), np.asarray(expected), ulps=ulps, dtype=jnp.float32)


def same(a, b):
    """Two results are equal to the bit: numbers, histories, decisions, parameters."""
    np.testing.assert_array_equal(a.scores, b.scores)
    np.testing.assert_array_equal(a.status, b.status)
    np.testing.assert_array_equal(a.steps, b.steps)
    assert (a.rungs, a.lineage) == (b.rungs, b.lineage)
    for numbers, others in ((a.history, b.history), (a.hyperparams, b.hyperparams)):
        assert numbers.keys() == others.keys()
        for name in numbers:
            np.testing.assert_array_equal(numbers[name], others[name])
    for member, seed in np.argwhere(a.status == "done"):
        jax.tree.map(
            np.testing.assert_array_equal, a.outputs(member, seed), b.outputs(member, seed)
        )


SEARCHES = {
    "none": {},
    "halving": {"search": sweep.successive_halving([20, 40], keep=1 / 3)},
    "pbt": {
        "search": sweep.pbt(
            20, {"learning_rate": (0.5, 2.0)}, bounds={"learning_rate": (1e-4, 1.0)}
        )
    },
}
HALVING_FIRST = {name: SEARCHES[name] for name in ("halving", "none", "pbt")}


# --- one run of many ------------------------------------------------------------------------------


@pytest.mark.nightly
def test_a_member_is_the_setting_trained_alone():
    members, train = population(), training(steps=10, every=5)
    result = run(members, train, seeds=[3, 4])
    for member in range(len(members)):
        for s, seed in enumerate((3, 4)):
            params, history = ol.fit(
                loss, init(jax.random.key(seed)), (X, Y), members[member], steps=10, batch_size=16
            )
            assert_close(result.outputs(member, s), params, ulps=TEN_STEPS)
            means = history.loss.reshape(2, 5).mean(1)
            losses = np.append(result.history["loss"][member, s], result.scores[member, s])
            assert_losses_close(losses, jnp.append(means, mse(params)["mse"]))


@pytest.mark.parametrize("chunk", first(1, [5, 1, 7, 24]))
def test_the_chunk_changes_nothing_but_rounding(chunk):
    whole, cut = (
        run(population(), training(steps=10, every=10), seeds=2, chunk=size)
        for size in (100, chunk)
    )
    assert_losses_close(cut.scores, whole.scores)
    assert cut.compiles == whole.compiles == 1


def test_a_member_may_hold_more_than_an_optimizer():
    def penalised(params, x, y, *, penalty):
        return loss(params, x, y) + penalty * jnp.sum(params["w"] ** 2)

    def make(rate, penalty):
        return {"tx": ol.sgd(rate), "penalty": penalty}

    train = sweep.training(init, penalised, (X, Y), steps=40, batch_size=16)
    result = run(sweep.grid(make, rate=[0.03], penalty=[0, 0.1, 10.0]), train)
    norms = [float(jnp.linalg.norm(result.outputs(m, 0)["w"])) for m in range(3)]
    assert norms[0] > norms[1] > norms[2]


def test_a_loss_with_a_key_gets_another_one_every_step_and_the_same_for_all_members():
    def noise(params, *, key):
        return jnp.sum(params["w"]) * 0 + jax.random.normal(key)

    train = sweep.training(init, noise, steps=30, every=1)
    result = run(sweep.grid(ol.sgd, learning_rate=[0.1, 0.2]), train, seeds=2)
    losses = result.history["loss"]
    # the lanes of a vector and the rest of it may round apart
    assert_losses_close(losses[0], losses[1], ulps=A_STEP)
    assert len(np.unique(losses[0])) == 60


def test_structures_are_one_report():
    both = sweep.grid(ol.adamw, learning_rate=[1e-2, 3e-2]) + sweep.grid(
        ol.sgd, learning_rate=[1e-2], momentum=[0.9], nesterov=[False, True]
    )
    train = training(steps=10, every=10)
    result = run(both, train)
    assert result.compiles == 3
    assert result.scores.shape == (4, 1)
    alone = run(sweep.grid(ol.sgd, learning_rate=[1e-2], momentum=[0.9], nesterov=[True]), train)
    assert_losses_close(result.scores[3], alone.scores[0])


def test_schedules_chains_and_groups_hold_the_numbers_too():
    def make(peak, limit, decay):
        schedule = ol.warmup_cosine_decay_schedule(0.0, peak, 5, 60)
        return ol.chain(
            ol.clip_by_global_norm(limit),
            ol.groups(ol.adamw(schedule, weight_decay=decay), {"b": {"weight_decay": 0.0}}),
        )

    members = sweep.grid(make, peak=[0.01, 0.1], limit=[0.5, 5.0], decay=[0.0, 0.1])
    result = run(members, training(steps=10, every=10))
    for member in (0, 5):
        params, _ = ol.fit(
            loss, init(jax.random.key(0)), (X, Y), members[member], steps=10, batch_size=16
        )
        assert_close(result.outputs(member, 0), params, ulps=TEN_STEPS)
    assert result.compiles == 1


def test_functions_that_differ_in_their_numbers_are_told_before_they_are_compiled():
    def annealed(rate, nesterov=False):
        schedule = lambda count: rate * (1 - count / 10)  # noqa: E731
        return ol.chain(ol.clip(1.0), ol.sgd(schedule, momentum=0.9, nesterov=nesterov))

    def line(rate):
        return ol.chain(ol.clip(1.0), ol.sgd(ol.linear_schedule(rate, 0.0, 10), momentum=0.9))

    train = training(steps=10, every=10)
    told = (
        r"^run: 2 structures differ only in numbers held by the function given as learning_rate, "
        r".*; write linear_schedule\(lr, 0.0, N\), or your own @schedule"
    )
    with pytest.warns(UserWarning, match=told) as warned:
        by_function = run(sweep.grid(annealed, rate=[0.01, 0.02]), train)
    assert warned[0].filename == __file__
    by_line = run(sweep.grid(line, rate=[0.01, 0.02]), train)
    assert (by_function.compiles, by_line.compiles) == (2, 1)
    assert_losses_close(by_function.scores, by_line.scores)


def test_structures_that_differ_in_more_than_numbers_are_no_warning():
    def cosine(scale):
        return lambda count: scale(count) + 0.01

    def other(rate, kind):
        if kind == "sign":
            return ol.sgd(lambda count: rate + 0 * count, momentum=0.9)
        return ol.sgd(cosine(jnp.cos if kind == "cos" else jnp.sin), momentum=0.9)

    assert needless_structures(sweep.grid(other, rate=[0.1], kind=["sign", "cos", "sin"])) is None
    one = sweep.grid(
        lambda nesterov: ol.nadam(lambda count: 0.1, nesterov=nesterov), nesterov=[True]
    )
    assert needless_structures(one) is None


@pytest.mark.nightly
def test_unpaired_seeds_see_batches_of_their_own():
    paired, unpaired = (
        run(population(), training(steps=10, every=10, paired=p), seeds=[0, 1])
        for p in (True, False)
    )
    # Seed 0 shuffles as training does.
    assert_losses_close(unpaired.scores[:, 0], paired.scores[:, 0])
    assert not np.allclose(unpaired.scores[:, 1], paired.scores[:, 1], rtol=1e-3)


@pytest.mark.nightly
@pytest.mark.parametrize("kind", first(3, ["iterator", "whole", "host", "list"]))
def test_data_of_every_kind(kind, monkeypatch):
    order = np.random.default_rng(0).permutation(96).reshape(6, 16)
    batches = [(X[i], Y[i]) for i in order]
    if kind == "host":  # arrays with no room on the device
        monkeypatch.setattr("optax_lite.sweep._engine.engine._RESIDENT", 0.0)
        a, b = run(population(), training(steps=10, every=5), chunk=5), None
    elif kind == "whole":
        a = run(population(), training(batch_size=None, steps=10, every=5), chunk=5)
        params, _ = ol.fit(loss, init(jax.random.key(0)), (X, Y), population()[3], steps=10)
        assert_close(a.outputs(3, 0)["w"], params["w"], ulps=TEN_STEPS)
        return
    else:
        data = batches if kind == "list" else iter(batches * 2)
        a = run(
            population(), sweep.training(init, loss, data, steps=10, eval_fn=mse, every=5), chunk=5
        )
        b = run(
            population(),
            sweep.training(init, loss, batches, steps=10, eval_fn=mse, every=5),
            chunk=5,
        )
    monkeypatch.undo()
    b = run(population(), training(steps=10, every=5), chunk=5) if b is None else b
    assert_losses_close(a.scores, b.scores)


def test_a_function_of_ones_own():
    def train(member, key):
        x = jax.random.normal(key, (3,))
        state = member.init(x)
        for _ in range(3):
            x, state = member.step(x, state, x)
        return {"norm": jnp.linalg.norm(x), "x": x, "all": {"x": x}, "key": key}

    result = run(
        sweep.grid(ol.sgd, learning_rate=[0.1, 0.5, jnp.float32(0.9)]),
        train,
        seeds=2,
        score="norm",
        chunk=4,
    )
    start = [np.linalg.norm(jax.random.normal(jax.random.key(seed), (3,))) for seed in (0, 1)]
    # x - 0.9·x is off by ten units of the x that is left, three times; the norm adds a few.
    np.testing.assert_allclose(
        result.scores, np.outer([0.9**3, 0.5**3, 0.1**3], start), rtol=40 * np.finfo("f4").eps
    )
    assert result.outputs(2, 1)["x"].shape == (3,)
    with pytest.raises(ValueError, match=r"^result: member must be in 0\.\.2, got 3$"):
        result.outputs(3, 0)
    by_function = run(
        sweep.grid(ol.sgd, learning_rate=[0.1]), train, score=lambda out: jnp.sum(out["x"] ** 2)
    )
    assert_losses_close(by_function.scores, 0.9**6 * start[0] ** 2, ulps=20)


def test_averages_are_what_is_evaluated():
    members = sweep.grid(
        lambda decay: ol.average_params(ol.sgd(0.1), decay=decay), decay=[0.0, 0.99]
    )
    result = run(members, training(steps=10, every=10))
    expected = np.array([mse(result.outputs(m, 0))["mse"] for m in (0, 1)])
    # A loss of other sums: residuals of about ten operations, doubled by the square, and the mean
    # over 96 rows.
    assert_losses_close(result.scores[:, 0], expected, ulps=2 * 10 + 96)
    assert result.scores[0, 0] < result.scores[1, 0]


# --- what diverges, what is stopped, what is copied -----------------------------------------------


def test_a_diverged_run_stays_where_it_was_and_disturbs_nobody():
    rates = [0.01, 1e6, 0.02, 1e20, 0.03]
    train = training(steps=10, every=5)
    with_bad = run(sweep.grid(ol.sgd, learning_rate=rates), train, chunk=8)
    without = run(sweep.grid(ol.sgd, learning_rate=rates[::2]), train, chunk=8)
    assert with_bad.status[:, 0].tolist() == ["done", "diverged", "done", "diverged", "done"]
    assert_losses_close(with_bad.scores[::2], without.scores)
    assert np.isinf(with_bad.scores[1::2]).all()
    assert (with_bad.steps[1::2] < 10).all()
    assert np.isnan(with_bad.history["loss"][1]).all()


def test_a_skipped_step_is_no_divergence():
    def sometimes(params, x, y, *, key):
        return jnp.where(jax.random.bernoulli(key, 0.2), jnp.nan, 1.0) * loss(params, x, y)

    train = sweep.training(init, sometimes, (X, Y), steps=60, batch_size=16, eval_fn=mse)
    result = run(sweep.grid(lambda rate: ol.skip_bad_steps(ol.sgd(rate)), rate=[0.01, 0.05]), train)
    assert (result.status == "done").all()
    assert result.scores[1, 0] < 0.1
    limited = sweep.grid(
        lambda rate: ol.skip_bad_steps(ol.sgd(rate), max_consecutive=0), rate=[0.05]
    )
    assert run(limited, train).status[0, 0] == "diverged"


def test_halving_keeps_the_best_and_ends_as_if_the_others_had_never_been():
    train, search = training(steps=10, every=2), sweep.successive_halving([4, 8], keep=1 / 3)
    whole = run(population(), train, seeds=2, chunk=4)
    halved = run(population(), train, seeds=2, chunk=4, search=search)
    first, second = halved.rungs
    order = np.argsort(whole.history["mse"][:, :, 1].mean(1), kind="stable")
    assert first.step == 4 and set(first.kept) == set(order[:4].tolist())
    assert len(second.kept) == 2
    for member in second.kept:
        assert_losses_close(halved.scores[member], whole.scores[member])
        assert_close(halved.outputs(member, 0), whole.outputs(member, 0), ulps=TEN_STEPS)
    assert (halved.status == "done").sum() == 4
    assert (halved.steps[list(first.dropped)] == 4).all()
    assert np.isnan(halved.history["mse"][first.dropped[0], 0, 2:]).all()


def test_pbt_copies_the_winner_and_moves_its_numbers():
    result = run(population(), seeds=2, **SEARCHES["pbt"])
    assert result.lineage
    rates = result.hyperparams["learning_rate"]
    for copy in result.lineage:
        point = result.history["step"].tolist().index(copy.step)
        s = result.seeds.index(copy.seed)
        ratio = rates[copy.loser, s, point + 1] / rates[copy.winner, s, point]
        assert min(abs(ratio - 0.5), abs(ratio - 2)) < 1e-5
        scores = result.history["mse"][:, s, point]
        assert scores[copy.loser] > scores[copy.winner]
    plain = run(population(), seeds=2)
    assert result.scores.max() < plain.scores.max()


def test_pbt_perturbs_ints_as_floats():
    def heated(params, x, y, *, heat):
        return loss(params, x, y) * heat

    train = sweep.training(init, heated, (X, Y), steps=4, batch_size=16, every=2)
    members = sweep.grid(lambda heat: {"tx": ol.sgd(0.01), "heat": heat}, heat=[1, 2, 3, 4])
    result = run(members, train, search=sweep.pbt(2, {"heat": (0.9,)}))
    (copy,) = result.lineage
    assert result.hyperparams["heat"][copy.loser, 0, -1] == pytest.approx(0.9 * (copy.winner + 1))


@pytest.mark.parametrize("search", ["halving", "pbt"])
def test_the_largest_are_the_best_in_mode_max(search):
    searches = {
        "halving": sweep.successive_halving([2], keep=0.25),
        "pbt": sweep.pbt(2, {"learning_rate": (1.0,)}),
    }
    members, train = sweep.grid(ol.sgd, learning_rate=RATES[:4]), training(steps=4, every=2)
    result = run(members, train, search=searches[search], mode="max")
    first = result.history["mse"][:, 0, 0]
    best = result.rungs[0].kept[0] if search == "halving" else result.lineage[0].winner
    assert best == first.argmax() and result.best().score == np.nanmax(
        result.history["mse"][..., -1]
    )
    assert search == "halving" or result.lineage[0].loser == first.argmin()


def test_pbt_revives_what_has_diverged():
    rates = [0.01, 0.02, 0.03, 0.05, 1e6]
    search = sweep.pbt(20, {"learning_rate": (0.8, 1.25)})
    result = run(sweep.grid(ol.sgd, learning_rate=rates), search=search)
    assert (result.status == "done").all()
    assert np.isfinite(result.scores).all()


@pytest.mark.nightly
def test_few_that_are_left_are_packed_into_smaller_chunks():
    rates = np.geomspace(1e-3, 0.1, 32).tolist()
    search = sweep.successive_halving([10, 20, 30], keep=0.25)
    result = run(
        sweep.grid(ol.adamw, learning_rate=rates), training(every=10), chunk=32, search=search
    )
    assert result.compiles == 4  # 32, 8, 2, 1
    assert (result.status == "done").sum() == 1


@pytest.mark.parametrize(
    ("n", "devices", "given", "measured"),
    [(32, 1, 32, 32), (16, 1, 16, 16), (15, 1, 16, 16), (1, 8, 1, 1), (20, 8, 32, 4)],
)
def test_layout(n, devices, given, measured):
    assert ChunkSize(32, measured=False).layout(n, 100, devices) == given
    assert ChunkSize(32, measured=True).layout(n, 100, devices) == measured


@pytest.mark.parametrize(
    ("n", "moved", "size"), first(1, [(130, 2**30, 65), (40, 2**30, 40), (40, 1, 1), (3, 2**30, 3)])
)
def test_a_chunk_begins_with_what_a_step_moves(n, moved, size, monkeypatch):
    monkeypatch.setattr(sizes, "_MOVED", moved)  # a step of a run here moves some kilobytes
    rates = np.geomspace(1e-4, 1e-2, n).tolist()
    result = run(sweep.grid(ol.adamw, learning_rate=rates), training(steps=20))
    assert (result.chunk, result.compiles, result.probes) == ((size,), 1, 0)
    if size == 40:
        same(result, run(sweep.grid(ol.adamw, learning_rate=rates), training(steps=20), chunk=40))


# seconds of a step of a run by size, the size that is chosen of them, and how many were tried
CLOCKS = {
    "larger, but not much": ({8: 1.0, 20: 0.5, 40: 0.49}, 20, 2),
    "larger, the largest": ({8: 1.0, 20: 0.5, 40: 0.4}, 40, 2),
    "smaller, the smallest": ({8: 1.0, 20: 1.0, 2: 0.5, 1: 0.1}, 1, 3),
    "neither": ({8: 1.0, 20: 1.1, 2: 1.0}, 8, 2),
}


@pytest.mark.parametrize("clock", first(1, CLOCKS))
def test_sizes_are_tried_while_they_are_faster(clock, monkeypatch):
    seconds, chosen, tried = CLOCKS[clock]
    monkeypatch.setattr(sizes, "_SHARE", np.inf)
    monkeypatch.setattr(ChunkSizer, "_first", lambda self, structure, limit: 8)

    def timer(self, structure, size, values):
        self.get(structure, size)
        return lambda: seconds[size]

    monkeypatch.setattr(ChunkSizer, "_timer", timer)
    result = run(
        sweep.grid(ol.adamw, learning_rate=np.geomspace(1e-4, 1e-2, 40).tolist()),
        training(steps=20),
    )
    assert (result.chunk, result.compiles, result.probes) == ((chosen,), 1, tried)


def test_a_study_counts_what_a_step_moves_once(monkeypatch):
    traced, trace = [], SweepProgram.trace
    monkeypatch.setattr(sizes, "_MOVED", 2**13)

    def counted(self, member, size):
        traced.append(size)
        return trace(self, member, size)._replace(moved=2.0**12)

    monkeypatch.setattr(SweepProgram, "trace", counted)
    programs = {}
    for _ in range(2):
        found = run(population(), Reused(training(steps=20), programs))
        assert found.chunk == (2,)
    assert traced == [12, 2]


def test_a_measured_size_shrinks_only_where_that_saves_more_than_a_compilation():
    size = ChunkSize(32, measured=True, seconds=1e-3, compiling=1.0)
    assert size.layout(8, 10, 1, now=32) == 32  # saves 24 · 10 · 1 ms
    assert size.layout(8, 100, 1, now=32) == 8


@pytest.mark.parametrize(
    ("points", "length"),
    [([100], 100), ([100, 200, 300], 100), ([100, 300], 100), ([100, 200, 250], 50), ([7], 7)],
)
def test_blocks_waste_little(points, length):
    assert block_length(points) == length


# --- devices, processes, kills --------------------------------------------------------------------


def test_processes_agree_on_the_largest():
    spread = sweep_devices.Devices(None)
    spread.processes = 2
    assert spread.agree(3.5) == 3.5 and spread.agree(False) == 0


@pytest.mark.nightly
@pytest.mark.parametrize("search", first(1, HALVING_FIRST.values()), ids=HALVING_FIRST)
def test_eight_devices_are_one_to_the_bit(search, eight_devices):
    # The same lanes through the same function on each device: docs/sweeps.md promises these bits.
    options = {"seeds": 2, "chunk": 3} | search
    same(run(population(), **options), run(population(), devices=8, **options))


PROCESS = """
import os, signal, sys, time, jax
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(f"localhost:{sys.argv[1]}", 2, int(sys.argv[2]))
from optax_lite.sweep._engine import sizes
from optax_lite.sweep._engine.engine import _Sweep
from tests.test_sweep import SEARCHES, np, population, run
for search in SEARCHES.values():
    options = {"seeds": 2, "chunk": 3} | search
    spread = run(population(), devices=None, **options)
    alone = run(population(), devices=[jax.local_devices()[0]], **options)
    assert (spread.scores == alone.scores).all()
    assert spread.lineage == alone.lineage and spread.rungs == alone.rungs
    best = spread.best().index
    assert (spread.outputs(best, 0)["w"] == alone.outputs(best, 0)["w"]).all()


# Clocks that differ, all sizes worth trying, a Ctrl-C in one of them.
clock, pace = time.perf_counter, 1 + 9 * int(sys.argv[2])
time.perf_counter = lambda: pace * clock()
sizes._SHARE = np.inf
options = {"seeds": 2, "checkpoint": sys.argv[3], "devices": None} | SEARCHES["halving"]
tried, again = (run(population(), **options) for _ in (0, 1))
assert tried.probes and again.compiles == 0 and (again.scores == tried.scores).all()


def advance(self, chunk, before=_Sweep._advance):
    if self.point == 1 and sys.argv[2] == "1":
        os.kill(os.getpid(), signal.SIGINT)
    before(self, chunk)


_Sweep._advance = advance
signal.signal(signal.SIGINT, signal.default_int_handler)
assert run(population(), devices=None).interrupted
print("equal", jax.device_count())
"""


@pytest.mark.nightly
def test_two_processes_are_one_to_the_bit(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    flags = [flag for flag in os.environ["XLA_FLAGS"].split() if "device_count" not in flag]
    flags.append("--xla_force_host_platform_device_count=2")
    environment = os.environ | {"XLA_FLAGS": " ".join(flags), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", textwrap.dedent(PROCESS), port]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    started = [
        subprocess.Popen(
            [*command, str(i), str(tmp_path)],
            env=environment,
            cwd=Path(__file__).parent.parent,
            **pipes,
        )
        for i in (0, 1)
    ]
    for process in started:
        # however slow the machine is; of a dead process the other one hears
        output, _ = process.communicate()
        assert "equal 4" in output, output[-2000:]


# Four moments to be killed at; one of one search is not slow, for every run compiles again.
RANDOM = np.random.default_rng(0)
MOMENTS = [int(RANDOM.integers(1, 9)) for _ in range(4)]


@pytest.mark.nightly
@pytest.mark.parametrize("left", first(1, MOMENTS))
@pytest.mark.parametrize("search", first(1, HALVING_FIRST.values()), ids=HALVING_FIRST)
def test_a_sweep_that_was_killed_ends_as_if_it_had_not_been(search, left, tmp_path, monkeypatch):
    options = {"seeds": 2, "chunk": 5} | search
    whole = run(population(), **options)
    monkeypatch.setattr("optax_lite.sweep._engine.checkpoint.Checkpoint.is_due", lambda self: True)
    advance = _Sweep._advance

    def dies(self, chunk):
        nonlocal left
        left -= 1
        if left < 0:
            raise SystemError("killed")
        advance(self, chunk)

    monkeypatch.setattr(_Sweep, "_advance", dies)
    with pytest.raises(SystemError, match="killed"):
        run(population(), checkpoint=tmp_path, **options)
    monkeypatch.setattr(_Sweep, "_advance", advance)
    same(run(population(), checkpoint=tmp_path, **options), whole)
    again = run(population(), checkpoint=tmp_path, **options)  # that has ended: nothing is trained
    same(again, whole)
    assert again.compiles == 0


KILLED = """
import sys
from optax_lite.sweep._engine.checkpoint import Checkpoint
from optax_lite.sweep._engine.engine import _Sweep
from tests import test_sweep as t
advance, Checkpoint.is_due = _Sweep._advance, lambda self: True
_Sweep._advance = lambda self, chunk: (print("a chunk", flush=True), advance(self, chunk))
train = t.training(steps=8_000, every=400)
result = t.run(t.population(), train, seeds=2, chunk=5, checkpoint=sys.argv[1])
print(result.scores.tobytes().hex())
"""


@pytest.mark.nightly
def test_ten_kills_at_random_moments(tmp_path):
    def start(folder):
        command = [sys.executable, "-c", textwrap.dedent(KILLED), str(folder)]
        return subprocess.Popen(
            command, cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE, text=True
        )

    whole, _ = start(tmp_path / "whole").communicate()
    rng = np.random.default_rng(1)
    for _ in range(10):
        # After some of the hundred chunks, however fast the machine is, and then at any moment of
        # the next one or two.
        process = start(tmp_path / "killed")
        seen = []
        for _ in range(rng.integers(3, 8)):
            assert process.stdout.readline() == "a chunk\n"
            seen.append(time.perf_counter())
        time.sleep(2 * rng.random() * (seen[-1] - seen[-2]))
        process.kill()
        process.communicate()
    output, _ = start(tmp_path / "killed").communicate()
    assert output.split()[-1] == whole.split()[-1]


@pytest.mark.nightly
def test_a_function_is_resumed_chunk_by_chunk(tmp_path, monkeypatch):
    def train(member, key):
        x = jax.random.normal(key, (3,))
        return jnp.sum(member.step(x, member.init(x), x)[0])

    def tx(rate):
        return ol.adam(rate)

    monkeypatch.setattr("optax_lite.sweep._engine.checkpoint.Checkpoint.is_due", lambda self: True)
    members = sweep.grid(tx, rate=RATES)
    whole = run(members, train, chunk=2)
    advance, calls = _Sweep._advance, []

    def dies(self, chunk):
        calls.append(chunk)
        if len(calls) == 3:
            raise SystemError("killed")
        advance(self, chunk)

    monkeypatch.setattr(_Sweep, "_advance", dies)
    with pytest.raises(SystemError):
        run(members, train, chunk=2, checkpoint=tmp_path)
    same(run(members, train, chunk=2, checkpoint=tmp_path), whole)
    assert len(calls) == 4


@pytest.mark.nightly
def test_a_checkpoint_of_another_sweep_is_refused(tmp_path):
    def limited(limit=1.0, rate=0.1):  # other functions each time, as in the next process
        def make(rate, option):
            return ol.chain(ol.clip_by_global_norm(limit), ol.sgd(rate))

        return sweep.grid(make, rate=[0.01, rate], option=[lambda x: x, [lambda x: -x]])

    def train(x=X, scale=1.0, **changes):
        given = {"steps": 4, "batch_size": 16, **changes}
        return sweep.training(
            lambda key: jax.tree.map(lambda p: scale * p, init(key)), loss, (x, Y), **given
        )

    whole = run(limited(), train(), chunk=3, checkpoint=tmp_path)
    again = run(limited(), train(), chunk=3, checkpoint=tmp_path)
    same(again, whole)
    assert again.compiles == 0 and "0x" not in f"{again}{again.table()}"
    others = {
        r"members\[0\] was 'chain\(clip.*, and is now 'chain\(clip.*max_norm=2\)": (
            limited(2.0),
            train(),
        ),
        r"members\[0\] was .*, and is now 'adam": (
            sweep.grid(lambda rate, option: ol.adam(rate), rate=[0.01, 0.1], option=[None]),
            train(),
        ),
        r"settings\[2\] was .*0\.1.*, and is now .*0\.2.*": (limited(rate=0.2), train()),
        "batch_size was 16, and is now 8": (limited(), train(batch_size=8)),
        "seed was 0, and is now 1": (limited(), train(seed=1)),
        "paired was True, and is now False": (limited(), train(paired=False)),
        "it had different data": (limited(), train(x=X + (X[-1] == X))),
        "it had different initial params": (limited(), train(scale=2.0)),
    }
    for told, (members, other) in others.items():
        with pytest.raises(
            ValueError, match=rf"belongs to another sweep: {told}.*; choose"
        ) as error:
            run(members, other, chunk=3, checkpoint=tmp_path)
        assert "its " not in str(error.value)  # nothing that only a digest would tell
    with pytest.raises(
        ValueError, match=r"another sweep: chunk was 3, and is now 4; choose another"
    ):
        run(limited(), train(), chunk=4, checkpoint=tmp_path)


def test_of_an_iterable_a_checkpoint_knows_the_shapes_of_a_batch():
    def known(data):
        return digest(BatchSource(sweep.training(init, loss, data, steps=4), (0,), np.inf).known())

    batches = [(X[:8], Y[:8]), (X[8:16], Y[8:16])]
    assert known(batches) == known(batches[:]) != known(batches[::-1])
    assert known(iter(batches)) == known(iter(batches[::-1])) != known(iter([(X, Y)]))
    assert known(None) == known(None) and known((X, Y)) != known((X, -Y))


@pytest.mark.nightly
def test_ctrl_c_returns_what_there_is_and_the_same_call_goes_on(monkeypatch, tmp_path):
    whole, advance = run(population(), chunk=5), _Sweep._advance

    def interrupts(self, chunk):
        if self.point == 1:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
        advance(self, chunk)

    monkeypatch.setattr(_Sweep, "_advance", interrupts)
    monkeypatch.setattr("optax_lite.sweep._engine.checkpoint.Checkpoint.is_due", lambda self: False)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        result = run(population(), chunk=5, checkpoint=tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    assert result.interrupted
    assert (result.status == "stopped").all()
    assert sorted(np.unique(result.steps)) == [20, 40]
    assert np.isfinite(result.scores).all()
    trained = []
    monkeypatch.setattr(
        _Sweep, "_advance", lambda self, chunk: (trained.append(self.point), advance(self, chunk))
    )
    same(run(population(), chunk=5, checkpoint=tmp_path), whole)
    assert trained and min(trained) == 1


# --- what does not fit ----------------------------------------------------------------------------


def test_a_chunk_without_room_is_refused_with_the_number(monkeypatch):
    monkeypatch.setattr(sweep_devices.Devices, "memory", lambda self: 3_000)
    with pytest.raises(
        ValueError, match=r"run: a chunk of 12 runs needs .* kB, the device has 3 kB; write chunk=6"
    ):
        run(population(), chunk=12)


@pytest.mark.nightly
def test_runs_that_do_not_fit_together_are_refused_or_wait_on_the_host(monkeypatch):
    whole = run(population(), seeds=4, chunk=4)
    monkeypatch.setattr(sweep_devices.Devices, "memory", lambda self: 60_000)
    monkeypatch.setattr("optax_lite.sweep._engine.engine.room_for", lambda *_: False)
    with pytest.raises(
        ValueError, match=r"run: the runs need .* kB on each device, which has 60 kB"
    ):
        run(population(), seeds=4, chunk=4)
    monkeypatch.setattr(
        sweep_devices.Devices,
        "is_cpu",
        property(lambda self: False, lambda self, value: None),
        raising=False,
    )
    same(run(population(), seeds=4, chunk=4), whole)


@pytest.mark.nightly
@pytest.mark.parametrize("search", list(SEARCHES.values())[1:], ids=list(SEARCHES)[1:])
def test_searches_move_runs_that_wait_on_the_host(search, monkeypatch):
    monkeypatch.setattr(sweep_devices.Devices, "memory", lambda self: 60_000)
    monkeypatch.setattr("optax_lite.sweep._engine.engine.room_for", lambda *_: False)
    monkeypatch.setattr(
        sweep_devices.Devices,
        "is_cpu",
        property(lambda self: False, lambda self, value: None),
        raising=False,
    )
    run(population(), seeds=4, chunk=4, **search)


# --- wrong calls ----------------------------------------------------------------------------------


def scalars(params):
    return {"mse": mse(params)["mse"], "norm": jnp.linalg.norm(params["w"])}


WRONG = [
    (
        lambda: sweep.run(ol.adam(1e-3), training()),
        "run: population must be what grid or sample returns, got Gradient",
    ),
    (lambda: run(population(), 3), "run: train must be training"),
    (lambda: run(population(), mode="lowest"), "run: mode must be 'min' or 'max', got 'lowest'"),
    (
        lambda: run(population(), chunk=0),
        "run: chunk must be 'auto' or an integer of at least 1, got 0",
    ),
    (
        lambda: run(population(), seeds=0),
        "run: seeds must be an integer of at least 1, or distinct integers, got 0",
    ),
    (lambda: run(population(), seeds=[1, 1]), "run: seeds must be an integer"),
    (lambda: run(population(), devices=99), "run: devices must be from 1 to"),
    (lambda: run(population(), search="pbt"), "run: search must be successive_halving"),
    (
        lambda: run(population(), lambda m, k: 0.0, search=SEARCHES["pbt"]["search"]),
        "run: search needs training",
    ),
    (
        lambda: run(population(), lambda key, member: 1.0),
        r"run: train is called as train\(member, key\), but is <lambda>\(key, member\): the key",
    ),
    (
        lambda: run(population(), lambda member: 1.0),
        r"run: train is called as train\(member, key\), but is <lambda>\(member\): too many pos",
    ),
    (
        lambda: run(population(), score="acc"),
        "run: score='acc' is not a number of a run; there are",
    ),
    (
        lambda: run(population(), training(eval_fn=scalars)),
        "run: a run has the numbers mse, norm; write score='mse'",
    ),
    (
        lambda: run(
            population(),
            training(eval_fn=lambda p: {"loss": mse(p)["mse"], "norm": scalars(p)["norm"]}),
        ),
        "run: a run has the numbers loss, norm; write score='loss'",
    ),
    (
        lambda: run(population(), training(eval_fn=lambda p: {"step": 1.0})),
        "training: a number of a run is called",
    ),
    (
        lambda: run(population(), training(eval_fn=lambda p: {"batch_loss": 1.0})),
        "training: eval_fn returns 'batch_",
    ),
    (
        lambda: run(population(), lambda m, k: {"step": 1.0}),
        "run: a number of a run is called 'step'",
    ),
    (
        lambda: run(population(), training(eval_fn=lambda p: p["w"])),
        "training: 'eval' of a run must be one number",
    ),
    (
        lambda: run(population(), lambda m, k: (1.0, {"w": 2.0, "b": m})),
        "run: train returned a tuple of .* leaves",
    ),
    (
        lambda: run(
            population(),
            sweep.training(lambda key: {"w": jnp.ones(5), "f": jnp.tanh}, loss, (X, Y), steps=4),
        ),
        (
            "training: params leaf 'f' is the function tanh, not an array. Write params, static "
            "= equinox.partition"
        ),
    ),
    (
        lambda: run(population(), lambda m, k: {"w": jnp.ones(3)}),
        "run: train returned a dict of 1 leaves; ret",
    ),
    (
        lambda: BatchSource(
            sweep.training(init, loss, [(X, Y), (X[:9], Y[:9])], steps=4), (0,), np.inf
        ).stretch(0, 4, 4),
        (
            r"training: batch 1 of data has the shapes \(\(9, 5\), \(9,\)\), but the first has "
            r"\(\(96, 5\), \(96,\)\)"
        ),
    ),
    (
        lambda: run(population(), lambda m, k: jnp.ones(3)),
        "run: 'score' of a run must be one number, got float32",
    ),
    (
        lambda: run(population(), search=sweep.successive_halving([60])),
        "run: rungs must be below the 60 steps",
    ),
    (
        lambda: run(population(), search=sweep.pbt(20, {"lr": (0.8, 1.2)})),
        "pbt: perturb: no argument 'lr'",
    ),
    (
        lambda: run(sweep.grid(ol.sgd, learning_rate=[1]), search=SEARCHES["pbt"]["search"]),
        "run: pbt needs at least 4",
    ),
    (
        lambda: sweep.training(init, loss, (X, Y), steps=0),
        "training: steps must be an integer of at least 1, got 0",
    ),
    (lambda: sweep.training(init, 3, (X, Y), steps=1), "training: loss must be a function, got 3"),
    (
        lambda: run(population(), training(batch_size=97)),
        "training: batch_size is 97, but data has 96 rows",
    ),
    (
        lambda: run(population(), sweep.training(init, loss, iter([(X, Y)]), steps=2)),
        "training: data, an iterator",
    ),
    (
        lambda: run(sweep.grid(lambda a: {"rate": a}, a=[1.0])),
        "training: a member is a dict without 'tx'",
    ),
    (
        lambda: sweep.successive_halving([30, 20]),
        "successive_halving: rungs must be increasing numbers of updates",
    ),
    (
        lambda: sweep.successive_halving([0]),
        "successive_halving: rung must be an integer of at least 1, got 0",
    ),
    (
        lambda: sweep.successive_halving([10], keep=2),
        "successive_halving: keep must be above 0 and below 1, got 2",
    ),
    (lambda: sweep.pbt(0, {"b1": (0.9,)}), "pbt: every must be an integer of at least 1, got 0"),
    (lambda: sweep.pbt(10, {}), "pbt: perturb must be a dict"),
    (
        lambda: sweep.pbt(10, {"b1": 0.9}),
        r"pbt: perturb\['b1'\] must be numbers such as \(0.8, 1.25\), got 0.9",
    ),
    (
        lambda: sweep.pbt(10, {"b1": (0.9,)}, bounds={"b2": (0, 1)}),
        "pbt: bounds has 'b2', which is not in perturb",
    ),
    (
        lambda: sweep.pbt(10, {"b1": (0.9,)}, bounds={"b1": (1, 0)}),
        r"pbt: bounds\['b1'\] must be \(low, high\)",
    ),
    (
        lambda: sweep.pbt(10, {"b1": (0.9,)}, fraction=0.6),
        "pbt: fraction must be above 0 and at most 0.5, got 0.6",
    ),
]


@pytest.mark.parametrize(("call", "message"), WRONG, ids=[message[:60] for _, message in WRONG])
def test_wrong_call(call, message):
    with pytest.raises((ValueError, TypeError), match=f"^{message}"):
        call()


def test_python_control_flow_in_a_training_is_told():
    def train(member, key):
        return 1.0 if jax.random.normal(key) > 0 else 2.0

    with pytest.raises(jax.errors.TracerBoolConversionError) as error:
        run(population(), train)
    assert "run: this is traced, and vmapped over runs: write it with jax.numpy" in "".join(
        error.value.__notes__
    )


NEEDS_AN_INT = {
    "if": lambda member, key: 1.0 if member["n"] > 3 else 0.0,
    "shape": lambda member, key: jnp.sum(jnp.ones(member["n"])),
    "range": lambda member, key: jnp.float32(sum(1 for _ in range(member["n"]))),
    "slice": lambda member, key: jnp.sum(jnp.ones(9)[: member["n"]]),
}


@pytest.mark.parametrize("needed", NEEDS_AN_INT)
def test_a_number_that_may_not_be_traced_can_be_a_word(needed):
    train = NEEDS_AN_INT[needed]
    with pytest.raises((TypeError, IndexError)) as error:
        run(sweep.grid(lambda rate, n: {"rate": rate, "n": n}, rate=[1.0], n=[3, 4]), train)
    assert "give the axis strings, such as n=['64', '128']" in error.value.__notes__[-1]

    def by_word(member, key):
        return train({"n": int(member["n"])}, key)

    words = sweep.grid(lambda rate, n: {"rate": rate, "n": n}, rate=[1.0], n=["3", "4"])
    result = run(words, by_word)
    assert result.scores[:, 0].tolist() == ([0, 1] if needed == "if" else [3, 4])
    assert result.compiles == 2


def test_a_loss_of_eval_fn_is_the_score_beside_that_of_the_batches():
    train = training(steps=4, every=2, eval_fn=lambda p: {"loss": mse(p)["mse"]})
    result = run(sweep.grid(ol.sgd, learning_rate=[0.01]), train)
    plain = run(sweep.grid(ol.sgd, learning_rate=[0.01]), training(steps=4, every=2))
    assert result.score_name == "loss"
    assert_losses_close(result.history["loss"], plain.history["mse"])
    assert_losses_close(result.history["batch_loss"], plain.history["loss"])


def test_a_score_that_should_be_large_is_noted():
    accurate = training(eval_fn=lambda p: {"accuracy": -mse(p)["mse"]})
    assert "mode='max'" in run(population(), accurate).notes[0]
    assert run(population(), accurate, mode="max").notes == ()


def test_optuna_asks_and_is_told():
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))

    def suggest(trial):
        rate = trial.suggest_float("rate", 1e-3, 0.3, log=True)
        if trial.suggest_categorical("method", ["adam", "sgd"]) == "adam":
            return ol.adam(rate, b1=trial.suggest_float("b1", 0.5, 0.95))
        return ol.sgd(rate)

    results = sweep.run_study(
        study, suggest, training(), n_trials=12, batch=5, progress=False, devices=1, chunk=4
    )
    assert [len(r.population) for r in results] == [5, 5, 2]
    # two structures, by the sizes that their shares of a batch need
    assert sum(r.compiles for r in results) <= 6
    assert len(study.trials) == 12
    assert study.best_value == min(float(r.scores.min()) for r in results)
    assert all(t.state.is_finished() for t in study.trials)


def test_a_study_that_fails_leaves_no_trial_running():
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    with pytest.raises(ValueError, match="not a number of a run"):
        sweep.run_study(
            study,
            lambda t: ol.sgd(t.suggest_float("r", 0, 1)),
            training(),
            n_trials=4,
            batch=4,
            score="x",
            progress=False,
        )
    assert [t.state.name for t in study.trials] == ["FAIL"] * 4


def test_one_suggestion_that_fails_or_is_pruned_is_one_trial():
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def suggest(trial):
        rate = trial.suggest_float("rate", 1e-3, 0.1)
        if trial.number in (1, 4, 5):
            raise optuna.TrialPruned("not this one")
        return ol.sgd(rate) if trial.number != 2 else ol.sgd({}[rate])

    def states(catch):
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        call = partial(
            sweep.run_study, study, suggest, training(steps=4, every=4), n_trials=6, batch=4
        )
        try:
            results = call(catch=catch, progress=False, devices=1, chunk=4)
            # of the second batch nothing was left
            assert [len(result.population) for result in results] == [2]
            return [trial.state.name for trial in study.trials]
        except KeyError:
            return [trial.state.name for trial in study.trials]

    with pytest.warns(
        UserWarning,
        match=r"^run_study: trial 2 failed in suggest, and the study continues: KeyError: 0\.",
    ):
        assert states(KeyError) == ["COMPLETE", "PRUNED", "FAIL", "COMPLETE", "PRUNED", "PRUNED"]
    assert states(()) == ["FAIL", "PRUNED", "FAIL"]  # it ends the study, as in study.optimize
    with pytest.raises(
        ValueError, match=r"^run_study: catch must be an exception class or a tuple of them, got"
    ):
        states(("KeyError",))


def test_a_trial_that_was_left_out_is_pruned_and_what_fits_no_study_is_refused():
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    call = partial(
        sweep.run_study, study, lambda t: ol.sgd(t.suggest_float("rate", 1e-3, 0.1)), n_trials=4
    )
    with pytest.raises(ValueError, match=r"run_study: search=pbt\(...\) changes numbers during"):
        call(training(), **SEARCHES["pbt"])
    with pytest.raises(
        ValueError, match="run_study: checkpoint is for one sweep; give the study a storage"
    ):
        call(training(), checkpoint="folder")
    assert not study.trials
    search = sweep.successive_halving([2], keep=0.25)
    (result,) = call(training(steps=4, every=2), search=search, chunk=4, progress=False, devices=1)
    states = [trial.state.name for trial in study.trials]
    assert sorted(states) == ["COMPLETE", "PRUNED", "PRUNED", "PRUNED"]
    assert states.index("COMPLETE") == result.rungs[0].kept[0] == study.best_trial.number
    pruned = study.trials[result.rungs[0].dropped[0]]
    assert pruned.intermediate_values == {2: pytest.approx(result.scores[pruned.number, 0])}
