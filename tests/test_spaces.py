"""Spaces and populations: what members a space has, how they are stacked, and what wrong spaces are
told.
"""

import builtins
import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import optax_lite as ol
from optax_lite import sweep
from optax_lite.core.validate import ArgumentError
from optax_lite.sweep.population import Flag, Population
from optax_lite.sweep.spaces import edges
from tests.closeness import A_STEP, assert_close
from tests.nightly import first

X = np.linspace(-1, 1, 24, dtype=np.float32).reshape(8, 3)
START = {"w": np.array([0.5, -1.0, 2.0], np.float32), "b": np.float32(0.1)}


def loss(params):
    return jnp.mean((X @ params["w"] + params["b"] - 1) ** 2)


def train(tx, params=START, steps=6):
    params = jax.tree.map(jnp.asarray, params)

    def body(carry, _):
        params, state = carry
        return tx.step(jax.grad(loss)(params), state, params), None

    return lax.scan(body, (params, tx.init(params)), length=steps)[0][0]


def scheduled(peak, warmup, decay):
    """Numbers in a schedule, in a chain, in a groups."""
    rate = ol.warmup_cosine_decay_schedule(0.0, peak, warmup, 20)
    return ol.groups(
        ol.chain(ol.clip_by_global_norm(1.0), ol.adamw(rate, weight_decay=decay)),
        {"b": {"weight_decay": 0.0}},
    )


def with_entropy(rate, entropy):
    return {"tx": ol.adam(rate), "entropy": entropy}


# --- what a space holds ---------------------------------------------------------------------------


def test_a_grid_is_every_combination_the_first_axis_slowest():
    made = sweep.grid(ol.adamw, learning_rate=[0.1, 0.2], weight_decay=(0, 0.5, 1))
    expected = [(a, b) for a in (0.1, 0.2) for b in (0, 0.5, 1)]
    assert [tuple(s.values()) for s in made.settings] == expected
    assert list(made) == [ol.adamw(a, weight_decay=b) for a, b in expected]
    assert len(made) == 6 and made.axes == ("learning_rate", "weight_decay")
    assert repr(made) == "Population(6 members over learning_rate x weight_decay, 1 structure)"


@pytest.mark.parametrize(
    "axis", [np.array([1.0, 2.0]), jnp.array([1.0, 2.0]), np.array([1, 2]), range(1, 3), (1, 2)]
)
def test_an_axis_is_any_list_and_settings_are_python_numbers(axis):
    made = sweep.grid(ol.sgd, learning_rate=axis)
    values = [s["learning_rate"] for s in made.settings]
    assert values == [1, 2] and {type(x) for x in values} <= {int, float}


def test_an_axis_may_be_of_pandas_or_of_bfloat16():
    pandas = pytest.importorskip("pandas")
    for axis in (
        pandas.Series([0.5, 0.25]),
        jnp.array([0.5, 0.25], jnp.bfloat16),
        [np.float32(0.5), jnp.float32(0.25)],
    ):
        values = [s["learning_rate"] for s in sweep.grid(ol.sgd, learning_rate=axis).settings]
        assert values == [0.5, 0.25] and {type(x) for x in values} == {float}


def test_an_axis_may_hold_what_is_no_number():
    made = sweep.grid(
        lambda make, mask: make(0.1, mask=mask), make=[ol.adamw, ol.lion], mask=[None, "w"]
    )
    assert [s["mask"] for s in made.settings] == [None, "w", None, "w"] and len(made.groups()) == 4


METHODS = ["sobol", "halton", "lhs", "random"]


