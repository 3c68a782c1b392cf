"""Code written for optax: pairs of functions, subclasses, masks, our optimizers inside optax."""

import dataclasses
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lite as ol

PARAMS = {"w": jnp.ones(3), "b": jnp.full(2, 2.0)}
GRADS = {"w": jnp.full(3, 0.5), "b": jnp.full(2, -1.0)}


def test_a_pair_is_called_by_the_names_of_its_own_arguments():
    tx = ol.GradientTransformation(
        lambda weights: {"n": jnp.int32(0)},
        lambda grads, noise_state, params=None: (grads, noise_state),
    )
    state = tx.init(weights=PARAMS)
    for call in (tx.update, jax.jit(tx.update)):
        updates, after = call(grads=GRADS, noise_state=state, params=PARAMS)
        assert updates["w"].shape == (3,) and after == state
    updates, _ = tx.update(updates=GRADS, state=state)  # the standard names too
    assert updates["b"][0] == -1.0
    assert repr(tx).startswith("GradientTransformation(init=")
    with pytest.raises(TypeError, match="missing"):
        tx.update(grads=GRADS)


class Named(ol.GradientTransformationExtraArgs):
    def __new__(cls, init, update, extra):
        made = super().__new__(cls, init, update)
        made.extra = extra
        return made


class Plain(ol.GradientTransformation):
    pass


def test_a_subclass_keeps_its_type_and_fields():
    tx = Named(*ol.adam(0.1), "mine")
    assert isinstance(tx, Named) and tx.extra == "mine"
    assert isinstance(Plain(*ol.sgd(0.1)), Plain)
    state = tx.init(PARAMS)
    updates, state = jax.jit(lambda tx, g, s, p: tx.update(g, s, p))(tx, GRADS, state, PARAMS)
    assert (updates["w"] < 0).all() and jax.tree.map(lambda x: x, tx).extra == "mine"
    chained = ol.chain(tx, ol.scale(0.5))
    assert chained.update(GRADS, chained.init(PARAMS), PARAMS)[0]["w"][0] < 0
    with pytest.raises(AttributeError, match="cannot be changed in place"):
        ol.adam(0.1).extra = 1


def test_a_pair_of_module_level_functions_is_pickled():
    tx = ol.GradientTransformation(*map(_Outside.__dict__.get, ("init", "update")))
    assert pickle.loads(pickle.dumps(tx)) == tx


class _Outside:
    def init(params):
        return ()

    def update(grads, state, params=None):
        return grads, state


def test_an_optimizer_is_taken_apart_like_a_tuple():
    tx = ol.sgd(1.0)
    assert len(tx[:2]) == 2
    updates, _ = tx[1](GRADS, tx[0](PARAMS), PARAMS)
    assert updates["b"][0] == 1.0


@pytest.mark.parametrize("true", [True, np.bool_(True), np.array(True), jnp.array(True)])
def test_a_mask_may_be_of_bools_of_any_kind(true):
    tx = ol.masked(ol.scale(0.0), {"w": true, "b": ~true if true is not True else False})
    updates, _ = tx.update(GRADS, tx.init(PARAMS))
    assert updates["w"][0] == 0 and updates["b"][0] == -1


def test_a_state_that_is_never_looked_at_may_be_none():
    updates, state = ol.clip_by_global_norm(1.0).update(GRADS, None)
    np.testing.assert_allclose(ol.global_norm(updates), 1.0, rtol=1e-6)
    assert state is None
    assert ol.identity().init(None) == ol.states.EmptyState()
    assert jax.tree.leaves(ol.chain(ol.clip(1.0), ol.scale(2.0)).init(None)) == []
    with pytest.raises(ValueError, match="params must be a pytree of arrays, got None"):
        ol.adam(0.1).init(None)


COMBINATORS = {
    "chain": optax.chain,
    "MultiSteps": lambda tx: optax.MultiSteps(tx, 1).gradient_transformation(),
    "masked": lambda tx: optax.masked(tx, True),
    "partition": lambda tx: optax.partition({"all": tx}, {"w": "all", "b": "all"}),
}


