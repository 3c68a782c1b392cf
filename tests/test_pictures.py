"""Pictures of histories: colours, labels, axes; and that no words lie on a curve, in these and in
those of sweeps. Numbers as they stand in all of them.
"""

import re
from itertools import product

import numpy as np
import pytest

import optax_lite as ol
from optax_lite import sweep
from optax_lite._numbers import is_real, is_whole, show_number, show_numbers
from optax_lite.train.history import History
from tests.nightly import first
from tests.pictures import clashes
from tests.test_sweep_plots import pyplot
from tests.test_sweep_result import course, evolved, halved, rates

__all__ = ["pyplot"]  # a fixture: it closes what a test has drawn


def run(steps=400, speed=1.0, names=("accuracy",), noise=0.3):
    """A made-up history whose loss falls and whose evaluations rise."""
    rng, t = np.random.default_rng(0), np.arange(steps)
    loss = np.exp(-5 * speed * t / steps + noise * rng.normal(size=steps))
    at = np.arange(steps // 10, steps + 1, max(1, steps // 10))
    evals = {name: 1 - np.exp(-(i + 5) * speed * at / steps) for i, name in enumerate(names)}
    return History(loss, t, {}, evals, at, None, 1.0, 1.0, None, None)


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def right_axes(ax):
    return [
        other for other in ax.figure.axes if other is not ax and other.bbox.bounds == ax.bbox.bounds
    ]


def test_two_histories_share_a_picture():
    ax = run().plot(label="SGD")
    assert run(speed=0.5).plot(ax, label="Adam") is ax
    (right,) = right_axes(ax)
    assert right.get_ylabel() == "accuracy" and len(right.lines) == 2
    assert labels(ax) == [
        "SGD: loss, mean of 8",
        "Adam: loss, mean of 8",
        "SGD: accuracy",
        "Adam: accuracy",
    ]
    first, second = (line.get_color() for line in right.lines)
    assert first != second
    # a run has one colour on both axes
    assert [line.get_color() for line in ax.lines] == [first, first, second, second]


def test_histories_without_names_are_told_apart():
    ax = run(names=("accuracy", "f1")).plot()
    run().plot(ax)
    assert labels(ax)[1] == "run 2: loss, mean of 8" and labels(ax)[-1] == "run 2: accuracy"
    (right,) = right_axes(ax)
    assert right.get_ylabel() == "accuracy, f1"
    colors = [line.get_color() for line in (*ax.lines[1::2], *right.lines)]
    assert len(set(colors)) == 4  # loss, accuracy and f1 of the first, and the second


def test_each_picture_of_a_figure_has_its_own_right_axis(pyplot):
    _, (left, right) = pyplot.subplots(1, 2, sharex=True)
    for ax in (left, right):
        for speed in (1.0, 0.5):
            run(speed=speed).plot(ax)
    assert len(right_axes(left)) == len(right_axes(right)) == 1


def test_many_runs_have_many_colours():
    ax = ol.plot_histories({str(i): run(20, 1 + 0.1 * i, ()) for i in range(12)})
    assert len({line.get_color() for line in ax.lines}) == 12


def test_the_scale_is_one_that_shows_every_loss():
    ax = run(noise=0.0).plot()
    assert ax.get_yscale() == "log"
    other = run(noise=0.0)
    other.loss = other.loss - 0.5
    assert other.plot(ax).get_yscale() == "linear"


HISTORIES = {
    "one": lambda: run().plot(),
    "short": lambda: run(20).plot(),
    "no evaluation": lambda: run(names=()).plot(),
    "several evaluations": lambda: run(names=("accuracy", "f1", "recall", "precision")).plot(),
    "two": lambda: ol.plot_histories({"SGD": run(), "Adam": run(speed=0.5)}),
    "six": lambda: ol.plot_histories({f"rate {10.0**-i:g}": run(speed=2**-i) for i in range(6)}),
}
METHODS = {"weight_decay": [0.0, 0.1]}
SWEEPS = {
    "methods": lambda: course(rates(5, **METHODS) + rates(5, factory=ol.lion, **METHODS)),
    "halving": lambda: halved(rates(27)),
    "population-based": lambda: evolved(rates(12)),
    "words": lambda: course(
        sweep.grid(
            lambda learning_rate, init: ol.adam(learning_rate),
            learning_rate=[1e-3, 1e-2],
            init=["glorot_uniform", "he_normal", "lecun_normal", "orthogonal"],
        )
    ),
    "one axis": lambda: course(rates(9)),
    "a grid": lambda: course(rates(5, weight_decay=[0.0, 0.1, 0.3])),
    "large": lambda: course(rates(6, weight_decay=[0.0, 0.1]), mode="max"),
}


@pytest.mark.parametrize("case", first(1, HISTORIES))
def test_no_words_lie_on_the_curves_of_a_history(case):
    ax = HISTORIES[case]()
    assert clashes(ax.figure) == []


@pytest.mark.parametrize("case", first(1, SWEEPS))
def test_no_words_lie_on_what_a_sweep_draws(case):
    figure = SWEEPS[case]().plot()
    assert clashes(figure) == []
    # a strip and a colour bar have no label of an x-axis
    assert all(ax.get_title() for ax in figure.axes if ax.get_xlabel())


@pytest.mark.parametrize("layout", first(1, [None, "constrained"]))
def test_there_is_room_in_a_figure_of_the_users(layout, pyplot):
    figure, ((a, b), (c, d)) = pyplot.subplots(2, 2, figsize=(11, 9), layout=layout)
    run().plot(a, label="SGD")
    run(speed=0.5).plot(a, label="Adam")
    b.set_title("its own")
    made = course(rates(5, weight_decay=[0.0, 0.1, 0.3]))
    for ax, kind in ((b, "curves"), (c, "heatmap")):
        made.plot(kind, ax=ax)
    made.plot("axes", names="learning_rate", ax=d)
    assert clashes(figure) == []


def test_a_subfigure_is_drawn_in(pyplot):
    figure = pyplot.figure(figsize=(11, 5))
    for part in figure.subfigures(1, 2):
        run().plot(part.subplots(), label="SGD")
    assert [len(part.axes) for part in figure.subfigs] == [2, 2]
    assert clashes(figure) == []


@pytest.mark.parametrize("draw", [lambda: run().plot(), lambda: course(rates(9)).plot("curves")])
def test_a_legend_on_a_curve_is_noticed(draw):
    ax = draw()
    places = [f"{y} {x}" for y, x in product(("upper", "lower"), ("left", "right"))]
    found = []
    for place in [*places, "center"]:
        ax.legend(*ax.get_legend_handles_labels(), loc=place)
        found.append(any("legend" in line for line in clashes(ax.figure)))
    assert found[-1] and sum(found) >= 3


def test_words_on_words_and_words_cut_off_are_noticed():
    ax = run().plot()
    ax.figure.text(0.5, 0.99, "half of this is above the edge", ha="center", va="center")
    assert any("is cut off" in line for line in clashes(ax.figure))
    ax.figure.texts[0].set_position(
        ax.figure.transFigure.inverted().transform(ax.xaxis.label.get_window_extent().min)
    )
    assert any("'updates') lies on" in line for line in clashes(ax.figure))


def test_ranges_of_seeds_are_shown_whole():
    made = course(rates(6, 1e-4, 0.05), seeds=5, mode="max", score_name="return")
    made.scores = np.random.default_rng(0).uniform(9, 179, made.scores.shape)
    made.scores[0] = -5000.0  # and one that is not shown at all
    ax = made.plot("axes")
    low, high = ax.get_ylim()
    assert low < made.scores[1:].min() and made.scores[1:].max() < high and low > -1000
    ends = sorted(y for line in ax.lines if len(line.get_ydata()) == 2 for y in line.get_ydata())
    np.testing.assert_allclose([ends[0], ends[-1]], [made.scores[1:].min(), made.scores[1:].max()])
    assert "worse" in labels(ax)


@pytest.mark.parametrize(("mode", "near", "far"), [("min", 1.0, 1.5), ("max", 1.2, 0.7)])
def test_one_seed_far_from_the_others_is_in_the_picture(mode, near, far):
    made = course(rates(6, 1e-4, 0.05), seeds=5, mode=mode)
    made.scores = np.random.default_rng(0).uniform(1.0, 1.2, made.scores.shape)
    made.scores[2] = [near, near, near, near, far]  # with a mean of 1.1
    low, high = made.plot("axes").get_ylim()
    assert low < far < high


NUMBERS = {
    107.7: "108",
    107.12: "107",
    1234.4: "1234",
    9999.7: "10000",
    12345.0: "1.23e+04",
    0.98: "0.98",
    1e-3: "0.001",
    0.00123456: "0.00123",
    3.2e-7: "3.2e-07",
    -55.55: "-55.5",
    0.0: "0",
    float("nan"): "nan",
    float("-inf"): "-inf",
}


@pytest.mark.parametrize("x", NUMBERS)
def test_a_number_is_shown_without_an_exponent_where_it_needs_none(x):
    assert show_number(x) == show_number(np.float64(x)) == NUMBERS[x]


def test_bools_and_words_are_no_numbers():
    whole = [x for x in (3, np.int32(3), True, np.True_, 3.0, "3", None) if is_whole(x)]
    real = [x for x in (3, np.float32(0.5), 0.5, False, "3", 1j, None) if is_real(x)]
    assert (whole, real) == ([3, 3], [3, 0.5, 0.5])


def test_numbers_that_differ_look_different():
    assert show_numbers([0.98012, 0.97988, 0.5, 0.5]) == ["0.9801", "0.9799", "0.5", "0.5"]
    assert show_numbers([107.7, 107.1, 1.00004, 1.0]) == ["108", "107", "1.00004", "1"]
    assert show_numbers([1.0, 1 + 1e-9]) == ["1", "1"]  # that near they are a tie


def test_a_map_tells_scores_apart():
    made = course(rates(4, 1e-3, 0.1, weight_decay=[0.0, 0.1, 0.3]), mode="max")
    made.scores = np.linspace(107.1, 107.7, 12)[:, None] + np.zeros(3)
    texts = [text.get_text() for text in made.plot("heatmap").texts]
    assert len(set(texts)) == 12 and not any("e" in text for text in texts)


def test_the_numbers_of_a_large_map_stay_in_their_cells():
    decays = [*np.linspace(0, 0.01, 11)]
    ax = course(rates(11, 3e-3, 0.1, weight_decay=decays)).plot("heatmap")
    ax.figure.canvas.draw()
    assert len(ax.texts) == 121
    width = ax.bbox.width / 11
    assert all(text.get_window_extent().width < width for text in ax.texts)


def test_the_bar_and_the_history_show_one_throughput(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")  # a narrow terminal cuts its columns off
    for forced in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(forced, raising=False)
    x = np.ones((8, 3), np.float32)
    _, history = ol.fit(
        lambda w, x: ((x @ w) ** 2).mean(),
        np.ones(3, np.float32),
        (x,),
        ol.sgd(0.1),
        steps=40,
        eval_fn=lambda w: w[0],
        progress=True,
    )
    (shown,) = re.findall(r"(\S+) steps/s", repr(history))
    assert f"{shown} steps/s" in capsys.readouterr().out
