"""Schedule-Free (Defazio et al. 2024)."""

import jax.numpy as jnp
import numpy as np

import optax_lite as ol
from tests.methods.bases import adaptive, giant, no_transformation, plain, with_base
from tests.methods.compare import started
from tests.methods.row import Namespace, Quirks, Row, beta_bad, eps_bad, fast, over, rate, rate_bad


def schedule_free(g, s, w, *, base, learning_rate, b1, weight_lr_power):
    """Schedule-Free (Defazio et al. 2024, the recursions of y, z and x) around `base`; weights of
    the authors' code.
    """
    # w is y, the point of the gradient; z is stored and x recovered from y = b1 * x + (1 - b1) * z.
    z = w if s is None else s["z"]
    last_b1 = b1 if s is None else s["b1"]
    # x = (w - (1 - b1) * z) / b1; all points relative to w, which keeps the digits of small steps.
    z_w = z - w
    x_w = -(1 - last_b1) * z_w / last_b1
    # The average weighs each z with the rate of the step that made it.
    lr_max = max(0.0 if s is None else s["max_lr"], learning_rate)
    weight = lr_max**weight_lr_power
    weight_sum = (0.0 if s is None else s["weight_sum"]) + weight
    # A warm-up may start at a rate of 0.
    c = weight / weight_sum if weight_sum > 0 else 0.0

    u, s_base = base(g, None if s is None else s["base"], w)
    z_w = z_w + u
    x_w = (1 - c) * x_w + c * z_w
    y_w = b1 * x_w + (1 - b1) * z_w
    s_new = {
        "b1": b1,
        "weight_sum": weight_sum,
        # Starts at 1 in optax.
        "step_count": (1 if s is None else s["step_count"]) + 1,
        "max_lr": lr_max,
        "base": s_base,
        "z": z + u,
    }
    return y_w, s_new


def schedule_free_eval_params(s, w):
    """The averaged point x (Defazio et al. 2024) from y = w and z."""
    return (w - (1 - s["b1"]) * s["z"]) / s["b1"]


def _warmed(learning_rate, warmup_steps, t):
    # The rate of step t = 0, 1, ...: optax's linear schedule from 0; the paper and the authors'
    # code start at t = 1.
    if warmup_steps is None or t >= warmup_steps:
        return learning_rate
    return learning_rate * t / warmup_steps


def schedule_free_sgd(g, s, w, *, learning_rate, warmup_steps, b1, weight_decay, weight_lr_power):
    """Schedule-Free SGD (Defazio et al. 2024, the recursions of y, z and x) with the authors' decay
    at y.
    """
    lr = _warmed(learning_rate, warmup_steps, 0 if s is None else s["step_count"] - 1)

    def base(g, s, w):
        return -lr * (g + (0.0 if weight_decay is None else weight_decay) * w), {}

    return schedule_free(
        g, s, w, base=base, learning_rate=lr, b1=b1, weight_lr_power=weight_lr_power
    )


def schedule_free_adamw(
    g, s, w, *, learning_rate, warmup_steps, b1, b2, eps, weight_decay, weight_lr_power
):
    """Schedule-Free AdamW (Defazio et al. 2024, Algorithm 1) with decay at y."""
    lr = _warmed(learning_rate, warmup_steps, 0 if s is None else s["step_count"] - 1)

    def base(g, s, w):
        # RMSProp with bias correction, as optax documents; the paper corrects the rate (and so the
        # weights and the decay) by sqrt(1 - b2^t) instead.
        t = (0 if s is None else s["count"]) + 1
        nu = np.zeros(g.shape) if s is None else s["nu"]
        nu = b2 * nu + (1 - b2) * np.abs(g) ** 2
        u = g / (np.sqrt(nu / (1 - b2**t)) + eps) + weight_decay * w
        return -lr * u, {"count": t, "nu": nu}

    return schedule_free(
        g, s, w, base=base, learning_rate=lr, b1=b1, weight_lr_power=weight_lr_power
    )


def nested(reference):
    """A reference that finds its base's fields among its own."""
    return lambda g, s, w, **settings: reference(g, s and s | {"base": s}, w, **settings)


def averaged_for_a_while(state, seed):
    """Used, with the count that starts at 1."""
    return started(state, seed)._replace(step_count=jnp.int32(8))


# z and y are kept in float32, so that y - z has the digits that a step has beside z: hence the
# giant steps, and the bound for those that are not.
giant_rate, schedule_free_float32 = 2.0**20, 2e-5


def warmed(lib, learning_rate, warmup_steps):
    """Return the rate, behind a linear rise from 0 if there is a warm-up."""
    if warmup_steps is None:
        return learning_rate
    return (
        lib.warmup_constant_schedule(init_value=0, peak_value=1, warmup_steps=warmup_steps)
        * learning_rate
    )


def schedule_free_sgd_parts(
    lib,
    learning_rate=1.0,
    warmup_steps=None,
    b1=0.9,
    weight_decay=None,
    weight_lr_power=2.0,
    state_dtype=None,
):
    rate = warmed(lib, learning_rate, warmup_steps)
    base = lib.chain(lib.identity(), lib.scale_by_learning_rate(rate))
    if weight_decay is not None:
        base = lib.chain(lib.add_decayed_weights(weight_decay=weight_decay), base)
    return lib.schedule_free(
        base, rate, b1=b1, weight_lr_power=weight_lr_power, state_dtype=state_dtype
    )


