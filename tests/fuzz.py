"""Random compositions against the laws that hold for every one: python -m tests.fuzz [--seconds 60]
[--seed 7].

A composition is drawn as source text, so that what is printed can be pasted. Each has a seed of its
own: `--case 12` is the twelfth of a seed. All are traced, and a third is compiled, which costs five
times as much. A find is made smaller, part by part, while the same law fails, and ends the run with
status 1. What was found is in tests/laws/test_found.py.
"""

import argparse
import itertools
import pickle
import random
import re
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tests import conftest as conftest  # strict promotion, and programs that compile fast

# isort: split
import jax
import jax.numpy as jnp
import numpy as np

import optax_lite as ol
from optax_lite.core.schedule import _combined, function_schedule
from optax_lite.core.transform import StateError
from optax_lite.core.validate import ArgumentError
from optax_lite.errors.direction import descends
from tests.methods import ROWS

# --- what compositions are made of ----------------------------------------------------------------


class Part(NamedTuple):
    """Source text with a %s for every part in it."""

    text: str
    parts: tuple["Part", ...] = ()

    def __str__(self) -> str:
        return self.text % self.parts if self.parts else self.text


def even(count):
    return count % 2 == 0


def more_and_more(count):
    return 1 + count


def halving(count):
    return 0.1 * 0.5 ** jnp.asarray(count, jnp.float32)


def matrices(params):
    return jax.tree.map(lambda p: jnp.ndim(p) > 1, params)


def by_rank(params):
    return jax.tree.map(lambda p: "a" if jnp.ndim(p) > 1 else "b", params)


def is_matrix(path, leaf):
    return len(leaf.shape) > 1


FUNCTIONS = (even, more_and_more, halving, matrices, by_rank, is_matrix)
NAMES = {name: getattr(ol, name) for name in dir(ol)} | {f.__name__: f for f in FUNCTIONS}
NAMES |= {
    "function_schedule": function_schedule,
    "combined": _combined,
    "add": np.add,
    "jnp": jnp,
    "truediv": None,
}

MASKS = ("'w'", "['!b']", "('w*', '!wide')", "matrices", "TREE")
TESTS = ("'w'", "('b', 's')", "is_matrix", "'*'", "('!w',)")


# of the loss, on the tree of their tests
OF_A_FUNCTION = ("hutchinson_estimator_diag_hessian", "sophia")


def settings() -> Iterator[tuple[Any, str]]:
    """Every setting of every row that can be written down, with the row."""
    for row in ROWS:
        if row.factory.traits.get("per_example") or row.factory.__name__ in OF_A_FUNCTION:
            continue
        for setting in row.settings:
            text = f"{row.factory.__name__}({', '.join(f'{k}={v!r}' for k, v in setting.items())})"
            try:
                if eval(text, dict(NAMES)) == row.factory(**setting):
                    yield row, text
            except (
                SyntaxError,
                NameError,
                TypeError,
            ):  # a function of the tests, or numbers with names
                pass


def catalogue() -> dict[str, dict[str, list[str]]]:
    """The settings by kind of factory and name."""
    found: dict[str, dict[str, list[str]]] = {
        kind: {} for kind in ("optimizer", "direction", "other")
    }
    for row, text in settings():
        tx = row.factory(**row.settings[0])
        module = row.factory.__module__.removeprefix("optax_lite.").split(".")[0]
        is_rule = module == "optimizers"
        kind = "other" if not is_rule else "optimizer" if descends(tx) else "direction"
        found[kind].setdefault(row.factory.__name__, []).append(text)
    return found


