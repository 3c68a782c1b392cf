"""Cautious optimizers (Liang et al. 2024)."""

import numpy as np

import optax_lite as ol
from tests.methods import adam, lion, momentum
from tests.methods.compare import seen_by_run
from tests.methods.row import Quirks, Row, Settings, adam_settings


def cautious(g, s, w, *, base, **hyper):
    """Cautious direction (Liang et al. 2024): entries of the base direction that oppose g are left
    out.
    """
    u, base_state = base(g, None if s is None else s["base"], w, **hyper)
    # u has the sign of a gradient (it is not negated yet); of complex numbers the inner product
    # counts.
    phi = np.real(u * np.conj(g)) > 0
    d = g.size
    # What is left is scaled up by d over the number of entries left; the 1 is the paper's, against
    # 0 / 0.
    return u * phi * d / (np.sum(phi) + 1), {"base": base_state}


BASES = {
    ol.scale_by_adam: adam.scale_by_adam,
    ol.scale_by_lion: lion.scale_by_lion,
    ol.trace: momentum.trace,
    ol.identity: lambda g, s, w: (g, {}),
}


def around(settings: Settings) -> Settings:
    """A wrapped transformation as the reference of it and its arguments."""
    inner = settings["inner"]
    given = {k: v for k, v in inner.arguments.items() if "dtype" not in k}
    return {"base": BASES[inner.factory]} | {k: seen_by_run(v, 0) for k, v in given.items()}


ROWS: tuple[Row, ...] = (
    Row(
        ol.cautious,
        cautious,
        (
            {"inner": ol.scale_by_adam()},
            *({"inner": ol.scale_by_adam(**s)} for s in adam_settings[1:7]),
            {"inner": ol.trace(0.9)},
            {"inner": ol.trace(0.99, nesterov=True)},
            {"inner": ol.scale_by_lion(0.95, 0.5)},
            {"inner": ol.identity()},
        ),
        (({"inner": 0.1}, "member inner must be a GradientTransformation, got 0.1"),),
        quirks=Quirks(translate=around),
    ),
)
