"""What takes a transformation and decides on which leaves, or with which numbers, it runs."""
"""Transformations around a transformation: when it runs, on what, and what is remembered beside it."""
"""What takes a transformation: accumulation, skipping, and other things around an optimizer."""
