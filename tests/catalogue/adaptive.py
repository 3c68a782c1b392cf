"""The rows of adaptive methods: Adam's relatives at optax's top level."""

import optax_lite as ol
from tests.catalogue.row import Row, Settings, beta_bad, eps_bad, fast, over, rate, rate_bad, slow, with_rate
from tests.reference import adabelief, adamax, adan, amsgrad, lion, novograd, radam, yogi

decay_bad = ({"learning_rate": 0.1, "weight_decay": "x"}, "weight_decay must be a number or a schedule")


def decayed(settings: tuple[Settings, ...]) -> tuple[Settings, ...]:
    """The settings of a direction as those of its optimizer with decay: defaults, decay, a schedule of each."""
    return (
        {"learning_rate": 0.1},
        *({"learning_rate": 0.1, "weight_decay": 0.3, **s} for s in settings),
        {"learning_rate": 0.1, "weight_decay": fast},
        {"learning_rate": rate, "weight_decay": 0.2},
    )


def plain(settings: tuple[Settings, ...]) -> tuple[Settings, ...]:
    """The same without decay."""
    return ({"learning_rate": 1.0}, *({"learning_rate": 0.1, **s} for s in settings), {"learning_rate": rate})


# eps_root is added to the state, where only a large one shows beside gradients of size 30.
belief_settings = (
    {},
    {"b1": 0.0, "b2": 0.0, "eps": 0.1},
    {"b1": 0.5, "b2": 0.9, "eps": 0.1},
    {"eps_root": 0.05},
    {"b1": 0.7, "b2": 0.8, "eps": 0.3, "eps_root": 0.2},
    {"nesterov": True},
    {"b1": 0.6, "b2": 0.8, "eps": 1e-3, "eps_root": 1e-3, "nesterov": True},
    {"b1": fast, "b2": slow, "eps": 1e-2},
    {"b1": 0, "b2": fast, "eps": 0.1, "nesterov": True},
)
adamax_settings = (
    {},
    {"b1": 0.0, "b2": 0.0},
    {"b1": 0.5, "b2": 0.9, "eps": 0.1},
    {"b1": 0.99, "b2": 0.9999},
    {"eps": 0.3},
    {"b1": 0.8, "b2": 0.3, "eps": 1e-3},
    {"b1": fast, "b2": slow, "eps": 1e-2},
    {"b1": 0.9, "b2": fast},
)
amsgrad_settings = (
    {},
    {"b1": 0.5, "b2": 0.9, "eps": 0.1},
    {"eps": 0.3, "eps_root": 0.2},
    *over(b1=(0.8,), b2=(0.6,), bias_correction_mu=(False, True), bias_correction_nu=(False, True), eps=(0.1,)),
    {"max_of": "raw"},
    {"max_of": "raw", "b1": 0.5, "b2": 0.7, "eps": 0.1, "eps_root": 0.05},
    {"max_of": "raw", "b2": 0.8, "bias_correction_nu": False},
    {"b1": fast, "b2": slow, "max_of": "raw"},
    {"b1": slow, "b2": fast},
)
# At the eighth update, the first after a used state, ρ is 4.7 for b2 = 0.7, and it is computed as for few updates with
# b2 above 0.88. With 0.999999 the plain formula loses digits in float64 too.
radam_settings = (
    {},
    {"b2": 0.9999, "eps": 0.1},
    {"b1": 0.5, "b2": 0.9, "eps_root": 0.05},
    {"b1": 0.0, "b2": 0.5},
    {"b1": 0.8, "b2": 0.8, "eps": 0.1, "eps_root": 0.1},
    {"b2": 0.7},
    {"b2": 0.7, "threshold": 4.2},
    {"b2": 0.75, "threshold": 4.2},
    {"b2": 0.99, "threshold": 8.5},
    {"b2": 0.999999, "eps": 0.1},
    {"b2": 0.999, "threshold": 1.0},
    {"nesterov": True, "b2": 0.97},
    {"b1": 0.6, "b2": 0.8, "nesterov": True, "threshold": 4.0},
    {"b1": fast, "b2": slow, "eps": 0.01},
    {"b2": 0.95, "threshold": 100 * rate},
)
yogi_settings = (
    {},
    {"b1": 0.0, "b2": 0.0},
    {"b1": 0.5, "b2": 0.9, "eps": 0.1},
    {"eps": 1e-8},
    {"eps": 0.3, "b2": 0.5},
    {"b1": fast, "b2": slow},
    {"b1": 0.8, "b2": fast, "eps": 0.01},
)
novograd_settings = (
    {},
    {"b1": 0.0, "b2": 0.0, "eps": 0.1},
    {"b1": 0.5, "b2": 0.9, "eps": 0.5, "weight_decay": 0.2},
    {"eps_root": 0.3, "weight_decay": 0.1},
    {"b2": 0.99, "eps": 0.1, "eps_root": 0.1},
    {"b1": 0.99, "weight_decay": 1},
    {"b1": fast, "b2": slow, "weight_decay": 0.1},
    {"b1": 0.5, "b2": fast, "weight_decay": 0.0},
)
adan_settings = (
    {},
    {"b1": 0.0, "b2": 0.0, "b3": 0.0},
    {"b1": 0.5, "b2": 0.7, "b3": 0.9, "eps": 0.1},
    {"eps_root": 0.05},
    {"b1": 0.9, "b2": 0.3, "b3": 0.8, "eps": 0.2, "eps_root": 0.1},
    {"b2": 0.99, "b3": 0.999},
    {"b1": slow, "b2": fast, "b3": slow, "eps": 1e-2},
    {"b1": fast, "b2": 0.5, "b3": 0.5},
)
lion_settings = (
    {},
    {"b1": 0.0, "b2": 0.5},
    {"b1": 0.95, "b2": 0.0},
    {"b1": 0.5, "b2": 0.9},
    {"b1": fast, "b2": slow},
    {"b1": 0.99, "b2": 0.999},
)
mode_bad = ({"mode": "soft"}, "mode must be 'hard', 'smooth' or 'refined', got 'soft'")
max_of_bad = ({"max_of": "v"}, "max_of must be 'corrected' or 'raw', got 'v'")

