"""Transformations around a transformation: when it runs, on what, and what is remembered beside it."""
