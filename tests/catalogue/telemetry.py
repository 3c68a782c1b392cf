"""The rows of what watches an optimizer."""

from functools import partial

import optax_lite as ol
from tests.catalogue.row import Row
from tests.reference import adam, clip, metrics, sgd
from tests.reference.lift import leafwise


def descent(learning_rate, momentum=None):
    """An optimizer, as the factory and as the reference take it, and its learning rate."""
    rule = partial(sgd.sgd, learning_rate=learning_rate, momentum=momentum, nesterov=False)
    return ol.sgd(learning_rate, momentum), leafwise(rule), learning_rate


def adaptive(learning_rate, b1, b2, eps):
    settings = {"learning_rate": learning_rate, "b1": b1, "b2": b2, "eps": eps}
    return ol.adam(**settings), leafwise(partial(adam.adam, **settings, eps_root=0.0, nesterov=False)), learning_rate


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
    clipped(max_norm, *watched) for max_norm, watched in zip((0.5, 64, 16, 2.0**20, 0, 1, 32, 48), WATCHED, strict=True)
)
KNOWN = {tx: dict(zip(("base", "learning_rate", "max_norm"), rest, strict=False)) for tx, *rest in (*WATCHED, *CLIPPED)}


def known(arguments):
    return {"max_norm": None} | KNOWN[arguments["tx"]]


# Through `step` the norm is that of the difference of the parameters, each of which is rounded.
stepped = 5e-6

ROWS: tuple[Row, ...] = (
    Row(
        ol.with_metrics,
        metrics.with_metrics,
        tuple({"tx": tx} for tx, *_ in WATCHED),
        ({"tx": 0.1}, "member tx must be a GradientTransformation, got 0.1"),
        whole_tree=True,
        translate=known,
        unseen=("clipped",),
        same_program=stepped,
    ),
    Row(
        ol.with_metrics,
        metrics.with_metrics,
        tuple({"tx": tx} for tx, *_ in CLIPPED),
        whole_tree=True,
        translate=known,
        same_program=stepped,
        variant=", clipped",
    ),
)
