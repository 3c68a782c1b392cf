"""Transformations to chain: all that are not optimizers by themselves."""
