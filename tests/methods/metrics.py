"""The norms and counts that with_metrics keeps."""

from functools import partial

import numpy as np

import optax_lite as ol
from tests.methods import adam, clip, sgd
from tests.methods.bases import leafwise
from tests.methods.row import Quirks, Row


def with_metrics(g, s, w, *, base, learning_rate, max_norm):
    """The updates of the whole-tree reference `base`, and the norms and counts around them; g and w
    are lists.

    `max_norm` is None where no clip comes first.
    """
    u, s_base = base(g, None if s is None else s["base"], w)
    old = (
        {"count": 0, "clipped": 0, "nonfinite": 0, "nonfinite_leaves": np.zeros(len(g), bool)}
        if s is None
        else s
    )
    grad_norm = np.sqrt(sum(np.sum(np.abs(x) ** 2) for x in g))
    bad = np.array([not np.all(np.isfinite(x)) for x in g])
    if max_norm is not None:
        clipped = {"clipped": old["clipped"] + int(grad_norm > max_norm)}
    else:
        clipped = {}
    return u, {
        "base": s_base,
        "count": old["count"] + 1,
        "grad_norm": grad_norm,
        "update_norm": np.sqrt(sum(np.sum(np.abs(x) ** 2) for x in u)),
        "learning_rate": learning_rate,
        **clipped,
        "nonfinite": old["nonfinite"] + int(np.any(bad)),
        "nonfinite_leaves": bad if np.any(bad) else old["nonfinite_leaves"],
    }


def descent(learning_rate, momentum=None):
    """An optimizer, as the factory and as the reference take it, and its learning rate."""
    rule = partial(sgd.sgd, learning_rate=learning_rate, momentum=momentum, nesterov=False)
    return ol.sgd(learning_rate, momentum), leafwise(rule), learning_rate


def adaptive(learning_rate, b1, b2, eps):
    settings = {"learning_rate": learning_rate, "b1": b1, "b2": b2, "eps": eps}
    return (
        ol.adam(**settings),
        leafwise(partial(adam.adam, **settings, eps_root=0.0, nesterov=False)),
        learning_rate,
    )


def clipped(max_norm, tx, rule, learning_rate):
    """The same behind a clip."""

    def both(g, s, w):
        return rule(clip.clip_by_global_norm(g, None, w, max_norm=max_norm)[0], s, w)

    return ol.chain(ol.clip_by_global_norm(max_norm), tx), both, learning_rate, max_norm


# Numbers that are exact in float32.
WATCHED = (
    descent(0.5),
    descent(0.25),
    descent(2.0, 0.75),
    descent(0.5, 0.25),
    adaptive(0.25, 0.5, 0.75, 0.125),
    adaptive(1.0, 0.75, 0.875, 2.0**-30),
    adaptive(0.5, 0.0, 0.5, 0.5),
    adaptive(0.125, 0.875, 0.0, 1.0),
)
CLIPPED = tuple(
    clipped(max_norm, *watched)
    for max_norm, watched in zip((0.5, 64, 16, 2.0**20, 0, 1, 32, 48), WATCHED, strict=True)
)
KNOWN = {
    tx: dict(zip(("base", "learning_rate", "max_norm"), rest, strict=False))
    for tx, *rest in (*WATCHED, *CLIPPED)
}


def known(arguments):
    return {"max_norm": None} | KNOWN[arguments["tx"]]


# Through `step` the norm is that of the difference of the parameters, each of which is rounded.
stepped = 5e-6


ROWS: tuple[Row, ...] = (
    Row(
        ol.with_metrics,
        with_metrics,
        tuple({"tx": tx} for tx, *_ in WATCHED),
        (({"tx": 0.1}, "member tx must be a GradientTransformation, got 0.1"),),
        quirks=Quirks(whole_tree=True, translate=known, unseen=("clipped",), same_program=stepped),
    ),
    Row(
        ol.with_metrics,
        with_metrics,
        tuple({"tx": tx} for tx, *_ in CLIPPED),
        quirks=Quirks(whole_tree=True, translate=known, same_program=stepped, variant=", clipped"),
    ),
)
