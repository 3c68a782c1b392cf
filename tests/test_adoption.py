"""Code and checkpoints that were written for optax: pairs of functions, subclasses, masks, states,
and ours inside of it.
"""

import abc
import collections.abc
import copy
import dataclasses
import functools
import itertools
import pickle
import subprocess
import sys

import cloudpickle
import equinox as eqx
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lite as ol
from tests.closeness import A_STEP, assert_close
from tests.nightly import first

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


# Each transformation of `lib` around another one, which may be of the other library.
COMBINATORS = {
    "chain": lambda lib, tx: lib.chain(tx, lib.scale(0.5)),
    "named_chain": lambda lib, tx: lib.named_chain(("first", tx), ("second", lib.scale(0.5))),
    "masked": lambda lib, tx: lib.masked(tx, {"w": True, "b": False}),
    "partition": lambda lib, tx: lib.partition({"a": tx, "b": lib.sgd(0.1)}, {"w": "a", "b": "b"}),
    "MultiSteps": lambda lib, tx: lib.MultiSteps(tx, 2),
    "apply_if_finite": lambda lib, tx: lib.apply_if_finite(tx, 2),
    "conditionally_transform": lambda lib, tx: lib.conditionally_transform(tx, lambda n: n < 1),
    "flatten": lambda lib, tx: lib.flatten(tx),
    "schedule_free": lambda lib, tx: lib.contrib.schedule_free(tx, 0.1, b1=0.5),
    "mechanize": lambda lib, tx: lib.contrib.mechanize(tx),
    "with_extra_args_support": lambda lib, tx: lib.with_extra_args_support(tx),
}
# What needs value=, and what takes it where there is one.
INNER = {
    "polyak_sgd": lambda lib: lib.polyak_sgd(1.0),
    "reduce_on_plateau": lambda lib: lib.chain(
        lib.sgd(0.1, 0.5), lib.contrib.reduce_on_plateau(factor=0.5, patience=1)
    ),
}


def after_three_steps(tx):
    """The params of a loop that gives the value of the loss, with JAX's own promotion."""
    params, state = PARAMS, tx.init(PARAMS)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for _ in range(3):
            updates, state = tx.update(GRADS, state, params, value=jnp.float32(1.0))
            params = optax.apply_updates(params, updates)
    return params


@pytest.mark.parametrize(
    ("name", "inner"), first(1, itertools.product(COMBINATORS, INNER), of=lambda case: case[0])
)
def test_extra_arguments_pass_through_combinators_of_both_libraries(name, inner):
    wrap, make = COMBINATORS[name], INNER[inner]
    expected = after_three_steps(wrap(optax, make(optax)))
    inside = after_three_steps(wrap(optax, make(ol)))
    assert_close(inside, after_three_steps(wrap(optax, ol.to_optax(make(ol)))), ulps=0)
    for found in (inside, after_three_steps(wrap(ol, make(optax)))):
        assert_close(found, expected, ulps=3 * A_STEP)


# --- where optax is imported, ours are of its type ------------------------------------------------


class Abstract(ol.GradientTransformation, abc.ABC):
    @abc.abstractmethod
    def rate(self): ...


class Concrete(Abstract):
    """A subclass with a method of its own, and one that goes on to the next class."""

    def rate(self):
        return self.__class__.scale * self.hyperparams["learning_rate"]

    def update(self, *args, **extra):
        return super().update(*args, **extra)

    scale = 2


OURS = {
    "factory": lambda: ol.chain(ol.adam(0.1), ol.reduce_on_plateau()),
    "pair": lambda: ol.GradientTransformation(*map(_Outside.__dict__.get, ("init", "update"))),
    "MultiSteps": lambda: ol.MultiSteps(ol.adam(0.1), 2),
    "subclass": lambda: Plain(*map(_Outside.__dict__.get, ("init", "update"))),
    "abstract": lambda: Concrete.copy_of(ol.adam(0.1)),
    "fields": lambda: Named(*map(_Outside.__dict__.get, ("init", "update")), "mine"),
}
ours = pytest.mark.parametrize("make", OURS.values(), ids=OURS)


@ours
def test_isinstance_is_true_of_both_types_and_of_no_other(make):
    tx = make()
    for true in (optax.GradientTransformationExtraArgs, optax.GradientTransformation, type(tx)):
        assert isinstance(tx, true) and issubclass(tx.__class__, true)
    assert isinstance(tx, ol.GradientTransformation) and type(tx) is not tx.__class__
    assert tx.__class__.__name__ == type(tx).__name__
    containers = (tuple, list, dict, collections.abc.Sequence, collections.abc.Sized)
    assert not isinstance(tx, containers) and not isinstance(ol.constant_schedule(1.0), tuple)
    match tx:
        case (_, _):
            raise AssertionError("a sequence")
        case optax.GradientTransformation(init=init):
            assert init == tx.init
    missing = {"_replace", "_fields", "count", "index"}
    assert missing.isdisjoint(dir(tx)) and not any(hasattr(tx, name) for name in missing)
    assert optax.with_extra_args_support(tx) is tx


