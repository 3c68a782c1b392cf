"""Successive halving and population-based training on plain losses; whole sweeps with them are in
test_sweep.
"""

import jax.numpy as jnp
import numpy as np
import pytest

import optax_lite as ol
from optax_lite import sweep
from optax_lite.sweep.search import PBT, SuccessiveHalving

PROVES = ("sweep.search",)

NAN, INF = np.nan, np.inf


# --- successive halving ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keep", "losses", "kept"),
    [
        (1 / 3, [3.0, NAN, 1.0, 2.0, 7.0, 5.0, 4.0], [2, 3]),
        (0.5, [3.0, 2.0, 1.0], [2, 1]),
        (0.1, [3.0, 2.0, INF, 1.0], [3]),
        (0.9, [2.0, 1.0, 2.0], [1, 0, 2]),
        # a rounding error keeps no fifth
        (0.5 + 1e-10, [8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0], [7, 6, 5, 4]),
        (0.5, [NAN, NAN], []),
    ],
)
def test_the_best_part_of_those_still_there_survives(keep, losses, kept):
    assert SuccessiveHalving((1,), keep).survivors(np.array(losses)).tolist() == kept


def test_rungs_and_their_part():
    halving = sweep.successive_halving([2, 5])
    assert halving == SuccessiveHalving((2, 5), 1 / 3) and halving.points(6) == {2, 5}
    assert sweep.successive_halving(4, keep=0.25) == SuccessiveHalving((4,), 0.25)
    of_numpy = sweep.successive_halving(np.array([2, 5]))
    assert of_numpy == halving and {type(rung) for rung in of_numpy.rungs} == {int}


@pytest.mark.parametrize(("rungs", "found"), [("12", "'12'"), ([2.5], "2.5"), (0, "0")])
def test_a_rung_is_a_number_of_updates(rungs, found):
    with pytest.raises(
        ValueError, match=f"^successive_halving: rung must be an integer of at least 1, got {found}"
    ):
        sweep.successive_halving(rungs)


def test_a_search_warns_before_it_keeps_the_lowest_return():
    def update(member, carry, key):
        return carry, {"return": carry}

    train = sweep.training(lambda key: jnp.zeros(()), update=update, steps=4)
    population = sweep.grid(ol.sgd, learning_rate=[0.1, 0.2, 0.3])
    with pytest.warns(UserWarning, match="the lowest return counts as the best; write mode='max'"):
        sweep.run(population, train, search=sweep.successive_halving([2]), score="return")
    sweep.run(population, train, search=sweep.successive_halving([2]), score="return", mode="max")


# --- population-based training --------------------------------------------------------------------


def fourth(every=2, perturb=None, bounds=None, fraction=0.25):
    return PBT(every, perturb or {"a": (0.5,)}, bounds or {}, fraction, 0)


@pytest.mark.parametrize(
    ("fraction", "losses", "losers", "best"),
    [
        (0.25, [4.0, 1.0, 5.0, 2.0, 8.0, 3.0, 7.0, 6.0], [4, 6], [1, 3]),
        (0.25, [NAN, 1.0, 5.0, 2.0, INF, 3.0, NAN, 0.5], [6, 4, 0], [7, 1]),
        (0.25, [3.0, 1.0, 2.0], [0], [1]),
        (0.5, [NAN, 1.0, NAN, NAN], [3, 2, 0], [1]),
        (0.25, [NAN, NAN, INF], [], []),
        (0.5, [2.0], [], [0]),
    ],
)
def test_the_worst_and_what_diverged_copy_one_of_the_best(fraction, losses, losers, best):
    copies = fourth(fraction=fraction).copies(np.array(losses), np.random.default_rng(0))
    rng = np.random.default_rng(0)
    assert copies == [(loser, rng.choice(best)) for loser in losers]
    assert {type(i) for pair in copies for i in pair} <= {int}


def test_one_of_the_factors_within_the_bounds():
    rng = np.random.default_rng(0)
    search = fourth(perturb={"a": (0.5,), "b": (2.0,), "c": (0.5, 2.0)}, bounds={"a": (1.0, 3.0)})
    assert [search.explore("a", value, rng) for value in (4.0, 8.0, 1.0)] == [2.0, 3.0, 1.0]
    assert [search.explore("b", value, rng) for value in (4.0, -4.0)] == [8.0, -8.0]
    assert {search.explore("c", 3.0, rng) for _ in range(20)} == {1.5, 6.0}


def test_what_pbt_is_given():
    search = sweep.pbt(5, {"a": [0.8, 1.25]}, bounds={"a": (0, 1)}, fraction=0.5, seed=3)
    assert search == PBT(5, {"a": (0.8, 1.25)}, {"a": (0.0, 1.0)}, 0.5, 3)
    assert sweep.pbt(5, {"a": (2,)}) == PBT(5, {"a": (2.0,)}, {}, 0.25, 0)
    assert fourth(every=2).points(6) == {2, 4} and fourth(every=3).points(3) == set()


@pytest.mark.parametrize(
    ("perturb", "bounds", "message"),
    [
        ({"b1": 0.9}, None, r"perturb\['b1'\] must be numbers such as \(0.8, 1.25\), got 0.9"),
        (
            {"b1": (NAN,)},
            None,
            r"perturb\['b1'\] must be numbers such as \(0.8, 1.25\), got \(nan,\)",
        ),
        ({"b1": (0.9,)}, {"b1": 3}, r"bounds\['b1'\] must be numbers such as \(0.8, 1.25\), got 3"),
    ],
)
def test_factors_and_bounds_are_numbers(perturb, bounds, message):
    with pytest.raises(ValueError, match=f"^pbt: {message}"):
        sweep.pbt(10, perturb, bounds=bounds)
