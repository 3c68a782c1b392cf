"""The rows of methods that find their own step size: COCOB, DoG, MADGRAD, D-Adaptation, Prodigy, MoMo, Mechanic."""

from functools import partial

import optax_lite as ol
from tests.catalogue.row import Row, beta_bad, eps_bad, fast, over, rate, rate_bad, slow, with_rate
from tests.reference import adam, cocob, dadapt_adamw, dog, madgrad, mechanize, momo, prodigy, sgd
from tests.reference.lift import leafwise

eps_bad = eps_bad[:1]

# Large eps show their places; started sums and distances come with the used state.
cocob_settings = (
    {},
    *over(alpha=(0.0, 1.5), eps=(1e-8, 0.2)),
    {"alpha": 1000},
    {"eps": 5.0},
    {"alpha": fast, "eps": 0.1},
)
dadapt_settings = (
    {},
    {"learning_rate": 0.0, "estim_lr0": 0.5},
    {"estim_lr0": 0.1, "weight_decay": 0.3, "eps": 0.1},
    {"learning_rate": 0.5, "betas": (0.0, 0.5), "estim_lr0": 0.01},
    {"betas": (0.6, 0.8), "eps": 0.2, "estim_lr0": 1},
    {"learning_rate": rate, "estim_lr0": 0.1, "eps": 1e-2},
    {"learning_rate": 2, "betas": (0.5, 0.99), "weight_decay": 0.1, "estim_lr0": 1e-3},
    {"learning_rate": fast, "eps": 3.0, "estim_lr0": 1e-8},
    {"weight_decay": slow, "betas": (0.9, 0.95), "estim_lr0": 0.3},
)
betas_bad = (
    ({"betas": 0.9}, "betas must be (b1, b2), got 0.9"),
    ({"betas": (0.9,)}, "betas must be (b1, b2), got (0.9,)"),
    ({"betas": (1.5, 0.9)}, "b1 must be in [0, 1), got 1.5"),
    ({"betas": (0.5, "x")}, "b2 must be a number or a schedule, got 'x'"),
    ({"estim_lr0": 0}, "estim_lr0 must be above 0, got 0.0"),
)
momo_settings = (
    {},
    {"learning_rate": 0.01, "beta": 0.5},
    {"learning_rate": 0.5, "lower_bound": 0.5, "weight_decay": 0.3},
    {"learning_rate": 100, "lower_bound": -30.0, "weight_decay": 0.1},
    {"learning_rate": rate, "beta": fast, "weight_decay": 0.5},
    {"lower_bound": slow, "beta": 0.0},
    {"adapt_lower_bound": True},
    {"adapt_lower_bound": True, "learning_rate": 1e-3, "weight_decay": 0.5, "lower_bound": -50.0},
    {"adapt_lower_bound": True, "lower_bound": 0.3, "weight_decay": 0.2},
    {"adapt_lower_bound": True, "learning_rate": 50, "lower_bound": -100.0, "beta": 0.3},
    # The estimate is above the model, and is put down.
    {"adapt_lower_bound": True, "learning_rate": 0.1, "lower_bound": -5.0, "weight_decay": 0.3, "beta": 0.5},
    {"adapt_lower_bound": True, "learning_rate": 0.01, "lower_bound": 0.3, "weight_decay": 2.0, "beta": 0.5},
    {"adapt_lower_bound": True, "learning_rate": 0.1, "beta": 0.5},
)


def losses(step):
    return {"value": (40.0, 2.0, 30.0, 0.5, 10.0)[step]}


# Sums over the tree whose terms have both signs, and leave fewer digits than float32 has: r of D-Adaptation and
# of Prodigy, the gap of MoMo's model to the lower bound, Mechanic's h. The largest errors seen are half of these.
dadapt_float32, prodigy_float32, mechanize_float32 = 5e-6, 1e-5, 5e-5
momo_float32, momo_adam_float32 = 2e-4, 4e-5


