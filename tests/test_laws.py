"""Laws that every transformation of the table keeps: of the type, of its state, of compilation, of dtypes."""

import copy
import functools
import operator
import pickle
import re

import chex
import cloudpickle
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies
from jax._src import test_util  # counts compilations; there is no public counter

import optax_lite as ol
from tests.methods import ROWS, extra_of, is_slow, one_of_each, rate, row_of
from tests.slow import slow_after

EACH = one_of_each()


def of_each(is_late=lambda name: False):
    """A law of all transformations; those that chain others, or that `is_late` names, are slow."""
    cases = [
        pytest.param(tx, id=name, marks=[pytest.mark.slow] * (is_late(name) or is_slow(name, tx)))
        for name, tx in EACH.items()
    ]
    return pytest.mark.parametrize("tx", cases)


# Rules that take seconds to compile: the laws of the type hold here, the rest is slow.
LONG = (
    "add_noise", "scale_by_lbfgs", "scale_by_muon", "scale_by_shampoo", "scale_by_soap", "scale_by_radam", "sam",
    "mechanize", "momo_adam", "schedule_free", "with_state_dtype", "_MultiSteps", "accumulate", "skip_bad_steps",
    "inject_hyperparams",
)  # fmt: skip
# For laws that take long to compile, or of the boundary, which do not depend on the rule behind it: others are slow.
FEW = ("adamw", "adamw, scheduled", "lion", "chain", "named_chain", "masked", "partition", "pair")

# The same for what takes longest.
FEWEST = ("adamw", "lion", "pair")

every = of_each()
short = of_each(lambda name: name.split(",")[0] in LONG)
few = of_each(lambda name: name not in FEW)
fewest = of_each(lambda name: name not in FEWEST)


def params():
    return {
        "w": jnp.array([[1.0, -2.0], [0.5, 3.0], [0.1, 0.2]]),
        "b": jnp.array([0.3, -0.1]),
        "scalar": jnp.array(2.0),
    }


def gradients(seed=1):
    keys = jax.random.split(jax.random.key(seed), 3)
    return {name: jax.random.normal(k, p.shape, p.dtype) for k, (name, p) in zip(keys, params().items(), strict=True)}


def update(tx, *args, **extra):
    return tx.update(*args, **(extra_of(tx) | extra))


def step(tx, *args):
    return tx.step(*args, **extra_of(tx))


def descend(tx, steps, update=update):
    p = params()
    state = tx.init(p)
    for i in range(steps):
        updates, state = update(tx, gradients(i), state, p)
        p = ol.apply_updates(p, updates)
    return p, state


def assert_same_program(tx, a, b, least=0.0):
    tolerance = max(row_of(tx).quirks.same_program if row_of(tx) else 0.0, least)
    chex.assert_trees_all_close(a, b, rtol=tolerance, atol=tolerance)


# --- the type --------------------------------------------------------------------------------------------------------


@few
def test_unpacks_into_the_pair(tx):
    init, update_of_tx = tx
    assert update_of_tx(gradients(), init(params()), params(), **extra_of(tx)) is not None


@every
def test_replacing_the_hyperparams_by_themselves_changes_nothing(tx):
    assert tx.replace(tx.hyperparams) == tx


@every
def test_equal_by_value_and_hashable(tx):
    other = jax.tree.map(lambda x: x, tx)
    assert (tx == other, hash(tx) == hash(other), {tx: 1}[other]) == (True, True, 1)
    for path, x in tx.hyperparams.items():
        assert tx != tx.replace({path: x / 2 + 0.01})


@every
def test_pickles(tx):
    hash(tx)  # a cached hash must not travel
    for copied in (pickle.loads(pickle.dumps(tx)), copy.deepcopy(tx), cloudpickle.loads(cloudpickle.dumps(tx))):
        assert copied == tx


@every
def test_structure_depends_on_static_choices_only(tx):
    changed = tx.replace({path: x / 2 + 0.01 for path, x in tx.hyperparams.items()})
    assert jax.tree.structure(changed) == jax.tree.structure(tx)
    assert all(isinstance(x, float) for x in jax.tree.leaves(tx))


