"""optax's microbatching: the results of the plain call, from one microbatch after another."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from optax_lite import global_norm, microbatching
from optax_lite.microbatching import (
    AccumulationType,
    Accumulator,
    micro_grad,
    micro_vmap,
    microbatch,
    reshape_batch_axis,
)
from tests.closeness import assert_close

PROVES = ("microbatching",)

MEAN, SUM = AccumulationType.MEAN, AccumulationType.SUM
RUNNING_MEAN, CONCAT = AccumulationType.RUNNING_MEAN, AccumulationType.CONCAT
KINDS = list(AccumulationType)

# the ten operations of a residual on either side, and a sum over the rows
SUMS = 2 * 10 + 12

PARAMS = {"w": jnp.array([1.0, -2.0, 0.5]), "b": jnp.array(0.3)}
LARGEST = Accumulator(
    init=lambda like: jax.tree.map(lambda x: jnp.full(x.shape, -jnp.inf, x.dtype), like),
    update=lambda carry, value, index: jax.tree.map(jnp.maximum, carry, value),
    finalize=lambda carry: carry,
    aggregate=lambda values: jax.tree.map(lambda x: x.max(axis=0), values),
)
COUNT = Accumulator(
    init=lambda like: jnp.zeros(()),
    update=lambda carry, value, index: index + 1.0,
    finalize=lambda carry: carry,
    aggregate=lambda values: values,
)


def data(rows=12):
    x = jax.random.normal(jax.random.key(0), (rows, 3))
    return x, x @ jnp.array([0.5, 1.0, -1.0]) + 1.0


def predict(params, x):
    return x @ params["w"] + params["b"]


def loss_fn(params, x, y):
    return jnp.mean((predict(params, x) - y) ** 2)


def summed_loss(params, x, y):
    return jnp.sum((predict(params, x) - y) ** 2)


def in_numpy(kind, values, real=None):
    """What the values of the microbatches become, the slow way in float64."""
    values = [np.asarray(x, np.float64) for x in values]
    n, values = len(values), values[:real]
    if kind is SUM:
        return np.sum(values, axis=0)
    if kind is not CONCAT:
        return np.sum(values, axis=0) / (n if kind is MEAN else len(values))
    values = [np.atleast_1d(x) for x in values]
    whole = np.zeros((n * len(values[0]), *values[0].shape[1:]))
    for i, value in enumerate(values):
        whole[i::n] = value
    return whole


# --- microbatch -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_its_definition(kind):
    """Of a tree of a scalar, a vector, rows, and None."""

    def fun(x):
        return {"scalar": x.sum(), "nested": [x[0], {"rows": 2 * x}], "none": None}

    x = np.asarray(data()[0])
    for size in (1, 3, 12):
        n = 12 // size
        expected = [fun(x[i::n]) for i in range(n)]
        expected = jax.tree.map(lambda *each: in_numpy(kind, each), *expected)
        assert_close(jax.jit(microbatch(fun, 0, size, kind))(x), expected, ulps=SUMS, largest=3.0)


def test_it_is_the_plain_call():
    """A sum over rows by SUM, a mean by either mean, a function of each row by CONCAT."""
    kinds = ((SUM, summed_loss), (MEAN, loss_fn), (RUNNING_MEAN, loss_fn))
    calls = [(kind, of(fun)) for kind, fun in kinds for of in (jax.grad, jax.value_and_grad)]

    @jax.jit
    def both(*args):
        ours = [microbatch(fun, (1, 2), 4, kind)(*args) for kind, fun in calls]
        ours.append(microbatch(predict, 1, 4, CONCAT)(*args[:2]))
        return ours, [*(fun(*args) for _, fun in calls), predict(*args[:2])]

    assert_close(*both(PARAMS, *data()), ulps=SUMS, largest=30.0)


def test_without_a_size_nothing_is_split():
    assert microbatch(loss_fn, (1, 2), None) is loss_fn


def test_a_tree_of_kinds_is_a_prefix_of_the_result():
    def fun(x):
        return {"a": (x, x[:, 0]), "b": [x.sum(), x.max(), None], "c": None}

    x, _ = data()
    kinds = {"a": CONCAT, "b": [SUM, LARGEST, None], "c": None}
    assert_close(microbatch(fun, 0, 3, kinds)(x), fun(x), ulps=12, largest=3.0)


def test_a_custom_accumulator():
    """It gets the whole subtree, and the number of the microbatch."""
    shapes = []

    def init(like):
        shapes.append(like)
        return 0.0, jnp.zeros((), jnp.int32)

    dot = Accumulator(
        init=init,
        update=lambda carry, v, i: (carry[0] + i * v["x"].sum() + v["n"], carry[1] + 1),
        finalize=lambda carry: {"weighted": carry[0], "count": carry[1]},
        aggregate=lambda v: {"x": v["x"].sum(axis=0), "n": v["n"].sum()},
    )
    x, _ = data()
    expected = {"weighted": sum(i * x[i::3].sum() + 4 for i in range(3)), "count": jnp.array(3)}
    split = microbatch(lambda x: {"x": x, "n": jnp.array(4.0)}, 0, 4, dot)(x)
    assert_close(split, expected, ulps=SUMS, largest=30.0)
    mapped = micro_vmap(
        lambda x: {"x": x, "n": jnp.array(1.0)}, microbatch_size=4, accumulator=dot
    )(x)
    assert_close(mapped, expected, ulps=SUMS, largest=30.0)
    assert [(s["x"].shape, s["n"].shape) for s in shapes] == [((4, 3), ()), ((3,), ())]
    in_one = micro_vmap(lambda x: x, accumulator=LARGEST)(x)
    np.testing.assert_array_equal(in_one, x.max(axis=0))


def test_arguments_are_found_by_position_and_by_keyword():
    by_number = microbatch(summed_loss, (1, 2), 4)
    by_name = microbatch(summed_loss, (), 4, argnames=("x", "y"))
    mixed = microbatch(summed_loss, 1, 4, argnames="y", in_axes=(0, 0))

    def anything(*args, **kwargs):
        return summed_loss(args[0], args[1], kwargs["y"])

    @jax.jit
    def all_of_them(p, x, y):
        fs = (by_number, by_name, mixed)
        values = [call for f in fs for call in (f(p, x, y), f(p, x, y=y), f(params=p, x=x, y=y))]
        values.append(microbatch(summed_loss, (-2, -1), 4)(p, x, y))
        values.append(microbatch(anything, 1, 4, argnames="y")(p, x, y=y))
        return jnp.stack(values), microbatch(jnp.maximum, (0, 1), 4, CONCAT)(y, -y)

    x, y = data()
    ours, absolute = all_of_them(PARAMS, x, y)
    assert_close(ours, jnp.full(11, summed_loss(PARAMS, x, y)), ulps=SUMS)
    np.testing.assert_array_equal(absolute, jnp.abs(y))


def test_other_arguments_arrive_unchanged():
    seen = []

    def fun(x, mode, scale, table, *, flag, function):
        seen.append((mode, scale, type(table), flag))
        return function(x.sum()) * (scale if mode == "double" and flag else table[0])

    x, _ = data()
    ours = microbatch(fun, 0, 4)(x, "double", 2.0, np.ones(2), flag=True, function=jnp.negative)
    assert_close(ours, -2 * x.sum(), ulps=SUMS, largest=30.0)
    assert set(seen) == {("double", 2.0, np.ndarray, True)}


def test_each_argument_has_an_axis_of_its_own():
    x, y = data()
    trees = {"a": x.T, "b": [x.T[None] + 1.0, None]}

    def fun(y, trees):
        return y.sum() + (y * trees["a"]).sum() + trees["b"][0].sum()

    with jax.numpy_rank_promotion("allow"):
        for axes in ((0, -1), (-1, -1)):
            ours = microbatch(fun, (0, 1), 4, in_axes=axes)(y, trees)
            assert_close(ours, fun(y, trees), ulps=2 * SUMS, largest=100.0)
    ours = microbatch(lambda x: x.T, 0, 4, CONCAT, in_axes=1)(x.T)
    np.testing.assert_array_equal(ours, x)


def test_random_keys_are_split_and_kept():
    keys = jax.random.split(jax.random.key(0), 6)
    each = jax.vmap(jax.random.normal)
    np.testing.assert_array_equal(microbatch(each, 0, 2, CONCAT)(keys), each(keys))
    assert (micro_vmap(lambda key: key, microbatch_size=2)(keys) == keys).all()


# --- num_real_microbatches ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_microbatches_that_are_not_real_are_left_out(kind):
    """Traced, all numbers share a program; what is not real may be NaN."""
    x = np.array(data()[0])
    traces = []

    def fun(x):
        traces.append(x)
        return x.sum(axis=0) if kind is not CONCAT else x

    @jax.jit
    def shared(x, real):
        return microbatch(fun, 0, 3, kind, num_real_microbatches=real)(x)

    for real in (4, 2, 1, 0):
        for i in range(real, 4):
            x[i::4] = np.nan
        parts = [x[i::4].sum(axis=0) if kind is not CONCAT else x[i::4] for i in range(4)]
        expected = (
            in_numpy(kind, parts, real)
            if real
            else 0 * in_numpy(kind, [np.zeros_like(p) for p in parts])
        )
        for given in (real, np.int64(real)):
            fixed = microbatch(fun, 0, 3, kind, num_real_microbatches=given)(x)
            assert_close(fixed, expected, ulps=SUMS, largest=3.0)
        before = len(traces)
        assert_close(shared(x, jnp.asarray(real)), expected, ulps=SUMS, largest=3.0)
        assert real == 4 or len(traces) == before


def test_a_traced_number_has_a_gradient_and_maps():
    x, y = data()

    def split(params, real):
        return microbatch(summed_loss, (1, 2), 3, num_real_microbatches=real)(params, x, y)

    def first(params, real):
        rows = jnp.arange(12) % 4 < real
        return jnp.sum(jnp.where(rows, (predict(params, x) - y) ** 2, 0))

    @jax.jit
    def both(real):
        of = [jax.vmap(jax.value_and_grad(f), (None, 0)) for f in (split, first)]
        one = [jax.grad(f)(PARAMS, real[2]) for f in (split, first)]
        return [(f(PARAMS, real), g) for f, g in zip(of, one, strict=True)]

    assert_close(*both(jnp.arange(5)), ulps=SUMS, largest=30.0)


# --- micro_vmap -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [None, 1, 4])
def test_a_map_is_that_of_jax(size):
    def fun(x, y):
        return {"product": x * y, "none": None}, jnp.sum(x)

    map_ = functools.partial(micro_vmap, microbatch_size=size)
    kinds = ((SUM, jnp.sum), (MEAN, jnp.mean), (RUNNING_MEAN, jnp.mean))

    @jax.jit
    def both(x, y):
        whole, shared = jax.vmap(fun)(x, y), jax.vmap(fun, (None, 0))(x[0], y)
        ours = [map_(fun)(x, y), map_(fun)(x, y=y), map_(fun)(x=x, y=y), map_(fun, [1, -1])(x.T, y)]
        ours += [map_(fun, accumulator=kind)(x, y) for kind, _ in kinds]
        plain = [jax.tree.map(lambda x, f=f: f(x, axis=0), whole) for _, f in kinds]
        return [*ours, map_(fun, (None, 0))(x[0], y)], [*[whole] * 4, *plain, shared]

    assert_close(*both(*data()), ulps=SUMS, largest=3.0)


def test_the_map_may_be_another():
    named = functools.partial(jax.vmap, axis_name="rows")
    split = micro_vmap(lambda x: jax.lax.psum(x, "rows"), microbatch_size=2, vmap_fn=named)
    np.testing.assert_array_equal(split(jnp.arange(6)), [3, 5, 7, 3, 5, 7])


# --- micro_grad -----------------------------------------------------------------------------------


def per_example(params, x, y):
    return jax.vmap(jax.grad(lambda p, x, y: (predict(p, x) - y) ** 2), (None, 0, 0))(params, x, y)


@pytest.mark.parametrize("size", [None, 1, 4])
def test_gradients_of_examples_are_transformed_and_accumulated(size):
    x, y = data()
    each = per_example(PARAMS, x, y)

    ours, aux = jax.jit(
        micro_grad(
            loss_fn,
            batch_argnums=(1, 2),
            microbatch_size=size,
            accumulator=(MEAN, CONCAT, {"w": LARGEST, "b": SUM}),
            transform_fn=lambda g: (g, jax.tree.map(jnp.square, g), g),
            metrics_fn=global_norm,
        )
    )(PARAMS, x, y)
    expected = (
        jax.tree.map(lambda g: g.mean(axis=0), each),
        jax.tree.map(jnp.square, each),
        {"w": each["w"].max(axis=0), "b": each["b"].sum()},
    )
    assert_close(ours, expected, ulps=SUMS, largest=30.0)
    assert_close(aux.values, (predict(PARAMS, x) - y) ** 2, ulps=SUMS, largest=10.0)
    assert_close(aux.metrics, jax.vmap(global_norm)(each), ulps=SUMS)
    assert aux.aux is None and type(aux).__name__ == "Aux"


def test_examples_come_with_and_without_the_axis_of_a_batch():
    x, y = data()
    expected = jax.grad(summed_loss)(PARAMS, x, y)

    def with_aux(ndim, params, x, y, power=2):
        assert x.ndim == ndim
        return jnp.sum((predict(params, x) - y) ** power), x

    for keep in (True, False):
        f = micro_grad(
            functools.partial(with_aux, 2 if keep else 1),
            has_aux=True,
            batch_argnums=(1, 2),
            keep_batch_dim=keep,
            microbatch_size=4,
        )
        calls = (lambda *a, f=f: f(*a), lambda p, x, y, f=f: f(p, x, y=y), lambda *a, f=f: f(*a, 2))
        for ours, aux in jax.jit(lambda *a, calls=calls: [call(*a) for call in calls])(
            PARAMS, x, y
        ):
            assert_close(ours, expected, ulps=SUMS, largest=30.0)
            np.testing.assert_array_equal(aux.aux, x[:, None] if keep else x)


def test_the_arguments_to_differentiate_are_chosen_as_in_jax():
    """One that is split too has the gradient of an example."""
    x, y = data()
    of_x = 2 * (predict(PARAMS, x) - y)[:, None] * PARAMS["w"][None]
    chosen = (1, (1,), [0, 1], (-3, -2))
    named = {"batch_argnums": [1, 2], "microbatch_size": 3, "accumulator": CONCAT}
    fs = [micro_grad(loss_fn, False, argnums, **named) for argnums in chosen]
    for grads in jax.jit(lambda *args: [f(*args)[0] for f in fs])(PARAMS, x, y):
        grads = grads[-1] if isinstance(grads, tuple) else grads
        assert_close(grads, of_x[:, None], ulps=SUMS)


# --- transformations, dtypes, memory, devices -----------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_go_through(kind):
    x, y = data()
    whole = {CONCAT: lambda p, x, y: predict(p, x) - y, SUM: summed_loss}.get(kind, loss_fn)
    split = microbatch(whole, (1, 2), 4, kind)

    @jax.jit
    def derived(params, x, y):
        of = (jax.jacrev, jax.jacfwd)
        ours, plain = ([d(f, (0, 1))(params, x, y) for d in of] for f in (split, whole))
        ours, plain = (
            [*each, jax.vmap(f, (None, 0, None))(params, jnp.stack([x, 2 * x]), y)]
            for f, each in ((split, ours), (whole, plain))
        )
        return ours, plain

    assert_close(*derived(PARAMS, x, y), ulps=SUMS, largest=30.0)


def test_low_precision_is_accumulated_in_float32_and_returned_as_it_was():
    @jax.jit
    def all_of_them(x):
        for kind in (SUM, MEAN, RUNNING_MEAN):
            found[kind.name] = [microbatch(lambda x: x[0], 0, 1, kind)(x)]
            for size in (2, None):
                named = {"microbatch_size": size, "accumulator": kind}
                found[kind.name] += [micro_vmap(lambda x: x, **named)(x)]
                found[kind.name] += micro_grad(lambda p, x: jnp.sum(p * x), **named)(x[1], x)[:1]
        large = jnp.full(4, 3e4, jnp.float16)
        return dict(found), microbatch(jnp.sum, 0, 1, MEAN)(large)

    found = {}
    x = jnp.concatenate([jnp.full(1, 256.0), jnp.ones(511)]).astype(jnp.bfloat16)
    by_kind, mean = all_of_them(x)
    assert mean == 3e4 and mean.dtype == jnp.float16
    for kind, ours in by_kind.items():
        expected = jnp.asarray(767.0 if kind == "SUM" else 767 / 512, jnp.bfloat16)
        assert all(x.dtype == jnp.bfloat16 and x == expected for x in ours)


def test_other_dtypes():
    """Sums of integers are those of +; over examples they are those of jnp.sum."""
    small, flags = jnp.arange(6, dtype=jnp.int8), jnp.arange(6) > 4
    first = functools.partial(microbatch, lambda x: x[0], 0, 1)
    kinds = ((SUM, jnp.sum), (MEAN, jnp.mean))

    @jax.jit
    def all_of_them():
        maps = [functools.partial(micro_vmap, lambda x: x, microbatch_size=s) for s in (None, 2)]
        ours = [f(accumulator=kind)(x) for f in maps for kind, _ in kinds for x in (small, flags)]
        plain = [reduce(x) for _ in maps for _, reduce in kinds for x in (small, flags)]
        mean = first(MEAN)(jnp.array([0j, 1j, 2j, 3j]))
        return ours, plain, [first()(small), first()(flags), mean]

    ours, plain, sums = all_of_them()
    assert [x.dtype for x in ours] == [x.dtype for x in plain]
    assert_close(ours, plain, ulps=3)
    assert [x.dtype.name for x in sums] == ["int8", "bool", "complex64"]
    assert sums == [15, True, 1.5j]


def test_in_float64_to_all_digits(x64):
    x, y = (jnp.asarray(a, float) for a in data())
    params = jax.tree.map(lambda p: jnp.asarray(p, float), PARAMS)
    single = [jax.tree.map(lambda a: a.astype(jnp.float32), a) for a in (params, x, y)]

    @jax.jit
    def split(*args):
        return [
            microbatch(jax.grad(loss_fn), (1, 2), 4, kind)(*args) for kind in (MEAN, RUNNING_MEAN)
        ]

    for args in ((params, x, y), single):
        for ours in split(*args):
            assert {leaf.dtype for leaf in jax.tree.leaves(ours)} == {args[1].dtype}
            assert_close(ours, jax.grad(loss_fn)(*args), ulps=SUMS, largest=10.0)


def test_a_running_mean_does_not_overflow_and_infinity_stays():
    first = functools.partial(microbatch, lambda x: x[0], 0, 1)
    assert_close(first(RUNNING_MEAN)(jnp.full(4, 3e38)), 3e38, ulps=20)
    assert first(MEAN)(jnp.full(4, 3e38)) == jnp.inf
    for kind in (MEAN, RUNNING_MEAN):
        for infinities in ([jnp.inf, 1.0, 2.0], [1.0, jnp.inf, jnp.inf]):
            assert first(kind)(jnp.array(infinities)) == jnp.inf


def temporaries(f, *args):
    return jax.jit(f).lower(*args).compile().memory_analysis().temp_size_in_bytes


def test_it_needs_the_memory_of_one_microbatch():
    """Of 16: clipped gradients of examples exist twice at a time, or once for the whole batch. And
    the batch is nowhere copied.
    """
    rows, width = 512, 64
    p, x = jnp.ones((width, width)), jnp.ones((rows, width))

    def wide(p, x):
        return jnp.mean(jnp.tanh(x @ p) ** 2)

    def clip(g):
        return g / jnp.maximum(1, jnp.sqrt(jnp.sum(g**2)))

    in_one, split = (
        temporaries(micro_grad(wide, microbatch_size=size, transform_fn=clip), p, x)
        for size in (rows, rows // 16)
    )
    assert in_one > 4 * rows * width**2 and split < in_one / 7
    x = jnp.ones((64 * rows, width))
    for f in (jax.grad(wide), jax.value_and_grad(wide)):
        assert temporaries(microbatch(f, 1, 4 * rows, MEAN), p, x) < x.nbytes / 4
    assert temporaries(microbatch(lambda p, x: x @ p, 1, 4 * rows, CONCAT), p, x) < x.nbytes / 4


def mesh_of_eight(kind):
    return jax.make_mesh((8,), ("data",), axis_types=(kind,))


@pytest.mark.usefixtures("eight_devices")
def test_a_batch_that_is_spread_over_devices_stays_where_it_is():
    mesh = mesh_of_eight(AxisType.Auto)
    spread, everywhere = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("data",), ()))
    batch, params = jax.device_put(data(64), spread), jax.device_put(PARAMS, everywhere)
    for f, placed in (
        (microbatch(jax.grad(loss_fn), (1, 2), 16, MEAN), everywhere),
        (microbatch(lambda p, x, y: predict(p, x), (1, 2), 16, CONCAT), spread),
    ):
        step = jax.jit(f, out_shardings=placed)
        program = step.lower(params, *batch).compile().as_text()
        moves = ("all-gather", "all-to-all", "collective-permute")
        assert not any(word in program for word in moves)
        assert_close(step(params, *batch), f(PARAMS, *data(64)), ulps=20 + 64, largest=10.0)


@pytest.mark.usefixtures("eight_devices")
def test_meshes_whose_axes_are_manual_or_explicit():
    x, y = data(64)
    rows, all_ = PartitionSpec("data"), PartitionSpec()
    split = functools.partial(micro_grad, summed_loss, batch_argnums=(1, 2))

    def on_each(params, x, y):
        grads, aux = split(microbatch_size=2, num_real_microbatches=jnp.asarray(4))(params, x, y)
        kinds = (LARGEST, COUNT)
        largest, count = microbatch(lambda x: (x.max(keepdims=True), x), 0, 2, kinds)(x)
        return grads, aux.values, largest + count

    expected, aux = split()(PARAMS, x, y)
    mapped = jax.shard_map(
        on_each,
        mesh=mesh_of_eight(AxisType.Auto),
        in_specs=(all_, rows, rows),
        out_specs=(all_, rows, rows),
    )
    grads, values, largest = jax.jit(mapped)(PARAMS, x, y)
    assert_close((grads, values), (expected, aux.values), ulps=20 + 64, largest=10.0)
    assert_close(largest.ravel(), x.reshape(8, -1).max(axis=1) + 4, ulps=1)
    mesh = mesh_of_eight(AxisType.Explicit)
    with jax.set_mesh(mesh):
        x = jax.device_put(x, NamedSharding(mesh, rows))
        ours = jax.jit(
            lambda x: [
                microbatch(lambda x: x.sum(axis=0), 0, 16)(x),
                microbatch(lambda x: 2 * x, 0, 16, CONCAT)(x),
                micro_vmap(lambda x: 2 * x, microbatch_size=16)(x),
            ]
        )(x)
        assert jax.typeof(ours[1]).sharding.spec == PartitionSpec("data", None)
    x = np.asarray(x)
    assert_close(ours, [x.sum(axis=0), 2 * x, 2 * x], ulps=64, largest=64.0)


# --- reshape_batch_axis ---------------------------------------------------------------------------


def test_the_axis_of_a_batch_is_split_by_columns():
    x = np.arange(24).reshape(6, 4)
    split = reshape_batch_axis({"x": x, "none": None}, 2)
    assert split["none"] is None and isinstance(split["x"], np.ndarray)
    np.testing.assert_array_equal(split["x"], [x[i::3] for i in range(3)])
    for axis in (1, -1):
        split = jax.jit(functools.partial(reshape_batch_axis, microbatch_size=2, axis=axis))(x)
        np.testing.assert_array_equal(split, np.stack([x[:, i::2] for i in range(2)], axis=1))


# --- optax ----------------------------------------------------------------------------------------


NAMES = ("microbatch", "micro_vmap", "micro_grad", "reshape_batch_axis", "Accumulator")


@pytest.mark.parametrize("name", NAMES)
def test_signatures_are_those_of_optax(name):
    def shown(module):
        parameters = inspect.signature(getattr(module, name)).parameters.values()
        return [
            (p.name, p.kind, callable(p.default) or getattr(p.default, "name", p.default))
            for p in parameters
        ]

    assert shown(microbatching) == shown(optax.microbatching)


def test_names_are_those_of_optax():
    theirs = {name for name in dir(optax.microbatching) if not name.startswith("_")}
    assert theirs == {*NAMES, "AccumulationType"}
    kinds = {kind.name: kind.value for kind in optax.microbatching.AccumulationType}
    assert {kind.name: kind.value for kind in microbatching.AccumulationType} == kinds


def aux_loss(params, x, y, weight):
    return loss_fn(params, x, y) * weight, {"rows": x}


X, Y = data()
CALLS = {
    "two_kinds": lambda m, kinds: m.microbatch(
        lambda x, y: (x * y[:, None], x.sum()), (0, 1), 3, (kinds.CONCAT, kinds.RUNNING_MEAN)
    )(X, Y),
    "scalars": lambda m, kinds: m.microbatch(jnp.sum, [0], 3, kinds.CONCAT)(X),
    "argnames": lambda m, kinds: m.microbatch(
        lambda x, *, y, z: (x.sum(axis=1) + y.sum()) * z, 0, 6, argnames=["y"], in_axes=(1, 0)
    )(X.T, y=Y, z=2.0),
    "integers": lambda m, kinds: m.microbatch(lambda x: x.sum(0), -1, 2)(jnp.arange(12)),
    "bools": lambda m, kinds: m.microbatch(lambda x: x.any(0), 0, 2)(X > 2),
    "few": lambda m, kinds: [
        m.microbatch(lambda x: 1.0 * x, 0, 3, kind, num_real_microbatches=2)(X) for kind in kinds
    ],
    "none": lambda m, kinds: [
        m.microbatch(jnp.sum, 0, 3, kind, num_real_microbatches=jnp.array(0))(X) for kind in kinds
    ],
    "maps": lambda m, kinds: [
        m.micro_vmap(lambda x, y: (x * y, x), microbatch_size=size, accumulator=kind)(X, y=Y)
        for size in (None, 3)
        for kind in kinds
    ],
    "map_axes": lambda m, kinds: m.micro_vmap(lambda x, y: x * y, [1, None], microbatch_size=2)(
        X.T, X[0]
    ),
    "map_integers": lambda m, kinds: [
        m.micro_vmap(lambda x: x, microbatch_size=size, accumulator=kind)(x)
        for size in (None, 4)
        for kind in kinds
        for x in (jnp.arange(12, dtype=jnp.int8), X[:, 0] > 0)
    ],
    "grad": lambda m, kinds: m.micro_grad(loss_fn, batch_argnums=(1, 2), microbatch_size=4)(
        PARAMS, X, Y
    ),
    "grad_aux": lambda m, kinds: m.micro_grad(
        aux_loss,
        True,
        (0, 1),
        batch_argnums=(1, 2),
        microbatch_size=4,
        accumulator=kinds.MEAN,
        metrics_fn=lambda g: {"norm": jnp.linalg.norm(g[0]["w"])},
        num_real_microbatches=2,
    )(PARAMS, X, Y, weight=Y),
    "grad_rows": lambda m, kinds: m.micro_grad(
        lambda p, x, y: (predict(p, x) - y) ** 2,
        batch_argnums=[1, 2],
        keep_batch_dim=False,
        accumulator=(kinds.SUM, kinds.RUNNING_MEAN),
        transform_fn=lambda g: (g, jax.tree.map(jnp.square, g)),
    )(PARAMS, X, Y),
    "reshape": lambda m, kinds: [m.reshape_batch_axis({"x": X}, 3, axis) for axis in (0, 1)],
}


@pytest.mark.parametrize("call", CALLS)
def test_results_are_those_of_optax(call):
    ours, theirs = (
        jax.jit(lambda m=m: jax.tree.leaves(CALLS[call](m, m.AccumulationType)))()
        for m in (microbatching, optax.microbatching)
    )
    assert [(x.shape, x.dtype) for x in ours] == [(x.shape, x.dtype) for x in theirs]
    assert_close(ours, theirs, ulps=SUMS, largest=30.0)


# --- wrong calls ----------------------------------------------------------------------------------


def split(fun=loss_fn, argnums=(1, 2), size=4, *rest, **named):
    return microbatch(fun, argnums, size, *rest, **named)


def turns(carry):
    """An accumulator whose carry becomes this one."""
    return Accumulator(
        init=lambda like: {"m": jnp.zeros(like.shape)},
        update=lambda old, value, index: carry,
        finalize=lambda carry: carry,
        aggregate=lambda values: values,
    )


WRONG = {
    "microbatch: fun must be a function, got 3": lambda: microbatch(3, 0, 1),
    "microbatch: microbatch_size must be an integer of at least 1, got 0": lambda: split(size=0),
    r"microbatch: argnums must be an integer or a sequence of integers, got 'x'": lambda: split(
        argnums="x"
    ),
    r"microbatch: argnames must be a name or a sequence of names, got \(2,\)": lambda: split(
        argnames=(2,)
    ),
    r"microbatch: in_axes must be an integer or a sequence of integers, got \(0, None\)": (
        lambda: split(in_axes=(0, None))
    ),
    r"microbatch: in_axes must have one entry for each argument to split, 2, got \(0,\)": (
        lambda: split(in_axes=(0,))
    ),
    "microbatch: accumulator must be an Accumulator or AccumulationType, got 'mean'; write "
    "AccumulationType.MEAN": lambda: split(loss_fn, (1, 2), 4, "mean"),
    "microbatch: accumulator leaf 'a/1' must be an Accumulator or AccumulationType, got 7: MEAN, "
    "SUM, RUNNING_MEAN, CONCAT": lambda: split(loss_fn, 1, 4, {"a": [SUM, 7]}),
    "microbatch: accumulator must be .*, got None": lambda: split(loss_fn, 1, 4, None),
    "microbatch: num_real_microbatches must be an integer, got float 2.0": lambda: split(
        num_real_microbatches=2.0
    ),
    r"microbatch: num_real_microbatches must be an integer, got int32\[1\]": lambda: split(
        num_real_microbatches=jnp.ones(1, int)
    ),
    "microbatch: num_real_microbatches must be an integer, got bool True": lambda: split(
        num_real_microbatches=True
    ),
    "microbatch: num_real_microbatches must be at least 0 and at most 3, the number of "
    "microbatches, got 4": lambda: split(num_real_microbatches=4)(PARAMS, X, Y),
    "micro_vmap: num_real_microbatches needs a microbatch_size, got None": lambda: micro_vmap(
        jnp.sum, num_real_microbatches=2
    ),
    r"microbatch: argument 1 has shape \(12, 3\); its axis 0 must be divisible by "
    "microbatch_size = 5": lambda: split(size=5)(PARAMS, X, Y),
    r"microbatch: argument 'y', leaf 'a/0', has shape \(12,\); its axis 0 must be divisible by "
    "microbatch_size = 5": lambda: split(lambda *, y: 0.0, (), 5, argnames="y")(y={"a": [Y]}),
    r"microbatch: argument 1 has shape \(12,\) and no axis 1 to split; bind arguments that are "
    "not split with functools.partial": lambda: split(in_axes=1)(PARAMS, Y, X),
    r"microbatch: argument 0, leaf 'b', has shape \(\) and no axis 0": lambda: split(argnums=0)(
        PARAMS, X, Y
    ),
    "microbatch: argument 2 is str 'train', which is not an array; bind .* functools.partial": (
        lambda: split()(PARAMS, X, "train")
    ),
    "microbatch: argument 1 has 12 rows, but argument 2 has 8; they must agree": lambda: split()(
        PARAMS, X, Y[:8]
    ),
    "microbatch: argument 1 has no rows": lambda: split()(PARAMS, X[:0], Y[:0]),
    "microbatch: argument 3 should be split, but the call has only 3 positional": lambda: split(
        argnums=3
    )(PARAMS, X, Y),
    "microbatch: argument -4 should be split, but the call has only 3 positional": lambda: split(
        argnums=-4
    )(PARAMS, X, Y),
    "microbatch: argument 'z' should be split, but the call has only 2 positional, 'y'": lambda: (
        split(argnames="z")(PARAMS, X, y=Y)
    ),
    "microbatch: argument 'x' is named twice among those to split": lambda: split(argnames="x")(
        PARAMS, X, Y
    ),
    "microbatch: there is no batch: none of the arguments to split holds an array": lambda: split(
        argnums=()
    )(PARAMS, X, Y),
    r"microbatch: leaf 'b/0' of the result is int32\[\], but MEAN needs floating values": (
        lambda: split(lambda x: {"a": x, "b": [1]}, 0, 4, {"a": CONCAT, "b": MEAN})(X)
    ),
    r"microbatch: leaf 'b' of the result is float32\[4\], but the accumulator there is None": (
        lambda: split(lambda x: {"a": x, "b": x}, 0, 4, {"a": CONCAT, "b": None})(Y)
    ),
    "microbatch: the accumulator and the result have different structures: 'b' only in the "
    "result": lambda: split(lambda x: {"a": x, "b": x}, 0, 4, {"a": CONCAT})(X),
    r"microbatch: update of the accumulator turns a carry of {'m': 'float32\[4\]'} into {'m': "
    r"'int32\[4\]'}; the two must match": lambda: split(
        lambda x: x, 0, 4, turns({"m": jnp.zeros(4, int)})
    )(Y),
    r"micro_vmap: update of the accumulator turns a carry of .* into float32\[4\]": (
        lambda: micro_vmap(jnp.sin, microbatch_size=4, accumulator=turns(jnp.zeros(4)))(Y)
    ),
    "micro_vmap: out_axes must be 0, got 1": lambda: micro_vmap(jnp.sum, 0, 1),
    "micro_vmap: in_axes must be an integer or a sequence of integers and None, got 'x'": (
        lambda: micro_vmap(jnp.sum, "x")
    ),
    r"micro_vmap: in_axes must have one entry for each positional argument, 1, got \(0, None\)": (
        lambda: micro_vmap(jnp.sum, (0, None))(X)
    ),
    "micro_vmap: vmap_fn must be a function, got None": lambda: micro_vmap(jnp.sum, vmap_fn=None),
    r"micro_vmap: argument 'y' has shape \(\) and no axis 0": lambda: micro_vmap(jnp.add)(X, y=2.0),
    "micro_vmap: argument 0 has 12 rows, but argument 1 has 8": lambda: micro_vmap(jnp.add)(
        Y, Y[:8]
    ),
    "micro_grad: metrics_fn must be a function, got None": lambda: micro_grad(
        loss_fn, metrics_fn=None
    ),
    "micro_grad: accumulator leaf '0' must be .*, got 'sum'; write AccumulationType.SUM": (
        lambda: micro_grad(loss_fn, accumulator=("sum", MEAN))
    ),
    "micro_grad: batch_argnums must be an integer or a sequence of integers, got None": (
        lambda: micro_grad(loss_fn, batch_argnums=None)
    ),
    r"micro_grad: argument 2 has shape \(12,\); its axis 0 must be divisible by microbatch_size = "
    "5": lambda: micro_grad(loss_fn, batch_argnums=(2, 1), microbatch_size=5)(PARAMS, X, Y),
    "micro_grad: the accumulator and the result have different structures: .*'gradients/w'": (
        lambda: micro_grad(loss_fn, batch_argnums=(1, 2), accumulator={"b": SUM})(PARAMS, X, Y)
    ),
    r"reshape_batch_axis: leaf 'x' has shape \(12, 3\); its axis 1 must be divisible by "
    "microbatch_size = 2": lambda: reshape_batch_axis({"x": X}, 2, axis=1),
    r"reshape_batch_axis: it has shape \(12, 3\) and no axis 2 to split": (
        lambda: reshape_batch_axis(X, 2, 2)
    ),
    r"reshape_batch_axis: axis must be an integer, got \(0, 1\)": lambda: reshape_batch_axis(
        X, 2, (0, 1)
    ),
}


@pytest.mark.parametrize("message", WRONG)
def test_errors_say_what_to_write(message):
    with pytest.raises(ValueError, match=f"^{message}"):
        WRONG[message]()


def test_a_missing_argument_says_how_the_function_is_called():
    with pytest.raises(TypeError, match=r"write microbatch\(fun, argnums, microbatch_size\)"):
        microbatch(loss_fn)