def schedule_free_adamw_parts(
    lib,
    learning_rate=0.0025,
    warmup_steps=None,
    b1=0.9,
    b2=0.999,
    eps=1e-8,
    weight_decay=0.0,
    weight_lr_power=2.0,
    state_dtype=None,
):
    rate = warmed(lib, learning_rate, warmup_steps)
    base = lib.chain(
        lib.scale_by_rms(
            decay=b2, eps=eps, initial_scale=0.0, eps_in_sqrt=False, bias_correction=True
        ),
        lib.add_decayed_weights(weight_decay=weight_decay),
        lib.scale_by_learning_rate(rate),
    )
    return lib.schedule_free(
        base, rate, b1=b1, weight_lr_power=weight_lr_power, state_dtype=state_dtype
    )


ROWS: tuple[Row, ...] = (
    Row(
        ol.schedule_free,
        schedule_free,
        (
            {"base_optimizer": adaptive, "learning_rate": 0.5},
            {"base_optimizer": giant, "learning_rate": 0.5, "b1": 0.5, "weight_lr_power": 0.0},
            {"base_optimizer": giant, "learning_rate": 3, "weight_lr_power": 1.0},
            {"base_optimizer": adaptive, "learning_rate": rate},
            {"base_optimizer": adaptive, "learning_rate": fast, "b1": 0.8, "weight_lr_power": 3.0},
            {"base_optimizer": giant, "learning_rate": 0.3, "b1": fast},
            {"base_optimizer": adaptive, "learning_rate": 0.3, "weight_lr_power": fast},
            {"base_optimizer": giant, "learning_rate": 0.0, "b1": 0.99},
        ),
        (
            (
                {"base_optimizer": 0.1, "learning_rate": 0.1},
                f"member base_optimizer {no_transformation}",
            ),
            (
                {"base_optimizer": plain, "learning_rate": 0.1, "b1": 0.0},
                "b1 must be above 0, got 0.0",
            ),
            (
                {"base_optimizer": plain, "learning_rate": 0.1, "b1": 1.0},
                "b1 must be in [0, 1), got 1.0",
            ),
            (
                {"base_optimizer": plain, "learning_rate": "x"},
                "learning_rate must be a number or a schedule, got 'x'",
            ),
            (
                {"base_optimizer": plain, "learning_rate": 0.1, "state_dtype": "int8"},
                "state_dtype must be a floating dtype",
            ),
        ),
        quirks=Quirks(
            unlike=("state_dtype",),
            translate=with_base,
            used=averaged_for_a_while,
            float32=schedule_free_float32,
            positive=("b1",),
        ),
    ),
    Row(
        ol.schedule_free_sgd,
        nested(schedule_free_sgd),
        (
            {"learning_rate": 2.0**14},
            *over(
                learning_rate=(giant_rate, 3 * giant_rate),
                warmup_steps=(None, 3),
                weight_decay=(None, 0.3),
            ),
            {
                "learning_rate": giant_rate,
                "warmup_steps": 10,
                "b1": 0.5,
                "weight_lr_power": 1.0,
                "weight_decay": fast,
            },
            {"learning_rate": giant_rate * rate, "b1": 0.6},
            {"weight_decay": giant_rate},
        ),
        (
            *rate_bad,
            ({"b1": 0}, "b1 must be above 0, got 0.0"),
            ({"weight_decay": "x"}, "weight_decay must be a number"),
        ),
        stands_for=schedule_free_sgd_parts,
        quirks=Quirks(
            unlike=("state_dtype",),
            used=averaged_for_a_while,
            float32=schedule_free_float32,
            positive=("b1",),
        ),
    ),
    Row(
        ol.schedule_free_adamw,
        nested(schedule_free_adamw),
        (
            {},
            *over(
                learning_rate=(giant_rate,),
                warmup_steps=(None, 3),
                weight_decay=(0.0, 0.3),
                eps=(1e-8, 0.1),
            ),
            {"learning_rate": 1, "warmup_steps": 10, "b1": 0.5, "b2": 0.5, "weight_lr_power": 1.0},
            {"learning_rate": rate, "b1": 0.6},
        ),
        (*rate_bad, *beta_bad[:1], *eps_bad[:1]),
        stands_for=schedule_free_adamw_parts,
        quirks=Quirks(
            unlike=("state_dtype",),
            used=averaged_for_a_while,
            float32=schedule_free_float32,
            positive=("b1",),
        ),
    ),
)


def _evaluates_at_the_average(namespace: Namespace) -> bool:
    """x, where y = b1·x + (1 - b1)·z."""
    x, z, b1 = jnp.array([1.0, -2.0, 0.5]), jnp.array([0.3, 4.0, -1.0]), 0.75
    state = ol.schedule_free_sgd(0.1, b1=b1).init(x)._replace(z=z)
    own, y = namespace["ScheduleFreeState"](*state), b1 * x + (1 - b1) * z
    found = own.eval_params(y), namespace["schedule_free_eval_params"](own, y)
    return all(bool(jnp.allclose(each, x, rtol=1e-12)) for each in found)


PROBES = {"optax_lite.optimizers.schedule_free": {"average": _evaluates_at_the_average}}
