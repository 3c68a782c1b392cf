"""The rows of methods that look at a leaf as a matrix."""

from tests.catalogue.row import Row

ROWS: tuple[Row, ...] = ()
