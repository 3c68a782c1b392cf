"""The rows of adaptive methods: Adam's relatives."""

from tests.catalogue.row import Row

ROWS: tuple[Row, ...] = ()
