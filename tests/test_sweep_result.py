"""Results of sweeps: ranking, best, table, files, pictures; on made-up courses of training."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

import optax_lite as ol
from optax_lite import sweep
from optax_lite.core.validate import ArgumentError
from optax_lite.sweep.report import methods_of
from optax_lite.sweep.result import Copy, Result, Rung

STEPS = np.arange(100, 1001, 100)


def course(population, seeds=3, *, noise=0.05, mode="min", **changes):
    """A result in which the loss falls fastest near learning_rate = 0.01, and runs above 0.1
    diverge.
    """
    rng, n = np.random.default_rng(0), len(population)
    rate = np.array([s.get("learning_rate", 0.01) for s in population.settings])
    decay = np.array([s.get("weight_decay", 0.0) for s in population.settings])
    speed = np.exp(-(np.log10(rate / 0.01) ** 2)) * (1 - 0.3 * decay)
    loss = 2.3 * np.exp(-5 * speed[:, None, None] * (STEPS / 1000) ** 0.5)
    loss = loss * np.exp(
        noise * rng.normal(size=(n, seeds, 1)) + 0.02 * rng.normal(size=(n, seeds, STEPS.size))
    )
    diverged = (rate > 0.1)[:, None] & (rng.random((n, seeds)) < 0.8)
    loss = np.where(
        diverged[..., None] & (STEPS > 300),
        np.nan,
        loss * np.where(diverged[..., None], STEPS / 50, 1),
    )
    accuracy = np.exp(-loss / 2)
    values = loss if mode == "min" else accuracy
    worst = np.inf if mode == "min" else -np.inf
    fields = {
        "population": population,
        "seeds": tuple(range(seeds)),
        "trained": "loss",
        "mode": mode,
        "score_name": "loss" if mode == "min" else "accuracy",
        "scores": np.where(diverged, worst, values[..., -1]),
        "status": np.where(diverged, "diverged", "done"),
        "steps": np.where(diverged, 350, 1000),
        "history": {"step": STEPS, "loss": loss, "accuracy": accuracy},
        "hyperparams": {},
        "rungs": (),
        "lineage": (),
        "outputs": lambda m, s: {"w": np.array([m, s])},
        "seconds": 12.34,
        "compile_seconds": 3.21,
        "compiles": 2,
        "probes": 3,
        "chunk": (16,),
        "interrupted": False,
        "notes": (),
    }
    return Result(**fields | changes)


def halved(population, seeds=2, rungs=(200, 500)):
    """The same with two thirds of the members pruned at each rung."""
    made = course(population, seeds)
    present, found = np.arange(len(population)), []
    scores, status, steps = made.scores.copy(), made.status.copy(), made.steps.copy()
    for step in rungs:
        at = int(np.flatnonzero(step == STEPS)[0])
        order = present[
            np.argsort(np.nan_to_num(made.history["loss"][present, :, at], nan=np.inf).mean(1))
        ]
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
    """The same with the learning rate of the worst quarter taken from the best, and changed, at
    every second point.
    """
    made, rng, n = course(population, seeds), np.random.default_rng(1), len(population)
    rate = np.empty((n, seeds, STEPS.size))
    rate[..., 0] = np.array([s["learning_rate"] for s in population.settings])[:, None]
    loss, lineage = np.empty_like(rate), []
    level = np.full((n, seeds), 2.3)
    for k in range(STEPS.size):
        target = 0.1 * 0.1 ** (k / 5)
        level = (
            level
            * np.exp(-0.4 * np.exp(-(np.log10(rate[..., k] / target) ** 2)))
            * rng.uniform(0.95, 1.05, (n, seeds))
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
    made.hyperparams, made.lineage, made.scores = (
        {"learning_rate": rate},
        tuple(lineage),
        loss[..., -1],
    )
    made.status, made.steps = np.full((n, seeds), "done"), np.full((n, seeds), 1000)
    return made


def rates(n=7, low=1e-4, high=1.0, factory=ol.adamw, **axes):
    return sweep.grid(factory, learning_rate=np.geomspace(low, high, n), **axes)


def test_the_best_is_the_first_of_the_ranking():
    made = course(rates())
    best = made.best()
    assert best.index == 3 and best.settings == {"learning_rate": pytest.approx(0.01)}
    assert best.score == made.scores[3].mean() and best.spread == pytest.approx(
        made.scores[3].std(ddof=1)
    )
    assert best.optimizer == ol.adamw(best.settings["learning_rate"])
    assert best.params["w"].tolist() == [3, int(made.scores[3].argmin())]
    assert "member 3, learning_rate=0.01: loss" in repr(made) and "17 done, 4 diverged" in repr(
        made
    )
    assert repr(best).startswith("Best(member 3, learning_rate=0.01: ")
    highest = course(rates(), mode="max")
    assert highest.best().index == 3 and highest.ranking()[-1].score == -np.inf


def test_a_diverged_seed_is_the_worst_and_all_of_them_an_error():
    made = course(rates(3, 1e-3, 0.1))
    made.scores[1, 0], made.status[1, 0] = np.inf, "diverged"
    assert [place.member for place in made.ranking()][-1] == 1
    made.scores[:, 0], made.status[:, 0] = np.inf, "diverged"
    assert made.best().index == 1 and made.best().score == np.inf  # of its other seeds
    made.scores[:], made.status[:] = np.inf, "diverged"
    with pytest.raises(
        ArgumentError, match=r"best: all 9 runs diverged, .* smaller learning rates"
    ):
        made.best()
    assert "no run has a finite score" in repr(made)
    made.scores[1:], made.status[1:] = np.nan, "done"
    with pytest.raises(
        ArgumentError,
        match=r"best: loss, the score, is NaN or infinite in every run that did not div",
    ):
        made.best()


def test_what_was_pruned_is_behind_what_went_on():
    made = halved(rates(9, 1e-4, 0.1))
    order = [place.member for place in made.ranking()]
    last, first = made.rungs[1], made.rungs[0]
    assert (
        order[0] == last.kept[0]
        and set(order[1:3]) == set(last.dropped)
        and set(order[3:]) == set(first.dropped)
    )
    made.scores[order[0]], made.status[order[0]] = np.inf, "diverged"

    def outputs(m, s):
        raise ArgumentError("gone", "result")

    made.outputs = outputs
    assert made.best().index == last.dropped[0] and made.best().params is None


def test_interrupted_runs_are_compared_where_all_were():
    made = course(rates(5, 1e-3, 0.1))
    made.interrupted, made.status[:] = True, "stopped"
    made.history["loss"][1:, :, 6:] = np.nan
    made.scores = np.where(
        np.arange(5)[:, None] > 0, made.history["loss"][..., 5], made.history["loss"][..., -1]
    )
    np.testing.assert_array_equal(made.compared(), made.history["loss"][..., 5])
    assert "interrupted; runs are compared" in repr(made)
    made.scores[:] = np.nan
    with pytest.raises(ArgumentError, match="best: no run has a score yet"):
        made.best()


def test_the_edge_of_the_space_is_told():
    made = course(rates(4, 1e-5, 1e-2))
    told = "learning_rate = 0.01 is at the highest end of its axis; widen it"
    assert told in repr(made) and told in repr(made.table()) and told in repr(made.best())
    assert not course(rates()).edges()
    made = course(rates(4, 1e-4, 0.1) + rates(4, 1e-5, 1e-2, factory=ol.lion))
    made.scores[7] = 0.001  # its rate is the highest of its own axis, and within the other one
    assert made.edges() == (told,)


def test_a_run_of_pbt_has_what_its_ancestors_began_with_and_its_own_end():
    made = evolved(rates(8, 1e-3, 1.0, weight_decay=[0.0]))
    best = made.best()
    place = made.ranking()[0]
    seed = place.seeds[0]
    assert made.scores.min() == best.score and np.isnan(best.spread)
    assert best.settings["learning_rate"] == made.hyperparams["learning_rate"][best.index, seed, -1]
    assert best.optimizer == ol.adamw(best.settings["learning_rate"], weight_decay=0.0)
    made.lineage = (
        Copy(300, seed, 5, 2),
        Copy(500, seed, best.index, 5),
        Copy(500, 1 - seed, 2, 0),
    )
    assert made.ancestry(best.index, seed) == [(300, 2), (500, 5), (1000, best.index)]
    assert made.table().header == [
        "rank",
        "member",
        "seed",
        "learning_rate",
        "weight_decay",
        "loss",
        "status",
        "updates",
    ]


def test_the_table_and_the_file(tmp_path):
    made = course(
        rates(4, 1e-3, 1.0) + sweep.grid(ol.lion, learning_rate=[1e-3, 1e-2], weight_decay=[0.1])
    )
    table = made.table(3)
    names = ["optimizer", "learning_rate", "weight_decay"]
    assert table.header == ["rank", "member", *names, "loss", "status", "updates"]
    assert (
        table.cells[0][:5] == ["1", "1", "adamw", "0.01", "–"]
        and table.notes[0] == "and 3 more; table(None) shows all"
    )
    assert len(str(table).splitlines()) == 5 + len(table.notes) and "<td" in table._repr_html_()
    assert len(made.table(None).cells) == 6
    made.to_csv(tmp_path / "runs.csv")
    lines = (tmp_path / "runs.csv").read_text(encoding="utf-8").splitlines()
    assert (
        lines[0] == "member,seed,optimizer,learning_rate,weight_decay,score,status,steps"
        and len(lines) == 19
    )
    assert lines[-1].startswith("5,2,lion,0.01,0.1,") and lines[-1].endswith(",done,1000")


def test_a_file_has_functions_by_name(tmp_path):
    rules = sweep.grid(
        lambda rule, learning_rate: rule(learning_rate),
        rule=[ol.adamw, ol.lion],
        learning_rate=[0.1],
    )
    course(rules).to_csv(tmp_path / "runs.csv")
    _, first, *_, last = (tmp_path / "runs.csv").read_text(encoding="utf-8").splitlines()
    assert first.startswith("0,0,adamw,<function adamw>,0.1,") and last.startswith(
        "1,2,lion,<function lion>,0.1,"
    )


def test_methods_are_named_where_no_axis_does_it():
    def method(name, learning_rate):
        return (
            ol.chain(ol.clip(1.0), ol.sgd(learning_rate))
            if name == "plain"
            else ol.lion(learning_rate)
        )

    assert methods_of(rates(3) + rates(3, factory=ol.lion)) == ("adamw",) * 3 + ("lion",) * 3
    assert not methods_of(rates(3)) and not methods_of(
        rates(2, factory=method, name=["plain", "lion"])
    )
    clipped = sweep.grid(lambda lr: {"tx": method("plain", lr)}, lr=[0.1])
    assert methods_of(clipped + rates(1))[0] == "clip + sgd"
    assert not methods_of(sweep.grid(lambda x: x * 1.0, x=[1.0, 2.0]))


def test_a_data_frame(monkeypatch):
    pandas = pytest.importorskip("pandas")
    frame = course(rates(3, 1e-3, 0.1)).to_pandas()
    assert isinstance(frame, pandas.DataFrame) and frame.shape == (9, 6)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(
        ImportError, match=r"result.to_pandas\(\) needs pandas; write pip install pandas"
    ):
        course(rates(3)).to_pandas()


# --- what functions and updates leave -------------------------------------------------------------


def function(population, **changes):
    """A result of a function of the user's own, that returned two series."""

    def outputs(m, s):
        series = {"curve": np.arange(4.0) + m, "drawn": np.arange(2 + m)}
        return {"params": {"w": np.array([m, s])}, "return": np.float32(m), **series}

    made = course(population, seeds=2)
    history = {"step": np.ones(1, int), "return": made.scores[..., None]}
    changes = {"outputs": outputs, "score_name": "return"} | changes
    for name, value in ({"trained": "function", "history": history} | changes).items():
        setattr(made, name, value)
    return made


