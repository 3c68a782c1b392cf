"""A factory stands for its builder: to readers of signatures and help, to classes, and to
pickle.
"""

import copy
import functools
import inspect
import pickle
import pydoc
import re
import subprocess
import sys
import textwrap
import traceback
import typing
from pathlib import Path

import cloudpickle
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optax_lite as ol
from optax_lite.core.factory import is_factory
from tests.closeness import assert_close

PROVES = ("core.factory", "core.binding")

PARAMS = jnp.arange(3.0)


def run(source, *args):
    """Run a script, as `__main__`."""
    command = [sys.executable, "-c", textwrap.dedent(source), *args]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def first_update(tx):
    return tx.update(PARAMS, tx.init(PARAMS), PARAMS)[0]


def test_signature_name_and_help_are_those_of_the_builder():
    assert list(inspect.signature(ol.adamw).parameters)[:3] == ["learning_rate", "b1", "b2"]
    assert (ol.adamw.__name__, ol.adamw.__module__) == ("adamw", "optax_lite.optimizers.adam")
    shown = pydoc.render_doc(ol.adamw, renderer=pydoc.plaintext)
    assert re.search(r"adamw\(\s*learning_rate", shown) and "Loshchilov & Hutter 2019" in shown
    assert inspect.isfunction(ol.adamw) and repr(ol.adamw).startswith("<function adamw at ")


def listed(lib, kinds):
    """The functions of a module that a library offers by name, as such libraries look for them."""
    functions = {name: x for name, x in vars(lib).items() if inspect.isfunction(x)}
    return {n for n, x in functions.items() if inspect.signature(x).return_annotation in kinds}


def test_tools_that_list_optimizers_find_ours():
    pair = optax.GradientTransformation, optax.GradientTransformationExtraArgs
    ours, theirs = listed(ol, [ol.GradientTransformation]), listed(optax, pair)
    assert theirs & vars(ol).keys() - ours == set() and len(theirs & ours) > 50
    assert "cosine_decay_schedule" in listed(ol, [type(ol.constant_schedule(1.0))])
    assert typing.get_type_hints(ol.adam)["nesterov"] is bool


def test_what_a_factory_returns_knows_the_factory():
    for tx in (ol.adam(0.1), functools.partial(ol.adam, b1=0.5)(0.1)):
        assert tx.factory is ol.adam and tx.factory.traits is ol.adam.definition.traits
    assert is_factory(ol.adam) and not is_factory(ol.adam(0.1)) and not is_factory(first_update)


FAULTS = {
    "range": (lambda: ol.adam(0.1, b1=2.0), 3),
    "missing": (lambda: ol.adam(), 2),
    "unknown": (lambda: ol.adam(0.1, beta=1), 1),
    "no number": (lambda: ol.adam("fast"), 1),
    "not called": (lambda: ol.adam.init(PARAMS), 1),
}


@pytest.mark.parametrize(("call", "frames"), FAULTS.values(), ids=FAULTS)
def test_a_wrong_call_is_told_in_few_frames(call, frames):
    with pytest.raises((ValueError, TypeError), match="adam") as caught:
        call()
    package = str(Path(ol.__file__).parent)
    found = [x for x in traceback.extract_tb(caught.tb) if x.filename.startswith(package)]
    assert len(found) <= frames


def test_a_class_that_holds_one_gets_it_back():
    class Settings:
        optimizer = ol.adamw

        @ol.transform
        def scaled(self):
            return ol.scale(self.factor)

        factor = 3.0

    assert Settings.optimizer is ol.adamw
    built = Settings().scaled.__func__.definition.builder(Settings())
    assert_close(first_update(built), 3 * PARAMS, ulps=1)


def test_copies_are_the_factory_itself():
    assert (
        copy.copy(ol.adamw)
        is copy.deepcopy(ol.adamw)
        is pickle.loads(pickle.dumps(ol.adamw))
        is ol.adamw
    )


