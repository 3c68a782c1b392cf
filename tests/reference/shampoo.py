"""Numpy references: Shampoo."""

import numpy as np

from .momentum import trace


def inverse_root(A, p, eps):
    """A^(-1/p) of a positive semidefinite matrix, by its eigenvalues (Gupta, Koren & Singer 2018, section 2)."""
    eigenvalues, V = np.linalg.eigh(A)
    # The paper has eps in the statistics, which start at eps * I and so never have an eigenvalue below eps; the floor
    # takes back the rounding of eigh, which may go below 0. With b2 < 1 the start fades away and the floor is what
    # stays of it. Gupta's released code starts at 0, clips at 0 and adds eps here instead, the same for b2 = 1. (Both,
    # eps in the start and again in the root, would be 2 eps.)
    return (V * np.maximum(eigenvalues, eps) ** (-1 / p)) @ V.conj().T


def scale_by_shampoo(g, s, w, *, b2, eps, block_size, every):
    """Shampoo direction (Gupta, Koren & Singer 2018, Algorithm 2; Algorithm 1 is its case k = 2), block by block."""
    # A scalar is a vector of length 1.
    G = np.atleast_1d(g)
    k = G.ndim
    blocks = list(np.ndindex(*(-(-d // block_size) for d in G.shape)))
    count = 0 if s is None else s["count"]
    statistics = [{} for _ in range(k)]
    roots = [{} for _ in range(k)]
    u = np.zeros_like(G)
    for block in blocks:
        # The last block of an axis takes what is left. Blocks know nothing of each other.
        part = tuple(slice(i * block_size, (i + 1) * block_size) for i in block)
        G_block = G[part]
        u_block = G_block
        for i in range(k):
            H = eps * np.eye(G_block.shape[i]) if s is None else s["statistics"][i][block]
            others = [j for j in range(k) if j != i]
            outer = np.tensordot(G_block, G_block.conj(), axes=(others, others))
            # The paper sums (b2 = 1); b2 < 1 averages.
            H = b2 * H + (1 - b2 if b2 < 1 else 1) * outer
            # Algorithm 2 takes the root in every step; the authors' code has an interval too (svd_interval).
            root = inverse_root(H, 2 * k, eps) if count % every == 0 else s["roots"][i][block]
            u_block = np.moveaxis(np.tensordot(root, u_block, axes=(1, i)), 0, i)
            statistics[i][block] = H
            roots[i][block] = root
        u[part] = u_block
    return u.reshape(g.shape), {"count": count + 1, "statistics": statistics, "roots": roots}


def shampoo(g, s, w, *, learning_rate, momentum, nesterov, b2, eps, block_size, every):
    """Shampoo (Gupta, Koren & Singer 2018, Algorithm 2) with momentum on the preconditioned gradient."""
    u, s_new = scale_by_shampoo(g, s, w, b2=b2, eps=eps, block_size=block_size, every=every)
    if momentum is not None:
        u, t = trace(u, s, w, decay=momentum, nesterov=nesterov)
        s_new.update(t)
    return -learning_rate * u, s_new
