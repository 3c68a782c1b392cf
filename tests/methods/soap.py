"""SOAP (Vyas et al. 2024).

What another program must share with the reference: u, mu, gg, nu and |q|. Eigenvectors have no sign
(complex: no phase), and nothing but q depends on it. Where an eigenvalue is repeated they are not
determined at all, and u itself depends on the choice: already for the 0 of an axis whose first
gradient has a rank lower than the axis is long by two or more, such as axis 1 of a gradient of
shape (2, 4).
"""

import jax
import jax.numpy as jnp
import numpy as np

import optax_lite as ol
from tests.methods.compare import changes_at, part_with, started
from tests.methods.row import (
    Namespace,
    Quirks,
    Row,
    beta_bad,
    eps_bad,
    fast,
    rate,
    rate_bad,
    slow,
    with_rate,
    wrong_names,
)


def rotate(x, q):
    """Coordinates of x in the bases q (Vyas et al. 2024, Algorithm 3, Q_L^T G Q_R); an axis without
    a basis stays.
    """
    for axis, Q in enumerate(q):
        if Q is not None:
            x = np.moveaxis(np.tensordot(Q.conj().T, x, axes=(1, axis)), 0, axis)
    return x


def rotate_back(x, q):
    """The inverse of rotate (Vyas et al. 2024, Algorithm 3, Q_L N' Q_R^T)."""
    return rotate(x, [None if Q is None else Q.conj().T for Q in q])


def scale_by_soap(
    g, s, w, *, b1, b2, shampoo_beta, eps, precondition_frequency, max_precondition_dim
):
    """SOAP direction (Vyas et al. 2024, Algorithms 3 and 4; boundary effects from the authors'
    soap.py).
    """
    # A vector has no preconditioner in soap.py, an axis that is too long neither: what is left is
    # Adam on these axes.
    preconditioned = [g.ndim > 1 and d <= max_precondition_dim for d in g.shape]
    beta = b2 if shampoo_beta is None else shampoo_beta

    # G G^T for the first axis, G^T G for the second, ...: the axis stays, all others are summed
    # over.
    outer = [
        np.tensordot(g, g.conj(), axes=([j for j in range(g.ndim) if j != i],) * 2)
        if preconditioned[i]
        else None
        for i in range(g.ndim)
    ]

    if s is None:
        # soap.py: the first gradient makes the bases and nothing else, "so that we never use the
        # current gradients in the projection". The parameter and the moments stay, and the step
        # that counts is the next one.
        gg = [None if o is None else (1 - beta) * o for o in outer]
        q = [None if L is None else np.linalg.eigh(L)[1][:, ::-1] for L in gg]
        return np.zeros_like(g), {
            "count": 1,
            "mu": np.zeros_like(g),
            "nu": np.zeros(g.shape),
            "gg": gg,
            "q": q,
        }

    count = s["count"] + 1
    t = count - 1
    M, V, gg, q = s["mu"], s["nu"], s["gg"], s["q"]

    # M is kept in the space of G, as in Algorithm 3. soap.py keeps Q_L^T M Q_R and rotates it over
    # whenever the bases change: the same numbers, because the rotation is linear and undone exactly
    # by its transpose.
    G_rot = rotate(g, q)
    M = b1 * M + (1 - b1) * g
    M_rot = rotate(M, q)
    V = b2 * V + (1 - b2) * np.abs(G_rot) ** 2
    # eps as in soap.py: outside the root (Algorithm 3 has it inside) and before the bias
    # correction.
    N_rot = M_rot / (np.sqrt(V) + eps)
    N = rotate_back(N_rot, q) * np.sqrt(1 - b2**t) / (1 - b1**t)

    # Only now G enters the preconditioners and, every so often, the bases, for the steps to come.
    gg = [None if o is None else beta * L + (1 - beta) * o for L, o in zip(gg, outer, strict=True)]
    if t % precondition_frequency == 0:
        q = list(q)
        for i in range(g.ndim):
            if preconditioned[i]:
                # Algorithm 4, one step of the power method; soap.py first sorts by the estimated
                # eigenvalues, V too.
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
    # This decay knows nothing of SOAP and acts in every step. soap.py has none in its first step,
    # and later decays the parameter that has already moved, which differs by learning_rate^2 *
    # weight_decay * N.
    if decayed:
        N = N + weight_decay * w
    return -learning_rate * N, s_new


soap_settings = (
    {},
    {"b1": 0.5, "b2": 0.9, "eps": 0.1, "precondition_frequency": 1},
    {"b1": 0.0, "b2": 0.8, "shampoo_beta": 0.3, "precondition_frequency": 2},
    {
        "b1": 0.8,
        "b2": 0.5,
        "shampoo_beta": 0.9,
        "eps": 0.3,
        "max_precondition_dim": 3,
        "precondition_frequency": 4,
    },
    {"max_precondition_dim": 2, "precondition_frequency": 2},
    {"b1": fast, "b2": slow, "precondition_frequency": 1},
    {"shampoo_beta": fast, "eps": 0.01, "precondition_frequency": 2},
    {"shampoo_beta": 0, "eps": 0, "precondition_frequency": 7},
)
soap_bad = (
    *beta_bad,
    eps_bad[0],
    ({"shampoo_beta": 1.0}, "shampoo_beta must be in [0, 1), got 1.0"),
    (
        {"precondition_frequency": 0},
        "precondition_frequency must be an integer of at least 1, got 0",
    ),
    (
        {"max_precondition_dim": 1.5},
        "max_precondition_dim must be an integer of at least 1, got 1.5",
    ),
)


