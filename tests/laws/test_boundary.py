"""Laws of the compiled boundary. They do not depend on the rule, so a handful of optimizers shows
them.
"""

import functools
import operator
import pickle

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optax_lite as ol
from tests.closeness import A_STEP, assert_close
from tests.compilations import count_lowerings
from tests.methods import COMPOSED, extra_of, one_of_each, rate

HANDFUL = {
    "adamw": ol.adamw(0.1),
    "adamw, scheduled": ol.adamw(rate, weight_decay=0.1),
    "schedule_free": ol.schedule_free(ol.sgd(0.1), 0.1),
    **{name: COMPOSED[name]() for name in ("chain", "masked", "partition", "pair")},
}
handful = pytest.mark.parametrize("tx", HANDFUL.values(), ids=HANDFUL)
pair_or_rule = pytest.mark.parametrize("tx", [HANDFUL[name] for name in ("adamw", "pair")])
everything = pytest.mark.parametrize(
    "tx", [pytest.param(tx, id=name) for name, tx in one_of_each().items()]
)


def names_leaves(tx):
    """Whether an optimizer treats leaves by their names, and so asks for those of `params`."""
    return any(word in repr(tx) for word in ("partition", "masked", "mask=", "groups(", "monitor"))


def params():
    return {
        "w": jnp.array([[1.0, -2.0], [0.5, 3.0], [0.1, 0.2]]),
        "b": jnp.array([0.3, -0.1]),
        "scalar": jnp.array(2.0),
    }


def gradients(seed=1):
    keys = jax.random.split(jax.random.key(seed), 3)
    return {
        name: jax.random.normal(k, p.shape, p.dtype)
        for k, (name, p) in zip(keys, params().items(), strict=True)
    }


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


# --- one program, however it is called ------------------------------------------------------------


@handful
def test_unpacks_into_the_pair(tx):
    init, update_of_tx = tx
    expected = tx.update(gradients(), tx.init(params()), params())
    chex.assert_trees_all_equal(update_of_tx(gradients(), init(params()), params()), expected)


@handful
def test_resuming_equals_going_on(tx):
    p, state = descend(tx, 3)
    leaves, treedef = jax.tree.flatten(pickle.loads(pickle.dumps(jax.device_get(state))))
    restored = jax.tree.unflatten(treedef, map(jnp.asarray, leaves))
    chex.assert_trees_all_equal(
        update(tx, gradients(7), restored, p), update(tx, gradients(7), state, p)
    )


def test_a_state_of_numpys_arrays_goes_on_where_a_function_among_the_extras_prevents_compiling():
    p, g = jnp.array([1.0, -2.0]), jnp.array([0.5, 3.0])
    needed = {"value": 1.0, "grad": g, "value_fn": lambda p: jnp.sum(p**2)}
    tx = ol.lbfgs()
    _, state = tx.update(g, tx.init(p), p, **needed)
    restored = jax.device_get(state)
    chex.assert_trees_all_equal(
        tx.update(g, restored, p, **needed), tx.update(g, state, p, **needed)
    )


@handful
def test_unknown_extra_arguments_are_ignored(tx):
    state = tx.init(params())
    plain = update(tx, gradients(), state, params())
    assert_close(
        update(tx, gradients(), state, params(), value=1.0, tree=gradients()), plain, ulps=A_STEP
    )
    assert_close(
        update(tx, gradients(), state, params(), value_fn=lambda p: 0.0), plain, ulps=A_STEP
    )


@handful
def test_eager_jitted_scanned_and_passed_as_argument_agree(tx):
    eager, closed = descend(tx, 3), jax.jit(functools.partial(update, tx))
    many = jax.tree.map(lambda *xs: jnp.stack(xs), *[gradients(i) for i in range(3)])

    def body(carry, g):
        p, state = carry
        updates, state = update(tx, g, state, p)
        return (ol.apply_updates(p, updates), state), None

    scanned, _ = jax.lax.scan(body, (params(), tx.init(params())), many)
    for other in (
        scanned,
        descend(tx, 3, jax.jit(update)),
        descend(tx, 3, lambda tx, *args: closed(*args)),
    ):
        assert_close(other, eager, ulps=3 * A_STEP)