@pytest.mark.parametrize("n", [1, 7, 64])
@pytest.mark.parametrize("method", METHODS)
def test_a_sample_lies_in_its_space(method, n):
    made = sweep.sample(
        lambda **values: values,
        n,
        method=method,
        seed=3,
        a=sweep.uniform(-1, 3),
        b=sweep.loguniform(1e-5, 0.1),
        c=sweep.choice(["x", "y"]),
        d=sweep.randint(-2, 2),
        e=[10, 20, 30],
    )
    assert len(made) == n and made.axes == tuple("abcde")
    columns = {name: [s[name] for s in made.settings] for name in "abcde"}
    assert all(type(x) is float and -1 <= x <= 3 for x in columns["a"])
    assert all(type(x) is float and 1e-5 <= x <= 0.1 for x in columns["b"])
    assert all(type(x) is int and -2 <= x < 2 for x in columns["d"])
    if n == 64:
        assert [set(columns[c]) for c in "cde"] == [{"x", "y"}, {-2, -1, 0, 1}, {10, 20, 30}]
        assert (
            0.4 < np.mean(np.asarray(columns["a"]) > 1) < 0.6
            and 0.4 < np.mean(np.asarray(columns["b"]) > 1e-3) < 0.6
        )


@pytest.mark.parametrize("method", ["sobol", "lhs"])
def test_each_part_of_an_axis_has_one_point(method):
    made = sweep.sample(
        lambda **x: x, 32, method=method, a=sweep.uniform(0, 32), b=sweep.uniform(0, 32)
    )
    for name in made.axes:
        assert sorted(int(s[name]) for s in made.settings) == list(range(32))


@pytest.mark.parametrize("method", METHODS)
def test_a_seed_repeats_and_another_one_differs(method):
    def points(n, seed):
        return sweep.sample(
            ol.sgd, n, method=method, seed=seed, learning_rate=sweep.uniform(0, 1)
        ).settings

    assert points(12, 0) == points(12, 0) != points(12, 1)
    if method != "lhs":
        assert points(40, 0)[:12] == points(12, 0), (
            "more points of one seed begin with the fewer ones"
        )


def test_a_range_never_leaves_its_ends():
    for axis in (
        sweep.uniform(0.1, 0.3),
        sweep.loguniform(1e-7, 3e-1),
        sweep.randint(5, 8),
        sweep.randint(-3, 0),
    ):
        ends = axis.at(0.0), axis.at(float(np.nextafter(1.0, 0.0)))
        assert axis.low == ends[0] and ends[1] <= (axis.high - 1 if axis.whole else axis.high)


# --- one structure, stacked -----------------------------------------------------------------------

POPULATIONS = {
    "adamw": (sweep.grid, ol.adamw, {"learning_rate": [0.01, 0.1], "weight_decay": [0, 0.1]}),
    "schedule": (
        sweep.grid,
        scheduled,
        {"peak": [0.01, 0.1], "warmup": [2, 4], "decay": [0.1, 0.3]},
    ),
    "sgd": (sweep.grid, ol.sgd, {"learning_rate": [0.01, 0.1], "momentum": [0.5, 0.9]}),
}


@pytest.mark.parametrize("double", first(1, [False, True]))
@pytest.mark.parametrize("name", POPULATIONS)
def test_a_member_under_vmap_is_the_member_alone(name, double):
    make, factory, axes = POPULATIONS[name]
    with jax.enable_x64(double):
        population = make(factory, **axes)
        (members,) = population.groups()
        assert {x.dtype for x in jax.tree.leaves(members.stacked)} == {
            np.dtype("float64" if double else "float32")
        }
        together = jax.jit(jax.vmap(train))(members.stacked)
        for i, member in enumerate(population):
            alone = jax.jit(train)(member)
            assert_close(jax.tree.map(lambda a, i=i: a[i], together), alone, ulps=6 * A_STEP)


def test_a_stack_is_what_vmap_over_the_factory_makes():
    rates = np.geomspace(1e-4, 1, 5)
    (members,) = sweep.grid(ol.adamw, learning_rate=rates).groups()
    expected = jax.vmap(ol.adamw)(jnp.asarray(rates))
    assert jax.tree.structure(members.stacked) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, members.stacked, expected)
    np.testing.assert_array_equal(members.index, np.arange(5))


def test_structures_stand_in_the_order_they_appear():
    made = sweep.grid(ol.sgd, learning_rate=[0.1, 0.2], momentum=[0.9], nesterov=[True, False])
    assert [list(g.index) for g in made.groups()] == [[0, 2], [1, 3]]
    assert "2 structures" in repr(made)
    (first, _) = made.groups()
    np.testing.assert_allclose(first.stacked.hyperparams["learning_rate"], [0.1, 0.2], rtol=1e-7)


