"""States carried into a changed optimizer: what is kept, starts afresh, or is not guessed."""

import dataclasses
import functools
import sys
from collections import Counter

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import serialization

import optax_lite as ol
from optax_lite.inspect._matching import every_leaf
from optax_lite.inspect._parts import parts
from optax_lite.inspect._transfer_report import _lines
from tests.nightly import first

PARAMS = {
    "head": {"w": jnp.array([[1.0, -2.0]]), "b": jnp.array([0.3, 0.1])},
    "body": {"w": jnp.array([0.5, 1.0])},
}
LABELS = {"head": "on", "body": "off"}
line = ol.linear_schedule(1.0, 0.0, 100)


def gradient(params):
    return jax.tree.map(lambda p: 0.5 * p + 0.1, params)


def trained(tx, steps=5, params=PARAMS):
    """The params and state after some steps."""
    state = tx.init(params)
    for _ in range(steps):
        params, state = tx.step(gradient(params), state, params)
    return params, state


def carried(old, new, params=None, **more):
    at, state = trained(old)
    params = at if params is None else params
    state, report = ol.transfer(state, new, params, **more)
    new.step(gradient(params), state, params)  # it is a state of the new optimizer
    chex.assert_trees_all_equal_shapes_and_dtypes(state, new.init(params))
    return state, report


def counts(state):
    return [
        int(x) for path, x in ol.tree.get_all_with_path(state, "count") if isinstance(x, jax.Array)
    ]


SAME = {
    "nothing": (ol.adamw(0.1), ol.adamw(0.1)),
    "a number": (ol.adamw(0.1), ol.adamw(0.3, b1=0.5)),
    "a clip in front": (ol.adamw(0.1), ol.chain(ol.clip_by_global_norm(1.0), ol.adamw(0.1))),
    "a clip less": (ol.chain(ol.clip(1.0), ol.adamw(0.1)), ol.adamw(0.1)),
    "names for the chain": (
        ol.adamw(0.1),
        ol.named_chain(("clip", ol.clip(1.0)), ("adam", ol.adamw(0.1))),
    ),
    "hyperparameters into the state": (ol.adamw(0.1), ol.inject_hyperparams(ol.adamw(0.1))),
    "and out of it": (ol.inject_hyperparams(ol.adamw(0.1)), ol.adamw(0.1)),
    "a mask": (ol.adamw(0.1), ol.masked(ol.adamw(0.1), ["head", "body"])),
    "one group": (ol.adamw(0.1), ol.partition({"on": ol.adamw(0.1)}, "on")),
    "two groups of one": (
        ol.adamw(0.1),
        ol.partition({"on": ol.adamw(0.1), "off": ol.adamw(0.2)}, LABELS),
    ),
    "one of two groups": (
        ol.partition({"on": ol.adamw(0.1), "off": ol.adamw(0.1)}, LABELS),
        ol.adamw(0.1),
    ),
}


def moments(state):
    """mu and nu of every parameter, wherever they are."""
    found = {}
    for _, node in ol.tree.get_all_with_path(state, "ScaleByAdamState"):
        for field in ("mu", "nu"):
            for path, x in jax.tree_util.tree_leaves_with_path(getattr(node, field)):
                found[field, jax.tree_util.keystr(path)] = x
    return found


@pytest.mark.parametrize(("old", "new"), first(6, SAME.values()), ids=SAME)
def test_moments_and_counts_are_carried_over(old, new):
    before, (state, report) = trained(old)[1], carried(old, new)
    chex.assert_trees_all_equal(moments(state), moments(before))
    assert set(counts(state)) == {5}
    assert not [path for path in report.new if "hyperparams/" not in path]
    assert not report.notes


def test_the_same_optimizer_gets_the_same_state():
    params, state = trained(ol.chain(ol.clip(1.0), ol.adamw(line)))
    same, report = ol.transfer(state, ol.chain(ol.clip(1.0), ol.adamw(line)), params)
    chex.assert_trees_all_equal(same, state)
    assert (report.new, report.dropped, list(report.kept) == list(report.kept.values())) == (
        {},
        {},
        True,
    )


# --- counts and schedules -------------------------------------------------------------------------


