"""Orders of wrappers: a senseless order raises when it is built and names the right one; every
other order trains.
"""

import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lite as ol
from optax_lite.errors.direction import descends
from optax_lite.errors.states import outline
from tests.closeness import A_STEP, assert_close
from tests.methods import OWN
from tests.methods.row import no_extra
from tests.nightly import first

TX = ol.adamw(0.1)


DIRECTION = ol.scale_by_adam()
UNDONE = {
    "a rate after an optimizer": (
        lambda: ol.chain(ol.adam(0.1), ol.scale_by_learning_rate(0.1)),
        (
            "chain: scale_by_learning_rate after adam changes the sign back, so the parameters "
            "would go uphill; keep one of"
        ),
    ),
    "two optimizers": (
        lambda: ol.chain(ol.chain(ol.clip(1.0), ol.sgd(0.1)), ol.adam(0.1)),
        "adam after sgd changes the sign back",
    ),
    "decay behind": (
        lambda: ol.chain(ol.average_params(ol.sgd(0.1)), ol.add_decayed_weights(0.1)),
        (
            "add_decayed_weights after average_params would make the weights grow instead of "
            "decay; write chain(add_decayed_"
        ),
    ),
    "a rule behind": (
        lambda: ol.named_chain(("a", ol.sgd(0.1)), ("b", ol.scale_by_adam())),
        (
            "scale_by_adam after sgd would undo its learning rate; write chain(scale_by_adam(...), "
            "sgd(...))"
        ),
    ),
    "a rule behind, around an unknown one": (
        lambda: ol.chain(ol.sgd(0.1), ol.scale_by_galore(base_optimizer=optax.scale_by_adam())),
        (
            "scale_by_galore after sgd would undo its learning rate; write "
            "chain(scale_by_galore(...), sgd(...))"
        ),
    ),
    "a whole optimizer, cautious": (
        lambda: ol.cautious(ol.adamw(0.1)),
        (
            "cautious: adamw inside already changes the sign, so every update would oppose its "
            "gradient and be dropped"
        ),
    ),
    "a direction, schedule-free": (
        lambda: ol.schedule_free(DIRECTION, 0.1),
        "scale_by_adam inside does not change the sign",
    ),
    "a direction, mechanize": (
        lambda: ol.mechanize(DIRECTION),
        "mechanize: scale_by_adam inside does not change the sign",
    ),
    "a direction, sam": (
        lambda: ol.sam(DIRECTION, ol.sgd(0.1)),
        "sam: scale_by_adam inside does not change the sign",
    ),
    "a direction climbs": (
        lambda: ol.sam(ol.sgd(0.1), DIRECTION),
        "the adversary, which reverses it, would",
    ),
}


@pytest.mark.parametrize("name", UNDONE)
def test_members_that_undo_another_are_reported(name):
    make, message = UNDONE[name]
    with pytest.raises(ValueError) as caught:
        make()
    assert message in str(caught.value)


def test_orders_after_an_optimizer_that_are_allowed():
    """Ascent on purpose, decay of its own, clips of steps; and what is not known is not judged."""
    shape = ol.cosine_decay_schedule(1.0, 10)
    own = ol.GradientTransformation(lambda p: (), lambda u, s, p=None: (u, s))
    for behind in (
        ol.scale(-1.0),
        ol.independent_weight_decay(1e-4 * shape),
        ol.add_decayed_weights(-1e-4),
        ol.clip(1.0),
        ol.scale_by_schedule(shape),
        ol.trace(0.9),
        own,
    ):
        ol.chain(ol.adam(0.1), behind)
    for unknown in (
        own,
        ol.chain(ol.scale_by_adam(), ol.scale_by_schedule(lambda t: -0.1)),
        ol.set_to_zero(),
    ):
        ol.sam(unknown, ol.sgd(0.1))
        ol.lookahead(unknown, 5, 0.5)
        ol.cautious(unknown)
    jax.vmap(
        lambda rate: ol.chain(ol.scale_by_adam(), ol.scale(-rate), ol.add_decayed_weights(rate))
    )(jnp.ones(2))