@ours
def test_copies_are_of_the_type_that_was_copied(make):
    tx = make()
    for copied in (
        *(copy.copy(tx), copy.deepcopy(tx), pickle.loads(pickle.dumps(tx))),
        *(pickle.loads(pickle.dumps(tx, protocol)) for protocol in range(2)),
        *(pickle.loads(cloudpickle.dumps(tx)), jax.tree.map(lambda x: x, {"a": [tx]})["a"][0]),
    ):
        assert type(copied) is type(tx) and copied == tx and hash(copied) == hash(tx)
        assert getattr(copied, "extra", None) == getattr(tx, "extra", None)
    tree = {"w": jnp.ones(3), "tx": tx}
    assert len(jax.tree.leaves(tree)) == 1 + len(jax.tree.leaves(tx))
    assert (
        jax.tree.leaves(tree, is_leaf=lambda x: isinstance(x, optax.GradientTransformation))[0]
        is tx
    )


def test_a_subclass_works_as_it_did():
    tx = Concrete.copy_of(ol.adam(0.1))
    assert tx.rate() == 0.2
    updates, _ = tx.update(GRADS, tx.init(PARAMS), PARAMS)
    assert updates["w"][0] < 0
    with pytest.raises(TypeError, match="Slotted: its fields are kept in __dict__"):

        class Slotted(ol.GradientTransformation):
            __slots__ = ("extra",)


def test_functions_that_dispatch_on_the_type_find_both():
    shown = functools.singledispatch(lambda x: "anything")
    tx = ol.adam(0.1)
    shown.register(optax.GradientTransformation, lambda x: "theirs")
    assert shown(tx) == "theirs"
    shown.register(tuple, lambda x: "a tuple")
    shown.register(ol.GradientTransformation, lambda x: "ours")
    assert shown(tx) == "ours" and shown(optax.adam(0.1)) == "theirs"


def test_optax_injects_the_hyperparams_of_our_factories():
    made = [optax.inject_hyperparams(lib.adam)(learning_rate=0.1, **ADAM) for lib in (ol, optax)]
    assert float(made[0].init(PARAMS).hyperparams["learning_rate"]) == np.float32(0.1)
    assert_close(*map(after_three_steps, made), ulps=3 * A_STEP)