# The base optimizers, as the factory and as the reference take them; their numbers are exact in float32.
BASES = {
    ol.sgd(0.5): leafwise(partial(sgd.sgd, learning_rate=0.5, momentum=None, nesterov=False)),
    ol.sgd(0.5, 0.75): leafwise(partial(sgd.sgd, learning_rate=0.5, momentum=0.75, nesterov=False)),
    ol.adam(0.25, 0.5, 0.75, 0.125): leafwise(
        partial(adam.adam, learning_rate=0.25, b1=0.5, b2=0.75, eps=0.125, eps_root=0.0, nesterov=False)
    ),
}
plain, momentum, adaptive = BASES


def with_base(arguments):
    return {"base": BASES[arguments["base_optimizer"]]} | {k: v for k, v in arguments.items() if k != "base_optimizer"}


ROWS: tuple[Row, ...] = (
    Row(
        ol.scale_by_cocob,
        cocob.scale_by_cocob,
        cocob_settings,
        (({"alpha": -1}, "alpha must be at least 0, got -1.0"), *eps_bad),
    ),
    Row(
        ol.cocob,
        cocob.cocob,
        (
            *({"learning_rate": 0.1, "weight_decay": 0.3, **s} for s in cocob_settings[:6]),
            {"learning_rate": rate, "weight_decay": fast, "eps": 0.2},
            {"eps": 0.5},
            {},
        ),
        (*rate_bad, *with_rate(eps_bad)),
        unlike=("mask",),
    ),
    Row(
        ol.scale_by_distance_over_gradients,
        dog.scale_by_distance_over_gradients,
        tuple(
            {"param_dtype": None, **s}
            for s in (
                {},
                *over(reps_rel=(1e-3, 2.0), eps=(0.0, 0.5)),
                {"global_scale": -1.0},
                {"reps_rel": 0.1, "eps": 3.0, "global_scale": rate},
                {"reps_rel": fast, "eps": slow},
            )
        ),
        (
            ({"reps_rel": -1}, "reps_rel must be at least 0"),
            *eps_bad,
            ({"param_dtype": int}, "must be a floating dtype"),
        ),
        unlike=("param_dtype",),
    ),
    Row(
        ol.dog,
        dog.dog,
        (
            {},
            {"init_step": ("distance", 0.3), "eps": 100.0, "weight_decay": 0.1},
            {"init_step": ("distance", 30.0), "weight_decay": 0.0},
            {"init_step": ("learning_rate", 0.1), "eps": 50.0},
            {"init_step": ("learning_rate", 3.0), "weight_decay": fast},
            {"init_step": ("heuristic", 0.5), "learning_rate": rate},
            {"init_step": ("heuristic", 1e-3), "learning_rate": 0.5, "weight_decay": 3.0},
            {"init_step": ("distance", 1e-3), "eps": fast},
        ),
        (
            *rate_bad,
            *eps_bad,
            ({"init_step": 0.1}, "init_step must be one of ('distance', 'learning_rate', 'heuristic') with a number"),
            ({"init_step": ("radius", 0.1)}, "with a number, got ('radius', 0.1)"),
            ({"init_step": ("distance",)}, "with a number, got ('distance',)"),
        ),
        whole_tree=True,
        unlike=("mask",),
    ),
    Row(
        ol.dowg,
        dog.dowg,
        (
            {},
            {"eps": 100.0, "weight_decay": 0.1},
            {"init_estim_sq_dist": 0.3, "weight_decay": 0.0},
            {"init_estim_sq_dist": 30, "eps": 50.0},
            {"init_estim_sq_dist": 1e-8, "weight_decay": fast},
            {"learning_rate": rate, "eps": 2.0},
            {"learning_rate": 0.5, "init_estim_sq_dist": 5.0, "weight_decay": 3.0},
            {"eps": fast},
        ),
        (*rate_bad, *eps_bad, ({"init_estim_sq_dist": -1}, "init_estim_sq_dist must be at least 0, got -1.0")),
        whole_tree=True,
        unlike=("mask",),
    ),
    Row(
        ol.scale_by_madgrad,
        madgrad.scale_by_madgrad,
        (
            {"learning_rate": 0.1},
            *over(learning_rate=(0.5, 3), momentum=(0.0, 0.6), eps=(1e-6, 0.3)),
            {"learning_rate": 0.1, "eps": 0.0},
            {"learning_rate": rate, "momentum": fast, "eps": 0.1},
        ),
        (
            *rate_bad,
            *with_rate(eps_bad),
            ({"learning_rate": 0.1, "momentum": 1}, "momentum must be in [0, 1), got 1.0"),
        ),
    ),
    Row(
        ol.madgrad,
        madgrad.madgrad,
        (
            {"learning_rate": 0.1},
            *over(learning_rate=(0.1, rate), momentum=(0.0, 0.9), weight_decay=(0.3,), eps=(1e-6, 0.1)),
            {"learning_rate": 1, "weight_decay": fast},
        ),
        (*rate_bad, *with_rate(eps_bad)),
    ),
    Row(
        ol.dadapt_adamw,
        dadapt_adamw.dadapt_adamw,
        dadapt_settings,
        (*rate_bad, *betas_bad, *eps_bad),
        whole_tree=True,
        float32=dadapt_float32,
        positive=("estim_lr0",),
        same_program=1e-5,
    ),
    Row(
        ol.prodigy,
        prodigy.prodigy,
        (
            *dadapt_settings,
            {"beta3": 0.7, "estim_lr_coef": 2.0, "estim_lr0": 0.2},
            {"safeguard_warmup": True, "learning_rate": rate, "estim_lr0": 0.01, "eps": 0.5},
            {"beta3": slow, "estim_lr_coef": fast, "weight_decay": 0.2, "safeguard_warmup": True, "eps": 0.1},
        ),
        (
            *rate_bad,
            *betas_bad,
            *eps_bad,
            ({"beta3": 1}, "beta3 must be in [0, 1), got 1.0"),
            ({"estim_lr_coef": -1}, "estim_lr_coef must be at least 0, got -1.0"),
        ),
        whole_tree=True,
        float32=prodigy_float32,
        positive=("estim_lr0",),
    ),
    Row(
        ol.momo,
        momo.momo,
        momo_settings,
        (
            *rate_bad,
            ({"beta": 1}, "beta must be in [0, 1), got 1.0"),
            ({"weight_decay": -1}, "weight_decay must be at least 0"),
        ),
        whole_tree=True,
        float32=momo_float32,
        extra=losses,
    ),
    Row(
        ol.momo_adam,
        momo.momo_adam,
        (
            {},
            *(
                {"b2": 0.9, "eps": 0.3} | {("b1" if k == "beta" else k): v for k, v in s.items()}
                for s in momo_settings[1:]
            ),
        ),
        (*rate_bad, *beta_bad, *eps_bad, ({"weight_decay": -1}, "weight_decay must be at least 0, got -1.0")),
        whole_tree=True,
        float32=momo_adam_float32,
        extra=losses,
    ),
    Row(
        ol.mechanize,
        mechanize.mechanize,
        (
            {"base_optimizer": adaptive},
            {"base_optimizer": plain, "s_init": 0.1, "eps": 0.3},
            {"base_optimizer": plain, "s_init": 1.0, "weight_decay": 0.5, "num_betas": 1},
            {"base_optimizer": momentum, "s_init": 0.5, "eps": 3.0, "num_betas": 2},
            {"base_optimizer": momentum, "s_init": 10.0, "weight_decay": 0.0},
            {"base_optimizer": adaptive, "s_init": 2.0, "eps": 0.1, "num_betas": 3},
            {"base_optimizer": adaptive, "s_init": 1e-3, "weight_decay": fast},
            {"base_optimizer": plain, "s_init": 1.0, "eps": fast, "weight_decay": 3.0},
        ),
        (
            ({"base_optimizer": 0.1}, "member base_optimizer must be a GradientTransformation, got 0.1"),
            ({"base_optimizer": plain, "num_betas": 0}, "num_betas must be an integer of at least 1, got 0"),
            ({"base_optimizer": plain, "eps": -1}, "eps must be at least 0"),
        ),
        whole_tree=True,
        float32=mechanize_float32,
        translate=with_base,
    ),
)
