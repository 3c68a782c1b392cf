"""Knowing what happens: measurements, tables, conversions."""
