"""Numpy reference: complex arrays as pairs of real ones."""

import numpy as np


def split_real_and_imaginary(g, s, w, *, base):
    """`base` on real and imaginary parts as leaves of their own (no paper; written definition); lists of arrays."""
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
