"""RMSProp, and its centered form."""

from optax_lite.compose import chain
from optax_lite.core import Number, transform
from optax_lite.optimizers.rms import scale_by_rms, scale_by_stddev
from optax_lite.transforms.momentum import trace_if
from optax_lite.transforms.scale import scale_by_learning_rate


@transform
def rmsprop(
    learning_rate: Number, decay: Number = 0.9, eps: Number = 1e-8, initial_scale: Number = 0.0, eps_in_sqrt=True,
    centered=False, momentum: Number | None = None, nesterov=False, bias_correction=False,
):  # fmt: skip
    """w ← w - lr·g / √(v + eps); momentum accumulates these steps. Tieleman & Hinton 2012, lecture 6e; Graves 2013.

    `centered` divides by the standard deviation, `scale_by_stddev`, in place of the root mean square. Momentum comes
    after the learning rate (the velocity form), so that a change of the rate does not rescale steps already taken;
    None is no momentum and no state for it. To reproduce torch, say `decay=0.99, eps_in_sqrt=False`.
    """
    scale_by = scale_by_stddev if centered else scale_by_rms
    return chain(
        scale_by(decay, eps, initial_scale, eps_in_sqrt, bias_correction),
        scale_by_learning_rate(learning_rate),
        trace_if(momentum, nesterov),
    )
