"""What arguments that many public functions share mean: one sentence for each, in one place.

An entry of a docstring's `Args:` begins with the sentence of its name; more may follow. Where that
sentence would be wrong, `OWN` names the function and says why.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
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
        "momentum": "Decay of the momentum, in [-1, 1].",
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
        "verbose": "Print the outcome of every search.",
        "inner": "Transformation to apply.",
    },
    "_schedules": {
        "init_value": "Value at count 0.",
        "peak_value": "Largest value.",
        "end_value": "Value at the end, which stays.",
        "warmup_steps": "Updates of the linear warm-up, at least 0.",
        "transition_steps": "Updates of the transition, above 0.",
        "transition_begin": "Count at which the transition begins, at least 0.",
        "decay_rate": "Factor of the value in `transition_steps` updates, above 0.",
        "staircase": (
            "Round the number of transitions down, so that the value changes at their ends only."
        ),
        "exponent": "Power of the cosine's half wave, at least 0; 1 is the plain cosine.",
        "boundaries_and_scales": (
            "Factors by the count from which on they apply, as a dict or as pairs; None for none."
        ),
        "div_factor": "Peak over the value at count 0, above 0.",
        "final_div_factor": "Value at count 0 over that at the end, above 0.",
        "pct_start": "Share of `transition_steps` at which the peak is reached, at least 0.",
    },
    "losses.elementwise": {
        "predictions": "Predicted values, of any shape.",
        "targets": "Values to predict, of that shape or one number; None for 0.",
        "predictor_outputs": "Scores of the positive class, of any shape.",
        "logits": "Logits of the positive class, of any shape.",
        "labels": (
            "Probabilities of the positive class, 0 or 1 for known ones; of the logits' shape or "
            "one number."
        ),
    },
    "losses.classes": {
        "logits": "Unnormalized log probabilities, with the classes along `axis`.",
        "scores": "Scores of the classes, (..., classes).",
        "labels": "Numbers of the right classes, integers, of the shape without the classes.",
        "axis": "Axis of the classes, or several that are taken together.",
        "where": (
            "True for the classes that count, entry by entry or for whole examples; None for all."
        ),
    },
    "losses.ctc": {
        "logits": "Unnormalized log probabilities, (batch, frames, classes).",
        "logit_paddings": "1 where there is no frame and 0 elsewhere, (batch, frames).",
        "labels": "Numbers of the classes, integers, (batch, labels).",
        "label_paddings": (
            "1 where there is no label and 0 elsewhere, (batch, labels); on the right only."
        ),
        "blank_id": "Number of the class that separates repeated labels.",
        "log_epsilon": (
            "Stands for log 0: a sequence that cannot be aligned costs about -log_epsilon."
        ),
    },
    "losses.overlap": {
        "predictions": "Logits, (batch, ..., classes).",
        "targets": (
            "1 where a pixel is of the class and 0 elsewhere, or probabilities; of the "
            "predictions' shape."
        ),
        "smooth": "Pixels added to Σ p·t of each class, and twice to Σ p + Σ t; at least 0.",
        "apply_softmax": "Take the softmax of the predictions; False if they are probabilities.",
        "ignore_background": "Leave out class 0, unless it is the only one.",
    },
    "losses.vectors": {
        "log_predictions": "Predicted distribution as log q, with its entries along `axis`.",
        "targets": "Distribution p to predict, of sizes of the predictions or 1.",
        "axis": "Axis of the entries, or several that are taken together.",
        "where": (
            "True for the entries that count, of the rank of the predictions, in sizes of theirs "
            "or 1; None for all."
        ),
        "epsilon": "Least value of a squared norm where it divides.",
    },
    "projections": {
        "tree": "Tree to project.",
        "scale": "Radius, at least 0.",
        "x": "Tree to project, with real leaves.",
        "b": "Number, for all leaves together.",
    },
    "microbatching": {
        "num_real_microbatches": "Run only the first so many microbatches, from 0 to all."
    },
    "tree": {
        "tree": "A pytree of arrays.",
        "tree_x": "A pytree x of arrays.",
        "tree_y": "A pytree y of the same structure.",
        "dtype": "Dtype of the result; None for that of each leaf.",
        "target_tree": "A pytree of the structure and shapes of the result.",
        "rng_key": "A JAX random key.",
        "key": "Name to look for: a dict key, a field, or the class of a named tuple.",
        "filtering": "Function of a path and a value that is False for values to pass over.",
        "decay": "Decay of the moving average.",
        "updates": "Gradients g, a pytree of arrays.",
        "moments": "Moving averages m, a pytree of the same structure.",
        "order": "Power of the gradient that is averaged.",
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

# Entries that the shared sentence would be wrong for: argument -> why -> functions.
OWN: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "learning_rate": {
        "relative to the size of the parameters, and None is 1": ("adafactor",),
        "scales what is bet on": ("cocob",),
        "a factor of an estimated distance": ("dadapt_adamw", "prodigy", "dog", "dowg"),
        "the largest step": ("momo", "momo_adam"),
        "the first step size": ("rprop", "scale_by_rprop"),
        "that of another optimizer": ("schedule_free",),
        "warmed up": ("schedule_free_adamw", "schedule_free_sgd"),
    },
    "b1": {
        "of the fast one of two averages": ("ademamix", "scale_by_ademamix"),
        "of normalized gradients": ("adopt", "scale_by_adopt", "novograd", "scale_by_novograd"),
        "weighs a mixture": ("lion", "scale_by_lion"),
        "of gradients of reduced variance": ("mars",),
        "of three averages": ("momo_adam",),
        "the share of the average in the parameters": (
            *("schedule_free", "schedule_free_adamw", "schedule_free_sgd"),
        ),
        "of a sum": ("simplified_ademamix", "scale_by_simplified_ademamix"),
        "of updates": ("scale_by_sm3",),
    },
    "b2": {
        "of squared distances from the average": (
            *("acprop", "scale_by_acprop", "adabelief", "scale_by_belief"),
        ),
        "of a maximum": ("adamax", "adamaxw", "scale_by_adamax"),
        "of the change of gradients": ("adan", "scale_by_adan"),
        "of gradients": ("lion", "scale_by_lion"),
        "of gradients of reduced variance": ("mars",),
        "of squared norms": ("novograd", "scale_by_novograd"),
        "may be 1, which sums": ("shampoo", "scale_by_shampoo", "scale_by_sm3"),
        "of the Hessian's diagonal": ("sophia",),
        "not of an average": ("yogi", "scale_by_yogi"),
    },
    "eps": {
        "under a root": (
            *("adadelta", "scale_by_adadelta", "dog", "scale_by_distance_over_gradients"),
            *("scale_by_sm3", "triplet_margin_loss"),
        ),
        "under a root or beside it": (
            *("adagrad", "scale_by_rss", "rmsprop", "scale_by_rms", "scale_by_stddev"),
        ),
        "added to squares": ("adafactor",),
        "inside a maximum": ("adamax", "adamaxw", "scale_by_adamax", "update_infinity_moment"),
        "a lower bound": ("adopt", "scale_by_adopt", "sophia"),
        "where a maximum starts": ("cocob", "scale_by_cocob"),
        "added to more than the denominator": ("madgrad", "scale_by_madgrad", "mechanize"),
        "a share of the denominator": ("scale_by_muon", "orthogonalize"),
        "multiplied by the estimated distance": ("prodigy",),
        "where matrices start, above 0": ("shampoo", "scale_by_shampoo"),
        "the least norm of weights": ("adaptive_grad_clip",),
    },
    "eps_root": {
        "added at every step": ("acprop", "scale_by_acprop", "adabelief", "scale_by_belief")
    },
    "mu_dtype": {
        "of two averages": ("ademamix", "scale_by_ademamix"),
        "of normalized gradients": ("adopt", "scale_by_adopt", "scale_by_novograd"),
    },
    "weight_decay": {
        "an L2 penalty": (
            *("adadelta", "cocob", "dog", "dowg", "lars", "madgrad", "schedule_free_sgd"),
        ),
        "does not decay the parameters": ("mechanize",),
        "by a division": ("momo", "momo_adam"),
        "through the momentum": ("novograd", "scale_by_novograd"),
        "the decay itself": ("add_decayed_weights", "independent_weight_decay"),
    },
    "momentum": {
        "of steps": ("adafactor",),
        "of updates": ("sm3",),
        "of iterates": ("madgrad", "scale_by_madgrad"),
    },
    "nesterov": {"of normalized gradients": ("adopt", "scale_by_adopt")},
    "labels": {
        "a distribution over classes": (
            *("softmax_cross_entropy", "safe_softmax_cross_entropy", "smooth_labels"),
            "poly_loss_cross_entropy",
        )
    },
    "logits": {"without an axis": ("safe_softmax_cross_entropy",)},
    "targets": {
        "classes, -1 or 1": ("hinge_loss", "perceptron_loss"),
        "vectors": ("cosine_similarity", "cosine_distance"),
    },
    "predictions": {"without an axis of classes": ("binary_dice_loss",)},
    "smooth": {"of any weights": ("dice_loss",), "of one class": ("binary_dice_loss",)},
    "inner": {"before decay and learning rate": ("cautious",)},
    "transition_steps": {
        "of the whole cycle": ("cosine_onecycle_schedule", "linear_onecycle_schedule")
    },
    "decay_rate": {"of a whole cycle": ("cyclic_schedule",)},
    "end_value": {"a bound": ("exponential_decay", "warmup_exponential_decay_schedule")},
    "warmup_steps": {"above 0": ("inverse_sqrt_schedule",)},
    "boundaries_and_scales": {"between them": ("piecewise_interpolate_schedule",)},
    "transition_begin": {"after the warm-up": ("warmup_exponential_decay_schedule",)},
    "decay": {"of a sum": ("trace",), "of a maximum": ("update_infinity_moment",)},
    "accumulator_dtype": {"of an average": ("ema",)},
    "tree": {"or an optimizer": ("get_all_with_path", "get", "set")},
    "target_tree": {"of any shapes": ("split_key_like",)},
    "scale": {"not a radius": ("projection_hypercube", "projection_simplex")},
    "key": {"by default one for 0": ("power_iteration",)},
    "params": {
        "not looked at": ("init_empty_state",),
        "one of several iterates": ("eval_params", "schedule_free_eval_params"),
    },
    "state": {"of one member of a chain": ("schedule_free_eval_params",)},
}

_PAIR = jnp.array([[0.25, 0.75]])

_FIT = {
    "loss_fn": lambda w, x: ((w - x) ** 2).sum(),
    "params": np.zeros((), np.float32),
    "data": np.ones(2, np.float32),
    "tx": ol.sgd(0.1),
    "progress": False,
}

# How to call what has an argument with a range and is in no table of tests/methods. The key may
# name one argument, where others have to fit it.
CALLS: Mapping[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "schedule_free": (ol.schedule_free, {"base_optimizer": ol.sgd(0.1), "learning_rate": 0.1}),
    "binary_dice_loss": (ol.losses.binary_dice_loss, {"predictions": _PAIR, "targets": _PAIR}),
    "dice_loss": (ol.losses.dice_loss, {"predictions": _PAIR, "targets": _PAIR}),
    "orthogonalize": (ol.orthogonalize, {"x": jnp.eye(2)}),
    "huber_loss": (ol.huber_loss, {"predictions": _PAIR}),
    "matrix_inverse_pth_root": (ol.matrix_inverse_pth_root, {"matrix": jnp.eye(2)}),
    "multiclass_generalized_dice_loss": (
        ol.losses.multiclass_generalized_dice_loss,
        {"predictions": _PAIR, "targets": _PAIR},
    ),
    "nnls": (ol.nnls, {"A": jnp.eye(2), "b": jnp.ones(2)}),
    "power_iteration": (ol.power_iteration, {"matrix": jnp.eye(2)}),
    **{
        f"projection_{name}": (getattr(ol.projections, f"projection_{name}"), {"tree": _PAIR})
        for name in (
            *("hypercube", "l1_ball", "l1_sphere", "l2_ball", "l2_sphere", "linf_ball", "simplex"),
        )
    },
    "reduce_on_plateau.rtol": (ol.reduce_on_plateau, {"atol": 0.1}),
    "reshape_batch_axis": (ol.microbatching.reshape_batch_axis, {"tree": _PAIR}),
    "smooth_labels": (ol.smooth_labels, {"labels": _PAIR, "alpha": 0.1}),
    "triplet_margin_loss": (
        ol.losses.triplet_margin_loss,
        {"anchors": _PAIR, "positives": _PAIR, "negatives": _PAIR},
    ),
    "warmup_cosine_decay_schedule.decay_steps": (
        ol.warmup_cosine_decay_schedule,
        {"init_value": 0.0, "peak_value": 1.0, "warmup_steps": 0},
    ),
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
    "training": (
        sweep.training,
        {"init": abs, "loss": abs, "data": np.ones((2, 1)), "steps": 1, "batch_size": 1},
    ),
    "successive_halving": (sweep.successive_halving, {"rungs": [10], "keep": 0.5}),
    "pbt": (sweep.pbt, {"every": 10, "perturb": {"learning_rate": (0.8, 1.25)}}),
    "microbatch_value_and_grad": (ol.microbatch_value_and_grad, {"loss_fn": abs, "n": 2}),
}