OF_A_SCRIPT = """
    import pickle, sys
    import cloudpickle, jax.numpy as jnp
    import optax_lite as ol
    from optax_lite.core.validate import check_nonnegative

    @ol.transform
    def doubled(factor=2.0, *, flag=False):
        check_nonnegative(factor=factor)
        return ol.chain(ol.scale(factor), ol.scale_by_learning_rate(0.5))

    def local():
        @ol.schedule(static=("words",))
        def held(value, words):
            return lambda count: value + 0.0 * count.astype(float)
        return held
"""


def test_pickle_finds_the_factories_of_a_script():
    run(OF_A_SCRIPT + "\n    tx = doubled(3.0); assert pickle.loads(pickle.dumps(tx)) == tx")


@pytest.mark.parametrize(
    "made", ["doubled(3.0, flag=True)", "ol.chain(doubled(3.0), ol.scale(local()(2.0, ('a',))))"]
)
def test_cloudpickle_takes_the_factories_of_a_script_along(made, tmp_path):
    """Into a process where they are not, as the workers of a cluster."""
    path = str(tmp_path / "made")
    run(OF_A_SCRIPT + f"\n    open(sys.argv[1], 'wb').write(cloudpickle.dumps({made}))", path)
    with open(path, "rb") as file:
        tx = pickle.load(file)
    factor = 1.0 if "local" not in made else 2.0
    assert_close(first_update(tx), -1.5 * factor * PARAMS, ulps=2)
    assert tx.replace({name: 3.0 for name in tx.hyperparams if name.endswith("factor")}) == tx
    with pytest.raises(ValueError, match="doubled: factor must be at least 0, got -1"):
        tx.replace(factor=-1)


def test_a_factory_made_within_a_function_travels_by_value():
    def make():
        @ol.transform(static=("words",))
        def held(value, words=()):
            return ol.scale(value)

        return held

    made = make()
    for _ in range(2):  # used or not
        factory, tx = cloudpickle.loads(cloudpickle.dumps((made, made(2.0))))
        assert is_factory(factory) and factory(2.0).arguments == {"value": 2.0, "words": ()}
        assert factory(2.0) == tx and tx.factory is factory and factory.__name__ == "held"
        with pytest.raises(TypeError, match="held is a factory, not an optimizer; call it"):
            factory.init(PARAMS)
        assert_close(first_update(tx), 2 * PARAMS, ulps=1)
        first_update(made(3.0))


def test_a_builder_must_be_a_function_with_the_arguments_that_are_named():
    with pytest.raises(TypeError, match="transform: the builder must be a function, got 3"):
        ol.transform(3)
    with pytest.raises(
        ValueError, match="held: static= names other, which the function does not take"
    ):

        @ol.transform(static=("other",))
        def held(value):
            return ol.scale(value)


def test_a_builder_runs_once_for_every_member_of_a_trace():
    runs = []

    @ol.transform
    def counted(value, name="one"):
        runs.append(name)
        return ol.scale(value)

    @ol.transform
    def both(value):
        return ol.chain(counted(value), counted(2.0, "two"))

    tx = ol.chain(both(1.0), ol.scale(3.0))
    runs.clear()
    state = tx.init(PARAMS)
    assert sorted(runs) == ["one", "two"]
    runs.clear()
    assert_close(tx.update(PARAMS, state)[0], 6 * PARAMS, ulps=2)
    assert sorted(runs) == ["one", "two"]


def test_what_a_builder_keeps_of_one_trace_is_made_again_in_the_next():
    kept = {}

    @ol.transform
    def with_memo(value):
        # whose builder computes -2, in a trace another one each time
        made = ol.scale_by_learning_rate(2.0)
        # in use only
        made = kept.setdefault("made", made) if isinstance(value, jax.Array) else made
        return ol.chain(made, ol.scale(value))

    tx = with_memo(3.0)
    for first in (jax.jit(tx.init), tx.init):
        state = first(PARAMS)
        assert_close(jax.jit(tx.update)(PARAMS, state)[0], -6 * PARAMS, ulps=2)
        assert_close(kept["made"].update(PARAMS, kept["made"].init(PARAMS))[0], -2 * PARAMS, ulps=2)