def test_a_schedule_takes_the_count_of_adam_and_can_be_removed_again():
    state, _ = carried(ol.adam(0.1), ol.adam(line))
    chex.assert_trees_all_equal(state[1], ol.ScaleByScheduleState(jnp.int32(5)))
    _, report = carried(ol.adam(line), ol.adam(0.1))
    assert report.dropped == {"1/count": "the new state has no ScaleByScheduleState"}


def test_a_schedule_of_another_number_carries_its_count_too():
    state, _ = carried(ol.adam(0.1), ol.adam(0.1, b1=line * 0.9))
    assert counts(state) == [5, 5]
    state, _ = carried(ol.adam(line), ol.inject_hyperparams(ol.adam(line)))
    assert counts(state) == [5, 5, 5]


def test_a_schedule_without_an_old_count_starts_at_0_and_is_reported():
    state, report = carried(ol.sgd(0.1, 0.9), ol.sgd(line, 0.9))
    assert counts(state) == [0]
    assert report.new == {
        "1/count": "the old state has no count to carry over, so the schedule starts from 0"
    }


def test_a_count_is_not_carried_without_its_moments():
    state, report = carried(ol.sgd(line, 0.9), ol.adam(line))
    assert (int(state[0].count), int(state[1].count)) == (0, 5)
    assert report.new["0/count"] == "its moments start afresh"
    assert set(report.dropped.values()) == {"the new state has no TraceState"}


def test_the_largest_of_merged_counts_is_kept():
    groups = ol.partition({"on": ol.adam(0.1), "off": ol.adam(0.1)}, LABELS)
    params, state = trained(groups)
    young = state.inner_states["off"].inner_state[0]._replace(count=jnp.int32(2))
    state.inner_states["off"] = ol.MaskedState((young, ol.EmptyState()))
    state, report = ol.transfer(state, ol.adam(0.1), params)
    assert counts(state) == [5]
    assert report.notes == ("0/count: the counts are 2, 5; the largest is kept",)


# --- parameters -----------------------------------------------------------------------------------


def test_unfrozen_into_the_same_optimizer():
    frozen = ol.partition({"on": ol.adam(0.1), "off": ol.set_to_zero()}, LABELS)
    state, report = carried(frozen, ol.adam(0.1))
    assert report.new == dict.fromkeys(["0/mu/body/w", "0/nu/body/w"], "the old state has none")
    assert counts(state) == [5]
    (note,) = report.notes
    assert note.startswith(
        "body/w: ScaleByAdamState starts at 0 there while its count continues, so its first steps"
    )


def test_unfrozen_into_an_optimizer_of_their_own():
    frozen = ol.partition({"on": ol.adam(0.1), "off": ol.set_to_zero()}, LABELS)
    state, report = carried(
        frozen, ol.partition({"on": ol.adam(0.1), "off": ol.adam(line)}, LABELS)
    )
    on, off = (state.inner_states[k].inner_state for k in ("on", "off"))
    assert (int(on[0].count), int(off[0].count), int(off[1].count)) == (5, 0, 5)
    assert not report.notes


def test_a_slot_of_changed_shape_starts_afresh():
    wider = {**PARAMS, "head": {"w": jnp.ones((1, 3)), "b": PARAMS["head"]["b"]}}
    _, report = carried(ol.adam(0.1), ol.adam(0.1), wider)
    assert report.new == dict.fromkeys(
        ["0/mu/head/w", "0/nu/head/w"], "it was float32[1, 2] and is now float32[1, 3]"
    )


def test_a_parameter_has_all_slots_of_a_state_or_none():
    """Soap's second moments mean nothing in another basis."""
    params = {"w": jnp.ones((4, 2))}
    old, new = ol.soap(0.1, max_precondition_dim=8), ol.soap(0.1, max_precondition_dim=2)
    state = old.init(params)
    _, state = old.step(gradient(params), state, params)
    state, report = ol.transfer(state, new, params)
    assert not any("/w" in path for path in report.kept)
    chex.assert_trees_all_equal(state, new.init(params))


def test_a_renamed_parameter_is_not_guessed_but_asked_about():
    renamed = {"top": PARAMS["head"], "body": PARAMS["body"]}
    state, report = carried(ol.adam(0.1), ol.adam(0.1), renamed)
    assert set(report.new) == {f"0/{m}/top/{p}" for m in ("mu", "nu") for p in ("w", "b")}
    assert report.notes[1:] == (
        "top/b may be the old head/b; if so, write transfer(..., renamed={'head/b': 'top/b'})",
        "top/w may be the old head/w; if so, write transfer(..., renamed={'head/w': 'top/w'})",
    )
    state, report = carried(ol.adam(0.1), ol.adam(0.1), renamed, renamed={"head": "top"})
    assert (report.new, report.dropped, report.notes) == ({}, {}, ())
    chex.assert_trees_all_equal(state[0].mu["top"], trained(ol.adam(0.1))[1][0].mu["head"])


