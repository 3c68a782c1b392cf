"""The rows of adaptive methods that stand in optax's contrib, or that optax does not have."""

import optax_lite as ol
from optax_lite.optimizers.adopt import fourth_root
from tests.agreement import seen_by_run
from tests.catalogue.adaptive import belief_settings, decay_bad, decayed, plain
from tests.catalogue.row import (
    Row,
    Settings,
    adam_settings,
    beta_bad,
    eps_bad,
    fast,
    over,
    rate,
    rate_bad,
    slow,
    with_rate,
)
from tests.reference import (
    acprop,
    adagrad,
    adam,
    adam_atan2,
    ademamix,
    adopt,
    cautious,
    decay,
    lion,
    mars,
    momentum,
    nadam_dozat,
    simplified_ademamix,
    stable_adamw,
)

acprop_settings = tuple({k: v for k, v in s.items() if k != "nesterov"} for s in belief_settings)
ademamix_settings = (
    {},
    {"b1": 0.0, "b2": 0.0, "b3": 0.0, "eps": 0.1},
    {"b1": 0.5, "b2": 0.9, "b3": 0.8, "alpha": 2, "eps": 0.1},
    {"alpha": 0.0, "eps_root": 0.05},
    {"b3": 0.9, "alpha": 8.0, "eps": 0.3, "eps_root": 0.2},
    {"b2": 0.99, "b3": 0.5},
    {"b3": slow, "alpha": fast},
    {"b1": fast, "b2": slow, "alpha": 10 * rate},
)
simplified_settings = (
    {},
    {"b1": 0.0, "b2": 0.0, "alpha": 1.0, "eps": 0.1},
    {"b1": 0.5, "b2": 0.9, "alpha": 2, "eps": 0.1},
    {"alpha": 50.0, "eps_root": 0.05},
    {"b2": 0.5, "alpha": 0.5, "eps": 0.3, "eps_root": 0.2},
    {"b1": 0.999, "b2": 0.99},
    {"b1": slow, "alpha": fast},
    {"b1": fast, "b2": slow, "alpha": 10 * rate},
)


def constant_bound(step):
    return 0.3


def square_root(step):
    return step**0.5


# From a used state v is near 1 and gradients of size 30 are clipped, of size 0.1 are not.
adopt_settings = (
    {},
    {"b1": 0.5, "b2": 0.9},
    {"b1": 0.0, "b2": 0.0, "eps": 0.1},
    {"use_clipping": False},
    {"b1": 0.8, "b2": 0.7, "eps": 0.8, "use_clipping": False},
    {"nesterov": True, "b1": 0.6},
    {"nesterov": True, "use_clipping": False, "b2": 0.5},
    {"clip_value_fn": constant_bound, "b1": 0.7},
    {"clip_value_fn": square_root, "b2": 0.8, "eps": 0.2},
    {"b1": fast, "b2": slow, "eps": 10 * rate},
)
nadam_settings = (
    {},
    {"b1": 0.0, "b2": 0.0},
    {"b1": 0.5, "b2": 0.9, "eps": 0.1},
    {"momentum_decay": 0.0},
    {"momentum_decay": 1, "eps": 0.2},
    {"b1": 0.99, "b2": 0.9999, "momentum_decay": 0.3},
    {"b1": fast, "b2": slow},
    {"b2": fast, "momentum_decay": fast},
)
atan2_settings = (
    {},
    {"b1": 0.0, "b2": 0.0},
    {"b1": 0.5, "b2": 0.9, "a": 0.3},
    {"b": 0.2},
    {"a": 2, "b": 3},
    {"b1": 0.99, "b2": 0.5, "b": 0.0},
    {"b1": fast, "b2": slow},
    {"a": fast, "b": slow},
)
# RMS is 1 for b2 = 0 and at first; sizes change little from step to step, so only a used state or a small b2 clips.
stable_settings = (
    {},
    {"b1": 0.0, "b2": 0.0},
    {"b1": 0.5, "b2": 0.9, "eps": 0.1},
    {"b2": 0.3, "eps": 0.5},
    {"b1": 0.99, "b2": 0.999, "eps": 3.0},
    {"b1": fast, "b2": slow},
    {"b2": fast, "eps": rate},
)
mars_settings = (
    {},
    {"b1": 0.5, "b2": 0.9, "eps": 0.1, "gamma": 0.5},
    {"b1": 0.9, "gamma": 0.0, "eps": 0.01},
    {"max_norm": 30, "gamma": 0.1, "eps": 1.0},
    {"max_norm": 0.01, "eps": 0.1},
    {"b1": 0.0, "b2": 0.0, "eps": 0.2},
    {"b1": fast, "b2": slow, "gamma": rate},
    {"max_norm": fast, "gamma": fast, "eps": 0.1},
)
BASES = {
    ol.scale_by_adam: adam.scale_by_adam,
    ol.scale_by_lion: lion.scale_by_lion,
    ol.trace: momentum.trace,
    ol.identity: lambda g, s, w: (g, {}),
}


def around(settings: Settings) -> Settings:
    """A wrapped transformation as the reference of it and its arguments."""
    call, values = settings["inner"]._call, settings["inner"]._values
    given = {k: v for k, v in {**dict(zip(call.names, values, strict=True)), **call.static}.items() if "dtype" not in k}
    return {"base": BASES[call.factory]} | {k: seen_by_run(v, 0) for k, v in given.items()}


