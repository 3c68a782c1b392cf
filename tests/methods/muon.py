"""Muon (Jordan 2024; consistent_rms: Liu et al. 2025)."""

import jax
import numpy as np

import optax_lite as ol
from optax_lite.optimizers.muon import _scale_by_shape
from tests.methods.adam import adamw
from tests.methods.row import Namespace, Quirks, Row, fast, rate, rate_bad, slow, with_rate

# One quintic for every step (Jordan 2024), or one quintic per step (the released code of Dion, Ahn
# et al. 2025).
PRESETS = {
    "standard": (3.4445, -4.7750, 2.0315),
    "dion": (
        (4.0848, -6.8946, 2.9270),
        (3.9505, -6.3029, 2.6377),
        (3.7418, -5.5913, 2.3037),
        (2.8769, -3.1427, 1.2046),
        (2.8366, -3.0525, 1.2012),
    ),
}


def newton_schulz(x, coeffs, steps, eps, preconditioning="frobenius"):
    """NewtonSchulz5 (Jordan 2024): s -> a s + b s^3 + c s^5 for the singular values s of x, scaled,
    in every step.
    """
    if isinstance(coeffs, str):
        coeffs = PRESETS[coeffs]
    # Rows of three are one quintic per step, and then say themselves how many steps there are.
    quintics = [coeffs] * steps if np.ndim(coeffs) == 1 else coeffs
    # Jordan iterates on the wide one of x and its transpose: there the Gram matrix X X^H is the
    # small one.
    tall = x.shape[0] > x.shape[1]
    X = x.conj().T if tall else x
    if preconditioning == "frobenius":
        bound = np.linalg.norm(X)
    elif preconditioning == "spectral":
        bound = np.linalg.norm(X, 2)
    elif preconditioning == "schatten":
        # Grishina, Smirnov & Rakhuba 2025, section 3.4: (sum of s^4)^(1/4), which needs X X^H only.
        bound = np.sqrt(np.linalg.norm(X @ X.conj().T))
    elif preconditioning == "aol":
        # Boissin et al. 2025: one factor per row. The authors floor the sums at 1e-7; here a row of
        # zeros stays.
        bound = np.sqrt(np.sum(np.abs(X @ X.conj().T), axis=1, keepdims=True))
    else:
        raise ValueError(preconditioning)
    # Jordan adds eps to the norm; times 1 + eps the result is the same for a gradient of any size.
    X = X / np.where(bound > 0, bound * (1 + eps), 1.0)
    for a, b, c in quintics:
        A = X @ X.conj().T
        B = b * A + c * A @ A
        X = a * X + B @ X
    return X.conj().T if tall else X


def scale_by_muon(
    g,
    s,
    w,
    *,
    ns_coeffs,
    ns_steps,
    beta,
    eps,
    nesterov,
    adaptive,
    preconditioning="frobenius",
    stacked=False,
):
    """Muon direction (Jordan 2024, blog post and muon.py) of a matrix; stacked: of every matrix in
    (layers, a, b).
    """
    t = (0 if s is None else s["count"]) + 1
    m = np.zeros_like(g) if s is None else s["mu"]
    m = beta * m + (1 - beta) * g
    # The bias correction is optax's (as in Adam and NAdam); Jordan has none. Without Nesterov it
    # does not matter, because newton_schulz divides by the norm; with Nesterov it also changes how
    # m and g are mixed.
    if nesterov:
        m_hat = beta * m / (1 - beta ** (t + 1)) + (1 - beta) * g / (1 - beta**t)
    else:
        m_hat = m / (1 - beta**t)
    layers = []
    for M in m_hat if stacked else [m_hat]:
        update = newton_schulz(M, ns_coeffs, ns_steps, eps, preconditioning)
        if adaptive:
            # Bernstein & Newhouse 2024, section 2: steepest descent has the dual norm as its
            # factor, here <M, update>.
            update = np.sum(M.conj() * update).real * update
        layers.append(update)
    return (np.stack(layers) if stacked else layers[0]), {"count": t, "mu": m}


def scale_by_shape(g, s, w, *, consistent_rms):
    """The factor of a step of fan_in rows and fan_out columns (Jordan 2024; consistent_rms: Liu et
    al. 2025).
    """
    # A weight is used as x W here (optax), so that columns are outputs; Jordan's torch weights have
    # them in rows.
    fan_in, fan_out = g.shape[-2:]
    if consistent_rms is None:
        return np.sqrt(max(1, fan_out / fan_in)) * g, {}
    return consistent_rms * np.sqrt(max(fan_in, fan_out)) * g, {}