# --- which is which -------------------------------------------------------------------------------


def test_of_two_alike_neither_is_guessed():
    state, report = carried(
        ol.chain(ol.trace(0.9), ol.scale(-0.1)), ol.chain(ol.trace(0.5), ol.trace(0.9))
    )
    assert set(report.new.values()) == {"1 TraceState before, 2 now, and they cannot be told apart"}
    assert set(report.dropped.values()) == {"the new state has no place for it"}
    chex.assert_trees_all_equal(state[0].trace, jax.tree.map(jnp.zeros_like, PARAMS))


def test_equal_parts_keep_their_order_if_their_number_is_unchanged():
    old = ol.chain(ol.trace(0.9), ol.trace(0.5), ol.scale(-0.1))
    state, _ = carried(old, ol.chain(ol.clip(1.0), ol.trace(0.9), ol.trace(0.5)))
    before = trained(old)[1]
    chex.assert_trees_all_equal((state[1], state[2]), (before[0], before[1]))


def test_fields_of_a_wrapper_are_names():
    old = ol.sam(ol.sgd(0.1, 0.9), ol.sgd(0.05, 0.5), sync_period=7, reset_state=False)
    new = ol.sam(
        ol.chain(ol.clip(9.0), ol.sgd(0.1, 0.9)),
        ol.chain(ol.clip(9.0), ol.sgd(0.05, 0.5)),
        7,
        reset_state=False,
    )
    before, (state, report) = trained(old)[1], carried(old, new)
    chex.assert_trees_all_equal(state.opt_state[1:], (before.opt_state,))
    chex.assert_trees_all_equal(state.adv_state[1:], (before.adv_state,))
    assert (report.new, report.dropped) == ({}, {})


def test_a_removed_wrapper_keeps_the_nearer_of_two_states():
    old = ol.sam(ol.sgd(0.1, 0.9), ol.sgd(0.05), sync_period=7)
    state, report = carried(old, ol.sgd(0.1, 0.9))
    chex.assert_trees_all_equal(state[0], trained(old)[1].opt_state[0])
    assert set(report.dropped.values()) == {"the new state has no SAMState"}


# --- kinds of state and params --------------------------------------------------------------------


def test_dtype_is_that_of_the_new_state():
    state, _ = carried(ol.adam(0.1), ol.adam(0.1, mu_dtype=jnp.bfloat16))
    assert state[0].mu["body"]["w"].dtype == jnp.bfloat16
    chex.assert_trees_all_equal(state[0].nu, trained(ol.adam(0.1))[1][0].nu)


def test_a_state_of_optax_by_the_names_it_shares():
    with jax.numpy_dtype_promotion("standard"):
        tx = optax.adam(0.1)
        state = tx.init(PARAMS)
        _, state = tx.update(gradient(PARAMS), state, PARAMS)
    ours, report = ol.transfer(state, ol.adam(line), PARAMS)
    chex.assert_trees_all_equal(ours[0].mu, state[0].mu)
    assert counts(ours) == [1, 1] and report.new == {}


def test_checkpoints_of_numpy_arrays():
    _, state = trained(ol.adam(0.1))
    restored = jax.tree.map(np.asarray, state)
    carried_on, _ = ol.transfer(restored, ol.adam(0.1), PARAMS)
    chex.assert_trees_all_equal(carried_on, state)
    assert all(isinstance(x, jax.Array) for x in jax.tree.leaves(carried_on))


def test_one_array_and_a_module():
    for params in (
        jnp.ones(3),
        eqx.filter(eqx.nn.MLP(2, 1, 3, 1, key=jax.random.key(0)), eqx.is_inexact_array),
    ):
        old, new = ol.adam(0.1), ol.chain(ol.clip(1.0), ol.adam(line))
        _, state = old.update(gradient(params), old.init(params), params)
        after, report = ol.transfer(state, new, params)
        chex.assert_trees_all_equal(after[1][0], state[0])
        assert report.new == {}