@every
def test_repr_names_the_factory_and_every_number(tx):
    text = repr(tx)
    assert text.startswith(tx._call.name + "(")
    assert all(repr(x) in text for x in tx.hyperparams.values())


@pytest.mark.parametrize("row", [r for r in ROWS if r.factory.signature.parameters], ids=lambda r: r.name)
def test_int_numpy_and_jax_scalars_are_the_same_setting(row):
    settings = row.settings[0]
    for kind in (np.float64, np.asarray, jnp.float32):
        same = {k: kind(v) if type(v) is float else v for k, v in settings.items()}
        expected = {k: float(kind(v)) if type(v) is float else v for k, v in settings.items()}
        assert row.factory(**same) == row.factory(**expected)


def test_comparing_traced_optimizers_does_not_raise():
    @jax.jit
    def same(rate):
        a, b = ol.adamw(rate), ol.adamw(rate)
        assert a == a and hash(a) == hash(a)
        return a == b

    same(0.1)


def test_cannot_be_changed_in_place():
    with pytest.raises(AttributeError, match="replace"):
        ol.adam(0.1).learning_rate = 0.2


# --- state -----------------------------------------------------------------------------------------------------------


@short
def test_state_keeps_structure_shapes_and_dtypes(tx):
    _, first = descend(tx, 0)
    _, later = descend(tx, 3)
    chex.assert_trees_all_equal_shapes_and_dtypes(first, later)
    assert all(isinstance(x, jax.Array) and not x.weak_type for x in jax.tree.leaves((first, later)))


@every
def test_state_structure_does_not_depend_on_values(tx):
    positive = row_of(tx).quirks.positive if row_of(tx) else ()
    may_be_zero = {path: x for path, x in tx.hyperparams.items() if "steps" not in path and path not in positive}
    zeros = tx.replace({path: 0.0 if x < 1 else 1.0 for path, x in may_be_zero.items()})
    assert jax.tree.structure(zeros.init(params())) == jax.tree.structure(tx.init(params()))


@every
def test_abstract_init_has_the_shapes_of_init(tx):
    abstract = tx.init(jax.eval_shape(params))
    assert all(isinstance(x, jax.ShapeDtypeStruct) for x in jax.tree.leaves(abstract))
    chex.assert_trees_all_equal_shapes_and_dtypes(abstract, jax.eval_shape(tx.init, params()))
    chex.assert_trees_all_equal_shapes_and_dtypes(abstract, tx.init(params()))


@every
def test_state_shares_no_memory_with_the_params(tx):
    p = params()
    mine = {x.unsafe_buffer_pointer() for x in jax.tree.leaves(p) if x.size}
    assert mine.isdisjoint(x.unsafe_buffer_pointer() for x in jax.tree.leaves(tx.init(p)) if x.size)


@few
def test_resuming_equals_going_on(tx):
    p, state = descend(tx, 3)
    leaves, treedef = jax.tree.flatten(pickle.loads(pickle.dumps(jax.device_get(state))))
    restored = jax.tree.unflatten(treedef, map(jnp.asarray, leaves))
    chex.assert_trees_all_equal(update(tx, gradients(7), restored, p), update(tx, gradients(7), state, p))


@few
def test_unknown_extra_arguments_are_ignored(tx):
    state = tx.init(params())
    plain = update(tx, gradients(), state, params())
    more = {"value": 1.0, "tree": gradients()} | extra_of(tx)
    chex.assert_trees_all_equal(plain, update(tx, gradients(), state, params(), **more))
    uncompiled = update(tx, gradients(), state, params(), value_fn=lambda p: 0.0)
    chex.assert_trees_all_close(plain, uncompiled, rtol=2e-6, atol=1e-7)


# --- one program, however it is called -------------------------------------------------------------------------------


@few
def test_eager_jitted_and_passed_as_argument_agree_to_the_bit(tx):
    eager, closed = descend(tx, 3), jax.jit(functools.partial(update, tx))
    assert_same_program(tx, eager, descend(tx, 3, jax.jit(update)))
    assert_same_program(tx, eager, descend(tx, 3, lambda tx, *args: closed(*args)))


