"""Numpy reference: what with_metrics keeps."""

import numpy as np


def with_metrics(g, s, w, *, base, learning_rate, max_norm):
    """The updates of the whole-tree reference `base`, and the norms and counts around them; g and w are lists.

    `max_norm` is None where no clip comes first.
    """
    u, s_base = base(g, None if s is None else s["base"], w)
    old = {"count": 0, "clipped": 0, "nonfinite": 0, "nonfinite_leaves": np.zeros(len(g), bool)} if s is None else s
    grad_norm = np.sqrt(sum(np.sum(np.abs(x) ** 2) for x in g))
    bad = np.array([not np.all(np.isfinite(x)) for x in g])
    if max_norm is not None:
        clipped = {"clipped": old["clipped"] + int(grad_norm > max_norm)}
    else:
        clipped = {}
    return u, {
        "base": s_base,
        "count": old["count"] + 1,
        "grad_norm": grad_norm,
        "update_norm": np.sqrt(sum(np.sum(np.abs(x) ** 2) for x in u)),
        "learning_rate": learning_rate,
        **clipped,
        "nonfinite": old["nonfinite"] + int(np.any(bad)),
        "nonfinite_leaves": bad if np.any(bad) else old["nonfinite_leaves"],
    }
