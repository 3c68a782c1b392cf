"""The rules of `groups`, which a row cannot express: which rule a leaf follows."""

import optax_lite as ol


def _the_later_rule_wins(namespace):
    rules = {"a": {"learning_rate": 2.0}, "a*": {"learning_rate": 3.0}}
    plan = namespace["GroupRules"](ol.sgd(1.0), rules, {}, {}, True)
    labels = plan.labels({"a": 1.0, "ab": 1.0, "b": 1.0})
    return labels == {"a": "a*", "ab": "a*", "b": "base"} and plan.transformation("a*") == ol.sgd(
        3.0
    )


PROBES = {"optax_lite.wrappers._rules": {"later": _the_later_rule_wins}}
