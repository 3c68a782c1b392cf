"""make_step and fit: against a loop by hand, compiled once, donated, with every kind of optimizer;
and their errors.
"""

import copy
import os
import signal
import sys
from typing import NamedTuple

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lite as ol
from tests.closeness import A_STEP, assert_close
from tests.compilations import count_lowerings
from tests.nightly import first

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(64, 3)), jnp.float32)
Y = X @ jnp.array([1.0, -2.0, 0.5]) + 0.3


def fresh():
    return {"w": jnp.zeros(3), "b": jnp.zeros(())}


def loss_fn(params, x, y):
    return jnp.mean((x @ params["w"] + params["b"] - y) ** 2)


STEP = A_STEP + len(X)  # the gradient is a sum over the rows
LOSS = 20 + len(X)  # twice the ten operations of a residual, and the sum
# where a fit is nearly perfect its loss is what is left of sums of this size
AT_START = float(loss_fn(fresh(), X, Y))


def by_hand(tx, steps, params=None):
    """Values, params and state of a plain loop."""
    params = fresh() if params is None else params
    state, values = tx.init(params), []

    @jax.jit
    def step(params, state):
        value, grad = jax.value_and_grad(loss_fn)(params, X, Y)
        extra = {"value": value, "grad": grad, "value_fn": lambda params: loss_fn(params, X, Y)}
        return value, *tx.step(grad, state, params, **extra)

    for _ in range(steps):
        value, params, state = step(params, state)
        values.append(value)
    return jnp.stack(values), params, state


def run(step, tx, steps, params=None, args=(X, Y)):
    params = fresh() if params is None else params
    state, metrics = tx.init(params), {}
    for _ in range(steps):
        params, state, metrics = step(tx, params, state, *args)
    return params, state, metrics


OPTIMIZERS = {
    "adamw": ol.adamw(0.1),
    "schedule": ol.chain(ol.clip_by_global_norm(1.0), ol.adamw(ol.cosine_decay_schedule(0.1, 20))),
    "polyak": ol.polyak_sgd(),
    "momo": ol.momo(),
    "sam": ol.sam(ol.sgd(0.1), ol.sgd(0.01)),
    "lbfgs": ol.lbfgs(),
    "backtracking": ol.chain(ol.sgd(1.0), ol.scale_by_backtracking_linesearch(20)),
    "backtracking, gradient": ol.chain(
        ol.sgd(1.0), ol.scale_by_backtracking_linesearch(20, store_grad=True)
    ),
}


@pytest.mark.parametrize("name", first(5, OPTIMIZERS))
def test_the_loop_is_that_of_a_user(name):
    tx = OPTIMIZERS[name]
    # more steps and a line search compares what is rounding alone
    values, params, state = by_hand(tx, 3)
    got_params, got_state, metrics = run(ol.make_step(loss_fn), tx, 3)
    assert_close((got_params, got_state), (params, state), ulps=3 * STEP, largest=AT_START)
    assert_close(metrics["loss"], values[-1], ulps=2 * 3 * STEP, largest=AT_START)


def test_the_loss_is_of_the_point_before_the_update():
    params = {"w": jnp.array([1.0, 0.0, 2.0]), "b": jnp.ones(())}
    tx = ol.sgd(0.1)
    _, _, metrics = ol.make_step(loss_fn, donate=False)(tx, params, tx.init(params), X, Y)
    assert metrics.keys() == {"loss"}
    assert_close(metrics["loss"], loss_fn(params, X, Y), ulps=LOSS)


def test_optimizers_that_ask_for_the_objective_or_its_gradient_get_them():
    for tx in (
        ol.sophia(0.1, update_interval=1),
        ol.sam(ol.sgd(0.1), ol.chain(ol.normalize(), ol.sgd(0.05)), opaque_mode=True),
        ol.chain(ol.sgd(1.0), ol.scale_by_zoom_linesearch(20)),
    ):
        *_, first = run(ol.make_step(loss_fn), tx, 1)
        *_, last = run(ol.make_step(loss_fn), tx, 40)
        assert last["loss"] < 0.2 * first["loss"]


def test_an_optimizer_of_optax_is_accepted_unchanged():
    tx = optax.adam(0.1)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        params, _, _ = run(ol.make_step(loss_fn), tx, 5)
    # That optax rounds b2 and 1 - b2 apart is worth 2**-24 / 1e-3, of which the root takes half.
    assert_close(params, by_hand(ol.adam(0.1), 5)[1], ulps=5 * STEP + 2**-24 / 1e-3 / 2 / 2**-23)


# --- compiled once --------------------------------------------------------------------------------


def counted():
    traces = []

    def loss(params, *args):
        traces.append(1)
        return loss_fn(params, *args[:2])

    return loss, traces


def test_ten_changes_of_rate_and_decay_are_one_compilation():
    loss, traces = counted()
    step = ol.make_step(loss)
    tx = ol.chain(ol.clip_by_global_norm(1.0), ol.adamw(ol.cosine_decay_schedule(0.1, 10)))
    params = fresh()
    params, state, _ = step(tx, params, tx.init(params), X, Y)
    changes = [
        1,
        0.5,
        np.float32(0.1),
        np.float64(0.2),
        jnp.float32(0.3),
        jnp.asarray(0.1),
        np.ones(()),
        2,
        1e-3,
        0.0,
    ]
    with count_lowerings() as count:
        for value in changes:
            tx = tx.replace(init_value=value, weight_decay=value, max_norm=value)
            params, state, _ = step(tx, params, state, X, Y)
    assert count() == 0 and len(traces) == 1


def test_numbers_of_python_and_weak_arrays_among_the_params_are_one_compilation():
    loss, traces = counted()
    params = {
        "w": np.zeros(3, np.float32),
        "b": 0.0,
        "extra": jnp.asarray(1.0),
        "n": 3,
        "flag": True,
    }
    _, _, metrics = run(ol.make_step(loss), ol.adam(0.1), 3, params)
    assert len(traces) == 1 and metrics["loss"].dtype == jnp.float32


