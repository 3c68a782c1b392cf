"""Transformations around others: groups of parameters, freezing."""