@pytest.mark.parametrize("name", COMBINATORS)
def test_ours_gets_its_extra_arguments_inside_combinators_of_optax(name):
    inner = ol.polyak_sgd(1.0)
    tx = COMBINATORS[name](ol.to_optax(inner))
    with jax.numpy_dtype_promotion("standard"):  # optax.MultiSteps needs it
        updates, _ = tx.update(GRADS, tx.init(PARAMS), PARAMS, value=jnp.float32(1.0))
    alone, _ = inner.update(GRADS, inner.init(PARAMS), PARAMS, value=jnp.float32(1.0))
    np.testing.assert_allclose(updates["w"], alone["w"], rtol=1e-6)
    assert isinstance(ol.to_optax(inner), optax.GradientTransformationExtraArgs)


def test_extra_arguments_that_optax_drops_are_mentioned():
    tx = optax.chain(ol.polyak_sgd(1.0))
    with pytest.raises(TypeError, match="inside optax use to_optax"):
        tx.update(GRADS, tx.init(PARAMS), PARAMS, value=1.0)


@dataclasses.dataclass
class Wrapped:
    """A leaf that looks like an array and is none."""

    value: jax.Array
    dtype = property(lambda self: self.value.dtype)
    shape = property(lambda self: self.value.shape)


def test_a_leaf_that_only_looks_like_an_array_is_named():
    def update(grads, state, params):
        return base.update(grads, state, jax.tree.map(lambda p: p.value, params))

    base = ol.sgd(0.1)
    tx = ol.GradientTransformation(lambda p: base.init(jax.tree.map(lambda x: x.value, p)), update)
    params = {"w": Wrapped(jnp.ones(3))}
    with pytest.raises(TypeError, match="params leaf 'w' is Wrapped, not an array"):
        tx.update({"w": jnp.ones(3)}, tx.init(params), params)


def test_a_missing_name_suggests_similar_ones():
    with pytest.raises(AttributeError, match="no attribute 'adamm'; the nearest is adam"):
        ol.adamm  # noqa: B018
    assert isinstance(ol.__version__, str) and not hasattr(ol, "__path_of_nothing__")


# --- arguments of newer releases of optax ---------------------------------------------------------


@pytest.mark.parametrize("mask", ["w", {"w": True, "b": False}, lambda p: {"w": True, "b": False}])
def test_prodigy_decays_what_its_mask_says(mask):
    first = {}
    for name, settings in {
        "masked": {"weight_decay": 0.5, "weight_decay_mask": mask},
        "decayed": {"weight_decay": 0.5},
        "plain": {},
    }.items():
        tx = ol.prodigy(1.0, estim_lr0=0.1, **settings)
        first[name] = tx.update(GRADS, tx.init(PARAMS), PARAMS)[0]
    np.testing.assert_array_equal(first["masked"]["w"], first["decayed"]["w"])
    np.testing.assert_array_equal(first["masked"]["b"], first["plain"]["b"])
    assert (first["plain"]["b"] != first["decayed"]["b"]).all()


def test_nadam_without_nesterov_is_adam():
    assert ol.nadam(0.1, nesterov=False).update(GRADS, ol.adam(0.1).init(PARAMS))[0]["w"][0] < 0
    for ours, plain in ((ol.nadam, ol.adam), (ol.nadamw, ol.adamw)):
        a, b = ours(0.1, nesterov=False), plain(0.1)
        np.testing.assert_array_equal(
            a.update(GRADS, a.init(PARAMS), PARAMS)[0]["w"],
            b.update(GRADS, b.init(PARAMS), PARAMS)[0]["w"],
        )


def test_dpsgd_takes_a_key():
    grads = jax.tree.map(lambda g: jnp.stack([g, 2 * g]), GRADS)
    found = []
    for given in ({"key": 3}, {"seed": 3}):
        tx = ol.dpsgd(0.1, 1.0, 0.5, **given)
        found.append(tx.update(grads, tx.init(PARAMS), PARAMS)[0]["w"])
    np.testing.assert_array_equal(*found)
