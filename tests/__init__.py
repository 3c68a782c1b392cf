"""Tests: references and laws over one table, `methods`."""
