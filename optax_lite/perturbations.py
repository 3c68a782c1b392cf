"""Perturbed functions: optax's own functions, if it is installed."""

from optax_lite._forward import forwarded

__getattr__ = forwarded("perturbations")