def test_two_steps_of_one_loss_share_the_compiled_program():
    loss, traces = counted()
    for rate in (0.1, 0.2):
        run(ol.make_step(loss), ol.adam(rate), 2)
    assert len(traces) == 1


def test_numbers_among_the_arguments_compile_once_and_shapes_again():
    loss, traces = counted()
    step, tx, params = ol.make_step(loss), ol.sgd(0.1), fresh()
    state = tx.init(params)
    for temperature in (1.0, 2.0, 3.0):
        params, state, _ = step(tx, params, state, X, Y, temperature)
    assert len(traces) == 1
    step(tx, params, state, X[:32], Y[:32], 1.0)
    assert len(traces) == 2


@pytest.mark.usefixtures("eight_devices")
def test_sharded_params_compile_once():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    loss, traces = counted()
    x = jax.device_put(jnp.asarray(RNG.normal(size=(4, 16)), jnp.float32), whole)
    params = {
        "w": jax.device_put(jnp.zeros(16), sharding),
        "b": jax.device_put(jnp.zeros(()), whole),
    }
    step, tx = ol.make_step(loss), ol.adamw(0.1)
    params, state, _ = step(tx, params, tx.init(params), x, jax.device_put(jnp.ones(4), whole))
    with count_lowerings() as count:
        params, state, _ = step(tx, params, state, x, jax.device_put(jnp.ones(4), whole))
    assert count() == 0 and len(traces) == 1
    assert params["w"].sharding == sharding


def test_inside_vmap_and_scan():
    step = ol.make_step(loss_fn)
    rates = jnp.array([0.01, 0.1])
    population = jax.vmap(ol.adam)(rates)

    def train(tx):
        def body(carry, _):
            params, state, metrics = step(tx, *carry, X, Y)
            return (params, state), metrics["loss"]

        start = fresh()
        return jax.lax.scan(body, (start, tx.init(start)), length=5)

    (params, _), losses = jax.jit(jax.vmap(train))(population)
    for i, rate in enumerate(rates.tolist()):
        values, expected, _ = by_hand(ol.adam(rate), 5)
        assert_close(jax.tree.map(lambda x, i=i: x[i], params), expected, ulps=5 * STEP)
        assert_close(losses[i], values, ulps=2 * 5 * STEP)


# --- values that a line search kept ---------------------------------------------------------------


def evaluations(tx, batches, touch=lambda params: params):
    """How often the loss function is run, step by step, where nothing is compiled."""
    calls, counts = [], []

    def loss(params, x, y):
        calls.append(1)
        return loss_fn(params, x, y)

    with jax.disable_jit():
        step, params = ol.make_step(loss), fresh()
        state = tx.init(params)
        for x, y in batches:
            calls.clear()
            params, state, _ = step(tx, params, state, x, y)
            params = touch(params)
            counts.append(len(calls))
    return counts


def test_a_search_that_keeps_its_gradient_spends_nothing_more_on_the_same_data():
    tx = ol.chain(ol.sgd(0.1), ol.scale_by_zoom_linesearch(20))
    kept = evaluations(tx, [(X, Y)] * 3)
    anew = evaluations(tx, [(X, Y), (X + 0, Y), (X, Y + 0)])  # the same numbers, but nobody knows
    assert kept == [kept[0], kept[0] - 1, kept[0] - 1] and anew == [kept[0]] * 3
    assert evaluations(tx, [(X, Y)] * 2, lambda p: jax.tree.map(jnp.copy, p)) == [kept[0]] * 2
    host = np.asarray(X)  # could be written to
    assert evaluations(tx, [(host, Y)] * 2) == [kept[0]] * 2


@pytest.mark.parametrize(
    "tx", [ol.lbfgs(), OPTIMIZERS["backtracking, gradient"]], ids=["lbfgs", "backtracking"]
)
def test_a_new_batch_is_not_met_with_the_value_of_the_last(tx):
    step, params = ol.make_step(loss_fn, donate=False), fresh()
    state = tx.init(params)
    for i in range(6):
        x, y = (X[:32], Y[:32]) if i % 3 else (X[32:], Y[32:])
        loss = loss_fn(params, x, y)
        # it has seen nothing before
        expected, _, _ = ol.make_step(loss_fn, donate=False)(tx, params, state, x, y)
        params, state, metrics = step(tx, params, state, x, y)
        assert_close(metrics["loss"], loss, ulps=LOSS, largest=AT_START)
        assert_close(params, expected, ulps=STEP)


def test_the_value_kept_is_not_used_for_an_older_state():
    step, tx, params = ol.make_step(loss_fn, donate=False), ol.lbfgs(), fresh()
    state = tx.init(params)
    points = [(params, state)]
    for _ in range(3):
        params, state, _ = step(tx, params, state, X, Y)
        points.append((params, state))
    for params, state in (points[1], points[2]):
        *_, metrics = step(tx, params, state, X, Y)
        assert_close(metrics["loss"], loss_fn(params, X, Y), ulps=LOSS, largest=AT_START)


# --- params of all kinds --------------------------------------------------------------------------


def test_integers_bools_and_none_stay_unchanged():
    params = {**fresh(), "n": jnp.arange(3), "on": jnp.array([True, False]), "none": None}
    new, _, _ = run(ol.make_step(loss_fn), ol.adamw(0.1), 3, params)
    chex.assert_trees_all_equal(
        {k: new[k] for k in ("n", "on")}, {"n": jnp.arange(3), "on": jnp.array([True, False])}
    )
    assert new["none"] is None and bool((new["w"] != 0).all())


def test_complex_params_go_downhill():
    centre = jnp.array([3 - 2j, 1j])
    for tx in (ol.sgd(0.1), ol.lbfgs()):
        step = ol.make_step(lambda z: jnp.sum(jnp.abs(z - centre) ** 2))
        z, _, _ = run(step, tx, 60, jnp.array([1 + 1j, 0j]), ())
        np.testing.assert_allclose(z, centre, atol=1e-3)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_low_precision_keeps_its_dtypes(dtype):
    params = {"w": jnp.zeros(3, dtype), "b": jnp.zeros((), dtype)}
    for tx in (ol.adam(0.1), ol.lbfgs()):
        half = X.astype(dtype), Y.astype(dtype)
        new, state, _ = run(ol.make_step(loss_fn), tx, 3, jax.tree.map(jnp.copy, params), half)
        chex.assert_trees_all_equal_shapes_and_dtypes((new, state), (params, tx.init(params)))


