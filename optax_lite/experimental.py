"""Experiments: optax's own, where it is installed."""

from optax_lite._forward import forwarded

__getattr__ = forwarded("experimental")
