"""Docstrings of public functions: every argument has one entry, stated ranges are checked, and
examples run.
"""

import ast
import dataclasses
import doctest
import enum
import functools
import importlib
import inspect
import re
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optax_lite as ol
from optax_lite import sweep
from tests.arguments import CALLS, OWN, SHARED
from tests.methods import ROWS
from tests.methods.schedules import CASES

MODULES = (
    *("compat", "contrib", "linear_algebra", "losses", "microbatching", "projections"),
    *("schedules", "transforms", "tree", "tree_utils"),
)


def own_module(value):
    """'optimizers.adam' for what is written there, '' for what is not ours."""
    name = getattr(value, "__module__", None) or ""
    return name.removeprefix("optax_lite.") if name.startswith("optax_lite.") else ""


def names_of(module):
    """The names in a module's `__all__`, or without one those that are defined in it or below."""
    home = module.__name__.removeprefix("optax_lite.")
    defined = [n for n, v in vars(module).items() if f"{own_module(v)}.".startswith(f"{home}.")]
    names = getattr(module, "__all__", defined)
    return [name for name in names if not name.startswith("_")]


def methods(cls):
    """The public methods of a class that are written in this package, by name."""
    ours = [vars(base) for base in reversed(cls.__mro__) if own_module(base)]
    found = {n: getattr(v, "__func__", v) for members in ours for n, v in members.items()}
    return {
        f"{own_module(v)}.{v.__qualname__}": v
        for n, v in found.items()
        if isinstance(v, types.FunctionType) and not n.startswith("_")
    }


def public():
    """Every public function, class and method once, under its own name; an alias is what it
    stands for.
    """
    spaces = [ol, *(importlib.import_module(f"optax_lite.{m}") for m in MODULES), sweep]
    found = {}
    for space in spaces:
        for name in names_of(space):
            value = getattr(space, name)
            if callable(value) and own_module(value):
                path = f"{own_module(value)}.{value.__qualname__}"
                found[path] = value
                found |= methods(value) if isinstance(value, type) else {}
    return found


@functools.cache
def classes_of(module):
    """The classes of a module by name, and its lines; `inspect.getsource` parses the whole file
    for each class.
    """
    text = inspect.getsource(sys.modules[module])
    found = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)}
    return found, text.splitlines()


def has_commented_fields(cls):
    """Whether a class is a record with a comment for each field, beside it or above it."""
    if not (dataclasses.is_dataclass(cls) or hasattr(cls, "_fields")):
        return False
    classes, lines = classes_of(cls.__module__)
    fields = [n.lineno for n in classes[cls.__name__].body if isinstance(n, ast.AnnAssign)]
    return all("# " in lines[i - 1] or lines[i - 2].strip().startswith("# ") for i in fields)


def parameters(value):
    """The names of a function's arguments, or of a class's when it is called, in order."""
    given = inspect.signature(value).parameters
    return [name for name in given if name not in ("self", "cls") and not name.startswith("_")]


def is_called(value):
    """Whether users call it with arguments that need a word; an enumeration is only read, and a
    protocol only matched.
    """
    is_record = isinstance(value, type) and has_commented_fields(value)
    is_protocol = getattr(value, "_is_protocol", False)
    return not is_record and not is_protocol and not isinstance(value, enum.EnumType)


FUNCTIONS = {name: value for name, value in public().items() if is_called(value)}


def doc_of(value):
    return inspect.cleandoc(value.__doc__ or "")