def test_a_member_may_hold_more_than_an_optimizer():
    made = sweep.grid(with_entropy, rate=[0.1, 0.2], entropy=[0, 0.25])
    (members,) = made.groups()
    np.testing.assert_array_equal(members.stacked["entropy"], np.float32([0, 0.25, 0, 0.25]))
    assert made[1] == {"tx": ol.adam(0.1), "entropy": 0.25}
    (whole,) = sweep.grid(with_entropy, rate=[0.1], entropy=[0, 2]).groups()
    assert whole.stacked["entropy"].dtype == np.int32


def test_words_none_and_flags_are_structure():
    made = sweep.grid(
        lambda rate, kind, flag, extra: {
            "tx": ol.adam(rate),
            "kind": kind,
            "flag": flag,
            "extra": extra,
        },
        rate=[0.1, 0.2],
        kind=["a", "b"],
        flag=[True, False],
        extra=[None, 1.0],
    )
    groups = made.groups()
    assert [len(g.index) for g in groups] == [2] * 8 and made[0]["flag"] is True

    def told(member):
        scale = 2.0 if member["flag"] else 1.0
        return (
            member["tx"].hyperparams["learning_rate"] * (10 if member["kind"] == "a" else 1) * scale
        )

    np.testing.assert_allclose(jax.vmap(told)(groups[0].stacked), [2, 4], rtol=1e-6)
    flag = groups[0].stacked["flag"]
    assert flag == True and isinstance(flag, bool) and repr(flag) == "True"  # noqa: E712
    assert ol.sgd(0.1, 0.9, flag) == ol.sgd(0.1, 0.9, True)
    for copied in (
        pickle.loads(pickle.dumps(flag)),
        jax.tree.map(jnp.asarray, groups[0].stacked)["flag"],
    ):
        assert type(copied) is Flag and copied == flag
    assert repr(Flag(False)) == "False"


def test_arrays_are_of_one_structure_where_shape_and_dtype_are_equal():
    values = [
        np.zeros(2, np.float32),
        np.ones(2, np.float32),
        np.ones(3, np.float32),
        np.ones(2, np.int32),
    ]
    values += [jnp.ones(2, jnp.bfloat16), jnp.float32(1), 1.0, 2, jnp.asarray(3.0), np.float64(4)]
    groups = Population.of([({"i": i}, {"x": x}) for i, x in enumerate(values)]).groups()
    assert [list(g.index) for g in groups] == [[0, 1], [2], [3], [4], [5], [6, 7, 8, 9]]
    shapes = [(g.stacked["x"].shape, str(g.stacked["x"].dtype)) for g in groups]
    assert shapes == [
        ((2, 2), "float32"),
        ((1, 3), "float32"),
        ((1, 2), "int32"),
        ((1, 2), "bfloat16"),
        ((1,), "float32"),
        ((4,), "float32"),
    ]


def test_two_methods_stand_under_one_report():
    adam, sgd = (
        sweep.grid(ol.adamw, learning_rate=[0.1, 0.2]),
        sweep.grid(ol.sgd, learning_rate=[1, 2], momentum=[0.9]),
    )
    both = adam + sgd
    assert list(both) == [*adam, *sgd] and both.settings == adam.settings + sgd.settings
    assert both.axes == ("learning_rate", "momentum")
    assert [list(g.index) for g in both.groups()] == [[0, 1], [2, 3]]
    with pytest.raises(TypeError, match="unsupported operand"):
        _ = adam + ol.adam(0.1)


def test_a_population_of_settings_that_differ_in_their_names():
    made = Population.of(
        [({"rate": 0.1}, ol.adam(0.1)), ({"beta": 0.9, "rate": 0.2}, ol.lion(0.2, b1=0.9))]
    )
    assert made.axes == ("rate", "beta") and len(made.groups()) == 2
    assert (
        repr(Population.of([({}, ol.adam(0.1))]))
        == "Population(1 member over nothing, 1 structure)"
    )