WRAPPERS = (
    "accumulate(%s, 2)",
    "accumulate(%s, 2, reduce='sum')",
    "accumulate(%s, more_and_more)",
    "accumulate(%s, 2, reduce='weighted')",
    "MultiSteps(%s, 2)",
    "apply_if_finite(%s, 2)",
    "average_params(%s)",
    "average_params(%s, decay=0.9)",
    "average_params(%s, start=1, every=2)",
    "average_params(%s, decay=linear_schedule(0.5, 0.9, 5))",
    "chain(clip_by_global_norm(1.0), %s)",
    "chain(zero_nans(), %s)",
    "chain(clip(0.5), adaptive_grad_clip(0.1), %s)",
    "conditionally_mask(%s, even)",
    "conditionally_transform(%s, even)",
    "flatten(%s)",
    "inject_hyperparams(%s)",
    "inject_hyperparams(%s, hyperparam_dtype=jnp.bfloat16)",
    "kahan(%s)",
    "lookahead(%s, 2, 0.5)",
    "lookahead(%s, 2, 0.5, reset_state=True)",
    "loss_scaling(%s)",
    "master_weights(%s)",
    "mechanize(%s)",
    "chain(monitor({'norm': global_norm, 'slow': measure_with_ema(global_norm, 0.9)}), %s)",
    "chain(snapshot('norm', global_norm), %s)",
    "schedule_free(%s, 0.1)",
    "skip_bad_steps(%s)",
    "skip_bad_steps(%s, outlier=3.0, window=2)",
    "skip_bad_steps(%s, loss_outlier=6.0, max_consecutive=3)",
    "stochastic_rounding(%s)",
    "with_metrics(%s)",
    "quantize_state(%s, min_size=1)",
    "quantize_state(%s, min_size=4)",
    "with_state_dtype(%s, 'bfloat16')",
    "with_state_dtype(%s, {'mu': 'bfloat16'})",
    "chain(%s, scale(0.5))",
    "chain(%s, apply_every(2))",
    "chain(%s, reduce_on_plateau(patience=1))",
    "chain(%s, keep_params_nonnegative())",
    "split_real_and_imaginary(%s)",
    "named_chain(('first', centralize()), ('second', %s))",
    "chain(%s, scale_by_backtracking_linesearch(3))",
    "chain(%s, scale_by_zoom_linesearch(3))",
    "chain(%s, add_noise(0.1, 0.5, jax.random.key(3)))",
    "chain(%s, independent_weight_decay(0.01))",
    "sam(%s, sgd(0.05))",
    "sam(%s, sgd(0.05), opaque_mode=True)",
    "chain(normalize_by_update_norm(), %s)",
)
BY_PATH = (
    "groups(%s, {TEST: {'learning_rate': 0.2}}, strict=False)",
    "groups(%s, [(TEST, 'freeze')], strict=False)",
    "groups(sgd(0.1), {TEST: %s}, strict=False)",
    "masked(%s, MASK)",
    "selective_transform(%s, freeze_mask=MASK)",
    "chain(%s, freeze(MASK))",
    "chain(freeze(MASK), %s)",
    "partition({'a': %s, 'b': set_to_zero()}, LABELS)",
    "chain(add_decayed_weights(0.1, MASK), %s)",
    "groups(%s, {TEST: {'b1': 0.5}, 'w': 'freeze'}, strict=False)",
)
OF_TWO = (
    "partition({'a': %s, 'b': %s}, LABELS)",
    "groups(%s, {TEST: %s}, strict=False)",
    "sam(%s, %s)",
)
OF_DIRECTIONS = (
    "cautious(%s)",
    "galore(0.1, 1, base_optimizer=%s)",
    "flatten(%s)",
    "with_state_dtype(%s, 'bfloat16')",
    "quantize_state(%s, min_size=1)",
    "masked(%s, MASK)",
    "split_real_and_imaginary(%s)",
    "apply_if_finite(%s, 2)",
    "chain(%s, scale_by_trust_ratio())",
    "scale_by_galore(1, base_optimizer=%s)",
    "inject_hyperparams(%s)",
    "accumulate(%s, 2)",
    "conditionally_transform(%s, even)",
    "chain(ema(0.5), %s)",
    "chain(%s, centralize())",
    "groups(%s, {TEST: {'b1': 0.5}}, strict=False)",
    "chain(%s, scale_by_param_block_norm())",
)
ENDS = (
    "scale_by_learning_rate(0.1)",
    "scale(-0.1)",
    "scale_by_learning_rate(halving)",
    "scale_by_learning_rate(cosine_decay_schedule(0.1, 5))",
    "scale_by_schedule(constant_schedule(-0.1))",
)


