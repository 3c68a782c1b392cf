"""Tests: references and laws over one table, `catalogue.py`."""