@pytest.mark.nightly
def test_thousands_of_members_are_made_in_seconds():
    from time import process_time

    began = process_time()
    made = sweep.grid(
        ol.adamw, learning_rate=np.geomspace(1e-5, 1, 256), weight_decay=np.linspace(0, 1, 16)
    )
    made.groups()
    assert len(made) == 4096 and process_time() - began < 20


# --- the edge of a space --------------------------------------------------------------------------


def test_a_value_at_the_end_of_a_list_lies_at_the_edge():
    made = sweep.grid(
        ol.adamw,
        learning_rate=[1e-3, 1e-2, 1e-1],
        weight_decay=[0, 0.1, 0.2],
        b1=[0.8, 0.9],
        nesterov=[True, False],
    )

    def told(**settings):
        return edges(
            made.spaces[0],
            {"learning_rate": 1e-2, "weight_decay": 0.1, "b1": 0.9, "nesterov": True} | settings,
        )

    assert told() == told(weight_decay=0) == (), (
        "two values have no middle, and 0 is where a penalty ends"
    )
    assert told(learning_rate=0.1) == (
        "learning_rate = 0.1 is at the highest end of its axis; widen it",
    )
    assert told(learning_rate=1e-3, weight_decay=0.2) == (
        "learning_rate = 0.001 is at the lowest end of its axis; widen it",
        "weight_decay = 0.2 is at the highest end of its axis; widen it",
    )


@pytest.mark.parametrize(
    ("axis", "values", "sides"),
    [
        (sweep.uniform(0, 10), [0.4, 0.6, 9.4, 9.6], ["lowest", None, None, "highest"]),
        (sweep.loguniform(1e-4, 1), [1.4e-4, 1.7e-4, 0.6, 0.7], ["lowest", None, None, "highest"]),
        (sweep.randint(1, 9), [1, 2, 7, 8], ["lowest", None, None, "highest"]),
        (sweep.randint(1, 3), [1, 2], [None, None]),
        (sweep.randint(1, 2), [1], [None]),
        (sweep.choice([1, 2, 3]), [1, 2, 3], ["lowest", None, "highest"]),
        (sweep.choice(["a", "b", "c"]), ["a", "c"], [None, None]),
    ],
)
def test_a_value_in_the_last_twentieth_of_a_range_lies_at_the_edge(axis, values, sides):
    for x, side in zip(values, sides, strict=True):
        told = edges({"x": axis}, {"x": x})
        assert (side is None and told == ()) or f"at the {side} end" in told[0]


# --- wrong spaces ---------------------------------------------------------------------------------


def bad_member(value):
    return lambda: sweep.grid(lambda rate: {"tx": ol.adam(rate), "x": value}, rate=[0.1])