def test_double_precision(x64):
    x, y = jnp.asarray(X, jnp.float64), jnp.asarray(Y, jnp.float64)
    for tx in (ol.adam(0.1), ol.polyak_sgd(), ol.lbfgs()):
        params = {"w": jnp.zeros(3), "b": jnp.zeros(())}
        new, _, metrics = run(ol.make_step(loss_fn), tx, 3, params, (x, y))
        assert new["w"].dtype == metrics["loss"].dtype == jnp.float64


def test_an_equinox_model_is_split_and_put_together():
    model = eqx.nn.MLP(3, "scalar", 8, 1, key=jax.random.key(0))
    params, static = eqx.partition(model, eqx.is_inexact_array)

    def loss(params, x, y):
        return jnp.mean((jax.vmap(eqx.combine(params, static))(x) - y) ** 2)

    _, _, first = run(ol.make_step(loss, donate=False), ol.adam(0.01), 1, params)
    new, _, last = run(ol.make_step(loss), ol.adam(0.01), 50, jax.tree.map(jnp.copy, params))
    assert last["loss"] < 0.5 * first["loss"] and isinstance(new, eqx.nn.MLP)
    with pytest.raises(
        TypeError, match=r"params leaf '.*activation.*' is the function .*equinox.partition"
    ):
        ol.make_step(loss)(ol.adam(0.1), model, ol.adam(0.1).init(model), X, Y)


def test_a_loss_that_cannot_be_hashed():
    class Loss(eqx.Module):
        scale: jax.Array

        def __call__(self, params, x, y):
            return self.scale * loss_fn(params, x, y)

    with pytest.raises(TypeError):
        hash(Loss(jnp.ones(())))
    *_, metrics = run(ol.make_step(Loss(jnp.ones(()))), ol.sgd(0.1), 2)
    assert_close(metrics["loss"], by_hand(ol.sgd(0.1), 2)[0][-1], ulps=2 * 2 * STEP)


# --- recipes: aux, batch statistics, dropout ------------------------------------------------------


def test_aux_is_passed_through():
    def loss(params, x, y):
        prediction = x @ params["w"] + params["b"]
        return jnp.mean((prediction - y) ** 2), {"prediction": prediction}

    for tx in (ol.adam(0.1), ol.lbfgs()):
        _, _, metrics = run(ol.make_step(loss, has_aux=True), tx, 3)
        assert metrics["aux"]["prediction"].shape == Y.shape
        loss_of_aux = jnp.mean((metrics["aux"]["prediction"] - Y) ** 2)
        assert_close(loss_of_aux, metrics["loss"], ulps=LOSS, largest=AT_START)


def test_running_statistics_go_in_as_an_argument_and_out_as_aux():
    def loss(params, mean, x, y):
        now = x.mean(0)
        return loss_fn(params, x - now[None], y), 0.9 * mean + 0.1 * now

    step, tx, params = ol.make_step(loss, has_aux=True), ol.sgd(0.1), fresh()
    state, mean = tx.init(params), jnp.zeros(3)
    for _ in range(100):
        params, state, metrics = step(tx, params, state, mean, X, Y)
        mean = metrics["aux"]
    np.testing.assert_allclose(mean, X.mean(0), atol=1e-4)


def test_a_key_for_every_step():
    loss, traces = counted()

    def dropped(params, x, y, key, i):
        keep = jax.random.bernoulli(jax.random.fold_in(key, i), 0.5, x.shape)
        return loss(params, jnp.where(keep, x, 0), y)

    step, tx, params, losses = (
        ol.make_step(dropped),
        ol.sgd(0.0),
        {"w": jnp.ones(3), "b": jnp.zeros(())},
        [],
    )
    state = tx.init(params)
    for i in range(4):
        params, state, metrics = step(tx, params, state, X, Y, jax.random.key(0), i)
        losses.append(float(metrics["loss"]))
    assert len(set(losses)) == 4 and len(traces) == 1


def test_numbers_of_telemetry_join_the_metrics():
    for tx in (
        ol.with_metrics(ol.adam(0.1)),
        ol.named_chain(("a", ol.with_metrics(ol.sgd(0.1))), ("b", ol.scale(0.5))),
    ):
        params, state, metrics = run(ol.make_step(loss_fn, donate=False), tx, 2)
        expected = ol.read_metrics(state, params)
        assert metrics.keys() == {"loss", *expected}
        assert metrics["first_nonfinite"] == -1 and expected["first_nonfinite"] is None
        for name in ("grad_norm", "update_norm", "param_norm", "update_ratio", "learning_rate"):
            assert_close(metrics[name], expected[name], ulps=A_STEP)
        assert_close(metrics["param_norm"], ol.global_norm(params), ulps=A_STEP)


def test_reading_metrics_is_an_error_once_too_many_steps_were_bad():
    @ol.transform
    def giving_up():  # in its third step
        def update(updates, state):
            count = ol.increment(state.count)
            return jax.tree.map(jnp.zeros_like, updates), Limited(count, count > 2)

        return lambda params: Limited(jnp.zeros((), jnp.int32), jnp.zeros((), bool)), update

    step, tx, params = ol.make_step(loss_fn), ol.chain(giving_up(), ol.sgd(0.1)), fresh()
    state = tx.init(params)
    for i in range(4):
        params, state, metrics = step(tx, params, state, X, Y)
        assert bool(metrics["exceeded"]) == (i >= 2)
        reads = (
            lambda m: m["loss"],
            lambda m: m.get("loss"),
            lambda m: list(m.items()),
            lambda m: list(m.values()),
        )
        for read in reads:
            if i < 2:
                read(metrics)
            else:
                with pytest.raises(
                    RuntimeError, match="there were more bad steps in a row than max_consecutive"
                ):
                    read(metrics)
        assert dict(jax.device_get(metrics))["loss"] >= 0, "as a whole they go on"
    with pytest.warns(UserWarning, match="fit: skip_bad_steps gave up within 32 of 100 steps"):
        _, history = ol.fit(loss_fn, fresh(), (X, Y), tx, steps=100)
    assert len(history.loss) == 32 and history.metrics["exceeded"].sum() == 30


