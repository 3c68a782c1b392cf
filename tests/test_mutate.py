"""The mutation machinery: unchanged rules pass, famous mistakes do not."""

import ast

import jax
import pytest

from tests.equivalent import EQUIVALENT
from tests.mutate import Mutant, killer, modules, mutants, source
from tests.nightly import first

ADAM, RMSPROP, SCHEDULES = (
    "optax_lite.optimizers.adam",
    "optax_lite.optimizers.rmsprop",
    "optax_lite._schedules",
)

ACCUMULATE, SKIP = "optax_lite.wrappers.accumulate", "optax_lite.wrappers.skip"
AVERAGE, LOOKAHEAD = "optax_lite.wrappers.average", "optax_lite.wrappers.lookahead"
RULES = "optax_lite.wrappers._rules"
KAHAN, LOSS_SCALING = "optax_lite.wrappers.kahan", "optax_lite.wrappers.loss_scaling"

# What somebody did write somewhere, or what one-line tests do not notice: module, rule, right,
# wrong.
FAMOUS = {
    "no bias correction": (
        ADAM,
        "first_moment_estimate",
        "if nesterov else m / c",
        "if nesterov else m",
    ),
    "exponent off by one": (ADAM, "scale_by_adam", "(b2, t)", "(b2, t + 1)"),
    "step never advances": (ADAM, "scale_by_adam", "increment(state.count)", "state.count + 0"),
    "eps inside the root": (
        ADAM,
        "scale_by_adam",
        "sqrt(v / c2 + eps_root) + eps",
        "sqrt(v / c2 + eps_root + eps)",
    ),
    "Nesterov ignored": (
        ADAM,
        "first_moment_estimate",
        "/ c if nesterov else",
        "/ c if False else",
    ),
    "look-ahead not corrected ahead": (ADAM, "first_moment_estimate", "m / c_next", "m / c"),
    "b1 and b2 swapped": (
        ADAM,
        "scale_by_adam",
        "moving_average(b1, m, g)",
        "moving_average(b2, m, g)",
    ),
    "no square": (ADAM, "scale_by_adam", "abs_sq(g)", "abs(g)"),
    "decay before the scaling": (
        ADAM,
        "adamw",
        "scale_by_adam(b1,",
        "add_decayed_weights(0.1), scale_by_adam(b1,",
    ),
    "default changed": (
        ADAM,
        "adam",
        "b2: ScalarOrSchedule = 0.999",
        "b2: ScalarOrSchedule = 0.99",
    ),
    "eps on the wrong side": (RMSPROP, "over_root", "if eps_in_sqrt", "if not eps_in_sqrt"),
    "warm-up a step late": (
        SCHEDULES,
        "_fraction",
        "since(count, begin)",
        "since(count, begin) + 1",
    ),
    "a sum for a mean": (ACCUMULATE, "accumulate", "total / share, here", "total, here"),
    "a bad step counts as good": (
        SKIP,
        "skip_bad_steps",
        "norms, good & finite, window",
        "norms, good | True, window",
    ),
    "no debias": (
        AVERAGE,
        "average_params",
        "where(weight == 0, 1, weight)",
        "where(weight == weight, 1, weight)",
    ),
    "fast and slow swapped": (
        LOOKAHEAD,
        "lookahead",
        "def rule(u, phi, theta)",
        "def rule(u, theta, phi)",
    ),
    "no compensation": (KAHAN, "kahan", "y = u + c.astype(jnp.float32)", "y = u"),
    "the first rule wins": (
        RULES,
        "GroupRules",
        "place: name\n",
        "place: source.get(place, name)\n",
    ),
    "a scale that never grows": (
        LOSS_SCALING,
        "loss_scaling",
        "where(due, growth_factor, 1.0)",
        "where(due, 1.0, 1.0)",
    ),
}


@pytest.fixture(autouse=True)
def as_in_a_run(x64):
    with jax.disable_jit():
        yield


@pytest.mark.nightly
@pytest.mark.parametrize("module", [RMSPROP, ADAM, SCHEDULES])
def test_unchanged_rules_pass(module):
    assert killer(Mutant(module, "(module)", 0, "nothing", source(module))) == ""


@pytest.mark.parametrize(
    ("module", "rule", "right", "wrong"), first(8, FAMOUS.values()), ids=FAMOUS
)
def test_famous_mistakes_are_noticed(module, rule, right, wrong):
    assert right in source(module)
    assert killer(
        Mutant(module, rule, 0, f"{right} -> {wrong}", source(module).replace(right, wrong))
    )


@pytest.mark.nightly
def test_every_module_has_mutants_that_differ_in_one_place():
    for module in modules():
        made = list(mutants(module))
        original = ast.unparse(ast.parse(source(module))).splitlines()
        assert made
        assert len({(m.rule, m.change) for m in made}) == len(made)
        for m in made[:: len(made) // 5 + 1]:
            lines = ast.unparse(ast.parse(m.code)).splitlines()
            assert lines != original
            if len(lines) == len(original):
                assert sum(a != b for a, b in zip(lines, original, strict=True)) == 1


def test_documentation_checks_and_static_lists_stay():
    code = '''
@transform(static=("mask",))
def rule(b1=0.5, b2: ScalarOrSchedule = 2, *, nesterov=False):
    """Uses 1 - b1."""
    check_unit_interval(b1=b1, limit=1)
    if b1 > 3:
        raise ValueError(f"{b1 + 1}")
    return b1
'''
    changes = {m.change for m in mutants_of(code)}
    assert changes == {
        "default of b1: 0.5 -> 0.25",
        "default of b2: 2 -> 3",
        "default of nesterov: False -> True",
        "return b1 -> return b2",
    }


def test_an_unchanged_rule_is_not_a_mutant():
    code = (
        "def rule(where, low, high):\n    return where(low, 1.5) if low is None else "
        "jnp.where(low, high, 1.5)"
    )
    changes = [m.change.split(" -> ") for m in mutants_of(code)]
    assert changes and all(before != after for before, after in changes)


def mutants_of(code):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.mutate.source", lambda module: code)
        return list(mutants("optax_lite.example"))


@pytest.mark.nightly
def test_every_equivalence_has_a_proof_and_is_made():
    made = {(m.rule, m.change) for module in modules() for m in mutants(module)}
    assert {(rule, change) for rule, changes in EQUIVALENT.items() for change in changes} <= made
    assert all(len(proof) > 20 for proofs in EQUIVALENT.values() for proof in proofs.values())
