"""The rows of the foundation: scaling, momentum, clipping, decay, SGD, RMSProp, Adagrad, Adam, NAdam, signs."""

import optax_lite as ol
from tests.catalogue.row import (
    Row,
    adam_settings,
    beta_bad,
    decay_bad,
    eps_bad,
    fast,
    nadam_settings,
    over,
    rate,
    rate_bad,
    rms_bad,
    rms_settings,
    slow,
    trace_settings,
    with_rate,
    wrong_names,
)
from tests.reference import adagrad, adam, clip, decay, momentum, nadam, rmsprop, scale, sgd, sign, sign_sgd

# The variance v - |m|² is exactly 0 on a corrected first step and with decay 0, and then all rounding: there an initial
# scale keeps it away from 0. Elsewhere it is a fraction of v, of which an ulp is lost: hence the bound in float32.
centered_settings = (
    {},
    {"decay": 0.99, "eps": 1e-2, "eps_in_sqrt": False},
    {"decay": 0.5, "initial_scale": 1.0},
    {"decay": 0.9, "initial_scale": 0.5, "eps_in_sqrt": False, "eps": 0.2},
    {"bias_correction": True, "initial_scale": 1e3},
    {"decay": 0.8, "bias_correction": True, "initial_scale": 1e3, "eps_in_sqrt": False, "eps": 3.0},
    {"decay": fast, "eps": 0.05},
    {"decay": slow, "bias_correction": True, "initial_scale": 1e3, "eps": 20.0},
)
centered_float32 = 1e-5