class Draw:
    """Compositions of one seed."""

    def __init__(self, seed: str, of: dict[str, dict[str, list[str]]]):
        self.random, self.of = random.Random(seed), of

    def setting(self, kind: str) -> Part:
        return Part(self.random.choice(self.of[kind][self.random.choice(list(self.of[kind]))]))

    def filled(self, text: str) -> str:
        r = self.random
        labels = r.choice(("by_rank", "LABEL_TREE"))
        text = (
            text.replace("LABELS", labels)
            .replace("MASK", r.choice(MASKS))
            .replace("TEST", r.choice(TESTS))
        )
        return text

    def direction(self, depth: int) -> Part:
        if depth <= 0 or self.random.random() < 0.6:
            return self.setting("direction")
        return Part(self.filled(self.random.choice(OF_DIRECTIONS)), (self.direction(depth - 1),))

    def optimizer(self, depth: int) -> Part:
        r = self.random
        if depth <= 0 or r.random() < 0.08:
            return self.setting("optimizer")
        kind = r.random()
        if kind < 0.2:
            before = (self.setting("other"),) * (r.random() < 0.3)
            links = (*before, self.direction(depth - 1), *self.decay(), Part(r.choice(ENDS)))
            return Part(f"chain({', '.join(['%s'] * len(links))})", links)
        if kind < 0.6:
            return Part(r.choice(WRAPPERS), (self.optimizer(depth - 1),))
        if kind < 0.9:
            return Part(self.filled(r.choice(BY_PATH)), (self.optimizer(depth - 1),))
        return Part(
            self.filled(r.choice(OF_TWO)), (self.optimizer(depth - 1), self.optimizer(depth - 2))
        )

    def decay(self) -> tuple[Part, ...]:
        return (Part(self.filled("add_decayed_weights(0.1, MASK)")),) * (self.random.random() < 0.3)

    def leaves(self) -> tuple[str, ...]:
        """Names of leaves; w and b are there always, as they are what masks name."""
        return (
            "w",
            "b",
            *(name for name in LEAVES if name not in "wb" and self.random.random() < 0.25),
        )

    def case(self, seed: str) -> "Case":
        part, names = self.optimizer(self.random.randint(1, 4)), self.leaves()
        if "flatten" in str(part):  # every parameter must have its gradient there
            names = tuple(name for name in names if name != "untouched")
        return Case(seed, part, names)


# --- what they are given --------------------------------------------------------------------------

SHAPES: dict[str, tuple] = {
    "w": (2, 3),
    "b": (3,),
    "s": (),
    "empty": (0, 2),
    "wide": (4, 5),
    "one": (1,),
}
LEAVES = (
    "w",
    "b",
    "s",
    "empty",
    "none",
    "count",
    "flag",
    "complex",
    "half",
    "single",
    "twins",
    "wide",
    "untouched",
)
STEPS = 3


def tree_of(names: tuple[str, ...], numbers: np.random.Generator, *, gradient: bool) -> dict:
    """Parameters, or gradients of them, for the names of leaves."""

    def draw(shape, dtype=jnp.float64):
        return jnp.asarray(numbers.normal(size=shape), dtype)

    made: dict[str, Callable[[], Any]] = {
        **{name: lambda shape=shape: draw(shape) for name, shape in SHAPES.items()},
        "none": lambda: None,
        "count": lambda: None if gradient else jnp.arange(2),
        "flag": lambda: None if gradient else jnp.array(True),
        "complex": lambda: draw((2,), jnp.complex128) + 1j * draw((2,), jnp.complex128),
        "half": lambda: draw((2, 3), jnp.bfloat16),
        "single": lambda: draw((3, 2), jnp.float32),
        "twins": lambda: {"a/b": draw((2,)), "a": {"b": draw((2,))}},
        "untouched": lambda: None if gradient else draw((3,)),
    }
    return {name: made[name]() for name in names}