ROWS: tuple[Row, ...] = (
    Row(ol.scale_by_belief, adabelief.scale_by_belief, belief_settings, (*beta_bad, *eps_bad)),
    Row(ol.adabelief, adabelief.adabelief, plain(belief_settings), (*rate_bad, *with_rate(beta_bad + eps_bad))),
    Row(ol.scale_by_adamax, adamax.scale_by_adamax, adamax_settings, (*beta_bad, eps_bad[0])),
    Row(ol.adamax, adamax.adamax, plain(adamax_settings), (*rate_bad, *with_rate(beta_bad))),
    Row(ol.adamaxw, adamax.adamaxw, decayed(adamax_settings), (*rate_bad, decay_bad), unlike=("mask",)),
    Row(
        ol.scale_by_amsgrad,
        amsgrad.scale_by_amsgrad,
        amsgrad_settings,
        (*beta_bad, *eps_bad, max_of_bad),
        unlike=("mu_dtype",),
    ),
    Row(
        ol.amsgrad,
        amsgrad.amsgrad,
        plain(amsgrad_settings),
        (*rate_bad, *with_rate((*beta_bad, max_of_bad))),
        unlike=("mu_dtype",),
    ),
    Row(
        ol.scale_by_radam,
        radam.scale_by_radam,
        radam_settings,
        (*beta_bad, *eps_bad, ({"threshold": -1}, "threshold must be at least 0, got -1.0")),
    ),
    Row(ol.radam, radam.radam, plain(radam_settings), (*rate_bad, *with_rate(beta_bad + eps_bad))),
    Row(
        ol.scale_by_yogi,
        yogi.scale_by_yogi,
        (
            *yogi_settings,
            *over(initial_accumulator_value=(0.0, 0.5, 2), eps_root=(0.0, 0.1)),
            {"initial_accumulator_value": 1.0, "b2": fast, "eps_root": 0.2},
        ),
        (*beta_bad, *eps_bad, ({"initial_accumulator_value": -1}, "initial_accumulator_value must be at least 0")),
    ),
    Row(ol.yogi, yogi.yogi, plain(yogi_settings), (*rate_bad, *with_rate(beta_bad))),
    Row(
        ol.scale_by_novograd,
        novograd.scale_by_novograd,
        novograd_settings,
        (*beta_bad, *eps_bad),
        unlike=("mu_dtype",),
        same_program=1e-6,
    ),
    Row(
        ol.novograd,
        novograd.novograd,
        plain(novograd_settings),
        (*rate_bad, *with_rate(beta_bad + eps_bad)),
        same_program=1e-6,
    ),
    Row(
        ol.scale_by_adan,
        adan.scale_by_adan,
        adan_settings,
        (*beta_bad, *eps_bad, ({"b3": 1}, "b3 must be in [0, 1), got 1.0")),
    ),
    Row(
        ol.adan,
        adan.adan,
        decayed(adan_settings),
        (*rate_bad, *with_rate(beta_bad + eps_bad), decay_bad),
        unlike=("mask",),
        translate=lambda settings: {**settings, "proximal": False},  # decay as in AdamW, a choice of the authors' too
    ),
    Row(
        ol.scale_by_lion,
        lion.scale_by_lion,
        (
            *lion_settings,
            {"mode": "smooth"},
            *over(mode=("smooth", "refined"), b1=(0.5, fast), smooth_beta=(0.3, slow)),
        ),
        (*beta_bad, mode_bad, ({"smooth_beta": -1}, "smooth_beta must be at least 0, got -1.0")),
        unlike=("mu_dtype",),
    ),
    Row(
        ol.lion,
        lion.lion,
        decayed(lion_settings),
        (*rate_bad, *with_rate(beta_bad), decay_bad),
        unlike=("mu_dtype", "mask"),
    ),
)