@few
def test_scan_equals_loop(tx):
    many = jax.tree.map(lambda *xs: jnp.stack(xs), *[gradients(i) for i in range(3)])

    def body(carry, g):
        p, state = carry
        updates, state = update(tx, g, state, p)
        return (ol.apply_updates(p, updates), state), None

    scanned, _ = jax.lax.scan(body, (params(), tx.init(params())), many)
    assert_same_program(tx, scanned, descend(tx, 3), least=2e-6)


@short
def test_step_is_update_and_apply(tx):
    state = tx.init(params())
    updates, after = update(tx, gradients(), state, params())
    stepped, also = step(tx, gradients(), state, params())
    chex.assert_trees_all_close(stepped, ol.apply_updates(params(), updates), rtol=1e-6, atol=1e-7)
    assert_same_program(tx, also, after)


@short
def test_vmap_over_settings_equals_a_loop(tx):
    members = [tx, tx.replace({path: x * 0.9 for path, x in tx.hyperparams.items() if "steps" not in path})]
    population = jax.tree.map(lambda *xs: jnp.array(xs), *members)

    def run(tx):
        p, state = params(), tx.init(params())
        for i in range(2):
            updates, state = update(tx, gradients(i), state, p)
            p = ol.apply_updates(p, updates)
        return p, state

    if not tx.hyperparams:
        return
    together = jax.vmap(run)(population)
    for i, member in enumerate(members):
        chex.assert_trees_all_close(jax.tree.map(lambda x, i=i: x[i], together), run(member), rtol=1e-5, atol=1e-6)


@few
def test_a_population_without_vmap_is_refused(tx):
    if not tx.hyperparams:
        return
    population = jax.tree.map(lambda x: jnp.array([x, x]), tx)
    with pytest.raises(ValueError, match="population of 2"):
        population.init(params())
    with pytest.raises(ValueError, match="population of 2"):
        population.update(gradients(), tx.init(params()), params())


@few
def test_each_call_compiles_once(tx):
    p, g = params(), gradients()
    state = tx.init(p)
    _, state = update(tx, g, state, p)
    step(tx, g, state, p)
    changed = tx.replace({path: x * 0.5 for path, x in tx.hyperparams.items()})
    with test_util.count_jit_and_pmap_lowerings() as count:
        _, state = update(tx, g, state, p)
        update(changed, g, state, p)
        step(changed, g, state, p)
    assert count() == 0


@fewest
def test_un_jitted_grad_and_vmap_compile_nothing_the_second_time(tx):
    if any(map(callable, extra_of(tx).values())):
        return  # an extra argument that is a function makes the call run uncompiled
    p, g = params(), gradients()
    state = tx.init(p)

    def loss(tx, g):
        updates, _ = update(tx, g, state, p)
        return sum(jnp.sum(jnp.abs(u)) for u in jax.tree.leaves(updates))

    many = jax.tree.map(lambda x: jnp.stack([x, 2 * x]), g)

    def both():
        jax.grad(loss)(tx, g)
        jax.vmap(loss, in_axes=(None, 0))(tx, many)

    both()
    with test_util.count_jit_and_pmap_lowerings() as count:
        both()
    assert count() == 0


@fewest
def test_hypergradients_are_finite_also_where_gradients_are_zero(tx):
    def loss(tx, g):
        p, state = params(), tx.init(params())
        for _ in range(2):
            updates, state = update(tx, g, state, p)
            p = ol.apply_updates(p, updates)
        return sum(jnp.sum(x) for x in jax.tree.leaves(p))

    if tx.hyperparams:
        hypergradient = jax.jit(jax.grad(loss))
        for g in (gradients(), jax.tree.map(jnp.zeros_like, params())):
            chex.assert_tree_all_finite(hypergradient(jax.tree.map(jnp.asarray, tx), g))


# --- leaves and dtypes -----------------------------------------------------------------------------------------------