def test_a_state_of_plain_functions_is_matched_by_its_whole_path():
    def init(params):
        return {"m": jax.tree.map(jnp.zeros_like, params)}

    pair = ol.GradientTransformation(init, lambda u, s, p=None: (u, {"m": u}))
    state, _ = carried(pair, pair)
    chex.assert_trees_all_equal(state, trained(pair)[1])


def test_inside_jit():
    params, state = trained(ol.adam(0.1))
    after = jax.jit(lambda s, p: ol.transfer(s, ol.adam(line), p)[0])(state, params)
    chex.assert_trees_all_equal(after, ol.transfer(state, ol.adam(line), params)[0])


def test_hyperparameters_in_the_state_are_those_of_the_new_optimizer():
    state, report = carried(ol.inject_hyperparams(ol.sgd(0.1)), ol.inject_hyperparams(ol.sgd(0.5)))
    assert state.hyperparams["learning_rate"] == 0.5
    assert report.new == {"hyperparams/learning_rate": "set by the new optimizer"}
    assert report.dropped == {"hyperparams/learning_rate": "the new optimizer sets it"}


@pytest.mark.usefixtures("eight_devices")
def test_sharded_state_stays_where_it_is():
    mesh = jax.make_mesh((2,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
    params = {"w": jax.device_put(jnp.ones(4), spread)}
    state, _ = ol.transfer(ol.adam(0.1).init(params), ol.adam(line), params)
    assert state[0].mu["w"].sharding == spread
    assert state[1].count.sharding.num_devices == 2


# --- the report -----------------------------------------------------------------------------------


def test_the_report_is_a_line_for_each_field():
    _, report = carried(ol.sgd(line, 0.9), ol.adam(line))
    assert str(report).splitlines() == [
        "kept     ScaleByScheduleState.count  = 5",
        "new      ScaleByAdamState.count  = 0  (its moments start afresh)",
        "new      ScaleByAdamState.mu  3 leaves: body/w, head/b, head/w  (the old state has none)",
        "new      ScaleByAdamState.nu  3 leaves: body/w, head/b, head/w  (the old state has none)",
        "dropped  TraceState.trace  3 leaves: body/w, head/b, head/w  "
        "(the new state has no TraceState)",
    ]


# --- reset ----------------------------------------------------------------------------------------


def test_reset_starts_what_the_patterns_pick_afresh():
    tx = ol.chain(ol.clip(1.0), ol.adam(line))
    params, state = trained(tx)
    after = ol.reset(state, tx, params, where="head")
    chex.assert_trees_all_equal(
        after[1][0].mu["head"], jax.tree.map(jnp.zeros_like, params["head"])
    )
    chex.assert_trees_all_equal(after[1][0].nu["body"], state[1][0].nu["body"])
    assert counts(after) == [5, 5]
    chex.assert_trees_all_equal(ol.reset(state, tx, params), tx.init(params))
    chex.assert_trees_all_equal(
        ol.reset(state, tx, params, where=["!head"])[1][0].mu["head"], state[1][0].mu["head"]
    )


def test_reset_of_all_parameters_of_a_state_resets_its_count():
    tx = ol.partition({"on": ol.adam(line), "off": ol.adam(0.1)}, LABELS)
    params, state = trained(tx)
    after = ol.reset(state, tx, params, where="head")
    on, off = (after.inner_states[k].inner_state for k in ("on", "off"))
    assert (int(on[0].count), int(on[1].count), int(off[0].count)) == (0, 5, 5)


WRONG = {
    "order": (
        lambda: ol.transfer(ol.adam(0.1), ol.adam(0.1).init(PARAMS), PARAMS),
        "transfer: the order is transfer(state, tx, params), got GradientTransformation, tuple",
    ),
    "order of reset": (
        lambda: ol.reset(ol.adam(0.1), ol.adam(0.1).init(PARAMS), PARAMS, where="head"),
        "reset: the order is reset(state, tx, params)",
    ),
    "no params": (
        lambda: ol.transfer(ol.adam(0.1).init(PARAMS), ol.adam(0.1), None),
        "transfer: needs the parameters, to know which leaf of the state belongs to which",
    ),
    "reset of another state": (
        lambda: ol.reset(ol.sgd(0.1, 0.9).init(PARAMS), ol.adam(0.1), PARAMS, where="head"),
        (
            "reset: this state was not made by adam: expected (ScaleByAdamState(count, mu, nu), "
            "EmptyState()), got (TraceState(trace), EmptyState()); write state, report = "
            "transfer(state, tx, params) first"
        ),
    ),
    "reset where nothing is": (
        lambda: ol.reset(ol.adam(0.1).init(PARAMS), ol.adam(0.1), PARAMS, where="heads"),
        "the pattern 'heads' matches no leaf; the nearest paths",
    ),
    "renamed nothing": (
        lambda: ol.transfer(
            ol.adam(0.1).init(PARAMS), ol.adam(0.1), PARAMS, renamed={"heads": "top"}
        ),
        "transfer: renamed: nothing in the old state is called 'heads'",
    ),
}


@pytest.mark.parametrize(("call", "message"), WRONG.values(), ids=WRONG)
def test_wrong_calls(call, message):
    with pytest.raises(ValueError) as caught:
        call()
    assert message in str(caught.value)


def test_an_average_starts_at_the_parameters_and_needs_no_warning():
    tx = ol.average_params(ol.sgd(0.1), decay=0.9)
    old = ol.groups(tx, {"body": "freeze"})
    (state, report), params = ol.transfer(old.init(PARAMS), tx, PARAMS), PARAMS
    assert report.notes == () and any("average/body" in path for path in report.new)
    assert jnp.array_equal(state.average["body"]["w"], params["body"]["w"])


def test_two_leaves_of_one_path_stay_two():
    params = {"a/b": jnp.ones(3), "a": {"b": jnp.zeros(3)}}
    grads = {"a/b": jnp.ones(3), "a": {"b": 2 * jnp.ones(3)}}
    tx = ol.average_params(ol.adam(0.1))
    moved, state = tx.step(grads, tx.init(params), params)
    new, report = ol.transfer(state, tx, moved)
    chex.assert_trees_all_equal(new, state)
    assert not report.new and not report.dropped
    names = ["['a']['b']", "['a/b']"]
    assert [row.path for row in ol.explain(tx, params).rows] == names
    # and no "two averages of one"
    chex.assert_trees_all_equal(ol.eval_params(tx, state, moved), moved)
    # a pattern means both
    chex.assert_trees_all_equal(ol.reset(state, tx, moved, where="a/b"), tx.init(moved))


def test_renamed_works_where_two_paths_read_alike():
    params = {"a/b": jnp.ones(3), "a": {"b": jnp.zeros(3)}, "old": jnp.ones(2)}
    tx = ol.adam(0.1)
    _, state = tx.update(params, tx.init(params), params)
    now = {"a/b": params["a/b"], "a": params["a"], "new": params["old"]}
    moved, report = ol.transfer(state, tx, now, renamed={"old": "new"})
    chex.assert_trees_all_equal(moved[0].mu["new"], state[0].mu["old"])
    assert not report.dropped


class Walks(dict):
    """A dict that counts how often it is walked through."""

    count = 0

    def items(self):
        type(self).count += 1
        return super().items()


def test_a_report_walks_through_a_part_once_however_many_leaves_it_has():
    """Once for every leaf made 25 s of 5,000 leaves."""
    params = {f"w{i}": np.ones(()) for i in range(20)}
    found = parts(ol.adam(0.1).init(params), params)
    for part in found:
        part.of = Walks(part.of)
    Walks.count = 0
    _lines("new", list(every_leaf(found)), {}, {})
    assert Walks.count == len(found)


# --- states that have lost their classes ----------------------------------------------------------


def as_orbax_restores(state, folder):
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder / "state", state)
        checkpointer.wait_until_finished()
        return checkpointer.restore(folder / "state")


def as_flax_restores(state, folder):
    return serialization.msgpack_restore(
        serialization.msgpack_serialize(serialization.to_state_dict(state))
    )


@pytest.mark.parametrize("restored", [as_orbax_restores, as_flax_restores])
def test_a_state_restored_without_a_target_gets_its_classes_back(restored, tmp_path):
    params = {"w": jnp.ones((2, 3)), "l": [jnp.ones(2), jnp.zeros(3)], "none": None}
    base = ol.groups(ol.chain(ol.clip(1.0), ol.adamw(line)), {"w": {"mask": "w"}})
    tx = ol.accumulate(ol.with_metrics(base), 2)
    params, state = trained(tx, params=params)
    lost = restored(state, tmp_path)
    found, report = ol.transfer(lost, tx, params)
    chex.assert_trees_all_equal(found, state)
    assert "fresh" not in str(report)
    with pytest.raises(
        ValueError,
        match=r"this state is a dict, as if restored without a target; write .*transfer\(",
    ):
        tx.update(gradient(params), lost, params)
    for other in (base, ol.adam(0.1), ol.accumulate(ol.adam(0.1), 2)):
        with pytest.raises(
            ValueError,
            match=r"(the state has lost its classes, and|lacks \d).* restore it with the optimizer",
        ):
            ol.transfer(lost, other, params)


def test_a_truncated_state_says_how_many_leaves_it_lacks_and_the_first():
    tx, params = ol.adam(0.1), {"b": jnp.ones(2), "w": jnp.ones(3)}
    whole = serialization.to_state_dict(tx.init(params))
    for cut, lacks in (
        (
            {**whole, "0": {**whole["0"], "nu": {"b": whole["0"]["nu"]["b"]}}},
            "1, the first is '0/nu/w'",
        ),
        ({**whole, "0": {"count": whole["0"]["count"]}}, "4, the first is '0/mu/b'"),
        ([None, None], "5, the first is '0/count'"),
    ):
        with pytest.raises(ValueError) as caught:
            ol.transfer(cut, tx, params)
        said = str(caught.value)
        assert f"of the 5 leaves of tx.init(params) this state lacks {lacks}." in said
        assert len(said) < 400


# --- a field called value -------------------------------------------------------------------------


@functools.partial(jax.tree_util.register_dataclass, data_fields=["value", "scale"], meta_fields=[])
@dataclasses.dataclass
class Scaled:
    """A user's class with the field that Flax NNX's variables have."""

    value: jax.Array
    scale: jax.Array


def test_a_field_called_value_is_a_parameter_beside_others():
    params = {"a": Scaled(jnp.ones(2), jnp.ones(2)), "b": jnp.ones(2)}
    tx = ol.adam(0.1)
    _, state = trained(tx, params=params)
    mu = ol.reset(state, tx, params, where="a/scale")[0].mu
    chex.assert_trees_all_equal(mu["a"].scale, np.zeros(2, np.float32))
    assert bool(jnp.all(mu["a"].value != 0)) and bool(jnp.all(mu["b"] != 0))
    (part,) = (x for x in parts(state, params) if x.of)
    assert list(part.of) == ["a/value", "a/scale", "b"]


# --- thousands of leaves --------------------------------------------------------------------------


def calls_of(run):
    """The functions called by a call, those of C too."""
    found = Counter()
    sys.setprofile(lambda _, event, __: found.update([event]))
    try:
        run()
    finally:
        sys.setprofile(None)
    return found["call"] + found["c_call"]


def layers(count, name="layer"):
    return {f"{name}_{i}": {"w": jnp.zeros(2), "b": jnp.zeros(2)} for i in range(count)}


def renamed_layers(tx, state, count):
    return ol.transfer(
        state,
        tx,
        layers(count, "block"),
        renamed={f"layer_{i}": f"block_{i}" for i in range(count)},
    )


def grouped(count):
    labels = {layer: {"w": "on", "b": "off"} for layer in layers(count)}
    return ol.partition({"on": ol.adam(0.1), "off": ol.sgd(0.1, momentum=0.9)}, labels)


OF_MANY = {
    "transfer": lambda tx, state, count: ol.transfer(state, tx, layers(count)),
    "renamed": renamed_layers,
    "renamed unsaid": lambda tx, state, count: ol.transfer(state, tx, layers(count, "block")),
    "reset": lambda tx, state, count: ol.reset(state, tx, layers(count), where="w"),
    "explain": lambda tx, _, count: str(ol.explain(tx, layers(count))),
    "explain groups": lambda tx, _, count: str(ol.explain(grouped(count), layers(count))),
}


@pytest.mark.parametrize("ask", OF_MANY.values(), ids=OF_MANY)
def test_three_times_the_leaves_take_three_times_the_calls(ask):
    """A part that compares each leaf with each other one takes nine times as many."""
    tx = ol.adam(0.1)
    few, many = (calls_of(lambda n=n: ask(tx, tx.init(layers(n)), n)) for n in (20, 60))
    assert many < 3.3 * few
