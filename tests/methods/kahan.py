"""Compensated summation (Kahan 1965) of parameters and updates."""

import optax_lite as ol
from tests.methods.bases import BASES, bad_tx, plain, with_base_of
from tests.methods.row import Quirks, Row


def untouched(g, s, w, *, base, seed=0):
    u, s = base(g, s and s["base"], w)
    return u, {"base": s}


ROWS: tuple[Row, ...] = (
    Row(
        ol.kahan,
        untouched,
        tuple({"tx": tx} for tx in BASES),
        (bad_tx, ({"tx": ol.kahan(plain)}, "kahan is inside, and both round the parameters")),
        quirks=Quirks(translate=with_base_of("tx"), unseen=("compensation",)),
    ),
)