GRADIENT = {"w": np.full((3, 4), 0.1, np.float32), "b": np.full(3, 0.1, np.float32)}


def makes_a_direction_alone(row):
    own = (
        row.factory.__module__.startswith("optax_lite.optimizers.") and row.quirks.extra is no_extra
    )
    around = any("optimizer" in name for name in row.parameters)
    return own and not (around or row.quirks.shapes or row.quirks.no_laws)


JUDGED = list(filter(makes_a_direction_alone, OWN))


@pytest.mark.parametrize("row", JUDGED, ids=lambda row: row.name)
def test_the_computed_direction_is_that_of_the_updates(row):
    tx = row.factory(**row.settings[0])
    updates, _ = tx.update(GRADIENT, tx.init(GRADIENT), GRADIENT)
    moved = sum(float(u.sum()) for u in updates.values())
    assert moved == 0 or descends(tx) in (moved < 0, None)
    told = {descends(row.factory(**settings)) for settings in row.settings}
    assert len(told - {None}) <= 1, "a factory is asked once"


def of_part(tx):
    return ol.partition({"a": tx, "b": ol.sgd(0.1)}, {"w": "a", "b": "b"})


SENSELESS = {
    "average, accumulate": (
        lambda: ol.average_params(ol.accumulate(TX, 8), decay=0.9),
        (
            "average_params: accumulate is inside, so the average would count every point "
            "several times"
        ),
        lambda: ol.accumulate(ol.average_params(TX, decay=0.9), 8),
    ),
    "average, chain, part, accumulate": (
        lambda: ol.average_params(ol.chain(ol.clip(1.0), of_part(ol.accumulate(TX, 8)))),
        "write accumulate(average_params(...), ...)",
        lambda: ol.chain(ol.clip(1.0), of_part(ol.accumulate(ol.average_params(TX), 8))),
    ),
    "lookahead, MultiSteps": (
        lambda: ol.lookahead(ol.MultiSteps(TX, 2), 5, 0.5),
        (
            "lookahead: MultiSteps is inside, so the slow weights would move after sync_period "
            "gradients"
        ),
        lambda: ol.MultiSteps(ol.lookahead(TX, 5, 0.5), 2),
    ),
    "schedule-free, accumulate": (
        lambda: ol.schedule_free(ol.accumulate(ol.sgd(0.1), 2), 0.1),
        "write accumulate(schedule_free(...), ...)",
        lambda: ol.accumulate(ol.schedule_free(ol.sgd(0.1), 0.1), 2),
    ),
    "mechanize, accumulate": (
        lambda: ol.mechanize(ol.accumulate(TX, 2)),
        "mechanize: accumulate is inside, so the scale would be tuned on steps that moved nothing",
        lambda: ol.accumulate(ol.mechanize(TX), 2),
    ),
    "cautious, accumulate": (
        lambda: ol.cautious(ol.accumulate(ol.scale_by_adam(), 2)),
        "an update would be compared with the last gradient, not with the mean",
        lambda: ol.accumulate(ol.chain(ol.cautious(ol.scale_by_adam()), ol.scale(-0.1)), 2),
    ),
    "average, average": (
        lambda: ol.average_params(ol.schedule_free_sgd(0.1)),
        (
            "average_params: schedule_free_sgd is inside, and each evaluates at parameters of "
            "its own; keep one"
        ),
        lambda: ol.schedule_free_sgd(0.1),
    ),
    "lookahead, average": (
        lambda: ol.lookahead(ol.average_params(TX), 5, 0.5),
        "lookahead: average_params is inside",
        lambda: ol.average_params(TX),
    ),
    "skip, then decay": (
        lambda: ol.chain(
            ol.skip_bad_steps(ol.scale_by_adam()), ol.add_decayed_weights(0.1), ol.scale(-0.1)
        ),
        (
            "chain: add_decayed_weights after skip_bad_steps would move the parameters even when "
            "skip_bad_steps holds them still"
        ),
        lambda: ol.skip_bad_steps(
            ol.chain(ol.scale_by_adam(), ol.add_decayed_weights(0.1), ol.scale(-0.1))
        ),
    ),
    "accumulate, then momentum": (
        lambda: ol.chain(
            ol.chain(ol.accumulate(ol.sgd(0.1), 2)), ol.named_chain(("momentum", ol.trace(0.9)))
        ),
        "trace after accumulate would move",
        lambda: ol.accumulate(ol.chain(ol.sgd(0.1), ol.trace(0.9)), 2),
    ),
    "flatten, groups": (
        lambda: ol.flatten(ol.groups(TX, {"b": "freeze"})),
        (
            "flatten: groups is inside, where everything is one leaf without a path; write "
            "groups(flatten(...))"
        ),
        lambda: ol.groups(ol.flatten(ol.sgd(0.1)), {"w": {"learning_rate": 0.2}}),
    ),
    "in halves, average": (
        lambda: ol.split_real_and_imaginary(ol.average_params(TX)),
        (
            "split_real_and_imaginary: average_params is inside, whose average would be split "
            "into real and imaginary parts; write average_params("
        ),
        lambda: ol.average_params(ol.split_real_and_imaginary(TX)),
    ),
    "in halves, line search": (
        lambda: ol.split_real_and_imaginary(ol.lbfgs()),
        (
            "scale_by_zoom_linesearch is inside, which needs the parameters unsplit; it handles "
            "complex ones itself"
        ),
        lambda: TX,
    ),
    "kahan, stochastic rounding": (
        lambda: ol.kahan(ol.chain(ol.clip(1.0), ol.stochastic_rounding(TX))),
        (
            "kahan: stochastic_rounding is inside, and both round the parameters; keep one of "
            "the two"
        ),
        lambda: ol.kahan(TX),
    ),
    "rounding, then scale": (
        lambda: ol.chain(ol.stochastic_rounding(TX), ol.scale(0.5)),
        (
            "chain: scale after stochastic_rounding would change what stochastic_rounding has "
            "rounded; write stochastic_rounding(chain(...))"
        ),
        lambda: ol.stochastic_rounding(ol.chain(TX, ol.scale(0.5))),
    ),
    "rounding, average": (
        lambda: ol.stochastic_rounding(ol.average_params(TX)),
        (
            "it would average points that the parameters never visit; write "
            "average_params(stochastic_rounding(...))"
        ),
        lambda: ol.average_params(ol.stochastic_rounding(TX)),
    ),
    "kahan, accumulate": (
        lambda: ol.kahan(ol.accumulate(TX, 2)),
        (
            "kahan: accumulate is inside, so the compensation would move the parameters even "
            "when accumulate holds them still"
        ),
        lambda: ol.accumulate(ol.kahan(TX), 2),
    ),
    "lookahead, kahan": (
        lambda: ol.lookahead(ol.kahan(TX), 2, 0.5),
        (
            "lookahead: kahan is inside, so the rounding remainder of the fast weights would be "
            "added to the slow ones; write kahan("
        ),
        lambda: ol.kahan(ol.lookahead(TX, 2, 0.5)),
    ),
    "mechanize, master": (
        lambda: ol.mechanize(ol.master_weights(TX)),
        "mechanize: master_weights is inside, so it would sum rounding errors",
        lambda: ol.master_weights(ol.mechanize(TX)),
    ),
    "schedule-free, rounding": (
        lambda: ol.schedule_free(ol.stochastic_rounding(ol.sgd(0.1)), 0.1),
        "write stochastic_rounding(schedule_free(...))",
        lambda: ol.stochastic_rounding(ol.schedule_free(ol.sgd(0.1), 0.1)),
    ),
    "dtypes, master": (
        lambda: ol.with_state_dtype(ol.master_weights(TX), "bfloat16"),
        (
            "so its stored weights would be rounded with the moments; write "
            "master_weights(with_state_dtype(..."
        ),
        lambda: ol.master_weights(ol.with_state_dtype(TX, "bfloat16")),
    ),
    "8 bits, skip": (
        lambda: ol.quantize_state(ol.skip_bad_steps(TX)),
        (
            "quantize_state: skip_bad_steps is inside, so calls that move nothing would still "
            "round the state"
        ),
        lambda: ol.skip_bad_steps(ol.quantize_state(TX, min_size=1)),
    ),
    "8 bits, kahan": (
        lambda: ol.quantize_state(ol.kahan(TX)),
        "the compensation for rounding would itself be rounded; write kahan(quantize_state(...))",
        lambda: ol.kahan(ol.quantize_state(TX, min_size=1)),
    ),
    "dtypes, 8 bits": (
        lambda: ol.with_state_dtype(ol.quantize_state(TX), "bfloat16"),
        (
            "with_state_dtype: quantize_state is inside, so the state would be rounded twice; keep "
            "one of the two"
        ),
        lambda: ol.quantize_state(TX, min_size=1),
    ),
    "sam, an adversary's average": (
        lambda: ol.sam(ol.schedule_free_sgd(0.1), ol.chain(ol.schedule_free_sgd(0.1))),
        (
            "sam: schedule_free_sgd is inside adv_optimizer, whose averages are never evaluated; "
            "leave it out there"
        ),
        lambda: ol.sam(ol.schedule_free_sgd(0.1), ol.sgd(0.1)),
    ),
    "skip, loss scaling": (
        lambda: ol.skip_bad_steps(ol.loss_scaling(TX)),
        (
            "skip_bad_steps: loss_scaling is inside, so the gradients here would still be "
            "scaled; write loss_scaling("
        ),
        lambda: ol.loss_scaling(ol.skip_bad_steps(TX), init_scale=1.0),
    ),
    "clip, then loss scaling": (
        lambda: ol.chain(ol.clip_by_global_norm(1.0), ol.loss_scaling(TX)),
        (
            "chain: clip_by_global_norm before loss_scaling would see scaled gradients; write "
            "loss_scaling(chain(...))"
        ),
        lambda: ol.loss_scaling(ol.chain(ol.clip_by_global_norm(1.0), TX), init_scale=1.0),
    ),
}
WRAPPERS = {
    "accumulate": lambda t: ol.accumulate(t, 2),
    "apply_if_finite": lambda t: ol.apply_if_finite(t, 2),
    "average_params": lambda t: ol.average_params(t, decay=0.9),
    "clipped": lambda t: ol.chain(ol.clip_by_global_norm(1.0), t),
    "flatten": lambda t: ol.flatten(t),
    "groups": lambda t: ol.groups(t, {"b": {"weight_decay": 0.0}}),
    "inject_hyperparams": lambda t: ol.inject_hyperparams(t),
    "kahan": lambda t: ol.kahan(t),
    "lookahead": lambda t: ol.lookahead(t, 2, 0.5),
    "loss_scaling": lambda t: ol.loss_scaling(t, init_scale=1.0),
    "master_weights": lambda t: ol.master_weights(t),
    "mechanize": lambda t: ol.mechanize(t),
    "partition": of_part,
    "quantize_state": lambda t: ol.quantize_state(t, min_size=1),
    "skip_bad_steps": lambda t: ol.skip_bad_steps(t, outlier=10.0),
    "stochastic_rounding": lambda t: ol.stochastic_rounding(t),
    "with_metrics": lambda t: ol.with_metrics(t),
    "with_state_dtype": lambda t: ol.with_state_dtype(t, "bfloat16"),
}
PARAMS = {"w": jnp.array([1.0, -2.0, 0.5]), "b": jnp.array(0.5)}


