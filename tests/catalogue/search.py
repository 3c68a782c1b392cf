"""The rows of second order and line search."""

from tests.catalogue.row import Row

ROWS: tuple[Row, ...] = ()
