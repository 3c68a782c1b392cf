"""Pictures of sweeps: which are drawn for what, what stands in them, what is said where there is
none.
"""

import sys
import warnings

import numpy as np
import pytest

import optax_lite as ol
from optax_lite import sweep
from optax_lite.core.validate import ArgumentError
from tests.nightly import first
from tests.test_sweep_result import course, evolved, halved, rates


@pytest.fixture(autouse=True)
def pyplot():
    """Imported by the one process that draws."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def titles(figure):
    """(x, y) of each panel, without strips and colour bars."""
    return [(ax.get_xlabel(), ax.get_ylabel()) for ax in figure.axes if ax.get_xlabel()]


def test_a_figure_has_what_there_is_to_see():
    one = course(rates(5)).plot()
    assert titles(one) == [("updates", "loss"), ("learning_rate", one.axes[1].get_ylabel())]
    grid = course(rates(5, weight_decay=[0.0, 0.1, 0.3])).plot()
    assert [x for x, _ in titles(grid)] == [
        "updates",
        "learning_rate",
        "weight_decay",
        "learning_rate",
    ]
    pbt = evolved(rates(8)).plot()
    # settings of the beginning say little
    assert [y for _, y in titles(pbt)] == ["loss", "learning_rate"]
    halving = halved(rates(9)).plot()
    assert [x for x, _ in titles(halving)] == ["updates", "learning_rate"]


def test_curves_name_the_best(pyplot):
    made = course(rates(9))
    ax = made.plot("curves")
    assert ax.get_yscale() == "log" and ax.get_xlabel() == "updates"
    assert (
        len(labels(ax)) == 6 and labels(ax)[0].startswith("0.01") and labels(ax)[-1] == "diverged"
    )
    assert len(labels(made.plot("curves", top=2))) == 3
    assert made.plot("curves", metric="accuracy").get_ylabel() == "accuracy"
    given = pyplot.figure().gca()
    assert made.plot("curves", ax=given) is given


def test_options_may_be_lists_and_functions():
    def make(learning_rate, sizes):
        return ol.adamw(learning_rate)

    options = [[8, 8], [16], np.tanh, lambda x: x]
    figure = course(sweep.grid(make, learning_rate=[1e-3, 1e-2], sizes=options)).plot()
    shown = {
        text.get_text()
        for axes in figure.axes
        for text in axes.get_yticklabels() + axes.get_xticklabels()
    }
    assert {"[8, 8]", "[16]", "tanh", "<lambda>"} <= shown


def test_methods_have_colours():
    two = rates(5, weight_decay=[0.0, 0.1]) + rates(5, factory=ol.lion, weight_decay=[0.0, 0.1])
    made = course(two)
    assert {label.split(",")[0] for label in labels(made.plot("curves"))} == {
        "adamw",
        "lion",
        "diverged",
    }
    assert {"adamw", "lion", "best"} <= set(labels(made.plot("axes", names="learning_rate")))
    assert [ax.get_title().split(",")[0].split(";")[0] for ax in made.plot("heatmap")] == [
        "adamw",
        "lion",
    ]


def test_scales_follow_the_values():
    def factory(learning_rate, momentum, weight_decay, nesterov):
        return ol.chain(
            ol.add_decayed_weights(weight_decay), ol.sgd(learning_rate, momentum, nesterov)
        )

    space = {
        "momentum": [0.8, 0.85, 0.9],
        "weight_decay": [0, 1e-4, 1e-2],
        "nesterov": [True, False],
    }
    rate, momentum, decay, flag = course(rates(4, factory=factory, **space)).plot("axes")
    assert (rate.get_xscale(), momentum.get_xscale()) == ("log", "linear")
    assert [text.get_text() for text in decay.get_xticklabels()] == ["0", "0.0001", "0.01"]
    assert [text.get_text() for text in flag.get_xticklabels()] == ["True", "False"]


def test_brackets_and_lineage():
    ax = halved(rates(27)).plot("brackets")
    (strip,) = ax.child_axes
    assert [text.get_text() for text in strip.texts] == ["27", "9", "3"]
    made = evolved(rates(12))
    ax = made.plot("lineage")
    assert ax.get_ylabel() == "learning_rate" and ax.get_yscale() == "log"
    thick = max(ax.lines, key=lambda line: line.get_linewidth())
    place = made.ranking()[0]
    assert (
        thick.get_ydata()[-1] == made.hyperparams["learning_rate"][place.member, place.seeds[0], -1]
    )
    first = made.ancestry(place.member, place.seeds[0])[0][1]
    assert thick.get_ydata()[0] == made.hyperparams["learning_rate"][first, place.seeds[0], 0]


def test_a_map_has_a_cell_for_every_pair():
    ax = course(rates(4, 1e-3, 0.1, weight_decay=[0.0, 0.1, 0.3])).plot("heatmap")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("learning_rate", "weight_decay")
    assert ax.collections[0].get_array().size == 12 and len(ax.texts) == 12


def test_a_map_is_of_those_that_have_both_axes():
    space = {"weight_decay": [0.0, 0.1, 0.3]}
    # with axes of their own
    mixed = rates(4, 1e-3, 0.1, **space) + rates(6, 1e-3, 0.1, factory=ol.sgd)
    assert course(mixed).plot("heatmap").collections[0].get_array().size == 12
    assert len(course(mixed).plot().axes) == 5


@pytest.mark.parametrize("case", first(2, ["all diverged", "interrupted", "one seed", "sampled"]))
def test_odd_sweeps_are_drawn_without_a_warning(case):
    made = course(rates(6, weight_decay=[0.0, 0.1]), seeds=1 if case == "one seed" else 3)
    if case == "all diverged":
        made.scores[:], made.status[:] = np.inf, "diverged"
        made.history["loss"][:] = np.nan
    if case == "interrupted":
        made.interrupted, made.status[:] = True, "stopped"
        made.history["loss"][..., 4:] = np.nan
        made.history["loss"][3:, :, 3:] = made.scores[:] = np.nan
    if case == "sampled":
        made = course(
            sweep.sample(
                ol.adamw, 16, learning_rate=sweep.loguniform(1e-4, 1), b1=sweep.uniform(0.8, 0.99)
            ),
            mode="max",
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made.plot().canvas.draw()


def test_what_cannot_be_drawn_is_told(pyplot, monkeypatch):
    made = course(rates(4))
    for kind, why in {
        "brackets": "no member was dropped; write search=successive_halving",
        "lineage": "no run took over from another; write search=pbt",
        "heatmap": "it needs two axes of a grid",
    }.items():
        with pytest.raises(ArgumentError, match=f"plot: nothing to draw for kind '{kind}': {why}"):
            made.plot(kind)
    with pytest.raises(ArgumentError, match=r"plot: kind must be one of curves, .*got 'curve'"):
        made.plot("curve")
    with pytest.raises(
        ArgumentError, match="plot: metric 'acuracy' was not measured; there are accuracy"
    ):
        made.plot("curves", metric="acuracy")
    with pytest.raises(
        ArgumentError, match="plot: names has 'lr', which is not an axis; there are learning_rate"
    ):
        made.plot("axes", names="lr")
    with pytest.raises(ArgumentError, match="plot: top must be an integer of at least 1, got 0"):
        made.plot("curves", top=0)
    with pytest.raises(ArgumentError, match="plot: ax takes one picture, but there are 2"):
        made.plot(ax=pyplot.figure().gca())
    saved = r"to save the picture write result.plot\('axes'\).figure.savefig\('x.png'\)"
    with pytest.raises(ArgumentError, match=f"plot: ax must be .* got 'x.png'; {saved}"):
        made.plot("axes", ax="x.png")
    made.history = {"step": np.array([1]), "loss": made.history["loss"][..., -1:]}
    with pytest.raises(
        ArgumentError,
        match="plot: nothing to draw for kind 'curves': a run was evaluated only once",
    ):
        made.plot("curves")
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(
        ImportError, match=r"result.plot\(\) needs matplotlib; write pip install matplotlib"
    ):
        made.plot()