class Case(NamedTuple):
    """A composition and the leaves it is given; its numbers come from the seed."""

    seed: str
    part: Part
    names: tuple[str, ...]

    def text(self) -> str:
        tree = {name: name in ("w", "complex", "none", "wide") for name in self.names}
        labels = {name: "a" if yes else "b" for name, yes in tree.items()}
        return str(self.part).replace("LABEL_TREE", repr(labels)).replace("TREE", repr(tree))

    def build(self) -> ol.GradientTransformation:
        return eval(self.text(), NAMES | {"jax": jax})

    def smaller(self) -> Iterator["Case"]:
        """The same without a leaf, or with a part in place of what is around it."""
        for name in self.names:
            if name not in "wb":
                yield self._replace(names=tuple(n for n in self.names if n != name))
        for part in smaller_parts(self.part):
            yield self._replace(part=part)


PLAIN = Part("sgd(0.1)")


def smaller_parts(part: Part) -> Iterator[Part]:
    yield from part.parts
    if part.parts and part != PLAIN:
        yield PLAIN
    elif part.text not in (PLAIN.text, "scale_by_adam()", "adam(0.1)"):
        yield from (PLAIN, Part("adam(0.1)"), Part("scale_by_adam()"))
    if part.text.startswith("chain(%s"):
        for i in range(len(part.parts)):
            left = part.parts[:i] + part.parts[i + 1 :]
            yield Part(f"chain({', '.join(['%s'] * len(left))})", left)
    for i, inner in enumerate(part.parts):
        for less in smaller_parts(inner):
            yield part._replace(parts=(*part.parts[:i], less, *part.parts[i + 1 :]))


# --- the laws -------------------------------------------------------------------------------------


class Broken(AssertionError):
    """A law that a composition breaks, and how."""

    def __init__(self, law: str, how: str):
        super().__init__(f"{law}: {how}")
        self.law = law


class Refused(Exception):
    """A composition that is refused, and told why."""


def of_ours(error: BaseException) -> bool:
    """Whether an error says, in words, which factory refuses what, or which argument does not fit
    the params.
    """
    text = str(error).split("\n")[0]
    told = re.match(r"(leaf '.*'|[a-z]\w*(\.\w+)?( of \w+)?): |the mask and the params ", text)
    told = told or isinstance(error, ArgumentError)
    if isinstance(error, StateError):
        return False
    return isinstance(error, (ValueError, TypeError)) and bool(told) and "PyTreeDef" not in text


# What depends on the leaves that are given, and so cannot be known before `init`.
OF_LEAVES = (
    "complex",
    "matches no leaf",
    "real",
    "no effect",
    "needs at least",
    "is not a matrix",
    "no slot is named",
)
OF_LEAVES += ("must name axes of leaf",)


TOLD_LATE = {
    "galore": "needs the parameters",  # its base sees none, and says so in the first update
    # inside there is one leaf, and a mask has others
    "flatten": "the mask and the params have different structures",
}


def guarded(law: str, run: Callable[[], Any], *, building: bool = False, about: str = "") -> Any:
    """Run a part of the laws; an error breaks the law unless it is a refusal."""
    try:
        return run()
    except (Broken, Refused):
        raise
    except Exception as error:
        told_late = [*OF_LEAVES, *(word for factory, word in TOLD_LATE.items() if factory in about)]
        if of_ours(error) and (building or any(word in str(error) for word in told_late)):
            raise Refused(re.sub(r"'.*?'|\d+", "", str(error))[:70]) from error
        raise Broken(law, f"{type(error).__name__}: {str(error)[:300]}") from error