@few
def test_leaves_without_gradient_are_left_alone(tx):
    if "partition" in repr(tx):  # its labels name the leaves of `params`
        return
    p = {"w": params()["w"], "wheel": None, "count": jnp.array(3), "wt": jnp.ones(2), "flag": jnp.array(True)}
    g = {"w": gradients()["w"], "wheel": None, "count": None, "wt": None, "flag": None}
    state = tx.init(p)
    updates, new = update(tx, g, state, p)
    assert {k for k, u in updates.items() if u is None} == {"wheel", "count", "wt", "flag"}
    stepped, _ = step(tx, g, state, p)
    chex.assert_trees_all_equal({k: stepped[k] for k in g if k != "w"}, {k: p[k] for k in g if k != "w"})
    chex.assert_trees_all_equal_structs(state, new)
    if not (row_of(tx) and row_of(tx).quirks.random):
        g, p = {"w": g["w"], "wt": None}, {"w": p["w"], "wt": p["wt"]}
        chex.assert_trees_all_equal(updates["w"], update(tx, g, tx.init(p), p)[0]["w"])


@few
def test_float0_gradients_mean_nothing_here(tx):
    if "partition" in repr(tx):
        return
    p = {"w": params()["w"], "count": jnp.array(3)}
    g = jax.grad(lambda p: jnp.sum(p["w"] ** 2), allow_int=True)(p)
    updates, _ = update(tx, g, tx.init(p), p)
    assert updates["count"] is None
    chex.assert_trees_all_equal(step(tx, g, tx.init(p), p)[0]["count"], p["count"])


@few
@pytest.mark.parametrize(
    ("dtype", "gradient_dtype"),
    [
        ("bfloat16", "float32"),
        ("float32", "bfloat16"),
        pytest.param("bfloat16", "bfloat16", marks=pytest.mark.slow),  # nothing to settle between two equal ones
        pytest.param("float16", "float16", marks=pytest.mark.slow),
    ],
)
def test_dtypes_settle_at_once(tx, dtype, gradient_dtype):
    p = jax.tree.map(lambda x: x.astype(dtype), params())
    g = jax.tree.map(lambda x: x.astype(gradient_dtype), gradients())
    state = tx.init(p)
    updates, new = update(tx, g, state, p)
    stepped, _ = step(tx, g, state, p)
    chex.assert_trees_all_equal_shapes_and_dtypes(updates, g)
    chex.assert_trees_all_equal_shapes_and_dtypes(new, state)
    chex.assert_trees_all_equal_shapes_and_dtypes(stepped, p)
    chex.assert_trees_all_equal_shapes_and_dtypes(ol.apply_updates(p, updates), p)


@short
@pytest.mark.parametrize("dtype", slow_after(1, [jnp.float16, jnp.bfloat16, jnp.float32]), ids=lambda d: d.__name__)
def test_zero_gradients_do_nothing(tx, dtype):
    if any("weight_decay/" in path for path in tx.hyperparams):
        return  # decay moves without a gradient, and a schedule of it cannot be set to 0
    tx = tx.replace({path: 0.0 for path in tx.hyperparams if path.endswith("weight_decay")})
    p = jax.tree.map(lambda x: x.astype(dtype), params())
    zeros = jax.tree.map(jnp.zeros_like, p)
    state = tx.init(p)
    for _ in range(2):
        updates, state = update(tx, zeros, state, p)
        if row_of(tx) is None or not row_of(tx).quirks.moves_without_gradient:
            chex.assert_trees_all_equal(jax.tree.map(jnp.abs, updates), zeros)
        chex.assert_tree_all_finite(updates)
    chex.assert_tree_all_finite(state)


@few
def test_x64_promotes_nothing(tx, x64):
    p = {k: jnp.asarray(x, jnp.float32) for k, x in params().items()}
    state = tx.init(p)
    updates, new = update(tx, p, state, p)
    chex.assert_trees_all_equal_shapes_and_dtypes(updates, p)
    chex.assert_trees_all_equal_shapes_and_dtypes(new, state)
    assert not any(x.dtype == jnp.float64 for x in jax.tree.leaves(new))
    population = jax.vmap(lambda scale: jax.tree.map(lambda x: x * scale, tx))(jnp.ones(2))
    if tx.hyperparams:
        batched = jax.vmap(lambda tx: update(tx, p, state, p)[0])(population)
        assert not any(x.dtype == jnp.float64 for x in jax.tree.leaves(batched))


