"""The table of `explain`: bytes against real states, settings against the groups, warnings where
they belong.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import optax_lite as ol
from optax_lite.errors.direction import descends
from optax_lite.inspect._doubts import doubts
from tests.methods import ROWS
from tests.nightly import first

WIDTH = 120
ADAMW = ol.adamw(1e-3)
PLAIN = ol.adamw(1e-3, weight_decay=0.0)
rate = ol.warmup_cosine_decay_schedule(0.0, 1e-3, 10, 100)


def shapes(tree):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x)), tree)


def floats(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype)


P = {
    "embed": jnp.ones((12, 4)),
    **{f"layer_{i}": {"kernel": jnp.ones((4, 4)), "bias": jnp.ones(4)} for i in range(2)},
    "norm": {"scale": jnp.ones(4)},
    "head": {"kernel": jnp.ones((4, 3)), "bias": jnp.ones(3)},
}
RULES = {
    ("bias", "norm"): {"weight_decay": 0.0},
    "head": {"learning_rate": 10 * rate},
    "embed": "freeze",
}
GROUPS = ol.groups(ol.adamw(rate), RULES)
WRAPPED = ol.with_metrics(
    ol.skip_bad_steps(
        ol.accumulate(
            ol.average_params(ol.chain(ol.clip_by_global_norm(1.0), ol.adamw(rate)), decay=0.999), 4
        )
    )
)


def by_size(params):
    return jax.tree.map(lambda x: "large" if x.ndim > 1 else "small", params)


def row_of(explanation, path):
    return next(row for row in explanation.rows if row.path == path)


# --- bytes ----------------------------------------------------------------------------------------

OPTIMIZERS = {
    "adamw": ol.adamw(rate, mu_dtype=jnp.bfloat16),
    "sgd": ol.sgd(0.1),
    "momentum": ol.sgd(0.1, 0.9),
    "groups": GROUPS,
    "partition": ol.partition({"large": ol.adam(1e-3), "small": ol.sgd(rate, 0.9)}, by_size),
    "muon": ol.muon(0.02),
    "shampoo": ol.shampoo(1e-3),
    "soap": ol.soap(1e-3),
    "adafactor": ol.adafactor(1e-3, min_dim_size_to_factor=4),
    "sm3": ol.sm3(1e-3),
    "galore": ol.galore(1e-3, rank=2),
    "lbfgs": ol.lbfgs(),
    "wrapped": WRAPPED,
    "inject": ol.inject_hyperparams(GROUPS),
    "lookahead": ol.lookahead(ol.adam(1e-3), 5, 0.5),
    "schedule_free": ol.schedule_free_adamw(rate),
    "prodigy": ol.prodigy(),
    "sam": ol.sam(ol.sgd(0.1, 0.9), ol.sgd(0.1, 0.9)),
    "optax": optax.adamw(1e-3),
    "optax in a chain": ol.chain(optax.scale_by_adam(), ol.scale(-1e-3)),
}


@pytest.mark.parametrize("tx", first(6, OPTIMIZERS.values()), ids=OPTIMIZERS.keys())
def test_bytes_are_those_of_the_real_state(tx):
    found, state = ol.explain(tx, shapes(P)), tx.init(P)
    own, kept = (sum(x.nbytes for x in jax.tree.leaves(tree)) for tree in (P, state))
    totals = found.totals
    assert sum(totals["state_bytes"].values()) == kept
    assert (totals["parameter_bytes"], totals["bytes"]) == (own, own + kept)
    assert totals["parameters"] == sum(x.size for x in jax.tree.leaves(P))
    np.testing.assert_allclose(totals["bytes_per_parameter"], (own + kept) / totals["parameters"])
    assert sum(row.nbytes for row in found.rows) == own + kept - totals["state_bytes"].get(
        "shared", 0
    )


@pytest.mark.parametrize("tx", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
def test_state_per_parameter_is_listed_with_its_parameter(tx):
    """Only counts, rates, norms and the like are shared; and arrays and their shapes give one
    table.
    """
    found = ol.explain(tx, P)
    assert found.totals["state_bytes"].get("shared", 0) <= 200
    assert str(found) == str(ol.explain(tx, shapes(P)))


def test_slots_have_their_fields_shapes_and_dtypes():
    row = row_of(ol.explain(ol.adafactor(1e-3, min_dim_size_to_factor=4), P), "embed")
    assert {slot: [x.shape for x in arrays] for slot, arrays in row.slots.items()} == {
        "v_row": [(4,)],
        "v_col": [(12,)],
        "v": [(1,)],
    }
    row = row_of(ol.explain(ol.shampoo(1e-3), P), "head/kernel")
    assert [x.shape for x in row.slots["statistics"]] == [(1, 4, 4), (1, 3, 3)]
    row = row_of(ol.explain(OPTIMIZERS["adamw"], P), "embed")
    assert [str(row.slots[name][0].dtype) for name in ("mu", "nu")] == ["bfloat16", "float32"]
    assert "mu bfloat16; nu float32" in str(ol.explain(OPTIMIZERS["adamw"], P))


def test_slots_of_two_members_with_one_name_stay_apart():
    row = row_of(ol.explain(ol.chain(ol.trace(0.9), ol.trace(0.5)), P), "embed")
    assert len(row.slots) == 2 and row.nbytes == 3 * P["embed"].nbytes


def test_nothing_is_allocated():
    found = ol.explain(ol.with_metrics(ADAMW), {"w": floats(10**6, 10**6)})
    assert found.totals["state_bytes"]["mu"] == 4 * 10**12
    assert "1,000,000,000,000 parameters, 4 TB; state mu 4 TB, nu 4 TB" in str(found)
    assert "total 12 EB" in str(ol.explain(ADAMW, {"w": floats(10**6, 10**6, 10**6)}))


# --- groups and settings --------------------------------------------------------------------------


AROUND = {
    "bare": lambda tx: tx,
    "with_metrics": ol.with_metrics,
    "inject_hyperparams": ol.inject_hyperparams,
}


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND.keys())
def test_groups_and_settings_in_effect(around):
    found = ol.explain(around(GROUPS), P)
    rows = {row.path: row for row in found.rows}
    expected = {
        "embed": ("freeze", None, None),
        "layer_0/kernel": ("base", 1e-3, 1e-4),
        "layer_0/bias": ("bias,norm", 1e-3, 0.0),
        "norm/scale": ("bias,norm", 1e-3, 0.0),
        "head/kernel": ("head", 1e-2, 1e-4),
        "head/bias": ("bias,norm & head", 1e-2, 0.0),
    }
    for path, (group, peak, decay) in expected.items():
        settings = {
            name.rsplit("/", 1)[-1]: value for name, value in rows[path].hyperparams.items()
        }
        assert (rows[path].group, rows[path].is_moved) == (group, peak is not None)
        if peak is not None:
            np.testing.assert_allclose(settings["learning_rate"](10), peak, rtol=1e-6)
            assert settings["weight_decay"] == decay and settings["b1"] == 0.9
    lines = {
        line.split()[0]: line.split() for line in str(found).splitlines() if line[:1].isalpha()
    }
    assert lines["head/kernel"][4:6] == ["0.0001", "0…0.01"]
    assert lines["layer_*/bias"][5:7] == ["0", "0…0.001"]
    assert "everywhere: b1 0.9, b2 0.999" in str(found)
    assert "of them are trained; not trained: embed" in str(found) and not found.warnings
    assert found.totals["moved"] == found.totals["parameters"] - P["embed"].size


def test_paths_of_settings_are_those_of_hyperparams():
    tx = ol.chain(ol.clip_by_global_norm(1.0), GROUPS)
    for row in ol.explain(tx, P).rows:
        for path, value in row.hyperparams.items():
            assert path in tx.hyperparams or isinstance(value, ol.Schedule)


def test_nested_groups_have_both_labels():
    tx = ol.groups(
        ol.chain(ol.clip(1.0), ol.groups(ADAMW, {("bias", "norm"): {"weight_decay": 0.0}})),
        {"embed": "freeze"},
    )
    found = ol.explain(tx, P)
    assert row_of(found, "head/bias").group == "base/bias,norm"
    assert row_of(found, "embed").group == "freeze" and not row_of(found, "embed").slots


def test_a_mask_ends_a_setting():
    found = ol.explain(ol.adamw(1e-3, mask="kernel"), P)
    assert "weight_decay" in row_of(found, "head/kernel").hyperparams
    assert "weight_decay" not in row_of(found, "head/bias").hyperparams
    assert not found.warnings


def test_settings_with_the_same_name_are_distinguished():
    text = str(ol.explain(ol.chain(ol.ema(0.9), ol.trace(0.5), ol.scale(-1.0)), P))
    assert "everywhere: 0/decay 0.9, 1/decay 0.5, step_size -1" in text


def test_settings_of_some_leaves_only():
    text = str(ol.explain(OPTIMIZERS["partition"], P))
    assert "where they apply: b1 0.9, b2 0.999, eps 1e-08, eps_root 0, momentum 0.9" in text


def test_population():
    def make(rate):
        decayed = ol.cosine_decay_schedule(rate, 100)
        return ol.groups(
            ol.adamw(decayed, mask="!bias"),
            {"embed": {"learning_rate": 2 * decayed}, "norm": "freeze"},
        )

    found = ol.explain(jax.vmap(make)(jnp.array([1e-3, 1e-2, 1e-1])), P)
    one = ol.explain(make(1e-3), P)
    assert found.totals == one.totals | {"members": 3} and one.totals["members"] == 1
    assert "0…0.2 " in str(found) and "for each of the 3 members of the population" in " ".join(
        str(found).split()
    )
    assert "member" not in str(one)


# --- kinds of parameters --------------------------------------------------------------------------


class Pair(NamedTuple):
    w: Any
    b: Any


@functools.partial(jax.tree_util.register_dataclass, data_fields=["w", "b"], meta_fields=[])
@dataclasses.dataclass
class Fields:
    w: Any
    b: Any


class Net(nnx.Module):
    def __init__(self, rngs):
        self.dense, self.norm = nnx.Linear(3, 4, rngs=rngs), nnx.LayerNorm(4, rngs=rngs)


def mlp():
    return eqx.nn.MLP(3, 2, 4, 1, key=jax.random.key(0))


def net():
    return nnx.state(Net(nnx.Rngs(0)), nnx.Param)


# Functions make what would compile something when this module is imported.
KINDS = {
    "NamedTuple": (Pair(floats(3, 4), floats(4)), ["w", "b"]),
    "dataclass": (Fields(floats(3, 4), floats(4)), ["w", "b"]),
    "list": ([floats(3), {"w": floats(2)}], ["0", "1/w"]),
    "a leaf called value": ({"b": floats(4), "w": {"value": floats(3, 4)}}, ["b", "w/value"]),
    "NNX": (net, ["dense/bias", "dense/kernel", "norm/bias", "norm/scale"]),
    "Equinox": (mlp, ["layers/0/weight", "layers/0/bias", "layers/1/weight", "layers/1/bias"]),
    "Nones": ({"w": floats(3), "n": None, "tag": "text"}, ["w"]),
    "numpy": ({"w": np.ones((3, 2))}, ["w"]),
    "bare": (floats(3, 2), ["(the only leaf)"]),
    "empty": ({}, []),
}


@pytest.mark.parametrize("params, paths", KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize("tx", [PLAIN, ol.shampoo(1e-3)], ids=["adamw", "shampoo"])
def test_containers(tx, params, paths):
    found = ol.explain(tx, params() if callable(params) else params)
    assert [row.path for row in found.rows] == paths
    assert found.totals["state_bytes"].get("shared", 0) == 4
    assert all(row.slots for row in found.rows) and not found.warnings
    assert str(found).startswith("parameter")


def test_integers_and_python_numbers():
    found = ol.explain(
        PLAIN, {"w": floats(3), "i": jnp.arange(2), "f": 1.5, "n": 2, "key": jax.random.key(0)}
    )
    assert {row.path: (row.is_moved, bool(row.slots)) for row in found.rows} == {
        "f": (True, True),
        "i": (False, False),
        "key": (False, False),
        "w": (True, True),
    }
    assert "not trained: i, key" in str(found)


# --- warnings -------------------------------------------------------------------------------------

W, B = {"w": floats(3, 4)}, {"w": floats(3, 4), "b": floats(4)}
HALF = {"w": floats(3, 4, dtype=jnp.bfloat16)}
GROWING = ol.linear_schedule(0.9, 0.999, 9)
DECAY = "weight decay on"
UNUSED = {"zzz": {"weight_decay": 0.0}, "b": {"weight_decay": 0.0}}
WARNED = {
    "decay of a bias": (ADAMW, B, f"{DECAY} b: biases"),
    "decay of a scale with the axis of a scan": (
        ADAMW,
        {"layers": {"scale": floats(12, 4)}},
        f"{DECAY} layers/scale:",
    ),
    "decay of a norm's weight": (
        ADAMW,
        {"LayerNorm_0": {"weight": floats(2, 4)}},
        f"{DECAY} LayerNorm_0/weight:",
    ),
    "decay by its other name": (ol.adafactor(1e-3, weight_decay_rate=0.1), B, f"{DECAY} b:"),
    "decay in a chain": (
        ol.chain(ol.scale_by_adam(), ol.add_decayed_weights(0.1), ol.scale(-0.1)),
        B,
        f"{DECAY} b:",
    ),
    "many": (ADAMW, P, f"{DECAY} head/bias, layer_*/bias"),
    "group": (
        ol.partition({"x": PLAIN, "y": ol.sgd(0.1)}, {"w": "x", "b": "x"}),
        B,
        "the group 'y' has no leaves",
    ),
    "rule": (ol.groups(ADAMW, UNUSED, strict=False), B, "the rule 'zzz' matches no leaf"),
    "rule inside": (
        ol.with_metrics(ol.groups(ADAMW, UNUSED, strict=False)),
        B,
        "the rule 'zzz' matches no leaf",
    ),
    "rule without an override": (
        ol.groups(PLAIN, {"b": {"momentum": 0.5}}, strict=False),
        B,
        "the rule 'b' names no hyperparameter of adamw",
    ),
    "rule that comes late": (
        ol.groups(PLAIN, {"*": "freeze", "b": {"b1": 0.5}}, strict=False),
        B,
        "the rule 'b' has no effect: '*'",
    ),
    "all frozen": (ol.chain(PLAIN, ol.set_to_zero()), W, "no parameter is trained"),
    "b1": (
        ol.adam(1e-2, b1=0.999, mu_dtype=jnp.bfloat16),
        W,
        "b1=0.999 rounds to 1 in bfloat16, so mu never forgets",
    ),
    "momentum": (
        ol.sgd(0.1, 0.999, accumulator_dtype=jnp.bfloat16),
        W,
        "momentum=0.999 rounds to 1 in bfloat16",
    ),
    "a schedule of it": (
        ol.adam(1e-2, b1=GROWING, mu_dtype=jnp.bfloat16),
        W,
        "b1=0.999 rounds to 1 in bfloat16",
    ),
    "injected": (
        ol.inject_hyperparams(ol.adam(1e-2, 0.999, mu_dtype=jnp.bfloat16)),
        W,
        "inner/b1=0.999 rounds to 1 in bfl",
    ),
    "rounded away": (
        ol.adam(1e-3),
        HALF,
        "steps of 0.001 (the learning rate) are lost in bfloat16",
    ),
    "rounded away in float32": (
        ol.sgd(1e-8),
        W,
        "steps of 1e-08 (the learning rate) are lost in float32",
    ),
    "the peak counts": (ol.sgd(rate), HALF, "steps of 0.001 (the learning rate) are lost"),
    "no rate": (
        ol.partition({"x": ol.adam(1e-3), "y": ol.scale_by_adam()}, {"w": "x", "b": "y"}),
        B,
        "no learning rate reaches b",
    ),
}
COSINE = ol.cosine_decay_schedule(1e-3, 100)
L2 = "add_decayed_weights before adamw is an L2 penalty"
DOUBTFUL = {
    "uphill on purpose": (
        ol.chain(PLAIN, ol.scale(-1.0)),
        "scale after adamw changes the sign back: params go uphill",
    ),
    "uphill inside": (
        ol.with_metrics(ol.chain(PLAIN, ol.scale(-1.0))),
        "scale after adamw changes the sign back",
    ),
    "no sign": (
        ol.chain(ol.clip(1.0), ol.scale_by_adam()),
        "no member changes the sign, so params go uphill",
    ),
    "clip of a direction": (
        ol.chain(ol.scale_by_adam(), ol.clip(1.0), ol.scale_by_learning_rate(0.1)),
        "clip after scale_by_adam bounds the update",
    ),
    "clip of a step": (
        ol.chain(PLAIN, ol.clip_by_global_norm(1.0)),
        "clip_by_global_norm after adamw bounds the update",
    ),
    "clip of what is accumulated": (
        ol.chain(ol.accumulate(PLAIN, 4), ol.clip_by_global_norm(1.0)),
        "clip_by_global_norm after accumulate bounds the update",
    ),
    "average of updates": (
        ol.chain(PLAIN, ol.ema(0.999)),
        "ema after adamw averages the updates; to average the parameters write average_params",
    ),
    "L2": (ol.chain(ol.add_decayed_weights(0.1), PLAIN), L2),
    "L2 of some": (ol.chain(ol.add_decayed_weights(0.1, "w"), ol.clip(1.0), PLAIN), L2),
    "two rates": (
        ol.chain(PLAIN, ol.scale_by_schedule(COSINE)),
        "multiplies its learning rate by 0 to 0.001",
    ),
    "in a chain of chains": (
        ol.chain(ol.chain(PLAIN), ol.named_chain(("c", ol.clip(1.0)))),
        "clip after adamw bounds",
    ),
}
MEANT = {
    "clip of the gradient": ol.chain(ol.clip(1.0), ol.adaptive_grad_clip(0.1), PLAIN),
    "clip of the update's RMS": ol.chain(PLAIN, ol.clip_by_block_rms(1.0)),
    "decoupled": ol.chain(ol.scale_by_adam(), ol.add_decayed_weights(0.1), ol.scale(-0.1)),
    "L2 without a scaling": ol.chain(ol.add_decayed_weights(0.1), ol.sgd(0.1, 0.9)),
    "L2 of 0": ol.chain(ol.add_decayed_weights(0.0), PLAIN),
    "the only rate": ol.chain(ol.scale_by_adam(), ol.scale_by_schedule(COSINE), ol.scale(-1.0)),
    "a schedule for a rate of 1": ol.chain(ol.adam(1.0), ol.scale_by_schedule(COSINE)),
    "a share of a rate": ol.chain(PLAIN, ol.scale_by_schedule(ol.linear_schedule(1.0, 0.0, 9))),
    "a direction that is turned outside": ol.chain(
        ol.cautious(ol.chain(ol.scale_by_adam())), ol.scale(-0.1)
    ),
}
SILENT = {
    "no decay": (PLAIN, B),
    "decay masked": (ol.adamw(1e-3, mask="w"), B),
    "decay of 0 in a group": (ol.groups(ADAMW, {"b": {"weight_decay": 0.0}}), B),
    "decay of matrices with such names": (
        ADAMW,
        {"upscale": {"w": floats(3, 4)}, "normal": {"w": floats(3, 4)}},
    ),
    "frozen on purpose": (ol.groups(ADAMW, {"b": "freeze"}), B),
    "integers": (PLAIN, {"w": floats(3), "i": floats(2, dtype=jnp.int32)}),
    "b2 beside low precision": (ol.adam(1e-2, b1=0.9, b2=0.999, mu_dtype=jnp.bfloat16), W),
    "moments of low precision params": (ol.adam(1e-2, b2=0.9999), HALF),
    "steps that are large enough": (ol.adam(1e-2), HALF),
    "average": (ol.average_params(ol.adam(1e-2), decay=0.9999), HALF),
    "step sizes": (
        ol.partition(
            {"x": ol.adam(1e-3), "y": ol.chain(ol.scale_by_adam(), ol.scale(-0.1))},
            {"w": "x", "b": "y"},
        ),
        B,
    ),
    "no parameters": (PLAIN, {}),
    "lenient and used": (ol.groups(PLAIN, {"b": {"b1": 0.5}}, strict=False), B),
}


@pytest.mark.parametrize("tx, params, expected", WARNED.values(), ids=WARNED.keys())
def test_warnings(tx, params, expected):
    found = ol.explain(tx, params)
    assert sum(expected in warning for warning in found.warnings) == 1, found.warnings
    assert f"! {expected}" in " ".join(str(found).split())


@pytest.mark.parametrize("tx, params", SILENT.values(), ids=SILENT.keys())
def test_no_warnings(tx, params):
    found = ol.explain(tx, params)
    assert found.warnings == [] and "!" not in str(found)


@pytest.mark.parametrize("tx, expected", DOUBTFUL.values(), ids=DOUBTFUL.keys())
def test_warnings_of_chains(tx, expected):
    (warning,) = doubts(tx)
    assert expected in warning and warning in ol.explain(tx, W).warnings


@pytest.mark.parametrize("tx", MEANT.values(), ids=MEANT.keys())
def test_no_warnings_of_chains(tx):
    assert list(doubts(tx)) == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_no_factory_raises_a_warning_even_with_a_clip_and_a_schedule(row):
    for settings in row.settings:
        tx = row.factory(**settings)
        if any(isinstance(x, ol.GradientTransformation) for _, x in tx.walk()):
            continue  # what a row of a wrapper has inside was written by somebody
        assert list(doubts(tx)) == []
        if descends(tx) and tx.definition.name != "lbfgs":
            assert list(doubts(ol.chain(ol.clip_by_global_norm(1.0), tx))) == []


def test_the_warnings_are_true():
    p, g = {"w": jnp.array([3.0, -4.0])}, {"w": jnp.array([30.0, -40.0])}
    climbing = ol.chain(PLAIN, ol.scale(-1.0))
    assert (
        climbing.step(g, climbing.init(p), p)[0]["w"] * jnp.sign(p["w"]) > jnp.abs(p["w"])
    ).all()
    late = ol.chain(ol.sgd(0.01), ol.clip_by_global_norm(1.0))
    # of norm 0.5
    np.testing.assert_allclose(late.update(g, late.init(p), p)[0]["w"], -0.01 * g["w"], rtol=1e-6)
    l2 = ol.chain(ol.add_decayed_weights(10.0), ol.adam(0.1))
    zero = {"w": jnp.zeros(2)}
    # whatever its size
    np.testing.assert_allclose(l2.update(zero, l2.init(p), p)[0]["w"], [-0.1, 0.1], rtol=1e-5)


def test_a_warning_about_a_rounded_average_is_true():
    """The gradients stop, and the average stays where it is."""
    tx, p = ol.scale_by_adam(b1=0.999, mu_dtype=jnp.bfloat16), {"w": jnp.ones(3)}
    (warning,) = ol.explain(ol.chain(tx, ol.scale(-1.0)), p).warnings
    assert ol.explain(
        ol.quantize_state(ol.chain(tx, ol.scale(-1.0))), p
    ).warnings  # too small for codes, and rounded
    assert not ol.explain(
        ol.with_state_dtype(ol.chain(tx, ol.scale(-1.0)), jnp.bfloat16), p
    ).warnings
    state = tx.init(p)._replace(mu={"w": jnp.ones(3, jnp.bfloat16)})
    _, after = tx.update({"w": jnp.zeros(3)}, state, p)
    assert "never forgets" in warning and bool(jnp.all(after.mu["w"] == 1))


# --- print ----------------------------------------------------------------------------------------


def test_lines_fit_a_terminal():
    rules = {
        f"a{i}": {"learning_rate": 0.01 * i, "b1": 0.1 * i, "b2": 0.2 * i, "eps": 1e-7 * i}
        for i in range(1, 4)
    }
    deep = {
        "transformer_encoder_block": {
            "multi_head_attention_projection_layer": {"lora_left_matrix_of_it": floats(3, 4)}
        }
    }
    params = {f"a{i}": floats(3, 4) for i in range(1, 4)} | deep
    for tx in (ol.groups(PLAIN, rules), ol.lbfgs(), ADAMW, WRAPPED):
        found = ol.explain(tx, params)
        assert max(map(len, str(found).splitlines())) <= WIDTH
    assert "of_it" in str(found) and "transformer" in str(found)
    assert "multi_head_attention_projection_layer/lora_left_matrix_of_it" in found._repr_html_()


def test_a_column_with_one_value_becomes_a_line():
    rules = {"a1": {"learning_rate": 0.1, "b1": 0.5, "b2": 0.6, "eps": 1e-7}}
    deep = {"a_long_name_of_a_module" * 2: {"kernel": floats(3, 4)}, "a1": floats(3, 4)}
    text = str(ol.explain(ol.average_params(ol.groups(PLAIN, rules), decay=0.9), deep))
    assert "dtype of all leaves: float32" in text and " dtype " not in text.splitlines()[0]
    assert "a_long_name" in text and "module/kernel" in text
    assert " dtype " in str(ol.explain(PLAIN, P)).splitlines()[0]


def test_like_leaves_share_a_line():
    found = ol.explain(PLAIN, {f"layer_{i}": {"w": floats(3), "b": floats(2)} for i in range(12)})
    assert (
        len(found.rows) == 24
        and "layer_*/w ×12" in str(found)
        and len(str(found).splitlines()) == 7
    )


def test_html_is_escaped():
    params = {"<script>alert(1)</script>": floats(3), "a&b": floats(3, 4)}
    page = ol.explain(ADAMW, params)._repr_html_()
    assert "<script>" not in page and "&lt;script&gt;" in page and "a&amp;b" in page
    assert page.count("<tr>") == 3 and "⚠ weight decay on &lt;script&gt;" in page


def test_repr_is_the_table():
    found = ol.explain(PLAIN, P)
    assert repr(found) == str(found)


# --- wrong calls ----------------------------------------------------------------------------------

WRONG = {
    "order": (
        lambda: ol.explain(P, PLAIN),
        "explain: tx must be an optimizer, got dict; the order is explain(tx, params)",
    ),
    "factory": (
        lambda: ol.explain(ol.adamw, P),
        "explain: tx must be an optimizer, got function; call it: adamw(...)",
    ),
    "state": (
        lambda: ol.explain(PLAIN, PLAIN.init(P)),
        "explain: params must be a pytree of arrays, got a state",
    ),
    "two optimizers": (
        lambda: ol.explain(PLAIN, PLAIN),
        "explain: params must be a pytree of arrays, got an optimizer",
    ),
    "pair": (lambda: ol.explain(PLAIN, ol.LookaheadParams(P, P)), "explain(tx, params.fast)"),
    "rule": (
        lambda: ol.explain(ol.groups(PLAIN, {"haed": "freeze"}), P),
        "groups: the pattern 'haed' matches no leaf",
    ),
}


@pytest.mark.parametrize("call, message", WRONG.values(), ids=WRONG.keys())
def test_wrong_calls(call, message):
    with pytest.raises((TypeError, ValueError)) as error:
        call()
    assert message in str(error.value)


# --- what is injected, now ------------------------------------------------------------------------


def test_injected_schedules_of_wrappers_are_read_where_they_are_counted():
    tx = ol.inject_hyperparams(ol.accumulate(ol.sgd(ol.linear_schedule(1.0, 0.0, 10)), 2))
    state = tx.init(P)
    for _ in range(6):
        _, state = tx.update(P, state, P)
    np.testing.assert_allclose(
        ol.current_hyperparams(tx, state)["inner/tx/learning_rate"], 0.7, rtol=1e-6
    )


def test_a_static_schedule_beside_injected_numbers_is_read():
    tx = ol.inject_hyperparams(
        ol.adam(ol.linear_schedule(1.0, 0.0, 10)), static_args="learning_rate"
    )
    state = tx.init(P)
    for _ in range(3):
        _, state = tx.update(P, state, P)
    np.testing.assert_allclose(
        ol.current_hyperparams(tx, state)["inner/learning_rate"], 0.7, rtol=1e-6
    )


def test_an_init_that_reads_leaves_by_name_gets_the_real_structure():
    params = {"w": floats(2, 3), "b": floats(3)}

    def norm_of_w(updates, *_):
        return {"of": {"w": jnp.linalg.norm(updates["w"])}}

    measures = {
        "norm": norm_of_w,
        "slow": ol.measure_with_ema(norm_of_w, 0.9),
        "skipped": ol.skip_bad_steps(ol.adam(1.0)),
    }
    for tx in (
        ol.chain(ol.monitor(measures), ol.snapshot("norm", norm_of_w), ol.adam(0.1)),
        ol.MultiSteps(
            ol.adam(0.1), 2, should_skip_update_fn=lambda g, *_: (g["w"][0, 0] > 1, norm_of_w(g))
        ),
    ):
        state = jax.eval_shape(ol.with_state_dtype(tx, {"nu": jnp.bfloat16}).init, params)
        arrays = jax.tree.leaves((jax.eval_shape(tx.init, params), params))
        assert ol.explain(tx, params).totals["bytes"] == sum(
            x.size * x.dtype.itemsize for x in arrays
        )
        slots = [nu for _, nu in ol.tree.get_all_with_path(state, "nu")]
        assert {x.dtype for x in jax.tree.leaves(slots)} == {jnp.dtype(jnp.bfloat16)}


def test_groups_in_other_dtypes_and_settings_injected_twice():
    params = {"w": floats(2, 3), "bias": floats(3)}
    tx = ol.with_state_dtype(
        ol.groups(ol.adamw(0.1), {"bias": {"weight_decay": 0.0}}), jnp.bfloat16
    )
    rows = {row.path: row for row in ol.explain(tx, params).rows}
    assert {row.slots["mu"][0].dtype for row in rows.values()} == {jnp.dtype(jnp.bfloat16)}
    assert (rows["w"].group, rows["bias"].group) == ("base", "bias")
    schedule = ol.linear_schedule(0.5, 0.9, 5)
    tx = ol.inject_hyperparams(ol.inject_hyperparams(ol.signum(0.1, schedule)))
    (row,) = ol.explain(tx, {"w": floats(3)}).rows
    assert (
        row.hyperparams["inner/inner/learning_rate"] == 0.1
        and row.hyperparams["inner/inner/beta"] == schedule
    )


@pytest.mark.parametrize("make", [ol.soap, ol.galore])
def test_a_method_for_matrices_without_any_is_told(make):
    vectors, kept = {"b": jnp.ones(2), "w": jnp.ones(3)}, {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
    told = (
        f"no leaf of scale_by_{make.__name__} is a matrix: all get its base alone, Adam by default"
    )
    assert told in ol.explain(make(0.1), vectors).warnings
    assert told not in ol.explain(make(0.1), kept).warnings
    assert told in ol.explain(ol.groups(make(0.1), {"w": "freeze"}), kept).warnings