class Limited(NamedTuple):
    count: jax.Array
    exceeded: jax.Array


# --- donation -------------------------------------------------------------------------------------


def test_params_and_state_are_donated_and_arguments_are_not():
    params, tx = fresh(), ol.adam(0.1)
    state = tx.init(params)
    ol.make_step(loss_fn)(tx, params, state, X, Y)
    assert all(x.is_deleted() for x in jax.tree.leaves((params, state)))
    assert not X.is_deleted() and not Y.is_deleted()
    params = fresh()
    state = tx.init(params)
    ol.make_step(loss_fn, donate=False)(tx, params, state, X, Y)
    assert not any(x.is_deleted() for x in jax.tree.leaves((params, state)))


def test_arrays_that_occur_twice_and_numpy_arrays_can_be_donated():
    z = jnp.zeros(3)
    host = np.zeros(3, np.float32)
    params = {"w": z, "b": jnp.zeros(()), "again": z, "host": host}
    new, _, _ = run(ol.make_step(loss_fn), ol.adam(0.1), 2, params)
    assert bool((new["w"] != 0).all()) and not new["again"].any() and not host.any()


def test_every_state_can_be_donated_by_a_plain_jit():
    params = {"w": jnp.ones((4, 4)), "b": jnp.ones(4)}
    donated = jax.jit(lambda state: jax.tree.map(lambda x: x + 0, state), donate_argnums=0)
    for tx in (
        ol.adam(0.1),
        ol.lbfgs(),
        ol.muon(0.1),
        ol.soap(0.1),
        ol.schedule_free_adamw(0.1),
        ol.prodigy(),
    ):
        state = tx.init(params)
        donated(state)
        assert not any(x.is_deleted() for x in params.values())


def test_using_a_donated_array_again_is_explained():
    params, tx, step = fresh(), ol.adam(0.1), ol.make_step(loss_fn)
    state = tx.init(params)
    new, _, _ = step(tx, params, state, X, Y)
    with pytest.raises(
        RuntimeError, match=r"params leaf 'b' was donated: an earlier step .*donate=False"
    ):
        step(tx, params, state, X, Y)
    with pytest.raises(RuntimeError, match=r"state leaf '0/count' was donated"):
        step(tx, new, state, X, Y)


def test_within_a_trace_nothing_is_donated():
    step, many = ol.make_step(loss_fn), {"w": jnp.zeros((2, 3)), "b": jnp.zeros(2)}
    params, txs = fresh(), jax.vmap(ol.adam)(jnp.array([0.1, 0.2]))
    states, state = jax.vmap(ol.adam(0.1).init)(many), ol.adam(0.1).init(params)
    jax.vmap(step, in_axes=(0, 0, 0, None, None))(txs, many, states, X, Y)
    jax.vmap(step, in_axes=(0, None, None, None, None))(txs, params, state, X, Y)
    new = step(ol.adam(0.1), fresh(), state, X, Y)[:2]
    jax.vmap(lambda x: step(ol.adam(0.1), *new, x, Y))(jnp.stack([X, X]))
    assert not any(x.is_deleted() for x in jax.tree.leaves((many, params, states, new)))


def test_a_failed_step_says_what_failed_and_what_is_lost():
    def loss(params, x, y):
        def write(_):
            raise OSError("disk full")

        written = jax.pure_callback(
            write, jax.ShapeDtypeStruct((), jnp.float32), jax.lax.stop_gradient(params["b"])
        )
        return loss_fn(params, x, y) + written

    with pytest.raises(RuntimeError, match="disk full") as told:
        run(ol.make_step(loss), ol.sgd(0.1), 1)
    assert any(
        "so they are lost: continue from a saved copy" in note for note in told.value.__notes__
    )


def test_an_argument_that_is_donated_in_the_same_call_is_explained():
    def distance(params, target):
        return sum(
            jnp.sum((a - b) ** 2)
            for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(target), strict=True)
        )

    params, tx = fresh(), ol.adam(0.1)
    with pytest.raises(
        ValueError, match=r"args leaf '0/b' is the same array as params leaf 'b', whose memory is"
    ):
        ol.make_step(distance)(tx, params, tx.init(params), params)
    ol.make_step(distance, donate=False)(tx, params, tx.init(params), params)


# --- wrong calls ----------------------------------------------------------------------------------


def call(loss=loss_fn, tx=None, params=None, state=None, args=(X, Y), **options):
    params, tx = fresh() if params is None else params, ol.adam(0.1) if tx is None else tx
    return ol.make_step(loss, **options)(
        tx, params, tx.init(params) if state is None else state, *args
    )


