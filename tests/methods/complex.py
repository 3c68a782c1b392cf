"""Complex arrays as pairs of real ones, written from the definition."""

import numpy as np

import optax_lite as ol
from tests.methods.bases import BASES, leafwise, no_transformation, with_base
from tests.methods.row import Quirks, Row


def split_real_and_imaginary(g, s, w, *, base):
    """`base` on real and imaginary parts as leaves of their own (no paper; written definition);
    lists of arrays.
    """
    parts = []
    for x in (g, w):
        split = []
        for y in x:
            split += [y.real, y.imag] if np.iscomplexobj(y) else [y]
        parts.append(split)
    u_parts, s_base = base(parts[0], None if s is None else s["base"], parts[1])
    u_parts = iter(u_parts)
    u = [next(u_parts) + 1j * next(u_parts) if np.iscomplexobj(y) else next(u_parts) for y in g]
    return u, {"base": s_base}


def split(g, s, w, *, base):
    """The reference for one leaf: its parts are a list if there are two."""
    kept = {
        k: x if isinstance(x, (int, list)) else [x] for k, x in (s or {}).items() if k != "base"
    }
    (u,), s = split_real_and_imaginary(
        [g], {"base": kept} if kept else None, [w], base=leafwise(base)
    )
    return u, {k: x[0] if isinstance(x, list) and len(x) == 1 else x for k, x in s["base"].items()}


ROWS: tuple[Row, ...] = (
    Row(
        ol.split_real_and_imaginary,
        split,
        tuple({"inner": base} for base in BASES),
        (({"inner": 0.1}, f"member inner {no_transformation}"),),
        quirks=Quirks(translate=with_base),
    ),
)
