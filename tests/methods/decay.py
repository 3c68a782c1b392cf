"""Weight decay added to the gradient (Krogh & Hertz 1991) or to the step (Wortsman et al. 2023)."""

import optax_lite as ol
from tests.methods.row import Quirks, Row, fast, rate


def add_decayed_weights(g, s, w, *, weight_decay):
    """Weight decay term (Krogh & Hertz 1991): g + lambda * w."""
    return g + weight_decay * w, {}


def independent_weight_decay(g, s, w, *, weight_decay, decayed=True):
    """Independent weight decay (Wortsman et al. 2023b, "Small-scale proxies", section 3.2.2): step
    - lambda * w.
    """
    # g is a finished step, to be added to w: the learning rate is in it and must not multiply the
    # decay.
    if not decayed:
        return g, {}
    return g - weight_decay * w, {}


def independent_weight_decay_parts(lib, weight_decay, mask=None):
    return lib.add_decayed_weights(weight_decay=-weight_decay, mask=mask)


ROWS: tuple[Row, ...] = (
    Row(
        ol.independent_weight_decay,
        independent_weight_decay,
        tuple({"weight_decay": d} for d in (0.0, 1e-4, 0.1, 1, -0.1, 3.0, rate, fast)),
        (({"weight_decay": "x"}, "weight_decay must be a number or a schedule, got 'x'"),),
        stands_for=independent_weight_decay_parts,
        quirks=Quirks(unlike=("mask",)),
    ),
    Row(
        ol.add_decayed_weights,
        add_decayed_weights,
        ({}, *({"weight_decay": d} for d in (0.0, 1e-4, 0.1, 1, -0.1, 3.0, rate, fast))),
        (({"weight_decay": "x"}, "weight_decay must be a number or a schedule"),),
        quirks=Quirks(unlike=("mask",)),
    ),
)
