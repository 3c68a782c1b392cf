"""Numpy reference: GaLore."""

import numpy as np


def galore(g, s, w, *, learning_rate, rank, update_proj_gap, scale, base, weight_decay, decayed=True):
    """GaLore (Zhao et al. 2024, Algorithm 2 with `base` for Adam) on the leading singular vectors of the gradient."""
    count = 0 if s is None else s["count"]
    s_base = None if s is None else s["base"]
    if g.ndim == 2:
        # The paper shortens the SMALLER side, optax the larger one: its state is the min(r * n, m * r) it documents.
        left = g.shape[0] >= g.shape[1]
        if count % update_proj_gap == 0:
            U, _, Vh = np.linalg.svd(g, full_matrices=False)
            P = U[:, :rank] if left else Vh[:rank].conj().T
        else:
            P = s["projector"]
        # A singular vector's sign is arbitrary. It flips a row (column) of R, so of N, and P N (N P^T) flips it back:
        # until the first renewal it does not matter. After one, the moments were made with the old projector's signs.
        R = P.conj().T @ g if left else g @ P
        N, s_base = base(R, s_base, None)
        u = scale * (P @ N if left else N @ P.conj().T)
    else:
        # Vectors (and all else without two axes) go to `base` as they are, without the scale.
        P = np.zeros((0, 0))
        u, s_base = base(g, s_base, None)
    if decayed:
        u = u + weight_decay * w
    return -learning_rate * u, {"count": count + 1, "base": s_base, "projector": P}
