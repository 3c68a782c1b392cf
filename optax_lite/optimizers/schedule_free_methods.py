"""Schedule-Free SGD and AdamW."""

from optax_lite.compose import chain
from optax_lite.core import Number, transform
from optax_lite.optimizers.rms import scale_by_rms
from optax_lite.optimizers.schedule_free import schedule_free
from optax_lite.optimizers.sgd import sgd
from optax_lite.schedules import warmup_constant_schedule
from optax_lite.transforms.decay import add_decayed_weights
from optax_lite.transforms.scale import scale_by_learning_rate


def _warmed_up(learning_rate, warmup_steps):
    """The rate after a linear warm-up, which is 0 on the first update."""
    return learning_rate if warmup_steps is None else warmup_constant_schedule(0.0, 1.0, warmup_steps) * learning_rate


@transform(static=("state_dtype",), is_a=("average",))
def schedule_free_sgd(
    learning_rate: Number = 1.0,
    warmup_steps: Number | None = None,
    b1: Number = 0.9,
    weight_decay: Number | None = None,
    weight_lr_power: Number = 2.0,
    state_dtype=None,
):
    """`schedule_free` around SGD, with a linear warm-up to a constant rate. Defazio et al. 2024.

    By the authors, rates of 10 to 50 times the usual ones are a good start. `warmup_steps` is their number, None for
    none; the first of them has rate 0. `weight_decay` is an L2 penalty at y, multiplied by the rate as always.
    """
    rate = _warmed_up(learning_rate, warmup_steps)
    base = sgd(rate) if weight_decay is None else chain(add_decayed_weights(weight_decay), sgd(rate))
    return schedule_free(base, rate, b1, weight_lr_power, state_dtype)


@transform(static=("state_dtype",), is_a=("average",))
def schedule_free_adamw(
    learning_rate: Number = 0.0025, warmup_steps: Number | None = None, b1: Number = 0.9, b2: Number = 0.999,
    eps: Number = 1e-8, weight_decay: Number = 0.0, weight_lr_power: Number = 2.0, state_dtype=None,
):  # fmt: skip
    """`schedule_free` around AdamW without its momentum, with a linear warm-up to a constant rate. Defazio et al. 2024.

    The scaling is `scale_by_rms` with bias correction, which is Adam's with b1 = 0 without the state for it; the paper
    corrects the rate instead. By the authors, rates of 1 to 10 times those of AdamW work; a larger `b1`, 0.95 or 0.98,
    suits long runs. `weight_decay` is decoupled and taken at y; `warmup_steps` is as in `schedule_free_sgd`.
    """
    rate = _warmed_up(learning_rate, warmup_steps)
    base = chain(
        scale_by_rms(b2, eps, eps_in_sqrt=False, bias_correction=True),
        add_decayed_weights(weight_decay),
        scale_by_learning_rate(rate),
    )
    return schedule_free(base, rate, b1, weight_lr_power, state_dtype)