def test_optax_may_be_imported_later():
    """In a program that has used ours before, and has asked for their type."""
    code = """
import pickle, sys
import jax.numpy as jnp
import optax_lite as ol

tx, params = ol.chain(ol.adam(0.1), ol.reduce_on_plateau()), {"w": jnp.ones(3)}
saved = pickle.dumps(tx)
assert tx.__class__ is type(tx) and not isinstance(tx, tuple) and "optax" not in sys.modules
state = tx.init(params)
expected, _ = tx.update(params, state, params, value=1.0)
import optax

assert isinstance(tx, optax.GradientTransformation) and pickle.loads(saved) == tx
outer = optax.chain(tx)
updates, _ = outer.update(params, outer.init(params), params, value=1.0)
assert (updates["w"] == expected["w"]).all()
del sys.modules["optax"]
assert tx.__class__ is type(tx)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_to_optax_returns_their_type():
    tx = ol.to_optax(ol.adam(0.1))
    assert type(tx) is optax.GradientTransformationExtraArgs and tx._replace(init=len).init is len


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


# --- checkpoints ----------------------------------------------------------------------------------

# Decay rates are exact in float32, where optax rounds 1 - b2 and b2 apart.
ADAM = {"b1": 0.875, "b2": 0.984375}
MODEL = {
    "w": jnp.linspace(-0.5, 0.7, 12).reshape(4, 3),
    "b": jnp.ones(3),
    "out": [jnp.ones((3, 1))],
}
X = jnp.asarray(np.random.default_rng(0).normal(size=(8, 4)), jnp.float32)
SAVED = {
    "adamw": lambda lib: lib.adamw(lib.cosine_decay_schedule(1e-2, 10), **ADAM),
    "sgd": lambda lib: lib.sgd(0.1, momentum=0.9),
    "clipped": lambda lib: lib.chain(lib.clip_by_global_norm(0.5), lib.adam(1e-2, **ADAM)),
    "inject_hyperparams": lambda lib: lib.inject_hyperparams(lib.adamw)(
        learning_rate=lib.cosine_decay_schedule(1e-2, 10), **ADAM
    ),
    "masked": lambda lib: lib.masked(lib.adam(1e-2, **ADAM), {"w": True, "b": False, "out": True}),
    "partition": lambda lib: lib.partition(
        {"a": lib.adam(1e-2, **ADAM), "b": lib.set_to_zero()}, {"w": "a", "b": "b", "out": "a"}
    ),
    "MultiSteps": lambda lib: lib.MultiSteps(lib.adam(1e-2, **ADAM), 2),
    "muon": lambda lib: lib.contrib.muon(1e-3, adam_b1=0.875, adam_b2=0.984375),
}


def through_orbax(state, fresh, folder):
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder / "state", state)
        checkpointer.wait_until_finished()
        return checkpointer.restore(folder / "state", jax.eval_shape(lambda: fresh))


def through_msgpack(state, fresh, folder):
    (folder / "state").write_bytes(flax.serialization.to_bytes(state))
    restored = flax.serialization.from_bytes(fresh, (folder / "state").read_bytes())
    return jax.tree.map(jnp.asarray, restored)


def through_equinox(state, fresh, folder):
    eqx.tree_serialise_leaves(folder / "state", state)
    return eqx.tree_deserialise_leaves(folder / "state", fresh)


FORMATS = {"orbax": through_orbax, "msgpack": through_msgpack, "equinox": through_equinox}


@jax.jit
@jax.value_and_grad
def of_model(params):
    return jnp.mean((jnp.tanh(X @ params["w"] + params["b"][None]) @ params["out"][0] - 1.0) ** 2)


def continued(lib, name, params, state, steps=3):
    """The losses, the params and the state of a run that goes on."""
    tx, losses = SAVED[name](lib), []

    @jax.jit
    def step(grads, state, params):
        updates, state = tx.update(grads, state, params)
        return lib.apply_updates(params, updates), state

    with jax.numpy_dtype_promotion("standard"):
        for _ in range(steps):
            loss, grads = of_model(params)
            params, state = step(grads, state, params)
            losses.append(loss)
    return losses, params, state


def initial(lib, name, params):
    with jax.numpy_dtype_promotion("standard"):
        return SAVED[name](lib).init(params)


@functools.cache
def halfway(lib, name):
    """What a run of three steps saves, and how it would go on."""
    _, params, state = continued(lib, name, MODEL, initial(lib, name, MODEL))
    return params, state, continued(lib, name, params, state)


@pytest.mark.parametrize("saver", [optax, ol], ids=["to ours", "to optax"])
@pytest.mark.parametrize(
    ("name", "through"),
    # the states of the others have optax's structure: tests/test_optax_parity.py
    [
        pytest.param(name, through, marks=() if name == "adamw" else pytest.mark.nightly)
        for name, through in itertools.product(SAVED, FORMATS)
    ],
)
def test_a_checkpoint_goes_on_in_the_other_library(name, through, saver, tmp_path):
    reader = ol if saver is optax else optax
    params, state, expected = halfway(saver, name)
    restored = FORMATS[through](state, initial(reader, name, params), tmp_path)
    losses, found, _ = continued(reader, name, params, restored)
    assert_close((losses, found), expected[:2], ulps=3 * A_STEP)


def without_target(state, how, folder):
    if how == "msgpack":
        return flax.serialization.msgpack_restore(flax.serialization.to_bytes(state))
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder / "state", state)
        checkpointer.wait_until_finished()
        return checkpointer.restore(folder / "state")


@pytest.mark.parametrize("how", ["orbax", "msgpack"])
@pytest.mark.parametrize("name", first(2, ["inject_hyperparams", "MultiSteps", *SAVED]))
def test_a_checkpoint_of_optax_without_a_target_is_transferred(name, how, tmp_path):
    params, state, expected = halfway(optax, name)
    lost = without_target(state, how, tmp_path)
    restored, report = ol.transfer(lost, SAVED[name](ol), params)
    # numbers in a state are the new optimizer's
    assert {path for path in report.dropped if not path.startswith("hyperparams/")} == set()
    losses, found, _ = continued(ol, name, params, restored)
    assert_close((losses, found), expected[:2], ulps=3 * A_STEP)


def test_the_parts_of_a_named_chain_are_found_without_a_target(tmp_path):
    tx = ol.named_chain(("clip", ol.clip_by_global_norm(0.5)), ("adam", ol.adam(1e-2)))
    grads = of_model(MODEL)[1]
    _, state = tx.update(grads, tx.init(MODEL), MODEL)
    found, report = ol.transfer(without_target(state, "orbax", tmp_path), tx, MODEL)
    assert not report.dropped and jax.tree.structure(found) == jax.tree.structure(state)
    assert_close(found, state, ulps=0)
    other = ol.named_chain(("adam", ol.adam(1e-2)))  # with its classes a state needs no names
    found, report = ol.transfer(state, other, MODEL)
    assert_close(found["adam"], state["adam"], ulps=0)


def test_noise_of_optax_goes_on_after_a_transfer():
    params, grads = {"w": jnp.ones(3)}, {"w": jnp.ones(3)}
    theirs, tx = (lib.add_noise(0.1, 0.1, key=3) for lib in (optax, ol))
    with jax.numpy_dtype_promotion("standard"):
        _, state = theirs.update(grads, theirs.init(params), params)
        expected, _ = theirs.update(grads, state, params)
    with pytest.raises(ValueError, match=r"got optax.AddNoiseState.* report = transfer\("):
        tx.update(grads, state, params)
    carried, report = ol.transfer(state, tx, params)
    assert not report.dropped
    assert_close(tx.update(grads, carried, params)[0], expected, ulps=A_STEP)