RATES = {"learning_rate": [0.1, 0.2]}
WRONG = [
    (
        lambda: sweep.grid(ol.adam),
        "grid: no axis is given; write grid(..., learning_rate=[1e-3, 1e-2])",
    ),
    (
        lambda: sweep.grid(ol.adam(0.1), **RATES),
        "grid: the first argument must be a factory, got adam(...); write grid(",
    ),
    (
        lambda: sweep.grid([ol.adam], **RATES),
        "grid: the first argument must be a function of the axes that returns a",
    ),
    (lambda: sweep.grid(ol.adam, learning_rate=[]), "grid: learning_rate has no values"),
    (
        lambda: sweep.grid(ol.adam, learning_rate=0.1),
        (
            "grid: learning_rate must be a list or a one-dimensional array, got 0.1; write "
            "learning_rate=[0.1]"
        ),
    ),
    (lambda: sweep.grid(lambda kind: ol.adam(0.1), kind="ab"), "got 'ab'; write kind=['ab']"),
    (
        lambda: sweep.grid(ol.adam, learning_rate=jnp.ones((2, 2))),
        "got an array of shape (2, 2); write list(...)",
    ),
    (
        lambda: sweep.grid(ol.adam, learning_rate=jnp.float32(1)),
        "write learning_rate=[Array(1., dtype=float32)]",
    ),
    (lambda: sweep.grid(ol.adam, learning_rate={0.1, 0.2}), "; write list(...)"),
    (lambda: sweep.grid(ol.adam, learning_rate=(x for x in [1])), "; write list(...)"),
    (
        lambda: sweep.grid(ol.adam, learning_rate=[0.1, float("nan")]),
        "grid: learning_rate has a value that is NaN",
    ),
    (lambda: sweep.grid(ol.adam, lr=[0.1]), "grid: adam: no argument 'lr'; write learning_rate"),
    (
        lambda: sweep.grid(functools.partial(ol.sgd, 0.1), momemtum=[0.9]),
        "grid: sgd: no argument 'momemtum'; it has m",
    ),
    (
        lambda: sweep.grid(with_entropy, lr=[0.1]),
        "grid: with_entropy: no argument 'lr'; it has rate, entropy",
    ),
    (
        lambda: sweep.grid(ol.adamw, weight_decay=[0.1]),
        "grid: adamw: missing a required argument: 'learning_rate'; its",
    ),
    (
        lambda: sweep.grid(ol.adam, learning_rate=sweep.uniform(0, 1)),
        (
            "got Range(low=0.0, high=1.0, log=False, whole=False); write sample(factory, n, "
            "learning_rate=...), or values"
        ),
    ),
    (
        lambda: sweep.grid(ol.adam, learning_rate=sweep.choice([1])),
        "; write sample(factory, n, learning_rate=...), or",
    ),
    (
        lambda: sweep.sample(ol.adam, 2, learning_rate=sweep.uniform),
        "is the function uniform itself; call it: uniform(",
    ),
    (
        lambda: sweep.grid(lambda **x: x, a=range(2000), b=range(2000)),
        "grid: 4,000,000 members, 2000 x 2000; write sam",
    ),
    (
        lambda: sweep.grid(ol.adam, learning_rate=[0.1, 0.2], b1=[0.9, 1.5]),
        "grid: member 1 (learning_rate=0.1, b1=1.5): adam: b1 must be in [0, 1), got 1.5",
    ),
    (
        lambda: sweep.grid(lambda rate: None, rate=[1]),
        "grid: member 0 (rate=1): there is no number in None; return an",
    ),
    (lambda: sweep.grid(lambda rate: {"a": "b"}, rate=[1]), "there is no number in {'a': 'b'}"),
    (
        lambda: sweep.grid(lambda rate: ol.adam, rate=[1]),
        "is the factory adam itself; call it: adam(...)",
    ),
    (
        bad_member(jnp.tanh),
        (
            "grid: member 0 (rate=0.1): 'x' is the function tanh, not a number; let the training "
            "function close over it"
        ),
    ),
    (bad_member(object), "'x' is the function object, not a number"),
    (
        bad_member(jax.random.key(0)),
        "'x' is a random key, which cannot differ; give an int as seed",
    ),
    (bad_member(2**40), "'x' is 1099511627776, too large for int32; write a float"),
    (bad_member(np.array(["a"])), "'x' is <U1[1], not a number"),
    (
        lambda: sweep.sample(ol.adam, 0, **RATES),
        "sample: n must be an integer of at least 1, got 0",
    ),
    (
        lambda: sweep.sample(ol.adam, 2.0, **RATES),
        "sample: n must be an integer of at least 1, got 2.0",
    ),
    (
        lambda: sweep.sample(ol.adam, 2),
        "sample: no axis is given; write sample(..., learning_rate=",
    ),
    (
        lambda: sweep.sample(ol.adam, 2, learning_rate=0.1),
        "sample: learning_rate must be a list or a one-dimensional array",
    ),
    (
        lambda: sweep.sample(ol.adam, 2, method="grid", **RATES),
        "method must be one of sobol, halton, lhs, random, got",
    ),
    (
        lambda: sweep.sample(ol.adam, 2, method=[ol.adam]),
        "; if it is an axis, rename that argument of the factory",
    ),
    (
        lambda: sweep.sample(ol.adam, 2, seed=-1, **RATES),
        "sample: seed must be an integer of at least 0, got -1",
    ),
    (lambda: sweep.uniform(1, 1), "uniform: low must be below high, got 1 and 1"),
    (lambda: sweep.uniform("a", 1), "uniform: low must be a finite number, got 'a'"),
    (lambda: sweep.uniform(0, np.inf), "uniform: high must be a finite number, got inf"),
    (lambda: sweep.loguniform(0, 1), "loguniform: low must be above 0, got 0"),
    (lambda: sweep.loguniform(-1, 1), "loguniform: low must be above 0, got -1"),
    (lambda: sweep.randint(1, 2.5), "randint: high must be an integer, got 2.5"),
    (lambda: sweep.randint(3, 3), "randint: low must be below high, got 3 and 3"),
    (lambda: sweep.choice([]), "choice: options has no values"),
    (
        lambda: sweep.choice("adam"),
        "choice: options must be a list or a one-dimensional array, got 'adam'",
    ),
]