WRONG = {
    "no function": (
        lambda: ol.make_step(3.0),
        r"make_step: loss_fn must be a function of the params, got 3.0",
    ),
    "no scalar": (
        lambda: call(lambda p, x, y: x @ p["w"] - y),
        r"loss_fn must return one number, got float32\[64\]; reduce it with jnp.mean",
    ),
    "integer": (
        lambda: call(lambda p, x, y: 1),
        r"must return one number, got int 1; it must be real and floating",
    ),
    "complex": (
        lambda: call(lambda p, x, y: jax.lax.complex(p["b"], p["b"])),
        r"got complex64\[\]; it must be real",
    ),
    "nothing": (lambda: call(lambda p, x, y: None), r"loss_fn must return one number, got None"),
    "aux unasked": (
        lambda: call(lambda p, x, y: (loss_fn(p, x, y), x)),
        r"got a tuple of 2; if the second value is not part of the loss, write "
        r"make_step\(loss_fn, has",
    ),
    "no aux": (
        lambda: call(has_aux=True),
        r"with has_aux=True loss_fn must return \(loss, aux\), got float32\[\]",
    ),
    "arguments missing": (
        lambda: call(args=(X,)),
        (
            r"^make_step: loss_fn\(params, x, y\) was called with \(params, float32\[64, 3\]\): "
            r"missing a required argument: 'y'"
        ),
    ),
    "other state": (
        lambda: call(state=ol.sgd(0.1, momentum=0.9).init(fresh())),
        (
            r"adam: this state was not made by this optimizer: expected .*ScaleByAdamState.*got "
            r".*TraceState.*tx.init"
        ),
    ),
    "no state": (
        lambda: call(state=()),
        r"adam: this state was not made by this optimizer.* got \(\)",
    ),
    "tx for state": (
        lambda: call(state=ol.adam(0.1)),
        r"state is an optimizer; write state = tx.init\(params\)",
    ),
    "params first": (
        lambda: ol.make_step(loss_fn)(fresh(), ol.adam(0.1), X, Y),
        r"tx must be an optimizer, got dict; the order is step\(tx, params, state, \*args\)",
    ),
    "factory": (
        lambda: ol.make_step(loss_fn)(ol.adam, fresh(), (), X, Y),
        r"got function; call it: adam\(\.\.\.\)",
    ),
    "state first": (
        lambda: ol.make_step(loss_fn)(ol.adam(0.1), ol.adam(0.1).init(fresh()), fresh(), X, Y),
        r"params is a state; the order is step\(tx, params, state, \*args\)",
    ),
    "a name among the arguments": (
        lambda: call(lambda p, x, y, mode: loss_fn(p, x, y), args=(X, Y, "train")),
        r"args leaf '2' is str 'train', not an array. Let loss_fn close over",
    ),
    "population": (
        lambda: call(tx=jax.vmap(ol.adam)(jnp.ones(3)), state=ol.adam(0.1).init(fresh())),
        r"this is a population of 3; apply jax.vmap",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_call_of_make_step_says_what_to_write(name):
    wrong, message = WRONG[name]
    with pytest.raises((TypeError, ValueError), match=message):
        wrong()


# --- fit ------------------------------------------------------------------------------------------


def test_fit_on_all_data_is_the_loop():
    start = fresh()
    params, history = ol.fit(loss_fn, start, (X, Y), ol.adam(0.1), steps=10)
    values, expected, state = by_hand(ol.adam(0.1), 10)
    assert_close((params, history.state), (expected, state), ulps=10 * STEP)
    assert_close(history.loss, values, ulps=2 * 10 * STEP)
    np.testing.assert_array_equal(history.steps, np.arange(10))
    assert history.metrics == {} and isinstance(history.loss, np.ndarray)
    assert not start["w"].is_deleted() and not start["w"].any(), "the params given stay valid"
    assert history.stopped is None and history.evals == {} and history.examples_per_step == 64


@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray], ids=["numpy", "jax"])
def test_every_epoch_has_every_row_once_in_an_order_of_its_own(kind):
    rows = kind(np.arange(10, dtype=np.float32))

    def run(seed):
        calls = []

        def loss(params, batch):
            jax.debug.callback(lambda b: calls.append(b.tolist()), batch["x"])
            return jnp.sum(params["w"] * batch["x"])

        ol.fit(
            loss, {"w": jnp.zeros(())}, {"x": rows}, ol.sgd(0.0), steps=6, batch_size=3, seed=seed
        )
        jax.effects_barrier()
        return calls

    first, again, other = run(0), run(0), run(1)
    assert first == again != other
    for epoch in (first[:3], first[3:]):
        assert len({x for batch in epoch for x in batch}) == 9, "one row of ten fills no batch"
    assert first[:3] != first[3:]


def test_batches_of_numpy_and_jax_are_the_same_rows():
    data = {"x": X, "y": Y}
    results = [
        ol.fit(
            lambda p, b: loss_fn(p, b["x"], b["y"]),
            fresh(),
            d,
            ol.adam(0.1),
            steps=9,
            batch_size=16,
        )[1].loss
        for d in (data, jax.tree.map(np.asarray, data))
    ]
    assert_close(*results, ulps=2 * 9 * STEP)


@pytest.mark.parametrize("size", [None, 16])
def test_fit_compiles_once(size):
    loss, traces = counted()
    for rate in (0.1, 0.2):
        ol.fit(loss, fresh(), (X, Y), ol.adam(rate), steps=20, batch_size=size)
    assert len(traces) == 1


def test_an_iterable_is_begun_again_and_an_iterator_is_not():
    halves = [(X[:32], Y[:32]), (X[32:], Y[32:])]
    _, history = ol.fit(loss_fn, fresh(), halves, ol.adam(0.1), steps=5)
    assert len(history.loss) == 5
    with pytest.warns(UserWarning, match="fit: the data, an iterator, ended after 2 of 5 steps"):
        _, history = ol.fit(loss_fn, fresh(), iter(halves), ol.adam(0.1), steps=5)
    assert (
        len(history.loss) == 2
        and history.stopped == "the data, an iterator, ended after 2 of 5 steps"
    )
    taken = iter(halves)
    ol.fit(loss_fn, fresh(), taken, ol.adam(0.1), steps=1)
    assert next(taken) is halves[1], "no batch more than is used"


def test_evaluations_are_recorded_at_the_updates_they_followed():
    def evaluate(params):
        return {"loss": loss_fn(params, X, Y), "first": params["w"][:1]}

    _, history = ol.fit(loss_fn, fresh(), (X, Y), ol.sgd(0.1), steps=10, eval_fn=evaluate, every=4)
    assert history.eval_steps.tolist() == [4, 8, 10]
    assert_close(history.evals["loss"][:2], history.loss[[4, 8]], ulps=LOSS, largest=AT_START)
    _, history = ol.fit(
        loss_fn, fresh(), (X, Y), ol.sgd(0.1), steps=40, eval_fn=lambda p: float(p["b"])
    )
    assert len(history.evals["eval"]) == 10


QUARTERS = [[X[i::4], Y[i::4]] for i in range(4)]
SOURCES = {
    "all": (lambda: (X, Y), {}),
    "arrays": (lambda: (X, Y), {"batch_size": 24}),
    "list": (lambda: QUARTERS, {}),
    "generator": (lambda: (QUARTERS[i % 4] for i in range(99)), {}),
}