def test_a_function_counts_no_updates_and_returns_an_output(tmp_path):
    made = function(rates(3, 1e-3, 1e-2))
    best = made.best()
    assert best.output["return"] == best.index and best.params is best.output["params"]
    assert made.table().header == ["rank", "member", "learning_rate", "return", "status"]
    assert list(made.rows()[0]) == ["member", "seed", "learning_rate", "score", "status"]
    made.to_csv(tmp_path / "runs.csv")
    assert (
        (tmp_path / "runs.csv").read_text().splitlines()[0].endswith("learning_rate,score,status")
    )
    made.outputs = lambda m, s: np.float32(m)
    assert made.best().params is None and made.best().output.dtype == np.float32
    made.status[:], made.scores[:] = "diverged", np.inf
    with pytest.raises(
        ArgumentError, match="best: return, the score, is NaN or infinite in every run;"
    ):
        made.best()


def test_params_are_those_in_a_carry():
    made = course(rates(3, 1e-3, 1e-2), trained="update", outputs=lambda m, s: Copy(m, s, 0, 0))
    assert made.best().params is None and isinstance(made.best().output, Copy)
    made.outputs = lambda m, s: SimpleNamespace(params="of a TrainState")
    assert made.best().params == "of a TrainState"
    assert made.table().header[-1] == "updates"