def test_a_builder_may_choose_by_a_refusal():
    @ol.transform
    def careful(learning_rate):
        try:
            return ol.adam(learning_rate, b1=1.5)
        except ValueError:
            return ol.sgd(learning_rate)

    assert_close(first_update(careful(0.5)), -0.5 * PARAMS, ulps=2)


def test_a_function_that_wraps_a_factory_counts_as_the_factory():
    @functools.wraps(ol.adam)
    def ours(*args, **kwargs):
        return ol.adam(*args, **kwargs)

    state = ol.inject_hyperparams(ours, static_args="b1")(0.1).init(PARAMS)
    assert sorted(state.hyperparams) == ["b2", "eps", "eps_root", "learning_rate"]
    with pytest.raises(ValueError, match=r"adam: b1 must be in \[0, 1\), got 2.0"):
        ol.inject_hyperparams(ours)(0.1, b1=2.0)
    assert inspect.getfullargspec(ol.adam).args[:2] == ["learning_rate", "b1"]
    for wrong in (
        lambda: ol.chain(ours),
        lambda: ol.explain(ours, PARAMS),
        lambda: ol.average_params(ours),
    ):
        with pytest.raises((ValueError, TypeError), match=r"call it: adam\(...\)"):
            wrong()


def test_values_inside_a_static_choice_are_not_arguments():
    tx = ol.inject_hyperparams(lambda rate, size: ol.scale(rate * size), static_args="size")(
        2.0, size=3.0
    )
    assert list(tx.init(PARAMS).hyperparams) == ["rate"]
    assert_close(first_update(tx), 6 * PARAMS, ulps=2)


# --- as text --------------------------------------------------------------------------------------


def test_a_long_optimizer_is_printed_over_several_lines_without_its_defaults():
    rate = ol.warmup_cosine_decay_schedule(0.0, 0.512, 10, 100)
    tx = ol.accumulate(ol.chain(ol.clip_by_global_norm(1.0), ol.adamw(0.1 * rate, b2=0.95)), 4)
    assert (
        str(tx)
        == """\
accumulate(
    chain(
        clip_by_global_norm(max_norm=1),
        adamw(
            learning_rate=0.1 * warmup_cosine_decay_schedule(
                init_value=0,
                peak_value=0.512,
                warmup_steps=10,
                decay_steps=100,
            ),
            b2=0.95,
        ),
    ),
    every=4,
)"""
    )
    assert str(ol.adamw(1e-3)) == "adamw(learning_rate=0.001)"
    assert "\n" not in repr(tx) and "b1=0.9" in repr(tx)


def test_schedules_are_printed_as_they_are_written_and_read_back():
    s = 1 - (2 * ol.linear_schedule(1.0, 0.0, 10) + 0.1) / 3
    again = eval(repr(s), {"linear_schedule": ol.linear_schedule})
    assert again == s and repr(s).startswith("1.0 - (((2.0 * linear_schedule(init_value=1.0, ")


# --- arrays for numbers ---------------------------------------------------------------------------


def test_a_replaced_number_stays_the_array_that_it_was():
    """For a jit that compiles for each float: Equinox's, and any with the optimizer static."""
    tx = jax.tree.map(jnp.asarray, ol.adamw(1e-3))
    traced = jax.jit(lambda tx: tx.hyperparams["learning_rate"])
    for rate in (1e-4, np.float32(1e-5), jnp.float32(1e-6)):
        new = tx.replace(learning_rate=rate)
        assert isinstance(new.hyperparams["learning_rate"], jax.Array)
        assert float(traced(new)) == pytest.approx(float(rate), rel=1e-6)
    assert traced._cache_size() == 1
