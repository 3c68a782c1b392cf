"""Stochastic rounding of parameters of 16 bits."""

import optax_lite as ol
from tests.methods.bases import adaptive, bad_tx, heavy, plain, scaled, with_base_of
from tests.methods.kahan import untouched
from tests.methods.row import Quirks, Row, over


def counted(g, s, w, *, base, seed=0):
    u, state = untouched(g, s, w, base=base)
    return u, state | {"count": 1 if s is None else s["count"] + 1}


ROWS: tuple[Row, ...] = (
    Row(
        ol.stochastic_rounding,
        counted,
        tuple(over(tx=(heavy, plain, scaled, adaptive), seed=(0, 5))),
        (
            bad_tx,
            (
                {"tx": plain, "seed": 0.5},
                "seed must be an int or a key, such as jax.random.key(0), got 0.5",
            ),
            ({"tx": plain, "seed": True}, "seed must be an int or a key"),
        ),
        quirks=Quirks(translate=with_base_of("tx"), random=True),
    ),
)
