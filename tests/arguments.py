"""What arguments that many public functions share mean: one sentence for each, in one place.

An entry of a docstring's `Args:` begins with the sentence of its name; more may follow. Where that
sentence would be wrong, `OWN` names the function and says why.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import optax_lite as ol
from optax_lite import sweep

# By the module in which a function is written, or the beginning of its name; "" stands for all.
SHARED: Mapping[str, Mapping[str, str]] = {
    "": {
        "learning_rate": "Step size; a number, or a schedule of the number of updates so far.",
        "b1": "Decay of the moving average of gradients, in [0, 1).",
        "b2": "Decay of the moving average of squared gradients, in [0, 1).",
        "eps": "Added to the denominator; at least 0.",
        "eps_root": "Added under the square root of the denominator; at least 0.",
        "mu_dtype": (
            "Dtype in which the average of gradients is stored; None for the parameters' own."
        ),
        "accumulator_dtype": (
            "Dtype in which the momentum is stored; None for the parameters' own."
        ),
        "weight_decay": "Decoupled weight decay; the learning rate multiplies it.",
        "mask": (
            "Leaves that decay: path patterns, a tree of bools or a function that makes one of "
            "the params (see `masked`); None for all."
        ),
        "weight_decay_mask": (
            "Leaves that decay: path patterns, a tree of bools or a function that makes one of "
            "the params (see `masked`); None for all."
        ),
        "momentum": "Decay of the momentum, in [0, 1).",
        "nesterov": "Use Nesterov momentum, which looks one step ahead.",
        "decay": "Decay of the moving average, in [0, 1).",
        "key": "Random seed, an integer or a JAX key; give members of a population a key each.",
        "seed": "The older name of `key`; only one of the two may be given.",
        "axis_name": "Name of the mapped axis over which devices are reduced.",
        "tx": "The optimizer, or any other transformation.",
        "params": "Parameters, a pytree of arrays.",
        "updates": "Gradients or updates, a pytree with the structure of the parameters.",
        "state": "State of the optimizer, as `init`, `update` or `step` returned it.",
        "count": "Number of updates so far, an integer.",
        "verbose": "Print every trial of the search.",
    },
    "wrappers": {
        "seed": "Random seed, an integer or a JAX key; give members of a population a key each."
    },
    "wrappers.accumulate": {
        "accumulator_dtype": (
            "Dtype in which the mean is stored; None for the parameters' own, float32 at least."
        )
    },
    "wrappers.freeze": {
        "mask": (
            "Leaves to freeze: path patterns, a tree of bools or a function that makes one of the "
            "params (see `masked`)."
        ),
        "freeze_mask": (
            "Leaves to freeze: path patterns, a tree of bools or a function that makes one of the "
            "params (see `masked`)."
        ),
    },
    "wrappers.inject": {"state": "State of the schedule, as its `init` or `update` returned it."},
    "wrappers.set_hyperparams": {
        "tx": "The optimizer made by `inject_hyperparams`, whose ranges are checked too."
    },
    "core.compose": {
        "mask": (
            "Leaves that `inner` gets: path patterns, a tree of bools (or a prefix of one) or a "
            "function that makes one of the params."
        )
    },
    "core.leafwise": {"count": "A number of any dtype, such as the number of updates so far."},
    "core.numerics": {"decay": "Decay b of the moving average."},
    "linesearch": {"verbose": "Print the outcome of every search."},
    "train": {"seed": "Seed of the order of the data, an integer."},
    "sweep.result": {
        "member": "Number of the member in the population.",
        "seed": "Position of the seed in `Result.seeds`.",
    },
    "sweep.search": {"seed": "Seed of the random choices, an integer."},
    "sweep.spaces": {"seed": "Seed of the points, an integer of at least 0."},
    "sweep.training": {"seed": "Seed of the order of the data, an integer."},
    "inspect.monitor": {
        "accumulator_dtype": (
            "Dtype in which the average is stored; None for the measurement's own, float32 at "
            "least."
        )
    },
}

# Entries that the shared sentence would be wrong for: argument -> {function: why}.
OWN: Mapping[str, Mapping[str, str]] = {}

_FIT = {
    "loss_fn": lambda w, x: ((w - x) ** 2).sum(),
    "params": np.zeros((), np.float32),
    "data": np.ones(2, np.float32),
    "tx": ol.sgd(0.1),
    "progress": False,
}

# How to call what has an argument with a range and no row in tests/methods. The key may name one
# argument, where others have to fit it.
CALLS: Mapping[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "schedule_free": (ol.schedule_free, {"base_optimizer": ol.sgd(0.1), "learning_rate": 0.1}),
    "MultiSteps": (ol.MultiSteps, {"opt": ol.sgd(0.1), "every_k_schedule": 2}),
    "scale_by_backtracking_linesearch": (
        ol.scale_by_backtracking_linesearch,
        {"max_backtracking_steps": 5},
    ),
    "scale_by_zoom_linesearch": (ol.scale_by_zoom_linesearch, {"max_linesearch_steps": 5}),
    "measure_with_ema": (ol.measure_with_ema, {"measure": ol.global_norm, "decay": 0.9}),
    "fit": (ol.fit, {**_FIT, "steps": 1}),
    "fit.epochs": (ol.fit, _FIT),
    "fit.patience": (ol.fit, {**_FIT, "steps": 1, "eval_fn": float}),
    "loguniform": (sweep.loguniform, {"low": 0.1, "high": 1.0}),
    "sample": (
        lambda n=1, seed=0: sweep.sample(
            ol.sgd, n, method="random", seed=seed, learning_rate=[0.1]
        ),
        {},
    ),
    "successive_halving": (sweep.successive_halving, {"rungs": [10], "keep": 0.5}),
    "pbt": (sweep.pbt, {"every": 10, "perturb": {"learning_rate": (0.8, 1.25)}}),
    "microbatch_value_and_grad": (ol.microbatch_value_and_grad, {"loss_fn": abs, "n": 2}),
}

# Folders and modules whose docstrings do not list their arguments yet.
UNDONE = (
    *("_schedules", "_stochastic", "_transforms", "compat"),
    *("linear_algebra", "losses", "microbatching", "optimizers", "projections"),
    *("sweep.training", "tree"),
)
