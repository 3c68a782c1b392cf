"""The rows of methods that look at a leaf as a whole, at its axes, at the last gradient, or at the loss."""

import jax
import numpy as np

import optax_lite as ol
from tests.agreement import started
from tests.catalogue.row import Row, beta_bad, eps_bad, fast, over, rate, rate_bad, slow, with_rate
from tests.reference import adadelta, adafactor, fromage, lamb, lars, optimistic, polyak, rprop, sm3, trust_ratio


def used_factored(state, seed):
    """A used state in which the slots that a leaf has no use for are 0, as they stay."""
    return jax.tree.map(lambda new, old: old if old.shape == (1,) else new, started(state, seed), state)


def with_zero_leaves(trees):
    """A parameter of zeros, and a gradient of zeros."""
    params, gradients = trees
    params["b"] = 0 * params["b"]
    for g in gradients:
        g["wide"] = 0 * g["wide"]
    return params, gradients


def with_large_leaves(trees):
    """Leaves that are just large enough to be factored by default, or not; one row; gradients near √epsilon."""
    params, gradients = trees
    rng = np.random.default_rng(5)
    shapes = {"large": (128, 130), "less": (127, 130), "row": (1, 4), "tiny": (3,)}
    params = params | {name: rng.normal(size=shape) for name, shape in shapes.items()}
    gradients = [g | {name: rng.normal(size=shape) for name, shape in shapes.items()} for g in gradients]
    for g in gradients:
        g["tiny"] *= 1e-15
    return params, gradients


def with_short_steps(trees):
    """Every second gradient has a norm below 1."""
    params, gradients = trees
    return params, [{k: x * 1e-3 ** (i % 2) for k, x in g.items()} for i, g in enumerate(gradients)]


def with_masks(s):
    return {k: v for k, v in s.items() if "mask" not in k} | {
        "decayed": s["weight_decay_mask"],
        "trusted": s["trust_ratio_mask"],
    }


def losses(step):
    return {"value": (3.0, 0.4, -1.0, 30.0, 1e-3)[step]}


# Leaves of the tests have axes of 1 to 5 entries: (3, 4) and (2, 1, 5) are factored from 2 on, only (3, 4) from 3 on.
factored_settings = (
    {},
    {"min_dim_size_to_factor": 2},
    {"min_dim_size_to_factor": 3, "decay_rate": 0.5, "epsilon": 0.1},
    {"min_dim_size_to_factor": 2, "factored": False, "epsilon": 0.1},
    {"min_dim_size_to_factor": 0, "epsilon": 0.3},
    {"min_dim_size_to_factor": 2, "step_offset": -3, "decay_rate": 1.0},
    {"step_offset": -1, "epsilon": 1e-3},
    {"min_dim_size_to_factor": 2, "decay_rate": fast, "epsilon": rate},
)
adafactor_settings = (
    {},
    {"learning_rate": 0.1, "min_dim_size_to_factor": 2},
    {"learning_rate": 0.1, "min_dim_size_to_factor": 3, "decay_rate": 0.5, "decay_offset": -2, "eps": 0.1},
    {"learning_rate": 0.1, "multiply_by_parameter_scale": False, "clipping_threshold": 0.3},
    {"learning_rate": 0.1, "min_dim_size_to_factor": 2, "clipping_threshold": None, "eps": 0.01},
    {"learning_rate": 0.1, "clipping_threshold": 0.7, "momentum": 0.9, "dtype_momentum": None},
    {"learning_rate": 0.1, "weight_decay_rate": 0.3, "momentum": 0.5, "dtype_momentum": None},
    {"learning_rate": 0.1, "min_dim_size_to_factor": 2, "factored": False, "weight_decay_rate": 0.0},
    {"learning_rate": rate, "min_dim_size_to_factor": 2, "momentum": fast, "dtype_momentum": None},
    {"weight_decay_rate": rate, "multiply_by_parameter_scale": False},
)
sm3_settings = (
    {},
    {"eps": 0.0},
    *over(b1=(0.0, 0.5), b2=(1.0, 0.9), eps=(1e-8, 0.1)),
    {"b1": fast, "b2": slow, "eps": rate},
    {"b2": 0.0},
)
# Where beta is much larger than alpha the two gradients nearly cancel, and so do their digits.
optimism = (
    {},
    *over(alpha=(1.0, 0.6), beta=(0.0, 0.5, 0.7)),
    {"alpha": fast, "beta": 0.3},
    {"beta": fast, "alpha": slow},
)
step_bounds = (
    {},
    {"eta_minus": 0.3, "eta_plus": 1.5},
    {"min_step_size": 0.08, "max_step_size": 0.11},
    {"min_step_size": 0.3, "max_step_size": 0.4, "eta_plus": 1.1},
    {"max_step_size": 0.05},
    {"eta_minus": 1.0, "eta_plus": 1.0},
    {"eta_minus": fast, "eta_plus": 1.3},
    {"min_step_size": rate},
)
at_bounds = ({"learning_rate": 1.5e-6}, {"learning_rate": 45.0})  # of the defaults
polyak_settings = (
    {},
    {"f_min": 5.0},
    {"f_min": 5.0, "variant": "sps+"},
    {"max_learning_rate": 1e-3},
    {"max_learning_rate": 100.0, "eps": 30.0},
    {"eps": 1e3, "f_min": -1.0, "variant": "sps+"},
    {"f_min": rate, "max_learning_rate": fast},
    {"max_learning_rate": 100.0, "f_min": 0.1},
    {"f_min": -1e5},
)
step_bad = (
    ({"learning_rate": 0.1, "eta_minus": -1}, "eta_minus must be at least 0, got -1.0"),
    ({"learning_rate": 0.1, "eta_plus": -1}, "eta_plus must be at least 0"),
    ({"learning_rate": 0.1, "min_step_size": -1}, "min_step_size must be at least 0"),
    ({"learning_rate": 0.1, "max_step_size": -1}, "max_step_size must be at least 0"),
)
polyak_bad = (
    ({"max_learning_rate": -1}, "max_learning_rate must be at least 0, got -1.0"),
    ({"eps": -1}, "eps must be at least 0"),
    ({"variant": "max"}, "variant must be 'sps' or 'sps+', got 'max'"),
)
trust_bad = (
    ({"min_norm": -1}, "min_norm must be at least 0, got -1.0"),
    ({"eps": -1}, "eps must be at least 0, got -1.0"),
)
scale_bad = ({"min_scale": -1}, "min_scale must be at least 0, got -1.0")
scale_settings = ({}, *({"min_scale": s} for s in (0.0, 0.5, 1.0, 2.0, 10, rate, fast)))

