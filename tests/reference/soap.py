"""Numpy references: SOAP.

What another program must share with this one: u, mu, gg, nu and |q|. Eigenvectors have no sign (complex: no phase), and
nothing but q depends on it. Where an eigenvalue is repeated they are not determined at all, and u itself depends on the
choice: already for the 0 of an axis whose first gradient has a rank lower than the axis is long by two or more, such as
axis 1 of a gradient of shape (2, 4).
"""

import numpy as np


def rotate(x, q):
    """Coordinates of x in the bases q (Vyas et al. 2024, Algorithm 3, Q_L^T G Q_R); an axis without a basis stays."""
    for axis, Q in enumerate(q):
        if Q is not None:
            x = np.moveaxis(np.tensordot(Q.conj().T, x, axes=(1, axis)), 0, axis)
    return x


def rotate_back(x, q):
    """The inverse of rotate (Vyas et al. 2024, Algorithm 3, Q_L N' Q_R^T)."""
    return rotate(x, [None if Q is None else Q.conj().T for Q in q])


def scale_by_soap(g, s, w, *, b1, b2, shampoo_beta, eps, precondition_frequency, max_precondition_dim):
    """SOAP direction (Vyas et al. 2024, Algorithms 3 and 4; boundary effects from the authors' soap.py)."""
    # A vector has no preconditioner in soap.py, an axis that is too long neither: what is left is Adam on these axes.
    preconditioned = [g.ndim > 1 and d <= max_precondition_dim for d in g.shape]
    beta = b2 if shampoo_beta is None else shampoo_beta

    # G G^T for the first axis, G^T G for the second, ...: the axis stays, all others are summed over.
    outer = [
        np.tensordot(g, g.conj(), axes=([j for j in range(g.ndim) if j != i],) * 2) if preconditioned[i] else None
        for i in range(g.ndim)
    ]

    if s is None:
        # soap.py: the first gradient makes the bases and nothing else, "so that we never use the current gradients in
        # the projection". The parameter and the moments stay, and the step that counts is the next one.
        gg = [None if o is None else (1 - beta) * o for o in outer]
        q = [None if L is None else np.linalg.eigh(L)[1][:, ::-1] for L in gg]
        return np.zeros_like(g), {"count": 1, "mu": np.zeros_like(g), "nu": np.zeros(g.shape), "gg": gg, "q": q}

    count = s["count"] + 1
    t = count - 1
    M, V, gg, q = s["mu"], s["nu"], s["gg"], s["q"]

    # M is kept in the space of G, as in Algorithm 3. soap.py keeps Q_L^T M Q_R and rotates it over whenever the bases
    # change: the same numbers, because the rotation is linear and undone exactly by its transpose.
    G_rot = rotate(g, q)
    M = b1 * M + (1 - b1) * g
    M_rot = rotate(M, q)
    V = b2 * V + (1 - b2) * np.abs(G_rot) ** 2
    # eps as in soap.py: outside the root (Algorithm 3 has it inside) and before the bias correction.
    N_rot = M_rot / (np.sqrt(V) + eps)
    N = rotate_back(N_rot, q) * np.sqrt(1 - b2**t) / (1 - b1**t)

    # Only now G enters the preconditioners and, every so often, the bases, for the steps to come.
    gg = [None if o is None else beta * L + (1 - beta) * o for L, o in zip(gg, outer, strict=True)]
    if t % precondition_frequency == 0:
        q = list(q)
        for i in range(g.ndim):
            if preconditioned[i]:
                # Algorithm 4, one step of the power method; soap.py first sorts by the estimated eigenvalues, V too.
                order = np.argsort(-np.diag(q[i].conj().T @ gg[i] @ q[i]).real, kind="stable")
                V = np.take(V, order, axis=i)
                q[i] = np.linalg.qr(gg[i] @ q[i][:, order])[0]
    return N, {"count": count, "mu": M, "nu": V, "gg": gg, "q": q}


def soap(
    g,
    s,
    w,
    *,
    learning_rate,
    b1,
    b2,
    shampoo_beta,
    eps,
    precondition_frequency,
    max_precondition_dim,
    weight_decay,
    decayed=True,
):
    """SOAP (Vyas et al. 2024, Algorithm 3) with the decoupled decay of Loshchilov & Hutter 2019."""
    N, s_new = scale_by_soap(
        g,
        s,
        w,
        b1=b1,
        b2=b2,
        shampoo_beta=shampoo_beta,
        eps=eps,
        precondition_frequency=precondition_frequency,
        max_precondition_dim=max_precondition_dim,
    )
    # This decay knows nothing of SOAP and acts in every step. soap.py has none in its first step, and later decays the
    # parameter that has already moved, which differs by learning_rate^2 * weight_decay * N.
    if decayed:
        N = N + weight_decay * w
    return -learning_rate * N, s_new