@pytest.mark.parametrize(("call", "message"), WRONG, ids=[m[:40] for _, m in WRONG])
def test_a_wrong_space_is_told(call, message):
    with pytest.raises(ArgumentError) as caught:
        call()
    assert message in str(caught.value)


def test_calls_without_their_arguments_say_how_they_are_written():
    for call in (
        sweep.grid,
        lambda: sweep.sample(ol.adam, learning_rate=[0.1]),
        lambda: sweep.uniform(1),
        sweep.choice,
    ):
        with pytest.raises(TypeError, match="; write "):
            call()


def test_an_error_of_the_factory_s_own_tells_the_member():
    def factory(rate):
        return {0.1: ol.adam(0.1)}[rate]

    with pytest.raises(KeyError) as caught:
        sweep.grid(factory, rate=[0.1, 0.2])
    assert caught.value.__notes__ == ["grid: member 1 (rate=0.2)"]


def test_without_scipy_the_extra_is_named(monkeypatch):
    original = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.split(".")[0] == "scipy":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    for name in ("scipy", "scipy.stats"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    problem = r"sweep.sample\(..., method='sobol'\) needs scipy; write pip install scipy"
    with pytest.raises(ImportError, match=problem):
        sweep.sample(ol.adam, 2, **RATES)
    assert len(sweep.sample(ol.adam, 2, method="random", **RATES)) == 2


# --- through the engine ---------------------------------------------------------------------------


def test_a_training_branches_on_words_and_flags():
    def objective(params, entropy, kind, flag):
        power = 2 if kind == "square" else 4
        return entropy * jnp.mean(params**power) + (1.0 if flag else 0.0)

    population = sweep.grid(
        lambda entropy, kind, flag: {
            "tx": ol.sgd(0.1),
            "entropy": entropy,
            "kind": kind,
            "flag": flag,
        },
        entropy=[1, 0.5],
        kind=["square", "fourth"],
        flag=[False, True],
    )
    train = sweep.training(lambda key: jnp.ones(2), objective, steps=1)
    result = sweep.run(population, train, chunk=2, devices=1, progress=False)
    # the loss before the only step
    expected = [s["entropy"] + s["flag"] for s in population.settings]
    np.testing.assert_allclose(result.scores[:, 0], expected)
    assert len(population.groups()) == 4


@pytest.mark.parametrize("double", [False, True])
def test_numbers_of_a_member_decide_no_dtype(double):
    def function(member, key):
        # raises under strict promotion where a number is float32
        low = member["entropy"] * jnp.ones(2, jnp.bfloat16)
        return jnp.mean(member["k"] * low).astype(jnp.float32)

    def objective(params, entropy, k):
        return jnp.mean(entropy * k * params)

    def ones(key):
        return jnp.ones(2, jnp.float32)

    with jax.enable_x64(double):
        population = sweep.grid(
            lambda e, k: {"tx": ol.sgd(0.1), "entropy": e, "k": k}, e=[0.5, 1.0], k=[1, 2]
        )
        for train in (function, sweep.training(ones, objective, steps=1)):
            scores = sweep.run(population, train, chunk=4, devices=1, progress=False).scores
            np.testing.assert_allclose(scores[:, 0], [0.5, 1, 1, 2])
