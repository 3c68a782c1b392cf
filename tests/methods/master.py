"""Master weights in float32 (Micikevicius et al. 2018)."""

import optax_lite as ol
from tests.methods.bases import BASES, bad_tx, plain, with_base_of
from tests.methods.kahan import untouched
from tests.methods.row import Quirks, Row

ROWS: tuple[Row, ...] = (
    Row(
        ol.master_weights,
        untouched,
        tuple({"tx": tx} for tx in BASES),
        (bad_tx, ({"tx": ol.kahan(plain)}, "kahan is inside, and both round the parameters")),
        quirks=Quirks(translate=with_base_of("tx"), unseen=("master",)),
    ),
)