def without_signs(field, value):
    """Of eigenvectors the absolute values: their signs (complex: phases) are whatever LAPACK makes
    of them.
    """
    return [q if q is None else np.abs(q) for q in value] if field == "q" else value


def soap_used(state, seed):
    """A used state whose q are orthogonal and whose gg have eigenvalues apart, as in training."""

    def is_soap(part):
        return isinstance(part, ol.ScaleBySoapState)

    def like_training(part):
        q = jax.tree.map(lambda x: np.linalg.qr(x)[0], part.q)
        gg = jax.tree.map(
            lambda x, q: 0.1 * x + q * np.arange(1, len(q) + 1, dtype=q.dtype) @ q.T, part.gg, q
        )
        return part._replace(q=q, gg=gg)

    return jax.tree.map(
        lambda x: like_training(x) if is_soap(x) else x, started(state, seed), is_leaf=is_soap
    )


# No axis is longer than the others' product by two, or eigenvectors for a repeated 0 would be
# anybody's choice.
soap_how = {
    "shapes": {"w": (3, 4), "wide": (2, 1, 2), "b": (3,), "scalar": ()},
    "determined": without_signs,
    "used": soap_used,
    # what is small in the basis of the eigenvectors is a difference of large entries
    "float32": 1e-5,
}


def soap_parts(
    lib,
    learning_rate=3e-3,
    b1=0.95,
    b2=0.95,
    shampoo_beta=None,
    eps=1e-8,
    weight_decay=0.01,
    mask=None,
    precondition_frequency=10,
    max_precondition_dim=10000,
):
    direction = lib.scale_by_soap(
        b1=b1,
        b2=b2,
        shampoo_beta=shampoo_beta,
        eps=eps,
        precondition_frequency=precondition_frequency,
        max_precondition_dim=max_precondition_dim,
    )
    return lib.chain(
        direction,
        lib.add_decayed_weights(weight_decay=weight_decay, mask=mask),
        lib.scale_by_learning_rate(learning_rate),
    )


ROWS: tuple[Row, ...] = (
    Row(
        ol.scale_by_soap,
        scale_by_soap,
        soap_settings,
        soap_bad,
        quirks=Quirks(same_program=1e-4, **soap_how),
    ),
    Row(
        ol.soap,
        soap,
        (
            *soap_settings[:6],
            {"learning_rate": 0.1, "weight_decay": 0.3, "eps": 0.1},
            {"learning_rate": rate, "weight_decay": fast, "eps": 0.1, "precondition_frequency": 2},
        ),
        (*rate_bad, *wrong_names, *with_rate(soap_bad)),
        stands_for=soap_parts,
        quirks=Quirks(unlike=("mask",), **soap_how, same_program=1e-4),
    ),
)


def _soap_by_default(namespace: Namespace) -> bool:
    """An axis of up to 10000 is turned, and the basis changes with the first update and after every
    10 from then on.
    """
    for factory in (namespace["scale_by_soap"], namespace["soap"]):
        tx = factory()
        trees = [jax.ShapeDtypeStruct((n, 2), jnp.float32) for n in (10000, 10001)]
        longest, longer = (part_with(jax.eval_shape(tx.init, tree), "gg").gg for tree in trees)
        assert (longest[0].shape, longer[0], longer[1].shape) == ((10000, 10000), None, (2, 2))
        g = jnp.array([[1.0, 2.0], [0.0, 3.0]])
        if not changes_at(tx, g, lambda state: part_with(state, "q").q[0], {0, 10, 20}):
            return False
    return True


def _floor_of_what_is_turned(namespace: Namespace) -> bool:
    """Where V is 0, an entry of a matrix is divided by its rounding, eps·‖M‖·√c2/c1, and that of a
    vector by eps.
    """
    tx = namespace["scale_by_soap"](b1=0.9, b2=0.99, eps=1e-9)
    m = {
        "w": jnp.array([[3.0, 0.5], [-4.0, 1.0]], jnp.float32),
        "b": jnp.array([3.0, -4.0], jnp.float32),
    }
    zeros = jax.tree.map(jnp.zeros_like, m)
    q = {
        "w": [jnp.array([[0.6, 0.8], [-0.8, 0.6]], jnp.float32), jnp.eye(2, dtype=jnp.float32)],
        "b": [None],
    }
    state = tx.init(zeros)._replace(count=jnp.array(5, jnp.int32), mu=m, q=q)
    u, _ = tx.update(zeros, state)
    u, m = jax.device_get((u, m))
    rounding = float(np.finfo(np.float32).eps) * np.linalg.norm(m["w"])
    correction = np.sqrt(1 - 0.99**5) / (1 - 0.9**5)
    near = [
        np.allclose(u["w"], m["w"] / rounding, rtol=2e-2),
        np.allclose(u["b"], 0.9e9 * m["b"] * correction),
    ]
    return all(near)


PROBES = {
    "optax_lite.optimizers.soap": {"defaults": _soap_by_default, "floor": _floor_of_what_is_turned}
}
