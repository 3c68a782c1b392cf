"""The identity."""

import optax_lite as ol
from tests.methods.row import Row

ROWS: tuple[Row, ...] = (Row(ol.identity, lambda g, s, w: (g, {}), ({},)),)