def loss(params):
    return jnp.sum(params["w"] ** 2) + params["b"] ** 2


def trained(tx, steps=6):
    """The params after some steps, through update, by a loop of a user; state and dtypes must stay
    what they are.
    """
    params, state = PARAMS, tx.init(PARAMS)
    kept = outline(state)
    for _ in range(steps):
        updates, state = tx.update(jax.grad(loss)(params), state, params)
        params = ol.apply_updates(params, updates)
        assert outline(state) == kept
    return params


@pytest.mark.parametrize(("build", "message", "right"), SENSELESS.values(), ids=SENSELESS)
def test_a_senseless_order_names_the_right_one(build, message, right):
    with pytest.raises(ValueError, match=re.escape(message)):
        build()


@pytest.mark.nightly
@pytest.mark.parametrize(
    "right", first(8, [right for _, _, right in SENSELESS.values()]), ids=SENSELESS
)
def test_the_right_order_trains(right):
    assert loss(trained(right(), 16)) < loss(PARAMS)


def test_an_edit_is_checked_too():
    with pytest.raises(ValueError, match="average_params: accumulate is inside"):
        ol.average_params(TX).replace(tx=ol.accumulate(TX, 2))


def test_transformations_that_only_scale_may_follow_a_gate():
    tx = ol.chain(ol.accumulate(TX, 2), ol.scale(0.5), ol.clip(1.0))
    half = ol.chain(TX, ol.scale(0.5))
    updates, state = tx.update(PARAMS, tx.init(PARAMS), PARAMS)
    assert all(not jnp.any(u) for u in jax.tree.leaves(updates))
    updates, _ = tx.update(PARAMS, state, PARAMS)
    expected, _ = half.update(PARAMS, half.init(PARAMS), PARAMS)
    for u, e in zip(jax.tree.leaves(updates), jax.tree.leaves(expected), strict=True):
        assert_close(u, e, ulps=A_STEP)