# --- composition -----------------------------------------------------------------------------------------------------


def test_chain_is_associative_with_identity():
    a, b, c = ol.clip_by_global_norm(1.0), ol.scale_by_adam(), ol.scale_by_learning_rate(rate)
    ways = [
        ol.chain(a, b, c),
        ol.chain(ol.chain(a, b), c),
        ol.chain(a, ol.chain(b, c)),
        ol.chain(a, ol.identity(), b, c),
    ]
    results = [descend(tx, 3)[0] for tx in ways]
    for other in results[1:]:
        chex.assert_trees_all_close(results[0], other, rtol=2e-6, atol=1e-7)


@few
@settings(max_examples=3, deadline=None, database=None)
@given(shape=strategies.sampled_from([(), (1,), (0,), (2, 0), (7,), (2, 3), (1, 1, 4)]), nested=strategies.booleans())
def test_a_leaf_does_not_depend_on_the_tree_around_it(tx, shape, nested):
    if any(word in repr(tx) for word in ("partition", "masked", "mask=", "groups(")):
        return  # these name leaves
    g = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)
    tree = {"a": [g, {"w": g}], "b": (g,)} if nested else {"w": g}
    alone, _ = update(tx, g, tx.init(g), g)
    among, _ = update(tx, tree, tx.init(tree), tree)
    for leaf in jax.tree.leaves(among):
        # These look at the tree on purpose.
        if "global_norm" in repr(tx) or (row_of(tx) and row_of(tx).quirks.whole_tree):
            chex.assert_tree_all_finite(leaf)
        else:
            assert_same_program(tx, leaf, alone, least=2e-6)


@short
def test_an_empty_tree_is_a_tree(tx):
    if "partition" in repr(tx) or "mask" in repr(tx):
        return
    updates, state = update(tx, {}, tx.init({}), {})
    assert updates == {}
    chex.assert_tree_all_finite(state)


@short
def test_complex_leaves_are_moved_or_refused_by_name(tx):
    row, p = row_of(tx), {"w": jnp.array([1 + 2j, -0.5j]), "b": jnp.ones(2)}
    if row is None:
        return
    if not row.quirks.complex_:
        with pytest.raises(ValueError, match="leaf 'w'.*" + re.escape(row.quirks.refuses_complex)):
            update(tx, p, tx.init(p), p)
        return
    updates, state = update(tx, p, tx.init(p), p)
    chex.assert_trees_all_equal_shapes_and_dtypes(updates, p)
    chex.assert_tree_all_finite((updates, state))


def test_schedules_combine_with_numbers_and_each_other():
    line = ol.linear_schedule(1.0, 3.0, 4)
    for op in (operator.add, operator.sub, operator.mul, operator.truediv):
        for left, right in ((line, 2.0), (2.0, line), (line, line)):
            if op is operator.truediv and left == 2.0:
                continue
            at = [x(2) if isinstance(x, ol.Schedule) else x for x in (left, right)]
            np.testing.assert_allclose(op(left, right)(2), op(*map(float, at)), rtol=1e-6)
    assert (-line)(2) == -line(2)
    assert (0.1 * line).hyperparams["right/end_value"] == 3.0


def test_a_plain_function_serves_as_schedule():
    def halve(count):
        return 0.5 ** (count.astype(jnp.float32))

    tx = ol.sgd(halve)
    assert (tx == ol.sgd(halve), tx.hyperparams, hash(tx) == hash(ol.sgd(halve))) == (True, {}, True)
    state = tx.init(params())
    first, state = tx.update(gradients(), state)
    second, _ = tx.update(gradients(), state)
    chex.assert_trees_all_close(jax.tree.map(lambda x: x / 2, first), second)
