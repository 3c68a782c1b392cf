"""Compositions that the fuzzer once found broken, traced under the same laws."""

import pytest

from tests.fuzz import Case, Part, Refused, check

FOUND = {  # the composition, and leaves besides w and b
    "a state that starts again where a leaf has no gradient": (
        "sam(sgd(0.1, 0.9), adam(0.1), opaque_mode=True)",
        ("untouched",),
    ),
    "a state that starts again, with labels by a function of the params": (
        "sam(sgd(0.1), partition({'a': adam(0.1), 'b': sgd(0.1, 0.9)}, by_rank))",
        ("flag", "wide"),
    ),
    "the same of lookahead": (
        (
            "lookahead(partition({'a': adam(0.1), 'b': sgd(0.1, 0.9)}, by_rank), 2, 0.5, "
            "reset_state=True)"
        ),
        ("flag", "untouched"),
    ),
    "a state that starts again in 8 bits": (
        "quantize_state(sam(sgd(0.1), adam(0.1)), min_size=1)",
        (),
    ),
    "a step of a part of a part, by a function": (
        (
            "groups(partition({'a': sgd(0.1, 0.9), 'b': set_to_zero()}, by_rank), [('w', "
            "'freeze')], strict=False)"
        ),
        ("empty",),
    ),
    "a gate in a part of a part, by a function": (
        "groups(masked(accumulate(sgd(0.1), 2), matrices), [('w', 'freeze')], strict=False)",
        ("wide",),
    ),
    "rounding in a part of a part, by a function": (
        "groups(masked(kahan(sgd(0.1)), matrices), [('w', 'freeze')], strict=False)",
        ("half",),
    ),
    "a mask by a function where a leaf has no gradient and a copy": (
        "sam(masked(sgd(0.1), matrices), sgd(0.1))",
        ("untouched",),
    ),
    "a line search in a group": (
        (
            "groups(chain(sgd(0.1), scale_by_zoom_linesearch(3)), {'b': {'learning_rate': 0.2}, "
            "'w': 'freeze'})"
        ),
        ("half", "untouched"),
    ),
    "a gradient function for two": (
        "sam(sam(sgd(0.1), sgd(0.05), opaque_mode=True), sgd(0.05), opaque_mode=True)",
        (),
    ),
    "a gradient function in a group": (
        "selective_transform(sam(sgd(0.1), sgd(0.05), opaque_mode=True), freeze_mask='w')",
        ("s",),
    ),
}


@pytest.mark.parametrize(("text", "names"), FOUND.values(), ids=FOUND)
def test_cases_found_by_the_fuzzer_hold(text, names, x64):
    check(Case(text, Part(text), ("w", "b", *names)), compiled=False)


def test_a_hyperparameter_that_its_dtype_rounds_out_of_range_is_refused():
    """In bfloat16 0.999 is 1: Adam divided by 0."""
    text = "inject_hyperparams(adam(0.1), hyperparam_dtype=jnp.bfloat16)"
    with pytest.raises(Refused) as refused:
        check(Case(text, Part(text), ("w", "b")), compiled=False)
    problem = (
        "inject_hyperparams: in bfloat16 b2 must be in [0, 1), got 1.0; leave hyperparam_dtype out"
    )
    assert problem in str(refused.value.__cause__)
