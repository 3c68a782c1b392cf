"""GaLore (Zhao et al. 2024)."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import optax_lite as ol
from tests.methods.bases import adam_direction, no_transformation, plain, trace, with_base
from tests.methods.compare import changes_at, part_with
from tests.methods.row import Namespace, Quirks, Row, fast, over, rate, rate_bad


def galore(
    g, s, w, *, learning_rate, rank, update_proj_gap, scale, base, weight_decay, decayed=True
):
    """GaLore (Zhao et al. 2024, Algorithm 2 with `base` for Adam) on the leading singular vectors
    of the gradient.
    """
    count = 0 if s is None else s["count"]
    s_base = None if s is None else s["base"]
    if g.ndim == 2:
        # The paper shortens the SMALLER side, optax the larger one: its state is the min(r * n, m *
        # r) it documents.
        left = g.shape[0] >= g.shape[1]
        if count % update_proj_gap == 0:
            U, _, Vh = np.linalg.svd(g, full_matrices=False)
            P = U[:, :rank] if left else Vh[:rank].conj().T
        else:
            P = s["projector"]
        # A singular vector's sign is arbitrary. It flips a row (column) of R, so of N, and P N (N
        # P^T) flips it back: until the first renewal it does not matter. After one, the moments
        # were made with the old projector's signs.
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


def galore_parts(
    lib,
    learning_rate,
    rank=128,
    update_proj_gap=200,
    scale=1.0,
    base_optimizer=None,
    weight_decay=0.0,
    mask=None,
    weight_dimension_numbers=None,
):
    direction = lib.scale_by_galore(
        rank=rank,
        update_proj_gap=update_proj_gap,
        scale=scale,
        base_optimizer=base_optimizer,
        weight_dimension_numbers=weight_dimension_numbers,
    )
    return lib.chain(
        direction,
        lib.add_decayed_weights(weight_decay=weight_decay, mask=mask),
        lib.scale_by_learning_rate(learning_rate),
    )


ROWS: tuple[Row, ...] = (
    Row(
        ol.galore,
        galore,
        (
            {"learning_rate": 0.1},
            {"learning_rate": 0.1, "rank": 2, "base_optimizer": adam_direction},
            {
                "learning_rate": 0.1,
                "rank": 1,
                "base_optimizer": trace,
                "scale": 0.25,
                "weight_decay": 0.3,
            },
            {
                "learning_rate": rate,
                "rank": 2,
                "base_optimizer": adam_direction,
                "update_proj_gap": 3,
            },
            {"learning_rate": 1, "rank": 1, "base_optimizer": trace, "update_proj_gap": 2},
            {
                "learning_rate": 0.1,
                "rank": 3,
                "base_optimizer": trace,
                "scale": fast,
                "update_proj_gap": 1,
            },
            {"learning_rate": 0.1, "rank": 2, "weight_decay": fast},
            {"learning_rate": 3, "rank": 1, "scale": 10.0, "base_optimizer": adam_direction},
        ),
        (
            *rate_bad,
            ({"learning_rate": 0.1, "rank": 0}, "rank must be an integer of at least 1, got 0"),
            ({"learning_rate": 0.1, "rank": 2.5}, "rank must be an integer of at least 1, got 2.5"),
            (
                {"learning_rate": 0.1, "update_proj_gap": 0},
                "update_proj_gap must be an integer of at least 1, got 0",
            ),
            (
                {"learning_rate": 0.1, "base_optimizer": 0.1},
                f"member base_optimizer {no_transformation}",
            ),
        ),
        stands_for=galore_parts,
        quirks=Quirks(unlike=("mask", "weight_dimension_numbers"), translate=with_base),
    ),
    Row(
        ol.scale_by_galore,
        partial(galore, learning_rate=-1, weight_decay=0.0),
        (
            {},
            *over(rank=(1, 2), base_optimizer=(trace, adam_direction)),
            {"rank": 1, "base_optimizer": trace, "update_proj_gap": 2},
            {"rank": 2, "scale": fast},
            {"rank": 2, "scale": 0.25, "base_optimizer": plain},
        ),
        (({"rank": 0}, "rank must be an integer of at least 1, got 0"),),
        quirks=Quirks(unlike=("weight_dimension_numbers",), translate=with_base),
    ),
)


SHAPED = {
    "empty": (0, 3),
    "matrix": (5, 2),
    "nothing": None,
    "one": (1, 1),
    "scalar": (),
    "vector": (3,),
}


def _names_axes(namespace: Namespace) -> bool:
    """What dimension numbers, their absence, a tree of them and a function say about leaves of any
    shape.
    """
    axes, numbers = namespace["matrix_axes"], namespace["GaLoreDimensionNumbers"]
    tree = {k: shape if shape is None else jnp.zeros(shape) for k, shape in SHAPED.items()}
    cube, given = {"cube": jnp.zeros((2, 3, 4))}, dict.fromkeys(SHAPED) | {"matrix": numbers(-1, 0)}
    assert axes(None, tree | cube) == [None, None, ([0], [1]), None, ([0], [1]), None, None]
    assert axes(numbers(1, -2), tree) == [None, ([1], [0]), None, ([1], [0]), None, None]
    assert axes(given, tree) == [None, ([1], [0]), None, None, None, None]
    assert axes(lambda t: {k: given[k] for k in t}, tree) == axes(given, tree)
    assert axes(given | {"nothing": numbers()}, tree) == axes(given, tree)
    assert axes(numbers(1, (-1, 0)), cube) == [([1], [2, 0])]
    return axes(numbers((2, 0), 1), cube) == [([2, 0], [1])]


def _folds(namespace: Namespace) -> bool:
    """A matrix holds x[i, j, k] in row j and column 2k + i, in its transpose's row 2k + i and
    column j.
    """
    fold, unfold = namespace["fold"], namespace["unfold"]
    x = np.arange(24.0).reshape(2, 3, 4)
    matrix = np.array([[x[i, j, k] for k in range(4) for i in range(2)] for j in range(3)])
    for axes, m in ((([1], [2, 0]), matrix), (([2, 0], [1]), matrix.T)):
        found = fold(jnp.array(x), axes)
        if (
            found.shape != m.shape
            or np.any(found != m)
            or np.any(unfold(jnp.array(m), axes, x.shape) != x)
        ):
            return False
    return True


def _galore_by_default(namespace: Namespace) -> bool:
    """Rank 128, from new singular vectors every 200 updates; a leaf without a gradient has no
    projector.
    """
    for factory in (namespace["scale_by_galore"], partial(namespace["galore"], 0.1)):
        tx = factory()
        large = part_with(
            jax.eval_shape(tx.init, jax.ShapeDtypeStruct((140, 130), jnp.float32)), "projector"
        )
        g = {"w": jnp.array([[1.0, 2.0], [0.0, 3.0]]), "n": None, "m": ol.MaskedNode()}
        projector = part_with(tx.init(g), "projector").projector
        assert (large.projector.shape, projector["n"], projector["m"]) == (
            (140, 128),
            None,
            ol.MaskedNode(),
        )
        if not changes_at(
            tx, g, lambda state: part_with(state, "projector").projector["w"], {0, 200, 400}
        ):
            return False
    return True


PROBES = {
    "optax_lite.optimizers.galore": {
        "defaults": _galore_by_default,
        "axes": _names_axes,
        "matrices": _folds,
    }
}