@pytest.mark.parametrize("name", SOURCES)
def test_two_halves_of_a_run_are_the_run(name):
    data, options = SOURCES[name]
    tx = ol.adam(ol.cosine_decay_schedule(0.1, 10))
    whole, told = ol.fit(loss_fn, fresh(), data(), tx, steps=10, **options)
    half, first = ol.fit(loss_fn, fresh(), data(), tx, steps=3, **options)
    rest, second = ol.fit(
        loss_fn, half, data(), tx, steps=7, state=first.state, start=first.end, **options
    )
    chex.assert_trees_all_equal((rest, second.state), (whole, told.state))
    np.testing.assert_array_equal(np.concatenate([first.loss, second.loss]), told.loss)
    assert second.steps.tolist() == list(range(3, 10)) and second.end == told.end == 10
    assert not first.state[0].mu["w"].is_deleted()


def test_data_that_starts_again_gives_a_warning():
    _, history = ol.fit(loss_fn, fresh(), QUARTERS, ol.adam(0.1), steps=2)
    for data, options in ((QUARTERS, {}), ((X, Y), {"batch_size": 24})):
        with pytest.warns(
            UserWarning,
            match=r"the data starts again from its beginning; write start=history.end to continue "
            r"where it stopped, or start=0",
        ):
            ol.fit(loss_fn, fresh(), data, ol.adam(0.1), steps=2, state=history.state, **options)
    again, _ = ol.fit(
        loss_fn, fresh(), QUARTERS, ol.adam(0.1), steps=2, state=history.state, start=0
    )
    goes_on, _ = ol.fit(
        loss_fn, fresh(), iter(QUARTERS), ol.adam(0.1), steps=2, state=history.state
    )
    chex.assert_trees_all_equal(again, goes_on)


def test_epochs_are_steps():
    for data, options, count in (
        ((X, Y), {"batch_size": 24}, 4),
        (QUARTERS, {}, 8),
        ((X, Y), {}, 2),
    ):
        assert (
            len(ol.fit(loss_fn, fresh(), data, ol.sgd(0.1), epochs=2, **options)[1].loss) == count
        )


def test_gradients_still_accumulated_give_a_warning():
    tx = ol.accumulate(ol.sgd(0.1), 4)
    with pytest.warns(UserWarning, match="fit: 2 accumulated gradients do not make up a step yet"):
        half, history = ol.fit(loss_fn, fresh(), QUARTERS, tx, steps=6)
    rest, _ = ol.fit(loss_fn, half, QUARTERS, tx, steps=2, state=history.state, start=history.end)
    whole, _ = ol.fit(loss_fn, fresh(), QUARTERS, tx, steps=8)
    chex.assert_trees_all_equal(rest, whole)


def test_patience_may_wait_for_more():
    values = iter([0.5, 0.8, 0.7, 0.6])
    _, history = ol.fit(
        *(loss_fn, fresh(), (X, Y), ol.sgd(0.1)),
        steps=8,
        every=2,
        patience=2,
        mode="max",
        eval_fn=lambda params: {"accuracy": next(values)},
    )
    assert (history.end, history.best_step) == (8, 4)


def test_patience_keeps_the_best_params():
    values, seen = iter([3.0, 2.0, np.nan, 2.5, 1.0, 0.0]), []

    def evaluate(params):
        seen.append(jax.tree.map(np.asarray, params))
        return {"loss": next(values), "other": -len(seen)}

    options = {"steps": 20, "eval_fn": evaluate, "every": 2}
    params, history = ol.fit(loss_fn, fresh(), (X, Y), ol.sgd(0.1), patience=2, **options)
    assert history.stopped == "no better evaluation within `patience`"
    assert (
        history.end == 8 and history.best_step == 4 and history.eval_steps.tolist() == [2, 4, 6, 8]
    )
    chex.assert_trees_all_equal(history.best_params, seen[1])
    chex.assert_trees_all_equal(params, seen[-1])


def test_an_evaluation_can_end_the_run():
    def evaluate(params):
        if float(params["b"]) > 0.1:
            raise StopIteration
        return 0.0

    _, history = ol.fit(loss_fn, fresh(), (X, Y), ol.sgd(0.1), steps=50, eval_fn=evaluate, every=1)
    assert history.stopped == "eval_fn ended the run" and 1 < history.end < 50
    assert len(history.evals["eval"]) == history.end - 1


def test_statistics_go_through_fit():
    def loss(params, mean, x, y):
        return loss_fn(params, x - mean[None], y), 0.9 * mean + 0.1 * x.mean(0)

    params, history = ol.fit(
        loss,
        fresh(),
        (X, Y),
        ol.sgd(0.1),
        steps=3,
        aux=jnp.zeros(3),
        eval_fn=lambda p, mean: float(mean[0]),
    )
    step, by_step, tx, mean = ol.make_step(loss, has_aux=True), fresh(), ol.sgd(0.1), jnp.zeros(3)
    state = tx.init(by_step)
    for _ in range(3):
        by_step, state, metrics = step(tx, by_step, state, mean, X, Y)
        mean = metrics["aux"]
    chex.assert_trees_all_equal((params, history.aux), (by_step, mean))
    assert history.evals["eval"][-1] == float(mean[0]) and history.metrics == {}


def test_whole_batch_methods_fit():
    _, history = ol.fit(loss_fn, fresh(), (X, Y), ol.lbfgs(), steps=15)
    # rounding alone
    assert history.loss[-1] < (len(X) * np.finfo(np.float32).eps) ** 2 * AT_START < history.loss[0]


@pytest.mark.parametrize("how", ["signal", "exception"])
def test_an_interrupt_returns_params_and_history_so_far(how):
    def evaluate(params):
        if how == "exception":
            raise KeyboardInterrupt
        os.kill(os.getpid(), signal.SIGINT)
        return loss_fn(params, X, Y)

    # a job in the background ignores it
    outside = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        params, history = ol.fit(
            loss_fn, fresh(), (X, Y), ol.adam(0.1), steps=50, eval_fn=evaluate, every=7
        )
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, outside)
    assert (
        len(history.loss) == 7
        and history.stopped == "interrupted"
        and "interrupted" in repr(history)
    )
    assert_close(params, by_hand(ol.adam(0.1), 7)[1], ulps=7 * STEP)