def muon(
    g,
    s,
    w,
    *,
    learning_rate,
    ns_coeffs,
    ns_steps,
    beta,
    eps,
    weight_decay,
    nesterov,
    adaptive,
    preconditioning,
    adam_b1,
    adam_b2,
    adam_eps_root,
    adam_weight_decay,
    adam_learning_rate,
    consistent_rms,
    decayed=True,
    stacked=False,
):
    """Muon (Jordan 2024; consistent_rms: Liu et al. 2025, section 2.2) for matrices, AdamW for all
    other leaves.
    """
    if g.ndim != 2 and not stacked:
        return adamw(
            g,
            s,
            w,
            learning_rate=learning_rate if adam_learning_rate is None else adam_learning_rate,
            b1=adam_b1,
            b2=adam_b2,
            eps=eps,
            eps_root=adam_eps_root,
            nesterov=nesterov,
            weight_decay=adam_weight_decay,
            decayed=decayed,
        )
    update, s_new = scale_by_muon(
        g,
        s,
        w,
        ns_coeffs=ns_coeffs,
        ns_steps=ns_steps,
        beta=beta,
        eps=eps,
        nesterov=nesterov,
        adaptive=adaptive,
        preconditioning=preconditioning,
        stacked=stacked,
    )
    update, _ = scale_by_shape(update, None, w, consistent_rms=consistent_rms)
    if decayed:
        # After the scaling by shape: the decay has no such factor (Jordan's and Liu et al.'s code).
        update = update + weight_decay * w
    return -learning_rate * update, s_new


quintics = ((3.0, -3.5, 1.5), (2.0, -1.5, 0.5))  # two steps, each its own


def rows_of_any(tree):
    """Dimension numbers for leaves of any shape: a vector is one row, and of more axes the first
    two make a matrix.
    """
    return jax.tree.map(
        lambda x: ol.MuonDimensionNumbers(*(((), ()), ((), 0), (0, 1))[min(np.ndim(x), 2)]), tree
    )


newton_schulz_bad = (
    ({"beta": 1.0}, "beta must be in [0, 1), got 1.0"),
    ({"eps": -1}, "eps must be at least 0, got -1.0"),
    ({"ns_steps": 0}, "ns_steps must be an integer of at least 1, got 0"),
    (
        {"ns_coeffs": (1.0, 2.0)},
        "ns_coeffs must be (a, b, c), a list of these, one for each step, or one of standard, "
        "dion, got",
    ),
    ({"ns_coeffs": "quintic"}, "one of standard, dion, got 'quintic'"),
    (
        {"preconditioning": "l2"},
        "preconditioning must be one of frobenius, spectral, aol, schatten, got 'l2'",
    ),
    ({"ns_dtype": "int8"}, "ns_dtype must be a floating dtype or None, got 'int8'"),
)
muon_settings = (
    {},
    {"nesterov": False, "beta": 0.5, "eps": 0.3},
    {"beta": 0.8, "eps": 0.5},
    {"adaptive": True, "beta": 0.0, "ns_steps": 2},
    {"ns_coeffs": "dion", "nesterov": False, "adaptive": True, "eps": 0.1},
    {"ns_coeffs": quintics, "preconditioning": "spectral", "eps": 0.2},
    {"ns_coeffs": (1.5, -0.5, 0.1), "ns_steps": 3, "preconditioning": "aol", "beta": fast},
    {"preconditioning": "schatten", "ns_steps": 4, "beta": slow, "nesterov": False},
)
matrices = {"w": (3, 4), "wide": (5, 2), "b": (1, 3), "scalar": (1, 1)}
# A step multiplies a small singular value, and its rounding, by up to 3.4: five of them by 480.
muon_float32 = 5e-6