def outline(tree):
    leaves, treedef = jax.tree.flatten(tree)
    return treedef, [(jnp.shape(x), jnp.result_type(x)) for x in leaves]


def same(law: str, got: Any, expected: Any) -> None:
    if outline(got) != outline(expected):
        raise Broken(law, f"{outline(got)} is not {outline(expected)}"[:600])


def loss(params):
    leaves = [p for p in jax.tree.leaves(params) if jnp.issubdtype(jnp.result_type(p), jnp.inexact)]
    return sum(
        jnp.sum(jnp.abs(p.astype(jnp.complex128 if jnp.iscomplexobj(p) else jnp.float64)) ** 2)
        for p in leaves
    )


def grad_fn(params, step=0):
    def one(p):
        return 2 * p.conj() if jnp.issubdtype(p.dtype, jnp.inexact) else None

    return jax.tree.map(one, params)


def extras(text: str, gradient, params) -> dict[str, Any]:
    """The extra arguments that something in the text asks for."""
    extra: dict[str, Any] = {}
    if re.search("linesearch|lbfgs", text):
        extra |= {"value": loss(params), "grad": gradient, "value_fn": loss}
    if re.search("plateau|momo|polyak|loss_outlier", text):
        extra |= {"value": loss(params)}
    if "opaque" in text:
        extra |= {"grad_fn": grad_fn}
    if "weighted" in text:
        extra |= {"weight": jnp.asarray(2.0)}
    return extra


def shapes_hold(tx, params, gradient, text) -> Any:
    """Laws of structures, shapes and dtypes; returns the shapes of the state."""
    state = guarded("init", lambda: jax.eval_shape(tx.init, params), about=text)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), params)
    same("init of shapes is init", guarded("init of shapes", lambda: tx.init(shapes)), state)

    def call(kind):
        return lambda g, s, p: getattr(tx, kind)(g, s, p, **extras(text, g, p))

    updates, new = guarded(
        "update", lambda: jax.eval_shape(call("update"), gradient, state, params), about=text
    )
    same("update keeps the state", new, state)
    same("updates are as gradients", updates, gradient)
    stepped, new = guarded("step", lambda: jax.eval_shape(call("step"), gradient, state, params))
    same("step keeps the state", new, state)
    same("step keeps the params", stepped, params)
    return state


def readers_read(tx, params, state) -> None:
    """What reads a state by its parameters."""
    explanation = guarded("explain", lambda: ol.explain(tx, params))
    size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves((state, params)))
    if explanation.totals["bytes"] != size or len({row.path for row in explanation.rows}) != len(
        jax.tree.leaves(params)
    ):
        raise Broken("explain", f"{explanation.totals['bytes']} bytes for {size}")
    guarded("str of explain", lambda: str(explanation))
    evaluated = guarded(
        "eval_params", lambda: jax.eval_shape(lambda s, p: ol.eval_params(tx, s, p), state, params)
    )
    same("eval_params are params", evaluated, params)
    again = guarded(
        "reset", lambda: jax.eval_shape(lambda s, p: ol.reset(s, tx, p, where="b"), state, params)
    )
    same("reset keeps the state", again, state)
    told = []

    def carried(state, params):
        new, report = ol.transfer(state, tx, params)
        told.append(report)
        return new

    same(
        "transfer keeps the state",
        guarded("transfer", lambda: jax.eval_shape(carried, state, params)),
        state,
    )
    lost = [path for path in (*told[0].new, *told[0].dropped) if "hyperparams" not in path]
    if lost:
        raise Broken("transfer", f"a state carried into its own optimizer loses {lost}")