@pytest.mark.nightly
@pytest.mark.parametrize(("outer", "inner"), list(itertools.permutations(WRAPPERS, 2)))
def test_every_pair_of_wrappers_trains_or_says_why_not(outer, inner):
    try:
        tx = WRAPPERS[outer](WRAPPERS[inner](TX))
    except ValueError as error:
        assert re.match(
            rf"{outer}: {inner} is inside|chain: clip_by_global_norm before {inner} ", str(error)
        )
        return
    assert loss(trained(tx)) < loss(PARAMS)


@ol.transform(
    is_a=("gate", "passing"),
    not_around={"rounding": "so it would see roundings; write {inner}({outer}(...))"},
)
def every_other(tx):
    """A wrapper from elsewhere."""
    return tx


def test_a_wrapper_from_elsewhere_is_checked_by_its_declared_traits():
    with pytest.raises(
        ValueError, match=r"kahan: every_other is inside, so the compensation would move .* still"
    ):
        ol.kahan(every_other(TX))
    with pytest.raises(
        ValueError, match=r"every_other: kahan is inside, so it would .*; write kahan\(every_other"
    ):
        every_other(ol.kahan(TX))
    with pytest.raises(
        ValueError,
        match="add_decayed_weights after every_other would move the parameters even when "
        "every_other",
    ):
        ol.chain(
            every_other(DIRECTION), ol.add_decayed_weights(0.1), ol.scale_by_learning_rate(0.1)
        )
    ol.stochastic_rounding(every_other(TX))


@pytest.mark.parametrize(
    "traits, message",
    [
        ({"descend": True}, "transform: no trait 'descend'; the traits: per_example, descends, "),
        ({"is_a": ("gates",)}, "transform: unknown word 'gates'; the words are gate, resting, "),
        ({"not_around": {"tx/gates": "no"}}, "transform: unknown word 'gates'"),
    ],
)
def test_a_factory_speaks_in_known_words(traits, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        ol.transform(**traits)
