"""Sweeps over updates of the user's own, whose carry may hold anything; a walker that is trained
while it walks.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optax_lite as ol
from optax_lite import sweep
from optax_lite.sweep._engine.engine import _Sweep
from tests.closeness import assert_close
from tests.nightly import first
from tests.test_sweep import (
    LOSS_OF_TEN_STEPS,
    TEN_STEPS,
    X,
    Y,
    assert_losses_close,
    loss,
    run,
    same,
    training,
)

RATES = [1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3]


class Walk(NamedTuple):
    params: jax.Array  # the share of the way home that a step takes, before it is squashed
    state: tuple  # of the optimizer
    place: jax.Array  # where the walker is, which no update resets
    steps: jax.Array  # that it made


def begin(member, key):
    params = jnp.zeros(())
    place = 1.0 + jax.random.uniform(key)
    return Walk(params, member["tx"].init(params), place, jnp.zeros((), jnp.int32))


def walk(member, carry, key):
    """Step home, and learn how large a step should be; a gust blows the walker away."""
    gust = 0.1 * jax.random.normal(key)

    def distance(params):
        return (carry.place * (1 - jnp.tanh(params)) + gust) ** 2

    value, grad = jax.value_and_grad(distance)(carry.params)
    updates, state = member["tx"].update(grad, carry.state, carry.params)
    params = ol.apply_updates(carry.params, updates)
    place = carry.place * (1 - jnp.tanh(params)) + gust + member["wind"]
    return Walk(params, state, place, carry.steps + 1), {"loss": value, "home": -jnp.abs(place)}


def walkers():
    def make(learning_rate, wind):
        return {"tx": ol.adam(learning_rate), "wind": wind}

    return sweep.grid(make, learning_rate=RATES, wind=[0.3, 1])


def walking(**changes):
    return sweep.training(begin, update=walk, **({"steps": 60, "every": 20} | changes))


BEST = {"score": "home", "mode": "max", "seeds": 2}
SEARCHES = {
    "halving": {"search": sweep.successive_halving([20, 40], keep=1 / 3)},
    "pbt": {"search": sweep.pbt(20, {"learning_rate": (0.5, 2.0), "wind": (0.9,)})},
    "none": {},
}


def test_a_loss_is_an_update_that_the_library_writes():
    def init(key):
        return {"w": jax.random.normal(key, (5,)), "b": jnp.zeros(())}

    def begin(member, key):
        params = init(key)
        return {"params": params, "state": member.init(params)}

    def update(member, carry, key, x, y):
        value, grads = jax.value_and_grad(loss)(carry["params"], x, y)
        params, state = member.step(grads, carry["state"], carry["params"])
        return {"params": params, "state": state}, {"loss": value}

    def mse(carry):
        return {"mse": loss(carry["params"], X, Y)}

    members = sweep.grid(ol.adamw, learning_rate=RATES)
    options = {"steps": 10, "every": 5, "batch_size": 16}
    own = run(members, sweep.training(begin, None, (X, Y), update=update, eval_fn=mse, **options))
    written = run(members, training(**options))
    assert own.score_name == written.score_name == "mse"
    assert_losses_close(own.history["loss"], written.history["loss"])
    assert_losses_close(own.scores, written.scores)
    best = own.best()
    assert_close(best.params, written.best().params, ulps=TEN_STEPS)
    assert best.output["params"] is best.params and set(best.output) == {"params", "state"}
    assert written.best().output.keys() == {"w", "b"}


def test_a_run_is_the_updates_one_after_another():
    members, result = walkers(), run(walkers(), walking(steps=10, every=5), **BEST)
    for member, seed in ((0, 0), (7, 1)):
        start = jax.random.key(seed)
        carry, losses = begin(members[member], start), []
        for i in range(10):
            key = jax.random.fold_in(start, np.uint32(2**31 + i))
            carry, numbers = walk(members[member], carry, key)
            losses.append(numbers["loss"])
        assert_close(result.outputs(member, seed), carry, ulps=10 * TEN_STEPS)
        means = jnp.asarray(losses).reshape(2, 5).mean(1)
        assert_losses_close(
            result.history["loss"][member, seed], means, ulps=10 * LOSS_OF_TEN_STEPS
        )
    assert result.compiles == 1 and (result.steps == 10).all()


@pytest.mark.parametrize("of_member", [False, True])
def test_an_init_may_know_the_member(of_member):
    def update(member, carry, key):
        return carry, {"loss": carry["scale"]}

    def init(member, key):
        return {"scale": member["scale"] * 1.0}

    members = sweep.grid(lambda scale: {"scale": scale}, scale=[1, 2, 3])
    given = init if of_member else lambda key, scale=5.0: {"scale": scale}
    result = run(members, sweep.training(given, update=update, steps=2))
    assert result.scores[:, 0].tolist() == ([1, 2, 3] if of_member else [5, 5, 5])


def test_a_key_that_init_split_off_does_not_come_again():
    def init(key):
        return {"data": jax.random.key_data(jax.random.split(key, 64))}

    def update(member, carry, key):
        known = jnp.all(carry["data"] == jax.random.key_data(key)[None], axis=1)
        return carry, {"loss": jnp.any(known)}

    result = run(
        sweep.grid(ol.sgd, learning_rate=[0.1]), sweep.training(init, update=update, steps=40)
    )
    assert (result.history["loss"] == 0).all()


# --- cut, moved, spread, killed -------------------------------------------------------------------


def test_what_goes_on_after_halving_is_as_if_the_others_had_never_been():
    whole = run(walkers(), walking(steps=10, every=5), chunk=4, **BEST)
    search = sweep.successive_halving([5], keep=1 / 3)
    halved = run(walkers(), walking(steps=10, every=5), chunk=4, search=search, **BEST)
    (rung,) = halved.rungs
    order = np.argsort(-whole.history["home"][..., 0].mean(1), kind="stable")
    assert set(rung.kept) == set(order[:4].tolist())
    for member in rung.kept:
        assert_close(halved.outputs(member, 1), whole.outputs(member, 1), ulps=10 * TEN_STEPS)
    assert (halved.steps[list(rung.dropped)] == 5).all()


def test_pbt_copies_all_of_the_carry_and_moves_the_numbers_of_the_member():
    def update(member, carry, key):
        noise = jax.random.bits(key)
        return carry | {"made": carry["made"] + 1, "noise": noise}, {"loss": carry["own"]}

    def init(member, key):
        return {"own": member["own"], "made": jnp.int32(0), "noise": jnp.uint32(0)}

    members = sweep.grid(lambda own: {"own": own}, own=[1.0, 2.0, 3.0, 4.0])
    train = sweep.training(init, update=update, steps=4, every=2)
    result = run(members, train, search=sweep.pbt(2, {"own": (0.5,)}), seeds=2)
    for seed in (0, 1):
        (copy,) = (c for c in result.lineage if c.seed == seed)
        loser, winner = result.outputs(3, seed), result.outputs(0, seed)
        assert (copy.loser, copy.winner) == (3, 0)
        assert loser["own"] == winner["own"] == 1 and loser["made"] == winner["made"] == 4
        assert result.hyperparams["own"][3, seed].tolist() == [4, 0.5]
        assert loser["noise"] == winner["noise"]  # members of a seed have one key
    assert result.outputs(0, 0)["noise"] != result.outputs(0, 1)["noise"]


def test_pbt_revives_a_run_whose_update_diverged():
    def update(member, carry, key):
        return {"x": carry["x"] * member["own"]}, {"loss": carry["x"]}

    members = sweep.grid(lambda own: {"own": own}, own=[0.5, 0.6, 0.7, 1e30])
    train = sweep.training(lambda key: {"x": 1.0}, update=update, steps=12, every=4)
    plain = run(members, train)
    assert plain.status[:, 0].tolist() == ["done"] * 3 + ["diverged"]
    assert plain.steps[3, 0] == 2 and np.isinf(plain.scores[3, 0])  # 1, 1e30, and then inf
    assert plain.outputs(3, 0)["x"] == np.float32(np.inf)
    revived = run(members, train, search=sweep.pbt(4, {"own": (1.0,)}))
    assert (revived.status == "done").all() and np.isfinite(revived.scores).all()


def test_an_optimizer_in_the_carry_that_skips_bad_steps_goes_on():
    def begin(member, key):
        return {"params": 1.0, "tx": member.init(jnp.float32(1.0))}

    def update(member, carry, key):
        params = carry["params"]
        bad = jax.random.bernoulli(key, 0.2)
        value, grad = jax.value_and_grad(lambda x: jnp.where(bad, jnp.nan, 1.0) * x**2)(params)
        updates, state = member.update(grad, carry["tx"], params)
        return {"params": params + updates, "tx": state}, {"loss": value}

    def members(**options):
        return sweep.grid(lambda rate: ol.skip_bad_steps(ol.sgd(rate), **options), rate=[0.1])

    train = sweep.training(begin, update=update, steps=40)
    result = run(members(), train)
    assert result.status[0, 0] == "done" and result.scores[0, 0] < 0.1
    assert run(members(max_consecutive=0), train).status[0, 0] == "diverged"


@pytest.mark.parametrize("search", first(1, SEARCHES.values()), ids=SEARCHES)
def test_a_killed_sweep_over_updates_ends_as_if_it_had_not_been(search, tmp_path, monkeypatch):
    options = {"chunk": 5} | BEST | search
    whole = run(walkers(), walking(), **options)
    monkeypatch.setattr("optax_lite.sweep._engine.checkpoint.Checkpoint.is_due", lambda self: True)
    advance, left = _Sweep._advance, 6

    def dies(self, chunk):
        nonlocal left
        left -= 1
        if left < 0:
            raise SystemError("killed")
        advance(self, chunk)

    monkeypatch.setattr(_Sweep, "_advance", dies)
    with pytest.raises(SystemError, match="killed"):
        run(walkers(), walking(), checkpoint=tmp_path, **options)
    monkeypatch.setattr(_Sweep, "_advance", advance)
    same(run(walkers(), walking(), checkpoint=tmp_path, **options), whole)
    with pytest.raises(
        ValueError, match="belongs to another sweep: its carry had different shapes; choose"
    ):
        other = sweep.training(
            lambda member, key: begin(member, key)._replace(steps=jnp.zeros(2, jnp.int32)),
            update=walk,
            steps=60,
            every=20,
        )
        run(walkers(), other, checkpoint=tmp_path, **options)


@pytest.mark.nightly
@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_updates_are_spread_over_devices_to_the_bit(search, eight_devices):
    options = {"chunk": 3} | BEST | search
    same(run(walkers(), walking(), **options), run(walkers(), walking(), devices=8, **options))


@pytest.mark.parametrize("of_member", [False, True])
def test_keys_may_be_carried(of_member, tmp_path):
    def update(member, carry, key):
        own, new = jax.random.split(carry["key"])
        return {"key": new}, {"loss": member["x"] * jax.random.uniform(own)}

    def init(*args):
        return {"key": args[-1]}

    members = sweep.grid(lambda x: {"x": x}, x=[1.0, 2.0, 3.0, 4.0])
    given = (lambda member, key: init(key)) if of_member else (lambda key: init(key))
    train = sweep.training(given, update=update, steps=8, every=2)
    options = {"chunk": 2, "search": sweep.pbt(2, {"x": (1.0,)}), "seeds": 2}
    whole = run(members, train, **options)
    for _ in range(2):  # the second one reads what the first one saved
        kept = run(members, train, checkpoint=tmp_path, **options)
        np.testing.assert_array_equal(whole.scores, kept.scores)
        for seed in (0, 1):
            key = jax.random.key(seed)
            for _ in range(8):
                key = jax.random.split(key)[1]
            assert kept.outputs(0, seed)["key"] == key


# --- wrong calls ----------------------------------------------------------------------------------


def returning(made, carry=None, **options):
    """A sweep over an update that returns this, where (carry, numbers) should be."""
    start = {"x": jnp.float32(1.0)} if carry is None else carry
    train = sweep.training(lambda key: start, update=lambda m, c, k: made, steps=2, **options)
    return run(sweep.grid(ol.sgd, learning_rate=[0.1]), train)


GIVEN = {"x": jnp.float32(1.0)}
WRONG = [
    (lambda: sweep.training(begin, steps=1), "training: neither loss nor update is given; write"),
    (
        lambda: sweep.training(begin, loss, update=walk, steps=1),
        "training: both loss and update are given; write",
    ),
    (
        lambda: sweep.training(begin, walk, steps=1),
        r"training: loss is called as loss\(params, \*batch\), but is walk\(member, carry, key\);"
        r" .* write training\(init, update=\.\.\.\)",
    ),
    (
        lambda: sweep.training(begin, update=3, steps=1),
        "training: update must be a function, got 3",
    ),
    (
        lambda: sweep.training(begin, update=lambda key, member, carry: 0, steps=1),
        r"training: update is called as update\(member, carry, key\), but is <lambda>\(key, mem",
    ),
    (
        lambda: sweep.training(begin, update=lambda member, carry: 0, steps=1),
        r"training: update is called as update\(member, carry, key\), but is .*: too many posit",
    ),
    (
        lambda: sweep.training(begin, None, (X, Y), update=lambda m, carry: 0, steps=1),
        r"training: update is called as update\(member, carry, key, \*batch\), but is",
    ),
    (
        lambda: sweep.training(lambda key, member: 0, update=walk, steps=1),
        r"training: init is called as init\(member, key\), but is <lambda>\(key, member\): the",
    ),
    (
        lambda: returning(GIVEN),
        r"training: update must return \(carry, numbers\), where numbers is a dict",
    ),
    (lambda: returning((GIVEN, 1.0)), "training: update must return .* a dict, got a tuple of 2"),
    (lambda: returning((GIVEN, {})), "training: update returns no number; return one to rank by"),
    (
        lambda: returning((GIVEN, {"loss": jnp.ones(3)})),
        r"training: 'loss' of a run must be one number, got float32\[3\]; write jnp.mean of it",
    ),
    (
        lambda: returning((GIVEN, {"step": 1.0})),
        "training: a number of a run is called 'step', a name taken by the updates",
    ),
    (
        lambda: returning(({"x": jnp.ones(2)}, {"loss": 1.0})),
        r"training: update must return a carry like .* given: leaf 'x' was float32\[\], and is now",
    ),
    (
        lambda: returning(({"x": 1}, {"loss": 1.0})),
        r"training: update must return a carry .*: leaf 'x' was float32\[\], and is now int32\[\]",
    ),
    (
        lambda: returning((GIVEN | {"y": 1.0}, {"loss": 1.0})),
        "training: update must return a carry like .*: leaf 'y' is new",
    ),
    (
        lambda: returning(({}, {"loss": 1.0})),
        "training: update must return a carry like .*: leaf 'x' is missing",
    ),
    (
        lambda: returning(((GIVEN["x"],), {"loss": 1.0}), carry=[1.0]),
        "training: update must return a carry like .*: the containers differ",
    ),
    (
        lambda: returning((GIVEN, {"loss": 1.0}), eval_fn=lambda carry: {"batch_loss": 1.0}),
        "training: eval_fn returns 'batch_loss', a name that is taken",
    ),
    (
        lambda: returning((GIVEN, {"loss": jnp.nan})).best(),
        "best: all 1 runs diverged, the longest after 0 updates: a number that update returned",
    ),
]


@pytest.mark.parametrize(("call", "message"), WRONG, ids=[message[:60] for _, message in WRONG])
def test_wrong_call(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()


def test_a_number_that_eval_fn_returns_too_is_that_of_the_batches():
    both = {"eval_fn": lambda carry: {"home": carry.place}, "steps": 4, "every": 2}
    result = run(walkers(), walking(**both), score="home")
    assert set(result.history) == {"step", "loss", "batch_home", "home"}


def test_an_update_sees_the_batches_of_its_seed():
    def update(member, carry, key, x, y):
        return {"seen": carry["seen"] + jnp.sum(x)}, {"loss": jnp.sum(y)}

    train = sweep.training(
        lambda key: {"seen": 0.0}, None, (X, Y), update=update, steps=6, batch_size=16, paired=False
    )
    result = run(sweep.grid(ol.sgd, learning_rate=[0.1]), train, seeds=2)
    seen = [float(result.outputs(0, seed)["seen"]) for seed in (0, 1)]
    np.testing.assert_allclose(seen, X.sum(), atol=2 * X.size * np.finfo("f4").eps)  # an epoch
    assert not np.array_equal(result.history["loss"][0, 0], result.history["loss"][0, 1])