ENTRY = re.compile(r"^    \*{0,2}(\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)


def entries(value):
    """The entries of `Args:` by name, in order, each with its lines; a class that is returned
    rather than called has `Attributes:`.
    """
    heading = r"(?:Args|Attributes)" if isinstance(value, type) else "Args"
    found = re.search(rf"(?:^|\n\n){heading}:\n((?: {{4}}.*\n?)+)", doc_of(value))
    return {} if found is None else dict(ENTRY.findall(found[1]))


def one_line(text):
    return " ".join(text.split())


def shared_sentence(name, argument):
    """The sentence of the table for an argument, or '' where it has none."""
    places = [place for place in SHARED if name.startswith(place) and argument in SHARED[place]]
    return SHARED[max(places, key=len)][argument] if places else ""


def short(name):
    return name.split(".")[-1]


EXCEPTIONS = {
    (argument, name) for argument, whys in OWN.items() for names in whys.values() for name in names
}


# --- every argument, once, in order ---------------------------------------------------------------


def test_the_public_names_are_found():
    """A helper that found nothing would make every test here pass."""
    assert len(FUNCTIONS) > 300
    expected = ("optimizers.adam.adamw", "tree.norm", "wrappers.accumulate.MultiSteps")
    assert set(expected) <= FUNCTIONS.keys()
    assert parameters(ol.sgd) == ["learning_rate", "momentum", "nesterov", "accumulator_dtype"]


def test_every_argument_has_one_entry_in_its_place():
    wrong = {
        name: (list(entries(value)), parameters(value))
        for name, value in FUNCTIONS.items()
        if list(entries(value)) != parameters(value)
    }
    assert wrong == {}


def test_an_entry_is_a_sentence_of_two_lines_at_most():
    long = {
        f"{name}: {argument}": text
        for name, value in FUNCTIONS.items()
        for argument, text in entries(value).items()
        if text.count("\n") > 1 or not text.endswith(".") or text[0].islower()
    }
    assert long == {}


def test_shared_arguments_are_explained_alike():
    different = {
        f"{name}: {argument}": text
        for name, value in FUNCTIONS.items()
        for argument, text in entries(value).items()
        if not one_line(text).startswith(shared_sentence(name, argument))
        and (argument, short(name)) not in EXCEPTIONS
    }
    assert different == {}


def test_an_exception_from_the_table_is_one():
    needed = {
        (argument, short(name))
        for name, value in FUNCTIONS.items()
        for argument, text in entries(value).items()
        if not one_line(text).startswith(shared_sentence(name, argument))
    }
    assert EXCEPTIONS - needed == set()


FORBIDDEN = {"What", "Whether", "The", "A", "An", "How", "Where", "If", "That", "This", "Like"}


def test_docstrings_begin_with_a_verb():
    """As far as a first word tells; a class may say what it is."""
    first = {
        name: (doc_of(value).split() or [""])[0]
        for name, value in FUNCTIONS.items()
        if not isinstance(value, type)
    }
    assert {
        name: word
        for name, word in first.items()
        if not re.fullmatch(r"[A-Z][a-z]+", word) or word in FORBIDDEN
    } == {}


# --- stated ranges --------------------------------------------------------------------------------

NUMBER = r"-?\d+(?:\.\d+)?"
INTERVAL = re.compile(rf"\bin ([\[(])({NUMBER}), ({NUMBER})([\])])")
WORDS = "at least|above|at most|below|(?:positive|non-negative)(?=[.,;:]| number| integer)|>=|>"
BOUND = re.compile(rf"(?<!\w)({WORDS})(?!\w)(?: ({NUMBER}))?", re.IGNORECASE)


def bounds(text):
    """The bounds that an entry states: (side, number, whether that number itself is allowed)."""
    found = []
    for opening, low, high, closing in INTERVAL.findall(one_line(text)):
        found += [("low", float(low), opening == "["), ("high", float(high), closing == "]")]
    for word, number in BOUND.findall(one_line(text)):
        word = word.lower()
        if word in ("positive", "non-negative"):
            found.append(("low", 0.0, word == "non-negative"))
        elif number:
            side = "low" if word in ("at least", "above", ">", ">=") else "high"
            found.append((side, float(number), word in ("at least", "at most", ">=")))
    return found


def neighbour(x, up):
    """The next number in float32, or the next integer of an int; next to 0 the least that XLA does
    not flush to 0.
    """
    if isinstance(x, int):
        return x + 1 if up else x - 1
    if x == 0:
        return float(np.finfo(np.float32).tiny) * (1 if up else -1)
    return float(np.nextafter(np.float32(x), np.float32(np.inf if up else -np.inf)))


def probes(text):
    """The nearest values outside the stated range, and the nearest inside."""
    outside, inside = [], []
    for side, bound, included in bounds(text):
        x = int(bound) if re.search(r"\binteger\b", text) else bound
        upward = side == "low"  # the way in
        outside.append(neighbour(x, not upward) if included else x)
        inside.append(x if included else neighbour(x, upward))
    return outside, inside


def test_ranges_are_read():
    assert probes("Decay, in [0, 1).")[0] == [-neighbour(0.0, True), 1.0]
    assert probes("An integer of at least 1.") == ([0], [1])
    assert probes("Above 0.") == ([0.0], [neighbour(0.0, True)])
    assert probes("A positive number.") == probes("A number above 0.") == probes("A number > 0.")
    assert probes("Non-negative.") == probes("At least 0.") == ([-neighbour(0.0, True)], [0.0])
    assert probes("Of the positive class, of at least two axes.") == ([], [])


def call_of(name, argument):
    """A function and arguments that it takes: from `CALLS`, or the first in the tables of methods
    and schedules.
    """
    for key in (f"{short(name)}.{argument}", short(name)):
        if key in CALLS:
            return CALLS[key]
    made = [(row.factory, row.settings[0]) for row in ROWS if row.settings]
    made += [(schedule, settings) for _, schedule, settings, _ in CASES]
    return next((call for call in made if call[0] is FUNCTIONS[name]), None)


RANGES = {
    f"{name}: {argument}": (name, argument, text)
    for name, value in FUNCTIONS.items()
    for argument, text in entries(value).items()
    if bounds(text)
}


@pytest.mark.parametrize("case", RANGES)
def test_a_stated_range_is_checked(case):
    name, argument, text = RANGES[case]
    call = call_of(name, argument)
    assert call, f"write a call of {short(name)} into CALLS of tests/arguments.py"
    function, settings = call
    outside, inside = probes(text)
    for value in outside:
        with pytest.raises(ValueError, match=rf"\b{argument}\b"):
            function(**{**settings, argument: value})
    for value in inside:
        function(**{**settings, argument: value})


# --- examples -------------------------------------------------------------------------------------

EXAMPLES = {
    name: doctest.DocTestParser().get_doctest(doc_of(value), {}, name, None, 0)
    for name, value in FUNCTIONS.items()
    if ">>>" in doc_of(value)
}
# The names that most programs use; `sgd` is called as `adam` is.
SHOWN = (
    *("optimizers.adam.adam", "optimizers.adam.adamw", "core.compose.chain"),
    *("core.leafwise.leafwise", "core.transform.transform", "wrappers.groups.groups"),
    *("wrappers.accumulate.accumulate", "wrappers.average.average_params"),
    *("wrappers.skip.skip_bad_steps", "wrappers.quantize.quantize_state"),
    *("wrappers.loss_scaling.loss_scaling", "wrappers.inject.inject_hyperparams"),
    *("train.step.make_step", "train.fit.fit", "train.minimize.minimize"),
    *("sweep._engine.engine.run", "sweep.training.training"),
    *("inspect.explain.explain", "inspect.transfer.transfer"),
)


def what_examples_assume():
    """The public names, a small network with its gradients, and data."""

    def init(key):
        kernels = [
            jax.random.normal(k, s)
            for k, s in zip(jax.random.split(key), ((3, 8), (8, 1)), strict=True)
        ]
        biases = jnp.zeros(8), jnp.zeros(1)
        layers = zip(("encoder", "head"), kernels, biases, strict=True)
        return {name: {"kernel": kernel, "bias": bias} for name, kernel, bias in layers}

    def loss_fn(params, x, y):
        hidden = jnp.tanh(x @ params["encoder"]["kernel"] + params["encoder"]["bias"])
        return jnp.mean((hidden @ params["head"]["kernel"] + params["head"]["bias"] - y) ** 2)

    key = jax.random.key(0)
    x, params = jax.random.normal(key, (64, 3)), init(key)
    y = jnp.sin(x[:, :1])
    given = vars(ol) | {"__name__": "__main__"}
    given |= {"jax": jax, "jnp": jnp, "np": np, "functools": functools, "sweep": sweep}
    given |= {"init": init, "loss_fn": loss_fn, "key": key, "x": x, "y": y, "params": params}
    return given | {
        "grads": jax.grad(loss_fn)(params, x, y),
        "target": init(jax.random.key(1)),
        "mask": jnp.ones(64),
        "count": 100,
    }


def failures(test):
    told = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
    runner.run(test, out=told.append)
    return "".join(told)


@pytest.mark.nightly
@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_run(name):
    test = EXAMPLES[name]
    with (
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
    ):  # as users have it
        test.globs = what_examples_assume()
        assert failures(test) == ""


def test_an_example_that_prints_something_else_is_noticed():
    told = failures(doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0))
    assert "Expected:\n    3" in told and "Got:\n    2" in told


def test_names_whose_call_is_not_obvious_have_an_example():
    assert set(SHOWN) <= EXAMPLES.keys()


def test_examples_are_in_a_section_that_the_site_shows_as_code():
    """Under `Example:`, or without the prompt, it would be set as prose."""
    headings = r"(?m)^Examples?:\n(?! {4}>>> )|^Example:"
    assert [name for name, value in FUNCTIONS.items() if re.search(headings, doc_of(value))] == []