@handful
def test_a_population_without_vmap_is_refused(tx):
    if not tx.hyperparams:
        return
    population = jax.tree.map(lambda x: jnp.array([x, x]), tx)
    with pytest.raises(ValueError, match="population of 2"):
        population.init(params())
    with pytest.raises(ValueError, match="population of 2"):
        population.update(gradients(), tx.init(params()), params())


@handful
def test_each_call_compiles_once(tx):
    p, g = params(), gradients()
    state = tx.init(p)
    _, state = update(tx, g, state, p)
    step(tx, g, state, p)
    changed = tx.replace({path: x * 0.5 for path, x in tx.hyperparams.items()})
    with count_lowerings() as count:
        _, state = update(tx, g, state, p)
        update(changed, g, state, p)
        step(changed, g, state, p)
    assert count() == 0


@pair_or_rule
def test_un_jitted_grad_and_vmap_compile_nothing_the_second_time(tx):
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
    with count_lowerings() as count:
        both()
    assert count() == 0


def assert_finite_hypergradient(tx):
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


@pair_or_rule
def test_hypergradients_are_finite_also_where_gradients_are_zero(tx):
    assert_finite_hypergradient(tx)


@pytest.mark.nightly
@everything
def test_every_hypergradient_is_finite(tx):
    assert_finite_hypergradient(tx)


# --- leaves ---------------------------------------------------------------------------------------


@handful
def test_leaves_without_gradient_are_left_alone(tx):
    """None, as Equinox writes it, and float0, as `jax.grad(allow_int=True)` does for integers."""
    if names_leaves(tx):
        return
    p = {
        "w": params()["w"],
        "wheel": None,
        "count": jnp.array(3),
        "wt": jnp.ones(2),
        "flag": jnp.array(True),
    }
    float0 = np.zeros((), jax.dtypes.float0)
    g = {"w": gradients()["w"], "wheel": None, "count": float0, "wt": None, "flag": None}
    state = tx.init(p)
    updates, new = update(tx, g, state, p)
    assert {k for k, u in updates.items() if u is None} == {"wheel", "count", "wt", "flag"}
    stepped, _ = step(tx, g, state, p)
    chex.assert_trees_all_equal(
        {k: stepped[k] for k in g if k != "w"}, {k: p[k] for k in g if k != "w"}
    )
    chex.assert_trees_all_equal_structs(state, new)
    g, p = {"w": g["w"], "wt": None}, {"w": p["w"], "wt": p["wt"]}
    assert_close(updates["w"], update(tx, g, tx.init(p), p)[0]["w"], ulps=A_STEP)


@handful
def test_a_leaf_does_not_depend_on_the_tree_around_it(tx):
    if names_leaves(tx) or "global_norm" in repr(tx):  # a norm looks at the tree on purpose
        return
    rng = np.random.default_rng(0)
    leaves = [
        jnp.asarray(rng.normal(size=shape), jnp.float32)
        for shape in ((), (0,), (2, 0), (7,), (1, 1, 4))
    ]
    tree = {"a": [leaves[0], {"w": leaves[1]}], "b": (leaves[2],), "c": leaves[3:]}
    among, _ = update(tx, tree, tx.init(tree), tree)
    alone = [update(tx, g, tx.init(g), g)[0] for g in leaves]
    assert_close(jax.tree.leaves(among), alone, ulps=A_STEP)


# --- composition ----------------------------------------------------------------------------------


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
        assert_close(other, results[0], ulps=3 * A_STEP)


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
    assert (tx == ol.sgd(halve), tx.hyperparams, hash(tx) == hash(ol.sgd(halve))) == (
        True,
        {},
        True,
    )
    state = tx.init(params())
    first, state = tx.update(gradients(), state)
    second, _ = tx.update(gradients(), state)
    assert_close(second, jax.tree.map(lambda x: x / 2, first), ulps=A_STEP)
