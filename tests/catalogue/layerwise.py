"""The rows of factored, layerwise, noisy and constrained methods."""

from tests.catalogue.row import Row

ROWS: tuple[Row, ...] = ()
