"""The rows of methods that find their own step size, and averaging ones."""

from tests.catalogue.row import Row

ROWS: tuple[Row, ...] = ()
