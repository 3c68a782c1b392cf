"""Sweeps: a population of optimizers, or of anything that holds one, trained as one program."""

from optax_lite.sweep._engine.engine import run as run
from optax_lite.sweep.population import Population as Population
from optax_lite.sweep.result import Best as Best, Result as Result
from optax_lite.sweep.search import pbt as pbt, successive_halving as successive_halving
from optax_lite.sweep.spaces import (
    choice as choice,
    grid as grid,
    loguniform as loguniform,
    randint as randint,
    sample as sample,
    uniform as uniform,
)
from optax_lite.sweep.study import run_study as run_study
from optax_lite.sweep.training import training as training

__all__ = [
    "Best",
    "Population",
    "Result",
    "choice",
    "grid",
    "loguniform",
    "pbt",
    "randint",
    "run",
    "run_study",
    "sample",
    "successive_halving",
    "training",
    "uniform",
]
