"""A rule on all entries of all leaves in a row, written from the definition."""

import numpy as np

import optax_lite as ol
from tests.methods.bases import BASES, no_transformation, with_base_of
from tests.methods.row import Quirks, Row


def flatten(g, s, w, *, base):
    """The rule of one array on all entries of a list of arrays, in a row."""
    flat = np.concatenate([np.ravel(x) for x in g])
    u, s = base(flat, s, np.concatenate([np.ravel(x) for x in w]))
    ends = np.cumsum([np.size(x) for x in g])
    parts = [part.reshape(np.shape(x)) for part, x in zip(np.split(u, ends[:-1]), g, strict=True)]
    return [part if np.iscomplexobj(x) else part.real for part, x in zip(parts, g, strict=True)], s


def in_order(trees):
    """Leaves in the order of their names, in which JAX puts them in a row."""
    params, gradients = trees
    return dict(sorted(params.items())), [dict(sorted(g.items())) for g in gradients]


ROWS: tuple[Row, ...] = (
    Row(
        ol.flatten,
        flatten,
        tuple({"inner": base} for base in BASES),
        (({"inner": 0.1}, f"member inner {no_transformation}"),),
        quirks=Quirks(translate=with_base_of("inner"), whole_tree=True, data=in_order),
    ),
)