def is_data(tx, text: str) -> None:
    """What holds for a call kept as data."""
    if guarded("pickle", lambda: pickle.loads(pickle.dumps(tx))) != tx:
        raise Broken("pickle", "another one")
    numbers = dict(tx.hyperparams)
    if (
        guarded(
            "replace",
            lambda: tx.replace({path: x for path, x in numbers.items() if np.ndim(x) == 0}),
        )
        != tx
    ):
        raise Broken("replace", "the same numbers make another optimizer")
    if not re.search("groups|MultiSteps|key|<function|named_chain|monitor", text + repr(tx)):
        names = NAMES | {"inject_hyperparams": injected, "bfloat16": "bfloat16"}
        again = guarded("repr", lambda: eval(repr(tx), names))
        if again != tx and "dtype" not in text:
            raise Broken("repr", f"{tx!r} evaluates to another one")


def injected(inner, **more):
    return ol.inject_hyperparams(inner, **more)


def runs(tx, params, gradients, text):
    """Params, states and updates of some steps, by update and by step."""

    def by_update(tx, params, gradients):
        def body(carry, g):
            params, state = carry
            updates, state = tx.update(g, state, params, **extras(text, g, params))
            after = ol.apply_updates(params, updates), state
            return after, after

        return jax.lax.scan(body, (params, tx.init(params)), gradients)[1]

    def by_step(tx, params, gradients):
        def body(carry, g):
            after = tx.step(g, carry[1], carry[0], **extras(text, g, carry[0]))
            return after, after

        return jax.lax.scan(body, (params, tx.init(params)), gradients)[1]

    return by_update, by_step


def apart(a, b) -> float:
    """The largest difference of two trees, relative to the largest entry of a leaf."""
    worst = 0.0
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        if not jnp.issubdtype(x.dtype, jnp.inexact):
            continue
        x, y = (np.asarray(z, np.complex128 if jnp.iscomplexobj(z) else np.float64) for z in (x, y))
        if not np.array_equal(np.isfinite(x), np.isfinite(y)):
            return np.inf
        size = max(np.max(np.abs(y[np.isfinite(y)]), initial=0.0), 1e-3)
        worst = max(worst, np.max(np.abs(x - y)[np.isfinite(y)], initial=0.0) / size)
    return worst


def values_hold(tx, params, gradients, text, eagerly) -> None:
    """Laws of numbers, in two programs: updates alone, and a population of two by steps."""
    by_update, by_step = runs(tx, params, gradients, text)
    second = jax.tree.map(lambda x: x if is_count(x) else 0.9 * x, tx)
    both = jax.tree.map(lambda x, y: x if is_count(x) else jnp.array([x, y]), tx, second)
    axes = jax.tree.map(lambda x: None if is_count(x) else 0, tx)
    together = jax.jit(jax.vmap(by_step, in_axes=(axes, None, None), axis_size=2))
    after = guarded("vmap of steps", lambda: together(both, params, gradients))
    alone = jax.jit(by_update)
    expected = guarded(
        "scan of updates", lambda: [alone(one, params, gradients) for one in (tx, second)]
    )
    finite = [bool(jnp.all(jnp.isfinite(p))) for p in jax.tree.leaves(expected[0][0])]
    if not all(finite):
        raise Broken("finite in, finite out", f"params: {expected[0][0]}"[:500])
    # What is rounded to few digits may fall on either side, and a rule may enlarge that in the
    # steps that follow.
    is_rounded = re.search("half|single|rounding|kahan|bfloat16|quantize", text)
    bound, seen = (1e-2, 1) if is_rounded else (1e-6, STEPS)
    for i, one in enumerate(expected):
        got, one = (
            jax.tree.map(lambda x, i=i: x[i, :seen], after),
            jax.tree.map(lambda x: x[:seen], one),
        )
        if (off := apart(got[0], one[0])) > bound:
            raise Broken(
                "a population by steps is a loop of updates", f"member {i} is {off:.1e} apart"
            )
    if not eagerly:
        return
    first = jax.tree.map(lambda g: g[0], gradients)
    eager = guarded("eager step", lambda: eager_step(tx, first, params, text))
    if (off := apart(eager[0], jax.tree.map(lambda x: x[0, 0], after)[0])) > bound:
        raise Broken("eager is jit", f"{off:.1e} apart")