def test_a_series_that_a_function_returned_is_drawn():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    made = function(rates(3, 1e-3, 1e-2))
    ax = made.plot("curves", metric="curve", top=1)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step", "curve")
    best = made.ranking()[0].member
    shown = [line for line in ax.get_lines() if line.get_linewidth() == 2]
    assert shown[0].get_xdata().tolist() == [1, 2, 3, 4]
    assert shown[0].get_ydata().tolist() == (np.arange(4) + best).tolist()
    name, values = made._series("drawn")
    assert name == "drawn" and np.isnan(values[0, 0]).tolist() == [False, False, True, True]
    told = (
        "metric must name a series, a one-dimensional array in a dict; train returned curve, drawn"
    )
    with pytest.raises(ArgumentError, match=told):
        made.plot("curves")
    with pytest.raises(
        ArgumentError, match=r"plot: 'return' is not a series, .*; train returned curve"
    ):
        made.plot("curves", metric="return")
    one = function(rates(3, 1e-3, 1e-2), outputs=lambda m, s: {"only": np.ones(3)})
    assert one.plot("curves").get_ylabel() == "only"
    none = function(rates(3, 1e-3, 1e-2), outputs=lambda m, s: np.ones(3))
    with pytest.raises(ArgumentError, match="train returned none"):
        none.plot("curves")


def test_a_function_that_was_interrupted_has_the_series_of_the_runs_that_ended():
    def outputs(m, s):
        if m == 2:
            raise ArgumentError("not there", "result")
        return {"curve": np.ones(3)}

    made = function(rates(3, 1e-3, 1e-2), outputs=outputs, interrupted=True)
    made.status[2], made.scores[2] = "stopped", np.nan
    assert np.isnan(made._series(None)[1][2]).all() and made.plot("curves").get_xlabel() == "step"


@pytest.mark.parametrize("ask", ["settings", "ended", "ancestry"])
def test_a_run_that_there_is_not_is_named(ask):
    made = course(sweep.grid(ol.adam, learning_rate=[1e-3, 1e-2]), seeds=3)
    for run, problem in {
        (2, 0): "member must be in 0..1, got 2",
        (-1, 0): "member must be in 0..1, got -1",
        (0, 3): "seed, a position in result.seeds, must be in 0..2, got 3",
    }.items():
        with pytest.raises(ArgumentError, match=f"^result: {problem}$"):
            getattr(made, ask)(*run)