def test_losses_are_fetched_in_chunks_sixteen_steps_behind(monkeypatch):
    drawn, fetched, fetch = [], [], jax.device_get

    def stream():
        while True:
            drawn.append(1)
            yield X, Y

    monkeypatch.setattr(
        jax, "device_get", lambda tree: fetched.append((len(drawn), len(tree))) or fetch(tree)
    )
    ol.fit(loss_fn, fresh(), stream(), ol.sgd(0.1), steps=70)
    assert fetched == [(32, 16), (48, 16), (64, 16), (70, 22)]


def test_throughput_and_the_line_that_says_it():
    _, history = ol.fit(
        loss_fn, fresh(), (X, Y), ol.adam(0.1), steps=30, batch_size=16, eval_fn=lambda p: p["b"]
    )
    assert history.steps_per_second > 0 and history.seconds > 0 and history.compile_seconds > 0
    np.testing.assert_allclose(history.examples_per_second, 16 * history.steps_per_second)
    text = repr(history)
    assert text.startswith("History(30 steps, loss ") and " → " in text
    assert (
        "eval " in text and "steps/s" in text and "examples/s" in text and "s to compile)" in text
    )
    _, one = ol.fit(loss_fn, fresh(), (X, Y), ol.adam(0.1), steps=1)
    assert np.isnan(one.steps_per_second) and "steps/s" not in repr(one)
    _, rising = ol.fit(loss_fn, fresh(), (X, Y), ol.sgd(1.5), steps=20)
    assert "lowest" in repr(rising)
    _, broken = ol.fit(loss_fn, fresh(), (X, Y), ol.sgd(1e30), steps=20)
    assert "not finite from step" in repr(broken)


def test_the_picture():
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    _, history = ol.fit(
        loss_fn, fresh(), (X, Y), ol.adam(0.1), steps=300, eval_fn=lambda p: {"bias": p["b"]}
    )
    ax = history.plot()
    assert ax.get_xlabel() == "updates" and ax.get_yscale() == "log"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["loss, mean of 6", "bias"]
    given = pyplot.figure().gca()
    _, history = ol.fit(loss_fn, fresh(), (X, Y), ol.adam(0.0), steps=3)
    assert history.plot(given) is given and given.get_yscale() == "linear"
    pyplot.close("all")


def test_what_a_history_does_not_have_is_named():
    evaluate = {"eval_fn": lambda params: {"bias": params["b"]}}
    _, history = ol.fit(
        loss_fn, fresh(), (X, Y), ol.with_metrics(ol.adam(0.1)), steps=2, **evaluate
    )
    for name, place in {
        "losses": "write history.loss",
        "train_loss": "write history.loss",
        "bias": "write history.evals['bias']",
        "grad_norm": "write history.metrics['grad_norm']",
        "history": "its numbers are in history.loss, history.metrics, history.evals",
    }.items():
        with pytest.raises(AttributeError) as caught:
            getattr(history, name)
        assert str(caught.value) == f"History has no attribute {name!r}; {place}"
        with pytest.raises(TypeError) as caught:
            history[name]
        assert str(caught.value) == f"History is not a dict, got [{name!r}]; {place}"
    again = copy.deepcopy(history)
    assert again.loss is not history.loss and (again.loss == history.loss).all()


@pytest.mark.parametrize("call", ["history.plot", "plot_histories"])
def test_a_picture_is_not_saved_by_its_ax(call):
    pytest.importorskip("matplotlib")
    _, history = ol.fit(loss_fn, fresh(), (X, Y), ol.adam(0.1), steps=2)
    draw = {
        "history.plot": lambda ax: history.plot(ax),
        "plot_histories": lambda ax: ol.plot_histories({"adam": history}, ax),
    }[call]
    with pytest.raises(ValueError, match=rf"got 'x.png'; to save the picture write {call}\(.*"):
        draw("x.png")
    with pytest.raises(ValueError, match=r"plot.*: ax must be a Matplotlib Axes or None, got 3$"):
        draw(3)


def test_packages_are_asked_for_where_they_are_used(monkeypatch):
    _, history = ol.fit(loss_fn, fresh(), (X, Y), ol.adam(0.1), steps=2)
    monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    ol.fit(loss_fn, fresh(), (X, Y), ol.adam(0.1), steps=2, progress="auto")
    with pytest.raises(
        ImportError, match=r"fit\(..., progress=True\) needs rich; write pip install rich"
    ):
        ol.fit(loss_fn, fresh(), (X, Y), ol.adam(0.1), steps=2, progress=True)
    with pytest.raises(
        ImportError, match=r"history.plot\(\) needs matplotlib; write pip install matplotlib"
    ):
        history.plot()