ROWS: tuple[Row, ...] = (
    # --- contrib
    Row(ol.scale_by_acprop, acprop.scale_by_acprop, acprop_settings, (*beta_bad, *eps_bad)),
    Row(
        ol.acprop,
        acprop.acprop,
        decayed(acprop_settings),
        (*rate_bad, *with_rate(beta_bad + eps_bad), decay_bad),
        unlike=("mask",),
    ),
    Row(
        ol.scale_by_ademamix,
        ademamix.scale_by_ademamix,
        ademamix_settings,
        (
            *beta_bad,
            *eps_bad,
            ({"b3": 1}, "b3 must be in [0, 1), got 1.0"),
            ({"alpha": -1}, "alpha must be at least 0"),
        ),
        unlike=("mu_dtype",),
    ),
    Row(
        ol.ademamix,
        ademamix.ademamix,
        decayed(ademamix_settings),
        (*rate_bad, *with_rate(beta_bad + eps_bad), decay_bad),
        unlike=("mu_dtype", "mask"),
    ),
    Row(
        ol.scale_by_simplified_ademamix,
        simplified_ademamix.scale_by_simplified_ademamix,
        simplified_settings,
        (*beta_bad, *eps_bad, ({"alpha": -1}, "alpha must be at least 0, got -1.0")),
    ),
    Row(
        ol.simplified_ademamix,
        simplified_ademamix.simplified_ademamix,
        decayed(simplified_settings),
        (*rate_bad, *with_rate(beta_bad + eps_bad), decay_bad),
        unlike=("mask",),
    ),
    *(
        Row(
            factory,
            reference,
            settings,
            bad,
            unlike=("mu_dtype",),
            # The default bound is the reference's own.
            translate=lambda settings: {k: v for k, v in settings.items() if v is not fourth_root},
        )
        for factory, reference, settings, bad in (
            (ol.scale_by_adopt, adopt.scale_by_adopt, adopt_settings, (*beta_bad, eps_bad[0])),
            (ol.adopt, adopt.adopt, plain(adopt_settings), (*rate_bad, *with_rate(beta_bad))),
        )
    ),
    # --- what optax does not have
    Row(
        ol.scale_by_nadam,
        nadam_dozat.scale_by_nadam,
        nadam_settings,
        (*beta_bad, eps_bad[0], ({"momentum_decay": -1}, "momentum_decay must be at least 0, got -1.0")),
        unlike=("mu_dtype",),
    ),
    Row(
        ol.nadam_dozat,
        nadam_dozat.nadam_dozat,
        plain(nadam_settings),
        (*rate_bad, *with_rate(beta_bad)),
        unlike=("mu_dtype",),
    ),
    Row(
        ol.scale_by_adam_atan2,
        adam_atan2.scale_by_adam_atan2,
        atan2_settings,
        (*beta_bad, ({"a": -1}, "a must be at least 0, got -1.0"), ({"eps": 1e-8}, "no argument 'eps'")),
        unlike=("mu_dtype",),
    ),
    Row(
        ol.adam_atan2,
        adam_atan2.adam_atan2,
        decayed(atan2_settings),
        (*rate_bad, *with_rate(beta_bad), decay_bad),
        unlike=("mu_dtype", "mask"),
    ),
    Row(
        ol.stable_adamw,
        stable_adamw.stable_adamw,
        decayed(stable_settings),
        (*rate_bad, *with_rate((*beta_bad, eps_bad[0])), decay_bad),
        unlike=("mask",),
    ),
    Row(
        ol.mars,
        mars.mars,
        (*decayed(mars_settings), {"weight_decay": 0.1}),
        (
            *rate_bad,
            *with_rate((*beta_bad, eps_bad[0], ({"gamma": -1}, "gamma must be at least 0"))),
            ({"max_norm": 0}, "max_norm must be above 0, got 0.0"),
            decay_bad,
        ),
        unlike=("mask",),
    ),
    Row(
        ol.cautious,
        cautious.cautious,
        (
            {"inner": ol.scale_by_adam()},
            *({"inner": ol.scale_by_adam(**s)} for s in adam_settings[1:7]),
            {"inner": ol.trace(0.9)},
            {"inner": ol.trace(0.99, nesterov=True)},
            {"inner": ol.scale_by_lion(0.95, 0.5)},
            {"inner": ol.identity()},
        ),
        ({"inner": 0.1}, "member inner must be a GradientTransformation, got 0.1"),
        translate=around,
    ),
    Row(
        ol.independent_weight_decay,
        decay.independent_weight_decay,
        tuple({"weight_decay": d} for d in (0.0, 1e-4, 0.1, 1, -0.1, 3.0, rate, fast)),
        ({"weight_decay": "x"}, "weight_decay must be a number or a schedule, got 'x'"),
        unlike=("mask",),
    ),
    # --- Adagrad with eps beside the root
    Row(
        ol.scale_by_rss,
        adagrad.scale_by_rss,
        (
            {"eps_in_sqrt": False},
            *over(initial_accumulator_value=(0.0, 0.1, 1), eps=(1e-7, 0.1), eps_in_sqrt=(False,)),
            {"eps": rate, "eps_in_sqrt": False},
        ),
        variant=", eps beside the root",
    ),
    Row(
        ol.adagrad,
        adagrad.adagrad,
        (
            *over(
                learning_rate=(0.1, rate), initial_accumulator_value=(0.0, 0.5), eps=(1e-7, 0.2), eps_in_sqrt=(False,)
            ),
        ),
        variant=", eps beside the root",
    ),
)