def eager_step(tx, gradient, params, text):
    return tx.step(gradient, tx.init(params), params, **extras(text, gradient, params))


def is_count(x) -> bool:
    return hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def check(case: Case, *, compiled: bool | None = None) -> None:
    """Raise `Broken` if a law does not hold, `Refused` if there is nothing to look at; compile a
    third by default.
    """
    tx = guarded("built or refused", case.build, building=True)
    numbers = np.random.default_rng(hash_of(case.seed))
    params = tree_of(case.names, numbers, gradient=False)
    each = [tree_of(case.names, numbers, gradient=True) for _ in range(STEPS)]
    text = case.text()
    is_data(tx, text)
    state = shapes_hold(tx, params, each[0], text)
    readers_read(tx, params, state)
    drawn = hash_of(case.seed) % 9
    if compiled if compiled is not None else drawn % 3 == 0:
        gradients = jax.tree.map(lambda *xs: jnp.stack(xs), *each)
        values_hold(tx, params, gradients, f"{text} {case.names}", eagerly=drawn == 0)


def hash_of(seed: str) -> int:
    return random.Random(seed).randrange(2**32)


def shrunk(case: Case, law: str, tries: int = 60) -> tuple[Case, Broken]:
    """The smallest case found for which the same law fails."""
    found = None
    while True:
        for smaller in itertools.islice(case.smaller(), tries):
            try:
                check(smaller)
            except Broken as error:
                if error.law == law:
                    case, found = smaller, error
                    break
            except Refused:
                pass
        else:
            break
    if found is None:
        try:
            check(case)
        except Broken as error:
            found = error
    assert found is not None
    return case, found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None, help="of the run; a fresh one by default")
    parser.add_argument("--case", type=int, default=None, help="this one of the seed alone")
    parser.add_argument("--as-found", action="store_true", help="make no find smaller")
    parser.add_argument("--finds", type=int, default=1, help="go on until so many")
    given = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    jax.config.update("jax_compilation_cache_dir", None)  # nothing here is compiled twice
    print(f"seed {seed}", flush=True)
    end, counts, refusals, of = time.monotonic() + given.seconds, Counter(), Counter(), catalogue()
    finds = 0
    with jax.enable_x64(True):
        for i in itertools.count() if given.case is None else [given.case]:
            if time.monotonic() > end or finds >= given.finds:
                break
            draw = Draw(f"{seed}:{i}", of)
            case = draw.case(f"{seed}:{i}")
            try:
                check(case, compiled=True if given.case is not None else None)
                counts["hold"] += 1
            except Refused as refusal:
                counts["refused"] += 1
                refusals[str(refusal)] += 1
            except Broken as broken:
                finds += 1
                print(
                    f"\nfind {finds}: --seed {seed} --case {i}: {broken}\n  {case.text()}\n  "
                    f"leaves {case.names}"
                )
                small, broken = (case, broken) if given.as_found else shrunk(case, broken.law)
                print(f"smaller: {broken}\n  {small.text()}\n  leaves {small.names}", flush=True)
                if broken.__cause__ is not None:
                    lines = traceback.format_exception(broken.__cause__)
                    print("".join(lines)[-1500:], flush=True)
            if i % 40 == 39:
                jax.clear_caches()
    print(
        f"seed {seed}: {counts['hold']} compositions hold, {counts['refused']} are refused, "
        f"{finds} finds"
    )
    for text, times in refusals.most_common(12):
        print(f"  {times:4} refused: {text}")
    return min(finds, 1)


if __name__ == "__main__":
    sys.exit(main())