def test_the_bar_is_drawn_when_asked_for_and_silent_in_a_file(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")  # a narrow terminal cuts its columns off
    for forced in (
        "FORCE_COLOR",
        "TTY_COMPATIBLE",
        "TTY_INTERACTIVE",
    ):  # would make a terminal of the file
        monkeypatch.delenv(forced, raising=False)
    ol.fit(
        loss_fn,
        fresh(),
        (X, Y),
        ol.adam(0.1),
        steps=40,
        eval_fn=lambda p: {"bias": p["b"]},
        progress=True,
    )
    shown = capsys.readouterr().out
    assert "40/40" in shown and "loss" in shown and "bias" in shown and "steps/s" in shown
    for quiet in ("auto", False):
        ol.fit(loss_fn, fresh(), (X, Y), ol.adam(0.1), steps=4, progress=quiet)
        assert capsys.readouterr().out == ""


ADAM = ol.adam(0.1)


def fitted(params=None, data=(X, Y), tx=ADAM, steps=3, **options):
    return ol.fit(loss_fn, fresh() if params is None else params, data, tx, steps=steps, **options)


WRONG_FIT = {
    "tx and data": (
        lambda: fitted(data=ol.adam(0.1), tx=(X, Y)),
        r"fit: tx must be an optimizer, got tuple; the order",
    ),
    "steps": (lambda: fitted(steps=0), r"fit: steps must be an integer of at least 1, got 0"),
    "every": (lambda: fitted(every=0.5), r"fit: every must be an integer of at least 1, got 0.5"),
    "batch_size": (
        lambda: fitted(batch_size=0),
        r"fit: batch_size must be an integer of at least 1, got 0",
    ),
    "large batch": (
        lambda: fitted(batch_size=65),
        r"batch_size is 65, but data has 64 rows; batch_size=None takes them all",
    ),
    "lengths": (
        lambda: fitted(data=(X, Y[:5]), batch_size=2),
        r"the same length along the first axis, got '0' float32\[64, 3\], '1' float32\[5\]",
    ),
    "scalar": (
        lambda: fitted(data=(X, jnp.ones(())), batch_size=2),
        r"first axis, got .*'1' float32\[\]",
    ),
    "no array": (
        lambda: fitted(data=(X, 1.0)),
        r"data leaf '1' is float 1.0, not an array; convert it with jnp.asarray",
    ),
    "empty": (lambda: fitted(data=[]), r"fit: data is an iterable without batches"),
    "size of batches": (
        lambda: fitted(data=[(X, Y)], batch_size=2),
        r"batch_size=2 is for arrays, but data \(list\) is an iterable of batches",
    ),
    "start": (lambda: fitted(start=-1), r"fit: start must be an integer of at least 0, got -1"),
    "no end": (
        lambda: fitted(steps=None),
        r"fit: write steps= \(the number of updates\) or epochs= \(passes over the data\)",
    ),
    "two ends": (
        lambda: fitted(epochs=2),
        r"fit: write steps= \(the number of updates\) or epochs= \(passes over the data\)",
    ),
    "epochs": (
        lambda: fitted(data=iter(QUARTERS), steps=None, epochs=2),
        r"fit: epochs=2 needs data with a length, got list_iterator; write steps= instead",
    ),
    "mode": (lambda: fitted(mode="maximum"), r"fit: mode must be 'min' or 'max', got 'maximum'"),
    "list": (
        lambda: fitted(data=[X, Y]),
        r"missing a required argument: 'y'; .*a list is one of batches, so write a tuple of arrays",
    ),
    "patience": (lambda: fitted(patience=3), r"fit: patience counts evaluations; write eval_fn="),
    "too late": (
        lambda: fitted(data=iter(QUARTERS), start=5),
        r"data is an iterable that ends before batch 5",
    ),
    "progress": (
        lambda: fitted(progress="yes"),
        r"fit: progress must be 'auto', True or False, got 'yes'",
    ),
    "order": (
        lambda: ol.fit(loss_fn, (X, Y), fresh(), ADAM, steps=1),
        r"was called with \(params, dict\): missing a required argument: 'y'; a batch that is a "
        r"dict is one argument, loss_fn\(params, batch\); the order is fit\(loss_fn, params, data",
    ),
    "a loss with aux": (
        lambda: ol.fit(lambda p, x, y: (0.0, x), fresh(), (X, Y), ADAM, steps=1),
        r"^fit: loss_fn must return one number, got a tuple of 2; .*for fit, compute it in eval",
    ),
    "has_aux": (lambda: fitted(has_aux=True), r"'has_aux'; return the loss alone"),
    "callbacks": (lambda: fitted(callbacks=[]), r"'callbacks'; write eval_fn=, .*StopIteration"),
    "unknown": (  # Python 3.13 has a guess
        lambda: fitted(stepz=1),
        r"'stepz'(; write|\. Did you mean 'steps'\? Write) params, history = fit\(loss_fn",
    ),
    "generator function": (
        lambda: fitted(data=lambda: iter([(X, Y)])),
        r"fit: data is the function <lambda>; call it, <lambda>\(\), to get the batches",
    ),
    "lists": (
        lambda: fitted(data=(X, Y.tolist())),
        r"fit: data\[1\] is a list; convert it with numpy.asarray",
    ),
    "integers": (
        lambda: fitted(params={"w": np.arange(3)}),
        r"no floating leaf, so nothing can be trained; write jnp.asarray\(..., jnp.float32\)",
    ),
    "arguments of eval_fn": (
        lambda: fitted(eval_fn=lambda p, x: 0.0),
        r"fit: eval_fn\(p, x\) was called with \(params\): .* fit calls eval_fn\(params\)",
    ),
    "evaluation": (
        lambda: fitted(eval_fn=lambda p: None),
        r"eval_fn must return a number or a dict .*got eval=None",
    ),
    "array": (
        lambda: fitted(eval_fn=lambda p: p["w"]),
        r"eval_fn must return a number .*got eval=Array",
    ),
    "names": (
        lambda: fitted(eval_fn=lambda p, seen=[]: {str(len(seen)): seen.append(1) or 0.0}, every=1),
        r"eval_fn returned \['1'\], but \['0'\] before",
    ),
}


@pytest.mark.parametrize("name", WRONG_FIT)
def test_a_wrong_call_of_fit_says_what_to_write(name):
    wrong, message = WRONG_FIT[name]
    with pytest.raises((TypeError, ValueError), match=message):
        wrong()


def test_params_that_are_gone_are_explained():
    params, tx = fresh(), ol.adam(0.1)
    ol.make_step(loss_fn)(tx, params, tx.init(params), X, Y)
    with pytest.raises(RuntimeError, match=r"params leaf 'b' was donated"):
        fitted(params)


@pytest.mark.parametrize(
    "tx",
    [ol.average_params(ol.adam(0.1), decay=0.9), ol.schedule_free_sgd(0.1)],
    ids=["ema", "free"],
)
def test_fit_evaluates_at_the_averages_and_returns_what_trains(tx):
    seen = []
    params, history = ol.fit(
        loss_fn,
        fresh(),
        (X, Y),
        tx,
        steps=5,
        eval_fn=lambda p: seen.append(p) or 0.0,
        progress=False,
    )
    assert_close(seen[-1], ol.eval_params(tx, history.state, params), ulps=A_STEP)
    assert not np.allclose(seen[-1]["w"], params["w"], rtol=1e-3)