def muon_parts(
    lib,
    learning_rate,
    ns_coeffs=(3.4445, -4.7750, 2.0315),
    ns_steps=5,
    beta=0.95,
    eps=1e-8,
    weight_decay=0.0,
    weight_decay_mask=None,
    mu_dtype=None,
    *,
    nesterov=True,
    adaptive=False,
    preconditioning="frobenius",
    adam_b1=0.9,
    adam_b2=0.999,
    adam_eps_root=0.0,
    adam_weight_decay=0.0,
    adam_learning_rate=None,
    muon_weight_dimension_numbers=None,
    consistent_rms=None,
    ns_dtype=None,
):
    numbers = muon_weight_dimension_numbers
    direction = lib.scale_by_muon(
        ns_coeffs=ns_coeffs,
        ns_steps=ns_steps,
        beta=beta,
        eps=eps,
        mu_dtype=mu_dtype,
        nesterov=nesterov,
        adaptive=adaptive,
        preconditioning=preconditioning,
        weight_dimension_numbers=numbers,
        ns_dtype=ns_dtype,
    )
    of_matrices = lib.chain(
        direction,
        lib._scale_by_shape(numbers, consistent_rms),
        lib.add_decayed_weights(weight_decay=weight_decay, mask=weight_decay_mask),
        lib.scale_by_learning_rate(learning_rate),
    )
    of_others = lib.chain(
        lib.scale_by_adam(
            b1=adam_b1,
            b2=adam_b2,
            eps=eps,
            eps_root=adam_eps_root,
            mu_dtype=mu_dtype,
            nesterov=nesterov,
        ),
        lib.add_decayed_weights(weight_decay=adam_weight_decay, mask=weight_decay_mask),
        lib.scale_by_learning_rate(
            learning_rate if adam_learning_rate is None else adam_learning_rate
        ),
    )
    return lib.partition({"muon": of_matrices, "adam": of_others}, lib._Labels(numbers))


ROWS: tuple[Row, ...] = (
    Row(
        ol.scale_by_muon,
        scale_by_muon,
        tuple({"weight_dimension_numbers": rows_of_any, **s} for s in muon_settings),
        newton_schulz_bad,
        quirks=Quirks(
            unseen=("ns_coeffs",),
            unlike=("mu_dtype", "weight_dimension_numbers", "ns_dtype"),
            shapes=matrices,
            float32=muon_float32,
            same_program=2e-5,
        ),
    ),
    Row(
        ol.scale_by_muon,
        scale_by_muon,
        tuple(
            {"weight_dimension_numbers": ol.MuonDimensionNumbers(1, 2), **s} for s in muon_settings
        ),
        quirks=Quirks(
            unseen=("ns_coeffs",),
            unlike=("mu_dtype", "weight_dimension_numbers", "ns_dtype"),
            translate=lambda s: s | {"stacked": True},
            shapes={"w": (2, 3, 4), "wide": (3, 5, 2), "b": (1, 3, 1), "scalar": (2, 1, 1)},
            complex_=False,
            no_laws="no leaf has the three axes of these numbers; the unstacked row is called",
            float32=muon_float32,
            variant=", stacked",
            same_program=2e-5,
        ),
    ),
    Row(
        _scale_by_shape,
        scale_by_shape,
        tuple(
            {"numbers": rows_of_any, "consistent_rms": r}
            for r in (None, 0.2, 0.0, -1.0, 3, 1e3, rate, fast)
        ),
        quirks=Quirks(unseen=("ns_coeffs",), unlike=("numbers",), shapes=matrices),
    ),
    Row(
        ol.muon,
        muon,
        (
            *({"learning_rate": 0.1, **s} for s in muon_settings),
            {"learning_rate": rate, "weight_decay": 0.3, "adam_weight_decay": 0.2, "eps": 0.1},
            {"learning_rate": 0.1, "adam_learning_rate": 0.5, "consistent_rms": 0.2, "eps": 0.2},
            {
                "learning_rate": 0.1,
                "adam_b1": 0.5,
                "adam_b2": 0.9,
                "adam_eps_root": 0.05,
                "consistent_rms": rate,
            },
            {"learning_rate": fast, "adam_learning_rate": rate, "adam_b1": 0.0, "nesterov": False},
        ),
        (*rate_bad, *with_rate(newton_schulz_bad)),
        stands_for=muon_parts,
        quirks=Quirks(
            unseen=("ns_coeffs",),
            unlike=("mu_dtype", "weight_decay_mask", "muon_weight_dimension_numbers", "ns_dtype"),
            shapes={
                "w": (3, 4),
                "tall": (5, 2),
                "row": (1, 3),
                "wide": (2, 1, 5),
                "b": (3,),
                "scalar": (),
            },
            float32=muon_float32,
            same_program=2e-5,
        ),
    ),
)


def _labels_matrices(namespace: Namespace) -> bool:
    """Only leaves of two axes are Muon's, or those that have dimension numbers."""
    tree = {"b": np.ones(3), "cube": np.ones((2, 3, 4)), "nothing": None, "w": np.ones((3, 4))}
    given = dict.fromkeys(tree) | {"cube": ol.MuonDimensionNumbers(1, 2)}
    labels = [namespace["_Labels"](numbers)(tree) for numbers in (None, ["!w"], given)]
    found = [{name for name, label in of.items() if label == "muon"} for of in labels]
    assert all(set(of.values()) <= {"muon", "adam"} for of in labels)
    return found == [{"w"}, set(), {"cube"}]


PROBES = {"optax_lite.optimizers.muon": {"labels": _labels_matrices}}
