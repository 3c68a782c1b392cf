"""Transformations around others: groups of parameters, freezing."""
"""What takes a transformation and decides when, where or with which numbers it runs."""