ROWS = (
    # --- transforms
    Row(
        ol.scale_by_factored_rms,
        adafactor.scale_by_factored_rms,
        factored_settings,
        (
            ({"epsilon": -1}, "epsilon must be at least 0, got -1.0"),
            ({"decay_rate": -1}, "decay_rate must be at least 0"),
            ({"eps": 1e-8}, "no argument 'eps'; the nearest is epsilon"),
        ),
        unlike=("decay_rate_fn",),
        used=used_factored,
        data=with_large_leaves,
    ),
    Row(
        ol.scale_by_trust_ratio,
        trust_ratio.scale_by_trust_ratio,
        (
            {},
            *over(min_norm=(0.0, 0.5), trust_coefficient=(1.0, 0.1), eps=(0.0, 0.3)),
            {"min_norm": 10.0, "trust_coefficient": rate, "eps": fast},
            {"trust_coefficient": 0.0},
        ),
        trust_bad,
        data=with_zero_leaves,
    ),
    Row(
        ol.scale_by_param_block_norm,
        trust_ratio.scale_by_param_block_norm,
        scale_settings,
        scale_bad,
        data=with_zero_leaves,
    ),
    Row(
        ol.scale_by_param_block_rms,
        trust_ratio.scale_by_param_block_rms,
        scale_settings,
        scale_bad,
        data=with_zero_leaves,
    ),
    Row(
        ol.scale_by_sm3,
        sm3.scale_by_sm3,
        sm3_settings,
        (
            ({"b1": 1.0}, "b1 must be in [0, 1), got 1.0"),
            ({"b2": 1.5}, "b2 must be in [0, 1], got 1.5"),
            ({"eps": -1}, "eps must be at least 0"),
        ),
        same_program=1e-6,
    ),
    Row(
        ol.scale_by_adadelta,
        adadelta.scale_by_adadelta,
        ({}, *over(rho=(0.0, 0.5), eps=(1e-6, 0.1, 3.0)), {"rho": fast, "eps": rate}),
        (({"rho": 1}, "rho must be in [0, 1), got 1.0"), ({"eps": -1}, "eps must be at least 0")),
    ),
    Row(
        ol.scale_by_rprop,
        rprop.scale_by_rprop,
        (*({"learning_rate": 0.1, **s} for s in step_bounds), *at_bounds),
        step_bad,
        complex_=False,
        refuses_complex="this is for real ones",
    ),
    Row(ol.scale_by_optimistic_gradient, optimistic.scale_by_optimistic_gradient, optimism),
    Row(
        ol.scale_by_polyak,
        polyak.scale_by_polyak,
        polyak_settings,
        polyak_bad,
        whole_tree=True,
        extra=losses,
        data=with_short_steps,
    ),
    # --- optimizers
    Row(
        ol.adafactor,
        adafactor.adafactor,
        adafactor_settings,
        (
            ({"clipping_threshold": -1}, "threshold must be at least 0, got -1.0"),
            ({"momentum": 1.5}, "decay must be in [0, 1), got 1.5"),
            ({"momentum": 0.5, "dtype_momentum": int}, "accumulator_dtype must be a floating dtype"),
            ({"lr": 0.1}, "no argument 'lr'; write learning_rate"),
        ),
        unlike=("dtype_momentum", "weight_decay_mask"),
        used=used_factored,
        data=with_large_leaves,
    ),
    Row(
        ol.lamb,
        lamb.lamb,
        (
            {"learning_rate": 0.1},
            {"learning_rate": 0.1, "b1": 0.0, "b2": 0.0, "eps": 0.3},
            {"learning_rate": 0.1, "b1": 0.5, "b2": 0.9, "eps": 0.1, "eps_root": 0.2},
            {"learning_rate": 0.1, "weight_decay": 0.3},
            {"learning_rate": 1, "eps": 1e-3, "weight_decay": 1.0},
            {"learning_rate": rate, "b1": 0.8},
            {"learning_rate": 0.1, "b1": fast, "b2": slow, "eps": 0.01},
            {"learning_rate": rate, "weight_decay": fast, "eps_root": 1e-3},
        ),
        (*rate_bad, *with_rate(beta_bad + eps_bad)),
        unlike=("mask",),
    ),
    Row(
        ol.lars,
        lars.lars,
        (
            {"learning_rate": 0.1},
            {"learning_rate": 1, "weight_decay": 0.3, "trust_coefficient": 0.1},
            {"learning_rate": 0.1, "eps": 0.5, "momentum": 0.5},
            *over(learning_rate=(0.1,), weight_decay=(0.1,), momentum=(0.0, 0.9), nesterov=(False, True)),
            {"learning_rate": 0.1, "weight_decay": 0.3, "weight_decay_mask": False},
            {"learning_rate": 0.1, "weight_decay": 0.3, "trust_ratio_mask": False},
            {"learning_rate": rate, "trust_coefficient": fast, "weight_decay": rate},
        ),
        (*rate_bad, *with_rate((({"momentum": 1}, "decay must be in [0, 1)"), trust_bad[1]))),
        translate=with_masks,
    ),
    Row(
        ol.fromage,
        fromage.fromage,
        (
            *over(learning_rate=(0.1, 0.5, 1, 3.0), min_norm=(1e-6, 0.5)),
            {"learning_rate": rate},
            {"learning_rate": 0.1, "min_norm": rate},
        ),
        (*rate_bad, *with_rate(trust_bad[:1])),
        data=with_zero_leaves,
        moves_without_gradient="the parameters shrink with every step",
        same_program=1e-6,
    ),
    Row(
        ol.sm3,
        sm3.sm3,
        (
            {"learning_rate": 0.1},
            *over(learning_rate=(0.01, 1, rate), momentum=(0.0, 0.5)),
            {"learning_rate": 0.1, "momentum": fast},
        ),
        (*rate_bad, ({"learning_rate": 0.1, "momentum": 1}, "b1 must be in [0, 1), got 1.0")),
    ),
    Row(
        ol.adadelta,
        adadelta.adadelta,
        (
            {},
            {"learning_rate": 0.1, "rho": 0.5},
            {"learning_rate": 10, "eps": 0.1},
            {"rho": 0.0, "eps": 1e-3},
            {"learning_rate": 1.0, "weight_decay": 0.3},
            {"weight_decay": 0.1, "rho": 0.99, "eps": 0.5},
            {"learning_rate": rate, "rho": slow},
            {"learning_rate": 2.0, "eps": rate, "weight_decay": fast},
        ),
        (({"rho": 1}, "rho must be in [0, 1), got 1.0"), ({"lr": 1.0}, "no argument 'lr'; write learning_rate")),
        unlike=("weight_decay_mask",),
    ),
    Row(
        ol.rprop,
        rprop.rprop,
        (*({"learning_rate": 0.1, **s} for s in step_bounds), *at_bounds, {"learning_rate": rate}),
        (*rate_bad, *step_bad),
        complex_=False,
        refuses_complex="this is for real ones",
    ),
    Row(
        ol.optimistic_gradient_descent,
        optimistic.optimistic_gradient_descent,
        (*({"learning_rate": 0.1, **s} for s in optimism), {"learning_rate": rate, "alpha": 0.5}),
        rate_bad,
    ),
    Row(
        ol.optimistic_adam_v2,
        optimistic.optimistic_adam_v2,
        (
            *({"learning_rate": 0.1, "b1": 0.6, "b2": 0.9, "eps": 1e-2, **s} for s in optimism),
            {"learning_rate": 0.1},
            {"learning_rate": rate, "nesterov": False, "eps_root": 0.1},
            {"learning_rate": 0.1, "b1": fast, "b2": slow, "eps": rate, "eps_root": 1e-3},
        ),
        (*rate_bad, *with_rate(beta_bad + eps_bad)),
        unlike=("mu_dtype",),
    ),
    Row(
        ol.polyak_sgd,
        polyak.polyak_sgd,
        (*polyak_settings, {"scaling": 0.1, "max_learning_rate": 100.0}, {"scaling": rate}, {"scaling": 2.0}),
        polyak_bad,
        whole_tree=True,
        extra=losses,
        data=with_short_steps,
    ),
)