ROWS = (
    # --- transforms
    Row(
        ol.scale,
        scale.scale,
        tuple({"step_size": s} for s in (0.1, -3, 0.0, 1e-6, 2.5, 1e3, rate, fast)),
        ({"step_size": "x"}, "step_size must be a number or a schedule, got 'x'"),
    ),
    Row(
        ol.scale_by_learning_rate,
        scale.scale_by_learning_rate,
        ({"learning_rate": 0.1}, *over(learning_rate=(0.1, 3, 1e-6, rate), flip_sign=(True, False))),
        rate_bad,
    ),
    Row(
        ol.scale_by_schedule,
        scale.scale_by_schedule,
        tuple({"step_size_fn": s} for s in (rate, fast, slow, -rate, 0.1 * fast, rate + fast, rate / 2, 1 - slow)),
        ({"step_size_fn": "x"}, "step_size_fn must be a number or a schedule"),
    ),
    Row(
        ol.trace,
        momentum.trace,
        trace_settings,
        (*decay_bad, ({"decay": 0.9, "accumulator_dtype": "int8"}, "accumulator_dtype must be a floating dtype")),
        unlike=("accumulator_dtype",),
    ),
    Row(
        ol.ema,
        momentum.ema,
        (*over(decay=(0.0, 0.5, 0.9, 0.999), debias=(False, True)), {"decay": fast}, {"decay": slow, "debias": False}),
        decay_bad,
        unlike=("accumulator_dtype",),
    ),
    Row(ol.scale_by_sign, sign.scale_by_sign, ({},)),
    Row(ol.identity, lambda g, s, w: (g, {}), ({},)),
    Row(ol.set_to_zero, lambda g, s, w: (0 * g, {}), ({},)),
    Row(
        ol.clip,
        clip.clip,
        tuple({"max_delta": d} for d in (0.0, 1e-6, 0.1, 0.5, 1, 2.0, 1e6, rate)),
        ({"max_delta": -1}, "max_delta must be at least 0, got -1.0"),
        complex_=False,
        refuses_complex="this is for real ones: write split_real_and_imaginary",
    ),
    Row(
        ol.clip_by_global_norm,
        clip.clip_by_global_norm,
        tuple({"max_norm": d} for d in (0.0, 1e-6, 0.1, 1, 3.0, 10.0, 1e6, rate)),
        ({"max_norm": -1}, "max_norm must be at least 0, got -1.0"),
        whole_tree=True,
    ),
    Row(
        ol.add_decayed_weights,
        decay.add_decayed_weights,
        ({}, *({"weight_decay": d} for d in (0.0, 1e-4, 0.1, 1, -0.1, 3.0, rate, fast))),
        ({"weight_decay": "x"}, "weight_decay must be a number or a schedule"),
        unlike=("mask",),
    ),
    Row(ol.scale_by_rms, rmsprop.scale_by_rms, rms_settings, rms_bad),
    Row(ol.scale_by_stddev, rmsprop.scale_by_stddev, centered_settings, rms_bad, float32=centered_float32),
    Row(
        ol.scale_by_rss,
        adagrad.scale_by_rss,
        (
            {},
            *over(initial_accumulator_value=(0.0, 0.1, 1), eps=(1e-7, 0.1)),
            {"initial_accumulator_value": 0, "eps": 0},
            {"eps": rate},
        ),
        (
            ({"eps": -1}, "eps must be at least 0"),
            ({"initial_accumulator_value": -1}, "initial_accumulator_value must be at least 0"),
        ),
    ),
    Row(ol.scale_by_adam, adam.scale_by_adam, adam_settings, (*beta_bad, *eps_bad), unlike=("mu_dtype",)),
    # --- optimizers
    Row(
        ol.sgd,
        sgd.sgd,
        (
            {"learning_rate": 0.1},
            {"learning_rate": rate},
            {"learning_rate": 0.1, "momentum": 0.9},
            *over(learning_rate=(0.1, rate), momentum=(0.0, 0.9), nesterov=(False, True)),
            {"learning_rate": 1, "momentum": fast, "nesterov": True},
        ),
        (*rate_bad, ({"learning_rate": 0.1, "momentum": 1.5}, "decay must be in [0, 1)")),
        unlike=("accumulator_dtype",),
    ),
    Row(
        ol.rmsprop,
        rmsprop.rmsprop,
        (
            *({"learning_rate": 0.1, **s} for s in rms_settings),
            *({"learning_rate": rate, "momentum": 0.9, **s} for s in rms_settings[2:4]),
            {"learning_rate": 0.1, "momentum": 0.8, "nesterov": True},
        ),
        (*rate_bad, *with_rate(rms_bad)),
    ),
    Row(
        ol.rmsprop,
        rmsprop.rmsprop,
        (
            *({"learning_rate": 0.1, "centered": True, **s} for s in centered_settings[:6]),
            {"learning_rate": 0.1, "centered": True, "momentum": 0.9, "eps": 0.01},
            {"learning_rate": rate, "centered": True, "momentum": 0.5, "nesterov": True, "eps": 0.1},
        ),
        float32=centered_float32,
        variant=", centered",
    ),
    Row(
        ol.adagrad,
        adagrad.adagrad,
        (
            {"learning_rate": 0.1},
            *over(learning_rate=(0.1, rate), initial_accumulator_value=(0.0, 0.5), eps=(1e-7, 0.2)),
        ),
        rate_bad,
    ),
    Row(
        ol.adam,
        adam.adam,
        (*({"learning_rate": 0.1, **s} for s in adam_settings), {"learning_rate": rate}),
        (*rate_bad, *wrong_names, *with_rate(beta_bad + eps_bad)),
        unlike=("mu_dtype",),
    ),
    Row(
        ol.adamw,
        adam.adamw,
        (
            {"learning_rate": 0.1},
            *({"learning_rate": 0.1, "weight_decay": 0.3, **s} for s in adam_settings),
            {"learning_rate": rate, "weight_decay": fast},
        ),
        (*rate_bad, *wrong_names, *with_rate(beta_bad + eps_bad)),
        unlike=("mu_dtype", "mask"),
    ),
    Row(
        ol.nadam,
        nadam.nadam,
        tuple({"learning_rate": 0.1, **s} for s in nadam_settings),
        (*rate_bad, *with_rate(beta_bad + eps_bad)),
        unlike=("mu_dtype",),
    ),
    Row(
        ol.nadamw,
        nadam.nadamw,
        ({"learning_rate": 0.1}, *({"learning_rate": rate, "weight_decay": 0.3, **s} for s in nadam_settings)),
        (*rate_bad, *with_rate(beta_bad + eps_bad)),
        unlike=("mu_dtype", "mask"),
    ),
    Row(
        ol.sign_sgd,
        sign_sgd.sign_sgd,
        tuple({"learning_rate": r} for r in (0.0, 1e-6, 0.1, 1, -1, 30, rate, fast)),
        rate_bad,
    ),
    Row(
        ol.signum,
        sign_sgd.signum,
        ({"learning_rate": 0.1}, *over(learning_rate=(0.1, rate), beta=(0.0, 0.5, 0.9, fast))),
        (*rate_bad, ({"learning_rate": 0.1, "beta": 1}, "beta must be in [0, 1), got 1.0")),
        unlike=("accumulator_dtype",),
    ),
)
